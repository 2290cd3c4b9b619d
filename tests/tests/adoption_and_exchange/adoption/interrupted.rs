//! An adoption that a kill or a power loss ends at any of its operations comes to the same as one that is not interrupted;
//! before its journal has its name, everything is as 0.2.0 left it, and the files of its streams always are.

use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use eventfold_es::RunMode;
use eventfold_es::disk::{CrashImage, Recording, RecordingDisk, Survival};
use eventfold_es_tests::crash::{Place, scratch};

use super::domain::*;

/// A directory with some of everything.
async fn written_by_0_2_0(base: &Path) {
    let old = old_store(base).await;
    for (id, amount) in [
        ("a", 1),
        ("b/c", 2),
        ("archived", 113),
        ("torn", 4),
        ("bad", 5),
    ] {
        old_deposit(&old, id, amount).await;
    }
    old.run_process_managers().await.unwrap();
    old.projection::<Deposits>().unwrap();
    for (id, amount) in [("a", 6), ("archived", 7), ("new", 213)] {
        old_deposit(&old, id, amount).await;
    }
    old.get::<Account>("empty").await.unwrap();
    end(old).await;
    let streams = base.join("streams/account");
    let mut log = eventfold::EventLog::open(streams.join("archived")).unwrap();
    log.rotate().unwrap();
    drop(log);
    for (id, tail) in [("torn", "{\"type"), ("bad", "{\"type\n")] {
        let log = streams.join(id).join("app.jsonl");
        let text = fs::read_to_string(&log).unwrap();
        fs::write(&log, text + tail).unwrap();
    }
}

/// Everything that the store says, without its path.
async fn content(base: &Path, disk: Option<&RecordingDisk>) -> String {
    let mut builder = builder(base).run_mode(RunMode::OnDemand);
    if let Some(disk) = disk {
        builder = builder.disk(Arc::new(disk.clone()));
    }
    let store = builder
        .open()
        .await
        .unwrap_or_else(|error| panic!("{error}"));
    store.run_process_managers().await.unwrap();
    let mut content = vec![format!("{:?}", store.recovery().adoption)];
    for (aggregate_type, id) in store.list_streams(None).await.unwrap() {
        let events = store.read_events(&aggregate_type, &id).await.unwrap();
        let events = events
            .into_iter()
            .map(|event| (event.event_type, event.data));
        content.push(format!(
            "{aggregate_type} {id} {:?}",
            events.collect::<Vec<_>>()
        ));
    }
    content.push(format!(
        "{:?}",
        store.projection::<Deposits>().await.unwrap()
    ));
    let letters = store.dead_letters::<Auditor>().await.unwrap();
    let letters = letters.into_iter().map(|letter| letter.envelope.command);
    content.push(format!("{:?}", letters.collect::<Vec<_>>()));
    assert!(
        store
            .get::<Account>("bad")
            .await
            .unwrap()
            .state()
            .await
            .is_err()
    );
    store.close().await.unwrap();
    content.join("\n").replace(base.to_str().unwrap(), "")
}

/// Whether it belongs to the streams of 0.2.0, which stay as they are.
fn is_of_streams(path: &Path) -> bool {
    path.starts_with("store/streams") || path.ends_with("meta/streams.jsonl")
}

/// Checks each image that a crash in the last run of the recording can leave behind; how many.
async fn check(recording: &Recording, before: &CrashImage, expected: &str, step: usize) -> usize {
    let mut places = Place::default();
    let mut seen = HashSet::new();
    for k in (recording.start()..=recording.len()).step_by(step) {
        let mut images = Vec::new();
        for torn in recording.tears(k) {
            images.push(CrashImage::killed(&recording.until(k, torn)).unwrap());
        }
        for survival in [
            Survival::All,
            Survival::Nothing,
            Survival::EntriesOnly,
            Survival::LengthsOnly,
            Survival::ContentOnly,
            Survival::Random(k as u64),
        ] {
            images.push(CrashImage::power_loss(&recording.until(k, 0), &survival).unwrap());
        }
        for image in images {
            if !seen.insert(image.clone()) {
                continue;
            }
            let is_begun = image.file("store/meta/journal/app.jsonl").is_some();
            for (path, bytes) in before
                .files()
                .filter(|(path, _)| !is_begun || is_of_streams(path))
            {
                assert_eq!(image.file(path), Some(bytes), "{k}: {}", path.display());
            }
            let root = places.fresh();
            image.materialise(&root).unwrap();
            let found = content(&root.join("store"), None).await;
            assert_eq!(
                found,
                expected,
                "crash after {k} operations of {}",
                recording.len()
            );
            for (path, bytes) in before.files().filter(|(path, _)| is_of_streams(path)) {
                assert_eq!(
                    fs::read(root.join(path)).unwrap(),
                    bytes,
                    "{k}: {}",
                    path.display()
                );
            }
            fs::remove_dir_all(&root).unwrap();
        }
    }
    seen.len()
}

#[tokio::test]
async fn rule_15_every_interrupted_adoption_comes_to_the_same() {
    let place = scratch();
    written_by_0_2_0(&place.path().join("store")).await;
    let before = CrashImage::read(place.path()).unwrap();
    let disk = RecordingDisk::new(place.path()).unwrap();
    let expected = content(&place.path().join("store"), Some(&disk)).await;
    disk.check().unwrap();
    let recording = disk.recording();
    let images = check(&recording, &before, &expected, 1).await;
    println!(
        "{} operations, {images} images",
        recording.len() - recording.start()
    );

    // The next opening is interrupted, too.
    let mut places = Place::default();
    let mut images = 0;
    for k in (recording.start()..recording.len()).step_by(8) {
        let root = places.fresh();
        let cut = recording.until(k, 0);
        CrashImage::killed(&cut)
            .unwrap()
            .materialise(&root)
            .unwrap();
        let disk = RecordingDisk::continue_from(cut, &root).unwrap();
        assert_eq!(
            content(&root.join("store"), Some(&disk)).await,
            expected,
            "{k}"
        );
        images += check(&disk.recording(), &before, &expected, 13).await;
    }
    println!("{images} images after a second crash");
}
