//! Crashing a workload at each of its durable steps.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::memory::MemoryDisk;
use crate::disk::{CrashImage, DiskOp, Recording, RecordingDisk, SlowDisk, SplitMix64, Survival};
use crate::error::StoreError;
use crate::store::{AggregateStore, AggregateStoreBuilder};

const DEFAULT_POINTS: usize = 300;
const DEFAULT_SEED: u64 = 1;
/// The time of a sync while the workload runs. As on a real disk, it lets reactions join the batch of their command.
const SYNC_TIME: Duration = Duration::from_millis(2);

/// Runs `workload` once, and `check` after a crash at each of its durable steps: each operation on the disk, and within each
/// write.
///
/// It records a store on a disk in memory, as `configure` builds it, while `workload` runs. For each crash point it
/// sets the disk to the remains of a kill, or of a power loss. A store opens on this disk and recovers. Its process
/// managers run until they have caught up. Then `check` inspects the store, and may use it further. The guarantees of a
/// store hold at every crash point. For example, each event was handled exactly once.
///
/// It checks up to 300 points, spread over the whole run. [`CrashPoints`] changes that and more. It returns the
/// numbers.
///
/// # Panics
///
/// If the store cannot be opened or its process managers cannot be run, at first or after a crash, and if `workload` or
/// `check` panics. It then prints the crash point.
///
/// # Examples
///
/// One item is reserved for each placed order, through every crash:
///
/// ```
/// use eventfold_es::prelude::*;
/// use eventfold_es::testing;
/// # #[derive(Debug, Clone, Serialize, Deserialize)]
/// # pub enum OrderCommand { Place }
/// # #[derive(Debug, Clone, Serialize, Deserialize, DomainEvent)]
/// # #[serde(tag = "type", content = "data")]
/// # pub enum OrderEvent { Placed }
/// # #[aggregate(error = std::convert::Infallible)]
/// # #[derive(Debug, Clone, Default, Serialize, Deserialize)]
/// # pub struct Order { placed: u32 }
/// # impl Decider for Order {
/// #     fn decide(&self, _: OrderCommand) -> Result<Vec<OrderEvent>, std::convert::Infallible> { Ok(vec![OrderEvent::Placed]) }
/// #     fn evolve(&mut self, _: &OrderEvent) { self.placed += 1; }
/// # }
/// # #[derive(Debug, Clone, Serialize, Deserialize)]
/// # pub enum StockCommand { Reserve }
/// # #[derive(Debug, Clone, Serialize, Deserialize, DomainEvent)]
/// # #[serde(tag = "type", content = "data")]
/// # pub enum StockEvent { Reserved }
/// # #[aggregate(error = std::convert::Infallible)]
/// # #[derive(Debug, Clone, Default, Serialize, Deserialize)]
/// # pub struct Stock { reserved: u32 }
/// # impl Decider for Stock {
/// #     fn decide(&self, _: StockCommand) -> Result<Vec<StockEvent>, std::convert::Infallible> { Ok(vec![StockEvent::Reserved]) }
/// #     fn evolve(&mut self, _: &StockEvent) { self.reserved += 1; }
/// # }
/// # #[process_manager(subscribes = [Order], dispatches = [Stock])]
/// # #[derive(Debug, Default, Serialize, Deserialize)]
/// # pub struct Reservations;
/// # impl React<Order> for Reservations {
/// #     fn react(&mut self, _: &OrderEvent, cx: &mut Reaction<'_, Self>) { cx.send("stock", StockCommand::Reserve); }
/// # }
///
/// # #[tokio::main]
/// # async fn main() {
/// let crashes = testing::for_each_crash_point(
///     |builder| builder.process_manager::<Reservations>(),
///     async |store| {
///         store.send("order", OrderCommand::Place, ()).await.unwrap();
///     },
///     async |store| {
///         let placed = store.get::<Order>("order").await.unwrap().state().await.unwrap().placed;
///         let reserved = store.get::<Stock>("stock").await.unwrap().state().await.unwrap().reserved;
///         assert_eq!(reserved, placed);
///     },
/// )
/// .await;
/// assert!(crashes.points > 50);
/// # }
/// ```
pub async fn for_each_crash_point<B, W, C>(configure: B, workload: W, check: C) -> Crashes
where
    B: Fn(AggregateStoreBuilder) -> AggregateStoreBuilder,
    W: AsyncFnOnce(AggregateStore),
    C: AsyncFn(AggregateStore),
{
    CrashPoints::default()
        .for_each(configure, workload, check)
        .await
}

/// The choice of crash points of a workload; see [`for_each_crash_point`].
#[derive(Debug, Clone)]
#[must_use = "it does nothing before `for_each`"]
pub struct CrashPoints {
    at_most: usize,
    seed: u64,
}

/// The result of [`for_each_crash_point`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Crashes {
    /// The number of different crashes that were checked.
    pub points: usize,
    /// The number of disk operations of the workload.
    pub operations: usize,
}

impl Default for CrashPoints {
    fn default() -> Self {
        Self {
            at_most: DEFAULT_POINTS,
            seed: DEFAULT_SEED,
        }
    }
}

impl CrashPoints {
    /// Up to 300 crash points.
    pub fn new() -> Self {
        Self::default()
    }

    /// Checks up to `points` crash points, spread over the whole run if there are more.
    pub fn at_most(mut self, points: usize) -> Self {
        self.at_most = points;
        self
    }

    /// The seed for the unsynced data that a power loss leaves behind.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// As [`for_each_crash_point`].
    ///
    /// # Panics
    ///
    /// As [`for_each_crash_point`].
    pub async fn for_each<B, W, C>(self, configure: B, workload: W, check: C) -> Crashes
    where
        B: Fn(AggregateStoreBuilder) -> AggregateStoreBuilder,
        W: AsyncFnOnce(AggregateStore),
        C: AsyncFn(AggregateStore),
    {
        let recording = record(&configure, workload).await;
        let mut crashes = crashes(&recording, &mut SplitMix64::new(self.seed));
        let operations = recording.len();
        let chosen = spread(&mut crashes, self.at_most);
        let mut points = 0;
        let mut last = None;
        for crash in chosen {
            let cut = recording.until(crash.k, crash.torn);
            let image = match &crash.survival {
                None => CrashImage::killed(&cut),
                Some(survival) => CrashImage::power_loss(&cut, survival),
            };
            let image = succeed(image, "a recording fits itself");
            // Neighboring crash points often leave the same data.
            if last.as_ref() == Some(&image) {
                continue;
            }
            points += 1;
            let label = Label(&crash, &recording, self.seed);
            let disk = succeed(MemoryDisk::holding(&image), "a disk in memory takes all");
            let store = open(&configure, disk.builder()).await;
            match store.run_process_managers().await {
                // The leader runs them.
                Err(StoreError::NotLeader { .. }) => {}
                run => drop(succeed(run, "the process managers run after a crash")),
            }
            check(store.clone()).await;
            succeed(store.close().await, "the store closes");
            label.survived();
            last = Some(image);
        }
        Crashes { points, operations }
    }
}

/// One crash.
#[derive(Debug, Clone)]
struct Crash {
    /// The number of operations before it.
    k: usize,
    /// The number of bytes that the next operation, a write, has written.
    torn: usize,
    /// The unsynced data that remains after a power loss; `None` for a kill, which loses nothing.
    survival: Option<Survival>,
}

async fn record<B, W>(configure: &B, workload: W) -> Recording
where
    B: Fn(AggregateStoreBuilder) -> AggregateStoreBuilder,
    W: AsyncFnOnce(AggregateStore),
{
    let memory = MemoryDisk::new();
    let root = memory.root().to_owned();
    let disk = RecordingDisk::on(Arc::new(memory), &root);
    let disk = succeed(disk, "an empty disk can be recorded");
    let slow = SlowDisk::new(Arc::new(disk.clone()), SYNC_TIME);
    let builder = AggregateStore::builder(&root).disk(Arc::new(slow));
    let store = open(configure, builder).await;
    workload(store.clone()).await;
    succeed(store.close().await, "the store closes after the workload");
    disk.recording()
}

async fn open<B>(configure: &B, builder: AggregateStoreBuilder) -> AggregateStore
where
    B: Fn(AggregateStoreBuilder) -> AggregateStoreBuilder,
{
    let opened = configure(builder).open().await;
    succeed(opened, "the store opens")
}

#[track_caller]
fn succeed<T, E: fmt::Display>(result: Result<T, E>, what: &str) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("it was expected that {what}: {error}"),
    }
}

/// Every crash: kills before, within and after each operation, and power losses that keep all, none or some of the
/// unsynced data.
fn crashes(recording: &Recording, random: &mut SplitMix64) -> Vec<Crash> {
    let mut crashes = Vec::new();
    for k in recording.start()..=recording.len() {
        let tears = recording.tears(k).into_iter();
        crashes.extend(tears.map(|torn| Crash {
            k,
            torn,
            survival: None,
        }));
        let survivals = [
            Survival::Nothing,
            Survival::EntriesOnly,
            Survival::LengthsOnly,
            Survival::ContentOnly,
            Survival::Random(random.next_u64()),
        ];
        crashes.extend(survivals.into_iter().map(|survival| Crash {
            k,
            torn: 0,
            survival: Some(survival),
        }));
    }
    crashes
}

/// Up to `count` crashes, from all parts, in order.
fn spread(crashes: &mut Vec<Crash>, count: usize) -> Vec<Crash> {
    let all = crashes.len();
    let step = |index: usize| index * all / count.max(1);
    if all <= count {
        return std::mem::take(crashes);
    }
    let mut next = 0;
    let mut chosen = Vec::with_capacity(count);
    for (index, crash) in crashes.drain(..).enumerate() {
        if next < count && index == step(next) {
            chosen.push(crash);
            next += 1;
        }
    }
    chosen
}

/// Prints the crash if a check panics.
struct Label<'a>(&'a Crash, &'a Recording, u64);

impl Label<'_> {
    fn survived(self) {
        std::mem::forget(self);
    }
}

impl Drop for Label<'_> {
    fn drop(&mut self) {
        eprintln!("{self}");
    }
}

impl fmt::Display for Label<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(Crash { k, torn, survival }, recording, seed) = self;
        write!(
            f,
            "this was the crash after {k} of {} operations on the disk",
            recording.len()
        )?;
        match k.checked_sub(1).and_then(|last| recording.ops().get(last)) {
            Some(last) => write!(f, ", the last of which was {}", Operation(last))?,
            None => write!(f, ", before the first")?,
        }
        if *torn > 0 {
            write!(f, "; of the next, a write, {torn} bytes were done")?;
        }
        match survival {
            None => write!(f, "; the process was killed")?,
            Some(survival) => write!(
                f,
                "; the power failed, and kept {survival:?} of what was not synced"
            )?,
        }
        write!(f, " (seed {seed})")
    }
}

struct Operation<'a>(&'a DiskOp);

impl fmt::Display for Operation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.0 {
            DiskOp::Write { bytes, .. } => {
                write!(f, "a write of {} bytes", bytes.len())?;
                ""
            }
            DiskOp::CreateDir { .. } => "a new directory",
            DiskOp::CreateFile { .. } => "a new file",
            DiskOp::SetLen { .. } => "a new length",
            DiskOp::Rename { .. } => "a rename",
            DiskOp::Remove { .. } => "a removal",
            DiskOp::SyncFileSystem => "a sync of the file system",
            _ => "a sync",
        };
        f.write_str(what)?;
        match self.0.path() {
            Some(path) => write!(f, ": {}", path.display()),
            None => Ok(()),
        }
    }
}
