use eventfold_es::prelude::*;
use eventfold_es::testing;

use crate::test_kit::domain::{Order, OrderEvent, Payment, PaymentEvent};
use crate::test_kit::{assert_says, failure};

#[projection(subscribes = [Order])]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Placed {
    orders: Vec<String>,
    last: u64,
}

impl Project<Order> for Placed {
    fn project(&mut self, event: &OrderEvent, cx: &EventContext<'_>) {
        if let OrderEvent::Placed { .. } = event {
            self.orders
                .push(format!("{}@{}", cx.stream_id(), cx.version()));
            self.last = cx.position();
        }
    }
}

fn placed() -> OrderEvent {
    OrderEvent::Placed { items: Vec::new() }
}

#[test]
fn events_are_folded_with_their_places() {
    let test = testing::projection::<Placed>()
        .given::<Order>("a", placed())
        .given::<Order>("b", OrderEvent::Weighed { kilos: 1.5 })
        .given::<Order>("b", placed())
        .then(&Placed {
            orders: vec!["a@1".to_owned(), "b@2".to_owned()],
            last: 3,
        });
    assert_eq!(test.state().last, 3);
}

#[test]
fn another_read_model_is_shown_with_what_differs() {
    let said = failure(|| {
        let _ = testing::projection::<Placed>()
            .given::<Order>("a", placed())
            .then(&Placed::default());
    });
    assert_says(
        &said,
        &[
            "the projection `placed` is not as expected",
            "+     \"a@1\"",
            "-   \"last\": 0",
        ],
    );
}

#[test]
fn an_aggregate_that_is_not_subscribed_to_fails_the_test() {
    let said = failure(|| {
        let requested = PaymentEvent::Settled { orders: Vec::new() };
        let _ = testing::projection::<Placed>().given::<Payment>("p", requested);
    });
    assert_says(
        &said,
        &["the projection `placed` does not subscribe to `payment`"],
    );
}
