use super::{JournalError, RecordedAppend, StreamEnd};

/// The durable events of a stream, oldest first, with a few commits in memory at a time.
pub(crate) trait StreamReader {
    /// The events that the next commit appended. Blocks.
    fn next(&mut self) -> Result<Option<RecordedAppend>, JournalError>;

    /// The end of the stream after the events that were read.
    fn end(&self) -> StreamEnd;

    /// The error for damage in the last commit that was read.
    fn damage(&self, reason: String) -> JournalError;
}
