use std::sync::Arc;

use crate::disk::FileError;
use crate::event::EventError;
use crate::journal::{CommitError, Damage, JournalError};
use crate::projection::ProjectError;
use crate::replication::Node;

/// An operation on an open store that failed.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// An instance id that is empty, longer than 512 bytes, or has control characters.
    #[error("the id {id:?} of `{aggregate_type}` cannot be used: {reason}")]
    InvalidId {
        /// The stored name of the aggregate type.
        aggregate_type: String,
        /// The id; of a longer one the first 64 characters and `…`.
        id: String,
        /// The problem of the id.
        reason: &'static str,
    },
    /// An idempotency key that is empty, longer than 512 bytes, or has control characters; nothing was written.
    #[error("the idempotency key {key:?} cannot be used: {reason}")]
    InvalidIdempotencyKey {
        /// The key; of a longer one the first 64 characters and `…`.
        key: String,
        /// The problem of the key.
        reason: &'static str,
    },
    /// The idempotency key of another command; nothing was stored.
    #[error(
        "the idempotency key {key:?} was used for another command: give each command a key of its own, and send the same command \
         when it is repeated"
    )]
    KeyReused {
        /// The key.
        key: String,
    },
    /// Metadata of a command with an entry that belongs to the store; nothing was written.
    #[error(
        "the metadata of the command has the entry `{name}`, which only the store makes: give it another name, or set it with \
         `CommandContext::with_correlation_id` or `with_causation_id`"
    )]
    ReservedMetadata {
        /// The name of the entry.
        name: &'static str,
    },
    /// A call inside a reaction that would have to wait for that same reaction.
    #[error(
        "the process manager `{process_manager}` cannot wait for the store inside its own reaction: let it send the command \
         instead (`cx.send(..)`), which is executed when it has returned"
    )]
    InsideReaction {
        /// The stored name of the process manager.
        process_manager: String,
    },
    /// An aggregate type whose name cannot be stored, or belongs to another Rust type in this store.
    #[error("the aggregate {type_name} cannot be used under the name `{name}`: {reason}")]
    InvalidName {
        /// The stored name.
        name: String,
        /// The Rust type.
        type_name: &'static str,
        /// The problem of the name.
        reason: String,
    },
    /// A projection or process manager that is not registered in this store.
    #[error("{type_name} is not registered: add `.{method}::<..>()` to the builder of the store")]
    NotRegistered {
        /// The Rust type.
        type_name: &'static str,
        /// The method of the builder that registers it.
        method: &'static str,
    },
    /// A stream without events.
    #[error("there is no stream `{instance_id}` of `{aggregate_type}`")]
    UnknownStream {
        /// The stored name of the aggregate type.
        aggregate_type: String,
        /// The instance.
        instance_id: String,
    },
    /// Names of events that an enum does not read.
    #[error("there are no events named {names}: the enum reads {known}")]
    NoSuchEvent {
        /// The unknown names, separated by commas.
        names: String,
        /// The names that the enum reads, separated by commas.
        known: String,
    },
    /// A version that the stream does not have yet.
    #[error("the stream has version {last}, so that it has no state at version {version} yet")]
    NoSuchVersion {
        /// The requested version.
        version: u64,
        /// The version of the stream.
        last: u64,
    },
    /// A stored event that the program does not decode.
    #[error(
        "event {version} of the stream `{instance_id}` of `{aggregate_type}` cannot be read: {source}"
    )]
    Undecodable {
        /// The stored name of the aggregate type.
        aggregate_type: String,
        /// The instance.
        instance_id: String,
        /// The number of the event in its stream, from 1.
        version: u64,
        /// The reason.
        source: EventError,
    },
    /// An event that would not survive storage; nothing was written.
    #[error(transparent)]
    Unstorable(EventError),
    /// A projection that cannot fold an event; it stops before the event.
    #[error("the projection `{name}` cannot fold the event at position {position}: {source}")]
    Projection {
        /// Its stored name.
        name: String,
        /// The position of the event.
        position: u64,
        /// The reason.
        source: ProjectError,
    },
    /// The database of a projection cannot be used. The projection tries again.
    #[error("the projection `{name}` cannot use its database: {reason}")]
    Sink {
        /// Its stored name.
        name: &'static str,
        /// The error of the database.
        reason: Arc<str>,
    },
    /// Rows that cannot be read.
    #[error("{reason}")]
    Rows {
        /// The row, the problem and the remedy.
        reason: Arc<str>,
    },
    /// A projection that did not reach a position in time, or that has stopped before it.
    #[error("the projection `{name}` is at position {reached}, and has not reached {position}{}", because(.failure.as_deref()))]
    NotReached {
        /// Its stored name.
        name: &'static str,
        /// The position that was waited for.
        position: u64,
        /// The position that it has reached.
        reached: u64,
        /// The reason why it does not advance, if it fails.
        failure: Option<String>,
    },
    /// A rebuild that was cancelled. The projection continues with its old state.
    #[error("the rebuild was cancelled")]
    RebuildCancelled,
    /// Code of the user panicked; its result was discarded.
    #[error("{what} panicked: {message}")]
    Panicked {
        /// The code that panicked.
        what: String,
        /// The message of the panic.
        message: String,
    },
    /// Stored bytes were changed.
    #[error(transparent)]
    Damaged(Arc<Damage>),
    /// A file operation failed.
    #[error(transparent)]
    File(Arc<FileError>),
    /// The commit was not written, and nothing of it is stored. It can be tried again.
    #[error("nothing was stored: {reason}")]
    Refused {
        /// The reason.
        reason: Arc<str>,
    },
    /// It is unknown whether the commit is stored. Opening the store again reveals it.
    #[error("it is unknown whether the command was stored: {reason}")]
    OutcomeUnknown {
        /// The reason.
        reason: Arc<str>,
    },
    /// After an earlier failure the content of the disk is unknown: writes are refused, reads work.
    #[error("the store takes no more commands until it is opened again: {reason}")]
    Poisoned {
        /// The failure.
        reason: Arc<str>,
    },
    /// The stream does not have the expected version; nothing was stored.
    #[error("the stream has version {actual}, but {expected} was expected")]
    Conflict {
        /// The version that the command expects, or was decided on.
        expected: u64,
        /// The version of the stream.
        actual: u64,
    },
    /// The file system is read-only: the store can be read, and nothing is ever written.
    #[error("nothing can be written: {reason}")]
    ReadOnly {
        /// The directory, and the message of the operating system.
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
    /// The store is closed.
    #[error("the store is closed")]
    Closed,
    /// The runtime of the store has shut down.
    #[error("the tokio runtime has shut down")]
    RuntimeGone,
}

pub(super) fn not_leader(leader: Option<&Node>) -> String {
    let leader = leader.map_or_else(
        || "send it to the leader".to_owned(),
        |leader| format!("the leader is {leader}"),
    );
    format!("nothing was stored: this node is not the leader; {leader}")
}

fn because(failure: Option<&str>) -> String {
    failure.map_or_else(String::new, |failure| format!(": {failure}"))
}

impl From<JournalError> for StoreError {
    fn from(error: JournalError) -> Self {
        match error {
            JournalError::File(error) => Self::File(Arc::new(error)),
            JournalError::Damage(error) => Self::Damaged(Arc::new(error)),
        }
    }
}

impl From<CommitError> for StoreError {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Refused(reason) | CommitError::TooLarge(reason) => {
                Self::Refused { reason }
            }
            CommitError::OutcomeUnknown(reason) => Self::OutcomeUnknown { reason },
            CommitError::Poisoned(reason) => Self::Poisoned { reason },
            CommitError::Conflict { expected, actual } => Self::Conflict { expected, actual },
            CommitError::ReadOnly(reason) => Self::ReadOnly { reason },
            CommitError::NotLeader(leader) => Self::NotLeader { leader },
            CommitError::Unavailable(reason) => Self::Unavailable { reason },
            CommitError::Closed => Self::Closed,
        }
    }
}

impl From<FileError> for StoreError {
    fn from(error: FileError) -> Self {
        Self::File(Arc::new(error))
    }
}
