use serde::{Deserialize, Serialize};

use super::SeenBefore;
use crate::event::RecordedEvent;
use crate::evolution::stored_version;

/// The content of the checkpoint of a projection.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SavedProjection<S> {
    /// The position of the last event that the state has seen.
    pub(crate) position: u64,
    /// The line hash of that event. A different history has a different hash. An earlier version did not save it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) event: Option<String>,
    /// The aggregate types whose events it has seen. An earlier version did not save them.
    pub(crate) subscriptions: Option<Vec<String>>,
    /// Its progress in an earlier version, until it is past all adopted events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) seen_before: Option<SeenBefore>,
    /// The unknown events that it has skipped, the first event of each kind.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) skipped: Vec<SkippedEvent>,
    pub(crate) state: S,
}

/// An event that a projection has skipped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SkippedEvent {
    pub(crate) position: u64,
    pub(crate) aggregate_type: String,
    pub(crate) event_type: String,
    /// The version of its shape.
    pub(crate) version: u64,
}

impl SkippedEvent {
    pub(crate) fn of(aggregate_type: &str, event: &RecordedEvent) -> Self {
        Self {
            position: event.position,
            aggregate_type: aggregate_type.to_owned(),
            event_type: event.event_type.clone(),
            version: stored_version(event),
        }
    }

    /// Adds the event to a list, if it is the first of its kind there; returns whether it is.
    pub(crate) fn note_in(self, list: &mut Vec<Self>) -> bool {
        let is_alike = |known: &Self| {
            known.version == self.version
                && known.event_type == self.event_type
                && known.aggregate_type == self.aggregate_type
        };
        let is_first = !list.iter().any(is_alike);
        if is_first {
            list.push(self);
        }
        is_first
    }
}

impl<S> SavedProjection<S> {
    /// Whether a projection with these subscriptions can continue with the state.
    pub(crate) fn fits(&self, subscriptions: &[&str]) -> bool {
        match (&self.subscriptions, &self.seen_before) {
            (Some(saved), _) => saved == subscriptions,
            (None, Some(seen)) => seen
                .aggregate_types()
                .all(|aggregate_type| subscriptions.contains(&aggregate_type)),
            (None, None) => true,
        }
    }
}
