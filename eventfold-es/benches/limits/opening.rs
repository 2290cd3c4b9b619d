//! Opening a store with many streams that was closed in order.

use std::time::Instant;

use eventfold_es::AggregateStore;

use crate::report::{Limit, Report};
use crate::scratch::Scratch;
use crate::{Failure, ROUNDS, runtime};

pub(crate) const NAMES: &[&str] = &["open_clean_ms"];

pub(crate) fn measure(scratch: &Scratch, report: &mut Report) -> Result<(), Failure> {
    let path = scratch.store_of(100_000)?;
    let rounds = runtime()?.block_on(async {
        let mut rounds = Vec::new();
        for _ in 0..ROUNDS {
            let start = Instant::now();
            let store = AggregateStore::open(&path).await?;
            rounds.push(start.elapsed().as_secs_f64() * 1e3);
            if store.recovery().redone_commits != 0 {
                return Err("the store was not closed in order".into());
            }
            store.close().await?;
        }
        Ok::<_, Failure>(rounds)
    })?;
    report.median("open_clean_ms", rounds, Limit::Under(300.0));
    Ok(())
}
