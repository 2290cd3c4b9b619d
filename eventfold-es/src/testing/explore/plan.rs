//! The plan of an exploration.

use std::error::Error;
use std::fmt::{self, Debug};
use std::marker::PhantomData;
use std::sync::Arc;

use super::handlers::{Built, ErasedHandler, Worldless};
use super::{Moment, Outside};
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
/// [`ProcessManagerTest::explore`](crate::testing::ProcessManagerTest::explore) has an example.
pub struct Exploration<PM, W = ()> {
    pub(super) given: Vec<Scripted>,
    pub(super) events: Vec<Scripted>,
    pub(super) rejections: Vec<Rejection>,
    pub(super) answers: Vec<Answer>,
    pub(super) failures: u32,
    pub(super) timeouts: u32,
    pub(super) crashes: u32,
    pub(super) states: usize,
    pub(super) outside: W,
    pub(super) handlers: Vec<Box<dyn ErasedHandler<W>>>,
    pub(super) invariants: Vec<Invariant<PM, W>>,
}

/// An event of a stream, without its place.
#[derive(Clone)]
pub(super) struct Scripted {
    pub(super) stream: StreamId,
    pub(super) event: Arc<eventfold::Event>,
}

pub(super) type Rejection = (
    &'static str,
    Box<dyn Fn(&CommandEnvelope) -> Option<FailureCause>>,
);
pub(super) type Answer = (&'static str, Box<dyn Fn(&CommandEnvelope) -> Vec<Scripted>>);

type Condition<PM, W> = dyn Fn(&Moment<'_, PM, W>) -> Result<(), String>;

/// A condition on states, and whether it is only for states at rest.
pub(super) struct Invariant<PM, W> {
    pub(super) is_at_rest: bool,
    pub(super) holds: Box<Condition<PM, W>>,
}

impl<PM: ProcessManager> Exploration<PM> {
    pub(super) fn new() -> Self {
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
                .map(|handler| Box::new(Worldless(handler)) as Box<dyn ErasedHandler<W>>)
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
        self.handlers.push(Box::new(Built(build)));
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

#[track_caller]
fn scripted<A: Aggregate>(stream_id: &str, event: &A::DomainEvent) -> Scripted {
    Scripted {
        stream: StreamId::new(A::AGGREGATE_TYPE, stream_id),
        event: Arc::new(recorded(event, 1, 1).event),
    }
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
