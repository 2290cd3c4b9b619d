//! How keys are stored, and how they are found again.

use eventfold_es::fingerprint;
use eventfold_es::prelude::*;
use eventfold_es_tests::TestResult;
use serde_json::{Value, json};

use crate::common::counter::{Counter, CounterCommand};
use crate::idempotency_keys::{context, counter, keyed, ones};

#[tokio::test]
async fn ten_thousand_keys_on_one_stream() -> TestResult {
    const KEYS: usize = 10_000;
    let base = tempfile::tempdir()?;
    let store = AggregateStore::open(base.path()).await?;
    let handle = store.get::<Counter>("c").await?;
    let mut answers = Vec::new();
    for chunk in 0..KEYS / 1000 {
        let tasks: Vec<_> = (0..1000)
            .map(|key| {
                let handle = handle.clone();
                let context = keyed(&format!("k-{}", chunk * 1000 + key));
                tokio::spawn(async move { handle.execute(CounterCommand::Add(1), context).await })
            })
            .collect();
        for task in tasks {
            answers.push(task.await??);
        }
    }
    drop(handle);
    store.close().await?;

    let store = AggregateStore::open(base.path()).await?;
    for key in (0..KEYS).step_by(97).chain([KEYS - 1]) {
        assert_eq!(
            store
                .send("c", CounterCommand::Add(1), keyed(&format!("k-{key}")))
                .await?,
            answers[key]
        );
    }
    assert_eq!(counter(&store, "c").await?.folded, KEYS as u64);
    Ok(())
}

/// An event that looks like what the store adds to its line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
enum NoteEvent {
    Written {
        idempotency_key: String,
        position: u64,
    },
    Quoted(String),
}

#[derive(Debug, Clone, Serialize, Deserialize)]
enum NoteCommand {
    Write(NoteEvent),
}

#[aggregate(error = std::convert::Infallible)]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Note {
    written: u64,
}

impl Decider for Note {
    fn decide(&self, command: NoteCommand) -> Result<Vec<NoteEvent>, std::convert::Infallible> {
        let NoteCommand::Write(event) = command;
        Ok(vec![event])
    }

    fn evolve(&mut self, _event: &NoteEvent) {
        self.written += 1;
    }
}

#[tokio::test]
async fn strange_keys_and_events_that_look_like_keys() -> TestResult {
    let base = tempfile::tempdir()?;
    let longest = "\u{1F980}".repeat(128);
    let keys = [
        "\"",
        "\\",
        "\\\"",
        "{",
        "}",
        "},",
        "/",
        " ",
        "null",
        "\u{1F980}",
        "\u{2028}",
        "'k'",
        "\",\"position\":7}",
        "\"idempotency_key\":",
        &longest,
    ];
    let events = [
        NoteEvent::Written {
            idempotency_key: "k".to_owned(),
            position: 1,
        },
        NoteEvent::Quoted("\"idempotency_key\":\"k\",\"position\":1}".to_owned()),
    ];
    let store = AggregateStore::open(base.path()).await?;
    let metadata = json!({ "idempotency_key": "k", "position": 1 });
    let mut written = 0;
    for event in &events {
        let command = NoteCommand::Write(event.clone());
        let context = context().with_metadata(metadata.clone());
        store.send("n", command, context).await?;
        written += 1;
    }
    let mut answers = Vec::new();
    for (key, event) in keys.iter().zip(events.iter().cycle()) {
        let command = NoteCommand::Write(event.clone());
        let context = keyed(key).with_metadata(metadata.clone());
        answers.push(store.send("n", command, context).await?);
        written += 1;
    }
    store.close().await?;

    let store = AggregateStore::open(base.path()).await?;
    for ((key, answer), event) in keys.iter().zip(&answers).zip(events.iter().cycle()) {
        let command = NoteCommand::Write(event.clone());
        assert_eq!(
            store.send("n", command, keyed(key)).await?,
            *answer,
            "{key}"
        );
    }
    let command = NoteCommand::Write(NoteEvent::Quoted("new".to_owned()));
    let new = store.send("n", command, keyed("k")).await?;
    assert_eq!(new.version, written + 1, "`k` was no key before");
    for event in store.read_events("note", "n").await? {
        let meta = event.meta.unwrap_or(metadata.clone());
        assert_eq!(meta, metadata, "the meta is the user's");
    }
    Ok(())
}

#[tokio::test]
#[cfg_attr(eventfold_memory_journal, ignore = "it is about the disk")]
async fn lines_carry_key_and_position_behind_the_event_and_eventfold_reads_them() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = AggregateStore::open(base.path()).await?;
    store.send("c", CounterCommand::Add(1), context()).await?;
    ones(&store, "c", 2, "k").await?;
    let events = store.read_events("counter", "c").await?;
    store.close().await?;

    let lines = eventfold_es_tests::journal_file::event_lines(base.path(), "counter", "c")?;
    let digest = fingerprint(&CounterCommand::AddOnes(2)).ok_or("it serializes")?;
    assert_eq!(lines[0], serde_json::to_string(&events[0])?);
    for (line, (event, position)) in lines[1..].iter().zip(events[1..].iter().zip(2..)) {
        let plain = serde_json::to_string(event)?;
        let plain = plain.strip_suffix('}').unwrap();
        let end = format!(
            r#","command_digest":"{digest:016x}","idempotency_key":"k","position":{position}}}"#
        );
        assert_eq!(*line, format!("{plain}{end}"));
    }
    let read: Vec<eventfold::Event> = lines
        .iter()
        .map(|line| serde_json::from_str(line))
        .collect::<Result<_, _>>()?;
    assert_eq!(read, events);
    Ok(())
}

#[tokio::test]
async fn a_context_without_a_key_is_stored_as_before() -> TestResult {
    let old: CommandContext = serde_json::from_value(json!({
        "actor": null, "correlation_id": "c", "metadata": null
    }))?;
    assert_eq!(old, context().with_correlation_id("c"));
    let stored: Value = serde_json::to_value(&old)?;
    assert!(stored.get("idempotency_key").is_none());
    let keyed: CommandContext = serde_json::from_value(serde_json::to_value(keyed("k"))?)?;
    assert_eq!(keyed.idempotency_key.as_deref(), Some("k"));
    Ok(())
}
