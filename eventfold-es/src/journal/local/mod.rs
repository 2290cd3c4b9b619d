//! The journal on local files.

mod backup;
mod deriving;
#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod fixture;
mod lines;
mod opening;
mod reading;
pub(in crate::journal) mod replica;
pub(super) mod row_store;
mod rows;
mod verify;
mod writing;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, watch};

use appends::lock;
use backlog::Backlog;
use derived::{DerivedWriter, require_in_place, wake_bytes};
use deriving::{checkpoint, derived, jobs, pulse, under_way};
use history::History;
use jobs::Jobs;
pub(crate) use layout::Layout;
use lines::{line, line_canonical, line_events, line_json, line_read};
use linger::Linger;
use log::{JournalLog, Parts};
pub(crate) use new_journal::NewJournal;
use opening::{layout, new_journal, read_only, recovery, redo, release, scan};
use pulse::Pulse;
use queue::Queue;
use read_only::{Opened, recover_where_possible};
use reading::{appends, commit_texts, history, log, snapshots, streams};
use recovery::Recovered;
use release::Release;
use replica::{Claimant, NodeParts, Program, Replica, join, leave, take_part};
use rows::RowTables;
use streams::StreamIndex;
use under_way::UnderWay;
use writer::Writer;
pub(in crate::journal) use writing::queue;
use writing::{backlog, batch, linger, writer};

use super::{
    Answer, Audience, BackupError, BackupReport, CheckState, Cursor, Durability, EventChunk,
    Extent, Inherited, Journal, JournalError, JournalOptions, KeyLookup, Log, Maintenance, Outcome,
    Progress, ProposedCommit, RecordedCommit, RecoveryReport, RedbFile, RedbOptions, Room,
    SavedValue, Snapshot, Snapshots, Standing, StreamEnd, StreamId, StreamPart, StreamReader,
    Streams, TextPlace, Types, Verified, Vitals, Waiting,
};
use crate::clock::{Clock, StoreClock};
use crate::disk::{FileError, Files, LockHandle, OpenMode, SealedFile};
use crate::error::{OpenError, StoreError};
use crate::replication::{Membership, Replication};
use crate::threads::StoreRuntime;

/// The time between two looks at the release of a directory.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// The journal on local files. One worker makes commits durable, and a second worker writes the derived files.
pub(crate) struct LocalJournal {
    files: Files,
    /// The disk itself, even if `files` are in memory.
    disk: Files,
    layout: Layout,
    /// Empty after the release of the directory. The release waits for holders of this lock.
    base: Arc<Mutex<Weak<LockHandle>>>,
    queue: Arc<Queue>,
    streams: Arc<StreamIndex>,
    history: Arc<History>,
    backlog: Arc<Backlog>,
    jobs: Arc<Jobs>,
    /// The progress of each process manager when the journal was opened. In a replicated journal, that of its last commit.
    progress: Arc<Mutex<BTreeMap<String, Progress>>>,
    log: Arc<JournalLog>,
    pulse: Arc<Pulse>,
    rows: Arc<RowTables>,
    durability: Durability,
    /// The written extent of each dead-letter file.
    dead_letters: Arc<Mutex<BTreeMap<String, Extent>>>,
    /// By process manager.
    inherited: BTreeMap<String, Inherited>,
    closed: watch::Receiver<bool>,
}

/// Whether a directory has a journal.
pub(crate) fn has_journal(files: &Files, base: &Path) -> Result<bool, FileError> {
    files.exists(&Layout::new(base).journal())
}

impl LocalJournal {
    /// Opens the directory, and brings it to the state after its last durable batch. On a read-only file system, that happens
    /// in memory. Blocks.
    pub(crate) fn open(
        files: Files,
        base: &Path,
        options: &JournalOptions,
        membership: Membership,
        clock: Arc<dyn Clock>,
        runtime: &StoreRuntime,
    ) -> Result<(Self, RecoveryReport), OpenError> {
        let layout = Layout::new(base);
        let durability = match &membership {
            // The log makes batches durable.
            Membership::Node(_) => Durability::Flush,
            Membership::Alone | Membership::Unchanged => options.durability,
        };
        let writer_worker = runtime.journal_worker(base)?;
        let derived_worker = runtime.upkeep_worker(base)?;
        let disk = files.clone();
        let Opened {
            files,
            recovered,
            read_only,
        } = recover_where_possible(files, &layout, options.rebuild, runtime)?;
        let Recovered {
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
        } = recovered;
        let node = match (membership, &read_only) {
            (Membership::Node(_), Some(reason)) => {
                let reason = Arc::clone(reason);
                return Err(OpenError::Store(StoreError::ReadOnly { reason }));
            }
            (Membership::Node(node), None) => {
                let may_claim = join(&node.log, &files, &layout, &journal.parts(), &tip)?;
                Some((node, may_claim))
            }
            (Membership::Alone, None) => {
                leave(&files, &layout)?;
                None
            }
            (Membership::Alone, Some(_)) | (Membership::Unchanged, _) => None,
        };
        let inherited = match &adoption {
            Some(adoption) => adoption.process_managers(&files, &layout)?,
            None => BTreeMap::new(),
        };
        let filled = journal.parts().len()?;
        let log = journal;
        let audience = Audience::new(tip.position);
        let queue = Queue::new(tip.time, clock, read_only, writer_worker.clone(), audience);
        let queue = Arc::new(queue);
        let streams = Arc::new(streams);
        let backlog = Arc::new(Backlog::new(writer_worker.clone(), derived_worker.clone()));
        let woken_as = match node {
            // Nobody waits for a sync of the file.
            Some(_) => Durability::Sync,
            None => durability,
        };
        let wake_bytes = wake_bytes(woken_as, options.max_log_size);
        let jobs = Arc::new(Jobs::new(derived_worker.clone(), wake_bytes));
        let rows = Arc::new(rows);
        let history = Arc::new(History::new(
            Arc::clone(&log),
            index,
            tip.offset,
            tip.position,
        ));
        let (closed_sender, closed) = watch::channel(false);
        let progress = states
            .iter()
            .map(|(name, state)| (name.clone(), state.progress.clone()))
            .collect();
        let progress = Arc::new(Mutex::new(progress));
        let dead_letters = states
            .iter()
            .map(|(name, state)| (name.clone(), state.dead_letters))
            .collect();
        let dead_letters = Arc::new(Mutex::new(dead_letters));
        let pulse = Arc::new(Pulse::default());
        let lock = Arc::new(lock);
        let base = Arc::new(Mutex::new(Arc::downgrade(&lock)));
        let release = Arc::new(Release {
            directory: Some(Arc::clone(&lock)),
            base: Arc::clone(&base),
            rows: Arc::clone(&rows),
            closed: closed_sender,
        });
        if let Some((replication, _)) = &node {
            queue.standing().replicate(&replication.node.name);
            queue.limit_batches(replication.log.max_entry_bytes());
            queue.standing().has_batch(tip.batch, tip.position);
        }
        let (ended_sender, ended) = watch::channel(());
        let node = node.map(|(replication, may_claim)| {
            let Replication {
                log,
                node,
                aggregate_types,
            } = replication;
            let program = Program {
                aggregate_types,
                streams: Arc::clone(&streams),
            };
            (log, Claimant::new(node), may_claim, program)
        });
        let replica = node.as_ref().map(|(log, claimant, ..)| {
            Replica::new(
                Arc::clone(log),
                claimant.clone(),
                Arc::clone(&progress),
                ended_sender,
            )
        });
        let writer = Writer {
            replica,
            log: Arc::clone(&log),
            pulse: Arc::clone(&pulse),
            durability,
            queue: Arc::clone(&queue),
            streams: Arc::clone(&streams),
            history: Arc::clone(&history),
            backlog: Arc::clone(&backlog),
            rows: Arc::clone(&rows),
            jobs: Arc::clone(&jobs),
            tip: tip.clone(),
            filled,
            sync_time: Duration::ZERO,
            linger: Linger::default(),
            answered: 0,
            returning: Linger::default(),
            reactions: Linger::default(),
            dead_letters: states
                .iter()
                .map(|(name, state)| (name.as_str().into(), state.dead_letters))
                .collect(),
            held: None,
            _release: Arc::clone(&release),
        };
        let derived = DerivedWriter {
            queue: Arc::clone(&queue),
            pulse: Arc::clone(&pulse),
            files: files.clone(),
            base: lock,
            layout: layout.clone(),
            log: Arc::clone(&log),
            durability,
            max_log_size: options.max_log_size,
            streams: Arc::clone(&streams),
            states,
            rows: Arc::clone(&rows),
            dead_letters: Arc::clone(&dead_letters),
            adoption,
            history: Arc::clone(&history),
            backlog: Arc::clone(&backlog),
            tip,
            line_start,
            checkpoint_end: redo_start,
            sealed: None,
            merging: Vec::new(),
            merge_next: Instant::now(),
            is_merging_paused: false,
            has_given_up: false,
            jobs: Arc::clone(&jobs),
            under_way: UnderWay::default(),
            _release: Arc::clone(&release),
        };
        derived_worker.begin(derived);
        writer_worker.begin(writer);
        let node = node.map(|(log, claimant, may_claim, program)| NodeParts {
            log,
            claimant,
            may_claim,
            program,
            queue: Arc::clone(&queue),
            ended,
            release,
        });
        let journal = Self {
            files,
            disk,
            layout,
            base,
            queue,
            streams,
            history,
            backlog,
            jobs,
            progress,
            log,
            pulse,
            rows,
            durability,
            dead_letters,
            inherited,
            closed,
        };
        if let Some(node) = node
            && let Err(error) = take_part(node, journal.layout.base())
        {
            journal.give_up();
            return Err(error);
        }
        Ok((journal, report))
    }
}

impl LocalJournal {
    /// Closes it, and waits until the directory is released. Blocks.
    fn give_up(self) {
        let closed = self.closed.clone();
        drop(self);
        // An error means that the sender is gone, and with it the lock on the directory.
        while !*closed.borrow() && closed.has_changed().is_ok() {
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// The parts of the journal, and the end of its durable text, which is not before `at_least`.
    fn parts_with_end(&self, at_least: u64) -> (u64, Arc<Parts>) {
        loop {
            let end = self.history.end().max(at_least);
            let parts = self.log.parts();
            // A segment ends behind the durable end that was read: a read of it would return too much.
            if parts.start() <= end {
                return (end, parts);
            }
        }
    }
}

impl Drop for LocalJournal {
    fn drop(&mut self) {
        self.queue.close();
    }
}

impl Log for LocalJournal {
    fn room(&self) -> &Arc<Semaphore> {
        self.queue.room()
    }

    fn submit(&self, room: Room, commit: ProposedCommit) -> Arc<Outcome> {
        self.queue.push(room, commit)
    }

    fn clock(&self) -> &StoreClock {
        self.queue.clock()
    }

    fn pass(&self, time: u64) -> Option<Arc<Outcome>> {
        self.queue.pass(time)
    }

    fn read_on(&self, cursor: &mut Cursor) -> Result<Vec<Arc<RecordedCommit>>, JournalError> {
        self.history.read_on(cursor)
    }

    fn read_events(
        &self,
        cursor: &mut Cursor,
        bytes: u64,
        used: EventChunk,
    ) -> Result<EventChunk, JournalError> {
        self.history.read_events(cursor, bytes, used)
    }

    fn read_text(
        &self,
        place: &mut TextPlace,
        bytes: u64,
        used: EventChunk,
    ) -> Result<Option<EventChunk>, JournalError> {
        self.history.read_text(place, bytes, used)
    }

    fn find_events(&self, chunk: &mut EventChunk) {
        self.history.find_events(chunk);
    }

    fn pass_text(&self, cursor: &mut Cursor, chunk: &EventChunk) -> Result<(), JournalError> {
        self.history.pass_text(cursor, chunk)
    }

    fn read_recent(&self, cursor: &mut Cursor) -> Option<Vec<Arc<RecordedCommit>>> {
        self.history.read_recent(cursor)
    }

    fn durable(&self) -> watch::Receiver<u64> {
        self.history.followers.durable()
    }

    fn wait_behind(&self, position: u64, types: &Types) -> Option<Waiting> {
        self.history.followers.wait_behind(position, types)
    }

    fn audience(&self) -> Option<&Arc<Audience>> {
        Some(self.queue.audience())
    }

    fn standing(&self) -> &Standing {
        self.queue.standing()
    }

    fn read_only(&self) -> Option<Arc<str>> {
        self.queue.read_only()
    }

    fn poisoned(&self) -> Option<Arc<str>> {
        self.queue.poison()
    }
}

impl Streams for LocalJournal {
    fn read_stream<'a>(
        &'a self,
        stream: &'a StreamId,
        behind: StreamEnd,
    ) -> Result<Box<dyn StreamReader + 'a>, JournalError> {
        Ok(Box::new(self.streams.read(stream, behind)?))
    }

    fn read_part(
        &self,
        stream: &StreamId,
        part: &StreamPart,
    ) -> Result<Vec<RecordedCommit>, JournalError> {
        self.streams.read_part(stream, part)
    }

    fn streams(&self, aggregate_type: Option<&str>) -> Result<Vec<StreamId>, JournalError> {
        self.streams.list(aggregate_type)
    }

    fn has_stream(&self, stream: &StreamId) -> Result<bool, JournalError> {
        Ok(self.streams.appends.quarantined(stream).is_some() || self.streams.has(stream)?)
    }

    fn known_version(&self, stream: &StreamId) -> Option<u64> {
        self.streams.known_version(stream)
    }

    fn known_answer(
        &self,
        stream: &StreamId,
        key: &str,
        before: Option<KeyLookup>,
    ) -> Option<KeyLookup> {
        self.streams.known_answer(stream, key, before)
    }

    fn find_answer(&self, stream: &StreamId, key: &str) -> Result<KeyLookup, JournalError> {
        self.streams.find_answer(stream, key)
    }

    fn read_answer(
        &self,
        stream: &StreamId,
        answer: &Answer,
    ) -> Result<Vec<Box<str>>, JournalError> {
        self.streams.lines_of(stream, answer)
    }
}

impl Snapshots for LocalJournal {
    fn load_snapshot(&self, stream: &StreamId) -> Option<Snapshot> {
        let threads = &self.streams.threads;
        match self.streams.snapshots.load(threads, stream) {
            Ok(snapshot) => snapshot,
            Err(error) => {
                tracing::warn!(%error, instance = %stream.instance_id, "a snapshot cannot be read; its stream is read from the beginning");
                None
            }
        }
    }

    fn save_snapshot(&self, stream: &StreamId, snapshot: &Snapshot) {
        self.streams.snapshots.save(stream, snapshot);
    }

    fn projection(&self, name: &str) -> Arc<dyn SavedValue> {
        let path = self.layout.projection_checkpoint(name);
        Arc::new(SealedFile::new(self.files.clone(), path))
    }

    fn projection_rows(
        &self,
        name: &str,
        options: &RedbOptions,
        is_new: bool,
    ) -> Result<RedbFile, JournalError> {
        let path = self.layout.projection_rows(name);
        if is_new {
            self.files.remove(&path)?;
        }
        if !self.files.exists(&path)? {
            self.files
                .create_dir_durably(&self.layout.projection(name))?;
        }
        RedbFile::open(self.files.open(&path, OpenMode::Write)?, options)
    }

    fn prepare_to_save(&self) -> Result<(), JournalError> {
        let base = lock(&self.base);
        if let Some(base) = base.upgrade() {
            require_in_place(&base, &self.log, &self.queue)?;
        }
        if self.durability == Durability::Sync {
            return Ok(());
        }
        self.log.parts().sync_data().map_err(|error| {
            self.queue.poison_with(&error.to_string());
            error.into()
        })
    }
}

impl Maintenance for LocalJournal {
    fn verify(&self, check_state: &CheckState<'_>) -> Result<Verified, JournalError> {
        self.verify_all(check_state)
    }

    fn backup(
        &self,
        to: &Path,
        is_stopped: &AtomicBool,
    ) -> Result<Option<BackupReport>, BackupError> {
        self.back_up(to, is_stopped)
    }

    fn vitals(&self) -> Vitals {
        Vitals {
            bytes: self.log.parts().bytes_up_to(self.history.end()),
            last_sync: self.pulse.last_sync(),
            last_checkpoint: self.pulse.last_checkpoint(),
            write_failure: self.pulse.failure(),
        }
    }

    fn resign(&self) {
        self.queue.resign();
    }

    fn close(&self) {
        self.queue.close();
    }

    fn closed(&self) -> watch::Receiver<bool> {
        self.closed.clone()
    }
}

impl Journal for LocalJournal {}
