//! Without waiting for the disk, the end of the process loses nothing, and a power loss takes a tail: never a part of a command,
//! never one from before another that is kept, and the directory opens whatever is left.

use std::path::Path;
use std::sync::Arc;

use eventfold_es::disk::{CrashImage, DiskOp, Recording, RecordingDisk, SplitMix64, Survival};
use eventfold_es::prelude::*;
use eventfold_es::{Durability, RunMode};
use eventfold_es_tests::campaign::size;
use eventfold_es_tests::crash::domain::{Fanout, Ledger, LedgerCommand, Tally};
use eventfold_es_tests::crash::{builder, scratch};

const COMMANDS: u64 = 40;

/// So small that the journal is archived all the time.
const SMALL: u64 = 700;

async fn open(path: &Path, disk: &RecordingDisk, max_log_size: u64) -> AggregateStore {
    builder(path, Arc::new(disk.clone()), true)
        .durability(Durability::Flush)
        .max_log_size(max_log_size)
        .run_mode(RunMode::Background)
        .open()
        .await
        .unwrap()
}

async fn put(store: &AggregateStore, tag: u64) {
    let id = ["a", "b", "c"][tag as usize % 3];
    let command = LedgerCommand::Put { tag, parts: 2 };
    store
        .send(id, command, CommandContext::default())
        .await
        .unwrap();
}

/// Commands without waiting; a mark says how many were acknowledged.
async fn record(place: &Path, max_log_size: u64) -> Recording {
    let disk = RecordingDisk::new(place).unwrap();
    let store = open(&place.join("store"), &disk, max_log_size).await;
    for tag in 1..=COMMANDS {
        put(&store, tag).await;
        disk.mark(tag.to_string());
        if tag.is_multiple_of(4) {
            // Dead letters are in their file before it is read.
            store.dead_letters::<Fanout>().await.unwrap();
        }
    }
    store.run_process_managers().await.unwrap();
    store.projection::<Tally>().await.unwrap();
    store.close().await.unwrap();
    disk.check().unwrap();
    disk.recording()
}

/// The commands that are there, in the order of their tags; each with both of its events.
async fn commands(store: &AggregateStore) -> Vec<u64> {
    let mut found = Vec::new();
    for (aggregate_type, id) in store.list_streams(Some("ledger")).await.unwrap() {
        let events = store.read_events(&aggregate_type, &id).await.unwrap();
        let tags: Vec<_> = events
            .iter()
            .filter_map(|event| event.data["tag"].as_u64())
            .collect();
        assert_eq!(tags.len() % 2, 0, "half of a command");
        for pair in tags.chunks(2) {
            assert_eq!(pair[0], pair[1]);
            found.push(pair[0]);
        }
        let state = store.get::<Ledger>(&id).await.unwrap().state().await;
        state.unwrap();
    }
    found.sort_unstable();
    found
}

#[test]
fn a_power_loss_takes_a_tail_and_a_kill_nothing() {
    crash(0, size(150, 250));
}

#[test]
fn a_power_loss_takes_a_tail_and_a_kill_nothing_across_archives() {
    crash(SMALL, 100);
}

fn crash(max_log_size: u64, times: u64) {
    // A busy machine may sync everything in time. Then nothing was tested.
    let has_lost = |_| crash_and_count(max_log_size, times) > 0;
    assert!((0..5).any(has_lost));
}

/// Returns the number of commands that were acknowledged and are lost.
fn crash_and_count(max_log_size: u64, times: u64) -> u64 {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()
        .unwrap();
    let place = scratch();
    let recording = runtime.block_on(record(place.path(), max_log_size));
    let mut random = SplitMix64::new(7);
    let mut lost = 0;
    for _ in 0..times {
        let k = random.below(recording.len());
        let tears = recording.tears(k);
        let crashed = recording.until(k, tears[random.below(tears.len())]);
        let acknowledged = crashed.marks().len() as u64;
        let survival = match random.below(3) {
            0 => None,
            1 => Some(Survival::Nothing),
            _ => Some(Survival::Random(random.below(1 << 30) as u64)),
        };
        let image = match &survival {
            None => CrashImage::killed(&crashed),
            Some(survival) => CrashImage::power_loss(&crashed, survival),
        };
        let left = scratch();
        image.unwrap().materialise(left.path()).unwrap();
        let what = format!("after {k} operations, {survival:?}");
        let path = left.path().join("store");
        let found = runtime.block_on(async {
            let store = builder(&path, Arc::new(eventfold_es::disk::SystemDisk), true)
                .open()
                .await
                .unwrap_or_else(|error| panic!("{what}: {error}"));
            let found = commands(&store).await;
            put(&store, 1000).await;
            store.run_process_managers().await.unwrap();
            store.close().await.unwrap();
            let checked = eventfold_es_tests::crash::audit(&path);
            checked.unwrap_or_else(|error| panic!("{what}: {error}"));
            found
        });
        let count = found.len() as u64;
        assert_eq!(found, (1..=count).collect::<Vec<_>>(), "{what}");
        if survival.is_none() {
            assert!(count >= acknowledged, "{what}: {count} of {acknowledged}");
        }
        lost += acknowledged.saturating_sub(count);
    }
    lost
}

/// What was written while somebody waited is no tail that may be lost: a flipped bit in it was taken for one, when the commits
/// before it had been written without waiting, and commands that were acknowledged were dropped.
#[tokio::test]
async fn damage_behind_commits_that_nobody_waited_for_is_damage() {
    let place = scratch();
    let path = place.path().join("store");
    let mut lengths = Vec::new();
    for durability in [Durability::Flush, Durability::Sync] {
        let disk = Arc::new(eventfold_es::disk::SystemDisk);
        let open = builder(&path, disk, false).durability(durability).open();
        let store = open.await.unwrap();
        for tag in 1..=3 {
            put(&store, tag + 10 * lengths.len() as u64).await;
        }
        let journal = std::fs::read(path.join("meta/journal/app.jsonl")).unwrap();
        let end = journal.iter().position(|byte| *byte == 0);
        lengths.push(end.unwrap_or(journal.len()));
        if durability == Durability::Flush {
            store.close().await.unwrap();
        } else {
            // Killed.
            let image = CrashImage::read(place.path()).unwrap();
            store.close().await.unwrap();
            for at in (lengths[0]..lengths[1]).step_by(size(11, 3)) {
                let copy = scratch();
                image.materialise(copy.path()).unwrap();
                let journal = copy.path().join("store/meta/journal/app.jsonl");
                let mut bytes = std::fs::read(&journal).unwrap();
                bytes[at] ^= 1;
                std::fs::write(&journal, bytes).unwrap();
                let opened = AggregateStore::open(copy.path().join("store")).await;
                let error = opened.err().map(|error| error.to_string());
                let error = error.unwrap_or_else(|| panic!("byte {at} is taken for a tail"));
                assert!(error.contains("app.jsonl is damaged"), "byte {at}: {error}");
            }
        }
    }
}

/// Rule 14: nothing that is derived is written before the part of the journal that it is derived from is synced.
#[test]
fn rule_14_the_journal_is_synced_before_anything_derived_is_written() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()
        .unwrap();
    let place = scratch();
    let recording = runtime.block_on(record(place.path(), 0));
    let (mut synced, mut pending) = (String::new(), String::new());
    let mut checked = 0_u64;
    for op in recording.ops() {
        let is_journal = op
            .path()
            .is_some_and(|path| path.ends_with("meta/journal/app.jsonl"));
        match op {
            DiskOp::Write { bytes, .. } if is_journal => {
                pending.push_str(&String::from_utf8_lossy(bytes));
            }
            DiskOp::SyncData { .. } if is_journal => synced.push_str(&std::mem::take(&mut pending)),
            DiskOp::Write { path, bytes, .. } if path.ends_with("dead_letters.jsonl") => {
                for line in String::from_utf8_lossy(bytes).lines() {
                    assert!(synced.contains(line), "{} is ahead: {line}", path.display());
                    checked += 1;
                }
            }
            _ => {}
        }
    }
    assert!(checked >= 10, "{checked}");
}
