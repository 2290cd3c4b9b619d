//! The filter of a subscription: by aggregate type and by event name.

use super::{RawRecorded, Recorded, Subscription};
use crate::error::{ReadError, StoreError};
use crate::event::{DomainEvent, StoredEvent, stored_name};
use crate::journal::{CommittedEvent, Types};
use crate::runtime::guard;

/// Selects the events of a subscription.
pub(super) struct Filter<T> {
    pub(super) types: Types,
    names: Option<Names<T>>,
}

struct Names<T> {
    /// The names under which these events are stored in their current version.
    stored: Vec<&'static str>,
    /// Whether the event on a line is of an older version. Upcasting may turn it into any event.
    is_older: fn(&str) -> bool,
    /// Whether the subscription delivers this decoded event.
    is_wanted: fn(&T, &[&'static str]) -> bool,
}

impl<T> Filter<T> {
    pub(super) fn of_types(types: Types) -> Self {
        Self { types, names: None }
    }

    /// Whether the subscription may deliver an event. It does not decode the event.
    pub(super) fn may_want(&self, event: CommittedEvent<'_>) -> bool {
        let types = self.types.as_ref();
        if types.is_some_and(|types| !types.contains(event.stream.aggregate_type)) {
            return false;
        }
        let Some(names) = &self.names else {
            return true;
        };
        // A line without a name is an error when it is decoded.
        stored_name(event.line).is_none_or(|name| names.stored.contains(&&*name))
            || (names.is_older)(event.line)
    }

    /// Whether the subscription delivers an event for which [`may_want`](Self::may_want) is true.
    pub(super) fn wants(&self, event: &Result<T, ReadError>) -> bool {
        let (Ok(event), Some(names)) = (event, &self.names) else {
            return true;
        };
        let what = || "the name of an event".to_owned();
        guard(what, || (names.is_wanted)(event, &names.stored)).unwrap_or(true)
    }
}

/// The stored names of the events that these names refer to, now or as an alias.
fn stored_names<E: DomainEvent>(names: &[&str]) -> Result<Vec<&'static str>, StoreError> {
    let is_known = |name: &&str| E::EVENT_TYPES.contains(name);
    let unknown: Vec<_> = names
        .iter()
        .copied()
        .filter(|name| !is_known(name))
        .collect();
    if !unknown.is_empty() {
        return Err(StoreError::NoSuchEvent {
            names: unknown.join(", "),
            known: E::EVENT_TYPES.join(", "),
        });
    }
    let known = E::EVENT_TYPES.iter().copied();
    let stored = known.filter(|known| {
        names.contains(known)
            || E::SCHEMAS.iter().any(|schema| {
                schema.is_named(known) && names.iter().any(|name| schema.is_named(name))
            })
    });
    Ok(stored.collect())
}

impl<E: DomainEvent> Subscription<Recorded<E>> {
    /// Delivers only the events with these stored names. It neither decodes nor copies the others.
    ///
    /// An alias of an event stands for its current name, and the other way round. An event of an older version counts
    /// as the event that it is [upcast](crate::Upcast) to. Call this before you read the first event. A second call
    /// replaces the names.
    ///
    /// # Errors
    ///
    /// [`StoreError::NoSuchEvent`] if the enum does not read one of the names. The error lists all names that the enum
    /// reads.
    ///
    /// # Examples
    ///
    /// ```
    /// # use eventfold_es::prelude::*;
    /// # #[derive(Debug, Clone, Serialize, Deserialize)]
    /// # pub enum OrderCommand { Place(u32), Cancel }
    /// # #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, DomainEvent)]
    /// # #[serde(tag = "type", content = "data")]
    /// # pub enum OrderEvent { Placed(u32), Cancelled }
    /// # #[aggregate(error = std::convert::Infallible)]
    /// # #[derive(Debug, Clone, Default, Serialize, Deserialize)]
    /// # pub struct Order;
    /// # impl Decider for Order {
    /// #     fn decide(&self, command: OrderCommand) -> Result<Vec<OrderEvent>, std::convert::Infallible> {
    /// #         Ok(vec![match command {
    /// #             OrderCommand::Place(qty) => OrderEvent::Placed(qty),
    /// #             OrderCommand::Cancel => OrderEvent::Cancelled,
    /// #         }])
    /// #     }
    /// #     fn evolve(&mut self, _: &OrderEvent) {}
    /// # }
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), eventfold_es::Error> {
    /// # let directory = tempfile::tempdir().unwrap();
    /// let store = AggregateStore::open(directory.path()).await?;
    /// store.send("ord-1", OrderCommand::Place(2), ()).await?;
    /// store.send("ord-1", OrderCommand::Cancel, ()).await?;
    ///
    /// let mut cancelled = store.subscribe::<Order>().only(&["Cancelled"])?;
    /// assert_eq!(cancelled.next().await.unwrap()?.event, OrderEvent::Cancelled);
    /// assert!(store.subscribe::<Order>().only(&["Canceled"]).is_err());
    /// # Ok(())
    /// # }
    /// ```
    pub fn only(mut self, names: &[&str]) -> Result<Self, StoreError> {
        let names = Names {
            stored: stored_names::<E>(names)?,
            is_older: |line| {
                let stored = (!E::UPCASTERS.is_empty()).then(|| StoredEvent::of_line(0, 0, line));
                stored.is_some_and(|stored| stored.is_ok_and(|stored| stored.is_older::<E>()))
            },
            // Without older versions, the stored name has decided already.
            is_wanted: |recorded: &Recorded<E>, names| {
                E::UPCASTERS.is_empty() || names.contains(&recorded.event.event_type())
            },
        };
        self.filter().names = Some(names);
        Ok(self)
    }
}

impl Subscription<RawRecorded> {
    /// Delivers only the events of these aggregate types, by their stored names. It does not copy the others, and they
    /// do not wake the reader.
    ///
    /// A name without an aggregate is not an error: its events may come later. Call this before you read the first
    /// event. A second call replaces the types.
    ///
    /// ```
    /// # use eventfold_es::prelude::*;
    /// # async fn follow(store: AggregateStore) {
    /// let changes = store.subscribe_all().only_types(&["order", "payment"]);
    /// # drop(changes);
    /// # }
    /// ```
    pub fn only_types(mut self, types: &[&str]) -> Self {
        self.set_types(Some(types.iter().map(|name| (*name).into()).collect()));
        self
    }
}
