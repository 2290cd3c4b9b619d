//! Reactions that are larger than an entry of the log. Each of them fails by its policy, and holds up nothing else.

use std::path::Path;
use std::time::Duration;

use eventfold_es::prelude::*;
use eventfold_es::store::HealthStatus;
use eventfold_es::testing::SharedLog;
use eventfold_es::{AggregateStoreBuilder, HandleError, RunMode};

use super::world::until;
use crate::TestResult;
use crate::common::counter::{Counter, CounterCommand, CounterEvent};

/// The size of an entry, and a number of events that does not fit in it.
const ENTRY_BYTES: usize = 16 << 10;
const TOO_MANY: u32 = 1_000;
/// What is added for a large reaction, and for one on a deadline.
const LARGE: i64 = -1;
const LATER: i64 = -2;

fn node(base: &Path) -> AggregateStoreBuilder {
    let log = SharedLog::with_max_entry_bytes(ENTRY_BYTES);
    AggregateStore::builder(base).replicated(log).node("one")
}

async fn version(store: &AggregateStore, id: &str) -> u64 {
    let counter = store.get::<Counter>(id).await.expect("an id");
    counter.load().await.expect("it is readable").version
}

async fn add(store: &AggregateStore, id: &str, by: i64) -> Reactions {
    let added = store.send(id, CounterCommand::Add(by), ()).await;
    added.expect("it is executed").reactions
}

fn names_the_limit(error: &str) {
    for words in ["at most 16384 bytes", "raise that limit", "max_payload"] {
        assert!(error.contains(words), "{error}");
    }
}

/// The command for an amount that is added to `in-..`.
fn command(by: i64) -> CounterCommand {
    match by {
        LARGE => CounterCommand::AddOnes(TOO_MANY),
        by => CounterCommand::Add(by),
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Due;

/// Declares a process manager that answers the counters `in-..` at `out-..`.
macro_rules! answers {
    ($name:ident, [$($keyed:tt)*], $action:expr) => {
        #[process_manager(subscribes = [Counter], dispatches = [Counter], deadlines = [Due], on_failure $($keyed)*)]
        #[derive(Debug, Default, Serialize, Deserialize)]
        struct $name;

        impl React<Counter> for $name {
            fn react(&mut self, event: &CounterEvent, cx: &mut Reaction<'_, Self>) {
                let (CounterEvent::Added(by), Some(rest)) = (event, cx.stream_id().strip_prefix("in-")) else {
                    return;
                };
                let out = format!("out-{rest}");
                match *by {
                    LATER => cx.schedule("due", Deadline::after(Duration::from_millis(1)), Due),
                    by => cx.send(out, command(by)),
                };
            }
        }

        impl OnDeadline<Due> for $name {
            fn on_deadline(&mut self, _: Due, cx: &mut Reaction<'_, Self>) {
                cx.send("out-due", command(LARGE));
            }
        }

        impl HandleFailure for $name {
            fn on_failure(&self, failure: &Failure<'_>) -> FailureAction<Self> {
                let action: fn(&Failure<'_>) -> FailureAction<Self> = $action;
                action(failure)
            }
        }
    };
}

macro_rules! keyed {
    ($($name:ident),*) => {
        $(impl Correlate<Counter> for $name {
            fn correlate(_: &CounterEvent, cx: &EventContext<'_>) -> Correlation<String> {
                match cx.stream_id().strip_prefix("in-") {
                    Some(key) => Correlation::starts_or_continues(key.to_owned()),
                    None => Correlation::none(),
                }
            }
        })*
    };
}

answers!(Parks, [, key = String], FailureAction::default_for);
answers!(Buries, [, key = String], |_| FailureAction::DeadLetter);
answers!(ParksAll, [], FailureAction::default_for);
answers!(BuriesAll, [], |_| FailureAction::DeadLetter);
answers!(SaysSorry, [, key = String], |_| FailureAction::compensate("out-sorry", CounterCommand::Add(1)));
keyed!(Parks, Buries, SaysSorry);

#[tokio::test]
async fn it_parks_its_instance() -> TestResult {
    for mode in [RunMode::Inline, RunMode::Background] {
        let base = tempfile::tempdir()?;
        let builder = node(base.path()).process_manager::<Parks>().run_mode(mode);
        let store = builder.open().await?;
        for (id, by) in [("in-a", 1), ("in-a", LARGE), ("in-b", 1), ("in-a", 1)] {
            add(&store, id, by).await;
        }
        let saga = store.process_manager::<Parks>()?;
        saga.settle().await?;
        let parked = saga.parked().await?;
        let [parked] = &parked[..] else {
            panic!("{parked:?}");
        };
        assert_eq!(parked.instance.as_deref(), Some("a"));
        assert_eq!(parked.held, 2);
        names_the_limit(&parked.parked.reason);
        // The other instance goes on, and nothing of the large reaction is stored.
        let versions = (
            version(&store, "out-a").await,
            version(&store, "out-b").await,
        );
        assert_eq!(versions, (1, 1), "{mode:?}");
        // It is tried again, and fails again.
        let released = saga.release("a").await.map(drop);
        assert!(released.is_err(), "{released:?}");
        until("it is parked again", || async {
            saga.parked().await.is_ok_and(|parked| parked.len() == 1)
        })
        .await;
        names_the_limit(&saga.parked().await?[0].parked.reason);
        add(&store, "in-b", 1).await;
        saga.settle().await?;
        assert_eq!(version(&store, "out-b").await, 2);
        store.close().await?;
    }
    Ok(())
}

#[tokio::test]
async fn it_becomes_a_dead_letter() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = node(base.path()).process_manager::<Buries>().open().await?;
    add(&store, "in-a", 1).await;
    assert_eq!(add(&store, "in-a", LARGE).await, Reactions::Done);
    assert_eq!(add(&store, "in-a", 1).await, Reactions::Done);
    let saga = store.process_manager::<Buries>()?;
    let letters = saga.dead_letters().await?;
    let [letter] = &letters[..] else {
        panic!("{letters:?}");
    };
    assert_eq!(letter.attempts.len(), 1);
    assert_eq!(letter.attempts[0].kind, "too-large");
    names_the_limit(letter.error());
    assert_eq!((&*letter.instance, letter.source.position), ("a", 3));
    assert_eq!(version(&store, "out-a").await, 2);
    let redriven = saga.redrive_all().await.map(drop);
    assert!(redriven.is_err(), "{redriven:?}");
    assert_eq!(add(&store, "in-a", 1).await, Reactions::Done);
    assert_eq!(version(&store, "out-a").await, 3);
    assert_eq!(saga.dead_letters().await?.len(), 1);
    assert_eq!(store.health().await.status, HealthStatus::Healthy);
    Ok(())
}

#[tokio::test]
async fn its_compensation_is_executed() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = node(base.path())
        .process_manager::<SaysSorry>()
        .open()
        .await?;
    assert_eq!(add(&store, "in-a", LARGE).await, Reactions::Done);
    let versions = (
        version(&store, "out-a").await,
        version(&store, "out-sorry").await,
    );
    assert_eq!(versions, (0, 1));
    Ok(())
}

#[tokio::test]
async fn without_a_key_it_parks_everything_until_an_operator_skips_it() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = node(base.path())
        .process_manager::<ParksAll>()
        .open()
        .await?;
    add(&store, "in-a", 1).await;
    assert_eq!(add(&store, "in-a", LARGE).await, Reactions::Parked);
    let saga = store.process_manager::<ParksAll>()?;
    let parked = saga.status().await?.parked_at.expect("it is parked");
    assert_eq!(parked.position, 3);
    names_the_limit(&parked.reason);
    saga.retry().await?;
    until("it is parked again", || async {
        saga.status()
            .await
            .is_ok_and(|status| status.parked_at.is_some())
    })
    .await;
    saga.skip().await?;
    assert_eq!(add(&store, "in-a", 1).await, Reactions::Done);
    assert_eq!(version(&store, "out-a").await, 2);
    Ok(())
}

#[tokio::test]
async fn without_a_key_it_becomes_a_dead_letter() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = node(base.path())
        .process_manager::<BuriesAll>()
        .open()
        .await?;
    for (by, reactions) in [(1, 1), (LARGE, 1), (1, 2), (LARGE, 2), (1, 3)] {
        assert_eq!(add(&store, "in-a", by).await, Reactions::Done);
        assert_eq!(version(&store, "out-a").await, reactions);
    }
    let letters = store.process_manager::<BuriesAll>()?.dead_letters().await?;
    assert_eq!(letters.len(), 2);
    names_the_limit(letters[0].error());
    Ok(())
}

#[tokio::test]
async fn a_deadline_fails_in_the_same_way() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = node(base.path()).process_manager::<Buries>().open().await?;
    add(&store, "in-a", LATER).await;
    let saga = store.process_manager::<Buries>()?;
    until("the deadline has failed", || async {
        saga.dead_letters()
            .await
            .is_ok_and(|letters| letters.len() == 1)
    })
    .await;
    let letters = saga.dead_letters().await?;
    assert_eq!(letters[0].deadline.as_deref(), Some("due"));
    names_the_limit(letters[0].error());
    add(&store, "in-a", 1).await;
    let versions = (
        version(&store, "out-due").await,
        version(&store, "out-a").await,
    );
    assert_eq!(versions, (0, 1));
    Ok(())
}

/// Many reactions are on their way to the log at once, some of them too large. Each of the others is stored once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reactions_around_it_are_stored_once() -> TestResult {
    let base = tempfile::tempdir()?;
    let builder = node(base.path()).process_manager::<Buries>();
    let store = builder.run_mode(RunMode::OnDemand).open().await?;
    for number in 0..300 {
        let by = if number % 100 == 50 { LARGE } else { 1 };
        let id = format!("in-{}", number % 7);
        store.send(&id, CounterCommand::Add(by), ()).await?;
    }
    store.run_process_managers().await?;
    let saga = store.process_manager::<Buries>()?;
    until("all are handled", || async {
        store.run_process_managers().await.is_ok()
            && saga
                .dead_letters()
                .await
                .is_ok_and(|letters| letters.len() == 3)
    })
    .await;
    store.run_process_managers().await?;
    let mut stored = 0;
    for number in 0..7 {
        stored += version(&store, &format!("out-{number}")).await;
    }
    assert_eq!(stored, 297);
    assert_eq!(saga.dead_letters().await?.len(), 3);
    Ok(())
}

/// It keeps much for each instance, and sends nothing.
#[process_manager(subscribes = [Counter], dispatches = [Counter], key = String)]
#[derive(Debug, Default, Serialize, Deserialize)]
struct Hoards {
    kept: String,
}

impl Correlate<Counter> for Hoards {
    fn correlate(_: &CounterEvent, cx: &EventContext<'_>) -> Correlation<String> {
        Correlation::starts_or_continues(cx.stream_id().to_owned())
    }
}

impl React<Counter> for Hoards {
    fn react(&mut self, _: &CounterEvent, _: &mut Reaction<'_, Self>) {
        self.kept.push_str(&"x".repeat(1_000));
    }
}

/// The rows of many instances wait for one commit, which is too large. None of them has failed.
#[tokio::test]
async fn rows_that_are_too_large_together_are_stored_apart() -> TestResult {
    let base = tempfile::tempdir()?;
    let builder = node(base.path()).process_manager::<Hoards>();
    let store = builder.run_mode(RunMode::OnDemand).open().await?;
    for number in 0..100 {
        store
            .send(&format!("c-{number}"), CounterCommand::Add(1), ())
            .await?;
    }
    let saga = store.process_manager::<Hoards>()?;
    until("all are handled", || async {
        store.run_process_managers().await.is_ok()
            && saga.status().await.is_ok_and(|status| status.lag == 0)
    })
    .await;
    assert_eq!(saga.parked().await?.len(), 0);
    store.close().await?;
    Ok(())
}

/// Sends a large command for each amount below zero.
struct Caller;

impl EventHandler for Caller {
    const NAME: &'static str = "caller";
    const SUBSCRIPTIONS: &'static [&'static str] = &[Counter::AGGREGATE_TYPE];
    type Envelope = CommandEnvelope;

    async fn handle_event(&self, cx: &mut Handling<'_, Self>) -> Result<(), HandleError> {
        let event = CounterEvent::from_event(cx.event())?;
        let (CounterEvent::Added(by), Some(rest)) = (event, cx.stream_id().strip_prefix("in-"))
        else {
            return Ok(());
        };
        let instance_id = format!("out-{rest}");
        cx.send_envelope(CommandEnvelope {
            aggregate_type: Counter::AGGREGATE_TYPE.to_owned(),
            instance_id,
            command: serde_json::to_value(command(by)).unwrap_or_default(),
            context: CommandContext::default(),
        });
        Ok(())
    }
}

#[tokio::test]
async fn the_key_of_an_event_handler_is_parked() -> TestResult {
    let base = tempfile::tempdir()?;
    let builder = node(base.path()).aggregate_type::<Counter>();
    let store = builder.event_handler(Caller).open().await?;
    for (id, by) in [("in-a", 1), ("in-a", LARGE), ("in-b", 1), ("in-a", 1)] {
        add(&store, id, by).await;
    }
    let caller = store.event_handler::<Caller>()?;
    until("the key is parked", || async {
        caller.parked().await.is_ok_and(|parked| parked.len() == 1)
    })
    .await;
    let parked = caller.parked().await?;
    names_the_limit(&parked[0].parked.reason);
    until("the other key goes on", || async {
        version(&store, "out-b").await == 1
    })
    .await;
    assert_eq!(version(&store, "out-a").await, 1);
    Ok(())
}
