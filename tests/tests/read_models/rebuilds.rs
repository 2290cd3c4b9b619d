//! Rebuilds, while readers see the old rows.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Condvar, Mutex};

use eventfold_es::StoreError;
use eventfold_es::prelude::*;
use eventfold_es_tests::TestResult;

use crate::common::counter::{Counter, CounterCommand, CounterEvent};
use crate::{SOON, refused};

/// The factor of the fold, as if the program were changed.
static FACTOR: AtomicI64 = AtomicI64::new(1);
static GATE: (Mutex<Gate>, Condvar) = (Mutex::new(Gate::Open), Condvar::new());

#[derive(PartialEq, Clone, Copy)]
enum Gate {
    Open,
    /// The next event waits.
    Closed,
    /// An event waits.
    Waiting,
}

fn set(gate: Gate) {
    *GATE.0.lock().unwrap() = gate;
    GATE.1.notify_all();
}

fn pass() {
    let mut gate = GATE.0.lock().unwrap();
    if *gate == Gate::Closed {
        *gate = Gate::Waiting;
        GATE.1.notify_all();
    }
    while *gate == Gate::Waiting {
        gate = GATE.1.wait(gate).unwrap();
    }
}

async fn one_waits() {
    while *GATE.0.lock().unwrap() != Gate::Waiting {
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
}

#[projection(subscribes = [Counter], key = String)]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Sums {
    #[index]
    sum: i64,
}

impl Locate<Counter> for Sums {
    fn locate(_: &CounterEvent, cx: &EventContext<'_>) -> Keys<String> {
        Keys::one(cx.stream_id().to_owned())
    }
}

impl Project<Counter> for Sums {
    fn project(&mut self, event: &CounterEvent, _: &EventContext<'_>) {
        pass();
        if let CounterEvent::Added(by) = event {
            self.sum += by * FACTOR.load(Ordering::SeqCst);
        }
    }
}

async fn add(store: &AggregateStore, id: &str, by: i64) -> TestResult {
    store.send(id, CounterCommand::Add(by), ()).await?;
    Ok(())
}

/// One after the other, since the gate is one.
#[tokio::test(flavor = "multi_thread")]
async fn readers_see_the_old_rows_until_the_new_rows_are_complete() -> TestResult {
    let base = tempfile::tempdir()?;
    let open = || {
        AggregateStore::builder(base.path())
            .projection::<Sums>()
            .open()
    };
    let store = open().await?;
    add(&store, "a", 1).await?;
    add(&store, "b", 2).await?;
    store.wait_for::<Sums>(2, SOON).await?;
    let rows = store.rows::<Sums>()?;
    let sums = async || -> Result<Vec<i64>, StoreError> {
        let found = rows.by_range(Sums::SUM, ..).collect().await?;
        Ok(found.into_iter().map(|(_, row)| row.sum).collect())
    };
    assert_eq!(sums().await?, [1, 2]);

    // The new fold; an event from meanwhile is in the new rows.
    FACTOR.store(10, Ordering::SeqCst);
    set(Gate::Closed);
    let rebuilding = tokio::spawn({
        let store = store.clone();
        async move { store.rebuild_projection::<Sums>().await }
    });
    one_waits().await;
    add(&store, "c", 3).await?;
    assert_eq!(sums().await?, [1, 2]);
    assert_eq!(rows.all().count().await?, 2);
    set(Gate::Open);
    rebuilding.await??;
    assert_eq!(sums().await?, [10, 20, 30]);
    assert_eq!(store.wait_for::<Sums>(3, SOON).await?, 3);

    // A cancelled rebuild changes nothing, and the old rows go on.
    FACTOR.store(100, Ordering::SeqCst);
    set(Gate::Closed);
    let rebuilding = tokio::spawn({
        let store = store.clone();
        async move { store.rebuild_projection::<Sums>().await }
    });
    one_waits().await;
    // Another one waits for its end. The cancellation is for both.
    let mut second = std::pin::pin!(store.rebuild_projection::<Sums>());
    tokio::select! {
        biased;
        _ = &mut second => panic!("it waits"),
        () = std::future::ready(()) => {}
    }
    store.cancel_rebuild::<Sums>()?;
    FACTOR.store(1, Ordering::SeqCst);
    // It notices at the next chunk, so that there has to be one.
    add(&store, "d", 4).await?;
    set(Gate::Open);
    assert!(matches!(
        rebuilding.await?,
        Err(StoreError::RebuildCancelled)
    ));
    assert!(matches!(second.await, Err(StoreError::RebuildCancelled)));
    store.wait_for::<Sums>(4, SOON).await?;
    assert_eq!(sums().await?, [4, 10, 20, 30]);

    // A rebuild that the end of the program interrupts leaves the old rows.
    set(Gate::Closed);
    let rebuilding = tokio::spawn({
        let store = store.clone();
        async move { store.rebuild_projection::<Sums>().await }
    });
    one_waits().await;
    let closing = tokio::spawn({
        let store = store.clone();
        async move { store.close().await }
    });
    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    set(Gate::Open);
    closing.await??;
    let _ = rebuilding.await?;
    let store = open().await?;
    store.wait_for::<Sums>(4, SOON).await?;
    let kept = store
        .rows::<Sums>()?
        .by_range(Sums::SUM, ..)
        .collect()
        .await?;
    let kept: Vec<_> = kept.into_iter().map(|(_, row)| row.sum).collect();
    assert!(kept == [4, 10, 20, 30] || kept == [1, 2, 3, 4], "{kept:?}");
    Ok(())
}

/// The first and the second version of one projection.
mod versions {
    use super::*;

    macro_rules! version {
        ($module:ident, $($version:tt)*) => {
            pub(super) mod $module {
                use super::*;

                #[projection(subscribes = [Counter], key = String, name = "versioned" $($version)*)]
                #[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
                pub(crate) struct Versioned {
                    pub(crate) seen: u32,
                    pub(crate) $module: bool,
                }

                impl Locate<Counter> for Versioned {
                    fn locate(_: &CounterEvent, cx: &EventContext<'_>) -> Keys<String> {
                        Keys::one(cx.stream_id().to_owned())
                    }
                }

                impl Project<Counter> for Versioned {
                    fn project(&mut self, _: &CounterEvent, _: &EventContext<'_>) {
                        self.seen += 1;
                        self.$module = true;
                    }
                }
            }
        };
    }

    version!(first,);
    version!(changed,);
    version!(second, , version = 2);
}

#[tokio::test]
async fn another_version_rebuilds_the_rows_and_a_row_of_another_shape_says_so() -> TestResult {
    use versions::{changed, first, second};

    let base = tempfile::tempdir()?;
    let store = AggregateStore::builder(base.path())
        .projection::<first::Versioned>()
        .open()
        .await?;
    add(&store, "a", 1).await?;
    add(&store, "a", 1).await?;
    store.wait_for::<first::Versioned>(2, SOON).await?;
    store.close().await?;

    // The shape has changed, and the version has not.
    let builder = AggregateStore::builder(base.path());
    let store = builder.projection::<changed::Versioned>().open().await?;
    let error = store
        .rows::<changed::Versioned>()?
        .get("a")
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("the row \"a\" of the projection `versioned` does not decode"),
        "{error}"
    );
    assert!(
        error.contains("missing field `changed`") && error.contains("raise `version = ..`"),
        "{error}"
    );
    add(&store, "a", 1).await?;
    refused::<changed::Versioned>(&store, 3, &["does not decode"]).await;
    store.rebuild_projection::<changed::Versioned>().await?;
    let row = store.rows::<changed::Versioned>()?.get("a").await?;
    assert_eq!(
        row,
        Some(changed::Versioned {
            seen: 3,
            changed: true
        })
    );
    store.close().await?;

    let builder = AggregateStore::builder(base.path());
    let store = builder.projection::<second::Versioned>().open().await?;
    add(&store, "a", 1).await?;
    store.wait_for::<second::Versioned>(4, SOON).await?;
    let row = store.rows::<second::Versioned>()?.get("a").await?;
    assert_eq!(
        row,
        Some(second::Versioned {
            seen: 4,
            second: true
        })
    );
    Ok(())
}

/// One projection with other keys and indexes.
mod layouts {
    use std::sync::atomic::AtomicU32;

    use super::*;

    /// The number of projected events.
    pub(super) static PROJECTED: AtomicU32 = AtomicU32::new(0);

    fn text(id: &str) -> String {
        id.to_owned()
    }

    fn pair(id: &str) -> (u8, String) {
        (1, id.to_owned())
    }

    macro_rules! layout {
        ($module:ident, $key:ty, $key_of:path, $sum:ty, $($index:tt)*) => {
            pub(super) mod $module {
                use super::*;

                #[projection(subscribes = [Counter], key = $key, name = "layouts")]
                #[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
                pub(crate) struct Sum {
                    $($index)*
                    pub(crate) sum: $sum,
                }

                impl Locate<Counter> for Sum {
                    fn locate(_: &CounterEvent, cx: &EventContext<'_>) -> Keys<$key> {
                        Keys::one($key_of(cx.stream_id()))
                    }
                }

                impl Project<Counter> for Sum {
                    fn project(&mut self, event: &CounterEvent, _: &EventContext<'_>) {
                        PROJECTED.fetch_add(1, Ordering::SeqCst);
                        if let CounterEvent::Added(by) = event {
                            self.sum += <$sum>::try_from(*by).unwrap();
                        }
                    }
                }
            }
        };
    }

    layout!(plain, String, text, i64,);
    layout!(indexed, String, text, i64, #[index]);
    layout!(narrow, String, text, i32, #[index]);
    layout!(paired, (u8, String), pair, i32, #[index]);
}

#[tokio::test]
async fn another_key_or_index_rebuilds_the_rows_without_an_event() -> TestResult {
    use layouts::{PROJECTED, indexed, narrow, paired, plain};

    let base = tempfile::tempdir()?;
    let builder = || AggregateStore::builder(base.path());
    let projected = || PROJECTED.load(Ordering::SeqCst);
    let store = builder().projection::<plain::Sum>().open().await?;
    add(&store, "a", 2).await?;
    add(&store, "b", 1).await?;
    store.wait_for::<plain::Sum>(2, SOON).await?;
    store.close().await?;
    assert_eq!(projected(), 2);

    // The index is new.
    let store = builder().projection::<indexed::Sum>().open().await?;
    store.wait_for::<indexed::Sum>(2, SOON).await?;
    let rows = store.rows::<indexed::Sum>()?;
    let found = rows.by_range(indexed::Sum::SUM, ..).collect().await?;
    let keys: Vec<_> = found.iter().map(|(key, _)| key.as_str()).collect();
    assert_eq!(keys, ["b", "a"]);
    store.close().await?;
    assert_eq!(projected(), 4);

    // Nothing has changed.
    let store = builder().projection::<indexed::Sum>().open().await?;
    store.wait_for::<indexed::Sum>(2, SOON).await?;
    store.close().await?;
    assert_eq!(projected(), 4);

    // Its values have another type, and so another stored form.
    let store = builder().projection::<narrow::Sum>().open().await?;
    store.wait_for::<narrow::Sum>(2, SOON).await?;
    let rows = store.rows::<narrow::Sum>()?;
    assert_eq!(rows.by(narrow::Sum::SUM, &2).count().await?, 1);
    store.close().await?;
    assert_eq!(projected(), 6);

    let store = builder().projection::<paired::Sum>().open().await?;
    store.wait_for::<paired::Sum>(2, SOON).await?;
    let rows = store.rows::<paired::Sum>()?;
    let row = rows.get(&(1, "a".to_owned())).await?;
    assert_eq!(row, Some(paired::Sum { sum: 2 }));
    assert_eq!(rows.all().count().await?, 2);
    store.close().await?;
    assert_eq!(projected(), 8);

    // The index is gone.
    let store = builder().projection::<plain::Sum>().open().await?;
    store.wait_for::<plain::Sum>(2, SOON).await?;
    let row = store.rows::<plain::Sum>()?.get("b").await?;
    assert_eq!(row, Some(plain::Sum { sum: 1 }));
    assert_eq!(projected(), 10);
    Ok(())
}
