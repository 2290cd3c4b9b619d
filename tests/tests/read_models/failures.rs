//! Events that cannot be projected: each policy, and what the others notice of it.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use eventfold_es::StoreError;
use eventfold_es::contract::SinkProjection;
use eventfold_es::prelude::*;
use eventfold_es::store::{HealthStatus, ProjectionHealth};
use eventfold_es_tests::TestResult;

use crate::SOON;
use crate::common::counter::{Counter, CounterCommand, CounterEvent};

/// One test at a time breaks the projections.
static BREAKING: Mutex<()> = Mutex::new(());
/// Whether the projections panic at an event that adds a negative number.
static IS_BROKEN: AtomicBool = AtomicBool::new(false);
/// How often each broken projection was called.
static CALLS: Mutex<BTreeMap<&str, u32>> = Mutex::new(BTreeMap::new());

/// How often the first event was projected into `Skips`.
static BEGUN: AtomicU32 = AtomicU32::new(0);

fn calls(of: &str) -> u32 {
    CALLS.lock().unwrap().get(of).copied().unwrap_or(0)
}

macro_rules! sums {
    ($($name:ident, $policy:literal;)*) => {
        $(
            #[projection(subscribes = [Counter], key = String, on_failure = $policy)]
            #[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
            struct $name {
                sum: i64,
            }

            impl Locate<Counter> for $name {
                fn locate(_: &CounterEvent, cx: &EventContext<'_>) -> Keys<String> {
                    Keys::one(cx.stream_id().to_owned())
                }
            }

            impl Project<Counter> for $name {
                fn project(&mut self, event: &CounterEvent, cx: &EventContext<'_>) {
                    let CounterEvent::Added(by) = event else { return };
                    if cx.position() == 1 && Self::NAME == Skips::NAME {
                        BEGUN.fetch_add(1, Ordering::SeqCst);
                    }
                    self.sum += by;
                    if *by < 0 && IS_BROKEN.load(Ordering::SeqCst) {
                        *CALLS.lock().unwrap().entry(Self::NAME).or_default() += 1;
                        panic!("negative");
                    }
                }
            }
        )*
    };
}

sums! {
    Retries, "retry";
    Skips, "skip";
    Stops, "stop";
}

struct Broken<'a>(#[expect(dead_code, reason = "held")] std::sync::MutexGuard<'a, ()>);

impl Broken<'_> {
    fn begin() -> Self {
        let held = BREAKING
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        IS_BROKEN.store(true, Ordering::SeqCst);
        CALLS.lock().unwrap().clear();
        Self(held)
    }

    fn mend() {
        IS_BROKEN.store(false, Ordering::SeqCst);
    }
}

impl Drop for Broken<'_> {
    fn drop(&mut self) {
        Self::mend();
    }
}

async fn add(store: &AggregateStore, id: &str, by: i64) -> TestResult {
    store.send(id, CounterCommand::Add(by), ()).await?;
    Ok(())
}

async fn health_of(store: &AggregateStore, name: &str) -> ProjectionHealth {
    let health = store.health().await;
    let mut projections = health.projections.into_iter();
    projections
        .find(|projection| projection.name == name)
        .unwrap()
}

#[tokio::test]
async fn a_retried_event_holds_up_the_projection_until_it_is_mended() -> TestResult {
    let _broken = Broken::begin();
    let base = tempfile::tempdir()?;
    let builder = AggregateStore::builder(base.path());
    let store = builder.projection::<Retries>().open().await?;
    add(&store, "a", 1).await?;
    add(&store, "a", -2).await?;
    add(&store, "b", 5).await?;
    while calls("retries") < 3 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let late = store
        .wait_for::<Retries>(3, Duration::from_millis(1))
        .await
        .unwrap_err();
    assert!(
        matches!(
            &late,
            StoreError::NotReached {
                reached: 1,
                failure: Some(_),
                ..
            }
        ),
        "{late:?}"
    );
    assert!(late.to_string().contains("panicked: negative"), "{late}");
    let health = health_of(&store, "retries").await;
    assert_eq!(health.position, 1);
    assert!(
        health
            .failure
            .is_some_and(|failure| failure.contains("negative"))
    );
    assert_eq!(store.health().await.status, HealthStatus::Degraded);
    // Half of the failed event is nowhere, and the events before it are there.
    assert_eq!(
        store.rows::<Retries>()?.get("a").await?,
        Some(Retries { sum: 1 })
    );

    Broken::mend();
    store.resume_projection::<Retries>()?;
    store.wait_for::<Retries>(3, SOON).await?;
    assert_eq!(
        store.rows::<Retries>()?.get("a").await?,
        Some(Retries { sum: -1 })
    );
    assert_eq!(
        store.rows::<Retries>()?.get("b").await?,
        Some(Retries { sum: 5 })
    );
    assert_eq!(store.health().await.status, HealthStatus::Healthy);
    Ok(())
}

#[tokio::test]
async fn a_skipped_event_is_counted_and_remembered() -> TestResult {
    let _broken = Broken::begin();
    let base = tempfile::tempdir()?;
    let open = || {
        AggregateStore::builder(base.path())
            .projection::<Skips>()
            .open()
    };
    let store = open().await?;
    for by in [1, -2, 5, -7, 9] {
        add(&store, "a", by).await?;
    }
    store.wait_for::<Skips>(5, SOON).await?;
    assert_eq!(
        store.rows::<Skips>()?.get("a").await?,
        Some(Skips { sum: 15 })
    );
    let health = health_of(&store, "skips").await;
    assert_eq!((health.skipped, health.failure), (2, None));
    assert!(calls("skips") >= 6);
    store.close().await?;

    // Skipped is skipped, until it is rebuilt.
    Broken::mend();
    let store = open().await?;
    add(&store, "a", 1).await?;
    store.wait_for::<Skips>(6, SOON).await?;
    assert_eq!(
        store.rows::<Skips>()?.get("a").await?,
        Some(Skips { sum: 16 })
    );
    assert_eq!(health_of(&store, "skips").await.skipped, 2);
    store.rebuild_projection::<Skips>().await?;
    assert_eq!(
        store.rows::<Skips>()?.get("a").await?,
        Some(Skips { sum: 7 })
    );
    assert_eq!(health_of(&store, "skips").await.skipped, 0);

    // A rebuild skips by the same policy.
    IS_BROKEN.store(true, Ordering::SeqCst);
    store.rebuild_projection::<Skips>().await?;
    assert_eq!(
        store.rows::<Skips>()?.get("a").await?,
        Some(Skips { sum: 16 })
    );
    assert_eq!(health_of(&store, "skips").await.skipped, 2);

    // It does not begin again for an event that fails far behind the first.
    for _ in 0..6 {
        let mut transaction = store.transaction(());
        for id in 0..1_000 {
            let add = CounterCommand::Add(1);
            transaction = transaction.send(format!("other-{id}"), add);
        }
        transaction.commit().await?;
    }
    add(&store, "a", -1).await?;
    BEGUN.store(0, Ordering::SeqCst);
    store.rebuild_projection::<Skips>().await?;
    assert_eq!(health_of(&store, "skips").await.skipped, 3);
    // The second time is for the first failure, in the same chunk.
    assert_eq!(BEGUN.load(Ordering::SeqCst), 2);
    Ok(())
}

#[tokio::test]
async fn one_that_stops_stops_alone_until_it_is_resumed() -> TestResult {
    let _broken = Broken::begin();
    let base = tempfile::tempdir()?;
    let builder = AggregateStore::builder(base.path());
    let builder = builder.projection::<Stops>().projection::<Skips>();
    let store = builder.open().await?;
    add(&store, "a", 1).await?;
    add(&store, "a", -2).await?;
    add(&store, "a", 4).await?;
    // At once, and not after the timeout.
    let stopped = store.wait_for::<Stops>(3, SOON * 100).await.unwrap_err();
    assert!(
        matches!(stopped, StoreError::NotReached { reached: 1, .. }),
        "{stopped}"
    );
    let before = calls("stops");
    store.wait_for::<Skips>(3, SOON).await?;
    add(&store, "a", 8).await?;
    store.wait_for::<Skips>(4, SOON).await?;
    assert_eq!(calls("stops"), before, "it is not tried again");
    assert_eq!(
        store.rows::<Stops>()?.get("a").await?,
        Some(Stops { sum: 1 })
    );

    Broken::mend();
    store.resume_projection::<Stops>()?;
    store.wait_for::<Stops>(4, SOON).await?;
    assert_eq!(
        store.rows::<Stops>()?.get("a").await?,
        Some(Stops { sum: 11 })
    );
    Ok(())
}
