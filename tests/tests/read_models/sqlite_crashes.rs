//! A projection into SQLite under crashes: the process dies at each step of a transaction, and each write to the files of the database
//! may be the last. The rows are always those of the events that the progress names.
//!
//! `EVENTFOLD_CRASH_SEED=7` loses other sectors. `EVENTFOLD_FULL=1` cuts the log at each sector.

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use eventfold_es::contract::SqliteConnection;
use eventfold_es::disk::SplitMix64;
use eventfold_es::prelude::*;
use eventfold_es::rusqlite::{self, Connection, Transaction, params};
use eventfold_es::{Sink, SinkFault, Sqlite};
use eventfold_es_tests::campaign::{number, size};
use eventfold_es_tests::{TestResult, copy_directory};

use crate::SOON;
use crate::common::counter::{Counter, CounterCommand, CounterEvent};

/// The directory of the program that dies.
const PLACE: &str = "EVENTFOLD_SQLITE_PLACE";
/// The number of the step at which it dies.
const DIES_AT: &str = "EVENTFOLD_SQLITE_DIES_AT";

/// A step of a life. The program dies here, if it is the step for that.
fn step() {
    static STEPS: AtomicU64 = AtomicU64::new(1);
    static LAST: OnceLock<Option<u64>> = OnceLock::new();
    let step = STEPS.fetch_add(1, Ordering::SeqCst);
    if *LAST.get_or_init(|| number(DIES_AT)) == Some(step) {
        std::process::abort();
    }
}

/// SQLite, with steps around its calls.
struct Stepping(Sqlite);

impl Sink for Stepping {
    type Connection = SqliteConnection;
    type Tx<'t> = Transaction<'t>;
    type Error = rusqlite::Error;

    fn connect(&self) -> rusqlite::Result<SqliteConnection> {
        step();
        let connected = self.0.connect();
        step();
        connected
    }

    fn transact(
        connection: &mut SqliteConnection,
        projection: &str,
        work: &mut dyn FnMut(&mut Transaction<'_>, Option<&str>) -> Option<String>,
    ) -> rusqlite::Result<()> {
        step();
        let done = Sqlite::transact(connection, projection, &mut |tx, progress| {
            step();
            let next = work(tx, progress);
            step();
            next
        });
        step();
        done
    }

    fn fault(error: &rusqlite::Error) -> SinkFault {
        Sqlite::fault(error)
    }
}

/// The numbers in their order, and their sum. Each event adds the number of its position.
#[projection(subscribes = [Counter], sink = Stepping)]
struct Numbers;

impl Prepare for Numbers {
    fn prepare(tx: &mut Transaction<'_>) -> rusqlite::Result<()> {
        for statement in [
            "DROP TABLE IF EXISTS numbers",
            "DROP TABLE IF EXISTS sums",
            "CREATE TABLE numbers (n INTEGER PRIMARY KEY, number INTEGER NOT NULL, note TEXT NOT NULL)",
            "CREATE TABLE sums (id TEXT PRIMARY KEY, sum INTEGER NOT NULL)",
        ] {
            step();
            tx.execute(statement, [])?;
        }
        step();
        Ok(())
    }
}

impl ProjectInto<Counter> for Numbers {
    fn project(
        event: &CounterEvent,
        _: &EventContext<'_>,
        tx: &mut Transaction<'_>,
    ) -> rusqlite::Result<()> {
        let CounterEvent::Added(number) = event else {
            return Ok(());
        };
        step();
        // Several pages for a transaction.
        let note = "x".repeat(700);
        tx.execute(
            "INSERT INTO numbers (number, note) VALUES (?1, ?2)",
            params![number, note],
        )?;
        step();
        tx.execute(
            "INSERT INTO sums VALUES ('all', ?1) ON CONFLICT (id) DO UPDATE SET sum = sum + ?1",
            [number],
        )?;
        step();
        Ok(())
    }
}

struct Place {
    store: PathBuf,
    database: PathBuf,
}

impl Place {
    fn of(directory: &Path) -> Self {
        Self {
            store: directory.join("store"),
            database: directory.join("numbers.db"),
        }
    }

    async fn open(&self) -> AggregateStore {
        let builder = AggregateStore::builder(&self.store).projection::<Numbers>();
        let sink = Stepping(Sqlite::file(&self.database));
        builder.sink(sink).open().await.unwrap()
    }
}

/// Adds the next numbers, each with one command.
async fn add(store: &AggregateStore, count: u64) -> u64 {
    let mut position = store.health().await.position;
    for _ in 0..count {
        position += 1;
        let add = CounterCommand::Add(position as i64);
        let added = store.send("a", add, ()).await.unwrap();
        assert_eq!(added.position, Some(position));
    }
    position
}

/// Fails unless the tables have the events up to the progress, each once and in order; returns the position of the progress.
fn check(database: &Path, what: &str) -> u64 {
    let connection = Connection::open(database).unwrap();
    let text = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, String>(0));
    assert_eq!(text("PRAGMA integrity_check").unwrap(), "ok", "{what}");
    let has_tables = "SELECT count(*) FROM sqlite_master WHERE name = 'eventfold_progress'";
    let tables: i64 = connection
        .query_row(has_tables, [], |row| row.get(0))
        .unwrap();
    if tables == 0 {
        return 0;
    }
    let progress = match text("SELECT progress FROM eventfold_progress") {
        Err(rusqlite::Error::QueryReturnedNoRows) => return 0,
        progress => progress.unwrap(),
    };
    let progress: serde_json::Value = serde_json::from_str(&progress).unwrap();
    let position = progress["position"].as_u64().unwrap();
    let mut select = connection
        .prepare("SELECT number FROM numbers ORDER BY n")
        .unwrap();
    let numbers = select.query_map([], |row| row.get::<_, i64>(0)).unwrap();
    let numbers: Vec<_> = numbers.map(Result::unwrap).collect();
    let wanted: Vec<_> = (1..=position.cast_signed()).collect();
    assert_eq!(numbers, wanted, "{what}: {progress}");
    let sum = "SELECT coalesce(sum(sum), 0) FROM sums";
    let sum: i64 = connection.query_row(sum, [], |row| row.get(0)).unwrap();
    assert_eq!(sum, wanted.iter().sum::<i64>(), "{what}: {progress}");
    position
}

/// One life of the program: it catches up, adds numbers, and rebuilds.
async fn live(place: &Place) {
    let store = place.open().await;
    store
        .wait_for::<Numbers>(store.health().await.position, SOON)
        .await
        .unwrap();
    for _ in 0..2 {
        let position = add(&store, 2).await;
        store.wait_for::<Numbers>(position, SOON).await.unwrap();
    }
    store.rebuild_projection::<Numbers>().await.unwrap();
    store.close().await.unwrap();
}

#[tokio::test]
async fn the_program_dies_at_each_step() -> TestResult {
    if let Ok(place) = env::var(PLACE) {
        live(&Place::of(Path::new(&place))).await;
        return Ok(());
    }
    let begun = tempfile::tempdir()?;
    let place = Place::of(begun.path());
    let store = place.open().await;
    let before = add(&store, 3).await;
    store.wait_for::<Numbers>(before, SOON).await?;
    store.close().await?;
    // With the database, and with an empty one.
    dies_at_each_step(begun.path(), before).await?;
    fs::remove_file(&place.database)?;
    dies_at_each_step(begun.path(), 0).await
}

/// Each life begins with a copy of a place whose database has the events up to a position.
async fn dies_at_each_step(begun: &Path, before: u64) -> TestResult {
    for step in (1..).step_by(size(3, 1)) {
        let what = format!("after {before}, step {step}");
        let directory = tempfile::tempdir()?;
        let place = Place::of(directory.path());
        copy_directory(begun, directory.path())?;
        let life = Command::new(env::current_exe()?)
            .args([
                "--exact",
                "sqlite_crashes::the_program_dies_at_each_step",
                "--nocapture",
            ])
            .env(PLACE, directory.path())
            .env(DIES_AT, step.to_string())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()?;
        let position = check(&place.database, &what);
        assert!(position >= before, "{what}: {position}");
        let store = place.open().await;
        let end = add(&store, 1).await;
        store.wait_for::<Numbers>(end, SOON).await?;
        store.close().await?;
        assert_eq!(check(&place.database, &what), end);
        if life.success() {
            // It had no step with this number.
            assert!(step > 50, "only {step} steps");
            return Ok(());
        }
        assert_eq!(life.code(), None, "{what}: it failed");
    }
    Ok(())
}

const SECTOR: usize = 512;
const WAL_HEADER: usize = 32;
const FRAME_HEADER: usize = 24;
const PAGE: usize = 4096;

/// The files of a database at one moment.
#[derive(Clone)]
struct Image {
    database: Vec<u8>,
    log: Vec<u8>,
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

impl Image {
    fn read(database: &Path) -> Self {
        Self {
            database: fs::read(database).unwrap(),
            log: fs::read(with_suffix(database, "-wal")).unwrap(),
        }
    }

    /// Puts it in the place of a database that nobody uses. The index of the log is lost with the process.
    fn write(&self, database: &Path) {
        let _ = fs::remove_file(with_suffix(database, "-shm"));
        fs::write(database, &self.database).unwrap();
        fs::write(with_suffix(database, "-wal"), &self.log).unwrap();
    }
}

/// The first bytes of the new content, and behind them those of the old.
fn cut(old: &[u8], new: &[u8], at: usize) -> Vec<u8> {
    let at = at.min(new.len());
    let rest = old.get(at..).unwrap_or_default();
    [&new[..at], rest].concat()
}

/// Each block of this size is that of the old or of the new content.
fn mixed(old: &[u8], new: &[u8], block: usize, random: &mut SplitMix64) -> Vec<u8> {
    let length = old.len().max(new.len());
    let mut mixed = new.to_vec();
    mixed.resize(length, 0);
    for (at, mixed) in mixed.chunks_mut(block).enumerate() {
        if random.chance(4) {
            continue;
        }
        let old = old.get(at * block..).unwrap_or_default();
        for (byte, mixed) in mixed.iter_mut().enumerate() {
            *mixed = old.get(byte).copied().unwrap_or(0);
        }
    }
    mixed
}

/// The places between two writes of SQLite, and within some of them.
fn cuts(old: &[u8], new: &[u8]) -> BTreeSet<usize> {
    let frames = (0..).map(|frame| WAL_HEADER + frame * (FRAME_HEADER + PAGE));
    let frames = frames.take_while(|at| *at <= new.len());
    let mut cuts: BTreeSet<_> = frames
        .flat_map(|at| [at, at + FRAME_HEADER, at + FRAME_HEADER + PAGE / 2])
        .collect();
    if size(0, 1) == 1 {
        cuts.extend((0..new.len()).step_by(SECTOR));
    }
    cuts.extend([0, WAL_HEADER / 2, new.len()]);
    cuts.retain(|at| *at <= new.len() && old.get(*at..) != new.get(*at..));
    cuts.insert(new.len());
    cuts
}

#[tokio::test]
async fn any_write_to_the_files_is_the_last() -> TestResult {
    let seed = number("EVENTFOLD_CRASH_SEED").unwrap_or(20_260_101);
    println!("seed {seed}");
    let mut random = SplitMix64::new(seed);
    let directory = tempfile::tempdir()?;
    let place = Place::of(directory.path());
    let store = place.open().await;
    let other = || Connection::open(&place.database);

    // The images of each round: before it, after it, and after a checkpoint of SQLite.
    let mut rounds = Vec::new();
    store.wait_for::<Numbers>(0, SOON).await?;
    let mut end = 0;
    for round in 0..10 {
        let before = (end, Image::read(&place.database));
        for _ in 0..=round % 4 {
            end = add(&store, 1).await;
            store.wait_for::<Numbers>(end, SOON).await?;
        }
        let after = (end, Image::read(&place.database));
        let mut checkpointed = None;
        if round % 3 == 2 {
            // The next transaction writes from the begin of the log.
            let reset = "PRAGMA wal_checkpoint(RESTART)";
            let busy: i64 = other()?.query_row(reset, [], |row| row.get(0))?;
            assert_eq!(busy, 0);
            checkpointed = Some(Image::read(&place.database));
        }
        rounds.push((before, after, checkpointed));
    }
    store.close().await?;

    let mut images = 0;
    let tried = Place {
        store: place.store.clone(),
        database: directory.path().join("tried.db"),
    };
    let mut found = BTreeSet::new();
    let mut synced = rounds[0].0.clone();
    let mut try_image = async |image: Image, at_least, what: String| -> TestResult {
        image.write(&tried.database);
        let position = check(&tried.database, &what);
        assert!(
            (at_least..=end).contains(&position),
            "{what}: {position} of {at_least} to {end}"
        );
        found.insert(position);
        images += 1;
        if images % size(8, 1) == 0 {
            // The first connection has made a checkpoint.
            image.write(&tried.database);
            let store = tried.open().await;
            store.wait_for::<Numbers>(end, SOON).await?;
            store.close().await?;
            assert_eq!(check(&tried.database, &what), end);
        }
        Ok(())
    };
    for (round, ((first, before), (last, after), checkpointed)) in rounds.into_iter().enumerate() {
        // The process dies: what it has written is there.
        for at in cuts(&before.log, &after.log) {
            let image = Image {
                database: before.database.clone(),
                log: cut(&before.log, &after.log, at),
            };
            let what = format!("round {round}, cut at {at}");
            try_image(image, first, what).await?;
        }
        // The machine loses its power: any part may be missing since the last checkpoint.
        for _ in 0..size(10, 200) {
            let image = Image {
                database: after.database.clone(),
                log: mixed(&synced.1.log, &after.log, SECTOR, &mut random),
            };
            try_image(image, synced.0, format!("round {round}, lost sectors")).await?;
        }
        let Some(checkpointed) = checkpointed else {
            continue;
        };
        // A checkpoint syncs the log, and then writes the database.
        for _ in 0..size(5, 100) {
            let image = Image {
                database: mixed(&after.database, &checkpointed.database, SECTOR, &mut random),
                log: after.log.clone(),
            };
            try_image(image, last, format!("round {round}, in a checkpoint")).await?;
        }
        synced = (last, checkpointed);
    }
    // The cuts are in all transactions.
    assert_eq!(found, (0..=end).collect());
    Ok(())
}
