//! A process manager tested with the kit: its effects, without a store, and its data after a crash at each step.
//!
//! ```text
//! cargo run --example tested_saga --features testing
//! ```
//!
//! In a crate of your own these are tests, and `eventfold-es` with the feature `testing` is a dev-dependency. The example
//! checks its output.

use std::convert::Infallible;
use std::time::Duration;

use eventfold_es::prelude::*;
use eventfold_es::testing;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum OrderCommand {
    Place,
    Cancel,
}

#[derive(Debug, Clone, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
pub enum OrderEvent {
    Placed,
    Cancelled,
}

/// A payment.
#[aggregate(error = Infallible)]
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Order {
    is_cancelled: bool,
}

impl Decider for Order {
    fn decide(&self, command: OrderCommand) -> Result<Vec<OrderEvent>, Infallible> {
        Ok(match command {
            OrderCommand::Place => vec![OrderEvent::Placed],
            OrderCommand::Cancel if self.is_cancelled => vec![],
            OrderCommand::Cancel => vec![OrderEvent::Cancelled],
        })
    }

    fn evolve(&mut self, event: &OrderEvent) {
        self.is_cancelled = matches!(event, OrderEvent::Cancelled);
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum PaymentCommand {
    Request,
}

#[derive(Debug, Clone, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
pub enum PaymentEvent {
    Requested,
    Received,
}

/// The amount paid for an order, under the id of the order.
#[aggregate(error = Infallible)]
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Payment {
    requests: u32,
}

impl Decider for Payment {
    fn decide(&self, command: PaymentCommand) -> Result<Vec<PaymentEvent>, Infallible> {
        let PaymentCommand::Request = command;
        Ok(vec![PaymentEvent::Requested])
    }

    fn evolve(&mut self, event: &PaymentEvent) {
        self.requests += u32::from(matches!(event, PaymentEvent::Requested));
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub struct PaymentDue;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Requests a payment, and cancels the order if there is none after a day.
#[process_manager(
    subscribes = [Order, Payment],
    dispatches = [Order, Payment],
    key = String,
    deadlines = [PaymentDue]
)]
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct PaymentSaga;

impl Correlate<Order> for PaymentSaga {
    fn correlate(event: &OrderEvent, cx: &EventContext<'_>) -> Correlation<String> {
        let order = cx.stream_id().to_owned();
        match event {
            OrderEvent::Placed => Correlation::starts(order),
            OrderEvent::Cancelled => Correlation::continues(order),
        }
    }
}

impl Correlate<Payment> for PaymentSaga {
    fn correlate(_event: &PaymentEvent, cx: &EventContext<'_>) -> Correlation<String> {
        Correlation::continues(cx.stream_id().to_owned())
    }
}

impl React<Order> for PaymentSaga {
    fn react(&mut self, event: &OrderEvent, cx: &mut Reaction<'_, Self>) {
        match event {
            OrderEvent::Placed => {
                cx.send(cx.key(), PaymentCommand::Request);
                cx.schedule("payment", Deadline::after(DAY), PaymentDue);
            }
            OrderEvent::Cancelled => cx.complete(),
        }
    }
}

impl React<Payment> for PaymentSaga {
    fn react(&mut self, event: &PaymentEvent, cx: &mut Reaction<'_, Self>) {
        if let PaymentEvent::Received = event {
            cx.complete();
        }
    }
}

impl OnDeadline<PaymentDue> for PaymentSaga {
    fn on_deadline(&mut self, _message: PaymentDue, cx: &mut Reaction<'_, Self>) {
        cx.send(cx.key(), OrderCommand::Cancel);
    }
}

/// Given, when, then: no store, no clock, no waiting.
fn an_order_that_is_not_paid_is_cancelled() {
    testing::process_manager::<PaymentSaga>()
        .when::<Order>("ord-1", OrderEvent::Placed)
        .then(|expected| {
            expected.send("ord-1", PaymentCommand::Request).schedule(
                "payment",
                Deadline::after(DAY),
                PaymentDue,
            )
        })
        .when_time_passes(DAY)
        .then(|expected| expected.send("ord-1", OrderCommand::Cancel));
}

fn an_order_that_is_paid_is_left_alone() {
    testing::process_manager::<PaymentSaga>()
        .given::<Order>("ord-1", OrderEvent::Placed)
        .when::<Payment>("ord-1", PaymentEvent::Received)
        .then(|expected| expected.complete())
        .when_time_passes(2 * DAY)
        .then_nothing();
}

/// Exactly once, through every crash: each stored order has one payment request.
async fn a_payment_is_requested_exactly_once() -> testing::Crashes {
    testing::for_each_crash_point(
        |builder| builder.process_manager::<PaymentSaga>(),
        async |store| place(&store, "ord-1").await,
        async |store| {
            let orders = store
                .list_streams(Some("order"))
                .await
                .expect("a list")
                .len();
            let payment = store.get::<Payment>("ord-1").await.expect("a payment");
            let requests = payment.state().await.expect("a state").requests;
            assert_eq!(usize::try_from(requests), Ok(orders));
        },
    )
    .await
}

async fn place(store: &AggregateStore, order: &str) {
    let placed = store.send(order, OrderCommand::Place, ());
    placed.await.expect("the order is placed");
}

#[tokio::main]
async fn main() {
    an_order_that_is_not_paid_is_cancelled();
    an_order_that_is_paid_is_left_alone();
    println!("given, when, then: as expected");
    let crashes = a_payment_is_requested_exactly_once().await;
    println!(
        "crashes: {}, exactly one request after each",
        crashes.points
    );
    assert!(crashes.points > 50, "{crashes:?}");
}
