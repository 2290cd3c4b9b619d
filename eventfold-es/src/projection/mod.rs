//! Projections: read models folded from the events of many streams.

mod read_model;
mod rows;
mod sink;

use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::aggregate::Aggregate;
use crate::event::{EventError, RecordedEvent, StoredEvent};
use crate::process_manager::SubscribesTo;

pub use read_model::ReadModel;
pub use rows::{DeclaredRows, Index, Keys, Locate, RowKey, RowKeyOf, RowProjection};
pub(crate) use sink::SINK_TIMEOUT;
pub use sink::{
    DeclaredSink, Prepare, ProjectInto, ProjectionFailure, RebuildStep, Sink, SinkError,
    SinkErrorOf, SinkFault, SinkProjection, TxOf,
};

/// A read model: the fold of the events of its subscribed aggregates, over all their streams, in the order of
/// positions.
///
/// `#[projection]` implements it by delegating to [`Project`]. A hand-written implementation works next to declared
/// types in one store.
///
/// # Contract
///
/// - [`apply`](Projection::apply) is deterministic and does no I/O: a rebuild results in the same state.
/// - The state survives serde: the projection continues from its saved state when the store is opened. A field that
///   `Serialize` leaves out then has its default.
///
/// # Examples
///
/// ```
/// use eventfold_es::{Projection, RecordedEvent};
/// use eventfold_es::contract::ProjectError;
/// use serde::{Deserialize, Serialize};
///
/// /// How many events of each type there were, whatever they say.
/// #[derive(Debug, Clone, Default, Serialize, Deserialize)]
/// struct EventTypes(std::collections::BTreeMap<String, u64>);
///
/// impl Projection for EventTypes {
///     const NAME: &'static str = "event-types";
///
///     fn subscriptions(&self) -> &'static [&'static str] {
///         &["order", "inventory"]
///     }
///
///     fn apply(&mut self, _aggregate_type: &str, _stream_id: &str, event: &RecordedEvent) -> Result<(), ProjectError> {
///         *self.0.entry(event.event_type.clone()).or_default() += 1;
///         Ok(())
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a projection",
    label = "not a projection",
    note = "put `#[projection(subscribes = [..])]` on `{Self}`, or implement `Projection` by hand"
)]
pub trait Projection:
    Default + Clone + Serialize + DeserializeOwned + Send + Sync + 'static
{
    /// The stored name of this projection, and its directory under `projections/`.
    ///
    /// It is persisted: under another name the projection is rebuilt. See [`crate::names`].
    const NAME: &'static str;

    /// The stored names of the aggregate types of the folded events, as far as they are known at compile time. An
    /// [`#[event_store]`](macro@crate::event_store) checks and draws them. They equal
    /// [`subscriptions`](Self::subscriptions). Default: `None`, unknown.
    const SUBSCRIPTIONS: Option<&'static [&'static str]> = None;

    /// The policy for an event of a newer program: an event, or a version of an event, that this program does not know.
    /// Default: [`UnknownEvents::Stop`].
    const UNKNOWN_EVENTS: UnknownEvents = UnknownEvents::Stop;

    /// The stored names of the aggregate types of the folded events. Default: [`SUBSCRIPTIONS`](Self::SUBSCRIPTIONS). A
    /// hand-written type has one of the two. Without either, or with an empty list here,
    /// [`OpenError::NoSubscriptions`](crate::OpenError::NoSubscriptions) keeps the store from opening. A type that
    /// intentionally has no events sets `SUBSCRIPTIONS = Some(&[])`.
    fn subscriptions(&self) -> &'static [&'static str] {
        Self::SUBSCRIPTIONS.unwrap_or_default()
    }

    /// Folds one event of a subscribed stream.
    ///
    /// # Errors
    ///
    /// [`ProjectError`] if the event does not decode. The projection then stops before the event.
    fn apply(
        &mut self,
        aggregate_type: &str,
        stream_id: &str,
        event: &RecordedEvent,
    ) -> Result<(), ProjectError>;

    /// [`apply`](Self::apply) for an event in its stored line. Generated code implements it.
    ///
    /// # Errors
    ///
    /// As [`apply`](Self::apply).
    #[doc(hidden)]
    fn apply_stored(
        &mut self,
        aggregate_type: &str,
        stream_id: &str,
        event: &StoredEvent<'_>,
    ) -> Result<(), ProjectError> {
        self.apply(aggregate_type, stream_id, event.recorded()?)
    }
}

/// The policy of a projection for an unknown event: an event of a type, or of a version, that a newer program has written.
///
/// Aggregates never skip an unknown event, since commands are decided on their states. Neither do process managers, since a
/// skipped event is never delivered again. A projection can, because it can be rebuilt.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum UnknownEvents {
    /// The projection stops before the event. Reading it is an error, until you start the program that knows the event.
    #[default]
    Stop,
    /// The projection continues without the event, and records that. The program that knows the event rebuilds the
    /// projection when it opens the store. Until then the state lacks such events.
    ///
    /// A hand-written [`apply`](Projection::apply) must not have changed the state when it returns [`EventError::UnknownType`]
    /// or [`EventError::Newer`].
    Skip,
}

/// A type with `#[projection]`, which implements this trait. [`Project`] requires it. A hand-written [`Projection`] has
/// its own handler, and needs this trait only for impls of `Project`.
///
/// It has no supertraits, so that a missing `#[derive(Default)]` is reported at the type, and not again at each
/// handler. It does not follow from [`Projection`], so that a type without that trait is not also reported as a type
/// without a subscription.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a projection",
    label = "not a projection",
    note = "put `#[projection(subscribes = [..])]` on `{Self}`, or implement `Projection` by hand",
    note = "with `sink = ..`, the handlers are `impl ProjectInto<..>`, which write to a database"
)]
pub trait DeclaredProjection {
    /// The type itself.
    type Declared;
}

/// The fold of the events of one aggregate into a projection, written by the user of `#[projection]`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` subscribes to `{A}` but does not project its events",
    label = "`impl Project<{A}> for {Self}` is missing",
    note = "write `impl Project<{A}> for {Self} {{ fn project(&mut self, event: &.., cx: &EventContext<'_>) {{ .. }} }}`, or remove `{A}` from `subscribes`"
)]
pub trait Project<A: Aggregate>: DeclaredProjection<Declared: SubscribesTo<A>> {
    /// Folds one event.
    fn project(&mut self, event: &<A as Aggregate>::DomainEvent, cx: &EventContext<'_>);
}

/// The source of an event.
#[derive(Debug, Clone, Copy)]
pub struct EventContext<'a> {
    aggregate_type: &'a str,
    stream_id: &'a str,
    event: Source<'a>,
    deletion: Option<&'a Deletion>,
    /// The stored form of the key of the row.
    key: Option<&'a [u8]>,
}

/// Whether the handler of an event has asked for the deletion of the state.
#[derive(Debug, Default)]
pub struct Deletion(AtomicBool);

impl Deletion {
    /// Whether [`EventContext::delete`] was called.
    #[must_use]
    pub fn is_asked(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

#[derive(Debug, Clone, Copy)]
enum Source<'a> {
    Recorded(&'a RecordedEvent),
    Stored(&'a StoredEvent<'a>),
}

impl<'a> EventContext<'a> {
    /// The context of `event` in the stream `stream_id`.
    #[must_use]
    pub fn new(aggregate_type: &'a str, stream_id: &'a str, event: &'a RecordedEvent) -> Self {
        Self {
            aggregate_type,
            stream_id,
            event: Source::Recorded(event),
            deletion: None,
            key: None,
        }
    }

    /// The context of an event in its stored line.
    #[doc(hidden)]
    #[must_use]
    pub fn of_stored(
        aggregate_type: &'a str,
        stream_id: &'a str,
        event: &'a StoredEvent<'a>,
    ) -> Self {
        Self {
            aggregate_type,
            stream_id,
            event: Source::Stored(event),
            deletion: None,
            key: None,
        }
    }

    /// The same context, whose [`delete`](Self::delete) is noted.
    #[doc(hidden)]
    #[must_use]
    pub fn deleting(self, deletion: &'a Deletion) -> Self {
        Self {
            deletion: Some(deletion),
            ..self
        }
    }

    /// The same context, for the row with this key.
    pub(crate) fn of_row(self, key: &'a [u8]) -> Self {
        Self {
            key: Some(key),
            ..self
        }
    }

    /// The key of the row that the handler changes. An event that changes several rows tells them apart by it.
    ///
    /// `K` is the `key` of the projection. It is `None` outside the handler of a row, and for a type whose stored form is
    /// another.
    ///
    /// ```
    /// # use eventfold_es::prelude::*;
    /// # pub enum TransferEvent { Moved { from: String, to: String, cents: i64 } }
    /// # pub struct Balance { cents: i64 }
    /// # trait Locate<A> { fn locate(event: &TransferEvent, cx: &EventContext<'_>) -> Keys<String>; }
    /// # trait Project<A> { fn project(&mut self, event: &TransferEvent, cx: &EventContext<'_>); }
    /// # struct Transfer;
    /// impl Locate<Transfer> for Balance {
    ///     fn locate(event: &TransferEvent, _cx: &EventContext<'_>) -> Keys<String> {
    ///         let TransferEvent::Moved { from, to, .. } = event;
    ///         Keys::each([from.clone(), to.clone()])
    ///     }
    /// }
    ///
    /// impl Project<Transfer> for Balance {
    ///     fn project(&mut self, event: &TransferEvent, cx: &EventContext<'_>) {
    ///         let TransferEvent::Moved { from, to, cents } = event;
    ///         let account = cx.row_key::<String>();
    ///         if account.as_ref() == Some(from) {
    ///             self.cents -= cents;
    ///         }
    ///         if account.as_ref() == Some(to) {
    ///             self.cents += cents;
    ///         }
    ///     }
    /// }
    /// ```
    #[must_use]
    pub fn row_key<K: RowKey>(&self) -> Option<K> {
        crate::rows::decode(self.key?).ok()
    }

    /// Removes the row when the handler returns. In a projection without rows, the state becomes its default again.
    ///
    /// A removed row that a later event locates begins with the default of its type.
    ///
    /// It has no effect in a hand-written [`apply`](Projection::apply), in `locate`, and in a projection into a sink.
    ///
    /// ```
    /// # use eventfold_es::prelude::*;
    /// # pub enum OrderEvent { Placed, Cancelled }
    /// # pub struct OpenOrder { is_placed: bool }
    /// # trait Project<A> { fn project(&mut self, event: &OrderEvent, cx: &EventContext<'_>); }
    /// # struct Order;
    /// impl Project<Order> for OpenOrder {
    ///     fn project(&mut self, event: &OrderEvent, cx: &EventContext<'_>) {
    ///         match event {
    ///             OrderEvent::Placed => self.is_placed = true,
    ///             OrderEvent::Cancelled => cx.delete(),
    ///         }
    ///     }
    /// }
    /// ```
    pub fn delete(&self) {
        if let Some(deletion) = self.deletion {
            deletion.0.store(true, Ordering::Relaxed);
        }
    }

    /// The stored name of the aggregate type that the event belongs to.
    #[must_use]
    pub fn aggregate_type(&self) -> &'a str {
        self.aggregate_type
    }

    /// The instance of the event.
    #[must_use]
    pub fn stream_id(&self) -> &'a str {
        self.stream_id
    }

    /// The stored event, with its id, actor, time and metadata. In a declared projection the first call decodes it.
    #[must_use]
    pub fn event(&self) -> &'a RecordedEvent {
        match self.event {
            Source::Recorded(event) => event,
            Source::Stored(event) => event.shown(),
        }
    }

    /// The event's place in the total order over all streams, from 1.
    #[must_use]
    pub fn position(&self) -> u64 {
        match self.event {
            Source::Recorded(event) => event.position,
            Source::Stored(event) => event.position(),
        }
    }

    /// The event's place in its stream, from 1.
    #[must_use]
    pub fn version(&self) -> u64 {
        match self.event {
            Source::Recorded(event) => event.version,
            Source::Stored(event) => event.version(),
        }
    }
}

/// An event that a projection cannot fold.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ProjectError {
    /// The stored event does not decode.
    #[error(transparent)]
    Event(#[from] EventError),
    /// The event comes from an aggregate type that is not in the subscriptions.
    #[error("the projection has no handler for events of the aggregate type `{aggregate_type}`")]
    UnexpectedAggregate {
        /// The stored name of the aggregate type.
        aggregate_type: String,
    },
    /// The reason of a hand-written projection.
    #[error("{0}")]
    Other(String),
}
