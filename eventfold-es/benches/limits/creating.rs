//! Creating streams: where there are many against where there are few, and against commands on live aggregates.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

use eventfold_es::AggregateStore;

use crate::clients::{Reached, create_for, execute, make_live, run_for};
use crate::counter::Counter;
use crate::report::{Limit, Report};
use crate::scratch::{Scratch, fill};
use crate::{Failure, ROUNDS, runtime};

pub(crate) const NAMES: &[&str] = &["create_ratio"];

pub(crate) const RATES: &[&str] = &["create_per_s_ratio"];

const CREATED_IN_ROUND: usize = 100;
const CLIENTS: usize = 256;
/// How many live aggregates the clients go round that create none.
const LIVE: usize = 10_000;
const TURN: Duration = Duration::from_millis(200);
const TURNS: usize = 5;

pub(crate) fn measure(scratch: &Scratch, report: &mut Report) -> Result<(), Failure> {
    let many = scratch.store_of(100_000)?;
    let (mut ratios, mut median_ratios) = (Vec::new(), Vec::new());
    let mut in_manys = Vec::new();
    for round in 0..ROUNDS {
        let few = scratch.join(&format!("few-{round}"));
        // The 100th is in the middle of those that are measured.
        fill(&few, 100 - CREATED_IN_ROUND / 2, 1)?;
        let (in_few, in_many) = runtime()?.block_on(async {
            let few = AggregateStore::open(&few).await?;
            let many = AggregateStore::open(&many).await?;
            let (mut in_few, mut in_many) = (Vec::new(), Vec::new());
            // By turns, so that both meet the same disk.
            for number in 0..CREATED_IN_ROUND {
                let id = format!("new-{round}-{number}");
                in_few.push(create(&few, &id).await?);
                in_many.push(create(&many, &id).await?);
            }
            few.close().await?;
            many.close().await?;
            Ok::<_, Failure>((in_few, in_many))
        })?;
        ratios.push(ratio(in_many.iter().sum(), in_few.iter().sum()));
        median_ratios.push(ratio(median(&in_many), median(&in_few)));
        in_manys.extend(in_many);
    }
    report.median("create_ratio", ratios, Limit::Under(1.3));
    report.median("create_median_ratio", median_ratios, Limit::None);
    report.latencies("create_100k", in_manys);
    Ok(())
}

fn ratio(in_many: Duration, in_few: Duration) -> f64 {
    in_many.as_secs_f64() / in_few.as_secs_f64()
}

fn median(latencies: &[Duration]) -> Duration {
    let mut sorted = latencies.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

async fn create(store: &AggregateStore, id: &str) -> Result<Duration, Failure> {
    let start = Instant::now();
    execute(&store.get::<Counter>(id).await?).await?;
    Ok(start.elapsed())
}

/// Many clients that create streams, by turns with as many that go round live aggregates of the same store.
pub(crate) fn measure_rates(scratch: &Scratch, report: &mut Report) -> Result<(), Failure> {
    let path = scratch.join("created");
    fill(&path, LIVE, 1)?;
    let (ratios, rates) = runtime()?.block_on(async {
        let store = AggregateStore::open(&path).await?;
        make_live(&store, 0..LIVE).await?;
        let next = Arc::new(AtomicUsize::new(LIVE));
        let (mut ratios, mut rates) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let (mut creating, mut going_round) = (Reached::default(), Reached::default());
            for _ in 0..TURNS {
                creating.add(create_for(&store, CLIENTS, &next, TURN).await?);
                let sent = going_round.latencies.len();
                going_round.add(run_for(&store, CLIENTS, 0..LIVE, sent, TURN).await?);
            }
            ratios.push(creating.per_second() / going_round.per_second());
            rates.push(creating.per_second());
        }
        store.close().await?;
        Ok::<_, Failure>((ratios, rates))
    })?;
    report.median("create_per_s_ratio", ratios, Limit::AtLeast(0.8));
    report.median("create_per_s", rates, Limit::None);
    Ok(())
}
