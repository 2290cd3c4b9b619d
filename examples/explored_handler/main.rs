//! A saga and an event handler explored together: a booking is paid from a bank account, and cancelled at the same time. A crash or a
//! time-out leads to another transfer, unless the bank recognizes the request by its idempotency key.
//!
//! ```text
//! cargo run --release --example explored_handler --features testing
//! ```
//!
//! In a crate of your own these are tests, and `eventfold-es` with the feature `testing` is a dev-dependency. The example
//! checks its output.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;

use eventfold_es::prelude::*;
use eventfold_es::testing::{self, Exploration, Outside};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum BookingCommand {}

#[derive(Debug, Clone, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
pub enum BookingEvent {
    Requested,
    Cancelled,
}

#[aggregate(error = Infallible)]
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Booking;

impl Decider for Booking {
    fn decide(&self, command: BookingCommand) -> Result<Vec<BookingEvent>, Infallible> {
        match command {}
    }

    fn evolve(&mut self, _event: &BookingEvent) {}
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum PaymentCommand {
    Charge,
    Refund,
    NotePaid,
}

#[derive(Debug, Clone, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
pub enum PaymentEvent {
    ChargeRequested,
    RefundRequested,
    Paid,
}

/// The events of a command.
fn payment_events(command: &PaymentCommand) -> Vec<PaymentEvent> {
    vec![match command {
        PaymentCommand::Charge => PaymentEvent::ChargeRequested,
        PaymentCommand::Refund => PaymentEvent::RefundRequested,
        PaymentCommand::NotePaid => PaymentEvent::Paid,
    }]
}

#[aggregate(error = Infallible)]
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Payment;

impl Decider for Payment {
    fn decide(&self, command: PaymentCommand) -> Result<Vec<PaymentEvent>, Infallible> {
        Ok(payment_events(&command))
    }

    fn evolve(&mut self, _event: &PaymentEvent) {}
}

/// Pays a booking, and pays the money back after a cancellation.
#[process_manager(subscribes = [Booking, Payment], dispatches = [Payment], key = String)]
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct BookingSaga {
    is_paid: bool,
    is_cancelled: bool,
}

impl BookingSaga {
    fn refund(&self, cx: &mut Reaction<'_, Self>) {
        if self.is_paid && self.is_cancelled {
            cx.send(cx.key(), PaymentCommand::Refund);
            cx.complete();
        }
    }
}

impl Correlate<Booking> for BookingSaga {
    fn correlate(event: &BookingEvent, cx: &EventContext<'_>) -> Correlation<String> {
        match event {
            BookingEvent::Requested => Correlation::starts(cx.stream_id().to_owned()),
            BookingEvent::Cancelled => Correlation::continues(cx.stream_id().to_owned()),
        }
    }
}

impl Correlate<Payment> for BookingSaga {
    fn correlate(_event: &PaymentEvent, cx: &EventContext<'_>) -> Correlation<String> {
        Correlation::continues(cx.stream_id().to_owned())
    }
}

impl React<Booking> for BookingSaga {
    fn react(&mut self, event: &BookingEvent, cx: &mut Reaction<'_, Self>) {
        match event {
            BookingEvent::Requested => cx.send(cx.key(), PaymentCommand::Charge),
            BookingEvent::Cancelled => {
                self.is_cancelled = true;
                self.refund(cx);
            }
        }
    }
}

impl React<Payment> for BookingSaga {
    fn react(&mut self, event: &PaymentEvent, cx: &mut Reaction<'_, Self>) {
        if let PaymentEvent::Paid = event {
            self.is_paid = true;
            self.refund(cx);
        }
    }
}

/// The world outside: the transfers of each booking, as a sum, and the keys of the requests.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Bank {
    paid: BTreeMap<String, i64>,
    keys: BTreeSet<String>,
}

/// In place of a client of the bank.
pub struct FakeBank(Outside<Bank>);

impl FakeBank {
    /// Transfers an amount. The bank does nothing for a key that it knows.
    async fn transfer(&self, key: Option<String>, booking: &str, amount: i64) {
        self.0.with(|bank| {
            let is_new = key.is_none_or(|key| bank.keys.insert(key));
            if is_new {
                *bank.paid.entry(booking.to_owned()).or_default() += amount;
            }
        });
    }
}

/// Transfers the money. The naive teller gives the bank no key.
#[event_handler(subscribes = [Payment], dispatches = [Payment])]
pub struct Teller {
    bank: FakeBank,
    is_naive: bool,
}

impl Handle<Payment> for Teller {
    type Error = Infallible;

    async fn handle(
        &self,
        event: &PaymentEvent,
        cx: &mut Handling<'_, Self>,
    ) -> Result<(), Infallible> {
        let key = (!self.is_naive).then(|| cx.idempotency_key().to_owned());
        let booking = cx.stream_id();
        match event {
            PaymentEvent::ChargeRequested => {
                self.bank.transfer(key, booking, 100).await;
                cx.send(booking, PaymentCommand::NotePaid);
            }
            PaymentEvent::RefundRequested => self.bank.transfer(key, booking, -100).await,
            PaymentEvent::Paid => {}
        }
        Ok(())
    }
}

/// A booking that is cancelled at some time costs nothing. The process may crash once, and a call may time out.
fn cancelled(plan: Exploration<BookingSaga>, is_naive: bool) -> Exploration<BookingSaga, Bank> {
    plan.given::<Booking>("b-1", BookingEvent::Requested)
        .event::<Booking>("b-1", BookingEvent::Cancelled)
        .answers::<Payment>(|_, command| payment_events(command))
        .outside(Bank::default())
        .event_handler(move |outside| Teller {
            bank: FakeBank(outside),
            is_naive,
        })
        .crashes(1)
        .timeouts(1)
        .at_rest(|moment| match moment.outside().paid.get("b-1") {
            Some(0) | None => Ok(()),
            Some(paid) => Err(format!("a cancelled booking costs {paid}")),
        })
}

fn naive(plan: Exploration<BookingSaga>) -> Exploration<BookingSaga, Bank> {
    cancelled(plan, true)
}

fn mended(plan: Exploration<BookingSaga>) -> Exploration<BookingSaga, Bank> {
    cancelled(plan, false)
}

fn main() {
    let explored = testing::process_manager::<BookingSaga>().explore(naive);
    let found = explored.then_violated();
    println!("the naive teller: {}\n\n{}", found.reason, found.test);
    // The shortest way pays the money back twice.
    assert_eq!(found.reason, "a cancelled booking costs -100");
    assert_eq!(
        found.steps.last().map(String::as_str),
        Some("the next retry of `teller`")
    );

    let explored = testing::process_manager::<BookingSaga>().explore(mended);
    explored.then_holds();
    println!(
        "the mended teller: {} states, {} steps",
        explored.states, explored.steps
    );
}
