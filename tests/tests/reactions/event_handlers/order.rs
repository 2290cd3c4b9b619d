//! Which calls run at the same time, which follow each other, and who waits for them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use eventfold_es::RunMode;
use eventfold_es::prelude::*;
use eventfold_es_tests::TestResult;
use tokio::sync::Semaphore;

use super::world::{Act, Courier, World, add, builder, sum, until, until_sum};
use crate::common::counter::{Counter, CounterCommand, CounterEvent};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_of_a_stream_are_in_order_and_as_many_streams_as_allowed_run_at_a_time() -> TestResult
{
    let directory = tempfile::tempdir()?;
    let world = World::new(|call| match call.number % 3 {
        0 => Act::Silence,
        rest => Act::Late(Duration::from_millis(rest as u64)),
    });
    let store = builder::<3, 5000>(directory.path(), &world).open().await?;
    for number in 1..=20 {
        for stream in 0..8 {
            add(&store, &format!("a-{stream}"), number).await;
        }
    }
    store.run_process_managers().await?;
    for stream in 0..8 {
        let numbers: Vec<_> = (1..=20).collect();
        assert_eq!(world.numbers(&format!("a-{stream}")), numbers);
        let answered = numbers
            .iter()
            .filter(|number| *number % 3 != 0)
            .sum::<i64>();
        assert_eq!(sum(&store, &format!("b-{stream}")).await, answered);
    }
    assert_eq!(world.most(), 3);
    assert!(world.overlaps().is_empty(), "{:?}", world.overlaps());
    let handle = store.event_handler::<Courier<3, 5000>>()?;
    let status = handle.status().await?;
    assert_eq!((status.instances.parked, status.dead_letters), (0, 0));
    assert_eq!(store.health().await.process_managers[0].lag, 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_stream_delays_no_other_and_no_command() -> TestResult {
    let directory = tempfile::tempdir()?;
    let gate = Arc::new(Semaphore::new(0));
    let held = Arc::clone(&gate);
    let world = World::new(move |call| match call.stream.as_str() {
        "a-slow" => Act::At(Arc::clone(&held)),
        _ => Act::Answer,
    });
    let store = builder::<2, 60_000>(directory.path(), &world)
        .open()
        .await?;
    // More of them than the handler reads ahead.
    for number in 1..=3 {
        let ones = CounterCommand::AddOnes(1000);
        store
            .send("a-slow", ones, CommandContext::default())
            .await?;
        add(&store, "a-fast", number).await;
    }
    until_sum(&store, "b-fast", 6).await;
    assert_eq!(world.numbers("a-slow").len(), 1);
    gate.add_permits(3000);
    until_sum(&store, "b-slow", 3000).await;
    store.run_process_managers().await?;
    assert_eq!(world.numbers("a-slow").len(), 3000);
    assert!(world.overlaps().is_empty(), "{:?}", world.overlaps());
    let keys: std::collections::HashSet<_> =
        world.calls().into_iter().map(|call| call.key).collect();
    assert_eq!(keys.len(), 3003);
    let handle = store.event_handler::<Courier<2, 60_000>>()?;
    assert_eq!(handle.instances(None, 10).await?.len(), 0, "no row stays");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_blocks_its_thread_stops_neither_the_store_nor_others() -> TestResult {
    let directory = tempfile::tempdir()?;
    let world = World::new(|call| match call.stream.as_str() {
        "a-block" => Act::Block(Duration::from_millis(1500)),
        _ => Act::Answer,
    });
    let store = builder::<2, 5000>(directory.path(), &world).open().await?;
    let begun = Instant::now();
    add(&store, "a-block", 1).await;
    until("it blocks", || async { world.running() == 1 }).await;
    for number in 1..=10 {
        add(&store, "a-other", number).await;
    }
    until_sum(&store, "b-other", 55).await;
    assert!(
        begun.elapsed() < Duration::from_millis(1400),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(sum(&store, "b-block").await, 0);
    until_sum(&store, "b-block", 1).await;
    Ok(())
}

/// Answers the commands of the handler.
#[process_manager(subscribes = [Counter], dispatches = [Counter])]
#[derive(Debug, Default, Serialize, Deserialize)]
struct Answers;

impl React<Counter> for Answers {
    fn react(&mut self, event: &CounterEvent, cx: &mut Reaction<'_, Self>) {
        if let (CounterEvent::Added(number), Some(rest)) =
            (event, cx.stream_id().strip_prefix("b-"))
        {
            cx.send(format!("c-{rest}"), CounterCommand::Add(*number));
        }
    }
}

#[tokio::test]
async fn a_command_does_not_wait_for_a_handler_and_a_run_does_with_all_consequences() -> TestResult
{
    let directory = tempfile::tempdir()?;
    let world = World::new(|_| Act::Late(Duration::from_millis(300)));
    let store = builder::<4, 5000>(directory.path(), &world)
        .process_manager::<Answers>()
        .run_mode(RunMode::Inline)
        .open()
        .await?;
    let begun = Instant::now();
    add(&store, "a-1", 7).await;
    assert!(
        begun.elapsed() < Duration::from_millis(250),
        "{:?}",
        begun.elapsed()
    );
    store.run_process_managers().await?;
    assert_eq!(sum(&store, "c-1").await, 7);
    Ok(())
}

#[tokio::test]
async fn on_demand_a_handler_runs_when_it_is_asked_to() -> TestResult {
    let directory = tempfile::tempdir()?;
    let world = World::new(|_| Act::Answer);
    let store = builder::<4, 5000>(directory.path(), &world)
        .process_manager::<Answers>()
        .run_mode(RunMode::OnDemand)
        .open()
        .await?;
    add(&store, "a-1", 7).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(world.calls().is_empty());
    let report = store.run_process_managers().await?;
    assert_eq!((report.dispatched, report.dead_lettered), (2, 0));
    assert_eq!(sum(&store, "c-1").await, 7);
    // A retry that is due waits to be asked for, too.
    world.acts(|call| match call.attempt {
        1 => Act::Fail("no network"),
        _ => Act::Answer,
    });
    add(&store, "a-1", 1).await;
    store.run_process_managers().await?;
    assert_eq!(world.calls().len(), 2);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(world.calls().len(), 2);
    store.run_process_managers().await?;
    assert_eq!((world.calls().len(), sum(&store, "c-1").await), (3, 8));
    Ok(())
}
