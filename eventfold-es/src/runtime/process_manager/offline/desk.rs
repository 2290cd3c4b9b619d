//! One piece of work: the inputs of the machine, and the commits.

use std::sync::Arc;

use super::post::{CallEnded, Happened, Letter, Plain};
use super::{Offline, Recorded, Work, World};
use crate::clock::millis_since_1970;
use crate::envelope::CommandEnvelope;
use crate::journal::{Row, RowRange};
use crate::process_manager::FailureCause;
use crate::runtime::process_manager::correlation::{Found, joins};
use crate::runtime::process_manager::failure::Attempt;
use crate::runtime::process_manager::hold::{HeldStream, Scope};
use crate::runtime::process_manager::machine::{Effect, Input, Machine, Now, Stored, Turn};
use crate::runtime::process_manager::plan::Draft;
use crate::runtime::process_manager::rows::{
    self, CommandRow, HeldRow, InstanceRow, RetriedRow, Status, TimerRow,
};
use crate::runtime::process_manager::{Halt, Shown};
use crate::runtime::saved_state::decode_state;

/// One piece of work in progress.
pub(super) struct Desk<'a> {
    pub(super) machine: Machine<Plain<'a>>,
    pub(super) stored: &'a mut Offline,
    pub(super) world: &'a mut dyn World,
}

impl Desk<'_> {
    fn tell_time(&mut self) {
        let now = self.world.now();
        self.machine.now = Now {
            stored: now,
            retries_ms: millis_since_1970(now),
            noted: millis_since_1970(now) / 1000,
        };
    }

    pub(super) fn load(&mut self) -> Result<(), Halt> {
        self.tell_time();
        for (key, value) in self.stored.of_kind(rows::STREAMS) {
            if let (Some(stream), Ok(hold)) = (rows::stream_of(key), rows::read(key, value)) {
                let held = HeldStream {
                    hold,
                    is_releasing: false,
                };
                self.machine.held_streams.insert(stream, held);
            }
        }
        let definition = self.machine.definition;
        if definition.is_keyed {
            return Ok(());
        }
        let state = decode_state(definition, self.stored.state.get())
            .map_err(|reason| self.broken(reason))?;
        let instance = self.machine.instances.begin("");
        instance.encoded = Some(self.stored.state.clone());
        instance.state = Some(state);
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

    pub(super) fn work(&mut self, work: Work<'_>) -> Result<(), Halt> {
        match work {
            Work::Event(event, fails) => {
                let shown = self.show(event);
                self.event(&shown, fails)?;
                // An event handler may handle events of other keys before it.
                self.machine.position = self.machine.position.max(shown.position());
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
            Work::Release(scope) => self.release(&scope)?,
        }
        match self.machine.definition.is_keyed {
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
        Shown::new(
            Arc::clone(event),
            joins(self.machine.definition, &event.0, &event.1),
        )
    }

    fn event(&mut self, shown: &Shown, fails: Option<FailureCause>) -> Result<(), Halt> {
        self.learn(shown.joins().iter().map(|join| join.key.as_str()))?;
        if self.machine.post.caller.is_some() && self.is_called(shown) {
            self.call(shown, 1)?;
        }
        // The state before the event is known, so nothing has to go back.
        self.machine.cautious = Some(shown.position());
        for nth in 0..shown.joins().len().max(1) {
            self.machine.given_up = fails.clone();
            self.step(Input::Event { shown, nth })?;
        }
        Ok(())
    }

    /// Whether an event handler is called: no earlier work of its key or of its stream waits.
    fn is_called(&mut self, shown: &Shown) -> bool {
        let [join] = shown.joins() else {
            return false;
        };
        let machine = &mut self.machine;
        let held = machine.held_in_stream(shown.stream(), shown.position());
        held.is_none() && machine.instances.found(&join.key) != Found::Holding
    }

    /// Calls the event handler, if it is one. The next delivery has the outcome.
    fn call(&mut self, shown: &Shown, attempt: u32) -> Result<(), Halt> {
        let Some(caller) = self.machine.post.caller else {
            return Ok(());
        };
        let event = shown.event();
        let outcome = caller.call(self.stored, &event, attempt);
        // The call has taken time.
        self.tell_time();
        let outcome = outcome.ok_or(Halt::Ended)?;
        self.machine.called = Some(outcome.clone());
        let called = CallEnded { event, outcome };
        self.machine.post.note(Happened::Called(called));
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
        // A release that a crash has interrupted has begun.
        if !self.machine.is_parked(scope) || self.machine.begin_release(scope) {
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
                        let attempt = self.machine.attempt_at(key, at);
                        self.call(&shown, attempt)?;
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
        self.machine.called = None;
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
