//! How deeply values may nest, at each place where they are stored: what is accepted is read again by everybody, eventfold among them.

use std::path::Path;
use std::time::{Duration, SystemTime};

use eventfold_es::clock::ManualClock;
use eventfold_es::prelude::*;
use eventfold_es::store::AggregateStoreBuilder;
use eventfold_es::{
    Backoff, ExecuteError, Executed, FailureAction, HandleFailure, RunMode, StoreError,
};
use eventfold_es_tests::TestResult;
use serde_json::{Value, json};

use crate::hard_values::nested;

/// What every value may nest.
const MOST: usize = 100;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum CaveCommand {
    /// Stores an event whose data nests so deeply.
    Dig(usize),
    /// Stores how deeply others are to nest something.
    Tell { what: String, depth: usize },
    /// Is refused.
    Refuse(Value),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
pub enum CaveEvent {
    Dug(Value),
    Told { what: String, depth: usize },
}

#[derive(Debug, PartialEq, thiserror::Error)]
#[error("refused")]
pub struct Refused;

/// Nests its state as deeply as it is told.
#[aggregate(error = Refused)]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Cave {
    value: Value,
}

impl Decider for Cave {
    fn decide(&self, command: CaveCommand) -> Result<Vec<CaveEvent>, Refused> {
        match command {
            CaveCommand::Dig(depth) => Ok(vec![CaveEvent::Dug(nested(depth))]),
            CaveCommand::Tell { what, depth } => Ok(vec![CaveEvent::Told { what, depth }]),
            CaveCommand::Refuse(_) => Err(Refused),
        }
    }

    fn evolve(&mut self, event: &CaveEvent) {
        if let CaveEvent::Told { what, depth } = event
            && what == "state"
        {
            // The struct around it is a level.
            self.value = nested(depth - 1);
        }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Rope {
    value: Value,
}

const SECOND: Duration = Duration::from_secs(1);

/// What a process manager does about the depth that it is told, and about what fails.
macro_rules! digger {
    ($name:ident $(, $argument:ident = $value:ident)*) => {
        #[process_manager(subscribes = [Cave], dispatches = [Cave], deadlines = [Rope], on_failure $(, $argument = $value)*)]
        #[derive(Debug, Default, Serialize, Deserialize)]
        pub struct $name {
            value: Value,
        }

        impl React<Cave> for $name {
            fn react(&mut self, event: &CaveEvent, cx: &mut Reaction<'_, Self>) {
                let CaveEvent::Told { what, depth } = event else {
                    return;
                };
                match what.as_str() {
                    "pm" => {
                        self.value = nested(depth - 1);
                        cx.send("target", CaveCommand::Dig(1));
                    }
                    "rope" => {
                        let value = nested(depth - 1);
                        cx.schedule("rope", Deadline::at(SystemTime::UNIX_EPOCH + SECOND), Rope { value });
                    }
                    // `{"Refuse": value}`
                    "command" => cx.send("target", CaveCommand::Refuse(nested(depth - 1))),
                    _ => {}
                }
            }
        }

        impl OnDeadline<Rope> for $name {
            fn on_deadline(&mut self, _: Rope, _: &mut Reaction<'_, Self>) {
                panic!("it tears");
            }
        }

        impl HandleFailure for $name {
            fn on_failure(&self, failure: &Failure<'_>) -> FailureAction<Self> {
                match failure.attempt {
                    1 => FailureAction::Retry(Backoff::exponential(SECOND).jitter(0.0)),
                    2 if failure.envelope.is_some() && !failure.key.is_empty() => FailureAction::Park,
                    _ => FailureAction::DeadLetter,
                }
            }
        }
    };
}

digger!(Single);
digger!(Keyed, key = String);

impl Correlate<Cave> for Keyed {
    fn correlate(_: &CaveEvent, cx: &EventContext<'_>) -> Correlation<String> {
        Correlation::starts_or_continues(cx.stream_id().to_owned())
    }
}

/// Nests its state as deeply as it is told.
#[projection(subscribes = [Cave])]
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct View {
    value: Value,
}

impl Project<Cave> for View {
    fn project(&mut self, event: &CaveEvent, _: &EventContext<'_>) {
        if let CaveEvent::Told { what, depth } = event
            && what == "view"
        {
            self.value = nested(depth - 1);
        }
    }
}

fn tell(what: &str, depth: usize) -> CaveCommand {
    let what = what.to_owned();
    CaveCommand::Tell { what, depth }
}

fn context() -> CommandContext {
    CommandContext::default()
}

/// Every line that is stored as text reads as what it is, with the reader that eventfold has.
fn everything_is_readable(base: &Path) -> TestResult {
    let journal = std::fs::read_to_string(base.join("meta/journal/app.jsonl"))?;
    for line in journal.lines() {
        serde_json::from_str::<eventfold::Event>(line)?;
    }
    for entry in walk(base)? {
        let name = entry
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if name.ends_with(".jsonl") || name.ends_with(".json") {
            let text = std::fs::read_to_string(&entry)?;
            for line in text.lines() {
                serde_json::from_str::<Value>(line)
                    .map_err(|error| format!("{}: {error}", entry.display()))?;
            }
        }
    }
    Ok(())
}

fn walk(directory: &Path) -> Result<Vec<std::path::PathBuf>, std::io::Error> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        match path.is_dir() {
            true => found.extend(walk(&path)?),
            false => found.push(path),
        }
    }
    Ok(found)
}

fn refused(done: Result<Executed<CaveEvent>, ExecuteError<Refused>>) -> String {
    match done {
        Err(ExecuteError::Store(StoreError::Unstorable(error))) => error.to_string(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
#[cfg_attr(eventfold_memory_journal, ignore = "it is about the disk")]
async fn what_an_event_holds_reads_back_where_its_commit_is_stored() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = AggregateStore::open(base.path()).await?;
    let with = |depth| context().with_metadata(json!({ "deep": nested(depth - 1) }));
    store.send("c", CaveCommand::Dig(MOST), with(MOST)).await?;
    let text = refused(store.send("c", CaveCommand::Dig(MOST + 1), context()).await);
    assert!(text.contains("more than 100 levels"), "{text}");
    let text = refused(store.send("c", CaveCommand::Dig(1), with(MOST + 1)).await);
    assert!(text.contains("more than 100 levels"), "{text}");

    let options = eventfold_es::store::InjectOptions::default();
    for (depth, is_kept) in [(MOST, true), (MOST + 1, false)] {
        let event = CaveEvent::Dug(nested(depth)).to_event()?;
        let injected = store.inject_event::<Cave>("i", event, options).await;
        assert_eq!(injected.is_ok(), is_kept, "{depth}");
    }
    store.close().await?;
    everything_is_readable(base.path())
}

fn with<PM: ProcessManager>(base: &Path, clock: &ManualClock) -> AggregateStoreBuilder {
    AggregateStore::builder(base)
        .process_manager::<PM>()
        .run_mode(RunMode::OnDemand)
        .clock(clock.clone())
}

/// Of what one process manager stores: its state, its deadlines and its commands, wherever these go.
async fn what_it_stores_reads_back<PM: ProcessManager>() -> TestResult {
    for what in ["pm", "rope", "command"] {
        for depth in [MOST, MOST + 1] {
            let base = tempfile::tempdir()?;
            let clock = ManualClock::new(SystemTime::UNIX_EPOCH);
            let store = with::<PM>(base.path(), &clock).open().await?;
            store.send("c", tell(what, depth), context()).await?;
            for _ in 0..4 {
                store.run_process_managers().await?;
                if what == "command" {
                    let handle = store.process_manager::<PM>()?;
                    handle.release("c").await?;
                }
                clock.advance(SECOND * 4);
            }
            let letters = store.process_manager::<PM>()?.dead_letters().await?;
            let error = letters.first().map(|letter| letter.error().to_owned());
            let error = error.unwrap_or_default();
            let status = store.health().await.process_managers;
            let parked = status[0]
                .parked_at
                .as_ref()
                .map(|parked| parked.reason.clone());
            let said = format!("{error}{}", parked.unwrap_or_default());
            match (what, depth > MOST) {
                ("pm", false) => assert_eq!(said, ""),
                ("pm" | "rope", true) => {
                    assert!(
                        said.contains("more than 100 levels"),
                        "{what} {depth}: {said}"
                    )
                }
                ("rope", false) => assert!(said.contains("it tears"), "{depth}: {said}"),
                _ => {
                    assert!(said.contains("refused"), "{depth}: {said}");
                    let kept = letters.first().and_then(|letter| letter.envelope.clone());
                    let kept = kept.map(|envelope| envelope.command.is_object());
                    assert_eq!(kept, Some(depth == MOST), "JSON, or its text");
                }
            }
            store.close().await?;
            everything_is_readable(base.path())?;
            let store = with::<PM>(base.path(), &clock).open().await?;
            assert!(store.verify().await?.differences.is_empty());
        }
    }
    Ok(())
}

#[tokio::test]
#[cfg_attr(eventfold_memory_journal, ignore = "it is about the disk")]
async fn what_a_process_manager_stores_reads_back() -> TestResult {
    what_it_stores_reads_back::<Single>().await
}

#[tokio::test]
#[cfg_attr(eventfold_memory_journal, ignore = "it is about the disk")]
async fn what_the_instances_of_a_process_manager_store_reads_back() -> TestResult {
    what_it_stores_reads_back::<Keyed>().await
}

#[tokio::test]
#[cfg_attr(eventfold_memory_journal, ignore = "it is about the disk")]
async fn a_state_is_saved_as_far_as_it_reads_back() -> TestResult {
    for (depth, is_saved) in [(MOST, true), (MOST + 1, false)] {
        let base = tempfile::tempdir()?;
        let open = || {
            let builder = AggregateStore::builder(base.path()).snapshot_every(1);
            builder.projection::<View>().open()
        };
        let store = open().await?;
        store.send("c", tell("state", depth), context()).await?;
        store.send("c", tell("view", depth), context()).await?;
        let cave = store.get::<Cave>("c").await?;
        assert_eq!(cave.state().await?.value, nested(depth - 1));
        assert_eq!(store.projection::<View>().await?.value, nested(depth - 1));
        store.rebuild_projection::<View>().await?;
        drop(cave);
        store.close().await?;
        everything_is_readable(base.path())?;
        let saved = |name: &str| {
            let found = walk(base.path()).unwrap_or_default();
            found.iter().any(|path| path.ends_with(name))
        };
        let snapshots = walk(&base.path().join("meta/snapshots")).unwrap_or_default();
        assert_eq!(!snapshots.is_empty(), is_saved, "{depth}");
        assert_eq!(
            saved("projections/view/checkpoint.json"),
            is_saved,
            "{depth}"
        );
        let store = open().await?;
        assert_eq!(store.projection::<View>().await?.value, nested(depth - 1));
        let cave = store.get::<Cave>("c").await?;
        assert_eq!(cave.state().await?.value, nested(depth - 1));
    }
    Ok(())
}
