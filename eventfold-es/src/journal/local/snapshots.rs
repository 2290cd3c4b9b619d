//! The files of snapshots.

use std::sync::{Arc, Mutex};

use super::layout::Layout;
use super::streams::{StreamSlot, lock};
use crate::disk::{FileError, Files, SealError, SealedFile};
use crate::journal::Snapshot;

/// The snapshots of all streams, while the directory is held.
pub(super) struct SnapshotFiles {
    files: Files,
    layout: Layout,
    /// Locked while a snapshot is written: two for one stream would share the temporary name of the file.
    is_open: Mutex<bool>,
}

impl SnapshotFiles {
    pub(super) fn new(files: Files, layout: Layout) -> Arc<Self> {
        Arc::new(Self {
            files,
            layout,
            is_open: Mutex::new(true),
        })
    }

    /// The snapshot, if there is one that can be read.
    pub(super) fn load(&self, slot: &StreamSlot) -> Option<Snapshot> {
        let file = self.file(slot);
        let reason = match self.check(slot) {
            Ok(None) => return None,
            Ok(Some(Ok(snapshot))) => return Some(snapshot),
            Ok(Some(Err(error))) => error.to_string(),
            Err(error) => error.to_string(),
        };
        tracing::warn!(path = %file.path().display(), reason, "a snapshot cannot be read; its stream is read from the beginning");
        None
    }

    /// The snapshot, if there is one, or why it cannot be read.
    pub(super) fn check(
        &self,
        slot: &StreamSlot,
    ) -> Result<Option<Result<Snapshot, SealError>>, FileError> {
        self.file(slot).load()
    }

    /// Saves a snapshot, unless the directory is about to be released.
    ///
    /// Nothing is synced: a snapshot that a power loss tore is told by its checksum, and one that is older than the stream is
    /// as good as any.
    pub(super) fn save(&self, slot: &StreamSlot, snapshot: &Snapshot) -> Result<(), FileError> {
        let is_open = lock(&self.is_open);
        if *is_open {
            self.file(slot).save_without_sync(snapshot)?;
        }
        Ok(())
    }

    /// Writes no more, before the directory is released: another process may open it then. Waits for the snapshot that is being
    /// written.
    pub(super) fn close(&self) {
        *lock(&self.is_open) = false;
    }

    fn file(&self, slot: &StreamSlot) -> SealedFile {
        let path = self
            .layout
            .snapshot(&slot.stream.aggregate_type, slot.directory());
        SealedFile::new(self.files.clone(), path)
    }
}
