//! When process managers react, and who waits for them.

use std::future::Future;
use std::path::Path;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use crate::common::counter::{Counter, CounterCommand, CounterEvent};
use eventfold_es::prelude::*;
use eventfold_es::store::ProcessManagerReport;
use eventfold_es::{AggregateStoreBuilder, Reactions, RunMode, StoreError};
use eventfold_es_tests::TestResult;

/// Sends what is added to `a-…` on to `b-…`, and so on: three process managers, each reacting to what the one before caused.
macro_rules! relay {
    ($name:ident, $from:literal, $to:literal) => {
        #[process_manager(subscribes = [Counter], dispatches = [Counter])]
        #[derive(Debug, Default, Serialize, Deserialize)]
        struct $name {
            relayed: u64,
        }

        impl React<Counter> for $name {
            fn react(&mut self, event: &CounterEvent, cx: &mut Reaction<'_, Self>) {
                if let (CounterEvent::Added(by), Some(rest)) =
                    (event, cx.stream_id().strip_prefix($from))
                {
                    self.relayed += 1;
                    cx.send(format!("{}{rest}", $to), CounterCommand::Add(by * 10));
                }
            }
        }
    };
}

relay!(FromAToB, "a-", "b-");
relay!(FromBToC, "b-", "c-");
relay!(FromCToD, "c-", "d-");

fn chain(base: &Path, mode: RunMode) -> AggregateStoreBuilder {
    // Registered against the direction of the chain: the order makes no difference.
    AggregateStore::builder(base)
        .run_mode(mode)
        .process_manager::<FromCToD>()
        .process_manager::<FromBToC>()
        .process_manager::<FromAToB>()
}

async fn sum(store: &AggregateStore, id: &str) -> Result<i64, eventfold_es::Error> {
    Ok(store.get::<Counter>(id).await?.state().await?.sum)
}

async fn add(
    store: &AggregateStore,
    id: &str,
) -> Result<eventfold_es::Executed<CounterEvent>, eventfold_es::Error> {
    let done = store
        .send(id, CounterCommand::Add(1), CommandContext::default())
        .await?;
    Ok(done)
}

fn report(dispatched: usize) -> ProcessManagerReport {
    let mut report = ProcessManagerReport::default();
    report.dispatched = dispatched;
    report
}

#[tokio::test]
async fn inline_waits_for_reactions_and_for_theirs() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = chain(base.path(), RunMode::Inline).open().await?;
    for number in 1..=20 {
        let done = add(&store, "a-1").await?;
        assert_eq!(done.reactions, Reactions::Done);
        assert_eq!(done.version, number as u64);
        assert_eq!(sum(&store, "d-1").await?, 1000 * number);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn inline_waits_for_reactions_under_concurrency() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = chain(base.path(), RunMode::Inline).open().await?;
    let tasks: Vec<_> = (0..16)
        .map(|task| {
            let store = store.clone();
            tokio::spawn(async move {
                for number in 1..=5 {
                    let done = add(&store, &format!("a-{task}")).await.unwrap();
                    assert_eq!(done.reactions, Reactions::Done);
                    let seen = sum(&store, &format!("d-{task}")).await.unwrap();
                    assert_eq!(seen, 1000 * number);
                }
            })
        })
        .collect();
    for task in tasks {
        task.await?;
    }
    assert_eq!(store.run_process_managers().await?, report(3 * 16 * 5));
    Ok(())
}

#[tokio::test]
async fn reactions_say_what_was_waited_for() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = chain(base.path(), RunMode::Inline).open().await?;
    // Subscribed, but nobody sends anything.
    assert_eq!(add(&store, "z-1").await?.reactions, Reactions::Done);
    // No event, no reaction.
    let nothing = store
        .send("a-1", CounterCommand::Nothing, CommandContext::default())
        .await?;
    assert_eq!(nothing.reactions, Reactions::NotAwaited);
    assert_eq!((nothing.position, nothing.version), (None, 0));
    store.close().await?;

    // No process manager.
    let store = AggregateStore::open(base.path()).await?;
    assert_eq!(add(&store, "z-1").await?.reactions, Reactions::NotAwaited);
    store.close().await?;

    for mode in [RunMode::Background, RunMode::OnDemand] {
        let store = chain(base.path(), mode).open().await?;
        assert_eq!(add(&store, "z-1").await?.reactions, Reactions::NotAwaited);
        store.close().await?;
    }
    Ok(())
}

/// A command in flight when the next begins is waited for by its own caller only, and what it caused is done when
/// `run_process_managers` returns, at whatever moment that is called.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn background_reacts_without_being_asked_and_run_waits_for_what_was_caused() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = chain(base.path(), RunMode::Background).open().await?;
    for number in 1..=200 {
        add(&store, "a-1").await?;
        store.run_process_managers().await?;
        assert_eq!(sum(&store, "d-1").await?, 1000 * number);
    }

    // Without being asked: the store is watched, not run.
    add(&store, "a-2").await?;
    while sum(&store, "d-2").await? != 1000 {
        tokio::task::yield_now().await;
    }
    Ok(())
}

#[tokio::test]
async fn on_demand_does_nothing_before_it_is_asked_and_everything_then() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = chain(base.path(), RunMode::OnDemand).open().await?;
    for _ in 0..50 {
        add(&store, "a-1").await?;
    }
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(sum(&store, "b-1").await?, 0);
    let status = store.health().await.process_managers;
    assert!(status.iter().all(|one| (one.position, one.lag) == (0, 50)));

    assert_eq!(store.run_process_managers().await?, report(150));
    assert_eq!(sum(&store, "b-1").await?, 500);
    assert_eq!(sum(&store, "d-1").await?, 50_000);

    // And nothing again until it is asked again.
    add(&store, "a-1").await?;
    assert_eq!(sum(&store, "b-1").await?, 500);
    assert_eq!(store.run_process_managers().await?, report(3));
    assert_eq!(sum(&store, "d-1").await?, 51_000);
    Ok(())
}

#[tokio::test]
async fn on_demand_does_nothing_on_reopening_either() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = chain(base.path(), RunMode::OnDemand).open().await?;
    add(&store, "a-1").await?;
    store.close().await?;

    let store = chain(base.path(), RunMode::OnDemand).open().await?;
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(sum(&store, "b-1").await?, 0);
    assert_eq!(store.run_process_managers().await?, report(3));
    store.close().await?;

    let store = chain(base.path(), RunMode::OnDemand).open().await?;
    assert_eq!(store.run_process_managers().await?, report(0));
    assert_eq!(sum(&store, "d-1").await?, 1000);
    Ok(())
}

#[tokio::test]
async fn inline_and_background_catch_up_on_reopening() -> TestResult {
    for mode in [RunMode::Inline, RunMode::Background] {
        let base = tempfile::tempdir()?;
        let store = AggregateStore::open(base.path()).await?;
        add(&store, "a-1").await?;
        store.close().await?;

        let store = chain(base.path(), mode).open().await?;
        // No new traffic.
        while sum(&store, "d-1").await? != 1000 {
            tokio::task::yield_now().await;
        }
        assert_eq!(store.run_process_managers().await?, report(3), "{mode:?}");
    }
    Ok(())
}

#[tokio::test]
async fn reports_count_since_the_previous_report_in_all_modes() -> TestResult {
    for mode in [RunMode::Inline, RunMode::Background, RunMode::OnDemand] {
        let base = tempfile::tempdir()?;
        let store = chain(base.path(), mode).open().await?;
        for round in 0..4 {
            for _ in 0..round {
                add(&store, "a-1").await?;
            }
            let counted = store.run_process_managers().await?;
            assert_eq!(counted, report(3 * round), "{mode:?}");
        }
        assert_eq!(store.run_process_managers().await?, report(0), "{mode:?}");
    }
    Ok(())
}

/// Polls a future a number of times, waking itself up, and drops it unless it is done before.
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

#[tokio::test]
async fn dropping_a_run_midway_loses_and_repeats_nothing() -> TestResult {
    for polls in [1, 2, 3, 5, 8, 13] {
        let base = tempfile::tempdir()?;
        let store = chain(base.path(), RunMode::OnDemand).open().await?;
        for _ in 0..10 {
            add(&store, "a-1").await?;
        }
        let run = store.run_process_managers();
        let first = abandon_after(polls, run).await.transpose()?;
        let second = store.run_process_managers().await?;
        // A report that nobody received is in the next one.
        let reported = first.map_or(0, |report| report.dispatched) + second.dispatched;
        assert_eq!(reported, 30);
        assert_eq!(sum(&store, "d-1").await?, 10_000);
        assert_eq!(store.run_process_managers().await?, report(0));
    }
    Ok(())
}

/// Scenario 24: cancelled after some of the reactions, then the store is reopened.
#[tokio::test]
async fn dropping_a_run_midway_and_the_store_with_it_loses_and_repeats_nothing() -> TestResult {
    for polls in [1, 2, 3, 5, 8, 13] {
        let base = tempfile::tempdir()?;
        let store = chain(base.path(), RunMode::OnDemand).open().await?;
        for _ in 0..10 {
            add(&store, "a-1").await?;
        }
        drop(abandon_after(polls, store.run_process_managers()).await);
        drop(store);
        let store = chain(base.path(), RunMode::OnDemand).open().await?;
        store.run_process_managers().await?;
        assert_eq!(sum(&store, "d-1").await?, 10_000, "after {polls} polls");
        assert_eq!(store.read_events("counter", "d-1").await?.len(), 10);
    }
    Ok(())
}

#[test]
fn one_store_works_on_every_kind_of_runtime() -> TestResult {
    let base = tempfile::tempdir()?;
    let mut expected = 0;
    for mode in [RunMode::Inline, RunMode::Background, RunMode::OnDemand] {
        for threads in [0, 1, 4] {
            let runtime = match threads {
                0 => tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()?,
                threads => tokio::runtime::Builder::new_multi_thread()
                    .worker_threads(threads)
                    .enable_all()
                    .build()?,
            };
            expected += 1000;
            let seen = runtime.block_on(async {
                let store = chain(base.path(), mode).open().await?;
                add(&store, "a-1").await?;
                store.run_process_managers().await?;
                sum(&store, "d-1").await
            })?;
            assert_eq!(seen, expected, "{mode:?} on {threads} threads");
        }
    }
    Ok(())
}

/// The calls of a clone that outlives `close` answer; none waits for ever.
#[tokio::test]
async fn calls_after_close_answer() -> TestResult {
    for mode in [RunMode::Inline, RunMode::Background, RunMode::OnDemand] {
        let base = tempfile::tempdir()?;
        let store = chain(base.path(), mode).open().await?;
        add(&store, "a-1").await?;
        let counter = store.get::<Counter>("a-1").await?;
        store.clone().close().await?;

        let executed = counter
            .execute(CounterCommand::Add(1), CommandContext::default())
            .await;
        assert_eq!(executed.unwrap_err().to_string(), "the store is closed");
        assert_eq!(counter.state().await?.sum, 1);
        match (mode, store.run_process_managers().await) {
            (RunMode::OnDemand, Err(StoreError::Closed)) => {}
            // All that was durable was reacted to before the store closed, or the caller is told.
            (RunMode::Inline | RunMode::Background, Ok(_) | Err(StoreError::Closed)) => {}
            (mode, other) => panic!("{mode:?}: {other:?}"),
        }
    }
    Ok(())
}
