//! Loading one long aggregate without a snapshot, against a bare loop of eventfold's reader and against SQLite.

use std::path::Path;
use std::time::{Duration, Instant};

use eventfold_es::{AggregateStore, Durability};

use crate::catch_up::{bare_loop, gather};
use crate::clients::{id, run_commands};
use crate::counter::Counter;
use crate::report::{Limit, Report};
use crate::scratch::Scratch;
use crate::{Failure, ROUNDS, runtime};

pub(crate) const NAMES: &[&str] = &["load_ratio", "load_sqlite_ratio"];

const EVENTS: usize = 100_000;
const CLIENTS: usize = 64;

pub(crate) fn measure(scratch: &Scratch, report: &mut Report) -> Result<(), Failure> {
    let path = scratch.join("long-stream");
    let one_stream = scratch.join("long-stream-lines");
    runtime()?.block_on(async {
        let builder = AggregateStore::builder(&path).durability(Durability::Flush);
        let store = builder.snapshot_every(0).open().await?;
        run_commands(&store, CLIENTS, 1, EVENTS).await?;
        store.close().await?;
        gather(&path, &scratch.join("long-stream-exported"), &one_stream).await
    })?;
    #[cfg(feature = "sqlite")]
    let table = crate::sqlite::Events::write(&scratch.join("long-stream.db"), &one_stream)?;
    let (mut ratios, mut rates) = (Vec::new(), Vec::new());
    #[cfg_attr(
        not(feature = "sqlite"),
        expect(unused_mut, reason = "SQLite is a feature")
    )]
    let mut sqlite_ratios = Vec::new();
    for _ in 0..ROUNDS {
        let before = bare_loop(&one_stream, EVENTS)?;
        let loading = load(&path)?;
        let bare = (before + bare_loop(&one_stream, EVENTS)?) / 2;
        ratios.push(bare.as_secs_f64() / loading.as_secs_f64());
        rates.push(EVENTS as f64 / loading.as_secs_f64());
        #[cfg(feature = "sqlite")]
        sqlite_ratios.push(table.read()?.as_secs_f64() / loading.as_secs_f64());
    }
    report.median("load_ratio", ratios, Limit::AtLeast(2.0));
    report.median("load_sqlite_ratio", sqlite_ratios, Limit::AtLeast(1.0));
    report.median("load_events_per_s", rates, Limit::None);
    Ok(())
}

fn load(path: &Path) -> Result<Duration, Failure> {
    runtime()?.block_on(async {
        let store = AggregateStore::builder(path)
            .snapshot_every(0)
            .open()
            .await?;
        let counter = store.get::<Counter>(&id(0)).await?;
        let begun = Instant::now();
        let found = counter.state().await?.sum;
        let elapsed = begun.elapsed();
        store.close().await?;
        match found == EVENTS as u64 {
            true => Ok(elapsed),
            false => Err(format!("{found} of {EVENTS} events were loaded").into()),
        }
    })
}
