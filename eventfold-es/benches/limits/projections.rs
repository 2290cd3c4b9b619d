//! Asking for a projection when nothing is new.

use std::hint::black_box;
use std::path::Path;
use std::time::Instant;

use eventfold_es::AggregateStore;

use crate::counter::Sums;
use crate::report::{Limit, Report};
use crate::scratch::Scratch;
use crate::{Failure, ROUNDS, micros, runtime};

pub(crate) const NAMES: &[&str] = &["idle_projection_us_100", "idle_projection_us_100k"];

const READS_IN_ROUND: u32 = 50_000;

pub(crate) fn measure(scratch: &Scratch, report: &mut Report) -> Result<(), Failure> {
    let few = scratch.store_of(100)?;
    let many = scratch.store_of(100_000)?;
    let (in_few, in_many) = runtime()?.block_on(async {
        let (few, many) = (open(&few).await?, open(&many).await?);
        let (mut in_few, mut in_many) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            in_few.push(idle_read_us(&few).await?);
            in_many.push(idle_read_us(&many).await?);
        }
        few.close().await?;
        many.close().await?;
        Ok::<_, Failure>((in_few, in_many))
    })?;
    report.median("idle_projection_us_100", in_few, Limit::Under(10.0));
    report.median("idle_projection_us_100k", in_many, Limit::Under(10.0));
    Ok(())
}

async fn open(path: &Path) -> Result<AggregateStore, Failure> {
    let builder = AggregateStore::builder(path).projection::<Sums>();
    let store = builder.open().await?;
    store.projection::<Sums>().await?;
    Ok(store)
}

async fn idle_read_us(store: &AggregateStore) -> Result<f64, Failure> {
    let start = Instant::now();
    for _ in 0..READS_IN_ROUND {
        black_box(store.projection::<Sums>().await?);
    }
    Ok(micros(start.elapsed()) / f64::from(READS_IN_ROUND))
}
