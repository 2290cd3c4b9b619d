//! The events of one stream, and the answers to its commands with idempotency keys.

use super::{
    Answer, JournalError, KeyLookup, RecordedCommit, StreamEnd, StreamId, StreamPart, StreamReader,
};

/// The streams of a store.
///
/// Methods that say so block on I/O; the rest only take short locks.
pub(crate) trait Streams: Send + Sync + 'static {
    /// The durable events of a stream behind an earlier end; an error also if the stream never had that end. Blocks.
    fn read_stream<'a>(
        &'a self,
        stream: &'a StreamId,
        behind: StreamEnd,
    ) -> Result<Box<dyn StreamReader + 'a>, JournalError>;

    /// The first commits of a part of a stream in the direction of reading, up to about a megabyte, in the order of the stream. Empty
    /// if the part has no event. Blocks.
    fn read_part(
        &self,
        stream: &StreamId,
        part: &StreamPart,
    ) -> Result<Vec<RecordedCommit>, JournalError>;

    /// The streams with at least one event, of one aggregate type or of all types, ordered by type and id. Blocks.
    fn streams(&self, aggregate_type: Option<&str>) -> Result<Vec<StreamId>, JournalError>;

    /// Whether the stream has at least one event, or cannot be read. Blocks.
    fn has_stream(&self, stream: &StreamId) -> Result<bool, JournalError>;

    /// The number of events in the stream, if it is known without I/O.
    fn known_version(&self, stream: &StreamId) -> Option<u64>;

    /// The durable answer to the command with this key to a stream, if memory has it without I/O. `before` is the result of an
    /// earlier [lookup](Self::find_answer): a key that was free then may be known to be free now.
    fn known_answer(
        &self,
        stream: &StreamId,
        key: &str,
        before: Option<KeyLookup>,
    ) -> Option<KeyLookup>;

    /// The durable answer to the command with this key to a stream. Blocks.
    fn find_answer(&self, stream: &StreamId, key: &str) -> Result<KeyLookup, JournalError>;

    /// The events of an answer, one line each. Blocks.
    fn read_answer(
        &self,
        stream: &StreamId,
        answer: &Answer,
    ) -> Result<Vec<Box<str>>, JournalError>;
}
