//! A store becomes a tree of eventfold logs, and such a tree becomes events of a store.

use std::fs;
use std::path::{Path, PathBuf};

use eventfold_es::eventfold::{Event, EventLog, EventReader, EventWriter};
use eventfold_es::prelude::*;
use eventfold_es::store::{ExportError, ImportError, ImportOptions};
use serde_json::json;
use tempfile::TempDir;

use crate::common::counter::{Counter, CounterCommand, CounterEvent};

/// Adds to the counter `copy` what others add.
#[process_manager(subscribes = [Counter], dispatches = [Counter])]
#[derive(Debug, Default, Serialize, Deserialize)]
struct Copier;

impl React<Counter> for Copier {
    fn react(&mut self, event: &CounterEvent, cx: &mut Reaction<'_, Self>) {
        if let CounterEvent::Added(by) = event
            && cx.stream_id() != "copy"
        {
            cx.send("copy", CounterCommand::Add(*by));
        }
    }
}

/// Every addition, in the order of the store.
#[projection(subscribes = [Counter])]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Additions(Vec<(String, i64)>);

impl Project<Counter> for Additions {
    fn project(&mut self, event: &CounterEvent, cx: &EventContext<'_>) {
        if let CounterEvent::Added(by) = event {
            self.0.push((cx.stream_id().to_owned(), *by));
        }
    }
}

struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    async fn open(&self, name: &str) -> AggregateStore {
        AggregateStore::builder(self.path(name))
            .process_manager::<Copier>()
            .projection::<Additions>()
            .open()
            .await
            .unwrap()
    }
}

async fn add(store: &AggregateStore, id: &str, by: i64) {
    store.send(id, CounterCommand::Add(by), ()).await.unwrap();
}

async fn sum(store: &AggregateStore, id: &str) -> i64 {
    let counter = store.get::<Counter>(id).await.unwrap();
    counter.state().await.unwrap().sum
}

/// All streams with their events.
async fn streams(store: &AggregateStore) -> Vec<(String, Vec<Event>)> {
    let mut streams = Vec::new();
    for (aggregate_type, id) in store.list_streams(None).await.unwrap() {
        let events = store.read_events(&aggregate_type, &id).await.unwrap();
        streams.push((id, events));
    }
    streams
}

fn event(by: i64, ts: u64, id: &str) -> Event {
    let mut event = Event::new("Added", json!(by));
    event.ts = ts;
    match id {
        "" => event,
        id => event.with_id(id),
    }
}

/// Writes a log as another program does.
fn write(tree: &Path, id: &str, events: &[Event]) {
    let mut log = EventWriter::open(tree.join("streams/counter").join(id)).unwrap();
    for event in events {
        log.append(event).unwrap();
    }
}

fn log(tree: &Path, id: &str) -> PathBuf {
    tree.join("streams/counter").join(id).join("app.jsonl")
}

async fn imported(store: &AggregateStore, tree: &Path) -> (u64, u64) {
    let options = ImportOptions::default().with_aggregate::<Counter>();
    let report = store.import_streams(tree, options).await.unwrap();
    (report.events, report.skipped)
}

#[tokio::test]
async fn a_store_goes_through_a_tree_and_comes_out_the_same() {
    let place = Place::new();
    let store = place.open("store").await;
    for round in 1..=20 {
        for id in ["a", "b", "c"] {
            add(&store, id, round).await;
        }
    }
    let tree = place.path("tree");
    let report = store.export_streams(&tree).await.unwrap();
    assert_eq!(
        (report.position, report.streams, report.events),
        (120, 4, 120)
    );
    assert!(!tree.join("unfinished-export").exists());
    let expected = streams(&store).await;
    for (id, events) in &expected {
        let reader = EventReader::new(tree.join("streams/counter").join(id));
        let read = reader.read_full().unwrap().map(|read| read.unwrap().0);
        assert_eq!(&read.collect::<Vec<_>>(), events);
        let log = EventLog::open(tree.join("streams/counter").join(id)).unwrap();
        assert_eq!(log.read_from(0).unwrap().count(), events.len());
    }

    let other = place.open("other").await;
    let report = other
        .import_streams(&tree, ImportOptions::default())
        .await
        .unwrap();
    assert_eq!((report.events, report.skipped, report.streams), (120, 0, 4));
    assert_eq!(report.position, Some(120));
    other.run_process_managers().await.unwrap();
    assert_eq!(streams(&other).await, expected);
    for id in ["a", "b", "c", "copy"] {
        assert_eq!(sum(&other, id).await, sum(&store, id).await, "{id}");
    }
    let (one, two) = (
        store.projection::<Additions>().await.unwrap(),
        other.projection::<Additions>().await.unwrap(),
    );
    assert_eq!(one, two);
    assert!(other.verify().await.unwrap().is_clean());

    assert_eq!(imported(&other, &tree).await, (0, 120));
    add(&store, "a", 1_000).await;
    let later = place.path("later");
    store.export_streams(&later).await.unwrap();
    assert_eq!(imported(&other, &later).await, (2, 120));
    assert_eq!(sum(&other, "a").await, 1_210);
    assert_eq!(sum(&other, "copy").await, 1_630);
}

#[tokio::test]
async fn process_managers_react_only_if_they_are_asked_to() {
    let place = Place::new();
    let tree = place.path("tree");
    write(&tree, "a", &[event(1, 10, "e-1"), event(2, 11, "e-2")]);
    let silent = place.open("silent").await;
    assert_eq!(imported(&silent, &tree).await, (2, 0));
    silent.run_process_managers().await.unwrap();
    silent.close().await.unwrap();
    let silent = place.open("silent").await;
    silent.run_process_managers().await.unwrap();
    assert_eq!(
        (sum(&silent, "a").await, sum(&silent, "copy").await),
        (3, 0)
    );
    add(&silent, "a", 5).await;
    assert_eq!(
        (sum(&silent, "a").await, sum(&silent, "copy").await),
        (8, 5)
    );

    let asked = place.open("asked").await;
    let options = ImportOptions::default().with_reactions();
    asked.import_streams(&tree, options).await.unwrap();
    asked.run_process_managers().await.unwrap();
    assert_eq!((sum(&asked, "a").await, sum(&asked, "copy").await), (3, 3));
}

#[tokio::test]
async fn ids_that_are_no_directories_come_back() {
    let place = Place::new();
    let long = format!("{}x", "é".repeat(200));
    let mut ids = vec![
        "a/b", "../up", "..", ".", "/etc", "CON", "end.", "Ä", "a b", "100%", "%61", "abc", "ABC",
        "Abc",
    ];
    ids.push(&long);
    let store = AggregateStore::open(place.path("store")).await.unwrap();
    for (by, id) in ids.iter().enumerate() {
        add(&store, id, by as i64).await;
        add(&store, id, 1).await;
    }
    let tree = place.path("tree");
    store.export_streams(&tree).await.unwrap();
    let names: Vec<_> = fs::read_dir(tree.join("streams/counter"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let mut folded: Vec<_> = names.iter().map(|name| name.to_lowercase()).collect();
    folded.sort();
    folded.dedup();
    assert_eq!(folded.len(), ids.len(), "{names:?}");
    assert!(names.contains(&"abc".to_owned()), "{names:?}");
    let other = AggregateStore::open(place.path("other")).await.unwrap();
    assert_eq!(imported(&other, &tree).await, (2 * ids.len() as u64, 0));
    assert_eq!(streams(&other).await, streams(&store).await);
}

#[tokio::test]
async fn eventfold_es_0_2_0_reads_an_export() {
    use eventfold_es_020::AggregateStore as Old;
    let place = Place::new();
    let store = AggregateStore::open(place.path("store")).await.unwrap();
    add(&store, "a", 1).await;
    add(&store, "b", 2).await;
    let tree = place.path("tree");
    store.export_streams(&tree).await.unwrap();
    let old = Old::open(&tree).await.unwrap();
    let found = old.list_streams(None).await.unwrap();
    let found: Vec<_> = found.iter().map(|(_, id)| id.as_str()).collect();
    assert_eq!(found, ["a", "b"]);
}

#[tokio::test]
async fn archives_repetitions_and_events_without_ids_are_read() {
    let place = Place::new();
    let tree = place.path("tree");
    let directory = tree.join("streams/counter/a");
    let mut log = EventLog::open(&directory).unwrap();
    for number in 0..100 {
        log.append(&event(number, 10, &format!("e-{number}")))
            .unwrap();
        if number % 30 == 29 {
            log.rotate().unwrap();
        }
    }
    // An interrupted rotation leaves these twice.
    log.append(&event(99, 10, "e-99")).unwrap();
    log.append(&event(100, 11, "")).unwrap();
    drop(log);
    write(&tree, "b", &[event(7, 5, ""), event(8, 12, "")]);
    let store = place.open("store").await;
    assert_eq!(imported(&store, &tree).await, (103, 1));
    assert_eq!(sum(&store, "a").await, 5050);
    let order = store.projection::<Additions>().await.unwrap().0.clone();
    assert_eq!(order.first(), Some(&("b".to_owned(), 7)));
    assert_eq!(order.last(), Some(&("b".to_owned(), 8)));
    assert_eq!(imported(&store, &tree).await, (0, 104));
    write(&tree, "b", &[event(9, 13, "")]);
    assert_eq!(imported(&store, &tree).await, (1, 104));
    assert_eq!(sum(&store, "b").await, 24);
}

#[tokio::test]
async fn an_aggregate_in_memory_sees_what_is_imported() {
    let place = Place::new();
    let tree = place.path("tree");
    let store = place.open("store").await;
    let fresh = store.get::<Counter>("a").await.unwrap();
    assert!(!fresh.exists().await.unwrap());
    assert_eq!(fresh.state().await.unwrap().sum, 0);
    write(&tree, "a", &[event(1, 10, "e-1")]);
    imported(&store, &tree).await;
    assert_eq!(fresh.state().await.unwrap().sum, 1);
    write(&tree, "a", &[event(2, 10, "e-2")]);
    imported(&store, &tree).await;
    assert_eq!(fresh.state().await.unwrap().sum, 3);
    add(&store, "a", 4).await;
    assert_eq!(sum(&store, "a").await, 7);
}

#[tokio::test]
async fn a_log_that_continues_no_stream_changes_nothing() {
    let place = Place::new();
    let store = place.open("store").await;
    let tree = place.path("tree");
    write(&tree, "b", &[event(1, 10, "e-1"), event(2, 11, "e-2")]);
    imported(&store, &tree).await;
    let cases: [(&str, &[Event]); 5] = [
        ("others", &[event(1, 10, "e-1"), event(3, 11, "e-3")]),
        (
            "between",
            &[
                event(1, 10, "e-1"),
                event(3, 11, "e-3"),
                event(2, 11, "e-2"),
            ],
        ),
        ("changed", &[event(1, 10, "e-1"), event(5, 11, "e-2")]),
        ("swapped", &[event(2, 11, "e-2"), event(1, 10, "e-1")]),
        ("unknown", &[event(9, 11, "e-9")]),
    ];
    for (name, events) in cases {
        let tree = place.path(name);
        write(&tree, "a", &[event(1, 1, "f-1")]);
        write(&tree, "b", events);
        let error = store.import_streams(&tree, ImportOptions::default()).await;
        let Err(ImportError::Diverged {
            instance_id, path, ..
        }) = error
        else {
            panic!("{name}: {error:?}");
        };
        assert_eq!(
            (instance_id.as_str(), path),
            ("b", log(&tree, "b")),
            "{name}"
        );
        assert_eq!(streams(&store).await.len(), 1, "{name}");
        assert_eq!(sum(&store, "b").await, 3, "{name}");
    }
}

#[tokio::test]
async fn what_is_no_tree_of_events_is_refused_with_its_place() {
    let place = Place::new();
    let store = place.open("store").await;
    let refused = async |tree: &Path| {
        let options = ImportOptions::default().with_aggregate::<Counter>();
        store.import_streams(tree, options).await.unwrap_err()
    };
    let missing = refused(&place.path("missing")).await;
    assert!(
        matches!(missing, ImportError::NoStreams { .. }),
        "{missing}"
    );
    let empty = place.path("empty");
    fs::create_dir(&empty).unwrap();
    assert!(matches!(
        refused(&empty).await,
        ImportError::NoStreams { .. }
    ));
    let own = refused(&place.path("store/streams")).await;
    assert!(matches!(own, ImportError::Overlapping { .. }), "{own}");
    place.open("second").await.close().await.unwrap();
    let is_store = refused(&place.path("second")).await;
    assert!(
        matches!(is_store, ImportError::IsStore { .. }),
        "{is_store}"
    );

    let tree = place.path("tree");
    write(&tree, "a", &[event(1, 1, "e-1")]);
    let mut whole = fs::read(log(&tree, "a")).unwrap();
    let length = whole.len() as u64;
    for damage in [
        "no json\n",
        "{\"type\":1}\n",
        "{\"type\":\"Added\",\"da\n{}\n",
        "[]\n",
    ] {
        let bytes = [&whole[..], damage.as_bytes()].concat();
        fs::write(log(&tree, "a"), bytes).unwrap();
        match refused(&tree).await {
            ImportError::Damaged(at) => assert_eq!((at.path, at.offset), (log(&tree, "a"), length)),
            other => panic!("{damage}: {other}"),
        }
    }
    fs::write(log(&tree, "a"), [&whole[..], b"\xff\n"].concat()).unwrap();
    assert!(matches!(refused(&tree).await, ImportError::Damaged(_)));
    fs::write(log(&tree, "a"), &whole).unwrap();
    write(&tree, "a", &[Event::new("Unheard", json!(1))]);
    match refused(&tree).await {
        ImportError::Unusable { offset, reason, .. } => {
            assert_eq!(offset, length);
            assert!(reason.contains("Unheard"), "{reason}");
        }
        other => panic!("{other}"),
    }
    fs::write(log(&tree, "a"), &whole).unwrap();
    fs::write(
        log(&tree, "a").with_file_name("archive.jsonl.zst"),
        "no frame",
    )
    .unwrap();
    assert!(matches!(refused(&tree).await, ImportError::Damaged(_)));
    fs::remove_file(log(&tree, "a").with_file_name("archive.jsonl.zst")).unwrap();
    EventWriter::open(tree.join("streams/other/x")).unwrap();
    let undeclared = refused(&tree).await;
    assert!(
        matches!(undeclared, ImportError::Undeclared { .. }),
        "{undeclared}"
    );
    fs::remove_dir_all(tree.join("streams/other")).unwrap();
    assert_eq!(streams(&store).await.len(), 0);

    // What a killed program leaves of its last event.
    whole.extend_from_slice(b"{\"type\":\"Add");
    fs::write(log(&tree, "a"), &whole).unwrap();
    let report = store.import_streams(&tree, ImportOptions::default().dry_run());
    let report = report.await.unwrap();
    assert_eq!((report.events, report.torn, report.position), (1, 1, None));
    assert_eq!(streams(&store).await.len(), 0);
    assert_eq!(imported(&store, &tree).await, (1, 0));
}

#[tokio::test]
async fn an_export_goes_to_a_directory_of_its_own() {
    let place = Place::new();
    let store = place.open("store").await;
    add(&store, "a", 1).await;
    let refused = async |to: &Path| store.export_streams(to).await.unwrap_err();
    for inside in ["store", "store/export", "store/../store/streams/x", "."] {
        let error = refused(&place.path(inside)).await;
        assert!(
            matches!(error, ExportError::Overlapping { .. }),
            "{inside}: {error}"
        );
    }
    let full = place.path("full");
    fs::create_dir(&full).unwrap();
    fs::write(full.join("mine"), "x").unwrap();
    let error = refused(&full).await;
    assert!(matches!(error, ExportError::Occupied { .. }), "{error}");
    assert_eq!(fs::read_dir(&full).unwrap().count(), 1);
    let tree = place.path("new/tree");
    store.export_streams(&tree).await.unwrap();
    let error = refused(&tree).await;
    assert!(matches!(error, ExportError::Occupied { .. }), "{error}");
}

#[tokio::test]
async fn keys_of_commands_come_along() {
    let place = Place::new();
    let store = place.open("store").await;
    let context = || CommandContext::default().with_idempotency_key("pay-1");
    add(&store, "b", 1).await;
    let ones = || CounterCommand::AddOnes(3);
    store.send("a", ones(), context()).await.unwrap();
    add(&store, "a", 5).await;
    let tree = place.path("tree");
    store.export_streams(&tree).await.unwrap();
    fs::remove_dir_all(tree.join("streams/counter/b")).unwrap();
    let other = AggregateStore::open(place.path("other")).await.unwrap();
    imported(&other, &tree).await;
    for _ in 0..2 {
        let again = other.send("a", ones(), context()).await.unwrap();
        assert_eq!((again.events.len(), again.version), (3, 3));
        assert_eq!(sum(&other, "a").await, 8);
    }
    let reused = other.send("a", CounterCommand::Add(1), context()).await;
    assert!(
        matches!(reused, Err(eventfold_es::ExecuteError::KeyReused { .. })),
        "{reused:?}"
    );
    assert!(other.verify().await.unwrap().is_clean());
}
