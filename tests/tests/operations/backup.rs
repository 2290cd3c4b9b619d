//! A second directory with everything that is durable, made while commands go on.

use std::fs;
use std::path::{Path, PathBuf};

use eventfold_es::disk::SplitMix64;
use eventfold_es::prelude::*;
use eventfold_es::{BackupError, BackupReport};
use eventfold_es_tests::copy_directory;
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

/// A store and a directory for backups.
struct Place {
    directory: TempDir,
}

impl Place {
    fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    async fn open(&self) -> AggregateStore {
        open(&self.path("store")).await
    }
}

async fn open(directory: &Path) -> AggregateStore {
    AggregateStore::builder(directory)
        .process_manager::<Copier>()
        .max_log_size(2_000)
        .open()
        .await
        .unwrap()
}

async fn add(store: &AggregateStore, id: &str, by: i64) {
    let adding = store.send(id, CounterCommand::Add(by), CommandContext::default());
    adding.await.unwrap();
}

async fn sum(store: &AggregateStore, id: &str) -> i64 {
    let counter = store.get::<Counter>(id).await.unwrap();
    counter.state().await.unwrap().sum
}

fn segments(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory.join("meta/journal")).unwrap();
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "zst"));
    paths.sort();
    paths
}

/// The contents of the files in a directory, by name.
fn content(directory: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut content = Vec::new();
    let mut directories = vec![directory.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).into_iter().flatten() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => directories.push(path),
                false => content.push((path.clone(), fs::read(path).unwrap())),
            }
        }
    }
    content.sort();
    content
}

#[tokio::test]
async fn a_backup_is_a_store_that_reacts_to_nothing_again() {
    let place = Place::new();
    let store = place.open().await;
    for by in 1..=40 {
        add(&store, "a", by).await;
    }
    let report = store.backup(place.path("backup")).await.unwrap();
    add(&store, "a", 1_000).await;
    assert_eq!((report.position, report.commits), (80, 81));
    assert!(report.linked_bytes > 0, "{report:?}");
    assert_eq!(report.linked_bytes + report.copied_bytes, report.bytes);
    store.close().await.unwrap();
    let opened = open(&place.path("backup")).await;
    assert_eq!(sum(&opened, "a").await, 820);
    assert_eq!(sum(&opened, "copy").await, 820);
    let report = opened.run_process_managers().await.unwrap();
    assert_eq!(report.dispatched, 0);
    assert!(opened.verify().await.unwrap().is_clean());
    add(&opened, "a", 1).await;
    assert_eq!(sum(&opened, "copy").await, 821);
    opened.close().await.unwrap();
    // And the store has nothing of that.
    let store = place.open().await;
    assert_eq!(sum(&store, "copy").await, 1_820);
    assert!(store.verify().await.unwrap().is_clean());
    store.close().await.unwrap();
}

#[tokio::test]
async fn the_next_backup_copies_what_is_new() {
    let place = Place::new();
    let backup = place.path("backups/of/the/store");
    let store = place.open().await;
    let empty = store.backup(&backup).await.unwrap();
    assert_eq!((empty.position, empty.linked_bytes), (0, 0));
    let mut linked = 0;
    for round in 1..=4_i64 {
        for _ in 0..20 {
            add(&store, "a", 1).await;
        }
        let report = store.backup(&backup).await.unwrap();
        assert_eq!(report.position, 40 * round as u64);
        linked += report.linked_bytes;
        let files: u64 = segments(&backup)
            .iter()
            .map(|path| fs::metadata(path).unwrap().len())
            .sum();
        assert_eq!(files, linked);
        let again = store.backup(&backup).await.unwrap();
        assert_eq!(again.position, report.position);
        // Archiving goes on in the background.
        linked += again.linked_bytes;
        let aside = place.path(&format!("aside-{round}"));
        copy_directory(&backup, &aside).unwrap();
        let opened = open(&aside).await;
        assert_eq!(sum(&opened, "copy").await, 20 * round);
        opened.close().await.unwrap();
    }
    store.close().await.unwrap();
}

/// A backup has every event that was acknowledged before it, whatever goes on meanwhile, and each command as a whole or not at all.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn commands_go_on_meanwhile() {
    let place = Place::new();
    let store = place.open().await;
    let clients = ["a", "b", "c"].map(|id| {
        let store = store.clone();
        tokio::spawn(async move {
            for _ in 0..150 {
                let command = CounterCommand::AddOnes(3);
                store
                    .send(id, command, CommandContext::default())
                    .await
                    .unwrap();
            }
        })
    });
    let backup = place.path("backup");
    let mut backups = Vec::new();
    while clients.iter().any(|client| !client.is_finished()) || backups.len() < 3 {
        let before = sum(&store, "a").await;
        let report = store.backup(&backup).await.unwrap();
        if backups.len() < 8 {
            let aside = place.path(&format!("aside-{}", backups.len()));
            copy_directory(&backup, &aside).unwrap();
            backups.push((before, report, aside));
        }
    }
    for client in clients {
        client.await.unwrap();
    }
    store.close().await.unwrap();
    for (before, report, aside) in backups {
        let opened = open(&aside).await;
        assert_eq!(opened.health().await.position, report.position);
        opened.run_process_managers().await.unwrap();
        let mut all = 0;
        for id in ["a", "b", "c"] {
            let sum = sum(&opened, id).await;
            assert_eq!(sum % 3, 0, "half a command");
            all += sum;
        }
        assert!(sum(&opened, "a").await >= before);
        assert_eq!(sum(&opened, "copy").await, all);
        opened.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_directory_that_is_not_for_a_backup_of_this_store_is_left_as_it_is() {
    let place = Place::new();
    let store = place.open().await;
    for _ in 0..20 {
        add(&store, "a", 1).await;
    }
    let refused = async |to: &str| {
        let before = content(&place.path(to));
        let error = store.backup(place.path(to)).await.unwrap_err();
        assert!(content(&place.path(to)) == before, "{to}");
        error
    };
    for to in [
        "store",
        "store/backup",
        "store/meta/journal",
        "",
        "store/../store/x",
    ] {
        let error = store.backup(place.path(to)).await.unwrap_err();
        assert!(
            matches!(error, BackupError::Overlapping { .. }),
            "{to}: {error}"
        );
    }
    assert!(!place.path("store/backup").exists());
    // Something else is there.
    fs::create_dir(place.path("documents")).unwrap();
    fs::write(place.path("documents/letter.txt"), "Dear").unwrap();
    let error = refused("documents").await;
    assert!(
        matches!(&error, BackupError::Occupied { path } if path.ends_with("letter.txt")),
        "{error}"
    );
    // Another store, and its backup.
    let other = open(&place.path("other")).await;
    add(&other, "a", 7).await;
    // It is open, and its files change.
    let error = store.backup(place.path("other")).await.unwrap_err();
    assert!(matches!(error, BackupError::InUse { .. }), "{error}");
    other.backup(place.path("of-other")).await.unwrap();
    other.close().await.unwrap();
    let error = refused("of-other").await;
    assert!(matches!(error, BackupError::OtherStore { .. }), "{error}");
    let error = refused("other").await;
    assert!(matches!(error, BackupError::Occupied { .. }), "{error}");
    // A backup that was opened as a store, and went on.
    store.backup(place.path("backup")).await.unwrap();
    open(&place.path("backup")).await.close().await.unwrap();
    let error = refused("backup").await;
    assert!(matches!(error, BackupError::Occupied { .. }), "{error}");
    store.close().await.unwrap();
}

/// An older copy of the store has gone on otherwise, or has not come so far.
#[tokio::test]
async fn a_backup_of_what_was_further_is_not_overwritten() {
    let place = Place::new();
    let store = place.open().await;
    for _ in 0..30 {
        add(&store, "a", 1).await;
    }
    store.close().await.unwrap();
    copy_directory(&place.path("store"), &place.path("older")).unwrap();
    let store = place.open().await;
    for _ in 0..30 {
        add(&store, "a", 1).await;
    }
    store.backup(place.path("backup")).await.unwrap();
    store.close().await.unwrap();
    let before = content(&place.path("backup"));
    let older = open(&place.path("older")).await;
    for commands in [0, 5, 60] {
        for _ in 0..commands {
            add(&older, "a", 1).await;
        }
        let error = older.backup(place.path("backup")).await.unwrap_err();
        assert!(matches!(error, BackupError::OtherStore { .. }), "{error}");
        assert!(content(&place.path("backup")) == before);
    }
    older.close().await.unwrap();
}

/// Whenever it is dropped, the backup from before is there, and the next one is whole.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_that_is_dropped_leaves_the_one_from_before() {
    let place = Place::new();
    let backup = place.path("backup");
    let store = place.open().await;
    let mut random = SplitMix64::new(7);
    let mut last = BackupReport::default();
    for round in 0..30 {
        add(&store, "a", 1).await;
        add(&store, "b", 1).await;
        let before = last.position;
        let patience = std::time::Duration::from_micros(random.below(3_000) as u64);
        let dropped = tokio::time::timeout(patience, store.backup(&backup)).await;
        if round % 5 == 4 {
            // Whoever has dropped it does not wait for its last step.
            last = loop {
                match store.backup(&backup).await {
                    Err(BackupError::InUse { .. }) => tokio::task::yield_now().await,
                    report => break report.unwrap(),
                }
            };
            assert_eq!(last.position, 4 * (round + 1));
        } else if let Ok(Ok(report)) = dropped {
            last = report;
        }
        let aside = place.path("aside");
        // Its last step may go on a moment longer; then the lock is gone.
        while backup.exists() && fs::File::open(&backup).unwrap().try_lock().is_err() {
            tokio::task::yield_now().await;
        }
        if backup.join("meta/journal/app.jsonl").exists() {
            copy_directory(&backup, &aside).unwrap();
            let opened = open(&aside).await;
            assert!(opened.health().await.position >= before);
            assert_eq!(
                sum(&opened, "copy").await,
                sum(&opened, "a").await + sum(&opened, "b").await
            );
            opened.close().await.unwrap();
            fs::remove_dir_all(aside).unwrap();
        }
    }
    store.close().await.unwrap();
}

#[tokio::test]
async fn damage_is_found_before_the_backup_counts() {
    let place = Place::new();
    let backup = place.path("backup");
    let store = place.open().await;
    for _ in 0..5 {
        add(&store, "a", 1).await;
    }
    store.backup(&backup).await.unwrap();
    let before = fs::read(backup.join("meta/journal/app.jsonl")).unwrap();
    // A segment that the backup has already is not read again. The next segments have the last lines of the backup.
    let copied: Vec<_> = segments(&backup)
        .iter()
        .map(|path| path.file_name().unwrap().to_owned())
        .collect();
    let segment = loop {
        add(&store, "a", 1).await;
        let mut new = segments(&place.path("store"));
        new.retain(|path| !copied.iter().any(|name| path.ends_with(name)));
        if new.len() > 2 {
            break new.pop().unwrap();
        }
    };
    store.close().await.unwrap();
    let whole = fs::read(&segment).unwrap();
    let mut changed = whole.clone();
    changed[whole.len() / 3] ^= 1;
    fs::write(&segment, &changed).unwrap();
    let store = place.open().await;
    let error = store.backup(&backup).await.unwrap_err().to_string();
    assert!(
        error.contains(segment.file_name().unwrap().to_str().unwrap()),
        "{error}"
    );
    assert_eq!(
        fs::read(backup.join("meta/journal/app.jsonl")).unwrap(),
        before
    );
    store.close().await.unwrap();
}
