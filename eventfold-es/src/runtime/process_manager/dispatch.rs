//! The commands of one reaction: decided together, with what becomes of those that fail, and handed over as one commit.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;

use super::super::guarded::guard;
use super::super::inside_reaction::inside_reaction;
use super::super::origin::{Cause, Origin, command_id};
use super::super::reactions::DurableReaction;
use super::super::routes::Stage;
use super::super::staging::{Letter, Targets, parts_of};
use super::rows::{
    self, AttemptRow, BEHIND_EVENT, CommandRow, HeldRow, ParkedRow, Status, TimerRow,
    dead_letter_key, held_key, pending_key, put,
};
use super::{InFlight, ProcessManagerRunner};
use crate::clock::seconds_since_1970;
use crate::dead_letter::{DeadLetterLine, readable};
use crate::envelope::{CommandEnvelope, Dispatch};
use crate::journal::{Progress, ProposedCommit, ProposedReaction, RowChange, StreamId};
use crate::process_manager::{
    Exhausted, Failure, FailureAction, FailureCause, ProcessManager, SourceEvent,
};

/// A command on its way.
pub(super) struct Planned {
    letter: Letter,
    command_id: String,
    key: Arc<str>,
    generation: u64,
    is_compensation: bool,
    /// What became of it before, if it was tried before.
    before: Option<CommandRow>,
}

/// What is to be committed together.
pub(super) struct Draft {
    /// Up to where the process manager is with it.
    pub(super) position: u64,
    /// What its commands are named after: the position of the event, or when the deadline was due.
    about: u64,
    /// The name of the deadline.
    deadline: Option<String>,
    pub(super) cause: Cause,
    pub(super) source: Source,
    pub(super) planned: Vec<Planned>,
    /// Whether an operator asks for it, who sees what becomes of it.
    pub(super) is_asked_for: bool,
}

/// What was reacted to, told only when somebody asks.
pub(super) enum Source {
    Event(Arc<(StreamId, crate::event::RecordedEvent)>),
    Known(Box<SourceEvent>),
    Nothing,
}

impl Source {
    fn event(&self) -> SourceEvent {
        match self {
            Self::Event(event) => {
                let (stream, event) = &**event;
                SourceEvent::of(&stream.aggregate_type, &stream.instance_id, event)
            }
            Self::Known(source) => (**source).clone(),
            Self::Nothing => SourceEvent {
                aggregate_type: String::new(),
                stream_id: String::new(),
                position: 0,
                version: 0,
                event_type: String::new(),
                event_id: None,
                correlation_id: None,
            },
        }
    }
}

/// What became of commands that were executed because an operator asked for it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Report {
    pub(super) executed: usize,
    pub(super) failed: usize,
}

impl Draft {
    pub(super) fn new(position: u64, about: u64, cause: Cause, source: Source) -> Self {
        Self {
            position,
            about,
            deadline: None,
            cause,
            source,
            planned: Vec::new(),
            is_asked_for: false,
        }
    }

    /// What is asked for when a deadline is reached.
    pub(super) fn of_deadline(position: u64, timer: &TimerRow) -> Self {
        let deadline = &timer.deadline;
        let cause = Cause::of_deadline(deadline, timer.depth);
        let source = Source::Known(Box::new(deadline.source.clone()));
        Self {
            deadline: Some(deadline.name.clone()),
            ..Self::new(position, deadline.due_ms, cause, source)
        }
    }
}

/// What became of the attempt to hand a commit over.
pub(super) enum HandOver {
    Done(Report),
    /// A target was evicted meanwhile, or an earlier commit failed.
    Again,
    /// Compensations go to targets that are not loaded.
    More(Vec<Letter>),
    /// A policy says that nothing goes on from here.
    Stop(String),
}

/// What one attempt comes to, before it is handed over.
#[derive(Default)]
struct Attempt {
    dispatched: usize,
    failed: usize,
    dead_letters: Vec<Box<str>>,
    rows: Vec<RowChange>,
    parks: Vec<(Arc<str>, String)>,
    more: Vec<Letter>,
    stop: Option<String>,
}

impl<PM: ProcessManager> ProcessManagerRunner<PM> {
    /// Plans the commands of a reaction of an instance.
    pub(super) fn plan(
        &self,
        draft: &mut Draft,
        key: &Arc<str>,
        generation: u64,
        envelopes: Vec<PM::Envelope>,
    ) {
        // No key has a line break.
        let instance = match &draft.deadline {
            None => String::from(&**key),
            Some(name) => format!("{key}\n{name}"),
        };
        for (index, envelope) in envelopes.into_iter().enumerate() {
            draft.planned.push(Planned {
                letter: self.route(envelope),
                command_id: command_id(PM::NAME, &instance, generation, draft.about, index),
                key: Arc::clone(key),
                generation,
                is_compensation: false,
                before: None,
            });
        }
    }

    /// Plans another attempt of a command.
    pub(super) fn plan_again(&self, draft: &mut Draft, row: CommandRow) {
        let letter = match row.envelope.clone().route(self.stage()) {
            Ok(staged) => Letter::Staged(staged),
            Err(undeliverable) => Letter::Dead(undeliverable),
        };
        draft.planned.push(Planned {
            letter,
            command_id: row.command_id.clone(),
            key: row.key.as_str().into(),
            generation: row.generation,
            is_compensation: row.is_compensation,
            before: Some(row),
        });
    }

    fn stage(&self) -> Stage<'_> {
        let super::Runtime { types, routes, .. } = &*self.context.runtime;
        Stage { types, routes }
    }

    fn route(&self, envelope: PM::Envelope) -> Letter {
        match envelope.route(self.stage()) {
            Ok(staged) => Letter::Staged(staged),
            Err(undeliverable) => Letter::Dead(undeliverable),
        }
    }

    /// From the locks on the targets to the hand-over there is no await: a dropped future leaves nothing or a commit.
    pub(super) fn hand_over(
        &mut self,
        draft: &Draft,
        targets: &Targets,
        room: OwnedSemaphorePermit,
    ) -> HandOver {
        let journal = Arc::clone(&self.context.runtime.journal);
        // A BTreeMap: the locks are taken in one order everywhere.
        let mut locked = BTreeMap::new();
        for (stream, target) in targets {
            let target = target.as_ref().map(|target| target.lock());
            if target.as_ref().is_ok_and(|target| target.is_evicted()) {
                return HandOver::Again;
            }
            locked.insert(stream, target.map_err(Clone::clone));
        }
        if self.has_failed() {
            return HandOver::Again;
        }
        for target in locked.values_mut() {
            if let Ok(cell) = target
                && let Err(error) = cell.settle()
            {
                *target = Err(super::super::staging::cause_of(&error));
            }
        }
        let mut attempt = Attempt::default();
        let mut touched: Vec<StreamId> = Vec::new();
        let mut seen = HashSet::new();
        let mut compensations: VecDeque<Planned> = VecDeque::new();
        let mut index = 0;
        let mut planned_ones = draft.planned.iter();
        loop {
            let compensation;
            let planned = match planned_ones.next() {
                Some(planned) => planned,
                None => match compensations.pop_front() {
                    Some(next) => {
                        compensation = next;
                        &compensation
                    }
                    None => break,
                },
            };
            let failure = match &planned.letter {
                Letter::Dead(dead) => Some(FailureCause::Undecodable {
                    reason: dead.reason.clone(),
                }),
                Letter::Staged(staged) => {
                    let stream = staged.stream();
                    if seen.insert(stream.clone()) {
                        touched.push(stream.clone());
                    }
                    let cause = planned
                        .before
                        .as_ref()
                        .map_or(&draft.cause, |row| &row.cause);
                    let origin = Origin {
                        command_id: &planned.command_id,
                        cause,
                    };
                    match locked.get_mut(stream) {
                        Some(Ok(cell)) => cell
                            .decide(staged.command(), staged.context(), origin)
                            .err(),
                        Some(Err(cause)) => Some(cause.clone()),
                        None => {
                            // A compensation: it is decided when its target is loaded.
                            if let Letter::Staged(staged) = planned.letter_again(self) {
                                attempt.more.push(Letter::Staged(staged));
                            }
                            None
                        }
                    }
                }
            };
            match failure {
                None => attempt.dispatched += 1,
                Some(cause) => {
                    attempt.failed += 1;
                    let follow = self.after_failure(draft, planned, &cause, index, &mut attempt);
                    compensations.extend(follow);
                }
            }
            index += 1;
        }
        if !attempt.more.is_empty() {
            return HandOver::More(attempt.more);
        }
        if let Some(reason) = attempt.stop {
            return HandOver::Stop(reason);
        }
        let appends: Vec<_> = touched
            .iter()
            .filter_map(|stream| locked.get(stream)?.as_ref().ok()?.proposed())
            .collect();
        let parts = parts_of(&appends);
        let aggregate_types: Vec<_> = appends
            .iter()
            .map(|append| Arc::clone(&append.stream.aggregate_type))
            .collect();
        let pending = locked.values().flatten();
        let after = pending
            .filter_map(|cell| cell.last_pending())
            .chain(self.in_flight.back().map(|last| Arc::clone(&last.outcome)))
            .collect();
        for (key, reason) in &attempt.parks {
            self.park_instance(key, draft.position, reason.clone());
        }
        let mut rows = self.take_dirty();
        for row in &attempt.rows {
            self.notice(row);
        }
        rows.append(&mut attempt.rows);
        let progress = Progress {
            position: draft.position,
            state: self.progress_state(),
        };
        let hub = Arc::clone(&self.context.runtime.reactions);
        let settled_hub = Arc::clone(&hub);
        let member = self.context.member;
        let source = progress.position;
        let dead_lettered = attempt.dead_letters.len();
        let dispatched = attempt.dispatched;
        let outcome = journal.submit(
            room,
            ProposedCommit {
                after,
                appends,
                reaction: Some(ProposedReaction {
                    process_manager: Arc::clone(&self.name),
                    progress: progress.clone(),
                    dispatched: dispatched as u64,
                    rows,
                    dead_letters: attempt.dead_letters,
                }),
                on_durable: Some(Box::new(move |receipt| {
                    hub.reacted(&DurableReaction {
                        source,
                        receipt: receipt.clone(),
                        aggregate_types: &aggregate_types,
                        dispatched,
                        dead_lettered,
                    });
                })),
                // Everything before it is in commits before it. Whoever waits is told at once, not by this task.
                on_settled: Some(Box::new(move || settled_hub.processed(member, source))),
            },
        );
        for (stream, cell) in locked {
            if let (Ok(mut cell), Some(part)) = (cell, parts.get(stream)) {
                cell.handed_over(&outcome, *part);
            }
        }
        self.in_flight.push_back(InFlight {
            outcome,
            progress,
            number: self.next_commit,
        });
        self.next_commit += 1;
        HandOver::Done(Report {
            executed: dispatched,
            failed: attempt.failed,
        })
    }

    /// Does what the policy says about a command that failed; the compensations that it asks for.
    fn after_failure(
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
        let mut row = planned.before.clone().unwrap_or_else(|| CommandRow {
            envelope: readable(&envelope),
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
            false => self.policy(&planned.key, &failure),
        };
        tracing::warn!(process_manager = PM::NAME, target = %envelope.aggregate_type, instance = %envelope.instance_id, error = %cause, attempt = count, ?action, "a command was not executed");
        let (action, backoff) = match action {
            FailureAction::Retry(backoff) => match backoff.delay(count, &row.command_id) {
                Some(delay) => {
                    row.backoff = Some(backoff);
                    let due = self.now_ms() + millis(delay);
                    let key = pending_key(due, &row.command_id);
                    attempt.rows.push(put(key, &row));
                    return Vec::new();
                }
                None => (
                    match backoff.exhausted() {
                        Exhausted::Skip => FailureAction::Skip,
                        Exhausted::Park => FailureAction::Park,
                        Exhausted::Stop => FailureAction::Stop,
                        _ => FailureAction::DeadLetter,
                    },
                    Some(backoff),
                ),
            },
            action => (action, None),
        };
        row.backoff = backoff;
        match action {
            FailureAction::Skip => {}
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
                return envelopes.into_iter().enumerate().map(again).collect();
            }
            FailureAction::Park if PM::IS_KEYED => {
                let key = held_key(&row.key, draft.position, BEHIND_EVENT + index, "");
                let reason = format!("a command was not executed: {cause}");
                attempt
                    .rows
                    .push(put(key, &HeldRow::Command(Box::new(row))));
                attempt.parks.push((Arc::clone(&planned.key), reason));
            }
            FailureAction::Park | FailureAction::Stop => {
                attempt.stop = Some(format!("a command was not executed: {cause}"));
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

    /// What the process manager says about a failure.
    pub(super) fn policy(&mut self, key: &str, failure: &Failure<'_>) -> FailureAction<PM> {
        let default;
        let state = match self
            .instances
            .get(key)
            .and_then(|found| found.state.as_ref())
        {
            Some(state) => state,
            None => {
                default = PM::default();
                &default
            }
        };
        let asked = guard(
            || format!("the failure policy of `{}`", PM::NAME),
            || inside_reaction(PM::NAME, || state.on_failure(failure)),
        );
        asked.unwrap_or_else(|error| {
            tracing::error!(process_manager = PM::NAME, %error, "a failure policy cannot be asked");
            FailureAction::default_for(failure)
        })
    }

    /// Lets an instance hold what comes for it.
    pub(super) fn park_instance(&mut self, key: &str, position: u64, reason: String) {
        let next = self.next_commit;
        tracing::error!(
            process_manager = PM::NAME,
            instance = key,
            position,
            reason,
            "an instance is parked"
        );
        if let Some(instance) = self.instances.get(key) {
            instance.status = Status::Parked;
            instance.parked = Some(ParkedRow::new(position, reason));
            let row = instance.row(key);
            self.instances.changed(key, next);
            self.dirty.push(row, position);
        }
    }

    /// Keeps the agendas up with a change that is about to be committed.
    pub(super) fn notice(&mut self, row: &RowChange) {
        let agenda = if row.key.starts_with(rows::TIMERS) {
            &mut self.timers
        } else if row.key.starts_with(rows::PENDING) {
            &mut self.pending
        } else {
            return;
        };
        match &row.value {
            Some(value) => agenda.add(row.key.clone(), value.clone()),
            None => agenda.remove(&row.key),
        }
    }
}

impl Planned {
    /// The letter once more, for its target to be loaded.
    fn letter_again<PM: ProcessManager>(&self, runner: &ProcessManagerRunner<PM>) -> Letter {
        match &self.letter {
            Letter::Staged(staged) => match staged.erase().route(runner.stage()) {
                Ok(staged) => Letter::Staged(staged),
                Err(dead) => Letter::Dead(dead),
            },
            Letter::Dead(dead) => Letter::Dead(Box::new(super::super::staging::Undeliverable {
                envelope: dead.envelope.clone(),
                reason: dead.reason.clone(),
            })),
        }
    }

    pub(super) fn letter(&self) -> &Letter {
        &self.letter
    }

    /// Lets nothing of it be executed.
    pub(super) fn give_up(&mut self, reason: &str) {
        if let Letter::Staged(staged) = &self.letter {
            let undeliverable =
                super::super::staging::Undeliverable::new(staged.erase(), reason.to_owned());
            self.letter = Letter::Dead(undeliverable);
        }
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
