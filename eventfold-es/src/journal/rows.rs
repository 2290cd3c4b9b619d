//! Rows: what a process manager keeps beside its position, each under a key of its own.

use std::fmt;

/// What a commit makes of one row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RowChange {
    pub(crate) key: Box<str>,
    /// JSON on one line; `None` removes the row.
    pub(crate) value: Option<Box<str>>,
}

impl RowChange {
    pub(crate) fn byte_count(&self) -> usize {
        self.key.len() + self.value.as_ref().map_or(0, |value| value.len())
    }
}

/// A row as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) key: Box<str>,
    /// JSON on one line.
    pub(crate) value: Box<str>,
}

/// A part of the rows of a process manager, in the order of their keys.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct RowRange {
    /// The first key that belongs to it.
    pub(crate) from: Box<str>,
    /// The first key behind it.
    pub(crate) to: Box<str>,
}

impl RowRange {
    /// The keys that begin with `prefix`, which ends in an ASCII character.
    pub(crate) fn with_prefix(prefix: &str) -> Self {
        Self::behind(prefix, prefix)
    }

    /// Those of [`with_prefix`](Self::with_prefix) from the key `from` on.
    pub(crate) fn behind(prefix: &str, from: &str) -> Self {
        let mut to = prefix.to_owned();
        let last = to.pop().unwrap_or_default();
        to.push(char::from_u32(u32::from(last) + 1).unwrap_or(char::MAX));
        Self {
            from: from.into(),
            to: to.into(),
        }
    }
}

impl fmt::Debug for RowRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}..{:?}", self.from, self.to)
    }
}
