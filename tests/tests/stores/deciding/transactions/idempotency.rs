//! A transaction that is sent again under its key answers as the first one did, and does nothing.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use eventfold_es::prelude::*;
use eventfold_es::store::Committed;
use eventfold_es::{Transaction, TransactionError};
use eventfold_es_tests::TestResult;
use eventfold_es_tests::gate::GatedDisk;

use super::events;
use crate::common::counter::CounterCommand;
use crate::common::shop::InventoryCommand;

fn keyed(key: &str) -> CommandContext {
    CommandContext::default().with_idempotency_key(key)
}

/// The second of its commands has nothing to do, and two are for one aggregate.
async fn send(store: &AggregateStore, key: &str) -> Result<Committed, TransactionError> {
    store
        .transaction(keyed(key))
        .send("a", CounterCommand::AddOnes(2))
        .send("b", CounterCommand::Nothing)
        .send("w", InventoryCommand::Reserve { qty: 1 })
        .send("a", CounterCommand::Add(1))
        .commit()
        .await
}

#[tokio::test]
#[cfg_attr(eventfold_memory_journal, ignore = "it is about the disk")]
async fn a_repeat_answers_as_the_first_one_did_also_after_a_restart() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = AggregateStore::open(base.path()).await?;
    store
        .send("other", CounterCommand::Add(1), keyed("k"))
        .await?;
    let first = send(&store, "k").await?;
    assert_eq!(first.position, Some(5));
    for _ in 0..2 {
        assert_eq!(send(&store, "k").await?, first);
    }
    // What came later changes nothing about it, and other keys are other transactions.
    let second = send(&store, "l").await?;
    assert_eq!(second.position, Some(9));
    assert_eq!(send(&store, "k").await?, first);
    // The keys of single commands are others.
    let single = store.send("a", CounterCommand::Add(1), keyed("k")).await?;
    assert_eq!(single.version, 7);
    assert_eq!(
        store.send("a", CounterCommand::Add(1), keyed("k")).await?,
        single
    );
    store.close().await?;
    for lost in ["", "meta/checkpoint.json", "meta/index"] {
        let path = base.path().join(lost);
        match lost {
            "" => {}
            "meta/index" => std::fs::remove_dir_all(path)?,
            _ => std::fs::remove_file(path)?,
        }
        let store = AggregateStore::open(base.path()).await?;
        assert_eq!(send(&store, "k").await?, first, "without {lost:?}");
        assert_eq!(send(&store, "l").await?, second, "without {lost:?}");
        assert_eq!(
            store.send("a", CounterCommand::Add(1), keyed("k")).await?,
            single
        );
        assert_eq!(events(&store).await?, 10);
        store.close().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_repeat_with_expected_versions_answers_as_before() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = AggregateStore::open(base.path()).await?;
    let send = || {
        store
            .transaction(keyed("k"))
            .send_expecting("a", 0, CounterCommand::Add(1))
            .send_expecting("b", 0, CounterCommand::Add(1))
            .commit()
    };
    let first = send().await?;
    store.send("a", CounterCommand::Add(1), keyed("x")).await?;
    assert_eq!(send().await?, first);
    Ok(())
}

/// Commands that come out of a map have another order each time: a repeat of them is refused, and not executed once more.
#[tokio::test]
async fn a_repeat_in_another_order_is_refused() -> TestResult {
    let base = tempfile::tempdir()?;
    let mut store = AggregateStore::open(base.path()).await?;
    let send = |store: &AggregateStore, ids: &[&str]| {
        let transaction = store.transaction(keyed("k"));
        let add =
            |transaction: Transaction, id: &&str| transaction.send(id, CounterCommand::Add(1));
        ids.iter().fold(transaction, add).commit()
    };
    let first = send(&store, &["a", "b", "b"]).await?;
    for _ in 0..2 {
        for other in [
            &["b", "a", "b"][..],
            &["b", "b", "a"],
            &["c", "a"],
            &["c", "c", "a", "b"],
        ] {
            let done = send(&store, other).await;
            assert!(
                matches!(&done, Err(TransactionError::KeyReused { key }) if key == "k"),
                "{other:?}: {done:?}"
            );
        }
        assert_eq!(send(&store, &["a", "b", "b"]).await?, first);
        assert_eq!(events(&store).await?, 3);
        store.close().await?;
        store = AggregateStore::open(base.path()).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_rejected_transaction_is_decided_afresh() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = AggregateStore::open(base.path()).await?;
    let send = |qty| {
        store
            .transaction(keyed("k"))
            .send("a", CounterCommand::Add(1))
            .send("w", InventoryCommand::Reserve { qty })
            .commit()
    };
    send(101).await.unwrap_err();
    assert_eq!(events(&store).await?, 0);
    let done = send(100).await?;
    assert_eq!(done.position, Some(2));
    assert_eq!(send(100).await?, done);
    Ok(())
}

#[tokio::test]
async fn a_repeat_after_eviction_answers_as_the_first_one_did() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = AggregateStore::builder(base.path())
        .idle_timeout(Duration::from_millis(1))
        .open()
        .await?;
    let first = send(&store, "k").await?;
    for _ in 0..10 {
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert_eq!(send(&store, "k").await?, first);
    }
    Ok(())
}

/// While the first one is on its way, a repeat waits for it and shares its outcome.
#[tokio::test]
#[cfg_attr(eventfold_memory_journal, ignore = "it is about the disk")]
async fn a_repeat_of_a_pending_transaction_shares_its_outcome() -> TestResult {
    let (base, gate) = (tempfile::tempdir()?, GatedDisk::default());
    let store = AggregateStore::builder(base.path())
        .disk(Arc::new(gate.clone()))
        .open()
        .await?;
    store.send("a", CounterCommand::Add(1), keyed("x")).await?;
    gate.close();
    let mut waker = Context::from_waker(Waker::noop());
    let mut first = pin!(send(&store, "k"));
    let mut again = pin!(send(&store, "k"));
    assert!(first.as_mut().poll(&mut waker).is_pending());
    for _ in 0..100 {
        assert!(again.as_mut().poll(&mut waker).is_pending());
        tokio::task::yield_now().await;
    }
    gate.open();
    let first = first.await?;
    assert_eq!(again.await?, first);
    assert_eq!(send(&store, "k").await?, first);
    assert_eq!(events(&store).await?, 5);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_repeats_are_one_commit() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = AggregateStore::open(base.path()).await?;
    for round in 0..10 {
        let tasks: Vec<_> = (0..64)
            .map(|_| {
                let (store, key) = (store.clone(), format!("k-{round}"));
                tokio::spawn(async move { send(&store, &key).await })
            })
            .collect();
        let mut answers = Vec::new();
        for task in tasks {
            answers.push(task.await??);
        }
        assert!(answers.iter().all(|answer| *answer == answers[0]));
        assert_eq!(events(&store).await?, 4 * (round + 1));
    }
    Ok(())
}
