//! When deadlines fire, and when they do nothing.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use eventfold_es::prelude::*;
use eventfold_es::store::InstanceStatus;
use eventfold_es::{
    Backoff, Correlate, Correlation, EventContext, Failure, FailureAction, HandleFailure, RunMode,
};
use eventfold_es_tests::TestResult;

use super::tracker::*;
use crate::common::counter::{Counter, CounterCommand, CounterEvent};

const TEN: Duration = Duration::from_secs(10);

/// Waits until something arrives by itself.
async fn arrives(store: &eventfold_es::AggregateStore, id: &str, numbers: &[i64]) {
    for _ in 0..500 {
        if arrived(store, id).await == numbers {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!(
        "{:?} arrived at {id}, not {numbers:?}",
        arrived(store, id).await
    );
}

#[tokio::test]
async fn a_deadline_fires_once_and_by_itself_unless_runs_are_on_demand() -> TestResult {
    for mode in [RunMode::Inline, RunMode::Background, RunMode::OnDemand] {
        let base = tempfile::tempdir()?;
        let clock = clock();
        let store = builder(base.path(), mode, &clock).open().await?;
        add(&store, "a", &[START, ARM]).await?;
        clock.advance(TEN - Duration::from_millis(1));
        store.run_process_managers().await?;
        assert_eq!(arrived(&store, "out-a").await, [START], "{mode:?}");
        assert_eq!(handle(&store).status().await?.deadlines, 1);
        clock.advance(Duration::from_millis(1));
        if mode == RunMode::OnDemand {
            tokio::time::sleep(Duration::from_millis(50)).await;
            assert_eq!(arrived(&store, "out-a").await, [START]);
            store.run_process_managers().await?;
        }
        arrives(&store, "out-a", &[START, 102]).await;
        clock.advance(TEN);
        store.run_process_managers().await?;
        assert_eq!(arrived(&store, "out-a").await, [START, 102]);
        handle(&store).settle().await?;
        assert_eq!(state(&store, "a").await.unwrap().fired, 1);
        assert_eq!(handle(&store).status().await?.deadlines, 0);
        store.close().await?;
    }
    Ok(())
}

/// Wolverine #1846, #1272: one in the past fires once, and one that is armed survives.
#[tokio::test]
async fn a_deadline_in_the_past_fires_and_an_armed_one_survives_a_restart() -> TestResult {
    let base = tempfile::tempdir()?;
    let clock = clock();
    let store = builder(base.path(), RunMode::Inline, &clock).open().await?;
    add(&store, "a", &[START, ARM_LATE]).await?;
    arrives(&store, "out-a", &[START, 100]).await;
    add(&store, "b", &[START, ARM]).await?;
    store.close().await?;
    clock.advance(TEN);
    let store = builder(base.path(), RunMode::Inline, &clock).open().await?;
    arrives(&store, "out-b", &[START, 102]).await;
    assert_eq!(arrived(&store, "out-a").await, [START, 100]);
    let events = store.read_events("counter", "out-b").await?;
    let meta = events[1].meta.as_ref().unwrap();
    let armed = store.read_events("counter", "in-b").await?;
    assert_eq!(meta["causation_id"].as_str(), armed[1].id.as_deref());
    Ok(())
}

/// Axon #3857, Wolverine #1095.
#[tokio::test]
async fn one_that_was_cancelled_replaced_or_orphaned_does_nothing() -> TestResult {
    let base = tempfile::tempdir()?;
    let clock = clock();
    let store = builder(base.path(), RunMode::Inline, &clock).open().await?;
    add(&store, "cancelled", &[START, ARM, CANCEL, CANCEL]).await?;
    add(&store, "completed", &[START, ARM, COMPLETE]).await?;
    add(&store, "reused", &[START, ARM, COMPLETE, START]).await?;
    add(&store, "replaced", &[START, ARM]).await?;
    clock.advance(TEN / 2);
    add(&store, "replaced", &[ARM]).await?;
    assert_eq!(handle(&store).status().await?.deadlines, 1);
    clock.advance(TEN / 2);
    store.run_process_managers().await?;
    assert_eq!(arrived(&store, "out-cancelled").await, [START]);
    assert_eq!(arrived(&store, "out-completed").await, [START, COMPLETE]);
    assert_eq!(
        arrived(&store, "out-reused").await,
        [START, COMPLETE, START]
    );
    assert_eq!(arrived(&store, "out-replaced").await, [START]);
    clock.advance(TEN / 2);
    store.run_process_managers().await?;
    assert_eq!(arrived(&store, "out-replaced").await, [START, 103]);
    Ok(())
}

/// More deadlines than are held in memory fire in their order.
#[tokio::test]
async fn thousands_of_deadlines_fire() -> TestResult {
    let base = tempfile::tempdir()?;
    let clock = clock();
    let store = builder(base.path(), RunMode::OnDemand, &clock)
        .open()
        .await?;
    let count = 2500;
    let many = (0..count).map(|number| {
        let store = store.clone();
        tokio::spawn(async move {
            for what in [START, ARM] {
                let command = CounterCommand::Add(what);
                let context = eventfold_es::CommandContext::default();
                store
                    .send(&format!("in-{number}"), command, context)
                    .await?;
            }
            Ok::<_, eventfold_es::Error>(())
        })
    });
    for armed in many.collect::<Vec<_>>() {
        armed.await??;
    }
    store.run_process_managers().await?;
    assert_eq!(handle(&store).status().await?.deadlines, count);
    clock.advance(TEN);
    store.run_process_managers().await?;
    assert_eq!(handle(&store).status().await?.deadlines, 0);
    for number in [0, 1, 77, count - 1] {
        assert_eq!(
            arrived(&store, &format!("out-{number}")).await,
            [START, 102]
        );
    }
    Ok(())
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Late {
    number: i64,
}

/// Does several things with one deadline in one reaction.
#[process_manager(subscribes = [Counter], dispatches = [Counter], key = String, deadlines = [Late])]
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Undecided;

const TWICE: i64 = 1;
const TWICE_AT_ONCE: i64 = 2;
const ARM_AND_CANCEL: i64 = 3;
const CANCEL_AND_ARM: i64 = 4;
const ARM_AND_COMPLETE: i64 = 5;
const COMPLETE_AND_ARM: i64 = 6;
const NEVER: i64 = 7;

impl Correlate<Counter> for Undecided {
    fn correlate(_event: &CounterEvent, cx: &EventContext<'_>) -> Correlation<String> {
        match cx.stream_id().strip_prefix("in-") {
            Some(key) => Correlation::starts_or_continues(key.to_owned()),
            None => Correlation::none(),
        }
    }
}

impl React<Counter> for Undecided {
    fn react(&mut self, event: &CounterEvent, cx: &mut Reaction<'_, Self>) {
        let CounterEvent::Added(asked) = event else {
            return;
        };
        let arm = |cx: &mut Reaction<'_, Self>, seconds: u64, number| {
            let when = Deadline::after(Duration::from_secs(seconds));
            cx.schedule("late", when, Late { number });
        };
        match *asked {
            TWICE => {
                arm(cx, 10, 1);
                arm(cx, 20, 2);
            }
            TWICE_AT_ONCE => {
                arm(cx, 10, 1);
                arm(cx, 10, 2);
            }
            ARM_AND_CANCEL => {
                arm(cx, 10, 1);
                cx.cancel("late");
            }
            CANCEL_AND_ARM => {
                cx.cancel("late");
                arm(cx, 10, 1);
            }
            ARM_AND_COMPLETE => {
                arm(cx, 10, 1);
                cx.complete();
            }
            COMPLETE_AND_ARM => {
                cx.complete();
                arm(cx, 10, 1);
            }
            _ => {
                let never = Deadline::after(Duration::MAX);
                cx.schedule("late", never, Late { number: 1 });
            }
        }
    }
}

impl OnDeadline<Late> for Undecided {
    fn on_deadline(&mut self, late: Late, cx: &mut Reaction<'_, Self>) {
        cx.send(
            format!("out-{}", cx.key()),
            CounterCommand::Add(late.number),
        );
    }
}

/// The last thing that a reaction says about a deadline counts, and the end of its instance in any case.
#[tokio::test]
async fn what_a_reaction_says_last_about_a_deadline_counts() -> TestResult {
    for (asked, after_ten, after_twenty, armed) in [
        (TWICE, &[][..], &[2][..], 1),
        (TWICE_AT_ONCE, &[2], &[2], 1),
        (ARM_AND_CANCEL, &[], &[], 0),
        (CANCEL_AND_ARM, &[1], &[1], 1),
        (ARM_AND_COMPLETE, &[], &[], 0),
        (COMPLETE_AND_ARM, &[], &[], 0),
        (NEVER, &[], &[], 1),
    ] {
        for is_reopened in [false, true] {
            let base = tempfile::tempdir()?;
            let clock = clock();
            let open = || {
                AggregateStore::builder(base.path())
                    .clock(clock.clone())
                    .process_manager::<Undecided>()
                    .open()
            };
            let mut store = open().await?;
            let command = CounterCommand::Add(asked);
            store
                .send("in-a", command, CommandContext::default())
                .await?;
            if is_reopened {
                store.close().await?;
                store = open().await?;
            }
            let undecided = store.process_manager::<Undecided>()?;
            undecided.settle().await?;
            let instance = undecided.instance("a").await?.unwrap();
            assert_eq!(instance.deadlines.len(), armed, "{asked}");
            assert_eq!(undecided.status().await?.deadlines, armed as u64);
            let is_over = matches!(asked, ARM_AND_COMPLETE | COMPLETE_AND_ARM);
            assert_eq!(instance.status == InstanceStatus::Completed, is_over);
            for expected in [after_ten, after_twenty] {
                clock.advance(TEN);
                store.run_process_managers().await?;
                assert_eq!(arrived(&store, "out-a").await, expected, "{asked}");
            }
            assert!(store.verify().await?.differences.is_empty());
            drop(undecided);
            store.close().await?;
        }
    }
    Ok(())
}

/// Arms two deadlines of different names; each of them arms the same one, twice, for a time that has come.
#[process_manager(subscribes = [Counter], dispatches = [Counter], key = String, deadlines = [Late], on_failure)]
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Repeating {
    fired: u64,
}

impl Correlate<Counter> for Repeating {
    fn correlate(_event: &CounterEvent, cx: &EventContext<'_>) -> Correlation<String> {
        match cx.stream_id().strip_prefix("in-") {
            Some(key) => Correlation::starts(key.to_owned()),
            None => Correlation::none(),
        }
    }
}

impl React<Counter> for Repeating {
    fn react(&mut self, _event: &CounterEvent, cx: &mut Reaction<'_, Self>) {
        for name in ["one", "other"] {
            let past = Deadline::at(SystemTime::UNIX_EPOCH);
            cx.schedule(name, past, Late { number: 0 });
        }
    }
}

impl OnDeadline<Late> for Repeating {
    fn on_deadline(&mut self, Late { number }: Late, cx: &mut Reaction<'_, Self>) {
        self.fired += 1;
        assert!(number < 3 || cx.key() != "broken", "3 is too much");
        let context = CommandContext::default().with_actor(cx.key().clone());
        cx.send_with("out", CounterCommand::Reject, context);
        if number < 3 {
            let past = Deadline::at(SystemTime::UNIX_EPOCH);
            cx.schedule("again", past, Late { number: number + 1 });
        }
    }
}

impl HandleFailure for Repeating {
    fn on_failure(&self, failure: &Failure<'_>) -> FailureAction<Self> {
        match failure.key {
            "waits" => FailureAction::Retry(Backoff::exponential(TEN).jitter(0.0)),
            _ => FailureAction::DeadLetter,
        }
    }
}

/// Deadlines that were armed when others were reached have one event behind them, and may have one name and one time: what they
/// send is kept apart all the same.
#[tokio::test]
async fn what_deadlines_of_deadlines_send_is_not_taken_for_the_same() -> TestResult {
    for key in ["dead", "waits", "broken"] {
        let base = tempfile::tempdir()?;
        let clock = clock();
        let store = AggregateStore::builder(base.path())
            .clock(clock.clone())
            // One after the other, so that none of them replaces another one that is armed.
            .run_mode(RunMode::OnDemand)
            .process_manager::<Repeating>()
            .open()
            .await?;
        let command = CounterCommand::Add(1);
        store
            .send(&format!("in-{key}"), command, CommandContext::default())
            .await?;
        store.run_process_managers().await?;
        let repeating = store.process_manager::<Repeating>()?;
        repeating.settle().await?;
        let instance = repeating.instance(key).await?.unwrap();
        let state: Repeating = serde_json::from_str(&instance.state.unwrap())?;
        let letters = repeating.dead_letters().await?;
        let commands: Vec<_> = letters
            .iter()
            .filter(|letter| letter.deadline.is_none())
            .collect();
        let ids: BTreeSet<_> = commands.iter().map(|letter| &letter.command_id).collect();
        let pending = repeating.status().await?.retrying as usize;
        assert_eq!(ids.len(), commands.len());
        assert_eq!(
            commands.len() + pending,
            state.fired as usize,
            "{key}: {letters:?}"
        );
        let failed = letters.len() - commands.len();
        match key {
            "broken" => assert_eq!((state.fired, failed), (6, 2)),
            _ => assert_eq!((state.fired, failed), (8, 0)),
        }
        assert_eq!(pending > 0, key == "waits");
        assert!(store.verify().await?.differences.is_empty());
    }
    Ok(())
}
