use std::fmt;
use std::sync::Arc;

use super::StoreError;
use super::store::not_leader;
use crate::replication::Node;

/// One command of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TransactionCommandAt {
    /// The number of the command, from 0, in the order of sending.
    pub index: usize,
    /// The stored name of its aggregate type.
    pub aggregate_type: String,
    /// The instance.
    pub instance_id: String,
}

impl fmt::Display for TransactionCommandAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            index,
            aggregate_type,
            instance_id,
        } = self;
        write!(
            f,
            "command {index}, to `{instance_id}` of `{aggregate_type}`"
        )
    }
}

/// A transaction that was not executed: none of its commands was executed.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum TransactionError {
    /// An aggregate rejected its command; nothing was stored.
    #[error("{at}: {error}")]
    Rejected {
        /// The command.
        at: TransactionCommandAt,
        /// The aggregate's own error; see [`downcast_ref`](Self::downcast_ref).
        error: Arc<dyn std::error::Error + Send + Sync>,
    },
    /// A stream does not have the version that its command expects; nothing was stored.
    #[error(
        "{at}: the stream has version {actual}, but {expected} was expected; nothing was stored"
    )]
    Conflict {
        /// The command.
        at: TransactionCommandAt,
        /// The version that the command expects.
        expected: u64,
        /// The version of the stream, including the earlier commands of the transaction.
        actual: u64,
    },
    /// The [idempotency key](crate::CommandContext::with_idempotency_key) was used for a transaction with other commands; nothing
    /// was stored.
    #[error(
        "the idempotency key {key:?} was used for other commands: give each transaction a key of its own, and send the same commands \
         when it is repeated"
    )]
    KeyReused {
        /// The key.
        key: String,
    },
    /// It is unknown whether the events are stored. A local store is poisoned; opening it again reveals it. A replicated log did
    /// not answer in time; repeat the transaction with its
    /// [idempotency key](crate::CommandContext::with_idempotency_key).
    #[error("it is unknown whether the transaction was stored: {reason}")]
    OutcomeUnknown {
        /// The reason.
        reason: Arc<str>,
    },
    /// Another node is the leader; nothing was stored. Send the transaction to the leader.
    #[error("{}", not_leader(leader.as_ref()))]
    NotLeader {
        /// The leader, if it is known.
        leader: Option<Node>,
    },
    /// No node is known to be the leader, or the replicated log does not answer; nothing was stored. Try again.
    #[error("nothing was stored: {reason}")]
    Unavailable {
        /// The reason.
        reason: Arc<str>,
    },
    /// Any other error; nothing was stored.
    #[error(transparent)]
    Store(StoreError),
}

impl TransactionError {
    /// The error of the aggregate that rejected its command, if the error is a rejection and `E` is its type.
    #[must_use]
    pub fn downcast_ref<E: std::error::Error + 'static>(&self) -> Option<&E> {
        match self {
            Self::Rejected { error, .. } => error.downcast_ref(),
            _ => None,
        }
    }
}

impl From<StoreError> for TransactionError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::KeyReused { key } => Self::KeyReused { key },
            StoreError::OutcomeUnknown { reason } => Self::OutcomeUnknown { reason },
            StoreError::NotLeader { leader } => Self::NotLeader { leader },
            StoreError::Unavailable { reason } => Self::Unavailable { reason },
            other => Self::Store(other),
        }
    }
}
