//! The machine on rows in memory: the driver of tests and of exploration. Each piece of work begins with the stored rows, as after a crash,
//! and ends with one commit.

mod desk;
mod post;

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use std::time::SystemTime;

use serde_json::value::RawValue;

use super::super::saved_state::initial_progress;
pub(crate) use super::calls::call;
use super::correlation::joins;
pub(crate) use super::definition::{AnyAction, Definition, Sent};
use super::machine::Machine;
use super::rows::{self, HoldRow, InstanceRow, Status, TimerRow};
use super::{Halt, Scope};
use crate::envelope::CommandEnvelope;
use crate::event::RecordedEvent;
use crate::journal::{RowRange, StreamId};
use crate::process_manager::{Failure, FailureCause};
use desk::Desk;
use post::Plain;
pub(crate) use post::{Action, CallEnded, Happened, Judged, Outcome, Reacted, letters};

/// An event of a journal in memory.
pub(crate) type Recorded = Arc<(StreamId, RecordedEvent)>;

/// The durable data of a process manager, in memory.
#[derive(Debug, Clone)]
pub(crate) struct Offline {
    definition: &'static Definition,
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

/// The value of an event handler. Its calls take place in the middle of a piece of work.
pub(crate) trait OfflineCaller {
    /// Handles an event. `stored` is the durable data before its commit. `None` if the process crashes before the commit.
    fn call(&self, stored: &Offline, event: &Recorded, attempt: u32) -> Option<Outcome>;

    /// The policy of the handler.
    fn on_failure(&self, failure: &Failure<'_>) -> AnyAction;
}

/// A piece of work.
pub(crate) enum Work<'a> {
    /// An event, with the cause if its delivery fails.
    Event(&'a Recorded, Option<FailureCause>),
    /// The row of a deadline that is due, with the cause if its delivery fails.
    Deadline(&'a str, Option<FailureCause>),
    /// The row of a command, an instance or a stream whose retry is due.
    Retry(&'a str),
    /// A scope that an operator releases, or whose release a crash has interrupted.
    Release(Scope),
}

impl Offline {
    /// A process manager before its first event.
    ///
    /// # Errors
    ///
    /// The reason, if its default state cannot be stored.
    pub(crate) fn new(definition: &'static Definition) -> Result<Self, String> {
        let progress = initial_progress(definition)?;
        Ok(Self {
            definition,
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

    /// The row of the first deadline that is due.
    pub(crate) fn next_deadline_row(&self) -> Option<&str> {
        self.of_kind(rows::TIMERS).next().map(|(row, _)| row)
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
    pub(crate) fn instances(&self) -> impl Iterator<Item = (&str, Option<Box<RawValue>>)> {
        let is_keyed = self.definition.is_keyed;
        let only = (!is_keyed).then(|| ("", Some(self.state.clone())));
        let kind = rows::InstanceTable::default().kind();
        let keyed = self.of_kind(kind).filter(move |_| is_keyed);
        only.into_iter().chain(keyed.map(|(key, value)| {
            let read = rows::read::<InstanceRow>(key, value).ok();
            let open = read.filter(|row| row.status != Status::Completed);
            (
                key.get(1..).unwrap_or_default(),
                open.and_then(|row| row.state),
            )
        }))
    }

    /// The keys of the instances that hold their work, in order.
    pub(crate) fn held_keys(&self) -> impl Iterator<Item = &str> {
        self.holds().map(|(key, _)| key)
    }

    /// The instances that hold their work, in the order of their keys.
    fn holds(&self) -> impl Iterator<Item = (&str, HoldRow)> {
        let kind = rows::InstanceTable::default().kind();
        self.of_kind(kind).filter_map(|(key, value)| {
            let read = rows::read::<InstanceRow>(key, value).ok()?;
            Some((key.get(1..).unwrap_or_default(), read.parked?))
        })
    }

    /// The number of parked instances and held streams without a retry.
    pub(crate) fn parked(&self) -> usize {
        let instances = self.holds().filter(|(_, hold)| hold.retry.is_none());
        let streams = self.of_kind(rows::STREAMS).filter(|(key, value)| {
            let read = rows::read::<HoldRow>(key, value);
            read.is_ok_and(|hold| hold.retry.is_none())
        });
        instances.count() + streams.count()
    }

    /// The scopes whose release a crash has interrupted.
    pub(crate) fn interrupted(&self) -> impl Iterator<Item = Scope> {
        let instances = self.of_kind(rows::RELEASING);
        let instances =
            instances.map(|(key, _)| Scope::Instance(key.get(1..).unwrap_or_default().to_owned()));
        let streams = self.of_kind(rows::RELEASING_STREAMS);
        let streams = streams.filter_map(|(key, _)| Some(Scope::Stream(rows::stream_of(key)?)));
        instances.chain(streams)
    }

    /// The key of an event for which an event handler is called. `None` if its key or its stream holds it, or if it has no key.
    pub(crate) fn called_key(&self, event: &Recorded) -> Option<String> {
        let joins = joins(self.definition, &event.0, &event.1).ok()?;
        let key = joins.into_iter().next()?.key;
        let row = self.rows.get(&*rows::InstanceTable::default().key(&key));
        let row = row.and_then(|row| rows::read::<InstanceRow>(&key, row).ok());
        let is_held = row
            .is_some_and(|row| matches!(row.status, Status::Parked | Status::Releasing))
            || self.rows.contains_key(&*rows::stream_key(&event.0));
        (!is_held).then_some(key)
    }

    /// Does one piece of work, and stores its effects. If the process manager halts as a whole, nothing is stored but that. Returns the calls
    /// of user code.
    pub(crate) fn work(&mut self, work: Work<'_>, world: &mut dyn World) -> Vec<Happened> {
        self.work_with(work, world, None)
    }

    /// Does one piece of work of an event handler, as [`work`](Self::work). A crash in a call leaves the commits before it.
    pub(crate) fn work_with(
        &mut self,
        work: Work<'_>,
        world: &mut dyn World,
        caller: Option<&dyn OfflineCaller>,
    ) -> Vec<Happened> {
        if self.halted.is_some() {
            return Vec::new();
        }
        let post = Plain {
            caller,
            happened: Default::default(),
        };
        let mut desk = Desk {
            machine: Machine::new(self.definition, self.position, post),
            stored: self,
            world,
        };
        let done = desk.load().and_then(|()| desk.work(work));
        let mut happened = desk.machine.post.happened.take();
        match done {
            // The process has crashed.
            Ok(()) | Err(Halt::Ended) => {}
            Err(halt) => {
                let reason = match halt {
                    Halt::Held(hold, _) => hold.reason,
                    Halt::Retry | Halt::Back | Halt::Ended => "it cannot go on".to_owned(),
                };
                self.halted = Some(reason.clone());
                happened.push(Happened::Halted(reason));
            }
        }
        happened
    }
}
