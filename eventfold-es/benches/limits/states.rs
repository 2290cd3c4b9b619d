//! Reading the state of an aggregate, and what a large one costs.

use std::hint::black_box;
use std::time::{Duration, Instant};

use eventfold_es::{AggregateHandle, AggregateStore};

use crate::clients::execute;
use crate::counter::Counter;
use crate::document::{Document, DocumentCommand};
use crate::process::read_calls;
use crate::report::{Limit, Report};
use crate::scratch::Scratch;
use crate::{Failure, ROUNDS, runtime};

pub(crate) const READS: &[&str] = &["state_reads_per_s"];
pub(crate) const BIG: &[&str] = &["big_state_ratio"];

const READS_IN_ROUND: u32 = 500_000;
const COMMANDS_IN_ROUND: u32 = 200;

pub(crate) fn measure_reads(scratch: &Scratch, report: &mut Report) -> Result<(), Failure> {
    // One thread, so that one core does all of it.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()?;
    let (rounds, read_calls) = runtime.block_on(async {
        let store = AggregateStore::open(scratch.join("reads")).await?;
        let counter = store.get::<Counter>("counter").await?;
        execute(&counter).await?;
        counter.state().await?;
        let calls_before = read_calls()?;
        let mut rounds = Vec::new();
        for _ in 0..ROUNDS {
            let start = Instant::now();
            for _ in 0..READS_IN_ROUND {
                black_box(counter.state().await?);
            }
            rounds.push(f64::from(READS_IN_ROUND) / start.elapsed().as_secs_f64());
        }
        let read_calls = read_calls()? - calls_before;
        store.close().await?;
        Ok::<_, Failure>((rounds, read_calls))
    })?;
    report.median("state_reads_per_s", rounds, Limit::AtLeast(500_000.0));
    report.comment(&format!(
        "the process made {read_calls} read calls meanwhile, those that count them included"
    ));
    Ok(())
}

pub(crate) fn measure_big(scratch: &Scratch, report: &mut Report) -> Result<(), Failure> {
    let (ratios, latencies) = runtime()?.block_on(async {
        let store = AggregateStore::open(scratch.join("documents")).await?;
        let small = document(&store, "small", 100).await?;
        let big = document(&store, "big", 1_000_000).await?;
        let mut ratios = Vec::new();
        let mut latencies = Vec::new();
        for _ in 0..ROUNDS {
            let (mut in_small, mut in_big) = (Duration::ZERO, Duration::ZERO);
            // By turns, so that both meet the same disk.
            for _ in 0..COMMANDS_IN_ROUND {
                in_small += mark(&small).await?;
                let latency = mark(&big).await?;
                in_big += latency;
                latencies.push(latency);
            }
            ratios.push(in_big.as_secs_f64() / in_small.as_secs_f64());
        }
        store.close().await?;
        Ok::<_, Failure>((ratios, latencies))
    })?;
    report.median("big_state_ratio", ratios, Limit::Under(2.0));
    report.latencies("big_state", latencies);
    Ok(())
}

async fn document(
    store: &AggregateStore,
    id: &str,
    bytes: usize,
) -> Result<AggregateHandle<Document>, Failure> {
    let document = store.get::<Document>(id).await?;
    let fill = DocumentCommand::Fill { bytes };
    document.execute(fill, ()).await?;
    mark(&document).await?;
    Ok(document)
}

async fn mark(document: &AggregateHandle<Document>) -> Result<Duration, Failure> {
    let sent = Instant::now();
    let mark = DocumentCommand::Mark;
    document.execute(mark, ()).await?;
    Ok(sent.elapsed())
}
