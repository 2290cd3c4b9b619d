//! Due work: deadlines that fire, and commands that are retried.
//!
//! A deadline fires after every event that was stored up to its due time, and before every event that was stored later. This order holds
//! however late the runner is. For example, a deadline at 12:00 fires before an event of 12:01, although both are handled at 13:00. So
//! [`fire_before`](ProcessManagerRunner::fire_before) runs before each event. [`fire_due`](ProcessManagerRunner::fire_due) runs after the
//! last event, once no other event can be stored before the deadline.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::Halt;
use super::driver::ProcessManagerRunner;
use super::hold::Scope;
use super::machine::{Input, Turn};
use super::plan::Report;
use super::rows::{self, CommandRow, RetriedRow, Status, TimerRow, held_deadline_key, put, remove};
use super::timers::Timers;
use crate::clock::millis_since_1970;
use crate::journal::RowRange;

/// The maximum number of deadlines to fire before other work is done. Also the maximum length of a chain of deadlines, each armed by the
/// previous one for a past time, before the next event is delivered.
const MAX_FIRED: usize = 1024;

/// The deadlines that come before held work: the key of its instance, and the position at which they are held if the instance parks.
pub(super) type Released<'a> = Option<(&'a str, u64)>;

impl ProcessManagerRunner {
    /// The time of the store, in milliseconds since 1970. The times of commits come from it.
    pub(super) fn stored_now(&self) -> u64 {
        self.context.runtime.journal.clock().now_ms()
    }

    /// The time of the clock, in milliseconds since 1970. Retries use it.
    pub(super) fn now_ms(&self) -> u64 {
        millis_since_1970(self.context.clock.now())
    }

    /// The time at which the next work is due.
    pub(super) fn next_due(&self) -> Option<SystemTime> {
        if !self.context.fires || self.is_paused {
            return None;
        }
        let (timers, retries) = (&self.machine.timers, &self.machine.retries);
        let soon = self.stored_now().saturating_add(1);
        // The clock of the context may be behind the clock of the store.
        if timers.is_exhausted() || retries.is_exhausted() || timers.is_due_before(soon) {
            return Some(UNIX_EPOCH);
        }
        let due = [timers.next_due(), retries.next_due()];
        let due = due.into_iter().flatten().min()?;
        UNIX_EPOCH.checked_add(Duration::from_millis(due))
    }

    /// Reads the first due rows. No change of such rows may be in flight.
    pub(super) async fn read_timers(&mut self) -> Result<(), Halt> {
        if self.machine.timers.is_exhausted() {
            let range = RowRange::of_kind(rows::TIMERS);
            let first = self.read_range(range, Timers::LIMIT).await?;
            self.machine.timers.read(first);
        }
        if self.machine.retries.is_exhausted() {
            let range = RowRange::of_kind(rows::PENDING);
            let first = self.read_range(range, Timers::LIMIT).await?;
            self.machine.retries.read(first);
        }
        Ok(())
    }

    /// Fires all due deadlines and starts all due retries. Returns their number.
    pub(super) async fn fire_due(&mut self) -> Result<usize, Halt> {
        let stayed = usize::from(self.go_on_where_it_stays().await?);
        let now = self.stored_now();
        let limit = rows::timers_until(now.saturating_add(1));
        let mut fired = 0;
        // Deadlines that arm each other endlessly must not block other work.
        while fired < MAX_FIRED && self.first_before(&limit).await?.is_some() {
            if !self.come_up_to(now).await? {
                break;
            }
            // One of the events just handled may have canceled the deadline.
            let Some((key, value)) = self.first_before(&limit).await? else {
                break;
            };
            self.fire_in_order(key, &value, None).await?;
            fired += 1;
        }
        Ok(stayed + fired + self.try_due_again().await?)
    }

    /// Fires the deadlines that were due before `time`, the time of the next event.
    pub(super) async fn fire_before(&mut self, time: u64) -> Result<(), Halt> {
        let limit = rows::timers_until(time);
        self.fire_until(&limit, None).await
    }

    /// Fires the deadlines whose keys sort before `limit`.
    pub(super) async fn fire_until(
        &mut self,
        limit: &str,
        released: Released<'_>,
    ) -> Result<(), Halt> {
        // The latest due time so far. For each deadline since then, the length of the chain of deadlines that armed it for that time or an
        // earlier one.
        let (mut latest, mut led_to) = (0, HashMap::new());
        while let Some((key, value)) = self.first_before(limit).await? {
            let mut chain = 0;
            if let Ok(timer) = rows::read::<TimerRow>(&key, &value) {
                let due = timer.deadline.due_ms;
                if due > latest {
                    latest = due;
                    led_to.clear();
                }
                let by = timer.armed_by.as_ref().and_then(|by| led_to.get(by));
                chain = by.map_or(0, |before| before + 1);
                led_to.insert(timer.id(self.definition().name), chain);
            }
            self.fire_in_order(key, &value, released).await?;
            let parks = released
                .is_some_and(|(key, _)| self.machine.is_parked(&Scope::Instance(key.to_owned())));
            // Independent deadlines all fire before the event, in any number. An endless chain of deadlines must not block the delivery of
            // events.
            if parks || chain == MAX_FIRED {
                break;
            }
        }
        Ok(())
    }

    /// The deadline that is due first, if its key sorts before `limit`.
    async fn first_before(&mut self, limit: &str) -> Result<Option<(Box<str>, Box<str>)>, Halt> {
        if self.machine.timers.is_exhausted() {
            self.flush().await?;
            self.finish_in_flight().await?;
            self.read_timers().await?;
        }
        let first = self.machine.timers.before(limit);
        Ok(first.map(|(key, value)| (key.into(), value.into())))
    }

    async fn fire_in_order(
        &mut self,
        row_key: Box<str>,
        value: &str,
        released: Released<'_>,
    ) -> Result<(), Halt> {
        self.note_start().await?;
        // The deadline may be retried. Earlier work must not come after it then, so it is committed first.
        if self.machine.position > self.submitted() || !self.machine.dirty.is_empty() {
            self.commit_progress().await?;
        }
        self.fire(row_key, value, released).await?;
        self.due = None;
        Ok(())
    }

    /// Handles all events that were stored at `time` or before. From now on, new events count as stored later. Returns `false` if the store
    /// closes first.
    async fn come_up_to(&mut self, time: u64) -> Result<bool, Halt> {
        let journal = Arc::clone(&self.context.runtime.journal);
        let passed = self.passed.filter(|(passed, _)| *passed >= time);
        let last = match passed {
            Some((_, last)) => last,
            None => {
                if let Some(last) = journal.pass(time) {
                    drop(last.wait().await);
                }
                let durable = *journal.durable().borrow();
                self.passed = Some((time, durable));
                durable
            }
        };
        self.react_until(last).await
    }

    /// Starts all retries that are due now, and returns their number.
    pub(super) async fn try_due_again(&mut self) -> Result<usize, Halt> {
        let now = self.now_ms();
        for tried in 0..MAX_FIRED {
            self.read_due().await?;
            self.note_start().await?;
            let first = self.machine.retries.due(now);
            let Some((key, value)) = first.map(|(key, value)| (key.to_owned(), value.to_owned()))
            else {
                return Ok(tried);
            };
            self.try_again(key.into(), &value).await?;
            self.due = None;
        }
        Ok(MAX_FIRED)
    }

    /// Reads the retries that are due first, if none is known.
    pub(super) async fn read_due(&mut self) -> Result<(), Halt> {
        if self.machine.retries.is_exhausted() {
            self.flush().await?;
            self.finish_in_flight().await?;
            self.read_timers().await?;
        }
        Ok(())
    }

    /// Processes the deadline or command at which the whole process manager halted, before any other work. No commit may be in flight.
    pub(super) async fn go_on_where_it_stays(&mut self) -> Result<bool, Halt> {
        let Some(at) = self.stays_at.clone() else {
            return Ok(false);
        };
        let row = self.read_row(at.clone()).await?;
        // The commit of its effects stores this change too.
        self.stays_at = None;
        self.put_control();
        if let Some(value) = row {
            self.note_this_start(Some(at.clone())).await?;
            match at.starts_with(rows::TIMERS) {
                true => self.fire(at, &value, None).await?,
                false => self.try_again(at, &value).await?,
            }
            self.due = None;
        }
        self.flush().await?;
        Ok(true)
    }

    async fn fire(
        &mut self,
        row_key: Box<str>,
        value: &str,
        released: Released<'_>,
    ) -> Result<(), Halt> {
        self.due = Some(row_key.clone());
        let read = rows::read(&row_key, value);
        let timer: TimerRow = read.map_err(|reason| self.unreadable_row(reason))?;
        self.learn(vec![timer.key.clone()]).await?;
        let deadline = &timer.deadline;
        let turn = match released {
            // The deadline precedes the work that is delivered next.
            Some((key, at)) if key == timer.key => {
                Turn::Released(held_deadline_key(key, at, deadline.due_ms, &deadline.name))
            }
            _ => {
                let found = self.machine.instances.get(&timer.key);
                let is_held = found.is_some_and(|found| found.status != Status::Open);
                match is_held && self.machine.is_armed(&timer) {
                    true => Turn::Later(self.place_among_held(&timer).await?),
                    false => Turn::Now,
                }
            }
        };
        if !matches!(turn, Turn::Later(_)) {
            let (due, name) = (deadline.due_ms, &deadline.name);
            let what = || format!("deadline {due} of {}: {name}", timer.key);
            if let Some(cause) = self.begins(what).await? {
                self.machine.given_up = Some(cause);
            }
            self.settle()?;
        }
        let timer = &timer;
        let row = row_key;
        self.step(Input::Deadline { row, timer, turn })
            .await
            .map(drop)
    }

    pub(super) async fn try_again(&mut self, row_key: Box<str>, value: &str) -> Result<(), Halt> {
        if let Ok(retried) = rows::read::<RetriedRow>(&row_key, value) {
            return self.release_again(row_key, retried).await;
        }
        self.due = Some(row_key.clone());
        let read = rows::read(&row_key, value);
        let command: CommandRow = read.map_err(|reason| self.unreadable_row(reason))?;
        self.learn(vec![command.key.clone()]).await?;
        self.settle()?;
        let what = || format!("command {}", command.command_id);
        if let Some(cause) = self.begins(what).await? {
            self.machine.given_up = Some(cause);
        }
        self.execute(row_key, command, None, false).await.map(drop)
    }

    /// Executes a command again, in its own commit. `held` is the key under which it was held.
    pub(super) async fn execute(
        &mut self,
        row: Box<str>,
        command: CommandRow,
        held: Option<Box<str>>,
        is_asked_for: bool,
    ) -> Result<Report, Halt> {
        let command = Box::new(command);
        let input = Input::Command {
            row,
            command,
            held,
            is_asked_for,
        };
        self.step(input).await
    }

    /// Releases an instance or a stream whose retry is due.
    async fn release_again(&mut self, row_key: Box<str>, retried: RetriedRow) -> Result<(), Halt> {
        if let Some(scope) = self.takes_turn(row_key, retried).await? {
            self.release(&scope).await?;
        }
        Ok(())
    }

    /// Removes the row of a retry that is due. Returns the instance or the stream, if it still waits for that retry.
    pub(super) async fn takes_turn(
        &mut self,
        row_key: Box<str>,
        retried: RetriedRow,
    ) -> Result<Option<Scope>, Halt> {
        self.machine
            .put(remove(row_key.clone()), self.machine.position);
        let scope = Scope::from(retried.clone());
        if let Scope::Instance(key) = &scope {
            self.learn(vec![key.clone()]).await?;
        }
        let retry = self
            .machine
            .hold_of(&scope)
            .and_then(|hold| hold.retry.as_ref());
        let is_its = retry.map(|retry| retried.key(retry.due)) == Some(row_key);
        Ok(is_its.then_some(scope))
    }

    /// Stores the decisions of operators with the next commit.
    pub(super) fn put_control(&mut self) {
        let control = put(rows::CONTROL.into(), &self.control());
        self.machine.put(control, self.machine.position);
    }
}
