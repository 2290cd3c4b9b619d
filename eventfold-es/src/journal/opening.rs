//! The only way to a journal: opening the journal of a directory.

use std::path::Path;
use std::sync::Arc;

use super::directory::{Claim, Directory};
use super::{Durability, Journal, RecoveryReport};
use crate::clock::Clock;
use crate::disk::Files;
use crate::error::{OpenError, StoreError};
use crate::replication::Membership;
use crate::threads::StoreRuntime;

#[cfg(not(eventfold_memory_journal))]
use super::local::LocalJournal as TheJournal;
#[cfg(eventfold_memory_journal)]
use super::memory::MemoryJournal as TheJournal;

/// The settings of a journal.
#[derive(Debug, Clone, Copy)]
pub(crate) struct JournalOptions {
    /// The size from which a file is archived, in bytes; 0 for never.
    pub(crate) max_log_size: u64,
    pub(crate) durability: Durability,
    /// Whether everything is derived from the whole journal again, even if there is a checkpoint.
    pub(crate) rebuild: bool,
}

/// Opens the journal of a directory.
///
/// Cancel safe: if the future is dropped, a journal that is opened later is closed again.
pub(crate) async fn open(
    files: Files,
    base: &Path,
    options: JournalOptions,
    membership: Membership,
    clock: Arc<dyn Clock>,
    threads: &StoreRuntime,
) -> Result<(OpenedJournal, RecoveryReport), OpenError> {
    let path = base.to_owned();
    let looking = files.clone();
    let directory = run(threads, base, move || Directory::at(&looking, &path)).await?;
    let claim = Claim::to(&directory).await;
    let path = base.to_owned();
    let span = tracing::Span::current();
    let shared = threads.clone();
    let opening = run(threads, base, move || {
        let _entered = span.enter();
        let (journal, report) =
            TheJournal::open(files, &path, &options, membership, clock, &shared)?;
        let opened = OpenedJournal {
            directory,
            journal: Arc::new(journal),
            is_kept: false,
            claim: Some(claim),
        };
        Ok::<_, OpenError>((opened, report))
    });
    let (mut opened, report) = opening.await??;
    opened.claim = None;
    Ok((opened, report))
}

/// Runs code that blocks.
async fn run<T: Send + 'static>(
    threads: &StoreRuntime,
    directory: &Path,
    run: impl FnOnce() -> T + Send + 'static,
) -> Result<T, OpenError> {
    let result = threads.run(directory, run)?;
    // The code does not panic, unless the disk of a test does.
    Ok(result.await.map_err(|_| StoreError::RuntimeGone)?)
}

/// A journal without an owner. Dropping it closes the journal, and the next caller that opens the directory waits for that.
pub(crate) struct OpenedJournal {
    directory: Directory,
    journal: Arc<dyn Journal>,
    is_kept: bool,
    /// Held until the future has returned the journal. Until then, a dropped future goes unnoticed.
    claim: Option<Claim>,
}

impl OpenedJournal {
    /// The journal, which the caller closes, and its directory.
    pub(crate) fn keep(mut self) -> (Arc<dyn Journal>, Directory) {
        self.is_kept = true;
        (Arc::clone(&self.journal), self.directory.clone())
    }

    pub(crate) fn journal(&self) -> &Arc<dyn Journal> {
        &self.journal
    }

    /// Closes it, and waits until the directory is released.
    pub(crate) async fn close(self) {
        let mut closed = self.journal.closed();
        drop(self);
        // An error means that the sender is gone, and with it the lock on the directory.
        let _ = closed.wait_for(|closed| *closed).await;
    }
}

impl Drop for OpenedJournal {
    fn drop(&mut self) {
        if !self.is_kept {
            // Registered before the claim is given up.
            self.directory.is_being_released(self.journal.closed());
            self.journal.close();
        }
    }
}
