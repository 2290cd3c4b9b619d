//! Calls that fail, take too long or panic, and what the policy makes of them.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use eventfold_es::clock::ManualClock;
use eventfold_es::prelude::*;
use eventfold_es_tests::TestResult;

use super::world::{Act, Courier, Policy, World, add, builder, sum, until, until_sum};
use crate::common::counter::Counter;

type Handler = Courier<4, 200>;

#[tokio::test]
async fn a_failing_stream_is_retried_in_order_and_holds_up_no_other() -> TestResult {
    let directory = tempfile::tempdir()?;
    let world = World::new(|call| match (call.stream.as_str(), call.attempt) {
        ("a-bad", 1..=3) if call.number == 2 => Act::Fail("no network"),
        _ => Act::Answer,
    });
    let store = builder::<4, 200>(directory.path(), &world).open().await?;
    for number in 1..=4 {
        add(&store, "a-bad", number).await;
        add(&store, "a-good", number).await;
    }
    until_sum(&store, "b-good", 10).await;
    until_sum(&store, "b-bad", 10).await;
    assert_eq!(world.numbers("a-bad"), [1, 2, 2, 2, 2, 3, 4]);
    assert_eq!(world.numbers("a-good"), [1, 2, 3, 4]);
    let of_two = world
        .calls()
        .into_iter()
        .filter(|call| call.stream == "a-bad" && call.number == 2);
    let of_two: Vec<_> = of_two.map(|call| (call.attempt, call.key)).collect();
    let key = "courier:counter/a-bad/2".to_owned();
    let expected: Vec<_> = (1..=4).map(|attempt| (attempt, key.clone())).collect();
    assert_eq!(of_two, expected);
    assert_eq!(world.failures(), ["failed"; 3]);
    Ok(())
}

#[tokio::test]
async fn no_event_behind_a_failed_one_is_called_before_the_policy_has_decided() -> TestResult {
    let directory = tempfile::tempdir()?;
    // The outcomes wait for an older call.
    let world = World::new(|call| match (call.stream.as_str(), call.number) {
        ("a-slow", _) => Act::Late(Duration::from_millis(60)),
        (_, 2) => Act::Fail("no"),
        _ => Act::Silence,
    });
    let world = world.with(Policy::Park);
    let opened = builder::<4, 200>(directory.path(), &world).run_mode(RunMode::OnDemand);
    let store = opened.open().await?;
    add(&store, "a-slow", 1).await;
    for number in 1..=4 {
        add(&store, "a-1", number).await;
    }
    store.run_process_managers().await?;
    assert_eq!(world.numbers("a-1"), [1, 2]);
    let parked = store.event_handler::<Handler>()?.parked().await?;
    assert_eq!((parked.len(), parked[0].held), (1, 3));
    Ok(())
}

#[tokio::test]
async fn a_call_that_takes_too_long_is_dropped_and_becomes_a_dead_letter() -> TestResult {
    let directory = tempfile::tempdir()?;
    let world = World::new(|call| match call.number {
        1 => Act::Never,
        _ => Act::Answer,
    });
    let world = world.with(Policy::DeadLetter);
    let store = builder::<4, 200>(directory.path(), &world).open().await?;
    add(&store, "a-1", 1).await;
    add(&store, "a-1", 2).await;
    until_sum(&store, "b-1", 2).await;
    assert_eq!(world.running(), 0, "the future is dropped");
    assert_eq!(world.failures(), ["timed-out"]);
    let handle = store.event_handler::<Handler>()?;
    handle.settle().await?;
    let letters = handle.dead_letters().await?;
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].error(), "it took longer than 200ms");
    assert_eq!(letters[0].source.position, 1);
    // It is called again for the operator, with the same key.
    let failed = handle.redrive_all().await?;
    assert_eq!((failed.done, failed.failed), (0, 1));
    assert_eq!(handle.dead_letters().await?[0].attempts.len(), 2);
    world.acts(|_| Act::Answer);
    let redriven = handle.redrive_all().await?;
    assert_eq!((redriven.done, redriven.failed), (1, 0));
    assert_eq!(sum(&store, "b-1").await, 3);
    assert!(handle.dead_letters().await?.is_empty());
    let keys: Vec<_> = world.calls().into_iter().map(|call| call.key).collect();
    let (first, second) = ("courier:counter/a-1/1", "courier:counter/a-1/2");
    assert_eq!(keys, [first, second, first, first]);
    Ok(())
}

#[tokio::test]
async fn a_panic_parks_its_stream_until_it_is_released() -> TestResult {
    let directory = tempfile::tempdir()?;
    let world = World::new(|call| match call.stream.as_str() {
        "a-bad" => Act::Panic,
        _ => Act::Answer,
    });
    let world = world.with(Policy::Default);
    let store = builder::<4, 200>(directory.path(), &world).open().await?;
    for number in 1..=3 {
        add(&store, "a-bad", number).await;
        add(&store, "a-good", number).await;
    }
    until_sum(&store, "b-good", 6).await;
    store.run_process_managers().await?;
    let handle = store.event_handler::<Handler>()?;
    let parked = handle.parked().await?;
    assert_eq!(parked.len(), 1);
    assert_eq!(parked[0].instance.as_deref(), Some("counter/a-bad"));
    assert_eq!(parked[0].held, 3);
    assert!(
        parked[0].parked.reason.contains("the world ends"),
        "{parked:?}"
    );
    let released = handle.release("counter/a-bad").await?;
    assert_eq!((released.done, released.failed), (0, 1));
    assert_eq!(handle.parked().await?[0].held, 3);
    world.acts(|_| Act::Answer);
    let released = handle.release("counter/a-bad").await?;
    assert_eq!((released.done, released.failed), (3, 0));
    assert_eq!(sum(&store, "b-bad").await, 6);
    assert_eq!(world.numbers("a-bad"), [1, 1, 1, 2, 3]);
    assert!(handle.parked().await?.is_empty());
    assert!(handle.instances(None, 10).await?.is_empty(), "no row stays");
    add(&store, "a-bad", 4).await;
    until_sum(&store, "b-bad", 10).await;
    Ok(())
}

#[tokio::test]
async fn a_rejected_command_is_a_dead_letter_and_its_event_is_handled() -> TestResult {
    let directory = tempfile::tempdir()?;
    let world = World::new(|call| match call.number {
        1 => Act::Reject,
        _ => Act::Answer,
    });
    let store = builder::<4, 200>(directory.path(), &world).open().await?;
    add(&store, "a-1", 1).await;
    add(&store, "a-1", 2).await;
    until_sum(&store, "b-1", 2).await;
    assert_eq!(world.numbers("a-1"), [1, 2]);
    let letters = store.event_handler::<Handler>()?.dead_letters().await?;
    assert_eq!(letters[0].error(), "rejected at the sum 0");
    Ok(())
}

#[tokio::test]
async fn a_policy_skips_or_sends_other_commands() -> TestResult {
    let directory = tempfile::tempdir()?;
    let world = World::new(|call| match call.number {
        1 => Act::Fail("no"),
        _ => Act::Answer,
    });
    let world = world.with(Policy::Instead);
    let store = builder::<4, 200>(directory.path(), &world).open().await?;
    add(&store, "a-1", 1).await;
    add(&store, "a-1", 2).await;
    until_sum(&store, "b-1", 2).await;
    assert_eq!(sum(&store, "instead").await, 1);
    let world = world.with(Policy::Skip);
    add(&store, "a-1", 1).await;
    add(&store, "a-1", 2).await;
    until_sum(&store, "b-1", 4).await;
    assert_eq!(sum(&store, "instead").await, 1);
    assert_eq!(world.numbers("a-1"), [1, 2, 1, 2]);
    let handle = store.event_handler::<Handler>()?;
    assert!(handle.parked().await?.is_empty() && handle.dead_letters().await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn a_stop_holds_the_whole_handler_until_an_operator_retries() -> TestResult {
    let directory = tempfile::tempdir()?;
    let world = World::new(|call| match call.stream.as_str() {
        "a-bad" => Act::Fail("closed for today"),
        _ => Act::Answer,
    });
    let world = world.with(Policy::Stop);
    let store = builder::<4, 200>(directory.path(), &world).open().await?;
    add(&store, "a-good", 1).await;
    until_sum(&store, "b-good", 1).await;
    add(&store, "a-bad", 1).await;
    until("it stops", || async {
        store.health().await.process_managers[0].parked_at.is_some()
    })
    .await;
    add(&store, "a-good", 2).await;
    let parked = store
        .health()
        .await
        .process_managers
        .remove(0)
        .parked_at
        .ok_or("it stops")?;
    assert_eq!(parked.reason, "closed for today");
    assert_eq!(sum(&store, "b-good").await, 1);
    let handle = store.event_handler::<Handler>()?;
    handle
        .release("counter/a-bad")
        .await
        .expect_err("the whole handler is held");
    world.acts(|_| Act::Answer);
    assert_eq!(handle.retry().await?.done, 1);
    until_sum(&store, "b-good", 3).await;
    until_sum(&store, "b-bad", 1).await;
    Ok(())
}

#[tokio::test]
async fn a_retry_is_due_by_the_clock_of_the_store() -> TestResult {
    let directory = tempfile::tempdir()?;
    let world = World::new(|call| match call.attempt {
        1 | 2 => Act::Fail("no network"),
        _ => Act::Answer,
    });
    let world = world.with(Policy::Default);
    let clock = ManualClock::new(SystemTime::now());
    let opened = builder::<4, 200>(directory.path(), &world).clock(clock.clone());
    let store = opened.open().await?;
    add(&store, "a-1", 1).await;
    for failed in 1..=2 {
        until("it fails", || async { world.failures().len() == failed }).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(world.calls().len(), failed, "it is not due");
        clock.advance(Duration::from_secs(failed as u64));
    }
    until_sum(&store, "b-1", 1).await;
    assert_eq!(world.calls().len(), 3);
    Ok(())
}

/// Orders events by a key that some of them do not have.
struct ByNumber(World, AtomicU32);

impl EventHandler for ByNumber {
    const NAME: &'static str = "by-number";
    const SUBSCRIPTIONS: &'static [&'static str] = &[Counter::AGGREGATE_TYPE];
    const IS_KEYED: bool = true;
    type Envelope = CommandEnvelope;

    async fn handle_event(
        &self,
        cx: &mut Handling<'_, Self>,
    ) -> Result<(), eventfold_es::HandleError> {
        if cx.stream_id().starts_with("copy") {
            return Ok(());
        }
        let order = self.1.fetch_add(1, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(3)).await;
        assert_eq!(
            self.1.load(Ordering::SeqCst),
            order + 1,
            "another call of the key runs"
        );
        cx.send_envelope(CommandEnvelope {
            aggregate_type: Counter::AGGREGATE_TYPE.to_owned(),
            instance_id: format!("copy-{}", cx.stream_id()),
            command: serde_json::json!({ "Add": 1 }),
            context: CommandContext::default(),
        });
        Ok(())
    }

    fn key_of(
        _aggregate_type: &str,
        stream_id: &str,
        event: &RecordedEvent,
    ) -> Result<String, eventfold_es::contract::ReactError> {
        match event.data.as_i64() {
            Some(13) => Err(eventfold_es::contract::ReactError::Other(
                "13 has no key".into(),
            )),
            _ if stream_id.starts_with("copy") => Ok("copies".to_owned()),
            _ => Ok("all".to_owned()),
        }
    }

    fn on_failure(&self, failure: &Failure<'_>) -> HandlerAction<Self> {
        assert!(self.0.calls().is_empty());
        assert_eq!(failure.cause.to_string(), "13 has no key");
        FailureAction::Park
    }
}

#[tokio::test]
async fn an_event_without_a_key_holds_its_stream_and_events_of_one_key_are_never_together()
-> TestResult {
    let directory = tempfile::tempdir()?;
    let handler = ByNumber(World::new(|_| Act::Answer), AtomicU32::new(0));
    let store = AggregateStore::builder(directory.path())
        .aggregate_type::<Counter>()
        .event_handler(handler)
        .run_mode(RunMode::OnDemand)
        .open()
        .await?;
    for (stream, number) in [("x", 1), ("y", 13), ("y", 2), ("z", 1), ("y", 3), ("x", 2)] {
        add(&store, stream, number).await;
    }
    // One round: the copies are handled in the next.
    let handle = store.event_handler::<ByNumber>()?;
    store.run_process_managers().await?;
    let parked = handle.parked().await?;
    assert_eq!(parked.len(), 1, "{parked:?}");
    assert_eq!(
        parked[0].stream,
        Some(("counter".to_owned(), "y".to_owned()))
    );
    assert_eq!(parked[0].held, 3);
    assert_eq!(sum(&store, "copy-x").await, 2);
    assert_eq!(sum(&store, "copy-y").await, 0);
    // The operator gives up the first; the rest of the stream stays in order.
    let released = handle.release_stream("counter", "y").await?;
    assert_eq!(released.failed, 1);
    let discarded = handle.discard_stream("counter", "y").await?;
    assert_eq!(discarded.done, 3);
    add(&store, "y", 5).await;
    store.run_process_managers().await?;
    assert_eq!(sum(&store, "copy-y").await, 1);
    Ok(())
}
