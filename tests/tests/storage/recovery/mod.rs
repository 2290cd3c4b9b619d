//! Opening a directory never guesses: it drops an incomplete last batch, which nobody was told about, rebuilds what can be
//! rebuilt, and reports anything else with its file and place.

mod newer;

use std::fs;
use std::path::Path;
use std::sync::Arc;

use eventfold_es::disk::{
    CrashImage, DiskOp, Failure, Fault, FaultyDisk, Operation, RecordingDisk, SplitMix64,
    SystemDisk,
};
use eventfold_es::store::ProcessManagerReport;
use eventfold_es::{AggregateStore, Damage, OpenError, RunMode, StoreError};
use eventfold_es_tests::crash::domain::{Fanout, Ledger, Tally};
use eventfold_es_tests::crash::{
    Check, Client, Expected, Fixture, builder, check, open_on, scratch,
};

const JOURNAL: &str = "meta/journal/app.jsonl";
const CHECKPOINT: &str = "meta/checkpoint.json";

async fn open(store: &Path) -> Result<AggregateStore, OpenError> {
    let builder = builder(store, Arc::new(SystemDisk), true);
    builder.run_mode(RunMode::OnDemand).open().await
}

async fn assert_whole(fixture: &Fixture) {
    let checked = check(&fixture.store(), &fixture.expected, Check::PROCESS_MANAGERS).await;
    checked.unwrap();
}

/// The store opens, all effects are there, and nothing is dispatched again.
async fn assert_rebuilt(fixture: &Fixture, what: &str) {
    let store = open(&fixture.store())
        .await
        .unwrap_or_else(|error| panic!("{what}: {error}"));
    let report = store.run_process_managers().await.unwrap();
    assert_eq!(report, ProcessManagerReport::default(), "{what}");
    store.close().await.unwrap();
    let checked = check(&fixture.store(), &fixture.expected, Check::PROCESS_MANAGERS).await;
    checked.unwrap_or_else(|reason| panic!("{what}: {reason}"));
}

async fn assert_damaged(fixture: &Fixture, file: &str) -> Damage {
    match open(&fixture.store()).await {
        Err(OpenError::Damaged(damage)) => {
            assert_eq!(damage.path, fixture.file(file), "{damage}");
            assert!(damage.to_string().contains(file), "{damage}");
            damage
        }
        other => panic!("{file} was damaged, and opening answers {other:?}"),
    }
}

fn change(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

#[tokio::test]
async fn a_killed_store_is_whole() {
    assert_whole(&Fixture::closed().await).await;
    assert_whole(&Fixture::killed().await).await;
}

#[tokio::test]
async fn an_incomplete_last_batch_is_saved_aside_and_reported() {
    let fixture = Fixture::torn().await;
    let journal = fs::read(fixture.file(JOURNAL)).unwrap();
    let store = open(&fixture.store()).await.unwrap();
    let dropped = store.recovery().incomplete_batch.clone().unwrap();
    let saved = fs::read(&dropped.saved_to).unwrap();
    assert_eq!(saved.len() as u64, dropped.bytes);
    assert!(journal.windows(saved.len()).any(|window| window == saved));
    assert!(saved.starts_with(b"{\"type\":\"commit\""));
    store.close().await.unwrap();
    let store = open(&fixture.store()).await.unwrap();
    assert_eq!(store.recovery().incomplete_batch, None);
    assert_eq!(fs::read(&dropped.saved_to).unwrap(), saved);
    store.close().await.unwrap();
    assert_whole(&fixture).await;
}

/// The next batch is shorter than what there was of it, and the program is killed right behind that.
#[tokio::test]
async fn nothing_of_an_incomplete_batch_stands_behind_the_next_one() {
    const BYTES: usize = 1_500;
    let (first, second, third) = (scratch(), scratch(), scratch());
    let disk = RecordingDisk::new(first.path()).unwrap();
    let store = open_on(&disk, &first.path().join("store"), false, RunMode::OnDemand).await;
    let client = Client::recorded(&store, &disk);
    client.put("a", 1, 1).await.unwrap();
    let begun = disk.len();
    client.put("a", 3, 4).await.unwrap();
    drop(client);
    store.close().await.unwrap();
    let is_write = |op: &DiskOp| matches!(op, DiskOp::Write { path, .. } if path.ends_with("journal/app.jsonl"));
    let recording = disk.recording();
    let write = recording.ops()[begun..].iter().position(is_write);
    let cut = recording.until(begun + write.unwrap(), BYTES);
    let mut expected = Expected::of(cut.marks());
    let root = second.path().join("root");
    CrashImage::killed(&cut)
        .unwrap()
        .materialise(&root)
        .unwrap();

    let builder = builder(&root.join("store"), Arc::new(SystemDisk), false);
    let store = builder.open().await.unwrap();
    let dropped = store.recovery().incomplete_batch.clone().unwrap();
    assert_eq!(dropped.bytes, BYTES as u64);
    let (sender, notes) = std::sync::mpsc::channel();
    let client = Client::new(&store, move |note| sender.send(note.clone()).unwrap());
    // An event without text.
    client.put("a", 240, 1).await.unwrap();
    let image = CrashImage::read(&root).unwrap();
    drop(client);
    notes.iter().for_each(|note| expected.take(note));
    let left = third.path().join("root");
    image.materialise(&left).unwrap();
    check(&left.join("store"), &expected, Check::AGGREGATES)
        .await
        .unwrap();
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_flipped_bit_in_the_journal_is_damage() {
    let fixture = Fixture::killed().await;
    let journal = fs::read(fixture.file(JOURNAL)).unwrap();
    let end = journal.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    let mut random = SplitMix64::new(1);
    let whole = fixture.copy();
    let store = open(&whole.store()).await.unwrap();
    let tally = store.projection::<Tally>().await.unwrap();
    store.close().await.unwrap();
    // With a checkpoint only what stands behind it is read; without one, all of it.
    for has_checkpoint in [true, false] {
        for _ in 0..60 {
            let copy = fixture.copy();
            let (at, bit) = (random.below(end), random.below(8));
            change(&copy.file(JOURNAL), |journal| journal[at] ^= 1 << bit);
            if !has_checkpoint {
                fs::remove_file(copy.file(CHECKPOINT)).unwrap();
            }
            let what = format!("byte {at}, bit {bit}, checkpoint: {has_checkpoint}");
            let damage = match open(&copy.store()).await {
                Err(OpenError::Damaged(damage)) => damage,
                Ok(store) if has_checkpoint => {
                    let rebuilt = store.rebuild_projection::<Tally>().await;
                    let read = store.projection::<Tally>().await;
                    store.close().await.unwrap();
                    match rebuilt {
                        Err(StoreError::Damaged(damage)) => (*damage).clone(),
                        Ok(()) => {
                            // A commit without events, which a rebuild does not need.
                            assert_eq!(read.unwrap(), tally, "{what}");
                            continue;
                        }
                        Err(error) => panic!("{what}: {error}"),
                    }
                }
                other => panic!("{what}: opening answers {other:?}"),
            };
            assert_eq!(damage.path, copy.file(JOURNAL), "{what}");
            let line = journal[..at]
                .iter()
                .rposition(|byte| *byte == b'\n')
                .map_or(0, |end| end + 1);
            assert!(
                (line as u64..=at as u64 + 1).contains(&damage.offset),
                "{what}: {damage}"
            );
        }
    }
}

/// A commit is whole, and has the number, the batch and the position that are due, but follows another one: it is from a store
/// that was copied, where something else happened before it.
#[tokio::test]
async fn a_commit_of_another_history_is_damage() {
    let fixture = Fixture::closed().await;
    let before = fs::read(fixture.file(JOURNAL)).unwrap();
    let mut histories = Vec::new();
    for ids in [["x", "x"], ["y", "z"]] {
        let copy = fixture.copy();
        let store = builder(&copy.store(), Arc::new(SystemDisk), true);
        let store = store.run_mode(RunMode::OnDemand).open().await.unwrap();
        let client = Client::new(&store, |_| {});
        for (tag, id) in (101..).zip(ids) {
            client.put(id, tag, 1).await.unwrap();
        }
        drop(client);
        store.close().await.unwrap();
        let journal = fs::read(copy.file(JOURNAL)).unwrap();
        let lines = journal[before.len()..].split_inclusive(|byte| *byte == b'\n');
        let lines: Vec<_> = lines.map(<[u8]>::to_vec).collect();
        assert_eq!(lines.len(), 2);
        histories.push(lines);
    }
    let spliced = [&before[..], &histories[0][0], &histories[1][1]].concat();
    fs::write(fixture.file(JOURNAL), spliced).unwrap();
    let damage = assert_damaged(&fixture, JOURNAL).await;
    assert_eq!(damage.offset, (before.len() + histories[0][0].len()) as u64);
}

#[tokio::test]
async fn what_is_derived_is_rebuilt_when_a_bit_of_it_is_flipped() {
    let mut random = SplitMix64::new(2);
    for fixture in [Fixture::closed().await, Fixture::killed().await] {
        for file in [
            CHECKPOINT,
            "meta/index/000001.run",
            "process_managers/fanout/checkpoint.json",
            "process_managers/chain/checkpoint.json",
            "projections/tally/checkpoint.json",
        ] {
            let length = fs::read(fixture.file(file)).unwrap().len();
            for _ in 0..12 {
                let copy = fixture.copy();
                let (at, bit) = (random.below(length), random.below(8));
                change(&copy.file(file), |bytes| bytes[at] ^= 1 << bit);
                if file.ends_with(".run") {
                    // Damage inside is noticed by who reads there, and mended by the next opening.
                    let store = open(&copy.store()).await.unwrap();
                    store.verify().await.unwrap();
                    store.close().await.unwrap();
                }
                assert_rebuilt(&copy, &format!("{file}, byte {at}, bit {bit}")).await;
            }
        }
    }
}

/// As in a copy whose journal was copied before its dead letters.
#[tokio::test]
async fn dead_letters_that_the_journal_does_not_have_are_cut_off() {
    let fixture = Fixture::closed().await;
    let letters = fixture.file("process_managers/fanout/dead_letters.jsonl");
    let whole = fs::read(&letters).unwrap();
    change(&letters, |bytes| {
        let first = bytes.iter().position(|byte| *byte == b'\n').unwrap();
        bytes.extend_from_within(..=first);
    });
    let store = open(&fixture.store()).await.unwrap();
    assert_eq!(fs::read(&letters).unwrap(), whole);
    store.close().await.unwrap();
    assert_whole(&fixture).await;
}

/// eventfold-es 0.2.0 took a zero-length checkpoint for none, began from the first event and dispatched everything again.
#[tokio::test]
async fn what_is_derived_is_rebuilt_when_it_is_missing_or_empty() {
    for fixture in [Fixture::closed().await, Fixture::killed().await] {
        for file in [
            CHECKPOINT,
            "meta/index/000001.run",
            "process_managers/fanout/checkpoint.json",
            "process_managers/fanout/dead_letters.jsonl",
            "projections/tally/checkpoint.json",
        ] {
            let copy = fixture.copy();
            fs::remove_file(copy.file(file)).unwrap();
            assert_rebuilt(&copy, &format!("{file} is missing")).await;
            let length = fs::read(fixture.file(file)).unwrap().len();
            for keep in [0, 1, length / 2, length - 1] {
                let copy = fixture.copy();
                change(&copy.file(file), |bytes| bytes.truncate(keep));
                assert_rebuilt(&copy, &format!("{file} has {keep} bytes of {length}")).await;
            }
        }
        let copy = fixture.copy();
        fs::remove_dir_all(copy.file("process_managers")).unwrap();
        fs::remove_dir_all(copy.file("meta/index")).unwrap();
        fs::remove_file(copy.file(CHECKPOINT)).unwrap();
        assert_rebuilt(&copy, "all but the journal is missing").await;
    }
}

#[tokio::test]
async fn a_journal_that_ends_before_the_checkpoint_is_damage() {
    let fixture = Fixture::closed().await;
    let length = fs::read(fixture.file(JOURNAL)).unwrap().len();
    for keep in [0, 1, length / 2, length - 1] {
        let copy = fixture.copy();
        change(&copy.file(JOURNAL), |bytes| bytes.truncate(keep));
        assert_damaged(&copy, JOURNAL).await;
    }
    let copy = fixture.copy();
    fs::remove_file(copy.file(JOURNAL)).unwrap();
    assert_damaged(&copy, JOURNAL).await;
    assert!(!copy.file(JOURNAL).exists());
}

#[tokio::test]
async fn unregistered_process_managers_keep_their_place() {
    let fixture = Fixture::closed().await;
    for tag in [100, 102] {
        let store = AggregateStore::builder(fixture.store())
            .projection::<Tally>()
            .open()
            .await
            .unwrap();
        let client = Client::new(&store, |_| ());
        client.put("meanwhile", tag, 1).await.unwrap();
        drop(client);
        store.close().await.unwrap();
    }
    let store = open(&fixture.store()).await.unwrap();
    let letters = store.dead_letters::<Fanout>().await.unwrap().len();
    let report = store.run_process_managers().await.unwrap();
    assert_eq!((report.dispatched, report.dead_lettered), (8, 2));
    assert_eq!(
        store.dead_letters::<Fanout>().await.unwrap().len(),
        letters + 2
    );
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_store_that_was_dropped_is_opened_again_at_once() {
    let fixture = Fixture::closed().await;
    for tag in 50..60 {
        let store = open(&fixture.store()).await.unwrap();
        let client = Client::new(&store, |_| ());
        client.put("again", tag, 1).await.unwrap();
        drop((client, store));
    }
    let store = open(&fixture.store()).await.unwrap();
    let state = store
        .get::<Ledger>("again")
        .await
        .unwrap()
        .state()
        .await
        .unwrap();
    assert_eq!(state.tags, (50..60).collect::<Vec<_>>());
    store.close().await.unwrap();
}

/// It used to get a lock file and an empty journal, although the error says that nothing was changed.
#[tokio::test]
async fn a_store_that_lost_its_journal_is_refused_and_left_untouched() {
    let fixture = Fixture::closed().await;
    fs::remove_dir_all(fixture.file("meta/journal")).unwrap();
    let before = fixture.image();
    assert_damaged(&fixture, JOURNAL).await;
    assert_eq!(fixture.image().first_difference(&before), None);
    for file in ["meta/checkpoint.json", "meta/lock"] {
        fs::remove_file(fixture.file(file)).unwrap();
    }
    let before = fixture.image();
    let refused = open(&fixture.store()).await;
    assert!(
        matches!(&refused, Err(OpenError::NoJournal { path }) if *path == fixture.store()),
        "{refused:?}"
    );
    assert_eq!(fixture.image().first_difference(&before), None);
    fs::remove_dir_all(fixture.file("meta")).unwrap();
    assert!(matches!(
        open(&fixture.store()).await,
        Err(OpenError::NoJournal { .. })
    ));
}

#[tokio::test]
async fn a_directory_that_cannot_be_written_is_named() {
    let fixture = Fixture::closed().await;
    let before = fixture.image();
    let denied = (Failure::Errno(13), "Permission denied");
    // Where the lock is read-only, the store can be read: see `read_only`.
    let read_only = (Failure::EROFS, "Read-only file system");
    for (operation, (failure, reason)) in [
        (Operation::CreateDir, denied),
        (Operation::CreateDir, read_only),
        (Operation::Lock, denied),
    ] {
        let disk = FaultyDisk::new(Arc::new(SystemDisk));
        disk.inject(Fault::starting(0, failure).on(&[operation]));
        let refused = builder(&fixture.store(), Arc::new(disk), true).open().await;
        let message = refused.err().map(|error| error.to_string()).unwrap();
        assert!(
            message.contains(&fixture.store().display().to_string()),
            "{message}"
        );
        assert!(message.contains(reason), "{message}");
    }
    assert_eq!(fixture.image().first_difference(&before), None);
    let place = scratch();
    fs::write(place.path().join("file"), "").unwrap();
    let refused = open(&place.path().join("file/store")).await;
    let message = refused.err().map(|error| error.to_string()).unwrap();
    assert!(
        message.contains("file/store") && message.contains("Not a directory"),
        "{message}"
    );
}
