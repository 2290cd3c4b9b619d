//! A handle that calls again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use tokio::sync::{broadcast, watch};

use crate::replication::{AppendError, CommitLog, Entry, LogError, Messenger};

/// The calls of one check that may stay without an answer: a busy server exceeds its time-outs now and then.
const UNANSWERED: u32 = 30;
const PAUSE: Duration = Duration::from_millis(50);

/// The number of calls that may still stay unanswered, for all handles of a check.
#[derive(Clone)]
pub(super) struct Budget(Arc<AtomicU32>);

impl Budget {
    pub(super) fn new() -> Self {
        Self(Arc::new(AtomicU32::new(UNANSWERED)))
    }

    pub(super) fn take(&self) -> bool {
        let left = |left: u32| left.checked_sub(1);
        let taken = self
            .0
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, left);
        if taken.is_ok() {
            thread::sleep(PAUSE);
        }
        taken.is_ok()
    }
}

/// A handle whose unanswered calls are repeated. Their outcome is then known.
pub(super) struct Patient<L> {
    log: L,
    budget: Budget,
}

impl<L: CommitLog> Patient<L> {
    pub(super) fn new(log: L, budget: Budget) -> Self {
        Self { log, budget }
    }

    fn repeat<T>(&self, call: impl Fn() -> Result<T, LogError>) -> Result<T, LogError> {
        loop {
            match call() {
                Err(LogError::Unavailable(_)) if self.budget.take() => {}
                answer => return answer,
            }
        }
    }
}

impl<L: CommitLog> CommitLog for Patient<L> {
    fn describe(&self) -> String {
        self.log.describe()
    }

    fn open(&self) -> Result<(), LogError> {
        self.repeat(|| self.log.open())
    }

    fn max_entry_bytes(&self) -> usize {
        self.log.max_entry_bytes()
    }

    fn append(&self, after: u64, text: Arc<str>) -> Result<(), AppendError> {
        let mut may_be_stored = false;
        loop {
            match self.log.append(after, Arc::clone(&text)) {
                Err(AppendError::Unknown(_)) if self.budget.take() => may_be_stored = true,
                Err(AppendError::Unavailable(_)) if self.budget.take() => {}
                // Perhaps by its own first call.
                Err(AppendError::Fenced) if may_be_stored => {
                    let entries = self.read(after.saturating_add(1), 1).unwrap_or_default();
                    let is_own = entries.first().is_some_and(|entry| entry.text == text);
                    return if is_own {
                        Ok(())
                    } else {
                        Err(AppendError::Fenced)
                    };
                }
                answer => return answer,
            }
        }
    }

    fn read(&self, from: u64, max_bytes: usize) -> Result<Vec<Entry>, LogError> {
        self.repeat(|| self.log.read(from, max_bytes))
    }

    fn follow(&self) -> watch::Receiver<u64> {
        self.log.follow()
    }

    fn signal(&self, message: String) {
        self.log.signal(message);
    }

    fn signals(&self) -> broadcast::Receiver<String> {
        self.log.signals()
    }

    fn messenger(&self) -> Option<Arc<dyn Messenger>> {
        self.log.messenger()
    }

    fn close(&self) {
        self.log.close();
    }
}
