//! What an earlier version left of a process manager, as far as the runtime has to know it.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Damage, RowChange, StreamId};

/// What a process manager or a projection had seen, stream by stream, when an earlier version saved it.
///
/// That version read each stream on its own, so what was seen is not one place in the order of all adopted events.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SeenBefore {
    /// The position of the last adopted event: nothing behind it was seen.
    boundary: u64,
    /// The version of the last event that was seen, by aggregate type and instance.
    versions: BTreeMap<String, BTreeMap<String, u64>>,
}

impl SeenBefore {
    /// With the position of the last adopted event.
    pub(crate) fn up_to(self, boundary: u64) -> Self {
        Self { boundary, ..self }
    }

    /// Notes that a stream was seen up to a version.
    pub(crate) fn note(&mut self, stream: &StreamId, version: u64) {
        self.versions
            .entry(stream.aggregate_type.to_string())
            .or_default()
            .insert(stream.instance_id.to_string(), version);
    }

    /// Whether this event of the stream was seen.
    pub(crate) fn covers(&self, stream: &StreamId, version: u64, position: u64) -> bool {
        position <= self.boundary
            && self
                .versions
                .get(&*stream.aggregate_type)
                .and_then(|instances| instances.get(&*stream.instance_id))
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

/// What an earlier version left of a process manager.
#[derive(Debug, Clone)]
pub(crate) struct Inherited {
    pub(crate) seen: Arc<SeenBefore>,
    /// Its dead letters, where they did not come with its progress: they belong into its first commit.
    pub(crate) dead_letters: Vec<Box<str>>,
    /// Their rows, which belong there as well.
    pub(crate) rows: Vec<RowChange>,
    /// Why it cannot go on where that version left it, so that it would react to everything again.
    pub(crate) problem: Option<Damage>,
}
