//! Snapshots for tests: to see what is saved, and to save something else.

use serde_json::value::RawValue;

use super::AggregateStore;
use crate::journal::{Snapshot, StreamId};

/// A snapshot as it is saved.
#[derive(Debug, Clone)]
#[doc(hidden)]
pub struct SavedSnapshot {
    /// How many events of the stream it has seen.
    pub version: u64,
    /// See [`Aggregate::SNAPSHOT_VERSION`](crate::Aggregate::SNAPSHOT_VERSION).
    pub snapshot_version: u32,
    /// The hash of the commit of the last of them.
    pub commit_hash: u64,
    /// The state, as JSON.
    pub state: Box<RawValue>,
}

impl AggregateStore {
    /// The snapshot of a stream that counts. Blocks.
    #[doc(hidden)]
    #[must_use]
    pub fn saved_snapshot(&self, aggregate_type: &str, id: &str) -> Option<SavedSnapshot> {
        let stream = StreamId::new(aggregate_type, id);
        let found = self.shared.runtime.journal.load_snapshot(&stream)?;
        Some(SavedSnapshot {
            version: found.seen.version,
            snapshot_version: found.snapshot_version,
            commit_hash: found.seen.commit.hash,
            state: found.state,
        })
    }

    /// Replaces it by one that says something else of the same place in the journal; `false` if there is none. Blocks.
    #[doc(hidden)]
    pub fn forge_snapshot(
        &self,
        aggregate_type: &str,
        id: &str,
        forge: impl FnOnce(&mut SavedSnapshot),
    ) -> bool {
        let stream = StreamId::new(aggregate_type, id);
        let journal = &self.shared.runtime.journal;
        let (Some(found), Some(mut saved)) = (
            journal.load_snapshot(&stream),
            self.saved_snapshot(aggregate_type, id),
        ) else {
            return false;
        };
        forge(&mut saved);
        let mut seen = found.seen;
        seen.version = saved.version;
        seen.commit.hash = saved.commit_hash;
        let snapshot = Snapshot {
            seen,
            snapshot_version: saved.snapshot_version,
            state: saved.state,
        };
        journal.save_snapshot(&stream, &snapshot);
        true
    }
}
