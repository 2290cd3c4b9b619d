//! The machine on rows in memory: the driver of tests and of exploration. Each piece of work begins with the stored rows, as after a crash,
//! and ends with one commit.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use std::time::SystemTime;

use serde_json::value::RawValue;

use super::super::guarded::Kept;
use super::super::saved_state::{decode_state, initial_progress};
use super::correlation::joins;
use super::failure::Attempt;
use super::hold::{HeldStream, Scope};
use super::machine::{Effect, Input, Machine, Now, Stored, Turn};
use super::plan::{Draft, Post};
use super::rows::{self, CommandRow, HeldRow, InstanceRow, RetriedRow, Status, TimerRow};
use super::{Halt, Shown};
use crate::clock::millis_since_1970;
use crate::envelope::{CommandEnvelope, Dispatch, DispatchTarget, Envelope, Router};
use crate::event::RecordedEvent;
use crate::journal::{Row, RowRange, StreamId};
use crate::process_manager::{Effects, FailureCause, ProcessManager, TimerChange};

/// An event of a journal in memory.
pub(crate) type Recorded = Arc<(StreamId, RecordedEvent)>;

/// The durable data of a process manager, in memory.
#[derive(Debug, Clone)]
pub(crate) struct Offline {
    /// Shared, since an exploration copies them at each step.
    pub(crate) rows: BTreeMap<Arc<str>, Arc<str>>,
    /// Without `key`: the state.
    pub(crate) state: Box<RawValue>,
    pub(crate) position: u64,
    /// The reason why the whole process manager is held.
    pub(crate) halted: Option<String>,
}

/// The world around one piece of work.
pub(crate) trait World {
    fn now(&self) -> SystemTime;

    /// The event at a position, to release held work.
    fn event(&self, position: u64) -> Option<Recorded>;

    /// The decision of the target of a command: the cause if it does not execute it.
    fn decide(&mut self, command: &CommandEnvelope) -> Option<FailureCause>;

    /// A command that was executed, when its commit is stored.
    fn executed(&mut self, command: CommandEnvelope);
}

/// A piece of work.
pub(crate) enum Work<'a> {
    /// An event, with the cause if its delivery fails.
    Event(&'a Recorded, Option<FailureCause>),
    /// The row of a deadline that is due, with the cause if its delivery fails.
    Deadline(&'a str, Option<FailureCause>),
    /// The row of a command, an instance or a stream whose retry is due.
    Retry(&'a str),
    /// A scope that an operator releases.
    #[cfg(test)]
    Release(Scope),
}

/// Keeps envelopes in their stored form.
struct Erase;

impl Router for Erase {
    type Routed = Result<CommandEnvelope, serde_json::Error>;

    fn typed<A: DispatchTarget>(self, envelope: Envelope<A>) -> Self::Routed {
        envelope.erase()
    }

    fn erased(self, envelope: CommandEnvelope) -> Self::Routed {
        Ok(envelope)
    }
}

/// The stored form of a command.
///
/// # Errors
///
/// The error of its encoding.
pub(crate) fn erased<E: Dispatch>(envelope: E) -> Result<CommandEnvelope, serde_json::Error> {
    envelope.route(Erase)
}

/// The effects of one reaction.
#[derive(Debug, Clone)]
pub(crate) struct Reacted {
    pub(crate) key: String,
    pub(crate) commands: Vec<CommandEnvelope>,
    pub(crate) timers: Vec<TimerChange>,
    pub(crate) is_complete: bool,
}

/// A call of user code in a piece of work.
#[derive(Debug, Clone)]
pub(crate) enum Happened {
    Reacted(Reacted),
    Failed(FailureCause),
}

/// Keeps the envelopes in their stored form, and notes the reactions.
#[derive(Default)]
struct Plain {
    happened: RefCell<Vec<Happened>>,
}

impl<PM: ProcessManager> Post<PM> for Plain {
    type Letter = Result<CommandEnvelope, String>;

    fn reacted(&self, key: &str, effects: &Effects<PM::Envelope>) {
        let reacted = Reacted {
            key: key.to_owned(),
            commands: Vec::new(),
            timers: effects.timers.clone(),
            is_complete: effects.is_complete,
        };
        self.happened.borrow_mut().push(Happened::Reacted(reacted));
    }

    fn failed(&self, cause: &FailureCause) {
        let mut happened = self.happened.borrow_mut();
        // A state that cannot be stored makes its reaction a failure.
        happened.push(Happened::Failed(cause.clone()));
    }

    fn typed(&self, envelope: Kept<PM::Envelope>) -> Self::Letter {
        let erased = erased(envelope.into_inner());
        if let Ok(command) = &erased
            && let Some(Happened::Reacted(reacted)) = self.happened.borrow_mut().last_mut()
        {
            reacted.commands.push(command.clone());
        }
        erased.map_err(|error| format!("the command does not serialize: {error}"))
    }

    fn stored(&self, envelope: CommandEnvelope) -> Self::Letter {
        Ok(envelope)
    }
}

type Letter = Result<CommandEnvelope, String>;

impl Offline {
    /// A process manager before its first event.
    ///
    /// # Errors
    ///
    /// The reason, if its default state cannot be stored.
    pub(crate) fn new<PM: ProcessManager>() -> Result<Self, String> {
        let progress = initial_progress::<PM>()?;
        Ok(Self {
            rows: BTreeMap::new(),
            state: progress.state,
            position: progress.position,
            halted: None,
        })
    }

    /// The rows of a kind, in the order of their keys.
    pub(crate) fn of_kind(&self, kind: &str) -> impl Iterator<Item = (&str, &str)> {
        self.within(RowRange::of_kind(kind))
    }

    fn within(&self, range: RowRange) -> impl Iterator<Item = (&str, &str)> {
        let range = (Bound::Included(&*range.from), Bound::Excluded(&*range.to));
        self.rows
            .range::<str, _>(range)
            .map(|(key, value)| (&**key, &**value))
    }

    pub(crate) fn has_deadlines(&self) -> bool {
        self.of_kind(rows::TIMERS).next().is_some()
    }

    /// The first deadline that is due, with its row.
    pub(crate) fn next_deadline(&self) -> Option<(&str, TimerRow)> {
        self.deadlines().next()
    }

    /// The armed deadlines with their rows, in the order of their times.
    pub(crate) fn deadlines(&self) -> impl Iterator<Item = (&str, TimerRow)> {
        let rows = self.of_kind(rows::TIMERS);
        rows.filter_map(|(key, value)| Some((key, rows::read(key, value).ok()?)))
    }

    /// The row of the first retry, and its time in milliseconds since 1970.
    pub(crate) fn next_retry(&self) -> Option<(&str, u64)> {
        let (key, _) = self.of_kind(rows::PENDING).next()?;
        Some((key, rows::due_of(key)?))
    }

    /// The instances, in the order of their keys: the stored form of the state, if the instance is open.
    pub(crate) fn instances<PM: ProcessManager>(
        &self,
    ) -> impl Iterator<Item = (&str, Option<Box<RawValue>>)> {
        let only = (!PM::IS_KEYED).then(|| ("", Some(self.state.clone())));
        let kind = rows::InstanceTable::default().kind();
        let keyed = self.of_kind(kind).filter(|_| PM::IS_KEYED);
        only.into_iter().chain(keyed.map(|(key, value)| {
            let read = rows::read::<InstanceRow>(key, value).ok();
            let open = read.filter(|row| row.status != Status::Completed);
            (
                key.get(1..).unwrap_or_default(),
                open.and_then(|row| row.state),
            )
        }))
    }

    /// The number of parked instances and held streams without a retry.
    pub(crate) fn parked(&self) -> usize {
        let kind = rows::InstanceTable::default().kind();
        let instances = self.of_kind(kind).filter(|(key, value)| {
            let read = rows::read::<InstanceRow>(key, value);
            read.is_ok_and(|row| row.parked.is_some_and(|hold| hold.retry.is_none()))
        });
        let streams = self.of_kind(rows::STREAMS).filter(|(key, value)| {
            let read = rows::read::<rows::HoldRow>(key, value);
            read.is_ok_and(|hold| hold.retry.is_none())
        });
        instances.count() + streams.count()
    }

    /// Does one piece of work, and stores its effects. If the process manager halts as a whole, nothing is stored but that. Returns the calls
    /// of user code.
    pub(crate) fn work<PM: ProcessManager>(
        &mut self,
        work: Work<'_>,
        world: &mut impl World,
    ) -> Vec<Happened> {
        if self.halted.is_some() {
            return Vec::new();
        }
        let mut desk = Desk::<PM, _> {
            machine: Machine::new(self.position, Plain::default()),
            stored: self,
            world,
        };
        let done = desk.load().and_then(|()| desk.work(work));
        let mut happened = desk.machine.post.happened.take();
        if let Err(halt) = done {
            let reason = match halt {
                Halt::Held(hold, _) => hold.reason,
                Halt::Retry | Halt::Back | Halt::Ended => "it cannot go on".to_owned(),
            };
            self.halted = Some(reason.clone());
            happened.push(Happened::Failed(FailureCause::Undecodable { reason }));
        }
        happened
    }
}

/// One piece of work in progress.
struct Desk<'a, PM: ProcessManager, W> {
    machine: Machine<PM, Plain>,
    stored: &'a mut Offline,
    world: &'a mut W,
}

impl<PM: ProcessManager, W: World> Desk<'_, PM, W> {
    fn load(&mut self) -> Result<(), Halt> {
        let now = self.world.now();
        self.machine.now = Now {
            stored: now,
            retries_ms: millis_since_1970(now),
            noted: millis_since_1970(now) / 1000,
        };
        for (key, value) in self.stored.of_kind(rows::STREAMS) {
            if let (Some(stream), Ok(hold)) = (rows::stream_of(key), rows::read(key, value)) {
                let held = HeldStream {
                    hold,
                    is_releasing: false,
                };
                self.machine.held_streams.insert(stream, held);
            }
        }
        if PM::IS_KEYED {
            return Ok(());
        }
        let state = decode_state(self.stored.state.get()).map_err(|reason| self.broken(reason))?;
        let instance = self.machine.instances.begin("");
        instance.encoded = Some(self.stored.state.clone());
        instance.state = Some(Kept::new(state));
        let row = self
            .stored
            .rows
            .get(&*rows::InstanceTable::default().key(""));
        let row = row.map(|row| rows::read::<InstanceRow>("i", row));
        if let Some(Ok(row)) = row {
            instance.generation = row.generation;
            instance.timers = row.timers;
            instance.hold = row.parked;
        }
        Ok(())
    }

    fn broken(&self, reason: String) -> Halt {
        self.machine.parked(self.machine.position + 1, reason)
    }

    fn work(&mut self, work: Work<'_>) -> Result<(), Halt> {
        match work {
            Work::Event(event, fails) => {
                let shown = self.show(event);
                self.event(&shown, fails)?;
                self.machine.position = shown.position();
            }
            Work::Deadline(row, fails) => {
                let Some(value) = self.stored.rows.get(row) else {
                    return Ok(());
                };
                let timer: TimerRow = rows::read(row, value).map_err(|why| self.broken(why))?;
                self.learn([timer.key.as_str()])?;
                self.machine.given_up = fails;
                let found = self.machine.instances.get(&timer.key);
                let is_held = found.is_some_and(|found| found.status != Status::Open);
                let turn = match is_held && self.machine.is_armed(&timer) {
                    true => Turn::Later(rows::held_deadline_key(
                        &timer.key,
                        self.machine.position,
                        timer.deadline.due_ms,
                        &timer.deadline.name,
                    )),
                    false => Turn::Now,
                };
                let row = row.into();
                let timer = &timer;
                self.step(Input::Deadline { row, timer, turn })?;
            }
            Work::Retry(row) => self.retry(row)?,
            #[cfg(test)]
            Work::Release(scope) => self.release(&scope)?,
        }
        match PM::IS_KEYED {
            true => self.flush()?,
            // The progress contains the state.
            false => {
                let draft = self.machine.progress();
                self.commit(draft)?;
            }
        }
        self.stored.position = self.machine.position;
        Ok(())
    }

    fn show(&self, event: &Recorded) -> Shown {
        Shown::new(Arc::clone(event), joins::<PM>(&event.0, &event.1))
    }

    fn event(&mut self, shown: &Shown, fails: Option<FailureCause>) -> Result<(), Halt> {
        self.learn(shown.joins().iter().map(|join| join.key.as_str()))?;
        // The state before the event is known, so nothing has to go back.
        self.machine.cautious = Some(shown.position());
        for nth in 0..shown.joins().len().max(1) {
            self.machine.given_up = fails.clone();
            self.step(Input::Event { shown, nth })?;
        }
        Ok(())
    }

    fn learn<'k>(&mut self, keys: impl IntoIterator<Item = &'k str>) -> Result<(), Halt> {
        let noted = self.machine.now.noted;
        for key in keys {
            if !self.machine.instances.knows(key) {
                let row = self
                    .stored
                    .rows
                    .get(&*self.machine.instances.table().key(key));
                let position = self.machine.position;
                let instances = &mut self.machine.instances;
                let learnt = instances.learn(key, row.map(|row| &**row), position, noted);
                learnt.map_err(|reason| self.broken(reason))?;
            }
        }
        Ok(())
    }

    fn retry(&mut self, row: &str) -> Result<(), Halt> {
        let Some(value) = self.stored.rows.get(row).cloned() else {
            return Ok(());
        };
        if let Ok(retried) = rows::read::<RetriedRow>(row, &value) {
            let position = self.machine.position;
            self.machine.put(rows::remove(row.into()), position);
            return self.release(&retried.into());
        }
        let command: CommandRow = rows::read(row, &value).map_err(|why| self.broken(why))?;
        self.learn([command.key.as_str()])?;
        self.command(row.into(), command, None)
    }

    fn command(
        &mut self,
        row: Box<str>,
        command: CommandRow,
        held: Option<Box<str>>,
    ) -> Result<(), Halt> {
        self.step(Input::Command {
            row,
            command: Box::new(command),
            held,
            is_asked_for: false,
        })
    }

    fn release(&mut self, scope: &Scope) -> Result<(), Halt> {
        if let Scope::Instance(key) = scope {
            self.learn([key.as_str()])?;
        }
        if !self.machine.holds(scope) {
            return Ok(());
        }
        if self.machine.begin_release(scope) {
            self.flush()?;
            let range = RowRange::numbered(&scope.prefix());
            while !self.machine.is_parked(scope) {
                let first = self.stored.within(range.clone()).next();
                let Some(row) = first.map(|(key, value)| Row {
                    key: key.into(),
                    value: value.into(),
                }) else {
                    break;
                };
                self.held(scope, row)?;
                self.flush()?;
            }
            self.machine.end_release(scope);
        }
        self.flush()
    }

    fn held(&mut self, scope: &Scope, row: Row) -> Result<(), Halt> {
        let held: HeldRow = rows::read(&row.key, &row.value).map_err(|why| self.broken(why))?;
        let has_failed = matches!(held, HeldRow::Failed(_));
        match (held, scope) {
            (HeldRow::Event(at) | HeldRow::Failed(at), _) => {
                let event = self.world.event(at);
                let shown = event.map(|event| self.show(&event));
                match (shown, scope) {
                    (Some(shown), Scope::Instance(key)) => {
                        let streams = &self.machine.held_streams;
                        let is_behind = streams.contains_key(shown.stream()) && {
                            let prefix = rows::stream_held_prefix(shown.stream());
                            let first = self.stored.within(RowRange::numbered(&prefix)).next();
                            let first = first.and_then(|(key, _)| rows::stream_held_at(key));
                            first.is_some_and(|first| first < at)
                        };
                        self.step(Input::Held {
                            key,
                            row: row.key,
                            shown: &shown,
                            has_failed,
                            is_behind,
                        })
                    }
                    (Some(shown), _) => {
                        self.remove(row.key);
                        self.event(&shown, None)
                    }
                    (None, _) => {
                        self.remove(row.key);
                        Ok(())
                    }
                }
            }
            (HeldRow::Deadline(timer), _) => {
                let (due, name) = (timer.deadline.due_ms, &timer.deadline.name);
                if self
                    .stored
                    .rows
                    .contains_key(&*rows::timer_key(due, &timer.key, name))
                {
                    self.remove(row.key);
                    return Ok(());
                }
                self.step(Input::Deadline {
                    row: row.key.clone(),
                    timer: &timer,
                    turn: Turn::Released(row.key),
                })
            }
            (HeldRow::Command(command), _) => {
                let held = Some(row.key.clone());
                self.command(row.key, *command, held)
            }
        }
    }

    fn remove(&mut self, key: Box<str>) {
        let position = self.machine.position;
        self.machine.put(rows::remove(key), position);
    }

    fn step(&mut self, input: Input<'_, Letter>) -> Result<(), Halt> {
        let effects = self.machine.step(input);
        self.machine.given_up = None;
        for effect in effects {
            match effect {
                Effect::Decide(draft) => self.commit(draft)?,
                Effect::Halt(halt) => return Err(halt),
                Effect::Also(_) | Effect::Store(_) | Effect::Ignore | Effect::Redriven { .. } => {}
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Halt> {
        match self.machine.dirty.is_empty() {
            true => Ok(()),
            false => {
                let draft = self.machine.progress();
                self.commit(draft)
            }
        }
    }

    fn commit(&mut self, mut draft: Draft<Letter>) -> Result<(), Halt> {
        self.machine.encode_unkeyed(draft.position)?;
        let mut attempt = Attempt::default();
        let mut commands = std::mem::take(&mut draft.commands).into_vec();
        let (mut index, mut executed) = (0, Vec::new());
        while let Some((letter, planned)) = commands.get(index) {
            let (envelope, cause) = match letter {
                Ok(envelope) => (envelope.clone(), self.world.decide(envelope)),
                Err(reason) => {
                    let lost = CommandEnvelope {
                        aggregate_type: String::new(),
                        instance_id: String::new(),
                        command: serde_json::Value::Null,
                        context: Default::default(),
                    };
                    let reason = reason.clone();
                    (lost, Some(FailureCause::Undecodable { reason }))
                }
            };
            let mut also = Vec::new();
            match &cause {
                None => executed.push(envelope),
                Some(cause) => {
                    let effects = self.machine.step(Input::Refused {
                        draft: &draft,
                        planned,
                        envelope,
                        cause,
                        index,
                        attempt: &mut attempt,
                    });
                    for effect in effects {
                        if let Effect::Also(more) = effect {
                            also.extend(more);
                        }
                    }
                }
            }
            commands.extend(also);
            index += 1;
        }
        let draft = &draft;
        for effect in self.machine.step(Input::Decided { draft, attempt }) {
            match effect {
                Effect::Store(stored) => self.store(stored),
                Effect::Halt(halt) => return Err(halt),
                _ => {}
            }
        }
        for command in executed {
            self.world.executed(command);
        }
        Ok(())
    }

    fn store(&mut self, stored: Stored) {
        let Stored { progress, rows, .. } = stored;
        for row in rows {
            // Only a rebuild reads these rows.
            if row.key.starts_with(rows::FIRED) || row.key.starts_with(rows::PASSED) {
                continue;
            }
            match row.value {
                Some(value) => drop(self.stored.rows.insert(row.key.into(), value.into())),
                None => drop(self.stored.rows.remove(&*row.key)),
            }
        }
        self.stored.state = progress.state;
    }
}
