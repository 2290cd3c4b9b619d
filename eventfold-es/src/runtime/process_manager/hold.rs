//! Holds: work that waits until its scope is released.
//!
//! | scope | begins at | holds, in order | its rows |
//! |---|---|---|---|
//! | [`Instance`](Scope::Instance) | a failed event, deadline or command of the instance | its later events, deadlines and commands | the instance, and one for each piece of work |
//! | [`Stream`](Scope::Stream) | an event whose instances cannot be determined | the later events of the stream | one, and one for each event |
//! | [`All`](Scope::All) | any failure without `key`, a stop, a damaged row | everything, as the position does not move | none; without `key`, a retry is in the row of the instance |
//!
//! A hold with a retry ends at its time, any other hold at the request of an operator. A release delivers the held work first. If something
//! fails again, the scope is held again, with that work and the rest. A marker in the rows continues an interrupted release.

use super::super::reactions::Reactions;
use super::correlation::Found;
use super::instances::Instance;
use super::machine::Machine;
use super::plan::{Post, Report};
use super::reaction::Delivery;
use super::rows::{
    self, HeldRow, HoldRow, Marker, RetriedRow, Status, held_deadline_key, held_key, put, remove,
};
use crate::journal::{Row, StreamId};

/// The part of a process manager that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Scope {
    /// The whole process manager.
    All,
    Instance(String),
    Stream(StreamId),
}

impl Scope {
    /// The prefix of the keys of its held work.
    pub(super) fn prefix(&self) -> String {
        match self {
            Self::All => rows::held_prefix(""),
            Self::Instance(key) => rows::held_prefix(key),
            Self::Stream(stream) => rows::stream_held_prefix(stream),
        }
    }

    /// The key of the row that says that its release has begun.
    fn marker(&self) -> Box<str> {
        match self {
            Self::All => rows::RELEASING.into(),
            Self::Instance(key) => format!("{}{key}", rows::RELEASING).into(),
            Self::Stream(stream) => rows::releasing_stream_key(stream),
        }
    }

    /// The row that releases it at the time of its retry.
    fn retried(&self) -> Option<RetriedRow> {
        match self {
            Self::All => None,
            Self::Instance(key) => Some(RetriedRow::Instance(key.clone())),
            Self::Stream(stream) => Some(RetriedRow::of_stream(stream)),
        }
    }
}

impl From<RetriedRow> for Scope {
    fn from(row: RetriedRow) -> Self {
        match row {
            RetriedRow::Instance(key) => Self::Instance(key),
            RetriedRow::Stream(aggregate_type, id) => {
                Self::Stream(StreamId::new(&aggregate_type, &id))
            }
        }
    }
}

/// A held stream.
pub(super) struct HeldStream {
    pub(super) hold: HoldRow,
    /// Whether its events are delivered again.
    pub(super) is_releasing: bool,
}

impl<P: Post> Machine<P> {
    /// The hold of a scope whose instance is cached.
    pub(super) fn hold_of(&mut self, scope: &Scope) -> Option<&HoldRow> {
        match scope {
            Scope::All => self.instances.get("")?.hold.as_ref(),
            Scope::Instance(key) => self.instances.get(key)?.hold.as_ref(),
            Scope::Stream(stream) => self.held_streams.get(stream).map(|held| &held.hold),
        }
    }

    /// Whether a scope holds its work, also while it is being released.
    pub(super) fn holds(&mut self, scope: &Scope) -> bool {
        match scope {
            Scope::All => false,
            Scope::Instance(key) => self.instances.get(key).is_some_and(|found| found.holds()),
            Scope::Stream(stream) => self.held_streams.contains_key(stream),
        }
    }

    /// Whether a scope holds its work, and is not being released.
    pub(super) fn is_parked(&mut self, scope: &Scope) -> bool {
        match scope {
            Scope::All => false,
            Scope::Instance(key) => {
                let found = self.instances.get(key);
                found.is_some_and(|found| found.status == Status::Parked)
            }
            Scope::Stream(stream) => {
                let found = self.held_streams.get(stream);
                found.is_some_and(|held| !held.is_releasing)
            }
        }
    }

    /// Holds a scope. The retry of `hold`, if it has one, ends the hold.
    pub(super) fn hold_scope(&mut self, scope: &Scope, hold: HoldRow, position: u64) {
        if let (Some(retry), Some(retried)) = (&hold.retry, scope.retried()) {
            self.put(put(retried.key(retry.due), &retried), position);
        }
        match scope {
            Scope::All => {}
            Scope::Instance(key) => {
                // Without a state, an instance has a row only while it holds work.
                if !self.definition.has_state && self.instances.get(key).is_none() {
                    self.instances.begin(key);
                }
                if let Some(instance) = self.instances.get(key) {
                    instance.is_complete |= instance.status == Status::Completed;
                    instance.status = Status::Parked;
                    instance.hold = Some(hold);
                    self.store(key, position);
                }
            }
            Scope::Stream(stream) => {
                self.put(put(rows::stream_key(stream), &hold), position);
                let held = HeldStream {
                    hold,
                    is_releasing: false,
                };
                self.held_streams.insert(stream.clone(), held);
            }
        }
    }

    /// Removes the time of the automatic release, because the scope is released now or its work is discarded.
    pub(super) fn end_wait(&mut self, scope: &Scope) {
        let due = self.hold_of(scope).and_then(|hold| hold.retry.as_ref());
        if let (Some(due), Some(retried)) = (due.map(|retry| retry.due), scope.retried()) {
            self.put(remove(retried.key(due)), self.position);
        }
    }

    /// Parks an instance. An instance that is already parked keeps its first reason and its retry.
    pub(super) fn park(&mut self, key: &str, position: u64, hold: HoldRow) {
        let found = self.instances.get(key);
        if found.is_some_and(|found| found.status == Status::Parked && found.hold.is_some()) {
            self.store_parked(key, position);
            return;
        }
        tracing::error!(
            process_manager = self.definition.name,
            instance = key,
            position = hold.position,
            reason = hold.reason,
            "an instance is parked"
        );
        self.hold_scope(&Scope::Instance(key.to_owned()), hold, position);
    }

    /// Stores the parked status of an instance that was parked while it was loaded. An operator looks for it in the rows.
    pub(super) fn store_parked(&mut self, key: &str, position: u64) {
        let found = self.instances.get(key);
        if found.is_some_and(|found| std::mem::take(&mut found.is_unstored)) {
            self.store(key, position);
        }
    }

    /// Holds an input until its instance is released. An input that was held before keeps its place.
    pub(super) fn hold(
        &mut self,
        key: &str,
        input: Delivery<'_>,
        held: Option<&str>,
        position: u64,
    ) {
        let row = match input {
            Delivery::Event(_, event) => put(
                held_key(key, event.position, 0, ""),
                &HeldRow::Failed(event.position),
            ),
            Delivery::Deadline(timer) => {
                let (name, due) = (&timer.deadline.name, timer.deadline.due_ms);
                let place = match held {
                    Some(held) => held.into(),
                    None => held_deadline_key(key, position, due, name),
                };
                if let Some(instance) = self.instances.get(key) {
                    // Work that is held before the deadline may still cancel or replace it.
                    instance.timers.insert(name.clone(), due);
                }
                put(place, &HeldRow::Deadline(Box::new(timer.clone())))
            }
        };
        self.put(row, position);
        self.store_parked(key, position);
    }

    /// The outcome for callers that wait for held work of an instance.
    pub(super) fn outcome_of_held(&mut self, key: &str) -> Reactions {
        let found = self.instances.get(key);
        let hold = found.and_then(|found| found.hold.as_ref());
        hold.map_or(Reactions::Parked, HoldRow::outcome)
    }

    /// Holds an event whose call continues, as the first work of a release. Returns the key of its row.
    pub(super) fn defer(&mut self, key: &str, event: u64) -> Box<str> {
        let position = self.position.max(event);
        if self.instances.found(key) == Found::Nothing {
            self.instances.begin(key);
        }
        if let Some(instance) = self.instances.get(key) {
            instance.status = Status::Releasing;
        }
        self.store(key, position);
        let row = held_key(key, event, 0, "");
        self.put(put(row.clone(), &HeldRow::Event(event)), position);
        let marker = Scope::Instance(key.to_owned()).marker();
        self.put(put(marker, &Marker {}), position);
        row
    }

    /// Begins the release of a scope that holds its work. Returns `false` if the state of its instance is unusable, so that it remains
    /// parked.
    pub(super) fn begin_release(&mut self, scope: &Scope) -> bool {
        let (position, noted) = (self.position, self.now.noted);
        self.end_wait(scope);
        match scope {
            Scope::All => return true,
            Scope::Instance(key) => {
                let Some(instance) = self.instances.get(key) else {
                    return true;
                };
                let restored = instance.restore();
                match &restored {
                    Ok(()) => instance.release(Status::Releasing),
                    Err(reason) => {
                        tracing::error!(
                            process_manager = self.definition.name,
                            instance = key,
                            reason,
                            "an instance remains parked"
                        );
                        instance.hold = Some(HoldRow::new(position, reason.clone(), noted));
                        self.dirty.set_back(None, Reactions::Parked);
                    }
                }
                self.store(key, position);
                if restored.is_err() {
                    return false;
                }
            }
            Scope::Stream(stream) => {
                if let Some(held) = self.held_streams.get_mut(stream) {
                    held.is_releasing = true;
                }
            }
        }
        self.put(put(scope.marker(), &Marker {}), position);
        true
    }

    /// Holds a scope again until an operator releases it, because its first held work aborts the process.
    pub(super) fn hold_until_released(&mut self, scope: &Scope, first: &Row, reason: String) {
        let position = self.position;
        match scope {
            Scope::All => {}
            Scope::Instance(key) => {
                let hold = HoldRow::new(position, reason, self.now.noted);
                self.park(key, position, hold);
                self.dirty.set_back(None, Reactions::Parked);
            }
            Scope::Stream(_) => {
                let at = rows::stream_held_at(&first.key).unwrap_or(position);
                let hold = HoldRow::new(at, reason, self.now.noted);
                self.hold_scope(scope, hold, position);
                self.dirty.set_back(Some(at), Reactions::Parked);
            }
        }
    }

    /// Ends the release of a scope: it continues, unless it is held again.
    pub(super) fn end_release(&mut self, scope: &Scope) {
        let position = self.position;
        self.put(remove(scope.marker()), position);
        match scope {
            Scope::All => return,
            Scope::Instance(key) => {
                self.store_parked(key, position);
                let found = self.instances.get(key);
                let Some(instance) = found.filter(|found| found.status == Status::Releasing) else {
                    return;
                };
                instance.release(Status::Open);
                self.store(key, position);
            }
            Scope::Stream(stream) => {
                if self.is_parked(scope) {
                    return;
                }
                self.held_streams.remove(stream);
                self.put(remove(rows::stream_key(stream)), position);
            }
        }
        tracing::info!(
            process_manager = self.definition.name,
            ?scope,
            "held work continues"
        );
    }

    /// Discards the held work of a scope, which then continues with new events. Returns the amount of work, or a failure if the state of its
    /// instance is unusable.
    pub(super) fn discard(&mut self, scope: &Scope, held: Vec<Row>) -> Report {
        let (position, count) = (self.position, held.len());
        if let Scope::Instance(key) = scope
            && let Some(instance) = self.instances.get(key)
            && instance.restore().is_err()
        {
            // An instance whose state does not decode cannot continue.
            return Report::new(0, 1);
        }
        self.end_wait(scope);
        match scope {
            Scope::All => {}
            Scope::Instance(key) => {
                if let Some(instance) = self.instances.get(key) {
                    discard_in(instance, &held);
                }
                self.store(key, position);
            }
            Scope::Stream(stream) => {
                self.held_streams.remove(stream);
                self.put(remove(rows::stream_key(stream)), position);
            }
        }
        for row in held {
            // A held command or deadline is not a skipped event. Its key sorts after the key of an event.
            let passed = match scope {
                Scope::Stream(_) => rows::stream_held_at(&row.key).map(|at| (at, "")),
                Scope::All | Scope::Instance(_) => {
                    let of = rows::held_of(&row.key);
                    of.filter(|(key, at)| row.key == held_key(key, *at, 0, ""))
                        .map(|(key, at)| (at, key))
                }
            };
            if let Some((at, key)) = passed {
                self.put(put(rows::passed_key(at, key), &Marker {}), position);
            }
            self.put(remove(row.key), position);
        }
        self.put(remove(scope.marker()), position);
        tracing::info!(
            process_manager = self.definition.name,
            ?scope,
            dropped = count,
            "a parked scope goes on without what it held"
        );
        Report::done(count)
    }

    /// Without `key`: removes the retry, because its input is skipped.
    pub(super) fn end_retry(&mut self, position: u64) {
        let only = self.instances.only();
        if only.is_some_and(|instance| instance.hold.take().is_some()) {
            self.store("", position);
        }
    }

    /// Without `key`: the row of the deadline that is retried, if the retry concerns a deadline.
    pub(super) fn retried_deadline(&mut self) -> Option<Box<str>> {
        let only = self.instances.only()?;
        let retry = only.hold.as_ref()?.retry.as_ref()?;
        let is_deadline = retry.what.starts_with(rows::TIMERS);
        is_deadline.then(|| retry.what.clone())
    }
}

/// Lets an instance continue without its held work. It ends if it has handled nothing yet.
fn discard_in(instance: &mut Instance, held: &[Row]) {
    match instance.has_reacted_to_nothing() {
        true => instance.end(),
        false => instance.release(Status::Open),
    }
    for row in held {
        if let Ok(HeldRow::Deadline(timer)) = rows::read(&row.key, &row.value) {
            let name = &timer.deadline.name;
            if instance.timers.get(name) == Some(&timer.deadline.due_ms) {
                instance.timers.remove(name);
            }
        }
    }
}
