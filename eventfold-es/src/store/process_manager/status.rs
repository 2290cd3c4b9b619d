//! The status of a process manager.

use serde::Serialize;

use super::{ParkedAt, ProcessManagerHandle, rows};
use crate::error::StoreError;
use crate::journal::RowRange;
use crate::process_manager::ProcessManager;
use rows::{InstanceRow, InstanceTable, Status};

/// The status of one process manager, with the numbers of its rows.
///
/// Take it to look into one process manager. [`health`](crate::AggregateStore::health) lists all of them for a probe, and reads no rows.
/// Figures in both have the same names.
///
/// # JSON
///
/// ```json
/// {"position":6,"lag":1,"is_paused":true,"parked_at":null,
///  "instances":{"open":1,"parked":2,"retrying":3,"completed":4},
///  "held_streams":5,"deadlines":6,"retrying":7,"dead_letters":8,"ignored":9,"skipped":10}
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ProcessManagerStatus {
    /// The position up to which all its reactions are durable.
    pub position: u64,
    /// The number of positions behind it; 0 on a node that is not the leader.
    pub lag: u64,
    /// Whether it is paused until it is [resumed](ProcessManagerHandle::resume).
    pub is_paused: bool,
    /// The event at which it has stopped as a whole, if any, until an operator or its policy retries it.
    /// [`ProcessManagerHealth::parked_at`](crate::store::ProcessManagerHealth::parked_at) leaves out an event that its policy retries.
    pub parked_at: Option<ParkedAt>,
    /// Its instances; all 0 without `key`.
    pub instances: InstanceCounts,
    /// The number of streams that are held at an unreadable event.
    pub held_streams: u64,
    /// The number of armed deadlines.
    pub deadlines: u64,
    /// The number of commands, instances and streams that wait for their next attempt; without `key`, the process manager
    /// itself.
    pub retrying: u64,
    /// The number of dead letters that can be redriven or discarded.
    pub dead_letters: u64,
    /// The number of events without an open instance since the store was opened.
    pub ignored: u64,
    /// The number of events, deadlines and commands that its policy has [skipped](crate::FailureAction::Skip) since the store
    /// was opened.
    pub skipped: u64,
}

/// The numbers of instances.
///
/// # JSON
///
/// ```json
/// {"open":1,"parked":2,"retrying":3,"completed":4}
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct InstanceCounts {
    /// Open instances.
    pub open: u64,
    /// Instances that hold their events until they are released.
    pub parked: u64,
    /// Instances that hold their events until a retry of an event or a deadline.
    pub retrying: u64,
    /// Completed instances.
    pub completed: u64,
}

impl<PM: ProcessManager> ProcessManagerHandle<PM> {
    /// Its status. It counts its rows, which takes about a second for a million.
    ///
    /// # Errors
    ///
    /// [`StoreError::File`] or [`StoreError::Damaged`] if rows cannot be read.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe; it changes nothing.
    pub async fn status(&self) -> Result<ProcessManagerStatus, StoreError> {
        let durable = *self.store.shared.runtime.journal.durable().borrow();
        let members = self.store.shared.runtime.reactions.members();
        let member = members
            .into_iter()
            .nth(self.member)
            .ok_or(StoreError::Closed)?;
        let instances = match PM::IS_KEYED {
            true => {
                self.of_instances(|table| self.count_instances(table))
                    .await?
            }
            false => InstanceCounts::default(),
        };
        let (position, lag) = self.store.progress_of(&member, durable);
        let retries_itself = u64::from(member.is_retried());
        Ok(ProcessManagerStatus {
            position,
            lag,
            is_paused: member.is_paused,
            parked_at: member.stays.map(ParkedAt::from),
            instances,
            held_streams: self.count(RowRange::of_kind(rows::STREAMS)).await?,
            deadlines: self.count(RowRange::of_kind(rows::TIMERS)).await?,
            retrying: self.count(RowRange::of_kind(rows::PENDING)).await? + retries_itself,
            dead_letters: self.count(RowRange::of_kind(rows::DEAD_LETTERS)).await?,
            ignored: member.ignored,
            skipped: member.skipped,
        })
    }

    async fn count_instances(&self, table: InstanceTable) -> Result<InstanceCounts, StoreError> {
        let mut instances = InstanceCounts::default();
        self.each(RowRange::of_kind(table.kind()), |row| {
            let read: InstanceRow = self.read(row)?;
            match read.status {
                Status::Open => instances.open += 1,
                Status::Parked | Status::Releasing
                    if read
                        .parked
                        .as_ref()
                        .is_some_and(|parked| parked.retry.is_some()) =>
                {
                    instances.retrying += 1;
                }
                Status::Parked | Status::Releasing => instances.parked += 1,
                Status::Completed => instances.completed += 1,
            }
            Ok(())
        })
        .await?;
        Ok(instances)
    }
}
