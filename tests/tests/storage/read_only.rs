//! A store on a read-only file system: everything that can be read of it is what a writable copy has, everything that would
//! write is refused with the reason, and nothing is changed.

use std::collections::BTreeMap;
use std::fs;
use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use eventfold_es::disk::{
    CrashImage, DiskOp, Failure, Fault, FaultyDisk, Operation, RecordingDisk, SystemDisk,
};
use eventfold_es::prelude::*;
use eventfold_es::store::InjectOptions;
use eventfold_es::{DeadLetter, OpenError, Reactions, RecoveryReport, RunMode, StoreError};
use eventfold_es_tests::ReadOnlyDisk;
use eventfold_es_tests::crash::domain::{Chain, Fanout, Ledger, LedgerCommand, Tally, Target};
use eventfold_es_tests::crash::{Client, Fixture, builder, open_on, scratch};

const EACCES: i32 = 13;
const EINVAL: i32 = 22;

async fn open_read_only(path: &Path, mode: RunMode) -> AggregateStore {
    let builder = builder(path, Arc::new(ReadOnlyDisk::default()), true).run_mode(mode);
    builder.open().await.unwrap()
}

/// Everything that can be read.
#[derive(Debug, PartialEq)]
struct Picture {
    streams: BTreeMap<(String, String), Result<Vec<eventfold::Event>, String>>,
    tally: Tally,
    dead_letters: Vec<DeadLetter>,
    progress: Vec<(String, u64, u64)>,
    differences: Vec<String>,
    recovery: RecoveryReport,
}

/// What a store shows, with paths relative to its directory.
async fn picture(store: &AggregateStore, base: &Path) -> Picture {
    let relative = |text: String| text.replace(&base.display().to_string(), "");
    let mut streams = BTreeMap::new();
    let listed = store.list_streams(None).await.unwrap_or_default();
    for (aggregate_type, id) in listed {
        let events = store.read_events(&aggregate_type, &id).await;
        let events = events.map_err(|error| relative(error.to_string()));
        streams.insert((aggregate_type, id), events);
    }
    let recovery = store.recovery();
    Picture {
        streams,
        tally: Tally::clone(&*store.projection::<Tally>().await.unwrap()),
        dead_letters: store.dead_letters::<Fanout>().await.unwrap(),
        progress: store
            .health()
            .await
            .process_managers
            .into_iter()
            .map(|one| (one.name, one.position, one.lag))
            .collect(),
        differences: {
            let report = store.verify().await.unwrap();
            let differences = report.differences.iter();
            differences.map(|one| relative(one.to_string())).collect()
        },
        recovery: {
            let mut recovery = recovery.clone();
            recovery.read_only = false;
            if let Some(batch) = &mut recovery.incomplete_batch {
                batch.saved_to = Default::default();
            }
            recovery
        },
    }
}

/// Opens a directory read-only, and a copy of it as ever, and compares what they show; what that is.
async fn assert_same(fixture: &Path) -> Picture {
    let copy = scratch();
    let before = CrashImage::read(fixture).unwrap();
    before.materialise(copy.path()).unwrap();
    let [path, copy] = [fixture, copy.path()].map(|base| base.join("store"));
    let writable = builder(&copy, Arc::new(SystemDisk), true).run_mode(RunMode::OnDemand);
    let writable = writable.open().await.unwrap();
    assert!(!writable.recovery().read_only);
    let expected = picture(&writable, &copy).await;
    writable.close().await.unwrap();

    let store = open_read_only(&path, RunMode::OnDemand).await;
    assert!(store.recovery().read_only);
    let seen = picture(&store, &path).await;
    assert_eq!(seen, expected);
    store.rebuild_projection::<Tally>().await.unwrap();
    assert_eq!(*store.projection::<Tally>().await.unwrap(), expected.tally);
    store.close().await.unwrap();
    let after = CrashImage::read(fixture).unwrap();
    assert_eq!(after.first_difference(&before), None);
    seen
}

fn place(fixture: &Fixture) -> std::path::PathBuf {
    fixture.store().parent().unwrap().to_owned()
}

#[tokio::test]
async fn whatever_a_stopped_store_left_is_read_as_from_a_writable_copy() {
    let seen = assert_same(&place(&Fixture::closed().await)).await;
    assert_eq!(seen.recovery.redone_commits, 0);
    let seen = assert_same(&place(&Fixture::killed().await)).await;
    assert!(seen.recovery.redone_commits > 0);
    let seen = assert_same(&place(&Fixture::torn().await)).await;
    assert!(seen.recovery.incomplete_batch.is_some());
}

#[tokio::test]
async fn everything_is_derived_in_memory_where_the_checkpoint_cannot_be_used() {
    let fixture = Fixture::killed().await;
    fs::remove_file(fixture.file("meta/checkpoint.json")).unwrap();
    assert_same(&place(&fixture)).await;
    fs::remove_file(fixture.file("meta/lock")).unwrap();
    fs::remove_dir_all(fixture.file("meta/index")).unwrap();
    assert_same(&place(&fixture)).await;
}

#[tokio::test]
async fn a_rotation_that_was_interrupted_is_finished_in_memory() {
    let place = scratch();
    let disk = RecordingDisk::new(place.path()).unwrap();
    let path = place.path().join("store");
    let is_rotation = |op: &DiskOp| matches!(op, DiskOp::Rename { to, .. } if to.starts_with("store/meta") && to.ends_with("app.jsonl"));
    let rotations = || disk.ops().iter().filter(|op| is_rotation(op)).count();
    // The worker that rotates is not waited for, so that a busy machine rotates less often.
    for run in 0.. {
        if run >= 2 && rotations() >= 2 {
            break;
        }
        assert!(run < 20, "{} rotations", rotations());
        let store = builder(&path, Arc::new(disk.clone()), false).max_log_size(3_000);
        let store = store.open().await.unwrap();
        let client = Client::recorded(&store, &disk);
        for tag in 0..12 {
            let id = ["a", "b"][tag as usize % 2];
            client.put(id, run * 100 + tag * 2, 3).await.unwrap();
        }
        drop(client);
        store.close().await.unwrap();
    }
    let recording = disk.recording();
    let archives = |op: &DiskOp| {
        let is_archive = |path: &Path| path.extension().is_some_and(|extension| extension == "zst");
        let is_log = |path: &Path| path.ends_with("app.jsonl");
        match op {
            DiskOp::Rename { to, .. } => is_log(to),
            _ => op.path().is_some_and(is_archive),
        }
    };
    let ops = recording.ops().iter().enumerate();
    let interrupted: Vec<_> = ops.filter(|(_, op)| archives(op)).collect();
    let renamed = interrupted
        .iter()
        .filter(|(_, op)| matches!(op, DiskOp::Rename { to, .. } if to.starts_with("store/meta")));
    let renamed = renamed.count();
    assert!(
        renamed > 0 && interrupted.len() > 4,
        "{renamed} of {}",
        interrupted.len()
    );
    for (at, op) in interrupted.into_iter().rev().take(24) {
        let torn = op.tears().into_iter().max().unwrap_or_default() / 2;
        for torn in [0, torn] {
            let stopped = scratch();
            let image = CrashImage::killed(&recording.until(at, torn)).unwrap();
            image.materialise(stopped.path()).unwrap();
            assert_same(stopped.path()).await;
        }
    }
}

#[tokio::test]
async fn damage_is_reported_as_ever() {
    for file in [
        "meta/index/000001.run",
        "process_managers/fanout/dead_letters.jsonl",
    ] {
        let fixture = Fixture::closed().await;
        let file = fixture.file(file);
        let mut bytes = fs::read(&file).unwrap();
        bytes[60] ^= 1;
        fs::write(&file, bytes).unwrap();
        let seen = assert_same(&place(&fixture)).await;
        assert!(
            !seen.differences.is_empty() || seen.recovery.redone_commits > 0,
            "{}",
            file.display()
        );

        let disk = Arc::new(ReadOnlyDisk::default());
        let repaired = builder(&fixture.store(), disk, true).repair().await;
        let error = repaired.unwrap_err();
        assert!(matches!(
            error,
            OpenError::Store(StoreError::ReadOnly { .. })
        ));
        assert_says_why(&error, &fixture.store());
    }
}

fn assert_says_why(error: &dyn std::error::Error, base: &Path) {
    let text = error.to_string();
    for part in [
        "read-only",
        &base.display().to_string(),
        "Read-only file system (os error 30)",
    ] {
        assert!(text.contains(part), "`{part}` is not in: {text}");
    }
}

async fn soon<T>(future: impl Future<Output = T>) -> T {
    let soon = tokio::time::timeout(Duration::from_secs(20), future);
    soon.await.expect("it does not wait")
}

#[tokio::test]
async fn everything_that_writes_is_refused_with_the_reason_in_every_run_mode() {
    let keyed = |key: &str| CommandContext::default().with_idempotency_key(key);
    let put = |tag| LedgerCommand::Put { tag, parts: 2 };
    let fixture = Fixture::closed().await;
    let path = fixture.store();
    let store = builder(&path, Arc::new(SystemDisk), true).open().await;
    let store = store.unwrap();
    let ledger = store.get::<Ledger>("both").await.unwrap();
    let first = ledger.execute(put(70), keyed("known")).await.unwrap();
    drop(ledger);
    store.close().await.unwrap();
    let before = fixture.image();
    for mode in [RunMode::Inline, RunMode::Background, RunMode::OnDemand] {
        let store = open_read_only(&path, mode).await;
        for id in ["both", "unknown"] {
            let ledger = store.get::<Ledger>(id).await.unwrap();
            for tag in 900..903 {
                let refused = soon(ledger.execute(put(tag), CommandContext::default())).await;
                assert_says_why(&refused.unwrap_err(), &path);
                let refused = soon(ledger.execute(put(tag), keyed("new"))).await;
                assert_says_why(&refused.unwrap_err(), &path);
            }
            let event = eventfold::Event::new(
                "Entry",
                serde_json::json!({"tag": 1, "part": 0, "of": 1, "text": ""}),
            );
            for run_process_managers in [false, true] {
                let options = InjectOptions {
                    run_process_managers,
                };
                let injected =
                    store.inject_event::<Ledger>(id, event.clone().with_id("i"), options);
                assert_says_why(&soon(injected).await.unwrap_err(), &path);
            }
        }
        assert!(store.read_events("ledger", "unknown").await.is_err());
        let ledger = store.get::<Ledger>("both").await.unwrap();
        let again = soon(ledger.execute(put(70), keyed("known"))).await.unwrap();
        assert_eq!(
            (&again.events, again.position),
            (&first.events, first.position)
        );
        assert!(matches!(
            again.reactions,
            Reactions::Done | Reactions::NotAwaited
        ));
        let before_that = ledger.state().await.unwrap();
        assert_eq!(before_that.tags.last(), Some(&70));
        assert_says_why(
            &soon(store.run_process_managers()).await.unwrap_err(),
            &path,
        );
        assert!(
            store
                .health()
                .await
                .process_managers
                .iter()
                .all(|one| one.lag == 0)
        );
        drop(ledger);
        soon(store.close()).await.unwrap();
    }
    assert_eq!(fixture.image().first_difference(&before), None);
}

#[tokio::test]
async fn process_managers_that_are_new_or_behind_stay_where_they_are() {
    let place = scratch();
    let path = place.path().join("store");
    let disk = RecordingDisk::new(place.path()).unwrap();
    let store = open_on(&disk, &path, false, RunMode::OnDemand).await;
    let client = Client::new(&store, |_| {});
    client.put("a", 2, 3).await.unwrap();
    drop(client);
    store.close().await.unwrap();
    let before = CrashImage::read(place.path()).unwrap();
    for mode in [RunMode::Inline, RunMode::Background, RunMode::OnDemand] {
        let store = open_read_only(&path, mode).await;
        tokio::time::sleep(Duration::from_millis(30)).await;
        let standing = store.health().await.process_managers;
        assert_eq!(standing.len(), 2);
        for one in standing {
            assert_eq!((one.position, one.lag, one.parked_at), (0, 3, None));
        }
        assert!(store.list::<Target>().await.unwrap().is_empty());
        assert!(store.dead_letters::<Chain>().await.unwrap().is_empty());
        assert_says_why(
            &soon(store.run_process_managers()).await.unwrap_err(),
            &path,
        );
        soon(store.close()).await.unwrap();
    }
    let after = CrashImage::read(place.path()).unwrap();
    assert_eq!(after.first_difference(&before), None);
}

#[tokio::test]
async fn any_number_of_stores_read_one_directory_and_none_takes_snapshots() {
    let fixture = Fixture::killed().await;
    let before = fixture.image();
    let mut stores = Vec::new();
    for _ in 0..3 {
        let disk = Arc::new(ReadOnlyDisk::default());
        let store = builder(&fixture.store(), disk, true)
            .snapshot_every(1)
            .idle_timeout(Duration::from_millis(4));
        stores.push(store.open().await.unwrap());
    }
    for _ in 0..3 {
        for store in &stores {
            for id in store.list::<Ledger>().await.unwrap() {
                let ledger = store.get::<Ledger>(&id).await.unwrap();
                let events = store.read_events("ledger", &id).await.unwrap();
                let state = ledger.state().await.unwrap();
                assert_eq!(state.entries, events.len() as u64);
            }
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for store in stores {
        store.close().await.unwrap();
    }
    assert_eq!(fixture.image().first_difference(&before), None);
}

#[tokio::test]
async fn a_file_system_that_does_not_sync_directories_is_read_too() {
    let fixture = Fixture::killed().await;
    let disk = ReadOnlyDisk {
        sync_errno: Some(EINVAL),
        ..ReadOnlyDisk::default()
    };
    let store = builder(&fixture.store(), Arc::new(disk), true);
    let store = store.open().await.unwrap();
    assert!(store.recovery().read_only);
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_directory_without_a_store_is_an_error_that_names_it() {
    let place = scratch();
    fs::create_dir(place.path().join("empty")).unwrap();
    for name in ["missing", "missing/deep", "empty"] {
        let path = place.path().join(name);
        let store = builder(&path, Arc::new(ReadOnlyDisk::default()), true);
        let error = store.open().await.unwrap_err();
        assert!(matches!(error, OpenError::File(_)), "{error:?}");
        let text = error.to_string();
        assert!(text.contains(&place.path().display().to_string()), "{text}");
        assert!(text.contains("Read-only file system"), "{text}");
    }
    assert!(!place.path().join("missing").exists());
    assert_eq!(fs::read_dir(place.path().join("empty")).unwrap().count(), 0);
}

#[tokio::test]
async fn where_somebody_else_may_write_nothing_is_opened() {
    let fixture = Fixture::killed().await;
    let disk = ReadOnlyDisk {
        errno: EACCES,
        ..ReadOnlyDisk::default()
    };
    let store = builder(&fixture.store(), Arc::new(disk), true);
    let error = store.open().await.unwrap_err();
    assert!(matches!(error, OpenError::File(_)), "{error:?}");

    // Read-only in parts: the lock can be taken.
    let disk = FaultyDisk::new(Arc::new(SystemDisk));
    let fault = Fault::starting(0, Failure::EROFS).on(&[Operation::Write]);
    disk.inject(fault.at(|path| path.ends_with("journal/app.jsonl")));
    let store = builder(&fixture.store(), Arc::new(disk), true);
    let error = store.open().await.unwrap_err();
    assert!(matches!(error, OpenError::File(_)), "{error:?}");
    assert!(error.to_string().contains("journal/app.jsonl"), "{error}");
}
