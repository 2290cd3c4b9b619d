use std::sync::Arc;

use super::StoreError;
use super::store::not_leader;
use crate::replication::Node;

/// A command that was not executed.
///
/// `E` is the aggregate's own error.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ExecuteError<E> {
    /// The aggregate rejected the command; nothing was stored.
    #[error(transparent)]
    Domain(E),
    /// The stream does not have the version that the command [expects](crate::CommandContext::with_expected_version); nothing
    /// was stored.
    #[error("the stream has version {actual}, but {expected} was expected; nothing was stored")]
    Conflict {
        /// The version that the command expects, or was decided on.
        expected: u64,
        /// The version of the stream.
        actual: u64,
    },
    /// The aggregate has executed another command under this
    /// [idempotency key](crate::CommandContext::with_idempotency_key); nothing was stored.
    #[error(
        "the idempotency key {key:?} was used for another command: give each command a key of its own, and send the same command \
         when it is repeated"
    )]
    KeyReused {
        /// The key.
        key: String,
    },
    /// It is unknown whether the events are stored. A local store is poisoned; opening it again reveals it. A replicated log did
    /// not answer in time; repeat the command with its [idempotency key](crate::CommandContext::with_idempotency_key).
    #[error("it is unknown whether the command was stored: {reason}")]
    OutcomeUnknown {
        /// The reason.
        reason: Arc<str>,
    },
    /// Another node is the leader; nothing was stored. Send the command to the leader.
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

impl<E> From<StoreError> for ExecuteError<E> {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Conflict { expected, actual } => Self::Conflict { expected, actual },
            StoreError::KeyReused { key } => Self::KeyReused { key },
            StoreError::OutcomeUnknown { reason } => Self::OutcomeUnknown { reason },
            StoreError::NotLeader { leader } => Self::NotLeader { leader },
            StoreError::Unavailable { reason } => Self::Unavailable { reason },
            other => Self::Store(other),
        }
    }
}
