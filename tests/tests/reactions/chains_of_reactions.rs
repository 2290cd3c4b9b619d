//! What the events of a chain say about where they come from, and what becomes of a chain without an end.

use crate::common::counter::{Counter, CounterCommand, CounterEvent};
use std::time::{Duration, SystemTime};

use eventfold_es::clock::ManualClock;
use eventfold_es::prelude::*;
use eventfold_es::store::InjectOptions;
use eventfold_es::{
    Correlate, Correlation, EventContext, ExecuteError, Failure, FailureAction, HandleFailure,
    Reactions, RunMode, StoreError,
};
use eventfold_es_tests::TestResult;
use serde_json::{Value, json};

fn context() -> CommandContext {
    CommandContext::default()
}

fn event_by(events: &[eventfold::Event], index: usize) -> &eventfold::Event {
    &events[index]
}

fn meta(event: &eventfold::Event, name: &str) -> Value {
    event
        .meta
        .as_ref()
        .map_or(Value::Null, |meta| meta[name].clone())
}

/// Sends what is added to `a` on to `b`, twice.
#[process_manager(subscribes = [Counter], dispatches = [Counter])]
#[derive(Debug, Default, Serialize, Deserialize)]
struct FromAToB;

impl React<Counter> for FromAToB {
    fn react(&mut self, event: &CounterEvent, cx: &mut Reaction<'_, Self>) {
        if let (CounterEvent::Added(by), "a") = (event, cx.stream_id()) {
            cx.send("b", CounterCommand::Add(*by));
            let own = context()
                .with_metadata(json!({ "why \"": "because" }))
                .with_causation_id("forged")
                .with_correlation_id("another");
            cx.send_with("b", CounterCommand::Add(*by), own);
            let bad = context().with_metadata(json!({ "command_id": "forged" }));
            cx.send_with("b", CounterCommand::Add(*by), bad);
        }
    }
}

/// Sends what is added to `b` on to `c`.
#[process_manager(subscribes = [Counter], dispatches = [Counter])]
#[derive(Debug, Default, Serialize, Deserialize)]
struct FromBToC;

impl React<Counter> for FromBToC {
    fn react(&mut self, event: &CounterEvent, cx: &mut Reaction<'_, Self>) {
        if let (CounterEvent::Added(by), "b") = (event, cx.stream_id()) {
            cx.send("c", CounterCommand::Add(*by));
        }
    }
}

#[tokio::test]
async fn each_event_of_a_chain_says_what_caused_it() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = AggregateStore::builder(base.path())
        .process_manager::<FromAToB>()
        .process_manager::<FromBToC>()
        .open()
        .await?;
    let done = store.send("a", CounterCommand::Add(1), context()).await?;
    assert_eq!(done.reactions, Reactions::Done);

    let head = store.read_events("counter", "a").await?;
    let head = event_by(&head, 0);
    assert_eq!(head.meta, None, "nothing caused a direct command");
    let middle = store.read_events("counter", "b").await?;
    assert_eq!(middle.len(), 2, "the forged one is not executed");
    let head_id = Value::from(head.id.clone());
    for event in &middle {
        assert_eq!(meta(event, "causation_id"), head_id);
        assert_eq!(meta(event, "depth"), 1);
        assert_eq!(meta(event, "command_id").as_str().map(str::len), Some(32));
    }
    let (first, second) = (event_by(&middle, 0), event_by(&middle, 1));
    assert_ne!(meta(first, "command_id"), meta(second, "command_id"));
    assert_eq!(meta(first, "correlation_id"), head_id);
    assert_eq!(meta(second, "correlation_id"), "another");
    assert_eq!(meta(second, "why \""), "because");

    let last = store.read_events("counter", "c").await?;
    assert_eq!(last.len(), 2);
    for (event, cause) in last.iter().zip(&middle) {
        assert_eq!(meta(event, "causation_id"), Value::from(cause.id.clone()));
        assert_eq!(
            meta(event, "correlation_id"),
            meta(cause, "correlation_id"),
            "the whole chain is one conversation"
        );
        assert_eq!(meta(event, "depth"), 2);
    }
    let letters = store.dead_letters::<FromAToB>().await?;
    let [letter] = &letters[..] else {
        panic!("{letters:?}");
    };
    assert!(letter.error.contains("`command_id`"), "{}", letter.error);
    Ok(())
}

#[tokio::test]
async fn a_direct_command_may_name_its_cause_and_forge_nothing() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = AggregateStore::open(base.path()).await?;
    let caused = context().with_causation_id("message-7");
    store.send("a", CounterCommand::Add(1), caused).await?;
    for name in ["command_id", "causation_id", "correlation_id", "depth"] {
        let forged = context().with_metadata(json!({ "ip": "::1", name: 1 }));
        let refused = store.send("a", CounterCommand::Add(1), forged).await;
        let Err(ExecuteError::Store(StoreError::ReservedMetadata { name: named })) = refused else {
            panic!("{refused:?}");
        };
        assert_eq!(named, name);
    }
    let events = store.read_events("counter", "a").await?;
    assert_eq!(events.len(), 1);
    assert_eq!(
        event_by(&events, 0).meta,
        Some(json!({ "causation_id": "message-7" }))
    );
    Ok(())
}

/// An event that came from elsewhere may have no id.
#[tokio::test]
async fn an_event_without_an_id_is_named_by_its_position() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = AggregateStore::builder(base.path())
        .process_manager::<FromBToC>()
        .open()
        .await?;
    let mut event = CounterEvent::Added(5).to_event()?;
    event.ts = 7;
    let options = InjectOptions::default();
    store
        .inject_event::<Counter>("x", event.clone(), options)
        .await?;
    store.inject_event::<Counter>("b", event, options).await?;
    store.run_process_managers().await?;
    let events = store.read_events("counter", "c").await?;
    let caused = event_by(&events, 0);
    assert_eq!(meta(caused, "causation_id"), "@2");
    assert_eq!(meta(caused, "correlation_id"), "@2");
    Ok(())
}

macro_rules! player {
    ($name:ident, $from:literal, $to:literal) => {
        #[process_manager(subscribes = [Counter], dispatches = [Counter])]
        #[derive(Debug, Default, Serialize, Deserialize)]
        struct $name;

        impl React<Counter> for $name {
            fn react(&mut self, _event: &CounterEvent, cx: &mut Reaction<'_, Self>) {
                if cx.stream_id() == $from {
                    cx.send($to, CounterCommand::Add(1));
                }
            }
        }
    };
}

player!(Ping, "left", "right");
player!(Pong, "right", "left");

#[tokio::test]
async fn a_loop_ends_in_a_dead_letter_that_names_its_path() -> TestResult {
    for mode in [RunMode::Inline, RunMode::OnDemand] {
        let base = tempfile::tempdir()?;
        let store = AggregateStore::builder(base.path())
            .process_manager::<Ping>()
            .process_manager::<Pong>()
            .max_reaction_depth(5)
            .run_mode(mode)
            .open()
            .await?;
        store
            .send("left", CounterCommand::Add(1), context())
            .await?;
        let report = store.run_process_managers().await?;
        assert_eq!(
            (report.dispatched, report.dead_lettered),
            (5, 1),
            "{mode:?}"
        );
        let letters = store.dead_letters::<Pong>().await?;
        let [letter] = &letters[..] else {
            panic!("{letters:?}");
        };
        let path = "ping -> pong -> ping -> pong -> ping -> pong";
        assert!(letter.error.contains(path), "{}", letter.error);
        assert!(letter.error.contains("longer than 5"), "{}", letter.error);
        assert_eq!(letter.envelope.instance_id, "left");
        // Another command begins a chain of its own.
        store
            .send("right", CounterCommand::Add(1), context())
            .await?;
        let report = store.run_process_managers().await?;
        assert_eq!(
            (report.dispatched, report.dead_lettered),
            (5, 1),
            "{mode:?}"
        );
    }
    Ok(())
}

#[derive(Debug, Serialize, Deserialize)]
struct Due;

/// Sends on from `left` to `right`, a moment later.
#[process_manager(subscribes = [Counter], dispatches = [Counter], deadlines = [Due])]
#[derive(Debug, Default, Serialize, Deserialize)]
struct Later;

impl React<Counter> for Later {
    fn react(&mut self, _event: &CounterEvent, cx: &mut Reaction<'_, Self>) {
        if cx.stream_id() == "left" {
            cx.schedule("due", Deadline::after(Duration::from_millis(999)), Due);
        }
    }
}

impl OnDeadline<Due> for Later {
    fn on_deadline(&mut self, _due: Due, cx: &mut Reaction<'_, Self>) {
        cx.send("right", CounterCommand::Add(1));
    }
}

/// Where a process manager is when a deadline is reached has nothing to do with how its chain came there.
#[tokio::test]
async fn the_path_of_a_chain_with_a_deadline_names_nobody_else() -> TestResult {
    for (depth, path) in [(0, ": .. -> later -> pong."), (1, ": later.")] {
        let base = tempfile::tempdir()?;
        let clock = ManualClock::new(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000));
        let store = AggregateStore::builder(base.path())
            .process_manager::<Later>()
            .process_manager::<Pong>()
            .process_manager::<Fan>()
            .max_reaction_depth(1)
            .clock(clock.clone())
            .open()
            .await?;
        let mut event = CounterEvent::Added(1).to_event()?;
        event.meta = Some(json!({ "depth": depth }));
        let options = InjectOptions::default();
        store
            .inject_event::<Counter>("left", event, options)
            .await?;
        // What comes meanwhile is another chain.
        store.send("fan", CounterCommand::Add(1), context()).await?;
        store.run_process_managers().await?;
        clock.advance(Duration::from_secs(10));
        store.run_process_managers().await?;
        let mut letters = store.dead_letters::<Later>().await?;
        letters.extend(store.dead_letters::<Pong>().await?);
        let [letter] = &letters[..] else {
            panic!("{letters:?}");
        };
        assert!(letter.error.contains(path), "{}", letter.error);
    }
    Ok(())
}

/// Adds to the same counter a second after it was added to, for ever.
#[process_manager(subscribes = [Counter], dispatches = [Counter], deadlines = [Due])]
#[derive(Debug, Default, Serialize, Deserialize)]
struct Recurring;

impl React<Counter> for Recurring {
    fn react(&mut self, _event: &CounterEvent, cx: &mut Reaction<'_, Self>) {
        cx.schedule("due", Deadline::after(Duration::from_secs(1)), Due);
    }
}

impl OnDeadline<Due> for Recurring {
    fn on_deadline(&mut self, _due: Due, cx: &mut Reaction<'_, Self>) {
        cx.send("left", CounterCommand::Add(1));
    }
}

/// A deadline that waits a second begins a chain of its own, so that what comes again and again is not taken for a loop.
#[tokio::test]
async fn what_recurs_by_deadlines_goes_on_for_ever() -> TestResult {
    let base = tempfile::tempdir()?;
    let clock = ManualClock::new(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000));
    let store = AggregateStore::builder(base.path())
        .process_manager::<Recurring>()
        .max_reaction_depth(2)
        .clock(clock.clone())
        .open()
        .await?;
    store
        .send("left", CounterCommand::Add(1), context())
        .await?;
    for _ in 0..10 {
        clock.advance(Duration::from_secs(1));
        store.run_process_managers().await?;
    }
    assert!(store.dead_letters::<Recurring>().await?.is_empty());
    let events = store.read_events("counter", "left").await?;
    assert_eq!(events.len(), 11);
    for event in &events[1..] {
        assert_eq!(meta(event, "depth"), 1);
    }
    Ok(())
}

/// Asks the store for something while it reacts; the answer is in its state.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Impatient;

static STORE: std::sync::Mutex<Option<AggregateStore>> = std::sync::Mutex::new(None);

/// Polls once: what is refused is refused at once, and anything else would wait.
fn poll_once<T>(future: impl Future<Output = T>) -> Option<T> {
    let waker = std::task::Waker::noop();
    let mut context = std::task::Context::from_waker(waker);
    match std::pin::pin!(future).poll(&mut context) {
        std::task::Poll::Ready(ready) => Some(ready),
        std::task::Poll::Pending => None,
    }
}

impl ProcessManager for Impatient {
    const NAME: &'static str = "impatient";
    type Envelope = CommandEnvelope;

    fn subscriptions(&self) -> &'static [&'static str] {
        &[Counter::AGGREGATE_TYPE]
    }

    fn react(
        &mut self,
        _aggregate_type: &str,
        _stream_id: &str,
        _event: &RecordedEvent,
    ) -> Result<Vec<CommandEnvelope>, eventfold_es::contract::ReactError> {
        let store = STORE.lock().unwrap().clone().unwrap();
        let event = CounterEvent::Added(1).to_event()?;
        let answers = [
            poll_once(store.send("z", CounterCommand::Add(1), context()))
                .map(|answer| answer.map(drop).map_err(|error| error.to_string())),
            poll_once(store.run_process_managers())
                .map(|answer| answer.map(drop).map_err(|error| error.to_string())),
            poll_once(store.inject_event::<Counter>("z", event, InjectOptions::default()))
                .map(|answer| answer.map_err(|error| error.to_string())),
        ];
        Err(eventfold_es::contract::ReactError::Other(format!(
            "{answers:?}"
        )))
    }
}

#[tokio::test]
async fn a_process_manager_that_waits_for_the_store_is_refused() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = AggregateStore::builder(base.path())
        .process_manager::<Impatient>()
        .open()
        .await?;
    *STORE.lock().unwrap() = Some(store.clone());
    let done = store.send("a", CounterCommand::Add(1), context()).await?;
    assert_eq!(done.reactions, Reactions::Parked);
    STORE.lock().unwrap().take();
    let status = store.health().await.process_managers;
    let parked = status[0].parked_at.as_ref().unwrap();
    let refusals = parked
        .reason
        .matches("`impatient` cannot wait for the store inside its own reaction");
    assert_eq!(refusals.count(), 3, "{}", parked.reason);
    // Outside of it nothing is refused, on whatever thread.
    store.send("z", CounterCommand::Add(1), context()).await?;
    Ok(())
}

/// What the store says to [`Restless`], by who asks.
static ANSWERS: std::sync::Mutex<Vec<(&str, String)>> = std::sync::Mutex::new(Vec::new());
static RESTLESS_STORE: std::sync::Mutex<Option<AggregateStore>> = std::sync::Mutex::new(None);

/// Asks for everything that its own task would have to do.
fn ask(who: &'static str) {
    let Some(store) = RESTLESS_STORE.lock().unwrap().clone() else {
        return;
    };
    let restless = store.process_manager::<Restless>().unwrap();
    let said = [
        poll_once(restless.pause()).map(|answer| answer.map_err(|error| error.to_string())),
        poll_once(restless.settle()).map(|answer| answer.map_err(|error| error.to_string())),
        poll_once(restless.release("a"))
            .map(|answer| answer.map(drop).map_err(|error| error.to_string())),
        poll_once(restless.redrive_all())
            .map(|answer| answer.map(drop).map_err(|error| error.to_string())),
        poll_once(restless.rebuild_state())
            .map(|answer| answer.map(drop).map_err(|error| error.to_string())),
        poll_once(store.send("z", CounterCommand::Add(1), context()))
            .map(|answer| answer.map(drop).map_err(|error| error.to_string())),
    ];
    let said = said.map(|said| match said {
        Some(Err(refused)) => (who, refused),
        other => (who, format!("{other:?}")),
    });
    ANSWERS.lock().unwrap().extend(said);
}

#[process_manager(subscribes = [Counter], dispatches = [Counter], key = String, deadlines = [Due], on_failure)]
#[derive(Debug, Default, Serialize, Deserialize)]
struct Restless;

impl Correlate<Counter> for Restless {
    fn correlate(_event: &CounterEvent, cx: &EventContext<'_>) -> Correlation<String> {
        ask("correlate");
        match cx.stream_id() {
            "a" => Correlation::starts("a".to_owned()),
            _ => Correlation::none(),
        }
    }
}

impl React<Counter> for Restless {
    fn react(&mut self, _event: &CounterEvent, cx: &mut Reaction<'_, Self>) {
        ask("react");
        cx.send("b", CounterCommand::Reject);
        cx.schedule("due", Deadline::at(SystemTime::UNIX_EPOCH), Due);
    }
}

impl OnDeadline<Due> for Restless {
    fn on_deadline(&mut self, _due: Due, _cx: &mut Reaction<'_, Self>) {
        ask("on_deadline");
    }
}

impl HandleFailure for Restless {
    fn on_failure(&self, _failure: &Failure<'_>) -> FailureAction<Self> {
        ask("on_failure");
        FailureAction::Skip
    }
}

/// Whatever of a process manager runs in its task is refused what would wait for that task, and goes on.
#[tokio::test]
async fn no_part_of_a_process_manager_may_wait_for_it() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = AggregateStore::builder(base.path())
        .process_manager::<Restless>()
        .open()
        .await?;
    *RESTLESS_STORE.lock().unwrap() = Some(store.clone());
    let done = store.send("a", CounterCommand::Add(1), context()).await?;
    assert_eq!(done.reactions, Reactions::Done);
    store.run_process_managers().await?;
    RESTLESS_STORE.lock().unwrap().take();
    let answers = std::mem::take(&mut *ANSWERS.lock().unwrap());
    for who in ["correlate", "react", "on_deadline", "on_failure"] {
        assert!(answers.iter().any(|(asked, _)| *asked == who), "{who}");
    }
    for (who, answer) in answers {
        let refused = "`restless` cannot wait for the store inside its own reaction";
        assert!(answer.contains(refused), "{who}: {answer}");
    }
    let restless = store.process_manager::<Restless>()?;
    let status = restless.status().await?;
    assert_eq!((status.parked_at, status.instances.parked), (None, 0));
    Ok(())
}

/// Sends what is added to `fan` on to others, not in the order of their names.
#[process_manager(subscribes = [Counter], dispatches = [Counter])]
#[derive(Debug, Default, Serialize, Deserialize)]
struct Fan;

impl React<Counter> for Fan {
    fn react(&mut self, event: &CounterEvent, cx: &mut Reaction<'_, Self>) {
        if let (CounterEvent::Added(by), "fan") = (event, cx.stream_id()) {
            for target in ["z", "m", "z", "a", "q"] {
                cx.send(target, CounterCommand::Add(*by));
            }
        }
    }
}

#[projection(subscribes = [Counter])]
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Order {
    streams: Vec<String>,
}

impl Project<Counter> for Order {
    fn project(&mut self, _event: &CounterEvent, cx: &EventContext<'_>) {
        self.streams.push(cx.stream_id().to_owned());
    }
}

#[tokio::test]
async fn the_events_of_a_reaction_stand_in_the_order_of_its_commands() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = AggregateStore::builder(base.path())
        .process_manager::<Fan>()
        .projection::<Order>()
        .open()
        .await?;
    store.send("fan", CounterCommand::Add(1), context()).await?;
    let seen = store.projection::<Order>().await?;
    assert_eq!(seen.streams, ["fan", "z", "z", "m", "a", "q"]);
    Ok(())
}
