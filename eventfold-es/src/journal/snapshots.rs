//! Saved states, from which fewer events have to be folded.

use std::sync::Arc;

use super::{JournalError, RedbFile, RedbOptions, SavedValue, Snapshot, StreamId};

/// Saved states. All of them are derived: the store can lose any of them.
pub(crate) trait Snapshots: Send + Sync + 'static {
    /// The last saved snapshot of a stream, if it exists and can be read. Blocks.
    fn load_snapshot(&self, stream: &StreamId) -> Option<Snapshot>;

    /// Replaces the snapshot of a stream. The next checkpoint saves it. It may be lost until then.
    fn save_snapshot(&self, stream: &StreamId, snapshot: &Snapshot);

    /// The saved state of a projection. Call [`prepare_to_save`](Self::prepare_to_save) before each save.
    fn projection(&self, name: &str) -> Arc<dyn SavedValue>;

    /// Opens the rows of a projection, or replaces them by an empty file. Call [`prepare_to_save`](Self::prepare_to_save)
    /// before each durable change. Blocks.
    fn projection_rows(
        &self,
        name: &str,
        options: &RedbOptions,
        is_new: bool,
    ) -> Result<RedbFile, JournalError>;

    /// Ensures that all readable events survive a power loss, and that the files are still those of this store. Called before
    /// derived data is saved. Blocks.
    fn prepare_to_save(&self) -> Result<(), JournalError>;
}
