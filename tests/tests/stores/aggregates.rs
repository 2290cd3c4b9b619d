//! One aggregate: many callers, eviction, rejections, what cannot be stored, and calls that are abandoned.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::common::counter::{Counter, CounterCommand, CounterError, CounterEvent};
use eventfold_es::disk::{Failure, Fault, FaultyDisk, Operation};
use eventfold_es::prelude::*;
use eventfold_es::store::HealthStatus;
use eventfold_es::{ExecuteError, RunMode, StoreError};
use eventfold_es_tests::TestResult;
use eventfold_es_tests::gate::GatedDisk;

fn context() -> CommandContext {
    CommandContext::default()
}

/// Scenario 34: concurrent first accesses to one id, for a thousand ids.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_first_accesses_to_one_id_all_succeed() -> TestResult {
    const IDS: usize = 1000;
    const TASKS: usize = 4;
    let base = tempfile::tempdir()?;
    let store = AggregateStore::open(base.path()).await?;
    let tasks: Vec<_> = (0..TASKS * IDS)
        .map(|number| {
            let store = store.clone();
            tokio::spawn(async move {
                let counter = store
                    .get::<Counter>(&format!("c-{}", number / TASKS))
                    .await?;
                counter.execute(CounterCommand::Add(1), context()).await?;
                Ok::<_, eventfold_es::Error>(counter.state().await?.sum)
            })
        })
        .collect();
    for task in tasks {
        assert!((1..=TASKS as i64).contains(&task.await??));
    }
    for id in store.list::<Counter>().await? {
        let sum = store.get::<Counter>(&id).await?.state().await?.sum;
        assert_eq!(sum, TASKS as i64, "{id}");
    }
    store.close().await?;

    // Cold again, this time with events to load.
    let store = AggregateStore::open(base.path()).await?;
    assert_eq!(store.list::<Counter>().await?.len(), IDS);
    let tasks: Vec<_> = (0..TASKS * IDS)
        .map(|number| {
            let store = store.clone();
            tokio::spawn(async move {
                let counter = store
                    .get::<Counter>(&format!("c-{}", number / TASKS))
                    .await?;
                Ok::<_, eventfold_es::Error>(counter.state().await?.sum)
            })
        })
        .collect();
    for task in tasks {
        assert_eq!(task.await??, TASKS as i64);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_tasks_on_one_aggregate_leave_no_gap_and_lose_nothing() -> TestResult {
    const TASKS: u64 = 64;
    const COMMANDS: u64 = 20;
    let base = tempfile::tempdir()?;
    let store = AggregateStore::open(base.path()).await?;
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| {
            let store = store.clone();
            tokio::spawn(async move {
                let counter = store.get::<Counter>("hot").await?;
                let mut versions = Vec::new();
                for number in 0..COMMANDS {
                    // One event or three, and now and then a rejection in between.
                    let count = 1 + 2 * ((task + number) % 2) as u32;
                    let done = counter
                        .execute(CounterCommand::AddOnes(count), context())
                        .await?;
                    assert_eq!(done.events.len(), count as usize);
                    versions.push((done.version + 1 - u64::from(count), done.version));
                    let own = counter.state().await?.folded;
                    assert!(own >= done.version, "its own write is read: {own}");
                    if number % 5 == 0 {
                        let rejected = counter.execute(CounterCommand::Reject, context()).await;
                        assert!(matches!(rejected, Err(ExecuteError::Domain(_))));
                    }
                }
                Ok::<_, eventfold_es::Error>(versions)
            })
        })
        .collect();
    let mut versions = Vec::new();
    for task in tasks {
        versions.extend(task.await??);
    }
    versions.sort_unstable();
    let mut next = 1;
    for (first, last) in versions {
        assert_eq!(first, next);
        next = last + 1;
    }
    let expected = Counter {
        sum: (TASKS * COMMANDS * 2) as i64,
        folded: TASKS * COMMANDS * 2,
    };
    assert_eq!(next - 1, expected.folded);
    let counter = store.get::<Counter>("hot").await?;
    assert_eq!(counter.state().await?, expected);
    drop(counter);
    store.close().await?;
    let store = AggregateStore::open(base.path()).await?;
    assert_eq!(store.get::<Counter>("hot").await?.state().await?, expected);
    Ok(())
}

/// Scenario 36: no call fails, and none hangs.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn eviction_races_with_commands_and_nobody_notices() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = AggregateStore::builder(base.path())
        .idle_timeout(Duration::from_millis(1))
        .open()
        .await?;
    let tasks: Vec<_> = (0..8)
        .map(|task| {
            let store = store.clone();
            tokio::spawn(async move {
                // One handle for all, held over many evictions.
                let counter = store.get::<Counter>(&format!("c-{}", task % 4)).await?;
                for number in 0..150 {
                    counter.execute(CounterCommand::Add(1), context()).await?;
                    if number % 10 == task {
                        // Idle for a random moment around the limit: this is load, not synchronisation.
                        tokio::time::sleep(Duration::from_millis(1 + number % 3)).await;
                        counter.state().await?;
                    }
                }
                Ok::<_, eventfold_es::Error>(())
            })
        })
        .collect();
    for task in tasks {
        task.await??;
    }
    for id in store.list::<Counter>().await? {
        let counter = store.get::<Counter>(&id).await?;
        assert_eq!(
            counter.state().await?,
            Counter {
                sum: 300,
                folded: 300
            }
        );
    }
    Ok(())
}

/// Rule 5: an answer without a commit waits until what it was decided on is durable.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(eventfold_memory_journal, ignore = "it is about the disk")]
async fn a_rejection_is_answered_when_the_state_it_was_decided_on_is_durable() -> TestResult {
    let base = tempfile::tempdir()?;
    let disk = GatedDisk::default();
    let store = AggregateStore::builder(base.path())
        .disk(Arc::new(disk.clone()))
        .open()
        .await?;
    let counter = store.get::<Counter>("c").await?;
    counter.execute(CounterCommand::Add(1), context()).await?;

    disk.close();
    let mut add = pin!(counter.execute(CounterCommand::Add(10), context()));
    let mut reject = pin!(counter.execute(CounterCommand::Reject, context()));
    let mut nothing = pin!(counter.execute(CounterCommand::Nothing, context()));
    let mut poll = Context::from_waker(Waker::noop());
    assert!(add.as_mut().poll(&mut poll).is_pending());
    assert!(reject.as_mut().poll(&mut poll).is_pending());
    assert!(nothing.as_mut().poll(&mut poll).is_pending());
    // Written, and not yet synced: still nobody is told, and reads answer with what is durable.
    tokio::task::spawn_blocking({
        let disk = disk.clone();
        move || disk.wait_for_sync()
    })
    .await?;
    assert!(reject.as_mut().poll(&mut poll).is_pending());
    assert!(nothing.as_mut().poll(&mut poll).is_pending());
    assert_eq!(counter.state().await?.sum, 1);
    assert_eq!(store.read_events("counter", "c").await?.len(), 1);

    disk.open();
    let rejected = reject.await.unwrap_err();
    let ExecuteError::Domain(error) = rejected else {
        panic!("{rejected:?}");
    };
    assert_eq!(error, CounterError::Rejected { sum: 11 });
    assert_eq!(nothing.await?.version, 2);
    assert_eq!(add.await?.version, 2);
    Ok(())
}

/// And fails with it: a rejection that was decided on events that are not stored would be a lie.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(eventfold_memory_journal, ignore = "it is about the disk")]
async fn a_rejection_fails_with_the_commit_it_was_decided_on() -> TestResult {
    let base = tempfile::tempdir()?;
    let gate = GatedDisk::default();
    let disk = Arc::new(FaultyDisk::new(Arc::new(gate.clone())));
    let store = AggregateStore::builder(base.path())
        .disk(disk.clone())
        .open()
        .await?;
    let counter = store.get::<Counter>("c").await?;
    counter.execute(CounterCommand::Add(1), context()).await?;

    gate.close();
    let mut first = pin!(counter.execute(CounterCommand::Add(5), context()));
    let mut add = pin!(counter.execute(CounterCommand::Add(10), context()));
    let mut reject = pin!(counter.execute(CounterCommand::Reject, context()));
    let mut poll = Context::from_waker(Waker::noop());
    assert!(first.as_mut().poll(&mut poll).is_pending());
    tokio::task::spawn_blocking({
        let gate = gate.clone();
        move || gate.wait_for_sync()
    })
    .await?;
    assert!(add.as_mut().poll(&mut poll).is_pending());
    assert!(reject.as_mut().poll(&mut poll).is_pending());
    let is_journal = |path: &std::path::Path| path.ends_with("journal/app.jsonl");
    disk.inject(
        Fault::once(0, Failure::EIO)
            .on(&[Operation::Write])
            .at(is_journal),
    );
    gate.open();
    assert_eq!(first.await?.version, 2);
    for failed in [add.await, reject.await] {
        let Err(ExecuteError::Store(StoreError::Refused { reason })) = failed else {
            panic!("{failed:?}");
        };
        assert!(
            reason.starts_with("the journal could not be written (cannot write "),
            "{reason}"
        );
    }
    let health = store.health().await;
    assert_eq!(health.status, HealthStatus::Degraded);
    let [reason] = &*health.reasons else {
        panic!("{:?}", health.reasons);
    };
    assert!(
        reason.starts_with("the last commits were refused: the journal could not be written ("),
        "{reason}"
    );
    // Nothing of it is left, and the next command works.
    let rejected = counter.execute(CounterCommand::Reject, context()).await;
    let Err(ExecuteError::Domain(error)) = rejected else {
        panic!("{rejected:?}");
    };
    assert_eq!(error, CounterError::Rejected { sum: 6 });
    assert_eq!(
        counter
            .execute(CounterCommand::Add(1), context())
            .await?
            .version,
        3
    );
    let health = store.health().await;
    assert_eq!(health.status, HealthStatus::Healthy, "{:?}", health.reasons);
    Ok(())
}

#[tokio::test]
async fn a_command_without_events_writes_nothing() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = AggregateStore::open(base.path()).await?;
    let counter = store.get::<Counter>("c").await?;
    let nothing = counter.execute(CounterCommand::Nothing, context()).await?;
    assert!(nothing.events.is_empty());
    assert_eq!((nothing.version, nothing.position), (0, None));
    assert!(
        store.list::<Counter>().await?.is_empty(),
        "it did not come to be"
    );
    let missing = store.read_events("counter", "c").await.unwrap_err();
    assert_eq!(missing.to_string(), "there is no stream `c` of `counter`");
    counter.execute(CounterCommand::Add(3), context()).await?;
    let nothing = counter.execute(CounterCommand::Nothing, context()).await?;
    assert_eq!((nothing.version, nothing.position), (1, None));
    Ok(())
}

/// Scenario 39: refused before anything is written, together with the event before it in the same command.
#[tokio::test]
async fn events_that_do_not_survive_storage_are_refused() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = AggregateStore::open(base.path()).await?;
    let counter = store.get::<Counter>("c").await?;
    let cases = [
        (
            CounterCommand::Measure(f64::NAN),
            "`Measured` cannot be stored",
        ),
        (
            CounterCommand::Measure(f64::INFINITY),
            "`Measured` cannot be stored",
        ),
        (CounterCommand::Nest(200), "recursion limit"),
        (CounterCommand::Forget, "missing field `needed`"),
    ];
    for (command, text) in cases {
        let refused = counter.execute(command, context()).await.unwrap_err();
        assert!(matches!(
            refused,
            ExecuteError::Store(StoreError::Unstorable(_))
        ));
        assert!(refused.to_string().contains(text), "{refused}");
    }
    assert!(store.list::<Counter>().await?.is_empty());

    // What just fits comes back as it was.
    let values = [
        f64::MIN_POSITIVE,
        0.1 + 0.2,
        -0.0,
        1e300,
        5e-324,
        123_456_789.123_456_79,
    ];
    for value in values {
        counter
            .execute(CounterCommand::Measure(value), context())
            .await?;
    }
    counter
        .execute(CounterCommand::Nest(100), context())
        .await?;
    let events = store.read_events("counter", "c").await?;
    let mut read = Vec::new();
    for event in &events {
        if let CounterEvent::Measured(value) = CounterEvent::from_event(event)? {
            read.push(value.to_bits());
        }
    }
    assert_eq!(read, values.map(f64::to_bits));
    Ok(())
}

/// Polls a future a number of times, with other tasks in between, and drops it unless it is done before.
async fn abandon_after<F: Future>(polls: usize, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    for _ in 0..polls {
        let polled = future
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()));
        if let Poll::Ready(output) = polled {
            return Some(output);
        }
        tokio::task::yield_now().await;
    }
    None
}

/// Counts what is done to `c`, by a reaction to each of its events.
#[process_manager(subscribes = [Counter], dispatches = [Counter])]
#[derive(Debug, Default, Serialize, Deserialize)]
struct Twice;

impl React<Counter> for Twice {
    fn react(&mut self, _: &CounterEvent, cx: &mut Reaction<'_, Self>) {
        if cx.stream_id() == "c" {
            cx.send("reactions", CounterCommand::Add(1));
        }
    }
}

/// Guarantee 6: dropping `execute` at any await leaves nothing or the whole command, with its reactions.
#[tokio::test]
async fn a_dropped_command_is_there_as_a_whole_or_not_at_all() -> TestResult {
    for is_cold in [true, false] {
        let base = tempfile::tempdir()?;
        let open = || {
            AggregateStore::builder(base.path())
                .run_mode(RunMode::Inline)
                .process_manager::<Twice>()
                .open()
        };
        let mut store = open().await?;
        let mut done_at_least = 0;
        let mut version = 0;
        for polls in (0..12).chain([50, 1_000_000]) {
            if is_cold {
                store.close().await?;
                store = open().await?;
            }
            let counter = store.get::<Counter>("c").await?;
            let answer = abandon_after(
                polls,
                counter.execute(CounterCommand::AddOnes(3), context()),
            );
            let answered = answer.await.transpose()?.is_some();
            // The next command waits for what was handed over.
            let now = counter.execute(CounterCommand::Add(1), context()).await?;
            let abandoned = now.version - 1 - version;
            assert!(
                [0, 3].contains(&abandoned),
                "{abandoned} events after {polls} polls"
            );
            assert!(!answered || abandoned == 3);
            done_at_least += u64::from(answered);
            version = now.version;
            let state = counter.state().await?;
            assert_eq!((state.sum as u64, state.folded), (now.version, now.version));
            let reactions = store.get::<Counter>("reactions").await?;
            assert_eq!(
                reactions.state().await?.folded,
                now.version,
                "{polls} polls"
            );
        }
        assert!(done_at_least > 0, "the last one was patient enough");
    }
    Ok(())
}
