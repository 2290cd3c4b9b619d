//! Streams of many commits: these are read some at a time, and folded while they are read.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};

use eventfold_es::Durability;
use eventfold_es::disk::{FaultyDisk, Operation, SystemDisk};
use eventfold_es::prelude::*;
use eventfold_es_tests::TestResult;
use eventfold_es_tests::crash::scratch;
use eventfold_es_tests::reads::CountingDisk;

use super::add;
use crate::common::counter::Counter;
use crate::common::saved::{place, wait_for_version};

/// Ten streams that grow by turns. Each frame of the archive has events of several streams.
#[tokio::test]
async fn commits_that_are_close_to_each_other_are_read_together() -> TestResult {
    const STREAMS: usize = 10;
    const EVENTS: i64 = 300;
    let base = scratch();
    let builder = || {
        let builder = AggregateStore::builder(base.path()).durability(Durability::Flush);
        builder.max_log_size(700_000).snapshot_every(0)
    };
    let store = builder().open().await?;
    for _ in 0..EVENTS {
        for stream in 0..STREAMS {
            add(&store, &format!("c-{stream}"), 1).await?;
        }
    }
    store.close().await?;
    assert!(
        base.path()
            .join("meta/journal/000000000000000.jsonl.zst")
            .exists()
    );
    let disk = FaultyDisk::new(Arc::new(SystemDisk));
    let store = builder().disk(Arc::new(disk.clone())).open().await?;
    let calls = || disk.calls_of(&[Operation::Open, Operation::Read]);
    let before = calls();
    let counter = store.get::<Counter>("c-3").await?;
    assert_eq!(counter.state().await?.sum, EVENTS);
    let calls = calls() - before;
    // 64 commits are read at a time; the archive has more than 150 frames.
    assert!(calls < 150, "{calls}");
    store.close().await?;
    Ok(())
}

static DISK: LazyLock<CountingDisk> = LazyLock::new(CountingDisk::default);
/// The bytes of the journal that were read between the first and the last event of the folds.
static READ_MEANWHILE: AtomicU64 = AtomicU64::new(0);

#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum FilmCommand {
    Expose(String),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
pub enum FilmEvent {
    Exposed(String),
}

/// Counts what is read while it is folded.
#[aggregate(error = std::convert::Infallible)]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Film {
    frames: u64,
}

impl Decider for Film {
    fn decide(&self, command: FilmCommand) -> Result<Vec<FilmEvent>, std::convert::Infallible> {
        let FilmCommand::Expose(picture) = command;
        Ok(vec![FilmEvent::Exposed(picture)])
    }

    fn evolve(&mut self, _: &FilmEvent) {
        let (read, _) = DISK.take();
        if self.frames > 0 {
            READ_MEANWHILE.fetch_add(read, Ordering::Relaxed);
        }
        self.frames += 1;
    }
}

/// What is in memory of a stream at a time does not depend on its length.
#[tokio::test]
async fn long_streams_are_folded_while_they_are_read() -> TestResult {
    const EVENTS: u64 = 40;
    const EVENT_BYTES: u64 = 200_000;
    let base = scratch();
    let builder = |snapshot_every| {
        let builder = AggregateStore::builder(base.path()).snapshot_every(snapshot_every);
        builder.disk(Arc::new(DISK.clone()))
    };
    let store = builder(EVENTS).open().await?;
    for _ in 0..EVENTS {
        let picture = "p".repeat(EVENT_BYTES as usize);
        store.send("f", FilmCommand::Expose(picture), ()).await?;
    }
    let film = store.get::<Film>("f").await?;
    assert_eq!(film.state().await?.frames, EVENTS);
    // States are compared before the first snapshot is saved.
    wait_for_version(&place(&store, "film", "f"), EVENTS).await;
    store.close().await?;
    let enough = EVENTS * EVENT_BYTES / 2;
    let read = || READ_MEANWHILE.swap(0, Ordering::Relaxed);
    let found = read();
    assert!(found > enough, "{found} while states were compared");

    let store = builder(0).open().await?;
    let film = store.get::<Film>("f").await?;
    assert_eq!(film.state().await?.frames, EVENTS);
    let found = read();
    assert!(found > enough, "{found} while it was loaded");
    let report = store.verify().await?;
    assert!(report.is_clean() && report.snapshots == 1, "{report:?}");
    let found = read();
    assert!(found > enough, "{found} while the snapshot was verified");
    store.close().await?;
    Ok(())
}
