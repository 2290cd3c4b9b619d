//! Events as readers receive them.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use serde_json::Value;

use super::Subscription;
use crate::aggregate::Aggregate;
use crate::error::ReadError;
use crate::event::{DomainEvent, EventError, RecordedEvent, StoredEvent};
use crate::journal::CommittedEvent;
use crate::runtime::{Kept, guard};
use crate::store::AggregateStore;
use crate::topology::Topology;

/// A typed event with all its stored facts.
///
/// The position, the version and the time are available at once. The first access to the actor, the ids or the metadata
/// decodes them.
#[non_exhaustive]
pub struct Recorded<E> {
    /// The event, in its current version.
    pub event: E,
    /// The event with its stored facts.
    pub raw: RawRecorded,
}

impl<E: fmt::Debug> fmt::Debug for Recorded<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorded")
            .field("position", &self.raw.position)
            .field("stream_id", &self.raw.stream_id())
            .field("version", &self.raw.version)
            .field("event", &self.event)
            .finish_non_exhaustive()
    }
}

/// Turns a stored event into an item of a reader.
pub(super) type Decode<T> = fn(RawRecorded) -> Result<T, ReadError>;

/// Decodes an event of several aggregate types. A declared store generates the implementation.
#[doc(hidden)]
pub trait Decodes: Sized + 'static {
    /// The store, whose aggregates these are.
    fn topology() -> &'static Topology;

    /// Decodes an event of the aggregate with this index in the topology.
    ///
    /// # Errors
    ///
    /// [`ReadError::Event`] if the event does not decode.
    fn decode(index: usize, event: &RawRecorded) -> Result<Self, ReadError>;
}

/// The events of several aggregate types.
#[doc(hidden)]
pub fn subscribe<E: Decodes>(store: &AggregateStore) -> Subscription<Recorded<E>> {
    let types = E::topology().aggregates.iter();
    let types = types.map(|aggregate| aggregate.name.into()).collect();
    store.subscription(Some(types), |raw| {
        let mut aggregates = E::topology().aggregates.iter();
        // An event of another type is not delivered; it would not decode.
        let index = aggregates.position(|aggregate| aggregate.name == raw.aggregate_type());
        let event = E::decode(index.unwrap_or(usize::MAX), &raw)?;
        Ok(Recorded { event, raw })
    })
}

impl<E> Recorded<E> {
    /// The event of an aggregate of type `A`.
    pub(super) fn of<A: Aggregate<DomainEvent = E>>(raw: RawRecorded) -> Result<Self, ReadError> {
        let event = raw.decoded::<A>()?;
        Ok(Self { event, raw })
    }

    /// The position in the order of all events of the store. The first event has 1, and there are no gaps.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.raw.position
    }

    /// The version of the stream with this event. The first event has 1, and there are no gaps.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.raw.version
    }

    /// The time at which the event was stored, in milliseconds. It never goes back from one event to the next.
    #[must_use]
    pub fn at(&self) -> SystemTime {
        self.raw.at()
    }

    /// The id of the aggregate that the event belongs to.
    #[must_use]
    pub fn stream_id(&self) -> &str {
        self.raw.stream_id()
    }

    /// The id of the event.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        self.raw.id()
    }

    /// The actor of the command that caused the event.
    #[must_use]
    pub fn actor(&self) -> Option<&str> {
        self.raw.actor()
    }

    /// The correlation id of the command that caused the event.
    #[must_use]
    pub fn correlation_id(&self) -> Option<&str> {
        self.raw.correlation_id()
    }

    /// The id of the event that caused this one, if a process manager sent the command.
    #[must_use]
    pub fn causation_id(&self) -> Option<&str> {
        self.raw.causation_id()
    }

    /// The metadata of the event.
    #[must_use]
    pub fn metadata(&self) -> Option<&Value> {
        self.raw.metadata()
    }
}

/// An event of any aggregate type, as it is stored.
///
/// [`AggregateStore::subscribe_all`](crate::AggregateStore::subscribe_all) has an example.
pub struct RawRecorded {
    aggregate_type: Arc<str>,
    position: u64,
    version: u64,
    time: u64,
    /// The id of the aggregate, and then the line of the event.
    text: Box<str>,
    id_bytes: usize,
    recorded: OnceLock<Option<Box<RecordedEvent>>>,
}

impl fmt::Debug for RawRecorded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawRecorded")
            .field("position", &self.position)
            .field("aggregate_type", &self.aggregate_type())
            .field("stream_id", &self.stream_id())
            .field("version", &self.version)
            .field("json", &self.json())
            .finish_non_exhaustive()
    }
}

impl RawRecorded {
    pub(super) fn new(event: CommittedEvent<'_>) -> Self {
        let id = event.stream.instance_id;
        // A copy, so that one event does not keep a part of the journal in memory.
        let mut text = String::with_capacity(id.len() + event.line.len());
        text.push_str(id);
        text.push_str(event.line);
        Self {
            aggregate_type: Arc::clone(event.stream.aggregate_type),
            position: event.position,
            version: event.version,
            time: event.time,
            text: text.into_boxed_str(),
            id_bytes: id.len(),
            recorded: OnceLock::new(),
        }
    }

    /// The stored name of the aggregate type.
    #[must_use]
    pub fn aggregate_type(&self) -> &str {
        &self.aggregate_type
    }

    /// The id of the aggregate that the event belongs to.
    #[must_use]
    pub fn stream_id(&self) -> &str {
        self.text.get(..self.id_bytes).unwrap_or_default()
    }

    /// The position in the order of all events of the store. The first event has 1, and there are no gaps.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The version of the stream with this event. The first event has 1, and there are no gaps.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The time at which the event was stored, in milliseconds. It never goes back from one event to the next.
    #[must_use]
    pub fn at(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(self.time)
    }

    /// The stored event as JSON, in one line: an [`eventfold::Event`](https://docs.rs/eventfold/0.2/eventfold/struct.Event.html).
    #[must_use]
    pub fn json(&self) -> &str {
        self.text.get(self.id_bytes..).unwrap_or_default()
    }

    /// The stored event. The first access decodes it.
    ///
    /// # Errors
    ///
    /// [`EventError::Malformed`] if the line is no eventfold event. No store has written such a line.
    pub fn recorded(&self) -> Result<&RecordedEvent, EventError> {
        if let Some(recorded) = self.lazily() {
            return Ok(recorded);
        }
        let event = serde_json::from_str::<eventfold::Event>(self.json());
        Err(malformed(event.err()))
    }

    /// The stored event without its position and version.
    pub(in crate::store) fn read(&self) -> Result<eventfold::Event, ReadError> {
        let event = serde_json::from_str(self.json());
        event.map_err(|error| self.error(malformed(Some(error))))
    }

    fn lazily(&self) -> Option<&RecordedEvent> {
        let recorded = self.recorded.get_or_init(|| {
            let event = serde_json::from_str(self.json()).ok()?;
            Some(Box::new(RecordedEvent::new(
                self.position,
                self.version,
                event,
            )))
        });
        recorded.as_deref()
    }

    /// The id of the event.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        self.lazily()?.id.as_deref()
    }

    /// The actor of the command that caused the event.
    #[must_use]
    pub fn actor(&self) -> Option<&str> {
        self.lazily()?.actor.as_deref()
    }

    /// The correlation id of the command that caused the event.
    #[must_use]
    pub fn correlation_id(&self) -> Option<&str> {
        self.lazily()?.correlation_id()
    }

    /// The id of the event that caused this one, if a process manager sent the command.
    #[must_use]
    pub fn causation_id(&self) -> Option<&str> {
        self.metadata()?.get("causation_id")?.as_str()
    }

    /// The metadata of the event.
    #[must_use]
    pub fn metadata(&self) -> Option<&Value> {
        self.lazily()?.meta.as_ref()
    }

    /// Decodes the event as an event of `A`, in its current version; `None` if it belongs to another aggregate type.
    ///
    /// # Errors
    ///
    /// [`ReadError::Event`] if the event does not decode.
    pub fn decode<A: Aggregate>(&self) -> Result<Option<A::DomainEvent>, ReadError> {
        if self.aggregate_type() != A::AGGREGATE_TYPE {
            return Ok(None);
        }
        self.decoded::<A>().map(Some)
    }

    pub(crate) fn decoded<A: Aggregate>(&self) -> Result<A::DomainEvent, ReadError> {
        let stored = StoredEvent::of_line(self.position, self.version, self.json());
        let decoded = stored.and_then(|stored| {
            guard(
                || format!("the decoding of an event of `{}`", A::AGGREGATE_TYPE),
                || A::DomainEvent::from_stored(&stored).map(Kept::new),
            )
            .unwrap_or_else(|error| {
                Err(EventError::Malformed {
                    event_type: stored.shown().event_type.clone(),
                    reason: error.to_string(),
                })
            })
        });
        decoded
            .map(Kept::into_inner)
            .map_err(|source| self.error(source))
    }

    fn error(&self, source: EventError) -> ReadError {
        ReadError::Event {
            position: self.position,
            aggregate_type: self.aggregate_type().to_owned(),
            stream_id: self.stream_id().to_owned(),
            version: self.version,
            source,
        }
    }
}

/// The error of a line that is not an event.
fn malformed(error: Option<serde_json::Error>) -> EventError {
    EventError::Malformed {
        event_type: "?".to_owned(),
        reason: error.map(|error| error.to_string()).unwrap_or_default(),
    }
}
