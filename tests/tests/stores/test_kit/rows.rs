use eventfold_es::prelude::*;
use eventfold_es::testing;

use crate::test_kit::domain::{Order, OrderEvent, Payment, PaymentEvent};
use crate::test_kit::{assert_says, failure};

/// One row for each weight class of an order.
#[projection(subscribes = [Order], key = String)]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Weights {
    #[index]
    last: u64,
    seen: u32,
}

impl Locate<Order> for Weights {
    fn locate(event: &OrderEvent, cx: &EventContext<'_>) -> Keys<String> {
        match event {
            OrderEvent::Weighed { .. } => Keys::each([cx.stream_id().to_owned(), "all".to_owned()]),
            OrderEvent::Placed { .. } => Keys::one(cx.stream_id().to_owned()),
            _ => Keys::none(),
        }
    }
}

impl Project<Order> for Weights {
    fn project(&mut self, event: &OrderEvent, cx: &EventContext<'_>) {
        if let OrderEvent::Placed { .. } = event {
            return cx.delete();
        }
        self.last = cx.position();
        self.seen += 1;
    }
}

fn weighed() -> OrderEvent {
    OrderEvent::Weighed { kilos: 1.5 }
}

fn row(last: u64, seen: u32) -> Weights {
    Weights { last, seen }
}

#[test]
fn rows_and_indexes_follow_the_events() {
    let test = testing::rows::<Weights>()
        .then([])
        .given::<Order>("b", weighed())
        .given::<Order>("a", weighed())
        .given::<Order>("b", weighed())
        .then([
            ("a".to_owned(), row(2, 1)),
            ("all".to_owned(), row(3, 3)),
            ("b".to_owned(), row(3, 2)),
        ])
        .then_by(Weights::LAST, &3_u64, ["all".to_owned(), "b".to_owned()])
        .given::<Order>("b", OrderEvent::Placed { items: Vec::new() })
        .then_by(Weights::LAST, &3_u64, ["all".to_owned()])
        .then_by(Weights::LAST, &1_u64, []);
    assert_eq!(test.row("a"), Some(row(2, 1)));
    assert_eq!(test.row("b"), None);
}

#[test]
fn what_differs_is_shown() {
    let said = failure(|| {
        let test = testing::rows::<Weights>().given::<Order>("a", weighed());
        let _ = test.then([("all".to_owned(), row(1, 1))]);
    });
    assert_says(
        &said,
        &["the rows of `weights` are not as expected", "+", "\"a\""],
    );
    let said = failure(|| {
        let test = testing::rows::<Weights>().given::<Order>("a", weighed());
        let _ = test.then_by(Weights::LAST, &1_u64, []);
    });
    assert_says(&said, &["the index `last` is not as expected", "\"all\""]);
    let said = failure(|| {
        let _ = testing::rows::<Weights>()
            .given::<Payment>("a", PaymentEvent::Settled { orders: Vec::new() });
    });
    assert_says(
        &said,
        &["the projection `weights` does not subscribe to `payment`"],
    );
}
