//! Making states again: what changes is the states, and nothing else.

use std::path::Path;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::SeqCst};
use std::time::{Duration, SystemTime};

use eventfold_es::clock::ManualClock;
use eventfold_es::prelude::*;
use eventfold_es::store::{InstanceStatus, ProcessManagerReport};
use eventfold_es::{
    AggregateStoreBuilder, Backoff, Correlate, Correlation, Deadline, EventContext, Failure,
    FailureAction, HandleFailure, OnDeadline, RunMode, StoreError,
};
use eventfold_es_tests::TestResult;

use super::tracker::{arrived, clock};
use crate::common::counter::{Counter, CounterCommand, CounterEvent};

const START: i64 = 1;
const COMPLETE: i64 = 6;
/// Arms a deadline, in ten seconds.
const ARM: i64 = 7;
/// Arms one that is reached at once.
const ARM_LATE: i64 = 8;
const REJECTED: i64 = 11;
/// The old program panics at it.
const POISON: i64 = 13;
/// The old program panics at it, and passes it over.
const PASSED: i64 = 14;
/// Is rejected, and tried again after a minute.
const RETRIED: i64 = 15;
/// The newest program panics at it.
const FORGOTTEN: i64 = 16;

#[derive(Debug, Serialize, Deserialize)]
pub struct Due;

/// One version of the program: what its state is, and how a number gets into it.
// Each time it formats this, rustfmt moves the arguments further to the right.
#[rustfmt::skip]
macro_rules! version {
    ($name:ident { $($field:tt)* }, $note:expr) => {
        #[process_manager(name = "rewritten", subscribes = [Counter], dispatches = [Counter], key = String,
                          deadlines = [Due], on_failure)]
        #[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
        pub struct $name {
            $($field)*
        }

        impl Correlate<Counter> for $name {
            fn correlate(event: &CounterEvent, cx: &EventContext<'_>) -> Correlation<String> {
                match (event, cx.stream_id().strip_prefix("in-")) {
                    (CounterEvent::Added(START), Some(key)) => Correlation::starts(key.to_owned()),
                    (CounterEvent::Added(_), Some(key)) => Correlation::continues(key.to_owned()),
                    _ => Correlation::none(),
                }
            }
        }

        impl React<Counter> for $name {
            fn react(&mut self, event: &CounterEvent, cx: &mut Reaction<'_, Self>) {
                let CounterEvent::Added(number) = event else {
                    return;
                };
                ($note)(self, *number);
                let out = format!("out-{}", cx.key());
                match *number {
                    COMPLETE => cx.complete(),
                    ARM => cx.schedule("due", Deadline::after(Duration::from_secs(10)), Due),
                    ARM_LATE => cx.schedule("due", Deadline::at(SystemTime::UNIX_EPOCH), Due),
                    REJECTED => cx.send(out.clone(), CounterCommand::Reject),
                    RETRIED => {
                        let context = CommandContext::default().with_actor("again");
                        cx.send_with(out.clone(), CounterCommand::Reject, context);
                    }
                    _ => {}
                }
                cx.send(out, CounterCommand::Add(*number));
            }
        }

        impl OnDeadline<Due> for $name {
            fn on_deadline(&mut self, _due: Due, cx: &mut Reaction<'_, Self>) {
                ($note)(self, 1000);
                cx.send(format!("out-{}", cx.key()), CounterCommand::Add(1000));
            }
        }

        impl HandleFailure for $name {
            fn on_failure(&self, failure: &Failure<'_>) -> FailureAction<Self> {
                match failure.envelope {
                    Some(envelope) if envelope.context.actor.is_some() => {
                        let backoff = Backoff::exponential(Duration::from_secs(60));
                        FailureAction::Retry(backoff.jitter(0.0))
                    }
                    None if failure.cause.to_string().contains("passed over") => FailureAction::Skip,
                    _ => FailureAction::default_for(failure),
                }
            }
        }
    };
}

version!(Old { pub sum: i64, }, |state: &mut Old, number: i64| {
    assert!(number != POISON, "13 is poison");
    assert!(number != PASSED, "14 is passed over");
    state.sum += number;
});
version!(
    New { #[serde(default)] pub seen: Vec<i64>, },
    |state: &mut New, number: i64| state.seen.push(number)
);
// The field of the old one has another type.
version!(Retyped { pub sum: Vec<i64>, }, |state: &mut Retyped, number: i64| {
    state.sum.push(number);
});
version!(
    Newest { #[serde(default)] pub count: u64, },
    |state: &mut Newest, number: i64| {
        assert!(number != FORGOTTEN, "16 is forgotten");
        state.count += 1;
    }
);

fn builder<PM: ProcessManager>(
    base: &Path,
    mode: RunMode,
    clock: &ManualClock,
) -> AggregateStoreBuilder {
    AggregateStore::builder(base)
        .run_mode(mode)
        .clock(clock.clone())
        .process_manager::<PM>()
}

async fn add(store: &AggregateStore, key: &str, numbers: &[i64]) -> TestResult {
    for number in numbers {
        let command = CounterCommand::Add(*number);
        store
            .send(&format!("in-{key}"), command, CommandContext::default())
            .await?;
    }
    store.run_process_managers().await?;
    Ok(())
}

async fn states<PM: ProcessManager>(store: &AggregateStore) -> Vec<(String, Option<PM>)> {
    let handle = store.process_manager::<PM>().expect("registered");
    let instances = handle.instances(None, 1000).await.expect("rows");
    let read = |state: String| serde_json::from_str(&state).expect("a state");
    let found = instances.into_iter();
    found
        .map(|found| (found.key, found.state.map(read)))
        .collect()
}

/// All streams, as they are stored.
async fn everything(store: &AggregateStore) -> Vec<(String, String)> {
    let mut all = Vec::new();
    for (aggregate_type, id) in store.list_streams(None).await.expect("streams") {
        let events = store.read_events(&aggregate_type, &id).await;
        let text = serde_json::to_string(&events.expect("events")).expect("json");
        all.push((id, text));
    }
    all
}

/// A store with everything that an instance can be in the middle of.
async fn lived_in(base: &Path, clock: &ManualClock) -> TestResult {
    let store = builder::<Old>(base, RunMode::Inline, clock).open().await?;
    // Reached late, by another one that is armed when the store is rebuilt.
    add(&store, "deadlines", &[START, ARM_LATE]).await?;
    add(&store, "deadlines", &[20, ARM]).await?;
    add(&store, "again", &[START, 30, COMPLETE, 31, START, 32]).await?;
    add(&store, "letters", &[START, REJECTED, RETRIED]).await?;
    add(&store, "parked", &[START, 40, ARM_LATE, POISON, 41]).await?;
    add(&store, "released", &[START, 50, PASSED, POISON, 51, 52]).await?;
    add(&store, "done", &[START, COMPLETE]).await?;
    store.close().await?;
    // A program that has no trouble with the poison, but the old state.
    let store = builder::<Newest>(base, RunMode::Inline, clock)
        .open()
        .await?;
    let handle = store.process_manager::<Newest>()?;
    assert_eq!(handle.release("released").await?.done, 3);
    store.close().await?;
    Ok(())
}

#[tokio::test]
async fn states_are_those_of_the_program_and_nothing_is_done_again() -> TestResult {
    for mode in [RunMode::Inline, RunMode::Background, RunMode::OnDemand] {
        let base = tempfile::tempdir()?;
        let clock = clock();
        lived_in(base.path(), &clock).await?;
        let store = builder::<New>(base.path(), mode, &clock).open().await?;
        let handle = store.process_manager::<New>()?;
        store.run_process_managers().await?;
        let before = (
            everything(&store).await,
            handle.dead_letters().await?,
            handle.parked().await?,
            store.dead_letters::<New>().await?,
        );
        let status = handle.status().await?;
        assert_eq!(
            (status.retrying, status.deadlines, status.dead_letters),
            (1, 1, 1)
        );

        let rebuilt = handle.rebuild_state().await?;
        assert_eq!(
            (rebuilt.deadlines, rebuilt.instances),
            (2, 6),
            "{rebuilt:?}"
        );
        let seen = |numbers: &[i64]| {
            Some(New {
                seen: numbers.to_vec(),
            })
        };
        let expected = [
            ("again", seen(&[START, 32])),
            ("deadlines", seen(&[START, ARM_LATE, 1000, 20, ARM])),
            ("done", None),
            ("letters", seen(&[START, REJECTED, RETRIED])),
            // Not what it holds.
            ("parked", seen(&[START, 40, ARM_LATE, 1000])),
            // What was held and released, and not what was passed over.
            ("released", seen(&[START, 50, POISON, 51, 52])),
        ];
        let expected = expected.map(|(key, state)| (key.to_owned(), state));
        assert_eq!(states::<New>(&store).await, expected, "{mode:?}");
        let after = (
            everything(&store).await,
            handle.dead_letters().await?,
            handle.parked().await?,
            store.dead_letters::<New>().await?,
        );
        assert_eq!(after, before, "{mode:?}");
        assert_eq!(handle.status().await?, status);
        let report = store.run_process_managers().await?;
        assert_eq!(report, ProcessManagerReport::default());
        assert_eq!(handle.instance("again").await?.unwrap().generation, 2);

        // Everything goes on, also after a restart: the deadline, the parked instance, and the command that waits.
        store.close().await?;
        let store = builder::<New>(base.path(), mode, &clock).open().await?;
        assert_eq!(store.recovery().redone_commits, 0);
        let handle = store.process_manager::<New>()?;
        assert_eq!(states::<New>(&store).await, expected, "{mode:?}");
        assert_eq!(handle.release("parked").await?.done, 2);
        clock.advance(Duration::from_secs(10));
        add(&store, "again", &[33]).await?;
        clock.advance(Duration::from_secs(50));
        store.run_process_managers().await?;
        handle.settle().await?;
        let deadlines = arrived(&store, "out-deadlines").await;
        assert_eq!(deadlines, [START, ARM_LATE, 1000, 20, ARM, 1000]);
        let parked = arrived(&store, "out-parked").await;
        assert_eq!(parked, [START, 40, ARM_LATE, 1000, POISON, 41]);
        let status = handle.status().await?;
        assert_eq!(
            (status.retrying, status.deadlines, status.dead_letters),
            (1, 0, 1)
        );
        let states = states::<New>(&store).await;
        assert_eq!(states[0].1, seen(&[START, 32, 33]));
        assert_eq!(states[1].1, seen(&[START, ARM_LATE, 1000, 20, ARM, 1000]));
        // Again and again, from one table of instances to the other and back.
        for _ in 0..2 {
            handle.rebuild_state().await?;
            assert_eq!(self::states::<New>(&store).await, states);
        }
        assert!(store.verify().await?.differences.is_empty());
        store.close().await?;
    }
    Ok(())
}

/// For a state that does not decode there is no other remedy where nothing can be migrated.
#[tokio::test]
async fn an_instance_whose_state_does_not_decode_gets_one_that_does() -> TestResult {
    let base = tempfile::tempdir()?;
    let clock = clock();
    let store = builder::<Old>(base.path(), RunMode::Inline, &clock)
        .open()
        .await?;
    add(&store, "a", &[START, 20]).await?;
    store.close().await?;
    let store = builder::<Retyped>(base.path(), RunMode::Inline, &clock)
        .open()
        .await?;
    let handle = store.process_manager::<Retyped>()?;
    add(&store, "a", &[21]).await?;
    assert_eq!(handle.parked().await?[0].held, 1);
    assert_eq!(handle.release("a").await?.done, 0, "it cannot be released");
    handle.rebuild_state().await?;
    assert_eq!(handle.release("a").await?.done, 1);
    assert_eq!(arrived(&store, "out-a").await, [START, 20, 21]);
    let [(_, Some(state))] = &states::<Retyped>(&store).await[..] else {
        panic!("one instance");
    };
    assert_eq!(state.sum, [START, 20, 21]);
    Ok(())
}

#[tokio::test]
async fn what_is_not_reacted_to_any_more_leaves_the_states_as_they_are() -> TestResult {
    let base = tempfile::tempdir()?;
    let clock = clock();
    let store = builder::<New>(base.path(), RunMode::Inline, &clock)
        .open()
        .await?;
    add(&store, "a", &[START, 20, ARM]).await?;
    add(&store, "b", &[START, FORGOTTEN]).await?;
    let position = store.health().await.process_managers[0].position;
    let before = states::<New>(&store).await;
    store.close().await?;
    let store = builder::<Newest>(base.path(), RunMode::Inline, &clock)
        .open()
        .await?;
    let handle = store.process_manager::<Newest>()?;
    let refused = handle.rebuild_state().await.unwrap_err();
    assert!(matches!(refused, StoreError::Refused { .. }), "{refused:?}");
    let text = refused.to_string();
    assert!(
        text.contains("16 is forgotten") && text.contains("position"),
        "{text}"
    );
    store.close().await?;
    // Neither the states nor anything else has changed, and nothing is left of it.
    let store = builder::<New>(base.path(), RunMode::Inline, &clock)
        .open()
        .await?;
    assert_eq!(states::<New>(&store).await, before);
    assert_eq!(store.health().await.process_managers[0].position, position);
    assert!(store.verify().await?.differences.is_empty());
    clock.advance(Duration::from_secs(10));
    store.run_process_managers().await?;
    assert_eq!(arrived(&store, "out-a").await, [START, 20, ARM, 1000]);
    Ok(())
}

/// With another idea of when an instance is complete, its key is never used under the same generation twice.
#[tokio::test]
async fn instances_begin_and_end_as_the_program_says_now() -> TestResult {
    let base = tempfile::tempdir()?;
    let clock = clock();
    let store = builder::<New>(base.path(), RunMode::Inline, &clock)
        .open()
        .await?;
    add(&store, "kept", &[START, ARM, COMPLETE, START, 20, ARM]).await?;
    add(&store, "ended", &[START, ARM, 21]).await?;
    store.close().await?;
    let store = AggregateStore::builder(base.path())
        .clock(clock.clone())
        .process_manager::<Ending>()
        .open()
        .await?;
    let handle = store.process_manager::<Ending>()?;
    handle.rebuild_state().await?;
    let kept = handle.instance("kept").await?.unwrap();
    // It never completes now; its deadline stays.
    assert_eq!((kept.generation, kept.status), (2, InstanceStatus::Open));
    assert_eq!(kept.deadlines.len(), 1);
    let state: Ending = serde_json::from_str(&kept.state.unwrap())?;
    assert_eq!(state.seen, [START, ARM, COMPLETE, 20, ARM]);
    // This one does, and its deadline is gone.
    let ended = handle.instance("ended").await?.unwrap();
    assert_eq!(
        (ended.status, ended.deadlines.len()),
        (InstanceStatus::Completed, 0)
    );
    assert_eq!(handle.status().await?.deadlines, 1);
    clock.advance(Duration::from_secs(10));
    store.run_process_managers().await?;
    assert_eq!(arrived(&store, "out-ended").await, [START, ARM, 21]);
    Ok(())
}

/// Completes at 21 and not at [`COMPLETE`].
#[process_manager(name = "rewritten", subscribes = [Counter], dispatches = [Counter], key = String, deadlines = [Due])]
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Ending {
    #[serde(default)]
    pub seen: Vec<i64>,
}

impl Correlate<Counter> for Ending {
    fn correlate(event: &CounterEvent, cx: &EventContext<'_>) -> Correlation<String> {
        New::correlate_as(event, cx)
    }
}

impl New {
    fn correlate_as(event: &CounterEvent, cx: &EventContext<'_>) -> Correlation<String> {
        <Self as Correlate<Counter>>::correlate(event, cx)
    }
}

impl React<Counter> for Ending {
    fn react(&mut self, event: &CounterEvent, cx: &mut Reaction<'_, Self>) {
        if let CounterEvent::Added(number) = event {
            self.seen.push(*number);
            if *number == 21 {
                cx.complete();
            }
        }
    }
}

impl OnDeadline<Due> for Ending {
    fn on_deadline(&mut self, _due: Due, cx: &mut Reaction<'_, Self>) {
        cx.send(format!("out-{}", cx.key()), CounterCommand::Add(2000));
    }
}

/// More instances than are in memory at a time, and more than one commit takes.
#[tokio::test]
async fn many_instances_are_made_again_in_parts() -> TestResult {
    const KEYS: u64 = 9_000;
    let base = tempfile::tempdir()?;
    let builder = || {
        AggregateStore::builder(base.path())
            .run_mode(RunMode::OnDemand)
            // What is read is in archives, too.
            .max_log_size(100_000)
            .process_manager::<Dealt>()
    };
    let store = builder().open().await?;
    for _ in 0..8 {
        let command = CounterCommand::AddOnes(KEYS as u32 / 4);
        store.send("in", command, CommandContext::default()).await?;
    }
    store.run_process_managers().await?;
    let handle = store.process_manager::<Dealt>()?;
    let before = handle.instances(None, usize::MAX).await?;
    drop(handle);
    store.close().await?;
    let store = builder().open().await?;
    let handle = store.process_manager::<Dealt>()?;
    DEALT.store(100, SeqCst);
    let rebuilt = handle.rebuild_state().await?;
    assert_eq!((rebuilt.events, rebuilt.instances), (2 * KEYS, KEYS));
    store.close().await?;
    let store = builder().open().await?;
    let handle = store.process_manager::<Dealt>()?;
    let after = handle.instances(None, usize::MAX).await?;
    assert_eq!((before.len(), after.len()), (KEYS as usize, KEYS as usize));
    for (before, after) in before.iter().zip(&after) {
        assert_eq!((&before.key, before.generation), (&after.key, 1));
        assert_eq!(before.state.as_deref(), Some("{\"count\":2}"));
        assert_eq!(
            after.state.as_deref(),
            Some("{\"count\":200}"),
            "{}",
            after.key
        );
    }
    assert_eq!(handle.status().await?.instances.open, KEYS);
    assert!(store.verify().await?.differences.is_empty());
    Ok(())
}

static DEALT: AtomicU64 = AtomicU64::new(1);

/// Deals the events of a stream to many instances.
#[process_manager(subscribes = [Counter], dispatches = [Counter], key = u64)]
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Dealt {
    count: u64,
}

impl Correlate<Counter> for Dealt {
    fn correlate(_event: &CounterEvent, cx: &EventContext<'_>) -> Correlation<u64> {
        Correlation::starts_or_continues(cx.event().version % 9_000)
    }
}

impl React<Counter> for Dealt {
    fn react(&mut self, _event: &CounterEvent, _cx: &mut Reaction<'_, Self>) {
        self.count += DEALT.load(SeqCst);
    }
}

/// Without `key` there is one state, which is in the progress.
#[tokio::test]
async fn the_state_of_one_without_key_is_made_again() -> TestResult {
    let base = tempfile::tempdir()?;
    let clock = clock();
    let open = |base: &Path| {
        AggregateStore::builder(base)
            .clock(clock.clone())
            .process_manager::<Total>()
            .open()
    };
    let store = open(base.path()).await?;
    add(&store, "a", &[1]).await?;
    add(&store, "a", &[2]).await?;
    let total = store.process_manager::<Total>()?;
    let sent = arrived(&store, "total").await;
    assert_eq!(sent, [1, 1003]);
    WEIGHT.store(10, SeqCst);
    assert_eq!(total.rebuild_state().await?.deadlines, 1);
    assert_eq!(
        arrived(&store, "total").await,
        sent,
        "nothing is sent again"
    );
    store.close().await?;
    let store = open(base.path()).await?;
    add(&store, "a", &[3]).await?;
    assert_eq!(arrived(&store, "total").await[2..], [10 + 1000 + 20 + 30]);
    WEIGHT.store(1, SeqCst);
    Ok(())
}

static WEIGHT: AtomicI64 = AtomicI64::new(1);

#[process_manager(subscribes = [Counter], dispatches = [Counter], deadlines = [Due])]
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Total {
    sum: i64,
}

impl React<Counter> for Total {
    fn react(&mut self, event: &CounterEvent, cx: &mut Reaction<'_, Self>) {
        if let (CounterEvent::Added(number), true) = (event, cx.stream_id() == "in-a") {
            self.sum += number * WEIGHT.load(SeqCst);
            cx.send("total", CounterCommand::Add(self.sum));
            if *number == 1 {
                cx.schedule("due", Deadline::at(SystemTime::UNIX_EPOCH), Due);
            }
        }
    }
}

impl OnDeadline<Due> for Total {
    fn on_deadline(&mut self, _due: Due, _cx: &mut Reaction<'_, Self>) {
        self.sum += 1000;
    }
}
