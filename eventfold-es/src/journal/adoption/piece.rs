//! The place of a part of a stream of 0.2.0.

/// A part of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece {
    /// Whether the archive has the part. Otherwise, the log has it.
    pub(super) is_archived: bool,
    /// The offset of its first byte, in the log or in the decompressed text of the archive.
    pub(super) start: u64,
    /// The offset behind its last byte.
    pub(super) end: u64,
}
