//! Opening a store directory: the lock, the incomplete last batch, the batch that may not have been synced, and redo.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::checkpoint::{Checkpoint, ProcessManagerStates};
use super::history::{self, IndexEntry};
use super::layout::Layout;
use super::line;
use super::redo::Redo;
use super::registry::{Registry, RegistryExtent};
use super::scan::{Incomplete, Scan, ScannedLine, Tip, scan};
use super::streams::StreamTable;
use crate::disk::{DiskLock, FileError, FileHandle, Files, OpenMode};
use crate::journal::{Damage, JournalError};

/// What opening a store found and did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecoveryReport {
    /// Commits that were read from the journal and applied again to the files derived from it.
    pub redone_commits: u64,
    /// A batch that was being written when the program stopped. Nobody was told that its commits are stored; none is.
    pub incomplete_batch: Option<IncompleteBatch>,
}

/// An incomplete last batch that was dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct IncompleteBatch {
    /// The number of the batch.
    pub batch: u64,
    /// How many bytes of it there were.
    pub bytes: u64,
    /// The file that keeps them for inspection; nothing reads it.
    pub saved_to: PathBuf,
}

/// A store directory that cannot be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RecoveryError {
    #[error("the store at {} is in use by {holder}", path.display())]
    InUse { path: PathBuf, holder: String },
    #[error("{} holds streams but no journal", path.display())]
    NoJournal { path: PathBuf },
    #[error(transparent)]
    Journal(#[from] JournalError),
}

impl From<FileError> for RecoveryError {
    fn from(error: FileError) -> Self {
        Self::Journal(error.into())
    }
}

/// A store directory in the state after its last durable batch.
pub(super) struct Recovered {
    pub(super) lock: Box<dyn DiskLock>,
    pub(super) journal: FileHandle,
    pub(super) tip: Tip,
    /// Where the line of the last commit starts.
    pub(super) line_start: u64,
    pub(super) table: StreamTable,
    pub(super) registry: Registry,
    pub(super) states: ProcessManagerStates,
    pub(super) index: Vec<IndexEntry>,
    /// Where the tail behind the checkpoint starts.
    pub(super) redo_start: u64,
    pub(super) report: RecoveryReport,
}

pub(super) fn recover(files: &Files, layout: &Layout) -> Result<Recovered, RecoveryError> {
    refuse_without_journal(files, layout)?;
    create_directories(files, layout)?;
    let lock = take_lock(files, layout)?;
    let checkpoint = Checkpoint::load(files, layout)?;
    let is_new = !files.exists(&layout.journal_file())?;
    if is_new {
        if checkpoint.is_some() {
            let reason = "the journal is missing, but `meta/checkpoint.json` follows it; restore the whole directory from a copy";
            return Err(JournalError::from(Damage::new(layout.journal_file(), 0, reason)).into());
        }
    }
    let journal = files.open(&layout.journal_file(), OpenMode::Write)?;
    // Also when the file is not new: the program may have stopped after creating it and before this.
    for directory in [layout.journal(), layout.meta(), layout.base().to_owned()] {
        files.sync_dir(&directory)?;
    }

    let table = StreamTable::default();
    let base = derived_base(files, layout, checkpoint, &journal, &table)?;
    let Base {
        start,
        line_start,
        mut registry,
        mut states,
        mut index,
    } = match base {
        Some(base) => base,
        None => Base::empty(files, layout, &table)?,
    };
    let redo_start = start.offset;
    let mut line_start = line_start;
    let mut report = RecoveryReport::default();
    let mut redo = Redo::new(files, layout, &table, &mut registry, &mut states);

    // The journal's tail is made certain before anything is derived from it.
    let first_pass = scan(&journal, start.clone(), |_| Ok(()))?;
    report.incomplete_batch = make_certain(files, layout, &journal, &first_pass)?;
    let tip = first_pass.tip;
    scan(&journal, start, |scanned| {
        let ScannedLine { offset, text } = scanned;
        let commit = line::parse(text)
            .map_err(|reason| Damage::new(layout.journal_file(), *offset, reason))?;
        if commit.data.event_count() > 0 {
            history::note(&mut index, commit.data.position, *offset);
        }
        line_start = *offset;
        report.redone_commits += 1;
        redo.commit(&commit, *offset)
    })?;
    redo.finish()?;
    Ok(Recovered {
        lock,
        journal,
        tip,
        line_start,
        table,
        registry,
        states,
        index,
        redo_start,
        report,
    })
}

/// What the checkpoint vouches for, to which the tail of the journal is applied.
struct Base {
    start: Tip,
    line_start: u64,
    registry: Registry,
    states: ProcessManagerStates,
    index: Vec<IndexEntry>,
}

impl Base {
    /// Nothing: everything is derived from the whole journal.
    fn empty(files: &Files, layout: &Layout, table: &StreamTable) -> Result<Self, RecoveryError> {
        let registry = Registry::load(files, layout, &RegistryExtent::default(), table)?
            .ok_or_else(|| Damage::new(layout.registry(), 0, "an empty registry cannot be written"))
            .map_err(JournalError::from)?;
        Ok(Self {
            start: Tip::default(),
            line_start: 0,
            registry,
            states: BTreeMap::new(),
            index: Vec::new(),
        })
    }
}

fn derived_base(
    files: &Files,
    layout: &Layout,
    checkpoint: Option<Checkpoint>,
    journal: &FileHandle,
    table: &StreamTable,
) -> Result<Option<Base>, RecoveryError> {
    let Some(checkpoint) = checkpoint else {
        return Ok(None);
    };
    checkpoint.verify(journal)?;
    let Some(states) = checkpoint.process_managers(files, layout)? else {
        return Ok(None);
    };
    let Some(registry) = Registry::load(files, layout, &checkpoint.registry, table)? else {
        return Ok(None);
    };
    Ok(Some(Base {
        start: checkpoint.tip(),
        line_start: checkpoint.line_start(),
        registry,
        states,
        index: checkpoint.index,
    }))
}

/// Refuses streams that no journal has written, before anything is created. A store that is being opened elsewhere is not
/// taken for one: its journal is there before its first stream.
fn refuse_without_journal(files: &Files, layout: &Layout) -> Result<(), RecoveryError> {
    let is_foreign = files.exists(&layout.streams())?
        && !files.exists(&layout.journal_file())?
        && !files.exists(&layout.checkpoint())?;
    if is_foreign {
        return Err(RecoveryError::NoJournal {
            path: layout.base().to_owned(),
        });
    }
    Ok(())
}

fn create_directories(files: &Files, layout: &Layout) -> Result<(), RecoveryError> {
    let mut missing = Vec::new();
    for directory in layout.base().ancestors() {
        if directory.as_os_str().is_empty() || files.exists(directory)? {
            break;
        }
        missing.push(directory);
    }
    files.create_dir_all(&layout.journal())?;
    for parent in missing.into_iter().filter_map(Path::parent) {
        let parent = if parent.as_os_str().is_empty() {
            Path::new(".")
        } else {
            parent
        };
        files.sync_dir(parent)?;
    }
    Ok(())
}

fn take_lock(files: &Files, layout: &Layout) -> Result<Box<dyn DiskLock>, RecoveryError> {
    let path = layout.lock();
    let Some(lock) = files.try_lock(&path)? else {
        let text = files.read(&path)?.unwrap_or_default();
        let holder = String::from_utf8_lossy(&text).trim().to_owned();
        return Err(RecoveryError::InUse {
            path: layout.base().to_owned(),
            holder: if holder.is_empty() {
                "another process".to_owned()
            } else {
                holder
            },
        });
    };
    lock.describe(&format!("process {}\n", std::process::id()))
        .map_err(|error| FileError::new("write", &path, error))?;
    Ok(lock)
}

/// Drops an incomplete last batch whole, and writes the last complete one again: it was read back, perhaps from the page
/// cache only, and counts as committed from here on.
fn make_certain(
    files: &Files,
    layout: &Layout,
    journal: &FileHandle,
    scan: &Scan,
) -> Result<Option<IncompleteBatch>, RecoveryError> {
    let dropped = match &scan.incomplete {
        None => None,
        Some(Incomplete { batch, bytes }) => {
            let saved_to = layout.incomplete_batch(*batch);
            let aside = files.open(&saved_to, OpenMode::Truncate)?;
            aside.write_all_at(bytes, 0)?;
            aside.sync_data()?;
            files.sync_dir(&layout.journal())?;
            journal.set_len(scan.tip.offset)?;
            tracing::warn!(batch, bytes = bytes.len(), saved_to = %saved_to.display(), "dropped an incomplete last batch, about which nobody was told");
            Some(IncompleteBatch {
                batch: *batch,
                bytes: bytes.len() as u64,
                saved_to,
            })
        }
    };
    if let Some(first) = scan.last_batch.first() {
        let mut bytes = Vec::new();
        for scanned in &scan.last_batch {
            bytes.extend_from_slice(&scanned.text);
            bytes.push(b'\n');
        }
        journal.write_all_at(&bytes, first.offset)?;
    }
    journal.sync_data()?;
    Ok(dropped)
}
