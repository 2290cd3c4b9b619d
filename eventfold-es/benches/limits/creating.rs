//! Creating a stream where there are many, against where there are few.

use std::time::{Duration, Instant};

use eventfold_es::AggregateStore;

use crate::clients::execute;
use crate::counter::Counter;
use crate::report::{Limit, Report};
use crate::scratch::{Scratch, fill};
use crate::{Failure, ROUNDS, runtime};

pub(crate) const NAMES: &[&str] = &["create_ratio"];

const CREATED_IN_ROUND: usize = 100;

pub(crate) fn measure(scratch: &Scratch, report: &mut Report) -> Result<(), Failure> {
    let many = scratch.store_of(100_000)?;
    let mut ratios = Vec::new();
    let mut in_manys = Vec::new();
    for round in 0..ROUNDS {
        let few = scratch.join(&format!("few-{round}"));
        // The 100th is in the middle of those that are measured.
        fill(&few, 100 - CREATED_IN_ROUND / 2, 1)?;
        let (in_few, in_many) = runtime()?.block_on(async {
            let few = AggregateStore::open(&few).await?;
            let many = AggregateStore::open(&many).await?;
            let (mut in_few, mut in_many) = (Duration::ZERO, Duration::ZERO);
            // By turns, so that both meet the same disk.
            for number in 0..CREATED_IN_ROUND {
                let id = format!("new-{round}-{number}");
                in_few += create(&few, &id).await?;
                let latency = create(&many, &id).await?;
                in_many += latency;
                in_manys.push(latency);
            }
            few.close().await?;
            many.close().await?;
            Ok::<_, Failure>((in_few, in_many))
        })?;
        ratios.push(in_many.as_secs_f64() / in_few.as_secs_f64());
    }
    report.median("create_ratio", ratios, Limit::Under(1.3));
    report.latencies("create_100k", in_manys);
    Ok(())
}

async fn create(store: &AggregateStore, id: &str) -> Result<Duration, Failure> {
    let start = Instant::now();
    execute(&store.get::<Counter>(id).await?).await?;
    Ok(start.elapsed())
}
