//! The jobs of the worker that writes the files derived from the journal.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use crate::journal::local::appends::lock;
use crate::journal::local::checkpoint::ProcessManagerState;
use crate::journal::local::scan::Tip;
use crate::journal::{Progress, RowChange};
use crate::threads::Worker;

/// A change to the derived files.
pub(in crate::journal::local) enum Job {
    Batch(DurableBatch),
    /// Progress that needs no commit.
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
pub(in crate::journal::local) struct DurableBatch {
    pub(in crate::journal::local) reactions: Vec<ReactionToWrite>,
    pub(in crate::journal::local) tip: Tip,
    /// The start of the line of its last commit.
    pub(in crate::journal::local) line_start: u64,
    /// The size of its events in bytes.
    pub(in crate::journal::local) bytes: usize,
}

pub(in crate::journal::local) struct ReactionToWrite {
    pub(in crate::journal::local) process_manager: Arc<str>,
    pub(in crate::journal::local) state: ProcessManagerState,
    /// Empty as soon as the row tables have the rows.
    pub(in crate::journal::local) rows: Vec<RowChange>,
    /// Newline-terminated lines that end at `state.dead_letters`.
    pub(in crate::journal::local) dead_letters: String,
}

/// The waiting jobs.
pub(in crate::journal::local) struct Jobs {
    state: Mutex<JobsState>,
    /// The worker that does the jobs.
    derived: Worker,
    /// The number of bytes of events at which the worker is woken.
    wake_bytes: usize,
}

#[derive(Default)]
struct JobsState {
    waiting: VecDeque<Job>,
    /// The size of the events in the waiting batches, in bytes.
    bytes: usize,
    /// Whether the worker found nothing to do, so that it has to be woken.
    is_idle: bool,
    has_ended: bool,
}

impl JobsState {
    /// Adds a job. The result is whether the worker has to do the waiting jobs now.
    fn add(&mut self, job: Job, wake_bytes: usize) -> bool {
        let is_due = match &job {
            Job::Batch(batch) => {
                self.bytes += batch.bytes;
                let mut reactions = batch.reactions.iter();
                self.bytes >= wake_bytes
                    || reactions.any(|reaction| !reaction.dead_letters.is_empty())
            }
            Job::Progress { .. } => false,
            Job::Close { .. } => true,
        };
        self.waiting.push_back(job);
        is_due
    }
}

impl Jobs {
    pub(in crate::journal::local) fn new(derived: Worker, wake_bytes: usize) -> Self {
        Self {
            state: Mutex::default(),
            derived,
            wake_bytes,
        }
    }

    /// Adds a job; `false` if the worker has ended. An idle worker is woken for the last job, for dead letters, and when enough
    /// bytes wait. The index needs no batch at once, and a wake-up for each batch would take a processor from the commands.
    pub(in crate::journal::local) fn hand_over(&self, job: Job) -> bool {
        let mut state = lock(&self.state);
        if state.has_ended {
            return false;
        }
        let is_due = state.add(job, self.wake_bytes);
        let is_woken = is_due && std::mem::take(&mut state.is_idle);
        drop(state);
        if is_woken {
            self.derived.wake();
        }
        true
    }

    /// Whether a job waits. If none waits, the worker is woken when jobs are due.
    pub(in crate::journal::local) fn is_there_one(&self) -> bool {
        let mut state = lock(&self.state);
        state.is_idle = state.waiting.is_empty();
        !state.is_idle
    }

    /// Moves all waiting jobs to `taken`.
    pub(in crate::journal::local) fn take(&self, taken: &mut VecDeque<Job>) {
        let mut state = lock(&self.state);
        state.bytes = 0;
        taken.append(&mut state.waiting);
    }

    /// Refuses every further job.
    pub(in crate::journal::local) fn end(&self) {
        let mut state = lock(&self.state);
        state.has_ended = true;
        state.waiting.clear();
    }
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;

    use super::*;
    use crate::journal::Extent;

    fn batch(bytes: usize, letters: &str) -> Job {
        let reaction = ReactionToWrite {
            process_manager: "saga".into(),
            state: ProcessManagerState {
                commit: 1,
                progress: Progress {
                    position: 1,
                    state: RawValue::NULL.to_owned(),
                },
                dead_letters: Extent::default(),
            },
            rows: Vec::new(),
            dead_letters: letters.to_owned(),
        };
        Job::Batch(DurableBatch {
            reactions: vec![reaction],
            tip: Tip::default(),
            line_start: 0,
            bytes,
        })
    }

    #[test]
    fn batches_wait_until_there_are_enough_or_somebody_reads_their_files() {
        let mut state = JobsState::default();
        assert!(!state.add(batch(60, ""), 100));
        assert!(state.add(batch(60, ""), 100));
        assert_eq!(state.waiting.len(), 2);
        let mut state = JobsState::default();
        assert!(state.add(batch(1, "{}\n"), 100));
        let mut state = JobsState::default();
        let take_checkpoint = true;
        assert!(state.add(Job::Close { take_checkpoint }, 100));
        let mut state = JobsState::default();
        assert!(state.add(batch(1, ""), 0));
    }
}
