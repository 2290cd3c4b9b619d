//! Reading events: subscriptions, pages of all events, and the history of one aggregate.

mod chunks;
mod events;
mod filter;
mod history;
mod recorded;
mod subscription;

pub use history::History;
pub use recorded::{Decodes, subscribe};
pub use recorded::{RawRecorded, Recorded};
pub use subscription::Subscription;

use super::AggregateStore;
use crate::aggregate::Aggregate;
use crate::error::{ReadError, StoreError};

impl AggregateStore {
    /// The events of all aggregates of one type, from the first event on: the stored events, and then each event when
    /// it becomes durable.
    ///
    /// It delivers each event once, in the order of positions, without a gap between old events and new events.
    /// [`after`](Subscription::after) begins after a position, and [`until_now`](Subscription::until_now) ends at the
    /// last event that is durable now.
    ///
    /// A subscription holds about two megabytes of the journal, and the events in them, however slow its reader is. It slows
    /// no writer and keeps no store open. It ends when the store closes.
    ///
    /// # Examples
    ///
    /// ```
    /// # use eventfold_es::prelude::*;
    /// # #[derive(Debug, Clone, Serialize, Deserialize)]
    /// # pub enum OrderCommand { Place(u32) }
    /// # #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, DomainEvent)]
    /// # #[serde(tag = "type", content = "data")]
    /// # pub enum OrderEvent { Placed(u32) }
    /// # #[aggregate(error = std::convert::Infallible)]
    /// # #[derive(Debug, Clone, Default, Serialize, Deserialize)]
    /// # pub struct Order;
    /// # impl Decider for Order {
    /// #     fn decide(&self, command: OrderCommand) -> Result<Vec<OrderEvent>, std::convert::Infallible> {
    /// #         let OrderCommand::Place(qty) = command;
    /// #         Ok(vec![OrderEvent::Placed(qty)])
    /// #     }
    /// #     fn evolve(&mut self, _: &OrderEvent) {}
    /// # }
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), eventfold_es::Error> {
    /// # let directory = tempfile::tempdir().unwrap();
    /// let store = AggregateStore::open(directory.path()).await?;
    /// store.send("ord-1", OrderCommand::Place(2), ()).await?;
    ///
    /// let mut orders = store.subscribe::<Order>();
    /// let first = orders.next().await.unwrap()?;
    /// assert_eq!((first.position(), first.stream_id()), (1, "ord-1"));
    /// assert_eq!(first.event, OrderEvent::Placed(2));
    ///
    /// store.send("ord-2", OrderCommand::Place(5), ()).await?;
    /// let live = orders.next().await.unwrap()?;
    /// assert_eq!(live.event, OrderEvent::Placed(5));
    /// # Ok(())
    /// # }
    /// ```
    pub fn subscribe<A: Aggregate>(&self) -> Subscription<Recorded<A::DomainEvent>> {
        self.subscription(Some([A::AGGREGATE_TYPE.into()].into()), Recorded::of::<A>)
    }

    /// The events of all aggregates of all types, as they are stored. Otherwise it is like
    /// [`subscribe`](Self::subscribe).
    ///
    /// # Examples
    ///
    /// ```
    /// # use eventfold_es::prelude::*;
    /// # #[derive(Debug, Clone, Serialize, Deserialize)]
    /// # pub enum OrderCommand { Place(u32) }
    /// # #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, DomainEvent)]
    /// # #[serde(tag = "type", content = "data")]
    /// # pub enum OrderEvent { Placed(u32) }
    /// # #[aggregate(error = std::convert::Infallible)]
    /// # #[derive(Debug, Clone, Default, Serialize, Deserialize)]
    /// # pub struct Order;
    /// # impl Decider for Order {
    /// #     fn decide(&self, command: OrderCommand) -> Result<Vec<OrderEvent>, std::convert::Infallible> {
    /// #         let OrderCommand::Place(qty) = command;
    /// #         Ok(vec![OrderEvent::Placed(qty)])
    /// #     }
    /// #     fn evolve(&mut self, _: &OrderEvent) {}
    /// # }
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), eventfold_es::Error> {
    /// # let directory = tempfile::tempdir().unwrap();
    /// # let store = AggregateStore::open(directory.path()).await?;
    /// # store.send("ord-1", OrderCommand::Place(2), ()).await?;
    /// let mut events = store.subscribe_all().until_now();
    /// while let Some(recorded) = events.next().await {
    ///     let recorded = recorded?;
    ///     println!("{} {} {}", recorded.position(), recorded.stream_id(), recorded.json());
    ///     if let Some(order) = recorded.decode::<Order>()? {
    ///         assert_eq!(order, OrderEvent::Placed(2));
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn subscribe_all(&self) -> Subscription<RawRecorded> {
        self.subscription(None, Ok)
    }

    /// The next events of all types after a position, at most `limit` events; none if there are none yet.
    ///
    /// Continue from the position of the last event. A page is in memory as a whole: 1,000 events of 200 bytes take
    /// about half a megabyte.
    ///
    /// # Errors
    ///
    /// [`ReadError::Store`] if the journal cannot be read, or if the store closes before the page is read.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe; it changes nothing.
    pub async fn read_all(&self, after: u64, limit: usize) -> Result<Vec<RawRecorded>, ReadError> {
        let mut events = self.subscribe_all().after(after).until_now();
        let mut page = Vec::new();
        while page.len() < limit {
            match events.next().await {
                Some(event) => page.push(event?),
                None if events.is_closed() => return Err(StoreError::Closed.into()),
                None => break,
            }
        }
        Ok(page)
    }
}
