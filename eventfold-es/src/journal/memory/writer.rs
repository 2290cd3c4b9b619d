//! Storing the commits that wait.

use std::sync::{Arc, Mutex};

use tokio::sync::watch;

use super::stored::{Stored, lock};
use crate::journal::local::queue::{
    BEHIND_CONFLICT, BEHIND_FAILURE, PANICKED, Pledge, Queue, Queued, Work,
};
use crate::journal::{CommitError, Followers, ProposedCommit, Receipt};
use crate::threads::{Next, Turn, Turns};

pub(super) struct MemoryWriter {
    pub(super) stored: Arc<Mutex<Stored>>,
    pub(super) queue: Arc<Queue>,
    pub(super) followers: Arc<Followers>,
    pub(super) closed: watch::Sender<bool>,
}

impl Turns for MemoryWriter {
    fn turn(&mut self, turn: &Turn<'_>) -> Next {
        loop {
            match self.queue.take() {
                Work::Commits(queued) => self.store(queued),
                // Nothing is archived.
                Work::ReplaceActive(_) => self.queue.replaced(),
                // No journal in memory is replicated.
                Work::Errand(_) => {}
                Work::Resigned => continue,
                Work::Nothing => return Next::Idle,
                Work::Ended => return Next::Ended,
            }
            if turn.others_wait() {
                return Next::Again;
            }
        }
    }

    fn panicked(&mut self) {
        self.queue.poison_with(PANICKED);
    }
}

impl Drop for MemoryWriter {
    fn drop(&mut self) {
        lock(&self.stored).is_open = false;
        self.closed.send_replace(true);
    }
}

impl MemoryWriter {
    fn store(&mut self, queued: Vec<Queued>) {
        let mut stored: Vec<(Pledge, Receipt)> = Vec::new();
        let mut failed: Vec<(Pledge, CommitError)> = Vec::new();
        let mut on_settled = Vec::new();
        for Queued {
            mut commit,
            time,
            pledge,
            ..
        } in queued
        {
            if commit.is_undone() {
                pledge.settle(Err(CommitError::Refused(BEHIND_FAILURE.into())));
                continue;
            }
            if !failed.is_empty() {
                let error = CommitError::Refused(BEHIND_CONFLICT.into());
                failed.push((pledge, error));
                continue;
            }
            if let Err(conflict) = self.check(&commit) {
                failed.push((pledge, conflict));
                continue;
            }
            on_settled.extend(commit.on_settled.take());
            let on_durable = commit.on_durable.take();
            let receipt = {
                let mut content = lock(&self.stored);
                let receipt = content.add(commit, time);
                if let Some(commit) = content.commits.last() {
                    self.followers.note(&commit.recorded);
                }
                receipt
            };
            if let Some(on_durable) = on_durable {
                on_durable(&receipt);
            }
            stored.push((pledge, receipt));
        }
        let position = lock(&self.stored).position;
        self.followers.announce(position);
        for (pledge, receipt) in stored {
            pledge.settle(Ok(receipt));
        }
        for on_settled in on_settled {
            on_settled();
        }
        if !failed.is_empty() {
            let error = CommitError::Refused(BEHIND_CONFLICT.into());
            self.queue.undo(failed, &error);
        }
    }

    /// Whether the commit continues its streams where they end.
    fn check(&self, commit: &ProposedCommit) -> Result<(), CommitError> {
        let stored = lock(&self.stored);
        for append in &commit.appends {
            let expected = append.expected_version;
            let actual = stored.version(&append.stream);
            if actual != expected {
                return Err(CommitError::Conflict { expected, actual });
            }
        }
        Ok(())
    }
}
