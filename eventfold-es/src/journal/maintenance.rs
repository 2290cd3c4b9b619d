//! The journal as a whole: verifying it, copying it, measuring it and closing it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use tokio::sync::watch;

use super::{BackupError, BackupReport, Damage, JournalError, Snapshot, StreamId, StreamReader};

/// Operations on the whole journal.
///
/// Methods that say so block on I/O; the rest only take short locks.
pub(crate) trait Maintenance: Send + Sync + 'static {
    /// Reads all data back and compares it. `check_state` compares the content of snapshots. Blocks.
    fn verify(&self, check_state: &CheckState<'_>) -> Result<Verified, JournalError>;

    /// Copies everything that is durable now to a different directory, which then holds an independent store; `None` if it was
    /// stopped before. Blocks.
    fn backup(
        &self,
        to: &Path,
        is_stopped: &AtomicBool,
    ) -> Result<Option<BackupReport>, BackupError>;

    /// The size of the journal, and the times of its last writes to the disk.
    fn vitals(&self) -> Vitals;

    /// Refuses further commits, finishes the submitted commits in the background, and lets another node lead behind them. Everything can be
    /// read until it is closed.
    fn resign(&self);

    /// [Resigns](Self::resign), and completes the derived files in the background.
    fn close(&self);

    /// Completes when everything is written and the lock on the directory is released.
    fn closed(&self) -> watch::Receiver<bool>;
}

/// Compares a snapshot with the fold of its events, which are the first events of the stream.
pub(crate) type CheckState<'a> =
    dyn Fn(&StreamId, &Snapshot, &mut dyn StreamReader) -> StateChecked + 'a;

/// The reason why a snapshot is not the fold of its events, if it is not.
pub(crate) type StateChecked = Result<Option<String>, JournalError>;

/// The result of a verification.
#[derive(Debug, Default)]
pub(crate) struct Verified {
    pub(crate) commits: u64,
    pub(crate) events: u64,
    pub(crate) streams: u64,
    pub(crate) snapshots: u64,
    pub(crate) differences: Vec<Damage>,
}

/// The size of the journal, and the times of its last writes to the disk.
#[derive(Debug, Clone)]
pub(crate) struct Vitals {
    /// The size on the disk, in bytes.
    pub(crate) bytes: u64,
    /// In milliseconds since 1970; `None` if there was no sync since the opening.
    pub(crate) last_sync: Option<u64>,
    /// In milliseconds since 1970; `None` if there was no checkpoint since the opening.
    pub(crate) last_checkpoint: Option<u64>,
    /// The reason why the last write of commits failed; `None` if it did not.
    pub(crate) write_failure: Option<Arc<str>>,
}
