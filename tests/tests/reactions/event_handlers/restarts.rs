//! Closing and opening again, with calls that run, wait for a retry or never end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use eventfold_es::disk::CrashImage;
use eventfold_es::prelude::*;
use eventfold_es::{HandleError, StartFrom};
use eventfold_es_tests::TestResult;
use tokio::sync::Semaphore;

use super::world::{Act, World, add, builder, sum, until, until_sum};
use crate::common::counter::Counter;

#[tokio::test]
async fn progress_without_commands_is_durable_and_nothing_is_called_again_after_a_restart()
-> TestResult {
    let directory = tempfile::tempdir()?;
    let world = World::new(|_| Act::Silence);
    for run in 1..=3 {
        let store = builder::<4, 5000>(directory.path(), &world).open().await?;
        add(&store, "a-1", run).await;
        store.run_process_managers().await?;
        store.close().await?;
        assert_eq!(world.numbers("a-1"), (1..=run).collect::<Vec<_>>());
    }
    // Without a close: the progress is stored a moment after the call.
    let store = builder::<4, 5000>(directory.path(), &world).open().await?;
    add(&store, "a-1", 4).await;
    until("it is called", || async { world.calls().len() == 4 }).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let copy = tempfile::tempdir()?;
    let copy = copy.path().join("copy");
    CrashImage::read(directory.path())?.materialise(&copy)?;
    let copied = builder::<4, 5000>(&copy, &world).open().await?;
    copied.run_process_managers().await?;
    assert_eq!(world.calls().len(), 4);
    Ok(())
}

#[tokio::test]
async fn closing_waits_for_calls_that_end_and_drops_those_that_do_not() -> TestResult {
    let directory = tempfile::tempdir()?;
    let world = World::new(|call| match call.stream.as_str() {
        "a-never" => Act::Never,
        _ => Act::Late(Duration::from_millis(150)),
    });
    let patience = Duration::from_millis(600);
    let opened = builder::<4, 60_000>(directory.path(), &world).handler_patience(patience);
    let store = opened.open().await?;
    add(&store, "a-never", 1).await;
    add(&store, "a-late", 1).await;
    add(&store, "a-late", 2).await;
    until("they run", || async { world.running() == 2 }).await;
    let begun = Instant::now();
    store.close().await?;
    let took = begun.elapsed();
    assert!(
        took >= Duration::from_millis(500) && took < Duration::from_secs(5),
        "{took:?}"
    );
    assert_eq!(world.running(), 0, "the call is dropped");
    world.acts(|_| Act::Answer);
    let store = builder::<4, 60_000>(directory.path(), &world)
        .open()
        .await?;
    until_sum(&store, "b-never", 1).await;
    until_sum(&store, "b-late", 3).await;
    store.run_process_managers().await?;
    assert_eq!(world.numbers("a-never"), [1, 1]);
    assert_eq!(world.numbers("a-late"), [1, 2], "what has ended is stored");
    let keys: Vec<_> = world.calls().into_iter().map(|call| call.key).collect();
    assert_eq!(
        keys.iter()
            .filter(|key| *key == "courier:counter/a-never/1")
            .count(),
        2
    );
    Ok(())
}

#[tokio::test]
async fn a_deferred_call_and_a_retry_go_on_after_a_restart_in_order() -> TestResult {
    let directory = tempfile::tempdir()?;
    let gate = Arc::new(Semaphore::new(0));
    let held = Arc::clone(&gate);
    let world = World::new(move |call| match call.stream.as_str() {
        "a-slow" => Act::At(Arc::clone(&held)),
        "a-bad" if call.number == 1 => Act::Fail("no network"),
        _ => Act::Answer,
    });
    let opened = builder::<4, 60_000>(directory.path(), &world);
    let store = opened.handler_patience(Duration::ZERO).open().await?;
    for number in 1..=3 {
        for stream in ["a-slow", "a-bad", "a-good"] {
            add(&store, stream, number).await;
        }
    }
    until_sum(&store, "b-good", 6).await;
    store.close().await?;
    world.acts(|_| Act::Answer);
    let store = builder::<4, 60_000>(directory.path(), &world)
        .open()
        .await?;
    until_sum(&store, "b-slow", 6).await;
    until_sum(&store, "b-bad", 6).await;
    store.run_process_managers().await?;
    assert_eq!(world.numbers("a-slow"), [1, 1, 2, 3]);
    assert_eq!(world.numbers("a-good"), [1, 2, 3]);
    let bad = world.numbers("a-bad");
    assert_eq!(bad.split_at(bad.len() - 2).1, [2, 3], "{bad:?}");
    Ok(())
}

/// Counts the events that it sees.
struct Late(World);

impl EventHandler for Late {
    const NAME: &'static str = "late";
    const SUBSCRIPTIONS: &'static [&'static str] = &[Counter::AGGREGATE_TYPE];
    const START: StartFrom = StartFrom::Now;
    type Envelope = CommandEnvelope;

    async fn handle_event(&self, cx: &mut Handling<'_, Self>) -> Result<(), HandleError> {
        // The world is shared with the other handler.
        if cx.position() < 2 {
            self.0.acts(|_| Act::Panic);
        }
        Ok(())
    }
}

#[tokio::test]
async fn a_handler_that_starts_now_sees_no_earlier_event() -> TestResult {
    let directory = tempfile::tempdir()?;
    let world = World::new(|_| Act::Answer);
    let store = builder::<4, 60_000>(directory.path(), &world)
        .open()
        .await?;
    add(&store, "a-1", 1).await;
    store.run_process_managers().await?;
    store.close().await?;
    let opened = builder::<4, 60_000>(directory.path(), &world).event_handler(Late(world.clone()));
    let store = opened.open().await?;
    add(&store, "a-1", 2).await;
    store.run_process_managers().await?;
    assert_eq!(sum(&store, "b-1").await, 3);
    Ok(())
}
