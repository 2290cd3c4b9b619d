//! The number of forwarded commands, by their outcomes.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use super::wire::Told;
use crate::error::{ExecuteError, TransactionError};

/// The commands on their way to other nodes, or from them.
#[derive(Default)]
pub(in crate::store) struct Outcomes {
    questions: AtomicU64,
    executed: AtomicU64,
    rejected: AtomicU64,
    failed: AtomicU64,
    unknown: AtomicU64,
}

/// The numbers of [`Outcomes`] at one moment.
pub(in crate::store) struct Counted {
    pub(in crate::store) questions: u64,
    pub(in crate::store) executed: u64,
    pub(in crate::store) rejected: u64,
    pub(in crate::store) failed: u64,
    pub(in crate::store) unknown: u64,
}

/// The outcome of one command or transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) enum Ended {
    Executed,
    /// It was decided, and nothing is stored: the aggregate, the expected version or the key is against it.
    Rejected,
    /// Nothing is stored.
    Failed,
    Unknown,
}

impl Outcomes {
    pub(super) fn asked(&self) {
        self.questions.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn ended(&self, ended: Ended) {
        let counter = match ended {
            Ended::Executed => &self.executed,
            Ended::Rejected => &self.rejected,
            Ended::Failed => &self.failed,
            Ended::Unknown => &self.unknown,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(in crate::store) fn so_far(&self) -> Counted {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counted {
            questions: of(&self.questions),
            executed: of(&self.executed),
            rejected: of(&self.rejected),
            failed: of(&self.failed),
            unknown: of(&self.unknown),
        }
    }
}

/// Logs the end of a forwarded command for which nothing is stored, or nothing is known.
pub(super) fn log(ended: Ended, error: &dyn fmt::Display) {
    match ended {
        Ended::Executed | Ended::Rejected => {}
        Ended::Failed => {
            tracing::warn!(%error, "a command of this node was not executed by the leader");
        }
        Ended::Unknown => {
            tracing::warn!(%error, "the outcome of a command that was sent to the leader is unknown");
        }
    }
}

impl<E> From<&ExecuteError<E>> for Ended {
    fn from(error: &ExecuteError<E>) -> Self {
        match error {
            ExecuteError::Domain(_)
            | ExecuteError::Conflict { .. }
            | ExecuteError::KeyReused { .. } => Self::Rejected,
            ExecuteError::OutcomeUnknown { .. } => Self::Unknown,
            ExecuteError::NotLeader { .. }
            | ExecuteError::Unavailable { .. }
            | ExecuteError::Store(_) => Self::Failed,
        }
    }
}

impl From<&TransactionError> for Ended {
    fn from(error: &TransactionError) -> Self {
        match error {
            TransactionError::Rejected { .. }
            | TransactionError::Conflict { .. }
            | TransactionError::KeyReused { .. } => Self::Rejected,
            TransactionError::OutcomeUnknown { .. } => Self::Unknown,
            TransactionError::NotLeader { .. }
            | TransactionError::Unavailable { .. }
            | TransactionError::Store(_) => Self::Failed,
        }
    }
}

impl From<&Told> for Ended {
    fn from(told: &Told) -> Self {
        match told {
            Told::Executed { .. } => Self::Executed,
            Told::Rejected | Told::Conflict { .. } | Told::KeyReused { .. } => Self::Rejected,
            Told::Unknown { .. } => Self::Unknown,
            Told::Panicked { .. }
            | Told::Refused { .. }
            | Told::NotLeader { .. }
            | Told::Unavailable { .. }
            | Told::Foreign { .. } => Self::Failed,
        }
    }
}
