use serde::{Deserialize, Serialize};

use super::SeenBefore;

/// The content of the checkpoint of a projection.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SavedProjection<S> {
    /// The position of the last event that the state has seen.
    pub(crate) position: u64,
    /// The line hash of that event: another history has another one; an earlier version did not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) event: Option<String>,
    /// The aggregate types that it saw events of; an earlier version did not say.
    pub(crate) subscriptions: Option<Vec<String>>,
    /// Its progress before that, until it is past all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) seen_before: Option<SeenBefore>,
    /// The unknown events that it has skipped, the first of each kind.
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
