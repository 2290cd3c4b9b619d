//! Comparing the stored rows with the rows of the journal.

use std::collections::{BTreeMap, HashMap};
use std::ops::RangeInclusive;

use xxhash_rust::xxh64::xxh64;

use super::RowTables;
use crate::journal::local::line::CommitData;
use crate::journal::{Damage, JournalError, RowChange, RowRange};

/// The number of rows per read.
const CHUNK_ROWS: usize = 4096;

/// The maximum number of rows whose hashes are in memory.
const MAX_ROWS: usize = if cfg!(test) { 8 } else { 4 << 20 };

/// The rows of all process managers, as hashes of their keys and values. If there are many rows, these are the rows whose key
/// hashes are in a range.
pub(in super::super) struct ExpectedRows {
    tables: BTreeMap<String, HashMap<u64, u64>>,
    range: RangeInclusive<u64>,
    rows: usize,
}

impl Default for ExpectedRows {
    fn default() -> Self {
        Self::from(0)
    }
}

fn hash(text: &str) -> u64 {
    xxh64(text.as_bytes(), 0)
}

impl ExpectedRows {
    fn from(first: u64) -> Self {
        Self {
            tables: BTreeMap::new(),
            range: first..=u64::MAX,
            rows: 0,
        }
    }

    /// Applies the changes of a commit. Commits are added in order.
    pub(in super::super) fn add(&mut self, commit: &CommitData<'_>) {
        for process_manager in &commit.process_managers {
            for row in &process_manager.rows {
                self.change(&process_manager.name, &row.change());
            }
        }
    }

    pub(super) fn change(&mut self, name: &str, change: &RowChange) {
        let key = hash(&change.key);
        if !self.range.contains(&key) {
            return;
        }
        let rows = self.tables.entry(name.to_owned()).or_default();
        let before = match &change.value {
            Some(value) => rows.insert(key, hash(value)),
            None => rows.remove(&key),
        };
        self.rows += usize::from(change.value.is_some());
        self.rows -= usize::from(before.is_some());
        while self.rows > MAX_ROWS && self.range.start() < self.range.end() {
            self.halve();
        }
    }

    /// Leaves the upper half of the range to a later pass.
    fn halve(&mut self) {
        let (first, last) = (*self.range.start(), *self.range.end());
        self.range = first..=first.midpoint(last);
        for rows in self.tables.values_mut() {
            rows.retain(|key, _| self.range.contains(key));
            rows.shrink_to_fit();
        }
        self.rows = self.tables.values().map(HashMap::len).sum();
    }

    /// The rows behind the range, still empty; `None` if the range reaches the end.
    pub(in super::super) fn behind(&self) -> Option<Self> {
        self.range.end().checked_add(1).map(Self::from)
    }
}

impl RowTables {
    /// Adds the first difference of each process manager that has none yet. Blocks.
    pub(in super::super) fn compare(
        &self,
        expected: &ExpectedRows,
        differences: &mut Vec<Damage>,
    ) -> Result<(), JournalError> {
        let mut names = self.names();
        names.extend(expected.tables.keys().cloned());
        names.sort();
        names.dedup();
        for name in names {
            let path = self.path(&name);
            if differences.iter().any(|known| known.path == path) {
                continue;
            }
            let found = match self.first_difference(&name, expected) {
                Err(JournalError::Damage(damage)) => Some(damage),
                Err(error) => return Err(error),
                Ok(reason) => reason.map(|reason| {
                    let reason =
                        format!("{reason}; opening the store with `repair` derives the rows again");
                    Damage::new(path, 0, reason)
                }),
            };
            differences.extend(found);
        }
        Ok(())
    }

    fn first_difference(
        &self,
        name: &str,
        expected: &ExpectedRows,
    ) -> Result<Option<String>, JournalError> {
        let rows_of_table = expected.tables.get(name);
        let mut range = RowRange {
            from: "\u{1}".into(),
            to: char::MAX.to_string().into(),
        };
        let mut count = 0;
        loop {
            let rows = self.range(name, &range, CHUNK_ROWS)?;
            let Some(last) = rows.last() else {
                break;
            };
            range = range.behind(&last.key);
            for row in &rows {
                let key = hash(&row.key);
                if !expected.range.contains(&key) {
                    continue;
                }
                let known = rows_of_table.and_then(|expected| expected.get(&key));
                if known != Some(&hash(&row.value)) {
                    return Ok(Some(format!(
                        "the row {:?} differs from the journal",
                        row.key
                    )));
                }
                count += 1;
            }
        }
        let expected = rows_of_table.map_or(0, HashMap::len);
        Ok((count != expected)
            .then(|| format!("there are {count} rows, but {expected} in the journal")))
    }
}
