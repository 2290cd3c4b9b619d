//! The event handlers of an exploration: their calls change the world outside, and may be made again after a crash.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::fmt::Debug;
use std::hash::Hasher;
use std::sync::Arc;

use xxhash_rust::xxh3::Xxh3;

use super::Outside;
use crate::event_handler::{EventHandler, Handled};
use crate::guarded::Kept;
use crate::process_manager::{Failure, FailureCause};
use crate::runtime::Scope;
use crate::runtime::offline::{
    AnyAction, Definition, Offline, OfflineCaller, Outcome, Recorded, Work, World,
};
use crate::testing::diff::assert_same;
use crate::testing::event_handler::make;
use crate::testing::virtual_time::VirtualTime;

/// An event handler in a state.
#[derive(Debug, Clone)]
pub(super) struct HandlerState {
    pub(super) stored: Offline,
    /// The events that it is still to be called for, by their keys.
    pub(super) lanes: BTreeMap<Arc<str>, VecDeque<Recorded>>,
}

/// A step of an event handler.
#[derive(Debug, Clone, Copy)]
pub(super) enum Task {
    /// The call for the first event of the lane with this index.
    Call(usize),
    /// The retry that is due first.
    Retry,
    /// The release with this index, which a crash has interrupted.
    Continue(usize),
}

impl HandlerState {
    pub(super) fn is_at_rest(&self) -> bool {
        let stored = &self.stored;
        let has_work = !self.lanes.is_empty()
            || stored.next_retry().is_some()
            || stored.interrupted().next().is_some();
        !has_work || stored.halted.is_some()
    }

    pub(super) fn tasks(&self) -> Vec<Task> {
        if self.stored.halted.is_some() {
            return Vec::new();
        }
        let mut tasks: Vec<_> = (0..self.lanes.len()).map(Task::Call).collect();
        tasks.extend(self.stored.next_retry().map(|_| Task::Retry));
        tasks.extend((0..self.stored.interrupted().count()).map(Task::Continue));
        tasks
    }

    /// An event happens. The handler is called for it in a later step, unless the event has to wait.
    pub(super) fn show<W>(
        &mut self,
        handler: &dyn ErasedHandler<W>,
        event: Recorded,
        world: &mut dyn World,
        call_plan: &mut CallPlan<'_, W>,
    ) {
        match handler.lane(&self.stored, &event) {
            Some(key) => self.lanes.entry(key).or_default().push_back(event),
            None => handler.work(
                &mut self.stored,
                Work::Event(&event, None),
                world,
                call_plan,
            ),
        }
    }

    pub(super) fn work<W>(
        &mut self,
        handler: &dyn ErasedHandler<W>,
        task: Task,
        world: &mut dyn World,
        call_plan: &mut CallPlan<'_, W>,
    ) {
        let stored = &mut self.stored;
        match task {
            Task::Call(lane) => {
                let Some((_, events)) = self.lanes.iter_mut().nth(lane) else {
                    return;
                };
                let Some(event) = events.front().cloned() else {
                    return;
                };
                handler.work(stored, Work::Event(&event, None), world, call_plan);
                if !call_plan.has_crashed {
                    events.pop_front();
                }
            }
            Task::Retry => {
                let row = stored.next_retry().map(|(row, _)| Box::<str>::from(row));
                let row = row.unwrap_or_default();
                handler.work(stored, Work::Retry(&row), world, call_plan);
            }
            Task::Continue(index) => {
                let scope = stored.interrupted().nth(index);
                if let Some(scope) = scope {
                    handler.work(stored, Work::Release(scope), world, call_plan);
                }
            }
        }
        // The events behind one that is held wait with it.
        for events in self.lanes.values_mut() {
            while let Some(event) = events.front()
                && handler.lane(&self.stored, event).is_none()
            {
                handler.work(&mut self.stored, Work::Event(event, None), world, call_plan);
                events.pop_front();
            }
        }
        self.lanes.retain(|_, events| !events.is_empty());
    }

    /// The name of a step of the event handler `handler`.
    pub(super) fn name(&self, handler: &str, task: Task) -> String {
        match task {
            Task::Call(lane) => {
                let first = self.lanes.values().nth(lane).and_then(VecDeque::front);
                let Some((stream, event)) = first.map(|first| &**first) else {
                    return String::new();
                };
                format!(
                    "`{handler}` handles {} of {} `{}`",
                    event.event_type, stream.aggregate_type, stream.instance_id
                )
            }
            Task::Retry => format!("the next retry of `{handler}`"),
            Task::Continue(index) => match self.stored.interrupted().nth(index) {
                Some(Scope::Stream(stream)) => {
                    let (aggregate_type, id) = (stream.aggregate_type, stream.instance_id);
                    format!("`{handler}` goes on with {aggregate_type} `{id}`")
                }
                Some(Scope::Instance(key)) => format!("`{handler}` goes on with `{key}`"),
                Some(Scope::All) | None => String::new(),
            },
        }
    }

    pub(super) fn hash(&self, hash: &mut Xxh3) {
        for (key, events) in &self.lanes {
            hash.update(key.as_bytes());
            for event in events {
                let (stream, recorded) = &**event;
                for text in [
                    &*stream.aggregate_type,
                    &*stream.instance_id,
                    &recorded.event_type,
                    &recorded.data.to_string(),
                ] {
                    hash.write_usize(text.len());
                    hash.update(text.as_bytes());
                }
                hash.write_u64(recorded.version);
            }
        }
    }
}

/// The crash or time-out of a step of an event handler, and the world that it changes.
pub(super) struct CallPlan<'a, W> {
    pub(super) time: &'a VirtualTime,
    pub(super) outside: &'a mut W,
    /// Whether its first call times out after it has changed the world.
    pub(super) fails: bool,
    /// The number of the call at which the process crashes, from 0.
    pub(super) crashes_at: Option<usize>,
    /// The number of calls so far.
    pub(super) calls: usize,
    pub(super) has_crashed: bool,
}

/// An event handler, without its type.
pub(super) trait ErasedHandler<W> {
    fn name(&self) -> &'static str;

    fn subscriptions(&self) -> &'static [&'static str];

    /// It before its first event.
    fn begin(&self) -> HandlerState;

    /// The key of an event. `None` if it is not called for the event, because its key or stream holds it or it has no key.
    fn lane(&self, stored: &Offline, event: &Recorded) -> Option<Arc<str>>;

    fn work(
        &self,
        stored: &mut Offline,
        work: Work<'_>,
        world: &mut dyn World,
        call_plan: &mut CallPlan<'_, W>,
    );
}

/// The function that builds an event handler with its fake.
pub(super) struct Built<F>(pub(super) F);

impl<W, H, F> ErasedHandler<W> for Built<F>
where
    W: Clone + Eq + Debug,
    H: EventHandler,
    F: Fn(Outside<W>) -> H,
{
    fn name(&self) -> &'static str {
        H::NAME
    }

    fn subscriptions(&self) -> &'static [&'static str] {
        H::SUBSCRIPTIONS
    }

    #[track_caller]
    fn begin(&self) -> HandlerState {
        match Offline::new(Definition::of::<Handled<H>>()) {
            Ok(stored) => HandlerState {
                stored,
                lanes: BTreeMap::new(),
            },
            Err(reason) => panic!("`{}` cannot begin: {reason}", H::NAME),
        }
    }

    fn lane(&self, stored: &Offline, event: &Recorded) -> Option<Arc<str>> {
        stored.called_key(event).map(Arc::from)
    }

    fn work(
        &self,
        stored: &mut Offline,
        work: Work<'_>,
        world: &mut dyn World,
        call_plan: &mut CallPlan<'_, W>,
    ) {
        let calls = ExploredCalls {
            build: &self.0,
            time: call_plan.time,
            outside: RefCell::new(&mut *call_plan.outside),
            fails: call_plan.fails,
            crashes_at: call_plan.crashes_at,
            made: Cell::new(call_plan.calls),
        };
        stored.work_with(work, world, Some(&calls));
        call_plan.calls = calls.made.get();
        call_plan.has_crashed |= call_plan.crashes_at.is_some_and(|at| at < call_plan.calls);
    }
}

/// The calls of one piece of work.
struct ExploredCalls<'a, W, F> {
    build: &'a F,
    time: &'a VirtualTime,
    outside: RefCell<&'a mut W>,
    fails: bool,
    crashes_at: Option<usize>,
    made: Cell<usize>,
}

impl<W, H, F> ExploredCalls<'_, W, F>
where
    W: Clone,
    H: EventHandler,
    F: Fn(Outside<W>) -> H,
{
    /// Makes a call in a copy of the world.
    #[track_caller]
    fn make(&self, event: &Recorded, attempt: u32) -> (Outcome, W) {
        let outside = Outside::new(self.outside.borrow().clone());
        let value = Arc::new(Kept::new((self.build)(outside.clone())));
        let (outcome, _) = make(self.time, value, event, attempt);
        (outcome, outside.with(|world| world.clone()))
    }
}

impl<W, H, F> OfflineCaller for ExploredCalls<'_, W, F>
where
    W: Clone + Eq + Debug,
    H: EventHandler,
    F: Fn(Outside<W>) -> H,
{
    fn call(&self, _stored: &Offline, event: &Recorded, attempt: u32) -> Option<Outcome> {
        let number = self.made.get();
        self.made.set(number + 1);
        let (outcome, world) = self.make(event, attempt);
        let (again, world_again) = self.make(event, attempt);
        assert_same(
            &format!(
                "`{}` or its fake is not deterministic: the same call in the same world has another result",
                H::NAME
            ),
            &format!("{outcome:#?}\n{world:#?}"),
            &format!("{again:#?}\n{world_again:#?}"),
        );
        assert!(
            world == world_again,
            "`{}` or its fake is not deterministic: the same call leaves another world\n{world:?}\n{world_again:?}",
            H::NAME
        );
        **self.outside.borrow_mut() = world;
        if self.crashes_at == Some(number) {
            return None;
        }
        match self.fails && number == 0 {
            true => Some(Err(FailureCause::TimedOut { after: H::TIMEOUT })),
            false => Some(outcome),
        }
    }

    fn on_failure(&self, failure: &Failure<'_>) -> AnyAction {
        let outside = Outside::new(self.outside.borrow().clone());
        EventHandler::on_failure(&(self.build)(outside), failure).into()
    }
}

/// An event handler that was added before the plan had a world.
pub(super) struct Worldless(pub(super) Box<dyn ErasedHandler<()>>);

impl<W> ErasedHandler<W> for Worldless {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn subscriptions(&self) -> &'static [&'static str] {
        self.0.subscriptions()
    }

    fn begin(&self) -> HandlerState {
        self.0.begin()
    }

    fn lane(&self, stored: &Offline, event: &Recorded) -> Option<Arc<str>> {
        self.0.lane(stored, event)
    }

    fn work(
        &self,
        stored: &mut Offline,
        work: Work<'_>,
        world: &mut dyn World,
        call_plan: &mut CallPlan<'_, W>,
    ) {
        let mut own = CallPlan {
            time: call_plan.time,
            outside: &mut (),
            fails: call_plan.fails,
            crashes_at: call_plan.crashes_at,
            calls: call_plan.calls,
            has_crashed: call_plan.has_crashed,
        };
        self.0.work(stored, work, world, &mut own);
        (call_plan.calls, call_plan.has_crashed) = (own.calls, own.has_crashed);
    }
}
