//! Scenario 38: descriptors are bounded, whatever the number of live aggregates. The test starts itself under a limit.

use std::collections::BTreeMap;
use std::env;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use eventfold_es::disk::SystemDisk;
use eventfold_es::prelude::*;
use eventfold_es::{ExecuteError, StoreError};
use eventfold_es_tests::crash::domain::{Ledger, LedgerCommand};
use eventfold_es_tests::crash::{builder, scratch};

const STORE: &str = "EVENTFOLD_FEW_DESCRIPTORS";
const AGGREGATES: u64 = 10_000;
const LIMIT: u32 = 256;

#[test]
fn scenario_38_ten_thousand_live_aggregates_under_a_limit_of_256_descriptors() {
    if let Ok(store) = env::var(STORE) {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(2).enable_time().build().unwrap();
        runtime.block_on(live(Path::new(&store)));
        return;
    }
    let name = "scenario_38_ten_thousand_live_aggregates_under_a_limit_of_256_descriptors";
    let place = scratch();
    assert!(told_under_the_limit(place.path(), name).contains("10000 aggregates are live"));
}

/// Runs a test of this file under the limit.
fn told_under_the_limit(store: &Path, name: &str) -> String {
    let output = Command::new("sh")
        .arg("-c")
        .arg(format!(
            "ulimit -n {LIMIT} && exec \"$0\" --exact scenarios::few_descriptors::{name} --nocapture"
        ))
        .arg(env::current_exe().unwrap())
        .env(STORE, store)
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}\n{complaint}");
    told.into_owned()
}

/// The rest of the program needs all descriptors that there are, for moments: what cannot be done then fails and changes nothing,
/// or is done later. A directory that could not be opened, in order to sync it, poisoned the store.
#[test]
fn scenario_38_descriptors_run_out_again_and_again() {
    if let Ok(store) = env::var(STORE) {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(2).enable_time().build().unwrap();
        runtime.block_on(work_without_descriptors(Path::new(&store)));
        return;
    }
    let place = scratch();
    let told = told_under_the_limit(
        place.path(),
        "scenario_38_descriptors_run_out_again_and_again",
    );
    assert!(told.contains("all of them are there"), "{told}");
}

async fn work_without_descriptors(path: &Path) {
    let open = || {
        builder(path, Arc::new(SystemDisk), true)
            .max_log_size(2_000)
            .snapshot_every(2)
            .idle_timeout(Duration::from_millis(1))
            .open()
    };
    let store = open().await.unwrap();
    let over = Arc::new(AtomicBool::new(false));
    let taker = std::thread::spawn({
        let over = Arc::clone(&over);
        move || {
            while !over.load(Ordering::Relaxed) {
                // Also whatever is given back meanwhile.
                let mut files = Vec::new();
                let begun = Instant::now();
                while begun.elapsed() < Duration::from_millis(4) {
                    files.extend(std::fs::File::open("/dev/null"));
                }
                drop(files);
                std::thread::sleep(Duration::from_millis(2));
            }
        }
    });
    let (mut kept, mut failed) = (BTreeMap::new(), 0);
    // A command needs a descriptor only if it reads a part of the archive for the first time.
    for tag in 0..20_000 {
        if tag >= 400 && failed > 0 {
            break;
        }
        let id = ["a", "b", "c"][tag as usize % 3];
        let command = LedgerCommand::Put { tag, parts: 1 };
        match store.send(id, command, CommandContext::default()).await {
            Ok(_) => kept.entry(id).or_insert_with(Vec::new).push(tag),
            Err(ExecuteError::Store(StoreError::File(_))) => failed += 1,
            Err(error) => panic!("{error}"),
        }
    }
    over.store(true, Ordering::Relaxed);
    taker.join().unwrap();
    assert!(failed > 0, "there were always descriptors");
    for (id, tags) in &kept {
        let ledger = store.get::<Ledger>(id).await.unwrap();
        assert_eq!(ledger.state().await.unwrap().tags, *tags);
    }
    store.close().await.unwrap();
    let store = open().await.unwrap();
    for (id, tags) in &kept {
        let ledger = store.get::<Ledger>(id).await.unwrap();
        assert_eq!(ledger.state().await.unwrap().tags, *tags);
    }
    store.close().await.unwrap();
    println!("{failed} commands failed, and of the others all of them are there");
}

async fn live(path: &Path) {
    // The limit is one.
    let files: Vec<_> = (0..LIMIT)
        .map_while(|_| std::fs::File::open("/dev/null").ok())
        .collect();
    assert!(files.len() < LIMIT as usize);
    drop(files);
    let store = AggregateStore::open(path).await.unwrap();
    let mut commands = Vec::new();
    for number in 0..AGGREGATES {
        let ledger = store.get::<Ledger>(&format!("l-{number}")).await.unwrap();
        commands.push(tokio::spawn(async move {
            let command = LedgerCommand::Put { tag: 240, parts: 1 };
            ledger
                .execute(command, CommandContext::default())
                .await
                .unwrap();
            ledger
        }));
    }
    let mut handles = Vec::new();
    for command in commands {
        handles.push(command.await.unwrap());
    }
    for handle in &handles {
        assert_eq!(handle.state().await.unwrap().entries, 1);
    }
    drop(handles);
    store.close().await.unwrap();

    // And all at once from their files.
    let store = AggregateStore::open(path).await.unwrap();
    let mut reads = Vec::new();
    for number in 0..AGGREGATES {
        let store = store.clone();
        reads.push(tokio::spawn(async move {
            let id = format!("l-{number}");
            let ledger = store.get::<Ledger>(&id).await.unwrap();
            assert_eq!(ledger.state().await.unwrap().entries, 1);
            ledger
        }));
    }
    let mut handles = Vec::new();
    for read in reads {
        handles.push(read.await.unwrap());
    }
    println!("{} aggregates are live", handles.len());
    drop(handles);
    store.close().await.unwrap();
}
