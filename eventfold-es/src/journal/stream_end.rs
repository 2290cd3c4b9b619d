/// An end of a stream, now or earlier.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct StreamEnd {
    /// The number of its events there.
    pub(crate) version: u64,
    /// The commit of the last of them.
    pub(crate) commit: CommitPlace,
}

/// The place and the number of a commit's line in the text of the journal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct CommitPlace {
    pub(super) offset: u64,
    /// In bytes, its newline included.
    pub(super) length: u64,
    /// Of the line without its newline.
    pub(crate) hash: u64,
}
