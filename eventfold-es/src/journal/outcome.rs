use std::sync::{Arc, OnceLock};

use smallvec::SmallVec;
use tokio::sync::Notify;

use super::{RecordedLines, StreamEnd};
use crate::replication::Node;

/// The place of a durable commit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Receipt {
    /// The position of its first event, or of the next event if it has none.
    pub(crate) first_position: u64,
    pub(crate) event_count: u64,
    /// The ends of its streams after the commit, in the order of its appends.
    pub(crate) ends: Arc<[StreamEnd]>,
}

impl Receipt {
    /// The receipt of a batch as a whole, behind the event at `position`.
    pub(crate) fn of_nothing(position: u64) -> Self {
        Self {
            first_position: position + 1,
            ..Self::default()
        }
    }

    /// The position of its last event.
    pub(crate) fn last_position(&self) -> u64 {
        (self.first_position + self.event_count).saturating_sub(1)
    }
}

/// The reason why a commit did not become durable.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum CommitError {
    #[error("{0}")]
    Refused(Arc<str>),
    /// It is larger than an entry of the replicated log.
    #[error("{0}")]
    TooLarge(Arc<str>),
    #[error("{0}")]
    OutcomeUnknown(Arc<str>),
    #[error("{0}")]
    Poisoned(Arc<str>),
    #[error("the stream has version {actual}, the commit expected {expected}")]
    Conflict { expected: u64, actual: u64 },
    #[error("{0}")]
    ReadOnly(Arc<str>),
    #[error("another node is the leader")]
    NotLeader(Option<Node>),
    #[error("{0}")]
    Unavailable(Arc<str>),
    #[error("the store is closed")]
    Closed,
}

/// The outcome of one commit: unknown at first, then settled once.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    result: OnceLock<Result<Receipt, CommitError>>,
    settled: Notify,
    spent: OnceLock<Spent>,
}

/// The former lines of a commit, after the journal has them.
pub(crate) type Spent = SmallVec<[RecordedLines; 1]>;

impl Outcome {
    pub(crate) fn get(&self) -> Option<&Result<Receipt, CommitError>> {
        self.result.get()
    }

    pub(crate) fn is_durable(&self) -> bool {
        matches!(self.get(), Some(Ok(_)))
    }

    pub(crate) fn settle(&self, result: Result<Receipt, CommitError>) {
        self.set(result);
        self.tell();
    }

    /// Settles it without waking those who wait. A call of [`tell`](Self::tell) follows.
    pub(crate) fn set(&self, result: Result<Receipt, CommitError>) {
        // The first result counts.
        let _ = self.result.set(result);
    }

    /// Wakes those who wait, after [`set`](Self::set).
    pub(crate) fn tell(&self) {
        self.settled.notify_waiters();
    }

    /// Keeps allocations that are no longer needed, so that the threads that made them free them. If the writer's thread freed
    /// them, the threads would wait for each other in the allocator at every commit.
    pub(crate) fn keep(&self, spent: Spent) {
        // The lines are kept once. A second set is freed here.
        let _ = self.spent.set(spent);
    }

    /// Waits until the commit is durable or has failed. Cancel safe: the commit does not depend on its waiters.
    pub(crate) async fn wait(&self) -> Result<Receipt, CommitError> {
        loop {
            let notified = self.settled.notified();
            if let Some(result) = self.get() {
                return result.clone();
            }
            notified.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn everybody_who_waits_is_told() -> Result<(), Box<dyn std::error::Error>> {
        let outcome = Arc::new(Outcome::default());
        let waiters: Vec<_> = (0..3)
            .map(|_| {
                let outcome = Arc::clone(&outcome);
                tokio::spawn(async move { outcome.wait().await })
            })
            .collect();
        tokio::task::yield_now().await;
        let receipt = Receipt {
            first_position: 7,
            event_count: 2,
            ends: Arc::default(),
        };
        outcome.settle(Ok(receipt.clone()));
        outcome.settle(Err(CommitError::Closed));
        for waiter in waiters {
            assert_eq!(waiter.await??, receipt);
        }
        assert_eq!(outcome.wait().await?.last_position(), 8);
        Ok(())
    }
}
