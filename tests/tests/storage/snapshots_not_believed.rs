//! A snapshot that is damaged, of another version or of another history is never believed: the state is that of the events.
//!
//! The tests write a sum into snapshots that no events give. Where it comes out, the snapshot was used.

use std::path::Path;

use crate::common::counter::{Counter, CounterCommand, CounterError, CounterEvent};
use crate::common::saved::{content, forge, place, version, wait_for_version};
use eventfold_es::prelude::*;
use eventfold_es_tests::TestResult;
use eventfold_es_tests::crash::scratch;
use serde_json::Value;
use tempfile::TempDir;

const FORGED: i64 = 1000;

/// A store with a counter at 20 whose snapshot says something else.
struct Forged {
    base: TempDir,
}

impl Forged {
    async fn new() -> Result<Self, Box<dyn std::error::Error>> {
        let base = scratch();
        count(base.path(), "c", 20).await?;
        let forged = Self { base };
        forged
            .forge(|content| content["state"]["sum"] = FORGED.into())
            .await?;
        Ok(forged)
    }

    async fn forge(&self, change: impl FnOnce(&mut Value)) -> TestResult {
        let store = AggregateStore::open(self.base.path()).await?;
        let place = place(&store, "counter", "c");
        assert_eq!(version(&place), 20);
        forge(&place, change);
        store.close().await?;
        Ok(())
    }

    async fn sum(&self) -> Result<i64, Box<dyn std::error::Error>> {
        state(self.base.path(), "c").await
    }
}

/// Adds one so many times, and waits until that is in a snapshot.
async fn count(base: &Path, id: &str, times: u32) -> TestResult {
    let store = AggregateStore::builder(base)
        .snapshot_every(1)
        .open()
        .await?;
    let counter = store.get::<Counter>(id).await?;
    let done = counter.execute(CounterCommand::AddOnes(times), CommandContext::default());
    let done = done.await?;
    let begun = std::time::Instant::now();
    while version(&place(&store, "counter", id)) != done.version {
        assert!(begun.elapsed().as_secs() < 20);
        counter.state().await?;
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    store.close().await?;
    Ok(())
}

/// The sum after opening the store; no snapshot is taken.
async fn state(base: &Path, id: &str) -> Result<i64, Box<dyn std::error::Error>> {
    let store = AggregateStore::open(base).await?;
    let counter = store.get::<Counter>(id).await?;
    let sum = counter.state().await?.sum;
    store.close().await?;
    Ok(sum)
}

#[tokio::test]
async fn a_whole_one_is_used() -> TestResult {
    let forged = Forged::new().await?;
    assert_eq!(forged.sum().await?, FORGED);
    // With the events that came later.
    let store = AggregateStore::open(forged.base.path()).await?;
    let counter = store.get::<Counter>("c").await?;
    let add = counter.execute(CounterCommand::AddOnes(2), CommandContext::default());
    assert_eq!(add.await?.version, 22);
    store.close().await?;
    assert_eq!(forged.sum().await?, FORGED + 2);
    Ok(())
}

/// The runs of snapshots, one after the other.
fn runs(base: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(base.join("meta/snapshots")).unwrap();
    let mut runs: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    runs.sort();
    runs
}

#[tokio::test]
async fn one_in_a_run_that_is_changed_cut_or_gone() -> TestResult {
    let forged = Forged::new().await?;
    let base = forged.base.path();
    let runs = runs(base);
    let newest = runs.last().ok_or("no run")?;
    let whole = std::fs::read(newest)?;
    let mut files = Vec::new();
    for path in &runs {
        files.push((path, std::fs::read(path)?));
    }
    let restore = || {
        let mut files = files.iter();
        files.try_for_each(|(path, bytes)| std::fs::write(path, bytes))
    };
    let checkpoint = base.join("meta/checkpoint.json");
    let saved = std::fs::read(&checkpoint)?;
    let mut changed: Vec<_> = (0..whole.len())
        .step_by(11)
        .map(|index| {
            let mut bytes = whole.clone();
            bytes[index] ^= 1 << (index % 8);
            bytes
        })
        .collect();
    changed.extend(
        (0..whole.len())
            .step_by(31)
            .map(|length| whole[..length].to_vec()),
    );
    for zeros in [0..whole.len(), 16..whole.len(), 0..16] {
        let mut bytes = whole.clone();
        bytes[zeros].fill(0);
        changed.push(bytes);
    }
    let mut unused = 0;
    for bytes in changed {
        restore()?;
        std::fs::write(&checkpoint, &saved)?;
        std::fs::write(newest, &bytes)?;
        let sum = forged.sum().await?;
        unused += usize::from(sum == 20);
        // Parts of the filter say nothing about this key.
        assert!(sum == 20 || sum == FORGED, "{sum}");
    }
    assert!(unused > 30, "{unused}");
    restore()?;
    std::fs::write(&checkpoint, &saved)?;
    std::fs::remove_file(newest)?;
    assert_eq!(forged.sum().await?, 20, "it is gone");
    Ok(())
}

/// Of a copy of the store that went on differently: as many events, but others.
#[tokio::test]
async fn that_of_another_history() -> TestResult {
    let forged = Forged::new().await?;
    forged
        .forge(|content| content["commit_hash"] = 255.into())
        .await?;
    assert_eq!(forged.sum().await?, 20);
    Ok(())
}

#[tokio::test]
async fn one_that_says_what_cannot_be() -> TestResult {
    type Change = fn(&mut Value);
    let cases: [(&str, Change); 7] = [
        ("a sum of text", |content| {
            content["state"]["sum"] = "much".into()
        }),
        ("no state", |content| content["state"] = Value::Null),
        ("another type", |content| content["state"] = "text".into()),
        ("less", |content| content["version"] = 19.into()),
        ("more", |content| content["version"] = 21.into()),
        ("too much", |content| content["version"] = u64::MAX.into()),
        ("another version", |content| {
            content["snapshot_version"] = 1.into()
        }),
    ];
    for (what, change) in cases {
        let forged = Forged::new().await?;
        forged.forge(change).await?;
        assert_eq!(forged.sum().await?, 20, "{what}");
    }
    Ok(())
}

/// The counter under another snapshot version.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(transparent)]
struct Versioned<const VERSION: u32>(Counter);

impl<const VERSION: u32> Aggregate for Versioned<VERSION> {
    const AGGREGATE_TYPE: &'static str = "counter";
    const SNAPSHOT_VERSION: u32 = VERSION;
    type Command = CounterCommand;
    type DomainEvent = CounterEvent;
    type Error = CounterError;

    fn handle(&self, command: CounterCommand) -> Result<Vec<CounterEvent>, CounterError> {
        self.0.decide(command)
    }

    fn apply(mut self, event: &CounterEvent) -> Self {
        self.0.evolve(event);
        self
    }
}

async fn sum_of_version<const VERSION: u32>(
    base: &Path,
    every: u64,
) -> Result<i64, Box<dyn std::error::Error>> {
    let builder = AggregateStore::builder(base).snapshot_every(every);
    let store = builder.open().await?;
    let counter = store.get::<Versioned<VERSION>>("c").await?;
    let sum = counter.state().await?.0.sum;
    if every == 1 {
        let file = place(&store, "counter", "c");
        while content(&file).is_none_or(|content| content["snapshot_version"] != VERSION) {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        wait_for_version(&file, 20).await;
    }
    store.close().await?;
    Ok(sum)
}

#[tokio::test]
async fn one_of_another_version_up_or_down() -> TestResult {
    let forged = Forged::new().await?;
    let base = forged.base.path();
    assert_eq!(sum_of_version::<0>(base, 100).await?, FORGED);
    // Raised: not used, and replaced.
    assert_eq!(sum_of_version::<2>(base, 100).await?, 20);
    assert_eq!(sum_of_version::<2>(base, 1).await?, 20);
    forged
        .forge(|content| content["state"]["sum"] = FORGED.into())
        .await?;
    assert_eq!(sum_of_version::<2>(base, 100).await?, FORGED);
    // Lowered again, when the program of before is started.
    assert_eq!(sum_of_version::<1>(base, 100).await?, 20);
    assert_eq!(sum_of_version::<0>(base, 100).await?, 20);
    Ok(())
}
