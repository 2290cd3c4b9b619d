//! Exploration: every order in which events, deadlines, rejections and failures can reach a process manager, up to a bound.

mod handlers;
mod moment;
mod outside;
mod search;

use std::any::type_name;
use std::error::Error;
use std::fmt::{self, Debug};
use std::hash::Hash;
use std::marker::PhantomData;
use std::sync::Arc;

use serde_json::Value;

use handlers::{Hired, Homebound, Staff};
pub use moment::Moment;
pub use outside::Outside;
use search::{Node, Search};

use super::ProcessManagerTest;
use crate::aggregate::Aggregate;
use crate::envelope::{CommandEnvelope, DispatchTarget};
use crate::event_handler::EventHandler;
use crate::journal::StreamId;
use crate::process_manager::{FailureCause, ProcessManager};
use crate::testing::print::recorded;

/// The number of states after which an exploration ends, unless its plan says otherwise.
const STATES: usize = 1_000_000;

/// The plan of an exploration: the events that can happen, the answers of the targets, and the invariants.
///
/// `W` is the world [outside](Self::outside), which [event handlers](Self::event_handler) change.
///
/// [`ProcessManagerTest::explore`] has an example.
pub struct Exploration<PM, W = ()> {
    given: Vec<Scripted>,
    events: Vec<Scripted>,
    rejections: Vec<Rejection>,
    answers: Vec<Answer>,
    failures: u32,
    timeouts: u32,
    crashes: u32,
    states: usize,
    outside: W,
    handlers: Vec<Box<dyn Staff<W>>>,
    invariants: Vec<Invariant<PM, W>>,
}

/// An event of a stream, without its place.
#[derive(Clone)]
struct Scripted {
    stream: StreamId,
    event: Arc<eventfold::Event>,
}

type Rejection = (
    &'static str,
    Box<dyn Fn(&CommandEnvelope) -> Option<FailureCause>>,
);
type Answer = (&'static str, Box<dyn Fn(&CommandEnvelope) -> Vec<Scripted>>);

type Condition<PM, W> = dyn Fn(&Moment<'_, PM, W>) -> Result<(), String>;

/// A condition on states, and whether it is only for states at rest.
struct Invariant<PM, W> {
    is_at_rest: bool,
    holds: Box<Condition<PM, W>>,
}

/// The result of an exploration.
#[derive(Debug)]
#[must_use = "a test says what it expects with `then_holds()` or `then_violated()`"]
pub struct Explored {
    /// The number of different states.
    pub states: usize,
    /// The number of steps between them.
    pub steps: usize,
    /// Whether every state was reached. Otherwise the limit of the plan ended the exploration.
    pub is_complete: bool,
    violation: Option<Violation>,
}

/// A state in which an invariant does not hold, and the shortest way to it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Violation {
    /// The reason that the invariant gives.
    pub reason: String,
    /// The steps, for [`ProcessManagerTest::follow`].
    pub steps: Vec<String>,
    /// A test of these steps.
    pub test: String,
}

impl<PM: ProcessManager> Exploration<PM> {
    fn new() -> Self {
        Self {
            given: Vec::new(),
            events: Vec::new(),
            rejections: Vec::new(),
            answers: Vec::new(),
            failures: 0,
            timeouts: 0,
            crashes: 0,
            states: STATES,
            outside: (),
            handlers: Vec::new(),
            invariants: Vec::new(),
        }
    }

    /// The world outside at the beginning: the data of the services that [event handlers](Self::event_handler) call. For example, the
    /// charges of a bank.
    ///
    /// It is a part of each state. So an exploration clones, hashes and compares it.
    pub fn outside<W>(self, world: W) -> Exploration<PM, W> {
        let handlers = self.handlers.into_iter();
        let invariants = self.invariants.into_iter();
        Exploration {
            given: self.given,
            events: self.events,
            rejections: self.rejections,
            answers: self.answers,
            failures: self.failures,
            timeouts: self.timeouts,
            crashes: self.crashes,
            states: self.states,
            outside: world,
            handlers: handlers
                .map(|handler| Box::new(Homebound(handler)) as Box<dyn Staff<W>>)
                .collect(),
            invariants: invariants.map(Invariant::elsewhere).collect(),
        }
    }
}

impl<PM: ProcessManager> Invariant<PM, ()> {
    /// The same condition in another world.
    fn elsewhere<W>(self) -> Invariant<PM, W> {
        let Self { is_at_rest, holds } = self;
        Invariant {
            is_at_rest,
            holds: Box::new(move |moment: &Moment<'_, PM, W>| {
                holds(&Moment {
                    pool: moment.pool,
                    node: moment.node,
                    outside: &(),
                    process_manager: PhantomData,
                })
            }),
        }
    }
}

impl<PM: ProcessManager, W> Exploration<PM, W> {
    /// An event handler beside the process manager. `build` builds it, with a fake that changes the world [outside](Self::outside).
    ///
    /// Each call is a step, with a handler of its own. It may come at any time after its event, and calls of one key come in order. Its
    /// commit belongs to the step. [`crashes`](Self::crashes) and [`timeouts`](Self::timeouts) part the two. The call runs on a
    /// virtual clock, as in a test of [`event_handler`](crate::testing::event_handler).
    ///
    /// The handler and its fake keep no data but those of the world, and depend on nothing else. So they are deterministic. Every call is
    /// made twice in the same world, and must have the same result both times.
    pub fn event_handler<H: EventHandler>(
        mut self,
        build: impl Fn(Outside<W>) -> H + 'static,
    ) -> Self
    where
        W: Clone + Eq + Debug + 'static,
    {
        self.handlers.push(Box::new(Hired(build)));
        self
    }

    /// Up to `count` calls of event handlers time out. The call has changed the world outside, but its answer is lost. The failure policy of
    /// the handler decides. Default: 0.
    pub fn timeouts(mut self, count: u32) -> Self {
        self.timeouts = count;
        self
    }

    /// The process crashes up to `count` times between a call of an event handler and its commit. The call is made again at some time
    /// after it. Default: 0.
    pub fn crashes(mut self, count: u32) -> Self {
        self.crashes = count;
        self
    }

    /// Given `event` of the instance `stream_id` of `A`: it happens before everything else, in the order of these calls.
    ///
    /// # Panics
    ///
    /// If the event does not serialize.
    #[track_caller]
    pub fn given<A: Aggregate>(
        mut self,
        stream_id: impl Into<String>,
        event: A::DomainEvent,
    ) -> Self {
        self.given.push(scripted::<A>(&stream_id.into(), &event));
        self
    }

    /// `event` of the instance `stream_id` of `A` happens at some time. Events of one stream happen in the order of these calls, and
    /// those of different streams in any order.
    ///
    /// # Panics
    ///
    /// If the event does not serialize.
    #[track_caller]
    pub fn event<A: Aggregate>(
        mut self,
        stream_id: impl Into<String>,
        event: A::DomainEvent,
    ) -> Self {
        self.events.push(scripted::<A>(&stream_id.into(), &event));
        self
    }

    /// A command of `A` for which `error` returns an error may be rejected with it, or executed. Other commands are executed.
    pub fn rejects<A: DispatchTarget, E: Error + Send + Sync + 'static>(
        mut self,
        error: impl Fn(&str, &A::Command) -> Option<E> + 'static,
    ) -> Self {
        let rejects = move |envelope: &CommandEnvelope| {
            let command: A::Command = serde_json::from_value(envelope.command.clone()).ok()?;
            let error = Arc::new(error(&envelope.instance_id, &command)?);
            Some(FailureCause::Rejected { error })
        };
        self.rejections.push((A::AGGREGATE_TYPE, Box::new(rejects)));
        self
    }

    /// An executed command of `A` has these events. They happen at some time after it, in the order of their stream.
    pub fn answers<A: DispatchTarget>(
        mut self,
        events: impl Fn(&str, &A::Command) -> Vec<A::DomainEvent> + 'static,
    ) -> Self {
        let answers = move |envelope: &CommandEnvelope| {
            let command = serde_json::from_value::<A::Command>(envelope.command.clone());
            let id = &envelope.instance_id;
            let events = command.map(|command| events(id, &command));
            let events = events.unwrap_or_default();
            events
                .iter()
                .map(|event| scripted::<A>(id, event))
                .collect()
        };
        self.answers.push((A::AGGREGATE_TYPE, Box::new(answers)));
        self
    }

    /// Up to `count` reactions of the process manager fail as if they had panicked. Its failure policy decides. Default: 0.
    pub fn failures(mut self, count: u32) -> Self {
        self.failures = count;
        self
    }

    /// The exploration ends after this number of states. Default: 1,000,000.
    pub fn up_to(mut self, states: usize) -> Self {
        self.states = states;
        self
    }

    /// `holds` is true of every state. Otherwise it returns the reason.
    pub fn always(
        self,
        holds: impl Fn(&Moment<'_, PM, W>) -> Result<(), String> + 'static,
    ) -> Self {
        self.invariant(false, holds)
    }

    /// `holds` is true of every state at rest: no event, deadline, retry or call is left. Otherwise it returns the reason.
    pub fn at_rest(
        self,
        holds: impl Fn(&Moment<'_, PM, W>) -> Result<(), String> + 'static,
    ) -> Self {
        self.invariant(true, holds)
    }

    fn invariant(
        mut self,
        is_at_rest: bool,
        holds: impl Fn(&Moment<'_, PM, W>) -> Result<(), String> + 'static,
    ) -> Self {
        let holds = Box::new(holds);
        self.invariants.push(Invariant { is_at_rest, holds });
        self
    }
}

impl<PM: ProcessManager> ProcessManagerTest<PM> {
    /// Explores every order in which the events, deadlines, rejections and failures of `plan` can reach the process manager.
    ///
    /// It searches breadth first and visits each state once, so that the first violation has the shortest way. A state consists of the
    /// stored data of the process manager, the commands that it has sent, and the events that are still to happen. The next steps from
    /// a state are:
    ///
    /// - the next event of a stream;
    /// - the armed deadline that is due first, before or after any event;
    /// - the retry that is due first;
    /// - a call of an event handler, its retry, or its repetition after a crash;
    /// - each of these with a failed reaction or call, and with each combination of rejected commands, as far as the plan has them.
    ///
    /// Every step begins with the stored data, as after a restart. So a crash between two steps makes no difference, and a crash in
    /// the middle of a step leaves the state before it. A store runs the same machine.
    ///
    /// # Panics
    ///
    /// If the test has events already: an exploration takes them from its plan.
    ///
    /// # Examples
    ///
    /// A payment that arrives after the cancellation is not paid back:
    ///
    /// ```
    /// use eventfold_es::prelude::*;
    /// use eventfold_es::testing::{self, Exploration};
    /// # #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    /// # pub enum PaymentCommand { Refund }
    /// # #[derive(Debug, Clone, Serialize, Deserialize, DomainEvent)]
    /// # #[serde(tag = "type", content = "data")]
    /// # pub enum PaymentEvent { Paid }
    /// # #[aggregate(error = std::convert::Infallible)]
    /// # #[derive(Debug, Clone, Default, Serialize, Deserialize)]
    /// # pub struct Payment;
    /// # impl Decider for Payment {
    /// #     fn decide(&self, _: PaymentCommand) -> Result<Vec<PaymentEvent>, std::convert::Infallible> { Ok(vec![]) }
    /// #     fn evolve(&mut self, _: &PaymentEvent) {}
    /// # }
    /// # #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    /// # pub enum BookingCommand {}
    /// # #[derive(Debug, Clone, Serialize, Deserialize, DomainEvent)]
    /// # #[serde(tag = "type", content = "data")]
    /// # pub enum BookingEvent { Requested, Cancelled }
    /// # #[aggregate(error = std::convert::Infallible)]
    /// # #[derive(Debug, Clone, Default, Serialize, Deserialize)]
    /// # pub struct Booking;
    /// # impl Decider for Booking {
    /// #     fn decide(&self, _: BookingCommand) -> Result<Vec<BookingEvent>, std::convert::Infallible> { Ok(vec![]) }
    /// #     fn evolve(&mut self, _: &BookingEvent) {}
    /// # }
    /// #[process_manager(subscribes = [Booking, Payment], dispatches = [Payment], key = String)]
    /// #[derive(Debug, Default, Serialize, Deserialize)]
    /// pub struct BookingSaga {
    ///     is_paid: bool,
    /// }
    ///
    /// impl Correlate<Booking> for BookingSaga {
    ///     fn correlate(event: &BookingEvent, cx: &EventContext<'_>) -> Correlation<String> {
    ///         match event {
    ///             BookingEvent::Requested => Correlation::starts(cx.stream_id().to_owned()),
    ///             BookingEvent::Cancelled => Correlation::continues(cx.stream_id().to_owned()),
    ///         }
    ///     }
    /// }
    ///
    /// impl Correlate<Payment> for BookingSaga {
    ///     fn correlate(_event: &PaymentEvent, cx: &EventContext<'_>) -> Correlation<String> {
    ///         Correlation::continues(cx.stream_id().to_owned())
    ///     }
    /// }
    ///
    /// impl React<Booking> for BookingSaga {
    ///     fn react(&mut self, event: &BookingEvent, cx: &mut Reaction<'_, Self>) {
    ///         if let BookingEvent::Cancelled = event {
    ///             if self.is_paid {
    ///                 cx.send(cx.key(), PaymentCommand::Refund);
    ///             }
    ///             cx.complete();
    ///         }
    ///     }
    /// }
    ///
    /// impl React<Payment> for BookingSaga {
    ///     fn react(&mut self, _event: &PaymentEvent, _cx: &mut Reaction<'_, Self>) {
    ///         self.is_paid = true;
    ///     }
    /// }
    ///
    /// fn paid_and_cancelled(plan: Exploration<BookingSaga>) -> Exploration<BookingSaga> {
    ///     plan.given::<Booking>("b-1", BookingEvent::Requested)
    ///         .event::<Booking>("b-1", BookingEvent::Cancelled)
    ///         .event::<Payment>("b-1", PaymentEvent::Paid)
    ///         .at_rest(|moment| match moment.sent::<Payment>().len() {
    ///             1 => Ok(()),
    ///             refunds => Err(format!("{refunds} refunds for one payment")),
    ///         })
    /// }
    ///
    /// let explored = testing::process_manager::<BookingSaga>().explore(paid_and_cancelled);
    /// let race = explored.then_violated();
    /// assert_eq!(race.reason, "0 refunds for one payment");
    /// assert_eq!(race.steps, ["Cancelled of booking `b-1`", "Paid of payment `b-1`"]);
    /// ```
    #[track_caller]
    pub fn explore<F, W>(self, plan: F) -> Explored
    where
        F: FnOnce(Exploration<PM>) -> Exploration<PM, W>,
        W: Clone + Hash,
    {
        self.refuse_events();
        let name = type_name::<F>();
        let plan = plan(Exploration::new());
        let mut search = Search::new(&plan);
        let found = search.run();
        let violation = found.map(|(reason, steps)| Violation {
            test: test_of::<PM>(name, &steps),
            reason,
            steps,
        });
        Explored {
            states: search.states(),
            steps: search.steps,
            is_complete: search.is_complete,
            violation,
        }
    }

    /// Follows the steps of an exploration, and checks the invariants of `plan` after each.
    ///
    /// # Panics
    ///
    /// If a step is not possible, or an invariant does not hold.
    #[track_caller]
    pub fn follow<W: Clone + Hash>(
        self,
        plan: impl FnOnce(Exploration<PM>) -> Exploration<PM, W>,
        steps: &[&str],
    ) {
        self.refuse_events();
        let plan = plan(Exploration::new());
        let search = Search::new(&plan);
        let mut state = search.start();
        let mut taken = String::new();
        let check = |state: &(Node, W), taken: &str| {
            if let Err(reason) = search.check(state) {
                panic!(
                    "an invariant of `{}` does not hold: {reason}{taken}",
                    PM::NAME
                );
            }
        };
        check(&state, &taken);
        for step in steps {
            let next = search.next(&state);
            let names: Vec<_> = next.iter().map(|(_, _, name)| name.clone()).collect();
            let found = next.into_iter().find(|(_, _, name)| name == step);
            let Some((_, next, _)) = found else {
                panic!("`{step}` is not possible{taken}\npossible are {names:#?}");
            };
            state = next;
            taken.push_str("\nafter ");
            taken.push_str(step);
            check(&state, &taken);
        }
    }
}

impl Explored {
    /// Expects that every invariant holds in every state.
    ///
    /// # Panics
    ///
    /// If an invariant does not hold: the message has the reason, and the shortest way as a test. Also if the exploration is
    /// incomplete: give its plan fewer events, or a higher limit with [`up_to`](Exploration::up_to).
    #[track_caller]
    pub fn then_holds(&self) {
        if let Some(Violation { reason, test, .. }) = &self.violation {
            panic!("an invariant does not hold: {reason}\n\n{test}");
        }
        assert!(
            self.is_complete,
            "the exploration ended after {} states, and there are more",
            self.states
        );
    }

    /// Expects that an invariant does not hold, and returns the shortest way to it.
    ///
    /// # Panics
    ///
    /// If all invariants hold.
    #[track_caller]
    pub fn then_violated(&self) -> &Violation {
        match &self.violation {
            Some(violation) => violation,
            None => panic!("all invariants hold in {} states", self.states),
        }
    }
}

#[track_caller]
fn scripted<A: Aggregate>(stream_id: &str, event: &A::DomainEvent) -> Scripted {
    Scripted {
        stream: StreamId::new(A::AGGREGATE_TYPE, stream_id),
        event: Arc::new(recorded(event, 1, 1).event),
    }
}

/// The steps as a test, which needs the plan by its name.
fn test_of<PM>(plan: &str, steps: &[String]) -> String {
    let last = |path: &str| path.rsplit("::").next().unwrap_or_default().to_owned();
    let plan = match last(plan) {
        name if name.contains("closure") => "plan".to_owned(),
        name => name,
    };
    let process_manager = last(type_name::<PM>());
    let steps: String = steps
        .iter()
        .map(|step| format!("        {step:?},\n"))
        .collect();
    format!(
        "#[test]\nfn {plan}_in_this_order() {{\n    testing::process_manager::<{process_manager}>().follow({plan}, &[\n{steps}    ]);\n}}\n"
    )
}

/// A value of a command or an event in the form in which it is compared.
fn text(value: &Value) -> String {
    value.to_string()
}

impl<PM, W> fmt::Debug for Exploration<PM, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exploration")
            .field("events", &self.events.len())
            .field("failures", &self.failures)
            .field("timeouts", &self.timeouts)
            .field("crashes", &self.crashes)
            .field("process_manager", &PhantomData::<PM>)
            .finish_non_exhaustive()
    }
}
