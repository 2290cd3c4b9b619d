//! Tests of the form: given events, when a command, then events or an error.

use std::any::type_name;
use std::time::{SystemTime, UNIX_EPOCH};

use super::diff::assert_same;
use super::print::{printed_events, printed_value, recorded};
use crate::aggregate::{Aggregate, Deciding};
use crate::command::CommandContext;

/// A test of the aggregate `A`: [`given`](AggregateTest::given) events, [`when`](AggregateTest::when) a command, then events or
/// an error.
///
/// Events are encoded and decoded on the way, as in a store. So an event that cannot be stored fails here, too.
///
/// # Examples
///
/// ```
/// use eventfold_es::prelude::*;
/// use eventfold_es::testing;
///
/// #[derive(Debug, Clone, Serialize, Deserialize)]
/// pub enum DoorCommand { Open }
///
/// #[derive(Debug, Clone, Serialize, Deserialize, DomainEvent)]
/// #[serde(tag = "type", content = "data")]
/// pub enum DoorEvent { Opened { times: u32 } }
///
/// #[derive(Debug, PartialEq, thiserror::Error)]
/// #[error("it is worn out")]
/// pub struct DoorError;
///
/// #[aggregate]
/// #[derive(Debug, Clone, Default, Serialize, Deserialize)]
/// pub struct Door { opened: u32 }
///
/// impl Decider for Door {
///     fn decide(&self, command: DoorCommand) -> Result<Vec<DoorEvent>, DoorError> {
///         let DoorCommand::Open = command;
///         match self.opened {
///             0..2 => Ok(vec![DoorEvent::Opened { times: self.opened + 1 }]),
///             _ => Err(DoorError),
///         }
///     }
///
///     fn evolve(&mut self, event: &DoorEvent) {
///         let DoorEvent::Opened { times } = event;
///         self.opened = *times;
///     }
/// }
///
/// testing::aggregate::<Door>()
///     .when(DoorCommand::Open)
///     .then([DoorEvent::Opened { times: 1 }]);
///
/// testing::aggregate::<Door>()
///     .given([DoorEvent::Opened { times: 1 }, DoorEvent::Opened { times: 2 }])
///     .when(DoorCommand::Open)
///     .then_error(DoorError);
/// ```
///
/// A [`ContextDecider`](crate::ContextDecider) receives the values of the test, which are the same in each run:
/// [`id`](AggregateTest::id), [`at`](AggregateTest::at), [`context`](AggregateTest::context), and as its version the
/// number of given events.
///
/// ```
/// use std::time::{Duration, SystemTime};
/// use eventfold_es::prelude::*;
/// use eventfold_es::testing;
/// # #[derive(Debug, Clone, Serialize, Deserialize)]
/// # pub enum OfferCommand { Accept }
/// # #[derive(Debug, Clone, Serialize, Deserialize, DomainEvent)]
/// # #[serde(tag = "type", content = "data")]
/// # pub enum OfferEvent { Made { until: SystemTime }, Accepted { by: String } }
/// # #[derive(Debug, PartialEq, thiserror::Error)]
/// # #[error("expired")]
/// # pub struct Expired;
/// # #[aggregate(context, error = Expired)]
/// # #[derive(Debug, Clone, Default, Serialize, Deserialize)]
/// # pub struct Offer { until: Option<SystemTime> }
/// # impl ContextDecider for Offer {
/// #     fn decide(&self, _: OfferCommand, cx: &Deciding<'_>) -> Result<Vec<OfferEvent>, Expired> {
/// #         if self.until.is_none_or(|until| cx.now() > until) { return Err(Expired) }
/// #         Ok(vec![OfferEvent::Accepted { by: cx.actor().unwrap_or_default().to_owned() }])
/// #     }
/// #     fn evolve(&mut self, event: &OfferEvent) {
/// #         if let OfferEvent::Made { until } = event { self.until = Some(*until) }
/// #     }
/// # }
///
/// let noon = SystemTime::UNIX_EPOCH + Duration::from_secs(12 * 3600);
/// let offer = || testing::aggregate::<Offer>().given([OfferEvent::Made { until: noon }]);
///
/// offer()
///     .at(noon)
///     .context(CommandContext::default().with_actor("alice"))
///     .when(OfferCommand::Accept)
///     .then([OfferEvent::Accepted { by: "alice".into() }]);
///
/// offer()
///     .at(noon + Duration::from_secs(1))
///     .when(OfferCommand::Accept)
///     .then_error(Expired);
/// ```
#[derive(Debug)]
pub struct AggregateTest<A: Aggregate> {
    state: A,
    id: String,
    version: u64,
    now: SystemTime,
    context: CommandContext,
}

/// The result of a command.
#[derive(Debug)]
pub struct Decided<A: Aggregate> {
    state: A,
    result: Result<Vec<A::DomainEvent>, A::Error>,
}

/// A test of the aggregate `A`, without history.
#[must_use = "a test says what it expects with `then(..)`"]
pub fn aggregate<A: Aggregate>() -> AggregateTest<A> {
    AggregateTest {
        state: A::default(),
        id: String::new(),
        version: 0,
        now: UNIX_EPOCH,
        context: CommandContext::default(),
    }
}

impl<A: Aggregate> AggregateTest<A> {
    /// Given these events, in this order.
    ///
    /// # Panics
    ///
    /// If an event cannot be stored.
    #[must_use = "a test says what it expects with `then(..)`"]
    #[track_caller]
    pub fn given(mut self, events: impl IntoIterator<Item = A::DomainEvent>) -> Self {
        let events = stored(events);
        self.version += events.len() as u64;
        self.state = fold(self.state, &events);
        self
    }

    /// Sets the instance id. Default: empty.
    #[must_use = "a test says what it expects with `then(..)`"]
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.id = id.into();
        self
    }

    /// Sets the time of the command. Default: the beginning of 1970.
    #[must_use = "a test says what it expects with `then(..)`"]
    pub fn at(mut self, now: SystemTime) -> Self {
        self.now = now;
        self
    }

    /// Sets the context of the command, which names its sender. Default: an empty context.
    #[must_use = "a test says what it expects with `then(..)`"]
    pub fn context(mut self, context: impl Into<CommandContext>) -> Self {
        self.context = context.into();
        self
    }

    /// Executes the command.
    #[must_use = "a test says what it expects with `then(..)`"]
    pub fn when(self, command: A::Command) -> Decided<A> {
        let cx = Deciding::new(&self.id)
            .with_version(self.version)
            .with_now(self.now)
            .with_context(&self.context);
        let result = self.state.handle_with(command, &cx);
        Decided {
            state: self.state,
            result,
        }
    }

    /// The state after the events.
    #[must_use]
    pub fn state(&self) -> &A {
        &self.state
    }
}

impl<A: Aggregate> Decided<A> {
    /// Expects exactly these events, in this order. It compares their stored form.
    ///
    /// # Panics
    ///
    /// If the events differ or the command is rejected; the message shows the difference.
    #[track_caller]
    pub fn then(self, events: impl IntoIterator<Item = A::DomainEvent>) -> Self {
        let expected: Vec<_> = events.into_iter().collect();
        match &self.result {
            Ok(events) => assert_same(
                &format!("`{}` stores other events than expected", type_name::<A>()),
                &printed_events(&expected),
                &printed_events(events),
            ),
            Err(error) => panic!(
                "`{}` rejects the command: {error}\nexpected were the events\n{}",
                type_name::<A>(),
                printed_events(&expected)
            ),
        }
        self
    }

    /// Expects that the command has nothing to do.
    ///
    /// # Panics
    ///
    /// As [`then`](Self::then).
    #[track_caller]
    pub fn then_nothing(self) -> Self {
        self.then([])
    }

    /// Expects the rejection `error`.
    ///
    /// # Panics
    ///
    /// If it is rejected with another error, or accepted.
    #[track_caller]
    pub fn then_error(self, error: A::Error) -> Self
    where
        A::Error: PartialEq,
    {
        let found = self.rejection();
        assert!(
            *found == error,
            "`{}` rejects the command with another error than expected\n- {error:?}\n+ {found:?}",
            type_name::<A>()
        );
        self
    }

    /// Expects a rejection that `is_expected`, such as `|error| matches!(error, OrderError::Shipped)`.
    ///
    /// # Panics
    ///
    /// If it is rejected with another error, or accepted.
    #[track_caller]
    pub fn then_rejected(self, is_expected: impl FnOnce(&A::Error) -> bool) -> Self {
        let found = self.rejection();
        assert!(
            is_expected(found),
            "`{}` rejects the command with another error than expected: {found:?}",
            type_name::<A>()
        );
        self
    }

    /// Expects the state `state` after the events. It compares the stored form of both.
    ///
    /// # Panics
    ///
    /// If the state differs, or the command is rejected.
    #[track_caller]
    pub fn then_state(self, state: &A) -> Self {
        let events = match &self.result {
            Ok(events) => stored(events.iter().cloned()),
            Err(error) => panic!("`{}` rejects the command: {error}", type_name::<A>()),
        };
        let found = fold(self.state.clone(), &events);
        assert_same(
            &format!("the state of `{}` is not as expected", type_name::<A>()),
            &printed_value(state),
            &printed_value(&found),
        );
        self
    }

    /// The events, or the rejection.
    ///
    /// # Errors
    ///
    /// The error with which the aggregate rejected the command.
    pub fn result(self) -> Result<Vec<A::DomainEvent>, A::Error> {
        self.result
    }

    #[track_caller]
    fn rejection(&self) -> &A::Error {
        match &self.result {
            Err(error) => error,
            Ok(events) => panic!(
                "`{}` accepts the command, which was expected to be rejected; it stores\n{}",
                type_name::<A>(),
                printed_events(events)
            ),
        }
    }
}

/// The events, after encoding and decoding.
#[track_caller]
fn stored<E: crate::DomainEvent>(events: impl IntoIterator<Item = E>) -> Vec<E> {
    let mut read = Vec::new();
    for event in events {
        match E::from_event(&recorded(&event, 1, 1).event) {
            Ok(event) => read.push(event),
            Err(error) => panic!("an event does not read back: {error}"),
        }
    }
    read
}

fn fold<A: Aggregate>(state: A, events: &[A::DomainEvent]) -> A {
    events.iter().fold(state, A::apply)
}
