//! Keys are found by the index, wherever that has them: no stream is read for them.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use std::time::Duration;

use eventfold_es::disk::SplitMix64;
use eventfold_es::prelude::*;
use eventfold_es::{Durability, Executed};
use eventfold_es_tests::reads::CountingDisk;
use eventfold_es_tests::{TestResult, copy_directory};

use crate::common::counter::{Counter, CounterCommand, CounterEvent};
use crate::idempotency_keys::{context, counter, keyed, ones};

/// So little of the journal lies between two checkpoints.
const STEP: u64 = 2_000;

type Answer = Executed<CounterEvent>;

/// Sends one command after the other with the keys `k-0`, `k-1`, .., many at a time.
async fn send_keyed(
    store: &AggregateStore,
    count: usize,
) -> Result<Vec<Answer>, Box<dyn std::error::Error>> {
    let handle = store.get::<Counter>("c").await?;
    let mut answers = Vec::with_capacity(count);
    for first in (0..count).step_by(1_000) {
        let tasks = (first..count.min(first + 1_000)).map(|key| {
            let handle = handle.clone();
            let context = keyed(&format!("k-{key}"));
            tokio::spawn(async move { handle.execute(CounterCommand::Add(1), context).await })
        });
        for task in tasks.collect::<Vec<_>>() {
            answers.push(task.await??);
        }
    }
    Ok(answers)
}

#[tokio::test]
async fn a_retry_after_a_restart_reads_little_of_a_long_stream() -> TestResult {
    const KEYS: usize = 10_000;
    // The journal is one file, or mostly archived.
    for max_log_size in [0, 300_000] {
        let base = tempfile::tempdir()?;
        let builder = |disk: &CountingDisk| {
            let builder = AggregateStore::builder(base.path()).disk(Arc::new(disk.clone()));
            let builder = builder.durability(Durability::Flush);
            builder.max_log_size(max_log_size)
        };
        let store = builder(&CountingDisk::default()).snapshot_every(100);
        let store = store.open().await?;
        let answers = send_keyed(&store, KEYS).await?;
        // Until the snapshot is taken.
        tokio::time::sleep(Duration::from_millis(200)).await;
        store.close().await?;

        let disk = CountingDisk::default();
        // Taking one reads the stream, to see whether the state survives.
        let store = builder(&disk).snapshot_every(1_000_000).open().await?;
        assert_eq!(counter(&store, "c").await?.folded, KEYS as u64);
        disk.wait_until_quiet()?;
        let _ = disk.take();
        for key in [0, 17, 5_000, KEYS - 1] {
            let again = store.send("c", CounterCommand::Add(1), keyed(&format!("k-{key}")));
            assert_eq!(again.await?, answers[key]);
            let (journal, index) = disk.take();
            assert!(
                journal <= 80_000,
                "{journal} bytes of the journal for {key}"
            );
            assert!(index <= 60_000, "{index} bytes of the index for {key}");
        }
        let new = store
            .send("c", CounterCommand::Add(1), keyed("new"))
            .await?;
        assert_eq!(new.version, KEYS as u64 + 1);
        assert_eq!(disk.take().0, 0);
        store.close().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_free_key_is_told_without_reading() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = AggregateStore::open(base.path()).await?;
    send_keyed(&store, 500).await?;
    store.close().await?;
    let disk = CountingDisk::default();
    let store = AggregateStore::builder(base.path()).disk(Arc::new(disk.clone()));
    let store = store.snapshot_every(0).open().await?;
    // The first one reads the filter, and others some entries, in vain.
    for key in 0..100 {
        ones(&store, "c", 1, &format!("first-{key}")).await?;
    }
    let _ = disk.take();
    let mut reading = 0;
    for key in 0..1_000 {
        ones(&store, "c", 1, &format!("new-{key}")).await?;
        reading += u32::from(disk.take() != (0, 0));
    }
    assert!(reading <= 5, "{reading} of them have read");
    store.close().await?;
    Ok(())
}

/// Sends some of the commands again.
async fn check(
    store: &AggregateStore,
    answers: &BTreeMap<(String, String), Answer>,
    step: usize,
) -> TestResult {
    for ((id, key), answer) in answers.iter().step_by(step) {
        let count = answer.events.len() as u32;
        assert_eq!(ones(store, id, count, key).await?, *answer, "{key} of {id}");
    }
    let report = store.verify().await?;
    assert!(report.is_clean(), "{report:?}");
    Ok(())
}

/// In memory, in runs and in merged ones, after a crash, and when everything is derived again; against a map.
#[tokio::test]
#[cfg_attr(eventfold_memory_journal, ignore = "it is about the disk")]
async fn keys_are_found_wherever_they_are() -> TestResult {
    let base = tempfile::tempdir()?;
    let mut random = SplitMix64::new(29);
    let mut answers: BTreeMap<(String, String), Answer> = BTreeMap::new();
    let mut events = 0;
    let mut most_runs = 0;
    for round in 0..8 {
        let builder = AggregateStore::builder(base.path());
        let builder = builder.durability(Durability::Flush);
        let store = builder.max_log_size([STEP, 0, 20_000][round % 3]);
        let store = store.open().await?;
        for _ in 0..80 {
            // The same keys on several streams.
            let id = format!("c-{}", random.below(6));
            let key = format!("k-{}", random.below(200));
            let count = 1 + random.below(3) as u32;
            let asked = (id.clone(), key.clone());
            let before = answers.get(&asked);
            let count = before.map_or(count, |answer| answer.events.len() as u32);
            let answer = ones(&store, &id, count, &key).await?;
            match before {
                Some(before) => assert_eq!(answer, *before, "{key} of {id}"),
                None => {
                    events += answer.events.len() as u64;
                    answers.insert(asked, answer);
                }
            }
            if random.chance(1) {
                events += 1;
                store.send(&id, CounterCommand::Add(1), context()).await?;
            }
        }
        check(&store, &answers, 5).await?;
        most_runs = most_runs.max(fs::read_dir(base.path().join("meta/index"))?.count());
        let crashed = tempfile::tempdir()?;
        copy_directory(base.path(), crashed.path())?;
        match round % 4 {
            0 | 2 => store.close().await?,
            1 => drop(store),
            _ => {
                store.close().await?;
                let mut runs = fs::read_dir(base.path().join("meta/index"))?;
                if let Some(run) = runs.next() {
                    fs::remove_file(run?.path())?;
                }
            }
        }
        let store = AggregateStore::builder(crashed.path());
        let store = store.durability(Durability::Flush).open().await?;
        check(&store, &answers, 3).await?;
        store.close().await?;
    }
    AggregateStore::builder(base.path()).repair().await?;
    let store = AggregateStore::open(base.path()).await?;
    check(&store, &answers, 1).await?;
    let mut found = 0;
    for number in 0..6 {
        found += counter(&store, &format!("c-{number}")).await?.folded;
    }
    assert_eq!(found, events);
    assert!(
        most_runs > 2 && answers.len() > 200,
        "{most_runs} {}",
        answers.len()
    );
    store.close().await?;
    Ok(())
}

/// Whatever a checkpoint moves meanwhile, each command happens once.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_happens_twice_while_checkpoints_are_taken() -> TestResult {
    const CLIENTS: usize = 8;
    const KEYS: usize = 150;
    let base = tempfile::tempdir()?;
    let store = AggregateStore::builder(base.path());
    let store = store.durability(Durability::Flush).max_log_size(STEP);
    let store = store.open().await?;
    let clients = (0..CLIENTS).map(|client| {
        let store = store.clone();
        tokio::spawn(async move {
            let mut random = SplitMix64::new(client as u64 / 2);
            for key in 0..KEYS {
                // Two clients send each command, and old ones now and then.
                let id = format!("c-{}", client / 4);
                let key = format!("k-{}-{key}", client / 2);
                let first = ones(&store, &id, 1, &key).await?;
                let old = random.below(KEYS);
                let old = format!("k-{}-{}", client / 2, old.min(KEYS / 2));
                ones(&store, &id, 1, &old).await?;
                assert_eq!(ones(&store, &id, 1, &key).await?, first);
            }
            Ok::<_, eventfold_es::ExecuteError<crate::common::counter::CounterError>>(())
        })
    });
    for client in clients.collect::<Vec<_>>() {
        client.await??;
    }
    for id in ["c-0", "c-1"] {
        let folded = counter(&store, id).await?.folded;
        assert_eq!(folded, (CLIENTS / 4 * KEYS) as u64, "{id}");
    }
    assert!(store.verify().await?.is_clean());
    store.close().await?;
    Ok(())
}
