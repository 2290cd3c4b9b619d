//! Opening a store directory: the lock, the incomplete last batch, the batch that may not have been synced, and redo.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use eventfold::line_hash;

use crate::disk::{FileError, Files, LockHandle, OpenMode};
use crate::error::OpenError;
use crate::journal::adoption::{self, Adoption};
use crate::journal::block_cache::BlockCache;
use crate::journal::index::{Coverage, RunNote, Runs};
use crate::journal::local::appends::{Append, Appends, encoded};
use crate::journal::local::checkpoint::{Checkpoint, ProcessManagerStates};
use crate::journal::local::history::{self, IndexEntry};
use crate::journal::local::layout::Layout;
use crate::journal::local::log::{JournalLog, Parts};
use crate::journal::local::redo::{RUN_BYTES, Redo, appends_on};
use crate::journal::local::replica;
use crate::journal::local::rows::RowTables;
use crate::journal::local::scan::{Incomplete, Scan, Tail, Tip, scan, tip_before};
use crate::journal::local::snapshots::SnapshotRuns;
use crate::journal::local::streams::{StreamIndex, hash_from};
use crate::journal::segments::Segments;
use crate::journal::{Damage, IncompleteBatch, JournalError, RecoveryReport};
use crate::sabotage::{Bug, planted};
use crate::threads::StoreRuntime;

/// The number of bytes read from the journal's segments that stay in memory.
const CACHE_BYTES: u64 = 64 << 20;

/// A store directory in the state after its last durable batch.
pub(in crate::journal::local) struct Recovered {
    /// Held since the directory was first read, before anything was written.
    pub(in crate::journal::local) lock: LockHandle,
    pub(in crate::journal::local) journal: Arc<JournalLog>,
    pub(in crate::journal::local) tip: Tip,
    /// The start of the line of the last commit.
    pub(in crate::journal::local) line_start: u64,
    pub(in crate::journal::local) streams: StreamIndex,
    pub(in crate::journal::local) states: ProcessManagerStates,
    pub(in crate::journal::local) rows: RowTables,
    pub(in crate::journal::local) index: Vec<IndexEntry>,
    pub(in crate::journal::local) adoption: Option<Adoption>,
    /// The start of the tail behind the checkpoint.
    pub(in crate::journal::local) redo_start: u64,
    pub(in crate::journal::local) report: RecoveryReport,
}

pub(in crate::journal::local) fn recover(
    files: &Files,
    layout: &Layout,
    rebuild: bool,
    threads: &StoreRuntime,
) -> Result<Recovered, OpenError> {
    refuse_missing_journal(files, layout)?;
    files.create_dir_durably(layout.base())?;
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
    // Also for an existing file: the program may have stopped between its creation and this sync.
    for directory in [layout.journal(), layout.meta(), layout.base().to_owned()] {
        if !planted(Bug::JournalNameNotSynced) {
            files.sync_dir(&directory)?;
        }
    }

    let end = replica::tail(files, layout)?;
    let rows = RowTables::new(files, layout);
    let base = match checkpoint {
        Some(checkpoint) if !rebuild => {
            derived_base(files, layout, checkpoint, &parts, end, &cache, &rows)?
        }
        _ => None,
    };
    let is_rebuild = base.is_none();
    let base = match base {
        Some(base) => base,
        None => {
            let tail = scan(&parts, Tip::default(), None, end, |_, _| Ok(()))?;
            rows.clear()?;
            // The checkpoint lists runs that are written again.
            files.remove(&layout.checkpoint())?;
            files.sync_dir(&layout.meta())?;
            Base::empty(files, layout, &cache, tail)?
        }
    };
    let Base {
        start,
        tail,
        line_start,
        runs,
        snapshots,
        mut states,
        mut index,
        mut adoption,
        reindexed,
    } = base;
    let redo_start = start.offset;
    let mut line_start = line_start;
    let mut report = RecoveryReport {
        reindexed_commits: reindexed,
        ..RecoveryReport::default()
    };
    let appends = Appends::default();
    let mut redo = Redo::new(
        files,
        layout,
        &appends,
        &runs,
        &mut states,
        &rows,
        is_rebuild,
    );

    // The journal's tail is made durable before anything is derived from it.
    report.incomplete_batch = make_certain(files, layout, &parts, &tail)?;
    let tip = tail.tip;
    scan(&parts, start, None, end, |commit, offset| {
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
    redo.finish()?;
    // A reader that is caught up reads no older part, not even a damaged one.
    history::note_end(&mut index, &tip);
    if let Some(adoption) = &adoption {
        for (stream, damage) in adoption.quarantined(layout) {
            appends.quarantine(&stream, damage);
        }
        report.adoption = Some(adoption.report(layout));
    }
    let journal = Arc::new(journal);
    let streams = StreamIndex::new(
        Arc::clone(&journal),
        appends,
        runs,
        SnapshotRuns::new(snapshots),
        threads.clone(),
    );
    Ok(Recovered {
        lock,
        journal,
        tip,
        line_start,
        streams,
        states,
        rows,
        index,
        adoption,
        redo_start,
        report,
    })
}

/// Refuses a directory that once had a journal, before anything is created.
fn refuse_missing_journal(files: &Files, layout: &Layout) -> Result<(), OpenError> {
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
        return Err(Damage::new(layout.journal_file(), 0, reason).into());
    }
    if adoption::is_due(files, layout)? {
        return adoption::refuse_ours(files, layout);
    }
    if !files.exists(&layout.journal_file())? {
        for derived in [
            layout.index(),
            layout.process_managers(),
            layout.projections(),
        ] {
            if files.exists(&derived)? {
                let path = layout.base().to_owned();
                return Err(OpenError::NoJournal { path });
            }
        }
    }
    Ok(())
}

/// The state that the checkpoint covers. The tail of the journal is applied to it.
struct Base {
    start: Tip,
    /// The journal behind the checkpoint. It is read before anything is changed, so that data of a newer version stays
    /// unchanged.
    tail: Scan,
    line_start: u64,
    runs: Runs,
    snapshots: Runs,
    states: ProcessManagerStates,
    index: Vec<IndexEntry>,
    adoption: Option<Adoption>,
    /// The number of commits that were read to restore lost parts of the index.
    reindexed: u64,
}

impl Base {
    /// The empty state: everything is derived from the whole journal.
    fn empty(
        files: &Files,
        layout: &Layout,
        cache: &Arc<BlockCache>,
        tail: Scan,
    ) -> Result<Self, OpenError> {
        Ok(Self {
            start: Tip::default(),
            tail,
            line_start: 0,
            runs: Runs::open(files, &layout.index(), cache, &[])?.0,
            snapshots: Runs::open(files, &layout.snapshots(), cache, &[])?.0,
            states: BTreeMap::new(),
            index: Vec::new(),
            adoption: None,
            reindexed: 0,
        })
    }
}

fn derived_base(
    files: &Files,
    layout: &Layout,
    checkpoint: Checkpoint,
    journal: &Parts,
    end: Tail,
    cache: &Arc<BlockCache>,
    rows: &RowTables,
) -> Result<Option<Base>, OpenError> {
    checkpoint.verify(journal)?;
    let Some(states) = checkpoint.process_managers(files, layout)? else {
        return Ok(None);
    };
    let mut commits = HashMap::new();
    let tail = scan(journal, checkpoint.tip(), None, end, |commit, _| {
        if !checkpoint.row_tables.is_empty() {
            commits.insert(commit.data.commit, line_hash(commit.text.as_bytes()));
        }
        Ok(())
    })?;
    if let Some((name, _)) = states
        .iter()
        .find(|(_, state)| state.commit > tail.tip.commit)
    {
        tracing::warn!(process_manager = %name, "its checkpoint follows a commit that the journal does not have; everything is derived from the journal again");
        return Ok(None);
    }
    let (runs, lost) = Runs::open(files, &layout.index(), cache, &checkpoint.runs)?;
    // Without its snapshot, a stream is read from the beginning.
    let (snapshots, _) = Runs::open(files, &layout.snapshots(), cache, &checkpoint.snapshots)?;
    if !are_tables_of(rows, &checkpoint, &commits)? {
        return Ok(None);
    }
    let mut reindexed = 0;
    for lost in lost {
        reindexed += restore(&runs, journal, lost)?;
    }
    Ok(Some(Base {
        start: checkpoint.tip(),
        tail,
        line_start: checkpoint.line_start(),
        runs,
        snapshots,
        states,
        index: checkpoint.index,
        adoption: checkpoint.adoption,
        reindexed,
    }))
}

/// Writes a lost run of the index again, slice by slice, from the part of the journal that it covers. The result is the number
/// of commits in that part.
fn restore(runs: &Runs, journal: &Parts, lost: RunNote) -> Result<u64, JournalError> {
    let Coverage { from, to, hash } = lost.coverage;
    let mut restore = runs.restore(lost);
    let mut appended = Vec::new();
    let mut slice_end = from + RUN_BYTES;
    let mut add = |appended: &[Append]| {
        let entries = encoded(appended.iter().flat_map(Append::entries).collect());
        let entries = entries.iter();
        restore.add(entries.map(|(key, address)| (key.as_bytes(), &address[..])))
    };
    let before = tip_before(journal, from)?;
    let first = before.commit;
    let scanned = scan(journal, before, Some(to), Tail::AsWritten, |commit, at| {
        if at >= slice_end {
            add(&appended)?;
            appended.clear();
            slice_end = at + RUN_BYTES;
        }
        appended.extend(appends_on(commit, at));
        Ok(())
    })?;
    if (scanned.tip.offset, hash_from(&scanned.tip.hash)) != (to, hash) {
        let reason = "the index, as `meta/checkpoint.json` lists it, covers the journal up to a different commit than the commit that ends here";
        return Err(journal.damage(scanned.tip.offset, reason).into());
    }
    add(&appended)?;
    restore.finish()?;
    Ok(scanned.tip.commit - first)
}

/// Whether the row tables are those of the checkpoint, or of one of the commits behind it, which have these line hashes.
fn are_tables_of(
    rows: &RowTables,
    checkpoint: &Checkpoint,
    commits: &HashMap<u64, String>,
) -> Result<bool, OpenError> {
    let Some(tips) = rows.open(&checkpoint.row_tables)? else {
        return Ok(false);
    };
    let mut tips = tips.iter();
    let are_known = tips.all(|(name, tip)| {
        checkpoint.row_tables.get(name) == Some(tip) || commits.get(&tip.commit) == Some(&tip.hash)
    });
    if are_known || planted(Bug::TableWithoutItsCommit) {
        return Ok(true);
    }
    tracing::warn!(
        "the rows of process managers include commits that the journal does not have; everything is derived from the journal again"
    );
    Ok(false)
}

/// Locks the base directory itself: removing or replacing files in it gives no second process access.
fn take_lock(files: &Files, layout: &Layout) -> Result<LockHandle, OpenError> {
    let path = layout.lock();
    if files.exists(&path)? {
        // A directory on a read-only file system can be locked too. Its many readers must not exclude each other.
        drop(files.open(&path, OpenMode::Write)?);
    }
    if let Some(lock) = files.try_lock(layout.base())? {
        return Ok(lock);
    }
    let text = files.read(&path).ok().flatten().unwrap_or_default();
    let holder = String::from_utf8_lossy(&text).trim().to_owned();
    Err(OpenError::InUse {
        path: layout.base().to_owned(),
        holder: if holder.is_empty() {
            "another process".to_owned()
        } else {
            holder
        },
    })
}

/// Writes the holder of the directory to the lock file, for the error of a process that is refused.
fn tell_holder(files: &Files, layout: &Layout) -> Result<(), FileError> {
    let holder = format!("process {}\n", std::process::id());
    let file = files.open(&layout.lock(), OpenMode::Truncate)?;
    file.write_all_at(holder.as_bytes(), 0)
}

/// Drops an incomplete last batch whole, and writes the last complete batch again. That batch was read back, perhaps from the
/// page cache only, and counts as committed from here on.
fn make_certain(
    files: &Files,
    layout: &Layout,
    journal: &Parts,
    scan: &Scan,
) -> Result<Option<IncompleteBatch>, OpenError> {
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
            tracing::warn!(batch, bytes = bytes.len(), saved_to = %saved_to.display(), "dropped an incomplete last batch, whose commits were never acknowledged");
            Some(IncompleteBatch {
                batch: *batch,
                bytes: bytes.len() as u64,
                saved_to,
            })
        }
    };
    // An archived part of the batch was made durable before it counted.
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
