//! Commands with keys that fail: what did not happen is not remembered.

use std::future::Future;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Waker};

use eventfold_es::disk::{Failure, Fault, FaultyDisk, Operation, SystemDisk};
use eventfold_es::prelude::*;
use eventfold_es::store::InjectOptions;
use eventfold_es::{ExecuteError, StoreError};
use eventfold_es_tests::TestResult;
use eventfold_es_tests::gate::GatedDisk;

use crate::common::counter::{Counter, CounterCommand, CounterEvent};
use crate::idempotency_keys::{context, counter, keyed, ones};

fn is_journal(path: &Path) -> bool {
    path.ends_with("meta/journal/app.jsonl")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(eventfold_memory_journal, ignore = "it is about the disk")]
async fn a_duplicate_of_a_pending_command_shares_its_outcome() -> TestResult {
    let base = tempfile::tempdir()?;
    let gate = GatedDisk::default();
    let disk = Arc::new(FaultyDisk::new(Arc::new(gate.clone())));
    let store = AggregateStore::builder(base.path())
        .disk(disk.clone())
        .open()
        .await?;
    ones(&store, "c", 1, "earlier").await?;
    let mut poll = Context::from_waker(Waker::noop());
    for fails in [true, false] {
        gate.close();
        // What the failure would not undo stands at the gate.
        let mut other = pin!(store.send("other", CounterCommand::Add(1), context()));
        assert!(other.as_mut().poll(&mut poll).is_pending());
        tokio::task::spawn_blocking({
            let gate = gate.clone();
            move || gate.wait_for_sync()
        })
        .await?;
        let mut before = pin!(ones(&store, "c", 2, if fails { "x" } else { "y" }));
        assert!(before.as_mut().poll(&mut poll).is_pending());
        let mut first = pin!(ones(&store, "c", 3, "k"));
        let mut again = pin!(ones(&store, "c", 3, "k"));
        assert!(first.as_mut().poll(&mut poll).is_pending());
        assert!(again.as_mut().poll(&mut poll).is_pending());
        if fails {
            let fault = Fault::once(0, Failure::EIO).on(&[Operation::Write]);
            disk.inject(fault.at(is_journal));
        }
        gate.open();
        other.await?;
        let (before, first, again) = (before.await, first.await, again.await);
        if fails {
            for failed in [before, first, again] {
                let Err(ExecuteError::Store(StoreError::Refused { .. })) = failed else {
                    panic!("{failed:?}");
                };
            }
        } else {
            let first = first?;
            assert_eq!((first.version, first.position), (6, Some(8)));
            assert_eq!(first, again?);
            before?;
        }
    }
    assert_eq!(counter(&store, "c").await?.folded, 6);
    Ok(())
}

/// The client does not know whether it is stored, and asks again after the restart: then it is, once.
#[tokio::test]
#[cfg_attr(eventfold_memory_journal, ignore = "it is about the disk")]
async fn a_command_of_unknown_outcome_can_be_retried() -> TestResult {
    let base = tempfile::tempdir()?;
    let disk = Arc::new(FaultyDisk::new(Arc::new(SystemDisk)));
    let store = AggregateStore::builder(base.path())
        .disk(disk.clone())
        .open()
        .await?;
    let first = ones(&store, "c", 1, "first").await?;
    let fault = Fault::once(0, Failure::EIO).on(&[Operation::SyncData]);
    disk.inject(fault.at(is_journal));
    let unknown = ones(&store, "c", 2, "k").await;
    assert!(matches!(unknown, Err(ExecuteError::OutcomeUnknown { .. })));
    // Nothing can be written, but what is known can be said.
    let poisoned = ones(&store, "c", 2, "k").await;
    let Err(ExecuteError::Store(StoreError::Poisoned { .. })) = poisoned else {
        panic!("{poisoned:?}");
    };
    assert_eq!(ones(&store, "c", 1, "first").await?, first);
    store.close().await.unwrap_err();

    let store = AggregateStore::open(base.path()).await?;
    let done = ones(&store, "c", 2, "k").await?;
    assert_eq!((done.version, done.position), (3, Some(3)));
    assert_eq!(counter(&store, "c").await?.folded, 3);
    Ok(())
}

#[tokio::test]
async fn only_what_stored_events_is_remembered() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = AggregateStore::open(base.path()).await?;
    for (sum, command) in [
        (0, CounterCommand::Reject),
        (0, CounterCommand::Nothing),
        (0, CounterCommand::PanicInDecide),
        (0, CounterCommand::PanicInEvolve),
        (0, CounterCommand::Measure(f64::NAN)),
        (5, CounterCommand::Add(5)),
        (5, CounterCommand::Reject),
    ] {
        let answer = store.send("c", command, keyed("k")).await;
        assert_eq!(counter(&store, "c").await?.sum, sum, "{answer:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_key_that_cannot_be_used_is_refused_and_nothing_is_written() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = AggregateStore::open(base.path()).await?;
    for (key, reason) in [
        ("", "it is empty"),
        ("a\nb", "it has control characters"),
        (&"k".repeat(513), "it is longer than 512 bytes"),
    ] {
        let refused = ones(&store, "c", 1, key).await.unwrap_err();
        let ExecuteError::Store(StoreError::InvalidIdempotencyKey { .. }) = refused else {
            panic!("{refused:?}");
        };
        assert!(refused.to_string().contains(reason), "{refused}");
    }
    assert!(store.list_streams(None).await?.is_empty());
    Ok(())
}

/// The id of an event that did not become durable is free again.
#[tokio::test]
#[cfg_attr(eventfold_memory_journal, ignore = "it is about the disk")]
async fn an_injected_event_that_was_refused_can_be_injected_again() -> TestResult {
    let base = tempfile::tempdir()?;
    let disk = Arc::new(FaultyDisk::new(Arc::new(SystemDisk)));
    let store = AggregateStore::builder(base.path())
        .disk(disk.clone())
        .open()
        .await?;
    let event = CounterEvent::Added(5).to_event()?.with_id("e-1");
    let options = InjectOptions::default();
    store.send("c", CounterCommand::Add(0), context()).await?;
    let fault = Fault::once(0, Failure::ENOSPC).on(&[Operation::Write]);
    disk.inject(fault.at(is_journal));
    for is_refused in [true, false, false] {
        let injected = store
            .inject_event::<Counter>("c", event.clone(), options)
            .await;
        assert_eq!(injected.is_err(), is_refused, "{injected:?}");
    }
    assert_eq!(counter(&store, "c").await?.sum, 5);
    Ok(())
}
