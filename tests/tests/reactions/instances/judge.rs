//! Process managers that fail in each way, with a policy that does about it what the name of the stream says.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, SystemTime};

use eventfold_es::clock::ManualClock;
use eventfold_es::contract::Schedules;
use eventfold_es::prelude::*;
use eventfold_es::{
    AggregateStoreBuilder, Backoff, Correlate, Correlation, Deadline, EventContext, Exhausted,
    Failure, FailureAction, HandleFailure, OnDeadline, ProcessManagerHandle, Reactions, RunMode,
};
use tokio::sync::{Mutex, MutexGuard};

use super::tracker::arrived;
use crate::common::counter::{Counter, CounterCommand, CounterEvent};

/// Panics while it is reacted to.
pub const PANIC: i64 = 1;
/// Asks for what cannot be stored, as an event does that cannot be decoded.
pub const UNDECODABLE: i64 = 2;
/// Arms a deadline, at once, whose handler panics.
pub const PANIC_LATER: i64 = 3;
/// Arms one whose handler asks for what cannot be stored.
pub const UNDECODABLE_LATER: i64 = 4;
/// Nobody can tell whose it is.
pub const UNCLAIMED: i64 = 5;
/// What fails while the program is broken; the last one is known to no instance.
pub const CAUSES: [i64; 5] = [
    PANIC,
    UNDECODABLE,
    PANIC_LATER,
    UNDECODABLE_LATER,
    UNCLAIMED,
];
/// Nothing but this fails in nothing.
pub const FINE: i64 = 10;

/// Whether the program is broken. Tests share a process.
pub static BROKEN: AtomicBool = AtomicBool::new(true);
pub static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

pub async fn broken() -> MutexGuard<'static, ()> {
    let guard = ONE_AT_A_TIME.lock().await;
    BROKEN.store(true, SeqCst);
    guard
}

pub fn fix() {
    BROKEN.store(false, SeqCst);
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Due {
    pub number: i64,
}

/// What the policy says, from the name of a stream `in-<action>-..`.
pub fn action<PM: ProcessManager>(failure: &Failure<'_>) -> Option<FailureAction<PM>> {
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

pub fn misbehave<PM: ProcessManager + Schedules<Due>>(number: i64, cx: &mut Reaction<'_, PM>) {
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

pub fn builder<PM: ProcessManager>(
    base: &std::path::Path,
    mode: RunMode,
    clock: &ManualClock,
) -> AggregateStoreBuilder {
    AggregateStore::builder(base)
        .run_mode(mode)
        .clock(clock.clone())
        .process_manager::<PM>()
}

pub fn handle<PM: ProcessManager>(store: &AggregateStore) -> ProcessManagerHandle<PM> {
    store.process_manager::<PM>().expect("registered")
}

/// Adds numbers to `in-<stream>`; what was said of the last one.
pub async fn add(store: &AggregateStore, stream: &str, numbers: &[i64]) -> Reactions {
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

pub async fn run(store: &AggregateStore) {
    store.run_process_managers().await.expect("the disk works");
}

/// What arrives when `cause` is reacted to, and `FINE` before and behind it.
pub fn all_of(cause: i64) -> Vec<i64> {
    match cause {
        PANIC_LATER | UNDECODABLE_LATER => vec![FINE, cause, -cause, FINE],
        _ => vec![FINE, cause, FINE],
    }
}

/// The same, when it is passed over.
pub fn without(cause: i64) -> Vec<i64> {
    match cause {
        PANIC_LATER | UNDECODABLE_LATER => vec![FINE, cause, FINE],
        _ => vec![FINE, FINE],
    }
}

/// What comes before it, when what comes behind it waits.
pub fn before(cause: i64) -> Vec<i64> {
    match cause {
        PANIC_LATER | UNDECODABLE_LATER => vec![FINE, cause],
        _ => vec![FINE],
    }
}

pub fn kind(cause: i64) -> &'static str {
    match cause {
        PANIC | PANIC_LATER | UNCLAIMED => "panicked",
        _ => "undecodable",
    }
}

pub const MODES: [RunMode; 3] = [RunMode::Inline, RunMode::Background, RunMode::OnDemand];

/// Waits until all of it has arrived, in the modes that do so by themselves.
pub async fn arrives(store: &AggregateStore, id: &str, numbers: &[i64]) {
    for _ in 0..200 {
        if arrived(store, id).await == numbers {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(arrived(store, id).await, numbers);
}
