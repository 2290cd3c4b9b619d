//! Tests of the form: given events, when an event happens or time passes, then calls and their commands.

mod calls;
mod expected;
mod then;

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub(super) use calls::make;
use calls::{Last, OwnedWork};
pub use expected::ExpectedCalls;

use super::history::{BEGIN, History};
use super::virtual_time::VirtualTime;
use crate::aggregate::Aggregate;
use crate::event_handler::{EventHandler, Handled};
use crate::guarded::Kept;
use crate::process_manager::FailureCause;
use crate::runtime::Scope;
use crate::runtime::offline::{Definition, Offline};

/// A test of the event handler `H`. [`given`](EventHandlerTest::given) events, [`when`](EventHandlerTest::when) an event happens or
/// [time passes](EventHandlerTest::when_time_passes), [`then`](EventHandlerTest::then) it is called, and sends commands or fails.
///
/// The value of the handler has a fake in place of the service outside. The fake notes its calls, and the test reads them.
///
/// The test runs the machine of a store, on rows in memory. So keys hold their events, and the policy of the handler decides on
/// failures. Calls are made one after the other. The test does not execute commands; it [rejects](Self::when_rejected) them if
/// it likes.
///
/// # Time
///
/// The clock is virtual. It stands still while code runs, and `tokio::time` moves it on while a call waits. So a call that never
/// returns [times out](ExpectedCalls::time_out) at once. A call must not wait for the world outside the test, such as a server or a
/// task of the test: its time-out would come first. A call that blocks its thread blocks the test.
///
/// The test may run inside a runtime. It uses its own, on its own thread.
///
/// # Examples
///
/// A mail that the server refuses once, and a crash between a call and its commit:
///
/// ```
/// use std::sync::{Arc, Mutex};
/// use std::time::Duration;
///
/// use eventfold_es::prelude::*;
/// use eventfold_es::testing;
/// # #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
/// # pub enum OrderCommand { NoteMail }
/// # #[derive(Debug, Clone, Serialize, Deserialize, DomainEvent)]
/// # #[serde(tag = "type", content = "data")]
/// # pub enum OrderEvent { Placed, Mailed }
/// # #[derive(Debug, thiserror::Error)]
/// # #[error("there is no such order")]
/// # pub struct NoSuchOrder;
/// # #[aggregate(error = NoSuchOrder)]
/// # #[derive(Debug, Clone, Default, Serialize, Deserialize)]
/// # pub struct Order;
/// # impl Decider for Order {
/// #     fn decide(&self, _: OrderCommand) -> Result<Vec<OrderEvent>, NoSuchOrder> { Ok(vec![OrderEvent::Mailed]) }
/// #     fn evolve(&mut self, _: &OrderEvent) {}
/// # }
///
/// /// In place of a mail server: it notes the keys, and refuses as many mails as it is told to.
/// #[derive(Clone, Default)]
/// struct FakeServer { keys: Arc<Mutex<Vec<String>>>, refuses: Arc<Mutex<u32>> }
///
/// impl FakeServer {
///     async fn send(&self, key: &str) -> Result<(), String> {
///         self.keys.lock().unwrap().push(key.to_owned());
///         let mut refuses = self.refuses.lock().unwrap();
///         match *refuses {
///             0 => Ok(()),
///             _ => { *refuses -= 1; Err("the server is busy".to_owned()) }
///         }
///     }
/// }
///
/// #[event_handler(subscribes = [Order], dispatches = [Order])]
/// struct Mailer { server: FakeServer }
///
/// impl Handle<Order> for Mailer {
///     type Error = String;
///
///     async fn handle(&self, event: &OrderEvent, cx: &mut Handling<'_, Self>) -> Result<(), String> {
///         if let OrderEvent::Placed = event {
///             self.server.send(cx.idempotency_key()).await?;
///             cx.send(cx.stream_id(), OrderCommand::NoteMail);
///         }
///         Ok(())
///     }
/// }
///
/// let second = Duration::from_secs(1);
/// let server = FakeServer::default();
/// *server.refuses.lock().unwrap() = 1;
///
/// testing::event_handler(Mailer { server: server.clone() })
///     .when::<Order>("ord-1", OrderEvent::Placed)
///     .then(|call| call.fail("the server is busy").retry_after(second))
///     .when_time_passes(second)
///     .then(|call| call.send("ord-1", OrderCommand::NoteMail))
///     .when_crashed()
///     .then(|call| call.send("ord-1", OrderCommand::NoteMail))
///     .when_rejected(NoSuchOrder)
///     .then(|call| call.dead_letter());
/// assert_eq!(*server.keys.lock().unwrap(), ["mailer:order/ord-1/1"; 3]);
/// ```
pub struct EventHandlerTest<H> {
    value: Arc<Kept<H>>,
    time: VirtualTime,
    offline: Offline,
    now: SystemTime,
    history: History,
    last: Option<Last>,
}

/// A test of the event handler `value`, without events.
///
#[must_use = "a test says what it expects with `then(..)`"]
#[track_caller]
pub fn event_handler<H: EventHandler>(value: H) -> EventHandlerTest<H> {
    EventHandlerTest {
        value: Arc::new(Kept::new(value)),
        time: VirtualTime::default(),
        offline: match Offline::new(Definition::of::<Handled<H>>()) {
            Ok(offline) => offline,
            Err(reason) => panic!("`{}` cannot begin: {reason}", H::NAME),
        },
        now: UNIX_EPOCH + BEGIN,
        history: History::default(),
        last: None,
    }
}

impl<H: EventHandler> EventHandlerTest<H> {
    /// Given `event` of the instance `stream_id` of `A`, after the earlier events. The handler is called for it, and the test does
    /// not compare the call.
    ///
    /// # Panics
    ///
    /// If the handler does not subscribe to `A`, if the event does not serialize, or if the call fails.
    #[must_use = "a test says what it expects with `then(..)`"]
    #[track_caller]
    pub fn given<A: Aggregate>(
        mut self,
        stream_id: impl Into<String>,
        event: A::DomainEvent,
    ) -> Self {
        let last = self.deliver::<A>(&stream_id.into(), &event);
        if let Some(reason) = last.failed.first() {
            panic!("`{}` does not handle a given event: {reason}", H::NAME);
        }
        self.last = None;
        self
    }

    /// `event` of the instance `stream_id` of `A` happens. Retries that were due before are made first, and are compared together
    /// with its call.
    ///
    /// # Panics
    ///
    /// If the handler does not subscribe to `A`, or if the event does not serialize. A failed call is no panic: see
    /// [`fail`](ExpectedCalls::fail).
    #[must_use = "a test says what it expects with `then(..)`"]
    #[track_caller]
    pub fn when<A: Aggregate>(
        mut self,
        stream_id: impl Into<String>,
        event: A::DomainEvent,
    ) -> Self {
        let last = self.deliver::<A>(&stream_id.into(), &event);
        self.last = Some(last);
        self
    }

    /// Lets time pass. The due retries are made one after the other, each at its time. Their calls are compared together. The
    /// time that the calls take is part of `duration`.
    ///
    /// # Panics
    ///
    /// If 10,000 retries are due at one time.
    #[must_use = "a test says what it expects with `then(..)`"]
    #[track_caller]
    pub fn when_time_passes(mut self, duration: Duration) -> Self {
        let end = self.now + duration;
        let mut last = Last::default();
        self.retry(&mut last, |due| due <= end);
        self.now = self.now.max(end);
        self.last = Some(last);
        self
    }

    /// The process crashes between the last call and its commit, and starts again. So the call is made again, and the test compares
    /// the new call.
    ///
    /// # Panics
    ///
    /// If the last `when` made no call.
    #[must_use = "a test says what it expects with `then(..)`"]
    #[track_caller]
    pub fn when_crashed(mut self) -> Self {
        let works = self.last.take().map(|last| last.works);
        let mut works = works.unwrap_or_default().into_iter().rev();
        let last = works.find_map(|mut work| Some((work.job, work.calls.pop()?)));
        let Some((job, (before, _))) = last else {
            panic!(
                "`{}` has made no call that a crash could interrupt",
                H::NAME
            );
        };
        self.offline = before;
        let mut last = Last::default();
        if let OwnedWork::Event(_) = job {
            self.work(job, &mut last);
        }
        let interrupted: Vec<_> = self.offline.interrupted().collect();
        for scope in interrupted {
            self.work(OwnedWork::Release(scope), &mut last);
        }
        let now = self.now;
        self.retry(&mut last, |due| due <= now);
        self.last = Some(last);
        self
    }

    /// The target rejects the last command with `error`, instead of executing it. The test compares the action for this failure.
    ///
    /// [`Failure::rejection`](crate::Failure::rejection) returns `error`: the error type of the command's aggregate.
    ///
    /// # Panics
    ///
    /// If the last `when` sent no command.
    #[must_use = "a test says what it expects with `then(..)`"]
    #[track_caller]
    pub fn when_rejected(mut self, error: impl Error + Send + Sync + 'static) -> Self {
        let mut works = self.last.take().map(|last| last.works).unwrap_or_default();
        let Some(sent) = works.iter().rposition(|work| work.decided > 0) else {
            panic!("`{}` has sent no command that could be rejected", H::NAME);
        };
        let error = Arc::new(error);
        let mut rejected = Some(FailureCause::Rejected { error });
        let mut last = Last::default();
        for work in works.drain(sent..) {
            if rejected.is_some() {
                self.offline = work.before;
            }
            let rejected = rejected.take();
            let rejected = rejected.map(|cause| (work.decided.saturating_sub(1), cause));
            let outcomes = work.calls.into_iter().map(|(_, outcome)| outcome);
            self.work_again(work.job, outcomes.collect(), rejected, &mut last);
        }
        last.parts = std::mem::take(&mut last.parts_of_commands);
        self.last = Some(last);
        self
    }

    /// An operator releases the key `key`, such as `order/ord-1`, which is parked or waits for a retry. Its events are handled again, in
    /// their order.
    ///
    /// # Panics
    ///
    /// If the key holds no events.
    #[must_use = "a test says what it expects with `then(..)`"]
    #[track_caller]
    pub fn when_released(mut self, key: &str) -> Self {
        let held = self.held_keys();
        assert!(
            held.contains(&key),
            "`{}` does not hold the key `{key}`; held are {held:?}",
            H::NAME
        );
        let mut last = Last::default();
        let scope = Scope::Instance(key.to_owned());
        self.work(OwnedWork::Release(scope), &mut last);
        self.last = Some(last);
        self
    }

    /// The keys that hold their events, in order: parked ones, and those that wait for a retry.
    #[must_use]
    pub fn held_keys(&self) -> Vec<&str> {
        self.offline.held_keys().collect()
    }
}

impl<H: EventHandler> std::fmt::Debug for EventHandlerTest<H> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EventHandlerTest")
            .field("event_handler", &H::NAME)
            .field("now", &self.now)
            .field("offline", &self.offline)
            .finish_non_exhaustive()
    }
}
