//! Event handlers with a fake in place of the service outside, under a virtual clock.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use eventfold_es::prelude::*;
use eventfold_es::testing::{self, EventHandlerTest};

use crate::test_kit::domain::{
    HOUR, Order, OrderCommand, OrderEvent, Payment, PaymentCommand, PaymentEvent, Unknown,
};
use crate::test_kit::{assert_says, failure};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

#[derive(Debug, thiserror::Error)]
enum BankError {
    #[error("the bank is busy")]
    Busy,
    #[error("there is no money")]
    NoMoney,
}

/// The answer of the fake.
#[derive(Debug, Clone, Copy)]
enum Answer {
    Yes,
    Late(Duration),
    Never,
    No(fn() -> BankError),
    Panic,
}

/// It notes each call as its key and its attempt. It gives its answers in their order, and then says yes.
#[derive(Debug, Clone, Default)]
struct FakeBank {
    calls: Arc<Mutex<Vec<(String, u32)>>>,
    answers: Arc<Mutex<Vec<Answer>>>,
}

impl FakeBank {
    fn answers(answers: &[Answer]) -> Self {
        let mut answers = answers.to_vec();
        answers.reverse();
        Self {
            answers: Arc::new(Mutex::new(answers)),
            ..Self::default()
        }
    }

    async fn charge(&self, key: &str, attempt: u32) -> Result<(), BankError> {
        self.calls.lock().unwrap().push((key.to_owned(), attempt));
        let answer = self.answers.lock().unwrap().pop();
        match answer.unwrap_or(Answer::Yes) {
            Answer::Yes => Ok(()),
            Answer::Late(by) => {
                tokio::time::sleep(by).await;
                Ok(())
            }
            Answer::Never => std::future::pending().await,
            Answer::No(error) => Err(error()),
            Answer::Panic => panic!("the bank burns"),
        }
    }

    #[track_caller]
    fn assert_calls(&self, expected: &[(&str, u32)]) {
        let calls = self.calls.lock().unwrap();
        let calls: Vec<_> = calls.iter().map(|(key, nth)| (&**key, *nth)).collect();
        assert_eq!(calls, expected);
    }
}

/// Charges for each order, and requests its payment. An order without money is cancelled.
#[event_handler(subscribes = [Order], dispatches = [Order, Payment], timeout = "1m", on_failure)]
struct Teller {
    bank: FakeBank,
}

impl Handle<Order> for Teller {
    type Error = BankError;

    async fn handle(
        &self,
        event: &OrderEvent,
        cx: &mut Handling<'_, Self>,
    ) -> Result<(), BankError> {
        if let OrderEvent::Placed { items } = event {
            let key = cx.idempotency_key().to_owned();
            self.bank.charge(&key, cx.attempt()).await?;
            for _ in items {
                cx.send("cash", request(cx.stream_id()));
            }
        }
        Ok(())
    }
}

impl HandlerPolicy for Teller {
    fn on_failure(&self, failure: &Failure<'_>) -> HandlerAction<Self> {
        if let Some(BankError::NoMoney) = failure.error() {
            return FailureAction::send_instead(failure.key.replace("order/", ""), cancel());
        }
        match failure.rejection::<Unknown>() {
            Some(Unknown) if failure.attempt < 3 => {
                FailureAction::Retry(Backoff::exponential(SECOND))
            }
            Some(Unknown) => FailureAction::Park,
            None => FailureAction::default_for(failure),
        }
    }
}

fn request(order: &str) -> PaymentCommand {
    let order = order.to_owned();
    PaymentCommand::Request { order }
}

fn cancel() -> OrderCommand {
    let reason = "there is no money".to_owned();
    OrderCommand::Cancel { reason }
}

fn placed() -> OrderEvent {
    let items = vec!["tea".to_owned()];
    OrderEvent::Placed { items }
}

fn busy() -> Answer {
    Answer::No(|| BankError::Busy)
}

fn test(answers: &[Answer]) -> (FakeBank, EventHandlerTest<Teller>) {
    let bank = FakeBank::answers(answers);
    let teller = Teller { bank: bank.clone() };
    (bank, testing::event_handler(teller))
}

#[test]
fn an_event_is_handled_and_what_sends_nothing_is_told_from_what_is_not_called() {
    let (bank, test) = test(&[]);
    let kilos = 1.0;
    test.given::<Order>("b", placed())
        .when::<Order>("a", OrderEvent::Weighed { kilos })
        .then_nothing()
        .then(|call| call)
        .then(|call| call.call("teller:order/a/1"))
        .when::<Order>("a", placed())
        .then(|call| call.send("cash", request("a")))
        .then(|call| call.call("teller:order/a/2").send("cash", request("a")))
        .when_time_passes(HOUR)
        .then_not_called();
    bank.assert_calls(&[("teller:order/b/1", 1), ("teller:order/a/2", 1)]);
}

#[test]
fn a_failed_call_is_retried_in_its_order_and_holds_its_key_only() {
    let (bank, test) = test(&[busy(), Answer::Yes, busy()]);
    let test = test
        .when::<Order>("a", placed())
        .then(|call| call.fail("busy").retry_after(SECOND))
        .when::<Order>("a", placed())
        .then_not_called()
        .when::<Order>("b", placed())
        .then(|call| call.send("cash", request("b")));
    assert_eq!(test.held_keys(), ["order/a"]);
    let test = test
        // The jitter shortens a wait by up to a fifth.
        .when_time_passes(SECOND * 4 / 5 - Duration::from_millis(1))
        .then_not_called()
        .when_time_passes(SECOND / 5 + Duration::from_millis(1))
        .then(|call| call.fail("busy").retry_after(SECOND * 2))
        .when_time_passes(SECOND * 2)
        .then(|call| {
            let call = call.call("teller:order/a/1").send("cash", request("a"));
            call.call("teller:order/a/2").send("cash", request("a"))
        });
    assert!(test.held_keys().is_empty());
    bank.assert_calls(&[
        ("teller:order/a/1", 1),
        ("teller:order/b/1", 1),
        ("teller:order/a/1", 2),
        ("teller:order/a/1", 3),
        ("teller:order/a/2", 1),
    ]);
}

#[test]
fn a_call_that_never_returns_times_out_without_a_wait() {
    let (bank, test) = test(&[Answer::Never, Answer::Late(MINUTE - SECOND)]);
    test.when::<Order>("a", placed())
        .then(|call| call.time_out().retry_after(SECOND))
        // The call has taken a minute, and the retry is due a second later.
        .when_time_passes(SECOND / 2)
        .then_not_called()
        .when_time_passes(SECOND / 2)
        .then(|call| call.send("cash", request("a")));
    bank.assert_calls(&[("teller:order/a/1", 1), ("teller:order/a/1", 2)]);
}

#[test]
fn the_last_attempt_parks_and_an_operator_releases() {
    let (bank, test) = test(&[busy(); 10]);
    let mut test = test.when::<Order>("a", placed());
    for attempt in 1..10 {
        let wait = (SECOND * 2_u32.pow(attempt - 1)).min(MINUTE * 5);
        test = test
            .then(|call| call.fail("the bank is busy").retry_after(wait))
            .when_time_passes(wait);
    }
    let test = test
        .then(|call| call.fail("busy").park())
        .when_time_passes(HOUR * 24)
        .then_not_called()
        .when_released("order/a")
        .then(|call| call.send("cash", request("a")));
    assert!(test.held_keys().is_empty());
    assert_eq!(bank.calls.lock().unwrap().len(), 11);
}

#[test]
fn a_panic_parks_and_other_keys_go_on() {
    let (_, test) = test(&[Answer::Panic]);
    test.when::<Order>("a", placed())
        .then(|call| call.fail("the bank burns").park())
        .when::<Order>("a", placed())
        .then_not_called()
        .when::<Order>("b", placed())
        .then(|call| call.send("cash", request("b")))
        .when_released("order/a")
        .then(|call| {
            let call = call.call("teller:order/a/1").send("cash", request("a"));
            call.call("teller:order/a/2").send("cash", request("a"))
        });
}

#[test]
fn a_command_is_sent_in_place_of_a_failed_call() {
    let (_, test) = test(&[Answer::No(|| BankError::NoMoney)]);
    test.when::<Order>("a", placed())
        .then(|call| call.fail("no money").send("a", cancel()))
        .when::<Order>("a", placed())
        .then(|call| call.send("cash", request("a")));
}

#[test]
fn a_crash_before_the_commit_leads_to_the_same_call() {
    let (bank, test) = test(&[Answer::Yes, Answer::Yes, busy(), busy()]);
    test.when::<Order>("a", placed())
        .when_crashed()
        .then(|call| call.call("teller:order/a/1").send("cash", request("a")))
        .when_crashed()
        // A crash is no failed attempt.
        .then(|call| call.fail("busy").retry_after(SECOND))
        .when_crashed()
        .then(|call| call.fail("busy").retry_after(SECOND))
        .when::<Order>("a", placed())
        .then_not_called()
        .when_time_passes(SECOND)
        .then(|call| {
            let call = call.call("teller:order/a/1").send("cash", request("a"));
            call.call("teller:order/a/2").send("cash", request("a"))
        })
        // The first of both is committed.
        .when_crashed()
        .then(|call| call.call("teller:order/a/2").send("cash", request("a")))
        .when::<Order>("a", placed())
        .then(|call| call.call("teller:order/a/3").send("cash", request("a")));
    let (a1, a2, a3) = ("teller:order/a/1", "teller:order/a/2", "teller:order/a/3");
    let expected = [
        (a1, 1),
        (a1, 1),
        (a1, 1),
        (a1, 1),
        (a1, 2),
        (a2, 1),
        (a2, 1),
        (a3, 1),
    ];
    bank.assert_calls(&expected);
}

#[test]
fn a_rejected_command_is_judged_and_the_call_is_not_made_again() {
    let (bank, test) = test(&[]);
    let mut test = test
        .when::<Order>("a", placed())
        .when_rejected(Unknown)
        .then(|call| call.retry_after(SECOND))
        // A waiting command holds nothing.
        .when::<Order>("a", OrderEvent::Weighed { kilos: 1.0 })
        .then_nothing();
    for attempt in 2..=3 {
        let again = test
            .when_time_passes(SECOND * 2)
            .then(|call| call.send("cash", request("a")))
            .when_rejected(Unknown);
        test = match attempt {
            2 => again.then(|call| call.retry_after(SECOND * 2)),
            _ => again.then(|call| call.park()),
        };
    }
    let test = test.when::<Order>("a", placed()).then_not_called();
    assert_eq!(test.held_keys(), ["order/a"]);
    bank.assert_calls(&[("teller:order/a/1", 1)]);

    let items = vec!["tea".to_owned(); 2];
    let (_, test) = self::test(&[]);
    test.when::<Order>("a", OrderEvent::Placed { items })
        .when_rejected(BankError::Busy)
        .then(|call| call.dead_letter());
}

/// Orders by customer, who is in the first item.
#[event_handler(subscribes = [Order, Payment], key = String)]
struct ByCustomer {
    bank: FakeBank,
}

impl HandleKey<Order> for ByCustomer {
    fn key(event: &OrderEvent, cx: &EventContext<'_>) -> String {
        match event {
            OrderEvent::Placed { items } => items[0].clone(),
            _ => cx.stream_id().to_owned(),
        }
    }
}

impl HandleKey<Payment> for ByCustomer {
    fn key(_: &PaymentEvent, cx: &EventContext<'_>) -> String {
        cx.stream_id().to_owned()
    }
}

impl Handle<Order> for ByCustomer {
    type Error = BankError;

    async fn handle(&self, _: &OrderEvent, cx: &mut Handling<'_, Self>) -> Result<(), BankError> {
        let key = cx.idempotency_key().to_owned();
        self.bank.charge(&key, cx.attempt()).await
    }
}

impl Handle<Payment> for ByCustomer {
    type Error = BankError;

    async fn handle(&self, _: &PaymentEvent, _: &mut Handling<'_, Self>) -> Result<(), BankError> {
        Ok(())
    }
}

#[test]
fn events_of_one_key_are_in_order_over_streams() {
    let bank = FakeBank::answers(&[busy()]);
    let of = |customer: &str| {
        let items = vec![customer.to_owned()];
        OrderEvent::Placed { items }
    };
    let empty = OrderEvent::Placed { items: Vec::new() };
    let test = testing::event_handler(ByCustomer { bank: bank.clone() })
        .when::<Order>("1", of("ann"))
        .then(|call| call.fail("busy").retry_after(SECOND))
        .when::<Order>("2", of("ann"))
        .then_not_called()
        .when::<Order>("1", of("bob"))
        .then_nothing()
        .when_time_passes(SECOND)
        .then(|call| {
            let call = call.call("by-customer:order/1/1");
            call.call("by-customer:order/2/1")
        })
        // The key of this one cannot be determined, so its stream is held.
        .when::<Order>("3", empty)
        .then(|call| call.fail("index out of bounds").park())
        .when::<Order>("3", of("ann"))
        .then_not_called()
        .when::<Order>("4", of("ann"))
        .then_nothing();
    assert!(test.held_keys().is_empty(), "a stream is no key");
}

#[tokio::test]
async fn a_test_runs_inside_a_runtime_too() {
    let (_, test) = test(&[Answer::Late(MINUTE / 2)]);
    test.when::<Order>("a", placed())
        .then(|call| call.send("cash", request("a")));
}

#[test]
fn a_failing_test_says_what_differs() {
    let said = failure(|| {
        let (_, test) = test(&[]);
        let _ = test
            .when::<Order>("a", placed())
            .then(|call| call.send("cash", request("b")));
    });
    assert_says(
        &said,
        &[
            "the calls of `teller` are not as expected",
            "-     \"order\": \"b\"",
            "+     \"order\": \"a\"",
        ],
    );
    let said = failure(|| {
        let (_, test) = test(&[busy()]);
        let _ = test
            .when::<Order>("a", placed())
            .then(|call| call.fail("no money").retry_after(SECOND * 2));
    });
    assert_says(
        &said,
        &[
            "- fails: no money",
            "+ fails: the bank is busy",
            "- retry after 2s",
            "+ retry after 1s",
        ],
    );
    let said = failure(|| {
        let (_, test) = test(&[]);
        let _ = test
            .when::<Order>("a", placed())
            .then(|call| call.call("teller:order/a/2").send("cash", request("a")));
    });
    assert_says(
        &said,
        &["- call `teller:order/a/2`", "+ call `teller:order/a/1`"],
    );
    let said = failure(|| {
        let (_, test) = test(&[]);
        let _ = test.when::<Order>("a", placed()).then_nothing();
    });
    assert_says(&said, &["was expected to send nothing", "+ send `cash`"]);
    let said = failure(|| {
        let (_, test) = test(&[]);
        let _ = test.when::<Order>("a", placed()).then_not_called();
    });
    assert_says(&said, &["was expected not to be called", "+ call `teller"]);
    let said = failure(|| {
        let (_, test) = test(&[Answer::Panic]);
        let test = test.when::<Order>("a", placed());
        let _ = test.when::<Order>("a", placed()).then_nothing();
    });
    assert_says(
        &said,
        &["was expected to be called", "held are [\"order/a\"]"],
    );
    let said = failure(|| {
        let (_, test) = test(&[Answer::Panic]);
        let _ = test.given::<Order>("a", placed());
    });
    assert_says(&said, &["does not handle a given event", "the bank burns"]);
}

#[test]
fn a_test_that_makes_no_sense_says_so() {
    let said = failure(|| {
        let (_, test) = test(&[]);
        let _ = test.when::<Payment>(
            "a",
            PaymentEvent::Requested {
                order: String::new(),
            },
        );
    });
    assert_says(&said, &["`teller` does not subscribe to `payment`"]);
    let said = failure(|| {
        let (_, test) = test(&[]);
        let _ = test.given::<Order>("a", placed()).when_crashed();
    });
    assert_says(&said, &["no call that a crash could interrupt"]);
    let said = failure(|| {
        let (_, test) = test(&[]);
        let test = test.when::<Order>("a", OrderEvent::Weighed { kilos: 1.0 });
        let _ = test.when_rejected(Unknown);
    });
    assert_says(&said, &["no command that could be rejected"]);
    let said = failure(|| {
        let (_, test) = test(&[]);
        let _ = test.when::<Order>("a", placed()).when_released("order/a");
    });
    assert_says(&said, &["does not hold the key `order/a`; held are []"]);
    let said = failure(|| {
        let (_, test) = test(&[]);
        let _ = test.then_nothing();
    });
    assert_says(&said, &["nothing was done yet"]);
}
