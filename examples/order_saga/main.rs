//! A saga with an instance for each order, a deadline for the payment, and compensation.
//!
//! ```text
//! cargo run --example order_saga
//! ```
//!
//! Three orders: one is paid and shipped, one is never paid, and one is paid but cannot be shipped any more. The saga is in
//! `saga.rs`. One commit stores its knowledge of an order together with its commands, so the program can be killed at any
//! moment and continues. The example checks its output.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod domain;
mod saga;

use std::error::Error;
use std::time::Duration;

use domain::{Order, OrderCommand, Payment, PaymentCommand, Stock, StockCommand};
use eventfold_es::prelude::*;
use saga::{OrderSaga, payment_of};

const EXPECTED: &str = "\
ord-1: shipped
ord-2: cancelled, since it was not paid in time
ord-3: cancelled, since 5 were ordered, and only 3 are left; the money was given back
instances: 0 open, 3 completed
";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let store = AggregateStore::builder(directory.path())
        .process_manager::<OrderSaga>()
        .open()
        .await?;
    let receive = StockCommand::Receive { qty: 5 };
    store.send("tea", receive, ()).await?;

    for (order, qty, is_paid) in [("ord-1", 2, true), ("ord-2", 1, false), ("ord-3", 5, true)] {
        let sku = "tea".to_owned();
        store
            .send(order, OrderCommand::Place { sku, qty }, ())
            .await?;
        if is_paid {
            let pay = PaymentCommand::Pay {
                order: order.to_owned(),
            };
            store.send(&payment_of(order), pay, ()).await?;
        }
    }

    // The deadline of the unpaid order fires by itself.
    let sagas = store.process_manager::<OrderSaga>()?;
    while sagas.status().await?.instances.open > 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }

    let mut report = String::new();
    for order in ["ord-1", "ord-2", "ord-3"] {
        report.push_str(&end_of(&store, order).await?);
    }
    let instances = sagas.status().await?.instances;
    report.push_str(&format!(
        "instances: {} open, {} completed\n",
        instances.open, instances.completed
    ));
    print!("{report}");
    assert_eq!(report, EXPECTED);
    assert_eq!(store.get::<Stock>("tea").await?.state().await?.left, 3);
    store.close().await?;
    Ok(())
}

async fn end_of(store: &AggregateStore, order: &str) -> Result<String, Box<dyn Error>> {
    let end = match store.get::<Order>(order).await?.state().await? {
        Order::Shipped => "shipped".to_owned(),
        Order::Cancelled(reason) => format!("cancelled, since {reason}"),
        other => format!("{other:?}"),
    };
    let payment = store.read_events("payment", &payment_of(order)).await;
    let was_refunded = payment.is_ok_and(|events| {
        let refund = events.iter().find(|event| event.event_type == "Refunded");
        refund.is_some()
    });
    let is_paid = store
        .get::<Payment>(&payment_of(order))
        .await?
        .state()
        .await?
        .is_paid;
    let money = if was_refunded && !is_paid {
        "; the money was given back"
    } else {
        ""
    };
    Ok(format!("{order}: {end}{money}\n"))
}
