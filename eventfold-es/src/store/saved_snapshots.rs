//! Snapshots for tests, to inspect and replace.

use serde_json::value::RawValue;

use super::AggregateStore;
use crate::journal::{Snapshot, StreamId};

/// A saved snapshot.
#[derive(Debug, Clone)]
#[doc(hidden)]
pub struct SavedSnapshot {
    /// The number of events of the stream that are folded into the state.
    pub version: u64,
    /// See [`Aggregate::SNAPSHOT_VERSION`](crate::Aggregate::SNAPSHOT_VERSION).
    pub snapshot_version: u32,
    /// The hash of the commit of the last folded event.
    pub commit_hash: u64,
    /// The state, as JSON.
    pub state: Box<RawValue>,
}

impl AggregateStore {
    /// The current snapshot of a stream. Blocks.
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

    /// Replaces the snapshot by another snapshot of the same place in the journal; `false` if there is none. Blocks.
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
