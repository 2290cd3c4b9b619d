//! Crashes and failed calls while a store is exported, and while a tree is imported: an export that was answered is whole, any
//! other is told from it, and an import that is repeated completes it.
//!
//! `EVENTFOLD_CRASH_POINTS=2000` crashes imports at more places.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use eventfold_es::StoreError;
use eventfold_es::disk::{
    CrashImage, Failure, Fault, FaultyDisk, Recording, RecordingDisk, Survival, SystemDisk,
};
use eventfold_es::eventfold::Event;
use eventfold_es::prelude::*;
use eventfold_es::store::{ExportError, ImportError, ImportOptions, ImportReport};
use eventfold_es_tests::crash::{Place, scratch};
use serde_json::json;

use crate::common::counter::{Counter, CounterCommand, CounterEvent};

/// Where exports go: two directories that are not there yet.
const EXPORT: &str = "exports/today";
const MARK: &str = "unfinished-export";
const EXPORTED: &str = "exported";

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

async fn open(root: &Path, disk: impl eventfold_es::disk::Disk) -> AggregateStore {
    AggregateStore::builder(root.join("store"))
        .disk(Arc::new(disk))
        .process_manager::<Copier>()
        .max_log_size(3_000)
        .open()
        .await
        .unwrap()
}

/// A closed store with three streams, one of which has the name of no directory.
async fn filled(root: &Path) {
    let store = open(root, SystemDisk).await;
    for (id, ones) in [("a", 2), ("b/c", 3), ("a", 4)] {
        let command = CounterCommand::AddOnes(ones);
        store.send(id, command, ()).await.unwrap();
    }
    store.close().await.unwrap();
}

/// The files of the export in an image.
fn exported(image: &CrashImage) -> Vec<(PathBuf, Vec<u8>)> {
    let files = image.files().filter(|(path, _)| path.starts_with(EXPORT));
    files
        .map(|(path, bytes)| (path.to_owned(), bytes.to_owned()))
        .collect()
}

/// A crash.
struct Crash {
    /// After how many operations.
    k: usize,
    /// How many bytes of the next one were done.
    torn: usize,
    /// What a power loss leaves; nothing is lost in a kill.
    survival: Option<Survival>,
}

impl Crash {
    /// All crashes in the last run of a recording.
    fn all(recording: &Recording) -> Vec<Self> {
        let mut all = Vec::new();
        for k in recording.start()..=recording.len() {
            all.extend(recording.tears(k).into_iter().map(|torn| Self {
                k,
                torn,
                survival: None,
            }));
            let survivals = [
                Survival::All,
                Survival::Nothing,
                Survival::EntriesOnly,
                Survival::LengthsOnly,
                Survival::ContentOnly,
                Survival::Random(k as u64),
            ];
            all.extend(survivals.map(|survival| Self {
                k,
                torn: 0,
                survival: Some(survival),
            }));
        }
        all
    }

    fn image(&self, recording: &Recording) -> CrashImage {
        let cut = recording.until(self.k, self.torn);
        let image = match &self.survival {
            None => CrashImage::killed(&cut),
            Some(survival) => CrashImage::power_loss(&cut, survival),
        };
        image.unwrap()
    }
}

/// Whether an import refuses what is no whole export.
async fn is_refused(store: &AggregateStore, tree: &Path) -> bool {
    let dry = ImportOptions::default().dry_run();
    let imported = store.import_streams(tree, dry).await;
    matches!(
        imported,
        Err(ImportError::Unfinished { .. } | ImportError::NoStreams { .. })
    )
}

#[tokio::test]
async fn an_export_that_was_answered_survives_a_power_loss_and_any_other_is_refused() {
    let place = scratch();
    let root = place.path();
    filled(root).await;
    let disk = RecordingDisk::new(root).unwrap();
    let store = open(root, disk.clone()).await;
    let report = store.export_streams(root.join(EXPORT)).await.unwrap();
    assert_eq!((report.streams, report.events), (3, 18));
    disk.mark(EXPORTED);
    store.close().await.unwrap();
    disk.check().unwrap();
    let recording = disk.recording();
    let whole = exported(&CrashImage::killed(&recording).unwrap());
    assert_eq!(whole.len(), 4);
    let reader = scratch();
    let reader = open(reader.path(), SystemDisk).await;
    let mut places = Place::default();
    let (mut complete, mut refused) = (0, 0);
    let mut marks = recording.marks().iter();
    let answered = marks.find(|mark| mark.label == EXPORTED).unwrap().at;
    for crash in Crash::all(&recording) {
        let (k, image) = (crash.k, crash.image(&recording));
        if exported(&image) == whole {
            complete += 1;
            continue;
        }
        assert!(k < answered, "after {k} operations: {:?}", exported(&image));
        let root = places.fresh();
        image.materialise(&root).unwrap();
        assert!(is_refused(&reader, &root.join(EXPORT)).await, "{k}");
        fs::remove_dir_all(root).unwrap();
        refused += 1;
    }
    println!("{complete} complete, {refused} refused");
    assert!(complete > 20 && refused > 100);
}

#[tokio::test]
async fn an_export_of_which_a_call_fails_is_an_error_and_is_refused() {
    let place = scratch();
    let root = place.path();
    filled(root).await;
    let disk = FaultyDisk::new(Arc::new(SystemDisk));
    let store = open(root, disk.clone()).await;
    let (mut calls, mut whole) = (0, None);
    loop {
        let to = root.join(EXPORT);
        let is_there = |path: &Path| path.components().any(|name| name.as_os_str() == "exports");
        disk.inject(Fault::once(calls, Failure::EIO).at(is_there));
        let answer = store.export_streams(&to).await;
        let hits = disk.hits();
        disk.clear();
        let found = exported(&CrashImage::read(root).unwrap());
        let Some(hit) = hits.get(calls as usize) else {
            answer.unwrap();
            // As when only the end of it could not be made durable.
            assert_eq!(whole.replace(found.clone()), Some(found));
            break;
        };
        match answer {
            Err(ExportError::Store(StoreError::File(error))) => {
                assert!(error.path.starts_with(root), "{hit:?}: {error}");
            }
            answer => panic!("{hit:?}: {answer:?}"),
        }
        if found.is_empty() || to.join(MARK).exists() {
            assert!(is_refused(&store, &to).await, "{hit:?}");
        } else {
            // The mark was removed when everything else was durable.
            assert_eq!(whole.replace(found), None, "{hit:?}");
        }
        let _ = fs::remove_dir_all(root.join("exports"));
        calls += 1;
    }
    println!("{calls} calls");
    assert!(calls > 40, "{calls}");
    assert_eq!(whole.map(|files| files.len()), Some(4));
    store.close().await.unwrap();
}

/// Logs of which each has some events of every second, so that commits take turns, too large for one batch.
fn write_tree(tree: &Path) {
    for id in ["a", "b", "c"] {
        let log = tree.join("streams/counter").join(id);
        fs::create_dir_all(&log).unwrap();
        let lines = (0..24).map(|number| {
            let mut event = Event::new("Added", json!(1)).with_id(format!("{id}-{number}"));
            event.ts = 10 + number / 4;
            event.meta = Some(json!({ "note": "x".repeat(20_000) }));
            serde_json::to_string(&event).unwrap() + "\n"
        });
        fs::write(log.join("app.jsonl"), lines.collect::<String>()).unwrap();
    }
}

async fn import(store: &AggregateStore, tree: &Path) -> ImportReport {
    let options = ImportOptions::default().with_aggregate::<Counter>();
    store.import_streams(tree, options).await.unwrap()
}

/// Imports again after a crash, and looks at everything.
async fn import_again(root: &Path, tree: &Path) -> (u64, u64) {
    let store = open(root, SystemDisk).await;
    let report = import(&store, tree).await;
    store.run_process_managers().await.unwrap();
    for id in ["a", "b", "c"] {
        let events = store.read_events("counter", id).await.unwrap();
        let ids = events.iter().map(|event| event.id.as_deref().unwrap());
        let ids: Vec<_> = ids
            .filter(|event| event.contains('-') && event.len() < 8)
            .collect();
        let expected: Vec<_> = (0..24).map(|number| format!("{id}-{number}")).collect();
        assert_eq!(ids, expected);
    }
    let copied = store.get::<Counter>("copy").await.unwrap();
    assert_eq!(
        copied.state().await.unwrap().sum,
        2,
        "nobody reacts to what is imported"
    );
    let again = import(&store, tree).await;
    assert_eq!((again.events, again.skipped), (0, 72));
    assert!(store.verify().await.unwrap().is_clean());
    store.close().await.unwrap();
    (report.events, report.skipped)
}

#[tokio::test]
async fn an_import_that_is_killed_is_completed_by_the_next() {
    let (place, trees) = (scratch(), scratch());
    let (root, tree) = (place.path(), trees.path());
    write_tree(tree);
    let disk = RecordingDisk::new(root).unwrap();
    let store = open(root, disk.clone()).await;
    // A command of its own, which is reacted to.
    let command = CounterCommand::AddOnes(2);
    store.send("own", command, ()).await.unwrap();
    store.close().await.unwrap();
    let disk = RecordingDisk::continue_from(disk.recording(), root).unwrap();
    let store = open(root, disk.clone()).await;
    assert_eq!(import(&store, tree).await.events, 72);
    store.close().await.unwrap();
    disk.check().unwrap();
    let recording = disk.recording();
    let points = env::var("EVENTFOLD_CRASH_POINTS").ok();
    let points = points.map_or(24, |points| points.parse().unwrap());
    let all = Crash::all(&recording);
    let step = all.len().div_ceil(points);
    let mut places = Place::default();
    let (mut none, mut some, mut whole) = (0, 0, 0);
    for crash in all.iter().step_by(step) {
        let root = places.fresh();
        crash.image(&recording).materialise(&root).unwrap();
        let (events, skipped) = import_again(&root, tree).await;
        assert_eq!(events + skipped, 72);
        match events {
            72 => none += 1,
            0 => whole += 1,
            _ => some += 1,
        }
        fs::remove_dir_all(root).unwrap();
    }
    println!(
        "{} crashes: {none} without events, {some} with some, {whole} with all",
        all.len()
    );
    assert!(none > 0 && some > 0 && whole > 0);
}
