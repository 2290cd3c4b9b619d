//! Projections into a database that several nodes share.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use eventfold_es::prelude::*;
use eventfold_es::rusqlite::{self, Connection, Transaction, params};
use eventfold_es::testing::SharedLog;
use eventfold_es::{Sink, Sqlite};
use eventfold_es_tests::TestResult;

use super::world::{Cluster, FOREVER, a_moment, hand_over, until, until_follower_of, until_leader};
use crate::common::counter::{Counter, CounterCommand, CounterEvent};

const SOON: Duration = Duration::from_secs(60);

/// A database that a node reaches while the test lets it. The transactions of the node are counted.
#[derive(Clone)]
struct Gated {
    database: Sqlite,
    is_open: Arc<AtomicBool>,
    looks: Arc<AtomicUsize>,
}

impl Sink for Gated {
    type Connection = (<Sqlite as Sink>::Connection, Self);
    type Tx<'t> = Transaction<'t>;
    type Error = rusqlite::Error;

    fn connect(&self) -> rusqlite::Result<Self::Connection> {
        Ok((self.database.connect()?, self.clone()))
    }

    fn transact(
        (connection, gate): &mut Self::Connection,
        projection: &str,
        work: &mut dyn FnMut(&mut Transaction<'_>, Option<&str>) -> Option<String>,
    ) -> rusqlite::Result<()> {
        // A test that fails opens no gate, and ends nevertheless.
        for _ in 0..60_000 {
            if gate.is_open.load(Ordering::SeqCst) {
                break;
            }
            thread::sleep(Duration::from_millis(1));
        }
        let done = Sqlite::transact(connection, projection, work);
        gate.looks.fetch_add(1, Ordering::SeqCst);
        done
    }
}

/// Each addition, in the order of the events. An event that is projected twice is there twice.
#[projection(subscribes = [Counter], sink = Gated)]
struct Additions;

impl Prepare for Additions {
    fn prepare(tx: &mut Transaction<'_>) -> rusqlite::Result<()> {
        tx.execute_batch("DROP TABLE IF EXISTS additions; CREATE TABLE additions (number INTEGER)")
    }
}

impl ProjectInto<Counter> for Additions {
    fn project(
        event: &CounterEvent,
        _: &EventContext<'_>,
        tx: &mut Transaction<'_>,
    ) -> rusqlite::Result<()> {
        if let CounterEvent::Added(by) = event {
            tx.execute("INSERT INTO additions VALUES (?1)", params![by])?;
        }
        Ok(())
    }
}

fn additions(database: &Path) -> rusqlite::Result<Vec<i64>> {
    let connection = Connection::open(database)?;
    let mut select = connection.prepare("SELECT number FROM additions ORDER BY rowid")?;
    select.query_map([], |row| row.get(0))?.collect()
}

async fn open(
    cluster: &Cluster,
    name: &str,
    database: &Path,
    is_open: bool,
) -> (AggregateStore, SharedLog, Gated) {
    let gated = Gated {
        database: Sqlite::file(database).busy_timeout(SOON),
        is_open: Arc::new(AtomicBool::new(is_open)),
        looks: Arc::default(),
    };
    let (builder, log) = cluster.node(name);
    let builder = builder.projection::<Additions>().sink(gated.clone());
    (builder.open().await.expect("it opens"), log, gated)
}

async fn add(store: &AggregateStore, numbers: std::ops::RangeInclusive<i64>) -> TestResult {
    for number in numbers {
        store.send("c-1", CounterCommand::Add(number), ()).await?;
    }
    Ok(())
}

async fn failure(store: &AggregateStore) -> Option<String> {
    store.health().await.projections[0].failure.clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_behind_the_shared_database_waits_until_it_has_the_events() -> TestResult {
    let directory = tempfile::tempdir()?;
    let database = directory.path().join("reports.db");
    let cluster = Cluster::new();
    let (one, one_log, _) = open(&cluster, "one", &database, true).await;
    until_leader(&one).await;
    let (two, two_log, gated) = open(&cluster, "two", &database, false).await;
    until_follower_of(&two, "one").await;
    two_log.cut_off();
    add(&one, 1..=5).await?;
    one.wait_for::<Additions>(5, SOON).await?;

    // The node reads a progress that its journal does not reach.
    gated.is_open.store(true, Ordering::SeqCst);
    until("it has looked at the database", || async {
        gated.looks.load(Ordering::SeqCst) > 0
    })
    .await;
    for _ in 0..5 {
        a_moment().await;
        assert_eq!(failure(&two).await, None);
    }
    // It waits for the events, and not for some time.
    assert_eq!(gated.looks.load(Ordering::SeqCst), 1);
    let early = two.wait_for::<Additions>(0, Duration::from_millis(1)).await;
    assert!(early.is_err(), "{early:?}");

    // When it has the events, it has no need of the database to know that they are projected.
    gated.is_open.store(false, Ordering::SeqCst);
    two_log.reconnect();
    two.wait_for::<Additions>(5, SOON).await?;
    gated.is_open.store(true, Ordering::SeqCst);
    assert_eq!(failure(&two).await, None);
    assert_eq!(additions(&database)?, [1, 2, 3, 4, 5]);

    // Both write: whoever comes first.
    add(&one, 6..=40).await?;
    for store in [&one, &two] {
        store.wait_for::<Additions>(40, SOON).await?;
        assert_eq!(failure(store).await, None);
    }
    hand_over(&one, &one_log, &two, "two").await;
    add(&two, 41..=60).await?;
    for store in [&one, &two] {
        store.wait_for::<Additions>(60, SOON).await?;
        assert_eq!(failure(store).await, None);
    }
    assert_eq!(additions(&database)?, (1..=60).collect::<Vec<_>>());
    Ok(())
}

/// A rebuild that was asked for does not wait.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_behind_the_shared_database_rebuilds_it_on_request() -> TestResult {
    let directory = tempfile::tempdir()?;
    let database = directory.path().join("reports.db");
    let others = Cluster::new();
    let (other, _, _) = open(&others, "other", &database, true).await;
    until_leader(&other).await;
    add(&other, 1..=5).await?;
    other.wait_for::<Additions>(5, SOON).await?;
    other.close().await?;

    let cluster = Cluster::new();
    let (store, _, _) = open(&cluster, "one", &database, true).await;
    until_leader(&store).await;
    add(&store, 7..=8).await?;
    tokio::time::timeout(FOREVER, store.rebuild_projection::<Additions>()).await??;
    assert_eq!(additions(&database)?, [7, 8]);
    Ok(())
}
