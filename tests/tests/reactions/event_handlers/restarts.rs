//! Closing and opening again, with calls that run, wait for a retry or never end.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use eventfold_es::clock::ManualClock;
use eventfold_es::disk::CrashImage;
use eventfold_es::prelude::*;
use eventfold_es::{HandleError, RunMode, StartFrom};
use eventfold_es_tests::TestResult;
use tokio::sync::Semaphore;

use super::world::{Act, World, add, builder, until, until_sum};
use crate::common::counter::{Counter, CounterEvent};

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

/// Notes the numbers that it sees.
struct Late(Arc<Mutex<Vec<i64>>>);

impl EventHandler for Late {
    const NAME: &'static str = "late";
    const SUBSCRIPTIONS: &'static [&'static str] = &[Counter::AGGREGATE_TYPE];
    const START: StartFrom = StartFrom::Now;
    type Envelope = CommandEnvelope;

    async fn handle_event(&self, cx: &mut Handling<'_, Self>) -> Result<(), HandleError> {
        if let CounterEvent::Added(number) = CounterEvent::from_event(cx.event())? {
            self.0.lock().unwrap().push(number);
        }
        Ok(())
    }
}

#[tokio::test]
async fn a_handler_that_starts_now_sees_later_events_only_also_after_a_restart() -> TestResult {
    let directory = tempfile::tempdir()?;
    let store = AggregateStore::open(directory.path()).await?;
    for number in 1..=3 {
        add(&store, "x", number).await;
    }
    store.close().await?;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let open = || {
        let builder = AggregateStore::builder(directory.path());
        builder.event_handler(Late(Arc::clone(&seen))).open()
    };
    let store = open().await?;
    store.run_process_managers().await?;
    assert_eq!(*seen.lock().unwrap(), [0; 0]);
    add(&store, "x", 4).await;
    store.run_process_managers().await?;
    store.close().await?;
    // It begins where it ended, and not at another now.
    let store = AggregateStore::open(directory.path()).await?;
    add(&store, "x", 5).await;
    store.close().await?;
    let store = open().await?;
    store.run_process_managers().await?;
    assert_eq!(*seen.lock().unwrap(), [4, 5]);
    store.close().await?;
    Ok(())
}

/// Sends a command that is always rejected. It is executed again once, then its key is parked, and then it is a dead letter.
struct Insistent;

impl EventHandler for Insistent {
    const NAME: &'static str = "insistent";
    const SUBSCRIPTIONS: &'static [&'static str] = &[Counter::AGGREGATE_TYPE];
    type Envelope = CommandEnvelope;

    async fn handle_event(&self, cx: &mut Handling<'_, Self>) -> Result<(), HandleError> {
        cx.send_envelope(CommandEnvelope {
            aggregate_type: Counter::AGGREGATE_TYPE.to_owned(),
            instance_id: "y".to_owned(),
            command: serde_json::json!("Reject"),
            context: CommandContext::default(),
        });
        Ok(())
    }

    fn on_failure(&self, failure: &Failure<'_>) -> HandlerAction<Self> {
        match failure.attempt {
            1 => FailureAction::Retry(Backoff::exponential(Duration::from_secs(1))),
            2 => FailureAction::Park,
            _ => FailureAction::DeadLetter,
        }
    }
}

/// The key had no row any more, and could not be parked. So the command was held for ever, and nobody was told.
#[tokio::test]
async fn a_command_parks_its_key_also_after_a_restart() -> TestResult {
    let directory = tempfile::tempdir()?;
    let clock = ManualClock::new(SystemTime::now());
    let open = || {
        let builder = AggregateStore::builder(directory.path()).event_handler(Insistent);
        let builder = builder.clock(clock.clone()).run_mode(RunMode::OnDemand);
        builder.open()
    };
    let store = open().await?;
    add(&store, "x", 1).await;
    store.run_process_managers().await?;
    let pending = store.event_handler::<Insistent>()?.status().await?.retrying;
    assert_eq!(pending, 1);
    store.close().await?;
    let store = open().await?;
    clock.advance(Duration::from_secs(1));
    store.run_process_managers().await?;
    add(&store, "x", 2).await;
    store.run_process_managers().await?;
    let handle = store.event_handler::<Insistent>()?;
    let parked = handle.parked().await?;
    let [parked] = &parked[..] else {
        panic!("{parked:?}");
    };
    assert_eq!(parked.instance.as_deref(), Some("counter/x"));
    assert_eq!(parked.held, 2, "the command, and the next event");
    assert_eq!(handle.release("counter/x").await?.done, 2);
    assert_eq!(handle.dead_letters().await?.len(), 1);
    Ok(())
}
