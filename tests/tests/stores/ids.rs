//! Scenario 35: every id is refused clearly, or stored inside the base directory and found again by every reader. And names:
//! one stored name is one Rust type.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::common::counter::{Counter, CounterCommand, CounterError, CounterEvent};
use crate::common::sagas::ReservationSaga;
use crate::common::shop::{Inventory, place};
use eventfold_es::prelude::*;
use eventfold_es::{CommandBus, ExecuteError, RunMode, StoreError};
use eventfold_es_tests::TestResult;

/// The ids that were seen, in the order of their events.
#[projection(subscribes = [Counter])]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Seen(Vec<String>);

impl Project<Counter> for Seen {
    fn project(&mut self, _: &CounterEvent, cx: &EventContext<'_>) {
        self.0.push(cx.stream_id().to_owned());
    }
}

/// Adds to what was added, under the same id.
#[process_manager(subscribes = [Counter], dispatches = [Counter])]
#[derive(Debug, Default, Serialize, Deserialize)]
struct Copies;

impl React<Counter> for Copies {
    fn react(&mut self, event: &CounterEvent, cx: &mut Reaction<'_, Self>) {
        if let CounterEvent::Added(by @ 1..=9999) = event {
            cx.send(cx.stream_id(), CounterCommand::Add(by * 10_000));
        }
    }
}

fn storable() -> Vec<String> {
    let plain = [
        ".",
        "..",
        "../../x",
        "../../../../../../../../tmp/x",
        "/etc/passwd",
        "/",
        "//",
        "a",
        "a/b",
        "a/b/",
        "a//b",
        "A",
        "CON",
        "con",
        "nul.txt",
        "AUX.",
        "trailing.",
        "trailing ",
        " leading",
        "Ä",
        "ä",
        "A\u{308}",
        "e\u{301}",
        "\u{E9}",
        "🦀",
        "47591d",
        "47591D",
        "%2E",
        "%2e",
        "%",
        "a%2Fb",
        "~",
        "a~b",
        "-",
        "--help",
        "a\\b",
        "C:\\x",
        "a:b",
        "*",
        "?",
        "\"",
        "<>|",
        "app.jsonl",
        "views",
        "\u{202E}abc",
        "\u{FEFF}",
        "ſ",
        "K",
    ];
    let mut ids: Vec<_> = plain.map(str::to_owned).into();
    ids.push("x".repeat(512));
    ids.push(format!("{}y", "x".repeat(511)));
    ids.push(format!("{}X", "x".repeat(511)));
    ids.push("🦀".repeat(128));
    ids.push("/".repeat(512));
    ids
}

fn files_below(directory: &Path) -> Result<Vec<PathBuf>, std::io::Error> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(files_below(&path)?);
        } else {
            files.push(path);
        }
    }
    Ok(files)
}

#[tokio::test]
async fn every_storable_id_is_kept_inside_and_found_by_every_reader() -> TestResult {
    let outside = tempfile::tempdir()?;
    let base = outside.path().join("1/2/3/store");
    let open = || {
        AggregateStore::builder(&base)
            .run_mode(RunMode::Inline)
            .process_manager::<Copies>()
            .projection::<Seen>()
            .open()
    };
    let ids = storable();
    let store = open().await?;
    for (number, id) in (1..).zip(&ids) {
        store
            .send(id, CounterCommand::Add(number), CommandContext::default())
            .await?;
    }
    store.close().await?;

    let everything = files_below(outside.path())?;
    assert!(everything.iter().all(|file| file.starts_with(&base)));
    let store = open().await?;
    let mut sorted = ids.clone();
    sorted.sort();
    assert_eq!(store.list::<Counter>().await?, sorted);
    let listed = store.list_streams(Some("counter")).await?;
    let listed: Vec<_> = listed.into_iter().map(|(_, id)| id).collect();
    assert_eq!(listed, sorted);
    for (number, id) in (1..).zip(&ids) {
        // The command, and the reaction to it, under the same id.
        let counter = store.get::<Counter>(id).await?;
        assert_eq!(counter.id(), id);
        assert_eq!(counter.state().await?.sum, number * 10_001, "{id:?}");
        assert_eq!(store.read_events("counter", id).await?.len(), 2, "{id:?}");
    }
    let Seen(seen) = &*store.projection::<Seen>().await?;
    let twice: Vec<_> = ids.iter().flat_map(|id| [id.clone(), id.clone()]).collect();
    assert_eq!(*seen, twice);
    Ok(())
}

#[tokio::test]
async fn other_ids_are_refused_and_leave_no_trace() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = AggregateStore::open(base.path()).await?;
    let cases = [
        (String::new(), "it is empty"),
        ("x".repeat(513), "it is longer than 512 bytes"),
        ("x".repeat(10_000), "it is longer than 512 bytes"),
        ("🦀".repeat(129), "it is longer than 512 bytes"),
        ("a\0b".to_owned(), "it has control characters"),
        ("a\nb".to_owned(), "it has control characters"),
        ("\u{7F}".to_owned(), "it has control characters"),
        ("\u{85}".to_owned(), "it has control characters"),
    ];
    let before = files_below(base.path())?;
    let mut bus = CommandBus::new(store.clone());
    bus.register::<Counter>();
    for (id, reason) in cases {
        let got = store.get::<Counter>(&id).await.map(drop).unwrap_err();
        assert!(matches!(&got, StoreError::InvalidId { reason: r, .. } if *r == reason));
        let text = got.to_string();
        assert!(
            text.starts_with("the id \"") && text.contains("of `counter`"),
            "{text}"
        );
        assert!(text.ends_with(reason) && text.len() < 400, "{text}");
        assert!(!text.contains(['\0', '\n']), "{text}");
        // A cut id does not look like a whole one.
        let is_cut = id.chars().count() > 64;
        assert_eq!(text.contains("…\" of `counter`"), is_cut, "{text}");

        let sent = store
            .send(&id, CounterCommand::Add(1), CommandContext::default())
            .await;
        assert_eq!(sent.unwrap_err().to_string(), text);
        let event = CounterEvent::Added(1).to_event()?;
        let injected = store
            .inject_event::<Counter>(&id, event, Default::default())
            .await;
        assert_eq!(injected.unwrap_err().to_string(), text);
        let routed = bus
            .dispatch(&id, CounterCommand::Add(1), CommandContext::default())
            .await;
        let routed = routed.unwrap_err();
        assert_eq!(routed.to_string(), text);
        // As documented: the aggregate's own error type, whatever failed.
        let eventfold_es::DispatchError::Execution(source) = routed else {
            panic!("{routed:?}");
        };
        let source = source.downcast_ref::<ExecuteError<CounterError>>();
        assert!(matches!(
            source,
            Some(ExecuteError::Store(StoreError::InvalidId { .. }))
        ));
        // Reading needs no valid id: there is just no such stream.
        let missing = store.read_events("counter", &id).await;
        assert!(matches!(missing, Err(StoreError::UnknownStream { .. })));
    }
    assert!(store.list_streams(None).await?.is_empty());
    drop(bus);
    store.close().await?;
    let known: BTreeSet<_> = before.into_iter().collect();
    let new: Vec<_> = files_below(base.path())?
        .into_iter()
        .filter(|file| !known.contains(file) && !file.starts_with(base.path().join("meta")))
        .collect();
    assert!(new.is_empty(), "{new:?}");
    Ok(())
}

/// Another type under the name of [`Inventory`], which knows nothing of its events.
#[aggregate(name = "inventory", error = std::convert::Infallible)]
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Impostor;

#[derive(Debug, Clone, Serialize, Deserialize)]
enum ImpostorCommand {
    Pretend,
}

#[derive(Debug, Clone, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
enum ImpostorEvent {
    Pretended,
}

impl Decider for Impostor {
    fn decide(&self, _: ImpostorCommand) -> Result<Vec<ImpostorEvent>, std::convert::Infallible> {
        Ok(vec![ImpostorEvent::Pretended])
    }

    fn evolve(&mut self, _: &ImpostorEvent) {}
}

fn assert_refused<T>(result: Result<T, StoreError>) {
    let Err(error) = result else {
        panic!("two types have one name");
    };
    assert!(matches!(error, StoreError::InvalidName { .. }), "{error}");
    let text = error.to_string();
    for part in ["Impostor", "`inventory`", "Inventory is stored under it"] {
        assert!(text.contains(part), "{text}");
    }
}

#[tokio::test]
async fn a_second_type_under_one_stored_name_is_refused() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = AggregateStore::open(base.path()).await?;
    store.get::<Inventory>("inv-W-1").await?;
    assert_refused(store.get::<Impostor>("inv-W-1").await);
    let sent = store
        .send(
            "inv-W-1",
            ImpostorCommand::Pretend,
            CommandContext::default(),
        )
        .await;
    assert!(matches!(
        sent,
        Err(ExecuteError::Store(StoreError::InvalidName { .. }))
    ));
    store.get::<Inventory>("inv-W-1").await?;
    store.close().await?;

    let opened = AggregateStore::builder(base.path())
        .process_manager::<ReservationSaga>()
        .aggregate_type::<Impostor>()
        .open()
        .await;
    let text = opened.unwrap_err().to_string();
    for part in [
        "Impostor",
        "Inventory",
        "`inventory`",
        "give one of them another `name = \"..\"`",
    ] {
        assert!(text.contains(part), "{text}");
    }
    Ok(())
}

/// What is registered comes first, even if it was never used: otherwise its dispatches would become dead letters.
#[tokio::test]
async fn a_type_under_the_name_of_a_registered_target_is_refused() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = AggregateStore::builder(base.path())
        .process_manager::<ReservationSaga>()
        .open()
        .await?;
    assert_refused(store.get::<Impostor>("inv-W-1").await);
    store
        .send("ord-1", place("W-1", 2), CommandContext::default())
        .await?;
    let report = store.run_process_managers().await?;
    assert_eq!((report.dispatched, report.dead_lettered), (1, 0));
    Ok(())
}
