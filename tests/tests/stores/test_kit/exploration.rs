//! Exploration: every order of events, deadlines, rejections and failures.

use std::time::Duration;

use eventfold_es::prelude::*;
use eventfold_es::testing::{self, Exploration, Violation};

use super::failure;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum BookingCommand {
    Confirm,
}

#[derive(Debug, Clone, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
pub enum BookingEvent {
    Requested,
    Confirmed,
    Cancelled,
}

#[derive(Debug, thiserror::Error)]
#[error("the booking is over")]
pub struct IsOver;

#[aggregate(error = IsOver)]
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Booking;

impl Decider for Booking {
    fn decide(&self, _: BookingCommand) -> Result<Vec<BookingEvent>, IsOver> {
        Ok(vec![BookingEvent::Confirmed])
    }

    fn evolve(&mut self, _: &BookingEvent) {}
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

#[aggregate(error = IsOver)]
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Payment;

impl Decider for Payment {
    fn decide(&self, _: PaymentCommand) -> Result<Vec<PaymentEvent>, IsOver> {
        Ok(vec![PaymentEvent::Refunded])
    }

    fn evolve(&mut self, _: &PaymentEvent) {}
}

#[derive(Serialize, Deserialize)]
pub struct GiveUp;

/// `PATIENT` says whether it waits for a payment after the end of the booking.
#[process_manager(
    subscribes = [Booking, Payment],
    dispatches = [Booking, Payment],
    key = String,
    deadlines = [GiveUp],
)]
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Saga {
    is_patient: bool,
    is_paid: bool,
    is_over: bool,
}

impl Correlate<Booking> for Saga {
    fn correlate(event: &BookingEvent, cx: &EventContext<'_>) -> Correlation<String> {
        match event {
            BookingEvent::Requested => Correlation::starts(cx.stream_id().to_owned()),
            _ => Correlation::continues(cx.stream_id().to_owned()),
        }
    }
}

impl Correlate<Payment> for Saga {
    fn correlate(_event: &PaymentEvent, cx: &EventContext<'_>) -> Correlation<String> {
        Correlation::continues(cx.stream_id().to_owned())
    }
}

impl React<Booking> for Saga {
    fn react(&mut self, event: &BookingEvent, cx: &mut Reaction<'_, Self>) {
        match event {
            BookingEvent::Requested => {
                self.is_patient = cx.stream_id().starts_with("patient");
                cx.schedule("give up", Duration::from_secs(60), GiveUp);
            }
            BookingEvent::Cancelled if self.is_paid => {
                cx.send(cx.key(), PaymentCommand::Refund);
                cx.complete();
            }
            BookingEvent::Cancelled if self.is_patient => self.is_over = true,
            BookingEvent::Cancelled => cx.complete(),
            BookingEvent::Confirmed => {}
        }
    }
}

impl React<Payment> for Saga {
    fn react(&mut self, event: &PaymentEvent, cx: &mut Reaction<'_, Self>) {
        match event {
            PaymentEvent::Paid if self.is_over => {
                cx.send(cx.key(), PaymentCommand::Refund);
                cx.complete();
            }
            PaymentEvent::Paid => {
                self.is_paid = true;
                cx.send(cx.key(), BookingCommand::Confirm);
            }
            PaymentEvent::Refunded => {}
        }
    }
}

impl OnDeadline<GiveUp> for Saga {
    fn on_deadline(&mut self, _: GiveUp, _cx: &mut Reaction<'_, Self>) {}
}

/// A booking that is paid and cancelled at once: one refund, in every order.
fn plan(booking: &'static str, plan: Exploration<Saga>) -> Exploration<Saga> {
    plan.given::<Booking>(booking, BookingEvent::Requested)
        .event::<Booking>(booking, BookingEvent::Cancelled)
        .event::<Payment>(booking, PaymentEvent::Paid)
        .rejects::<Booking, _>(|_, _| Some(IsOver))
        .at_rest(|moment| match moment.sent::<Payment>().len() {
            1 => Ok(()),
            refunds => Err(format!("{refunds} refunds")),
        })
}

fn hasty(exploration: Exploration<Saga>) -> Exploration<Saga> {
    plan("hasty", exploration)
}

fn patient(exploration: Exploration<Saga>) -> Exploration<Saga> {
    plan("patient", exploration)
}

fn saga() -> testing::ProcessManagerTest<Saga> {
    testing::process_manager::<Saga>()
}

#[test]
fn a_race_is_found_with_its_shortest_order_and_the_mended_saga_has_none() {
    let explored = saga().explore(hasty);
    let Violation { reason, test, .. } = explored.then_violated();
    assert_eq!(reason, "0 refunds");
    let expected = "#[test]\nfn hasty_in_this_order() {\n    testing::process_manager::<Saga>().follow(hasty, &[\n        \
                    \"Cancelled of booking `hasty`\",\n        \"Paid of payment `hasty`\",\n    ]);\n}\n";
    assert_eq!(test, expected);
    let said = failure(|| explored.then_holds());
    assert!(said.contains("0 refunds") && said.contains(test), "{said}");

    let explored = saga().explore(patient);
    explored.then_holds();
    let said = failure(|| drop(explored.then_violated().clone()));
    assert!(said.contains("all invariants hold"), "{said}");
}

#[test]
fn the_printed_test_fails_as_the_exploration_does() {
    let steps = ["Cancelled of booking `hasty`", "Paid of payment `hasty`"];
    let said = failure(|| saga().follow(hasty, &steps));
    for says in [
        "0 refunds",
        "after Cancelled of booking",
        "after Paid of payment",
    ] {
        assert!(said.contains(says), "{said}");
    }
    let said = failure(|| saga().follow(hasty, &["Paid of booking `hasty`"]));
    assert!(
        said.contains("is not possible") && said.contains("deadline `give up`"),
        "{said}"
    );
    // The other order, with a confirmation that comes too late and a deadline between.
    saga().follow(
        hasty,
        &[
            "Paid of payment `hasty`, command 1 rejected",
            "deadline `give up` of `hasty`",
            "Cancelled of booking `hasty`",
        ],
    );
}

#[test]
fn answers_of_targets_happen_and_failures_park() {
    let explored = saga().explore(|exploration| {
        plan("patient", exploration)
            .answers::<Booking>(|_, _| vec![BookingEvent::Confirmed])
            .always(|moment| match moment.happened::<Booking>().len() {
                ..4 => Ok(()),
                _ => Err("a booking is confirmed twice".to_owned()),
            })
    });
    explored.then_holds();
    let explored = saga().explore(|exploration| {
        plan("patient", exploration)
            .failures(1)
            .always(|moment| match moment.parked() {
                0 => Ok(()),
                _ => Err("an instance is parked".to_owned()),
            })
    });
    let race = explored.then_violated();
    assert_eq!(race.reason, "an instance is parked");
    assert_eq!(race.steps.len(), 1);
    assert!(race.steps[0].ends_with(", which fails"), "{race:?}");
}

#[test]
fn an_exploration_that_is_not_complete_says_so() {
    let explored = saga().explore(|exploration| patient(exploration).up_to(3));
    assert!(!explored.is_complete);
    let said = failure(|| explored.then_holds());
    assert!(said.contains("ended after 3 states"), "{said}");
    let said = failure(|| {
        let test = saga().given::<Booking>("b", BookingEvent::Requested);
        let _ = test.explore(patient);
    });
    assert!(said.contains("plan.given"), "{said}");
}
