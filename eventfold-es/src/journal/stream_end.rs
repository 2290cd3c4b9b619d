/// An end of a stream, now or earlier.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct StreamEnd {
    /// The version of the stream at this end.
    pub(crate) version: u64,
    /// The commit of its last event there.
    pub(crate) commit: CommitPlace,
}

/// The place and the hash of a commit's line in the text of the journal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct CommitPlace {
    pub(super) offset: u64,
    /// The length in bytes, newline included.
    pub(super) length: u64,
    /// The hash of the line without its newline.
    pub(crate) hash: u64,
}
