//! The printed form of events and states in a test: their stored form.

use serde::Serialize;
use serde_json::Value;

use crate::event::{DomainEvent, RecordedEvent};

/// An event as the store would record it, without time, id and metadata.
#[track_caller]
pub(super) fn recorded(event: &impl DomainEvent, position: u64, version: u64) -> RecordedEvent {
    match event.to_event() {
        Ok(event) => RecordedEvent::new(position, version, event),
        Err(error) => panic!("{error}"),
    }
}

/// Events in order: the stored type, and the data as JSON.
#[track_caller]
pub(super) fn printed_events<E: DomainEvent>(events: &[E]) -> String {
    let mut printed = String::new();
    for event in events {
        let stored = recorded(event, 1, 1).event;
        printed.push_str(&stored.event_type);
        if stored.data != Value::Null {
            printed.push(' ');
            printed.push_str(&pretty(&stored.data));
        }
        printed.push('\n');
    }
    printed
}

/// A value as JSON, over several lines.
#[track_caller]
pub(super) fn printed_value(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(value) => pretty(&value),
        Err(error) => panic!("a value does not serialize: {error}"),
    }
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_else(|_| value.to_string())
}

/// The state after it was stored and read back.
#[track_caller]
pub(super) fn read_back<T: Serialize + serde::de::DeserializeOwned>(what: &str, value: &T) -> T {
    let stored = match crate::finite::to_raw_value(value) {
        Ok(stored) => stored,
        Err(error) => panic!("the state of `{what}` does not serialize: {error}"),
    };
    match serde_json::from_str(stored.get()) {
        Ok(value) => value,
        Err(error) => panic!("the state of `{what}` does not read back: {error}\n{stored}"),
    }
}
