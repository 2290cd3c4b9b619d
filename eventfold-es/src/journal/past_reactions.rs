//! What reactions have left behind in the journal, from its beginning on.

use super::RowChange;

/// How far the commits of one process manager were read.
#[derive(Debug)]
pub(crate) struct PastReactions {
    pub(crate) process_manager: String,
    /// The first letters of the keys of the rows that are wanted.
    pub(crate) kinds: &'static [char],
    /// Where to read on; only the journal knows what it means.
    pub(super) offset: u64,
    /// Whether a commit of it was found.
    pub(super) has_begun: bool,
    /// Whether there is nothing more.
    pub(crate) is_read: bool,
}

impl PastReactions {
    /// From the first commit on.
    pub(crate) fn new(process_manager: &str, kinds: &'static [char]) -> Self {
        Self {
            process_manager: process_manager.to_owned(),
            kinds,
            offset: 0,
            has_begun: false,
            is_read: false,
        }
    }

    pub(super) fn wants(&self, key: &str) -> bool {
        key.starts_with(self.kinds)
    }
}

/// One commit of a process manager: its first one, which is where it began, or one with a row that is wanted or with dead letters.
#[derive(Debug)]
pub(crate) struct PastReaction {
    /// Up to where it was with it.
    pub(crate) position: u64,
    /// The changes of rows, in order, as far as they are wanted.
    pub(crate) rows: Vec<RowChange>,
    /// One JSON line each.
    pub(crate) dead_letters: Vec<Box<str>>,
}
