//! Rows follow the events, each event once, and tell how far they are.

use std::time::Duration;

use eventfold_es::StoreError;
use eventfold_es::prelude::*;
use eventfold_es_tests::TestResult;

use crate::SOON;
use crate::common::counter::{Counter, CounterCommand, CounterEvent};
use crate::common::shop::{Inventory, InventoryCommand, Order, OrderCommand, OrderEvent, place};

/// One row for each article: the orders with it, until an order is confirmed.
#[projection(subscribes = [Order, Counter], key = String)]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Articles {
    qty: u32,
    key: Option<String>,
    orders: Vec<String>,
}

impl Locate<Order> for Articles {
    fn locate(event: &OrderEvent, cx: &EventContext<'_>) -> Keys<String> {
        match event {
            OrderEvent::Placed { sku, .. } => {
                Keys::each(sku.split('+').chain([cx.stream_id()]).map(str::to_owned))
            }
            OrderEvent::Confirmed => Keys::one(cx.stream_id().to_owned()),
        }
    }
}

impl Project<Order> for Articles {
    fn project(&mut self, event: &OrderEvent, cx: &EventContext<'_>) {
        match event {
            OrderEvent::Placed { qty, .. } => {
                self.qty += qty;
                self.key = cx.row_key();
                assert_eq!(cx.row_key::<(String, u64)>(), None);
                self.orders
                    .push(format!("{}@{}", cx.stream_id(), cx.position()));
            }
            OrderEvent::Confirmed => cx.delete(),
        }
    }
}

impl Locate<Counter> for Articles {
    fn locate(event: &CounterEvent, _cx: &EventContext<'_>) -> Keys<String> {
        match event {
            CounterEvent::Added(0) => Keys::one("tea".to_owned()),
            _ => Keys::none(),
        }
    }
}

impl Project<Counter> for Articles {
    fn project(&mut self, _event: &CounterEvent, cx: &EventContext<'_>) {
        // Deleted and changed by one handler: the deletion counts.
        cx.delete();
        self.qty = 77;
    }
}

async fn open(base: &std::path::Path) -> Result<AggregateStore, eventfold_es::OpenError> {
    let builder = AggregateStore::builder(base);
    builder.projection::<Articles>().open().await
}

#[tokio::test]
async fn each_event_changes_the_rows_that_it_locates_once() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = open(base.path()).await?;
    store.send("o-1", place("tea+jam+tea", 2), ()).await?;
    let placed = store.send("o-2", place("tea", 5), ()).await?;
    store.wait_for::<Articles>(placed.position, SOON).await?;
    let rows = store.rows::<Articles>()?;
    let tea = rows.get("tea").await?.unwrap();
    // A repeated key counts once.
    assert_eq!(
        (tea.qty, tea.orders),
        (7, vec!["o-1@1".into(), "o-2@2".to_owned()])
    );
    let jam = rows.get("jam").await?.unwrap();
    assert_eq!((jam.qty, jam.key.as_deref()), (2, Some("jam")));
    assert_eq!(rows.all().count().await?, 4);

    let confirmed = store.send("o-1", OrderCommand::Confirm, ()).await?;
    store.wait_for::<Articles>(confirmed.position, SOON).await?;
    assert_eq!(rows.get("o-1").await?, None);
    assert_eq!(rows.all().count().await?, 3);

    // A removed row begins anew.
    let deleted = store.send("c", CounterCommand::Add(0), ()).await?;
    store.wait_for::<Articles>(deleted.position, SOON).await?;
    assert_eq!(rows.get("tea").await?, None);
    let placed = store.send("o-3", place("tea", 1), ()).await?;
    store.wait_for::<Articles>(placed.position, SOON).await?;
    assert_eq!(rows.get("tea").await?.unwrap().qty, 1);
    store.close().await?;

    // Opened again, it goes on from its place.
    let store = open(base.path()).await?;
    let placed = store.send("o-4", place("tea", 1), ()).await?;
    store.wait_for::<Articles>(placed.position, SOON).await?;
    let tea = store.rows::<Articles>()?.get("tea").await?.unwrap();
    assert_eq!(tea.orders, ["o-3@5", "o-4@6"]);
    assert!(matches!(rows.get("tea").await, Err(StoreError::Closed)));
    assert!(matches!(
        rows.all().collect().await,
        Err(StoreError::Closed)
    ));
    Ok(())
}

#[tokio::test]
async fn a_wait_ends_at_the_position_the_timeout_or_the_close() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = open(base.path()).await?;
    // A command without events has no position to wait for.
    let nothing = store.send("c", CounterCommand::Nothing, ()).await?;
    assert_eq!(store.wait_for::<Articles>(nothing.position, SOON).await?, 0);
    // An event of another aggregate counts as seen.
    let reserved = store
        .send("tea", InventoryCommand::Reserve { qty: 1 }, ())
        .await?;
    assert_eq!(
        store.wait_for::<Articles>(reserved.position, SOON).await?,
        1
    );

    let late = store
        .wait_for::<Articles>(9, Duration::from_millis(20))
        .await;
    let late = late.unwrap_err().to_string();
    assert_eq!(
        late,
        "the projection `articles` is at position 1, and has not reached 9"
    );
    let waiting = tokio::spawn({
        let store = store.clone();
        async move { store.wait_for::<Articles>(9, SOON).await }
    });
    tokio::task::yield_now().await;
    store.close().await?;
    assert!(matches!(waiting.await?, Err(StoreError::Closed)));
    Ok(())
}

#[tokio::test]
async fn a_projection_that_is_not_registered_says_so() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = AggregateStore::open(base.path()).await?;
    let errors = [
        store.rows::<Articles>().map(drop).unwrap_err(),
        store.watch::<Articles>().map(drop).unwrap_err(),
        store.wait_for::<Articles>(1, SOON).await.unwrap_err(),
        store.rebuild_projection::<Articles>().await.unwrap_err(),
        store.resume_projection::<Articles>().unwrap_err(),
        store.cancel_rebuild::<Articles>().unwrap_err(),
    ];
    for error in errors {
        let text = error.to_string();
        assert!(
            text.contains("Articles is not registered: add `.projection::<..>()`"),
            "{text}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn a_watch_moves_only_with_events_of_the_projection() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = open(base.path()).await?;
    let mut changes = store.watch::<Articles>()?;
    store
        .send("tea", InventoryCommand::Reserve { qty: 1 }, ())
        .await?;
    store.wait_for::<Articles>(1, SOON).await?;
    assert!(!changes.has_changed()?);
    store.send("o-1", place("tea", 2), ()).await?;
    tokio::time::timeout(SOON, changes.changed()).await??;
    assert_eq!(*changes.borrow_and_update(), 2);
    let rows = store.rows::<Articles>()?;
    assert_eq!(rows.get("tea").await?.unwrap().qty, 2);
    let _ = store.get::<Inventory>("tea").await?;
    Ok(())
}

#[tokio::test]
async fn a_long_catch_up_and_a_live_seam_lose_and_repeat_nothing() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = AggregateStore::open(base.path()).await?;
    let add = async |store: &AggregateStore, from: u32, to: u32| -> TestResult {
        for order in from..to {
            store
                .send(&format!("o-{order}"), place("tea", 1), ())
                .await?;
        }
        Ok(())
    };
    add(&store, 0, 300).await?;
    store.close().await?;
    let store = open(base.path()).await?;
    add(&store, 300, 500).await?;
    store.wait_for::<Articles>(500, SOON).await?;
    let tea = store.rows::<Articles>()?.get("tea").await?.unwrap();
    let wanted: Vec<_> = (0..500)
        .map(|order| format!("o-{order}@{}", order + 1))
        .collect();
    assert_eq!(tea.orders, wanted);
    Ok(())
}
