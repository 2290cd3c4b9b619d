//! Projections: what they see and in which order, and what becomes of checkpoints that cannot be used.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Waker};

use crate::common::counter::{Counter, CounterCommand, CounterEvent};
use crate::common::shop::{Order, OrderEvent, place};
use eventfold_es::AggregateStoreBuilder;
use eventfold_es::disk::SplitMix64;
use eventfold_es::prelude::*;
use eventfold_es_tests::TestResult;

/// Everything it was shown, and a digest that depends on the order.
#[projection(subscribes = [Counter])]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Ledger {
    digest: u64,
    shown: Vec<(u64, String, u64)>,
}

impl Project<Counter> for Ledger {
    fn project(&mut self, event: &CounterEvent, cx: &EventContext<'_>) {
        if let CounterEvent::Added(by) = event {
            self.digest = (self.digest ^ *by as u64).wrapping_mul(0x0100_0000_01b3);
        }
        let entry = (cx.position(), cx.stream_id().to_owned(), cx.version());
        self.shown.push(entry);
    }
}

/// The sum of everything; small, whatever the number of events.
#[projection(subscribes = [Counter])]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Total {
    sum: i64,
}

impl Project<Counter> for Total {
    fn project(&mut self, event: &CounterEvent, _: &EventContext<'_>) {
        if let CounterEvent::Added(by) = event {
            self.sum += by;
        }
    }
}

/// The last thread on which a [`Heavy`] was cloned.
static CLONED_ON: std::sync::Mutex<Option<std::thread::ThreadId>> = std::sync::Mutex::new(None);

/// Tells where it is cloned.
#[projection(subscribes = [Counter])]
#[derive(Debug, Default, Serialize, Deserialize)]
struct Heavy {
    seen: u64,
}

impl Clone for Heavy {
    fn clone(&self) -> Self {
        *CLONED_ON.lock().unwrap() = Some(std::thread::current().id());
        Self { seen: self.seen }
    }
}

impl Project<Counter> for Heavy {
    fn project(&mut self, _: &CounterEvent, _: &EventContext<'_>) {
        self.seen += 1;
    }
}

/// Where somebody holds the state, the next one is a clone, which may take long: it is made where that holds up nobody.
#[tokio::test]
async fn a_state_that_is_held_is_not_cloned_on_a_thread_of_the_runtime() -> TestResult {
    let base = tempfile::tempdir()?;
    let builder = AggregateStore::builder(base.path());
    let store = builder.projection::<Heavy>().open().await?;
    let add = async || {
        let added = store.send("c-1", CounterCommand::Add(1), CommandContext::default());
        added.await.map(drop)
    };
    add().await?;
    let held = store.projection::<Heavy>().await?;
    add().await?;
    let next = store.projection::<Heavy>().await?;
    assert_eq!((held.seen, next.seen), (1, 2));
    let cloned_on = CLONED_ON.lock().unwrap().expect("it was cloned");
    assert_ne!(cloned_on, std::thread::current().id());
    Ok(())
}

/// [`Total`] in a later version of the program, which counts orders as well.
#[projection(subscribes = [Counter, Order], name = "total")]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct TotalWithOrders {
    sum: i64,
    #[serde(default)]
    ordered: u32,
}

impl Project<Counter> for TotalWithOrders {
    fn project(&mut self, event: &CounterEvent, _: &EventContext<'_>) {
        if let CounterEvent::Added(by) = event {
            self.sum += by;
        }
    }
}

impl Project<Order> for TotalWithOrders {
    fn project(&mut self, event: &OrderEvent, _: &EventContext<'_>) {
        if let OrderEvent::Placed { qty, .. } = event {
            self.ordered += qty;
        }
    }
}

fn with(base: &Path) -> AggregateStoreBuilder {
    AggregateStore::builder(base)
        .projection::<Ledger>()
        .projection::<Total>()
}

async fn add(store: &AggregateStore, id: &str, by: i64) -> TestResult {
    let command = CounterCommand::Add(by);
    store.send(id, command, CommandContext::default()).await?;
    Ok(())
}

#[tokio::test]
async fn a_projection_reads_your_writes() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = with(base.path()).open().await?;
    assert_eq!(*store.projection::<Total>().await?, Total::default());
    for number in 1..=300 {
        add(&store, &format!("c-{}", number % 7), 1).await?;
        assert_eq!(store.projection::<Total>().await?.sum, number);
    }
    Ok(())
}

/// While others write, everybody who asks gets at least what was durable then, in one order.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_reads_and_writes_see_one_order_across_streams() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = with(base.path()).open().await?;
    let tasks: Vec<_> = (0..16)
        .map(|task| {
            let store = store.clone();
            tokio::spawn(async move {
                let mut last = 0;
                for number in 0..20 {
                    let id = format!("c-{}", (task * number) % 5);
                    let command = CounterCommand::AddOnes(1 + number as u32 % 3);
                    let done = store.send(&id, command, CommandContext::default()).await?;
                    let ledger = store.projection::<Ledger>().await?;
                    let own = (done.position.unwrap(), id, done.version);
                    assert!(ledger.shown.contains(&own), "{own:?}");
                    assert!(ledger.shown.len() >= last, "time goes forward");
                    last = ledger.shown.len();
                }
                Ok::<_, eventfold_es::Error>(())
            })
        })
        .collect();
    for task in tasks {
        task.await??;
    }
    let ledger = store.projection::<Ledger>().await?;
    let mut versions = std::collections::HashMap::new();
    for (next, (position, stream, version)) in (1..).zip(&ledger.shown) {
        assert_eq!(*position, next, "the order of the journal, without gaps");
        let last = versions.insert(stream, *version).unwrap_or(0);
        assert_eq!(*version, last + 1, "and of each stream");
    }
    assert_eq!(
        ledger.shown.len() as i64,
        store.projection::<Total>().await?.sum
    );
    Ok(())
}

/// Scenario 43.
#[tokio::test]
#[cfg_attr(eventfold_memory_journal, ignore = "it is about the disk")]
async fn incremental_and_rebuilt_agree() -> TestResult {
    let base = tempfile::tempdir()?;
    let mut random = SplitMix64::new(43);
    let mut store = with(base.path()).open().await?;
    for number in 0..400 {
        let (stream, dice) = (random.next_u64() % 20, random.next_u64() % 50);
        add(&store, &format!("c-{stream}"), number).await?;
        match dice {
            0..=9 => drop(store.projection::<Ledger>().await?),
            10 => {
                store.close().await?;
                store = with(base.path()).open().await?;
            }
            _ => {}
        }
    }
    let incremental = store.projection::<Ledger>().await?;
    assert_eq!(incremental.shown.len(), 400);
    store.rebuild_projection::<Ledger>().await?;
    assert_eq!(store.projection::<Ledger>().await?, incremental);
    store.close().await?;

    // And from nothing, by a program that never saw the events happen.
    std::fs::remove_dir_all(base.path().join("projections"))?;
    let store = with(base.path()).open().await?;
    assert_eq!(store.projection::<Ledger>().await?, incremental);
    Ok(())
}

/// How often [`Impure`] was shown an event.
static SHOWN: AtomicU64 = AtomicU64::new(0);

/// Its state depends on when it was built, which no projection should: it tells whether it was.
#[projection(subscribes = [Counter])]
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Impure {
    built_at: Vec<u64>,
}

impl Project<Counter> for Impure {
    fn project(&mut self, _: &CounterEvent, _: &EventContext<'_>) {
        self.built_at.push(SHOWN.fetch_add(1, Ordering::Relaxed));
    }
}

#[tokio::test]
async fn a_rebuild_folds_every_event_again_and_nothing_else_does() -> TestResult {
    let base = tempfile::tempdir()?;
    let open = || with(base.path()).projection::<Impure>().open();
    let store = open().await?;
    for number in 0..3 {
        add(&store, "c", number).await?;
    }
    for _ in 0..2 {
        assert_eq!(store.projection::<Impure>().await?.built_at, [0, 1, 2]);
    }
    store.close().await?;
    let store = open().await?;
    assert_eq!(store.projection::<Impure>().await?.built_at, [0, 1, 2]);
    store.rebuild_projection::<Impure>().await?;
    assert_eq!(store.projection::<Impure>().await?.built_at, [3, 4, 5]);
    Ok(())
}

fn checkpoint(base: &Path) -> PathBuf {
    base.join("projections/total/checkpoint.json")
}

#[tokio::test]
#[cfg_attr(eventfold_memory_journal, ignore = "it is about the disk")]
async fn a_damaged_checkpoint_is_built_anew() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = with(base.path()).open().await?;
    for number in 1..=10 {
        add(&store, "c", number).await?;
    }
    assert_eq!(store.projection::<Total>().await?.sum, 55);
    store.close().await?;
    let intact = std::fs::read(checkpoint(base.path()))?;
    let text = String::from_utf8(intact.clone())?;
    assert!(text.contains("\"sum\":55"));
    let damaged = [
        Vec::new(),
        b"{}".to_vec(),
        b"\0\0\0\0".to_vec(),
        intact[..intact.len() / 2].to_vec(),
        text.replace("\"sum\":55", "\"sum\":56").into_bytes(),
        text.replace("\"position\":10", "\"position\":19")
            .into_bytes(),
    ];
    for damaged in damaged {
        std::fs::write(checkpoint(base.path()), &damaged)?;
        let store = with(base.path()).open().await?;
        assert_eq!(store.projection::<Total>().await?.sum, 55);
        store.close().await?;
        assert_eq!(
            std::fs::read(checkpoint(base.path()))?,
            intact,
            "and saved again"
        );
    }
    Ok(())
}

#[tokio::test]
#[cfg_attr(eventfold_memory_journal, ignore = "it is about the disk")]
async fn an_older_or_newer_checkpoint_is_caught_up_or_built_anew() -> TestResult {
    let base = tempfile::tempdir()?;
    let mut copies = Vec::new();
    for number in 1..=3 {
        let store = with(base.path()).open().await?;
        add(&store, "c", number).await?;
        store.projection::<Total>().await?;
        store.close().await?;
        copies.push(std::fs::read(checkpoint(base.path()))?);
    }
    for older in &copies {
        std::fs::write(checkpoint(base.path()), older)?;
        let store = with(base.path()).open().await?;
        assert_eq!(store.projection::<Total>().await?.sum, 6);
        store.close().await?;
    }

    // Newer than the journal of another store, which has one event.
    let other = tempfile::tempdir()?;
    let store = with(other.path()).open().await?;
    add(&store, "c", 100).await?;
    store.projection::<Total>().await?;
    store.close().await?;
    std::fs::write(checkpoint(other.path()), &copies[2])?;
    let store = with(other.path()).open().await?;
    assert_eq!(store.projection::<Total>().await?.sum, 100);
    Ok(())
}

#[tokio::test]
async fn changed_subscriptions_build_a_projection_anew() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = with(base.path()).open().await?;
    add(&store, "c", 5).await?;
    store
        .send("o", place("W-1", 7), CommandContext::default())
        .await?;
    assert_eq!(store.projection::<Total>().await?.sum, 5);
    store.close().await?;

    let store = AggregateStore::builder(base.path())
        .projection::<TotalWithOrders>()
        .open()
        .await?;
    let total = store.projection::<TotalWithOrders>().await?;
    assert_eq!(
        (total.sum, total.ordered),
        (5, 7),
        "the orders of before too"
    );
    store.close().await?;

    let store = with(base.path()).open().await?;
    assert_eq!(store.projection::<Total>().await?.sum, 5);
    Ok(())
}

#[tokio::test]
async fn many_events_are_caught_up_after_reopening() -> TestResult {
    const COMMANDS: u32 = 40;
    const EVENTS: u32 = 500;
    let base = tempfile::tempdir()?;
    let store = AggregateStore::open(base.path()).await?;
    for number in 0..COMMANDS {
        let id = format!("c-{}", number % 10);
        let command = CounterCommand::AddOnes(EVENTS);
        store.send(&id, command, CommandContext::default()).await?;
    }
    store.close().await?;

    // Abandoned at first, then asked for by several at once.
    let store = with(base.path()).open().await?;
    {
        let mut abandoned = pin!(store.projection::<Total>());
        let polled = abandoned
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()));
        assert!(polled.is_pending());
    }
    let (first, second, ledger, rebuilt) = tokio::join!(
        store.projection::<Total>(),
        store.projection::<Total>(),
        store.projection::<Ledger>(),
        store.rebuild_projection::<Total>(),
    );
    let sum = i64::from(COMMANDS * EVENTS);
    assert_eq!((first?.sum, second?.sum), (sum, sum));
    assert_eq!(ledger?.shown.len() as i64, sum);
    rebuilt?;
    assert_eq!(store.projection::<Total>().await?.sum, sum);
    Ok(())
}

#[tokio::test]
async fn a_projection_that_is_not_registered_says_how_to() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = AggregateStore::open(base.path()).await?;
    let read = store.projection::<Total>().await.unwrap_err().to_string();
    assert!(
        read.contains("Total is not registered: add `.projection::<..>()`"),
        "{read}"
    );
    let rebuilt = store
        .rebuild_projection::<Total>()
        .await
        .unwrap_err()
        .to_string();
    assert_eq!(rebuilt, read);
    Ok(())
}

/// Counts how often it is cloned, and panics meanwhile if it is told to.
#[projection(subscribes = [Counter])]
#[derive(Debug, Default, Serialize, Deserialize)]
struct Watched {
    sum: i64,
}

static CLONES: AtomicU64 = AtomicU64::new(0);
static PANICS: AtomicBool = AtomicBool::new(false);

impl Clone for Watched {
    fn clone(&self) -> Self {
        CLONES.fetch_add(1, Ordering::SeqCst);
        assert!(!PANICS.load(Ordering::SeqCst), "it was told to");
        Self { sum: self.sum }
    }
}

impl Project<Counter> for Watched {
    fn project(&mut self, event: &CounterEvent, _: &EventContext<'_>) {
        if let CounterEvent::Added(by) = event {
            self.sum += by;
        }
    }
}

/// A handler of a service asks thousands of times a second; the view may have thousands of rows.
#[tokio::test]
async fn reading_clones_nothing_but_what_a_held_copy_needs() -> TestResult {
    let base = tempfile::tempdir()?;
    let builder = AggregateStore::builder(base.path());
    let store = builder.projection::<Watched>().open().await?;
    let clones = || CLONES.load(Ordering::SeqCst);
    for number in 1..=100 {
        add(&store, "c", 1).await?;
        assert_eq!(store.projection::<Watched>().await?.sum, number);
        let sum = store.with_projection::<Watched, _>(|watched| watched.sum);
        assert_eq!(sum.await?, number);
    }
    store.rebuild_projection::<Watched>().await?;
    assert_eq!(clones(), 0);

    let held = store.projection::<Watched>().await?;
    let again = store.projection::<Watched>().await?;
    for number in 101..=300 {
        add(&store, "c", 1).await?;
        let sum = store.with_projection::<Watched, _>(|watched| watched.sum);
        assert_eq!(sum.await?, number);
    }
    assert_eq!((held.sum, again.sum), (100, 100));
    assert_eq!(clones(), 1, "once for all copies of one state");

    // The clone is code of the user: the state is made again from its checkpoint, and no reader is told.
    let held = store.projection::<Watched>().await?;
    PANICS.store(true, Ordering::SeqCst);
    add(&store, "c", 1).await?;
    assert_eq!(store.projection::<Watched>().await?.sum, 301);
    assert_eq!((held.sum, clones()), (300, 2));
    Ok(())
}

#[tokio::test]
async fn a_reader_that_panics_harms_nobody_else() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = with(base.path()).open().await?;
    add(&store, "c", 7).await?;
    let read = store.with_projection::<Total, ()>(|total| panic!("at {}", total.sum));
    let error = read.await.unwrap_err().to_string();
    assert_eq!(error, "reading the projection `total` panicked: at 7");
    let sum = store.with_projection::<Total, _>(|total| total.sum);
    assert_eq!(sum.await?, 7);
    add(&store, "c", 1).await?;
    assert_eq!(store.projection::<Total>().await?.sum, 8);
    let missing = store.with_projection::<TotalWithOrders, _>(|total| total.sum);
    let error = missing.await.unwrap_err().to_string();
    assert!(error.contains("is not registered"), "{error}");
    Ok(())
}
