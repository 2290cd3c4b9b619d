//! The errors, one enum per family of operations.

mod execute;
mod open;
mod reading;
mod store;
mod transaction;

pub use crate::disk::FileError;
use crate::event::EventError;
pub use crate::journal::Damage;
pub use execute::ExecuteError;
pub use open::OpenError;
pub use reading::{ReadError, StateError};
pub use store::StoreError;
pub use transaction::{TransactionCommandAt, TransactionError};

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
