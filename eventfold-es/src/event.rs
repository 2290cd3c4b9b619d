//! Domain events, and their conversion to and from stored events.

mod stored;

use eventfold::Event;
use serde::Serialize;
use serde::de::value::StrDeserializer;
use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::Value;
use serde_json::de::StrRead;

use crate::evolution::{self, Upcaster};
use crate::finite;
use crate::schema::EventSchema;
use crate::short;

pub use stored::StoredEvent;
pub(crate) use stored::stored_name;

/// The events of one aggregate: an enum stored by serde with `#[serde(tag = "type", content = "data")]`.
///
/// `#[derive(DomainEvent)]` implements it from the enum's serde attributes. The stored type names are persisted: renaming a
/// variant without `#[serde(rename = "…")]` or `#[serde(alias = "…")]` is a data change.
///
/// # Examples
///
/// ```
/// use eventfold_es::prelude::*;
///
/// #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, DomainEvent)]
/// #[serde(tag = "type", content = "data")]
/// enum OrderEvent { Placed { qty: u32 }, Confirmed }
///
/// assert_eq!(OrderEvent::EVENT_TYPES, ["Placed", "Confirmed"]);
/// let stored = OrderEvent::Placed { qty: 2 }.to_event()?;
/// assert_eq!(stored.event_type, "Placed");
/// assert_eq!(OrderEvent::from_event(&stored)?, OrderEvent::Placed { qty: 2 });
/// # Ok::<(), eventfold_es::EventError>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a domain event",
    label = "not a domain event",
    note = "put `#[derive(Clone, Serialize, Deserialize, DomainEvent)]` and `#[serde(tag = \"type\", content = \"data\")]` on the enum `{Self}`"
)]
pub trait DomainEvent: Serialize + DeserializeOwned + Clone + Send + Sync + 'static {
    /// Every stored type name that this enum reads: first the written names in the order of the variants, then the aliases.
    const EVENT_TYPES: &'static [&'static str];

    /// The version and the shape of each variant. Default: empty, every event is version 1 of an unknown shape.
    const SCHEMAS: &'static [EventSchema] = &[];

    /// The steps from older versions to the current version. Default: empty.
    const UPCASTERS: &'static [Upcaster<Self>] = &[];

    /// The stored type name of this value.
    fn event_type(&self) -> &'static str;

    /// Encodes this value as a stored event. `ts` is 0, and id and actor are empty: the store sets them. `meta` has the version
    /// of the event's shape if that is above 1.
    ///
    /// # Errors
    ///
    /// [`EventError::Unstorable`] if serde refuses the value, if JSON cannot hold a number in it (NaN, an infinity, an
    /// integer beyond 64 bits), or if it is retired. It is also the error for an output that is not `{type, data}` with
    /// the type name of [`event_type`](DomainEvent::event_type).
    fn to_event(&self) -> Result<Event, EventError> {
        encode(self)
    }

    /// Decodes a stored event. An event of an older shape is converted to the current shape [step by step](crate::Upcast).
    ///
    /// # Errors
    ///
    /// [`EventError::UnknownType`] if no variant has the event's type name, [`EventError::Newer`] if a newer program stored it,
    /// [`EventError::Malformed`] if its data does not fit the variant or its older version.
    fn from_event(event: &Event) -> Result<Self, EventError> {
        decode(event)
    }

    /// [`from_event`](Self::from_event), straight from the line of the event if the result is the same. Generated code
    /// implements it.
    ///
    /// # Errors
    ///
    /// As [`from_event`](Self::from_event).
    #[doc(hidden)]
    fn from_stored(event: &StoredEvent<'_>) -> Result<Self, EventError> {
        Self::from_event(event.recorded()?)
    }
}

/// An event that cannot be stored, or a stored event that cannot be read.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum EventError {
    /// A value that would not survive storage. Nothing was written.
    #[error("the event `{event_type}` cannot be stored: {reason}")]
    Unstorable {
        /// The stored type name of the event.
        event_type: String,
        /// The problem with the value.
        reason: String,
    },
    /// A stored type name that the enum does not have.
    #[error(
        "unknown event type `{event_type}`: the enum reads {known}. If it was renamed, keep the old name as \
         `#[serde(alias = \"{event_type}\")]`; if a newer version wrote it, update this program"
    )]
    UnknownType {
        /// The stored type name.
        event_type: String,
        /// The names that the enum reads, separated by commas.
        known: String,
    },
    /// A stored event of a newer version than this program knows.
    #[error(
        "the stored event `{event_type}` is version {version}, but this program knows it up to version {current}: a newer \
         program wrote it; update this one"
    )]
    Newer {
        /// The stored type name.
        event_type: String,
        /// The stored version.
        version: u64,
        /// The version this program writes.
        current: u32,
    },
    /// A stored event of an older version without an upcaster. Only a hand-written [`DomainEvent`] can have it.
    #[error(
        "the stored event `{event_type}` is version {version}, and nothing takes it to version {current}: add an upcaster from \
         that version"
    )]
    NoUpcast {
        /// The stored type name.
        event_type: String,
        /// The stored version.
        version: u64,
        /// The version this program writes.
        current: u32,
    },
    /// Stored data that its variant cannot read.
    #[error(
        "the data of the stored event `{event_type}` does not fit its variant: {reason}. Give new fields \
         `#[serde(default)]`, a new shape a new `#[event(version = ..)]`, and a new meaning a new variant"
    )]
    Malformed {
        /// The stored type name.
        event_type: String,
        /// The error of serde.
        reason: String,
    },
}

/// A stored event with its place in the store.
///
/// It derefs to [`eventfold::Event`], with the stored `event_type`, `data`, `ts` (seconds since 1970), `id`, `actor` and
/// `meta`.
///
/// [`eventfold::Event`]: https://docs.rs/eventfold/0.2/eventfold/struct.Event.html
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct RecordedEvent {
    /// The place in the total order over all streams: 1 is the first event of the store, without gaps.
    pub position: u64,
    /// The place in its stream: 1 is the first event of the stream, without gaps.
    pub version: u64,
    /// The stored event.
    pub event: Event,
}

impl RecordedEvent {
    /// An event at `position` of the store and `version` of its stream, for tests of handlers.
    #[must_use]
    pub fn new(position: u64, version: u64, event: Event) -> Self {
        Self {
            position,
            version,
            event,
        }
    }

    /// The stored correlation id of the event.
    #[must_use]
    pub fn correlation_id(&self) -> Option<&str> {
        self.event.meta.as_ref()?.get("correlation_id")?.as_str()
    }
}

impl std::ops::Deref for RecordedEvent {
    type Target = Event;

    fn deref(&self) -> &Event {
        &self.event
    }
}

fn encode<E: DomainEvent>(event: &E) -> Result<Event, EventError> {
    let announced = event.event_type();
    let unstorable = |reason: String| EventError::Unstorable {
        event_type: announced.to_owned(),
        reason,
    };
    if evolution::is_retired::<E>(announced) {
        return Err(unstorable(
            "it is retired: stored events are read, but no new event is written".to_owned(),
        ));
    }
    let value = finite::to_value(event).map_err(|error| unstorable(error.to_string()))?;
    let Value::Object(mut fields) = value else {
        return Err(unstorable(
            "it does not serialize to an object; the enum needs `#[serde(tag = \"type\", content = \"data\")]`".to_owned(),
        ));
    };
    let stored = fields.remove("type");
    let data = fields.remove("data").unwrap_or(Value::Null);
    if let Some(extra) = fields.keys().next() {
        return Err(unstorable(format!(
            "it serializes to an object with the field `{extra}`, beside `type` and `data`"
        )));
    }
    match stored {
        Some(Value::String(event_type)) if event_type == announced => Ok(Event {
            event_type,
            data,
            ts: 0,
            id: None,
            actor: None,
            meta: evolution::written_version::<E>(announced).map(versioned),
        }),
        Some(other) => Err(unstorable(format!(
            "it serializes with the type {other}, but announces `{announced}`"
        ))),
        None => Err(unstorable(
            "it serializes without a field `type`".to_owned(),
        )),
    }
}

/// The `meta` of an event of this version.
fn versioned(version: u32) -> Value {
    Value::from(serde_json::Map::from_iter([(
        evolution::SCHEMA_VERSION.to_owned(),
        Value::from(version),
    )]))
}

fn decode<E: DomainEvent>(event: &Event) -> Result<E, EventError> {
    if !E::EVENT_TYPES.contains(&event.event_type.as_str()) {
        return Err(EventError::UnknownType {
            event_type: event.event_type.clone(),
            known: E::EVENT_TYPES.join(", "),
        });
    }
    if let Some(current) = evolution::upcast(event)? {
        return Ok(current);
    }
    // As text, as on its line. Code of serde for a second form would double the time to compile an enum.
    let decoded = serde_json::to_string(&event.data).and_then(|data| {
        let mut data = serde_json::Deserializer::from_str(&data);
        deserialize(&event.event_type, &mut data)
    });
    decoded.map_err(|error| EventError::Malformed {
        event_type: event.event_type.clone(),
        reason: without_place(&error),
    })
}

/// The text of an error, without its place in the data. The data alone is not a line of any file.
fn without_place(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    short::reason(text.strip_suffix(&place).unwrap_or(&text))
}

/// Reads the value that comes next in `data`, as the data of an event of this type.
fn deserialize<E: DomainEvent>(
    event_type: &str,
    data: &mut Data<'_>,
) -> Result<E, serde_json::Error> {
    E::deserialize(Stored { event_type, data })
}

/// The reader of the text of the data.
type Data<'de> = serde_json::Deserializer<StrRead<'de>>;

/// Presents a stored event to serde as the object `{type, data}`, without copying the data.
struct Stored<'a, 'de> {
    event_type: &'a str,
    data: &'a mut Data<'de>,
}

impl<'de> Deserializer<'de> for Stored<'_, 'de> {
    type Error = serde_json::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        visitor.visit_map(StoredFields {
            event_type: Some(self.event_type),
            data: Some(self.data),
        })
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

/// The fields that serde has not read yet.
struct StoredFields<'a, 'de> {
    event_type: Option<&'a str>,
    data: Option<&'a mut Data<'de>>,
}

impl<'de> MapAccess<'de> for StoredFields<'_, 'de> {
    type Error = serde_json::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Self::Error> {
        let key = match (&self.event_type, &self.data) {
            (Some(_), _) => "type",
            (None, Some(_)) => "data",
            (None, None) => return Ok(None),
        };
        seed.deserialize(StrDeserializer::new(key)).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(
        &mut self,
        seed: V,
    ) -> Result<V::Value, Self::Error> {
        if let Some(event_type) = self.event_type.take() {
            return seed.deserialize(StrDeserializer::new(event_type));
        }
        match self.data.take() {
            Some(data) => seed.deserialize(data),
            None => Err(serde_json::Error::custom("an event has two fields")),
        }
    }
}
