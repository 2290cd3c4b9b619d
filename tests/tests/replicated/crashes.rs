//! A crash at each step of the ways between one machine and several nodes: a journal is published, and a directory of a node is opened as a
//! store on one machine. The log keeps what it had at the moment of the crash.
//!
//! `EVENTFOLD_CRASH_POINTS=100000` checks every crash, and `EVENTFOLD_CRASH_SEED` loses other unsynced data.

use std::collections::HashSet;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use eventfold_es::disk::{CrashImage, Recording, RecordingDisk, Survival};
use eventfold_es::prelude::*;
use eventfold_es::replication::{AppendError, CommitLog, Entry, LogError};
use eventfold_es::testing::{MemoryDisk, SharedLog};
use eventfold_es::{AggregateStoreBuilder, RunMode};
use tokio::sync::{broadcast, watch};
use tokio::task::JoinSet;

use super::world::{until_follower_of, until_leader};
use crate::TestResult;
use crate::common::sagas::ReservationSaga;
use crate::common::shop::{Inventory, place};

type Failed = Box<dyn std::error::Error + Send + Sync>;

/// The crashes that are checked at the same time. Each of them waits for the silence of a leader.
const AT_ONCE: usize = 64;
/// The orders of the first store, and those to which it has not reacted.
const ORDERS: u32 = 6;
const LATE_ORDERS: u32 = 4;

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn configured(builder: AggregateStoreBuilder) -> AggregateStoreBuilder {
    let builder = builder.process_manager::<ReservationSaga>();
    builder.run_mode(RunMode::OnDemand)
}

async fn place_one(store: &AggregateStore, number: u32) -> Result<(), Failed> {
    store
        .send(&format!("o-{number}"), place("W", 1), ())
        .await?;
    Ok(())
}

/// The number of orders, after each of them was reserved once.
async fn reserved_once(store: &AggregateStore) -> Result<u32, Failed> {
    store.run_process_managers().await?;
    let orders = store.list::<crate::common::shop::Order>().await?.len();
    let orders = u32::try_from(orders)?;
    let inventory = store.get::<Inventory>("inv-W").await?.state().await?;
    if inventory.reserved != orders {
        return Err(format!("{} reserved for {orders} orders", inventory.reserved).into());
    }
    let verified = store.verify().await?;
    match verified.is_clean() {
        true => Ok(orders),
        false => Err(format!("{verified:?}").into()),
    }
}

/// The text of the journal in an image.
fn journal(image: &CrashImage) -> String {
    let file = image.file("meta/journal/app.jsonl").unwrap_or_default();
    let text = String::from_utf8_lossy(file);
    text.trim_end_matches('\0').to_owned()
}

/// A closed store of one machine, with events to which its process manager has not reacted.
async fn store_of_one_machine() -> Result<CrashImage, Failed> {
    let memory = MemoryDisk::new();
    let disk = RecordingDisk::on(Arc::new(memory.clone()), memory.root())?;
    let builder = AggregateStore::builder(memory.root()).disk(Arc::new(disk.clone()));
    let store = configured(builder).open().await?;
    for number in 0..ORDERS {
        if number == ORDERS - LATE_ORDERS {
            store.run_process_managers().await?;
        }
        place_one(&store, number).await?;
    }
    store.close().await?;
    Ok(CrashImage::killed(&disk.recording())?)
}

/// A disk that holds an image, and records what follows.
fn recorded(image: &CrashImage) -> Result<(RecordingDisk, AggregateStoreBuilder), Failed> {
    let memory = MemoryDisk::holding(image)?;
    let root = memory.root().to_owned();
    let disk = RecordingDisk::on_image(Arc::new(memory), &root, image)?;
    let builder = AggregateStore::builder(&root).disk(Arc::new(disk.clone()));
    Ok((disk, configured(builder)))
}

/// A log that notes at which step of the disk each entry came.
struct Noted {
    log: SharedLog,
    disk: RecordingDisk,
    steps: Arc<Mutex<Vec<usize>>>,
}

impl CommitLog for Noted {
    fn describe(&self) -> String {
        self.log.describe()
    }

    fn open(&self) -> Result<(), LogError> {
        self.log.open()
    }

    fn max_entry_bytes(&self) -> usize {
        self.log.max_entry_bytes()
    }

    fn append(&self, after: u64, text: Arc<str>) -> Result<(), AppendError> {
        self.log.append(after, text)?;
        let mut steps = self.steps.lock().unwrap_or_else(PoisonError::into_inner);
        steps.push(self.disk.len());
        Ok(())
    }

    fn read(&self, from: u64, max_bytes: usize) -> Result<Vec<Entry>, LogError> {
        self.log.read(from, max_bytes)
    }

    fn follow(&self) -> watch::Receiver<u64> {
        self.log.follow()
    }

    fn signal(&self, message: String) {
        self.log.signal(message);
    }

    fn signals(&self) -> broadcast::Receiver<String> {
        self.log.signals()
    }
}

/// The state after a crash.
struct Crash {
    what: String,
    image: CrashImage,
    /// The number of entries that the log has.
    entries: usize,
    /// The number of commands that were acknowledged before it.
    acknowledged: usize,
}

/// All different crashes. `steps` are those at which entries came to the log.
fn crashes(recording: &Recording, steps: &[usize]) -> Result<Vec<Crash>, Failed> {
    let seed = variable("EVENTFOLD_CRASH_SEED").unwrap_or(1);
    let mut crashes = Vec::<Crash>::new();
    for k in recording.start()..=recording.len() {
        let survivals = [
            Survival::Nothing,
            Survival::EntriesOnly,
            Survival::LengthsOnly,
            Survival::ContentOnly,
            Survival::Random(seed ^ k as u64),
        ];
        let killed = recording.tears(k).into_iter().map(|torn| (torn, None));
        let kept = survivals.into_iter().map(|survival| (0, Some(survival)));
        let marks = |until: usize| {
            let marks = recording.marks().iter();
            marks.filter(|mark| mark.at < until).count()
        };
        for (torn, survival) in killed.chain(kept) {
            let cut = recording.until(k, torn);
            let image = match &survival {
                None => CrashImage::killed(&cut)?,
                Some(survival) => CrashImage::power_loss(&cut, survival)?,
            };
            let perhaps = steps.iter().filter(|step| **step <= k).count();
            // A write follows the entries before it.
            let surely = match torn {
                0 => steps.iter().filter(|step| **step < k).count(),
                _ => perhaps,
            };
            for entries in surely..=perhaps {
                let is_known = |crash: &Crash| crash.entries == entries && crash.image == image;
                if crashes.iter().rev().take(20).any(is_known) {
                    continue;
                }
                let what = format!("step {k}, torn at {torn}, {survival:?}, {entries} entries");
                crashes.push(Crash {
                    what,
                    image: image.clone(),
                    entries,
                    // An entry that is not there was not acknowledged.
                    acknowledged: marks(if entries < perhaps { k } else { k + 1 }),
                });
            }
        }
    }
    Ok(crashes)
}

/// Up to this many of the crashes, from all parts.
fn spread(crashes: Vec<Crash>, at_most: usize) -> Vec<Crash> {
    let at_most = variable("EVENTFOLD_CRASH_POINTS").map_or(at_most, |points| points as usize);
    let every = crashes.len().div_ceil(at_most.max(1)).max(1);
    crashes.into_iter().step_by(every).collect()
}

/// Checks each crash, many at a time.
async fn check_all<F>(crashes: Vec<Crash>, check: impl Fn(Crash) -> F)
where
    F: Future<Output = Result<(), Failed>> + Send + 'static,
{
    let mut running = JoinSet::new();
    let mut failed = Vec::new();
    let mut crashes = crashes.into_iter();
    loop {
        while running.len() < AT_ONCE
            && let Some(crash) = crashes.next()
        {
            let what = crash.what.clone();
            let checking = check(crash);
            running.spawn(async move { (what, checking.await) });
        }
        match running.join_next().await {
            None => break,
            Some(Ok((_, Ok(())))) => {}
            Some(Ok((what, Err(error)))) => failed.push(format!("{what}: {error}")),
            Some(Err(error)) => failed.push(error.to_string()),
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

/// Opens the node again after a crash. The log then has each line of the first journal once, and each order is reserved once.
async fn publishes_the_rest(
    Crash {
        image,
        entries,
        acknowledged,
        ..
    }: Crash,
    texts: Arc<Vec<String>>,
    before: Arc<String>,
) -> Result<(), Failed> {
    let log = SharedLog::new();
    for (number, text) in texts.iter().take(entries).enumerate() {
        log.append(number as u64, text.as_str().into())?;
    }
    let (disk, builder) = recorded(&image)?;
    let store = builder.replicated(log.handle()).node("one").open().await?;
    until_leader(&store).await;
    let orders = reserved_once(&store).await?;
    if (orders as usize) < ORDERS as usize + acknowledged {
        return Err(
            format!("{orders} orders, and {acknowledged} new ones were acknowledged").into(),
        );
    }
    store.close().await?;
    let text = log.texts().concat();
    let lines: HashSet<_> = text.lines().collect();
    if !text.starts_with(&**before) || lines.len() != text.lines().count() {
        return Err("the log does not have each line once".into());
    }
    match journal(&CrashImage::killed(&disk.recording())?) == text {
        true => Ok(()),
        false => Err("the journal and the log are different".into()),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_journal_is_published_through_any_crash() -> TestResult {
    let image = store_of_one_machine().await.expect("it is there");
    let (disk, builder) = recorded(&image).expect("a disk");
    let log = SharedLog::new();
    let steps = Arc::<Mutex<Vec<usize>>>::default();
    let noted = Noted {
        log: log.clone(),
        disk: disk.clone(),
        steps: Arc::clone(&steps),
    };
    let store = builder.replicated(noted).node("one").open().await?;
    until_leader(&store).await;
    store.run_process_managers().await?;
    for number in ORDERS..ORDERS + 2 {
        place_one(&store, number).await.expect("it is placed");
        disk.mark("placed");
    }
    store.run_process_managers().await?;
    store.close().await?;

    let steps = steps.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let before = Arc::new(journal(&image));
    let published = before.lines().count();
    assert!(published >= 8 && steps.len() > published + 3, "{steps:?}");
    let crashes = crashes(&disk.recording(), &steps).expect("they fit the recording");
    // The log had nothing, each number of published entries, and all of them.
    for entries in 0..=steps.len() {
        assert!(crashes.iter().any(|crash| crash.entries == entries));
    }
    let all = crashes.len();
    let crashes = spread(crashes, 250);
    println!(
        "{} of {all} crashes while a journal is published",
        crashes.len()
    );
    let texts = Arc::new(log.texts());
    check_all(crashes, |crash| {
        publishes_the_rest(crash, Arc::clone(&texts), Arc::clone(&before))
    })
    .await;
    Ok(())
}

/// The directory of a follower that has closed, and the text of its log.
async fn closed_follower() -> Result<(CrashImage, String), Failed> {
    let log = SharedLog::new();
    let leader = configured(MemoryDisk::new().builder());
    let leader = leader
        .replicated(log.handle())
        .node("leader")
        .open()
        .await?;
    until_leader(&leader).await;
    let (disk, builder) = recorded(&CrashImage::default())?;
    let follower = builder
        .replicated(log.handle())
        .node("follower")
        .open()
        .await?;
    until_follower_of(&follower, "leader").await;
    for number in 0..ORDERS {
        if number == ORDERS - LATE_ORDERS {
            leader.run_process_managers().await?;
        }
        place_one(&leader, number).await?;
    }
    let position = leader.health().await.position;
    let mut events = follower.subscribe_all().after(position - 1);
    events.next().await;
    follower.close().await?;
    leader.close().await?;
    Ok((CrashImage::killed(&disk.recording())?, log.texts().concat()))
}

/// Opens the store on one machine again after a crash: it has the events of the log, and each acknowledged one.
async fn is_a_store_of_one_machine(crash: Crash, before: Arc<String>) -> Result<(), Failed> {
    let (disk, builder) = recorded(&crash.image)?;
    let store = builder.open().await?;
    let orders = reserved_once(&store).await?;
    if (orders as usize) < ORDERS as usize + crash.acknowledged {
        return Err(format!("{orders} orders, and {} new ones", crash.acknowledged).into());
    }
    place_one(&store, 1_000).await?;
    store.close().await?;
    let image = CrashImage::killed(&disk.recording())?;
    if image
        .file(Path::new("meta/journal/replicated.json"))
        .is_some()
    {
        return Err("it is still noted as a node".into());
    }
    match journal(&image).starts_with(&**before) {
        true => Ok(()),
        false => Err("it has lost events of the log".into()),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_becomes_a_store_of_one_machine_through_any_crash() -> TestResult {
    let (image, text) = closed_follower().await.expect("it is there");
    // The last entries of the log are those of the leader after this node has closed.
    let before = Arc::new(journal(&image));
    assert!(text.starts_with(&**before) && before.lines().count() >= 8);
    let (disk, builder) = recorded(&image).expect("a disk");
    let store = builder.open().await?;
    for number in ORDERS..ORDERS + 3 {
        place_one(&store, number).await.expect("it is placed");
        disk.mark("placed");
    }
    store.run_process_managers().await?;
    store.close().await?;
    let crashes = crashes(&disk.recording(), &[]).expect("they fit the recording");
    let all = crashes.len();
    let crashes = spread(crashes, 250);
    println!(
        "{} of {all} crashes while a follower becomes a store of one machine",
        crashes.len()
    );
    check_all(crashes, |crash| {
        is_a_store_of_one_machine(crash, Arc::clone(&before))
    })
    .await;
    Ok(())
}
