//! A table of SQLite that follows the events, and SQLite alone.

use std::path::Path;
use std::time::{Duration, Instant};

use eventfold::EventReader;
use eventfold_es::Sqlite;
use eventfold_es::prelude::*;
use eventfold_es::rusqlite::{self, Connection, Transaction, params};

use crate::counter::{Counter, CounterEvent, Sums};
use crate::report::{Limit, Report};
use crate::scratch::{Scratch, fill};
use crate::{Failure, ROUNDS, catch_up, runtime};

pub(crate) const NAMES: &[&str] = &["sqlite_ratio"];
pub(crate) const READING: &[&str] = &["catch_up_sqlite_ratio"];

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

/// A projection in memory that catches up, and SQLite that reads the same events from a table, with the same fold.
pub(crate) fn measure_reading(scratch: &Scratch, report: &mut Report) -> Result<(), Failure> {
    let store = scratch.join("catch-up-sqlite");
    fill(
        &store,
        catch_up::STREAMS,
        catch_up::EVENTS / catch_up::STREAMS,
    )?;
    let lines = scratch.join("catch-up-lines");
    let exported = scratch.join("catch-up-exported");
    runtime()?.block_on(catch_up::gather(&store, &exported, &lines))?;
    let events = Events::write(&scratch.join("catch-up.db"), &lines)?;
    let mut ratios = Vec::new();
    for _ in 0..ROUNDS {
        let before = events.read()?;
        let (catching_up, _) = catch_up::projection(&store)?;
        let sqlite = (before + events.read()?) / 2;
        ratios.push(sqlite.as_secs_f64() / catching_up.as_secs_f64());
    }
    report.median("catch_up_sqlite_ratio", ratios, Limit::AtLeast(0.8));
    Ok(())
}

/// A table of events: their names, and their data as JSON text.
pub(crate) struct Events(Connection);

impl Events {
    /// Writes the events of eventfold's lines in a directory.
    pub(crate) fn write(path: &Path, lines: &Path) -> Result<Self, Failure> {
        let mut connection = Connection::open(path)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.execute_batch(
            "CREATE TABLE events (position INTEGER PRIMARY KEY, type TEXT NOT NULL, data TEXT NOT NULL)",
        )?;
        let tx = connection.transaction()?;
        for read in EventReader::new(lines).read_from(0)? {
            let (event, _, _) = read?;
            tx.prepare_cached("INSERT INTO events (type, data) VALUES (?1, ?2)")?
                .execute(params![event.event_type, event.data.to_string()])?;
        }
        tx.commit()?;
        Ok(Self(connection))
    }

    /// Reads and folds all events.
    pub(crate) fn read(&self) -> Result<Duration, Failure> {
        #[derive(Deserialize)]
        struct Added {
            amount: u64,
        }
        let begun = Instant::now();
        let mut sums = Sums::default();
        let mut select = self
            .0
            .prepare("SELECT type, data FROM events ORDER BY position")?;
        let mut rows = select.query([])?;
        while let Some(row) = rows.next()? {
            let event_type = row.get_ref(0)?.as_str()?;
            if event_type == "Added" {
                let added: Added = serde_json::from_str(row.get_ref(1)?.as_str()?)?;
                sums.events += 1;
                sums.amount += added.amount;
            }
        }
        match sums.events == sums.amount && sums.events > 0 {
            true => Ok(begun.elapsed()),
            false => Err(format!("SQLite has {sums:?}").into()),
        }
    }
}

/// The same upserts, in transactions of 1,000.
fn raw(path: &Path, ids: &[String]) -> Result<f64, Failure> {
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
