//! Rows that were changed from outside, or that are of another moment than the journal.

use std::fs;
use std::path::Path;

use eventfold_es::prelude::*;
use eventfold_es_tests::TestResult;

use crate::SOON;
use crate::common::counter::{Counter, CounterCommand, CounterEvent};

#[projection(subscribes = [Counter], key = String)]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Sums {
    sum: i64,
    #[index]
    events: u32,
}

impl Locate<Counter> for Sums {
    fn locate(_: &CounterEvent, cx: &EventContext<'_>) -> Keys<String> {
        Keys::one(cx.stream_id().to_owned())
    }
}

impl Project<Counter> for Sums {
    fn project(&mut self, event: &CounterEvent, _: &EventContext<'_>) {
        if let CounterEvent::Added(by) = event {
            self.sum += by;
            self.events += 1;
        }
    }
}

async fn open(base: &Path) -> Result<AggregateStore, eventfold_es::OpenError> {
    AggregateStore::builder(base)
        .projection::<Sums>()
        .open()
        .await
}

async fn add(store: &AggregateStore, values: std::ops::Range<i64>) -> TestResult {
    for by in values {
        store.send("a", CounterCommand::Add(by), ()).await?;
    }
    Ok(())
}

async fn sum(
    store: &AggregateStore,
    position: u64,
) -> Result<Option<(i64, u32)>, eventfold_es::StoreError> {
    store.wait_for::<Sums>(position, SOON).await?;
    let row = store.rows::<Sums>()?.get("a").await?;
    Ok(row.map(|row| (row.sum, row.events)))
}

#[tokio::test]
async fn a_file_that_is_no_table_is_rebuilt() -> TestResult {
    let base = tempfile::tempdir()?;
    let file = base.path().join("projections/sums/rows.redb");
    let store = open(base.path()).await?;
    add(&store, 0..5).await?;
    assert_eq!(sum(&store, 5).await?, Some((10, 5)));
    store.close().await?;
    let whole = fs::read(&file)?;
    let damaged = [
        Vec::new(),
        vec![7; 10_000],
        whole[..whole.len() / 2].to_vec(),
    ];
    for damaged in damaged {
        fs::write(&file, damaged)?;
        let store = open(base.path()).await?;
        assert_eq!(sum(&store, 5).await?, Some((10, 5)));
        store.close().await?;
    }
    fs::remove_dir_all(base.path().join("projections/sums"))?;
    let store = open(base.path()).await?;
    assert_eq!(sum(&store, 5).await?, Some((10, 5)));
    Ok(())
}

#[tokio::test]
async fn a_changed_row_is_never_returned() -> TestResult {
    let base = tempfile::tempdir()?;
    let file = base.path().join("projections/sums/rows.redb");
    let store = open(base.path()).await?;
    add(&store, 0..5).await?;
    assert_eq!(sum(&store, 5).await?, Some((10, 5)));
    store.close().await?;
    let mut bytes = fs::read(&file)?;
    let row = b"{\"sum\":10,\"events\":5}";
    let mut changed = 0;
    for at in 0..bytes.len() - row.len() {
        if bytes[at..].starts_with(row) {
            bytes[at + 8] = b'9';
            changed += 1;
        }
    }
    assert!(changed > 0);
    fs::write(&file, bytes)?;
    let store = open(base.path()).await?;
    if let Err(error) = store.rows::<Sums>()?.get("a").await {
        let text = error.to_string();
        assert!(
            text.contains("the row \"a\" is not as it was written")
                && text.contains("remove the file"),
            "{text}"
        );
        store.rebuild_projection::<Sums>().await?;
    }
    assert_eq!(sum(&store, 5).await?, Some((10, 5)));
    Ok(())
}

/// The journal of an earlier moment, with rows that are ahead, and of another history with as many events.
#[tokio::test]
async fn rows_of_another_moment_are_rebuilt() -> TestResult {
    let (base, rows) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let file = base.path().join("projections/sums/rows.redb");
    let kept = rows.path().join("rows.redb");
    let store = open(base.path()).await?;
    add(&store, 0..5).await?;
    assert_eq!(sum(&store, 5).await?, Some((10, 5)));
    store.close().await?;
    fs::copy(&file, &kept)?;

    let other = tempfile::tempdir()?;
    for events in [1..3, 10..20] {
        let store = open(other.path()).await?;
        add(&store, events).await?;
        store.close().await?;
        fs::copy(&kept, other.path().join("projections/sums/rows.redb"))?;
        let store = open(other.path()).await?;
        let position = store.health().await.position;
        let counter = store.get::<Counter>("a").await?.state().await?;
        assert_eq!(
            sum(&store, position).await?,
            Some((counter.sum, position as u32))
        );
        store.close().await?;
    }
    Ok(())
}
