//! What is done about failures, and how what is parked goes on.

use std::collections::BTreeSet;
use std::time::Duration;

use eventfold_es::prelude::*;
use eventfold_es::store::InstanceStatus;
use eventfold_es::{
    Correlate, Correlation, EventContext, Failure, FailureAction, HandleFailure, Reactions, RunMode,
};
use eventfold_es_tests::TestResult;
use tokio::sync::{Mutex, MutexGuard};

use super::tracker::*;
use crate::common::counter::{Counter, CounterCommand, CounterEvent};

/// Tests that break the program share one switch.
static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

/// Breaks the program, for as long as this is held.
pub async fn broken() -> MutexGuard<'static, ()> {
    let guard = ONE_AT_A_TIME.lock().await;
    set_broken(true);
    guard
}

#[tokio::test]
async fn a_rejection_is_a_dead_letter_with_its_history() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = builder(base.path(), RunMode::Inline, &clock())
        .open()
        .await?;
    add(&store, "a", &[START, REJECTED, CONTINUE]).await?;
    assert_eq!(arrived(&store, "out-a").await, [START, REJECTED, CONTINUE]);
    let letters = handle(&store).dead_letters().await?;
    let [letter] = &letters[..] else {
        panic!("{letters:?}");
    };
    assert_eq!(letter.error(), "rejected at the sum 1");
    assert_eq!((&*letter.instance, letter.attempts.len()), ("a", 1));
    assert_eq!(letter.attempts[0].kind, "rejected");
    assert_eq!(
        (&*letter.source.stream_id, letter.source.version),
        ("in-a", 2)
    );
    let lines = store.dead_letters::<Tracker>().await?;
    assert_eq!(lines.len(), 1);
    assert_eq!(Some(&lines[0].envelope), letter.envelope.as_ref());
    Ok(())
}

#[tokio::test]
async fn a_retry_blocks_nobody_and_ends_in_a_dead_letter() -> TestResult {
    let base = tempfile::tempdir()?;
    let clock = clock();
    let mut store = builder(base.path(), RunMode::OnDemand, &clock)
        .open()
        .await?;
    add(&store, "a", &[START, RETRY, CONTINUE]).await?;
    assert_eq!(arrived(&store, "out-a").await, [START, RETRY, CONTINUE]);
    for attempt in 1..4 {
        let status = handle(&store).status().await?;
        assert_eq!((status.retrying, status.dead_letters), (1, 0), "{attempt}");
        // The wait survives a restart.
        store.close().await?;
        store = builder(base.path(), RunMode::OnDemand, &clock)
            .open()
            .await?;
        let wait = Duration::from_secs(1 << (attempt - 1));
        clock.advance(wait - Duration::from_millis(1));
        store.run_process_managers().await?;
        assert_eq!(handle(&store).status().await?.retrying, 1);
        clock.advance(Duration::from_millis(1));
        store.run_process_managers().await?;
    }
    let status = handle(&store).status().await?;
    assert_eq!((status.retrying, status.dead_letters), (0, 1));
    let letters = handle(&store).dead_letters().await?;
    assert_eq!(letters[0].attempts.len(), 4);
    assert_eq!(store.dead_letters::<Tracker>().await?.len(), 1);
    Ok(())
}

#[tokio::test]
async fn a_policy_may_skip_or_compensate() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = builder(base.path(), RunMode::Inline, &clock())
        .open()
        .await?;
    add(&store, "a", &[START, SKIP, COMPENSATE]).await?;
    // The compensations come behind what the reaction sent.
    assert_eq!(arrived(&store, "out-a").await, [START, SKIP, COMPENSATE, 2]);
    assert_eq!(arrived(&store, "out-a-sorry").await, [1]);
    assert_eq!(handle(&store).status().await?.dead_letters, 0);
    assert!(store.dead_letters::<Tracker>().await?.is_empty());
    Ok(())
}

/// A command that is sent in the place of another one is another command.
#[tokio::test]
async fn compensations_have_ids_of_their_own() -> TestResult {
    let mut ids = Vec::new();
    for what in [DEAD, COMPENSATE] {
        // The same instance, at the same position: what is sent first, and what fails, has the same id.
        let base = tempfile::tempdir()?;
        let store = builder(base.path(), RunMode::Inline, &clock())
            .open()
            .await?;
        add(&store, "a", &[START, what]).await?;
        let letters = handle(&store).dead_letters().await?;
        ids.extend(letters.into_iter().map(|letter| letter.command_id));
        for id in ["out-a", "out-a-sorry"] {
            let events = store.read_events("counter", id).await.unwrap_or_default();
            let metas = events.iter().flat_map(|event| &event.meta);
            ids.extend(metas.map(|meta| meta["command_id"].as_str().unwrap().to_owned()));
        }
    }
    assert_eq!(ids.len(), 7);
    let different: BTreeSet<_> = ids.iter().collect();
    // Of two events, of what failed, and of what is sent in its place, twice.
    assert_eq!(different.len(), 5, "{ids:?}");
    Ok(())
}

/// Steno #138: a compensation that fails is visible and stuck, never a loop.
#[tokio::test]
async fn a_failing_compensation_parks_its_instance() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = builder(base.path(), RunMode::Inline, &clock())
        .open()
        .await?;
    add(&store, "a", &[START, COMPENSATE_IN_VAIN, CONTINUE]).await?;
    add(&store, "b", &[START]).await?;
    assert_eq!(arrived(&store, "out-a").await, [START, COMPENSATE_IN_VAIN]);
    assert_eq!(arrived(&store, "out-b").await, [START]);
    let parked = handle(&store).parked().await?;
    let [parked] = &parked[..] else {
        panic!("{parked:?}");
    };
    assert_eq!((parked.instance.as_deref(), parked.held), (Some("a"), 2));
    // It fails again, and is parked again.
    handle(&store).release("a").await?;
    let parked = handle(&store).parked().await?;
    assert_eq!((parked.len(), parked[0].held), (1, 2));
    assert_eq!(handle(&store).discard_parked("a").await?.done, 2);
    add(&store, "a", &[CONTINUE]).await?;
    assert_eq!(
        arrived(&store, "out-a").await,
        [START, COMPENSATE_IN_VAIN, CONTINUE]
    );
    Ok(())
}

/// Occurrent ADR 134: poison in one instance; others go on, its later events wait, and their order is kept.
#[tokio::test]
async fn poison_parks_one_instance_and_its_events_wait_in_order() -> TestResult {
    for poison in [POISON, PANIC] {
        let guard = broken().await;
        let base = tempfile::tempdir()?;
        let clock = clock();
        let mut store = builder(base.path(), RunMode::Inline, &clock).open().await?;
        add(&store, "a", &[START, ARM, CONTINUE, poison, EITHER, QUIET]).await?;
        add(&store, "b", &[START, CONTINUE]).await?;
        add(&store, "x", &[SEVERAL]).await?;
        clock.advance(Duration::from_secs(10));
        store.run_process_managers().await?;
        assert_eq!(arrived(&store, "out-a").await, [START, CONTINUE]);
        assert_eq!(arrived(&store, "out-b").await, [START, CONTINUE, SEVERAL]);
        for _ in 0..2 {
            let parked = handle(&store).parked().await?;
            // The poison, two events, one of several, and the deadline.
            assert_eq!((parked.len(), parked[0].held), (1, 5));
            assert!(parked[0].parked.reason.contains(&poison.to_string()));
            let status = handle(&store).status().await?;
            assert_eq!(status.instances.parked, 1);
            assert_eq!(status.parked_at, None, "the others go on");
            store.close().await?;
            store = builder(base.path(), RunMode::Inline, &clock).open().await?;
        }
        // Without the fix it stays.
        handle(&store).release("a").await?;
        assert_eq!(handle(&store).parked().await?[0].held, 5);
        set_broken(false);
        assert_eq!(handle(&store).release("a").await?.done, 5);
        let seen = state(&store, "a").await.unwrap();
        assert_eq!(
            seen.seen,
            [START, ARM, CONTINUE, poison, EITHER, QUIET, SEVERAL],
            "in their order, once"
        );
        assert_eq!(seen.fired, 1);
        assert_eq!(
            arrived(&store, "out-a").await,
            [START, CONTINUE, poison, EITHER, SEVERAL, 102]
        );
        let instance = handle(&store).instance("a").await?.unwrap();
        assert_eq!(instance.status, InstanceStatus::Open);
        add(&store, "a", &[CONTINUE]).await?;
        assert_eq!(arrived(&store, "out-a").await.len(), 7);
        assert!(store.verify().await?.differences.is_empty());
        store.close().await?;
        drop(guard);
    }
    Ok(())
}

#[tokio::test]
async fn an_event_whose_instance_is_unknown_holds_its_stream_only() -> TestResult {
    let guard = broken().await;
    let base = tempfile::tempdir()?;
    let clock = clock();
    let store = builder(base.path(), RunMode::Inline, &clock).open().await?;
    add(&store, "a", &[START, UNREADABLE, CONTINUE]).await?;
    add(&store, "b", &[START]).await?;
    add(&store, "x", &[SEVERAL]).await?;
    assert_eq!(arrived(&store, "out-a").await, [START, SEVERAL]);
    store.close().await?;
    let store = builder(base.path(), RunMode::Inline, &clock).open().await?;
    add(&store, "a", &[CONTINUE]).await?;
    let parked = handle(&store).parked().await?;
    let stream = Some(("counter".to_owned(), "in-a".to_owned()));
    assert_eq!(
        (parked.len(), &parked[0].stream, parked[0].held),
        (1, &stream, 3)
    );
    assert_eq!(
        handle(&store).release_stream("counter", "in-a").await?.done,
        0
    );
    set_broken(false);
    assert_eq!(
        handle(&store).release_stream("counter", "in-a").await?.done,
        3
    );
    assert_eq!(
        arrived(&store, "out-a").await,
        [START, SEVERAL, UNREADABLE, CONTINUE, CONTINUE]
    );
    assert!(handle(&store).parked().await?.is_empty());
    add(&store, "a", &[CONTINUE]).await?;
    assert_eq!(arrived(&store, "out-a").await.len(), 6);
    drop(guard);
    Ok(())
}

#[tokio::test]
async fn a_command_that_panics_in_its_target_is_a_dead_letter() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = builder(base.path(), RunMode::Inline, &clock())
        .open()
        .await?;
    add(&store, "a", &[START, PANICS_THERE]).await?;
    assert_eq!(arrived(&store, "out-a").await, [START, PANICS_THERE]);
    let letters = handle(&store).dead_letters().await?;
    assert_eq!(letters[0].attempts[0].kind, "panicked");
    assert!(
        letters[0].error().contains("no idea"),
        "{}",
        letters[0].error()
    );
    Ok(())
}

#[tokio::test]
async fn a_policy_may_park_the_instance_or_stop_them_all() -> TestResult {
    let base = tempfile::tempdir()?;
    let clock = clock();
    let store = builder(base.path(), RunMode::Inline, &clock).open().await?;
    add(&store, "a", &[START, PARK, CONTINUE]).await?;
    add(&store, "b", &[START]).await?;
    assert_eq!(arrived(&store, "out-a").await, [START, PARK]);
    assert_eq!(handle(&store).parked().await?[0].held, 2);
    add(&store, "b", &[STOP, CONTINUE]).await?;
    add(&store, "c", &[START]).await?;
    assert_eq!(
        arrived(&store, "out-b").await,
        [START],
        "nothing of it is done"
    );
    assert_eq!(arrived(&store, "out-c").await, [0; 0]);
    let status = handle(&store).status().await?;
    assert!(
        status
            .parked_at
            .unwrap()
            .reason
            .contains("rejected at the sum")
    );
    // It is tried again, and stops again.
    assert_eq!(handle(&store).retry().await?.done, 1);
    store.run_process_managers().await?;
    assert!(handle(&store).status().await?.parked_at.is_some());
    assert!(!handle(&store).dead_letters().await?.iter().any(|_| true));
    Ok(())
}

/// Fails at every event, and sends what is rejected in its place.
#[process_manager(subscribes = [Counter], dispatches = [Counter], key = String, on_failure)]
#[derive(Debug, Default, Serialize, Deserialize)]
struct Futile;

impl Correlate<Counter> for Futile {
    fn correlate(_event: &CounterEvent, cx: &EventContext<'_>) -> Correlation<String> {
        match cx.stream_id().strip_prefix("in-") {
            Some(key) => Correlation::starts_or_continues(key.to_owned()),
            None => panic!("nobody knows whose it is"),
        }
    }
}

impl React<Counter> for Futile {
    fn react(&mut self, _event: &CounterEvent, _cx: &mut Reaction<'_, Self>) {
        panic!("it never reacts");
    }
}

impl HandleFailure for Futile {
    fn on_failure(&self, failure: &Failure<'_>) -> FailureAction<Self> {
        match failure.envelope {
            None => FailureAction::compensate("out", CounterCommand::Reject),
            Some(_) => FailureAction::default_for(failure),
        }
    }
}

/// What is sent in the place of a reaction is a compensation as well: rejected, it is stuck, where it can be.
#[tokio::test]
async fn a_failing_compensation_for_an_event_parks_its_instance() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = AggregateStore::builder(base.path())
        .process_manager::<Futile>()
        .open()
        .await?;
    let command = || CounterCommand::Add(1);
    let done = store
        .send("in-a", command(), CommandContext::default())
        .await?;
    assert_eq!(done.reactions, Reactions::Parked);
    let futile = store.process_manager::<Futile>()?;
    let parked = futile.parked().await?;
    let [parked] = &parked[..] else {
        panic!("{parked:?}");
    };
    assert_eq!((parked.instance.as_deref(), parked.held), (Some("a"), 1));
    assert!(
        parked.parked.reason.contains("rejected at the sum 0"),
        "{parked:?}"
    );
    assert_eq!(futile.dead_letters().await?, []);
    // Without an instance there is nobody to be parked: it is not lost either.
    let done = store
        .send("nobody", command(), CommandContext::default())
        .await?;
    assert_eq!(done.reactions, Reactions::Done);
    let letters = futile.dead_letters().await?;
    assert_eq!(
        (letters.len(), letters[0].error()),
        (1, "rejected at the sum 0")
    );
    Ok(())
}
