//! The error of one call.

use std::error::Error;
use std::sync::Arc;

use crate::event::EventError;
use crate::process_manager::{FailureCause, ReactError};

/// The failure of a call of an [`EventHandler`](super::EventHandler).
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum HandleError {
    /// The event does not decode, or comes from an aggregate type that is not in the subscriptions.
    #[error(transparent)]
    Event(#[from] ReactError),
    /// The error of the handler.
    #[error("{0}")]
    Failed(Arc<dyn Error + Send + Sync>),
}

impl HandleError {
    /// The error of a handler.
    #[must_use]
    pub fn failed(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Failed(Arc::from(error.into()))
    }

    pub(crate) fn into_cause(self) -> FailureCause {
        match self {
            Self::Event(error) => FailureCause::Undecodable {
                reason: error.to_string(),
            },
            Self::Failed(error) => FailureCause::Failed { error },
        }
    }
}

impl From<EventError> for HandleError {
    fn from(error: EventError) -> Self {
        Self::Event(ReactError::from(error))
    }
}
