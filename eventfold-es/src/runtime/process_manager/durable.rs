//! Reads the durable rows of a process manager.

use std::sync::Arc;

use super::super::reactions::Reactions;
use super::rows::{self, ControlRow, ParkedRow};
use super::{Halt, ProcessManagerRunner};
use crate::journal::{JournalError, Row, RowRange};
use crate::process_manager::ProcessManager;

impl<PM: ProcessManager> ProcessManagerRunner<PM> {
    /// Loads the durable rows, unless they are loaded.
    pub(super) async fn load(&mut self) -> Result<(), Halt> {
        match self.is_loaded {
            true => Ok(()),
            false => self.load_rows().await,
        }
    }

    /// Loads the decisions of operators, the held streams and the due work.
    pub(super) async fn load_rows(&mut self) -> Result<(), Halt> {
        let control = self.read_rows(vec![rows::CONTROL.into()]).await?;
        let control = control.into_iter().flatten().next();
        let control = control.map(|row| rows::read::<ControlRow>(rows::CONTROL, &row));
        let control = control.transpose().map_err(|reason| Halt::Parked {
            position: self.position + 1,
            reason,
        })?;
        let control = control.unwrap_or_default();
        self.is_paused = control.is_paused;
        self.stays_at = control.stays_at;
        self.owes_releases = true;
        self.instances.move_to(control.instances);
        self.announce_pause();
        let mut streams = Vec::new();
        let range = RowRange::of_kind(rows::STREAMS);
        self.each_row(range, |row| {
            let parked = rows::read::<ParkedRow>(&row.key, &row.value);
            let is_retried = parked.is_ok_and(|parked| parked.retry.is_some());
            let outcome = match is_retried {
                true => Reactions::Retrying,
                false => Reactions::Parked,
            };
            streams.extend(rows::stream_of(&row.key).map(|stream| (stream, outcome)));
        })
        .await?;
        self.held_streams = streams.into_iter().collect();
        if PM::IS_KEYED {
            self.sweep_spare().await?;
        } else {
            self.load_unkeyed().await?;
        }
        self.read_agendas().await?;
        self.is_loaded = true;
        Ok(())
    }

    pub(super) async fn load_unkeyed(&mut self) -> Result<(), Halt> {
        let row = self.read_rows(vec![self.instances.table().key("")]).await?;
        let row = row.into_iter().flatten().next();
        if let (Some(row), Some(instance)) = (row, self.instances.get("")) {
            match rows::read::<rows::InstanceRow>("i", &row) {
                Ok(row) => {
                    instance.generation = row.generation;
                    instance.timers = row.timers;
                    instance.parked = row.parked;
                }
                Err(reason) => {
                    let position = self.position + 1;
                    return Err(Halt::Parked { position, reason });
                }
            }
        }
        Ok(())
    }

    pub(super) async fn read_rows(
        &mut self,
        keys: Vec<Box<str>>,
    ) -> Result<Vec<Option<Box<str>>>, Halt> {
        let journal = Arc::clone(&self.context.runtime.journal);
        let read = move || {
            let keys: Vec<_> = keys.iter().map(|key| &**key).collect();
            journal.rows(PM::NAME, &keys)
        };
        let read = tokio::task::spawn_blocking(read).await;
        self.read(read.map_err(|_| Halt::Ended)?)
    }

    pub(super) async fn read_range(
        &mut self,
        range: RowRange,
        limit: usize,
    ) -> Result<Vec<Row>, Halt> {
        let journal = Arc::clone(&self.context.runtime.journal);
        let read = move || journal.row_range(PM::NAME, &range, limit);
        let read = tokio::task::spawn_blocking(read).await;
        self.read(read.map_err(|_| Halt::Ended)?)
    }

    /// Calls `show` with each durable row of a range.
    pub(super) async fn each_row(
        &mut self,
        mut range: RowRange,
        mut show: impl FnMut(&Row),
    ) -> Result<(), Halt> {
        const ROWS: usize = 1024;
        loop {
            let rows = self.read_range(range.clone(), ROWS).await?;
            rows.iter().for_each(&mut show);
            match rows.last() {
                Some(last) if rows.len() == ROWS => range = range.behind(&last.key),
                _ => return Ok(()),
            }
        }
    }

    pub(super) fn read<T>(&self, read: Result<T, JournalError>) -> Result<T, Halt> {
        match read {
            Ok(read) => Ok(read),
            Err(JournalError::Damage(damage)) => Err(Halt::Parked {
                position: self.position + 1,
                reason: damage.to_string(),
            }),
            Err(JournalError::File(error)) => {
                tracing::warn!(process_manager = PM::NAME, %error, "a read of the journal failed and will be retried");
                Err(Halt::Retry)
            }
        }
    }
}
