//! One event for several instances, of which one cannot react: what its policy says is done about that one, and nothing about the
//! others.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use eventfold_es::clock::ManualClock;
use eventfold_es::prelude::*;
use eventfold_es::{
    AggregateStoreBuilder, Backoff, Correlate, Correlation, EventContext, Failure, FailureAction,
    HandleFailure, ProcessManagerHandle, Reactions,
};
use eventfold_es_tests::TestResult;
use tokio::sync::{Mutex, MutexGuard};

use super::tracker::{arrived, clock};
use crate::common::counter::{Counter, CounterCommand, CounterEvent};

/// `b` panics at it, while the program is broken.
const BAD: i64 = 1;
const BEFORE: i64 = 10;
const BEHIND: i64 = 11;

static BROKEN: AtomicBool = AtomicBool::new(true);
static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

async fn broken() -> MutexGuard<'static, ()> {
    let guard = ONE_AT_A_TIME.lock().await;
    BROKEN.store(true, SeqCst);
    guard
}

fn fix() {
    BROKEN.store(false, SeqCst);
}

/// What is added to `in-<action>` is for `a`, `b` and `c`.
#[process_manager(subscribes = [Counter], dispatches = [Counter], key = String, on_failure)]
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Team {
    seen: Vec<i64>,
}

impl Correlate<Counter> for Team {
    fn correlate(_event: &CounterEvent, cx: &EventContext<'_>) -> Correlation<String> {
        match cx.stream_id().starts_with("in-") {
            true => Correlation::each(
                ["a", "b", "c"].map(|key| Correlation::starts_or_continues(key.to_owned())),
            ),
            false => Correlation::none(),
        }
    }
}

impl React<Counter> for Team {
    fn react(&mut self, event: &CounterEvent, cx: &mut Reaction<'_, Self>) {
        if let CounterEvent::Added(number) = event {
            self.seen.push(*number);
            let is_bad = *number == BAD && cx.key() == "b";
            assert!(!is_bad || !BROKEN.load(SeqCst), "b cannot react");
            cx.send(format!("out-{}", cx.key()), CounterCommand::Add(*number));
        }
    }
}

impl HandleFailure for Team {
    fn on_failure(&self, failure: &Failure<'_>) -> FailureAction<Self> {
        match &*failure.source.stream_id {
            "in-retry" => {
                FailureAction::Retry(Backoff::exponential(Duration::from_secs(1)).jitter(0.0))
            }
            "in-letter" => FailureAction::DeadLetter,
            "in-skip" => FailureAction::Skip,
            "in-sorry" => FailureAction::compensate("out-sorry", CounterCommand::Add(99)),
            "in-stop" => FailureAction::Stop,
            _ => FailureAction::default_for(failure),
        }
    }
}

fn with(builder: AggregateStoreBuilder, clock: &ManualClock) -> AggregateStoreBuilder {
    builder.clock(clock.clone()).process_manager::<Team>()
}

fn team(store: &AggregateStore) -> ProcessManagerHandle<Team> {
    store.process_manager().expect("it is registered")
}

async fn add(store: &AggregateStore, action: &str, number: i64) -> Reactions {
    let (id, command) = (format!("in-{action}"), CounterCommand::Add(number));
    let done = store.send(&id, command, CommandContext::default()).await;
    done.expect("it is accepted").reactions
}

/// What `a`, `b` and `c` have sent.
async fn sent(store: &AggregateStore) -> [Vec<i64>; 3] {
    let [mut a, mut b, mut c] = [const { Vec::new() }; 3];
    for (key, sent) in [("a", &mut a), ("b", &mut b), ("c", &mut c)] {
        *sent = arrived(store, &format!("out-{key}")).await;
    }
    [a, b, c]
}

#[tokio::test]
async fn what_is_done_about_one_of_several_concerns_that_one_only() -> TestResult {
    let all = vec![BEFORE, BAD, BEHIND];
    let without = vec![BEFORE, BEHIND];
    let first = vec![BEFORE];
    for (action, said, then, others, own, at_last) in [
        (
            "park",
            Reactions::Parked,
            Reactions::Parked,
            &all,
            &first,
            &all,
        ),
        (
            "retry",
            Reactions::Retrying,
            Reactions::Retrying,
            &all,
            &first,
            &all,
        ),
        (
            "letter",
            Reactions::Done,
            Reactions::Done,
            &all,
            &without,
            &vec![BEFORE, BEHIND, BAD],
        ),
        (
            "skip",
            Reactions::Done,
            Reactions::Done,
            &all,
            &without,
            &without,
        ),
        (
            "sorry",
            Reactions::Done,
            Reactions::Done,
            &all,
            &without,
            &without,
        ),
        (
            "stop",
            Reactions::Stopped,
            Reactions::Stopped,
            &first,
            &first,
            &all,
        ),
    ] {
        let _guard = broken().await;
        let base = tempfile::tempdir()?;
        let clock = clock();
        let open = || with(AggregateStore::builder(base.path()), &clock).open();
        let store = open().await?;
        assert_eq!(add(&store, action, BEFORE).await, Reactions::Done);
        assert_eq!(add(&store, action, BAD).await, said, "{action}");
        assert_eq!(add(&store, action, BEHIND).await, then, "{action}");
        let found = sent(&store).await;
        assert_eq!(found, [others, own, others].map(Vec::clone), "{action}");
        store.close().await?;

        fix();
        let store = open().await?;
        store.run_process_managers().await?;
        match action {
            "park" => assert_eq!(team(&store).release("b").await?.done, 2),
            "retry" => clock.advance(Duration::from_secs(1)),
            "letter" => assert_eq!(team(&store).redrive_all().await?.done, 1),
            _ => {}
        }
        store.run_process_managers().await?;
        team(&store).settle().await?;
        let found = sent(&store).await;
        assert_eq!(found, [&all, at_last, &all].map(Vec::clone), "{action}");
        let sorry = arrived(&store, "out-sorry").await;
        assert_eq!(sorry.len(), usize::from(action == "sorry"));
        for (key, seen) in [("a", &all), ("b", at_last), ("c", &all)] {
            let instance = team(&store).instance(key).await?.unwrap();
            let state: Team = serde_json::from_str(&instance.state.unwrap())?;
            assert_eq!(&state.seen, seen, "{action} {key}");
        }
        let status = team(&store).status().await?;
        assert_eq!((status.instances.open, status.retrying), (3, 0), "{action}");
        assert!(store.verify().await?.differences.is_empty());
        store.close().await?;
    }
    Ok(())
}

/// What the others ask for, and that the one is parked, are in one commit.
#[tokio::test]
#[cfg_attr(eventfold_memory_journal, ignore = "it is about the disk")]
async fn a_crash_leaves_all_of_several_or_none() {
    let _guard = broken().await;
    let clock = clock();
    let crashes = eventfold_es::testing::for_each_crash_point(
        |builder| with(builder, &clock),
        async |store| {
            for number in [BEFORE, BAD, BEHIND] {
                add(&store, "park", number).await;
            }
            fix();
            assert_eq!(
                team(&store)
                    .release("b")
                    .await
                    .expect("the disk works")
                    .done,
                2
            );
        },
        async |store| {
            // The program is mended: what was not reacted to before the crash finds nothing wrong.
            let told = arrived(&store, "in-park").await;
            team(&store).release("b").await.expect("the disk works");
            assert_eq!(sent(&store).await, [told.clone(), told.clone(), told]);
            let parked = team(&store).parked().await.expect("rows");
            assert_eq!(parked, []);
        },
    )
    .await;
    assert!(crashes.points > 50, "{crashes:?}");
}
