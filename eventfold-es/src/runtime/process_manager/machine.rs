//! The machine: the effects of one input on the states of a process manager.
//!
//! It is synchronous. It reads no file, waits for nothing and has no clock: each input comes with the rows and the time that it needs.
//! So the store, the test kit and explorations run the same code, and a crash at any moment leaves the stored state.
//!
//! A piece of work takes these steps. For example, an event whose reaction sends one command, which is rejected:
//!
//! | input | effects |
//! |---|---|
//! | [`Event`](Input::Event) | [`Decide`](Effect::Decide) the command |
//! | [`Refused`](Input::Refused) | [`Also`](Effect::Also) the compensation that the policy chooses |
//! | [`Decided`](Input::Decided) | [`Store`](Effect::Store) the rows, with the events of the compensation |

use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

use serde_json::value::RawValue;

use super::super::reactions::{Reactions, Setback};
use super::correlation::{Part, part};
use super::definition::Definition;
use super::failure::Attempt;
use super::hold::HeldStream;
use super::instances::Instances;
use super::plan::{Draft, Planned, Post, Source};
use super::reaction::Delivery;
use super::rows::{
    self, CommandRow, HeldRow, HoldRow, ReactionRow, TimerRow, held_key, put, remove,
};
use super::timers::Timers;
use super::{Halt, Shown};
use crate::envelope::CommandEnvelope;
use crate::event::RecordedEvent;
use crate::journal::{Progress, RowChange, StreamId};
use crate::process_manager::{FailureCause, Join, SourceEvent};

/// The time of an input.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Now {
    /// The time of the store, to which deadlines are relative.
    pub(crate) stored: SystemTime,
    /// The time for retries, in milliseconds since 1970.
    pub(crate) retries_ms: u64,
    /// The time that is noted with failures, in seconds since 1970.
    pub(crate) noted: u64,
}

/// An input. The instances that it concerns are [cached](Instances::learn).
pub(crate) enum Input<'a, L> {
    /// The `nth` instance of an event. The last one closes the draft.
    Event { shown: &'a Shown, nth: usize },
    /// An event that an operator discarded.
    Skipped(&'a Shown),
    /// A deadline that is due, with the key of its row.
    Deadline {
        row: Box<str>,
        timer: &'a TimerRow,
        turn: Turn,
    },
    /// Another attempt of a command, with the key of its row.
    Command {
        row: Box<str>,
        command: Box<CommandRow>,
        /// The key under which it was held, if it was.
        held: Option<Box<str>>,
        /// Whether an operator receives the result.
        is_asked_for: bool,
    },
    /// An event that the instance `key` holds, with the key of its row.
    Held {
        key: &'a str,
        row: Box<str>,
        shown: &'a Shown,
        /// Whether it was delivered before, without success.
        has_failed: bool,
        /// Whether its stream holds an earlier event.
        is_behind: bool,
    },
    /// A dead letter that an operator redrives, with the key of its row. `shown` is its event.
    Letter {
        row: Box<str>,
        letter: ReactionRow,
        shown: Option<&'a Shown>,
    },
    /// A command of the draft was not executed.
    Refused {
        draft: &'a Draft<L>,
        planned: &'a Planned,
        envelope: CommandEnvelope,
        cause: &'a FailureCause,
        index: usize,
        attempt: &'a mut Attempt,
    },
    /// Every command of the draft is decided.
    Decided {
        draft: &'a Draft<L>,
        attempt: Attempt,
    },
}

/// The moment at which a deadline that is due reaches its instance.
pub(crate) enum Turn {
    Now,
    /// Now, among the held work of its instance: the key under which it would be held.
    Released(Box<str>),
    /// When its instance is released: the key under which it is held.
    Later(Box<str>),
}

/// An effect for the driver.
#[expect(
    clippy::large_enum_variant,
    reason = "most effects are the largest one"
)]
pub(crate) enum Effect<L> {
    /// Decide these commands. The answers are [`Input::Refused`] and [`Input::Decided`].
    Decide(Draft<L>),
    /// Decide these commands, too, in the same commit.
    Also(Vec<(L, Planned)>),
    /// Submit one commit: the decided events, and this.
    Store(Stored),
    /// Count an event without an open instance.
    Ignore,
    /// A dead letter is redriven: whether it has failed again.
    Redriven {
        has_failed: bool,
    },
    Halt(Halt),
}

/// The part of a commit that the machine determines.
pub(crate) struct Stored {
    pub(crate) progress: Progress,
    pub(crate) rows: Vec<RowChange>,
    pub(super) setbacks: Vec<Setback>,
    pub(crate) dead_letters: Vec<Box<str>>,
    pub(super) counts: Counts,
}

/// See the [module](self).
pub(crate) struct Machine<P: Post> {
    pub(super) definition: &'static Definition,
    pub(super) post: P,
    pub(super) instances: Instances,
    /// Row changes that are in no submitted commit yet.
    pub(super) dirty: Dirty,
    /// Streams that are held because one of their events cannot be correlated.
    pub(super) held_streams: HashMap<StreamId, HeldStream>,
    pub(super) timers: Timers,
    pub(super) retries: Timers,
    /// The position of the last processed event. Its effects may not be durable yet.
    pub(crate) position: u64,
    /// The number of the next commit to submit.
    pub(super) next_commit: u64,
    pub(crate) now: Now,
    /// Without `key`: the position of an event whose reaction failed. Before the next delivery, the state is encoded, to restore it after
    /// another failure.
    pub(super) cautious: Option<u64>,
    /// The cause with which the next delivery fails, without a call of user code.
    pub(super) given_up: Option<FailureCause>,
    /// The outcome of the next delivery, whose call of user code was made before.
    pub(super) called: Option<Result<Vec<P::Letter>, FailureCause>>,
    /// The draft of an event, between two of its instances.
    open: Option<Draft<P::Letter>>,
    /// The position of the last event that was counted as ignored, and the last of its joins that was counted, from 1.
    ignored_to: (u64, usize),
    pub(super) effects: Vec<Effect<P::Letter>>,
}

#[derive(Default)]
pub(super) struct Dirty {
    pub(super) rows: Vec<RowChange>,
    /// The position of the first event whose effects are in `rows`.
    pub(super) first: Option<u64>,
    /// Unfinished work that callers may wait for.
    pub(super) setbacks: Vec<Setback>,
    /// Dead letters, each as a line.
    pub(super) dead_letters: Vec<Box<str>>,
    pub(super) counts: Counts,
}

/// Counters that are reported when the commit is durable.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counts {
    /// Held events without an open instance at the time of their release.
    pub(super) ignored: u64,
    /// Work that the failure policy skipped.
    pub(super) skipped: u64,
}

impl Dirty {
    /// Records that the reaction to an event, or other work, is not finished.
    pub(super) fn set_back(&mut self, position: Option<u64>, outcome: Reactions) {
        self.setbacks.push(Setback { position, outcome });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

impl<P: Post> Machine<P> {
    pub(crate) fn new(definition: &'static Definition, position: u64, post: P) -> Self {
        Self {
            definition,
            post,
            instances: Instances::new(definition),
            dirty: Dirty::default(),
            held_streams: HashMap::new(),
            timers: Timers::unread(),
            retries: Timers::unread(),
            position,
            next_commit: 1,
            now: Now {
                stored: SystemTime::UNIX_EPOCH,
                retries_ms: 0,
                noted: 0,
            },
            cautious: None,
            given_up: None,
            called: None,
            open: None,
            ignored_to: (0, 0),
            effects: Vec::new(),
        }
    }

    /// Forgets all that no commit has stored, after a crash or a failed commit.
    pub(crate) fn go_back(&mut self, position: u64) {
        self.dirty = Dirty::default();
        self.open = None;
        self.given_up = None;
        self.called = None;
        self.timers = Timers::unread();
        self.retries = Timers::unread();
        self.position = position;
    }

    /// Takes one input, and returns its effects in their order. After [`Effect::Halt`] the machine has to [go back](Self::go_back).
    pub(crate) fn step(&mut self, input: Input<'_, P::Letter>) -> Vec<Effect<P::Letter>> {
        let taken = match input {
            Input::Event { shown, nth } => self.event(shown, nth),
            Input::Skipped(shown) => {
                self.skipped(shown);
                Ok(())
            }
            Input::Deadline { row, timer, turn } => self.deadline(row, timer, turn),
            Input::Command {
                row,
                command,
                held,
                is_asked_for,
            } => self.command(row, *command, held, is_asked_for),
            Input::Held {
                key,
                row,
                shown,
                has_failed,
                is_behind,
            } => self.held_event(key, row, shown, has_failed, is_behind),
            Input::Letter { row, letter, shown } => self.letter(row, letter, shown),
            Input::Refused {
                draft,
                planned,
                envelope,
                cause,
                index,
                attempt,
            } => {
                let also = self.command_failed(draft, planned, &envelope, cause, index, attempt);
                self.effects.push(Effect::Also(also));
                Ok(())
            }
            Input::Decided { draft, attempt } => self.decided(draft, attempt),
        };
        if let Err(halt) = taken {
            self.open = None;
            self.effects.push(Effect::Halt(halt));
        }
        std::mem::take(&mut self.effects)
    }

    /// Adds a row change to the next commit.
    pub(crate) fn put(&mut self, row: RowChange, position: u64) {
        match row.key.get(..1) {
            Some(rows::TIMERS) => self.timers.notice(&row),
            Some(rows::PENDING) => self.retries.notice(&row),
            _ => {}
        }
        self.dirty.first.get_or_insert(position);
        self.dirty.rows.push(row);
    }

    /// Adds the row of a cached instance to the next commit.
    pub(super) fn store(&mut self, key: &str, position: u64) {
        let commit = self.next_commit;
        if let Some(row) = self.instances.store(key, commit) {
            self.put(row, position);
        }
    }

    fn event(&mut self, shown: &Shown, nth: usize) -> Result<(), Halt> {
        let Shown { event, correlation } = shown;
        let (stream, recorded) = &**event;
        let position = recorded.position;
        // The held events of a stream that is being released lie before the position of the machine.
        let at = self.position.max(position);
        if let Some(held) = self.held_in_stream(stream, position) {
            let outcome = held.hold.outcome();
            let key = rows::stream_held_key(stream, position);
            self.put(put(key, &HeldRow::Event(position)), at);
            self.dirty.set_back(Some(position), outcome);
            return Ok(());
        }
        let joins = match correlation {
            Ok(joins) => joins,
            Err(cause) => return self.correlation_failed(event, cause, at),
        };
        if !self.definition.is_keyed && self.cautious == Some(position) {
            self.encode_unkeyed(position)?;
        }
        let open = self.open.take();
        let mut draft = open.unwrap_or_else(|| Draft::of_event(at, event));
        if let Some(join) = joins.get(nth) {
            self.join(nth, join, event, &mut draft)?;
        }
        if nth + 1 < joins.len() {
            self.open = Some(draft);
        } else if !draft.commands.is_empty()
            || (!self.definition.is_keyed && !self.dirty.is_empty())
        {
            self.effects.push(Effect::Decide(draft));
        }
        Ok(())
    }

    /// The hold of the stream of an event, if the event waits in its stream.
    pub(super) fn held_in_stream(&self, stream: &StreamId, position: u64) -> Option<&HeldStream> {
        let held = self.held_streams.get(stream);
        held.filter(|held| !held.is_releasing || position > self.position)
    }

    /// The number of the next attempt at an event, from 1.
    pub(super) fn attempt_at(&mut self, key: &str, position: u64) -> u32 {
        let what = held_key(key, position, 0, "");
        let found = self.instances.get(key);
        let hold = found.and_then(|found| found.hold.as_ref());
        let before = hold.and_then(|hold| hold.retry_of(&what));
        before.map_or(1, |retry| retry.count.saturating_add(1))
    }

    /// Delivers an event to the instance of its `nth` join.
    fn join(
        &mut self,
        nth: usize,
        Join { key, kind, .. }: &Join,
        event: &(StreamId, RecordedEvent),
        draft: &mut Draft<P::Letter>,
    ) -> Result<(), Halt> {
        let (stream, event) = event;
        match part(*kind, self.instances.found(key)) {
            Part::Waits => {
                let held = held_key(key, event.position, 0, "");
                self.put(put(held, &HeldRow::Event(event.position)), draft.position);
                let outcome = self.outcome_of_held(key);
                self.dirty.set_back(Some(event.position), outcome);
                self.store_parked(key, draft.position);
                return Ok(());
            }
            Part::Ignored => {
                self.ignore(event.position, nth);
                return Ok(());
            }
            Part::Starts => drop(self.instances.begin(key)),
            Part::Continues => {}
        }
        self.deliver(key, Delivery::Event(stream, event), draft)
    }

    /// Counts an event without an open instance. It counts once, even if an earlier failure leads to another delivery.
    fn ignore(&mut self, position: u64, nth: usize) {
        if position <= self.position {
            // The event was held, so the commit of its release counts it.
            self.dirty.counts.ignored += 1;
        } else if (position, nth + 1) > self.ignored_to {
            self.ignored_to = (position, nth + 1);
            self.effects.push(Effect::Ignore);
        }
    }

    fn skipped(&mut self, shown: &Shown) {
        let (stream, event) = &*shown.event;
        let source = SourceEvent::of(&stream.aggregate_type, &stream.instance_id, event);
        let position = event.position;
        self.put(put(rows::passed_key(position, ""), &source), position);
        self.end_retry(position);
        let draft = Draft::of_event(position, &shown.event);
        self.effects.push(Effect::Decide(draft));
    }

    fn deadline(&mut self, row: Box<str>, timer: &TimerRow, turn: Turn) -> Result<(), Halt> {
        let position = self.position;
        self.put(remove(row), position);
        let held = match turn {
            Turn::Now => None,
            Turn::Released(held) => Some(held),
            Turn::Later(place) => {
                self.hold(
                    &timer.key,
                    Delivery::Deadline(timer),
                    Some(&place),
                    position,
                );
                return Ok(());
            }
        };
        if !self.is_armed(timer) {
            return Ok(());
        }
        if let Some(instance) = self.instances.get(&timer.key) {
            instance.timers.remove(&timer.deadline.name);
        }
        // Deadlines are rare, so the state before each one is encoded.
        self.keep_unkeyed(position)?;
        let mut draft = Draft::of_deadline(position, timer);
        draft.held = held;
        self.deliver(&timer.key, Delivery::Deadline(timer), &mut draft)?;
        self.effects.push(Effect::Decide(draft));
        Ok(())
    }

    /// Whether the deadline is still armed. A canceled deadline, or a deadline of a previous instance of the key, is not.
    pub(super) fn is_armed(&mut self, timer: &TimerRow) -> bool {
        let TimerRow { key, deadline, .. } = timer;
        self.instances.get(key).is_some_and(|instance| {
            instance.generation == timer.generation
                && instance.timers.get(&deadline.name) == Some(&deadline.due_ms)
        })
    }

    fn command(
        &mut self,
        row: Box<str>,
        command: CommandRow,
        held: Option<Box<str>>,
        is_asked_for: bool,
    ) -> Result<(), Halt> {
        self.put(remove(row), self.position);
        if let Some(cause) = self.given_up.take() {
            return self.give_up_command(command, &cause);
        }
        let letter = self.post.stored(command.envelope.clone());
        let mut draft = Draft::of_command(self.position, command, letter);
        (draft.held, draft.is_asked_for) = (held, is_asked_for);
        self.effects.push(Effect::Decide(draft));
        Ok(())
    }

    fn held_event(
        &mut self,
        key: &str,
        row: Box<str>,
        shown: &Shown,
        has_failed: bool,
        is_behind: bool,
    ) -> Result<(), Halt> {
        let Shown { event, correlation } = shown;
        let (stream, recorded) = &**event;
        let (at, position) = (recorded.position, self.position);
        let mut draft = Draft::of_event(position, event);
        self.put(remove(row), position);
        if self.instances.is_releasing(key) {
            let is_ignored = correlation.as_ref().is_ok_and(|joins| {
                let mut own = joins.iter().filter(|join| join.key == key);
                own.any(|join| part(join.kind, super::correlation::Found::Open) == Part::Ignored)
            });
            // The exception is the failed event that started the instance.
            if is_ignored && !has_failed {
                self.ignore(at, 0);
                return Ok(());
            }
            self.deliver(key, Delivery::Event(stream, recorded), &mut draft)?;
            self.effects.push(Effect::Decide(draft));
            return Ok(());
        }
        // The released instance has ended with earlier held work. The event belongs to the current instance of its key, if there is one. It
        // waits in its stream, to keep the order of the stream.
        if self.held_streams.contains_key(stream) && (correlation.is_err() || is_behind) {
            let held = rows::stream_held_key(stream, at);
            self.put(put(held, &HeldRow::Event(at)), position);
            return Ok(());
        }
        match correlation {
            Err(cause) => self.correlation_failed(event, cause, position)?,
            Ok(joins) => {
                let own = joins.iter().filter(|join| join.key == key);
                for (nth, join) in own.enumerate() {
                    self.join(nth, join, event, &mut draft)?;
                }
            }
        }
        self.effects.push(Effect::Decide(draft));
        Ok(())
    }

    /// Redrives a failed reaction, in a commit that removes its dead letter. If the reaction fails again, the letter remains with its new
    /// error.
    fn letter(
        &mut self,
        row: Box<str>,
        mut letter: ReactionRow,
        shown: Option<&Shown>,
    ) -> Result<(), Halt> {
        let position = self.position;
        let mut draft = match (shown, letter.reaction.clone()) {
            (Some(Shown { event, correlation }), _) => {
                let joins: Vec<_> = match correlation {
                    // A letter with a key concerns only that instance. A letter without a key concerns all instances, because the
                    // correlation failed.
                    Ok(joins) => {
                        let own = |join: &&Join| letter.key.is_empty() || join.key == letter.key;
                        joins.iter().filter(own).collect()
                    }
                    Err(cause) => {
                        letter.attempts.push(self.attempt(cause));
                        self.put(put(row, &letter), position);
                        self.effects.push(Effect::Redriven { has_failed: true });
                        return Ok(());
                    }
                };
                let mut draft = Draft::of_event(position, event);
                self.put(remove(row.clone()), position);
                draft.letter = (joins.len() < 2).then_some((row, letter));
                self.keep_unkeyed(position)?;
                for (nth, join) in joins.into_iter().enumerate() {
                    self.join(nth, join, event, &mut draft)?;
                }
                draft
            }
            (None, HeldRow::Deadline(timer)) => {
                let found = self.instances.get(&timer.key);
                let is_its = found.filter(|found| found.generation == timer.generation);
                if is_its.as_ref().is_some_and(|found| found.holds()) {
                    // The deadline would take the name of the armed deadline, so the letter remains until its instance continues.
                    self.effects.push(Effect::Redriven { has_failed: true });
                    return Ok(());
                }
                let is_its = is_its.is_some();
                let mut draft = Draft::of_deadline(position, &timer);
                self.put(remove(row.clone()), position);
                draft.letter = Some((row, letter));
                // A deadline of an ended instance has no effect.
                if is_its {
                    self.keep_unkeyed(position)?;
                    self.deliver(&timer.key, Delivery::Deadline(&timer), &mut draft)?;
                }
                draft
            }
            (None, _) => return Ok(()),
        };
        draft.letter = None;
        let has_failed = draft.has_failed;
        self.effects.push(Effect::Decide(draft));
        self.effects.push(Effect::Redriven { has_failed });
        Ok(())
    }

    /// The part of the commit that the machine determines.
    fn decided(&mut self, draft: &Draft<P::Letter>, mut attempt: Attempt) -> Result<(), Halt> {
        let position = draft.position;
        if let Some((reason, outcome)) = attempt.stop {
            return Err(Halt::held(
                HoldRow::new(position, reason, self.now.noted),
                outcome,
            ));
        }
        for (key, reason) in &attempt.parks {
            self.park(
                key,
                position,
                HoldRow::new(position, reason.clone(), self.now.noted),
            );
        }
        if let Some(outcome) = attempt.setback {
            let position = match &draft.source {
                Source::Event(event) => Some(event.1.position),
                Source::Known(_) | Source::Nothing => None,
            };
            self.dirty.set_back(position, outcome);
        }
        for row in attempt.rows {
            self.put(row, position);
        }
        let progress = Progress {
            position,
            state: self.progress_state(),
        };
        let Dirty {
            rows,
            setbacks,
            mut dead_letters,
            mut counts,
            ..
        } = std::mem::take(&mut self.dirty);
        dead_letters.append(&mut attempt.dead_letters);
        counts.skipped += attempt.skipped;
        self.next_commit += 1;
        self.effects.push(Effect::Store(Stored {
            progress,
            rows,
            setbacks,
            dead_letters,
            counts,
        }));
        Ok(())
    }

    /// A hold of the whole process manager, until an operator ends it.
    pub(super) fn parked(&self, position: u64, reason: String) -> Halt {
        let hold = HoldRow::new(position, reason, self.now.noted);
        Halt::held(hold, Reactions::Parked)
    }

    /// A draft of the current position and the pending row changes.
    pub(crate) fn progress(&self) -> Draft<P::Letter> {
        let cause = super::super::origin::Cause::none();
        Draft::new(self.position, self.position, cause, Source::Nothing)
    }

    /// Without `key`: encodes the state for the next commit.
    pub(crate) fn encode_unkeyed(&mut self, position: u64) -> Result<(), Halt> {
        if let Some(instance) = self.instances.only() {
            let encoded = instance.encode();
            encoded.map_err(|cause| self.parked(position, cause.reason()))?;
        }
        Ok(())
    }

    /// Without `key`: encodes the state before the next delivery, to restore it after a failure.
    pub(super) fn keep_unkeyed(&mut self, position: u64) -> Result<(), Halt> {
        if !self.definition.is_keyed {
            self.encode_unkeyed(position)?;
            self.cautious = Some(position);
        }
        Ok(())
    }

    /// The state that is stored with the progress.
    fn progress_state(&mut self) -> Box<RawValue> {
        let only = self.instances.only();
        let encoded = only.and_then(|found| found.encoded.clone());
        encoded.unwrap_or_else(|| RawValue::NULL.to_owned())
    }
}

/// An event, with the result of its correlation.
impl Shown {
    pub(crate) fn joins(&self) -> &[Join] {
        self.correlation.as_deref().unwrap_or_default()
    }

    pub(crate) fn position(&self) -> u64 {
        self.event.1.position
    }

    pub(crate) fn stream(&self) -> &StreamId {
        &self.event.0
    }

    pub(super) fn event(&self) -> Arc<(StreamId, RecordedEvent)> {
        Arc::clone(&self.event)
    }

    pub(crate) fn new(
        event: Arc<(StreamId, RecordedEvent)>,
        correlation: Result<Vec<Join>, FailureCause>,
    ) -> Self {
        Self { event, correlation }
    }
}
