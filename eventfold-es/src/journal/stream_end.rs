/// Where a stream ends, or ended once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct StreamEnd {
    /// How many events it has there.
    pub(crate) version: u64,
    /// The commit of the last of them.
    pub(crate) commit: CommitPlace,
}

/// Where the line of a commit stands in the text of the journal, and which one it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct CommitPlace {
    pub(crate) offset: u64,
    /// In bytes, its newline included.
    pub(crate) length: u64,
    /// Of the line without its newline.
    pub(crate) hash: u64,
}
