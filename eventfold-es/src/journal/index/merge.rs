//! The entries of several sources, merged.

use super::run::RunCursor;
use crate::journal::JournalError;
use crate::sabotage::{Bug, planted};

/// The key and the value of an entry.
pub(crate) type Entry<'a> = (&'a [u8], &'a [u8]);

/// Sorted entries, the current entry first.
pub(crate) enum Entries {
    Run(RunCursor),
    /// Entries in memory.
    Memory(std::iter::Peekable<std::vec::IntoIter<(Vec<u8>, Vec<u8>)>>),
}

impl Entries {
    pub(crate) fn in_memory(entries: Vec<(Vec<u8>, Vec<u8>)>) -> Self {
        Self::Memory(entries.into_iter().peekable())
    }

    fn key(&mut self) -> Option<&[u8]> {
        match self {
            Self::Run(cursor) => cursor.entry().map(|(key, _)| key),
            Self::Memory(entries) => entries.peek().map(|(key, _)| &key[..]),
        }
    }

    fn take(&mut self, key: &mut Vec<u8>, value: &mut Vec<u8>) -> Result<(), JournalError> {
        match self {
            Self::Run(cursor) => {
                if let Some((found, content)) = cursor.entry() {
                    key.clear();
                    key.extend_from_slice(found);
                    value.clear();
                    value.extend_from_slice(content);
                }
                cursor.advance()
            }
            Self::Memory(entries) => {
                if let Some(entry) = entries.next() {
                    (*key, *value) = entry;
                }
                Ok(())
            }
        }
    }

    fn skip(&mut self) -> Result<(), JournalError> {
        match self {
            Self::Run(cursor) => cursor.advance(),
            Self::Memory(entries) => {
                entries.next();
                Ok(())
            }
        }
    }
}

/// The entries of several sources, ordered by key. If several sources have a key, the entry of the newest source counts.
pub(crate) struct Merged {
    /// The newest source first.
    sources: Vec<Entries>,
    key: Vec<u8>,
    value: Vec<u8>,
}

impl Merged {
    pub(crate) fn of(newest_first: Vec<Entries>) -> Self {
        Self {
            sources: newest_first,
            key: Vec::new(),
            value: Vec::new(),
        }
    }

    /// The next entry. Blocks.
    pub(crate) fn next(&mut self) -> Result<Option<Entry<'_>>, JournalError> {
        let mut least: Option<(usize, &[u8])> = None;
        for (index, source) in self.sources.iter_mut().enumerate() {
            if let Some(key) = source.key()
                && least.is_none_or(|(_, other)| {
                    key < other || key == other && planted(Bug::MergeKeepsTheOldest)
                })
            {
                least = Some((index, key));
            }
        }
        let Some((index, _)) = least else {
            return Ok(None);
        };
        if planted(Bug::MergeKeepsTheOldest) {
            let least = self.sources.get_mut(index).and_then(Entries::key);
            let least = least.unwrap_or_default().to_vec();
            for newer in self.sources.iter_mut().take(index) {
                while newer.key() == Some(&least) {
                    newer.skip()?;
                }
            }
        }
        let mut sources = self.sources.iter_mut().skip(index);
        if let Some(source) = sources.next() {
            source.take(&mut self.key, &mut self.value)?;
        }
        for older in sources {
            while older.key() == Some(&self.key) {
                older.skip()?;
            }
        }
        Ok(Some((&self.key, &self.value)))
    }
}
