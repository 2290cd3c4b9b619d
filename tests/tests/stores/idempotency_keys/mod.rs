//! Commands with idempotency keys: a retry answers as the first one did and does nothing, whatever happened in between.

mod failures;
mod indexed;
mod reactions;
mod reused;
mod stored;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::common::counter::{Counter, CounterCommand, CounterError, CounterEvent};
use eventfold_es::prelude::*;
use eventfold_es::store::InjectOptions;
use eventfold_es::{CommandBus, ExecuteError, Executed};
use eventfold_es_tests::TestResult;

fn keyed(key: &str) -> CommandContext {
    CommandContext::default().with_idempotency_key(key)
}

fn context() -> CommandContext {
    CommandContext::default()
}

async fn ones(
    store: &AggregateStore,
    id: &str,
    count: u32,
    key: &str,
) -> Result<Executed<CounterEvent>, ExecuteError<CounterError>> {
    let command = CounterCommand::AddOnes(count);
    store.send(id, command, keyed(key)).await
}

async fn counter(store: &AggregateStore, id: &str) -> Result<Counter, eventfold_es::Error> {
    Ok(store.get::<Counter>(id).await?.state().await?)
}

#[tokio::test]
async fn a_retry_answers_as_the_first_one_did_and_does_nothing() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = AggregateStore::open(base.path()).await?;
    store
        .send("other", CounterCommand::Add(1), context())
        .await?;
    let first = ones(&store, "c", 3, "k").await?;
    assert_eq!(
        (first.events.len(), first.version, first.position),
        (3, 3, Some(4))
    );
    assert_eq!(ones(&store, "c", 3, "k").await?, first);
    store.send("c", CounterCommand::Add(10), context()).await?;
    let second = ones(&store, "c", 2, "l").await?;
    assert_eq!((second.version, second.position), (6, Some(7)));
    // What came later changes nothing about it.
    assert_eq!(ones(&store, "c", 3, "k").await?, first);
    assert_eq!(ones(&store, "c", 2, "l").await?, second);
    assert_eq!(counter(&store, "c").await?.sum, 15);

    let mut bus = CommandBus::new(store.clone());
    bus.register::<Counter>();
    bus.dispatch("c", CounterCommand::AddOnes(2), keyed("l"))
        .await?;
    assert_eq!(counter(&store, "c").await?.sum, 15);
    Ok(())
}

#[tokio::test]
#[cfg_attr(eventfold_memory_journal, ignore = "it is about the disk")]
async fn a_retry_after_a_restart_answers_as_the_first_one_did() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = AggregateStore::open(base.path()).await?;
    store
        .send("other", CounterCommand::Add(1), context())
        .await?;
    store.send("c", CounterCommand::Add(1), context()).await?;
    let first = ones(&store, "c", 3, "k").await?;
    store.send("c", CounterCommand::Add(1), context()).await?;
    store.close().await?;
    for lost in ["", "meta/checkpoint.json", "meta/index"] {
        let path = base.path().join(lost);
        match lost {
            "" => {}
            "meta/index" => std::fs::remove_dir_all(path)?,
            _ => std::fs::remove_file(path)?,
        }
        let store = AggregateStore::open(base.path()).await?;
        assert_eq!(ones(&store, "c", 3, "k").await?, first, "without {lost:?}");
        assert_eq!(counter(&store, "c").await?.folded, 5);
        store.close().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_retry_after_eviction_answers_as_the_first_one_did() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = AggregateStore::builder(base.path())
        .idle_timeout(Duration::from_millis(1))
        .open()
        .await?;
    let first = ones(&store, "c", 2, "k").await?;
    for _ in 0..10 {
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert_eq!(ones(&store, "c", 2, "k").await?, first);
    }
    assert_eq!(counter(&store, "c").await?.folded, 2);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_duplicates_are_one_commit() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = AggregateStore::open(base.path()).await?;
    for round in 0..20 {
        // Cold and without events, then cold with them, then warm.
        let id = format!("c-{}", round / 2);
        let key = format!("k-{round}");
        let tasks: Vec<_> = (0..64)
            .map(|_| {
                let (store, id, key) = (store.clone(), id.clone(), key.clone());
                tokio::spawn(async move { ones(&store, &id, 2, &key).await })
            })
            .collect();
        let mut answers = Vec::new();
        for task in tasks {
            answers.push(task.await??);
        }
        assert!(answers.iter().all(|answer| *answer == answers[0]));
        assert_eq!(counter(&store, &id).await?.folded, 2 * (1 + round % 2));
    }
    store.close().await?;
    Ok(())
}

#[tokio::test]
async fn a_key_belongs_to_one_aggregate() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = AggregateStore::open(base.path()).await?;
    for id in ["a", "b", "a", "b"] {
        ones(&store, id, 1, "k").await?;
    }
    for id in ["a", "b"] {
        assert_eq!(counter(&store, id).await?.folded, 1);
    }
    Ok(())
}

/// Others write to the aggregate all the time, so that its stream never stands still while its keys are read.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_hot_aggregate_learns_its_keys() -> TestResult {
    const KEYS: usize = 200;
    let base = tempfile::tempdir()?;
    let store = AggregateStore::open(base.path()).await?;
    let mut first = Vec::new();
    for key in 0..KEYS {
        first.push(ones(&store, "hot", 1, &format!("k-{key}")).await?);
    }
    store.close().await?;

    let store = AggregateStore::open(base.path()).await?;
    let is_over = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..32)
        .map(|writer| {
            let (store, is_over) = (store.clone(), Arc::clone(&is_over));
            tokio::spawn(async move {
                let mut added = 0;
                while !is_over.load(Ordering::Relaxed) {
                    // Among them some with keys, which are decided while the others are read.
                    let context = match writer % 4 {
                        0 => keyed(&format!("w-{writer}-{}", added / 2)),
                        _ => context(),
                    };
                    store.send("hot", CounterCommand::Add(1), context).await?;
                    added += 1;
                }
                Ok::<_, ExecuteError<CounterError>>(match writer % 4 {
                    0 => u64::div_ceil(added, 2),
                    _ => added,
                })
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(50)).await;
    let retries = async {
        for (key, first) in first.iter().enumerate() {
            let again = ones(&store, "hot", 1, &format!("k-{key}")).await?;
            assert_eq!(again, *first);
        }
        let event = CounterEvent::Added(1).to_event()?.with_id("e-1");
        for _ in 0..2 {
            let options = InjectOptions::default();
            store
                .inject_event::<Counter>("hot", event.clone(), options)
                .await?;
        }
        // Also those that were stored while the ids were read.
        for event in store.read_events("counter", "hot").await? {
            let options = InjectOptions::default();
            store.inject_event::<Counter>("hot", event, options).await?;
        }
        Ok::<_, eventfold_es::Error>(())
    };
    tokio::time::timeout(Duration::from_secs(60), retries).await??;
    is_over.store(true, Ordering::Relaxed);
    let mut expected = KEYS as u64 + 1;
    for writer in writers {
        expected += writer.await??;
    }
    assert_eq!(counter(&store, "hot").await?.folded, expected);
    Ok(())
}

/// A store keeps the promise for events of other stores as well: their id is their key.
#[tokio::test]
async fn an_injected_event_is_known_by_its_id_after_a_restart_and_after_eviction() -> TestResult {
    let base = tempfile::tempdir()?;
    let event = CounterEvent::Added(5).to_event()?.with_id("e-1");
    let options = InjectOptions::default();
    for round in 0..3 {
        let store = AggregateStore::builder(base.path())
            .idle_timeout(Duration::from_millis(1))
            .open()
            .await?;
        for _ in 0..3 {
            store
                .inject_event::<Counter>("c", event.clone(), options)
                .await?;
            // Its line has no key, so that its id is all that it is known by.
            ones(&store, "c", 1, "k").await?;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let expected = Counter { sum: 6, folded: 2 };
        assert_eq!(counter(&store, "c").await?, expected, "{round}");
        store.close().await?;
    }
    Ok(())
}
