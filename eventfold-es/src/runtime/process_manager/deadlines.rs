//! Due work: deadlines that fire, and commands that are retried.
//!
//! A deadline fires after every event that was stored up to its due time, and before every event that was stored later. This order holds
//! however late the runner is. For example, a deadline at 12:00 fires before an event of 12:01, although both are handled at 13:00. So
//! [`fire_before`](ProcessManagerRunner::fire_before) runs before each event. [`fire_due`](ProcessManagerRunner::fire_due) runs after the
//! last event, once no other event can be stored before the deadline.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::agenda::Agenda;
use super::draft::Report;
use super::draft::{Draft, Source};
use super::react::Input;
use super::rows::{
    self, AttemptRow, BEHIND_EVENT, CommandRow, HeldRow, RetriedRow, Status, TimerRow,
    held_deadline_key, held_key, put, remove,
};
use super::{Halt, ProcessManagerRunner};
use crate::clock::millis_since_1970;
use crate::journal::{RowChange, RowRange, StreamId};
use crate::process_manager::ProcessManager;

/// The maximum number of deadlines to fire before other work is done. Also the maximum length of a chain of deadlines, each armed by the
/// previous one for a past time, before the next event is delivered.
const MAX_FIRED: usize = 1024;

impl<PM: ProcessManager> ProcessManagerRunner<PM> {
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
        if self.timers.is_exhausted() || self.pending.is_exhausted() {
            return Some(UNIX_EPOCH);
        }
        if self
            .timers
            .is_due_before(self.stored_now().saturating_add(1))
        {
            // The clock of the context may be behind the clock of the store.
            return Some(UNIX_EPOCH);
        }
        let due = [self.timers.next_due(), self.pending.next_due()];
        let due = due.into_iter().flatten().min()?;
        UNIX_EPOCH.checked_add(Duration::from_millis(due))
    }

    /// Reads the first due rows. No change of such rows may be in flight.
    pub(super) async fn read_agendas(&mut self) -> Result<(), Halt> {
        if self.timers.is_exhausted() {
            let range = RowRange::of_kind(rows::TIMERS);
            let first = self.read_range(range, Agenda::LIMIT).await?;
            self.timers.read(first);
        }
        if self.pending.is_exhausted() {
            let range = RowRange::of_kind(rows::PENDING);
            let first = self.read_range(range, Agenda::LIMIT).await?;
            self.pending.read(first);
        }
        Ok(())
    }

    /// Updates the agendas for a change that is about to be committed.
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

    /// Fires the deadlines whose keys sort before `limit`. `released` is the instance whose held work is delivered next, and the position
    /// at which a deadline that comes before that work is held.
    pub(super) async fn fire_until(
        &mut self,
        limit: &str,
        released: Option<(&str, u64)>,
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
                led_to.insert(timer.id(PM::NAME), chain);
            }
            self.fire_in_order(key, &value, released).await?;
            let parks = released.and_then(|(key, _)| self.status_of(key)) == Some(Status::Parked);
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
        if self.timers.is_exhausted() {
            self.flush().await?;
            self.finish_in_flight().await?;
            self.read_agendas().await?;
        }
        let first = self.timers.before(limit);
        Ok(first.map(|(key, value)| (key.into(), value.into())))
    }

    async fn fire_in_order(
        &mut self,
        row_key: Box<str>,
        value: &str,
        released: Option<(&str, u64)>,
    ) -> Result<(), Halt> {
        self.note_start().await?;
        // The deadline may be retried. Earlier work must not come after it then, so it is committed first.
        let last = self.in_flight.back();
        let stored = last.map_or(self.committed.position, |last| last.progress.position);
        if self.position > stored || !self.dirty.is_empty() {
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
            if self.pending.is_exhausted() {
                self.flush().await?;
                self.finish_in_flight().await?;
                self.read_agendas().await?;
            }
            self.note_start().await?;
            let first = self.pending.due(now);
            let Some((key, value)) = first.map(|(key, value)| (key.to_owned(), value.to_owned()))
            else {
                return Ok(tried);
            };
            self.try_again(key.into(), &value).await?;
            self.due = None;
        }
        Ok(MAX_FIRED)
    }

    /// Processes the deadline or command at which the whole process manager halted, before any other work. No commit may be in flight.
    pub(super) async fn go_on_where_it_stays(&mut self) -> Result<bool, Halt> {
        let Some(at) = self.stays_at.clone() else {
            return Ok(false);
        };
        let row = self.read_rows(vec![at.clone()]).await?;
        // The commit of its effects stores this change too.
        self.stays_at = None;
        let control = put(rows::CONTROL.into(), &self.control());
        self.dirty.push(control, self.position);
        if let Some(value) = row.into_iter().flatten().next() {
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

    fn unreadable(&self, reason: String) -> Halt {
        Halt::Parked {
            position: self.position + 1,
            reason,
        }
    }

    async fn fire(
        &mut self,
        row_key: Box<str>,
        value: &str,
        released: Option<(&str, u64)>,
    ) -> Result<(), Halt> {
        self.due = Some(row_key.clone());
        let timer: TimerRow =
            rows::read(&row_key, value).map_err(|reason| self.unreadable(reason))?;
        let position = self.position;
        self.learn(vec![timer.key.clone()]).await?;
        let deadline = &timer.deadline;
        // The key of the deadline among the held work of a released instance: it precedes the work that is delivered next.
        let held = released.filter(|(key, _)| *key == timer.key);
        let held =
            held.map(|(key, at)| held_deadline_key(key, at, deadline.due_ms, &deadline.name));
        let is_held = held.is_none() && self.is_armed(&timer) && self.is_held(&timer.key);
        let place = match is_held {
            true => Some(self.place_among_held(&timer).await?),
            false => None,
        };
        let removed = remove(row_key);
        self.notice(&removed);
        self.dirty.push(removed, position);
        if let Some(place) = place {
            self.hold(&timer.key, Input::Deadline(&timer), Some(&place), position);
            return Ok(());
        }
        let name = || {
            format!(
                "deadline {} of {}: {}",
                deadline.due_ms, timer.key, deadline.name
            )
        };
        if !self.begins(name).await? {
            self.given_up = Some(self.starts.cause());
        }
        let done = self.react_to_deadline(&timer, held).await;
        self.given_up = None;
        done
    }

    /// Whether the deadline is still armed. A canceled deadline, or a deadline of a previous instance of the key, is not.
    fn is_armed(&mut self, timer: &TimerRow) -> bool {
        let TimerRow { key, deadline, .. } = timer;
        self.instances.get(key).is_some_and(|instance| {
            instance.generation == timer.generation
                && instance.timers.get(&deadline.name) == Some(&deadline.due_ms)
        })
    }

    fn is_held(&mut self, key: &str) -> bool {
        let found = self.instances.get(key);
        found.is_some_and(|found| found.status != Status::Open)
    }

    /// Delivers a deadline, if it is still armed, to its cached and open instance. `held` is the key under which it was held.
    pub(super) async fn react_to_deadline(
        &mut self,
        timer: &TimerRow,
        held: Option<Box<str>>,
    ) -> Result<(), Halt> {
        if !self.is_armed(timer) {
            return Ok(());
        }
        if let Some(instance) = self.instances.get(&timer.key) {
            instance.timers.remove(&timer.deadline.name);
        }
        self.settle()?;
        if !PM::IS_KEYED
            && let Some(instance) = self.instances.get("")
        {
            // Deadlines are rare, so the state before each one is encoded.
            let encoded = instance.encode();
            encoded.map_err(|cause| self.unreadable(cause.reason()))?;
            self.cautious = Some(self.position);
        }
        let mut draft = Draft::of_deadline(self.position, timer);
        draft.held = held;
        self.show_to(&timer.key, Input::Deadline(timer), &mut draft)?;
        self.commit(draft).await.map(drop)
    }

    async fn try_again(&mut self, row_key: Box<str>, value: &str) -> Result<(), Halt> {
        if let Ok(retried) = rows::read::<RetriedRow>(&row_key, value) {
            return self.release_again(row_key, retried).await;
        }
        self.due = Some(row_key.clone());
        let row: CommandRow =
            rows::read(&row_key, value).map_err(|reason| self.unreadable(reason))?;
        let removed = remove(row_key);
        self.notice(&removed);
        self.dirty.push(removed, self.position);
        self.learn(vec![row.key.clone()]).await?;
        self.settle()?;
        let name = || format!("command {}", row.command_id);
        if !self.begins(name).await? {
            return self.give_up_command(row);
        }
        self.execute_row(row, None).await
    }

    /// Releases an instance or a stream whose retry is due.
    async fn release_again(&mut self, row_key: Box<str>, retried: RetriedRow) -> Result<(), Halt> {
        let removed = remove(row_key.clone());
        self.notice(&removed);
        self.dirty.push(removed, self.position);
        match &retried {
            RetriedRow::Instance(key) => {
                self.learn(vec![key.clone()]).await?;
                let parked = self
                    .instances
                    .get(key)
                    .and_then(|found| found.parked.as_ref());
                let retry = parked.and_then(|parked| parked.retry.as_ref());
                if retry.map(|retry| retried.key(retry.due)) == Some(row_key) {
                    self.release(key).await?;
                }
            }
            RetriedRow::Stream(aggregate_type, id) => {
                let stream = StreamId::new(aggregate_type, id);
                self.release_stream(&stream).await?;
            }
        }
        Ok(())
    }

    /// Parks an instance at a command that aborts the process.
    fn give_up_command(&mut self, mut row: CommandRow) -> Result<(), Halt> {
        let (cause, position) = (self.starts.cause(), self.position);
        let reason = format!("a command was not executed: {cause}");
        if !PM::IS_KEYED {
            return Err(Halt::Parked { position, reason });
        }
        row.attempts.push(AttemptRow::new(&cause));
        let key = row.key.clone();
        let place = held_key(&key, position, BEHIND_EVENT, &row.command_id);
        let held = put(place, &HeldRow::Command(Box::new(row)));
        self.dirty.push(held, position);
        self.park_instance(&key, position, reason);
        Ok(())
    }

    /// Executes a command again at the request of an operator, and reports the result.
    pub(super) async fn execute_for_operator(&mut self, row: CommandRow) -> Result<Report, Halt> {
        self.execute_again(row, |draft| draft.is_asked_for = true)
            .await
    }

    /// Retries a command in its own commit. `held` is the key under which it was held.
    pub(super) async fn execute_row(
        &mut self,
        row: CommandRow,
        held: Option<Box<str>>,
    ) -> Result<(), Halt> {
        let executed = self.execute_again(row, |draft| draft.held = held);
        executed.await.map(drop)
    }

    async fn execute_again(
        &mut self,
        row: CommandRow,
        complete: impl FnOnce(&mut Draft),
    ) -> Result<Report, Halt> {
        let source = Source::Known(Box::new(row.source.clone()));
        let (about, cause) = (row.source.position, row.cause.clone());
        let mut draft = Draft::new(self.position, about, cause, source);
        complete(&mut draft);
        self.plan_again(&mut draft, row);
        self.commit(draft).await
    }
}
