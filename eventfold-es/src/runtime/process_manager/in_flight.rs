//! The reactions in flight: they become durable, or all of them are repeated.

use std::sync::Arc;

use serde_json::value::RawValue;

use super::super::saved_state::encode_state;
use super::agenda::Agenda;
use super::{Dirty, Halt, ProcessManagerRunner};
use crate::journal::{Cursor, Outcome, Progress};
use crate::process_manager::ProcessManager;
use crate::sabotage::{Bug, planted};

pub(super) struct InFlight {
    pub(super) outcome: Arc<Outcome>,
    pub(super) progress: Progress,
    pub(super) number: u64,
}

impl<PM: ProcessManager> ProcessManagerRunner<PM> {
    /// Whether a reaction in flight failed to become durable.
    pub(super) fn has_failed(&self) -> bool {
        // Each commit depends on the previous one. So a failure reaches the last commit, if not the first.
        let ends = self
            .in_flight
            .front()
            .into_iter()
            .chain(self.in_flight.back());
        ends.into_iter()
            .any(|reaction| matches!(reaction.outcome.get(), Some(Err(_))))
    }

    pub(super) fn take_durable(&mut self) {
        while let Some(first) = self
            .in_flight
            .pop_front_if(|first| first.outcome.is_durable())
        {
            self.committed = first.progress;
            self.durable_commit = first.number;
        }
    }

    /// Records the reactions that became durable. Fails if a reaction did not.
    pub(super) fn settle(&mut self) -> Result<(), Halt> {
        self.take_durable();
        if self.context.runtime.journal.poisoned().is_some() {
            return Err(Halt::Ended);
        }
        if self.has_failed() {
            return Err(Halt::Retry);
        }
        let in_flight = self.in_flight.front().map(|first| first.progress.position);
        let waiting = [in_flight, self.dirty.first].into_iter().flatten().min();
        let processed = match waiting {
            Some(first) => first.saturating_sub(1).min(self.position),
            None => self.position,
        };
        self.context
            .runtime
            .reactions
            .processed(self.context.member, processed);
        Ok(())
    }

    /// Waits until no reaction is in flight.
    pub(super) async fn finish_in_flight(&mut self) -> Result<(), Halt> {
        while let Some(first) = self.in_flight.front() {
            let outcome = Arc::clone(&first.outcome);
            drop(outcome.wait().await);
            self.settle()?;
        }
        Ok(())
    }

    /// Goes back to the last durable progress, from which the failed reactions are retried.
    pub(super) fn go_back(&mut self) -> Result<(), Halt> {
        self.take_durable();
        self.in_flight.clear();
        self.dirty = Dirty::default();
        self.is_loaded = false;
        self.due = None;
        self.timers = Agenda::unread();
        self.pending = Agenda::unread();
        if !planted(Bug::ProgressNotRestored) {
            self.instances.clear();
            self.restore_state().map_err(|error| Halt::Parked {
                position: self.committed.position + 1,
                reason: format!("the state does not read back: {error}"),
            })?;
        }
        self.position = self.committed.position;
        self.cursor = Cursor::after(self.position);
        Ok(())
    }

    /// Notes progress without a commit. The next checkpoint saves it.
    pub(super) fn note(&mut self) {
        if self.unreadable.is_some() {
            return;
        }
        let state = match self
            .instances
            .get("")
            .and_then(|found| found.state.as_ref())
        {
            Some(state) if !PM::IS_KEYED => encode_state::<PM>(state),
            _ => Ok(RawValue::NULL.to_owned()),
        };
        if let Ok(state) = state {
            let progress = Progress {
                position: self.position,
                state,
            };
            self.noted = self.position;
            self.committed = progress.clone();
            self.context
                .runtime
                .journal
                .note_progress(&self.name, progress);
        }
    }
}
