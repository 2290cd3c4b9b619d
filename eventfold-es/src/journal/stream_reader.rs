use super::{JournalError, RecordedAppend, StreamEnd};

/// The durable events of a stream, oldest first, with a few commits in memory at a time.
pub(crate) trait StreamReader {
    /// The events that the next commit has added. Blocks.
    fn next(&mut self) -> Result<Option<RecordedAppend>, JournalError>;

    /// Where the stream ends with the events that were read.
    fn end(&self) -> StreamEnd;

    /// The damage of the commit that was read last.
    fn damage(&self, reason: String) -> JournalError;
}
