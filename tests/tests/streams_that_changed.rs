//! A stream's file that is not what the journal wrote is never believed, wherever it was changed and however long ago the journal
//! wrote it.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use eventfold_es::disk::SystemDisk;
use eventfold_es::{AggregateStore, CommandContext, Damage, RunMode, StoreError};
use eventfold_es_tests::crash::domain::{Ledger, LedgerCommand};
use eventfold_es_tests::crash::{Fixture, builder};

async fn open(fixture: &Fixture) -> AggregateStore {
    let builder = builder(&fixture.store(), Arc::new(SystemDisk), true);
    builder.run_mode(RunMode::OnDemand).open().await.unwrap()
}

/// Reading the stream and writing to it fail with the file's name, and nothing is written to it.
async fn assert_noticed(fixture: &Fixture, what: &str) -> Damage {
    let file = fixture.file("streams/ledger/old/app.jsonl");
    let before = fs::read(&file).ok();
    let store = open(fixture).await;
    let old = store.get::<Ledger>("old").await.unwrap();
    let error = old.state().await.expect_err(what).source;
    old.execute(
        LedgerCommand::Put { tag: 999, parts: 1 },
        CommandContext::default(),
    )
    .await
    .expect_err(what);
    store.read_events("ledger", "old").await.expect_err(what);
    store.close().await.unwrap();
    assert_eq!(fs::read(&file).ok(), before, "{what}");
    match error {
        StoreError::Damaged(damage) => {
            assert_eq!(damage.path, file, "{what}");
            Damage::clone(&damage)
        }
        other => panic!("{what}: {other}"),
    }
}

fn lines(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap();
    text.split_inclusive('\n').map(ToOwned::to_owned).collect()
}

#[tokio::test]
async fn a_stream_that_lost_or_gained_whole_lines_is_noticed() {
    let fixture = Fixture::closed().await;
    let file = "streams/ledger/old/app.jsonl";
    let whole = lines(&fixture.file(file));
    assert!(whole.len() >= 2);
    let mut swapped = whole.clone();
    swapped.swap(0, 1);
    let (cut, _) = whole.split_at(whole.len() - 1);
    let doubled = [&whole[..], &whole[..1]].concat();
    for (what, changed) in [
        ("a line is missing at the end", cut.concat()),
        ("a line is missing at the beginning", whole[1..].concat()),
        ("a line is there twice", doubled.concat()),
        ("two lines are exchanged", swapped.concat()),
        ("all is gone", String::new()),
    ] {
        let copy = fixture.copy();
        fs::write(copy.file(file), changed).unwrap();
        assert_noticed(&copy, what).await;
    }
    let copy = fixture.copy();
    fs::remove_file(copy.file(file)).unwrap();
    assert_noticed(&copy, "the file is gone").await;
}

#[tokio::test]
async fn every_flipped_bit_in_a_stream_is_noticed() {
    let fixture = Fixture::closed().await;
    let file = "streams/ledger/old/app.jsonl";
    let length = fs::read(fixture.file(file)).unwrap().len();
    for index in 0..length {
        let copy = fixture.copy();
        let mut bytes = fs::read(copy.file(file)).unwrap();
        bytes[index] ^= 1 << (index % 8);
        fs::write(copy.file(file), bytes).unwrap();
        assert_noticed(&copy, &format!("bit {} of byte {index}", index % 8)).await;
    }
}

#[tokio::test]
async fn damaged_extents_are_derived_from_the_journal_again() {
    let fixture = Fixture::closed().await;
    let file = "meta/stream-extents.0.jsonl";
    let length = fs::read(fixture.file(file)).unwrap().len();
    assert!(length > 0);
    for index in (0..length).step_by(7) {
        let copy = fixture.copy();
        let mut bytes = fs::read(copy.file(file)).unwrap();
        bytes[index] ^= 1;
        fs::write(copy.file(file), bytes).unwrap();
        let store = open(&copy).await;
        let old = store.get::<Ledger>("old").await.unwrap();
        old.state().await.unwrap();
        store.close().await.unwrap();
    }
    let copy = fixture.copy();
    fs::remove_file(copy.file(file)).unwrap();
    open(&copy).await.close().await.unwrap();
}
