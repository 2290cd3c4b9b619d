//! A table of SQLite that follows the events, and SQLite alone.

use std::time::{Duration, Instant};

use eventfold_es::Sqlite;
use eventfold_es::prelude::*;
use eventfold_es::rusqlite::{self, Connection, Transaction, params};

use crate::counter::{Counter, CounterEvent};
use crate::report::{Limit, Report};
use crate::scratch::Scratch;
use crate::{Failure, ROUNDS, runtime};

pub(crate) const NAMES: &[&str] = &["sqlite_ratio"];

const STREAMS: usize = 100_000;
const TRANSACTION: usize = 1_000;
const UPSERT: &str =
    "INSERT INTO counters VALUES (?1, 1) ON CONFLICT (id) DO UPDATE SET events = events + 1";
const PREPARE: &str = "DROP TABLE IF EXISTS counters; CREATE TABLE counters (id TEXT PRIMARY KEY, events INTEGER NOT NULL)";

#[projection(subscribes = [Counter], sink = Sqlite)]
struct Counters;

impl Prepare for Counters {
    fn prepare(tx: &mut Transaction<'_>) -> rusqlite::Result<()> {
        tx.execute_batch(PREPARE)
    }
}

impl ProjectInto<Counter> for Counters {
    fn project(
        _: &CounterEvent,
        cx: &EventContext<'_>,
        tx: &mut Transaction<'_>,
    ) -> rusqlite::Result<()> {
        tx.prepare_cached(UPSERT)?
            .execute(params![cx.stream_id()])?;
        Ok(())
    }
}

pub(crate) fn measure(scratch: &Scratch, report: &mut Report) -> Result<(), Failure> {
    let path = scratch.store_of(STREAMS)?;
    let mut ratios = Vec::new();
    for round in 0..ROUNDS {
        let sink = Sqlite::file(scratch.join(&format!("counters-{round}.db")));
        let (rate, ids) = runtime()?.block_on(async {
            let begun = Instant::now();
            let builder = AggregateStore::builder(&path).projection::<Counters>();
            let store = builder.sink(sink).open().await?;
            let position = store.health().await.position;
            store
                .wait_for::<Counters>(position, Duration::from_secs(600))
                .await?;
            let rate = position as f64 / begun.elapsed().as_secs_f64();
            let mut ids = Vec::new();
            let mut events = store.subscribe_all().until_now();
            while let Some(event) = events.next().await {
                ids.push(event?.stream_id().to_owned());
            }
            store.close().await?;
            Ok::<_, Failure>((rate, ids))
        })?;
        let raw = raw(&scratch.join(&format!("raw-{round}.db")), &ids)?;
        report.comment(&format!("{rate:.0} events/s, SQLite alone {raw:.0}"));
        ratios.push(rate / raw);
    }
    report.median("sqlite_ratio", ratios, Limit::AtLeast(0.7));
    Ok(())
}

/// The same upserts, in transactions of 1,000.
fn raw(path: &std::path::Path, ids: &[String]) -> Result<f64, Failure> {
    let mut connection = Connection::open(path)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.execute_batch(PREPARE)?;
    let begun = Instant::now();
    for ids in ids.chunks(TRANSACTION) {
        let tx = connection.transaction()?;
        for id in ids {
            tx.prepare_cached(UPSERT)?.execute(params![id])?;
        }
        tx.commit()?;
    }
    Ok(ids.len() as f64 / begun.elapsed().as_secs_f64())
}
