//! The journal as a whole: checking it, copying it, measuring it and closing it.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use tokio::sync::watch;

use super::{BackupError, BackupReport, Damage, JournalError, Snapshot, StreamId, StreamReader};

/// Operations on the whole journal.
///
/// Methods that say so block on I/O; the rest only take short locks.
pub(crate) trait Maintenance: Send + Sync + 'static {
    /// Reads everything back and compares it; what a snapshot holds is told by `check_state`. Blocks.
    fn verify(&self, check_state: &CheckState<'_>) -> Result<Verified, JournalError>;

    /// Copies everything that is durable now to another directory, which then holds a store of its own; `None` if it was stopped before
    /// that. Blocks.
    fn backup(
        &self,
        to: &Path,
        is_stopped: &AtomicBool,
    ) -> Result<Option<BackupReport>, BackupError>;

    /// How large it is, and when it was written to the disk last.
    fn vitals(&self) -> Vitals;

    /// Takes no more commits; finishes, in the background, what was handed over.
    fn close(&self);

    /// Completes when everything is written and the lock on the directory is gone.
    fn closed(&self) -> watch::Receiver<bool>;
}

/// Says why a snapshot is not the fold of its events, which are the first of a stream.
pub(crate) type CheckState<'a> =
    dyn Fn(&StreamId, &Snapshot, &mut dyn StreamReader) -> StateChecked + 'a;

/// Why a snapshot is not the fold of its events, if it is not.
pub(crate) type StateChecked = Result<Option<String>, JournalError>;

/// What reading everything back has found.
#[derive(Debug, Default)]
pub(crate) struct Verified {
    pub(crate) commits: u64,
    pub(crate) events: u64,
    pub(crate) streams: u64,
    pub(crate) snapshots: u64,
    pub(crate) differences: Vec<Damage>,
}

/// How large the journal is, and when it was written to the disk last.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Vitals {
    /// What it takes on the disk.
    pub(crate) bytes: u64,
    /// In milliseconds since 1970, if that was since it was opened.
    pub(crate) last_sync: Option<u64>,
    /// The same.
    pub(crate) last_checkpoint: Option<u64>,
}
