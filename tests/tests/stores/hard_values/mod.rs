//! Values that JSON loses or cannot nest: in process managers, their commands and their contexts. Nothing of it may be
//! written in a form that cannot be read again, since then the store would not open.

mod nesting;
mod numbers;

use std::path::Path;

use crate::common::counter::{Counter, CounterCommand, CounterEvent};
use eventfold_es::contract::ReactError;
use eventfold_es::prelude::*;
use eventfold_es::{AggregateStoreBuilder, ExecuteError, Reactions, StoreError};
use eventfold_es_tests::TestResult;
use serde_json::{Value, json};

fn nested(depth: usize) -> Value {
    (0..depth).fold(Value::Null, |inner, _| json!([inner]))
}

/// Sends a command that nests as deeply as it is told.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Deep;

impl ProcessManager for Deep {
    const NAME: &'static str = "deep";
    type Envelope = CommandEnvelope;

    fn subscriptions(&self) -> &'static [&'static str] {
        &[Counter::AGGREGATE_TYPE]
    }

    fn react(
        &mut self,
        _aggregate_type: &str,
        _stream_id: &str,
        event: &RecordedEvent,
    ) -> Result<Vec<CommandEnvelope>, ReactError> {
        let CounterEvent::Added(depth) = CounterEvent::from_event(event)? else {
            return Ok(Vec::new());
        };
        Ok(vec![CommandEnvelope {
            aggregate_type: "nobody".to_owned(),
            instance_id: "n".to_owned(),
            command: nested(depth as usize),
            context: CommandContext::default()
                .with_metadata(json!({ "deep": nested(depth as usize) })),
        }])
    }
}

/// Keeps a number that JSON may not have.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Average {
    sum: f64,
    mean: f64,
}

impl ProcessManager for Average {
    const NAME: &'static str = "average";
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
        let CounterEvent::Added(by) = CounterEvent::from_event(event)? else {
            return Ok(Vec::new());
        };
        if stream_id != "c" {
            return Ok(Vec::new());
        }
        let count = self.sum;
        self.sum += by as f64;
        // 0 / 0 the first time.
        self.mean = self.sum / count;
        Ok(vec![CommandEnvelope {
            aggregate_type: Counter::AGGREGATE_TYPE.to_owned(),
            instance_id: "copy".to_owned(),
            command: json!({ "Add": 1 }),
            context: CommandContext::default(),
        }])
    }
}

fn with<PM: ProcessManager>(base: &Path) -> AggregateStoreBuilder {
    AggregateStore::builder(base)
        .process_manager::<PM>()
        .aggregate_type::<Counter>()
}

#[tokio::test]
#[cfg_attr(eventfold_memory_journal, ignore = "it is about the disk")]
async fn a_deeply_nested_dead_letter_can_be_read_and_the_store_opened() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = with::<Deep>(base.path()).open().await?;
    for depth in [1, 100, 120, 127, 128, 1000, 2] {
        let command = CounterCommand::Add(depth);
        let done = store.send("c", command, CommandContext::default()).await?;
        assert_eq!(done.reactions, Reactions::Done);
    }
    assert_eq!(store.dead_letters::<Deep>().await?.len(), 7);
    store.close().await?;

    for is_checkpoint_lost in [false, true] {
        if is_checkpoint_lost {
            std::fs::remove_file(base.path().join("meta/checkpoint.json"))?;
        }
        let store = with::<Deep>(base.path()).open().await?;
        let letters = store.dead_letters::<Deep>().await?;
        assert_eq!(letters.len(), 7);
        assert_eq!(
            letters[0].envelope.command,
            nested(1),
            "what can be kept is"
        );
        assert_eq!(letters[6].envelope.command, nested(2));
        store.close().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_state_that_json_does_not_have_parks_and_the_store_opens() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = with::<Average>(base.path()).open().await?;
    let done = store
        .send("c", CounterCommand::Add(0), CommandContext::default())
        .await?;
    assert_eq!(done.reactions, Reactions::Parked);
    let status = store.health().await.process_managers;
    let parked = status[0].parked_at.as_ref().unwrap();
    assert_eq!(parked.position, 1);
    assert!(
        parked.reason.contains("the state does not serialize")
            && parked.reason.contains("`mean` is NaN"),
        "{}",
        parked.reason
    );
    assert!(
        store.read_events("counter", "copy").await.is_err(),
        "nothing was dispatched"
    );
    store.close().await?;

    let store = with::<Average>(base.path()).open().await?;
    store.run_process_managers().await?;
    assert!(store.health().await.process_managers[0].parked_at.is_some());
    Ok(())
}

/// Its very first state cannot be stored.
#[derive(Debug, Serialize, Deserialize)]
struct Infinite {
    least: f64,
}

impl Default for Infinite {
    fn default() -> Self {
        let least = f64::INFINITY;
        Self { least }
    }
}

impl ProcessManager for Infinite {
    const NAME: &'static str = "infinite";
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
}

#[tokio::test]
#[cfg_attr(eventfold_memory_journal, ignore = "it is about the disk")]
async fn a_default_state_that_does_not_read_back_is_refused_and_nothing_is_changed() -> TestResult {
    let base = tempfile::tempdir()?;
    let refused = with::<Infinite>(base.path()).open().await.unwrap_err();
    let text = refused.to_string();
    assert!(text.contains("`infinite` does not decode"), "{text}");
    assert!(text.contains("`least` is inf"), "{text}");
    let journal = std::fs::read_to_string(base.path().join("meta/journal/app.jsonl"))?;
    assert!(!journal.contains("infinite"), "{journal}");
    Ok(())
}

#[tokio::test]
async fn a_context_that_does_not_survive_storage_is_refused() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = AggregateStore::open(base.path()).await?;
    let context = CommandContext::default().with_metadata(json!({ "deep": nested(200) }));
    let refused = store.send("c", CounterCommand::Add(1), context).await;
    assert!(matches!(
        refused,
        Err(ExecuteError::Store(StoreError::Unstorable(_)))
    ));
    assert!(store.list_streams(None).await?.is_empty());
    Ok(())
}

/// Serializing such an event to its end would overflow the stack.
#[tokio::test]
async fn an_event_that_nests_without_end_is_refused() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = AggregateStore::open(base.path()).await?;
    for (depth, is_kept) in [(100, true), (128, false), (129, false), (5000, false)] {
        let command = CounterCommand::Nest(depth);
        let done = store.send("c", command, CommandContext::default()).await;
        assert_eq!(done.is_ok(), is_kept, "{depth}");
        let Err(ExecuteError::Store(StoreError::Unstorable(error))) = done else {
            continue;
        };
        assert!(error.to_string().contains("recursion limit"), "{error}");
    }
    assert_eq!(store.read_events("counter", "c").await?.len(), 2);
    Ok(())
}
