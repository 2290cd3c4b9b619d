//! Writing durable commits to the files derived from the journal, and taking checkpoints of these files.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::appends::{Appends, lock};
use super::backlog::Backlog;
use super::checkpoint::{Checkpoint, Covered, ProcessManagerStates, save_progress};
use super::history::History;
use super::jobs::{DurableBatch, Jobs};
use super::layout::Layout;
use super::log::{JournalLog, SwapError};
use super::pulse::Pulse;
use super::queue::Queue;
use super::release::Release;
use super::rows::RowTables;
use super::scan::Tip;
use super::streams::{StreamIndex, hash_from};
use super::under_way::{Brought, UnderWay};
use crate::disk::{FileError, Files, LockHandle, OpenMode};
use crate::journal::adoption::Adoption;
use crate::journal::index::{Coverage, Merge, Runs};
use crate::journal::{Durability, Extent, JournalError, Progress};
use crate::sabotage::{Bug, planted};

/// The longest distance between two checkpoints in the journal, in bytes: what opening reads at most.
const CHECKPOINT_BYTES: u64 = 16 << 20;
/// How much of a run is written in one step of a merge, and how long the next step waits: nothing that a user does waits for it.
const MERGE_BYTES: u64 = 1 << 20;
const MERGE_PAUSE: Duration = Duration::from_millis(20);

/// For how many bytes of events the worker is woken, which are little beside the distance of two checkpoints. Without
/// [`Durability::Sync`] it syncs the journal, too, and is woken for each batch.
pub(super) fn wake_bytes(durability: Durability, max_log_size: u64) -> usize {
    let distance = checkpoint_distance(max_log_size);
    match durability {
        Durability::Sync => usize::try_from(distance / 64).unwrap_or(usize::MAX),
        Durability::Flush => 0,
    }
}

/// How far the journal runs ahead of the last checkpoint, in bytes.
fn checkpoint_distance(max_log_size: u64) -> u64 {
    match max_log_size {
        0 => CHECKPOINT_BYTES,
        max => CHECKPOINT_BYTES.min(max),
    }
}

pub(super) struct DerivedWriter {
    /// Poisoned by a sync that fails.
    pub(super) queue: Arc<Queue>,
    pub(super) pulse: Arc<Pulse>,
    pub(super) files: Files,
    /// The base directory, held since before anything was written.
    pub(super) base: Arc<LockHandle>,
    pub(super) layout: Layout,
    pub(super) log: Arc<JournalLog>,
    pub(super) durability: Durability,
    /// The size from which a file is archived, in bytes; 0 for never.
    pub(super) max_log_size: u64,
    pub(super) streams: Arc<StreamIndex>,
    pub(super) states: ProcessManagerStates,
    pub(super) rows: Arc<RowTables>,
    /// How much of each dead-letter file was written.
    pub(super) dead_letters: Arc<Mutex<BTreeMap<String, Extent>>>,
    pub(super) adoption: Option<Adoption>,
    pub(super) history: Arc<History>,
    pub(super) backlog: Arc<Backlog>,
    /// Up to where everything is in its file.
    pub(super) tip: Tip,
    pub(super) line_start: u64,
    /// Where the last checkpoint, taken or tried, ends in the journal.
    pub(super) checkpoint_end: u64,
    /// Where what was sealed for the next checkpoint ends, if it is due.
    pub(super) sealed: Option<u64>,
    /// The merges of runs that are under way.
    pub(super) merging: Vec<Merging>,
    /// When they go on.
    pub(super) merge_next: Instant,
    /// Whether one has failed since the last checkpoint.
    pub(super) is_merging_paused: bool,
    /// Whether something was left to the next opening, so that no checkpoint may pass it.
    pub(super) has_given_up: bool,
    pub(super) jobs: Arc<Jobs>,
    pub(super) under_way: UnderWay,
    /// Dropped last.
    pub(super) _release: Arc<Release>,
}

impl Drop for DerivedWriter {
    fn drop(&mut self) {
        self.jobs.end();
    }
}

impl DerivedWriter {
    /// Notes progress that is true up to what was written last.
    pub(super) fn note(&mut self, process_manager: String, progress: Progress) {
        if let Some(state) = self.states.get_mut(&process_manager) {
            state.commit = self.tip.commit;
            state.progress = progress;
        }
    }

    /// Writes the batches; gives up only while closing, since opening writes them again.
    pub(super) fn write(&mut self, batches: &[DurableBatch]) -> Brought {
        if self.has_given_up {
            return Brought::GivenUp;
        }
        let Some(last) = batches.last() else {
            return Brought::Done;
        };
        // Nothing that is derived may be on the disk before what it is derived from.
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
            tracing::warn!(%error, "what is durable in the journal cannot be written to its own file yet");
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

    /// Notes the states of the process managers: the last one of each counts.
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

    /// Writes the files, unless they would not be those of this store.
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

    /// Whether a checkpoint is to be taken now. When it is due, what there is of appends is sealed, and it is taken as soon as it covers them.
    pub(super) fn is_checkpoint_due(&mut self) -> bool {
        let step = checkpoint_distance(self.max_log_size);
        // A checkpoint says where the active file of the journal begins.
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

    pub(super) fn take_checkpoint(&mut self, is_closing: bool) {
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
            // A second sync would succeed without writing what this one did not; only redo writes it again.
            Err(error) if error.is_failed_sync() => self.queue.poison_with(&format!(
                "{error}. Nothing is lost: the journal has everything, and opening the store writes it again"
            )),
            Err(error) => {
                tracing::warn!(%error, "no checkpoint could be taken; opening the store reads more of the journal");
            }
        }
        // Also after a failure: the next one is tried when as much is new again.
        self.checkpoint_end = self.tip.offset;
    }

    /// Archives what the checkpoint covers of the journal, but for its last commit, if that is much.
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
                tracing::warn!(%error, "the journal could not be archived; it will be tried again");
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

    /// Writes what the index and the snapshots have to have at the tip.
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

    /// Goes on with the merges of runs that are due; when to come again, if there are some. Blocks.
    pub(super) fn merge_on(&mut self) -> Option<Duration> {
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
                tracing::warn!(%error, "runs of the index could not be merged; it will be tried again after the next checkpoint");
                self.is_merging_paused = true;
                None
            }
        }
    }

    /// Goes on with the merge of the lowest level, since those are due most often; whether there was one.
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

/// A merge of runs that is under way.
pub(super) struct Merging {
    merge: Merge,
    /// 0 for the index, 1 for snapshots.
    family: usize,
}

/// Writes a run of the appends up to the tip that no run has; none if there are none.
pub(super) fn add_run(index: &Runs, appends: &Appends, tip: &Tip) -> Result<(), JournalError> {
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

/// Poisons the store if its directory or its journal was removed, renamed or replaced: what is committed from then on would
/// be lost, and what is derived from it would go to another store's files.
pub(super) fn require_in_place(
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
