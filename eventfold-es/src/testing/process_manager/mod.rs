//! Tests of the form: given events, when an event or a deadline, then commands, timers and completion.

mod simulation;
mod then;

use std::error::Error;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use simulation::{Last, stored_state};

use super::expected::Part;
use super::history::{BEGIN, History};
use crate::aggregate::Aggregate;
use crate::process_manager::{Failure, FailureCause, ProcessManager};
use crate::runtime::offline::{Definition, Offline};

/// A test of the process manager `PM`. [`given`](ProcessManagerTest::given) events, [`when`](ProcessManagerTest::when) an event
/// happens or a [deadline fires](ProcessManagerTest::when_deadline), [`then`](ProcessManagerTest::then) it sends commands, sets
/// timers, or completes.
///
/// It runs the machine of a store, on rows in memory: events find their instances, and states and deadlines are stored and
/// read back. A reaction that fails has the consequences that its failure policy chooses. Every reaction runs twice from the
/// same state, and must have the same effects both times. The test does not execute commands. It gives
/// their results, as events of their targets or with [`when_rejected`](ProcessManagerTest::when_rejected). Time stands
/// still unless the test lets it [pass](ProcessManagerTest::when_time_passes). Deadlines and events come in the order
/// of time, as in a store. So a deadline that was due before an event, or before another deadline, is handled before
/// it.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use eventfold_es::prelude::*;
/// use eventfold_es::testing;
/// # #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
/// # pub enum OrderCommand { Cancel }
/// # #[derive(Debug, Clone, Serialize, Deserialize, DomainEvent)]
/// # #[serde(tag = "type", content = "data")]
/// # pub enum OrderEvent { Placed, Paid }
/// # #[aggregate(error = std::convert::Infallible)]
/// # #[derive(Debug, Clone, Default, Serialize, Deserialize)]
/// # pub struct Order;
/// # impl Decider for Order {
/// #     fn decide(&self, _: OrderCommand) -> Result<Vec<OrderEvent>, std::convert::Infallible> { Ok(vec![]) }
/// #     fn evolve(&mut self, _: &OrderEvent) {}
/// # }
///
/// #[derive(Serialize, Deserialize)]
/// pub struct PaymentDue;
///
/// #[process_manager(subscribes = [Order], dispatches = [Order], key = String, deadlines = [PaymentDue])]
/// #[derive(Debug, Default, Serialize, Deserialize)]
/// pub struct PaymentSaga;
///
/// impl Correlate<Order> for PaymentSaga {
///     fn correlate(event: &OrderEvent, cx: &EventContext<'_>) -> Correlation<String> {
///         let order = cx.stream_id().to_owned();
///         match event {
///             OrderEvent::Placed => Correlation::starts(order),
///             OrderEvent::Paid => Correlation::continues(order),
///         }
///     }
/// }
///
/// impl React<Order> for PaymentSaga {
///     fn react(&mut self, event: &OrderEvent, cx: &mut Reaction<'_, Self>) {
///         match event {
///             OrderEvent::Placed => {
///                 cx.schedule("payment", Duration::from_secs(3600), PaymentDue);
///             }
///             OrderEvent::Paid => cx.complete(),
///         }
///     }
/// }
///
/// impl OnDeadline<PaymentDue> for PaymentSaga {
///     fn on_deadline(&mut self, _message: PaymentDue, cx: &mut Reaction<'_, Self>) {
///         cx.send(cx.key(), OrderCommand::Cancel);
///         cx.complete();
///     }
/// }
///
/// let hour = Duration::from_secs(3600);
/// testing::process_manager::<PaymentSaga>()
///     .when::<Order>("ord-1", OrderEvent::Placed)
///     .then(|expected| expected.schedule("payment", hour, PaymentDue))
///     .when_time_passes(hour)
///     .then(|expected| expected.send("ord-1", OrderCommand::Cancel).complete());
///
/// testing::process_manager::<PaymentSaga>()
///     .given::<Order>("ord-1", OrderEvent::Placed)
///     .when::<Order>("ord-1", OrderEvent::Paid)
///     .then(|expected| expected.complete())
///     .when_time_passes(hour)
///     .then_nothing();
/// ```
#[derive(Debug)]
pub struct ProcessManagerTest<PM> {
    offline: Offline,
    now: SystemTime,
    history: History,
    last: Option<Last>,
    _process_manager: PhantomData<fn() -> PM>,
}

/// A test of the process manager `PM`, without events.
///
/// # Panics
///
/// If the default state of `PM` cannot be stored.
#[must_use = "a test says what it expects with `then(..)`"]
#[track_caller]
pub fn process_manager<PM: ProcessManager>() -> ProcessManagerTest<PM> {
    ProcessManagerTest {
        offline: match Offline::new(Definition::of::<PM>()) {
            Ok(offline) => offline,
            Err(reason) => panic!(
                "the default state of `{}` cannot be stored: {reason}",
                PM::NAME
            ),
        },
        now: UNIX_EPOCH + BEGIN,
        history: History::default(),
        last: None,
        _process_manager: PhantomData,
    }
}

impl<PM: ProcessManager> ProcessManagerTest<PM> {
    /// Given `event` of the instance `stream_id` of `A`, after the earlier events. The test does not compare its
    /// effects, but arms its deadlines. Earlier due deadlines are handled first, and are not compared either.
    ///
    /// # Panics
    ///
    /// If the process manager does not subscribe to `A` or cannot react to the event, if a second reaction from the
    /// same state has other effects, or if the state cannot be stored.
    #[must_use = "a test says what it expects with `then(..)`"]
    #[track_caller]
    pub fn given<A: Aggregate>(
        mut self,
        stream_id: impl Into<String>,
        event: A::DomainEvent,
    ) -> Self {
        let last = self.deliver::<A>(&stream_id.into(), &event);
        if let Some(reason) = last.failed.first() {
            panic!("`{}` does not react to a given event: {reason}", PM::NAME);
        }
        self
    }

    /// Delivers `event` of the instance `stream_id` of `A`. Earlier due deadlines are handled first, and their effects
    /// are compared together with those of the event.
    ///
    /// # Panics
    ///
    /// As [`given`](Self::given). But a failed reaction is no panic: see [`then_fails`](Self::then_fails).
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

    /// Fires the deadline `name` at its time; time moves on to it. Earlier due deadlines are handled first, and their
    /// effects are compared together with those of the deadline.
    ///
    /// # Panics
    ///
    /// If no instance or several instances have armed it, or if 10,000 deadlines fire before it at one time.
    #[must_use = "a test says what it expects with `then(..)`"]
    #[track_caller]
    pub fn when_deadline(mut self, name: &str) -> Self {
        let mut last = Last::default();
        loop {
            let (due, key) = self.armed_as(name);
            let next = self.next_due();
            let before = next.filter(|(next, _, other)| *next < due && other != name);
            let is_last = before.is_none();
            let (due, key, name) = before.unwrap_or((due, key, name.to_owned()));
            self.reach(due, &key, &name, &mut last);
            if is_last {
                self.last = Some(last);
                return self;
            }
        }
    }

    /// The due time of the only deadline of this name, and the key of its instance.
    #[track_caller]
    fn armed_as(&self, name: &str) -> (SystemTime, String) {
        let armed: Vec<_> = self
            .offline
            .deadlines()
            .filter(|(_, timer)| timer.deadline.name == name)
            .collect();
        match armed.as_slice() {
            [(_, timer)] => (timer.deadline.due(), timer.key.clone()),
            [] => panic!(
                "the deadline `{name}` is not armed; armed are: {}",
                self.armed()
            ),
            _ => panic!(
                "several instances have armed the deadline `{name}`: let time pass, or test one; armed are: {}",
                self.armed()
            ),
        }
    }

    /// Lets time pass. The due deadlines fire one after the other, in order, each at its time. Their effects are
    /// compared together.
    ///
    /// # Panics
    ///
    /// If 10,000 deadlines fire at one time, because a deadline is armed again and again for a past time.
    #[must_use = "a test says what it expects with `then(..)`"]
    #[track_caller]
    pub fn when_time_passes(mut self, duration: Duration) -> Self {
        let end = self.now + duration;
        let mut last = Last::default();
        while let Some((due, key, name)) = self.next_due().filter(|(due, ..)| *due <= end) {
            self.reach(due, &key, &name, &mut last);
        }
        self.now = end;
        self.last = Some(last);
        self
    }

    /// Rejects the last command with `error`, for the first time. The action for that failure is compared.
    ///
    /// [`Failure::rejection`] returns `error`: the error type of the command's aggregate.
    ///
    /// # Panics
    ///
    /// If the last `when` sent no command.
    #[must_use = "a test says what it expects with `then(..)`"]
    #[track_caller]
    pub fn when_rejected(mut self, error: impl Error + Send + Sync + 'static) -> Self {
        let Some(sent) = self.last.take().and_then(|last| last.sent) else {
            panic!("`{}` has sent no command that could be rejected", PM::NAME);
        };
        let error = Arc::new(error);
        let failure = Failure::new(FailureCause::Rejected { error }, &sent.key, &sent.source)
            .of_command(&sent.envelope, 1);
        let state: PM = stored_state(&sent.state);
        let action = ProcessManager::on_failure(&state, &failure);
        self.last = Some(Last {
            parts: vec![Part::of_action(&sent.key, action)],
            ..Last::default()
        });
        self
    }

    /// An exploration takes its events from its plan.
    #[track_caller]
    pub(super) fn refuse_events(&self) {
        assert!(
            self.history.is_empty(),
            "give the events to the plan of the exploration, with `plan.given(..)`"
        );
    }

    fn armed(&self) -> String {
        let deadlines = self.offline.deadlines();
        let armed: Vec<_> = deadlines
            .map(|(_, timer)| match timer.key.as_str() {
                "" => format!("`{}`", timer.deadline.name),
                key => format!("`{}` of `{key}`", timer.deadline.name),
            })
            .collect();
        if armed.is_empty() {
            return "none".to_owned();
        }
        armed.join(", ")
    }
}
