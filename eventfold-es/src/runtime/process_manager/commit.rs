//! One commit: the effects of a reaction, and the pending row changes.

use std::sync::Arc;

use serde_json::value::RawValue;

use super::super::locked_targets::forget_evicted;
use super::super::origin::{Cause, path_to};
use super::super::reactions::Reactions;
use super::super::staging::{Letter, find_targets, look_up};
use super::draft::{Draft, Planned, Report, Source};
use super::hand_over::HandOver;
use super::{Halt, MAX_IN_FLIGHT, ProcessManagerRunner};
use crate::process_manager::ProcessManager;

impl<PM: ProcessManager> ProcessManagerRunner<PM> {
    /// Without `key`: encodes the state and returns `true`.
    pub(super) fn encode_unkeyed(&mut self, position: u64) -> Result<bool, Halt> {
        if !PM::IS_KEYED
            && let Some(instance) = self.instances.get("")
        {
            let encoded = instance.encode();
            encoded.map_err(|cause| Halt::Parked {
                position,
                reason: cause.reason(),
            })?;
            return Ok(true);
        }
        Ok(false)
    }

    /// Commits a draft and the pending row changes.
    pub(super) async fn commit(&mut self, mut draft: Draft) -> Result<Report, Halt> {
        let position = draft.position;
        self.encode_unkeyed(position)?;
        if draft.cause.depth > self.context.max_depth && !draft.planned.is_empty() {
            let reason = self.too_long(draft.source_position()).await?;
            for planned in &mut draft.planned {
                planned.give_up(&reason);
            }
        }
        let mut extra = Vec::new();
        let report = loop {
            let letters = draft.planned.iter().map(Planned::letter);
            let lookups = look_up(letters.chain(&extra).filter_map(Letter::wanted));
            let Ok(targets) = find_targets(lookups).await else {
                return Err(Halt::Ended);
            };
            let room = Arc::clone(self.context.runtime.journal.room());
            let Ok(room) = room.acquire_owned().await else {
                return Err(Halt::Ended);
            };
            match self.hand_over(&draft, &targets, room) {
                HandOver::Done(report) => break report,
                HandOver::Again => {
                    forget_evicted(targets);
                    self.settle()?;
                }
                HandOver::More(letters) => extra.extend(letters),
                HandOver::Stop(reason, Reactions::Stopped) => {
                    return Err(Halt::Stopped { position, reason });
                }
                HandOver::Stop(reason, _) => {
                    return Err(Halt::Parked { position, reason });
                }
            }
        };
        while self.in_flight.len() > MAX_IN_FLIGHT {
            if let Some(first) = self.in_flight.front() {
                let outcome = Arc::clone(&first.outcome);
                drop(outcome.wait().await);
            }
            self.settle()?;
        }
        Ok(report)
    }

    /// Commits the pending row changes, if there are any.
    pub(super) async fn flush(&mut self) -> Result<(), Halt> {
        match self.dirty.is_empty() {
            true => Ok(()),
            false => self.commit_progress().await,
        }
    }

    /// Commits the current position and the pending row changes.
    pub(super) async fn commit_progress(&mut self) -> Result<(), Halt> {
        let cause = Cause::none();
        let draft = Draft::new(self.position, self.position, cause, Source::Nothing);
        self.commit(draft).await.map(drop)
    }

    /// The reason why the commands that this event caused are not executed.
    pub(super) async fn too_long(&self, position: u64) -> Result<String, Halt> {
        let journal = Arc::clone(&self.context.runtime.journal);
        let path = tokio::task::spawn_blocking(move || path_to(&*journal, position, PM::NAME));
        let path = match path.await.map_err(|_| Halt::Ended)? {
            Ok(path) => path,
            Err(error) => format!("a path that cannot be read: {error}"),
        };
        let max = self.context.max_depth;
        Ok(format!(
            "the chain of reactions is longer than {max}: {path}. Let one of these process managers stop answering, or raise \
             `max_reaction_depth`"
        ))
    }

    /// The state that is stored with the progress.
    pub(super) fn progress_state(&mut self) -> Box<RawValue> {
        let encoded = match PM::IS_KEYED {
            true => None,
            false => self
                .instances
                .get("")
                .and_then(|found| found.encoded.clone()),
        };
        encoded.unwrap_or_else(|| RawValue::NULL.to_owned())
    }
}
