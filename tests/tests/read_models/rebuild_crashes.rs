//! Crashes in a rebuild of rows, after each of its steps on the disk: the next life goes on behind the last durable commit, and
//! its rows are those of a rebuild without a crash.
//!
//! `EVENTFOLD_CRASH_SEED=7` loses other parts. `EVENTFOLD_FULL=1` crashes at every step.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use eventfold_es::disk::{
    CrashImage, Disk, Recording, RecordingDisk, SplitMix64, Survival, SystemDisk,
};
use eventfold_es::prelude::*;
use eventfold_es_tests::TestResult;
use eventfold_es_tests::campaign::{number, size};
use eventfold_es_tests::crash::{Place, scratch};

use crate::SOON;
use crate::common::counter::{Counter, CounterCommand, CounterEvent};

const EVENTS: u64 = 30;
/// The positions at which the recorded rebuild fails. Behind each failure, the events before it are durable.
const FAILS_AT: [u64; 3] = [8, 16, 24];

static STATE: Mutex<Projecting> = Mutex::new(Projecting {
    disk: None,
    failures: BTreeMap::new(),
    seen: Vec::new(),
});

struct Projecting {
    /// The disk of the rebuild that fails.
    disk: Option<RecordingDisk>,
    failures: BTreeMap<u64, u32>,
    /// The positions of the projected events.
    seen: Vec<u64>,
}

/// Notes an event. In the recorded rebuild, the first two attempts at some events fail.
fn see(position: u64) {
    let mut state = STATE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(disk) = state.disk.clone()
        && FAILS_AT.contains(&position)
    {
        let failures = state.failures.entry(position).or_default();
        *failures += 1;
        // The connection of the failure is closed, which has saved the events before it.
        if *failures == 3 {
            disk.mark((position - 1).to_string());
        }
        if *failures <= 2 {
            drop(state);
            panic!("failed");
        }
    }
    state.seen.push(position);
}

fn seen() -> Vec<u64> {
    let mut state = STATE.lock().unwrap_or_else(PoisonError::into_inner);
    std::mem::take(&mut state.seen)
}

fn folded(number: i64, position: u64) -> i64 {
    (number ^ position as i64).wrapping_mul(0x0100_0000_01b3)
}

macro_rules! rows {
    ($name:ident $($version:tt)*) => {
        #[projection(subscribes = [Counter], key = String, name = "numbers" $($version)*)]
        #[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
        struct $name {
            #[index]
            number: i64,
        }

        impl Locate<Counter> for $name {
            fn locate(_: &CounterEvent, cx: &EventContext<'_>) -> Keys<String> {
                Keys::one(cx.stream_id().to_owned())
            }
        }

        impl Project<Counter> for $name {
            fn project(&mut self, _: &CounterEvent, cx: &EventContext<'_>) {
                see(cx.position());
                self.number = folded(self.number, cx.position());
            }
        }
    };
}

rows! { Old }
rows! { New, version = 2 }

async fn open<P: eventfold_es::contract::ReadModel>(
    root: &Path,
    disk: impl Disk,
) -> AggregateStore {
    let builder = AggregateStore::builder(root.join("store")).disk(Arc::new(disk));
    builder.projection::<P>().open().await.unwrap()
}

type States = BTreeMap<String, i64>;

fn model() -> States {
    let mut states = States::new();
    for position in 1..=EVENTS {
        let state = states.entry((position % 4).to_string()).or_default();
        *state = folded(*state, position);
    }
    states
}

async fn states(store: &AggregateStore) -> Result<States, eventfold_es::StoreError> {
    let rows = store.rows::<New>()?;
    let found = rows.all().collect().await?;
    let indexed = rows.by_range(New::NUMBER, ..).count().await?;
    assert_eq!(indexed, found.len() as u64);
    Ok(found
        .into_iter()
        .map(|(id, row)| (id, row.number))
        .collect())
}

/// The operations of a rebuild that fails at some events, and the positions that became durable.
async fn record() -> Result<Recording, Box<dyn std::error::Error>> {
    let place = scratch();
    let store = open::<Old>(place.path(), SystemDisk).await;
    for position in 1..=EVENTS {
        let command = CounterCommand::Add(position as i64);
        store.send(&(position % 4).to_string(), command, ()).await?;
    }
    store.wait_for::<Old>(EVENTS, SOON).await?;
    store.close().await?;
    let disk = RecordingDisk::new(place.path())?;
    STATE.lock().unwrap().disk = Some(disk.clone());
    let store = open::<New>(place.path(), disk.clone()).await;
    let rebuilt = async {
        while store.wait_for::<New>(EVENTS, SOON).await.is_err() {}
        states(&store).await
    };
    assert_eq!(rebuilt.await?, model());
    store.close().await?;
    STATE.lock().unwrap().disk = None;
    disk.check()?;
    seen();
    Ok(disk.recording())
}

/// All crashes in a rebuild: after a number of operations, with a part of the next one, or with a loss.
fn crashes(
    recording: &Recording,
    random: &mut SplitMix64,
) -> Vec<(usize, usize, Option<Survival>)> {
    let mut all = Vec::new();
    for k in recording.start()..=recording.len() {
        all.extend(recording.tears(k).into_iter().map(|torn| (k, torn, None)));
        for survival in [
            Survival::Nothing,
            Survival::LengthsOnly,
            Survival::Random(random.next_u64()),
            Survival::Random(random.next_u64()),
        ] {
            all.push((k, 0, Some(survival)));
        }
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_at_each_step_of_a_rebuild_loses_no_commit_of_it() -> TestResult {
    let seed = number("EVENTFOLD_CRASH_SEED").unwrap_or(1);
    println!("seed {seed}");
    let recording = record().await?;
    let mut random = SplitMix64::new(seed);
    let mut crashes = crashes(&recording, &mut random);
    for index in (1..crashes.len()).rev() {
        crashes.swap(index, random.below(index + 1));
    }
    let wanted = size(200, 100_000) as usize;
    let (mut images, mut places) = (HashSet::new(), Place::default());
    // The first event that a life has projected; none after the exchange.
    let mut starts = BTreeSet::new();
    for (k, torn, survival) in crashes {
        let cut = recording.until(k, torn);
        let image = match &survival {
            None => CrashImage::killed(&cut),
            Some(survival) => CrashImage::power_loss(&cut, survival),
        }?;
        let mut hasher = DefaultHasher::new();
        (&image, cut.marks().len()).hash(&mut hasher);
        if images.len() >= wanted || !images.insert(hasher.finish()) {
            continue;
        }
        let crash = format!("seed {seed}, after {k} operations and {torn} bytes, {survival:?}");
        let durable = cut
            .marks()
            .iter()
            .filter_map(|mark| mark.label.parse().ok());
        let durable: u64 = durable.max().unwrap_or(0);
        let root = places.fresh();
        image.materialise(&root)?;
        let store = open::<New>(&root, SystemDisk).await;
        store.wait_for::<New>(EVENTS, SOON).await?;
        assert_eq!(states(&store).await?, model(), "{crash}");
        let projected = seen();
        let start = projected.first().copied();
        if let Some(start) = start {
            assert_eq!(projected, (start..=EVENTS).collect::<Vec<_>>(), "{crash}");
            assert!(start > durable, "from {start} on again, {crash}");
        }
        starts.insert(start);
        if random.chance(1) {
            store.rebuild_projection::<New>().await?;
            assert_eq!(states(&store).await?, model(), "{crash}");
            seen();
        }
        store.close().await?;
        std::fs::remove_dir_all(&root)?;
    }
    println!("{} crashes, then from {starts:?}", images.len());
    for start in [None, Some(1), Some(8), Some(16), Some(24)] {
        assert!(starts.contains(&start), "no crash leaves {start:?}");
    }
    Ok(())
}
