//! Changes polled from another service: the program of the guide's page "Polling an API".
//!
//! ```text
//! cargo run -p eventfold-es-services --example polling
//! ```
//!
//! Every third request fails. One poller runs, then four at a time, and then a poller crashes at each of its durable steps. The
//! example checks that each change is recorded once.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod catalog;
mod poller;
mod supplier;

use std::error::Error;
use std::time::Duration;

use catalog::{Feed, Product};
use eventfold_es::prelude::*;
use eventfold_es::testing::{CrashPoints, MemoryDisk};
use eventfold_es_services::until;
use poller::{FEED, Poller};
use supplier::Supplier;

const EXPECTED: &str = "\
one poller: cursor 50, 50 changes
four pollers: cursor 200, 200 changes
milk: 300 cents
after each crash: each change once
";

/// The cursor, and the number of recorded changes.
async fn recorded(store: &AggregateStore) -> Result<(u64, u64), Box<dyn Error>> {
    let cursor = store.get::<Feed>(FEED).await?.state().await?.cursor;
    let mut changes = 0;
    for product in store.list::<Product>().await? {
        let product = store.get::<Product>(&product).await?;
        changes += product.state().await?.changes;
    }
    Ok((cursor, changes))
}

/// Polls until the cursor is at the last published change.
async fn catch_up(poller: &Poller, supplier: &Supplier) -> Result<(), Box<dyn Error>> {
    let polling = tokio::spawn(poller.clone().run(Duration::from_millis(5)));
    let waited = until("all changes are known", async || {
        let (cursor, _) = recorded(&poller.store).await?;
        Ok(cursor == supplier.published())
    })
    .await;
    polling.abort();
    waited
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let (supplier, address) = Supplier::start().await?;
    let client = reqwest::Client::new();
    let poller_of = |store: AggregateStore| Poller {
        store,
        client: client.clone(),
        supplier: address.clone(),
    };
    let mut report = String::new();

    let disk = MemoryDisk::new();
    let store = disk.builder().open().await?;
    let poller = poller_of(store.clone());
    supplier.publish(50);
    catch_up(&poller, &supplier).await?;
    let (cursor, changes) = recorded(&store).await?;
    report += &format!("one poller: cursor {cursor}, {changes} changes\n");

    // By mistake four loops run. Each page is recorded by one of them.
    supplier.publish(150);
    tokio::try_join!(
        catch_up(&poller, &supplier),
        catch_up(&poller, &supplier),
        catch_up(&poller, &supplier),
        catch_up(&poller, &supplier),
    )?;
    let (cursor, changes) = recorded(&store).await?;
    report += &format!("four pollers: cursor {cursor}, {changes} changes\n");
    let milk = store.get::<Product>("milk").await?.state().await?;
    report += &format!("milk: {} cents\n", milk.cents);
    store.close().await?;

    let crashes = CrashPoints::new().at_most(60);
    let crashes = crashes.for_each(
        |builder| builder,
        async |store| {
            let polled = catch_up(&poller_of(store), &supplier).await;
            assert!(polled.is_ok(), "{polled:?}");
        },
        async |store| {
            let after_the_crash = recorded(&store).await;
            assert!(after_the_crash.is_ok_and(|(cursor, changes)| cursor == changes));
            let polled = catch_up(&poller_of(store.clone()), &supplier).await;
            assert!(polled.is_ok(), "{polled:?}");
            let (at_the_end, all) = (recorded(&store).await, supplier.published());
            assert!(at_the_end.is_ok_and(|counts| counts == (all, all)));
        },
    );
    let crashes = crashes.await;
    assert!(crashes.points > 20, "{crashes:?}");
    report += "after each crash: each change once\n";
    print!("{report}");
    assert_eq!(report, EXPECTED);
    Ok(())
}
