//! The file of the rows of one process manager.

use std::ops::Bound;
use std::path::Path;

use redb::{ReadableDatabase, TableDefinition};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::super::scan::Tip;
use crate::disk::{Files, OpenMode};
use crate::format;
use crate::journal::{
    JournalError, RedbFile, RedbOptions, Row, RowChange, RowRange, sealed, unsealed,
};

const ROWS: TableDefinition<'static, &str, &[u8]> = TableDefinition::new("rows");
/// The key under which the tip of the table is stored. No row has it.
const TIP: &str = "";
const OPTIONS: RedbOptions = RedbOptions {
    cache_bytes: 16 << 20,
    // Each value has its own hash, but a damaged page that leads to the wrong place would make rows missing.
    is_checked: true,
    remedy: "`repair` derives it from the journal again",
};

/// The last commit whose rows are in a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in super::super) struct TableTip {
    pub(in super::super) commit: u64,
    /// The hash of its line.
    pub(in super::super) hash: String,
}

impl TableTip {
    pub(super) fn of(tip: &Tip) -> Self {
        Self {
            commit: tip.commit,
            hash: tip.hash.clone(),
        }
    }
}

/// The value under the key that no row has.
#[derive(Serialize, Deserialize)]
struct StoredTip {
    format: u64,
    #[serde(flatten)]
    tip: TableTip,
}

/// The part of the stored tip that every format has.
#[derive(Deserialize)]
struct StoredFormat {
    format: u64,
}

/// An open table.
pub(super) struct Table {
    file: RedbFile,
}

impl Table {
    /// Opens the table, and creates it if it is missing. Blocks.
    pub(super) fn open(files: &Files, path: &Path) -> Result<Self, JournalError> {
        let file = RedbFile::open(files.open(path, OpenMode::Write)?, &OPTIONS)?;
        Ok(Self { file })
    }

    /// The tip of the table; `None` if nothing was ever saved to it.
    pub(super) fn tip(&self) -> Result<Option<TableTip>, JournalError> {
        let stored = self.get(&[TIP])?.into_iter().next().flatten();
        let Some(stored) = stored else {
            return Ok(None);
        };
        let StoredFormat { format } = self.parse(&stored)?;
        format::refuse_newer(format, format::ROWS)
            .map_err(|newer| newer.in_file(self.file.path()))?;
        let StoredTip { tip, .. } = self.parse(&stored)?;
        Ok(Some(tip))
    }

    /// Parses the value under the key that no row has.
    fn parse<T: DeserializeOwned>(&self, stored: &str) -> Result<T, JournalError> {
        serde_json::from_str(stored)
            .map_err(|error| self.file.damage(&format!("its tip does not read: {error}")))
    }

    /// Makes the changes durable, together with the commit that they belong to.
    pub(super) fn save(&self, changes: &[RowChange], tip: &TableTip) -> Result<(), JournalError> {
        let stored = StoredTip {
            format: format::ROWS,
            tip: tip.clone(),
        };
        let tip = serde_json::to_string(&stored).map_err(|error| {
            self.file
                .damage(&format!("its tip does not serialize: {error}"))
        })?;
        self.file.run(|database| {
            let mut transaction = database.begin_write()?;
            // With quick repair, opening after a crash does not read the whole table.
            transaction.set_quick_repair(true);
            {
                let mut rows = transaction.open_table(ROWS)?;
                for change in changes {
                    match &change.value {
                        Some(value) => {
                            rows.insert(
                                &*change.key,
                                &*sealed(change.key.as_bytes(), value.as_bytes()),
                            )?;
                        }
                        None => drop(rows.remove(&*change.key)?),
                    }
                }
                rows.insert(TIP, &*sealed(TIP.as_bytes(), tip.as_bytes()))?;
            }
            transaction.commit()?;
            Ok::<_, redb::Error>(())
        })
    }

    pub(super) fn get(&self, keys: &[&str]) -> Result<Vec<Option<Box<str>>>, JournalError> {
        let found = self.file.run(|database| {
            let transaction = database.begin_read()?;
            let rows = match transaction.open_table(ROWS) {
                Err(redb::TableError::TableDoesNotExist(_)) => return Ok(vec![None; keys.len()]),
                opened => opened?,
            };
            keys.iter()
                .map(|key| {
                    let value = rows.get(*key)?;
                    Ok(value.map(|value| text(key, value.value())))
                })
                .collect::<Result<Vec<_>, redb::Error>>()
        })?;
        found
            .into_iter()
            .zip(keys)
            .map(|(found, key)| match found {
                None => Ok(None),
                Some(Some(value)) => Ok(Some(value)),
                Some(None) => Err(self.changed(key)),
            })
            .collect()
    }

    /// The first rows of a range, `limit` at most.
    pub(super) fn range(&self, range: &RowRange, limit: usize) -> Result<Vec<Row>, JournalError> {
        let found = self.file.run(|database| {
            let transaction = database.begin_read()?;
            let rows = match transaction.open_table(ROWS) {
                Err(redb::TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
                opened => opened?,
            };
            let bounds = (Bound::Included(&*range.from), Bound::Excluded(&*range.to));
            let mut found = Vec::new();
            for row in rows.range::<&str>(bounds)?.take(limit) {
                let (key, value) = row?;
                let value = text(key.value(), value.value());
                found.push((Box::<str>::from(key.value()), value));
            }
            Ok::<_, redb::Error>(found)
        })?;
        found
            .into_iter()
            .map(|(key, value)| match value {
                Some(value) => Ok(Row { key, value }),
                None => Err(self.changed(&key)),
            })
            .collect()
    }

    fn changed(&self, key: &str) -> JournalError {
        let reason = format!("the row {key:?} is not what was written");
        self.file.damage(&reason)
    }
}

/// The text of a stored value, unless it was changed.
fn text(key: &str, bytes: &[u8]) -> Option<Box<str>> {
    let value = unsealed(key.as_bytes(), bytes)?;
    std::str::from_utf8(value).ok().map(Into::into)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::disk::SystemDisk;

    #[test]
    fn a_table_of_a_newer_format_is_refused() -> Result<(), Box<dyn std::error::Error>> {
        let place = tempfile::tempdir()?;
        let path = place.path().join("instances.redb");
        let files = Files::new(Arc::new(SystemDisk));
        let table = Table::open(&files, &path)?;
        let tip = TableTip {
            commit: 3,
            hash: "00ff00ff00ff00ff".to_owned(),
        };
        table.save(&[], &tip)?;
        assert_eq!(table.tip()?, Some(tip));
        let write = |text: &str| {
            table.file.run(|database| {
                let transaction = database.begin_write()?;
                let mut rows = transaction.open_table(ROWS)?;
                rows.insert(TIP, &*sealed(TIP.as_bytes(), text.as_bytes()))?;
                drop(rows);
                Ok::<_, redb::Error>(transaction.commit()?)
            })
        };
        write("{\"format\":2,\"until\":[3]}")?;
        let refused = table.tip().err().ok_or("it was read")?;
        let JournalError::File(error) = refused else {
            return Err("it counts as damage".into());
        };
        let (found, newer) = format::Newer::of(&error).ok_or("another error")?;
        assert_eq!(
            (found, newer.found, newer.supported),
            (path, 2, format::ROWS)
        );
        write("{\"commit\":3}")?;
        assert!(matches!(table.tip(), Err(JournalError::Damage(_))));
        Ok(())
    }
}
