//! The jobs of the worker that writes the files derived from the journal.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use super::appends::{Append, lock};
use super::checkpoint::ProcessManagerState;
use super::scan::Tip;
use crate::journal::{Progress, RowChange};
use crate::threads::Worker;

/// A change to the derived files.
pub(super) enum Job {
    Batch(DurableBatch),
    /// Progress that needed no commit.
    Progress {
        process_manager: String,
        progress: Progress,
    },
    /// The last job.
    Close {
        take_checkpoint: bool,
    },
}

/// A batch that is durable in the journal.
pub(super) struct DurableBatch {
    /// Its appends to streams.
    pub(super) appends: Vec<Append>,
    pub(super) reactions: Vec<DurableReaction>,
    pub(super) tip: Tip,
    /// Where the line of its last commit starts.
    pub(super) line_start: u64,
    /// The size of its events in bytes.
    pub(super) bytes: usize,
}

pub(super) struct DurableReaction {
    pub(super) process_manager: Arc<str>,
    pub(super) state: ProcessManagerState,
    /// Empty from the time on at which the row tables have them.
    pub(super) rows: Vec<RowChange>,
    /// Newline-terminated lines that end at `state.dead_letters`.
    pub(super) dead_letters: String,
}

/// The jobs that wait.
pub(super) struct Jobs {
    state: Mutex<JobsState>,
    /// The worker that does the jobs.
    derived: Worker,
}

#[derive(Default)]
struct JobsState {
    waiting: VecDeque<Job>,
    /// Whether the worker has found nothing to do, so that it has to be woken.
    is_idle: bool,
    has_ended: bool,
}

impl Jobs {
    pub(super) fn new(derived: Worker) -> Self {
        Self {
            state: Mutex::default(),
            derived,
        }
    }

    /// Hands a job over; `false` if nobody does it any more.
    pub(super) fn hand_over(&self, job: Job) -> bool {
        let mut state = lock(&self.state);
        if state.has_ended {
            return false;
        }
        state.waiting.push_back(job);
        let is_idle = std::mem::take(&mut state.is_idle);
        drop(state);
        if is_idle {
            self.derived.wake();
        }
        true
    }

    /// Whether a job waits; if none does, the next one wakes the worker.
    pub(super) fn is_there_one(&self) -> bool {
        let mut state = lock(&self.state);
        state.is_idle = state.waiting.is_empty();
        !state.is_idle
    }

    /// Moves all waiting jobs to `taken`.
    pub(super) fn take(&self, taken: &mut VecDeque<Job>) {
        taken.append(&mut lock(&self.state).waiting);
    }

    /// Refuses every job from now on.
    pub(super) fn end(&self) {
        let mut state = lock(&self.state);
        state.has_ended = true;
        state.waiting.clear();
    }
}
