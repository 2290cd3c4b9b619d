use std::sync::Arc;

use super::{JournalError, StreamEnd, StreamPiece};

/// The durable events of a stream, oldest first, with a piece of it in memory at a time.
pub(crate) trait StreamReader: Send {
    /// Replaces a piece by the next piece, in which the [finder](Self::finder) then finds the events; `false` at the end of the
    /// stream. Blocks.
    fn read(&mut self, piece: &mut StreamPiece) -> Result<bool, JournalError>;

    /// Finds the events in the pieces of this stream, on any thread.
    fn finder(&self) -> Arc<dyn FindEvents>;

    /// The end of the stream after the pieces that were read.
    fn end(&self) -> StreamEnd;

    /// The error for damage in the event with this version, which is in the last piece.
    fn damage(&self, version: u64, reason: String) -> JournalError;

    /// Replaces a piece by the next events, which are those of at least one commit; `false` at the end of the stream. Blocks.
    fn next(&mut self, piece: &mut StreamPiece) -> Result<bool, JournalError> {
        if let Some(failure) = piece.take_failure() {
            return Err(failure);
        }
        if !self.read(piece)? {
            return Ok(false);
        }
        self.finder().find(piece);
        match piece.len() {
            0 => piece.take_failure().map_or(Ok(true), Err),
            _ => Ok(true),
        }
    }
}

/// See [`StreamReader::finder`].
pub(crate) trait FindEvents: Send + Sync {
    /// Finds the events in the text of a piece.
    fn find(&self, piece: &mut StreamPiece);
}
