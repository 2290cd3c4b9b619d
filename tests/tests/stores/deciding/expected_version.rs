//! Commands that expect a version of their stream: the version that they are decided on, pending commits included.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use eventfold_es::contract::ReactError;
use eventfold_es::disk::{Failure, Fault, FaultyDisk, Operation};
use eventfold_es::prelude::*;
use eventfold_es::{AggregateHandle, CommandBus, ExecuteError, FailureCause, StoreError};
use eventfold_es_tests::TestResult;
use eventfold_es_tests::gate::GatedDisk;
use serde_json::json;

use crate::common::counter::{Counter, CounterCommand, CounterError, CounterEvent};

fn expecting(version: u64) -> CommandContext {
    CommandContext::default().with_expected_version(version)
}

fn poll<F: Future + ?Sized>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// What a conflict says: expected and actual version.
fn conflict<T>(done: Result<T, ExecuteError<CounterError>>) -> Option<(u64, u64)> {
    match done {
        Err(ExecuteError::Conflict { expected, actual }) => Some((expected, actual)),
        _ => None,
    }
}

#[tokio::test]
async fn a_command_is_executed_only_at_the_version_that_it_expects() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = AggregateStore::open(base.path()).await?;
    let counter = store.get::<Counter>("c").await?;
    let add = |version| counter.execute(CounterCommand::Add(1), expecting(version));

    // It must not exist yet.
    assert_eq!(conflict(add(1).await), Some((1, 0)));
    assert!(!counter.exists().await?);
    assert_eq!(add(0).await?.version, 1);
    assert!(counter.exists().await?);
    assert_eq!(conflict(add(0).await), Some((0, 1)));

    let ones = CounterCommand::AddOnes(3);
    assert_eq!(counter.execute(ones, expecting(1)).await?.version, 4);
    for other in [0, 1, 2, 3, 5, u64::MAX] {
        assert_eq!(conflict(add(other).await), Some((other, 4)));
        // The condition comes before the decision.
        for command in [CounterCommand::Reject, CounterCommand::Nothing] {
            let done = counter.execute(command, expecting(other)).await;
            assert_eq!(conflict(done), Some((other, 4)));
        }
    }
    let rejected = counter.execute(CounterCommand::Reject, expecting(4)).await;
    assert!(matches!(rejected, Err(ExecuteError::Domain(_))));
    let nothing = counter
        .execute(CounterCommand::Nothing, expecting(4))
        .await?;
    assert_eq!((nothing.version, nothing.events.len()), (4, 0));

    let loaded = counter.load().await?;
    assert_eq!((loaded.version, loaded.exists), (4, true));
    assert_eq!(loaded.state, Counter { sum: 4, folded: 4 });
    let unused = store.get::<Counter>("unused").await?.load().await?;
    assert_eq!((unused.version, unused.exists), (0, false));
    assert_eq!(unused.state, Counter::default());
    store.close().await?;

    // The same after a restart, through every way in.
    let store = AggregateStore::open(base.path()).await?;
    assert!(store.get::<Counter>("c").await?.exists().await?);
    let sent = store.send("c", CounterCommand::Add(1), expecting(3)).await;
    let Err(error) = sent else {
        panic!("it is a conflict");
    };
    let text = "the stream has version 4, but 3 was expected; nothing was stored";
    assert_eq!(error.to_string(), text);
    let mut bus = CommandBus::new(store.clone());
    bus.register::<Counter>();
    let sent = bus
        .dispatch("c", CounterCommand::Add(1), expecting(3))
        .await;
    assert_eq!(
        sent.map_err(|error| error.to_string()),
        Err(text.to_owned())
    );
    let done = store
        .send("c", CounterCommand::Add(1), expecting(4))
        .await?;
    assert_eq!(done.version, 5);
    assert_eq!(store.read_events("counter", "c").await?.len(), 5);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_that_expect_one_version_one_is_executed() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = AggregateStore::open(base.path()).await?;
    for round in 0..20 {
        let tasks: Vec<_> = (0..64)
            .map(|_| {
                let store = store.clone();
                tokio::spawn(async move {
                    store
                        .send("c", CounterCommand::Add(1), expecting(round))
                        .await
                })
            })
            .collect();
        let mut executed = 0;
        for task in tasks {
            match task.await? {
                Ok(done) => {
                    assert_eq!(done.version, round + 1);
                    executed += 1;
                }
                Err(error) => assert_eq!(conflict::<()>(Err(error)), Some((round, round + 1))),
            }
        }
        assert_eq!(executed, 1, "round {round}");
    }
    Ok(())
}

type Done<'a> = Pin<Box<dyn Future<Output = Result<u64, ExecuteError<CounterError>>> + 'a>>;

fn add(counter: &AggregateHandle<Counter>, context: CommandContext) -> Done<'_> {
    Box::pin(async move {
        let done = counter.execute(CounterCommand::Add(1), context).await?;
        Ok(done.version)
    })
}

/// The version is the version with everything pending, and an answer about it waits until that is durable.
#[tokio::test]
#[cfg_attr(eventfold_memory_journal, ignore = "it is about the disk")]
async fn a_conflict_with_a_pending_commit_waits_for_it() -> TestResult {
    let (place, gate) = (tempfile::tempdir()?, GatedDisk::default());
    let store = AggregateStore::builder(place.path())
        .disk(Arc::new(gate.clone()))
        .open()
        .await?;
    let counter = store.get::<Counter>("c").await?;
    assert_eq!(add(&counter, expecting(0)).await?, 1);
    gate.close();
    let mut pending = add(&counter, expecting(1));
    assert!(poll(pending.as_mut()).is_pending());
    gate.wait_for_sync();
    let mut late = add(&counter, expecting(1));
    let mut next = add(&counter, expecting(2));
    for _ in 0..100 {
        assert!(poll(late.as_mut()).is_pending());
        assert!(poll(next.as_mut()).is_pending());
        tokio::task::yield_now().await;
    }
    let loaded = counter.load().await?;
    assert_eq!((loaded.version, loaded.state.sum), (1, 1), "durable only");
    gate.open();
    assert_eq!(conflict(late.await), Some((1, 2)));
    assert_eq!(pending.await?, 2);
    assert_eq!(next.await?, 3);
    Ok(())
}

/// A conflict with something that never became durable is no conflict.
#[tokio::test]
#[cfg_attr(eventfold_memory_journal, ignore = "it is about the disk")]
async fn a_conflict_with_a_commit_that_fails_fails_with_it() -> TestResult {
    let place = tempfile::tempdir()?;
    let gate = GatedDisk::default();
    let disk = FaultyDisk::new(Arc::new(gate.clone()));
    let store = AggregateStore::builder(place.path())
        .disk(Arc::new(disk.clone()))
        .open()
        .await?;
    let counter = store.get::<Counter>("c").await?;
    assert_eq!(add(&counter, expecting(0)).await?, 1);
    gate.close();
    let mut first = add(&counter, expecting(1));
    assert!(poll(first.as_mut()).is_pending());
    gate.wait_for_sync();
    let mut second = add(&counter, expecting(2));
    assert!(poll(second.as_mut()).is_pending());
    let mut late = add(&counter, expecting(1));
    assert!(poll(late.as_mut()).is_pending());
    let fault = Fault::once(0, Failure::EIO).on(&[Operation::Write]);
    disk.inject(fault.at(|path| path.ends_with("meta/journal/app.jsonl")));
    gate.open();
    assert_eq!(first.await?, 2);
    for failed in [second.await, late.await] {
        assert!(
            matches!(failed, Err(ExecuteError::Store(StoreError::Refused { .. }))),
            "{failed:?}"
        );
    }
    assert_eq!(add(&counter, expecting(2)).await?, 3);
    Ok(())
}

#[tokio::test]
async fn a_repeated_command_answers_as_before_although_the_version_has_moved() -> TestResult {
    let base = tempfile::tempdir()?;
    let keyed = |version| expecting(version).with_idempotency_key("k");
    let store = AggregateStore::open(base.path()).await?;
    let first = store.send("c", CounterCommand::Add(5), keyed(0)).await?;
    assert_eq!(
        store.send("c", CounterCommand::Add(5), keyed(0)).await?,
        first
    );
    store
        .send("c", CounterCommand::Add(1), expecting(1))
        .await?;
    assert_eq!(
        store.send("c", CounterCommand::Add(5), keyed(0)).await?,
        first
    );
    store.close().await?;
    let store = AggregateStore::open(base.path()).await?;
    assert_eq!(
        store.send("c", CounterCommand::Add(5), keyed(0)).await?,
        first
    );
    // A conflict is not remembered under its key.
    let other = |version| expecting(version).with_idempotency_key("l");
    let refused = store.send("c", CounterCommand::Add(1), other(1)).await;
    assert_eq!(conflict(refused), Some((1, 2)));
    let done = store.send("c", CounterCommand::Add(1), other(2)).await?;
    assert_eq!(done.version, 3);
    Ok(())
}

#[test]
fn a_context_without_an_expected_version_is_stored_as_before() -> TestResult {
    let text = serde_json::to_string(&CommandContext::default())?;
    assert!(!text.contains("expected_version"), "{text}");
    let read: CommandContext = serde_json::from_str(&text)?;
    assert_eq!(read.expected_version, None);
    let text = serde_json::to_string(&expecting(7))?;
    assert_eq!(serde_json::from_str::<CommandContext>(&text)?, expecting(7));
    Ok(())
}

/// For each thing that is added to `from`, sends three commands to `to`, which expect the version that the event says, that
/// plus one, and that again.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Careful;

impl ProcessManager for Careful {
    const NAME: &'static str = "careful";
    type Envelope = CommandEnvelope;

    fn subscriptions(&self) -> &'static [&'static str] {
        &[Counter::AGGREGATE_TYPE]
    }

    fn react(
        &mut self,
        _: &str,
        stream_id: &str,
        event: &RecordedEvent,
    ) -> Result<Vec<CommandEnvelope>, ReactError> {
        let CounterEvent::Added(version) = CounterEvent::from_event(event)? else {
            return Ok(Vec::new());
        };
        if stream_id != "from" {
            return Ok(Vec::new());
        }
        let version = u64::try_from(version).unwrap_or_default();
        let send = |expected| CommandEnvelope {
            aggregate_type: Counter::AGGREGATE_TYPE.to_owned(),
            instance_id: "to".to_owned(),
            command: json!({ "Add": 1 }),
            context: expecting(expected),
        };
        Ok(vec![send(version), send(version + 1), send(version)])
    }

    fn on_failure(&self, failure: &eventfold_es::Failure<'_>) -> eventfold_es::FailureAction<Self> {
        assert!(matches!(failure.cause, FailureCause::Rejected { .. }));
        let conflict = failure.rejection::<StoreError>();
        assert!(matches!(conflict, Some(StoreError::Conflict { .. })));
        eventfold_es::FailureAction::default_for(failure)
    }
}

/// A conflict is a rejection: a dead letter that keeps its condition.
#[tokio::test]
async fn a_conflict_of_a_process_manager_is_a_dead_letter_that_keeps_its_condition() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = AggregateStore::builder(base.path())
        .process_manager::<Careful>()
        .aggregate_type::<Counter>()
        .open()
        .await?;
    let cause = |version| {
        store.send(
            "from",
            CounterCommand::Add(version),
            CommandContext::default(),
        )
    };
    cause(0).await?;
    let to = store.get::<Counter>("to").await?;
    assert_eq!(to.load().await?.version, 2, "each sees those before it");
    let letters = store.dead_letters::<Careful>().await?;
    assert_eq!(letters.len(), 1);
    assert_eq!(
        letters[0].error,
        "the stream has version 2, but 0 was expected"
    );
    assert_eq!(letters[0].envelope.context.expected_version, Some(0));

    // One that is early becomes true later, and one that is late does not.
    cause(3).await?;
    assert_eq!(to.load().await?.version, 2);
    let operator = store.process_manager::<Careful>()?;
    let letters = operator.dead_letters().await?;
    assert_eq!(letters.len(), 4);
    to.execute(CounterCommand::Add(1), expecting(2)).await?;
    let mut executed = 0;
    for letter in letters {
        let expected = letter
            .envelope
            .as_ref()
            .and_then(|sent| sent.context.expected_version);
        let before = to.load().await?.version;
        operator.redrive(&letter.id).await?;
        let after = to.load().await?.version;
        assert_eq!(after == before + 1, expected == Some(before), "{letter:?}");
        executed += after - before;
    }
    assert_eq!(executed, 2);
    Ok(())
}
