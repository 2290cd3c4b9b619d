//! The failure policy for commands that their targets did not execute.

use std::sync::Arc;
use std::time::Duration;

use super::super::guarded::{Kept, guard};
use super::super::inside_reaction::inside_reaction;
use super::super::origin::command_id;
use super::super::reactions::Reactions;
use super::super::staging::Letter;
use super::ProcessManagerRunner;
use super::draft::{Draft, Planned};
use super::hand_over::Attempt;
use super::rows::{AttemptRow, CommandRow, HeldRow, dead_letter_key, pending_key, put};
use crate::clock::seconds_since_1970;
use crate::dead_letter::{DeadLetterLine, readable};
use crate::envelope::CommandEnvelope;
use crate::process_manager::{Failure, FailureAction, FailureCause, ProcessManager};

impl<PM: ProcessManager> ProcessManagerRunner<PM> {
    /// Applies the policy to a failed command. Returns its compensations.
    pub(super) fn after_failure(
        &mut self,
        draft: &Draft,
        planned: &Planned,
        cause: &FailureCause,
        index: usize,
        attempt: &mut Attempt,
    ) -> Vec<Planned> {
        let envelope = match &planned.letter {
            Letter::Dead(dead) => dead.envelope.clone(),
            Letter::Staged(staged) => staged.erase(),
        };
        let kept = readable(&envelope);
        let is_kept = kept == envelope;
        let mut row = planned
            .before
            .as_deref()
            .cloned()
            .unwrap_or_else(|| CommandRow {
                envelope: kept,
                command_id: planned.command_id.clone(),
                key: planned.key.to_string(),
                generation: planned.generation,
                cause: draft.cause.clone(),
                source: draft.source.event(),
                attempts: Vec::new(),
                backoff: None,
                is_compensation: planned.is_compensation,
                index,
                is_dead: false,
            });
        row.attempts.push(AttemptRow::new(cause));
        let count = u32::try_from(row.attempts.len()).unwrap_or(u32::MAX);
        let mut failure =
            Failure::new(cause.clone(), &row.key, &row.source).of_command(&envelope, count);
        if row.is_compensation {
            failure = failure.of_compensation();
        }
        let action = match draft.is_asked_for {
            true => FailureAction::DeadLetter,
            false => match self.policy(&planned.key, &failure) {
                // The JSON nests too deeply, so only its text is left, and the command cannot be executed again.
                FailureAction::Retry(_) | FailureAction::Park if !is_kept => {
                    FailureAction::DeadLetter
                }
                action => action,
            },
        };
        tracing::warn!(process_manager = PM::NAME, target = %envelope.aggregate_type, instance = %envelope.instance_id, error = %cause, attempt = count, ?action, "a command was not executed");
        let (action, backoff) = match action {
            FailureAction::Retry(backoff) => match backoff.delay(count, &row.command_id) {
                Some(delay) => {
                    row.backoff = Some(backoff);
                    let due = self.now_ms() + millis(delay);
                    let key = pending_key(due, &row.command_id);
                    attempt.rows.push(put(key, &row));
                    attempt.set_back(Reactions::Retrying);
                    return Vec::new();
                }
                None => (backoff.exhausted().action(), Some(backoff)),
            },
            action => (action, None),
        };
        row.backoff = backoff;
        match action {
            FailureAction::Skip => attempt.skipped += 1,
            FailureAction::Compensate(envelopes) => {
                let (key, generation) = (&planned.key, planned.generation);
                let again = |(number, envelope)| Planned {
                    letter: self.route(envelope),
                    command_id: command_id(
                        PM::NAME,
                        &format!("{}/{}", planned.command_id, row.attempts.len()),
                        generation,
                        draft.position,
                        number,
                    ),
                    key: Arc::clone(key),
                    generation,
                    is_compensation: true,
                    before: None,
                };
                let envelopes: Vec<_> = Kept::each(envelopes);
                return envelopes.into_iter().enumerate().map(again).collect();
            }
            // A command without a sending instance has no instance to park.
            FailureAction::Park if PM::IS_KEYED && !planned.key.is_empty() => {
                attempt.set_back(Reactions::Parked);
                let key = draft.place_of(&row, planned.before.is_some(), index);
                let reason = format!("a command was not executed: {cause}");
                attempt
                    .rows
                    .push(put(key, &HeldRow::Command(Box::new(row))));
                attempt.parks.push((Arc::clone(&planned.key), reason));
            }
            FailureAction::Park if !PM::IS_KEYED => {
                let reason = format!("a command was not executed: {cause}");
                attempt.stop = Some((reason, Reactions::Parked));
            }
            FailureAction::Stop => {
                let reason = format!("a command was not executed: {cause}");
                attempt.stop = Some((reason, Reactions::Stopped));
            }
            _ => {
                let key = dead_letter_key(row.source.position, row.index, &row.command_id);
                if !row.is_dead {
                    attempt.dead_letters.push(line(&envelope, cause));
                }
                row.is_dead = true;
                row.backoff = None;
                attempt.rows.push(put(key, &row));
            }
        }
        Vec::new()
    }

    /// The action that the process manager chooses for a failure.
    pub(super) fn policy(&mut self, key: &str, failure: &Failure<'_>) -> FailureAction<PM> {
        let found = self.instances.get(key);
        let state = found.and_then(|found| found.state.as_deref());
        let asked = guard(
            || format!("the failure policy of `{}`", PM::NAME),
            || {
                inside_reaction(PM::NAME, || match state {
                    Some(state) => state.on_failure(failure),
                    None => Kept::new(PM::default()).on_failure(failure),
                })
            },
        );
        asked.unwrap_or_else(|error| {
            tracing::error!(process_manager = PM::NAME, %error, "a failure policy failed; the default policy applies");
            FailureAction::default_for(failure)
        })
    }
}

fn line(envelope: &CommandEnvelope, cause: &FailureCause) -> Box<str> {
    let letter = DeadLetterLine {
        envelope,
        error: &cause.to_string(),
        ts: seconds_since_1970(),
    };
    letter.to_line()
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX / 4)
}
