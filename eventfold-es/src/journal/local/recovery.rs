//! Opening a store directory: the lock, the incomplete last batch, the batch that may not have been synced, and redo.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use eventfold::line_hash;
use serde::Serialize;

use super::adoption::{self, Adoption, AdoptionReport};
use super::checkpoint::{Checkpoint, ProcessManagerStates};
use super::derived::Grown;
use super::extents::StreamExtents;
use super::foreign::{ForeignLines, read_foreign};
use super::history::{self, IndexEntry};
use super::layout::Layout;
use super::log::{JournalLog, Parts};
use super::redo::{Redo, Redone};
use super::registry::Registry;
use super::rows::RowTables;
use super::scan::{Incomplete, Scan, Tip, scan};
use super::stream_archive::{Archiving, finish_archiving};
use super::streams::StreamTable;
use crate::disk::{FileError, Files, LockHandle, OpenMode};
use crate::journal::block_cache::BlockCache;
use crate::journal::segments::Segments;
use crate::journal::{Damage, Extent, JournalError};
use crate::sabotage::{Bug, planted};

/// How much of what was read of the journal's segments stays in memory.
const CACHE_BYTES: u64 = 64 << 20;

/// What opening a store found and did.
///
/// # JSON
///
/// ```json
/// {"redone_commits":1,
///  "incomplete_batch":{"batch":9,"bytes":100,"saved_to":"shop/meta/journal/incomplete-batch-9.jsonl"},
///  "damaged_streams":[],"adoption":null,"read_only":false}
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RecoveryReport {
    /// Commits that were read from the journal and applied again to the files derived from it.
    pub redone_commits: u64,
    /// A batch that was being written when the program stopped. Nobody was told that its commits are stored; none is.
    pub incomplete_batch: Option<IncompleteBatch>,
    /// Streams whose files are not what the journal wrote, as far as opening had to touch them. They cannot be read before they
    /// are repaired; the others are not affected.
    pub damaged_streams: Vec<Damage>,
    /// What became of the directory when this version took it over from eventfold-es 0.2.0; also when that was long ago.
    pub adoption: Option<AdoptionReport>,
    /// Whether the file system is read-only. What is reported here was done in memory then, and the files that it names were not
    /// made; every command is refused.
    pub read_only: bool,
}

/// An incomplete last batch that was dropped.
///
/// # JSON
///
/// ```json
/// {"batch":9,"bytes":100,"saved_to":"shop/meta/journal/incomplete-batch-9.jsonl"}
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct IncompleteBatch {
    /// The number of the batch.
    pub batch: u64,
    /// How many bytes of it there were.
    pub bytes: u64,
    /// The file that keeps them for inspection; nothing reads it.
    #[serde(serialize_with = "crate::report_json::path")]
    pub saved_to: PathBuf,
}

/// A store directory that cannot be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RecoveryError {
    #[error("the store at {} is in use by {holder}", path.display())]
    InUse { path: PathBuf, holder: String },
    #[error("the journal of {} is missing", path.display())]
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
    /// Held since the directory was looked at, before anything was written.
    pub(super) lock: LockHandle,
    pub(super) journal: JournalLog,
    pub(super) tip: Tip,
    /// Where the line of the last commit starts.
    pub(super) line_start: u64,
    pub(super) table: StreamTable,
    pub(super) registry: Registry,
    pub(super) extents: StreamExtents,
    /// The streams that have grown since the checkpoint, by their numbers.
    pub(super) grown: BTreeMap<u64, Grown>,
    pub(super) states: ProcessManagerStates,
    pub(super) rows: RowTables,
    pub(super) index: Vec<IndexEntry>,
    pub(super) adoption: Option<Adoption>,
    /// Where the tail behind the checkpoint starts.
    pub(super) redo_start: u64,
    /// What stands behind streams, if everything was derived again in order to repair it.
    pub(super) foreign: Vec<ForeignLines>,
    pub(super) report: RecoveryReport,
}

pub(super) fn recover(
    files: &Files,
    layout: &Layout,
    rebuild: bool,
) -> Result<Recovered, RecoveryError> {
    refuse_missing_journal(files, layout)?;
    create_base(files, layout)?;
    let lock = take_lock(files, layout)?;
    files.create_dir_all(&layout.journal())?;
    tell_holder(files, layout)?;
    if adoption::is_due(files, layout)? {
        adoption::adopt(files, layout)?;
    }
    let checkpoint = Checkpoint::load(files, layout)?;
    let cache = BlockCache::new(CACHE_BYTES);
    let journal = JournalLog::open(files, layout, &cache, checkpoint.as_ref())?;
    let parts = journal.parts();
    // Also when the file is not new: the program may have stopped after creating it and before this.
    for directory in [layout.journal(), layout.meta(), layout.base().to_owned()] {
        if !planted(Bug::JournalNameNotSynced) {
            files.sync_dir(&directory)?;
        }
    }

    let mut table = StreamTable::default();
    let rows = RowTables::new(files, layout);
    let archiving = checkpoint
        .as_ref()
        .map(|checkpoint| checkpoint.archiving.clone())
        .unwrap_or_default();
    let base = match checkpoint {
        Some(checkpoint) if !rebuild => {
            derived_base(files, layout, checkpoint, &parts, &mut table, &rows)?
        }
        _ => None,
    };
    let is_rebuild = base.is_none();
    let base = match base {
        Some(base) => base,
        None => {
            let tail = scan(&parts, Tip::default(), None, |_, _| Ok(()))?;
            rows.clear()?;
            // What it says of archives is not true any more once streams are written anew.
            files.remove(&layout.checkpoint())?;
            files.sync_dir(&layout.meta())?;
            Base::empty(files, layout, &table, tail)?
        }
    };
    let Base {
        start,
        tail,
        line_start,
        mut registry,
        extents,
        mut states,
        mut index,
        mut adoption,
    } = base;
    let redo_start = start.offset;
    let mut line_start = line_start;
    let mut report = RecoveryReport::default();
    let mut redo = Redo::new(
        files,
        layout,
        &table,
        &mut registry,
        &mut states,
        &rows,
        is_rebuild,
    );

    // The journal's tail is made certain before anything is derived from it.
    report.incomplete_batch = make_certain(files, layout, &parts, &tail)?;
    let tip = tail.tip;
    let mut damaged = Vec::new();
    let mut archived = Vec::new();
    if !is_rebuild {
        for Archiving { stream, to } in archiving {
            let Some(slot) = table.numbered(stream) else {
                continue;
            };
            match finish_archiving(files, layout, &slot, to) {
                Ok(()) if planted(Bug::FinishedArchiveForgotten) => {}
                Ok(()) => archived.push((stream, slot)),
                Err(JournalError::Damage(damage)) => damaged.push(damage),
                Err(error) => return Err(error.into()),
            }
        }
    }
    scan(&parts, start, None, |commit, offset| {
        if commit.data.event_count() > 0 {
            history::note(&mut index, commit.data.position, offset);
        }
        line_start = offset;
        report.redone_commits += 1;
        if let Some(record) = commit.data.adoption {
            let adopted: Adoption = serde_json::from_str(record).map_err(|error| {
                let reason = format!("the record of the adoption does not read: {error}");
                Damage::new(layout.journal_file(), offset, reason)
            })?;
            adopted.finish(files, layout)?;
            adoption = Some(adopted);
        }
        redo.commit(commit, offset)
    })?;
    let Redone {
        mut grown,
        extended,
        damaged: redone,
    } = redo.finish()?;
    damaged.extend(redone);
    if rebuild {
        for Grown { slot, .. } in grown.values() {
            let stream = &slot.stream;
            files.remove(&layout.snapshot(&stream.aggregate_type, slot.directory()))?;
        }
    }
    let foreign = if rebuild {
        let read = extended.iter();
        read.map(|slot| read_foreign(files, layout, slot))
            .collect::<Result<_, _>>()?
    } else {
        Vec::new()
    };
    for (stream, slot) in archived {
        let extent = slot.extent();
        grown.entry(stream).or_insert(Grown { slot, extent });
    }
    report.damaged_streams = damaged;
    if let Some(adoption) = &adoption {
        adoption.quarantine(layout, &table);
        report.adoption = Some(adoption.report(layout));
    }
    Ok(Recovered {
        lock,
        journal,
        tip,
        line_start,
        table,
        registry,
        extents,
        grown,
        states,
        rows,
        index,
        adoption,
        redo_start,
        foreign,
        report,
    })
}

/// Refuses, before anything is created, a directory that once had a journal.
fn refuse_missing_journal(files: &Files, layout: &Layout) -> Result<(), RecoveryError> {
    if !files.exists(&layout.journal_file())?
        && (files.exists(&layout.checkpoint())?
            || Segments::start_of(files, &layout.journal(), None, false)? > 0)
    {
        let reason = match files.exists(&layout.unfinished_backup())? {
            true => "the backup was not finished; make it again, to this directory",
            false => {
                "the journal is missing, but its checkpoint or its archive is there; restore the whole directory from a copy"
            }
        };
        return Err(JournalError::from(Damage::new(layout.journal_file(), 0, reason)).into());
    }
    if adoption::is_due(files, layout)? {
        adoption::refuse_ours(files, layout)?;
    }
    Ok(())
}

/// What the checkpoint vouches for, to which the tail of the journal is applied.
struct Base {
    start: Tip,
    /// What the journal has behind it. It is read before anything is changed: what a newer version wrote is left as it is.
    tail: Scan,
    line_start: u64,
    registry: Registry,
    extents: StreamExtents,
    states: ProcessManagerStates,
    index: Vec<IndexEntry>,
    adoption: Option<Adoption>,
}

impl Base {
    /// Nothing: everything is derived from the whole journal.
    fn empty(
        files: &Files,
        layout: &Layout,
        table: &StreamTable,
        tail: Scan,
    ) -> Result<Self, RecoveryError> {
        let registry = Registry::load(files, layout, Extent::default(), table)?
            .ok_or_else(|| Damage::new(layout.registry(), 0, "an empty registry cannot be written"))
            .map_err(JournalError::from)?;
        Ok(Self {
            start: Tip::default(),
            tail,
            line_start: 0,
            registry,
            extents: StreamExtents::new(files, layout),
            states: BTreeMap::new(),
            index: Vec::new(),
            adoption: None,
        })
    }
}

fn derived_base(
    files: &Files,
    layout: &Layout,
    checkpoint: Checkpoint,
    journal: &Parts,
    table: &mut StreamTable,
    rows: &RowTables,
) -> Result<Option<Base>, RecoveryError> {
    checkpoint.verify(journal)?;
    let Some(states) = checkpoint.process_managers(files, layout)? else {
        return Ok(None);
    };
    let tail = scan(journal, checkpoint.tip(), None, |_, _| Ok(()))?;
    if !are_tables_of(rows, &checkpoint, journal)? {
        return Ok(None);
    }
    let restored = StreamTable::default();
    let Some(registry) = Registry::load(files, layout, checkpoint.registry, &restored)? else {
        return Ok(None);
    };
    let extents = match StreamExtents::load(files, layout, checkpoint.stream_extents, &restored)? {
        Ok(extents) => extents,
        Err(reason) => {
            let path = layout.stream_extents(0);
            tracing::warn!(path = %path.display(), %reason, "the extents of the streams cannot be used; everything is derived from the journal again");
            return Ok(None);
        }
    };
    *table = restored;
    Ok(Some(Base {
        start: checkpoint.tip(),
        tail,
        line_start: checkpoint.line_start(),
        registry,
        extents,
        states,
        index: checkpoint.index,
        adoption: checkpoint.adoption,
    }))
}

/// Whether the tables of rows are those of the checkpoint, or of a later commit of this journal.
fn are_tables_of(
    rows: &RowTables,
    checkpoint: &Checkpoint,
    journal: &Parts,
) -> Result<bool, RecoveryError> {
    let Some(tips) = rows.open(&checkpoint.row_tables)? else {
        return Ok(false);
    };
    let newer = tips
        .into_iter()
        .filter(|(name, tip)| checkpoint.row_tables.get(name) != Some(tip));
    let mut newer: Vec<_> = newer.map(|(_, tip)| tip).collect();
    if !newer.is_empty() {
        scan(journal, checkpoint.tip(), None, |commit, _| {
            newer.retain(|tip| {
                tip.commit != commit.data.commit || tip.hash != line_hash(commit.text.as_bytes())
            });
            Ok(())
        })?;
    }
    if newer.is_empty() || planted(Bug::TableWithoutItsCommit) {
        return Ok(true);
    }
    tracing::warn!(
        "rows of process managers are of commits that the journal does not have; everything is derived from it again"
    );
    Ok(false)
}

/// Creates the base directory and those above it, one level at a time, each durable before the next: whatever a crash leaves, only the deepest one
/// that exists may not be durable yet, and that one is synced first.
pub(super) fn create_base(files: &Files, layout: &Layout) -> Result<(), FileError> {
    let mut missing = Vec::new();
    for directory in layout.base().ancestors() {
        if files.exists(directory)? {
            sync_entry(files, directory)?;
            break;
        }
        missing.push(directory);
    }
    for directory in missing.into_iter().rev() {
        files.create_dir_all(directory)?;
        sync_entry(files, directory)?;
    }
    Ok(())
}

/// Makes the name of a directory durable. A parent that may not be read cannot be synced, and was not changed by us.
fn sync_entry(files: &Files, directory: &Path) -> Result<(), FileError> {
    let Some(parent) = directory.parent() else {
        return Ok(());
    };
    match files.sync_dir(parent) {
        Err(error) if error.source.kind() == ErrorKind::PermissionDenied => Ok(()),
        synced => synced,
    }
}

/// Locks the base directory: whoever removes or replaces what is in it lets nobody else in.
fn take_lock(files: &Files, layout: &Layout) -> Result<LockHandle, RecoveryError> {
    let path = layout.lock();
    if files.exists(&path)? {
        // A directory on a read-only file system can be locked, too. Its many readers are not to be in each other's way.
        drop(files.open(&path, OpenMode::Write)?);
    }
    if let Some(lock) = files.try_lock(layout.base())? {
        return Ok(lock);
    }
    let text = files.read(&path).ok().flatten().unwrap_or_default();
    let holder = String::from_utf8_lossy(&text).trim().to_owned();
    Err(RecoveryError::InUse {
        path: layout.base().to_owned(),
        holder: if holder.is_empty() {
            "another process".to_owned()
        } else {
            holder
        },
    })
}

/// Writes who has the directory open, for whoever is refused.
fn tell_holder(files: &Files, layout: &Layout) -> Result<(), FileError> {
    let holder = format!("process {}\n", std::process::id());
    let file = files.open(&layout.lock(), OpenMode::Truncate)?;
    file.write_all_at(holder.as_bytes(), 0)
}

/// Drops an incomplete last batch whole, and writes the last complete one again: it was read back, perhaps from the page
/// cache only, and counts as committed from here on.
fn make_certain(
    files: &Files,
    layout: &Layout,
    journal: &Parts,
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
            if !planted(Bug::SkipTailRepair) {
                journal.set_len(scan.tip.offset)?;
            }
            tracing::warn!(batch, bytes = bytes.len(), saved_to = %saved_to.display(), "dropped an incomplete last batch, about which nobody was told");
            Some(IncompleteBatch {
                batch: *batch,
                bytes: bytes.len() as u64,
                saved_to,
            })
        }
    };
    // What of it is archived was made durable before it counted.
    let mut last_batch = scan
        .last_batch
        .iter()
        .skip_while(|scanned| scanned.offset < journal.start())
        .peekable();
    if let Some(first) = last_batch.peek().map(|scanned| scanned.offset)
        && !planted(Bug::LastBatchNotRewritten)
    {
        let mut bytes = Vec::new();
        for scanned in last_batch {
            bytes.extend_from_slice(scanned.text.as_bytes());
            bytes.push(b'\n');
        }
        journal.write_all_at(&bytes, first)?;
    }
    journal.sync_data()?;
    Ok(dropped)
}
