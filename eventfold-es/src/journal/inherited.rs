//! The data that an earlier version left for a process manager, for the runtime.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Damage, RowChange, StreamId, StreamRef};

/// The progress of a process manager or a projection, stream by stream, when an earlier version saved it.
///
/// That version read each stream separately, so that its progress is not one position in the order of all adopted events.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SeenBefore {
    /// The position of the last adopted event. No later event was seen.
    boundary: u64,
    /// The version of the last seen event, by aggregate type and instance.
    versions: BTreeMap<String, BTreeMap<String, u64>>,
}

impl SeenBefore {
    /// Sets the position of the last adopted event.
    pub(crate) fn up_to(self, boundary: u64) -> Self {
        Self { boundary, ..self }
    }

    /// Records that a stream was seen up to a version.
    pub(crate) fn note(&mut self, stream: &StreamId, version: u64) {
        self.versions
            .entry(stream.aggregate_type.to_string())
            .or_default()
            .insert(stream.instance_id.to_string(), version);
    }

    /// Whether this event of the stream was seen.
    pub(crate) fn covers(&self, stream: StreamRef<'_>, version: u64, position: u64) -> bool {
        position <= self.boundary
            && self
                .versions
                .get(&**stream.aggregate_type)
                .and_then(|instances| instances.get(stream.instance_id))
                .is_some_and(|seen| version <= *seen)
    }

    /// Whether it has no effect on the events behind this position.
    pub(crate) fn ends_at(&self, position: u64) -> bool {
        position >= self.boundary
    }

    /// The aggregate types with any progress.
    pub(crate) fn aggregate_types(&self) -> impl Iterator<Item = &str> {
        self.versions.keys().map(String::as_str)
    }
}

/// The data that an earlier version left for a process manager.
#[derive(Debug, Clone)]
pub(crate) struct Inherited {
    pub(crate) seen: Arc<SeenBefore>,
    /// Its dead letters, if they were not stored with its progress. Its first commit then stores them.
    pub(crate) dead_letters: Vec<Box<str>>,
    /// The rows of these dead letters, for the same commit.
    pub(crate) rows: Vec<RowChange>,
    /// The reason why it cannot continue. Starting it would deliver every event again.
    pub(crate) problem: Option<Damage>,
}
