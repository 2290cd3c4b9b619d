//! Opening and closing a store with many streams, in order.

use std::path::Path;
use std::time::Instant;

use eventfold_es::AggregateStore;

use crate::clients::run_commands;
use crate::report::{Limit, Report};
use crate::scratch::Scratch;
use crate::{Failure, ROUNDS, runtime};

pub(crate) const NAMES: &[&str] = &["open_clean_ms"];
pub(crate) const A_MILLION: &[&str] = &["open_clean_1m_ms"];
pub(crate) const CLOSING: &[&str] = &["close_ms"];

/// How many streams are new when the store is closed, and how many clients create them.
const CREATED: usize = 100_000;
const CLIENTS: usize = 256;

pub(crate) fn measure(scratch: &Scratch, report: &mut Report) -> Result<(), Failure> {
    let rounds = open_often(&scratch.store_of(100_000)?)?;
    report.median("open_clean_ms", rounds, Limit::Under(50.0));
    Ok(())
}

pub(crate) fn measure_a_million(scratch: &Scratch, report: &mut Report) -> Result<(), Failure> {
    let rounds = open_often(&scratch.store_of_a_million()?)?;
    report.median("open_clean_1m_ms", rounds, Limit::Under(100.0));
    Ok(())
}

/// The milliseconds of each opening.
fn open_often(path: &Path) -> Result<Vec<f64>, Failure> {
    runtime()?.block_on(async {
        let mut rounds = Vec::new();
        for _ in 0..ROUNDS {
            let start = Instant::now();
            let store = AggregateStore::open(path).await?;
            rounds.push(start.elapsed().as_secs_f64() * 1e3);
            if store.recovery().redone_commits != 0 {
                return Err("the store was not closed in order".into());
            }
            store.close().await?;
        }
        Ok(rounds)
    })
}

/// Closing directly behind the last of many new streams.
pub(crate) fn measure_closing(scratch: &Scratch, report: &mut Report) -> Result<(), Failure> {
    let mut rounds = Vec::new();
    for round in 0..ROUNDS {
        let path = scratch.join(&format!("closed-{round}"));
        let closing = runtime()?.block_on(async {
            let store = AggregateStore::open(&path).await?;
            run_commands(&store, CLIENTS, CREATED, CREATED).await?;
            let start = Instant::now();
            store.close().await?;
            Ok::<_, Failure>(start.elapsed())
        })?;
        rounds.push(closing.as_secs_f64() * 1e3);
        std::fs::remove_dir_all(path)?;
    }
    report.median("close_ms", rounds, Limit::Under(300.0));
    Ok(())
}
