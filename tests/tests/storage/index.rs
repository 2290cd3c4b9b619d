//! The index, which tells where in the journal the events of streams are: it is small, and made again from the journal when it is lost.

mod long_streams;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::common::counter::{Counter, CounterCommand};
use eventfold_es::prelude::*;
use eventfold_es::{ExecuteError, StoreError};
use eventfold_es_tests::crash::scratch;
use eventfold_es_tests::{TestResult, copy_directory};

/// So little of the journal lies between two checkpoints.
const STEP: u64 = 2_000;

async fn open(base: &Path, max_log_size: u64) -> Result<AggregateStore, eventfold_es::OpenError> {
    let builder = AggregateStore::builder(base).max_log_size(max_log_size);
    builder.open().await
}

async fn add(
    store: &AggregateStore,
    id: &str,
    ones: u32,
) -> Result<(), ExecuteError<crate::common::counter::CounterError>> {
    let done = store.send(id, CounterCommand::AddOnes(ones), ()).await;
    done.map(drop)
}

async fn count(store: &AggregateStore, id: &str) -> Result<usize, StoreError> {
    Ok(store.read_events("counter", id).await?.len())
}

fn runs(base: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(base.join("meta/index")).unwrap();
    let mut runs: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    runs.sort();
    runs
}

#[tokio::test]
async fn many_streams_are_few_files_and_found_again() -> TestResult {
    const STREAMS: usize = 3_000;
    let base = scratch();
    let store = open(base.path(), 200_000).await?;
    let mut clients = Vec::new();
    for client in 0..16 {
        let store = store.clone();
        clients.push(tokio::spawn(async move {
            for number in (client..STREAMS).step_by(16) {
                add(&store, &format!("c-{number}"), 1 + number as u32 % 3).await?;
            }
            Ok::<_, ExecuteError<_>>(())
        }));
    }
    for client in clients {
        client.await??;
    }
    store.close().await?;
    let mut files = 0;
    let mut left = vec![base.path().to_owned()];
    while let Some(directory) = left.pop() {
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            files += 1;
            if entry.file_type()?.is_dir() {
                left.push(entry.path());
            }
        }
    }
    assert!(files < 40, "{files} files and directories");
    let store = open(base.path(), 200_000).await?;
    assert_eq!(store.recovery().redone_commits, 0);
    let mut ids: Vec<_> = (0..STREAMS).map(|number| format!("c-{number}")).collect();
    ids.sort();
    assert_eq!(store.list::<Counter>().await?, ids);
    for number in (0..STREAMS).step_by(7) {
        assert_eq!(count(&store, &format!("c-{number}")).await?, 1 + number % 3);
    }
    for unknown in ["c-", "c-3000", "c-1 ", ""] {
        let read = count(&store, unknown).await;
        assert!(
            matches!(read, Err(StoreError::UnknownStream { .. })),
            "{read:?}"
        );
    }
    store.close().await?;
    Ok(())
}

/// What a reader sees is never less than what was acknowledged before, while appends go from memory to a run; nor is it when nothing comes
/// behind the last checkpoint.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_missing_while_checkpoints_are_taken() -> TestResult {
    const CLIENTS: usize = 8;
    const COMMANDS: u64 = 6;
    let base = scratch();
    let store = open(base.path(), STEP).await?;
    let done: Arc<Vec<AtomicU64>> = Arc::new((0..CLIENTS).map(|_| AtomicU64::new(0)).collect());
    let mut looks = 0;
    for round in 1..=60 {
        let clients = (0..CLIENTS).map(|client| {
            let (store, done) = (store.clone(), Arc::clone(&done));
            tokio::spawn(async move {
                for _ in 0..COMMANDS {
                    add(&store, &format!("c-{client}"), 1).await.unwrap();
                    done[client].fetch_add(1, Ordering::Relaxed);
                }
            })
        });
        let clients: Vec<_> = clients.collect();
        while !clients.iter().all(tokio::task::JoinHandle::is_finished) {
            let client = looks % CLIENTS;
            let at_least = done[client].load(Ordering::Relaxed) as usize;
            if at_least > 0 {
                let found = count(&store, &format!("c-{client}")).await?;
                assert!(found >= at_least, "{found} of {at_least}");
            }
            looks += 1;
        }
        for (client, running) in clients.into_iter().enumerate() {
            running.await?;
            let found = count(&store, &format!("c-{client}")).await?;
            assert_eq!(found as u64, round * COMMANDS);
        }
    }
    assert!(looks > 20 && runs(base.path()).len() > 1, "{looks}");
    assert!(store.verify().await?.is_clean());
    store.close().await?;
    Ok(())
}

#[tokio::test]
async fn merged_runs_stay_until_no_checkpoint_lists_them() -> TestResult {
    let (base, second) = (scratch(), scratch());
    let store = open(base.path(), STEP).await?;
    let begun = Instant::now();
    let mut commands = 0;
    // The file of a merged run comes when there are eight.
    while runs(base.path()).len() < 9 {
        assert!(begun.elapsed() < Duration::from_secs(20));
        add(&store, &format!("c-{}", commands % 5), 2).await?;
        commands += 1;
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    copy_directory(base.path(), second.path())?;
    store.close().await?;
    let store = open(second.path(), 0).await?;
    let recovery = store.recovery();
    let redone = recovery.redone_commits + recovery.reindexed_commits;
    assert!(redone < commands / 2, "{redone} of {commands}");
    let mut found = 0;
    for number in 0..5 {
        found += count(&store, &format!("c-{number}")).await? as u64;
    }
    assert_eq!(found, 2 * commands);
    store.close().await?;
    // The next checkpoint does not list them, and they are gone.
    let store = open(base.path(), STEP).await?;
    for _ in 0..40 {
        add(&store, "c-0", 2).await?;
    }
    store.close().await?;
    let left = runs(base.path());
    assert!(
        !left.iter().any(|path| path.ends_with("000001.run")),
        "{left:?}"
    );
    Ok(())
}

#[tokio::test]
async fn a_run_of_another_store_is_not_believed() -> TestResult {
    let bases = [scratch(), scratch()];
    for (base, id) in bases.iter().zip(["ours", "else"]) {
        let store = open(base.path(), 0).await?;
        add(&store, id, 3).await?;
        store.close().await?;
    }
    let [ours, other] = bases.each_ref().map(|base| runs(base.path()));
    fs::copy(&other[0], &ours[0])?;
    let store = open(bases[0].path(), 0).await?;
    assert_eq!(store.recovery().reindexed_commits, 1);
    assert_eq!(store.list::<Counter>().await?, ["ours"]);
    assert_eq!(count(&store, "ours").await?, 3);
    store.close().await?;
    Ok(())
}

#[tokio::test]
async fn a_damaged_run_is_made_again_at_the_next_opening() -> TestResult {
    let base = scratch();
    let store = open(base.path(), 0).await?;
    for number in 0..50 {
        add(&store, &format!("c-{number}"), 2).await?;
    }
    store.close().await?;
    let [run] = &runs(base.path())[..] else {
        panic!("{:?}", runs(base.path()));
    };
    let mut bytes = fs::read(run)?;
    bytes[60] ^= 1;
    fs::write(run, bytes)?;
    // Nothing of it is read when the store is opened.
    let store = open(base.path(), 0).await?;
    assert_eq!(store.recovery().redone_commits, 0);
    let read = count(&store, "c-7").await;
    let Err(StoreError::Damaged(damage)) = read else {
        panic!("{read:?}");
    };
    assert_eq!(damage.path, *run);
    // What was not asked for goes on, and what is new.
    add(&store, "new", 1).await?;
    store.close().await?;
    let store = open(base.path(), 0).await?;
    let recovery = store.recovery();
    assert_eq!(
        (recovery.redone_commits, recovery.reindexed_commits),
        (0, 50)
    );
    assert_eq!(count(&store, "new").await?, 1);
    for number in 0..50 {
        assert_eq!(count(&store, &format!("c-{number}")).await?, 2);
    }
    assert!(store.verify().await?.is_clean());
    store.close().await?;
    Ok(())
}

/// Streams of all lengths, with checkpoints and reopened now and then, against a map in memory.
#[tokio::test]
async fn random_streams_are_those_of_a_map() -> TestResult {
    let base = scratch();
    let mut random = eventfold_es::disk::SplitMix64::new(13);
    let mut expected: BTreeMap<String, usize> = BTreeMap::new();
    for round in 0..8 {
        let store = open(base.path(), [STEP, 0, 20_000][round % 3]).await?;
        for _ in 0..60 {
            let id = format!("c-{}", random.below(25 + 5 * round));
            let ones = 1 + random.below(5) as u32;
            add(&store, &id, ones).await?;
            *expected.entry(id).or_default() += ones as usize;
        }
        for (id, events) in &expected {
            assert_eq!(count(&store, id).await?, *events, "{id}");
        }
        let ids: Vec<_> = expected.keys().cloned().collect();
        assert_eq!(store.list::<Counter>().await?, ids);
        for id in ["c-1", "c-99"] {
            let exists = store.get::<Counter>(id).await?.exists().await?;
            assert_eq!(exists, expected.contains_key(id));
        }
        let report = store.verify().await?;
        assert!(report.is_clean(), "{report:?}");
        assert_eq!(report.streams, expected.len() as u64);
        match round % 2 {
            0 => store.close().await?,
            _ => drop(store),
        }
    }
    Ok(())
}
