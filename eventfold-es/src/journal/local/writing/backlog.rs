//! The amount of durable data that has not reached the derived files yet.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::journal::local::appends::lock;
use crate::threads::Worker;

/// The number of bytes of the journal that may wait. Above it, commits are refused if the derived files cannot be written.
const MAX_BYTES: usize = 64 << 20;
/// The interval at which a waiting thread checks whether the files can be written again.
const POLL: Duration = Duration::from_millis(100);

pub(in crate::journal::local) struct Backlog {
    state: Mutex<BacklogState>,
    changed: Condvar,
    /// Woken when there is room again, if it found none before.
    writer: Worker,
    /// Woken when a caller waits for a write that has to be retried, or for the last attempt.
    derived: Worker,
}

#[derive(Default)]
struct BacklogState {
    bytes: usize,
    handed_over: u64,
    done: u64,
    /// The reason why the files cannot be written now.
    failure: Option<Arc<str>>,
    /// Whether the writer waits for room.
    is_writer_waiting: bool,
    is_closing: bool,
}

impl Backlog {
    pub(in crate::journal::local) fn new(writer: Worker, derived: Worker) -> Self {
        Self {
            state: Mutex::default(),
            changed: Condvar::new(),
            writer,
            derived,
        }
    }

    pub(in crate::journal::local) fn add(&self, bytes: usize) {
        let mut state = lock(&self.state);
        state.bytes += bytes;
        state.handed_over += 1;
    }

    pub(in crate::journal::local) fn done(&self, bytes: usize, jobs: u64) {
        let mut state = lock(&self.state);
        state.bytes = state.bytes.saturating_sub(bytes);
        state.done += jobs;
        state.failure = None;
        self.tell(state);
    }

    pub(in crate::journal::local) fn failed(&self, reason: &str) {
        let mut state = lock(&self.state);
        state.failure = Some(reason.into());
        self.tell(state);
    }

    fn tell(&self, mut state: MutexGuard<'_, BacklogState>) {
        self.changed.notify_all();
        let is_writer_waiting = std::mem::take(&mut state.is_writer_waiting);
        drop(state);
        if is_writer_waiting {
            self.writer.wake();
        }
    }

    /// Nothing is added after this call. The next opening writes the data that cannot be written now.
    pub(in crate::journal::local) fn close(&self) {
        lock(&self.state).is_closing = true;
        self.derived.wake();
    }

    pub(in crate::journal::local) fn is_closing(&self) -> bool {
        lock(&self.state).is_closing
    }

    /// Whether there is room. If there is none, the writer is woken when that may have changed. The error is the reason why
    /// files cannot be written.
    ///
    /// The writer does not wait on its thread: the writers of several journals would then wait for each other, and all their
    /// stores with them.
    pub(in crate::journal::local) fn has_room(&self) -> Result<bool, Arc<str>> {
        let mut state = lock(&self.state);
        if state.bytes <= MAX_BYTES {
            return Ok(true);
        }
        if let Some(reason) = &state.failure {
            return Err(Arc::clone(reason));
        }
        state.is_writer_waiting = true;
        Ok(false)
    }

    /// Waits until everything that was added before this call is written. The error is the reason why files cannot be written.
    /// Must not be called on a thread that the writing needs.
    pub(in crate::journal::local) fn wait_until_written(&self) -> Result<(), Arc<str>> {
        let mut state = lock(&self.state);
        let target = state.handed_over;
        if state.done >= target {
            return Ok(());
        }
        self.derived.wake();
        let mut result = Ok(());
        while state.done < target {
            if let Some(reason) = &state.failure {
                result = Err(Arc::clone(reason));
                break;
            }
            (state, _) = self
                .changed
                .wait_timeout(state, POLL)
                .unwrap_or_else(PoisonError::into_inner);
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::mpsc::{self, Sender};

    use super::*;
    use crate::disk::FileError;
    use crate::threads::{Next, StoreRuntime, Turn, Turns};

    /// Reports each of its turns.
    struct Telling(Sender<()>);

    impl Turns for Telling {
        fn turn(&mut self, _turn: &Turn<'_>) -> Next {
            let _ = self.0.send(());
            Next::Idle
        }

        fn panicked(&mut self) {}
    }

    #[test]
    fn a_writer_that_finds_no_room_is_woken_when_there_is_some_or_will_be_none()
    -> Result<(), FileError> {
        const LONG: Duration = Duration::from_secs(60);
        let runtime = StoreRuntime::new();
        let writer = runtime.journal_worker(Path::new("here"))?;
        let derived = runtime.upkeep_worker(Path::new("here"))?;
        let backlog = Backlog::new(writer.clone(), derived);
        let (sender, turns) = mpsc::channel();
        writer.begin(Telling(sender));
        assert!(turns.recv_timeout(LONG).is_ok(), "it begins");
        assert_eq!(backlog.has_room(), Ok(true));
        backlog.add(2 * MAX_BYTES);
        assert_eq!(backlog.has_room(), Ok(false));
        backlog.failed("the disk is full");
        assert!(turns.recv_timeout(LONG).is_ok());
        assert_eq!(backlog.has_room(), Err("the disk is full".into()));
        backlog.done(MAX_BYTES / 2, 1);
        assert_eq!(backlog.has_room(), Ok(false));
        backlog.done(MAX_BYTES, 0);
        assert!(turns.recv_timeout(LONG).is_ok());
        assert_eq!(backlog.has_room(), Ok(true));
        assert!(turns.try_recv().is_err(), "it is woken for nothing");
        Ok(())
    }
}
