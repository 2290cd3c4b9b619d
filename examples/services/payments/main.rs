//! Card payments by an event handler and HTTP: the program of the guide's page "Calling a payment provider".
//!
//! ```text
//! cargo run -p eventfold-es-services --example payments
//! ```
//!
//! Five cards: one is charged at once, one is declined, for one the provider is busy, for one it answers too late, and for one the
//! program crashes before the answer. The example checks that each is charged at most once.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod cashier;
mod payment;
mod provider;

use std::error::Error;
use std::path::Path;
use std::time::{Duration, SystemTime};

use cashier::Cashier;
use eventfold_es::clock::ManualClock;
use eventfold_es::prelude::*;
use eventfold_es_services::until;
use payment::{Payment, PaymentCommand};
use provider::Provider;

const CARDS: [&str; 5] = ["good", "declined", "busy", "slow", "crash"];
const EXPECTED: &str = "\
good: charged
declined: the card has expired
busy: charged, after failed requests
slow: charged, after failed requests
crash: charged, after failed requests
charges at the provider: 4, of 4000 cents
";

async fn open(
    directory: &Path,
    provider: &str,
    clock: &ManualClock,
) -> Result<AggregateStore, Box<dyn Error>> {
    let cashier = Cashier {
        client: reqwest::Client::new(),
        provider: provider.to_owned(),
    };
    let store = AggregateStore::builder(directory)
        .event_handler(cashier)
        // So that the crash of this example does not wait for the call.
        .handler_patience(Duration::ZERO)
        .clock(clock.clone())
        .open()
        .await?;
    Ok(store)
}

async fn pay(store: &AggregateStore, card: &str) -> Result<(), Box<dyn Error>> {
    let request = PaymentCommand::Request {
        card: card.to_owned(),
        cents: 1000,
    };
    store.send(&format!("pay-{card}"), request, ()).await?;
    Ok(())
}

async fn payment(store: &AggregateStore, card: &str) -> Result<Payment, Box<dyn Error>> {
    let payment = store.get::<Payment>(&format!("pay-{card}")).await?;
    Ok(payment.state().await?)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let (provider, address) = Provider::start().await?;
    let clock = ManualClock::new(SystemTime::now());

    let store = open(directory.path(), &address, &clock).await?;
    pay(&store, "crash").await?;
    until("the card is charged", async || {
        Ok(provider.charges().len() == 1)
    })
    .await?;
    // A crash before the answer.
    drop(store);

    let store = open(directory.path(), &address, &clock).await?;
    for card in ["good", "declined", "busy", "slow"] {
        pay(&store, card).await?;
    }
    for card in CARDS {
        until("the payment has ended", async || {
            // A failed call is retried after a second, then after two, by the clock of the store.
            clock.advance(Duration::from_secs(1));
            Ok(payment(&store, card).await? != Payment::Requested)
        })
        .await?;
    }

    let mut report = String::new();
    for card in CARDS {
        let failed = match provider.requests(card) {
            0 | 1 => "",
            _ => ", after failed requests",
        };
        report += &match payment(&store, card).await? {
            Payment::Charged(_) => format!("{card}: charged{failed}\n"),
            Payment::Declined(reason) => format!("{card}: {reason}\n"),
            other => format!("{card}: {other:?}\n"),
        };
    }
    let charges = provider.charges();
    let cents: u64 = charges.iter().sum();
    report += &format!(
        "charges at the provider: {}, of {cents} cents\n",
        charges.len()
    );
    store.close().await?;
    print!("{report}");
    assert_eq!(report, EXPECTED);
    Ok(())
}
