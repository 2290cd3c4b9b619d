//! The events of one stream, and the answers to its commands with idempotency keys.

use super::{
    Answer, JournalError, KeyLookup, RecordedCommit, StreamEnd, StreamId, StreamPart, StreamReader,
};

/// The streams of a store.
///
/// Methods that say so block on I/O; the rest only take short locks.
pub(crate) trait Streams: Send + Sync + 'static {
    /// The durable events of a stream behind a place where it ended once; an error also if it did not end there. Blocks.
    fn read_stream<'a>(
        &'a self,
        stream: &'a StreamId,
        behind: StreamEnd,
    ) -> Result<Box<dyn StreamReader + 'a>, JournalError>;

    /// The first commits of a part of a stream in the direction of reading, up to about a megabyte, in the order of the stream; none if
    /// the part has no event. Blocks.
    fn read_part(
        &self,
        stream: &StreamId,
        part: &StreamPart,
    ) -> Result<Vec<RecordedCommit>, JournalError>;

    /// The streams with at least one event, of one aggregate type or of all, in the order of type and id. Blocks.
    fn streams(&self, aggregate_type: Option<&str>) -> Result<Vec<StreamId>, JournalError>;

    /// Whether the stream has at least one event, or cannot be read. Blocks.
    fn has_stream(&self, stream: &StreamId) -> Result<bool, JournalError>;

    /// How many events the stream has, if that is known without I/O.
    fn known_version(&self, stream: &StreamId) -> Option<u64>;

    /// The durable answer to the command with this key to a stream, as far as it is known without I/O: a key may be known to be free since
    /// it was [looked for](Self::find_answer) `before`.
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
