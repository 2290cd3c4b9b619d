//! The rows as the sink of their projection.

use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{fmt, iter};

use redb::Durability;

use super::change::RowTx;
use super::table::{PROGRESS, RowTable};
use super::{RowsError, table};
use crate::error::StoreError;
use crate::projection::{RowProjection, Sink, SinkFault};

/// The maximum time between two durable transactions. After a power loss, the events of this time are projected again.
const DURABLE_EVERY: Duration = Duration::from_secs(1);

/// The rows of a projection in the directory of its store.
pub struct RowSink<P> {
    table: Arc<RowTable<P>>,
}

impl<P> RowSink<P> {
    pub(crate) fn new(table: Arc<RowTable<P>>) -> Self {
        Self { table }
    }
}

impl<P> fmt::Debug for RowSink<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RowSink").finish_non_exhaustive()
    }
}

/// The one writer of the rows.
pub struct RowConnection<P> {
    table: Arc<RowTable<P>>,
    /// The time of the last durable transaction.
    durable: Option<Instant>,
    /// Whether later transactions are not durable yet.
    is_behind: bool,
}

impl<P> fmt::Debug for RowConnection<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RowConnection").finish_non_exhaustive()
    }
}

impl<P: RowProjection> Sink for RowSink<P> {
    type Connection = RowConnection<P>;
    type Tx<'t> = RowTx<'t, P>;
    type Error = RowsError;
    const IS_IN_STORE: bool = true;

    /// The key and the indexes, as `key String` and `index city: String` in the order of their names.
    fn layout() -> Vec<String> {
        let types = P::INDEX_TYPES.iter().copied().chain(iter::repeat(""));
        let indexes = P::INDEXES.iter().zip(types);
        let mut layout: Vec<String> = indexes
            .map(|(name, of)| format!("index {name}: {of}"))
            .collect();
        layout.sort_unstable();
        layout.push(format!("key {}", P::KEY_TYPE));
        layout
    }

    fn connect(&self) -> Result<RowConnection<P>, RowsError> {
        Ok(RowConnection {
            table: Arc::clone(&self.table),
            durable: None,
            is_behind: false,
        })
    }

    fn transact(
        connection: &mut RowConnection<P>,
        projection: &str,
        work: &mut dyn FnMut(&mut RowTx<'_, P>, Option<&str>) -> Option<String>,
    ) -> Result<(), RowsError> {
        let is_due = connection
            .durable
            .is_none_or(|at| at.elapsed() >= DURABLE_EVERY);
        let has_changed = connection.table.with(|file| {
            let begun = file.run(|database| {
                let mut transaction = database.begin_write()?;
                if is_due {
                    // With quick repair, opening after a crash does not read the whole table.
                    transaction.set_quick_repair(true);
                } else {
                    transaction.set_durability(Durability::None)?;
                }
                let progress = table::unless_missing(transaction.open_table(PROGRESS))?;
                let stored = match &progress {
                    Some(progress) => {
                        let stored = redb::ReadableTable::get(progress, projection)?;
                        stored.map(|stored| stored.value().to_owned())
                    }
                    None => None,
                };
                drop(progress);
                Ok::<_, redb::Error>((transaction, stored))
            });
            let (transaction, progress) = begun.map_err(StoreError::from)?;
            let mut rows = RowTx::new(file, &transaction);
            let next = work(&mut rows, progress.as_deref());
            if next.is_some() {
                rows.flush()?;
            }
            drop(rows);
            let ended = file.run(|_| {
                let Some(next) = &next else {
                    return Ok::<_, redb::Error>(transaction.abort()?);
                };
                transaction
                    .open_table(PROGRESS)?
                    .insert(projection, &**next)?;
                Ok(transaction.commit()?)
            });
            ended.map_err(StoreError::from)?;
            Ok(next.is_some())
        })?;
        if has_changed {
            connection.is_behind = !is_due;
            if is_due {
                connection.durable = Some(Instant::now());
            }
        }
        Ok(())
    }

    fn mark(tx: &mut RowTx<'_, P>) -> Result<bool, RowsError> {
        tx.mark()?;
        Ok(true)
    }

    fn undo(tx: &mut RowTx<'_, P>) -> Result<bool, RowsError> {
        Ok(tx.undo())
    }

    fn fault(error: &RowsError) -> SinkFault {
        match error {
            RowsError::Undecodable { .. } | RowsError::Unstorable { .. } | RowsError::Key(_) => {
                SinkFault::Event
            }
            RowsError::Store(StoreError::Panicked { .. }) => SinkFault::Event,
            RowsError::Store(_) => SinkFault::Database,
        }
    }
}

impl<P> Drop for RowConnection<P> {
    fn drop(&mut self) {
        if !self.is_behind {
            return;
        }
        let saved = self.table.with(|file| {
            let saved = file.run(|database| {
                let mut transaction = database.begin_write()?;
                transaction.set_quick_repair(true);
                Ok::<_, redb::Error>(transaction.commit()?)
            });
            Ok(saved.map_err(StoreError::from)?)
        });
        if let Err(error) = saved {
            tracing::warn!(%error, "the last rows of a projection were not saved; they are made again");
        }
    }
}
