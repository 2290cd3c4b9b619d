//! What a policy can do about an event or a deadline that is not reacted to: each cause with each action.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, SystemTime};

use eventfold_es::clock::ManualClock;
use eventfold_es::prelude::*;
use eventfold_es::{
    AggregateStoreBuilder, Backoff, Correlate, Correlation, Deadline, EventContext, Exhausted,
    Failure, FailureAction, HandleFailure, OnDeadline, ProcessManagerHandle, Reactions, RunMode,
    Schedules,
};
use eventfold_es_tests::TestResult;
use tokio::sync::{Mutex, MutexGuard};

use super::common::counter::{Counter, CounterCommand, CounterEvent};
use super::tracker::{arrived, clock};

/// Panics while it is reacted to.
pub(super) const PANIC: i64 = 1;
/// Asks for what cannot be stored, as an event does that cannot be decoded.
pub(super) const UNDECODABLE: i64 = 2;
/// Arms a deadline, at once, whose handler panics.
pub(super) const PANIC_LATER: i64 = 3;
/// Arms one whose handler asks for what cannot be stored.
pub(super) const UNDECODABLE_LATER: i64 = 4;
/// Nobody can tell whose it is.
pub(super) const UNCLAIMED: i64 = 5;
/// What fails while the program is broken; the last one is known to no instance.
const CAUSES: [i64; 5] = [
    PANIC,
    UNDECODABLE,
    PANIC_LATER,
    UNDECODABLE_LATER,
    UNCLAIMED,
];
/// Nothing but this fails in nothing.
pub(super) const FINE: i64 = 10;

/// Whether the program is broken. Tests share a process.
static BROKEN: AtomicBool = AtomicBool::new(true);
static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

pub(super) async fn broken() -> MutexGuard<'static, ()> {
    let guard = ONE_AT_A_TIME.lock().await;
    BROKEN.store(true, SeqCst);
    guard
}

pub(super) fn fix() {
    BROKEN.store(false, SeqCst);
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Due {
    number: i64,
}

/// What the policy says, from the name of a stream `in-<action>-..`.
fn action<PM: ProcessManager>(failure: &Failure<'_>) -> Option<FailureAction<PM>> {
    let backoff = Backoff::exponential(Duration::from_secs(1))
        .jitter(0.0)
        .attempts(3);
    let action = failure.source.stream_id.split('-').nth(1)?;
    Some(match action {
        "retry" => FailureAction::Retry(backoff),
        "twice" => FailureAction::Retry(backoff.attempts(2)),
        "evenly" => FailureAction::Retry(backoff.max(Duration::from_secs(1))),
        // The commands of what is tried again later park its instance before.
        "mixed" if failure.envelope.is_some() => {
            FailureAction::Retry(backoff.attempts(2).then(Exhausted::Park))
        }
        "mixed" => FailureAction::Retry(
            Backoff::exponential(Duration::from_secs(10))
                .jitter(0.0)
                .attempts(3),
        ),
        "retryskip" => FailureAction::Retry(backoff.then(Exhausted::Skip)),
        "retrypark" => FailureAction::Retry(backoff.then(Exhausted::Park)),
        "retrystop" => FailureAction::Retry(backoff.then(Exhausted::Stop)),
        "letter" => FailureAction::DeadLetter,
        "skip" => FailureAction::Skip,
        "park" => FailureAction::Park,
        "stop" => FailureAction::Stop,
        _ => return None,
    })
}

fn misbehave<PM: ProcessManager + Schedules<Due>>(number: i64, cx: &mut Reaction<'_, PM>) {
    let is_broken = BROKEN.load(SeqCst);
    match number {
        PANIC => assert!(!is_broken, "a broken handler"),
        UNDECODABLE if is_broken => {
            cx.schedule("", Deadline::at(SystemTime::UNIX_EPOCH), Due { number });
        }
        PANIC_LATER | UNDECODABLE_LATER => {
            cx.schedule("due", Deadline::at(SystemTime::UNIX_EPOCH), Due { number });
        }
        _ => {}
    }
}

/// One process manager with `key`, or without.
// Each time it formats this, rustfmt moves the arguments further to the right.
#[rustfmt::skip]
macro_rules! judge {
    ($name:ident, $stored:literal, $out:expr, $($key:tt)*) => {
        #[process_manager(name = $stored, subscribes = [Counter], dispatches = [Counter], deadlines = [Due], on_failure $($key)*)]
        #[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
        pub struct $name {
            pub seen: Vec<i64>,
        }

        impl React<Counter> for $name {
            fn react(&mut self, event: &CounterEvent, cx: &mut Reaction<'_, Self>) {
                let (CounterEvent::Added(number), Some(stream)) = (event, cx.stream_id().strip_prefix("in-")) else {
                    return;
                };
                let stream = stream.to_owned();
                self.seen.push(*number);
                misbehave(*number, cx);
                let out: fn(&str) -> String = $out;
                cx.send(out(&stream), CounterCommand::Add(*number));
            }
        }

        impl OnDeadline<Due> for $name {
            fn on_deadline(&mut self, due: Due, cx: &mut Reaction<'_, Self>) {
                let stream = cx.stream_id().strip_prefix("in-").unwrap_or_default().to_owned();
                self.seen.push(-due.number);
                misbehave(due.number - 2, cx);
                let out: fn(&str) -> String = $out;
                cx.send(out(&stream), CounterCommand::Add(-due.number));
            }
        }

        impl HandleFailure for $name {
            fn on_failure(&self, failure: &Failure<'_>) -> FailureAction<Self> {
                if failure.envelope.is_some() && !failure.source.stream_id.ends_with("-disk") {
                    return FailureAction::default_for(failure);
                }
                if failure.source.stream_id.contains("sorry") {
                    return FailureAction::compensate("out-sorry", CounterCommand::Add(99));
                }
                action(failure).unwrap_or(FailureAction::Park)
            }
        }
    };
}

judge!(Judge, "judge", |stream| format!("out-{stream}"), , key = String);
judge!(Solo, "solo-judge", |stream| format!("out-{stream}"),);

impl Correlate<Counter> for Judge {
    fn correlate(event: &CounterEvent, cx: &EventContext<'_>) -> Correlation<String> {
        match (event, cx.stream_id().strip_prefix("in-")) {
            (CounterEvent::Added(number), Some(key)) => {
                let is_unclaimed = *number == UNCLAIMED && BROKEN.load(SeqCst);
                assert!(!is_unclaimed, "a broken correlation");
                Correlation::starts_or_continues(key.to_owned())
            }
            _ => Correlation::none(),
        }
    }
}

pub(super) fn builder<PM: ProcessManager>(
    base: &std::path::Path,
    mode: RunMode,
    clock: &ManualClock,
) -> AggregateStoreBuilder {
    AggregateStore::builder(base)
        .run_mode(mode)
        .clock(clock.clone())
        .process_manager::<PM>()
}

pub(super) fn handle<PM: ProcessManager>(store: &AggregateStore) -> ProcessManagerHandle<PM> {
    store.process_manager::<PM>().expect("registered")
}

/// Adds numbers to `in-<stream>`; what was said of the last one.
pub(super) async fn add(store: &AggregateStore, stream: &str, numbers: &[i64]) -> Reactions {
    let mut reactions = Reactions::NotAwaited;
    for number in numbers {
        let command = CounterCommand::Add(*number);
        let id = format!("in-{stream}");
        let done = store.send(&id, command, CommandContext::default()).await;
        reactions = done.expect("it is accepted").reactions;
        store.run_process_managers().await.expect("the disk works");
    }
    reactions
}

pub(super) async fn run(store: &AggregateStore) {
    store.run_process_managers().await.expect("the disk works");
}

/// What arrives when `cause` is reacted to, and `FINE` before and behind it.
pub(super) fn all_of(cause: i64) -> Vec<i64> {
    match cause {
        PANIC_LATER | UNDECODABLE_LATER => vec![FINE, cause, -cause, FINE],
        _ => vec![FINE, cause, FINE],
    }
}

/// The same, when it is passed over.
fn without(cause: i64) -> Vec<i64> {
    match cause {
        PANIC_LATER | UNDECODABLE_LATER => vec![FINE, cause, FINE],
        _ => vec![FINE, FINE],
    }
}

/// What comes before it, when what comes behind it waits.
pub(super) fn before(cause: i64) -> Vec<i64> {
    match cause {
        PANIC_LATER | UNDECODABLE_LATER => vec![FINE, cause],
        _ => vec![FINE],
    }
}

fn kind(cause: i64) -> &'static str {
    match cause {
        PANIC | PANIC_LATER | UNCLAIMED => "panicked",
        _ => "undecodable",
    }
}

pub(super) const MODES: [RunMode; 3] = [RunMode::Inline, RunMode::Background, RunMode::OnDemand];

#[tokio::test]
async fn a_retry_holds_its_instance_in_order_and_nobody_else() -> TestResult {
    for (mode, cause) in MODES
        .into_iter()
        .flat_map(|mode| CAUSES.map(|cause| (mode, cause)))
    {
        let _guard = broken().await;
        let base = tempfile::tempdir()?;
        let clock = clock();
        let mut store = builder::<Judge>(base.path(), mode, &clock).open().await?;
        let said = add(&store, "retry-a", &[FINE, cause, FINE]).await;
        if mode == RunMode::Inline {
            assert_eq!(said, Reactions::Retrying, "{cause}");
        }
        add(&store, "retry-b", &[FINE]).await;
        assert_eq!(
            arrived(&store, "out-retry-a").await,
            before(cause),
            "{mode:?}"
        );
        assert_eq!(
            arrived(&store, "out-retry-b").await,
            [FINE],
            "nobody else waits"
        );
        let status = handle::<Judge>(&store).status().await?;
        let waiting = status.instances.retrying + status.held_streams;
        assert_eq!(
            (waiting, status.pending, status.instances.parked),
            (1, 1, 0),
            "{cause}"
        );
        let parked = handle::<Judge>(&store).parked().await?;
        assert_eq!(parked[0].held, 2);
        assert!(parked[0].retries_at.is_some());
        // The second attempt fails, also after a restart; the third one finds the program mended.
        store.close().await?;
        store = builder::<Judge>(base.path(), mode, &clock).open().await?;
        clock.advance(Duration::from_millis(999));
        run(&store).await;
        clock.advance(Duration::from_millis(1));
        run(&store).await;
        handle::<Judge>(&store).settle().await?;
        assert_eq!(arrived(&store, "out-retry-a").await, before(cause));
        fix();
        clock.advance(Duration::from_millis(1999));
        run(&store).await;
        assert_eq!(
            arrived(&store, "out-retry-a").await,
            before(cause),
            "not before its time"
        );
        clock.advance(Duration::from_millis(1));
        run(&store).await;
        arrives(&store, "out-retry-a", &all_of(cause)).await;
        let status = handle::<Judge>(&store).status().await?;
        assert_eq!((status.pending, status.held_streams), (0, 0));
        assert_eq!((status.instances.open, status.instances.retrying), (2, 0));
        assert!(store.verify().await?.differences.is_empty());
        store.close().await?;
    }
    Ok(())
}

/// Waits until all of it has arrived, in the modes that do so by themselves.
pub(super) async fn arrives(store: &AggregateStore, id: &str, numbers: &[i64]) {
    for _ in 0..200 {
        if arrived(store, id).await == numbers {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(arrived(store, id).await, numbers);
}

#[tokio::test]
async fn after_the_last_attempt_comes_what_the_policy_says_then() -> TestResult {
    for (then, cause) in ["retry", "retryskip", "retrypark", "retrystop"]
        .into_iter()
        .flat_map(|then| CAUSES.map(|cause| (then, cause)))
    {
        let _guard = broken().await;
        let base = tempfile::tempdir()?;
        let clock = clock();
        let store = builder::<Judge>(base.path(), RunMode::OnDemand, &clock)
            .open()
            .await?;
        let stream = format!("{then}-a");
        add(&store, &stream, &[FINE, cause, FINE]).await;
        for wait in [1, 2] {
            assert_eq!(
                arrived(&store, &format!("out-{stream}")).await,
                before(cause)
            );
            clock.advance(Duration::from_secs(wait));
            run(&store).await;
        }
        let status = handle::<Judge>(&store).status().await?;
        let out = arrived(&store, &format!("out-{stream}")).await;
        assert_eq!(status.pending, 0, "{then} {cause}");
        match then {
            "retry" => {
                assert_eq!((status.dead_letters, out), (1, without(cause)), "{cause}");
                let letters = handle::<Judge>(&store).dead_letters().await?;
                let kinds: Vec<_> = letters[0]
                    .attempts
                    .iter()
                    .map(|tried| &*tried.kind)
                    .collect();
                assert_eq!(kinds, [kind(cause); 3]);
            }
            "retryskip" => assert_eq!((status.skipped, out), (1, without(cause)), "{cause}"),
            "retrypark" => {
                let parked = status.instances.parked + status.held_streams;
                assert_eq!((parked, out), (1, before(cause)), "{cause}");
            }
            _ => {
                assert!(status.parked.is_some(), "{cause}");
                assert_eq!(out, before(cause));
            }
        }
        store.close().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_dead_letter_is_reacted_to_again_once() -> TestResult {
    for cause in CAUSES {
        let _guard = broken().await;
        let base = tempfile::tempdir()?;
        let clock = clock();
        let store = builder::<Judge>(base.path(), RunMode::Inline, &clock)
            .open()
            .await?;
        assert_eq!(
            add(&store, "letter-a", &[FINE, cause, FINE]).await,
            Reactions::Done
        );
        assert_eq!(
            arrived(&store, "out-letter-a").await,
            without(cause),
            "nothing waits"
        );
        let judge = handle::<Judge>(&store);
        let letters = judge.dead_letters().await?;
        let [letter] = &letters[..] else {
            panic!("{letters:?}");
        };
        assert_eq!((&letter.envelope, &*letter.command_id), (&None, ""));
        assert_eq!(
            (&*letter.source.stream_id, letter.source.version),
            ("in-letter-a", 2)
        );
        let is_late = matches!(cause, PANIC_LATER | UNDECODABLE_LATER);
        assert_eq!(letter.deadline.as_deref(), is_late.then_some("due"));
        assert_eq!(letter.attempts[0].kind, kind(cause));
        assert!(
            store.dead_letters::<Judge>().await?.is_empty(),
            "it is no command"
        );
        let file = base
            .path()
            .join("process_managers/judge/dead_letters.jsonl");
        // It fails again, and stays what it is.
        let again = judge.redrive(&letter.id).await?;
        assert_eq!((again.executed, again.failed), (0, 1), "{cause}");
        let again = judge.dead_letters().await?;
        assert_eq!(
            (again.len(), &again[0].id, again[0].attempts.len()),
            (1, &letter.id, 2)
        );
        let seen = handle::<Judge>(&store).instance("letter-a").await?.unwrap();
        assert_eq!(
            serde_json::from_str::<Judge>(&seen.state.unwrap())?.seen,
            without(cause),
            "what failed has changed nothing"
        );
        drop(judge);
        store.close().await?;
        let lines = std::fs::read_to_string(file)?;
        assert_eq!(lines.lines().count(), 1, "{lines}");
        assert!(lines.contains("\"in-letter-a\""), "{lines}");

        let store = builder::<Judge>(base.path(), RunMode::Inline, &clock)
            .open()
            .await?;
        fix();
        let judge = handle::<Judge>(&store);
        let done = judge.redrive_all().await?;
        assert_eq!((done.executed, done.failed), (1, 0), "{cause}");
        let mut all = without(cause);
        all.push(if is_late { -cause } else { cause });
        assert_eq!(arrived(&store, "out-letter-a").await, all);
        assert_eq!(judge.redrive_all().await?.executed, 0, "once");
        assert!(judge.dead_letters().await?.is_empty());
        store.close().await?;
        let store = builder::<Judge>(base.path(), RunMode::Inline, &clock)
            .open()
            .await?;
        run(&store).await;
        assert_eq!(arrived(&store, "out-letter-a").await, all);
        assert!(store.verify().await?.differences.is_empty());
        store.close().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_dead_letter_is_for_its_instance_as_that_is_now() -> TestResult {
    let _guard = broken().await;
    let base = tempfile::tempdir()?;
    let clock = clock();
    let store = builder::<Judge>(base.path(), RunMode::Inline, &clock)
        .open()
        .await?;
    let judge = handle::<Judge>(&store);
    // It would have begun the instance.
    add(&store, "letter-new", &[PANIC]).await;
    assert!(judge.instance("letter-new").await?.is_none());
    // A parked instance holds it.
    add(&store, "letter-parked", &[PANIC]).await;
    fix();
    add(&store, "letter-parked", &[FINE]).await;
    BROKEN.store(true, SeqCst);
    let letters = judge.dead_letters().await?;
    assert_eq!(letters.len(), 2);
    // One is given up.
    add(&store, "letter-gone", &[PANIC]).await;
    let gone = judge.dead_letters().await?.pop().expect("three");
    assert!(judge.discard(&gone.id).await?);
    fix();
    assert_eq!(judge.redrive(&letters[0].id).await?.executed, 1);
    let begun = judge.instance("letter-new").await?.expect("it has begun");
    assert_eq!(begun.generation, 1);
    assert_eq!(arrived(&store, "out-letter-new").await, [PANIC]);
    judge.redrive_all().await?;
    assert_eq!(arrived(&store, "out-letter-parked").await, [FINE, PANIC]);
    // What was given up is not in a state that is made again, and what was redriven is.
    judge.rebuild_state().await?;
    assert!(judge.instance("letter-gone").await?.is_none());
    let state = judge
        .instance("letter-parked")
        .await?
        .and_then(|found| found.state);
    let state: Judge = serde_json::from_str(&state.expect("a state"))?;
    assert_eq!(state.seen, [PANIC, FINE], "in the order of the events");
    Ok(())
}

#[tokio::test]
async fn what_is_skipped_or_made_good_is_passed_over() -> TestResult {
    for cause in CAUSES {
        let _guard = broken().await;
        let base = tempfile::tempdir()?;
        let clock = clock();
        let store = builder::<Judge>(base.path(), RunMode::Inline, &clock)
            .open()
            .await?;
        assert_eq!(
            add(&store, "skip-a", &[FINE, cause, FINE]).await,
            Reactions::Done
        );
        assert_eq!(
            arrived(&store, "out-skip-a").await,
            without(cause),
            "{cause}"
        );
        assert_eq!(handle::<Judge>(&store).status().await?.skipped, 1);
        assert_eq!(
            add(&store, "sorry-a", &[FINE, cause, FINE]).await,
            Reactions::Done
        );
        assert_eq!(
            arrived(&store, "out-sorry-a").await,
            without(cause),
            "{cause}"
        );
        assert_eq!(arrived(&store, "out-sorry").await, [99], "{cause}");
        let events = store.read_events("counter", "out-sorry").await?;
        let meta = events[0].meta.as_ref().expect("a cause");
        assert!(meta["command_id"].is_string() && meta["causation_id"].is_string());
        store.close().await?;
        // It stays so.
        fix();
        let store = builder::<Judge>(base.path(), RunMode::Inline, &clock)
            .open()
            .await?;
        run(&store).await;
        assert_eq!(arrived(&store, "out-skip-a").await, without(cause));
        assert_eq!(arrived(&store, "out-sorry").await, [99]);
        store.close().await?;
    }
    Ok(())
}

#[tokio::test]
async fn what_is_parked_or_stopped_waits_for_an_operator() -> TestResult {
    for cause in CAUSES {
        let _guard = broken().await;
        let base = tempfile::tempdir()?;
        let clock = clock();
        let store = builder::<Judge>(base.path(), RunMode::Inline, &clock)
            .open()
            .await?;
        assert_eq!(
            add(&store, "park-a", &[FINE, cause, FINE]).await,
            Reactions::Parked
        );
        assert_eq!(
            arrived(&store, "out-park-a").await,
            before(cause),
            "{cause}"
        );
        assert_eq!(add(&store, "park-b", &[FINE]).await, Reactions::Done);
        clock.advance(Duration::from_secs(3600));
        run(&store).await;
        assert_eq!(
            arrived(&store, "out-park-a").await,
            before(cause),
            "{cause}"
        );
        assert_eq!(
            add(&store, "stop-a", &[FINE, cause, FINE]).await,
            Reactions::Stopped
        );
        assert_eq!(add(&store, "park-b", &[FINE]).await, Reactions::Stopped);
        assert!(handle::<Judge>(&store).status().await?.parked.is_some());
        fix();
        assert!(handle::<Judge>(&store).retry().await?);
        run(&store).await;
        let mut stopped = arrived(&store, "out-stop-a").await;
        let mut expected = all_of(cause);
        if cause == PANIC_LATER || cause == UNDECODABLE_LATER {
            // A deadline that stopped all has no place among what came meanwhile.
            stopped.sort_unstable();
            expected.sort_unstable();
        }
        assert_eq!(stopped, expected, "{cause}");
        assert_eq!(arrived(&store, "out-park-b").await, [FINE, FINE]);
        let judge = handle::<Judge>(&store);
        let released = match cause {
            UNCLAIMED => judge.release_stream("counter", "in-park-a").await?,
            _ => judge.release("park-a").await?,
        };
        assert_eq!(released, 2, "{cause}");
        assert_eq!(arrived(&store, "out-park-a").await, all_of(cause));
        store.close().await?;
    }
    Ok(())
}

/// An operator need not wait for the next attempt, and may give up what waits for it.
#[tokio::test]
async fn what_waits_for_its_next_attempt_is_released_or_discarded_before() -> TestResult {
    for cause in CAUSES {
        let _guard = broken().await;
        let base = tempfile::tempdir()?;
        let clock = clock();
        let store = builder::<Judge>(base.path(), RunMode::Inline, &clock)
            .open()
            .await?;
        add(&store, "retry-a", &[FINE, cause, FINE]).await;
        add(&store, "retry-b", &[FINE, cause, FINE]).await;
        let judge = handle::<Judge>(&store);
        let given_up = match cause {
            UNCLAIMED => judge.discard_stream("counter", "in-retry-b").await?,
            _ => judge.discard_parked("retry-b").await?,
        };
        assert_eq!(given_up, 2);
        fix();
        let released = match cause {
            UNCLAIMED => judge.release_stream("counter", "in-retry-a").await?,
            _ => judge.release("retry-a").await?,
        };
        assert_eq!(released, 2);
        assert_eq!(judge.status().await?.pending, 0, "{cause}");
        clock.advance(Duration::from_secs(10));
        run(&store).await;
        assert_eq!(arrived(&store, "out-retry-a").await, all_of(cause));
        assert_eq!(arrived(&store, "out-retry-b").await, before(cause));
        store.close().await?;
    }
    Ok(())
}

/// Without `key` all that comes waits, and nobody else.
#[tokio::test]
async fn the_same_without_key() -> TestResult {
    let causes = [PANIC, UNDECODABLE, PANIC_LATER, UNDECODABLE_LATER];
    for (mode, cause) in MODES
        .into_iter()
        .flat_map(|mode| causes.map(|cause| (mode, cause)))
    {
        let _guard = broken().await;
        let base = tempfile::tempdir()?;
        let clock = clock();
        let open = || builder::<Solo>(base.path(), mode, &clock).open();
        let mut store = open().await?;
        let said = add(&store, "retry-a", &[FINE, cause, FINE]).await;
        if mode == RunMode::Inline {
            assert_eq!(said, Reactions::Retrying, "{cause}");
        }
        assert_eq!(
            arrived(&store, "out-retry-a").await,
            before(cause),
            "{mode:?} {cause}"
        );
        assert!(handle::<Solo>(&store).status().await?.parked.is_some());
        store.close().await?;
        store = open().await?;
        clock.advance(Duration::from_secs(1));
        run(&store).await;
        fix();
        clock.advance(Duration::from_millis(1500));
        run(&store).await;
        assert_eq!(
            arrived(&store, "out-retry-a").await,
            before(cause),
            "{mode:?} {cause}"
        );
        clock.advance(Duration::from_millis(500));
        run(&store).await;
        arrives(&store, "out-retry-a", &all_of(cause)).await;
        BROKEN.store(true, SeqCst);

        // After the last attempt, a dead letter; then it goes on.
        add(&store, "retry-b", &[FINE, cause, FINE]).await;
        for wait in [1, 2] {
            clock.advance(Duration::from_secs(wait));
            run(&store).await;
            handle::<Solo>(&store).settle().await?;
        }
        arrives(&store, "out-retry-b", &without(cause)).await;
        let solo = handle::<Solo>(&store);
        let letters = solo.dead_letters().await?;
        assert_eq!(
            (letters.len(), letters[0].attempts.len()),
            (1, 3),
            "{mode:?} {cause}"
        );
        assert_eq!(solo.redrive_all().await?.failed, 1);
        fix();
        assert_eq!(solo.redrive_all().await?.executed, 1);
        let again = if cause > UNDECODABLE { -cause } else { cause };
        let mut all = without(cause);
        all.push(again);
        assert_eq!(arrived(&store, "out-retry-b").await, all);
        BROKEN.store(true, SeqCst);
        add(&store, "skip-a", &[FINE, cause, FINE]).await;
        add(&store, "sorry-a", &[FINE, cause, FINE]).await;
        arrives(&store, "out-skip-a", &without(cause)).await;
        arrives(&store, "out-sorry-a", &without(cause)).await;
        assert_eq!(arrived(&store, "out-sorry").await, [99]);
        // It does not wait when an operator asks for it.
        add(&store, "retry-c", &[FINE, cause, FINE]).await;
        assert_eq!(arrived(&store, "out-retry-c").await, before(cause));
        fix();
        assert!(handle::<Solo>(&store).retry().await?);
        run(&store).await;
        arrives(&store, "out-retry-c", &all_of(cause)).await;
        assert!(store.verify().await?.differences.is_empty());
        drop(solo);
        store.close().await?;
    }
    Ok(())
}

/// Dead letters of events, their redrive, and what waits for its next attempt are in the commits of what they are about.
#[tokio::test]
async fn a_crash_at_any_point_leaves_each_event_reacted_to_once() -> TestResult {
    let _guard = broken().await;
    let clock = clock();
    let crashes = eventfold_es::testing::for_each_crash_point(
        |builder| {
            let builder = builder.clock(clock.clone());
            builder.process_manager::<Judge>()
        },
        async |store| {
            add(&store, "letter-a", &[FINE, PANIC, FINE]).await;
            add(&store, "retry-a", &[FINE, PANIC, FINE]).await;
            add(&store, "retry-b", &[FINE, UNCLAIMED, FINE]).await;
            let judge = handle::<Judge>(&store);
            assert_eq!(judge.redrive_all().await.expect("the disk works").failed, 1);
            fix();
            assert_eq!(
                judge.redrive_all().await.expect("the disk works").executed,
                1
            );
            clock.advance(Duration::from_secs(1));
            run(&store).await;
            assert_eq!(judge.status().await.expect("rows").pending, 0);
        },
        async |store| {
            let judge = handle::<Judge>(&store);
            run(&store).await;
            judge.redrive_all().await.expect("the disk works");
            for (stream, is_ordered) in [("letter-a", false), ("retry-a", true), ("retry-b", true)]
            {
                let mut sent = arrived(&store, &format!("in-{stream}")).await;
                let mut out = arrived(&store, &format!("out-{stream}")).await;
                if !is_ordered {
                    sent.sort_unstable();
                    out.sort_unstable();
                }
                assert_eq!(out, sent, "{stream}");
            }
            let status = judge.status().await.expect("rows");
            assert_eq!(
                (status.pending, status.dead_letters, status.held_streams),
                (0, 0, 0)
            );
            assert_eq!((status.instances.parked, status.instances.retrying), (0, 0));
        },
    )
    .await;
    assert!(crashes.points > 100, "{crashes:?}");
    Ok(())
}

/// The same actions for a command whose target cannot be read; those for a rejected one are in `failures`.
#[tokio::test]
async fn each_action_for_a_command_that_storage_fails() -> TestResult {
    for action in ["retry", "letter", "skip", "sorry", "park", "stop"] {
        let _guard = ONE_AT_A_TIME.lock().await;
        fix();
        let base = tempfile::tempdir()?;
        let clock = clock();
        let open = || builder::<Judge>(base.path(), RunMode::Inline, &clock).open();
        let stream = format!("{action}-disk");
        let out = format!("out-{stream}");
        let store = open().await?;
        add(&store, &stream, &[FINE]).await;
        store.close().await?;
        let file = base.path().join(format!("streams/counter/{out}/app.jsonl"));
        let aside = base.path().join("aside");
        std::fs::rename(&file, &aside)?;
        std::fs::create_dir(&file)?;
        let store = open().await?;
        let said = add(&store, &stream, &[FINE]).await;
        let judge = handle::<Judge>(&store);
        let status = judge.status().await?;
        let expected = match action {
            "retry" => (Reactions::Retrying, 1, 0, 0),
            "letter" => (Reactions::Done, 0, 1, 0),
            "park" => (Reactions::Parked, 0, 0, 1),
            "stop" => (Reactions::Stopped, 0, 0, 0),
            _ => (Reactions::Done, 0, 0, 0),
        };
        let found = (
            said,
            status.pending,
            status.dead_letters,
            status.instances.parked,
        );
        assert_eq!(found, expected, "{action}");
        for letter in judge.dead_letters().await? {
            assert_eq!(letter.attempts[0].kind, "storage");
        }
        std::fs::remove_dir(&file)?;
        std::fs::rename(&aside, &file)?;
        match action {
            "retry" => clock.advance(Duration::from_secs(1)),
            "letter" => assert_eq!(judge.redrive_all().await?.executed, 1),
            "park" => assert_eq!(judge.release(&stream).await?, 1),
            "stop" => assert!(judge.retry().await?),
            "sorry" => assert_eq!(arrived(&store, "out-sorry").await, [99]),
            _ => {}
        }
        run(&store).await;
        let effects = if matches!(action, "skip" | "sorry") {
            1
        } else {
            2
        };
        assert_eq!(arrived(&store, &out).await, vec![FINE; effects], "{action}");
        assert!(store.verify().await?.differences.is_empty());
        store.close().await?;
    }
    Ok(())
}

#[tokio::test]
async fn without_key_what_waits_for_its_next_attempt_is_skipped_before() -> TestResult {
    let guard = broken().await;
    for is_reopened in [false, true] {
        for cause in [PANIC, PANIC_LATER] {
            let base = tempfile::tempdir()?;
            let clock = clock();
            let mut store = builder::<Solo>(base.path(), RunMode::Inline, &clock)
                .open()
                .await?;
            add(&store, "retry", &[FINE, cause, FINE]).await;
            if is_reopened {
                store.close().await?;
                store = builder::<Solo>(base.path(), RunMode::Inline, &clock)
                    .open()
                    .await?;
            }
            assert!(handle::<Solo>(&store).skip().await?, "{cause}");
            run(&store).await;
            assert_eq!(arrived(&store, "out-retry").await, without(cause));
            clock.advance(Duration::from_secs(100));
            run(&store).await;
            assert_eq!(arrived(&store, "out-retry").await, without(cause));
            store.close().await?;
        }
    }
    drop(guard);
    Ok(())
}

#[tokio::test]
async fn without_key_a_deadline_that_waits_is_not_shown_while_it_is_paused() -> TestResult {
    let guard = broken().await;
    let base = tempfile::tempdir()?;
    let clock = clock();
    let open = || builder::<Solo>(base.path(), RunMode::Inline, &clock).open();
    let mut store = open().await?;
    add(&store, "retry", &[FINE, PANIC_LATER]).await;
    handle::<Solo>(&store).pause().await?;
    store.close().await?;
    fix();
    clock.advance(Duration::from_secs(100));
    store = open().await?;
    run(&store).await;
    assert_eq!(arrived(&store, "out-retry").await, [FINE, PANIC_LATER]);
    handle::<Solo>(&store).resume().await?;
    arrives(&store, "out-retry", &[FINE, PANIC_LATER, -PANIC_LATER]).await;
    drop(guard);
    Ok(())
}
