use eventfold::Event;
use serde_json::{Map, Value};

use super::guarded::{Kept, guard};
use super::origin::Origin;
use super::read_back::reads_back;
use crate::aggregate::Aggregate;
use crate::clock::{StoreClock, event_id};
use crate::command::CommandContext;
use crate::error::StoreError;
use crate::event::{DomainEvent, EventError};
use crate::evolution::SCHEMA_VERSION;
use crate::nesting;

/// An event in its stored form, and as that reads back.
pub(crate) struct EncodedEvent<E> {
    pub(crate) line: Box<str>,
    /// The decoded line. States fold this event, so that they are the same after a restart.
    pub(crate) event: Kept<E>,
    pub(crate) id: Option<String>,
}

impl<E: DomainEvent> EncodedEvent<E> {
    /// Encodes a new event with the entries of its context, and with its origin if a process manager caused it.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unstorable`] if the event does not read back unchanged, and [`StoreError::Panicked`].
    pub(crate) fn new<A: Aggregate<DomainEvent = E>>(
        event: &E,
        context: &CommandContext,
        origin: Option<Origin<'_>>,
        clock: &StoreClock,
    ) -> Result<Self, StoreError> {
        let encoded = guard(
            || format!("the encoding of an event of `{}`", A::AGGREGATE_TYPE),
            || event.to_event(),
        )?;
        let mut stored = encoded.map_err(StoreError::Unstorable)?;
        stored.ts = clock.seconds_shown();
        stored.id = Some(event_id().to_string());
        stored.actor.clone_from(&context.actor);
        if let Some(Value::Object(entries)) = &context.metadata
            && entries.contains_key(SCHEMA_VERSION)
        {
            return Err(StoreError::Unstorable(EventError::Unstorable {
                event_type: stored.event_type,
                reason: format!(
                    "the metadata of the command has an entry `{SCHEMA_VERSION}`, which is reserved for the version of a stored event: \
                     give it another name"
                ),
            }));
        }
        let version = stored
            .meta
            .as_mut()
            .and_then(|meta| meta.get_mut(SCHEMA_VERSION));
        let version = version.map(Value::take);
        stored.meta = meta(context, origin.is_some(), version);
        let (mut line, event) = encode::<A>(&stored)?;
        if let Some(origin) = origin {
            origin.add_to(&mut line, stored.meta.is_some(), context);
        }
        Ok(Self {
            line: line.into(),
            event,
            id: stored.id,
        })
    }

    /// Encodes an event that another store has written.
    ///
    /// # Errors
    ///
    /// The errors of [`new`](Self::new), and of decoding.
    pub(crate) fn from_stored<A: Aggregate<DomainEvent = E>>(
        stored: &Event,
    ) -> Result<Self, StoreError> {
        let (line, event) = encode::<A>(stored)?;
        Ok(Self {
            line: line.into(),
            event,
            id: stored.id.clone(),
        })
    }
}

/// The line of an event, and the event as the line reads back.
fn encode<A: Aggregate>(stored: &Event) -> Result<(String, Kept<A::DomainEvent>), StoreError> {
    let unstorable = |reason: String| {
        StoreError::Unstorable(EventError::Unstorable {
            event_type: stored.event_type.clone(),
            reason,
        })
    };
    let line = serde_json::to_string(stored).map_err(|error| unstorable(error.to_string()))?;
    // The event itself is one level.
    if nesting::is_deeper(&line, nesting::MAX_DEPTH + 1) {
        return Err(unstorable(nesting::TOO_DEEP.to_owned()));
    }
    if !reads_back(&line, stored)
        .map_err(|error| unstorable(format!("it does not read back: {error}")))?
    {
        return Err(unstorable("it reads back with other values".to_owned()));
    }
    let decoded = guard(
        || format!("the decoding of an event of `{}`", A::AGGREGATE_TYPE),
        || A::DomainEvent::from_event(stored),
    )?;
    let event = decoded
        .map(Kept::new)
        .map_err(|error| unstorable(format!("it does not read back: {error}")))?;
    Ok((line, event))
}

fn meta(
    context: &CommandContext,
    has_origin: bool,
    schema_version: Option<Value>,
) -> Option<Value> {
    let mut meta = match &context.metadata {
        Some(Value::Object(entries)) => entries.clone(),
        _ => Map::new(),
    };
    if let Some(id) = &context.correlation_id {
        meta.insert("correlation_id".to_owned(), Value::from(id.as_str()));
    }
    // The origin records the cause of a process manager's command, so the context cannot override it.
    if let Some(id) = context.causation_id.as_ref().filter(|_| !has_origin) {
        meta.insert("causation_id".to_owned(), Value::from(id.as_str()));
    }
    if let Some(device) = &context.source_device {
        meta.insert("source_device".to_owned(), Value::from(device.as_str()));
    }
    if let Some(version) = schema_version {
        meta.insert(SCHEMA_VERSION.to_owned(), version);
    }
    (!meta.is_empty()).then_some(Value::Object(meta))
}
