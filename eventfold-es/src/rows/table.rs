//! The file of the rows of one projection.

use std::marker::PhantomData;
use std::sync::{PoisonError, RwLock};

use redb::{ReadTransaction, ReadableDatabase, TableDefinition, WriteTransaction};

use super::{RowsError, decode};
use crate::error::StoreError;
use crate::guarded::{Kept, guard};
use crate::journal::{Journal, JournalError, RedbFile, RedbOptions, unsealed};
use crate::projection::RowProjection;
use crate::short;

/// The tables of one state of the rows.
pub(super) struct Tables {
    pub(super) rows: TableDefinition<'static, &'static [u8], &'static [u8]>,
    /// The value is the number of bytes before the key of the row.
    pub(super) index: TableDefinition<'static, &'static [u8], u32>,
    pub(super) progress: TableDefinition<'static, &'static str, &'static str>,
}

/// The state that readers see.
pub(super) const CURRENT: Tables = Tables {
    rows: TableDefinition::new("rows"),
    index: TableDefinition::new("index"),
    progress: TableDefinition::new("progress"),
};

/// The state that a rebuild makes beside it.
pub(super) const NEW: Tables = Tables {
    rows: TableDefinition::new("new rows"),
    index: TableDefinition::new("new index"),
    progress: TableDefinition::new("new progress"),
};

impl Tables {
    /// Removes the tables.
    pub(super) fn remove(&self, transaction: &WriteTransaction) -> Result<(), redb::Error> {
        transaction.delete_table(self.rows)?;
        transaction.delete_table(self.index)?;
        transaction.delete_table(self.progress)?;
        Ok(())
    }

    /// Replaces the tables by those of another state.
    pub(super) fn replace(
        &self,
        by: &Self,
        transaction: &WriteTransaction,
    ) -> Result<(), redb::Error> {
        self.remove(transaction)?;
        transaction.rename_table(by.rows, self.rows)?;
        transaction.rename_table(by.index, self.index)?;
        transaction.rename_table(by.progress, self.progress)?;
        Ok(())
    }
}

const OPTIONS: RedbOptions = RedbOptions {
    cache_bytes: 64 << 20,
    is_checked: false,
    remedy: "remove the file while the store is closed; the rows are then rebuilt from the events",
};

/// The rows of a projection, for readers and for the one writer.
pub(crate) struct RowTable<P> {
    /// None when the store is closed. Another store may open the file then.
    file: RwLock<Option<RedbFile>>,
    of: PhantomData<fn() -> P>,
}

impl<P: RowProjection> RowTable<P> {
    /// Rows in memory, for a test.
    #[cfg(feature = "testing")]
    pub(crate) fn in_memory() -> Result<Self, JournalError> {
        Ok(Self {
            file: RwLock::new(Some(RedbFile::in_memory(&OPTIONS)?)),
            of: PhantomData,
        })
    }

    /// Opens the rows. A damaged file is replaced by an empty file. Blocks.
    pub(crate) fn open(journal: &dyn Journal) -> Result<Self, JournalError> {
        let open = |is_new| journal.projection_rows(P::NAME, &OPTIONS, is_new);
        let file = match open(false) {
            Err(JournalError::Damage(damage)) => {
                tracing::warn!(projection = P::NAME, %damage, "the rows of a projection cannot be used; they are rebuilt");
                open(true)?
            }
            opened => opened?,
        };
        Ok(Self {
            file: RwLock::new(Some(file)),
            of: PhantomData,
        })
    }
}

impl<P> RowTable<P> {
    /// Calls `run` with the file, unless the store is closed.
    pub(super) fn with<T>(
        &self,
        run: impl FnOnce(&RedbFile) -> Result<T, RowsError>,
    ) -> Result<T, RowsError> {
        let file = self.file.read().unwrap_or_else(PoisonError::into_inner);
        match &*file {
            Some(file) => run(file),
            None => Err(StoreError::Closed.into()),
        }
    }

    /// Closes the file, when all calls that use it have returned. Blocks.
    pub(crate) fn close(&self) {
        let file = self
            .file
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        drop(file);
    }
}

impl<P: RowProjection> RowTable<P> {
    /// Reads in one snapshot. A table without rows is `None`. Blocks.
    pub(super) fn read<T>(
        &self,
        read: impl FnOnce(&ReadTransaction) -> Result<T, redb::Error>,
    ) -> Result<Option<T>, RowsError> {
        self.with(|file| {
            let found = file.run(|database| {
                let transaction = database.begin_read()?;
                match read(&transaction) {
                    Err(redb::Error::TableDoesNotExist(_)) => Ok(None),
                    found => found.map(Some),
                }
            });
            Ok(found.map_err(StoreError::from)?)
        })
    }

    /// The row of a stored value. `key` is its encoded key.
    pub(super) fn row(&self, key: &[u8], value: &[u8]) -> Result<Kept<P>, RowsError> {
        self.with(|file| row(file, key, value))
    }
}

/// The row in a stored value.
pub(super) fn row<P: RowProjection>(
    file: &RedbFile,
    key: &[u8],
    value: &[u8],
) -> Result<Kept<P>, RowsError> {
    let Some(json) = unsealed(key, value) else {
        let reason = format!("the row {} is not as it was written", shown::<P>(key));
        return Err(StoreError::from(file.damage(&reason)).into());
    };
    let what = || format!("the decoding of a row of `{}`", P::NAME);
    let row = guard(what, || serde_json::from_slice::<Kept<P>>(json))?;
    row.map_err(|error| RowsError::Undecodable {
        projection: P::NAME,
        key: shown::<P>(key),
        reason: short::reason(error),
    })
}

/// A key, for a message.
fn shown<P: RowProjection>(key: &[u8]) -> String {
    let json = guard(
        || "the text of a key".to_owned(),
        || {
            let key: P::Key = decode(key).ok()?;
            serde_json::to_string(&key).ok()
        },
    );
    json.ok().flatten().unwrap_or_else(|| format!("{key:02x?}"))
}
