use super::StoreError;
use crate::event::EventError;

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
