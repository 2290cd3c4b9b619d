use eventfold_es::testing;

use crate::test_kit::domain::{Order, OrderCommand, OrderError, OrderEvent};
use crate::test_kit::{assert_says, failure};

fn place(items: &[&str]) -> OrderCommand {
    let items = items.iter().map(|item| (*item).to_owned()).collect();
    OrderCommand::Place { items }
}

fn placed(items: &[&str]) -> OrderEvent {
    let items = items.iter().map(|item| (*item).to_owned()).collect();
    OrderEvent::Placed { items }
}

fn cancel() -> OrderCommand {
    let reason = "late".to_owned();
    OrderCommand::Cancel { reason }
}

#[test]
fn events_errors_and_states_are_as_expected() {
    let reason = "late".to_owned();
    testing::aggregate::<Order>()
        .given([placed(&["tea"])])
        .when(cancel())
        .then([OrderEvent::Cancelled { reason }])
        .then_state(&Order {
            items: vec!["tea".to_owned()],
            is_cancelled: true,
        });
    testing::aggregate::<Order>()
        .given([placed(&["tea"])])
        .given([OrderEvent::Cancelled {
            reason: String::new(),
        }])
        .when(cancel())
        .then_nothing();
    testing::aggregate::<Order>()
        .when(place(&[]))
        .then_error(OrderError::Empty)
        .then_rejected(|error| *error != OrderError::Unknown);
    let history = testing::aggregate::<Order>().given([placed(&["tea"])]);
    assert_eq!(history.state().items, ["tea"]);
    assert!(history.when(cancel()).result().is_ok());
}

#[test]
fn other_events_are_shown_with_what_differs() {
    let said = failure(|| {
        let _ = testing::aggregate::<Order>()
            .when(place(&["tea", "milk"]))
            .then([placed(&["tea", "sugar"])]);
    });
    assert_says(
        &said,
        &[
            "Order` stores other events than expected",
            "`-` was expected, `+` is there",
            "  Placed {",
            "      \"tea\",",
            "-     \"sugar\"",
            "+     \"milk\"",
        ],
    );
}

#[test]
fn a_rejection_that_was_not_expected_says_the_error() {
    let said = failure(|| {
        let _ = testing::aggregate::<Order>()
            .when(place(&[]))
            .then([placed(&["tea"])]);
    });
    assert_says(
        &said,
        &["rejects the command: nothing is ordered", "\"tea\""],
    );
    let said = failure(|| {
        let _ = testing::aggregate::<Order>()
            .when(place(&[]))
            .then_state(&Order::default());
    });
    assert_says(&said, &["rejects the command: nothing is ordered"]);
}

#[test]
fn a_command_that_is_not_rejected_as_expected_says_what_happens() {
    let said = failure(|| {
        let _ = testing::aggregate::<Order>()
            .when(place(&["tea"]))
            .then_error(OrderError::Empty);
    });
    assert_says(
        &said,
        &[
            "accepts the command, which was expected to be rejected",
            "\"tea\"",
        ],
    );
    let said = failure(|| {
        let _ = testing::aggregate::<Order>()
            .when(place(&[]))
            .then_error(OrderError::Unknown);
    });
    assert_says(
        &said,
        &["another error than expected", "- Unknown", "+ Empty"],
    );
    let said = failure(|| {
        let _ = testing::aggregate::<Order>()
            .when(place(&[]))
            .then_rejected(|error| *error == OrderError::Unknown);
    });
    assert_says(&said, &["another error than expected: Empty"]);
}

#[test]
fn another_state_is_shown_with_what_differs() {
    let said = failure(|| {
        let _ = testing::aggregate::<Order>()
            .when(place(&["tea"]))
            .then_state(&Order::default());
    });
    assert_says(
        &said,
        &["the state of", "-   \"items\": []", "+     \"tea\""],
    );
}

#[test]
fn an_event_that_cannot_be_stored_fails_the_test() {
    let said = failure(|| {
        let _ = testing::aggregate::<Order>().given([OrderEvent::Weighed { kilos: f64::NAN }]);
    });
    assert_says(&said, &["`Weighed` cannot be stored"]);
}
