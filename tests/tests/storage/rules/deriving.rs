//! Rules 7, 10 and 11: what is derived from the journal may lag, be damaged or be missing.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use eventfold_es::disk::{
    CrashImage, Failure, Fault, Operation, RecordingDisk, Survival, SystemDisk,
};
use eventfold_es::prelude::*;
use eventfold_es::store::{InjectOptions, ProcessManagerReport};
use eventfold_es::{ExecuteError, RunMode, StoreError};
use eventfold_es_tests::crash::domain::{Fanout, Ledger, LedgerCommand, LedgerEvent, Tally};
use eventfold_es_tests::crash::{Bench, Fixture, builder, open_on, scratch};

fn is_letters(path: &Path) -> bool {
    path.ends_with("dead_letters.jsonl")
}

/// Dead letters that cannot be written fall behind: what is stored meanwhile is read, and when too much of it waits behind them,
/// commands are refused before they reach the journal. When the file can be written, everything goes on.
#[tokio::test]
async fn rule_07_what_cannot_be_written_beside_the_journal_waits_until_it_is_too_much() {
    let bench = Bench::default();
    let store = bench.open(RunMode::Inline).await.unwrap();
    let writes = [Operation::Open, Operation::Write, Operation::CreateDir];
    let fault = Fault::starting(0, Failure::ENOSPC).on(&writes);
    bench.disk.inject(fault.at(is_letters));
    // One of the commands that it causes is rejected.
    let command = LedgerCommand::Put { tag: 100, parts: 1 };
    store.send("a", command, ()).await.unwrap();
    let text = "x".repeat(4 << 20);
    let mut stored: u32 = 0;
    let reason = loop {
        let event = LedgerEvent::Entry {
            tag: 2 * u64::from(stored) + 1,
            part: 0,
            of: 1,
            text: text.clone(),
        };
        let event = event.to_event().unwrap();
        let injected = store.inject_event::<Ledger>("a", event, InjectOptions::default());
        match injected.await {
            Ok(()) => stored += 1,
            Err(StoreError::Refused { reason }) => break reason,
            Err(other) => panic!("{other}"),
        }
        assert!(stored < 64, "256 MiB are in memory");
    };
    assert!(reason.contains("cannot be written"), "{reason}");
    assert!(stored >= 8, "{stored}");
    let ledger = store.get::<Ledger>("a").await.unwrap();
    assert_eq!(ledger.state().await.unwrap().entries, u64::from(stored) + 1);
    let read = store.read_events("ledger", "a").await.unwrap();
    assert_eq!(read.len(), stored as usize + 1);
    bench.disk.clear();
    // The files are tried again by themselves.
    loop {
        let command = LedgerCommand::Put { tag: 999, parts: 1 };
        match ledger.execute(command, CommandContext::default()).await {
            Ok(done) => break assert_eq!(done.version, u64::from(stored) + 2),
            Err(ExecuteError::Store(StoreError::Refused { .. })) => {
                tokio::task::yield_now().await;
            }
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!(store.dead_letters::<Fanout>().await.unwrap().len(), 1);
    store.close().await.unwrap();
    let letters = bench
        .store()
        .join("process_managers/fanout/dead_letters.jsonl");
    assert_eq!(fs::read_to_string(letters).unwrap().lines().count(), 1);
}

/// Otherwise a checkpoint would say that the journal need not be read for them.
#[tokio::test]
async fn rule_07_no_checkpoint_passes_dead_letters_that_lag() {
    let bench = Bench::default();
    let store = bench.open(RunMode::Inline).await.unwrap();
    let client = bench.client(&store);
    let fault = Fault::starting(0, Failure::ENOSPC).on(&[Operation::Write]);
    bench.disk.inject(fault.at(is_letters));
    client.put("a", 2, 1).await.unwrap();
    drop(client);
    store.close().await.unwrap();
    assert!(!bench.store().join("meta/checkpoint.json").exists());
    bench.disk.clear();
    let store = bench.open(RunMode::OnDemand).await.unwrap();
    assert!(store.recovery().redone_commits > 0);
    assert_eq!(store.dead_letters::<Fanout>().await.unwrap().len(), 1);
    store.close().await.unwrap();
    bench.check().await.unwrap();
}

/// Where a process manager begins is durable when `open` returns; one that is not registered keeps its place over
/// checkpoints.
#[tokio::test]
async fn rule_10_the_place_of_a_process_manager_is_kept() {
    let place = scratch();
    let disk = RecordingDisk::new(place.path()).unwrap();
    let store = open_on(&disk, &place.path().join("store"), true, RunMode::OnDemand).await;
    let recording = disk.recording();
    store.close().await.unwrap();
    let lost = CrashImage::power_loss(&recording, &Survival::Nothing).unwrap();
    let journal = lost
        .file("store/meta/journal/app.jsonl")
        .unwrap_or_default();
    let journal = String::from_utf8_lossy(journal);
    for name in ["fanout", "chain"] {
        let progress = format!("\"process_managers\":[{{\"name\":\"{name}\",\"position\":0");
        assert!(journal.contains(&progress), "{journal}");
    }

    let fixture = Fixture::closed().await;
    for _ in 0..2 {
        let store = builder(&fixture.store(), Arc::new(SystemDisk), false);
        let store = store.open().await.unwrap();
        let command = LedgerCommand::Put { tag: 1, parts: 1 };
        let done = store.send("x", command, CommandContext::default()).await;
        done.unwrap();
        store.close().await.unwrap();
    }
    let store = builder(&fixture.store(), Arc::new(SystemDisk), true);
    let store = store.run_mode(RunMode::OnDemand).open().await.unwrap();
    let report = store.run_process_managers().await.unwrap();
    assert_eq!(
        report,
        ProcessManagerReport::default(),
        "an odd tag causes nothing"
    );
    store.close().await.unwrap();
}

/// Everything but the journal is taken away, and comes back byte for byte, except that checkpoints may be worded otherwise, and
/// that the same rows may lie in other places of their tables.
#[tokio::test]
async fn rule_11_everything_but_the_journal_is_derived() {
    let fixture = Fixture::closed().await;
    let copy = fixture.copy();
    for directory in ["meta/index", "process_managers", "projections"] {
        fs::remove_dir_all(copy.file(directory)).unwrap();
    }
    fs::remove_file(copy.file("meta/checkpoint.json")).unwrap();
    let store = builder(&copy.store(), Arc::new(SystemDisk), true);
    let store = store.run_mode(RunMode::OnDemand).open().await.unwrap();
    let report = store.run_process_managers().await.unwrap();
    assert_eq!(report, ProcessManagerReport::default());
    store.projection::<Tally>().await.unwrap();
    let fanout = store.process_manager::<Fanout>().unwrap();
    let letters = fanout.dead_letters().await.unwrap();
    assert!(!letters.is_empty(), "the rows are there");
    drop(fanout);
    let verified = store.verify().await.unwrap();
    assert!(verified.differences.is_empty(), "{verified:?}");
    store.close().await.unwrap();
    let (before, after) = (fixture.image(), copy.image());
    let mut compared = 0;
    for (path, bytes) in before.files() {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if ["lock", "checkpoint.json"].contains(&&*name) && path.starts_with("store/meta")
            || name.ends_with(".run")
            || name == "instances.redb"
        {
            continue;
        }
        let rebuilt = after.file(path).map(String::from_utf8_lossy);
        let bytes = String::from_utf8_lossy(bytes);
        assert_eq!(rebuilt, Some(bytes), "{}", path.display());
        compared += 1;
    }
    assert!(compared >= 5, "{compared}");
}
