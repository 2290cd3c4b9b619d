//! States that panic on the way to their snapshot, that cannot be written, and that are written on several lines.

use std::collections::HashMap;
use std::convert::Infallible;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::common::saved::{content, is_empty, place, version, wait_for_version};
use eventfold_es::ExecuteError;
use eventfold_es::prelude::*;
use eventfold_es::store::AggregateStoreBuilder;
use eventfold_es_tests::TestResult;
use serde_json::value::RawValue;

fn context() -> CommandContext {
    CommandContext::default()
}

fn builder(base: &Path, every: u64) -> AggregateStoreBuilder {
    AggregateStore::builder(base).snapshot_every(every)
}

/// Whether the next copy of a [`Touchy`] panics, and whether writing the next one does.
static CLONE_PANICS: AtomicBool = AtomicBool::new(false);
static SERIALIZE_PANICS: AtomicBool = AtomicBool::new(false);
static CLONES: AtomicU64 = AtomicU64::new(0);

#[derive(Debug, Clone, Serialize, Deserialize)]
enum TouchyCommand {
    Touch,
}

#[derive(Debug, Clone, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
enum TouchyEvent {
    Touched,
}

#[aggregate(error = Infallible)]
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct Touchy {
    #[serde(serialize_with = "touchy")]
    touched: u64,
}

fn touchy<S: serde::Serializer>(touched: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    assert!(!SERIALIZE_PANICS.swap(false, Ordering::Relaxed), "not now");
    serializer.serialize_u64(*touched)
}

impl Clone for Touchy {
    fn clone(&self) -> Self {
        CLONES.fetch_add(1, Ordering::Relaxed);
        assert!(!CLONE_PANICS.swap(false, Ordering::Relaxed), "no copies");
        Self {
            touched: self.touched,
        }
    }
}

impl Decider for Touchy {
    fn decide(&self, _: TouchyCommand) -> Result<Vec<TouchyEvent>, Infallible> {
        Ok(vec![TouchyEvent::Touched])
    }

    fn evolve(&mut self, _: &TouchyEvent) {
        self.touched += 1;
    }
}

/// A state is copied once while it is hot, and once for each snapshot; panics on the way to one cost that snapshot.
#[tokio::test]
async fn copies_are_few_and_a_panic_costs_one_snapshot() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = builder(base.path(), 50).open().await?;
    let file = place(&store, "touchy", "t");
    let handle = store.get::<Touchy>("t").await?;
    let touch = async |times| {
        for _ in 0..times {
            handle.execute(TouchyCommand::Touch, context()).await?;
        }
        Ok::<(), ExecuteError<Infallible>>(())
    };
    // A snapshot is taken when the command after the fiftieth settles.
    touch(51).await?;
    wait_for_version(&file, 50).await;
    // Each idle second may cost another copy.
    let copies = CLONES.load(Ordering::Relaxed);
    assert!((2..10).contains(&copies), "{copies}");

    CLONE_PANICS.store(true, Ordering::Relaxed);
    touch(50).await?;
    assert!(!CLONE_PANICS.load(Ordering::Relaxed), "it has panicked");
    assert_eq!(version(&file), 50);

    SERIALIZE_PANICS.store(true, Ordering::Relaxed);
    touch(50).await?;
    let begun = Instant::now();
    while SERIALIZE_PANICS.load(Ordering::Relaxed) {
        assert!(begun.elapsed() < Duration::from_secs(20));
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert_eq!(version(&file), 50);

    touch(50).await?;
    wait_for_version(&file, 200).await;
    assert_eq!(handle.state().await?.touched, 201);
    Ok(())
}

#[derive(Debug, Clone, Serialize, Deserialize)]
enum PlanCommand {
    Mark(u8, u8),
}

#[derive(Debug, Clone, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
enum PlanEvent {
    Marked(u8, u8),
}

/// Cannot be written as JSON: its keys are no strings.
#[aggregate(name = "plan", command = PlanCommand, event = PlanEvent, error = Infallible)]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Plan {
    marks: HashMap<(u8, u8), u8>,
}

impl Decider for Plan {
    fn decide(&self, PlanCommand::Mark(x, y): PlanCommand) -> Result<Vec<PlanEvent>, Infallible> {
        Ok(vec![PlanEvent::Marked(x, y)])
    }

    fn evolve(&mut self, PlanEvent::Marked(x, y): &PlanEvent) {
        *self.marks.entry((*x, *y)).or_default() += 1;
    }
}

#[tokio::test]
async fn a_state_that_does_not_serialize_works_without() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = builder(base.path(), 2)
        .idle_timeout(Duration::from_millis(2))
        .open()
        .await?;
    let plan = store.get::<Plan>("p").await?;
    for round in 1..=10 {
        let done = plan.execute(PlanCommand::Mark(1, 2), context()).await?;
        assert_eq!(done.version, round);
        assert_eq!(plan.state().await?.marks[&(1, 2)], round as u8);
        tokio::time::sleep(Duration::from_millis(6)).await;
    }
    assert!(is_empty(&place(&store, "plan", "p")));
    Ok(())
}

#[derive(Debug, Clone, Serialize, Deserialize)]
enum PageCommand {
    Write(String),
}

#[derive(Debug, Clone, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
enum PageEvent {
    Written(String),
}

/// Holds JSON as it was written, with its line breaks.
#[aggregate(error = serde_json::Error)]
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Page {
    text: Option<Box<RawValue>>,
}

impl Decider for Page {
    fn decide(
        &self,
        PageCommand::Write(text): PageCommand,
    ) -> Result<Vec<PageEvent>, serde_json::Error> {
        RawValue::from_string(text.clone())?;
        Ok(vec![PageEvent::Written(text)])
    }

    fn evolve(&mut self, PageEvent::Written(text): &PageEvent) {
        self.text = RawValue::from_string(text.clone()).ok();
    }
}

#[tokio::test]
async fn a_state_of_several_lines_is_saved() -> TestResult {
    let base = tempfile::tempdir()?;
    let text = "{\n  \"a\": [1,\r\n 2]\n}";
    let store = builder(base.path(), 1).open().await?;
    let file = place(&store, "page", "p");
    let page = store.get::<Page>("p").await?;
    let write = PageCommand::Write(text.to_owned());
    page.execute(write, context()).await?;
    page.state().await?;
    wait_for_version(&file, 1).await;
    store.close().await?;

    let store = builder(base.path(), 1).open().await?;
    let file = place(&store, "page", "p");
    let saved = content(&file).expect("a snapshot");
    assert_eq!(
        saved["state"]["text"],
        serde_json::from_str::<serde_json::Value>(text)?
    );
    let page = store.get::<Page>("p").await?;
    let read = page.state().await?.text.expect("the state");
    assert_eq!(read.get(), text);
    Ok(())
}
