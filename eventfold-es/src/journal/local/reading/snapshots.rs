//! The snapshots of streams: a separate family of runs, and the snapshots that no checkpoint covers yet.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use crate::journal::index::{EntryKey, Merged, Runs};
use crate::journal::local::appends::lock;
use crate::journal::{JournalError, Snapshot, StreamId};
use crate::threads::StoreRuntime;

/// The maximum number of bytes of waiting snapshots. Further snapshots are not saved.
const MAX_BYTES: usize = 16 << 20;

/// The snapshots of all streams. The newest snapshot of a stream counts.
pub(in crate::journal::local) struct SnapshotRuns {
    pub(in crate::journal::local) runs: Runs,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    /// By the keys of their entries.
    new: BTreeMap<Vec<u8>, Vec<u8>>,
    /// The snapshots that are being written.
    sealed: Arc<BTreeMap<Vec<u8>, Vec<u8>>>,
    /// The size of all waiting snapshots.
    bytes: usize,
}

impl SnapshotRuns {
    pub(in crate::journal::local) fn new(runs: Runs) -> Self {
        Self {
            runs,
            waiting: Mutex::default(),
        }
    }

    /// The snapshot of a stream, if it has one. Blocks.
    pub(in crate::journal::local) fn load(
        &self,
        threads: &StoreRuntime,
        stream: &StreamId,
    ) -> Result<Option<Snapshot>, JournalError> {
        let key = EntryKey::snapshot(stream);
        {
            let waiting = lock(&self.waiting);
            let found = waiting.new.get(key.as_bytes());
            if let Some(found) = found.or_else(|| waiting.sealed.get(key.as_bytes())) {
                return Ok(Snapshot::decode(found));
            }
        }
        let mut entries = self.runs.alike(threads, key.as_bytes(), Vec::new())?;
        let found = self.runs.noted(entries.next())?;
        let found = found.filter(|(found, _)| *found == key.as_bytes());
        match found.map(|(_, value)| Snapshot::decode(value)) {
            None => Ok(None),
            Some(Some(snapshot)) => Ok(Some(snapshot)),
            Some(None) => Err(self.runs.malformed().into()),
        }
    }

    /// All snapshots that a checkpoint has saved, ordered by stream. Blocks.
    pub(in crate::journal::local) fn all(&self) -> Result<AllSnapshots, JournalError> {
        Ok(AllSnapshots(self.runs.from(&[], Vec::new())?))
    }

    /// Adds a snapshot. The next checkpoint saves it.
    pub(in crate::journal::local) fn save(&self, stream: &StreamId, snapshot: &Snapshot) {
        let (key, value) = (EntryKey::snapshot(stream).into_bytes(), snapshot.encode());
        let mut waiting = lock(&self.waiting);
        let replaced = waiting
            .new
            .get(&key)
            .map_or(0, |value| key.len() + value.len());
        let bytes = waiting.bytes - replaced + key.len() + value.len();
        if bytes <= MAX_BYTES {
            waiting.bytes = bytes;
            waiting.new.insert(key, value);
        }
    }

    /// Moves the waiting snapshots to the next run. They stay in memory until it is durable.
    pub(in crate::journal::local) fn seal(&self) -> Arc<BTreeMap<Vec<u8>, Vec<u8>>> {
        let mut waiting = lock(&self.waiting);
        let mut new = std::mem::take(&mut waiting.new);
        if !waiting.sealed.is_empty() {
            // The last checkpoint failed.
            let mut older = BTreeMap::clone(&waiting.sealed);
            older.append(&mut new);
            new = older;
        }
        waiting.bytes = bytes(&new);
        waiting.sealed = Arc::new(new);
        Arc::clone(&waiting.sealed)
    }

    /// Drops the sealed snapshots, which a durable run now has.
    pub(in crate::journal::local) fn drop_sealed(&self) {
        let mut waiting = lock(&self.waiting);
        let sealed = std::mem::take(&mut waiting.sealed);
        waiting.bytes = bytes(&waiting.new);
        drop(waiting);
        drop(sealed);
    }
}

fn bytes(snapshots: &BTreeMap<Vec<u8>, Vec<u8>>) -> usize {
    let snapshots = snapshots.iter();
    snapshots.map(|(key, value)| key.len() + value.len()).sum()
}

/// Snapshots, one after the other.
pub(in crate::journal::local) struct AllSnapshots(Merged);

impl AllSnapshots {
    /// The next snapshot. Blocks.
    pub(in crate::journal::local) fn next(
        &mut self,
        of: &SnapshotRuns,
    ) -> Result<Option<(StreamId, Snapshot)>, JournalError> {
        let Some((key, value)) = of.runs.noted(self.0.next())? else {
            return Ok(None);
        };
        match (EntryKey::read_snapshot(key), Snapshot::decode(value)) {
            (Some(stream), Some(snapshot)) => Ok(Some((stream, snapshot))),
            _ => Err(of.runs.malformed().into()),
        }
    }
}
