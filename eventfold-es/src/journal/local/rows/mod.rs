//! The rows of process managers: a table for each, and an overlay of the durable rows that the table does not have yet.
//!
//! A table is derived from the journal. It changes only at checkpoints, in one transaction with the number of the last commit
//! that it contains. It is durable before the checkpoint says so. Later changes are in memory. Opening the store reads them
//! from the journal again: at most the distance from the last checkpoint to the end of the journal.

mod compare;
mod table;
#[cfg(test)]
#[expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a panic is how a test fails"
)]
mod tests;

use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

pub(super) use compare::ExpectedRows;
use table::Table;
pub(super) use table::TableTip;

use super::appends::lock;
use super::layout::Layout;
use super::scan::Tip;
use crate::disk::{FileError, Files};
use crate::format::Newer;
use crate::journal::{JournalError, Row, RowChange, RowRange};
use crate::sabotage::{Bug, planted};

/// The number of bytes that are collected before they go to the tables while everything is derived again.
const REBUILD_BYTES: usize = 32 << 20;

/// The tips of the tables that a checkpoint covers, by process manager.
pub(super) type TableTips = BTreeMap<String, TableTip>;

/// See the [module](self).
pub(super) struct RowTables {
    files: Files,
    layout: Layout,
    tables: Mutex<BTreeMap<String, Arc<RowTable>>>,
    /// The number of the last commit that changed a row since the store was opened.
    last_commit: AtomicU64,
    is_closed: AtomicBool,
}

/// The rows of one process manager.
#[derive(Default)]
struct RowTable {
    overlay: Mutex<Overlay>,
    /// `None` if the table is closed or does not exist.
    table: Mutex<Option<Arc<Table>>>,
    /// The last commit that the file contains; `None` if no file is known to be valid.
    tip: Mutex<Option<TableTip>>,
}

/// The changes that are not in the table yet.
#[derive(Default)]
struct Overlay {
    rows: BTreeMap<Box<str>, Changed>,
    bytes: usize,
}

struct Changed {
    commit: u64,
    value: Option<Box<str>>,
}

impl RowTables {
    /// Starts without any table.
    pub(super) fn new(files: &Files, layout: &Layout) -> Self {
        Self {
            files: files.clone(),
            layout: layout.clone(),
            tables: Mutex::default(),
            last_commit: AtomicU64::new(0),
            is_closed: AtomicBool::new(false),
        }
    }

    /// Opens the tables that a checkpoint covers, and reads the tip of each; `None` if a table is not as saved. Other tables
    /// are removed.
    pub(super) fn open(&self, saved: &TableTips) -> Result<Option<TableTips>, FileError> {
        let mut found = TableTips::new();
        for name in self.stored()? {
            let path = self.layout.row_table(&name);
            let Some(saved) = saved.get(&name) else {
                // The table was begun after the checkpoint, so that the journal has all of it.
                self.refuse_newer(&path)?;
                self.files.remove(&path)?;
                continue;
            };
            let tip = match self.opened(&name).and_then(|table| table.tip()) {
                Ok(Some(tip)) => tip,
                Ok(None) => return Ok(self.refuse(&name, "nothing was saved to it")),
                Err(JournalError::Damage(damage)) => return Ok(self.refuse(&name, &damage.reason)),
                Err(JournalError::File(error)) => return Err(error),
            };
            let is_newer = tip.commit > saved.commit;
            if tip != *saved && !is_newer && !planted(Bug::TableWithoutItsCommit) {
                let reason = format!(
                    "it is valid up to commit {}, but commit {} was saved",
                    tip.commit, saved.commit
                );
                return Ok(self.refuse(&name, &reason));
            }
            *lock(&self.of(&name).tip) = Some(tip.clone());
            found.insert(name, tip);
        }
        match saved.keys().find(|name| !found.contains_key(*name)) {
            Some(missing) => Ok(self.refuse(missing, "it is missing")),
            None => Ok(Some(found)),
        }
    }

    fn refuse(&self, name: &str, reason: &str) -> Option<TableTips> {
        let path = self.layout.row_table(name);
        tracing::warn!(path = %path.display(), %reason, "the rows of a process manager cannot be used; everything is derived from the journal again");
        None
    }

    /// Removes all tables, so that they are derived from the whole journal.
    pub(super) fn clear(&self) -> Result<(), FileError> {
        lock(&self.tables).clear();
        let stored = self.stored()?;
        for name in &stored {
            self.refuse_newer(&self.layout.row_table(name))?;
        }
        for name in &stored {
            self.files.remove(&self.layout.row_table(name))?;
        }
        Ok(())
    }

    /// Refuses to remove a table of a newer format. Any other table can be derived again.
    fn refuse_newer(&self, path: &Path) -> Result<(), FileError> {
        match Table::open(&self.files, path).and_then(|table| table.tip()) {
            Err(JournalError::File(error)) if Newer::of(&error).is_some() => Err(error),
            _ => Ok(()),
        }
    }

    /// The process managers that have a table.
    fn stored(&self) -> Result<Vec<String>, FileError> {
        let mut stored = Vec::new();
        for entry in self.files.list(&self.layout.process_managers())? {
            if entry.is_directory && self.files.exists(&self.layout.row_table(&entry.name))? {
                stored.push(entry.name);
            }
        }
        Ok(stored)
    }

    /// Adds the changes of a durable commit. Commits are added in order.
    pub(super) fn change(
        &self,
        name: &str,
        commit: u64,
        changes: impl IntoIterator<Item = RowChange>,
    ) {
        let rows = self.of(name);
        let mut overlay = lock(&rows.overlay);
        self.last_commit.fetch_max(commit, Ordering::Release);
        for RowChange { key, value } in changes {
            overlay.bytes += key.len() + value.as_ref().map_or(0, |value| value.len());
            overlay.rows.insert(key, Changed { commit, value });
        }
    }

    /// The number of the last commit that changed a row since the store was opened; 0 for none. A caller that has read a row
    /// finds the commit of the row here.
    pub(super) fn last_commit(&self) -> u64 {
        self.last_commit.load(Ordering::Acquire)
    }

    /// Moves collected rows to the tables while everything is derived again, if there are many. No checkpoint covers these
    /// tables yet.
    pub(super) fn relieve(
        &self,
        commit: u64,
        hash: impl Fn() -> String,
    ) -> Result<(), JournalError> {
        let tables = lock(&self.tables).clone();
        for (name, rows) in tables {
            if lock(&rows.overlay).bytes >= REBUILD_BYTES {
                let hash = hash();
                self.save_one(&name, &TableTip { commit, hash })?;
            }
        }
        Ok(())
    }

    /// Makes the changes of the commits up to `tip` durable in the tables. The result is the tip of each table.
    pub(super) fn save(&self, tip: &Tip) -> Result<TableTips, JournalError> {
        let tip = TableTip::of(tip);
        let mut tips = TableTips::new();
        for name in self.names() {
            self.save_one(&name, &tip)?;
            if let Some(tip) = lock(&self.of(&name).tip).clone() {
                tips.insert(name, tip);
            }
        }
        Ok(tips)
    }

    fn save_one(&self, name: &str, tip: &TableTip) -> Result<(), JournalError> {
        let rows = self.of(name);
        let changes: Vec<_> = {
            let overlay = lock(&rows.overlay);
            let known = overlay.rows.iter();
            let known = known.filter(|(_, changed)| changed.commit <= tip.commit);
            let changes = known.map(|(key, changed)| RowChange {
                key: key.clone(),
                value: changed.value.clone(),
            });
            changes.collect()
        };
        if changes.is_empty() {
            return Ok(());
        }
        self.files
            .create_dir_all(&self.layout.process_manager(name))?;
        let saved = self
            .opened(name)
            .and_then(|table| table.save(&changes, tip));
        if let Err(error) = saved {
            self.gave_up_on(name, &error);
            return Err(error);
        }
        *lock(&rows.tip) = Some(tip.clone());
        let mut overlay = lock(&rows.overlay);
        overlay
            .rows
            .retain(|_, changed| changed.commit > tip.commit && !planted(Bug::OverlayDroppedEarly));
        let left = overlay.rows.iter();
        let left = left.map(|(key, changed)| {
            key.len() + changed.value.as_ref().map_or(0, |value| value.len())
        });
        overlay.bytes = left.sum();
        Ok(())
    }

    /// Closes a table after an error, so that the next caller opens it again.
    fn gave_up_on(&self, name: &str, error: &JournalError) {
        *lock(&self.of(name).table) = None;
        if matches!(error, JournalError::File(error) if error.is_failed_sync()) {
            // The table may be readable from the page cache only, and a second sync would not write it.
            if let Err(error) = self.files.remove(&self.layout.row_table(name)) {
                tracing::warn!(%error, "a table whose sync failed could not be removed");
            }
        }
    }

    /// The values of rows. Blocks.
    pub(super) fn get(
        &self,
        name: &str,
        keys: &[&str],
    ) -> Result<Vec<Option<Box<str>>>, JournalError> {
        let Some(rows) = self.known(name) else {
            return Ok(vec![None; keys.len()]);
        };
        // The overlay is read before the table: a row is in the table before it leaves the overlay.
        let mut values: Vec<Option<Box<str>>> = Vec::with_capacity(keys.len());
        let mut missing = Vec::new();
        {
            let overlay = lock(&rows.overlay);
            for key in keys {
                match overlay.rows.get(*key) {
                    Some(changed) => values.push(changed.value.clone()),
                    None => {
                        missing.push((values.len(), *key));
                        values.push(None);
                    }
                }
            }
        }
        if missing.is_empty() || lock(&rows.tip).is_none() {
            return Ok(values);
        }
        let wanted: Vec<_> = missing.iter().map(|(_, key)| *key).collect();
        let found = self.read(name, |table| table.get(&wanted))?;
        for ((index, _), found) in missing.into_iter().zip(found) {
            if let Some(value) = values.get_mut(index) {
                *value = found;
            }
        }
        Ok(values)
    }

    /// The first rows of a range, `limit` at most, ordered by key. Blocks.
    pub(super) fn range(
        &self,
        name: &str,
        range: &RowRange,
        limit: usize,
    ) -> Result<Vec<Row>, JournalError> {
        let Some(rows) = self.known(name) else {
            return Ok(Vec::new());
        };
        let changed: BTreeMap<Box<str>, Option<Box<str>>> = {
            let overlay = lock(&rows.overlay);
            let bounds = (
                Bound::Included(range.from.clone()),
                Bound::Excluded(range.to.clone()),
            );
            let changed = overlay.rows.range(bounds);
            changed
                .map(|(key, changed)| (key.clone(), changed.value.clone()))
                .collect()
        };
        // Each change in the overlay may hide one row of the table.
        let mut found = BTreeMap::new();
        if lock(&rows.tip).is_some() {
            let most = limit.saturating_add(changed.len());
            let stored = self.read(name, |table| table.range(range, most))?;
            found.extend(stored.into_iter().map(|row| (row.key, row.value)));
        }
        for (key, value) in changed {
            match value {
                Some(value) => drop(found.insert(key, value)),
                None => drop(found.remove(&key)),
            }
        }
        let found = found.into_iter().take(limit);
        Ok(found.map(|(key, value)| Row { key, value }).collect())
    }

    fn read<T>(
        &self,
        name: &str,
        read: impl FnOnce(&Table) -> Result<T, JournalError>,
    ) -> Result<T, JournalError> {
        let done = self.opened(name).and_then(|table| read(&table));
        if let Err(error) = &done {
            self.gave_up_on(name, error);
        }
        done
    }

    fn opened(&self, name: &str) -> Result<Arc<Table>, JournalError> {
        let rows = self.of(name);
        let mut table = lock(&rows.table);
        if let Some(table) = &*table {
            return Ok(Arc::clone(table));
        }
        if self.is_closed.load(Ordering::Acquire) {
            // Opening writes to the table, and a different process may own the directory by now.
            let closed = std::io::Error::other("the store is closed");
            return Err(FileError::new("open", &self.path(name), closed).into());
        }
        let opened = Arc::new(Table::open(&self.files, &self.path(name))?);
        *table = Some(Arc::clone(&opened));
        Ok(opened)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.layout.row_table(name)
    }

    fn of(&self, name: &str) -> Arc<RowTable> {
        let mut tables = lock(&self.tables);
        if let Some(rows) = tables.get(name) {
            return Arc::clone(rows);
        }
        let rows = Arc::new(RowTable::default());
        tables.insert(name.to_owned(), Arc::clone(&rows));
        rows
    }

    fn known(&self, name: &str) -> Option<Arc<RowTable>> {
        lock(&self.tables).get(name).cloned()
    }

    /// The process managers that have rows.
    pub(super) fn names(&self) -> Vec<String> {
        lock(&self.tables).keys().cloned().collect()
    }

    /// Closes the tables, before the directory is released.
    pub(super) fn close(&self) {
        self.is_closed.store(true, Ordering::Release);
        for rows in lock(&self.tables).values() {
            *lock(&rows.table) = None;
        }
    }
}
