//! The errors, one enum per family of operations.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

pub use crate::disk::FileError;
use crate::event::EventError;
use crate::format::Newer;
pub use crate::journal::Damage;
use crate::journal::{CommitError, JournalError};
use crate::projection::ProjectError;
use crate::replication::Node;

/// A store that cannot be opened. The content of the directory is neither lost nor changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another store has the directory open; one process writes a store at a time.
    #[error("the store at {} is open in {holder}: close it there, or use another directory", path.display())]
    InUse {
        /// The base directory.
        path: PathBuf,
        /// The holder, from the lock file: `process` and its number.
        holder: String,
    },
    /// The directory has checkpoints of this version, but not their journal.
    #[error(
        "the journal of {} is missing, but there are checkpoints that follow one. Nothing was changed; restore the whole directory \
         from a copy", path.display()
    )]
    NoJournal {
        /// The base directory.
        path: PathBuf,
    },
    /// A process manager of eventfold-es 0.2.0 that cannot continue from its checkpoint.
    #[error(
        "the process manager `{name}` cannot continue from the checkpoint of eventfold-es 0.2.0, and would send its commands again: {damage}. \
         Remove that file to let it start from the first event, or open a copy of the 0.2.0 directory with an \
         intact checkpoint"
    )]
    ProcessManagerCheckpoint {
        /// Its stored name.
        name: String,
        /// The problem of its checkpoint.
        damage: Damage,
    },
    /// A newer version of eventfold-es wrote the file, in a format that this version does not know. Nothing was changed.
    #[error(
        "{} has format {found}, but this version of eventfold-es reads formats up to {supported}. Nothing was changed: open the store \
         with the version that wrote it, or a later one", path.display()
    )]
    NewerFormat {
        /// The file.
        path: PathBuf,
        /// The number of its format.
        found: u64,
        /// The highest number that this version reads.
        supported: u64,
    },
    /// Stored bytes were changed, or the files of a copy are of different moments. Recovery never guesses.
    #[error(
        "the store cannot be opened: {0}. Restore the damaged files from a backup; a copy that was made while the store was open \
         has to be made again, with `AggregateStore::backup`"
    )]
    Damaged(#[from] Damage),
    /// A file operation failed.
    #[error("the store cannot be opened: {0}")]
    File(FileError),
    /// A registered type has a name that cannot be stored.
    #[error(
        "`{name}`, the name of {type_name}, cannot be stored: a name is 1 to 100 bytes of [A-Za-z0-9._-], does not begin with `.` \
         or `-`, does not end with `.`, and is no device name of Windows"
    )]
    InvalidName {
        /// The name.
        name: String,
        /// Its Rust type.
        type_name: &'static str,
    },
    /// Two registered types have one stored name.
    #[error(
        "both {first} and {second} are stored as `{name}`: give one of them another `name = \"..\"`"
    )]
    NameTaken {
        /// The name.
        name: String,
        /// The Rust type that was registered first.
        first: &'static str,
        /// The second Rust type.
        second: &'static str,
    },
    /// A registered process manager or projection was written by hand without a list of its aggregates. It would
    /// receive no events.
    #[error(
        "{type_name} subscribes to nothing: implement `fn subscriptions(&self)`, or set `const SUBSCRIPTIONS` to \
         `Some(&[Order::AGGREGATE_TYPE])`; a type that intentionally has no events sets `Some(&[])`"
    )]
    NoSubscriptions {
        /// Its stored name.
        name: &'static str,
        /// The Rust type.
        type_name: &'static str,
    },
    /// A projection writes to a database that the builder was not given.
    #[error(
        "the projection `{name}` writes to a {type_name}: give it to the builder of the store with `.sink(..)`"
    )]
    NoSink {
        /// The stored name of the projection.
        name: &'static str,
        /// The Rust type of the sink.
        type_name: &'static str,
    },
    /// The stored state of a process manager does not decode into the type that is registered under its name.
    #[error(
        "the state of the process manager `{name}` does not decode: {reason}. Nothing was changed; give new fields \
         `#[serde(default)]`, register the new type under another name, which starts from the first event, or open the store with \
         `park_unreadable_states(true)` and make the state again with `rebuild_state()`"
    )]
    ProcessManagerState {
        /// Its stored name.
        name: String,
        /// The error of serde.
        reason: String,
    },
    /// The timetable of a schedule has no meaning.
    #[cfg(feature = "schedules")]
    #[error("the timetable of the schedule `{name}` cannot be used: {source}")]
    Timetable {
        /// Its stored name.
        name: &'static str,
        /// The mistake, with the remedy.
        source: crate::schedule::TimetableError,
    },
    /// The replicated log does not answer, or has no leader yet, because another node is publishing it.
    #[error(
        "{log} is not available: {reason}. Nothing was lost; see that its servers run, and open the store again"
    )]
    LogUnavailable {
        /// The log and its servers.
        log: String,
        /// The reason, from the log.
        reason: String,
    },
    /// The replicated log is not safe to use, or does not fit this store.
    #[error("{log} cannot be used: {reason}")]
    LogUnusable {
        /// The log and its servers.
        log: String,
        /// The reason, with the setting to change.
        reason: String,
    },
    /// The journal and the replicated log have different commits under one number.
    #[error(
        "the store at {} and {log} have different histories: batch {batch} is not the same in both. Nothing was changed; open the \
         directory that belongs to this log, or an empty directory, which takes everything from the log", path.display()
    )]
    OtherHistory {
        /// The base directory.
        path: PathBuf,
        /// The log and its servers.
        log: String,
        /// The batch.
        batch: u64,
    },
    /// The journal has commits that the replicated log has lost.
    #[error(
        "{log} ends before batch {batch}, which the store at {} has: its servers have lost data, or were restored from an older copy. Nothing \
         was changed. The guide to several nodes says how to go on from this store", path.display()
    )]
    AheadOfLog {
        /// The base directory.
        path: PathBuf,
        /// The log and its servers.
        log: String,
        /// The last batch of the journal.
        batch: u64,
    },
    /// A node of a replicated store has no name, or no valid name.
    #[error(
        "`{name}` is not the name of a node: give the node a name of 1 to 100 bytes of [A-Za-z0-9._-], with `.node(\"node-1\")`"
    )]
    NodeName {
        /// The name.
        name: String,
    },
    /// Another open store uses the name of this node.
    #[error("another node is called `{name}`: give each node a name of its own, with `.node(..)`")]
    NodeNameTaken {
        /// The name.
        name: String,
    },
    /// The first commit of a process manager or a schedule could not be written, or the store to be repaired is read-only.
    #[error(transparent)]
    Store(StoreError),
}

impl From<FileError> for OpenError {
    fn from(error: FileError) -> Self {
        match Newer::of(&error) {
            Some((path, Newer { found, supported })) => Self::NewerFormat {
                path,
                found,
                supported,
            },
            None => Self::File(error),
        }
    }
}

impl From<StoreError> for OpenError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::File(error) => match Newer::of(&error) {
                Some((path, Newer { found, supported })) => Self::NewerFormat {
                    path,
                    found,
                    supported,
                },
                None => Self::Store(StoreError::File(error)),
            },
            StoreError::Damaged(damage) => Self::Damaged(Damage::clone(&damage)),
            error => Self::Store(error),
        }
    }
}

impl From<JournalError> for OpenError {
    fn from(error: JournalError) -> Self {
        match error {
            JournalError::File(error) => error.into(),
            JournalError::Damage(error) => Self::Damaged(error),
        }
    }
}

/// An operation on an open store that failed.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// An instance id that is empty, longer than 512 bytes, or has control characters.
    #[error("the id {id:?} of `{aggregate_type}` cannot be used: {reason}")]
    InvalidId {
        /// The stored name of the aggregate type.
        aggregate_type: String,
        /// The id, cut to 64 characters.
        id: String,
        /// The problem of the id.
        reason: &'static str,
    },
    /// An idempotency key that is empty, longer than 512 bytes, or has control characters; nothing was written.
    #[error("the idempotency key {key:?} cannot be used: {reason}")]
    InvalidIdempotencyKey {
        /// The key, cut to 64 characters.
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

fn not_leader(leader: Option<&Node>) -> String {
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
            CommitError::Refused(reason) => Self::Refused { reason },
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

/// A state that cannot be read.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the state of `{instance_id}` of `{aggregate_type}` cannot be read: {source}")]
#[non_exhaustive]
pub struct StateError {
    /// The stored name of the aggregate type.
    pub aggregate_type: String,
    /// The instance.
    pub instance_id: String,
    /// The reason.
    pub source: StoreError,
}

/// A command that could not be routed or executed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DispatchError {
    /// No aggregate type of this name is registered.
    #[error("unknown aggregate type `{0}`: register it with `.aggregate_type::<..>()`")]
    UnknownAggregateType(String),
    /// No aggregate is registered for the type of the command.
    #[error("no aggregate is registered for commands of the type {0}: call `register::<..>()`")]
    UnknownCommand(&'static str),
    /// The JSON of the command does not fit the command type of its target.
    #[error("the command does not fit `{aggregate_type}`: {source}")]
    Deserialization {
        /// The stored name of the target.
        aggregate_type: String,
        /// The error of serde.
        source: serde_json::Error,
    },
    /// The target rejected the command or could not execute it.
    #[error("{0}")]
    Execution(Box<dyn std::error::Error + Send + Sync>),
}

/// An event that a reader did not receive.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The event does not decode. Reading continues after it.
    #[error(
        "the event at position {position} (version {version} of `{stream_id}` of `{aggregate_type}`) cannot be read: {source}"
    )]
    Event {
        /// The position of the event.
        position: u64,
        /// The stored name of the aggregate type.
        aggregate_type: String,
        /// The id of the aggregate.
        stream_id: String,
        /// The version of the stream with the event.
        version: u64,
        /// The reason.
        source: EventError,
    },
    /// The journal cannot be read. Reading ends. It can start again after the last read position.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<ReadError> for StoreError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Store(error) => error,
            ReadError::Event {
                aggregate_type,
                stream_id,
                version,
                source,
                ..
            } => Self::Undecodable {
                aggregate_type,
                instance_id: stream_id,
                version,
                source,
            },
        }
    }
}

/// Any error of this crate, for programs that do not distinguish them.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A store could not be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// An operation on a store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A command was rejected or not executed.
    #[error("{0}")]
    Execute(Box<dyn std::error::Error + Send + Sync>),
    /// A state could not be read.
    #[error(transparent)]
    State(#[from] StateError),
    /// A command could not be routed.
    #[error(transparent)]
    Dispatch(#[from] DispatchError),
    /// An event could not be encoded or decoded.
    #[error(transparent)]
    Event(#[from] EventError),
    /// An event could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A timetable has no meaning.
    #[cfg(feature = "schedules")]
    #[error(transparent)]
    Timetable(#[from] crate::schedule::TimetableError),
}

impl From<TransactionError> for Error {
    fn from(error: TransactionError) -> Self {
        Self::Execute(Box::new(error))
    }
}

impl<E: std::error::Error + Send + Sync + 'static> From<ExecuteError<E>> for Error {
    fn from(error: ExecuteError<E>) -> Self {
        Self::Execute(Box::new(error))
    }
}
