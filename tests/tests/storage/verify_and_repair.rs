//! Verifying finds every difference between the journal and what is derived from it, and repairing restores it.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use eventfold_es::disk::SystemDisk;
use eventfold_es::prelude::*;
use eventfold_es::store::VerifyReport;
use eventfold_es::{OpenError, RunMode};
use eventfold_es_tests::crash::domain::LedgerCommand;
use eventfold_es_tests::crash::{Check, Fixture, builder, check};

async fn verify(fixture: &Fixture) -> VerifyReport {
    let builder = builder(&fixture.store(), Arc::new(SystemDisk), true);
    let store = builder.run_mode(RunMode::OnDemand).open().await.unwrap();
    let report = store.verify().await.unwrap();
    drop(store);
    report
}

fn change(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

async fn assert_repaired(fixture: &Fixture, what: &str) {
    let report = AggregateStore::builder(fixture.store()).repair().await;
    let report = report.unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_eq!(report.remaining, [], "{what}");
    let checked = check(&fixture.store(), &fixture.expected, Check::PROCESS_MANAGERS).await;
    checked.unwrap_or_else(|reason| panic!("{what}: {reason}"));
    let again = AggregateStore::builder(fixture.store())
        .repair()
        .await
        .unwrap();
    assert_eq!(again.found, [], "{what}");
}

#[tokio::test]
async fn a_whole_store_has_no_differences() {
    for fixture in [Fixture::closed().await, Fixture::killed().await] {
        let report = verify(&fixture).await;
        assert!(report.is_clean(), "{report:?}");
        assert!(report.commits > 0 && report.events > 0 && report.streams > 0);
        assert_repaired(&fixture, "a whole store").await;
    }
}

#[tokio::test]
async fn whatever_happened_to_the_index_is_found_and_restored() {
    let fixture = Fixture::closed().await;
    let runs = fixture.runs();
    let place = runs[0].strip_prefix(fixture.store()).unwrap();
    let length = fs::read(&runs[0]).unwrap().len();
    type Change = Box<dyn Fn(&mut Vec<u8>)>;
    let mut changes: Vec<(String, Change)> = vec![
        (
            "cut".to_owned(),
            Box::new(|bytes| bytes.truncate(bytes.len() / 2)),
        ),
        ("emptied".to_owned(), Box::new(Vec::clear)),
    ];
    for at in (0..length).step_by(length / 40) {
        let flip = move |bytes: &mut Vec<u8>| bytes[at] ^= 4;
        changes.push((format!("a bit of byte {at} is flipped"), Box::new(flip)));
    }
    let mut found = 0;
    for (what, change_bytes) in changes {
        let copy = fixture.copy();
        // Opening makes again what it sees to be damaged; the other damage is seen by who reads it.
        let builder = builder(&copy.store(), Arc::new(SystemDisk), true);
        let store = builder.run_mode(RunMode::OnDemand).open().await.unwrap();
        change(&copy.file(place), |bytes| change_bytes(bytes));
        let report = store.verify().await.unwrap();
        found += usize::from(!report.is_clean());
        drop(store);
        assert_repaired(&copy, &what).await;
    }
    assert!(found > 10, "{found}");
    let copy = fixture.copy();
    fs::remove_dir_all(copy.file("meta/index")).unwrap();
    assert_repaired(&copy, "the directory is gone").await;
}

#[tokio::test]
async fn a_difference_that_comes_while_the_store_is_open_is_found_and_restored() {
    let fixture = Fixture::closed().await;
    for file in [
        "process_managers/fanout/dead_letters.jsonl",
        "meta/checkpoint.json",
    ] {
        let copy = fixture.copy();
        let builder = builder(&copy.store(), Arc::new(SystemDisk), true);
        let store = builder.run_mode(RunMode::OnDemand).open().await.unwrap();
        change(&copy.file(file), |bytes| {
            let place = bytes.len() / 2;
            bytes[place] ^= 1;
        });
        let report = store.verify().await.unwrap();
        let found = report.differences.iter();
        assert!(found.clone().count() > 0, "{file}");
        for difference in found {
            assert_eq!(difference.path, copy.file(file));
        }
        drop(store);
        assert_repaired(&copy, file).await;
    }
}

#[tokio::test]
async fn damage_of_the_journal_is_found_behind_no_checkpoint() {
    let fixture = Fixture::closed().await;
    let journal = "meta/journal/app.jsonl";
    let copy = fixture.copy();
    change(&copy.file(journal), |bytes| bytes[300] ^= 1);
    let report = verify(&copy).await;
    assert_eq!(report.differences.len(), 1, "{report:?}");
    assert_eq!(report.differences[0].path, copy.file(journal));
    match AggregateStore::builder(copy.store()).repair().await {
        Err(OpenError::Damaged(damage)) => assert_eq!(damage.path, copy.file(journal)),
        other => panic!("{other:?}"),
    }
    // Nothing was derived from a damaged journal.
    let store = builder(&copy.store(), Arc::new(SystemDisk), true)
        .open()
        .await;
    drop(store);
}

#[tokio::test]
async fn an_open_store_is_not_repaired() {
    let fixture = Fixture::closed().await;
    let store = builder(&fixture.store(), Arc::new(SystemDisk), true)
        .open()
        .await
        .unwrap();
    match AggregateStore::builder(fixture.store()).repair().await {
        Err(OpenError::InUse { holder, .. }) => {
            assert!(holder.contains(&std::process::id().to_string()), "{holder}");
        }
        other => panic!("{other:?}"),
    }
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_is_used_can_be_verified() {
    for is_busy in [false, true] {
        let fixture = Fixture::closed().await;
        let mut builder = builder(&fixture.store(), Arc::new(SystemDisk), true);
        if is_busy {
            // What is compared is archived, saved and evicted meanwhile.
            builder = builder
                .max_log_size(3_000)
                .snapshot_every(1)
                .idle_timeout(std::time::Duration::ZERO);
        }
        let store = builder.open().await.unwrap();
        let writers = ["both", "old", "more"].into_iter().zip(50_000..);
        let writers = writers.map(|(id, first)| {
            let store = store.clone();
            tokio::spawn(async move {
                for tag in (first..first + 240).step_by(3) {
                    let put = LedgerCommand::Put { tag, parts: 3 };
                    let done = store.send(id, put, CommandContext::default()).await;
                    done.unwrap();
                }
            })
        });
        let writers: Vec<_> = writers.collect();
        while !writers.iter().all(tokio::task::JoinHandle::is_finished) {
            let report = store.verify().await.unwrap();
            assert!(report.is_clean(), "{report:?}");
        }
        for writer in writers {
            writer.await.unwrap();
        }
        store.close().await.unwrap();
    }
}
