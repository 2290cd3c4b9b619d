//! Loading an aggregate that is not live.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use eventfold_es::AggregateStore;

use crate::clients::id;
use crate::counter::Counter;
use crate::process::{processor_time, read_calls};
use crate::report::{Limit, Report};
use crate::scratch::{EVENTS_OF_A_MILLION, MILLION, Scratch, fill_fast};
use crate::{Failure, ROUNDS, micros, runtime};

pub(crate) const NAMES: &[&str] = &["load_3_us", "load_3_cold_us"];
pub(crate) const OF_SNAPSHOTS: &[&str] = &["load_snapshot_us"];
pub(crate) const SCATTERED: &[&str] = &["load_10k_ms", "load_10k_cold_ms"];

const LOADS_IN_ROUND: usize = 2000;
const COLD_LOADS_IN_ROUND: usize = 5;
/// Prime to the number of streams, so that no stream is met twice, and no two are close to each other.
const STRIDE: usize = 617_137;

/// The aggregates with many events, among one another's.
const LONG: usize = 10;
const EVENTS_OF_LONG: usize = 100_000;

/// Aggregates with scattered events and without a snapshot: between two events of one, each of the others gets one.
const AMONG_OTHERS: usize = 100;
const EVENTS_AMONG_OTHERS: usize = 10_000;

/// Short aggregates, of which there are many.
pub(crate) fn measure(scratch: &Scratch, report: &mut Report) -> Result<(), Failure> {
    let path = scratch.store_of_a_million()?;
    let mut numbers = (0..MILLION).map(|number| number * STRIDE % MILLION);
    let (warm, processor, cold, raw, calls) = runtime()?.block_on(async {
        let store = AggregateStore::open(&path).await?;
        let (mut warm, mut processor) = (Vec::new(), Vec::new());
        // The first round fills the caches.
        for round in 0..=ROUNDS {
            let before = processor_time()?;
            let median = load(&store, numbers.by_ref().take(LOADS_IN_ROUND)).await?;
            let took = processor_time()?.saturating_sub(before);
            if round > 0 {
                warm.push(median);
                processor.push(micros(took) / LOADS_IN_ROUND as f64);
            }
        }
        store.close().await?;
        let (mut cold, mut raw, mut calls) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let mut latencies = Vec::new();
            for number in numbers.by_ref().take(COLD_LOADS_IN_ROUND) {
                let store = AggregateStore::open(&path).await?;
                forget_pages(&path)?;
                let before = read_calls()?;
                latencies.push(load_one(&store, number, EVENTS_OF_A_MILLION).await?);
                calls.push((read_calls()? - before) as f64);
                forget_pages(&path)?;
                raw.push(read_one(&path, number)?);
                store.close().await?;
            }
            cold.push(median_us(latencies));
        }
        Ok::<_, Failure>((warm, processor, cold, raw, calls))
    })?;
    report.median("load_3_us", warm, Limit::Under(30.0));
    report.median("load_3_processor_us", processor, Limit::None);
    report.median("load_3_cold_us", cold, Limit::Under(1000.0));
    report.median("load_3_cold_read_calls", calls, Limit::None);
    report.value("raw_cold_read_us", median_us(raw), Limit::None);
    Ok(())
}

/// Reads one block of the journal's first segment.
fn read_one(path: &Path, number: usize) -> Result<Duration, Failure> {
    let segment = File::open(path.join("meta/journal/000000000000000.jsonl.zst"))?;
    let mut block = [0; 4096];
    let blocks = segment.metadata()?.len() / block.len() as u64;
    let offset = number as u64 % blocks * block.len() as u64;
    let start = Instant::now();
    segment.read_exact_at(&mut block, offset)?;
    Ok(start.elapsed())
}

/// Long aggregates, of which snapshots are.
pub(crate) fn measure_snapshots(scratch: &Scratch, report: &mut Report) -> Result<(), Failure> {
    let path = scratch.join("long-aggregates");
    fill_fast(&path, LONG, EVENTS_OF_LONG)?;
    let rounds = runtime()?.block_on(async {
        let mut rounds = Vec::new();
        for _ in 0..ROUNDS {
            let store = AggregateStore::open(&path).await?;
            let mut latencies = Vec::new();
            for number in 0..LONG {
                latencies.push(load_one(&store, number, EVENTS_OF_LONG).await?);
            }
            rounds.push(median_us(latencies));
            store.close().await?;
        }
        Ok::<_, Failure>(rounds)
    })?;
    report.median("load_snapshot_us", rounds, Limit::Under(1000.0));
    Ok(())
}

/// Aggregates of which all events are folded.
pub(crate) fn measure_scattered(scratch: &Scratch, report: &mut Report) -> Result<(), Failure> {
    let path = scratch.join("scattered");
    fill_fast(&path, AMONG_OTHERS, EVENTS_AMONG_OTHERS)?;
    let (warm, cold) = runtime()?.block_on(async {
        let (mut warm, mut cold) = (Vec::new(), Vec::new());
        for number in 0..ROUNDS {
            for (is_cold, found) in [(true, &mut cold), (false, &mut warm)] {
                let builder = AggregateStore::builder(&path).snapshot_every(0);
                let store = builder.open().await?;
                if is_cold {
                    forget_pages(&path)?;
                }
                let took = load_one(&store, number, EVENTS_AMONG_OTHERS).await?;
                found.push(micros(took) / 1000.0);
                store.close().await?;
            }
        }
        Ok::<_, Failure>((warm, cold))
    })?;
    report.median("load_10k_ms", warm, Limit::None);
    report.median("load_10k_cold_ms", cold, Limit::None);
    Ok(())
}

/// Loads short aggregates one after the other, and gives the median of the microseconds.
async fn load(
    store: &AggregateStore,
    numbers: impl Iterator<Item = usize>,
) -> Result<f64, Failure> {
    let mut latencies = Vec::new();
    for number in numbers {
        latencies.push(load_one(store, number, EVENTS_OF_A_MILLION).await?);
    }
    Ok(median_us(latencies))
}

async fn load_one(
    store: &AggregateStore,
    number: usize,
    events: usize,
) -> Result<Duration, Failure> {
    let counter = store.get::<Counter>(&id(number)).await?;
    let start = Instant::now();
    let found = counter.state().await?.sum;
    let elapsed = start.elapsed();
    if found != events as u64 {
        return Err(format!("{} has {found} of {events} events", id(number)).into());
    }
    Ok(elapsed)
}

fn median_us(mut latencies: Vec<Duration>) -> f64 {
    latencies.sort_unstable();
    let median = latencies.get(latencies.len() / 2);
    median.copied().map(micros).unwrap_or_default()
}

/// Lets the operating system forget the files of a store.
fn forget_pages(path: &Path) -> Result<(), Failure> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            forget_pages(&entry.path())?;
            continue;
        }
        // Pages that are not on the disk yet stay.
        File::open(entry.path())?.sync_all()?;
        let input = format!("if={}", entry.path().display());
        let mut command = Command::new("dd");
        let forgotten = command.args([&input, "iflag=nocache", "count=0", "status=none"]);
        if !forgotten.status()?.success() {
            return Err("`dd` cannot drop a file from the page cache".into());
        }
    }
    Ok(())
}
