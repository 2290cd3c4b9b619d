//! A process manager with an instance for each counter that is named `in-<key>`. What is added says what happens.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use eventfold_es::clock::ManualClock;
use eventfold_es::prelude::*;
use eventfold_es::{
    AggregateStoreBuilder, Backoff, Correlate, Correlation, Deadline, EventContext, Exhausted,
    Failure, FailureAction, HandleFailure, OnDeadline, ProcessManagerHandle, RunMode,
};

use crate::common::counter::{Counter, CounterCommand, CounterError, CounterEvent};

/// Starts an instance, if its key is free.
pub const START: i64 = 1;
/// Continues one.
pub const CONTINUE: i64 = 2;
/// Either.
pub const EITHER: i64 = 3;
/// Belongs to the instances `a`, `b` and `c`.
pub const SEVERAL: i64 = 4;
/// Belongs to none.
pub const NONE: i64 = 5;
/// Completes the instance.
pub const COMPLETE: i64 = 6;
/// Arms the deadline `pay`, in ten seconds.
pub const ARM: i64 = 7;
/// Arms it in the past.
pub const ARM_LATE: i64 = 8;
/// Disarms it.
pub const CANCEL: i64 = 9;
/// Changes the state and sends nothing.
pub const QUIET: i64 = 10;
/// Sends a command that is rejected; what is done about it is up to the policy.
pub const REJECTED: i64 = 11;
/// Cannot be reacted to, as long as [`BROKEN`] says so.
pub const POISON: i64 = 13;
/// Cannot be correlated, as long as [`BROKEN`] says so.
pub const UNREADABLE: i64 = 14;
/// As [`POISON`], with a panic.
pub const PANIC: i64 = 15;
/// Sends two commands; the first panics in its target.
pub const PANICS_THERE: i64 = 16;

/// As [`START`], and as [`PANIC`].
pub const BAD_START: i64 = 17;

/// What the policy does about a rejection: `dead`, `retry`, `skip`, `compensate`, `park` or `stop`, in the order of these numbers.
pub const DEAD: i64 = 20;
pub const RETRY: i64 = 21;
pub const SKIP: i64 = 22;
pub const COMPENSATE: i64 = 23;
pub const PARK: i64 = 24;
pub const STOP: i64 = 25;
pub const COMPENSATE_IN_VAIN: i64 = 26;

/// What a program does wrong before it is fixed. One for each test that needs it, since tests share a process.
pub static BROKEN: AtomicBool = AtomicBool::new(true);

/// Fixes the program, or breaks it again.
pub fn set_broken(is_broken: bool) {
    BROKEN.store(is_broken, Ordering::SeqCst);
}

fn is_broken() -> bool {
    BROKEN.load(Ordering::SeqCst)
}

/// The payment is due.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PayDue {
    pub seen: usize,
}

#[process_manager(subscribes = [Counter], dispatches = [Counter], key = String, deadlines = [PayDue], on_failure)]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Tracker {
    pub seen: Vec<i64>,
    pub fired: u64,
}

impl Correlate<Counter> for Tracker {
    fn correlate(event: &CounterEvent, cx: &EventContext<'_>) -> Correlation<String> {
        let (CounterEvent::Added(number), Some(key)) = (event, cx.stream_id().strip_prefix("in-"))
        else {
            return Correlation::none();
        };
        assert!(
            *number != UNREADABLE || !is_broken(),
            "cannot be correlated"
        );
        let key = key.to_owned();
        match *number {
            START | BAD_START => Correlation::starts(key),
            EITHER => Correlation::starts_or_continues(key),
            SEVERAL => Correlation::each(
                ["a", "b", "c"].map(|key| Correlation::starts_or_continues(key.to_owned())),
            ),
            NONE => Correlation::none(),
            _ => Correlation::continues(key),
        }
    }
}

/// Where an instance sends to.
pub fn out(key: &str) -> String {
    format!("out-{key}")
}

impl React<Counter> for Tracker {
    fn react(&mut self, event: &CounterEvent, cx: &mut Reaction<'_, Self>) {
        let CounterEvent::Added(number) = event else {
            return;
        };
        let key = cx.key().clone();
        self.seen.push(*number);
        match *number {
            QUIET => return,
            COMPLETE => cx.complete(),
            ARM => {
                let due = PayDue {
                    seen: self.seen.len(),
                };
                cx.schedule("pay", Deadline::after(Duration::from_secs(10)), due);
                return;
            }
            ARM_LATE => {
                let due = PayDue { seen: 0 };
                cx.schedule("pay", Deadline::at(SystemTime::UNIX_EPOCH), due);
                return;
            }
            CANCEL => {
                cx.cancel("pay");
                cx.cancel("never armed");
                return;
            }
            POISON => assert!(!is_broken(), "13 is poison"),
            PANIC | BAD_START => assert!(!is_broken(), "{number} is a panic"),
            PANICS_THERE => cx.send(out(&key), CounterCommand::PanicInDecide),
            REJECTED | DEAD.. => {
                let context = CommandContext::default().with_actor(number.to_string());
                cx.send_with(out(&key), CounterCommand::Reject, context);
            }
            _ => {}
        }
        cx.send(out(&key), CounterCommand::Add(*number));
    }
}

impl OnDeadline<PayDue> for Tracker {
    fn on_deadline(&mut self, message: PayDue, cx: &mut Reaction<'_, Self>) {
        self.fired += 1;
        let number = 100 + message.seen as i64;
        cx.send(out(&cx.key().clone()), CounterCommand::Add(number));
    }
}

impl HandleFailure for Tracker {
    fn on_failure(&self, failure: &Failure<'_>) -> FailureAction<Self> {
        let asked = failure.envelope.and_then(|envelope| {
            let actor = envelope.context.actor.as_deref()?;
            actor.parse::<i64>().ok()
        });
        let backoff = Backoff::exponential(Duration::from_secs(1))
            .jitter(0.0)
            .attempts(4);
        let out = out(failure.key);
        match asked {
            Some(RETRY) => {
                assert!(matches!(
                    failure.rejection::<CounterError>(),
                    Some(CounterError::Rejected { .. })
                ));
                FailureAction::Retry(backoff.then(Exhausted::DeadLetter))
            }
            Some(SKIP) => FailureAction::Skip,
            Some(COMPENSATE) => {
                FailureAction::compensate(format!("{out}-sorry"), CounterCommand::Add(1))
                    .and_send(out, CounterCommand::Add(2))
            }
            Some(COMPENSATE_IN_VAIN) => FailureAction::compensate(out, CounterCommand::Reject),
            Some(PARK) => FailureAction::Park,
            Some(STOP) => FailureAction::Stop,
            _ => FailureAction::default_for(failure),
        }
    }
}

/// A store with it, and a clock for it.
pub fn builder(
    base: &std::path::Path,
    mode: RunMode,
    clock: &ManualClock,
) -> AggregateStoreBuilder {
    AggregateStore::builder(base)
        .run_mode(mode)
        .clock(clock.clone())
        .process_manager::<Tracker>()
}

/// A clock that stands in 2026.
pub fn clock() -> ManualClock {
    ManualClock::new(SystemTime::UNIX_EPOCH + Duration::from_secs(1_770_000_000))
}

/// Adds numbers to `in-<key>`, and waits until they are reacted to.
pub async fn add(
    store: &AggregateStore,
    key: &str,
    numbers: &[i64],
) -> eventfold_es_tests::TestResult {
    for number in numbers {
        let command = CounterCommand::Add(*number);
        store
            .send(&format!("in-{key}"), command, CommandContext::default())
            .await?;
    }
    store.run_process_managers().await?;
    Ok(())
}

/// The numbers that arrived at a counter, in order.
pub async fn arrived(store: &AggregateStore, id: &str) -> Vec<i64> {
    let events = store.read_events("counter", id).await;
    let events = events.unwrap_or_default().into_iter();
    events
        .map(|event| event.data.as_i64().unwrap_or_default())
        .collect()
}

/// The handle of the process manager.
pub fn handle(store: &AggregateStore) -> ProcessManagerHandle<Tracker> {
    store
        .process_manager::<Tracker>()
        .expect("it is registered")
}

/// The state of an instance.
pub async fn state(store: &AggregateStore, key: &str) -> Option<Tracker> {
    let found = handle(store)
        .instance(key)
        .await
        .expect("rows can be read")?;
    found
        .state
        .map(|state| serde_json::from_str(&state).expect("a state"))
}
