//! The judge of failures. One policy decides on commands, on events and deadlines, and on events whose instance is not known.
//!
//! | action | a command | an event or a deadline | an event without a known instance |
//! |---|---|---|---|
//! | retry | a row until its time; nothing waits for it | its instance holds it | its stream holds it |
//! | dead letter | a row, and a line of the log | the same; its instance continues | the same; its stream continues |
//! | skip | nothing remains | a row says so | a row says so |
//! | compensate | other commands, in the same commit | other commands; the event counts as skipped | the same |
//! | park | its instance holds it | its instance holds it | its stream holds it |
//! | stop | the process manager halts | the same | the same |
//!
//! Without `key`, each hold halts the process manager as a whole.

use std::sync::Arc;

use super::super::guarded::guard;
use super::super::inside_reaction::inside_reaction;
use super::super::origin::command_id;
use super::super::reactions::Reactions;
use super::Halt;
use super::definition::{AnyAction, Sent};
use super::hold::Scope;
use super::machine::{Effect, Machine};
use super::plan::{Draft, Planned, Post};
use super::reaction::Delivery;
use super::rows::{
    self, AttemptRow, BEHIND_EVENT, CommandRow, HeldRow, HoldRow, PassedRow, ReactionRow, RetryRow,
    dead_letter_key, held_key, pending_key, put,
};
use crate::dead_letter::{DeadLetterLine, UnreactedLine, readable};
use crate::envelope::CommandEnvelope;
use crate::event::RecordedEvent;
use crate::journal::{RowChange, StreamId};
use crate::process_manager::{Exhausted, Failure, FailureCause, SourceEvent};

/// The maximum number of failed attempts of a reaction to keep: the first one, and the most recent ones.
const ATTEMPTS: usize = 16;

/// The effects of failed commands, before their commit is submitted.
#[derive(Default)]
pub(crate) struct Attempt {
    pub(super) failed: usize,
    pub(super) dead_letters: Vec<Box<str>>,
    pub(super) rows: Vec<RowChange>,
    pub(super) parks: Vec<(Arc<str>, String)>,
    /// The number of commands that the policy skipped.
    pub(super) skipped: u64,
    /// The reason why the process manager halts, and the outcome for waiting callers.
    pub(super) stop: Option<(String, Reactions)>,
    /// The outcome of unfinished commands for waiting callers.
    pub(super) setback: Option<Reactions>,
}

impl Attempt {
    /// Records an unfinished command, and its outcome for waiting callers.
    fn set_back(&mut self, outcome: Reactions) {
        let before = self.setback.unwrap_or(Reactions::Done);
        self.setback = Some(before.and(outcome));
    }
}

impl From<Exhausted> for AnyAction {
    fn from(exhausted: Exhausted) -> Self {
        match exhausted {
            Exhausted::DeadLetter => Self::DeadLetter,
            Exhausted::Skip => Self::Skip,
            Exhausted::Park => Self::Park,
            Exhausted::Stop => Self::Stop,
        }
    }
}

/// The judgment on a failure.
struct Verdict {
    /// Never a retry without `due`.
    action: AnyAction,
    /// The time of the next attempt, in milliseconds since 1970.
    due: Option<u64>,
}

impl<P: Post> Machine<P> {
    /// Judges a failure. `what` identifies the failed work over all of its attempts.
    fn judge(&mut self, failure: &Failure<'_>, what: &str) -> Verdict {
        let action = match &failure.cause {
            // The policy is user code too, and it may abort the process again.
            FailureCause::Aborted { .. } => AnyAction::Park,
            _ => self.policy(failure),
        };
        match failure.envelope {
            Some(to) => {
                tracing::warn!(process_manager = self.definition.name, target = %to.aggregate_type, instance = %to.instance_id, error = %failure.cause, attempt = failure.attempt, ?action, "a command was not executed");
            }
            None => {
                tracing::warn!(process_manager = self.definition.name, instance = failure.key, position = failure.source.position, cause = %failure.cause, attempt = failure.attempt, ?action, "a reaction failed");
            }
        }
        let verdict = self.verdict(action, failure, what);
        self.post.judged(failure, &verdict.action);
        verdict
    }

    /// The time of the next attempt, if there is one.
    fn verdict(&self, action: AnyAction, failure: &Failure<'_>, what: &str) -> Verdict {
        let AnyAction::Retry(backoff) = &action else {
            return Verdict { action, due: None };
        };
        match backoff.delay(failure.attempt, what) {
            Some(delay) => {
                let delay = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX / 4);
                let due = Some(self.now.retries_ms.saturating_add(delay));
                Verdict { action, due }
            }
            None => Verdict {
                action: backoff.exhausted().into(),
                due: None,
            },
        }
    }

    /// The action that the process manager chooses for a failure.
    fn policy(&mut self, failure: &Failure<'_>) -> AnyAction {
        let definition = self.definition;
        let found = self.instances.get(failure.key);
        let state = found.and_then(|found| found.state.as_ref());
        let asked = guard(
            || format!("the failure policy of `{}`", definition.name),
            || {
                inside_reaction(definition.name, || {
                    match (self.post.on_failure(failure), state) {
                        (Some(action), _) => action,
                        (None, Some(state)) => state.on_failure(failure),
                        (None, None) => (definition.default)().on_failure(failure),
                    }
                })
            },
        );
        asked.unwrap_or_else(|error| {
            tracing::error!(process_manager = definition.name, %error, "a failure policy failed; the default policy applies");
            (definition.default_action)(failure)
        })
    }

    fn letters(&self, envelopes: Vec<Sent>) -> Vec<P::Letter> {
        let envelopes = envelopes.into_iter();
        envelopes
            .map(|envelope| self.post.typed(envelope))
            .collect()
    }

    pub(super) fn attempt(&self, cause: &FailureCause) -> AttemptRow {
        AttemptRow::new(cause, self.now.noted)
    }

    /// Applies the policy to a failed command. Returns its compensations.
    pub(super) fn command_failed(
        &mut self,
        draft: &Draft<P::Letter>,
        planned: &Planned,
        envelope: &CommandEnvelope,
        cause: &FailureCause,
        index: usize,
        attempt: &mut Attempt,
    ) -> Vec<(P::Letter, Planned)> {
        attempt.failed += 1;
        let kept = readable(envelope);
        let is_kept = kept == *envelope;
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
        row.attempts.push(self.attempt(cause));
        let count = u32::try_from(row.attempts.len()).unwrap_or(u32::MAX);
        let source = row.source.clone();
        let mut failure =
            Failure::new(cause.clone(), &planned.key, &source).of_command(envelope, count);
        failure.is_compensation = row.is_compensation;
        let verdict = match draft.is_asked_for {
            true => Verdict {
                action: AnyAction::DeadLetter,
                due: None,
            },
            false => self.judge(&failure, &row.command_id),
        };
        let reason = || format!("a command was not executed: {cause}");
        row.backoff = None;
        match verdict.action {
            // The JSON nests too deeply, so only its text is left, and the command cannot be executed again.
            AnyAction::Retry(_) | AnyAction::Park if !is_kept => {
                self.bury_command(row, envelope, cause, attempt);
            }
            AnyAction::Retry(backoff) => {
                row.backoff = Some(backoff);
                let due = verdict.due.unwrap_or_default();
                let key = pending_key(due, &row.command_id);
                attempt.rows.push(put(key, &row));
                attempt.set_back(Reactions::Retrying);
            }
            AnyAction::Skip => attempt.skipped += 1,
            AnyAction::Compensate(envelopes) => {
                let name = format!("{}/{}", planned.command_id, row.attempts.len());
                let generation = planned.generation;
                let also = |(number, letter)| {
                    let command_id = command_id(
                        self.definition.name,
                        &name,
                        generation,
                        draft.position,
                        number,
                    );
                    let planned = Planned {
                        command_id,
                        key: Arc::clone(&planned.key),
                        generation,
                        is_compensation: true,
                        before: None,
                    };
                    (letter, planned)
                };
                return self
                    .letters(envelopes)
                    .into_iter()
                    .enumerate()
                    .map(also)
                    .collect();
            }
            // A command without a sending instance has no instance to park.
            AnyAction::Park if self.definition.is_keyed && !planned.key.is_empty() => {
                attempt.set_back(Reactions::Parked);
                let key = draft.place_of(&row, planned.before.is_some(), index);
                let held = HeldRow::Command(Box::new(row));
                attempt.rows.push(put(key, &held));
                attempt.parks.push((Arc::clone(&planned.key), reason()));
            }
            AnyAction::Park if !self.definition.is_keyed => {
                attempt.stop = Some((reason(), Reactions::Parked));
            }
            AnyAction::Stop => attempt.stop = Some((reason(), Reactions::Stopped)),
            AnyAction::Park | AnyAction::DeadLetter => {
                self.bury_command(row, envelope, cause, attempt);
            }
        }
        Vec::new()
    }

    /// Stores a failed command as a dead letter.
    fn bury_command(
        &self,
        mut row: CommandRow,
        envelope: &CommandEnvelope,
        cause: &FailureCause,
        attempt: &mut Attempt,
    ) {
        let key = dead_letter_key(row.source.position, row.index, &row.command_id);
        if !std::mem::replace(&mut row.is_dead, true) {
            let line = DeadLetterLine {
                envelope,
                error: &cause.to_string(),
                ts: self.now.noted,
            };
            attempt.dead_letters.push(line.to_line());
        }
        attempt.rows.push(put(key, &row));
    }

    /// Parks an instance at a command that aborts the process.
    pub(super) fn give_up_command(
        &mut self,
        mut row: CommandRow,
        cause: &FailureCause,
    ) -> Result<(), Halt> {
        let position = self.position;
        let reason = format!("a command was not executed: {cause}");
        if !self.definition.is_keyed {
            return Err(self.parked(position, reason));
        }
        row.attempts.push(self.attempt(cause));
        let key = row.key.clone();
        let place = held_key(&key, position, BEHIND_EVENT, &row.command_id);
        self.put(put(place, &HeldRow::Command(Box::new(row))), position);
        let hold = HoldRow::new(position, reason, self.now.noted);
        self.park(&key, position, hold);
        Ok(())
    }

    /// Judges a failed reaction. Returns the verdict, and its attempts as a retry row.
    fn judge_reaction(
        &mut self,
        key: &str,
        cause: &FailureCause,
        source: &SourceEvent,
        what: &str,
        before: Option<RetryRow>,
    ) -> (Verdict, RetryRow) {
        let mut tried = before.unwrap_or_else(|| RetryRow::none(what));
        tried.count = tried.count.saturating_add(1);
        tried.attempts.push(self.attempt(cause));
        if tried.attempts.len() > ATTEMPTS {
            tried.attempts.remove(1);
        }
        let mut failure = Failure::new(cause.clone(), key, source);
        failure.attempt = tried.count;
        let verdict = self.judge(&failure, what);
        tried.due = verdict.due.unwrap_or_default();
        (verdict, tried)
    }

    /// Applies the policy to a failed reaction.
    pub(super) fn reaction_failed(
        &mut self,
        key: &str,
        input: Delivery<'_>,
        cause: &FailureCause,
        draft: &mut Draft<P::Letter>,
    ) -> Result<(), Halt> {
        let position = draft.position;
        if !self.definition.is_keyed && self.cautious != Some(position) {
            // The state before each event is not kept. The driver goes back and rebuilds the state up to this event.
            self.cautious = Some(position);
            return Err(Halt::Back);
        }
        let mut before = None;
        let what = input.what(key);
        if let Some(instance) = self.instances.get(key) {
            if let Err(problem) = instance.restore() {
                let reason = format!("the state does not read back: {problem}");
                return Err(self.parked(position, reason));
            }
            let hold = instance.hold.as_ref();
            before = hold.and_then(|hold| hold.retry_of(&what).cloned());
        }
        if let Some((row_key, mut letter)) = draft.letter.take() {
            // The dead letter remains, with one more attempt.
            letter.attempts.push(self.attempt(cause));
            self.leave(key, input, position);
            self.put(put(row_key, &letter), position);
            draft.has_failed = true;
            return Ok(());
        }
        let source = input.source();
        let (verdict, tried) = self.judge_reaction(key, cause, &source, &what, before);
        let generation = self.instances.get(key).map_or(0, |found| found.generation);
        match verdict.action {
            AnyAction::Skip => {
                self.dirty.counts.skipped += 1;
                self.leave(key, input, position);
                self.pass(key, input, false, position);
            }
            AnyAction::DeadLetter => {
                self.leave(key, input, position);
                let reaction = match input {
                    Delivery::Event(_, event) => HeldRow::Event(event.position),
                    Delivery::Deadline(timer) => HeldRow::Deadline(Box::new(timer.clone())),
                };
                let letter = ReactionRow {
                    reaction,
                    key: key.to_owned(),
                    generation,
                    source,
                    attempts: tried.attempts,
                };
                self.bury(letter, &what, position);
            }
            AnyAction::Compensate(envelopes) => {
                let begins = self.begin_in_vain(key, input);
                self.pass(key, input, begins, position);
                self.keep(key, input, begins, position);
                let letters = self.letters(envelopes);
                draft.plan_compensation(
                    self.definition.name,
                    key,
                    generation,
                    tried.count,
                    letters,
                );
            }
            AnyAction::Stop => {
                let hold = HoldRow::new(position, cause.reason(), self.now.noted);
                return Err(Halt::held(hold, Reactions::Stopped));
            }
            AnyAction::Retry(_) | AnyAction::Park => {
                let at = match input {
                    Delivery::Event(_, event) => event.position,
                    Delivery::Deadline(_) => position,
                };
                let retry = verdict.due.map(|_| Box::new(tried));
                let hold = HoldRow {
                    retry,
                    ..HoldRow::new(at, cause.reason(), self.now.noted)
                };
                if !self.definition.is_keyed {
                    return Err(Halt::from(hold));
                }
                self.hold(key, input, draft.held.as_deref(), position);
                self.park(key, position, hold);
                let position = matches!(input, Delivery::Event(..)).then_some(at);
                let outcome = self.outcome_of_held(key);
                self.dirty.set_back(position, outcome);
            }
        }
        Ok(())
    }

    /// Applies the policy to an event whose instance key cannot be determined.
    pub(super) fn correlation_failed(
        &mut self,
        event: &Arc<(StreamId, RecordedEvent)>,
        cause: &FailureCause,
        at: u64,
    ) -> Result<(), Halt> {
        let (stream, recorded) = &**event;
        let position = recorded.position;
        if !self.definition.is_keyed {
            return Err(self.parked(position, cause.reason()));
        }
        let source = SourceEvent::of(&stream.aggregate_type, &stream.instance_id, recorded);
        let what = rows::stream_held_key(stream, position);
        let held = self.held_streams.get(stream);
        let before = held.and_then(|held| held.hold.retry_of(&what).cloned());
        let (verdict, tried) = self.judge_reaction("", cause, &source, &what, before);
        match verdict.action {
            AnyAction::Skip => {
                self.dirty.counts.skipped += 1;
                self.put(put(rows::passed_key(position, ""), &source), at);
            }
            AnyAction::DeadLetter => {
                let letter = ReactionRow {
                    reaction: HeldRow::Event(position),
                    key: String::new(),
                    generation: 0,
                    source,
                    attempts: tried.attempts,
                };
                self.bury(letter, &what, at);
            }
            AnyAction::Compensate(envelopes) => {
                self.put(put(rows::passed_key(position, ""), &source), at);
                let mut draft = Draft::of_event(at, event);
                let letters = self.letters(envelopes);
                draft.plan_compensation(self.definition.name, "", 0, tried.count, letters);
                self.effects.push(Effect::Decide(draft));
            }
            AnyAction::Stop => {
                let hold = HoldRow::new(position, cause.reason(), self.now.noted);
                return Err(Halt::held(hold, Reactions::Stopped));
            }
            AnyAction::Retry(_) | AnyAction::Park => {
                let hold = HoldRow {
                    retry: verdict.due.map(|_| Box::new(tried)),
                    ..HoldRow::new(position, cause.reason(), self.now.noted)
                };
                self.hold_stream(stream, hold, at);
            }
        }
        Ok(())
    }

    /// Lets an instance continue without the failed input. An instance that this input started is removed.
    fn leave(&mut self, key: &str, input: Delivery<'_>, position: u64) {
        if self.definition.is_keyed && matches!(input, Delivery::Event(..)) {
            self.instances.undo_begin(key);
            // The instance was stored when it was parked at this event, so it ends now.
            if let Some(instance) = self.instances.get(key)
                && instance.has_reacted_to_nothing()
            {
                instance.end();
                self.store(key, position);
            }
        }
        self.keep(key, input, false, position);
    }

    /// Encodes the default state of an instance without a successful reaction, so that commands can be sent in its name. Returns whether
    /// the event starts it.
    fn begin_in_vain(&mut self, key: &str, input: Delivery<'_>) -> bool {
        let is_event = matches!(input, Delivery::Event(..));
        let Some(instance) = self.instances.get(key) else {
            return false;
        };
        let begins = is_event && instance.has_reacted_to_nothing();
        if begins && let Err(cause) = instance.encode() {
            // Later reactions of this instance fail for the same reason.
            tracing::warn!(
                process_manager = self.definition.name,
                instance = key,
                reason = cause.reason(),
                "the state of a new instance cannot be stored"
            );
        }
        begins
    }

    /// Stores an instance whose input had no effects: a new instance, or an instance whose deadline has fired.
    fn keep(&mut self, key: &str, input: Delivery<'_>, is_begun: bool, position: u64) {
        let is_over = matches!(input, Delivery::Deadline(_));
        if let Some(instance) = self.instances.get(key)
            && (instance.ends_retry_of(|| input.what(key))
                || is_over
                || is_begun
                || (self.definition.is_keyed && instance.is_new()))
        {
            self.store(key, position);
        }
    }

    /// Records that an instance skips an event. `begins` says whether the event starts the instance nevertheless.
    fn pass(&mut self, key: &str, input: Delivery<'_>, begins: bool, position: u64) {
        if let Delivery::Event(_, event) = input {
            let passed = PassedRow {
                source: Some(input.source()),
                begins,
            };
            self.put(
                put(rows::passed_key(event.position, key), &passed),
                position,
            );
        }
    }

    /// Stores a failed reaction as a dead letter.
    fn bury(&mut self, letter: ReactionRow, what: &str, position: u64) {
        let about = letter.source.position;
        let id: Box<str> = match &letter.reaction {
            HeldRow::Deadline(timer) => timer.id(self.definition.name),
            _ => command_id(self.definition.name, what, letter.generation, about, 0).into(),
        };
        let error = letter.attempts.last().map(|last| last.error.clone());
        let line = UnreactedLine {
            source: letter.source.clone(),
            instance: letter.key.clone(),
            error: error.unwrap_or_default(),
            ts: self.now.noted,
        };
        self.dirty.dead_letters.push(line.to_line());
        self.put(put(dead_letter_key(about, 0, &id), &letter), position);
    }

    /// Holds a stream, beginning with an event that cannot be correlated.
    fn hold_stream(&mut self, stream: &StreamId, hold: HoldRow, at: u64) {
        tracing::error!(process_manager = self.definition.name, aggregate_type = %stream.aggregate_type, stream = %stream.instance_id, position = hold.position, reason = hold.reason, "a stream is held");
        let position = hold.position;
        let held = rows::stream_held_key(stream, position);
        self.put(put(held, &HeldRow::Event(position)), at);
        self.dirty.set_back(Some(position), hold.outcome());
        self.hold_scope(&Scope::Stream(stream.clone()), hold, at);
    }
}
