use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use eventfold_es::prelude::*;
use eventfold_es::{Backoff, testing};

use crate::test_kit::domain::{
    GiveUp, HOUR, Order, OrderCommand, OrderError, OrderEvent, Payment, PaymentCommand,
    PaymentEvent, PaymentSaga, Remind, Unknown,
};
use crate::test_kit::{assert_says, failure};

fn placed() -> OrderEvent {
    OrderEvent::Placed { items: Vec::new() }
}

fn request(order: &str) -> PaymentCommand {
    let order = order.to_owned();
    PaymentCommand::Request { order }
}

fn cancel(order: &str) -> OrderCommand {
    let reason = format!("{order} is not paid");
    OrderCommand::Cancel { reason }
}

fn settled(orders: &[&str]) -> PaymentEvent {
    let orders = orders.iter().map(|order| (*order).to_owned()).collect();
    PaymentEvent::Settled { orders }
}

fn saga() -> testing::ProcessManagerTest<PaymentSaga> {
    testing::process_manager()
}

#[test]
fn a_saga_runs_from_start_to_end() {
    let test = saga()
        .when::<Order>("a", placed())
        .then(|expected| {
            expected.send("cash", request("a")).schedule(
                "payment",
                Deadline::after(HOUR),
                Remind { times: 1 },
            )
        })
        .when_time_passes(HOUR - Duration::from_millis(1))
        .then_nothing()
        .then_ignored()
        .when_time_passes(Duration::from_millis(1))
        .then(|expected| expected.schedule("payment", Deadline::after(HOUR), GiveUp))
        .then_state(&PaymentSaga { reminders: 1 })
        .when_time_passes(HOUR)
        .then(|expected| expected.send("a", cancel("a")));
    assert_eq!(test.open_instances(), ["a"]);
    let reason = "a is not paid".to_owned();
    let test = test
        .when::<Order>("a", OrderEvent::Cancelled { reason })
        .then(|expected| expected.complete());
    assert!(test.open_instances().is_empty());
}

#[test]
fn instances_are_kept_apart() {
    saga()
        .given::<Order>("a", placed())
        .given::<Order>("b", placed())
        .given::<Order>("c", placed())
        .when::<Payment>("cash", settled(&["c", "a", "unknown"]))
        .then(|expected| {
            let expected = expected.instance("c").cancel("payment").complete();
            expected.instance("a").cancel("payment").complete()
        })
        .when_time_passes(HOUR)
        .then(|expected| expected.schedule("payment", Deadline::after(HOUR), GiveUp))
        .then_state_of("b", &PaymentSaga { reminders: 1 });
}

#[test]
fn what_belongs_to_no_instance_is_ignored() {
    saga()
        .when::<Order>("a", OrderEvent::Weighed { kilos: 1.0 })
        .then_ignored()
        .when::<Payment>("cash", settled(&["a"]))
        .then_ignored()
        .given::<Order>("a", placed())
        .when::<Order>("a", placed())
        .then_ignored();
}

#[test]
fn a_key_is_used_again_without_the_deadlines_and_the_state_of_before() {
    saga()
        .given::<Order>("a", placed())
        .when_deadline("payment")
        .then_state(&PaymentSaga { reminders: 1 })
        .given::<Payment>("cash", settled(&["a"]))
        .when_time_passes(10 * HOUR)
        .then_nothing()
        .given::<Order>("a", placed())
        .then_state(&PaymentSaga::default());
}

#[test]
fn failures_are_decided_on() {
    saga()
        .when::<Order>("a", placed())
        .when_rejected(Unknown)
        .then(|expected| {
            let reason = "nobody pays".to_owned();
            expected.send("a", OrderCommand::Cancel { reason })
        });
    saga()
        .when::<Order>("a", placed())
        .when_rejected(OrderError::Empty)
        .then(|expected| expected.retry(Backoff::exponential(Duration::from_secs(1))));
    let said = failure(|| {
        let _ = saga()
            .when::<Order>("a", placed())
            .when_rejected(Unknown)
            .then(|expected| expected.dead_letter());
    });
    assert_says(
        &said,
        &["- dead letter", "+ send `a` of `order`", "nobody pays"],
    );
    let said = failure(|| {
        let weighed = OrderEvent::Weighed { kilos: 1.0 };
        let _ = saga().when::<Order>("a", weighed).when_rejected(Unknown);
    });
    assert_says(&said, &["has sent no command that could be rejected"]);
}

#[test]
fn another_command_or_timer_is_shown_with_what_differs() {
    let said = failure(|| {
        let _ = saga().when::<Order>("a", placed()).then(|expected| {
            expected.send("cash", request("b")).schedule(
                "payment",
                Deadline::after(2 * HOUR),
                Remind { times: 1 },
            )
        });
    });
    assert_says(
        &said,
        &[
            "`payment-saga` does not do what is expected",
            "  send `cash` of `payment` {",
            "-     \"order\": \"b\"",
            "+     \"order\": \"a\"",
            "- schedule `payment` in 7200s: remind {",
            "+ schedule `payment` in 3600s: remind {",
        ],
    );
    let said = failure(|| {
        let _ = saga().when::<Order>("a", placed()).then_nothing();
    });
    assert_says(&said, &["+ send `cash`", "+ schedule `payment`"]);
    let said = failure(|| {
        let _ = saga()
            .given::<Order>("a", placed())
            .when::<Payment>("cash", settled(&["a"]))
            .then(|expected| expected.cancel("payment"));
    });
    assert_says(&said, &["  cancel `payment`", "+ complete"]);
}

#[test]
fn reactions_of_other_instances_are_shown() {
    let said = failure(|| {
        let _ = saga()
            .given::<Order>("a", placed())
            .given::<Order>("b", placed())
            .when::<Payment>("cash", settled(&["a", "b"]))
            .then(|expected| expected.instance("a").cancel("payment").complete());
    });
    assert_says(&said, &["  instance `a`", "+ instance `b`", "+   complete"]);
}

#[test]
fn wrong_states_deadlines_and_outcomes_say_what_there_is() {
    let said = failure(|| {
        let _ = saga()
            .given::<Order>("a", placed())
            .then_state(&PaymentSaga { reminders: 3 });
    });
    assert_says(&said, &["-   \"reminders\": 3", "+   \"reminders\": 0"]);
    let said = failure(|| {
        let _ = saga().given::<Order>("a", placed()).when_deadline("pay");
    });
    assert_says(&said, &["`pay` is not armed; armed are: `payment` of `a`"]);
    let said = failure(|| {
        let _ = saga()
            .given::<Order>("a", placed())
            .given::<Order>("b", placed())
            .when_deadline("payment");
    });
    assert_says(
        &said,
        &["several instances have armed the deadline `payment`"],
    );
    let said = failure(|| {
        let _ = saga()
            .given::<Order>("a", placed())
            .then_state_of("b", &PaymentSaga::default());
    });
    assert_says(&said, &["has no open instance `b`"]);
    let said = failure(|| {
        let _ = saga().when::<Order>("a", placed()).then_ignored();
    });
    assert_says(
        &said,
        &[
            "was expected to ignore it, but reacts",
            "instance `a`",
            "send `cash`",
        ],
    );
    let said = failure(|| {
        let _ = saga().then_nothing();
    });
    assert_says(&said, &["nothing was done yet"]);
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Forgotten {
    #[serde(skip)]
    weighed: u32,
}

#[process_manager(subscribes = [Order], dispatches = [Payment])]
#[derive(Debug, Default, Serialize, Deserialize)]
struct Careless {
    forgotten: Forgotten,
    kilos: f64,
}

static CALLS: AtomicU32 = AtomicU32::new(0);

impl React<Order> for Careless {
    fn react(&mut self, event: &OrderEvent, cx: &mut Reaction<'_, Self>) {
        match event {
            OrderEvent::Placed { .. } => {
                let call = CALLS.fetch_add(1, Ordering::Relaxed);
                cx.send("cash", request(&call.to_string()));
            }
            OrderEvent::Weighed { kilos } => {
                self.forgotten.weighed += 1;
                self.kilos = kilos / 0.0;
            }
            OrderEvent::Cancelled { .. } => {
                cx.send("cash", request(&self.forgotten.weighed.to_string()));
            }
        }
    }
}

#[test]
fn a_reaction_that_is_not_deterministic_fails_the_test() {
    let said = failure(|| {
        let _ = testing::process_manager::<Careless>().when::<Order>("a", placed());
    });
    assert_says(
        &said,
        &[
            "`careless` is not deterministic",
            "send `cash`",
            "-     \"order\"",
            "+     \"order\"",
        ],
    );
}

#[test]
fn a_state_that_cannot_be_stored_fails_the_test() {
    let said = failure(|| {
        let weighed = OrderEvent::Weighed { kilos: 1.0 };
        let _ = testing::process_manager::<Careless>().given::<Order>("a", weighed);
    });
    assert_says(&said, &["the state of `careless` does not serialize"]);
}

#[test]
fn events_of_others_and_failing_reactions_fail_the_test() {
    let said = failure(|| {
        let _ = testing::process_manager::<Careless>().given::<Payment>("p", settled(&[]));
    });
    assert_says(&said, &["`careless` does not subscribe to `payment`"]);

    let unnamed = "x".repeat(600);
    saga()
        .when::<Payment>("cash", settled(&[&unnamed]))
        .then_fails("longer than 512 bytes");
    let said = failure(|| {
        let _ = saga().given::<Payment>("cash", settled(&[&unnamed]));
    });
    assert_says(
        &said,
        &["does not react to a given event", "longer than 512 bytes"],
    );
    let said = failure(|| {
        let _ = saga()
            .when::<Payment>("cash", settled(&[&unnamed]))
            .then_nothing();
    });
    assert_says(&said, &["fails to react", "longer than 512 bytes"]);
    let said = failure(|| {
        let _ = saga().when::<Order>("a", placed()).then_fails("too long");
    });
    assert_says(
        &said,
        &[
            "was expected to fail with `too long`, but reacts",
            "send `cash`",
        ],
    );
    let said = failure(|| {
        let test = saga().when::<Payment>("cash", settled(&[&unnamed]));
        let _ = test.then_fails("too short");
    });
    assert_says(&said, &["- too short", "+ the key"]);
}

#[derive(Debug, Serialize, Deserialize)]
struct Again;

/// Arms its deadline for the time that it is.
#[process_manager(subscribes = [Order], dispatches = [Payment], deadlines = [Again])]
#[derive(Debug, Default, Serialize, Deserialize)]
struct Restless;

impl React<Order> for Restless {
    fn react(&mut self, _event: &OrderEvent, cx: &mut Reaction<'_, Self>) {
        cx.schedule("again", Deadline::after(HOUR), Again);
    }
}

impl OnDeadline<Again> for Restless {
    fn on_deadline(&mut self, _again: Again, cx: &mut Reaction<'_, Self>) {
        cx.schedule("again", Deadline::after(Duration::ZERO), Again);
    }
}

#[test]
fn a_deadline_that_is_armed_for_ever_fails_the_test() {
    let said = failure(|| {
        let _ = testing::process_manager::<Restless>()
            .given::<Order>("a", placed())
            .when_time_passes(HOUR);
    });
    assert_says(
        &said,
        &["`restless` never comes to an end", "its deadline `again`"],
    );
}

/// | kilos | what is done |
/// |---|---|
/// | 0 | arms `far`, due in two hours, and `near`, in one |
/// | below 0 | arms `past`, which was due long ago |
/// | more | asks for a payment of it |
#[process_manager(subscribes = [Order], dispatches = [Payment], key = String, deadlines = [Again])]
#[derive(Debug, Default, Serialize, Deserialize)]
struct Punctual;

impl Correlate<Order> for Punctual {
    fn correlate(_event: &OrderEvent, cx: &EventContext<'_>) -> Correlation<String> {
        Correlation::starts_or_continues(cx.stream_id().to_owned())
    }
}

impl React<Order> for Punctual {
    fn react(&mut self, event: &OrderEvent, cx: &mut Reaction<'_, Self>) {
        match event {
            OrderEvent::Weighed { kilos } if *kilos < 0.0 => {
                cx.schedule("past", Deadline::at(std::time::UNIX_EPOCH), Again);
            }
            OrderEvent::Weighed { kilos } if *kilos > 0.0 => {
                cx.send("cash", request(&kilos.to_string()));
            }
            _ => {
                cx.schedule("far", Deadline::after(2 * HOUR), Again);
                cx.schedule("near", Deadline::after(HOUR), Again);
            }
        }
    }
}

impl OnDeadline<Again> for Punctual {
    fn on_deadline(&mut self, _again: Again, cx: &mut Reaction<'_, Self>) {
        cx.send("cash", request("deadline"));
    }
}

/// Deadlines and events come in the order of time, as in a store.
#[test]
fn a_deadline_that_was_due_before_is_handled_before() {
    let weighed = |kilos| OrderEvent::Weighed { kilos };
    let test = || testing::process_manager::<Punctual>();
    test()
        .given::<Order>("a", weighed(-1.0))
        .when::<Order>("a", weighed(7.0))
        .then(|expected| {
            let expected = expected.instance("a").send("cash", request("deadline"));
            expected.instance("a").send("cash", request("7"))
        })
        .when_time_passes(HOUR)
        .then_nothing();
    let twice = |expected: testing::Expected<Punctual>| {
        let expected = expected.instance("a").send("cash", request("deadline"));
        expected.instance("a").send("cash", request("deadline"))
    };
    test()
        .given::<Order>("a", weighed(0.0))
        .when_deadline("far")
        .then(twice)
        .when_time_passes(HOUR)
        .then_nothing();
    // Nothing is due before now.
    test()
        .given::<Order>("a", weighed(0.0))
        .when::<Order>("a", weighed(7.0))
        .then(|expected| expected.send("cash", request("7")))
        .when_deadline("near")
        .then(|expected| expected.send("cash", request("deadline")));
}
