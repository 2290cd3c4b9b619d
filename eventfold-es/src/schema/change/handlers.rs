//! The changes of event handlers, which have no stored state: of their subscriptions and keys.

use super::Changes;
use crate::schema::declared::HandlerShape;

/// Compares an event handler with the lock. Its progress, and the events that wait for it, are stored.
pub(super) fn event_handler(old: &HandlerShape, new: &HandlerShape, changes: &mut Changes) {
    let place = format!("event handler `{}`", new.name);
    if old.key != new.key {
        changes.breaking(
            &format!("key of the {place}"),
            format!(
                "it was {}, and is {} now: an event that waits under its old key does not hold up later events under the new key",
                key(&old.key),
                key(&new.key)
            ),
            "if no event of it waits for a retry or is parked, write the lock anew; otherwise finish these first, with the old program",
        );
    }
    for aggregate in &old.subscriptions {
        if !new.subscriptions.contains(aggregate) {
            changes.breaking(
                &place,
                format!("it does not subscribe to `{aggregate}` any more, whose events may wait for it"),
                "subscribe to it again; or, if no event of it waits, is parked or is a dead letter, write the lock anew",
            );
        }
    }
    for aggregate in &new.subscriptions {
        if !old.subscriptions.contains(aggregate) {
            changes.compatible(
                &place,
                format!("it also subscribes to `{aggregate}`"),
                "it handles the events of that aggregate behind its stored progress, and not those before it",
            );
        }
    }
}

fn key(key: &str) -> String {
    match key {
        "" => "the stream".to_owned(),
        key => format!("a `{key}`"),
    }
}
