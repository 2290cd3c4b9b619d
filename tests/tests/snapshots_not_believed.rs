//! A snapshot that is damaged, of another version or of another history is never believed: the state is that of the events.
//!
//! The tests write a sum into snapshots that no events give. Where it comes out, the snapshot was used.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::counter::{Counter, CounterCommand, CounterError, CounterEvent};
use common::snapshot_file::{content, forge, place, version, wait_for_version};
use eventfold_es::StoreError;
use eventfold_es::prelude::*;
use eventfold_es_tests::TestResult;
use eventfold_es_tests::crash::scratch;
use serde_json::Value;
use tempfile::TempDir;

const FORGED: i64 = 1000;

/// A store with a counter at 20 whose snapshot says something else.
struct Forged {
    base: TempDir,
    snapshot: PathBuf,
}

impl Forged {
    async fn new() -> Result<Self, Box<dyn std::error::Error>> {
        let base = scratch();
        let snapshot = place(base.path(), "counter", "c");
        count(base.path(), "c", 20).await?;
        assert_eq!(version(&snapshot), 20);
        forge(&snapshot, |content| content["state"]["sum"] = FORGED.into());
        Ok(Self { base, snapshot })
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
    while version(&place(base, "counter", id)) != done.version {
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

#[tokio::test]
async fn one_flipped_bit() -> TestResult {
    let forged = Forged::new().await?;
    let whole = fs::read(&forged.snapshot)?;
    for index in 0..whole.len() {
        for bit in [index % 8, 5] {
            let mut bytes = whole.clone();
            bytes[index] ^= 1 << bit;
            fs::write(&forged.snapshot, &bytes)?;
            // The case of a hexadecimal digit says nothing.
            if content_is(&bytes, &whole) {
                continue;
            }
            assert_eq!(forged.sum().await?, 20, "bit {bit} of byte {index}");
        }
    }
    Ok(())
}

fn content_is(bytes: &[u8], whole: &[u8]) -> bool {
    bytes.eq_ignore_ascii_case(whole) && {
        let read = |bytes| serde_json::from_slice::<Value>(bytes).ok();
        read(bytes).is_some_and(|read_now| Some(read_now) == read(whole))
    }
}

#[tokio::test]
async fn one_that_is_cut_or_empty() -> TestResult {
    let forged = Forged::new().await?;
    let whole = fs::read(&forged.snapshot)?;
    // The newline at the end is for people.
    for length in 0..whole.len() - 1 {
        fs::write(&forged.snapshot, &whole[..length])?;
        assert_eq!(forged.sum().await?, 20, "{length} bytes");
    }
    for zeros in [0..whole.len(), 16..whole.len(), 0..16] {
        let mut bytes = whole.clone();
        bytes[zeros].fill(0);
        fs::write(&forged.snapshot, &bytes)?;
        assert_eq!(forged.sum().await?, 20);
    }
    fs::remove_file(&forged.snapshot)?;
    fs::create_dir(&forged.snapshot)?;
    assert_eq!(forged.sum().await?, 20, "a directory of this name");
    Ok(())
}

#[tokio::test]
async fn that_of_another_stream() -> TestResult {
    let forged = Forged::new().await?;
    count(forged.base.path(), "d", 20).await?;
    fs::copy(&forged.snapshot, place(forged.base.path(), "counter", "d"))?;
    assert_eq!(state(forged.base.path(), "d").await?, 20);
    assert_eq!(forged.sum().await?, FORGED);
    Ok(())
}

/// Of a copy of the store that went on differently: as many events, but others.
#[tokio::test]
async fn that_of_another_history() -> TestResult {
    let forged = Forged::new().await?;
    let other = scratch();
    count(other.path(), "c", 20).await?;
    // At the end of both, and before events that came later.
    fs::copy(&forged.snapshot, place(other.path(), "counter", "c"))?;
    assert_eq!(state(other.path(), "c").await?, 20);
    let store = AggregateStore::open(other.path()).await?;
    let counter = store.get::<Counter>("c").await?;
    let add = counter.execute(CounterCommand::AddOnes(2), CommandContext::default());
    add.await?;
    store.close().await?;
    assert_eq!(state(other.path(), "c").await?, 22);
    Ok(())
}

/// A stream's file of yesterday beside the snapshot of today: the stream is damaged, and that is what loading says.
#[tokio::test]
async fn that_which_hides_that_its_stream_lost_events() -> TestResult {
    let base = scratch();
    let stream = base.path().join("streams/counter/c/app.jsonl");
    count(base.path(), "c", 20).await?;
    let yesterday = fs::read(&stream)?;
    count(base.path(), "c", 20).await?;
    let today = fs::read(&stream)?;
    assert_eq!(version(&place(base.path(), "counter", "c")), 40);
    let longer = [&today[..], &today[..yesterday.len()]].concat();
    for (what, bytes) in [
        ("older", yesterday),
        ("empty", Vec::new()),
        ("longer", longer),
    ] {
        fs::write(&stream, bytes)?;
        let store = AggregateStore::open(base.path()).await?;
        let counter = store.get::<Counter>("c").await?;
        let error = counter.state().await.unwrap_err().source;
        assert!(matches!(error, StoreError::Damaged(_)), "{what}: {error}");
        let add = counter.execute(CounterCommand::Add(1), CommandContext::default());
        add.await.unwrap_err();
        store.close().await?;
    }
    fs::write(&stream, today)?;
    assert_eq!(state(base.path(), "c").await?, 40);
    Ok(())
}

#[tokio::test]
async fn one_that_says_what_cannot_be() -> TestResult {
    let forged = Forged::new().await?;
    let whole = fs::read(&forged.snapshot)?;
    type Change = fn(&mut Value);
    let cases: [(&str, Change); 10] = [
        ("a sum of text", |content| {
            content["state"]["sum"] = "much".into()
        }),
        ("no state", |content| content["state"] = Value::Null),
        ("another type", |content| content["state"] = "text".into()),
        ("less", |content| content["extent"]["lines"] = 19.into()),
        ("more", |content| content["extent"]["lines"] = 21.into()),
        ("too much", |content| {
            content["extent"]["lines"] = u64::MAX.into()
        }),
        ("no bytes", |content| content["extent"]["bytes"] = 0.into()),
        ("too many bytes", |content| {
            content["extent"]["bytes"] = u64::MAX.into()
        }),
        ("another hash", |content| {
            content["extent"]["hash"] = "00000000000000ff".into()
        }),
        ("another version", |content| {
            content["snapshot_version"] = 1.into()
        }),
    ];
    for (what, change) in cases {
        fs::write(&forged.snapshot, &whole)?;
        forge(&forged.snapshot, change);
        assert_eq!(forged.sum().await?, 20, "{what}");
    }
    fs::write(&forged.snapshot, &whole)?;
    assert_eq!(forged.sum().await?, FORGED);
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
        let file = place(base, "counter", "c");
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
    forge(&forged.snapshot, |content| {
        content["state"]["sum"] = FORGED.into()
    });
    assert_eq!(sum_of_version::<2>(base, 100).await?, FORGED);
    // Lowered again, when the program of before is started.
    assert_eq!(sum_of_version::<1>(base, 100).await?, 20);
    assert_eq!(sum_of_version::<0>(base, 100).await?, 20);
    Ok(())
}
