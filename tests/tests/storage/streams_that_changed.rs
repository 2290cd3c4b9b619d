//! The events of a stream in the journal are never believed where they are not what was written, however long ago that was.

use std::fs;
use std::sync::Arc;

use eventfold_es::disk::SystemDisk;
use eventfold_es::{AggregateStore, CommandContext, RunMode, StoreError};
use eventfold_es_tests::campaign::size;
use eventfold_es_tests::crash::domain::{Ledger, LedgerCommand};
use eventfold_es_tests::crash::{Fixture, builder};
use eventfold_es_tests::journal_file::{JOURNAL, commits_of_stream};

async fn open(fixture: &Fixture) -> AggregateStore {
    let builder = builder(&fixture.store(), Arc::new(SystemDisk), true);
    builder.run_mode(RunMode::OnDemand).open().await.unwrap()
}

/// Reading the stream and commands on it fail with the place, and the others are not affected.
async fn assert_noticed(fixture: &Fixture, what: &str) {
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
    store
        .get::<Ledger>("both")
        .await
        .unwrap()
        .state()
        .await
        .unwrap();
    store.close().await.unwrap();
    match error {
        StoreError::Damaged(damage) => assert_eq!(damage.path, fixture.file(JOURNAL), "{what}"),
        other => panic!("{what}: {other}"),
    }
}

#[tokio::test]
async fn every_flipped_bit_in_a_commit_is_noticed() {
    let fixture = Fixture::closed().await;
    let whole = fs::read(fixture.file(JOURNAL)).unwrap();
    let commits = commits_of_stream(&whole, "ledger", "old");
    let copy = fixture.copy();
    // Of each byte in a full run.
    for index in commits[0].clone().step_by(size(7, 1)) {
        let mut bytes = whole.clone();
        bytes[index] ^= 1 << (index % 8);
        fs::write(copy.file(JOURNAL), bytes).unwrap();
        assert_noticed(&copy, &format!("bit {} of byte {index}", index % 8)).await;
    }
}

/// Each of them is a commit with a checksum that holds.
#[tokio::test]
async fn another_commit_in_the_place_of_one_is_noticed() {
    let fixture = Fixture::closed().await;
    let whole = fs::read(fixture.file(JOURNAL)).unwrap();
    let [first, last] = &commits_of_stream(&whole, "ledger", "old")[..] else {
        panic!("two commits");
    };
    let copy = fixture.copy();
    for (from, to) in [(last, first), (first, last)] {
        let mut bytes = whole.clone();
        let length = from.len().min(to.len());
        let text = whole[from.clone()][..length].to_vec();
        bytes[to.clone()][..length].copy_from_slice(&text);
        fs::write(copy.file(JOURNAL), bytes).unwrap();
        assert_noticed(&copy, &format!("{from:?} at {to:?}")).await;
    }
}
