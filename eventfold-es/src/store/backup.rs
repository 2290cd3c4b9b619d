//! A second directory with everything durable.

use std::path::Path;
use std::sync::Arc;

use tracing::Instrument;

use super::AggregateStore;
use super::stop_on_drop::StopOnDrop;
use crate::disk::absolute;
use crate::journal::{BackupError, BackupReport};

impl AggregateStore {
    /// Copies the store to another directory, while commands continue. The backup is a store itself: open it, or a copy of it,
    /// to use it.
    ///
    /// The backup has only the journal. `open` derives the rest from it, once, in about the time of reading the journal. It has
    /// every event up to [`BackupReport::position`], with the progress and the dead letters of the process managers at that
    /// position. An opened backup reacts to nothing a second time.
    ///
    /// Another call with the same directory copies only new data. Archived parts of the journal (see
    /// [`max_log_size`](crate::AggregateStoreBuilder::max_log_size)) never change: where the file system allows it they are
    /// linked, not copied, and take no room. A link protects from a lost directory, not from a damaged disk. For that, put the
    /// directory on another disk, where everything is copied. Each new line is read back and compared with its checksum before
    /// the backup counts.
    ///
    /// ```
    /// # use eventfold_es::prelude::*;
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let directory = tempfile::tempdir()?;
    /// # let (shop, backups) = (directory.path().join("shop"), directory.path().join("backups"));
    /// let store = AggregateStore::open(&shop).await?;
    /// let report = store.backup(backups.join("shop")).await?;
    /// assert_eq!(report.position, 0, "there are no events yet");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`BackupError::Overlapping`], [`BackupError::InUse`], [`BackupError::Occupied`] and [`BackupError::OtherStore`]
    /// if the directory cannot hold a backup of this store; these change nothing. [`BackupError::Store`] if a file
    /// cannot be read or written, or is damaged. A previous backup stays in place after every error.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: the previous backup stays as it was, and the next call keeps the archived parts that were copied.
    pub async fn backup(&self, to: impl AsRef<Path>) -> Result<BackupReport, BackupError> {
        let to = absolute(to.as_ref())?;
        let span = tracing::info_span!("backup", to = %to.display());
        let stop = StopOnDrop::default();
        let runtime = Arc::clone(&self.shared.runtime);
        let copying = stop.run("backing the store up", move |is_stopped| {
            runtime.journal.backup(&to, is_stopped)
        });
        let report = copying.instrument(span.clone()).await?;
        span.in_scope(|| {
            tracing::info!(
                position = report.position,
                bytes = report.bytes,
                linked_bytes = report.linked_bytes,
                copied_bytes = report.copied_bytes,
                "backed up"
            );
        });
        Ok(report)
    }
}
