//! Process managers that cannot react: they stay where they are, visibly, stop nobody else, and go on after the fix.

use std::path::Path;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use crate::common::counter::{Counter, CounterCommand, CounterEvent};
use eventfold_es::contract::ReactError;
use eventfold_es::disk::{Failure, Fault, FaultyDisk, Operation, SystemDisk};
use eventfold_es::prelude::*;
use eventfold_es::store::ProcessManagerReport;
use eventfold_es::{AggregateStoreBuilder, Effects, Reactions, RunMode};
use eventfold_es_tests::TestResult;

/// What version 1 and version 2 of one process manager have in common: they copy what is added to `a-…` to `b-…`.
macro_rules! copier {
    ($name:ident, $check:expr) => {
        #[derive(Debug, Default, Serialize, Deserialize)]
        struct $name {
            copied: Vec<i64>,
        }

        impl ProcessManager for $name {
            const NAME: &'static str = "copier";
            type Envelope = CommandEnvelope;

            fn subscriptions(&self) -> &'static [&'static str] {
                &[Counter::AGGREGATE_TYPE]
            }

            fn react(
                &mut self,
                _aggregate_type: &str,
                stream_id: &str,
                event: &RecordedEvent,
            ) -> Result<Vec<CommandEnvelope>, ReactError> {
                let (CounterEvent::Added(number), Some(rest)) =
                    (CounterEvent::from_event(event)?, stream_id.strip_prefix("a-"))
                else {
                    return Ok(Vec::new());
                };
                self.copied.push(number);
                $check(number).map_err(ReactError::Other)?;
                Ok(vec![CommandEnvelope {
                    aggregate_type: Counter::AGGREGATE_TYPE.to_owned(),
                    instance_id: format!("b-{rest}"),
                    command: serde_json::json!({ "Add": number }),
                    context: CommandContext::default(),
                }])
            }
        }
    };
}

fn check(number: i64) -> Result<(), String> {
    match number {
        13 => Err("13 is not understood".to_owned()),
        666 => panic!("666 is too much"),
        _ => Ok(()),
    }
}

copier!(Broken, check);
copier!(Fixed, |_| Ok::<(), String>(()));

/// Beside it, one that does the same into `c-…`.
#[process_manager(subscribes = [Counter], dispatches = [Counter])]
#[derive(Debug, Default, Serialize, Deserialize)]
struct Bystander;

impl React<Counter> for Bystander {
    fn react(&mut self, event: &CounterEvent, cx: &mut Reaction<'_, Self>) {
        if let (CounterEvent::Added(number), Some(rest)) =
            (event, cx.stream_id().strip_prefix("a-"))
        {
            cx.send(format!("c-{rest}"), CounterCommand::Add(*number));
        }
    }
}

fn with<PM: ProcessManager>(base: &Path, mode: RunMode) -> AggregateStoreBuilder {
    AggregateStore::builder(base)
        .run_mode(mode)
        .process_manager::<PM>()
        .process_manager::<Bystander>()
        .aggregate_type::<Counter>()
}

async fn add(
    store: &AggregateStore,
    id: &str,
    number: i64,
) -> Result<Reactions, eventfold_es::Error> {
    let command = CounterCommand::Add(number);
    let done = store.send(id, command, CommandContext::default()).await?;
    Ok(done.reactions)
}

async fn sum(store: &AggregateStore, id: &str) -> Result<i64, eventfold_es::Error> {
    Ok(store.get::<Counter>(id).await?.state().await?.sum)
}

fn report(dispatched: usize) -> ProcessManagerReport {
    let mut report = ProcessManagerReport::default();
    report.dispatched = dispatched;
    report
}

/// The whole life of one that cannot react to the event that adds `bad`.
async fn parks_and_goes_on_after_the_fix(mode: RunMode, bad: i64, why: &str) -> TestResult {
    let base = tempfile::tempdir()?;
    let store = with::<Broken>(base.path(), mode).open().await?;
    add(&store, "a-1", 1).await?;
    let reactions = add(&store, "a-1", bad).await?;
    let later = add(&store, "a-2", 2).await?;
    if mode == RunMode::Inline {
        assert_eq!((reactions, later), (Reactions::Parked, Reactions::Parked));
    }
    // One copy of the first by each, and the rest by the bystander.
    assert_eq!(store.run_process_managers().await?, report(4), "{mode:?}");
    assert_eq!(sum(&store, "b-1").await?, 1);
    assert_eq!(sum(&store, "b-2").await?, 0, "it is shown no later event");
    assert_eq!(sum(&store, "c-1").await?, 1 + bad, "others go on");
    assert_eq!(sum(&store, "c-2").await?, 2);
    let status = store.health().await.process_managers;
    let parked = status[0].parked_at.as_ref().unwrap();
    assert_eq!(status[0].name, "copier");
    assert_eq!(status[0].position, parked.position - 1);
    assert!(status[0].lag > 0);
    assert!(parked.reason.contains(why), "{}", parked.reason);
    assert_eq!(status[1].parked_at, None);
    // A run does not wait for it.
    assert_eq!(store.run_process_managers().await?, report(0));
    store.close().await?;

    // The same program parks it at the same event.
    let store = with::<Broken>(base.path(), mode).open().await?;
    assert_eq!(store.run_process_managers().await?, report(0));
    assert_eq!(
        store.health().await.process_managers[0].parked_at.as_ref(),
        Some(parked)
    );
    store.close().await?;

    // The fixed one goes on, once.
    let store = with::<Fixed>(base.path(), mode).open().await?;
    assert_eq!(store.run_process_managers().await?, report(2));
    assert_eq!(sum(&store, "b-1").await?, 1 + bad);
    assert_eq!(sum(&store, "b-2").await?, 2);
    assert_eq!(store.health().await.process_managers[0].parked_at, None);
    store.close().await?;

    let store = with::<Fixed>(base.path(), mode).open().await?;
    assert_eq!(store.run_process_managers().await?, report(0));
    assert_eq!(store.read_events("counter", "b-1").await?.len(), 2);
    store.close().await?;
    let saved = base.path().join("process_managers/copier/checkpoint.json");
    let saved: serde_json::Value = serde_json::from_slice(&std::fs::read(saved)?)?;
    let state = &saved["content"]["state"];
    assert_eq!(state["copied"], serde_json::json!([1, bad, 2]), "once each");
    Ok(())
}

#[tokio::test]
#[cfg_attr(eventfold_memory_journal, ignore = "it is about the disk")]
async fn an_event_that_is_not_understood_parks_and_goes_on_after_the_fix() -> TestResult {
    for mode in [RunMode::Inline, RunMode::Background, RunMode::OnDemand] {
        parks_and_goes_on_after_the_fix(mode, 13, "13 is not understood").await?;
    }
    Ok(())
}

#[tokio::test]
#[cfg_attr(eventfold_memory_journal, ignore = "it is about the disk")]
async fn a_panic_in_react_parks_and_goes_on_after_the_fix() -> TestResult {
    for mode in [RunMode::Inline, RunMode::Background, RunMode::OnDemand] {
        let why = "the reaction of `copier` panicked: 666 is too much";
        parks_and_goes_on_after_the_fix(mode, 666, why).await?;
    }
    Ok(())
}

/// It has no instances, and asks to complete one.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Completer {
    seen: u64,
}

impl ProcessManager for Completer {
    const NAME: &'static str = "completer";
    type Envelope = CommandEnvelope;

    fn subscriptions(&self) -> &'static [&'static str] {
        &[Counter::AGGREGATE_TYPE]
    }

    fn react(
        &mut self,
        _aggregate_type: &str,
        _stream_id: &str,
        _event: &RecordedEvent,
    ) -> Result<Vec<CommandEnvelope>, ReactError> {
        Ok(Vec::new())
    }

    fn react_in(
        &mut self,
        _key: &str,
        _aggregate_type: &str,
        stream_id: &str,
        _event: &RecordedEvent,
    ) -> Result<Effects<CommandEnvelope>, ReactError> {
        self.seen += 1;
        let mut effects = Effects::default();
        effects.is_complete = stream_id == "a-2";
        Ok(effects)
    }
}

/// There is no instance that could complete: nothing is lost by asking for it, and the state is what it was.
#[tokio::test]
#[cfg_attr(eventfold_memory_journal, ignore = "it is about the disk")]
async fn what_has_no_instances_cannot_complete() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = with::<Completer>(base.path(), RunMode::Inline)
        .open()
        .await?;
    add(&store, "a-1", 1).await?;
    assert_eq!(add(&store, "a-2", 2).await?, Reactions::Parked);
    let status = store.health().await.process_managers;
    let parked = status[0].parked_at.as_ref().unwrap();
    assert_eq!(parked.position, status[0].position + 1);
    assert!(parked.reason.contains("without `key`"), "{}", parked.reason);
    store.close().await?;
    let saved = base
        .path()
        .join("process_managers/completer/checkpoint.json");
    let saved: serde_json::Value = serde_json::from_slice(&std::fs::read(saved)?)?;
    let content = &saved["content"];
    assert!(content["position"].as_u64().unwrap() < parked.position);
    let seen = content["state"]["seen"].as_u64();
    assert!(seen.is_some_and(|seen| seen <= 2), "{content}");
    Ok(())
}

/// Commands that cannot even be copied or encoded.
mod explosive {
    use eventfold_es::prelude::*;
    use serde::Serializer;
    use serde::ser::Error as _;

    #[derive(Debug, PartialEq, Deserialize)]
    pub enum FuseCommand {
        /// Its clone panics.
        Light,
        /// It is rejected, and does not encode.
        Wet,
    }

    impl Clone for FuseCommand {
        fn clone(&self) -> Self {
            assert_eq!(*self, Self::Wet, "boom");
            Self::Wet
        }
    }

    impl Serialize for FuseCommand {
        fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(S::Error::custom("too wet"))
        }
    }

    #[derive(Debug, Clone, Serialize, Deserialize, DomainEvent)]
    #[serde(tag = "type", content = "data")]
    pub enum FuseEvent {
        Lit,
    }

    #[derive(Debug, thiserror::Error)]
    #[error("it does not burn")]
    pub struct FuseError;

    #[aggregate]
    #[derive(Debug, Clone, Default, Serialize, Deserialize)]
    pub struct Fuse;

    impl Decider for Fuse {
        fn decide(&self, _: FuseCommand) -> Result<Vec<FuseEvent>, FuseError> {
            Err(FuseError)
        }

        fn evolve(&mut self, _: &FuseEvent) {}
    }
}

use explosive::{Fuse, FuseCommand};

#[process_manager(subscribes = [Counter], dispatches = [Fuse])]
#[derive(Debug, Default, Serialize, Deserialize)]
struct Lighter;

impl React<Counter> for Lighter {
    fn react(&mut self, event: &CounterEvent, cx: &mut Reaction<'_, Self>) {
        match (cx.stream_id(), event) {
            ("a-1", CounterEvent::Added(666)) => cx.send("fuse", FuseCommand::Light),
            ("a-1", CounterEvent::Added(13)) => cx.send("fuse", FuseCommand::Wet),
            _ => {}
        }
    }
}

/// The clone of a command is code of the user as well: its panic fails the command, and hangs nobody.
#[tokio::test]
async fn a_panic_in_the_clone_of_a_command_is_a_dead_letter() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = with::<Lighter>(base.path(), RunMode::Inline).open().await?;
    assert_eq!(add(&store, "a-1", 666).await?, Reactions::Done);
    assert_eq!(sum(&store, "c-1").await?, 666);
    let letters = store.dead_letters::<Lighter>().await?;
    assert_eq!(letters.len(), 1);
    let error = &letters[0].error;
    assert!(error.contains("the clone of a command of"), "{error}");
    assert_eq!(store.health().await.process_managers[0].parked_at, None);
    store.close().await?;
    Ok(())
}

/// A command that does not encode is a dead letter all the same, and says so.
#[tokio::test]
async fn a_rejected_command_that_does_not_encode_is_a_dead_letter() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = with::<Lighter>(base.path(), RunMode::Inline).open().await?;
    assert_eq!(add(&store, "a-1", 13).await?, Reactions::Done);
    let letters = store.dead_letters::<Lighter>().await?;
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].error, "it does not burn");
    assert_eq!(
        letters[0].envelope.command,
        "the command does not serialize: too wet"
    );
    Ok(())
}

/// Reacts when it is told to.
static HELD: Mutex<Option<mpsc::Receiver<()>>> = Mutex::new(None);

/// Holds the next reaction back until something is sent.
fn hold() -> mpsc::Sender<()> {
    let (release, held) = mpsc::channel();
    *HELD.lock().unwrap() = Some(held);
    release
}

#[process_manager(subscribes = [Counter], dispatches = [Counter])]
#[derive(Debug, Default, Serialize, Deserialize)]
struct Slow;

impl React<Counter> for Slow {
    fn react(&mut self, _: &CounterEvent, cx: &mut Reaction<'_, Self>) {
        if cx.stream_id() == "a-1" {
            if let Some(held) = HELD.lock().unwrap().take() {
                held.recv().unwrap();
            }
            cx.send("b-1", CounterCommand::Add(1));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn reactions_that_take_too_long_are_not_waited_for_and_go_on() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = with::<Slow>(base.path(), RunMode::Inline)
        .reaction_timeout(Duration::from_millis(20))
        .open()
        .await?;
    let held = hold();
    assert_eq!(add(&store, "a-1", 1).await?, Reactions::TimedOut);
    held.send(())?;
    assert_eq!(store.run_process_managers().await?, report(2));
    assert_eq!(sum(&store, "b-1").await?, 1);
    assert_eq!(sum(&store, "c-1").await?, 1);
    Ok(())
}

/// A journal that cannot be read for a moment, for want of descriptors, is read again: it parks nobody.
#[tokio::test]
#[cfg_attr(eventfold_memory_journal, ignore = "it is about the disk")]
async fn a_failed_read_of_the_journal_is_tried_again() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = with::<Fixed>(base.path(), RunMode::OnDemand).open().await?;
    for number in 1..=3 {
        add(&store, "a-1", number).await?;
    }
    store.close().await?;

    // After opening, what came before is on disk only.
    let disk = Arc::new(FaultyDisk::new(Arc::new(SystemDisk)));
    let store = with::<Fixed>(base.path(), RunMode::OnDemand)
        .disk(disk.clone())
        .open()
        .await?;
    let is_journal = |path: &Path| path.ends_with("journal/app.jsonl");
    for operation in [Operation::Open, Operation::Read] {
        disk.inject(
            Fault::once(0, Failure::EMFILE)
                .on(&[operation])
                .at(is_journal),
        );
    }
    assert_eq!(store.run_process_managers().await?, report(6));
    assert!(!disk.hits().is_empty());
    assert_eq!(sum(&store, "b-1").await?, 6);
    let status = store.health().await.process_managers;
    assert!(
        status.iter().all(|one| one.parked_at.is_none()),
        "{status:?}"
    );
    Ok(())
}
