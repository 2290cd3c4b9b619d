//! The release of held work: it is delivered first, in order. Each piece is one commit.

use std::collections::BTreeMap;

use super::driver::ProcessManagerRunner;
use super::hold::Scope;
use super::machine::{Input, Turn};
use super::plan::Report;
use super::rows::{self, HeldRow, TimerRow};
use super::{Halt, Shown};
use crate::journal::{Row, RowChange, RowRange, StreamId};

/// The maximum number of held rows per read.
const ROWS: usize = 256;

impl ProcessManagerRunner {
    /// Continues the releases that a stop interrupted, if there are any.
    pub(super) async fn resume_releases(&mut self) -> Result<(), Halt> {
        if !std::mem::take(&mut self.owes_releases) {
            return Ok(());
        }
        let mut scopes = Vec::new();
        self.each_row(RowRange::of_kind(rows::RELEASING), |row| {
            let key = row.key.get(1..).unwrap_or_default();
            scopes.push(Scope::Instance(key.to_owned()));
        })
        .await?;
        self.each_row(RowRange::of_kind(rows::RELEASING_STREAMS), |row| {
            scopes.extend(rows::stream_of(&row.key).map(Scope::Stream));
        })
        .await?;
        if !scopes.is_empty() {
            self.note_this_start(None).await?;
        }
        for scope in scopes {
            if self.calls.are_made() {
                self.begin_errand(&scope, None).await?;
                continue;
            }
            match &scope {
                Scope::Instance(key) => {
                    self.learn(vec![key.clone()]).await?;
                    self.deliver_held(&scope).await?;
                }
                Scope::All | Scope::Stream(_) => drop(self.release(&scope).await?),
            }
        }
        Ok(())
    }

    /// Releases a scope: delivers its held work, in order. Reports the amount of work, and a failure if the scope is held again.
    pub(super) async fn release(&mut self, scope: &Scope) -> Result<Report, Halt> {
        if let Scope::Instance(key) = scope {
            self.learn(vec![key.clone()]).await?;
        }
        if !self.machine.holds(scope) {
            return Ok(Report::default());
        }
        match self.machine.begin_release(scope) {
            true => self.deliver_held(scope).await,
            false => {
                self.settle_all().await?;
                Ok(Report::new(0, 1))
            }
        }
    }

    /// Delivers the held work of a scope whose instance is cached, until none is left or the scope is held again.
    async fn deliver_held(&mut self, scope: &Scope) -> Result<Report, Halt> {
        let mut done = 0;
        let range = RowRange::numbered(&scope.prefix());
        'held: while !self.machine.is_parked(scope) {
            self.settle_all().await?;
            let held = self.read_range(range.clone(), ROWS).await?;
            if held.is_empty() {
                break;
            }
            for row in held {
                if let Some(cause) = self.begins(|| format!("held {}", row.key)).await? {
                    self.machine
                        .hold_until_released(scope, &row, cause.to_string());
                    break 'held;
                }
                let soon = self.stored_now().saturating_add(1);
                if self.machine.timers.is_due_before(soon)
                    && let Some((limit, place)) = self.place_of_held(scope, &row).await?
                {
                    let released = match scope {
                        Scope::Instance(key) => Some((key.as_str(), place)),
                        Scope::All | Scope::Stream(_) => None,
                    };
                    self.fire_until(&limit, released).await?;
                    if self.machine.is_parked(scope) {
                        break 'held;
                    }
                }
                self.deliver_one(scope, row).await?;
                if self.machine.is_parked(scope) {
                    break 'held;
                }
                done += 1;
            }
        }
        let is_parked = self.machine.is_parked(scope);
        self.machine.end_release(scope);
        self.settle_all().await?;
        Ok(Report::new(done, usize::from(is_parked)))
    }

    /// Delivers one piece of held work.
    async fn deliver_one(&mut self, scope: &Scope, row: Row) -> Result<(), Halt> {
        let held = rows::read(&row.key, &row.value);
        let held: HeldRow = held.map_err(|reason| self.unreadable_row(reason))?;
        let has_failed = matches!(held, HeldRow::Failed(_));
        match held {
            HeldRow::Event(at) | HeldRow::Failed(at) => {
                let Some(shown) = self.shown_at(at).await? else {
                    self.remove(row.key);
                    return Ok(());
                };
                match scope {
                    Scope::Instance(key) => {
                        let is_behind = !self.machine.instances.is_releasing(key)
                            && self.is_held_before(shown.stream(), at).await?;
                        let input = Input::Held {
                            key,
                            row: row.key,
                            shown: &shown,
                            has_failed,
                            is_behind,
                        };
                        self.step(input).await.map(drop)
                    }
                    Scope::All | Scope::Stream(_) => self.deliver_again(row, &shown).await,
                }
            }
            HeldRow::Deadline(timer) => {
                let deadline = &timer.deadline;
                let armed = rows::timer_key(deadline.due_ms, &timer.key, &deadline.name);
                self.settle_all().await?;
                // Earlier held work may have armed a deadline with the same name and due time.
                if self.read_row(armed).await?.is_some() {
                    self.remove(row.key);
                    return Ok(());
                }
                self.settle()?;
                let input = Input::Deadline {
                    row: row.key.clone(),
                    timer: &timer,
                    turn: Turn::Released(row.key),
                };
                self.step(input).await.map(drop)
            }
            HeldRow::Command(command) => {
                let held = Some(row.key.clone());
                self.execute(row.key, *command, held, false).await.map(drop)
            }
        }
    }

    /// Delivers an event of a held stream to its instances.
    async fn deliver_again(&mut self, row: Row, shown: &Shown) -> Result<(), Halt> {
        self.remove(row.key);
        let keys = shown.joins().iter().map(|join| join.key.clone());
        self.learn(keys.collect()).await?;
        self.react_to_shown(shown).await
    }

    fn remove(&mut self, key: Box<str>) {
        self.machine.put(rows::remove(key), self.machine.position);
    }

    /// Whether a stream is held since an event before the position `at`.
    async fn is_held_before(&mut self, stream: &StreamId, at: u64) -> Result<bool, Halt> {
        if !self.machine.holds(&Scope::Stream(stream.clone())) {
            return Ok(false);
        }
        // A row in flight may be the first held row.
        self.settle_all().await?;
        let range = RowRange::numbered(&rows::stream_held_prefix(stream));
        let first = self.read_range(range, 1).await?;
        let first = first.first().and_then(|row| rows::stream_held_at(&row.key));
        Ok(first.is_some_and(|first| first < at))
    }

    /// The limit up to which deadlines come before held work, and the position after which they are held. `None` for a command.
    async fn place_of_held(
        &mut self,
        scope: &Scope,
        row: &Row,
    ) -> Result<Option<(Box<str>, u64)>, Halt> {
        match rows::read(&row.key, &row.value) {
            Ok(HeldRow::Event(at) | HeldRow::Failed(at)) => {
                let commit = self.commit_at(at).await?;
                Ok(commit.map(|commit| (rows::timers_until(commit.time), at.saturating_sub(1))))
            }
            Ok(HeldRow::Deadline(timer)) if matches!(scope, Scope::Instance(_)) => {
                let deadline = &timer.deadline;
                let limit = rows::timer_key(deadline.due_ms, &timer.key, &deadline.name);
                Ok(rows::held_of(&row.key).map(|(_, at)| (limit, at)))
            }
            Ok(HeldRow::Deadline(_) | HeldRow::Command(_)) | Err(_) => Ok(None),
        }
    }

    /// The key under which a deadline of a parked instance is held: before the first held work that comes later. For example, a deadline
    /// that was armed long after its due time may come before events that are already held.
    pub(super) async fn place_among_held(&mut self, timer: &TimerRow) -> Result<Box<str>, Halt> {
        let (key, deadline) = (&timer.key, &timer.deadline);
        let prefix = rows::held_prefix(key);
        self.finish_in_flight().await?;
        let mut held = BTreeMap::new();
        self.each_row(RowRange::numbered(&prefix), |row| {
            held.insert(row.key.clone(), row.value.clone());
        })
        .await?;
        let changes = self.machine.dirty.rows.iter();
        for RowChange { key, value } in changes.filter(|row| row.key.starts_with(&prefix)) {
            match value {
                Some(value) => held.insert(key.clone(), value.clone()),
                None => held.remove(key),
            };
        }
        let own = rows::timer_key(deadline.due_ms, key, &deadline.name);
        let mut at = self.machine.position;
        let mut events = Vec::new();
        for (row_key, value) in &held {
            match rows::read(row_key, value) {
                Ok(HeldRow::Event(position) | HeldRow::Failed(position)) => events.push(position),
                Ok(HeldRow::Deadline(other)) => {
                    let (due, name) = (other.deadline.due_ms, &other.deadline.name);
                    if rows::timer_key(due, key, name) > own {
                        let place = rows::held_of(row_key).map(|(_, place)| place);
                        at = at.min(place.unwrap_or(at));
                    }
                }
                Ok(HeldRow::Command(_)) | Err(_) => {}
            }
        }
        if let Some(later) = self.first_stored_later(&events, deadline.due_ms).await? {
            at = at.min(later.saturating_sub(1));
        }
        let (due, name) = (deadline.due_ms, &deadline.name);
        Ok(rows::held_deadline_key(key, at, due, name))
    }

    /// The first of these events that was stored later than `time`. The events are in order.
    async fn first_stored_later(&mut self, events: &[u64], time: u64) -> Result<Option<u64>, Halt> {
        let mut left = events;
        let mut later = None;
        while let Some(middle) = left.get(left.len() / 2) {
            let (before, behind) = left.split_at(left.len() / 2);
            let commit = self.commit_at(*middle).await?;
            if commit.is_some_and(|commit| commit.time > time) {
                later = Some(*middle);
                left = before;
            } else {
                left = behind.get(1..).unwrap_or_default();
            }
        }
        Ok(later)
    }

    /// Discards the held work of a scope, which then continues with new events.
    pub(super) async fn discard(&mut self, scope: &Scope) -> Result<Report, Halt> {
        if let Scope::Instance(key) = scope {
            self.learn(vec![key.clone()]).await?;
        }
        if !self.machine.holds(scope) {
            return Ok(Report::default());
        }
        self.settle_all().await?;
        let mut held = Vec::new();
        let range = RowRange::numbered(&scope.prefix());
        self.each_row(range, |row| held.push(row.clone())).await?;
        let report = self.machine.discard(scope, held);
        self.settle_all().await?;
        Ok(report)
    }
}
