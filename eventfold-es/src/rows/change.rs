//! The changes of one transaction.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use redb::{ReadableTable as _, Table, WriteTransaction};

use super::encode::{EncodeError, encode, encode_to};
use super::table::{Tables, row};
use super::{RowsError, decode};
use crate::error::StoreError;
use crate::finite;
use crate::guarded::{Kept, guard};
use crate::journal::{JournalError, RedbFile, sealed_with};
use crate::projection::{Deletion, EventContext, Keys, RowProjection, SinkError};
use crate::short;

/// The number of changed rows in memory, beyond which they are written to the tables.
const PENDING_ROWS: usize = 16_384;

/// A transaction that changes the rows of a projection.
pub struct RowTx<'t, P: RowProjection> {
    file: &'t RedbFile,
    transaction: &'t WriteTransaction,
    /// The tables of the state that it changes.
    of: &'static Tables,
    tables: Option<OpenTables<'t>>,
    /// The rows that this transaction has read or changed, by their encoded keys.
    pending: BTreeMap<Vec<u8>, Pending<P>>,
    /// Whether all changes since the last mark are pending.
    can_undo: bool,
}

struct OpenTables<'t> {
    rows: Table<'t, &'static [u8], &'static [u8]>,
    index: Table<'t, &'static [u8], u32>,
}

struct Pending<P> {
    /// The entries of the stored row in the indexes; none without a stored row.
    stored: Option<Vec<Vec<u8>>>,
    row: Option<Kept<P>>,
}

impl<P: RowProjection> std::fmt::Debug for RowTx<'_, P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RowTx")
            .field("projection", &P::NAME)
            .field("pending", &self.pending.len())
            .finish_non_exhaustive()
    }
}

impl<'t, P: RowProjection> RowTx<'t, P> {
    pub(super) fn new(
        file: &'t RedbFile,
        transaction: &'t WriteTransaction,
        of: &'static Tables,
    ) -> Self {
        Self {
            file,
            transaction,
            of,
            tables: None,
            pending: BTreeMap::new(),
            can_undo: false,
        }
    }

    /// Writes the changed rows. The changes from here on can be undone.
    pub(super) fn mark(&mut self) -> Result<(), RowsError> {
        self.flush()?;
        self.can_undo = true;
        Ok(())
    }

    /// Forgets the changes since the last mark, unless some were written to the tables.
    pub(super) fn undo(&mut self) -> bool {
        if self.can_undo {
            self.pending.clear();
        }
        self.can_undo
    }

    /// Removes all rows.
    ///
    /// # Errors
    ///
    /// [`RowsError::Store`] if the file of the rows cannot be changed.
    pub fn clear(&mut self) -> Result<(), RowsError> {
        self.pending.clear();
        self.tables = None;
        let (transaction, of) = (self.transaction, self.of);
        run(self.file, || {
            transaction.delete_table(of.rows)?;
            transaction.delete_table(of.index)?;
            Ok(())
        })
    }

    /// Runs `change` for the row of each key. A row that does not exist yet begins with the default of its type. After a call
    /// of [`EventContext::delete`] the row is removed.
    ///
    /// # Errors
    ///
    /// [`SinkError::Sink`] if a row cannot be read, or a key has no stored form.
    pub fn change(
        &mut self,
        keys: Keys<P::Key>,
        context: &EventContext<'_>,
        mut change: impl FnMut(&mut P, &EventContext<'_>),
    ) -> Result<(), SinkError<RowsError>> {
        for key in keys {
            let changed = self.change_row(&key, |key, row| {
                let deletion = Deletion::default();
                change(row, &context.of_row(key).deleting(&deletion));
                !deletion.is_asked()
            });
            changed.map_err(SinkError::Sink)?;
        }
        Ok(())
    }

    /// Runs `change` with the stored key and its row, or with the default of its type. If `change` returns `false`, the row is removed.
    fn change_row(
        &mut self,
        key: &P::Key,
        change: impl FnOnce(&[u8], &mut P) -> bool,
    ) -> Result<(), RowsError> {
        let key = encode(key)?;
        if self.pending.len() >= PENDING_ROWS && !self.pending.contains_key(&key) {
            self.flush()?;
        }
        let file = self.file;
        self.tables()?;
        let (Some(tables), pending) = (&self.tables, &mut self.pending) else {
            return Ok(());
        };
        let change = |key: &[u8], pending: &mut Pending<P>| {
            if !change(key, pending.row.get_or_insert_default()) {
                pending.row = None;
            }
        };
        match pending.entry(key) {
            Entry::Occupied(mut entry) => {
                let key = entry.key().clone();
                change(&key, entry.get_mut());
            }
            Entry::Vacant(entry) => {
                let mut pending = Self::stored(file, tables, entry.key())?;
                change(entry.key(), &mut pending);
                entry.insert(pending);
            }
        }
        Ok(())
    }

    fn stored(
        file: &RedbFile,
        tables: &OpenTables<'_>,
        key: &[u8],
    ) -> Result<Pending<P>, RowsError> {
        let value = run(file, || Ok(tables.rows.get(key)?))?;
        let Some(value) = value else {
            return Ok(Pending {
                stored: None,
                row: None,
            });
        };
        let row = row::<P>(file, key, value.value())?;
        Ok(Pending {
            stored: Some(entries(&*row, key)?),
            row: Some(row),
        })
    }

    fn tables(&mut self) -> Result<&mut OpenTables<'t>, RowsError> {
        let (transaction, of) = (self.transaction, self.of);
        let opened = match self.tables.take() {
            Some(opened) => opened,
            None => run(self.file, || {
                Ok(OpenTables {
                    rows: transaction.open_table(of.rows)?,
                    index: transaction.open_table(of.index)?,
                })
            })?,
        };
        Ok(self.tables.insert(opened))
    }

    /// Writes the changed rows to the tables.
    pub(super) fn flush(&mut self) -> Result<(), RowsError> {
        self.can_undo = false;
        let pending = std::mem::take(&mut self.pending);
        let file = self.file;
        let OpenTables { rows, index } = self.tables()?;
        for (key, Pending { stored, row }) in pending {
            let is_stored = stored.is_some();
            let stored = stored.unwrap_or_default();
            let (value, entries) = match &row {
                Some(row) => (
                    Some(sealed_with(&key, |value| encode_row::<P>(row, value))?),
                    entries::<P>(row, &key)?,
                ),
                None => (None, Vec::new()),
            };
            run(file, || {
                match &value {
                    Some(value) => drop(rows.insert(&*key, &**value)?),
                    None if is_stored => drop(rows.remove(&*key)?),
                    None => {}
                }
                for entry in stored.iter().filter(|entry| !entries.contains(entry)) {
                    index.remove(&**entry)?;
                }
                for entry in entries.iter().filter(|entry| !stored.contains(entry)) {
                    let before = entry.len().saturating_sub(key.len());
                    index.insert(&**entry, u32::try_from(before).unwrap_or(u32::MAX))?;
                }
                Ok(())
            })?;
        }
        Ok(())
    }
}

fn run<T>(file: &RedbFile, run: impl FnOnce() -> Result<T, redb::Error>) -> Result<T, RowsError> {
    let done: Result<T, JournalError> = file.run(|_| run());
    Ok(done.map_err(StoreError::from)?)
}

fn encode_row<P: RowProjection>(row: &P, json: &mut Vec<u8>) -> Result<(), RowsError> {
    let what = || format!("the encoding of a row of `{}`", P::NAME);
    let encoded = guard(what, || finite::append_to(json, row))?;
    encoded.map_err(|error| RowsError::Unstorable {
        projection: P::NAME,
        reason: short::reason(error),
    })
}

/// The entries of a row in the indexes.
fn entries<P: RowProjection>(row: &P, key: &[u8]) -> Result<Vec<Vec<u8>>, RowsError> {
    if P::INDEXES.is_empty() {
        return Ok(Vec::new());
    }
    let mut entries = IndexEntries {
        names: P::INDEXES,
        key,
        entries: Vec::with_capacity(P::INDEXES.len()),
    };
    let what = || format!("the indexes of a row of `{}`", P::NAME);
    guard(what, || row.index(&mut entries))??;
    Ok(entries.entries)
}

/// The values of the indexes of one row.
#[derive(Debug)]
pub struct IndexEntries<'a> {
    names: &'static [&'static str],
    key: &'a [u8],
    entries: Vec<Vec<u8>>,
}

impl IndexEntries<'_> {
    /// Adds the value of the next index.
    ///
    /// # Errors
    ///
    /// [`EncodeError`] if the value has no stored form, or if there is no further index.
    pub fn add(&mut self, value: &impl serde::Serialize) -> Result<(), EncodeError> {
        let name = self.names.get(self.entries.len());
        let name = name.ok_or_else(|| EncodeError::new("the row has more values than indexes"))?;
        let mut entry = index_prefix(name);
        encode_to(&mut entry, value)?;
        entry.extend_from_slice(self.key);
        self.entries.push(entry);
        Ok(())
    }
}

/// The first bytes of all entries of an index.
pub(super) fn index_prefix(name: &str) -> Vec<u8> {
    [name.as_bytes(), &[0]].concat()
}

/// The key of a stored row.
pub(super) fn key_of<P: RowProjection>(key: &[u8]) -> Result<P::Key, RowsError> {
    let what = || format!("the decoding of a key of `{}`", P::NAME);
    Ok(guard(what, || decode(key))??)
}
