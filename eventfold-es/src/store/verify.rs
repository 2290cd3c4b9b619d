//! Verifying the store, and deriving files from the journal again.

use std::sync::Arc;

use serde::Serialize;

use super::{AggregateStore, AggregateStoreBuilder};
use crate::disk::{Files, absolute};
use crate::error::{Damage, OpenError, StoreError};
use crate::journal::{self, JournalOptions, OpenedJournal, Snapshot, StreamId, StreamReader};
use crate::replication::Membership;
use crate::runtime::blocking;

/// The result of [`AggregateStore::verify`].
///
/// # JSON
///
/// ```json
/// {"commits":2,"events":3,"streams":1,"snapshots":0,
///  "differences":[{"path":"shop/meta/journal/app.jsonl","offset":512,"reason":"the checksum differs"}]}
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct VerifyReport {
    /// The number of commits in the journal.
    pub commits: u64,
    /// The number of their events.
    pub events: u64,
    /// The number of streams that were compared with them.
    pub streams: u64,
    /// The number of snapshots. The states of about a thousand of them were compared with the events, if this program has used
    /// their aggregates. A snapshot of events that a power loss took is not compared: it is never used.
    pub snapshots: u64,
    /// Every difference from the journal, and everything unreadable.
    pub differences: Vec<Damage>,
}

impl VerifyReport {
    /// Whether there is no problem.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.differences.is_empty()
    }
}

/// The result of [`AggregateStoreBuilder::repair`].
///
/// # JSON
///
/// ```json
/// {"found":[{"path":"shop/meta/index","offset":0,"reason":"it has 3 appends, the journal 4"}],"remaining":[]}
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RepairReport {
    /// The problems before.
    pub found: Vec<Damage>,
    /// The problems that remain.
    pub remaining: Vec<Damage>,
}

impl AggregateStore {
    /// Reads everything back. It checks the journal from its first commit on, and compares it with the index, the dead letters,
    /// the rows of process managers and the checkpoint. It compares about a thousand snapshots with the folds of their streams.
    /// It reports each difference with its file and place, and changes nothing.
    ///
    /// It reads the whole store, on the blocking pool, while the store is used. It leaves out later commits. Every five
    /// seconds an `info` line reports the progress. Its memory does not grow with the number of events, streams or
    /// rows. It takes up to 32 bytes for each of the first 4 million rows, and the dead letters of one process manager
    /// at a time. For each further 2 to 4 million rows it reads the journal once more.
    /// [`AggregateStoreBuilder::repair`] fixes every reported problem except damage of the journal.
    ///
    /// # Errors
    ///
    /// [`StoreError::File`] if a file cannot be read. Damage is a difference, not an error.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe; it changes nothing.
    pub async fn verify(&self) -> Result<VerifyReport, StoreError> {
        let runtime = Arc::clone(&self.shared.runtime);
        let what = || "verifying the store".to_owned();
        let verified = blocking(what, move || {
            let types = &runtime.types;
            let check = |stream: &StreamId, snapshot: &Snapshot, events: &mut dyn StreamReader| {
                types.check_state(stream, snapshot, events)
            };
            Ok(runtime.journal.verify(&check)?)
        })
        .await?;
        Ok(VerifyReport {
            commits: verified.commits,
            events: verified.events,
            streams: verified.streams,
            snapshots: verified.snapshots,
            differences: verified.differences,
        })
    }
}

impl AggregateStoreBuilder {
    /// Derives everything from the journal again: the index, the dead letters, the rows of process managers and the
    /// checkpoints. It discards snapshots. The store must not be open; open it as usual afterwards. It only reads the journal
    /// itself.
    ///
    /// # Errors
    ///
    /// [`StoreError::ReadOnly`] on a read-only file system; otherwise the errors of [`open`](Self::open): a damaged
    /// journal is an error with file and offset.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    ///
    /// # Cancel safety
    ///
    /// An interruption at any point loses nothing. You can start the repair again.
    pub async fn repair(self) -> Result<RepairReport, OpenError> {
        let base = absolute(&self.base)?;
        let files = Files::new(Arc::clone(&self.disk));
        let open = |rebuild: bool| {
            let options = JournalOptions {
                rebuild,
                ..self.journal
            };
            let clock = Arc::clone(&self.clock);
            journal::open(
                files.clone(),
                &base,
                options,
                Membership::Unchanged,
                clock,
                &self.threads,
            )
        };
        let mut report = RepairReport::default();
        let (journal, _) = open(false).await?;
        if let Some(reason) = journal.journal().read_only() {
            journal.close().await;
            return Err(StoreError::ReadOnly { reason }.into());
        }
        report.found = differences(journal).await?;

        let (opened, _) = open(true).await?;
        opened.close().await;

        let (journal, _) = open(false).await?;
        report.remaining = differences(journal).await?;
        Ok(report)
    }
}

/// Verifies and closes a journal.
async fn differences(opened: OpenedJournal) -> Result<Vec<Damage>, StoreError> {
    let verified = Arc::clone(opened.journal());
    let what = || "verifying the store".to_owned();
    let differences = blocking(what, move || {
        Ok(verified.verify(&|_, _, _| Ok(None))?.differences)
    })
    .await;
    opened.close().await;
    differences
}
