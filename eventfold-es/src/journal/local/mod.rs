//! The journal on local files.

mod archive;
mod backlog;
mod batch;
mod checkpoint;
mod derived;
mod directories;
mod extents;
mod foreign;
mod history;
mod layout;
mod line;
mod line_canonical;
mod line_json;
mod line_read;
mod log;
mod queue;
mod recovery;
mod redo;
mod registry;
mod scan;
mod stream_archive;
mod stream_reader;
mod streams;
mod verify;
mod writer;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use backlog::Backlog;
use derived::{DerivedWriter, Job};
pub(crate) use foreign::ForeignLines;
use history::History;
pub(crate) use layout::Layout;
use log::JournalLog;
use queue::Queue;
pub(crate) use recovery::RecoveryError;
pub use recovery::{IncompleteBatch, RecoveryReport};
use recovery::{Recovered, recover};
use stream_reader::read_stream;
use streams::{StreamTable, lock};
use writer::Writer;

use super::{
    Cursor, Damage, Durability, Journal, JournalError, Outcome, Progress, ProposedCommit,
    RecordedCommit, StoredLines, StreamId, Verified,
};
use crate::disk::{DiskLock, FileError, Files};

/// How a journal on local files works.
#[derive(Debug, Clone, Copy)]
pub(crate) struct JournalOptions {
    /// The size from which a file is archived, in bytes; 0 for never.
    pub(crate) max_log_size: u64,
    pub(crate) durability: Durability,
    /// Whether everything is derived from the whole journal again, whatever a checkpoint says.
    pub(crate) rebuild: bool,
}

/// The journal on local files: one thread that makes commits durable, one that writes the files derived from them.
pub(crate) struct LocalJournal {
    files: Files,
    layout: Layout,
    queue: Arc<Queue>,
    table: Arc<StreamTable>,
    history: Arc<History>,
    backlog: Arc<Backlog>,
    jobs: Sender<Job>,
    /// The progress of each process manager when the journal was opened.
    progress: Mutex<BTreeMap<String, Progress>>,
    log: Arc<JournalLog>,
    durability: Durability,
    /// What stood behind streams when everything was derived again.
    foreign: Vec<ForeignLines>,
    closed: watch::Receiver<bool>,
}

impl LocalJournal {
    /// Opens the directory and brings it to the state after its last durable batch. Blocks.
    pub(crate) fn open(
        files: Files,
        base: &Path,
        options: &JournalOptions,
    ) -> Result<(Self, RecoveryReport), RecoveryError> {
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
            foreign,
            report,
        } = recover(&files, &layout, options.rebuild)?;
        let filled = journal.parts().len()?;
        let log = Arc::new(journal);
        let queue = Arc::new(Queue::new());
        let table = Arc::new(table);
        let backlog = Arc::new(Backlog::default());
        let history = Arc::new(History::new(
            Arc::clone(&log),
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
            log: Arc::clone(&log),
            durability: options.durability,
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
            log: Arc::clone(&log),
            durability: options.durability,
            max_log_size: options.max_log_size,
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
        spawn("eventfold-es-journal", &layout, move || {
            let (guard, lock) = (guard, lock);
            writer.run();
            last_backlog.close();
            // A poisoned store takes no checkpoint: what the disk holds is known only after opening it again.
            let close = Job::Close {
                take_checkpoint: guard.queue.poison().is_none(),
            };
            if last_jobs.send(close).is_ok() && derived_thread.join().is_err() {
                tracing::error!("the thread that writes the stream files panicked");
            }
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
            jobs,
            progress: Mutex::new(progress),
            log,
            durability: options.durability,
            foreign,
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
        match self
            .table
            .slot(stream)
            .filter(|_| self.table.contains(stream))
        {
            Some(slot) => read_stream(&self.files, &self.layout, &slot),
            None => Ok(StoredLines::default()),
        }
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

    fn make_durable(&self) -> Result<(), JournalError> {
        if self.durability == Durability::Sync {
            return Ok(());
        }
        self.log.parts().sync_data().map_err(|error| {
            self.queue.poison_with(&error.to_string());
            error.into()
        })
    }

    fn verify(&self) -> Result<Verified, JournalError> {
        self.verify_all()
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
