//! Writes durable commits to the derived files, and takes checkpoints of these files.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::disk::{FileError, Files, LockHandle, OpenMode};
use crate::journal::adoption::Adoption;
use crate::journal::index::{Coverage, Merge, Runs};
use crate::journal::local::appends::{Appends, lock};
use crate::journal::local::backlog::Backlog;
use crate::journal::local::checkpoint::{Checkpoint, Covered, ProcessManagerStates, save_progress};
use crate::journal::local::history::History;
use crate::journal::local::jobs::{DurableBatch, Jobs};
use crate::journal::local::layout::Layout;
use crate::journal::local::log::{JournalLog, SwapError};
use crate::journal::local::pulse::Pulse;
use crate::journal::local::queue::Queue;
use crate::journal::local::release::Release;
use crate::journal::local::rows::RowTables;
use crate::journal::local::scan::Tip;
use crate::journal::local::streams::{StreamIndex, hash_from};
use crate::journal::local::under_way::{Brought, UnderWay};
use crate::journal::{Durability, Extent, JournalError, Progress};
use crate::sabotage::{Bug, planted};

/// The longest distance between two checkpoints in the journal, in bytes. Opening reads at most this much.
const CHECKPOINT_BYTES: u64 = 16 << 20;
/// The number of bytes of a run that one step of a merge writes, and the pause before the next step. No user call waits for a
/// merge.
const MERGE_BYTES: u64 = 1 << 20;
const MERGE_PAUSE: Duration = Duration::from_millis(20);

/// The number of bytes of events at which the worker is woken: a small part of the distance between two checkpoints. Without
/// [`Durability::Sync`], the worker also syncs the journal, and is woken for each batch.
pub(in crate::journal::local) fn wake_bytes(durability: Durability, max_log_size: u64) -> usize {
    let distance = checkpoint_distance(max_log_size);
    match durability {
        Durability::Sync => usize::try_from(distance / 64).unwrap_or(usize::MAX),
        Durability::Flush => 0,
    }
}

/// The maximum distance from the last checkpoint to the end of the journal, in bytes.
fn checkpoint_distance(max_log_size: u64) -> u64 {
    match max_log_size {
        0 => CHECKPOINT_BYTES,
        max => CHECKPOINT_BYTES.min(max),
    }
}

pub(in crate::journal::local) struct DerivedWriter {
    /// Poisoned by a failed sync.
    pub(in crate::journal::local) queue: Arc<Queue>,
    pub(in crate::journal::local) pulse: Arc<Pulse>,
    pub(in crate::journal::local) files: Files,
    /// The base directory, locked since before the first write.
    pub(in crate::journal::local) base: Arc<LockHandle>,
    pub(in crate::journal::local) layout: Layout,
    pub(in crate::journal::local) log: Arc<JournalLog>,
    pub(in crate::journal::local) durability: Durability,
    /// The size from which a file is archived, in bytes; 0 for never.
    pub(in crate::journal::local) max_log_size: u64,
    pub(in crate::journal::local) streams: Arc<StreamIndex>,
    pub(in crate::journal::local) states: ProcessManagerStates,
    pub(in crate::journal::local) rows: Arc<RowTables>,
    /// The written extent of each dead-letter file.
    pub(in crate::journal::local) dead_letters: Arc<Mutex<BTreeMap<String, Extent>>>,
    pub(in crate::journal::local) adoption: Option<Adoption>,
    pub(in crate::journal::local) history: Arc<History>,
    pub(in crate::journal::local) backlog: Arc<Backlog>,
    /// The commit up to which every derived file is written.
    pub(in crate::journal::local) tip: Tip,
    pub(in crate::journal::local) line_start: u64,
    /// The end in the journal of the last checkpoint that was taken or tried.
    pub(in crate::journal::local) checkpoint_end: u64,
    /// The end of the appends that are sealed for the next checkpoint, if it is due.
    pub(in crate::journal::local) sealed: Option<u64>,
    /// The merges of runs that are in progress.
    pub(in crate::journal::local) merging: Vec<Merging>,
    /// The time of their next step.
    pub(in crate::journal::local) merge_next: Instant,
    /// Whether a merge has failed since the last checkpoint.
    pub(in crate::journal::local) is_merging_paused: bool,
    /// Whether a write was left to the next opening, so that no checkpoint may pass it.
    pub(in crate::journal::local) has_given_up: bool,
    pub(in crate::journal::local) jobs: Arc<Jobs>,
    pub(in crate::journal::local) under_way: UnderWay,
    /// Dropped last.
    pub(in crate::journal::local) _release: Arc<Release>,
}

impl Drop for DerivedWriter {
    fn drop(&mut self) {
        self.jobs.end();
    }
}

impl DerivedWriter {
    /// Records progress that is valid up to the last written commit.
    pub(in crate::journal::local) fn note(&mut self, process_manager: String, progress: Progress) {
        if let Some(state) = self.states.get_mut(&process_manager) {
            state.commit = self.tip.commit;
            state.progress = progress;
        }
    }

    /// Writes the batches. It gives up only while the store closes, because the next opening writes them again.
    pub(in crate::journal::local) fn write(&mut self, batches: &[DurableBatch]) -> Brought {
        if self.has_given_up {
            return Brought::GivenUp;
        }
        let Some(last) = batches.last() else {
            return Brought::Done;
        };
        // Derived data must not reach the disk before the journal that it is derived from.
        if self.durability == Durability::Flush
            && !planted(Bug::DerivedBeforeTheJournal)
            && let Err(error) = self.log.parts().sync_data()
        {
            self.queue.poison_with(&error.to_string());
            return self.give_up(&error);
        }
        if let Err(error) = self.write_in_place(batches) {
            if self.queue.poison().is_some() {
                return self.give_up(&error);
            }
            tracing::warn!(%error, "durable commits cannot be written to the derived files yet; the write is retried");
            if !self.backlog.is_closing() {
                self.backlog.failed(&error.to_string());
                return Brought::NotYet;
            }
            if !planted(Bug::CheckpointPassesALaggingStream) {
                return self.give_up(&error);
            }
        }
        self.note_last_reactions(batches);
        self.tip = last.tip.clone();
        self.line_start = last.line_start;
        let bytes = batches.iter().map(|batch| batch.bytes).sum();
        self.backlog.done(bytes, batches.len() as u64);
        Brought::Done
    }

    fn give_up(&mut self, error: &FileError) -> Brought {
        self.backlog.failed(&error.to_string());
        self.has_given_up = true;
        Brought::GivenUp
    }

    /// Records the state of each process manager after its last reaction.
    fn note_last_reactions(&mut self, batches: &[DurableBatch]) {
        let mut noted: Vec<&str> = Vec::new();
        for reaction in batches
            .iter()
            .rev()
            .flat_map(|batch| batch.reactions.iter().rev())
        {
            let name = &*reaction.process_manager;
            if noted.contains(&name) {
                continue;
            }
            noted.push(name);
            lock(&self.dead_letters).insert(name.to_owned(), reaction.state.dead_letters);
            self.states.insert(name.to_owned(), reaction.state.clone());
        }
    }

    /// Writes the files, unless the directory or the journal is no longer that of this store.
    fn write_in_place(&mut self, batches: &[DurableBatch]) -> Result<(), FileError> {
        require_in_place(&self.base, &self.log, &self.queue)?;
        self.write_files(batches)
    }

    fn write_files(&mut self, batches: &[DurableBatch]) -> Result<(), FileError> {
        for reaction in batches.iter().flat_map(|batch| &batch.reactions) {
            if reaction.dead_letters.is_empty() {
                continue;
            }
            let name = &reaction.process_manager;
            self.files
                .create_dir_all(&self.layout.process_manager(name))?;
            let file = self
                .files
                .open(&self.layout.dead_letters(name), OpenMode::Write)?;
            let end = reaction.state.dead_letters.bytes;
            let offset = end - reaction.dead_letters.len() as u64;
            file.write_all_at(reaction.dead_letters.as_bytes(), offset)?;
        }
        Ok(())
    }

    /// Whether to take a checkpoint now. When a checkpoint becomes due, the present appends are sealed. It is taken as soon as
    /// it covers them.
    pub(in crate::journal::local) fn is_checkpoint_due(&mut self) -> bool {
        let step = checkpoint_distance(self.max_log_size);
        // A checkpoint records the start of the journal's active file.
        let is_news = self.streams.index.is_news() || self.streams.snapshots.runs.is_news();
        let is_enough = self.tip.offset >= self.checkpoint_end + step;
        if !(is_enough || is_news) || self.queue.is_replacing() {
            return false;
        }
        let sealed = *self
            .sealed
            .get_or_insert_with(|| self.streams.appends.seal());
        self.tip.offset >= sealed || planted(Bug::SealNotAwaited)
    }

    pub(in crate::journal::local) fn take_checkpoint(&mut self, is_closing: bool) {
        let (commit, position) = (self.tip.commit, self.tip.position);
        let _span = tracing::debug_span!("checkpoint", commit, position).entered();
        if self.sealed.take().is_none() {
            self.streams.appends.seal();
        }
        match self.save_checkpoint() {
            Ok(()) => {
                self.is_merging_paused = false;
                self.pulse.took_checkpoint(self.queue.clock());
                self.rotate_journal(is_closing);
            }
            // A second sync would succeed without writing the data that this sync lost. Only redo writes it again.
            Err(error) if error.is_failed_sync() => self.queue.poison_with(&format!(
                "{error}. Nothing is lost: the journal has everything, and opening the store writes it again"
            )),
            Err(error) => {
                tracing::warn!(%error, "no checkpoint could be taken; opening the store reads more of the journal");
            }
        }
        // Also after a failure: the next attempt follows after another full distance.
        self.checkpoint_end = self.tip.offset;
    }

    /// Archives the part of the journal that the checkpoint covers, without its last commit, if that part is large enough.
    fn rotate_journal(&self, is_closing: bool) {
        let start = self.log.parts().start();
        let is_due =
            self.max_log_size > 0 && self.line_start.saturating_sub(start) >= self.max_log_size;
        if !is_due {
            return;
        }
        let archived = match self.log.archive(self.line_start, self.tip.commit) {
            Ok(archived) => archived,
            Err(JournalError::File(error)) if error.is_failed_sync() => {
                return self.queue.poison_with(&error.to_string());
            }
            Err(error) => {
                tracing::warn!(%error, "the journal could not be archived; a later checkpoint retries it");
                return;
            }
        };
        if !is_closing {
            return self.queue.replace_active(archived);
        }
        // The writer has ended.
        match self.log.replace_active(archived, self.tip.offset) {
            Ok(()) => {}
            Err(SwapError::Unchanged(error) | SwapError::Unknown(error)) => {
                tracing::warn!(%error, "the journal could not be rotated while the store was closed");
            }
        }
    }

    fn save_checkpoint(&mut self) -> Result<(), FileError> {
        require_in_place(&self.base, &self.log, &self.queue)?;
        let row_tables = self.rows.save(&self.tip).map_err(as_file_error)?;
        self.write_runs().map_err(as_file_error)?;
        if !planted(Bug::CheckpointBeforeTheSync) {
            self.sync_files()?;
        }
        for (name, state) in &self.states {
            save_progress(&self.files, &self.layout, name, state)?;
        }
        let (runs, snapshots) = (
            self.streams.index.notes(),
            self.streams.snapshots.runs.notes(),
        );
        let covered = Covered {
            journal: self.log.parts().saved(),
            runs: &runs,
            snapshots: &snapshots,
            states: &self.states,
            row_tables,
            index: self.history.index(),
            adoption: self.adoption.as_ref(),
        };
        Checkpoint::new(&self.tip, self.line_start, covered).save(&self.files, &self.layout)?;
        self.streams.index.sweep(&runs);
        self.streams.snapshots.runs.sweep(&snapshots);
        Ok(())
    }

    /// Writes the entries that the index and the snapshots need up to the tip.
    fn write_runs(&mut self) -> Result<(), JournalError> {
        let StreamIndex {
            appends,
            index,
            snapshots,
            ..
        } = &*self.streams;
        add_run(index, appends, &self.tip)?;
        appends.drop_sealed();
        let sealed = snapshots.seal();
        if !sealed.is_empty() {
            let rows = sealed.iter().map(|(key, value)| (&key[..], &value[..]));
            snapshots
                .runs
                .add(rows, coverage(&snapshots.runs, &self.tip))?;
            snapshots.drop_sealed();
        }
        Ok(())
    }

    /// Continues the merges of runs that are due. The result is the time until the next step, if there is one. Blocks.
    pub(in crate::journal::local) fn merge_on(&mut self) -> Option<Duration> {
        if self.is_merging_paused
            || self.queue.poison().is_some()
            || self.queue.read_only().is_some()
        {
            return None;
        }
        let left = self.merge_next.saturating_duration_since(Instant::now());
        if !left.is_zero() && !self.merging.is_empty() {
            return Some(left);
        }
        match self.merge_step() {
            Ok(false) => None,
            Ok(true) => {
                self.merge_next = Instant::now() + MERGE_PAUSE;
                Some(MERGE_PAUSE)
            }
            Err(JournalError::File(error)) if error.is_failed_sync() => {
                self.queue.poison_with(&error.to_string());
                None
            }
            Err(error) => {
                tracing::warn!(%error, "runs of the index could not be merged; they are retried after the next checkpoint");
                self.is_merging_paused = true;
                None
            }
        }
    }

    /// Continues the merge of the lowest level, because low levels are due most often. The result is whether there was a merge.
    fn merge_step(&mut self) -> Result<bool, JournalError> {
        let families = [&self.streams.index, &self.streams.snapshots.runs];
        for (family, runs) in families.into_iter().enumerate() {
            if let Some(merge) = runs.begin_merge()? {
                self.merging.push(Merging { merge, family });
            }
        }
        let levels = self.merging.iter().enumerate();
        let lowest = levels.min_by_key(|(_, merging)| merging.merge.level);
        let Some(index) = lowest.map(|(index, _)| index) else {
            return Ok(false);
        };
        let Merging { merge, family } = self.merging.swap_remove(index);
        let Some(runs) = families.get(family) else {
            return Ok(false);
        };
        if let Some(merge) = runs.go_on(merge, MERGE_BYTES)? {
            self.merging.push(Merging { merge, family });
        }
        Ok(true)
    }

    /// Makes the files of process managers durable.
    fn sync_files(&mut self) -> Result<(), FileError> {
        let mut directories = BTreeSet::from([self.layout.base().to_owned()]);
        for (name, state) in &self.states {
            let directory = self.layout.process_manager(name);
            self.files.create_dir_all(&directory)?;
            if state.dead_letters.bytes > 0 {
                let letters = self.layout.dead_letters(name);
                self.files.open(&letters, OpenMode::Write)?.sync_data()?;
            }
            directories.extend(directory.parent().map(ToOwned::to_owned));
            directories.insert(directory);
        }
        for directory in directories {
            self.files.sync_dir(&directory)?;
        }
        Ok(())
    }
}

/// A merge of runs that is in progress.
pub(in crate::journal::local) struct Merging {
    merge: Merge,
    /// 0 for the index, 1 for snapshots.
    family: usize,
}

/// Writes a run of the appends up to the tip that no run covers. Without such appends, no run is written.
pub(in crate::journal::local) fn add_run(
    index: &Runs,
    appends: &Appends,
    tip: &Tip,
) -> Result<(), JournalError> {
    let coverage = coverage(index, tip);
    let entries = appends.entries_of(&(coverage.from..coverage.to));
    if entries.is_empty() {
        return Ok(());
    }
    let entries = entries.iter();
    let entries = entries.map(|(key, address)| (key.as_bytes(), &address[..]));
    index.add(entries, coverage)
}

fn coverage(runs: &Runs, tip: &Tip) -> Coverage {
    Coverage {
        from: runs.covered(),
        to: tip.offset,
        hash: hash_from(&tip.hash),
    }
}

fn as_file_error(error: JournalError) -> FileError {
    match error {
        JournalError::File(error) => error,
        JournalError::Damage(damage) => {
            let source = std::io::Error::other(damage.to_string());
            FileError::new("save to", &damage.path, source)
        }
    }
}

/// Poisons the store if its directory or its journal was removed, renamed or replaced. Later commits would be lost, and derived
/// data would go to the files of a different store.
pub(in crate::journal::local) fn require_in_place(
    base: &LockHandle,
    log: &JournalLog,
    queue: &Queue,
) -> Result<(), FileError> {
    let gone = match base.is_in_place()? {
        false => Some(base.gone()),
        true => log.gone()?,
    };
    match gone {
        None => Ok(()),
        Some(gone) => {
            queue.poison_with(&gone.to_string());
            Err(gone)
        }
    }
}
