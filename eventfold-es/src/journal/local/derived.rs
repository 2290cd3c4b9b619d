//! Writing durable commits to the files derived from the journal, and taking checkpoints of these files.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use super::adoption::Adoption;
use super::backlog::Backlog;
use super::checkpoint::{Checkpoint, Covered, ProcessManagerStates, save_progress};
use super::extents::{StreamExtents, StreamPlace};
use super::history::History;
use super::jobs::{DurableBatch, Jobs};
use super::layout::Layout;
use super::log::{JournalLog, SwapError};
use super::pulse::Pulse;
use super::queue::Queue;
use super::registry::Registry;
use super::release::Release;
use super::rows::RowTables;
use super::scan::Tip;
use super::stream_archive::{ArchiveError, Archiving, archive_stream};
use super::streams::{StreamSlot, StreamTable, lock};
use super::under_way::{Brought, UnderWay};
use crate::disk::{FileError, FileHandle, Files, LockHandle, OpenMode};
use crate::journal::{Durability, Extent, JournalError, Progress};
use crate::sabotage::{Bug, planted};

/// How far the journal runs ahead of the last checkpoint, in bytes: what opening reads at most.
const CHECKPOINT_BYTES: u64 = 16 << 20;

/// A stream that has grown.
pub(super) struct Grown {
    pub(super) slot: Arc<StreamSlot>,
    pub(super) extent: Extent,
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
    pub(super) table: Arc<StreamTable>,
    pub(super) registry: Registry,
    pub(super) extents: StreamExtents,
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
    /// The streams that have grown since the last checkpoint, by their numbers, and where each ends at `tip`.
    pub(super) grown: BTreeMap<u64, Grown>,
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
        if !std::mem::replace(&mut self.under_way.is_registered, true) {
            for touched in batches.iter().flat_map(|batch| &batch.streams) {
                if let Some(ts) = touched.began {
                    self.registry.add(&touched.slot, ts);
                }
            }
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
        for touched in batches.iter().flat_map(|batch| &batch.streams) {
            let grown = Grown {
                slot: Arc::clone(&touched.slot),
                extent: touched.extent,
            };
            self.grown.insert(touched.slot.number(), grown);
        }
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
        // The last batch first: it brings what the others have added to a stream along.
        for touched in batches.iter().rev().flat_map(|batch| &batch.streams) {
            let slot = &touched.slot;
            // What was added since is in the journal, but the journal may not have been synced with it.
            let Some(unwritten) = slot.unwritten(touched.extent.bytes) else {
                continue;
            };
            let offset = unwritten.offset - slot.archive().extent.bytes;
            let file = open_stream(&self.files, &self.layout, slot)?;
            file.write_all_at(unwritten.text.as_bytes(), offset)?;
            slot.written(unwritten.count);
        }
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
        self.registry.flush()
    }

    pub(super) fn is_checkpoint_due(&self) -> bool {
        let step = match self.max_log_size {
            0 => CHECKPOINT_BYTES,
            max => CHECKPOINT_BYTES.min(max),
        };
        // A checkpoint says where the active file of the journal begins.
        self.tip.offset >= self.checkpoint_end + step && !self.queue.is_replacing()
    }

    pub(super) fn take_checkpoint(&mut self, is_closing: bool) {
        let (commit, position) = (self.tip.commit, self.tip.position);
        let _span = tracing::debug_span!("checkpoint", commit, position).entered();
        let archiving = self.to_be_archived();
        match self.save_checkpoint(&archiving) {
            Ok(()) => {
                self.pulse.took_checkpoint(self.queue.clock());
                let unfinished = self.archive_streams(&archiving);
                self.rotate_journal(is_closing);
                if is_closing && !archiving.is_empty() && self.queue.poison().is_none() {
                    // So that opening has nothing to finish but what failed.
                    if let Err(error) = self.save_checkpoint(&unfinished) {
                        tracing::warn!(%error, "the last checkpoint could not be taken");
                    }
                }
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

    /// The streams that have grown too large.
    fn to_be_archived(&self) -> Vec<Archiving> {
        if self.max_log_size == 0 {
            return Vec::new();
        }
        let grown = self.grown.iter();
        grown
            .filter(|(_, Grown { slot, extent })| {
                extent.bytes - slot.archive().extent.bytes >= self.max_log_size
            })
            .map(|(stream, Grown { extent, .. })| Archiving {
                stream: *stream,
                to: *extent,
            })
            .collect()
    }

    /// Archives what the checkpoint says, and tells what could not be archived; what has grown until the next one is only what
    /// it says. What failed belongs to that, too: the next checkpoint tries it again.
    fn archive_streams(&mut self, archiving: &[Archiving]) -> Vec<Archiving> {
        let mut grown = std::mem::take(&mut self.grown);
        let mut unfinished = Vec::new();
        for planned in archiving {
            let Some(archived) = grown.remove(&planned.stream) else {
                continue;
            };
            match archive_stream(&self.files, &self.layout, &archived.slot, planned.to) {
                Ok(()) => {}
                Err(ArchiveError::Unchanged(error)) => {
                    tracing::warn!(%error, "a stream could not be archived; it will be tried again");
                    unfinished.push(*planned);
                }
                Err(ArchiveError::Unknown(error)) => {
                    self.queue.poison_with(&error.to_string());
                    return unfinished;
                }
            }
            self.grown.insert(planned.stream, archived);
        }
        unfinished
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

    /// Makes everything durable that the checkpoint will vouch for.
    fn sync(&mut self) -> Result<(), FileError> {
        for name in self.states.keys() {
            self.files
                .create_dir_all(&self.layout.process_manager(name))?;
        }
        match self.base.sync_file_system()? {
            true => Ok(()),
            false => self.sync_files(),
        }
    }

    fn save_checkpoint(&mut self, archiving: &[Archiving]) -> Result<(), FileError> {
        require_in_place(&self.base, &self.log, &self.queue)?;
        let grown = self.grown.iter();
        let places = grown.map(|(number, Grown { slot, extent })| {
            let place = StreamPlace {
                extent: *extent,
                archive: slot.archive(),
            };
            (*number, place)
        });
        let extents = self.extents.write(&places.collect(), self.table.len())?;
        let row_tables = self.rows.save(&self.tip).map_err(|error| match error {
            JournalError::File(error) => error,
            JournalError::Damage(damage) => {
                let source = std::io::Error::other(damage.to_string());
                FileError::new("save to", &damage.path, source)
            }
        })?;
        if !planted(Bug::CheckpointBeforeTheSync) {
            self.sync()?;
        }
        for (name, state) in &self.states {
            save_progress(&self.files, &self.layout, name, state)?;
        }
        let covered = Covered {
            journal: self.log.parts().saved(),
            registry: self.registry.extent(),
            stream_extents: extents,
            archiving: archiving.to_vec(),
            states: &self.states,
            row_tables,
            index: self.history.index(),
            adoption: self.adoption.as_ref(),
        };
        Checkpoint::new(&self.tip, self.line_start, covered).save(&self.files, &self.layout)?;
        self.extents.saved(extents);
        Ok(())
    }

    /// Where the platform cannot sync the file system as a whole: each file and directory on its own.
    fn sync_files(&mut self) -> Result<(), FileError> {
        self.registry.sync()?;
        self.extents.sync()?;
        self.files.sync_dir(&self.layout.meta())?;
        let mut directories = BTreeSet::from([self.layout.base().to_owned()]);
        for Grown { slot, .. } in self.grown.values() {
            let stream = &slot.stream;
            open_stream(&self.files, &self.layout, slot)?.sync_data()?;
            let directory = self.layout.stream(&stream.aggregate_type, slot.directory());
            directories.extend(
                directory
                    .ancestors()
                    .take_while(|ancestor| ancestor.starts_with(self.layout.streams()))
                    .map(ToOwned::to_owned),
            );
        }
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

fn open_stream(files: &Files, layout: &Layout, slot: &StreamSlot) -> Result<FileHandle, FileError> {
    let (aggregate_type, directory) = (&slot.stream.aggregate_type, slot.directory());
    let path = layout.stream_file(aggregate_type, directory);
    match files.open(&path, OpenMode::Write) {
        Err(error) if error.is_not_found() => {
            files.create_dir_all(&layout.stream(aggregate_type, directory))?;
            files.open(&path, OpenMode::Write)
        }
        opened => opened,
    }
}
