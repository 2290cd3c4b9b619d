//! Rows: the data of a process manager beside its position. Each row has its own key.

use std::fmt;

/// The change of one row in a commit.
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

/// A range of the rows of a process manager, ordered by key.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct RowRange {
    /// The first key in the range.
    pub(crate) from: Box<str>,
    /// The first key behind the range.
    pub(crate) to: Box<str>,
}

impl RowRange {
    /// The keys that begin with the letter `kind`.
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

    /// The part of the range behind `key`.
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
