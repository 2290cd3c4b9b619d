//! Transactions on a disk that fails, and on one that cannot be written.

use std::sync::Arc;

use eventfold_es::disk::{Failure, Fault, FaultyDisk, Operation, SystemDisk};
use eventfold_es::prelude::*;
use eventfold_es::store::Committed;
use eventfold_es::{StoreError, TransactionError};
use eventfold_es_tests::{ReadOnlyDisk, TestResult};

use super::events;
use crate::common::counter::{Counter, CounterCommand};

async fn both(store: &AggregateStore, key: &str) -> Result<Committed, TransactionError> {
    store
        .transaction(CommandContext::default().with_idempotency_key(key))
        .send("a", CounterCommand::Add(1))
        .send("b", CounterCommand::Add(1))
        .commit()
        .await
}

#[tokio::test]
#[cfg_attr(eventfold_memory_journal, ignore = "it is about the disk")]
async fn a_failed_write_leaves_nothing_and_a_failed_sync_poisons_the_store() -> TestResult {
    let base = tempfile::tempdir()?;
    let disk = FaultyDisk::new(Arc::new(SystemDisk));
    let store = AggregateStore::builder(base.path())
        .disk(Arc::new(disk.clone()))
        .open()
        .await?;
    both(&store, "first").await?;
    let fail = |operation| {
        let fault = Fault::once(0, Failure::EIO).on(&[operation]);
        disk.inject(fault.at(|path| path.ends_with("meta/journal/app.jsonl")));
    };
    fail(Operation::Write);
    let refused = both(&store, "second").await;
    assert!(
        matches!(
            refused,
            Err(TransactionError::Store(StoreError::Refused { .. }))
        ),
        "{refused:?}"
    );
    for id in ["a", "b"] {
        assert_eq!(store.get::<Counter>(id).await?.load().await?.version, 1);
    }
    let second = both(&store, "second").await?;
    fail(Operation::SyncData);
    let unknown = both(&store, "third").await;
    assert!(
        matches!(unknown, Err(TransactionError::OutcomeUnknown { .. })),
        "{unknown:?}"
    );
    let poisoned = both(&store, "fourth").await;
    assert!(
        matches!(
            poisoned,
            Err(TransactionError::Store(StoreError::Poisoned { .. }))
        ),
        "{poisoned:?}"
    );
    // What is known is answered all the same.
    assert_eq!(both(&store, "second").await?, second);
    store.close().await.unwrap_err();

    let store = AggregateStore::open(base.path()).await?;
    let before = events(&store).await?;
    assert!(before == 4 || before == 6, "{before}");
    both(&store, "third").await?;
    assert_eq!(events(&store).await?, 6);
    store.close().await?;

    let store = AggregateStore::builder(base.path())
        .disk(Arc::new(ReadOnlyDisk::default()))
        .open()
        .await?;
    let refused = both(&store, "fifth").await;
    assert!(
        matches!(
            refused,
            Err(TransactionError::Store(StoreError::ReadOnly { .. }))
        ),
        "{refused:?}"
    );
    assert_eq!(both(&store, "second").await?, second);
    Ok(())
}
