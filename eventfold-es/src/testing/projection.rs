//! Tests of the form: given events, then a read model.

use super::diff::assert_same;
use super::given::Given;
use super::print::{printed_value, read_back};
use crate::aggregate::Aggregate;
use crate::projection::Projection;

/// A test of the projection `P`: [`given`](ProjectionTest::given) events, [`then`](ProjectionTest::then) a read model.
///
/// The test stores and reads back the read model after each event, as a store may do.
///
/// # Examples
///
/// ```
/// use eventfold_es::prelude::*;
/// use eventfold_es::testing;
/// # #[derive(Debug, Clone, Serialize, Deserialize)]
/// # pub enum OrderCommand {}
/// # #[derive(Debug, Clone, Serialize, Deserialize, DomainEvent)]
/// # #[serde(tag = "type", content = "data")]
/// # pub enum OrderEvent { Placed { qty: u32 } }
/// # #[aggregate(error = std::convert::Infallible)]
/// # #[derive(Debug, Clone, Default, Serialize, Deserialize)]
/// # pub struct Order;
/// # impl Decider for Order {
/// #     fn decide(&self, command: OrderCommand) -> Result<Vec<OrderEvent>, std::convert::Infallible> { match command {} }
/// #     fn evolve(&mut self, _: &OrderEvent) {}
/// # }
///
/// #[projection(subscribes = [Order])]
/// #[derive(Debug, Clone, Default, Serialize, Deserialize)]
/// pub struct Sales { units: u32 }
///
/// impl Project<Order> for Sales {
///     fn project(&mut self, event: &OrderEvent, _cx: &EventContext<'_>) {
///         let OrderEvent::Placed { qty } = event;
///         self.units += qty;
///     }
/// }
///
/// testing::projection::<Sales>()
///     .given::<Order>("ord-1", OrderEvent::Placed { qty: 2 })
///     .given::<Order>("ord-2", OrderEvent::Placed { qty: 3 })
///     .then(&Sales { units: 5 });
/// ```
#[derive(Debug)]
pub struct ProjectionTest<P: Projection> {
    state: P,
    given: Given,
}

/// A test of the projection `P`, without events.
#[must_use = "a test says what it expects with `then(..)`"]
pub fn projection<P: Projection>() -> ProjectionTest<P> {
    ProjectionTest {
        state: P::default(),
        given: Given::default(),
    }
}

impl<P: Projection> ProjectionTest<P> {
    /// Given `event` of the instance `stream_id` of `A`, after the earlier events.
    ///
    /// # Panics
    ///
    /// If the projection does not subscribe to `A` or cannot fold the event, or its state cannot be stored.
    #[must_use = "a test says what it expects with `then(..)`"]
    #[track_caller]
    pub fn given<A: Aggregate>(
        mut self,
        stream_id: impl Into<String>,
        event: A::DomainEvent,
    ) -> Self {
        let stream_id = stream_id.into();
        let subscribed = self.state.subscriptions();
        let given = &mut self.given;
        let event = given.next::<A>(P::NAME, subscribed, &stream_id, &event);
        if let Err(error) = self.state.apply(A::AGGREGATE_TYPE, &stream_id, &event) {
            panic!(
                "the projection `{}` cannot fold the event: {error}",
                P::NAME
            );
        }
        self.state = read_back(P::NAME, &self.state);
        self
    }

    /// Expects the read model `expected`. It compares the stored form of both.
    ///
    /// # Panics
    ///
    /// If they differ; the message shows the difference.
    #[track_caller]
    pub fn then(self, expected: &P) -> Self {
        assert_same(
            &format!("the projection `{}` is not as expected", P::NAME),
            &printed_value(expected),
            &printed_value(&self.state),
        );
        self
    }

    /// The read model.
    #[must_use]
    pub fn state(&self) -> &P {
        &self.state
    }
}
