//! Comparing the rows that can be read with those that the journal tells of.

use std::collections::{BTreeMap, HashMap};

use xxhash_rust::xxh64::xxh64;

use super::RowTables;
use crate::journal::{Damage, JournalError, RowChange, RowRange};

/// How many rows are read at a time.
const CHUNK_ROWS: usize = 4096;

/// The rows of all process managers, as hashes of their keys and values.
#[derive(Default)]
pub(in super::super) struct ExpectedRows {
    tables: BTreeMap<String, HashMap<u64, u64>>,
}

fn hash(text: &str) -> u64 {
    xxh64(text.as_bytes(), 0)
}

impl ExpectedRows {
    pub(in super::super) fn change(&mut self, name: &str, change: &RowChange) {
        let rows = self.tables.entry(name.to_owned()).or_default();
        match &change.value {
            Some(value) => drop(rows.insert(hash(&change.key), hash(value))),
            None => drop(rows.remove(&hash(&change.key))),
        }
    }
}

impl RowTables {
    /// What is different; `changes` is how often rows were changed when the journal was about to be read. Blocks.
    pub(in super::super) fn compare(
        &self,
        expected: &ExpectedRows,
        changes: u64,
    ) -> Result<Vec<Damage>, JournalError> {
        let mut differences = Vec::new();
        let mut names = self.names();
        names.extend(expected.tables.keys().cloned());
        names.sort();
        names.dedup();
        for name in names {
            let found = match self.first_difference(&name, expected.tables.get(&name)) {
                Err(JournalError::Damage(damage)) => Some(damage),
                Err(error) => return Err(error),
                Ok(reason) => reason.map(|reason| {
                    let reason =
                        format!("{reason}; opening the store with `repair` derives the rows again");
                    Damage::new(self.path(&name), 0, reason)
                }),
            };
            differences.extend(found);
        }
        // What has changed meanwhile is compared the next time.
        if self.changes() != changes {
            differences.clear();
        }
        Ok(differences)
    }

    fn first_difference(
        &self,
        name: &str,
        expected: Option<&HashMap<u64, u64>>,
    ) -> Result<Option<String>, JournalError> {
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
                let known = expected.and_then(|expected| expected.get(&hash(&row.key)));
                if known != Some(&hash(&row.value)) {
                    return Ok(Some(format!(
                        "the row {:?} is not what the journal holds",
                        row.key
                    )));
                }
            }
            count += rows.len();
        }
        let expected = expected.map_or(0, HashMap::len);
        Ok((count != expected)
            .then(|| format!("there are {count} rows, but {expected} in the journal")))
    }
}
