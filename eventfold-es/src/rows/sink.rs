//! The rows as the sink of their projection.

use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{fmt, iter};

use redb::Durability;

use super::RowsError;
use super::change::RowTx;
use super::table::{CURRENT, NEW, RowTable, Tables};
use crate::error::StoreError;
use crate::projection::{RebuildStep, RowProjection, Sink, SinkFault};

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
        connection.transact(projection, &CURRENT, &mut |tx, stored| {
            work(tx, stored).map(RebuildStep::Save)
        })
    }

    fn rebuild(
        connection: &mut RowConnection<P>,
        projection: &str,
        work: &mut dyn FnMut(&mut RowTx<'_, P>, Option<&str>) -> Option<RebuildStep>,
    ) -> Result<bool, RowsError> {
        connection.transact(projection, &NEW, work)?;
        Ok(true)
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

/// The work in a transaction.
type Work<'a, P> = dyn FnMut(&mut RowTx<'_, P>, Option<&str>) -> Option<RebuildStep> + 'a;

impl<P: RowProjection> RowConnection<P> {
    /// One transaction that changes a state of the rows.
    fn transact(
        &mut self,
        projection: &str,
        of: &'static Tables,
        work: &mut Work<'_, P>,
    ) -> Result<(), RowsError> {
        let is_due = self.durable.is_none_or(|at| at.elapsed() >= DURABLE_EVERY);
        let has_changed = self.table.with(|file| {
            let begun = file.run(|database| {
                let mut transaction = database.begin_write()?;
                if is_due {
                    // With quick repair, opening after a crash does not read the whole table.
                    transaction.set_quick_repair(true);
                } else {
                    transaction.set_durability(Durability::None)?;
                }
                let progress = transaction.open_table(of.progress)?;
                let stored = redb::ReadableTable::get(&progress, projection)?;
                let stored = stored.map(|stored| stored.value().to_owned());
                drop(progress);
                Ok::<_, redb::Error>((transaction, stored))
            });
            let (transaction, progress) = begun.map_err(StoreError::from)?;
            let mut rows = RowTx::new(file, &transaction, of);
            let step = work(&mut rows, progress.as_deref());
            if matches!(step, Some(RebuildStep::Save(_) | RebuildStep::Exchange(_))) {
                rows.flush()?;
            }
            drop(rows);
            let ended = file.run(|_| {
                match &step {
                    None => return Ok::<_, redb::Error>(transaction.abort()?),
                    Some(RebuildStep::Save(next)) => {
                        transaction
                            .open_table(of.progress)?
                            .insert(projection, &**next)?;
                    }
                    Some(RebuildStep::Exchange(next)) => {
                        transaction
                            .open_table(of.progress)?
                            .insert(projection, &**next)?;
                        CURRENT.replace(of, &transaction)?;
                    }
                    Some(RebuildStep::Discard) => of.remove(&transaction)?,
                }
                Ok(transaction.commit()?)
            });
            ended.map_err(StoreError::from)?;
            Ok(step.is_some())
        })?;
        if has_changed {
            self.is_behind = !is_due;
            if is_due {
                self.durable = Some(Instant::now());
            }
        }
        Ok(())
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
