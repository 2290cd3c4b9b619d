//! Scenario 23: random stops, kills, failing disks, dropped calls and events of several streams; exactly once, and in order.
//!
//! `EVENTFOLD_CHAOS_SEED=7` lives one life only, `EVENTFOLD_CHAOS_SEEDS=100000` more of them.

mod keeper;

use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Waker};
use std::time::Duration;

use eventfold_es::clock::ManualClock;
use eventfold_es::disk::{
    CrashImage, Disk, Failure, Fault, FaultyDisk, Operation, RecordingDisk, SplitMix64, Survival,
};
use eventfold_es::prelude::*;
use eventfold_es::store::AggregateStoreBuilder;
use eventfold_es::testing::MemoryDisk;
use eventfold_es::{Durability, ExecuteError, RunMode};

use eventfold_es_tests::campaign::{number, size};

use crate::process_managers::domain::LogCommand;
use crate::process_managers::worker::{Say, TIME, clock};
use keeper::{KEYS, Keeper, Told, check};

const SEEDS: u64 = 200;
const RUNS: usize = 3;
const POSTS: [&str; 3] = ["p", "q", "r"];

fn words(random: &mut SplitMix64, number: u64) -> String {
    let operations = [
        "start", "either", "either", "go", "go", "go", "all", "end", "arm", "arm", "disarm",
        "refuse", "retry", "park",
    ];
    let operation = operations[random.below(operations.len())];
    let key = KEYS[random.below(KEYS.len())];
    format!("{operation} {key} {number}")
}

fn builder(
    root: &std::path::Path,
    disk: Arc<dyn Disk>,
    time: &ManualClock,
    mode: RunMode,
) -> AggregateStoreBuilder {
    AggregateStore::builder(root)
        .disk(disk)
        .process_manager::<Keeper>()
        .projection::<Told>()
        .clock(time.clone())
        .reaction_timeout(Duration::from_millis(20))
        .durability(Durability::Sync)
        .run_mode(mode)
}

/// What fails in a run: nothing in most.
fn fault(random: &mut SplitMix64) -> Option<Fault> {
    if !random.chance(2) {
        return None;
    }
    let failure = [
        Failure::EIO,
        Failure::ENOSPC,
        Failure::EMFILE,
        Failure::Short,
    ][random.below(4)];
    let operations = [
        &[Operation::Write][..],
        &[Operation::Read],
        &[Operation::Open],
        &[Operation::SyncData],
        &[Operation::Rename, Operation::SyncDir],
    ];
    let fault = Fault::once(random.below(6) as u64, failure);
    Some(fault.on(operations[random.below(operations.len())]))
}

/// What is known of what was said in a life.
#[derive(Default)]
struct Known {
    /// By the numbers that were given.
    next: u64,
    /// It has to be there.
    kept: BTreeSet<u64>,
    /// It must not be there.
    refused: BTreeSet<u64>,
}

impl Known {
    fn check(&self, said: &[String], what: &str) {
        let numbers = said.iter().map(|said| said.rsplit(' ').next().unwrap());
        let found: Vec<u64> = numbers.map(|number| number.parse().unwrap()).collect();
        let once: BTreeSet<_> = found.iter().copied().collect();
        assert_eq!(once.len(), found.len(), "{what}: something is there twice");
        let missing: Vec<_> = self.kept.difference(&once).collect();
        assert!(missing.is_empty(), "{what}: {missing:?} were acknowledged");
        let refused: Vec<_> = self.refused.intersection(&once).collect();
        assert!(refused.is_empty(), "{what}: {refused:?} were refused");
    }
}

/// Polls a future a number of times, with others in between, and drops it; what it came to, if it did.
async fn abandon_after<T>(polls: usize, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    for _ in 0..polls {
        let waker = Waker::noop();
        let polled = future.as_mut().poll(&mut Context::from_waker(waker));
        if let std::task::Poll::Ready(done) = polled {
            return Some(done);
        }
        tokio::task::yield_now().await;
    }
    None
}

/// Says something, operates the process manager, lets time pass.
async fn work(
    store: &AggregateStore,
    disk: &RecordingDisk,
    time: &ManualClock,
    random: &mut SplitMix64,
    known: &mut Known,
) {
    for _ in 0..1 + random.below(7) {
        known.next += 1;
        let number = known.next;
        let say = Say(words(random, number));
        let post = POSTS[random.below(POSTS.len())];
        let sent = store.send(post, say, CommandContext::default());
        let answer = match random.below(8) {
            0 => abandon_after(random.below(4), sent).await,
            _ => Some(sent.await),
        };
        match answer {
            Some(Ok(_)) => disk.mark(number.to_string()),
            Some(Err(ExecuteError::OutcomeUnknown { .. })) | None => {}
            Some(Err(error)) => {
                assert!(matches!(error, ExecuteError::Store(_)), "{error}");
                known.refused.insert(number);
            }
        }
        // What the disk fails is tried again some time: none of this has to succeed.
        let keeper = store.process_manager::<Keeper>().unwrap();
        match random.below(14) {
            0 | 1 => drop(store.run_process_managers().await),
            2 => drop(abandon_after(random.below(6), store.run_process_managers()).await),
            3 => drop((keeper.pause().await, keeper.resume().await)),
            4 => time.advance(TIME),
            5 => drop(keeper.redrive_all().await),
            6 => drop(keeper.release(KEYS[random.below(KEYS.len())]).await),
            7 => {
                let log = KEYS[random.below(KEYS.len())];
                let open = store.send(log, LogCommand::Open, CommandContext::default());
                drop(open.await);
            }
            8 => drop(abandon_after(random.below(4), keeper.release(KEYS[0])).await),
            _ => {}
        }
    }
}

/// What is left when the run ends, and what was acknowledged before: it is closed, killed, or the power fails, now or earlier.
fn end(disk: &RecordingDisk, open_until: usize, random: &mut SplitMix64) -> (CrashImage, Vec<u64>) {
    let whole = disk.recording();
    let k = match random.below(4) {
        0 => whole.len(),
        1 => open_until,
        _ => whole.start() + random.below(whole.len() + 1 - whole.start()),
    };
    let cut = whole.until(k, 0);
    let image = match random.below(3) {
        0 => CrashImage::power_loss(&cut, &Survival::Random(random.next_u64())),
        _ => CrashImage::killed(&cut),
    };
    let marks = cut.marks().iter().map(|mark| mark.label.parse().unwrap());
    (image.unwrap(), marks.collect())
}

/// Some runs of a store, and what has to be there in the end; how many calls of the disk failed.
async fn live(seed: u64) -> usize {
    let mut random = SplitMix64::new(seed);
    let time = clock();
    let mut known = Known::default();
    let mut image = CrashImage::default();
    let mut failed = 0;
    for run in 0..RUNS {
        let what = format!("seed {seed}, run {run}");
        let memory = MemoryDisk::holding(&image).unwrap();
        let root = memory.root().to_owned();
        let faulty = FaultyDisk::new(Arc::new(memory.clone()));
        let disk = RecordingDisk::on_image(Arc::new(memory), &root, &image);
        let disk = disk.unwrap().over(Arc::new(faulty.clone()));
        let modes = [RunMode::Inline, RunMode::Background, RunMode::OnDemand];
        let mode = modes[random.below(modes.len())];
        let opened = builder(&root, Arc::new(disk.clone()), &time, mode);
        let store = opened.open().await;
        let store = store.unwrap_or_else(|error| panic!("{what}: {error}"));
        let told = store.projection::<Told>().await.unwrap().said.clone();
        known.check(&told, &what);
        if let Some(fault) = fault(&mut random) {
            faulty.inject(fault);
        }
        work(&store, &disk, &time, &mut random, &mut known).await;
        let open_until = disk.len();
        // A disk that has failed may fail this too.
        let _ = store.close().await;
        failed += faulty.hits().len();
        let (left, kept) = end(&disk, open_until, &mut random);
        image = left;
        known.kept.extend(kept);
    }
    let what = format!("seed {seed}, in the end");
    let memory = MemoryDisk::holding(&image).unwrap();
    let disk = Arc::new(memory.clone());
    let opened = builder(memory.root(), disk, &time, RunMode::OnDemand).open();
    let store = opened.await;
    let store = store.unwrap_or_else(|error| panic!("{what}: {error}"));
    let told = store.projection::<Told>().await.unwrap().said.clone();
    known.check(&told, &what);
    finish(&store, &time).await;
    check(&store, &told, &what).await;
    store.close().await.unwrap();
    failed
}

/// Everything that waits is done: nothing is paused, parked, refused or in the future any more.
async fn finish(store: &AggregateStore, time: &ManualClock) {
    let keeper = store.process_manager::<Keeper>().unwrap();
    keeper.resume().await.unwrap();
    for key in KEYS {
        let open = store.send(key, LogCommand::Open, CommandContext::default());
        open.await.unwrap();
    }
    store.run_process_managers().await.unwrap();
    for key in KEYS {
        keeper.release(key).await.unwrap();
    }
    // A retry may have waited for a second one before.
    for wait in 0..8 {
        time.advance(TIME * (1 << wait));
        store.run_process_managers().await.unwrap();
    }
    keeper.redrive_all().await.unwrap();
    store.run_process_managers().await.unwrap();
}

#[test]
#[cfg_attr(eventfold_memory_journal, ignore = "it is about the disk")]
fn scenario_23_seeded_chaos() {
    let (first, count) = match number("EVENTFOLD_CHAOS_SEED") {
        Some(seed) => (seed, 1),
        None => (
            0,
            number("EVENTFOLD_CHAOS_SEEDS").unwrap_or_else(|| size(SEEDS, 10 * SEEDS)),
        ),
    };
    let next = Arc::new(AtomicU64::new(first));
    let hits = Arc::new(AtomicUsize::new(0));
    // Most of the time they wait: for each other's threads, or for a disk to work again.
    let lives = (0..24).map(|_| {
        let (next, hits) = (Arc::clone(&next), Arc::clone(&hits));
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .build()
                .unwrap();
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= first + count {
                    return;
                }
                let lived = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                    runtime.block_on(live(seed))
                }));
                let Ok(failed) = lived else {
                    panic!("seed {seed}");
                };
                hits.fetch_add(failed, Ordering::Relaxed);
            }
        })
    });
    let lives: Vec<_> = lives.collect();
    let failed = lives.into_iter().filter_map(|life| life.join().err());
    let failed: Vec<_> = failed
        .map(|payload| {
            payload
                .downcast::<String>()
                .map(|text| *text)
                .unwrap_or_default()
        })
        .collect();
    assert!(failed.is_empty(), "{failed:?}");
    let hits = hits.load(Ordering::Relaxed);
    println!("{count} lives from seed {first} on, {hits} failed calls of the disk");
    assert!(
        count < 100 || hits as u64 > count / 10,
        "{hits} failed calls"
    );
}
