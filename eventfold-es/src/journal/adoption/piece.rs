//! The place of a part of a stream of 0.2.0.

/// A part of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece {
    /// Whether it is in the archive; otherwise it is in the log.
    pub(super) is_archived: bool,
    /// Its start in the log, or in the decompressed text of the archive.
    pub(super) start: u64,
    pub(super) end: u64,
}
