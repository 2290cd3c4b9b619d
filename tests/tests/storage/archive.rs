//! The journal moves its older lines to archives, and nobody who reads it notices.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use eventfold_es::disk::{DiskOp, RecordingDisk};
use eventfold_es::prelude::*;

use crate::common::counter::{Counter, CounterCommand, CounterEvent};

const MAX_LOG_SIZE: u64 = 4_000;

/// Everything in the order in which it happened.
#[projection(subscribes = [Counter])]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Order {
    seen: Vec<(String, i64)>,
}

impl Project<Counter> for Order {
    fn project(&mut self, event: &CounterEvent, cx: &EventContext<'_>) {
        if let CounterEvent::Added(by) = event {
            self.seen.push((cx.stream_id().to_owned(), *by));
        }
    }
}

async fn open(directory: &Path) -> AggregateStore {
    AggregateStore::builder(directory)
        .projection::<Order>()
        .max_log_size(MAX_LOG_SIZE)
        .open()
        .await
        .unwrap()
}

async fn add(store: &AggregateStore, id: &str, by: i64) {
    store
        .send(id, CounterCommand::Add(by), CommandContext::default())
        .await
        .unwrap();
}

/// Three streams that take turns; the values in order.
async fn fill(store: &AggregateStore, values: std::ops::Range<i64>) {
    for value in values {
        add(store, ["a", "b", "c"][value as usize % 3], value).await;
    }
}

fn values(events: &[eventfold::Event]) -> Vec<i64> {
    events
        .iter()
        .map(|event| event.data.as_i64().unwrap())
        .collect()
}

fn expected(stream: i64, end: i64) -> Vec<i64> {
    (0..end).filter(|value| value % 3 == stream).collect()
}

/// The segments of the journal.
fn archives(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory.join("meta/journal")).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut segments: Vec<_> = paths
        .filter(|path| path.extension().is_some_and(|extension| extension == "zst"))
        .collect();
    segments.sort();
    segments
}

/// The journal as other programs read it: `zstdcat *.zst`, and the active file.
fn read_journal(directory: &Path) -> Vec<eventfold::Event> {
    let mut text = Vec::new();
    for segment in archives(directory) {
        zstd::stream::copy_decode(fs::File::open(segment).unwrap(), &mut text).unwrap();
    }
    text.extend(fs::read(directory.join("meta/journal/app.jsonl")).unwrap());
    let text = String::from_utf8(text).unwrap();
    let lines = text.trim_end_matches('\0').lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

async fn assert_whole(store: &AggregateStore, end: i64) {
    for (index, id) in (0..).zip(["a", "b", "c"]) {
        let events = store.read_events("counter", id).await.unwrap();
        assert_eq!(values(&events), expected(index, end), "{id}");
        let state = store
            .get::<Counter>(id)
            .await
            .unwrap()
            .state()
            .await
            .unwrap();
        assert_eq!(state.sum, expected(index, end).iter().sum::<i64>());
    }
    let in_order: Vec<_> = (0..end)
        .map(|value| (["a", "b", "c"][value as usize % 3].to_owned(), value))
        .collect();
    assert_eq!(store.projection::<Order>().await.unwrap().seen, in_order);
    store.rebuild_projection::<Order>().await.unwrap();
    assert_eq!(store.projection::<Order>().await.unwrap().seen, in_order);
}

#[tokio::test]
async fn every_reader_sees_the_whole_history_across_the_archives() {
    let directory = tempfile::tempdir().unwrap();
    let mut end = 0;
    for _ in 0..4 {
        let store = open(directory.path()).await;
        fill(&store, end..end + 90).await;
        end += 90;
        store.close().await.unwrap();
        let store = open(directory.path()).await;
        assert_whole(&store, end).await;
        store.close().await.unwrap();
    }
    assert!(archives(directory.path()).len() > 4);
    let active = fs::metadata(directory.path().join("meta/journal/app.jsonl")).unwrap();
    assert!(active.len() < 3 * MAX_LOG_SIZE, "{}", active.len());
    let commits = read_journal(directory.path());
    assert_eq!(commits.len() as i64, end);
    for (number, commit) in (1..).zip(commits) {
        assert_eq!(commit.data["commit"], number);
    }
}

#[tokio::test]
async fn everything_is_derived_again_from_an_archived_journal() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).await;
    fill(&store, 0..150).await;
    store.close().await.unwrap();
    assert!(archives(directory.path()).len() > 2);
    fs::remove_file(directory.path().join("meta/checkpoint.json")).unwrap();
    let store = open(directory.path()).await;
    assert_eq!(store.recovery().redone_commits, 150);
    assert_whole(&store, 150).await;
    fill(&store, 150..240).await;
    store.close().await.unwrap();
    let store = open(directory.path()).await;
    assert_whole(&store, 240).await;
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_go_on_while_files_are_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).await;
    add(&store, "a", 0).await;
    let done = Arc::new(AtomicBool::new(false));
    let readers = [(); 2].map(|()| {
        let (store, done) = (store.clone(), Arc::clone(&done));
        tokio::spawn(async move {
            let mut reads = 0;
            while !done.load(Ordering::Relaxed) {
                let events = store.read_events("counter", "a").await.unwrap();
                let count = events.len() as i64;
                assert_eq!(values(&events), (0..count).collect::<Vec<_>>());
                store.rebuild_projection::<Order>().await.unwrap();
                assert!(store.projection::<Order>().await.unwrap().seen.len() as i64 >= count);
                reads += 1;
            }
            reads
        })
    });
    for value in 1..400 {
        add(&store, "a", value).await;
    }
    done.store(true, Ordering::Relaxed);
    for reader in readers {
        assert!(reader.await.unwrap() > 0);
    }
    assert!(!archives(directory.path()).is_empty());
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_damaged_archive_is_reported_and_never_believed() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).await;
    fill(&store, 0..150).await;
    store.close().await.unwrap();
    for archive in archives(directory.path()) {
        let whole = fs::read(&archive).unwrap();
        for index in (0..whole.len()).step_by(53) {
            let mut bytes = whole.clone();
            bytes[index] ^= 1 << (index % 8);
            fs::write(&archive, bytes).unwrap();
            let store = open(directory.path()).await;
            let read = match index % 2 {
                0 => store.rebuild_projection::<Order>().await.map(drop),
                _ => store.read_events("counter", "a").await.map(drop),
            };
            match read {
                // A bit that says nothing, such as one of the frame's header.
                Ok(()) => {}
                Err(error) => {
                    let name = archive.display().to_string();
                    assert!(error.to_string().contains(&name), "{error}");
                }
            }
            drop(store);
        }
        fs::write(&archive, &whole).unwrap();
    }
    let store = open(directory.path()).await;
    assert_whole(&store, 150).await;
    store.close().await.unwrap();
}

#[tokio::test]
async fn nothing_is_archived_when_the_size_is_0() {
    let directory = tempfile::tempdir().unwrap();
    let store = AggregateStore::builder(directory.path())
        .max_log_size(0)
        .open()
        .await
        .unwrap();
    fill(&store, 0..120).await;
    store.close().await.unwrap();
    assert!(archives(directory.path()).is_empty());
}

/// The operations on the files of a store whose journal is archived again and again.
async fn archiving() -> Vec<DiskOp> {
    let place = tempfile::tempdir().unwrap();
    let disk = RecordingDisk::new(place.path()).unwrap();
    let store = AggregateStore::builder(place.path().join("store"))
        .disk(Arc::new(disk.clone()))
        .max_log_size(MAX_LOG_SIZE)
        .open()
        .await
        .unwrap();
    fill(&store, 0..90).await;
    store.close().await.unwrap();
    disk.ops()
}

fn is_sync_of_journal(op: &DiskOp) -> bool {
    matches!(op, DiskOp::SyncDir { path } if path.ends_with("meta/journal"))
}

fn is_swap(op: &DiskOp) -> bool {
    matches!(op, DiskOp::Rename { to, .. } if to.ends_with("journal/app.jsonl"))
}

/// Rule 12: a commit that goes to the new file is not to be lost with the name of that file.
#[tokio::test]
async fn rule_12_the_new_name_is_durable_before_more_is_written() {
    let ops = archiving().await;
    let is_write = |op: &DiskOp| match op {
        DiskOp::Write { path, .. } | DiskOp::SetLen { path, .. } => {
            path.ends_with("journal/app.jsonl") || path.ends_with("journal/app.jsonl.new")
        }
        _ => false,
    };
    let swaps: Vec<_> = ops
        .iter()
        .enumerate()
        .filter(|(_, op)| is_swap(op))
        .collect();
    assert!(swaps.len() > 2);
    for (at, _) in swaps {
        let mut behind = ops.iter().skip(at + 1);
        let next = behind.find(|op| is_write(op) || is_sync_of_journal(op));
        assert!(next.is_none_or(is_sync_of_journal), "{next:?}");
    }
}

/// Rule 12: what the new file does not have is in a segment then, whose content and name are durable.
#[tokio::test]
async fn rule_12_a_segment_is_durable_before_the_active_file_is_replaced() {
    let ops = archiving().await;
    let mut segments = 0;
    for (at, op) in ops.iter().enumerate() {
        let DiskOp::Rename { from, to } = op else {
            continue;
        };
        if !to.starts_with("store/meta")
            || to.extension().is_none_or(|extension| extension != "zst")
        {
            continue;
        }
        segments += 1;
        let before = ops.iter().take(at).rev();
        let last = before
            .filter_map(|op| op.path().filter(|path| path == from).map(|_| op))
            .next();
        assert!(
            matches!(last, Some(DiskOp::SyncData { .. })),
            "{to:?}: {last:?}"
        );
        let mut behind = ops.iter().skip(at + 1);
        let next = behind.find(|op| is_swap(op) || is_sync_of_journal(op));
        assert!(next.is_some_and(is_sync_of_journal), "{to:?}: {next:?}");
    }
    assert!(segments > 2);
}

/// Rule 12: a checkpoint lists no run whose content and name are not durable.
#[tokio::test]
async fn rule_12_a_run_is_durable_before_a_checkpoint_lists_it() {
    let ops = archiving().await;
    let is_checkpoint = |op: &DiskOp| matches!(op, DiskOp::Rename { to, .. } if to.ends_with("meta/checkpoint.json"));
    let is_sync_of_index =
        |op: &DiskOp| matches!(op, DiskOp::SyncDir { path } if path.ends_with("meta/index"));
    let mut runs = 0;
    for (end, _) in ops.iter().enumerate().filter(|(_, op)| is_checkpoint(op)) {
        let before = &ops[..end];
        let saved = before.iter().rev().find_map(|op| match op {
            DiskOp::Write { path, bytes, .. } => {
                let is_saved = path.to_string_lossy().contains("meta/checkpoint.json");
                is_saved.then(|| serde_json::from_slice::<serde_json::Value>(bytes).unwrap())
            }
            _ => None,
        });
        for run in saved.unwrap()["content"]["runs"].as_array().unwrap() {
            runs += 1;
            let name = format!("meta/index/{:06}.run", run["number"].as_u64().unwrap());
            let is_of_run = |op: &&DiskOp| op.path().is_some_and(|path| path.ends_with(&name));
            let last = before.iter().rfind(is_of_run).unwrap();
            assert!(matches!(last, DiskOp::SyncData { .. }), "{name}: {last:?}");
            let created = before.iter().position(|op| is_of_run(&op)).unwrap();
            let behind = &before[created..];
            assert!(behind.iter().any(is_sync_of_index), "{name}");
        }
    }
    assert!(runs > 2);
}

/// Rule 12: a file takes the place of `app.jsonl`, which is never cut: whoever reads the old one reads it to its end.
#[tokio::test]
async fn rule_12_an_open_reader_keeps_the_file_that_it_reads() {
    use std::io::Read as _;

    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).await;
    add(&store, "a", 0).await;
    store.close().await.unwrap();
    let active = directory.path().join("meta/journal/app.jsonl");
    let mut reader = fs::File::open(&active).unwrap();
    let store = open(directory.path()).await;
    for value in 1..120 {
        add(&store, "a", value).await;
    }
    store.close().await.unwrap();
    let mut kept = String::new();
    reader.read_to_string(&mut kept).unwrap();
    let kept = kept.trim_end_matches('\0');
    let active = fs::read_to_string(active).unwrap();
    assert!(!active.starts_with(kept.lines().next().unwrap()));
    let whole = read_journal(directory.path());
    // The file that was replaced ends where it was replaced, with whole lines from the first one on.
    for (line, event) in kept.lines().zip(&whole) {
        let read: eventfold::Event = serde_json::from_str(line).unwrap();
        assert_eq!(read, *event);
    }
    assert_eq!(whole.len(), 120);
}
