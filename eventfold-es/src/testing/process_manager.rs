//! Given events, when an event or a deadline, then commands, timers and completion.

use std::collections::{BTreeMap, HashMap};
use std::error::Error;
use std::fmt::Display;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::diff::assert_same;
use super::expected::{Expected, Part, printed};
use super::print::{printed_value, read_back, recorded};
use crate::aggregate::Aggregate;
use crate::envelope::CommandEnvelope;
use crate::event::RecordedEvent;
use crate::process_manager::{
    Effects, Failure, FailureCause, JoinKind, ProcessManager, ReactError, SourceEvent,
    StoredDeadline, TimerChange,
};

/// When a test begins: 2000-01-01, 00:00 UTC.
const BEGIN: Duration = Duration::from_secs(946_684_800);

/// A test of the process manager `PM`: [`given`](ProcessManagerTest::given) events,
/// [`when`](ProcessManagerTest::when) an event happens or a
/// [deadline is reached](ProcessManagerTest::when_deadline), [`then`](ProcessManagerTest::then) it sends commands, sets
/// timers, or completes.
///
/// Events find their instances, and states and deadlines are kept, stored and read back, as a store does it; every reaction is
/// made twice from the same state, and has to ask for the same both times. Commands go nowhere: what comes of them is for the
/// test to say, with the events of their targets or with [`when_rejected`](ProcessManagerTest::when_rejected). Time stands still
/// unless the test lets it [pass](ProcessManagerTest::when_time_passes).
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
///                 cx.schedule("payment", Deadline::after(Duration::from_secs(3600)), PaymentDue);
///             }
///             OrderEvent::Paid => cx.complete(),
///         }
///     }
/// }
///
/// impl OnDeadline<PaymentDue> for PaymentSaga {
///     fn on_deadline(&mut self, _message: PaymentDue, cx: &mut Reaction<'_, Self>) {
///         cx.send(cx.key().clone(), OrderCommand::Cancel);
///         cx.complete();
///     }
/// }
///
/// let hour = Duration::from_secs(3600);
/// testing::process_manager::<PaymentSaga>()
///     .when::<Order>("ord-1", OrderEvent::Placed)
///     .then(|expected| expected.schedule("payment", Deadline::after(hour), PaymentDue))
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
    instances: BTreeMap<String, Instance>,
    now: SystemTime,
    position: u64,
    versions: HashMap<(&'static str, String), u64>,
    last: Option<Last>,
    _process_manager: PhantomData<fn() -> PM>,
}

/// What is stored of an instance that is open.
#[derive(Debug, Clone, Default)]
struct Instance {
    state: String,
    deadlines: BTreeMap<String, StoredDeadline>,
}

/// What came of the last `when`.
#[derive(Debug, Default)]
struct Last {
    parts: Vec<Part>,
    failed: Vec<String>,
    /// The last command that was sent.
    sent: Option<Sent>,
}

#[derive(Debug)]
struct Sent {
    key: String,
    /// The state before it was sent.
    state: String,
    envelope: CommandEnvelope,
    source: SourceEvent,
}

/// What an instance reacts to.
#[derive(Clone, Copy)]
enum Input<'a> {
    Event(&'a str, &'a str, &'a RecordedEvent),
    Deadline(&'a StoredDeadline),
}

impl Input<'_> {
    fn react<PM: ProcessManager>(
        self,
        state: &mut PM,
        key: &str,
    ) -> Result<Effects<PM::Envelope>, ReactError> {
        match self {
            Self::Event(aggregate_type, stream_id, event) => {
                state.react_in(key, aggregate_type, stream_id, event)
            }
            Self::Deadline(deadline) => ProcessManager::on_deadline(state, key, deadline),
        }
    }

    fn source(self) -> SourceEvent {
        match self {
            Self::Event(aggregate_type, stream_id, event) => {
                SourceEvent::of(aggregate_type, stream_id, event)
            }
            Self::Deadline(deadline) => deadline.source.clone(),
        }
    }
}

/// A test of the process manager `PM`, which has seen nothing.
#[must_use = "a test says what it expects with `then(..)`"]
pub fn process_manager<PM: ProcessManager>() -> ProcessManagerTest<PM> {
    ProcessManagerTest {
        instances: BTreeMap::new(),
        now: UNIX_EPOCH + BEGIN,
        position: 0,
        versions: HashMap::new(),
        last: None,
        _process_manager: PhantomData,
    }
}

impl<PM: ProcessManager> ProcessManagerTest<PM> {
    /// `event` of the instance `stream_id` of `A` has happened, after those before. What it asked for is not looked at, but its
    /// deadlines are armed.
    ///
    /// # Panics
    ///
    /// If the process manager does not subscribe to `A`, cannot react to the event, asks for something else when it reacts to it
    /// again from the same state, or has a state that cannot be stored.
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

    /// `event` of the instance `stream_id` of `A` happens.
    ///
    /// # Panics
    ///
    /// As [`given`](Self::given), except that it may fail to react: see [`then_fails`](Self::then_fails).
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

    /// The deadline `name` is reached, whenever it is due; time moves on to then.
    ///
    /// # Panics
    ///
    /// If no instance has armed it, or several have.
    #[must_use = "a test says what it expects with `then(..)`"]
    #[track_caller]
    pub fn when_deadline(mut self, name: &str) -> Self {
        let armed: Vec<_> = self
            .instances
            .iter()
            .filter_map(|(key, instance)| Some((key.clone(), instance.deadlines.get(name)?)))
            .collect();
        let (key, due) = match armed.as_slice() {
            [(key, deadline)] => (key.clone(), deadline.due()),
            [] => panic!(
                "the deadline `{name}` is not armed; armed are: {}",
                self.armed()
            ),
            _ => panic!(
                "several instances have armed the deadline `{name}`: let time pass, or test one; armed are: {}",
                self.armed()
            ),
        };
        self.now = self.now.max(due);
        let mut last = Last::default();
        self.fire(&key, name, &mut last);
        self.last = Some(last);
        self
    }

    /// Time passes: the deadlines that are reached meanwhile come one after the other, in the order in which they are due, each
    /// at its time. What they ask for is looked at together.
    #[must_use = "a test says what it expects with `then(..)`"]
    pub fn when_time_passes(mut self, duration: Duration) -> Self {
        let end = self.now + duration;
        let mut last = Last::default();
        while let Some((due, key, name)) = self.next_due().filter(|(due, ..)| *due <= end) {
            self.now = self.now.max(due);
            self.fire(&key, &name, &mut last);
        }
        self.now = end;
        self.last = Some(last);
        self
    }

    /// The last command that was sent is rejected with `error`, for the first time: what is done about it is looked at.
    ///
    /// `error` is what [`Failure::rejection`] gives: the error type of the command's aggregate.
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

    /// The process manager asks for exactly what `expected` says.
    ///
    /// # Panics
    ///
    /// If it asks for something else, or fails to react; the message shows the difference.
    #[track_caller]
    pub fn then(self, expected: impl FnOnce(Expected<PM>) -> Expected<PM>) -> Self {
        let expected = expected(Expected::new(self.now));
        let last = self.last();
        if let Some(reason) = last.failed.first() {
            panic!("`{}` fails to react: {reason}", PM::NAME);
        }
        let with_keys = expected.has_names() || last.parts.len() > 1;
        assert_same(
            &format!("`{}` does not do what is expected", PM::NAME),
            &printed(&expected.into_parts(), with_keys),
            &printed(&last.parts, with_keys),
        );
        self
    }

    /// The process manager asks for nothing.
    ///
    /// # Panics
    ///
    /// As [`then`](Self::then).
    #[track_caller]
    pub fn then_nothing(self) -> Self {
        self.then(|expected| expected)
    }

    /// The event or deadline belongs to no instance: it is ignored.
    ///
    /// # Panics
    ///
    /// If an instance reacted to it.
    #[track_caller]
    pub fn then_ignored(self) -> Self {
        let last = self.last();
        let is_ignored = last.parts.is_empty() && last.failed.is_empty();
        assert!(
            is_ignored,
            "`{}` was expected to ignore it, but reacts\n{}{}",
            PM::NAME,
            printed(&last.parts, true),
            last.failed.join("\n")
        );
        self
    }

    /// The process manager cannot react, for a reason that contains `reason`.
    ///
    /// # Panics
    ///
    /// If it can, or cannot for another reason.
    #[track_caller]
    pub fn then_fails(self, reason: &str) -> Self {
        let last = self.last();
        match last.failed.first() {
            Some(failed) => assert!(
                failed.contains(reason),
                "`{}` fails to react for another reason than expected\n- {reason}\n+ {failed}",
                PM::NAME
            ),
            None => panic!(
                "`{}` was expected to fail with `{reason}`, but reacts\n{}",
                PM::NAME,
                printed(&last.parts, true)
            ),
        }
        self
    }

    /// The state of the only open instance is `state`. Both are compared as they are stored.
    ///
    /// # Panics
    ///
    /// If it is another, or there is none or more than one.
    #[track_caller]
    pub fn then_state(self, state: &PM) -> Self {
        let keys: Vec<_> = self.instances.keys().cloned().collect();
        match keys.as_slice() {
            [key] => self.then_state_of(key, state),
            [] => panic!("`{}` has no instance that is open", PM::NAME),
            _ => panic!(
                "`{}` has several instances: say which with `then_state_of`; open are {keys:?}",
                PM::NAME
            ),
        }
    }

    /// The state of the instance `key` is `state`. Both are compared as they are stored.
    ///
    /// # Panics
    ///
    /// If it is another, or that instance is not open.
    #[track_caller]
    pub fn then_state_of(self, key: impl Display, state: &PM) -> Self {
        let key = key.to_string();
        let Some(instance) = self.instances.get(&key) else {
            panic!("`{}` has no open instance `{key}`", PM::NAME);
        };
        let found: PM = stored_state(&instance.state);
        assert_same(
            &format!("the state of `{}` is not as expected", PM::NAME),
            &printed_value(state),
            &printed_value(&found),
        );
        self
    }

    /// The keys of the instances that are open, in order.
    #[must_use]
    pub fn open_instances(&self) -> Vec<&str> {
        self.instances.keys().map(String::as_str).collect()
    }

    #[track_caller]
    fn last(&self) -> &Last {
        match &self.last {
            Some(last) => last,
            None => panic!("nothing was done yet: a test says what happens with `when(..)`"),
        }
    }

    fn armed(&self) -> String {
        let mut armed = Vec::new();
        for (key, instance) in &self.instances {
            armed.extend(instance.deadlines.keys().map(|name| match key.as_str() {
                "" => format!("`{name}`"),
                _ => format!("`{name}` of `{key}`"),
            }));
        }
        if armed.is_empty() {
            return "none".to_owned();
        }
        armed.join(", ")
    }

    fn next_due(&self) -> Option<(SystemTime, String, String)> {
        let armed = self.instances.iter().flat_map(|(key, instance)| {
            let deadlines = instance.deadlines.values();
            deadlines.map(|deadline| (deadline.due(), key.clone(), deadline.name.clone()))
        });
        armed.min()
    }

    #[track_caller]
    fn deliver<A: Aggregate>(&mut self, stream_id: &str, event: &A::DomainEvent) -> Last {
        assert!(
            PM::default().subscriptions().contains(&A::AGGREGATE_TYPE),
            "the process manager `{}` does not subscribe to `{}`",
            PM::NAME,
            A::AGGREGATE_TYPE
        );
        self.position += 1;
        let stream = (A::AGGREGATE_TYPE, stream_id.to_owned());
        let version = self.versions.entry(stream).or_default();
        *version += 1;
        let mut event = recorded(event, self.position, *version);
        event.event.id = Some(format!("event-{}", self.position));
        let since_1970 = self.now.duration_since(UNIX_EPOCH);
        event.event.ts = since_1970.unwrap_or_default().as_secs();

        let mut last = Last::default();
        let correlation = match PM::correlate(A::AGGREGATE_TYPE, stream_id, &event) {
            Ok(correlation) => correlation,
            Err(error) => {
                last.failed.push(error.to_string());
                return last;
            }
        };
        for join in correlation.into_joins() {
            let is_open = self.instances.contains_key(&join.key);
            let reacts = match join.kind {
                JoinKind::Start => !is_open,
                JoinKind::Continue => is_open,
                JoinKind::StartOrContinue => true,
            };
            if reacts {
                let input = Input::Event(A::AGGREGATE_TYPE, stream_id, &event);
                self.react(&join.key, input, &mut last);
            }
        }
        last
    }

    #[track_caller]
    fn fire(&mut self, key: &str, name: &str, last: &mut Last) {
        let instance = self.instances.get_mut(key);
        let deadline = instance.and_then(|instance| instance.deadlines.remove(name));
        if let Some(deadline) = deadline {
            self.react(key, Input::Deadline(&deadline), last);
        }
    }

    #[track_caller]
    fn react(&mut self, key: &str, input: Input<'_>, last: &mut Last) {
        let open = self.instances.get(key).cloned();
        let mut instance = open.unwrap_or_else(|| Instance {
            state: printed_value(&PM::default()),
            ..Instance::default()
        });
        let before = instance.state.clone();
        let mut state: PM = stored_state(&before);
        let effects = match input.react(&mut state, key) {
            Ok(effects) => effects,
            Err(error) => {
                last.failed.push(error.to_string());
                return;
            }
        };
        for change in &effects.timers {
            match change {
                TimerChange::Schedule(scheduled) => {
                    let stored = scheduled.clone().store(self.now, input.source());
                    instance.deadlines.insert(stored.name.clone(), stored);
                }
                TimerChange::Cancel(name) => {
                    instance.deadlines.remove(name);
                }
            }
        }
        let is_complete = effects.is_complete;
        let (part, commands) = Part::of(key, effects, self.now);
        self.repeat(key, input, &before, &part);
        if let Some(envelope) = commands.into_iter().next_back() {
            last.sent = Some(Sent {
                key: key.to_owned(),
                state: before,
                envelope,
                source: input.source(),
            });
        }
        last.parts.push(part);
        if is_complete {
            self.instances.remove(key);
        } else {
            instance.state = printed_value(&read_back(PM::NAME, &state));
            self.instances.insert(key.to_owned(), instance);
        }
    }

    /// After a crash, an event may be shown again to a state that has not seen it.
    #[track_caller]
    fn repeat(&self, key: &str, input: Input<'_>, before: &str, first: &Part) {
        let mut state: PM = stored_state(before);
        let again = input.react(&mut state, key);
        let again = match again {
            Ok(effects) => Part::of(key, effects, self.now).0,
            Err(error) => panic!(
                "`{}` is not deterministic: reacting again from the same state fails: {error}",
                PM::NAME
            ),
        };
        assert_same(
            &format!(
                "`{}` is not deterministic: it asks for something else when it reacts again from the same state",
                PM::NAME
            ),
            &printed(std::slice::from_ref(first), false),
            &printed(std::slice::from_ref(&again), false),
        );
    }
}

#[track_caller]
fn stored_state<PM: ProcessManager>(json: &str) -> PM {
    match serde_json::from_str(json) {
        Ok(state) => state,
        Err(error) => panic!("the state of `{}` does not read back: {error}", PM::NAME),
    }
}
