//! The events of one aggregate, in either direction.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::recorded::Decode;
use super::{RawRecorded, Recorded};
use crate::aggregate::Aggregate;
use crate::error::{ReadError, StoreError};
use crate::journal::{Journal, StreamId, StreamPart};
use crate::runtime::blocking;
use crate::store::AggregateStore;

/// The durable events of one aggregate as a [`Stream`](https://docs.rs/futures-core/0.3/futures_core/stream/trait.Stream.html), oldest
/// first.
///
/// Made by [`AggregateStore::history`] and [`AggregateStore::raw_history`], and polled on a tokio runtime. It ends
/// after the last event that is durable at that time. An event that does not decode is an `Err` item with its position
/// and version, and the history continues after it. An unreadable stream or a closing store is an `Err` item, and the
/// history ends.
///
/// It holds about one megabyte of the stream, in either direction, or one larger commit.
///
/// # Cancel safety
///
/// [`next`](Self::next) is cancel safe: no event is lost when its future is dropped.
#[must_use = "a history reads when it is polled"]
pub struct History<T> {
    journal: Arc<dyn Journal>,
    closing: watch::Receiver<bool>,
    stream: Arc<StreamId>,
    /// The part that is still unread.
    part: StreamPart,
    piece: std::vec::IntoIter<RawRecorded>,
    reading: Option<JoinHandle<Result<Vec<RawRecorded>, StoreError>>>,
    has_ended: bool,
    decode: Decode<T>,
}

impl<T> fmt::Debug for History<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("History")
            .field("aggregate_type", &self.stream.aggregate_type)
            .field("stream_id", &self.stream.instance_id)
            .field("part", &self.part)
            .finish_non_exhaustive()
    }
}

impl AggregateStore {
    /// The durable events of one aggregate, oldest first, in their current versions; none if it has no events.
    ///
    /// [`backwards`](History::backwards) begins with the newest event, [`limit`](History::limit) ends after that number
    /// of events, and [`after`](History::after) and [`before`](History::before) bound the versions. A page of the
    /// newest 20 events reads little more than these events, however long the stream is.
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
    /// for qty in 1..=5 {
    ///     store.send("ord-1", OrderCommand::Place(qty), ()).await?;
    /// }
    /// let mut history = store.history::<Order>("ord-1").after(2);
    /// while let Some(recorded) = history.next().await {
    ///     let recorded = recorded?;
    ///     println!("{} {:?}: {:?}", recorded.version(), recorded.at(), recorded.event);
    /// }
    ///
    /// let newest = store.history::<Order>("ord-1").backwards().limit(2).collect().await?;
    /// assert_eq!((newest[0].version(), newest[1].version()), (5, 4));
    /// let older = store.history::<Order>("ord-1").backwards().before(4).limit(2).collect().await?;
    /// assert_eq!(older[0].event, OrderEvent::Placed(3));
    /// # Ok(())
    /// # }
    /// ```
    pub fn history<A: Aggregate>(&self, id: &str) -> History<Recorded<A::DomainEvent>> {
        self.history_of(A::AGGREGATE_TYPE, id, Recorded::of::<A>)
    }

    /// The durable events of one aggregate as they are stored, oldest first, by the stored name of its type. Otherwise
    /// it is like [`history`](Self::history).
    pub fn raw_history(&self, aggregate_type: &str, id: &str) -> History<RawRecorded> {
        self.history_of(aggregate_type, id, Ok)
    }

    fn history_of<T>(&self, aggregate_type: &str, id: &str, decode: Decode<T>) -> History<T> {
        History {
            journal: Arc::clone(&self.shared.runtime.journal),
            closing: self.shared.closing.clone(),
            stream: Arc::new(StreamId::new(aggregate_type, id)),
            part: StreamPart::ALL,
            piece: Vec::new().into_iter(),
            reading: None,
            has_ended: false,
            decode,
        }
    }
}

/// The choice and the order of the events. Call these methods before you read the first event.
impl<T> History<T> {
    /// Begins with the newest chosen event.
    pub fn backwards(mut self) -> Self {
        self.part.is_backwards = true;
        self
    }

    /// Ends after this number of events, including events that do not decode.
    pub fn limit(mut self, events: usize) -> Self {
        self.part.limit = events as u64;
        self
    }

    /// Only the events after this version of the stream.
    pub fn after(mut self, version: u64) -> Self {
        self.part.first = version.saturating_add(1);
        self
    }

    /// Only the events before this version of the stream.
    pub fn before(mut self, version: u64) -> Self {
        self.part.last = version.saturating_sub(1);
        self
    }
}

impl<T> History<T> {
    /// The next event; `None` when the history has ended.
    ///
    /// # Errors
    ///
    /// [`ReadError::Event`] if the event does not decode: the next call continues after it. [`ReadError::Store`] if the
    /// stream cannot be read, or with [`StoreError::Closed`] if the store closes: the next call returns `None`.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: no event is lost.
    pub async fn next(&mut self) -> Option<Result<T, ReadError>> {
        poll_fn(|context| self.poll_event(context)).await
    }

    /// All events at once, in memory: 1,000 events of 200 bytes take about half a megabyte.
    ///
    /// # Errors
    ///
    /// The first error of [`next`](Self::next), including the error of an event that does not decode.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe; it changes nothing.
    pub async fn collect(mut self) -> Result<Vec<T>, ReadError> {
        let mut events = Vec::new();
        while let Some(event) = self.next().await {
            events.push(event?);
        }
        Ok(events)
    }

    fn poll_event(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<T, ReadError>>> {
        loop {
            if let Some(event) = self.piece.next() {
                return Poll::Ready(Some((self.decode)(event)));
            }
            if self.has_ended || self.part.is_empty() {
                return Poll::Ready(None);
            }
            if *self.closing.borrow() {
                self.has_ended = true;
                return Poll::Ready(Some(Err(StoreError::Closed.into())));
            }
            let reading = match &mut self.reading {
                Some(reading) => reading,
                None => {
                    let reading = read(&self.journal, &self.stream, self.part);
                    self.reading.insert(reading)
                }
            };
            let read = ready!(Pin::new(reading).poll(context));
            self.reading = None;
            match read.unwrap_or(Err(StoreError::RuntimeGone)) {
                Ok(piece) => {
                    match piece.last() {
                        Some(last) => self.part.remove(last.version(), piece.len() as u64),
                        None => self.has_ended = true,
                    }
                    self.piece = piece.into_iter();
                }
                Err(error) => {
                    self.has_ended = true;
                    return Poll::Ready(Some(Err(error.into())));
                }
            }
        }
    }
}

/// Starts to read the next piece of a part of a stream.
fn read(
    journal: &Arc<dyn Journal>,
    stream: &Arc<StreamId>,
    part: StreamPart,
) -> JoinHandle<Result<Vec<RawRecorded>, StoreError>> {
    let (journal, stream) = (Arc::clone(journal), Arc::clone(stream));
    tokio::spawn(blocking(
        || "reading a stream".to_owned(),
        move || {
            let mut piece = Vec::new();
            let mut commits = journal.read_part(&stream, &part)?;
            if part.is_backwards {
                commits.reverse();
            }
            for commit in &commits {
                let events = commit.events().filter(|event| {
                    event.stream == stream.borrowed()
                        && (part.first..=part.last).contains(&event.version)
                });
                let mut events: Vec<_> = events.collect();
                if part.is_backwards {
                    events.reverse();
                }
                let left = usize::try_from(part.limit).unwrap_or(usize::MAX) - piece.len();
                let events = events.into_iter().take(left);
                piece.extend(events.map(|event| RawRecorded::new(event)));
            }
            Ok(piece)
        },
    ))
}

impl<T> Stream for History<T> {
    type Item = Result<T, ReadError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll_event(context)
    }
}
