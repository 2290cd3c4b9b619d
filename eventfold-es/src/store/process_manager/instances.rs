//! The instances of a process manager, for an operator.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;

use super::{ParkedAt, ProcessManagerHandle, rows, text_of};
use crate::error::StoreError;
use crate::journal::{Row, RowRange};
use crate::process_manager::ProcessManager;
use rows::{InstanceRow, Status};

/// The status of an instance.
///
/// # JSON
///
/// ```json
/// "open"
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum InstanceStatus {
    /// It reacts.
    Open,
    /// It holds its events, in order, until it is released.
    Parked,
    /// It is complete; its key can be used again.
    Completed,
}

/// One instance of a process manager.
///
/// # JSON
///
/// ```json
/// {"key":"ord-1","generation":1,"status":"open","state":{"paid":false},
///  "deadlines":[{"name":"pay","due":"2023-11-14T22:13:20.250Z"}],"parked":null}
/// ```
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct InstanceInfo {
    /// Its stored key.
    pub key: String,
    /// Its number among the instances of its key, from 1.
    pub generation: u64,
    /// Its status.
    pub status: InstanceStatus,
    /// Its state as JSON; `None` when it is complete.
    #[serde(serialize_with = "crate::report_json::json")]
    pub state: Option<String>,
    /// Its deadlines, with their due times.
    #[serde(serialize_with = "crate::report_json::deadlines")]
    pub deadlines: Vec<(String, SystemTime)>,
    /// The place and the reason if it is parked.
    pub parked: Option<ParkedAt>,
}

impl<PM: ProcessManager> ProcessManagerHandle<PM> {
    /// The durable state of one instance; `None` if its key was never used.
    ///
    /// # Errors
    ///
    /// As [`status`](Self::status).
    ///
    /// # Cancel safety
    ///
    /// Cancel safe; it changes nothing.
    pub async fn instance(
        &self,
        key: impl fmt::Display,
    ) -> Result<Option<InstanceInfo>, StoreError> {
        let key = text_of(key)?;
        let row = self.of_instances(|table| self.row(table.key(&key)));
        row.await?.map(|row| self.info(&row)).transpose()
    }

    /// Up to `limit` instances after the key `after`, in the order of their keys, including completed instances.
    ///
    /// # Errors
    ///
    /// As [`status`](Self::status).
    ///
    /// # Cancel safety
    ///
    /// Cancel safe; it changes nothing.
    pub async fn instances(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<InstanceInfo>, StoreError> {
        let rows = self.of_instances(|table| {
            let mut range = RowRange::of_kind(table.kind());
            if let Some(after) = after {
                range = range.behind(&table.key(after));
            }
            self.rows(range, limit)
        });
        rows.await?.iter().map(|row| self.info(row)).collect()
    }

    fn info(&self, row: &Row) -> Result<InstanceInfo, StoreError> {
        let read: InstanceRow = self.read(row)?;
        let timers = read.timers.into_iter();
        Ok(InstanceInfo {
            key: row.key.get(1..).unwrap_or_default().to_owned(),
            generation: read.generation,
            status: match read.status {
                Status::Open => InstanceStatus::Open,
                Status::Parked | Status::Releasing => InstanceStatus::Parked,
                Status::Completed => InstanceStatus::Completed,
            },
            state: read.state.map(|state| state.get().to_owned()),
            deadlines: timers
                .map(|(name, due)| (name, UNIX_EPOCH + Duration::from_millis(due)))
                .collect(),
            parked: read.parked.map(|parked| ParkedAt {
                position: parked.position,
                reason: parked.reason,
            }),
        })
    }
}
