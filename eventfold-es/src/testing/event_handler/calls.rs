//! The calls of a test: the machine of a store, on rows in memory and on a virtual clock.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::EventHandlerTest;
use super::expected::{add_action, part_of_call};
use crate::aggregate::Aggregate;
use crate::clock::millis_since_1970;
use crate::event_handler::{EventHandler, idempotency_key};
use crate::guarded::Kept;
use crate::process_manager::{Failure, FailureCause};
use crate::runtime::Scope;
use crate::runtime::offline::{
    Action, AnyAction, Happened, Offline, OfflineCaller, Outcome, Recorded, Work, call, letters,
};
use crate::testing::expected::{Part, printed_command};
use crate::testing::history::{Around, MAX_AT_ONCE};
use crate::testing::virtual_time::VirtualTime;

/// The result of the last `when`.
#[derive(Debug, Default)]
pub(super) struct Last {
    /// One for each call.
    pub(super) parts: Vec<Part>,
    /// The actions for rejected commands.
    pub(super) parts_of_commands: Vec<Part>,
    pub(super) failed: Vec<String>,
    pub(super) works: Vec<Done>,
}

/// A piece of work that was done.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) before: Offline,
    pub(super) job: OwnedWork,
    /// The durable data before the commit of each call, and the outcome of the call.
    pub(super) calls: Vec<(Offline, Outcome)>,
    /// The number of commands.
    pub(super) decided: usize,
}

#[derive(Debug)]
pub(super) enum OwnedWork {
    Event(Recorded),
    /// The row of a retry.
    Retry(Box<str>),
    Release(Scope),
}

/// Makes a call of user code on a virtual clock. Returns the time that it took.
#[track_caller]
pub(in crate::testing) fn make<H: EventHandler>(
    time: &VirtualTime,
    value: Arc<Kept<H>>,
    event: &Recorded,
    attempt: u32,
) -> (Outcome, Duration) {
    let event = Arc::clone(event);
    time.run(async move {
        let called = call(&**value, &event, attempt).await;
        called.map(letters)
    })
}

/// The calls of one piece of work.
struct TestCalls<'a, H> {
    value: &'a Arc<Kept<H>>,
    time: &'a VirtualTime,
    now: &'a Cell<SystemTime>,
    /// The outcomes of calls that were made before, and are not made again.
    known: RefCell<VecDeque<Outcome>>,
    made: RefCell<Vec<(Offline, Outcome)>>,
}

impl<H: EventHandler> OfflineCaller for TestCalls<'_, H> {
    fn call(&self, stored: &Offline, event: &Recorded, attempt: u32) -> Option<Outcome> {
        let known = self.known.borrow_mut().pop_front();
        let outcome = known.unwrap_or_else(|| {
            let (outcome, taken) = make(self.time, Arc::clone(self.value), event, attempt);
            self.now.set(self.now.get() + taken);
            outcome
        });
        let made = (stored.clone(), outcome.clone());
        self.made.borrow_mut().push(made);
        Some(outcome)
    }

    fn on_failure(&self, failure: &Failure<'_>) -> AnyAction {
        EventHandler::on_failure(&***self.value, failure).into()
    }
}

impl<H: EventHandler> EventHandlerTest<H> {
    #[track_caller]
    pub(super) fn deliver<A: Aggregate>(
        &mut self,
        stream_id: &str,
        event: &A::DomainEvent,
    ) -> Last {
        assert!(
            H::SUBSCRIPTIONS.contains(&A::AGGREGATE_TYPE),
            "the event handler `{}` does not subscribe to `{}`",
            H::NAME,
            A::AGGREGATE_TYPE
        );
        let mut last = Last::default();
        let time = millis_since_1970(self.now);
        self.retry(&mut last, |due| millis_since_1970(due) < time);
        let event = self.history.add::<A>(stream_id, event, self.now);
        self.work(OwnedWork::Event(event), &mut last);
        last
    }

    /// Makes the retries that are due, each at its time.
    #[track_caller]
    pub(super) fn retry(&mut self, last: &mut Last, is_due: impl Fn(SystemTime) -> bool) {
        let mut at_once = 0;
        while let Some((row, due)) = self.offline.next_retry() {
            let due = UNIX_EPOCH + Duration::from_millis(due);
            if !is_due(due) {
                return;
            }
            let row = row.into();
            at_once = if due > self.now { 1 } else { at_once + 1 };
            assert!(
                at_once <= MAX_AT_ONCE,
                "`{}` never comes to an end: it is retried again and again at one time",
                H::NAME
            );
            self.now = self.now.max(due);
            self.work(OwnedWork::Retry(row), last);
        }
    }

    #[track_caller]
    pub(super) fn work(&mut self, job: OwnedWork, last: &mut Last) {
        self.work_again(job, VecDeque::new(), None, last);
    }

    /// Does a piece of work, of which the outcomes of the first calls are `known`, and of which one command is rejected.
    #[track_caller]
    pub(super) fn work_again(
        &mut self,
        job: OwnedWork,
        known: VecDeque<Outcome>,
        rejected: Option<(usize, FailureCause)>,
        last: &mut Last,
    ) {
        let before = self.offline.clone();
        let now = Cell::new(self.now);
        let calls = TestCalls {
            value: &self.value,
            time: &self.time,
            now: &now,
            known: RefCell::new(known),
            made: RefCell::default(),
        };
        let mut world = Around {
            now: || now.get(),
            history: &self.history,
            rejected,
            decided: Vec::new(),
        };
        let work = match &job {
            OwnedWork::Event(event) => Work::Event(event, None),
            OwnedWork::Retry(row) => Work::Retry(row),
            OwnedWork::Release(scope) => Work::Release(scope.clone()),
        };
        let happened = self.offline.work_with(work, &mut world, Some(&calls));
        let is_called = happened
            .iter()
            .any(|happened| matches!(happened, Happened::Called(_)));
        if !is_called && !world.decided.is_empty() {
            // A command is executed again, without a call.
            last.parts.push(Part {
                commands: world.decided.iter().map(printed_command).collect(),
                ..Part::default()
            });
        }
        let decided = world.decided.len();
        let calls = calls.made.into_inner();
        self.now = now.get();
        last.note::<H>(happened);
        last.works.push(Done {
            before,
            job,
            calls,
            decided,
        });
    }
}

impl Last {
    fn note<H: EventHandler>(&mut self, happened: Vec<Happened>) {
        let has_stopped = happened.iter().any(
            |happened| matches!(happened, Happened::Judged(judged) if judged.action == Action::Stop),
        );
        // Whether the last part is the call that a failure is about.
        let mut is_open = false;
        for happened in happened {
            match happened {
                Happened::Called(called) => {
                    let (stream, event) = &*called.event;
                    let (aggregate_type, id) = (&stream.aggregate_type, &stream.instance_id);
                    let key = idempotency_key::<H>(aggregate_type, id, event.version);
                    self.parts.push(part_of_call(&key, &called));
                    is_open = true;
                }
                Happened::Judged(judged) if judged.is_of_command => {
                    let mut part = Part::default();
                    add_action(&mut part, &judged);
                    self.parts_of_commands.push(part);
                    if let Some(part) = self.parts.last_mut() {
                        add_action(part, &judged);
                    }
                }
                Happened::Judged(judged) => {
                    let reason = judged.cause.to_string();
                    if !is_open {
                        self.parts.push(Part {
                            failure: Some(reason.clone()),
                            ..Part::default()
                        });
                    }
                    self.failed.push(reason);
                    if let Some(part) = self.parts.last_mut() {
                        add_action(part, &judged);
                    }
                    is_open = false;
                }
                Happened::Halted(reason) => {
                    if !has_stopped {
                        self.parts.push(Part {
                            failure: Some(reason.clone()),
                            ..Part::default()
                        });
                    }
                    self.failed.push(reason);
                }
                Happened::Reacted(_) => {}
            }
        }
    }
}
