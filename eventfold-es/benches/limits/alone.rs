//! One client on a store that was just created, first second included, against the bare disk and against SQLite.

use std::path::Path;
use std::time::Duration;
#[cfg(feature = "sqlite")]
use std::time::Instant;

use eventfold_es::AggregateStore;
#[cfg(feature = "sqlite")]
use eventfold_es::rusqlite::{Connection, params};
use tokio::runtime::Runtime;

use crate::clients::run_for;
use crate::raw::Raw;
use crate::report::{Limit, Report};
use crate::scratch::Scratch;
use crate::{Failure, ROUNDS, runtime};

pub(crate) const NAMES: &[&str] = &["one_client_fresh_ratio", "one_client_sqlite_ratio"];

/// How long the store and SQLite are measured, from their creation on; and the bare disk, before and after both.
const FRESH: Duration = Duration::from_secs(1);
const RAW: Duration = Duration::from_millis(500);

pub(crate) fn measure(scratch: &Scratch, report: &mut Report) -> Result<(), Failure> {
    let runtime = runtime()?;
    let (mut ratios, mut rates, mut raws) = (Vec::new(), Vec::new(), Vec::new());
    let mut latencies = Vec::new();
    #[cfg(feature = "sqlite")]
    let mut peers = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let mut raw = Raw::measure(scratch.path(), RAW)?;
        let path = scratch.join(&format!("fresh-{round}"));
        #[cfg(feature = "sqlite")]
        let peer = sqlite(&scratch.join(&format!("fresh-{round}.db")))?;
        let reached = one_client(&runtime, &path)?;
        raw.add(Raw::measure(scratch.path(), RAW)?);
        let rate = reached.len() as f64 / FRESH.as_secs_f64();
        ratios.push(rate / raw.per_second());
        #[cfg(feature = "sqlite")]
        {
            peers.0.push(rate / peer);
            peers.1.push(peer);
        }
        rates.push(rate);
        raws.push(raw.per_second());
        latencies.extend(reached);
    }
    report.median("one_client_fresh_ratio", ratios, Limit::AtLeast(1.1));
    report.median("one_client_fresh_per_s", rates, Limit::None);
    report.latencies("one_client_fresh", latencies);
    report.median("one_client_fresh_raw_per_s", raws, Limit::None);
    #[cfg(feature = "sqlite")]
    {
        report.median("one_client_sqlite_ratio", peers.0, Limit::AtLeast(1.2));
        report.median("one_client_sqlite_per_s", peers.1, Limit::None);
    }
    Ok(())
}

/// The latencies of the commands of one client in a new store.
fn one_client(runtime: &Runtime, path: &Path) -> Result<Vec<Duration>, Failure> {
    runtime.block_on(async {
        let store = AggregateStore::open(path).await?;
        let reached = run_for(&store, 1, 0..1, 0, FRESH).await?;
        store.close().await?;
        Ok(reached.latencies)
    })
}

/// The commits per second of SQLite in the calling thread: one row of 200 bytes each.
#[cfg(feature = "sqlite")]
fn sqlite(path: &Path) -> Result<f64, Failure> {
    let connection = Connection::open(path)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.execute_batch("CREATE TABLE events (id INTEGER PRIMARY KEY, line TEXT NOT NULL)")?;
    let mut insert = connection.prepare("INSERT INTO events (line) VALUES (?1)")?;
    let line = "x".repeat(200);
    let begun = Instant::now();
    let mut commits = 0;
    while begun.elapsed() < FRESH {
        insert.execute(params![line])?;
        commits += 1;
    }
    Ok(f64::from(commits) / begun.elapsed().as_secs_f64())
}
