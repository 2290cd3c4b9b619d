//! Reading everything back, and restoring from the journal what was derived from it.

use std::path::PathBuf;
use std::sync::Arc;

use serde::Serialize;

use super::closing::OpenedJournal;
use super::{AggregateStore, AggregateStoreBuilder};
use crate::disk::Files;
use crate::error::{Damage, OpenError, StoreError};
use crate::journal::local::{ForeignLines, JournalOptions, LocalJournal};
use crate::journal::{Journal, ProposedAppend, ProposedCommit};
use crate::runtime::blocking;

/// What [`AggregateStore::verify`] has found.
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
    /// How many commits of the journal were read.
    pub commits: u64,
    /// How many events they hold.
    pub events: u64,
    /// How many streams were compared with them.
    pub streams: u64,
    /// How many snapshots were found; the states of those whose aggregates this program has used were compared with the events.
    /// One that a power loss has torn does not count: it is never used, and replaced by the next.
    pub snapshots: u64,
    /// Everything that is not what the journal says, or cannot be read.
    pub differences: Vec<Damage>,
}

impl VerifyReport {
    /// Whether everything is as it should be.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.differences.is_empty()
    }
}

/// What [`AggregateStoreBuilder::repair`] has found and done.
///
/// # JSON
///
/// ```json
/// {"found":[{"path":"shop/streams/order/ord-1/app.jsonl","offset":96,"reason":"the line is no event"}],
///  "imported_events":4,"set_aside":["shop/streams/order/ord-1/foreign-96.jsonl"],"remaining":[]}
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RepairReport {
    /// What was not as it should be.
    pub found: Vec<Damage>,
    /// How many events were imported that another program had written behind a stream.
    pub imported_events: u64,
    /// Where bytes are kept that stood behind a stream and are no events; nothing reads these files.
    #[serde(serialize_with = "crate::report_json::paths")]
    pub set_aside: Vec<PathBuf>,
    /// What could not be repaired.
    pub remaining: Vec<Damage>,
}

impl AggregateStore {
    /// Reads everything back: the journal from its first commit on, and against it every stream, the snapshots, the stream
    /// registry, the dead letters and the checkpoints. Each difference is reported with its file and place; nothing is changed.
    ///
    /// It reads the whole store, on the blocking pool, while the store is used; what is committed meanwhile is not part of it.
    /// What it reports, but for damage of the journal, [`AggregateStoreBuilder::repair`] restores.
    ///
    /// # Errors
    ///
    /// [`StoreError::File`] if a file cannot be read; damage is no error, but a difference.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe; it changes nothing.
    pub async fn verify(&self) -> Result<VerifyReport, StoreError> {
        let runtime = Arc::clone(&self.shared.runtime);
        let what = || "verifying the store".to_owned();
        let verified = blocking(what, move || {
            let types = &runtime.types;
            let check =
                |stream: &_, snapshot: &_, text: &_| types.check_state(stream, snapshot, text);
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
    /// Restores from the journal whatever differs from it: streams that were cut, extended or changed, the stream registry, the
    /// dead letters and the checkpoints; snapshots are discarded. The store must not be open; afterwards it is opened as usual.
    ///
    /// Events that another program has written behind a stream are imported: they become commits of the journal. Bytes there that
    /// are no events are kept beside the stream, in `foreign-<offset>.jsonl`, and cut off. The journal itself is only read.
    ///
    /// # Errors
    ///
    /// [`StoreError::ReadOnly`] on a read-only file system; otherwise as [`open`](Self::open): a journal that is damaged is an error that names file and offset.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    ///
    /// # Cancel safety
    ///
    /// Interrupted at any point it has lost nothing, and can be begun again.
    pub async fn repair(self) -> Result<RepairReport, OpenError> {
        let base = std::path::absolute(&self.base)
            .map_err(|error| crate::disk::FileError::new("find", &self.base, error))?;
        let files = Files::new(Arc::clone(&self.disk));
        let open = |rebuild: bool| {
            let options = JournalOptions {
                rebuild,
                ..self.journal
            };
            let clock = Arc::clone(&self.clock);
            OpenedJournal::open(files.clone(), &base, options, clock, &self.threads)
        };
        let mut report = RepairReport::default();
        let (journal, _) = open(false).await?;
        if let Some(reason) = journal.journal().read_only() {
            journal.close().await;
            return Err(StoreError::ReadOnly { reason }.into());
        }
        report.found = differences(journal).await?;

        let (opened, _) = open(true).await?;
        let journal = opened.journal();
        for foreign in journal.foreign_lines() {
            report.imported_events += foreign.lines.len() as u64;
            import(journal, &foreign).await?;
            let what = || "setting foreign bytes aside".to_owned();
            let journal = Arc::clone(journal);
            let set_aside = blocking(what, move || Ok(journal.set_aside(&foreign)?)).await?;
            report.set_aside.extend(set_aside);
        }
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
        Ok(verified.verify(&|_, _, _| None)?.differences)
    })
    .await;
    opened.close().await;
    differences
}

async fn import(journal: &LocalJournal, foreign: &ForeignLines) -> Result<(), StoreError> {
    if foreign.lines.is_empty() {
        return Ok(());
    }
    let room = Arc::clone(journal.room())
        .acquire_owned()
        .await
        .map_err(|_| StoreError::Closed)?;
    let commit = ProposedCommit {
        appends: vec![ProposedAppend {
            stream: foreign.stream.clone(),
            expected_version: foreign.version,
            lines: foreign.lines.clone(),
            keyed: Vec::new(),
        }],
        ..ProposedCommit::default()
    };
    journal.submit(room, commit).wait().await?;
    Ok(())
}
