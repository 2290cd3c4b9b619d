//! The log of a node whose process ends at a step, as with SIGKILL.

use std::process::abort;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use eventfold_es::replication::{AppendError, CommitLog, Entry, LogError, Messenger};
use serde::{Deserialize, Serialize};
use tokio::sync::{broadcast, watch};

/// A step of a node at its log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    /// The entry is not in the log.
    BeforeAppend,
    /// The entry is in the log, and the node does not know it.
    AfterAppend,
    BeforeClaim,
    /// The claim is in the log, and no node leads.
    AfterClaim,
    /// The node has read an entry of another node, and not applied it.
    BeforeApply,
    /// The node has applied an entry of another node, and has not read the next one.
    AfterApply,
}

pub const STEPS: [Step; 6] = [
    Step::BeforeAppend,
    Step::AfterAppend,
    Step::BeforeClaim,
    Step::AfterClaim,
    Step::BeforeApply,
    Step::AfterApply,
];

/// The step at which this process ends, and the number of times that it passes the step before.
static END: Mutex<Option<(Step, usize)>> = Mutex::new(None);

pub fn end_at(end: Option<(Step, usize)>) {
    *END.lock().unwrap_or_else(PoisonError::into_inner) = end;
}

fn pass(step: Step) {
    match &mut *END.lock().unwrap_or_else(PoisonError::into_inner) {
        Some((end, 0)) if *end == step => abort(),
        Some((end, left)) if *end == step => *left -= 1,
        _ => {}
    }
}

pub struct Dying<L> {
    log: L,
    /// Whether the entries of the last read have not been applied yet.
    applies: AtomicBool,
}

impl<L> Dying<L> {
    pub fn new(log: L) -> Self {
        Self {
            log,
            applies: AtomicBool::new(false),
        }
    }
}

impl<L: CommitLog> CommitLog for Dying<L> {
    fn describe(&self) -> String {
        self.log.describe()
    }

    fn open(&self) -> Result<(), LogError> {
        self.log.open()
    }

    fn max_entry_bytes(&self) -> usize {
        self.log.max_entry_bytes()
    }

    fn append(&self, after: u64, text: Arc<str>) -> Result<(), AppendError> {
        let (before, behind) = match text.contains(r#""claim":{"#) {
            true => (Step::BeforeClaim, Step::AfterClaim),
            false => (Step::BeforeAppend, Step::AfterAppend),
        };
        pass(before);
        self.log.append(after, text)?;
        pass(behind);
        Ok(())
    }

    fn read(&self, from: u64, max_bytes: usize) -> Result<Vec<Entry>, LogError> {
        if self.applies.swap(false, Ordering::Relaxed) {
            pass(Step::AfterApply);
        }
        let end = *END.lock().unwrap_or_else(PoisonError::into_inner);
        // One by one, so that the process ends between two of them.
        let max_bytes = match end {
            Some((Step::BeforeApply | Step::AfterApply, _)) => 1,
            _ => max_bytes,
        };
        let entries = self.log.read(from, max_bytes)?;
        if !entries.is_empty() {
            pass(Step::BeforeApply);
            self.applies.store(true, Ordering::Relaxed);
        }
        Ok(entries)
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
