//! A saga explored: a booking that is paid and cancelled at the same time. The naive saga keeps the money if the payment
//! comes after the cancellation. The mended saga pays it back in every order.
//!
//! ```text
//! cargo run --release --example explored_saga --features testing
//! ```
//!
//! In a crate of your own these are tests, and `eventfold-es` with the feature `testing` is a dev-dependency. The example
//! checks its output.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use eventfold_es::prelude::*;
use eventfold_es::testing::{self, Exploration, Moment};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum BookingCommand {
    Confirm,
    Expire,
}

#[derive(Debug, Clone, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
pub enum BookingEvent {
    Requested,
    Confirmed,
    Cancelled,
    Expired,
}

#[derive(Debug, thiserror::Error)]
#[error("the booking is over")]
pub struct IsOver;

#[aggregate(error = IsOver)]
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Booking {
    is_over: bool,
}

impl Decider for Booking {
    fn decide(&self, command: BookingCommand) -> Result<Vec<BookingEvent>, IsOver> {
        match command {
            _ if self.is_over => Err(IsOver),
            BookingCommand::Confirm => Ok(vec![BookingEvent::Confirmed]),
            BookingCommand::Expire => Ok(vec![BookingEvent::Expired]),
        }
    }

    fn evolve(&mut self, event: &BookingEvent) {
        self.is_over |= matches!(event, BookingEvent::Cancelled | BookingEvent::Expired);
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum PaymentCommand {
    Refund,
}

#[derive(Debug, Clone, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
pub enum PaymentEvent {
    Paid,
    Refunded,
}

#[aggregate(error = Infallible)]
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Payment;

impl Decider for Payment {
    fn decide(
        &self,
        PaymentCommand::Refund: PaymentCommand,
    ) -> Result<Vec<PaymentEvent>, Infallible> {
        Ok(vec![PaymentEvent::Refunded])
    }

    fn evolve(&mut self, _event: &PaymentEvent) {}
}

#[derive(Serialize, Deserialize)]
pub struct PaymentDue;

/// The naive saga: a cancelled booking is over.
#[process_manager(
    subscribes = [Booking, Payment],
    dispatches = [Booking, Payment],
    key = String,
    deadlines = [PaymentDue],
)]
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct NaiveSaga {
    is_paid: bool,
}

impl Correlate<Booking> for NaiveSaga {
    fn correlate(event: &BookingEvent, cx: &EventContext<'_>) -> Correlation<String> {
        match event {
            BookingEvent::Requested => Correlation::starts(cx.stream_id().to_owned()),
            _ => Correlation::continues(cx.stream_id().to_owned()),
        }
    }
}

impl Correlate<Payment> for NaiveSaga {
    fn correlate(_event: &PaymentEvent, cx: &EventContext<'_>) -> Correlation<String> {
        Correlation::continues(cx.stream_id().to_owned())
    }
}

impl React<Booking> for NaiveSaga {
    fn react(&mut self, event: &BookingEvent, cx: &mut Reaction<'_, Self>) {
        match event {
            BookingEvent::Requested => {
                cx.schedule("payment", Duration::from_secs(3600), PaymentDue);
            }
            BookingEvent::Cancelled | BookingEvent::Expired => {
                if self.is_paid {
                    cx.send(cx.key(), PaymentCommand::Refund);
                }
                cx.complete();
            }
            BookingEvent::Confirmed => cx.complete(),
        }
    }
}

impl React<Payment> for NaiveSaga {
    fn react(&mut self, event: &PaymentEvent, cx: &mut Reaction<'_, Self>) {
        if let PaymentEvent::Paid = event {
            self.is_paid = true;
            cx.cancel("payment");
            cx.send(cx.key(), BookingCommand::Confirm);
        }
    }
}

impl OnDeadline<PaymentDue> for NaiveSaga {
    fn on_deadline(&mut self, _message: PaymentDue, cx: &mut Reaction<'_, Self>) {
        cx.send(cx.key(), BookingCommand::Expire);
    }
}

/// The mended saga: it remembers the end of the booking, and waits for a payment that may still arrive.
#[process_manager(
    subscribes = [Booking, Payment],
    dispatches = [Booking, Payment],
    key = String,
    deadlines = [PaymentDue],
)]
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct MendedSaga {
    is_paid: bool,
    is_over: bool,
    is_refunded: bool,
}

impl MendedSaga {
    fn refund(&mut self, cx: &mut Reaction<'_, Self>) {
        if self.is_paid && self.is_over && !self.is_refunded {
            self.is_refunded = true;
            cx.send(cx.key(), PaymentCommand::Refund);
        }
    }
}

impl Correlate<Booking> for MendedSaga {
    fn correlate(event: &BookingEvent, cx: &EventContext<'_>) -> Correlation<String> {
        match event {
            BookingEvent::Requested => Correlation::starts(cx.stream_id().to_owned()),
            _ => Correlation::continues(cx.stream_id().to_owned()),
        }
    }
}

impl Correlate<Payment> for MendedSaga {
    fn correlate(_event: &PaymentEvent, cx: &EventContext<'_>) -> Correlation<String> {
        Correlation::continues(cx.stream_id().to_owned())
    }
}

impl React<Booking> for MendedSaga {
    fn react(&mut self, event: &BookingEvent, cx: &mut Reaction<'_, Self>) {
        match event {
            BookingEvent::Requested => {
                cx.schedule("payment", Duration::from_secs(3600), PaymentDue);
            }
            BookingEvent::Cancelled | BookingEvent::Expired => {
                self.is_over = true;
                cx.cancel("payment");
                self.refund(cx);
            }
            BookingEvent::Confirmed => {}
        }
    }
}

impl React<Payment> for MendedSaga {
    fn react(&mut self, event: &PaymentEvent, cx: &mut Reaction<'_, Self>) {
        if let PaymentEvent::Paid = event {
            self.is_paid = true;
            cx.cancel("payment");
            if !self.is_over {
                cx.send(cx.key(), BookingCommand::Confirm);
            }
            self.refund(cx);
        }
    }
}

impl OnDeadline<PaymentDue> for MendedSaga {
    fn on_deadline(&mut self, _message: PaymentDue, cx: &mut Reaction<'_, Self>) {
        cx.send(cx.key(), BookingCommand::Expire);
    }
}

/// `count` bookings. Each is paid and cancelled at once, or expires. A confirmation may come too late.
fn paid_and_cancelled<PM: ProcessManager>(
    mut plan: Exploration<PM>,
    count: usize,
) -> Exploration<PM> {
    for nth in 1..=count {
        let booking = format!("b-{nth}");
        plan = plan
            .given::<Booking>(&booking, BookingEvent::Requested)
            .event::<Booking>(&booking, BookingEvent::Cancelled)
            .event::<Payment>(&booking, PaymentEvent::Paid);
    }
    plan.rejects::<Booking, _>(|_, _| Some(IsOver))
        .at_rest(every_payment_is_paid_back)
}

/// A booking that was cancelled and paid has one refund.
fn every_payment_is_paid_back<PM: ProcessManager>(moment: &Moment<'_, PM>) -> Result<(), String> {
    let refunds = moment.sent::<Payment>();
    for (booking, _) in moment.happened::<Payment>() {
        match refunds.iter().filter(|(id, _)| *id == booking).count() {
            1 => {}
            count => return Err(format!("{count} refunds of `{booking}`")),
        }
    }
    Ok(())
}

fn naive(plan: Exploration<NaiveSaga>) -> Exploration<NaiveSaga> {
    paid_and_cancelled(plan, 1)
}

fn mended(plan: Exploration<MendedSaga>) -> Exploration<MendedSaga> {
    paid_and_cancelled(plan, 1)
}

fn main() {
    let explored = testing::process_manager::<NaiveSaga>().explore(naive);
    let race = explored.then_violated();
    println!("the naive saga: {}\n\n{}", race.reason, race.test);
    assert_eq!(race.reason, "0 refunds of `b-1`");
    assert_eq!(race.steps[0], "Cancelled of booking `b-1`");

    let explored = testing::process_manager::<MendedSaga>().explore(mended);
    explored.then_holds();
    println!("the mended saga: {} states", explored.states);

    let begun = Instant::now();
    let explored = testing::process_manager::<MendedSaga>()
        .explore(|plan| paid_and_cancelled(plan, 4).up_to(200_000));
    let steps = explored.steps as f64 / begun.elapsed().as_secs_f64();
    println!(
        "four bookings: {} states, {} steps, {steps:.0} steps per second",
        explored.states, explored.steps
    );
}
