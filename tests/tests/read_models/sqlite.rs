//! Projections into SQLite: each event once, whatever becomes of the store and of the database.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use eventfold_es::prelude::*;
use eventfold_es::rusqlite::{self, Connection, Transaction, params};
use eventfold_es::{OpenError, Sqlite, StoreError};
use eventfold_es_tests::{TestResult, copy_directory};

use crate::common::counter::{Counter, CounterCommand, CounterEvent};
use crate::{SOON, refused};

/// The digest of the events of each counter, which depends on their order, and their number.
#[projection(subscribes = [Counter], sink = Sqlite)]
struct Digests;

impl Prepare for Digests {
    fn prepare(tx: &mut Transaction<'_>) -> rusqlite::Result<()> {
        tx.execute_batch(
            "DROP TABLE IF EXISTS digests;
             CREATE TABLE digests (id TEXT PRIMARY KEY, digest INTEGER NOT NULL, events INTEGER NOT NULL)",
        )
    }
}

fn digest(digest: i64, by: i64) -> i64 {
    (digest ^ by).wrapping_mul(0x0100_0000_01b3)
}

impl ProjectInto<Counter> for Digests {
    fn project(
        event: &CounterEvent,
        cx: &EventContext<'_>,
        tx: &mut Transaction<'_>,
    ) -> rusqlite::Result<()> {
        let CounterEvent::Added(by) = event else {
            return Ok(());
        };
        let select = "SELECT digest FROM digests WHERE id = ?1";
        let before = tx
            .prepare_cached(select)?
            .query_row([cx.stream_id()], |row| row.get(0));
        let before = match before {
            Err(rusqlite::Error::QueryReturnedNoRows) => 0,
            before => before?,
        };
        let upsert = "INSERT INTO digests VALUES (?1, ?2, 1)
                      ON CONFLICT (id) DO UPDATE SET digest = ?2, events = events + 1";
        tx.prepare_cached(upsert)?
            .execute(params![cx.stream_id(), digest(before, *by)])?;
        Ok(())
    }
}

async fn open(base: &Path, database: &Path) -> Result<AggregateStore, OpenError> {
    let builder = AggregateStore::builder(base).projection::<Digests>();
    let sink = Sqlite::file(database).busy_timeout(Duration::from_millis(50));
    builder.sink(sink).open().await
}

async fn add(store: &AggregateStore, from: i64, to: i64) -> TestResult {
    for by in from..to {
        let id = if by % 3 == 0 { "a" } else { "b" };
        store.send(id, CounterCommand::Add(by), ()).await?;
    }
    Ok(())
}

/// The table after so many calls of [`add`].
fn wanted(events: i64) -> Vec<(String, i64, i64)> {
    let of = |id: &str, own: &dyn Fn(i64) -> bool| {
        let own: Vec<_> = (0..events).filter(|by| own(*by)).collect();
        let folded = own.iter().fold(0, |sum, by| digest(sum, *by));
        (!own.is_empty()).then(|| (id.to_owned(), folded, own.len() as i64))
    };
    [of("a", &|by| by % 3 == 0), of("b", &|by| by % 3 != 0)]
        .into_iter()
        .flatten()
        .collect()
}

fn table(database: &Path) -> rusqlite::Result<Vec<(String, i64, i64)>> {
    let connection = Connection::open(database)?;
    let mut select = connection.prepare("SELECT id, digest, events FROM digests ORDER BY id")?;
    let rows = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    rows.collect()
}

/// A copy of a database, as a backup tool makes it.
fn copy(from: &Path, to: &Path) -> TestResult {
    let _ = fs::remove_file(to);
    let connection = Connection::open(from)?;
    connection.execute(
        "VACUUM INTO ?1",
        [to.to_str().ok_or("the path is not UTF-8")?],
    )?;
    Ok(())
}

/// Puts a database in the place of another.
fn put(from: &Path, to: &Path) -> TestResult {
    for suffix in ["-wal", "-shm"] {
        let mut name = to.as_os_str().to_owned();
        name.push(suffix);
        let _ = fs::remove_file(name);
    }
    fs::copy(from, to)?;
    Ok(())
}

#[tokio::test]
async fn each_event_is_in_the_table_once() -> TestResult {
    let place = tempfile::tempdir()?;
    let (base, database) = (place.path().join("store"), place.path().join("report.db"));
    let store = open(&base, &database).await?;
    // The table is there before the first event.
    store.wait_for::<Digests>(0, SOON).await?;
    add(&store, 0, 40).await?;
    store.wait_for::<Digests>(40, SOON).await?;
    assert_eq!(table(&database)?, wanted(40));
    store.close().await?;
    let store = open(&base, &database).await?;
    add(&store, 40, 60).await?;
    store.wait_for::<Digests>(60, SOON).await?;
    assert_eq!(table(&database)?, wanted(60));
    store.rebuild_projection::<Digests>().await?;
    assert_eq!(table(&database)?, wanted(60));
    Ok(())
}

#[tokio::test]
async fn a_store_without_the_database_says_so() -> TestResult {
    let place = tempfile::tempdir()?;
    let builder = AggregateStore::builder(place.path().join("store"));
    let error = builder.projection::<Digests>().open().await.unwrap_err();
    let text = error.to_string();
    assert_eq!(
        text,
        "the projection `digests` writes to the sink `Sqlite`, which the store does not have: add `.sink(..)` with a `Sqlite` to the \
         builder of the store"
    );
    assert!(!place.path().join("store").exists());
    Ok(())
}

/// Every moment of the store with every moment of the database: an older database goes on, one that is ahead is refused and
/// left alone, and goes on when the store has caught up with it.
#[tokio::test]
async fn a_database_of_any_moment_fits_a_store_of_any_moment() -> TestResult {
    const MOMENTS: i64 = 5;
    let place = tempfile::tempdir()?;
    let at = |name: String| place.path().join(name);
    let (base, database) = (at("store".into()), at("report.db".into()));
    for moment in 0..MOMENTS {
        let store = open(&base, &database).await?;
        add(&store, moment * 3, (moment + 1) * 3).await?;
        store
            .wait_for::<Digests>((moment as u64 + 1) * 3, SOON)
            .await?;
        store.close().await?;
        copy(&database, &at(format!("{moment}.db")))?;
        copy_directory(&base, &at(format!("store-{moment}")))?;
    }
    for of_store in 0..MOMENTS {
        for of_database in 0..MOMENTS {
            let (base, database) = (at("tried".into()), at("tried.db".into()));
            let _ = fs::remove_dir_all(&base);
            copy_directory(&at(format!("store-{of_store}")), &base)?;
            put(&at(format!("{of_database}.db")), &database)?;
            let store = open(&base, &database).await?;
            let events = (of_store + 1) * 3;
            if of_database > of_store {
                refused::<Digests>(&store, events as u64, &["it is ahead of this store"]).await;
                assert_eq!(table(&database)?, wanted((of_database + 1) * 3));
                // The same events again, as if the newer copy of the store were put back: another history.
                store.rebuild_projection::<Digests>().await?;
            }
            store.wait_for::<Digests>(events as u64, SOON).await?;
            assert_eq!(
                table(&database)?,
                wanted(events),
                "{of_store} {of_database}"
            );
            add(&store, events, events + 2).await?;
            store.wait_for::<Digests>(events as u64 + 2, SOON).await?;
            assert_eq!(
                table(&database)?,
                wanted(events + 2),
                "{of_store} {of_database}"
            );
            store.close().await?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_database_of_another_store_is_refused() -> TestResult {
    let place = tempfile::tempdir()?;
    let database = place.path().join("report.db");
    let store = open(&place.path().join("one"), &database).await?;
    add(&store, 0, 3).await?;
    store.wait_for::<Digests>(3, SOON).await?;
    store.close().await?;
    let store = open(&place.path().join("other"), &database).await?;
    add(&store, 10, 20).await?;
    let reasons = ["it belongs to another store", "it is ahead"];
    refused::<Digests>(&store, 1, &reasons).await;
    assert_eq!(table(&database)?, wanted(3));
    Ok(())
}

#[tokio::test]
async fn a_database_that_is_locked_removed_or_older_meanwhile_is_caught_up() -> TestResult {
    let place = tempfile::tempdir()?;
    let (base, database) = (place.path().join("store"), place.path().join("report.db"));
    let store = open(&base, &database).await?;
    add(&store, 0, 6).await?;
    store.wait_for::<Digests>(6, SOON).await?;

    // Locked by another program.
    let other = Connection::open(&database)?;
    other.execute_batch("BEGIN IMMEDIATE")?;
    add(&store, 6, 9).await?;
    refused::<Digests>(&store, 9, &["database is locked"]).await;
    other.execute_batch("COMMIT")?;
    store.wait_for::<Digests>(9, SOON).await?;
    assert_eq!(table(&database)?, wanted(9));

    // Changed under the running program: the rows and the progress of an earlier moment.
    let earlier = place.path().join("earlier.db");
    copy(&database, &earlier)?;
    add(&store, 9, 15).await?;
    store.wait_for::<Digests>(15, SOON).await?;
    other.execute("ATTACH ?1 AS earlier", [earlier.to_str()])?;
    other.execute_batch(
        "BEGIN IMMEDIATE;
         DELETE FROM digests; INSERT INTO digests SELECT * FROM earlier.digests;
         DELETE FROM eventfold_progress; INSERT INTO eventfold_progress SELECT * FROM earlier.eventfold_progress;
         COMMIT",
    )?;
    assert_eq!(table(&database)?, wanted(9));
    add(&store, 15, 18).await?;
    store.wait_for::<Digests>(18, SOON).await?;
    assert_eq!(table(&database)?, wanted(18));

    // Removed.
    drop(other);
    fs::remove_file(&database)?;
    add(&store, 18, 20).await?;
    store.wait_for::<Digests>(20, SOON).await?;
    assert_eq!(table(&database)?, wanted(20));
    Ok(())
}

/// Refuses an event by a constraint of its table.
static REFUSES: AtomicBool = AtomicBool::new(true);
/// How often its tables were prepared.
static PREPARED: AtomicU32 = AtomicU32::new(0);

#[projection(subscribes = [Counter], sink = Sqlite, on_failure = "skip")]
struct Positive;

impl Prepare for Positive {
    fn prepare(tx: &mut Transaction<'_>) -> rusqlite::Result<()> {
        PREPARED.fetch_add(1, Ordering::SeqCst);
        tx.execute_batch("DROP TABLE IF EXISTS positive; CREATE TABLE positive (value INTEGER CHECK (value >= 0))")
    }
}

impl ProjectInto<Counter> for Positive {
    fn project(
        event: &CounterEvent,
        _: &EventContext<'_>,
        tx: &mut Transaction<'_>,
    ) -> rusqlite::Result<()> {
        if let CounterEvent::Added(by) = event
            && REFUSES.load(Ordering::SeqCst)
        {
            tx.execute("INSERT INTO positive VALUES (?1)", [by])?;
        }
        Ok(())
    }
}

#[tokio::test]
async fn an_event_that_the_table_refuses_is_skipped_with_its_reason() -> TestResult {
    let place = tempfile::tempdir()?;
    let database = place.path().join("report.db");
    let builder = AggregateStore::builder(place.path().join("store")).projection::<Positive>();
    let store = builder.sink(Sqlite::file(&database)).open().await?;
    for by in [1, -2, 3, -4, 5] {
        store.send("a", CounterCommand::Add(by), ()).await?;
    }
    store.wait_for::<Positive>(5, SOON).await?;
    let connection = Connection::open(&database)?;
    let sum: i64 = connection.query_row("SELECT sum(value) FROM positive", [], |row| row.get(0))?;
    assert_eq!(sum, 9);
    let select = "SELECT progress FROM eventfold_progress WHERE projection = 'positive'";
    let progress: String = connection.query_row(select, [], |row| row.get(0))?;
    assert!(
        progress.contains("\"skipped\":2") && progress.contains("CHECK constraint failed"),
        "{progress}"
    );
    assert_eq!(
        store
            .health()
            .await
            .projections
            .first()
            .map(|positive| positive.skipped),
        Some(2)
    );
    let unknown = store.wait_for::<Digests>(1, SOON).await;
    assert!(matches!(unknown, Err(StoreError::NotRegistered { .. })));

    // A rebuild skips them too, and does not begin again for it.
    let prepared = PREPARED.load(Ordering::SeqCst);
    store.rebuild_projection::<Positive>().await?;
    assert_eq!(PREPARED.load(Ordering::SeqCst), prepared + 1);
    let values = "SELECT group_concat(value) FROM positive";
    let values: String = connection.query_row(values, [], |row| row.get(0))?;
    assert_eq!(values, "1,3,5");
    let progress: String = connection.query_row(select, [], |row| row.get(0))?;
    assert!(progress.contains("\"skipped\":2"), "{progress}");
    Ok(())
}

/// Has a constraint that is checked when the transaction commits.
#[projection(subscribes = [Counter], sink = Sqlite, on_failure = "skip")]
struct Owned;

impl Prepare for Owned {
    fn prepare(tx: &mut Transaction<'_>) -> rusqlite::Result<()> {
        tx.execute_batch(
            "DROP TABLE IF EXISTS owned; DROP TABLE IF EXISTS owners; CREATE TABLE owners (id INTEGER PRIMARY KEY);
             CREATE TABLE owned (value INTEGER, owner INTEGER REFERENCES owners DEFERRABLE INITIALLY DEFERRED)",
        )
    }
}

impl ProjectInto<Counter> for Owned {
    fn project(
        event: &CounterEvent,
        _: &EventContext<'_>,
        tx: &mut Transaction<'_>,
    ) -> rusqlite::Result<()> {
        if let CounterEvent::Added(by) = event {
            let owner = (*by < 0).then_some(*by);
            tx.execute("INSERT INTO owned VALUES (?1, ?2)", params![by, owner])?;
        }
        Ok(())
    }
}

#[tokio::test]
async fn events_that_are_refused_at_the_commit_are_skipped_and_no_others() -> TestResult {
    let place = tempfile::tempdir()?;
    let (base, database) = (place.path().join("store"), place.path().join("report.db"));
    let store = AggregateStore::open(&base).await?;
    for by in (1..50).chain([-1, 50, -2]).chain(51..60) {
        store.send("a", CounterCommand::Add(by), ()).await?;
    }
    store.close().await?;
    let builder = AggregateStore::builder(&base).projection::<Owned>();
    let store = builder.sink(Sqlite::file(&database)).open().await?;
    store.wait_for::<Owned>(61, SOON).await?;
    let connection = Connection::open(&database)?;
    let (sum, rows): (i64, i64) =
        connection.query_row("SELECT sum(value), count(*) FROM owned", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?;
    assert_eq!((sum, rows), ((1..60).sum(), 59));
    let health = store.health().await;
    assert_eq!(
        health.projections.first().map(|owned| owned.skipped),
        Some(2)
    );
    store.close().await?;
    Ok(())
}

#[tokio::test]
async fn progress_in_another_form_is_the_same_progress() -> TestResult {
    let place = tempfile::tempdir()?;
    let (base, database) = (place.path().join("store"), place.path().join("report.db"));
    let store = open(&base, &database).await?;
    add(&store, 0, 3).await?;
    store.wait_for::<Digests>(3, SOON).await?;
    let spaces = "UPDATE eventfold_progress SET progress = replace(progress, ',', ' , ')";
    assert_eq!(Connection::open(&database)?.execute(spaces, [])?, 1);
    add(&store, 3, 9).await?;
    store.wait_for::<Digests>(9, SOON).await?;
    assert_eq!(table(&database)?, wanted(9));
    store.close().await?;
    Ok(())
}
