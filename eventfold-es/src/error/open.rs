use std::path::PathBuf;

use super::StoreError;
use crate::disk::FileError;
use crate::format::Newer;
use crate::journal::{Damage, JournalError};

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
        "the projection `{name}` writes to the sink `{type_name}`, which the store does not have: add `.sink(..)` with a `{type_name}` to \
         the builder of the store"
    )]
    NoSink {
        /// The stored name of the projection.
        name: &'static str,
        /// The Rust type of the sink, without its path.
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
