//! Run modes, and the progress and failures of process managers.

use std::any::{TypeId, type_name};
use std::sync::Arc;

use serde::Serialize;
use tokio::sync::oneshot;

use super::AggregateStore;
use crate::dead_letter::{DeadLetter, UnreactedLine};
use crate::error::StoreError;
use crate::process_manager::ProcessManager;
use crate::runtime::{Member, Reactions, Request, Stay, blocking, refuse_inside_reaction};

/// The number of times that a run fires deadlines that arm deadlines due at once.
const MAX_ROUNDS: usize = 16;

/// The time at which process managers react.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RunMode {
    /// At once. A command returns when every reaction to its events, and to theirs, is durable.
    #[default]
    Inline,
    /// At once, in the background; commands do not wait.
    Background,
    /// Only when [`AggregateStore::run_process_managers`] is called.
    OnDemand,
}

/// The work of process managers since the previous report.
///
/// # JSON
///
/// ```json
/// {"dispatched":3,"dead_lettered":1}
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ProcessManagerReport {
    /// The number of executed commands.
    pub dispatched: usize,
    /// The number of commands that became dead letters.
    pub dead_lettered: usize,
}

/// The event at which a process manager, an instance or a stream is parked, and the reason.
///
/// # JSON
///
/// ```json
/// {"position":7,"reason":"it panicked"}
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ParkedAt {
    /// The position of the event.
    pub position: u64,
    /// The reason.
    pub reason: String,
}

impl From<Stay> for ParkedAt {
    fn from(
        Stay {
            position, reason, ..
        }: Stay,
    ) -> Self {
        Self { position, reason }
    }
}

impl AggregateStore {
    /// Waits until all process managers have handled every event that was durable at the call, and the consequences. In
    /// [`RunMode::OnDemand`] only this call makes them react.
    ///
    /// Due occurrences of schedules are recorded. Due deadlines fire, including deadlines that fall due at once because of that. Due retries run. It does not wait
    /// for a parked or paused process manager; see [`health`](Self::health).
    ///
    /// # Errors
    ///
    /// [`StoreError::ReadOnly`] on a read-only file system, where they do not run; [`StoreError::Poisoned`] if writes
    /// are refused; [`StoreError::Closed`] if the store closes before they have reacted. [`StoreError::RuntimeGone`] if
    /// the runtime of the store has shut down, and [`StoreError::InsideReaction`] from inside a reaction. In a replicated store,
    /// [`StoreError::NotLeader`] on a node that is not the leader, and [`StoreError::Unavailable`] without a leader or if this node loses
    /// the leadership. Finished work stays done.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: reactions continue without the caller, and each happens once.
    pub async fn run_process_managers(&self) -> Result<ProcessManagerReport, StoreError> {
        refuse_inside_reaction()?;
        let hub = &self.shared.runtime.reactions;
        let journal = &self.shared.runtime.journal;
        if let Some(reason) = journal.read_only() {
            return Err(StoreError::ReadOnly { reason });
        }
        let leadership = &self.shared.runtime.leadership;
        let term = leadership.term().await?;
        for round in 0..MAX_ROUNDS {
            let fired = self.fire_due().await;
            if fired == 0 && round > 0 {
                break;
            }
            let position = *journal.durable().borrow();
            let mut wait = hub.wait();
            let position = wait.begin_until(position);
            hub.raise_demand(position);
            let outcome = wait.done().await;
            if let Some(reason) = journal.poisoned() {
                return Err(StoreError::Poisoned { reason });
            }
            if let Some(lost) = journal.standing().refusal(term) {
                return Err(lost.into());
            }
            if outcome == Reactions::Closed {
                return Err(hub.ended_because().unwrap_or(StoreError::Closed));
            }
        }
        let (dispatched, dead_lettered) = hub.take_counts();
        Ok(ProcessManagerReport {
            dispatched,
            dead_lettered,
        })
    }

    /// Records the due occurrences of schedules, and fires the due deadlines and retries of each process manager; returns their number.
    async fn fire_due(&self) -> usize {
        let recorded = self.record_due().await;
        let mut answers = Vec::with_capacity(self.shared.requests.len());
        for requests in &self.shared.requests {
            let (answer, fired) = oneshot::channel();
            if requests.send(Request::Fire(answer)).is_ok() {
                answers.push(fired);
            }
        }
        let mut total = recorded;
        for answer in answers {
            // An ended process manager fires nothing.
            total += answer.await.unwrap_or_default();
        }
        total
    }

    /// Records the due occurrences of schedules; returns their number.
    #[cfg(feature = "schedules")]
    async fn record_due(&self) -> usize {
        let Some(looks) = &self.shared.schedules.looks else {
            return 0;
        };
        let (answer, recorded) = oneshot::channel();
        match looks.send(answer) {
            Ok(()) => recorded.await.unwrap_or_default(),
            Err(_) => 0,
        }
    }

    #[cfg(not(feature = "schedules"))]
    async fn record_due(&self) -> usize {
        0
    }

    /// The position and the lag of a member. A member that runs on another node does not lag here.
    pub(super) fn progress_of(&self, member: &Member, durable: u64) -> (u64, u64) {
        match member.presence.is_elsewhere() {
            true => (self.durable_progress(member), 0),
            false => (member.processed, durable.saturating_sub(member.processed)),
        }
    }

    /// The dead letters of a process manager, oldest first: its rejected commands.
    ///
    /// They are in `process_managers/<NAME>/dead_letters.jsonl`, one JSON object per line. That file also has the dead letters
    /// of events and deadlines, which this call leaves out; see
    /// [`ProcessManagerHandle::dead_letters`](crate::ProcessManagerHandle::dead_letters).
    ///
    /// # Errors
    ///
    /// [`StoreError::NotRegistered`] if the store was opened without it; [`StoreError::File`] or [`StoreError::Damaged`] if
    /// the file cannot be read.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe; it changes nothing.
    pub async fn dead_letters<PM: ProcessManager>(&self) -> Result<Vec<DeadLetter>, StoreError> {
        let (_, name) = self.registered::<PM>()?;
        let journal = Arc::clone(&self.shared.runtime.journal);
        let what = || "reading dead letters".to_owned();
        blocking(what, move || {
            let letters = journal.dead_letters(name)?;
            let mut read = Vec::with_capacity(letters.iter().count());
            for (number, line) in letters.iter().enumerate() {
                match serde_json::from_str(line) {
                    Ok(letter) => read.push(letter),
                    Err(_) if serde_json::from_str::<UnreactedLine>(line).is_ok() => {}
                    Err(error) => {
                        let reason = format!("the line is no dead letter: {error}");
                        let damage = letters.damaged(number, reason);
                        return Err(StoreError::Damaged(Arc::new(damage)));
                    }
                }
            }
            Ok(read)
        })
        .await
    }

    pub(super) fn registered<PM: ProcessManager>(
        &self,
    ) -> Result<(usize, &'static str), StoreError> {
        let found = self.shared.process_managers.get(&TypeId::of::<PM>());
        found.copied().ok_or(StoreError::NotRegistered {
            type_name: type_name::<PM>(),
            method: "process_manager",
        })
    }
}
