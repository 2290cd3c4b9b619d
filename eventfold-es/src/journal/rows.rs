//! Rows: the data of a process manager beside its position, each under a key of its own.

use std::fmt;

/// The change of one row by a commit.
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

/// A stored row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) key: Box<str>,
    /// JSON on one line.
    pub(crate) value: Box<str>,
}

/// A part of the rows of a process manager, in the order of their keys.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct RowRange {
    /// The first key in it.
    pub(crate) from: Box<str>,
    /// The first key behind it.
    pub(crate) to: Box<str>,
}

impl RowRange {
    /// The keys that begin with a letter.
    pub(crate) fn of_kind(kind: &str) -> Self {
        let first = kind.bytes().next().unwrap_or_default();
        Self {
            from: kind.into(),
            to: char::from(first + 1).to_string().into(),
        }
    }

    /// The keys in which a hexadecimal digit follows `prefix`.
    pub(crate) fn numbered(prefix: &str) -> Self {
        Self {
            from: prefix.into(),
            to: format!("{prefix}g").into(),
        }
    }

    /// The part of it behind `key`.
    pub(crate) fn behind(self, key: &str) -> Self {
        Self {
            from: format!("{key}\0").into(),
            ..self
        }
    }
}

impl fmt::Debug for RowRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}..{:?}", self.from, self.to)
    }
}
