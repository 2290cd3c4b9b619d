//! Asking for a projection when nothing is new, and looking something up in a large one.

use std::collections::HashMap;
use std::hint::black_box;
use std::path::Path;
use std::time::Instant;

use eventfold_es::prelude::*;

use crate::counter::{Counter, CounterEvent, Sums};
use crate::report::{Limit, Report};
use crate::scratch::Scratch;
use crate::{Failure, ROUNDS, micros, runtime};

pub(crate) const NAMES: &[&str] = &["idle_projection_us_100", "idle_projection_us_100k"];

pub(crate) const LOOK_UPS: &[&str] = &["with_projection_us_20k"];

const READS_IN_ROUND: u32 = 50_000;
const LOOK_UPS_IN_ROUND: u32 = 500_000;
const ROWS: usize = 20_000;

/// A row for each counter.
#[projection(subscribes = [Counter])]
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Rows {
    by_id: HashMap<String, Row>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Row {
    sum: u64,
    note: String,
}

impl Project<Counter> for Rows {
    fn project(&mut self, event: &CounterEvent, cx: &EventContext<'_>) {
        let CounterEvent::Added { amount, note } = event;
        let row = self.by_id.entry(cx.stream_id().to_owned()).or_default();
        row.sum += amount;
        row.note.clone_from(note);
    }
}

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

pub(crate) fn measure_look_ups(scratch: &Scratch, report: &mut Report) -> Result<(), Failure> {
    let path = scratch.store_of(ROWS)?;
    let rounds = runtime()?.block_on(async {
        let builder = AggregateStore::builder(&path).projection::<Rows>();
        let store = builder.open().await?;
        let rows = store.projection::<Rows>().await?;
        let ids: Vec<String> = rows.by_id.keys().cloned().collect();
        drop(rows);
        let mut rounds = Vec::new();
        for _ in 0..ROUNDS {
            let start = Instant::now();
            for id in ids.iter().cycle().take(LOOK_UPS_IN_ROUND as usize) {
                let sum = |rows: &Rows| rows.by_id.get(id).map(|row| row.sum);
                black_box(store.with_projection(sum).await?);
            }
            rounds.push(micros(start.elapsed()) / f64::from(LOOK_UPS_IN_ROUND));
        }
        store.close().await?;
        Ok::<_, Failure>(rounds)
    })?;
    report.median("with_projection_us_20k", rounds, Limit::Under(1.0));
    Ok(())
}
