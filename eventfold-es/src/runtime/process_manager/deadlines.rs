//! What is due: deadlines that fire, and commands that are tried again.
//!
//! A deadline comes after every event that was stored when it was due or before, and before every event that was stored later,
//! however late either is handled. So [`fire_before`](ProcessManagerRunner::fire_before) looks before each event, and
//! [`fire_due`](ProcessManagerRunner::fire_due) behind the last one, once no other can be stored before it.

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

/// How many are fired before anything else is done; and how many may arm each other, one after the other, for a time that is past,
/// before an event that was stored later comes in between.
const MAX_FIRED: usize = 1024;

impl<PM: ProcessManager> ProcessManagerRunner<PM> {
    /// The time of the store, which commits have theirs from, in milliseconds since 1970.
    pub(super) fn stored_now(&self) -> u64 {
        self.context.runtime.journal.clock().now_ms()
    }

    /// What the clock shows, by which something is tried again, in milliseconds since 1970.
    pub(super) fn now_ms(&self) -> u64 {
        millis_since_1970(self.context.clock.now())
    }

    /// When something is due next.
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
            // The clock below may be behind that of the store.
            return Some(UNIX_EPOCH);
        }
        let due = [self.timers.next_due(), self.pending.next_due()];
        let due = due.into_iter().flatten().min()?;
        UNIX_EPOCH.checked_add(Duration::from_millis(due))
    }

    /// Reads what is due first. Nothing that changes it may be on its way.
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

    /// Fires what is due now, and tries again what waits for that; how much there was.
    pub(super) async fn fire_due(&mut self) -> Result<usize, Halt> {
        let stayed = usize::from(self.go_on_where_it_stays().await?);
        let now = self.stored_now();
        let limit = rows::timers_until(now.saturating_add(1));
        let mut fired = 0;
        // Those that are armed again and again are no reason to do nothing else.
        while fired < MAX_FIRED && self.first_before(&limit).await?.is_some() {
            if !self.come_up_to(now).await? {
                break;
            }
            // It may be cancelled by now.
            let Some((key, value)) = self.first_before(&limit).await? else {
                break;
            };
            self.fire_in_order(key, &value, None).await?;
            fired += 1;
        }
        Ok(stayed + fired + self.try_due_again().await?)
    }

    /// Handles the deadlines that were due before `time`, when the event that comes next was stored.
    pub(super) async fn fire_before(&mut self, time: u64) -> Result<(), Halt> {
        let limit = rows::timers_until(time);
        self.fire_until(&limit, None).await
    }

    /// Handles the deadlines whose keys come before `limit`. `released` is the instance that is shown next what it held, and behind
    /// which position a deadline would be held that comes before that.
    pub(super) async fn fire_until(
        &mut self,
        limit: &str,
        released: Option<(&str, u64)>,
    ) -> Result<(), Halt> {
        // The latest time that was reached; and how many deadlines led to each since then, one arming the next for that time or before.
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
            // However many there are side by side, all come before the event. Those that arm each other for ever are no reason to show
            // nothing else.
            if parks || chain == MAX_FIRED {
                break;
            }
        }
        Ok(())
    }

    /// The deadline that is due first, if its key comes before `limit`.
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
        // It may have to be tried again: what came before it is not to come behind it then.
        let last = self.in_flight.back();
        let stored = last.map_or(self.committed.position, |last| last.progress.position);
        if self.position > stored || !self.dirty.is_empty() {
            self.commit_progress().await?;
        }
        self.fire(row_key, value, released).await?;
        self.due = None;
        Ok(())
    }

    /// Reacts to everything that was stored at `time` or before. What comes from now on counts as stored later. `false` if the store
    /// closes before.
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

    /// Tries again what was to be tried again at this time or before; how much there was.
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

    /// Comes back to the deadline or the command at which the process manager stays as a whole, if there is one, before anything
    /// else is reacted to. Nothing may be on its way.
    pub(super) async fn go_on_where_it_stays(&mut self) -> Result<bool, Halt> {
        let Some(at) = self.stays_at.clone() else {
            return Ok(false);
        };
        let row = self.read_rows(vec![at.clone()]).await?;
        // With the commit of what becomes of it.
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
        // What is held behind it is shown next.
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

    /// Whether a deadline is one. One that was cancelled, or armed by an instance that had the key before, is none any more.
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

    /// Shows a deadline, if it is one, to its instance, which is in memory and takes part; `held` is where it was held.
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
            // Deadlines are few: the state before is kept for each.
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

    /// Releases what has waited for its next attempt.
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

    /// Parks an instance at a command that ends the process.
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

    /// Executes a command again because an operator asks for it; what becomes of it he is told.
    pub(super) async fn execute_for_operator(&mut self, row: CommandRow) -> Result<Report, Halt> {
        self.execute_again(row, |draft| draft.is_asked_for = true)
            .await
    }

    /// Tries a command again, in a commit of its own; `held` is where it was held.
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
