//! States that are saved so that fewer events are folded again.

use std::sync::Arc;

use super::{JournalError, SavedValue, Snapshot, StreamId};

/// Saved states. All of them are derived: the journal can lose any of them.
pub(crate) trait Snapshots: Send + Sync + 'static {
    /// The snapshot of a stream that was saved last, if there is one that can be read. Blocks.
    fn load_snapshot(&self, stream: &StreamId) -> Option<Snapshot>;

    /// Replaces the snapshot of a stream. The next checkpoint saves it; until then it may be lost again.
    fn save_snapshot(&self, stream: &StreamId, snapshot: &Snapshot);

    /// The saved state of a projection. [`prepare_to_save`](Self::prepare_to_save) comes before each save.
    fn projection(&self, name: &str) -> Arc<dyn SavedValue>;

    /// Makes certain, before something derived is saved, that everything that can be read survives a power loss, and that the
    /// files are still those of this store. Blocks.
    fn prepare_to_save(&self) -> Result<(), JournalError>;
}
