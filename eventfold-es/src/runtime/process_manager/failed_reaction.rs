//! The failure policy for events and deadlines whose reaction failed.

use std::sync::Arc;

use super::super::guarded::Kept;
use super::super::origin::{Cause, command_id};
use super::super::reactions::Reactions;
use super::draft::{Draft, Source};
use super::react::Input;
use super::rows::{
    self, AttemptRow, HeldRow, ParkedRow, PassedRow, ReactionRow, RetriedRow, RetryRow,
    dead_letter_key, held_deadline_key, held_key, put, remove,
};
use super::{Halt, ProcessManagerRunner};
use crate::clock::seconds_since_1970;
use crate::dead_letter::UnreactedLine;
use crate::event::RecordedEvent;
use crate::journal::StreamId;
use crate::process_manager::{Failure, FailureAction, FailureCause, ProcessManager, SourceEvent};

/// The maximum number of failed attempts to keep: the first one, and the most recent ones.
const ATTEMPTS: usize = 16;

/// The action for a failed reaction.
struct Judgment<PM: ProcessManager> {
    /// Never a retry without `retry`.
    action: FailureAction<PM>,
    retry: Option<Box<RetryRow>>,
    attempts: Vec<AttemptRow>,
    count: u32,
}

/// The action for an event whose instance key cannot be determined.
pub(super) enum Unclaimed {
    /// The event and all later events of its stream are held.
    Held,
    /// The stream continues, and this draft is committed.
    Passed(Option<Box<Draft>>),
}

impl<PM: ProcessManager> ProcessManagerRunner<PM> {
    /// Asks the policy for the action on a failure of `what`. `before` contains the earlier attempts.
    fn judge(
        &mut self,
        key: &str,
        cause: &FailureCause,
        source: &SourceEvent,
        what: &str,
        before: Option<RetryRow>,
    ) -> Judgment<PM> {
        let (count, mut attempts) =
            before.map_or_else(Default::default, |before| (before.count, before.attempts));
        let count = count.saturating_add(1);
        attempts.push(AttemptRow::new(cause));
        if attempts.len() > ATTEMPTS {
            attempts.remove(1);
        }
        let action = match cause {
            // The policy is user code too, and it may abort the process again.
            FailureCause::Aborted { .. } => FailureAction::Park,
            _ => {
                let mut failure = Failure::new(cause.clone(), key, source);
                failure.attempt = count;
                self.policy(key, &failure)
            }
        };
        tracing::warn!(process_manager = PM::NAME, instance = key, position = source.position, %cause, attempt = count, ?action, "a reaction failed");
        let mut verdict = Judgment {
            action,
            retry: None,
            attempts,
            count,
        };
        if let FailureAction::Retry(backoff) = &verdict.action {
            match backoff.delay(count, what) {
                Some(delay) => {
                    let delay = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX / 4);
                    verdict.retry = Some(Box::new(RetryRow {
                        due: self.now_ms().saturating_add(delay),
                        what: what.into(),
                        count,
                        attempts: verdict.attempts.clone(),
                    }));
                }
                None => verdict.action = backoff.exhausted().action(),
            }
        }
        verdict
    }

    /// Applies the policy to a failed reaction.
    pub(super) fn reaction_failed(
        &mut self,
        key: &str,
        input: Input<'_>,
        cause: &FailureCause,
        draft: &mut Draft,
    ) -> Result<(), Halt> {
        let reason = cause.reason();
        let position = draft.position;
        if !PM::IS_KEYED && self.cautious != Some(position) {
            // The state before each event is not kept. The runner goes back and rebuilds the state up to this event.
            self.cautious = Some(position);
            return Err(Halt::Back);
        }
        let mut before = None;
        let what = input.what(key);
        if let Some(instance) = self.instances.get(key) {
            if let Err(problem) = instance.restore() {
                let reason = format!("the state does not read back: {problem}");
                return Err(Halt::Parked { position, reason });
            }
            let parked = instance
                .parked
                .as_ref()
                .filter(|parked| parked.tries(&what));
            before = parked.and_then(|parked| parked.retry.as_deref().cloned());
        }
        if let Some((row_key, mut letter)) = draft.letter.take() {
            // The dead letter remains, with one more attempt.
            letter.attempts.push(AttemptRow::new(cause));
            self.leave(key, input, position);
            self.dirty.push(put(row_key, &letter), position);
            draft.has_failed = true;
            return Ok(());
        }
        let source = input.source();
        let verdict = self.judge(key, cause, &source, &what, before);
        let generation = self.instances.get(key).map_or(0, |found| found.generation);
        match verdict.action {
            FailureAction::Skip => {
                self.dirty.counts.skipped += 1;
                self.leave(key, input, position);
                self.pass(key, input, false, position);
                Ok(())
            }
            FailureAction::DeadLetter => {
                self.leave(key, input, position);
                let reaction = match input {
                    Input::Event(_, event) => HeldRow::Event(event.position),
                    Input::Deadline(timer) => HeldRow::Deadline(Box::new(timer.clone())),
                };
                let letter = ReactionRow {
                    reaction,
                    key: key.to_owned(),
                    generation,
                    source,
                    attempts: verdict.attempts,
                };
                self.bury(letter, &what, position);
                Ok(())
            }
            FailureAction::Compensate(envelopes) => {
                let begins = self.begin_in_vain(key, input);
                self.pass(key, input, begins, position);
                self.keep(key, input, begins, position);
                let attempt = verdict.count as usize;
                let envelopes = Kept::each(envelopes);
                self.plan_compensation(draft, &key.into(), generation, attempt, envelopes);
                Ok(())
            }
            FailureAction::Stop => Err(Halt::Stopped { position, reason }),
            FailureAction::Retry(_) if !PM::IS_KEYED => Err(match verdict.retry {
                Some(retry) => Halt::Waiting {
                    position,
                    reason,
                    retry,
                },
                None => Halt::Parked { position, reason },
            }),
            _ if !PM::IS_KEYED => Err(Halt::Parked { position, reason }),
            _ => {
                self.hold(key, input, draft.held.as_deref(), position);
                let shown = match input {
                    Input::Event(_, event) => event.position,
                    Input::Deadline(_) => position,
                };
                let parked = ParkedRow {
                    retry: verdict.retry,
                    ..ParkedRow::new(shown, reason)
                };
                self.park_as(key, position, parked);
                let position = match input {
                    Input::Event(_, event) => Some(event.position),
                    Input::Deadline(_) => None,
                };
                let outcome = self.outcome_of_held(key);
                self.dirty.set_back(position, outcome);
                Ok(())
            }
        }
    }

    /// Applies the policy to an event whose instance key cannot be determined.
    pub(super) fn correlation_failed(
        &mut self,
        event: &Arc<(StreamId, RecordedEvent)>,
        cause: &FailureCause,
        before: Option<RetryRow>,
        at: u64,
    ) -> Result<Unclaimed, Halt> {
        let (stream, recorded) = &**event;
        let position = recorded.position;
        let source = SourceEvent::of(&stream.aggregate_type, &stream.instance_id, recorded);
        let what = rows::stream_held_key(stream, position);
        let verdict = self.judge("", cause, &source, &what, before);
        let reason = cause.reason();
        match verdict.action {
            FailureAction::Skip => {
                self.dirty.counts.skipped += 1;
                self.dirty
                    .push(put(rows::passed_key(position, ""), &source), at);
                Ok(Unclaimed::Passed(None))
            }
            FailureAction::DeadLetter => {
                let letter = ReactionRow {
                    reaction: HeldRow::Event(position),
                    key: String::new(),
                    generation: 0,
                    source,
                    attempts: verdict.attempts,
                };
                self.bury(letter, &what, at);
                Ok(Unclaimed::Passed(None))
            }
            FailureAction::Compensate(envelopes) => {
                self.dirty
                    .push(put(rows::passed_key(position, ""), &source), at);
                let cause = Cause::of(recorded);
                let source = Source::Event(Arc::clone(event));
                let mut draft = Draft::new(at, position, cause, source);
                let attempt = verdict.count as usize;
                let envelopes = Kept::each(envelopes);
                self.plan_compensation(&mut draft, &"".into(), 0, attempt, envelopes);
                Ok(Unclaimed::Passed(Some(Box::new(draft))))
            }
            FailureAction::Stop => Err(Halt::Stopped { position, reason }),
            _ => {
                self.hold_stream(stream, position, reason, verdict.retry, at);
                Ok(Unclaimed::Held)
            }
        }
    }

    /// Holds a stream, beginning with an event that cannot be correlated.
    fn hold_stream(
        &mut self,
        stream: &StreamId,
        position: u64,
        reason: String,
        retry: Option<Box<RetryRow>>,
        at: u64,
    ) {
        tracing::error!(process_manager = PM::NAME, aggregate_type = %stream.aggregate_type, stream = %stream.instance_id, position, reason, "a stream is held");
        let outcome = match &retry {
            Some(_) => Reactions::Retrying,
            None => Reactions::Parked,
        };
        self.try_again_at(&RetriedRow::of_stream(stream), retry.as_deref(), at);
        let parked = ParkedRow {
            retry,
            ..ParkedRow::new(position, reason)
        };
        self.dirty.push(put(rows::stream_key(stream), &parked), at);
        let held = rows::stream_held_key(stream, position);
        self.dirty.push(put(held, &HeldRow::Event(position)), at);
        self.dirty.set_back(Some(position), outcome);
        self.held_streams.insert(stream.clone(), outcome);
    }

    /// Stores the time of the automatic release, if there is one.
    pub(super) fn try_again_at(
        &mut self,
        retried: &RetriedRow,
        retry: Option<&RetryRow>,
        position: u64,
    ) {
        if let Some(retry) = retry {
            let row = put(retried.key(retry.due), retried);
            self.notice(&row);
            self.dirty.push(row, position);
        }
    }

    /// Removes the time of the automatic release, if there is one.
    pub(super) fn try_no_more(
        &mut self,
        retried: &RetriedRow,
        retry: Option<&RetryRow>,
        position: u64,
    ) {
        if let Some(retry) = retry {
            let row = remove(retried.key(retry.due));
            self.notice(&row);
            self.dirty.push(row, position);
        }
    }

    /// The outcome for callers that wait for held work of an instance.
    pub(super) fn outcome_of_held(&mut self, key: &str) -> Reactions {
        let parked = self
            .instances
            .get(key)
            .and_then(|found| found.parked.as_ref());
        match parked.is_some_and(|parked| parked.retry.is_some()) {
            true => Reactions::Retrying,
            false => Reactions::Parked,
        }
    }

    /// Lets an instance continue without the failed input. An instance that this input started is removed.
    fn leave(&mut self, key: &str, input: Input<'_>, position: u64) {
        if PM::IS_KEYED && matches!(input, Input::Event(..)) {
            self.instances.undo_begin(key);
            // The instance was stored when it was parked at this event, so it ends now.
            if let Some(instance) = self.instances.get(key)
                && instance.has_reacted_to_nothing()
            {
                instance.end();
                let row = instance.row(key);
                self.instances.changed(key, self.next_commit);
                self.dirty.push(row, position);
            }
        }
        self.keep(key, input, false, position);
    }

    /// Encodes the default state of an instance without a successful reaction, so that commands can be sent in its name. Returns whether
    /// the event starts it.
    fn begin_in_vain(&mut self, key: &str, input: Input<'_>) -> bool {
        let is_event = matches!(input, Input::Event(..));
        let Some(instance) = self.instances.get(key) else {
            return false;
        };
        let begins = is_event && instance.has_reacted_to_nothing();
        if begins && let Err(cause) = instance.encode() {
            // Later reactions of this instance fail for the same reason.
            tracing::warn!(
                process_manager = PM::NAME,
                instance = key,
                reason = cause.reason(),
                "the state of a new instance cannot be stored"
            );
        }
        begins
    }

    /// Stores an instance whose input had no effects: a new instance, or an instance whose deadline has fired.
    fn keep(&mut self, key: &str, input: Input<'_>, is_begun: bool, position: u64) {
        let what = input.what(key);
        let is_over = matches!(input, Input::Deadline(_));
        if let Some(instance) = self.instances.get(key) {
            let was_retried = !PM::IS_KEYED
                && instance
                    .parked
                    .take_if(|parked| parked.tries(&what))
                    .is_some();
            if is_over || was_retried || is_begun || (PM::IS_KEYED && instance.is_new()) {
                let row = instance.row(key);
                self.instances.changed(key, self.next_commit);
                self.dirty.push(row, position);
            }
        }
    }

    /// Records that an instance skips an event. `begins` says whether the event starts the instance nevertheless.
    fn pass(&mut self, key: &str, input: Input<'_>, begins: bool, position: u64) {
        if let Input::Event(_, event) = input {
            let passed = PassedRow {
                source: Some(input.source()),
                begins,
            };
            let row = put(rows::passed_key(event.position, key), &passed);
            self.dirty.push(row, position);
        }
    }

    /// Stores a failed reaction as a dead letter.
    fn bury(&mut self, letter: ReactionRow, what: &str, position: u64) {
        let about = letter.source.position;
        let id: Box<str> = match &letter.reaction {
            HeldRow::Deadline(timer) => timer.id(PM::NAME),
            _ => command_id(PM::NAME, what, letter.generation, about, 0).into(),
        };
        let error = letter.attempts.last().map(|last| last.error.clone());
        let line = UnreactedLine {
            source: letter.source.clone(),
            instance: letter.key.clone(),
            error: error.unwrap_or_default(),
            ts: seconds_since_1970(),
        };
        self.dirty.dead_letters.push(line.to_line());
        self.dirty
            .push(put(dead_letter_key(about, 0, &id), &letter), position);
    }

    /// Holds an input until the instance is released. An input that was held before keeps its place.
    pub(super) fn hold(&mut self, key: &str, input: Input<'_>, held: Option<&str>, position: u64) {
        let row = match input {
            Input::Event(_, event) => put(
                held_key(key, event.position, 0, ""),
                &HeldRow::Failed(event.position),
            ),
            Input::Deadline(timer) => {
                let name = &timer.deadline.name;
                let place = match held {
                    Some(held) => held.into(),
                    None => held_deadline_key(key, position, timer.deadline.due_ms, name),
                };
                if let Some(instance) = self.instances.get(key) {
                    // Work that is held before the deadline may still cancel or replace it.
                    instance.timers.insert(name.clone(), timer.deadline.due_ms);
                }
                put(place, &HeldRow::Deadline(Box::new(timer.clone())))
            }
        };
        self.dirty.push(row, position);
        self.store_parked(key, position);
    }

    /// Stores the parked status of an instance that was parked while it was loaded. An operator looks for it in the rows.
    pub(super) fn store_parked(&mut self, key: &str, position: u64) {
        let Some(instance) = self.instances.get(key) else {
            return;
        };
        if std::mem::take(&mut instance.is_unstored) {
            let row = instance.row(key);
            self.instances.changed(key, self.next_commit);
            self.dirty.push(row, position);
        }
    }

    /// Without `key`: halts until the next attempt is due.
    pub(super) fn wait_for_retry(&mut self) -> Result<(), Halt> {
        let tries_now = std::mem::take(&mut self.tries_now);
        if PM::IS_KEYED {
            return Ok(());
        }
        let now = self.now_ms();
        let fires = self.context.fires && !self.is_paused;
        let is_deadline = self.retried_deadline().is_some();
        let parked = self
            .instances
            .get("")
            .and_then(|found| found.parked.clone());
        match parked {
            Some(ParkedRow {
                position,
                reason,
                retry: Some(retry),
                ..
            }) if !tries_now && (retry.due > now || is_deadline && !fires) => {
                if is_deadline {
                    self.due = Some(retry.what.clone());
                }
                Err(Halt::Waiting {
                    position,
                    reason,
                    retry,
                })
            }
            Some(ParkedRow {
                position,
                retry: Some(_),
                ..
            }) => {
                // It has failed before, so this attempt counts.
                self.cautious = Some(position);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Without `key`: the row of the deadline that is retried, if the retry concerns a deadline.
    pub(super) fn retried_deadline(&mut self) -> Option<Box<str>> {
        let parked = self
            .instances
            .get("")
            .and_then(|found| found.parked.as_ref());
        let retry = parked.and_then(|parked| parked.retry.as_ref());
        let retry = retry.filter(|retry| !PM::IS_KEYED && retry.what.starts_with(rows::TIMERS));
        retry.map(|retry| retry.what.clone())
    }

    /// Without `key`: removes the retry, because its input is skipped.
    pub(super) fn end_retry(&mut self, position: u64) {
        if let Some(instance) = self.instances.get("")
            && instance.parked.take().is_some()
        {
            let row = instance.row("");
            self.dirty.push(row, position);
        }
    }
}
