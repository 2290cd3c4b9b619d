//! The past reactions in the journal, from its beginning on.

use super::RowChange;

/// The progress of a reader of the commits of one process manager.
#[derive(Debug)]
pub(crate) struct PastReactions {
    pub(crate) process_manager: String,
    /// The prefix of the keys of the wanted rows.
    pub(super) prefix: &'static str,
    /// The place to continue; only the journal knows its meaning.
    pub(super) offset: u64,
    /// Whether a commit of the process manager was found.
    pub(super) has_begun: bool,
    /// Whether the end is reached.
    pub(crate) is_read: bool,
}

impl PastReactions {
    /// From the first commit on.
    pub(crate) fn new(process_manager: &str, prefix: &'static str) -> Self {
        Self {
            process_manager: process_manager.to_owned(),
            prefix,
            offset: 0,
            has_begun: false,
            is_read: false,
        }
    }
}

/// One commit of a process manager: its first commit, which is its start, or a commit with a wanted row.
#[derive(Debug)]
pub(crate) struct PastReaction {
    /// The progress of the process manager after the commit.
    pub(crate) position: u64,
    /// The changes of wanted rows, in order.
    pub(crate) rows: Vec<RowChange>,
}
