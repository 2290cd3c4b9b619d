//! The journal on local files.

mod backlog;
mod batch;
mod checkpoint;
mod derived;
mod directories;
mod extents;
mod history;
mod layout;
mod line;
mod queue;
mod recovery;
mod redo;
mod registry;
mod scan;
mod snapshots;
mod streams;
mod writer;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use backlog::Backlog;
use derived::{DerivedWriter, Job};
use history::History;
pub(crate) use layout::Layout;
use queue::Queue;
pub(crate) use recovery::RecoveryError;
pub use recovery::{IncompleteBatch, RecoveryReport};
use recovery::{Recovered, recover};
use snapshots::{ClosesSnapshots, SnapshotFiles};
use streams::{StreamSlot, StreamTable, lock, read_stream};
use writer::Writer;

use super::{
    Cursor, Damage, Extent, Journal, JournalError, Outcome, Progress, ProposedCommit,
    RecordedCommit, Snapshot, StoredLines, StreamId, StreamTail,
};
use crate::disk::{DiskLock, FileError, Files};

/// The journal on local files: one thread that makes commits durable, one that writes the files derived from them.
pub(crate) struct LocalJournal {
    files: Files,
    layout: Layout,
    queue: Arc<Queue>,
    table: Arc<StreamTable>,
    history: Arc<History>,
    backlog: Arc<Backlog>,
    snapshots: Arc<SnapshotFiles>,
    jobs: Sender<Job>,
    /// The progress of each process manager when the journal was opened.
    progress: Mutex<BTreeMap<String, Progress>>,
    closed: watch::Receiver<bool>,
}

impl LocalJournal {
    /// Opens the directory and brings it to the state after its last durable batch. Blocks.
    pub(crate) fn open(files: Files, base: &Path) -> Result<(Self, RecoveryReport), RecoveryError> {
        let layout = Layout::new(base);
        let Recovered {
            lock,
            journal,
            tip,
            line_start,
            table,
            registry,
            extents,
            grown,
            states,
            index,
            redo_start,
            file_system,
            report,
        } = recover(&files, &layout)?;
        let filled = journal.len()?;
        let queue = Arc::new(Queue::new());
        let table = Arc::new(table);
        let backlog = Arc::new(Backlog::default());
        let history = Arc::new(History::new(
            files.clone(),
            layout.clone(),
            index,
            tip.offset,
            tip.position,
        ));
        let (jobs, received) = mpsc::channel();
        let (closed_sender, closed) = watch::channel(false);
        let progress = states
            .iter()
            .map(|(name, state)| (name.clone(), state.progress.clone()))
            .collect();
        let writer = Writer {
            journal,
            queue: Arc::clone(&queue),
            table: Arc::clone(&table),
            history: Arc::clone(&history),
            backlog: Arc::clone(&backlog),
            jobs: jobs.clone(),
            tip: tip.clone(),
            filled,
            dead_letters: states
                .iter()
                .map(|(name, state)| (name.as_str().into(), state.dead_letters))
                .collect(),
        };
        let derived = DerivedWriter {
            queue: Arc::clone(&queue),
            files: files.clone(),
            file_system,
            layout: layout.clone(),
            table: Arc::clone(&table),
            registry,
            extents,
            states,
            history: Arc::clone(&history),
            backlog: Arc::clone(&backlog),
            tip,
            line_start,
            checkpoint_end: redo_start,
            grown,
            has_given_up: false,
        };
        let guard = PoisonGuard {
            queue: Arc::clone(&queue),
            backlog: Arc::clone(&backlog),
        };
        // Held by both threads: nobody else opens the directory while one of them may write to it.
        let lock: Arc<dyn DiskLock> = Arc::from(lock);
        let shared_lock = Arc::clone(&lock);
        let derived_thread = spawn("eventfold-es-streams", &layout, move || {
            let (guard, lock) = (guard, shared_lock);
            derived.run(&received);
            drop((guard, lock));
        })?;
        let guard = PoisonGuard {
            queue: Arc::clone(&queue),
            backlog: Arc::clone(&backlog),
        };
        let last_jobs = jobs.clone();
        let last_backlog = Arc::clone(&backlog);
        let snapshots = SnapshotFiles::new(files.clone(), layout.clone());
        let last_snapshots = ClosesSnapshots(Arc::clone(&snapshots));
        spawn("eventfold-es-journal", &layout, move || {
            let (guard, lock) = (guard, lock);
            // The first to be dropped, also when the thread panics.
            let snapshots = last_snapshots;
            writer.run();
            last_backlog.close();
            // A poisoned store takes no checkpoint: what the disk holds is known only after opening it again.
            let close = Job::Close {
                take_checkpoint: guard.queue.poison().is_none(),
            };
            if last_jobs.send(close).is_ok() && derived_thread.join().is_err() {
                tracing::error!("the thread that writes the stream files panicked");
            }
            drop(snapshots);
            drop((guard, lock));
            closed_sender.send_replace(true);
        })?;
        let journal = Self {
            files,
            layout,
            queue,
            table,
            history,
            backlog,
            snapshots,
            jobs,
            progress: Mutex::new(progress),
            closed,
        };
        Ok((journal, report))
    }
}

fn spawn(
    name: &str,
    layout: &Layout,
    run: impl FnOnce() + Send + 'static,
) -> Result<std::thread::JoinHandle<()>, FileError> {
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(run)
        .map_err(|error| FileError::new("start a thread for", layout.base(), error))
}

/// Poisons the store if the thread that holds it panics, and wakes up who waits for that thread.
struct PoisonGuard {
    queue: Arc<Queue>,
    backlog: Arc<Backlog>,
}

impl Drop for PoisonGuard {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let reason = "a thread of the journal panicked; open the store again";
            self.queue.poison_with(reason);
            self.backlog.failed(reason);
        }
    }
}

impl LocalJournal {
    /// The slot of a stream with at least one durable event.
    fn listed(&self, stream: &StreamId) -> Option<Arc<StreamSlot>> {
        let slot = self.table.slot(stream);
        slot.filter(|_| self.table.contains(stream))
    }
}

impl Drop for LocalJournal {
    fn drop(&mut self) {
        self.queue.close();
    }
}

impl Journal for LocalJournal {
    fn room(&self) -> &Arc<Semaphore> {
        self.queue.room()
    }

    fn submit(&self, room: OwnedSemaphorePermit, commit: ProposedCommit) -> Arc<Outcome> {
        self.queue.push(room, commit)
    }

    fn read_stream(&self, stream: &StreamId) -> Result<StoredLines, JournalError> {
        self.read_stream_behind(stream, Extent::default())
            .map(|tail| tail.lines)
    }

    fn read_stream_behind(
        &self,
        stream: &StreamId,
        start: Extent,
    ) -> Result<StreamTail, JournalError> {
        match self.listed(stream) {
            Some(slot) => read_stream(&self.files, &self.layout, &slot, start),
            None => Ok(StreamTail::default()),
        }
    }

    fn load_snapshot(&self, stream: &StreamId) -> Option<Snapshot> {
        self.snapshots.load(&*self.listed(stream)?)
    }

    fn save_snapshot(&self, stream: &StreamId, snapshot: &Snapshot) -> Result<(), JournalError> {
        if let Some(slot) = self.listed(stream) {
            self.snapshots.save(&slot, snapshot)?;
        }
        Ok(())
    }

    fn read_on(&self, cursor: &mut Cursor) -> Result<Vec<Arc<RecordedCommit>>, JournalError> {
        self.history.read_on(cursor)
    }

    fn read_recent(&self, cursor: &mut Cursor) -> Option<Vec<Arc<RecordedCommit>>> {
        self.history.read_recent(cursor)
    }

    fn durable(&self) -> watch::Receiver<u64> {
        self.history.durable()
    }

    fn streams(&self, aggregate_type: Option<&str>) -> Vec<StreamId> {
        self.table.streams(aggregate_type)
    }

    fn has_stream(&self, stream: &StreamId) -> bool {
        self.table.contains(stream)
    }

    fn progress(&self, process_manager: &str) -> Option<Progress> {
        lock(&self.progress).get(process_manager).cloned()
    }

    fn note_progress(&self, process_manager: &str, progress: Progress) {
        let job = Job::Progress {
            process_manager: process_manager.to_owned(),
            progress,
        };
        // Without the thread there is no checkpoint that it could be saved with.
        let _ = self.jobs.send(job);
    }

    fn dead_letters(&self, process_manager: &str) -> Result<StoredLines, JournalError> {
        let path = self.layout.dead_letters(process_manager);
        self.backlog
            .wait_until_written()
            .map_err(|reason| FileError::new("read", &path, std::io::Error::other(&*reason)))?;
        let bytes = self.files.read(&path)?.unwrap_or_default();
        let mut text = String::from_utf8(bytes).map_err(|error| {
            Damage::new(
                &path,
                error.utf8_error().valid_up_to() as u64,
                "the file is not UTF-8 text",
            )
        })?;
        // A line without its newline is being written right now.
        text.truncate(text.rfind('\n').map_or(0, |newline| newline + 1));
        Ok(StoredLines { text, path })
    }

    fn poisoned(&self) -> Option<Arc<str>> {
        self.queue.poison()
    }

    fn close(&self) {
        self.queue.close();
    }

    fn closed(&self) -> watch::Receiver<bool> {
        self.closed.clone()
    }
}
