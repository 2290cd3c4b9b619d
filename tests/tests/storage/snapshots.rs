//! When the states of aggregates are saved, and that nobody notices where a state comes from.

use std::collections::BTreeSet;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use crate::common::counter::{Counter, CounterCommand};
use crate::common::saved::{Place, content, forge, place, version, wait_for_version};
use eventfold_es::disk::{Failure, Fault, FaultyDisk, Operation, SystemDisk};
use eventfold_es::prelude::*;
use eventfold_es::store::AggregateStoreBuilder;
use eventfold_es::store::InjectOptions;
use eventfold_es::{AggregateHandle, ExecuteError};
use eventfold_es_tests::TestResult;
use eventfold_es_tests::gate::GatedDisk;

const NEVER: u64 = u64::MAX;

fn context() -> CommandContext {
    CommandContext::default()
}

fn builder(base: &Path, every: u64) -> AggregateStoreBuilder {
    AggregateStore::builder(base).snapshot_every(every)
}

/// Waits until the snapshot has seen so many events, and uses the aggregate meanwhile: one that is due while another is saved is
/// taken at the next use.
async fn settle_until(counter: &AggregateHandle<Counter>, file: &Place, wanted: u64) -> TestResult {
    let begun = Instant::now();
    while version(file) != wanted {
        assert!(begun.elapsed() < Duration::from_secs(20));
        counter.state().await?;
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    Ok(())
}

async fn wait_at(gate: &GatedDisk) {
    let gate = gate.clone();
    let waiting = tokio::task::spawn_blocking(move || gate.wait_for_sync());
    waiting.await.unwrap();
}

fn counting_disk() -> FaultyDisk {
    FaultyDisk::new(Arc::new(SystemDisk))
}

#[tokio::test]
async fn every_so_many_events_and_not_with_every_command() -> TestResult {
    let base = tempfile::tempdir()?;
    let disk = counting_disk();
    let store = builder(base.path(), 10)
        .disk(Arc::new(disk.clone()))
        .open()
        .await?;
    let renamed = disk.calls_of(&[Operation::Rename]);
    let file = place(&store, "counter", "c");
    let mut taken = BTreeSet::new();
    let counter = store.get::<Counter>("c").await?;
    for done in 1..=45 {
        counter.execute(CounterCommand::Add(1), context()).await?;
        assert_eq!(counter.state().await?.sum, done);
        let wanted = done as u64 / 10 * 10;
        wait_for_version(&file, wanted).await;
        taken.insert(version(&file));
    }
    assert_eq!(Vec::from_iter(taken), [0, 10, 20, 30, 40]);

    // A command with many events is one occasion.
    counter
        .execute(CounterCommand::AddOnes(35), context())
        .await?;
    assert_eq!(counter.state().await?.sum, 80);
    wait_for_version(&file, 80).await;
    // The disk has them from the next checkpoint on: none of it was written for a snapshot.
    assert_eq!(disk.calls_of(&[Operation::Rename]), renamed);
    store.close().await?;
    let store = builder(base.path(), 10).open().await?;
    assert_eq!(version(&place(&store, "counter", "c")), 80);
    Ok(())
}

#[tokio::test]
async fn by_default_every_hundred_events() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = AggregateStore::open(base.path()).await?;
    let file = place(&store, "counter", "c");
    let counter = store.get::<Counter>("c").await?;
    let mut taken = BTreeSet::new();
    for done in 1..=205_u64 {
        counter.execute(CounterCommand::Add(1), context()).await?;
        counter.state().await?;
        wait_for_version(&file, done / 100 * 100).await;
        taken.insert(version(&file));
    }
    assert_eq!(Vec::from_iter(taken), [0, 100, 200]);
    Ok(())
}

/// What is evicted comes back from its snapshot: the test writes another sum into it, and that is what comes back.
#[tokio::test]
async fn at_eviction() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = builder(base.path(), NEVER)
        .idle_timeout(Duration::from_millis(5))
        .open()
        .await?;
    let file = place(&store, "counter", "c");
    let counter = store.get::<Counter>("c").await?;
    counter
        .execute(CounterCommand::AddOnes(20), context())
        .await?;
    wait_for_version(&file, 20).await;
    forge(&file, |content| content["state"]["sum"] = 1000.into());
    for patience in 1.. {
        if counter.state().await?.sum == 1000 {
            break;
        }
        assert!(patience < 200, "it stays in memory");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // Without new events there is nothing to save.
    forge(&file, |content| content["state"]["folded"] = 7.into());
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(content(&file).unwrap()["state"]["folded"], 7);
    forge(&file, |content| content["state"]["folded"] = 20.into());
    // A few are not worth it.
    for version in 21..36 {
        let done = counter.execute(CounterCommand::Add(1), context()).await?;
        assert_eq!(done.version, version);
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(version(&file), 20);
    assert_eq!(counter.state().await?.sum, 1015);
    let done = counter.execute(CounterCommand::Add(1), context()).await?;
    assert_eq!(done.version, 36);
    wait_for_version(&file, 36).await;
    Ok(())
}

/// Thousands of aggregates with an event or two do not leave thousands of snapshots.
#[tokio::test]
async fn small_aggregates_are_evicted_without_a_snapshot() -> TestResult {
    let base = tempfile::tempdir()?;
    let disk = counting_disk();
    let store = builder(base.path(), NEVER)
        .disk(Arc::new(disk.clone()))
        .idle_timeout(Duration::from_millis(2))
        .open()
        .await?;
    let counter = store.get::<Counter>("c").await?;
    for version in 1..=15 {
        let done = counter.execute(CounterCommand::Add(1), context()).await?;
        assert_eq!(done.version, version);
        // Until it was evicted, and is read again.
        let reads = disk.calls_of(&[Operation::Read]);
        while disk.calls_of(&[Operation::Read]) == reads {
            tokio::time::sleep(Duration::from_millis(5)).await;
            assert_eq!(counter.state().await?.folded, version);
        }
    }
    assert_eq!(version(&place(&store, "counter", "c")), 0);
    store.close().await?;
    Ok(())
}

#[tokio::test]
async fn a_handle_does_not_notice() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = builder(base.path(), 3)
        .idle_timeout(Duration::from_millis(2))
        .open()
        .await?;
    let handles = [
        store.get::<Counter>("c").await?,
        store.get::<Counter>("c").await?,
    ];
    let mut expected = Counter::default();
    for round in 1..=60 {
        for handle in &handles {
            let done = handle.execute(CounterCommand::Add(round), context());
            expected.sum += round;
            expected.folded += 1;
            assert_eq!(done.await?.version, expected.folded);
            assert_eq!(handle.state().await?, expected);
        }
        tokio::time::sleep(Duration::from_millis([0, 1, 8][round as usize % 3])).await;
    }
    store.close().await?;
    let store = builder(base.path(), 0).open().await?;
    let counter = store.get::<Counter>("c").await?;
    assert_eq!(counter.state().await?, expected, "all events folded");
    Ok(())
}

/// Loading reads what is behind the snapshot: nobody looks at a damaged beginning of 100,000 events, but who reads it is told.
#[tokio::test]
async fn loading_reads_the_events_behind_the_snapshot_only() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = builder(base.path(), 1000).open().await?;
    let counter = store.get::<Counter>("c").await?;
    for _ in 0..100 {
        counter
            .execute(CounterCommand::AddOnes(1000), context())
            .await?;
    }
    settle_until(&counter, &place(&store, "counter", "c"), 100_000).await?;
    counter
        .execute(CounterCommand::AddOnes(7), context())
        .await?;
    store.close().await?;

    let journal = base.path().join("meta/journal/app.jsonl");
    let mut bytes = std::fs::read(&journal)?;
    bytes[440] ^= 1;
    std::fs::write(&journal, bytes)?;
    let store = builder(base.path(), 1000).open().await?;
    let counter = store.get::<Counter>("c").await?;
    let state = counter.state().await?;
    assert_eq!((state.sum, state.folded), (100_007, 100_007));
    assert_eq!(
        counter
            .execute(CounterCommand::Add(1), context())
            .await?
            .version,
        100_008
    );
    store.read_events("counter", "c").await.unwrap_err();
    store.close().await?;
    let store = builder(base.path(), 0).open().await?;
    let counter = store.get::<Counter>("c").await?;
    counter.state().await.unwrap_err();
    Ok(())
}

#[tokio::test]
async fn zero_means_none_is_taken_and_none_is_used() -> TestResult {
    let base = tempfile::tempdir()?;
    let open = |every| {
        builder(base.path(), every)
            .idle_timeout(Duration::from_millis(2))
            .open()
    };
    let store = open(0).await?;
    let counter = store.get::<Counter>("c").await?;
    for _ in 0..5 {
        let add = counter.execute(CounterCommand::AddOnes(4), context());
        add.await?;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(version(&place(&store, "counter", "c")), 0);
    store.close().await?;

    let store = open(NEVER).await?;
    let counter = store.get::<Counter>("c").await?;
    counter.state().await?;
    let file = place(&store, "counter", "c");
    wait_for_version(&file, 20).await;
    forge(&file, |content| content["state"]["sum"] = 1000.into());
    store.close().await?;

    let store = open(0).await?;
    let counter = store.get::<Counter>("c").await?;
    assert_eq!(counter.state().await?.sum, 20);
    store.close().await?;
    let store = open(NEVER).await?;
    let counter = store.get::<Counter>("c").await?;
    assert_eq!(counter.state().await?.sum, 1000, "else this shows nothing");
    Ok(())
}

/// The snapshot has one of these sums, and is that of as many events.
fn assert_saved(file: &Place, sums: &[u64]) {
    let content = content(file).unwrap();
    assert_eq!(content["state"]["sum"], content["version"]);
    assert!(sums.contains(&version(file)), "{content}");
}

/// What is handed over and not durable is in no snapshot.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_what_is_durable_is_saved() -> TestResult {
    let base = tempfile::tempdir()?;
    let gate = GatedDisk::default();
    let disk = Arc::new(FaultyDisk::new(Arc::new(gate.clone())));
    let store = builder(base.path(), 1).disk(disk.clone()).open().await?;
    let file = place(&store, "counter", "c");
    let counter = store.get::<Counter>("c").await?;
    counter.execute(CounterCommand::Add(1), context()).await?;
    counter.execute(CounterCommand::Add(1), context()).await?;
    settle_until(&counter, &file, 2).await?;

    gate.close();
    let mut waker = Context::from_waker(Waker::noop());
    let mut first = pin!(counter.execute(CounterCommand::Add(1), context()));
    assert!(first.as_mut().poll(&mut waker).is_pending());
    wait_at(&gate).await;
    let mut pending = pin!(counter.execute(CounterCommand::AddOnes(4), context()));
    assert!(pending.as_mut().poll(&mut waker).is_pending());
    gate.let_one_pass();
    first.await?;
    wait_at(&gate).await;
    for _ in 0..10 {
        assert_eq!(counter.state().await?.sum, 3);
        tokio::time::sleep(Duration::from_millis(5)).await;
        assert_saved(&file, &[2, 3]);
    }
    // Nor is what a failure undid.
    let is_journal = |path: &Path| path.ends_with("journal/app.jsonl");
    disk.inject(
        Fault::starting(0, Failure::EIO)
            .on(&[Operation::SyncData])
            .at(is_journal),
    );
    // The sync that waits at the gate has passed the faulty disk: this command is the one that fails.
    gate.open();
    pending.await?;
    let failed = counter.execute(CounterCommand::AddOnes(90), context());
    let failed = failed.await.unwrap_err();
    assert!(
        matches!(failed, ExecuteError::OutcomeUnknown { .. }),
        "{failed}"
    );
    for _ in 0..10 {
        assert_eq!(counter.state().await?.sum, 7);
        tokio::time::sleep(Duration::from_millis(5)).await;
        assert_saved(&file, &[2, 3, 7]);
    }
    Ok(())
}

/// What waits for a checkpoint that fails is saved by the next one.
#[tokio::test]
async fn a_snapshot_that_cannot_be_written_is_tried_again_later() -> TestResult {
    let base = tempfile::tempdir()?;
    let disk = counting_disk();
    let is_of_snapshots = |path: &Path| {
        path.parent()
            .is_some_and(|path| path.ends_with("snapshots"))
    };
    let store = builder(base.path(), 5)
        .disk(Arc::new(disk.clone()))
        .max_log_size(2_000)
        .open()
        .await?;
    let file = place(&store, "counter", "c");
    let counter = store.get::<Counter>("c").await?;
    disk.inject(
        Fault::starting(0, Failure::ENOSPC)
            .on(&[Operation::Write])
            .at(is_of_snapshots),
    );
    for done in 1..=20 {
        counter.execute(CounterCommand::Add(1), context()).await?;
        assert_eq!(counter.state().await?.sum, done);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(!disk.hits().is_empty());
    wait_for_version(&file, 20).await;
    disk.clear();
    store.close().await?;
    let store = builder(base.path(), 5).open().await?;
    assert_eq!(version(&place(&store, "counter", "c")), 20);
    Ok(())
}

/// Also where each is in a run of its own, and when those were merged.
#[tokio::test]
async fn the_newest_counts() -> TestResult {
    let base = tempfile::tempdir()?;
    for round in 1..=20 {
        let store = builder(base.path(), 1).open().await?;
        let file = place(&store, "counter", "c");
        assert_eq!(version(&file), round - 1);
        let counter = store.get::<Counter>("c").await?;
        counter.execute(CounterCommand::Add(1), context()).await?;
        settle_until(&counter, &file, round).await?;
        // Long enough for a merge, now and then.
        tokio::time::sleep(Duration::from_millis(10 * (round % 5))).await;
        store.close().await?;
    }
    Ok(())
}

/// The ids of injected events are found in the whole stream, not behind the snapshot only.
#[tokio::test]
async fn an_injected_event_is_known_behind_a_snapshot() -> TestResult {
    let base = tempfile::tempdir()?;
    let event = |id: &str| eventfold::Event::new("Added", 1.into()).with_id(id.to_owned());
    let store = builder(base.path(), 1).open().await?;
    for id in ["one", "two"] {
        let injected = store.inject_event::<Counter>("c", event(id), InjectOptions::default());
        injected.await?;
    }
    let counter = store.get::<Counter>("c").await?;
    settle_until(&counter, &place(&store, "counter", "c"), 2).await?;
    store.close().await?;
    let store = builder(base.path(), 1).open().await?;
    let injected = store.inject_event::<Counter>("c", event("one"), InjectOptions::default());
    injected.await?;
    let counter = store.get::<Counter>("c").await?;
    assert_eq!(counter.state().await?.sum, 2);
    Ok(())
}
