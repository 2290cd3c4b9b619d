//! Commands for several aggregates in one commit: all or none.

mod failures;
mod idempotency;
mod model;
mod reactions;

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use eventfold_es::prelude::*;
use eventfold_es::store::Committed;
use eventfold_es::{Reactions, StoreError, TransactionError};
use eventfold_es_tests::TestResult;
use eventfold_es_tests::gate::GatedDisk;
use serde_json::json;

use crate::common::counter::{Counter, CounterCommand, CounterError};
use crate::common::shop::{Inventory, InventoryCommand, InventoryError, Order, OrderError, place};

fn context() -> CommandContext {
    CommandContext::default()
}

fn places(done: &Committed) -> Vec<(Option<u64>, Option<u64>)> {
    let commands = done.commands.iter();
    commands.map(|one| (one.version, one.position)).collect()
}

async fn events(store: &AggregateStore) -> Result<usize, StoreError> {
    let mut count = 0;
    for (aggregate_type, id) in store.list_streams(None).await? {
        count += store.read_events(&aggregate_type, &id).await?.len();
    }
    Ok(count)
}

#[tokio::test]
async fn each_command_sees_what_those_before_it_did() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = AggregateStore::open(base.path()).await?;
    store.send("z", CounterCommand::Add(7), context()).await?;
    let done = store
        .transaction(context().with_actor("ada"))
        .send("z", CounterCommand::AddOnes(2))
        .send("w-1", InventoryCommand::Reserve { qty: 60 })
        .send("z", CounterCommand::Nothing)
        .send("o-1", place("w-1", 2))
        .send("z", CounterCommand::Add(1))
        .send("w-1", InventoryCommand::Reserve { qty: 40 })
        .commit()
        .await?;
    // The events of one aggregate stand together: 2 to 4 are on `z`, 5 and 6 on `w-1`, 7 is on `o-1`.
    let expected = [
        (Some(3), Some(3)),
        (Some(1), Some(5)),
        (None, None),
        (Some(1), Some(7)),
        (Some(4), Some(4)),
        (Some(2), Some(6)),
    ];
    assert_eq!(places(&done), expected);
    assert_eq!(done.position, Some(7));
    assert_eq!(done.reactions, Reactions::NotAwaited);
    assert_eq!(store.get::<Counter>("z").await?.state().await?.sum, 10);
    assert_eq!(
        store.get::<Inventory>("w-1").await?.state().await?.reserved,
        100
    );
    for event in store.read_events("order", "o-1").await? {
        assert_eq!(event.actor.as_deref(), Some("ada"));
    }

    // The second one to `w-1` does not fit behind the first.
    let more = store
        .transaction(context())
        .send("w-2", InventoryCommand::Reserve { qty: 60 })
        .send("w-2", InventoryCommand::Reserve { qty: 60 })
        .commit()
        .await;
    let left = more.as_ref().err().and_then(TransactionError::downcast_ref);
    let wanted = InventoryError::OutOfStock {
        wanted: 60,
        left: 40,
    };
    assert_eq!(left, Some(&wanted));
    assert!(!store.get::<Inventory>("w-2").await?.exists().await?);
    store.close().await?;
    let store = AggregateStore::open(base.path()).await?;
    assert_eq!(events(&store).await?, 7);
    assert!(store.verify().await?.differences.is_empty());
    Ok(())
}

#[tokio::test]
async fn a_rejection_of_one_rejects_all_and_says_which() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = AggregateStore::open(base.path()).await?;
    store.send("o-1", place("w-1", 1), context()).await?;
    for round in 0..3 {
        let transaction = store
            .transaction(context())
            .send("c", CounterCommand::Add(5))
            .send("o-1", place("w-1", 1))
            .send("d", CounterCommand::Add(5));
        let Err(error) = transaction.commit().await else {
            panic!("it is rejected");
        };
        let text = "command 1, to `o-1` of `order`: the order was already placed";
        assert_eq!(error.to_string(), text);
        assert_eq!(error.downcast_ref(), Some(&OrderError::AlreadyPlaced));
        assert!(error.downcast_ref::<CounterError>().is_none());
        let TransactionError::Rejected { at, .. } = &error else {
            panic!("{error:?}");
        };
        assert_eq!(
            (at.index, &*at.aggregate_type, &*at.instance_id),
            (1, "order", "o-1")
        );
        // What was staged is gone from memory, too.
        let rejected = store.send("c", CounterCommand::Reject, context()).await;
        let sum = 3 * round;
        assert_eq!(
            rejected.map_err(|error| error.to_string()).err(),
            Some(format!("rejected at the sum {sum}"))
        );
        let done = store.send("c", CounterCommand::Add(3), context()).await?;
        assert_eq!(done.version, u64::try_from(round)? + 1);
    }
    assert!(!store.get::<Counter>("d").await?.exists().await?);
    store.close().await?;
    let store = AggregateStore::open(base.path()).await?;
    assert_eq!(events(&store).await?, 4);
    Ok(())
}

#[tokio::test]
async fn a_panic_and_an_event_that_cannot_be_stored_leave_nothing() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = AggregateStore::open(base.path()).await?;
    let bad = [
        CounterCommand::PanicInDecide,
        CounterCommand::PanicInEvolve,
        CounterCommand::Measure(f64::NAN),
        CounterCommand::Forget,
    ];
    for command in bad {
        let failed = store
            .transaction(context())
            .send("a", CounterCommand::Add(1))
            .send("b", command)
            .send("a", CounterCommand::Add(1))
            .commit()
            .await;
        assert!(
            matches!(failed, Err(TransactionError::Store(_))),
            "{failed:?}"
        );
    }
    let done = store
        .transaction(context())
        .send("a", CounterCommand::Add(1))
        .send("b", CounterCommand::Add(1))
        .commit()
        .await?;
    assert_eq!(places(&done), [(Some(1), Some(1)), (Some(1), Some(2))]);
    assert_eq!(store.get::<Counter>("a").await?.state().await?.folded, 1);
    Ok(())
}

#[tokio::test]
async fn a_conflict_says_of_which_command() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = AggregateStore::open(base.path()).await?;
    let transaction = |first, second, third| {
        store
            .transaction(context())
            .send_expecting("a", first, CounterCommand::AddOnes(2))
            .send_expecting("b", second, CounterCommand::Add(1))
            .send_expecting("a", third, CounterCommand::Add(1))
            .commit()
    };
    // Each sees those before it.
    for (versions, conflict) in [
        ([1, 0, 2], (0, 1, 0)),
        ([0, 3, 2], (1, 3, 0)),
        ([0, 0, 0], (2, 0, 2)),
    ] {
        let [first, second, third] = versions;
        let refused = transaction(first, second, third).await;
        let Err(TransactionError::Conflict {
            at,
            expected,
            actual,
            ..
        }) = refused
        else {
            panic!("{refused:?}");
        };
        assert_eq!((at.index, expected, actual), conflict);
    }
    assert_eq!(places(&transaction(0, 0, 2).await?).len(), 3);
    assert_eq!(events(&store).await?, 4);

    // One in the context is that of each command.
    let new = context().with_expected_version(0);
    let refused = store
        .transaction(new.clone())
        .send("c", CounterCommand::Add(1))
        .send("a", CounterCommand::Add(1))
        .commit()
        .await;
    assert!(matches!(&refused, Err(TransactionError::Conflict { at, .. }) if at.index == 1));
    store
        .transaction(new)
        .send("c", CounterCommand::Add(1))
        .send_expecting("a", 3, CounterCommand::Add(1))
        .commit()
        .await?;
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_a_transaction_is_refused_and_an_empty_one_does_nothing() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = AggregateStore::open(base.path()).await?;
    let done = store.transaction(context()).commit().await?;
    assert_eq!((done.commands.len(), done.position), (0, None));
    let done = store
        .transaction(context().with_idempotency_key("k"))
        .send("a", CounterCommand::Nothing)
        .send("b", CounterCommand::Nothing)
        .commit()
        .await?;
    assert_eq!(places(&done), [(None, None); 2]);

    // The first thing that is wrong is told.
    let refused = store
        .transaction(context())
        .send("a", CounterCommand::Add(1))
        .send("", CounterCommand::Add(1))
        .send("x".repeat(600), CounterCommand::Add(1))
        .commit()
        .await;
    let Err(TransactionError::Store(StoreError::InvalidId { id, .. })) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(id, "");
    for bad in [
        context().with_idempotency_key("a\nb"),
        context().with_metadata(json!({ "command_id": "forged" })),
    ] {
        for is_empty in [true, false] {
            let mut transaction = store.transaction(bad.clone());
            if !is_empty {
                transaction = transaction.send("a", CounterCommand::Add(1));
            }
            let refused = transaction.commit().await;
            assert!(
                matches!(refused, Err(TransactionError::Store(_))),
                "{refused:?}"
            );
        }
    }
    let late = store
        .transaction(context())
        .send("a", CounterCommand::Add(1));
    store.close().await?;
    let closed = late.commit().await;
    assert!(
        matches!(closed, Err(TransactionError::Store(StoreError::Closed))),
        "{closed:?}"
    );
    let store = AggregateStore::open(base.path()).await?;
    assert_eq!(events(&store).await?, 0);
    Ok(())
}

/// What cannot be cloned or serialized can be sent: only process managers ask for that.
#[derive(Debug)]
pub struct Once(std::sync::mpsc::Sender<u64>);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
pub enum OnceEvent {
    Done,
}

#[aggregate(name = "once", command = Once, event = OnceEvent, error = std::convert::Infallible)]
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Machine {
    done: u64,
}

impl Decider for Machine {
    fn decide(&self, command: Once) -> Result<Vec<OnceEvent>, std::convert::Infallible> {
        // Nobody listens if the test is over.
        let _ = command.0.send(self.done);
        Ok(vec![OnceEvent::Done])
    }

    fn evolve(&mut self, _: &OnceEvent) {
        self.done += 1;
    }
}

#[tokio::test]
async fn commands_need_neither_clone_nor_serde_and_are_decided_once() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = AggregateStore::builder(base.path())
        .idle_timeout(Duration::ZERO)
        .open()
        .await?;
    let (sender, decided) = std::sync::mpsc::channel();
    for _ in 0..10 {
        let transaction = store
            .transaction(context())
            .send("m", Once(sender.clone()))
            .send("n", Once(sender.clone()))
            .send("m", Once(sender.clone()));
        transaction.commit().await?;
        // Long enough to be evicted.
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let decided: Vec<_> = decided.try_iter().collect();
    let expected: Vec<_> = (0..10)
        .flat_map(|round| [2 * round, round, 2 * round + 1])
        .collect();
    assert_eq!(decided, expected);
    Ok(())
}

/// There is no limit but memory: 3,000 commands for 500 aggregates, and events of some megabytes.
#[tokio::test]
async fn a_large_transaction_is_one_commit_as_well() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = AggregateStore::open(base.path()).await?;
    let mut transaction = store.transaction(context());
    for index in 0..3000 {
        transaction = transaction.send(format!("c-{}", index % 500), CounterCommand::Add(1));
    }
    let long = "\u{1F980}".repeat(1 << 20);
    for index in 0..3 {
        transaction = transaction.send(format!("o-{index}"), place(&long, 1));
    }
    let done = transaction.commit().await?;
    assert_eq!(done.position, Some(3003));
    assert_eq!(done.commands[2999].version, Some(6));
    store.close().await?;
    let store = AggregateStore::open(base.path()).await?;
    assert_eq!(events(&store).await?, 3003);
    assert_eq!(store.get::<Order>("o-2").await?.load().await?.version, 1);
    Ok(())
}

/// Dropping the future leaves nothing, or everything.
#[tokio::test]
#[cfg_attr(eventfold_memory_journal, ignore = "it is about the disk")]
async fn a_dropped_transaction_is_there_as_a_whole_or_not_at_all() -> TestResult {
    let (base, gate) = (tempfile::tempdir()?, GatedDisk::default());
    let store = AggregateStore::builder(base.path())
        .disk(Arc::new(gate.clone()))
        .open()
        .await?;
    let mut waker = Context::from_waker(Waker::noop());
    let begun = store
        .transaction(context())
        .send("never", CounterCommand::Add(1));
    drop(begun.commit());
    for round in 1..=4_u64 {
        gate.close();
        {
            let transaction = store
                .transaction(context())
                .send("a", CounterCommand::Add(1))
                .send("b", CounterCommand::Add(1));
            let mut commit = pin!(transaction.commit());
            assert!(commit.as_mut().poll(&mut waker).is_pending());
        }
        gate.open();
        // Whoever comes later stands behind it.
        let behind = store.send("a", CounterCommand::Add(0), context()).await?;
        let versions = (
            behind.version,
            store.get::<Counter>("b").await?.load().await?.version,
        );
        assert_eq!(versions, (2 * round, round));
    }
    Ok(())
}

/// Rule 5: a rejection is an answer about a state, and waits until that is durable.
#[tokio::test]
#[cfg_attr(eventfold_memory_journal, ignore = "it is about the disk")]
async fn a_rejection_waits_for_what_it_was_decided_on() -> TestResult {
    let (base, gate) = (tempfile::tempdir()?, GatedDisk::default());
    let store = AggregateStore::builder(base.path())
        .disk(Arc::new(gate.clone()))
        .open()
        .await?;
    store.send("c", CounterCommand::Add(1), context()).await?;
    gate.close();
    let mut waker = Context::from_waker(Waker::noop());
    let mut pending = pin!(store.send("o", place("w", 1), context()));
    assert!(pending.as_mut().poll(&mut waker).is_pending());
    let transaction = |command| {
        let begun = store
            .transaction(context())
            .send("c", CounterCommand::Nothing);
        Box::pin(begun.send("o", command).commit())
    };
    let mut rejected = transaction(place("w", 1));
    let mut nothing = Box::pin(
        store
            .transaction(context())
            .send_expecting("o", 1, crate::common::shop::OrderCommand::Confirm)
            .commit(),
    );
    for _ in 0..100 {
        assert!(rejected.as_mut().poll(&mut waker).is_pending());
        assert!(nothing.as_mut().poll(&mut waker).is_pending());
        tokio::task::yield_now().await;
    }
    gate.open();
    let rejected = rejected.await;
    let error = rejected
        .as_ref()
        .err()
        .and_then(TransactionError::downcast_ref);
    assert_eq!(error, Some(&OrderError::AlreadyPlaced));
    assert_eq!(pending.await?.version, 1);
    assert_eq!(places(&nothing.await?), [(Some(2), Some(3))]);
    Ok(())
}

/// Two transactions over the same aggregates in opposite order, again and again, on few threads.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn opposite_orders_do_not_deadlock() -> TestResult {
    const TASKS: u64 = 64;
    const ROUNDS: u64 = 10;
    let base = tempfile::tempdir()?;
    let store = AggregateStore::builder(base.path())
        .idle_timeout(Duration::from_millis(1))
        .open()
        .await?;
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| {
            let store = store.clone();
            tokio::spawn(async move {
                for _ in 0..ROUNDS {
                    let (first, second) = match task % 2 {
                        0 => ("a", "b"),
                        _ => ("b", "a"),
                    };
                    let transaction = store
                        .transaction(context())
                        .send(first, CounterCommand::Add(1))
                        .send("o", crate::common::shop::OrderCommand::Confirm)
                        .send(second, CounterCommand::AddOnes(2))
                        .send(first, CounterCommand::Add(1));
                    transaction.commit().await?;
                }
                Ok::<_, TransactionError>(())
            })
        })
        .collect();
    let all = async {
        for task in tasks {
            task.await??;
        }
        TestResult::Ok(())
    };
    tokio::time::timeout(Duration::from_secs(60), all).await??;
    for id in ["a", "b"] {
        let loaded = store.get::<Counter>(id).await?.load().await?;
        assert_eq!(loaded.version, 2 * TASKS * ROUNDS);
        assert_eq!(loaded.state.sum, 2 * i64::try_from(TASKS * ROUNDS)?);
    }
    Ok(())
}
