//! The turns of the worker that writes the derived files. It takes jobs, and retries a batch that could not be written.

use std::collections::VecDeque;
use std::time::Duration;

use crate::journal::local::derived::DerivedWriter;
use crate::journal::local::jobs::{DurableBatch, Job};
use crate::journal::local::queue::PANICKED;
use crate::threads::{Next, Turn, Turns};

/// The delay before a failed write is retried.
const RETRY: Duration = Duration::from_millis(50);

/// The jobs that the worker has taken and not finished.
#[derive(Default)]
pub(in crate::journal::local) struct UnderWay {
    jobs: VecDeque<Job>,
    /// The batches before these jobs. They are written together.
    batches: Vec<DurableBatch>,
    /// Set by the last job: whether a checkpoint may be taken.
    closing: Option<bool>,
}

/// The outcome of an attempt to write the batches.
pub(in crate::journal::local) enum Brought {
    /// The batches are in their files.
    Done,
    /// The batches are left to the next opening.
    GivenUp,
    /// The batches are retried.
    NotYet,
}

impl Turns for DerivedWriter {
    fn turn(&mut self, turn: &Turn<'_>) -> Next {
        loop {
            let is_new = self.under_way.jobs.is_empty() && self.under_way.batches.is_empty();
            if is_new && !self.jobs.is_there_one() {
                return match self.merge_on() {
                    Some(left) => Next::Later(left),
                    None => Next::Idle,
                };
            }
            self.jobs.take(&mut self.under_way.jobs);
            if !self.work_off() {
                return Next::Later(RETRY);
            }
            if self.under_way.closing.is_some() {
                return Next::Ended;
            }
            self.merge_on();
            if turn.others_wait() {
                return Next::Again;
            }
        }
    }

    fn panicked(&mut self) {
        self.queue.poison_with(PANICKED);
        self.backlog.failed(PANICKED);
    }
}

impl DerivedWriter {
    /// Does the taken jobs; `false` if they must be retried.
    fn work_off(&mut self) -> bool {
        while let Some(job) = self.under_way.jobs.pop_front() {
            match job {
                Job::Batch(batch) => self.under_way.batches.push(batch),
                Job::Close { take_checkpoint } => self.under_way.closing = Some(take_checkpoint),
                Job::Progress {
                    process_manager,
                    progress,
                } => {
                    // The batches before it are written first, because the progress is valid up to the last of them.
                    if matches!(self.bring(), Brought::NotYet) {
                        let job = Job::Progress {
                            process_manager,
                            progress,
                        };
                        self.under_way.jobs.push_front(job);
                        return false;
                    }
                    self.note(process_manager, progress);
                }
            }
        }
        let is_written = match self.bring() {
            Brought::Done => true,
            Brought::GivenUp => false,
            Brought::NotYet => return false,
        };
        let closing = self.under_way.closing;
        if is_written
            && closing.unwrap_or(true)
            && (self.is_checkpoint_due() || closing.is_some())
            && self.queue.poison().is_none()
        {
            self.take_checkpoint(closing.is_some());
        }
        true
    }

    /// Writes the taken batches.
    fn bring(&mut self) -> Brought {
        let mut batches = std::mem::take(&mut self.under_way.batches);
        let brought = self.write(&batches);
        match brought {
            Brought::NotYet => self.under_way.batches = batches,
            Brought::Done | Brought::GivenUp => {
                batches.clear();
                self.under_way.batches = batches;
            }
        }
        brought
    }
}
