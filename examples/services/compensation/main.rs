//! A saga that undoes its steps outside: the program of the guide's page "Compensation".
//!
//! ```text
//! cargo run -p eventfold-es-services --example compensation
//! ```
//!
//! Four purchases: two succeed, one is refused since its card has expired, and one since the theater is full. The seat of the
//! refused card is given back. That fails twice, and the third time the program crashes. The example checks its output.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod purchase;
mod saga;
mod steps;
mod theater;

use std::error::Error;
use std::path::Path;
use std::time::{Duration, SystemTime};

use eventfold_es::clock::ManualClock;
use eventfold_es::prelude::*;
use eventfold_es_services::until;
use purchase::{Purchase, PurchaseCommand};
use saga::PurchaseSaga;
use steps::Steps;
use theater::Theater;

const EXPECTED: &str = "\
buy-1: Confirmed
buy-2: Cancelled(\"the card has expired\")
buy-3: Confirmed
buy-4: Cancelled(\"the theater is full\")
seats outside: buy-1-seat, buy-3-seat
charges outside: buy-1-charge, buy-3-charge
";

async fn open(
    directory: &Path,
    service: &str,
    clock: &ManualClock,
) -> Result<AggregateStore, Box<dyn Error>> {
    let steps = Steps {
        client: reqwest::Client::new(),
        service: service.to_owned(),
    };
    let store = AggregateStore::builder(directory)
        .process_manager::<PurchaseSaga>()
        .event_handler(steps)
        // So that the crash of this example does not wait for the call.
        .handler_patience(Duration::ZERO)
        .clock(clock.clone())
        .open()
        .await?;
    Ok(store)
}

async fn buy(store: &AggregateStore, purchase: &str, card: &str) -> Result<(), Box<dyn Error>> {
    let card = card.to_owned();
    store
        .send(purchase, PurchaseCommand::Start { card }, ())
        .await?;
    Ok(())
}

async fn purchase(store: &AggregateStore, id: &str) -> Result<Purchase, Box<dyn Error>> {
    Ok(store.get::<Purchase>(id).await?.state().await?)
}

/// Waits for the end of a purchase, whose failed calls are retried by the clock of the store.
async fn until_end_of(
    id: &str,
    store: &AggregateStore,
    clock: &ManualClock,
) -> Result<(), Box<dyn Error>> {
    until("the purchase has ended", async || {
        clock.advance(Duration::from_secs(1));
        Ok(purchase(store, id).await? != Purchase::Open)
    })
    .await
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let (theater, address) = Theater::start().await?;
    let clock = ManualClock::new(SystemTime::now());

    let store = open(directory.path(), &address, &clock).await?;
    buy(&store, "buy-1", "good").await?;
    until_end_of("buy-1", &store, &clock).await?;
    buy(&store, "buy-2", "expired").await?;
    until("the seat is free", async || {
        clock.advance(Duration::from_secs(1));
        Ok(theater.deletes() == 3)
    })
    .await?;
    assert_eq!(purchase(&store, "buy-2").await?, Purchase::Open);
    // A crash before the answer.
    drop(store);

    let store = open(directory.path(), &address, &clock).await?;
    until_end_of("buy-2", &store, &clock).await?;
    assert_eq!(theater.deletes(), 4);
    for id in ["buy-3", "buy-4"] {
        buy(&store, id, "good").await?;
        until_end_of(id, &store, &clock).await?;
    }

    let mut report = String::new();
    for id in ["buy-1", "buy-2", "buy-3", "buy-4"] {
        report += &format!("{id}: {:?}\n", purchase(&store, id).await?);
    }
    report += &format!("seats outside: {}\n", theater.seats().join(", "));
    report += &format!("charges outside: {}\n", theater.charges().join(", "));
    store.close().await?;
    print!("{report}");
    assert_eq!(report, EXPECTED);
    Ok(())
}
