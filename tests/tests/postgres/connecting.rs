//! Connections, and several programs that connect at once.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use eventfold_es::contract::PostgresConnection;
use eventfold_es::postgres::Config;
use eventfold_es::{Postgres, Sink};
use eventfold_es_tests::TestResult;

use crate::pad::{Retried, Stopped, check_all, open, write_some};
use crate::server::{batch, database, shared, sql};

#[tokio::test]
async fn a_wrong_url_is_named_without_the_password() -> TestResult {
    for (url, problem) in [
        (
            "postgresql://me:hunter2@localhost/db?colour=red",
            "unknown option `colour`",
        ),
        (
            "postgresql://me:hunter2@localhost:port/db",
            "invalid value for option `port`",
        ),
        (
            "postgresql://me:not@hunter2?hunter2=@localhost/db",
            "unescaped characters",
        ),
        (
            "postgresql:/me:hunter2@localhost/db?connect_timeout=1",
            "not a URL",
        ),
        ("host=localhost password=not hunter2=x", "not a URL"),
        (
            "postgresql://me:hunter2@127.0.0.1:1/db",
            "error connecting to server",
        ),
    ] {
        let sink = Postgres::url(url);
        let debug = format!("{sink:?}");
        assert!(debug.starts_with("Postgres {"), "{debug}");
        assert!(!debug.contains("hunter2"), "{debug}");

        let directory = tempfile::tempdir()?;
        let store = open::<Retried>(directory.path(), sink).await;
        let position = write_some(&store, 0, 1).await;
        let waited = store
            .wait_for::<Retried>(position, Duration::from_millis(300))
            .await;
        let failure = format!("{:?}", waited.unwrap_err());
        assert!(failure.contains(problem), "{url}: {failure}");
        assert!(!failure.contains("hunter2"), "{url}: {failure}");
        store.close().await?;
    }
    Ok(())
}

fn setting(connection: &mut PostgresConnection, name: &str) -> String {
    let mut value = String::new();
    let read = Postgres::transact(connection, "none", &mut |tx, _| {
        let row = tx
            .query_one("SELECT current_setting($1)", &[&name])
            .unwrap();
        value = row.get(0);
        None
    });
    read.unwrap();
    value
}

#[test]
fn the_session_has_limits_unless_the_url_sets_them() -> TestResult {
    let url = shared().database();
    let mut connection = Postgres::url(&url).connect()?;
    assert_eq!(setting(&mut connection, "statement_timeout"), "1min");
    assert_eq!(setting(&mut connection, "tcp_keepalives_idle"), "30");
    assert_eq!(setting(&mut connection, "application_name"), "eventfold-es");

    let own = format!("{url}?options=-c%20statement_timeout%3D5s%20-c%20tcp_keepalives_idle%3D7");
    let mut connection = Postgres::url(&own).connect()?;
    assert_eq!(setting(&mut connection, "statement_timeout"), "5s");
    assert_eq!(setting(&mut connection, "tcp_keepalives_idle"), "7");
    assert_eq!(setting(&mut connection, "tcp_keepalives_count"), "3");

    let mut config: Config = url.parse()?;
    config
        .options("-c statement_timeout=0")
        .application_name("shop");
    let mut connection = Postgres::config(config).connect()?;
    assert_eq!(setting(&mut connection, "statement_timeout"), "0");
    assert_eq!(setting(&mut connection, "application_name"), "shop");
    Ok(())
}

#[tokio::test]
async fn a_database_that_allows_no_new_tables_is_used_if_the_table_is_there() -> TestResult {
    let (url, sink) = database();
    drop(tokio::task::spawn_blocking(move || sink.connect().map(drop)).await?);
    batch(
        &url,
        "CREATE ROLE clerk LOGIN; REVOKE CREATE ON SCHEMA public FROM PUBLIC;
         GRANT SELECT, INSERT, UPDATE ON eventfold_progress TO clerk;",
    )
    .await?;
    let clerk = Postgres::url(url.replace("postgres@", "clerk@"));
    let connected = tokio::task::spawn_blocking(move || {
        let mut connection = clerk.connect()?;
        Postgres::transact(&mut connection, "of the clerk", &mut |_, _| {
            Some("{}".to_owned())
        })
    });
    connected.await??;
    Ok(())
}

#[test]
fn the_table_is_created_by_many_connections_at_once() {
    for _ in 0..5 {
        let sink = Postgres::url(shared().database());
        std::thread::scope(|scope| {
            let connects = (0..8).map(|_| scope.spawn(|| sink.connect().map(drop)));
            for connect in connects.collect::<Vec<_>>() {
                connect.join().unwrap().unwrap();
            }
        });
    }
}

/// Two copies of a store stand for two programs: they have the same history, and one database.
#[tokio::test(flavor = "multi_thread")]
async fn two_programs_with_one_projection_project_each_event_once() -> TestResult {
    let (first, second) = (tempfile::tempdir()?, tempfile::tempdir()?);
    for directory in [first.path(), second.path()] {
        std::fs::create_dir_all(directory)?;
    }
    let store = crate::pad::builder(first.path()).open().await?;
    write_some(&store, 0, 3_000).await;
    store.close().await?;
    eventfold_es_tests::copy_directory(first.path(), second.path())?;
    for _ in 0..5 {
        let (url, sink) = database();
        let (one, two) = tokio::join!(
            open::<Retried>(first.path(), sink.clone()),
            open::<Retried>(second.path(), sink.clone()),
        );
        tokio::join!(
            check_all::<Retried>(&one, &url),
            check_all::<Retried>(&two, &url)
        );
        tokio::try_join!(one.close(), two.close())?;
    }
    Ok(())
}

#[tokio::test]
async fn the_rows_of_progress_are_read_by_other_programs() -> TestResult {
    let directory = tempfile::tempdir()?;
    let (url, sink) = database();
    let store = open::<Stopped>(directory.path(), sink).await;
    write_some(&store, 0, 10).await;
    check_all::<Stopped>(&store, &url).await;
    let rows = sql(&url, |client| {
        client.query("SELECT projection FROM eventfold_progress", &[])
    })
    .await?;
    let names: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(names, ["stopped"]);
    store.close().await?;
    Ok(())
}

/// The task of a projection is dropped with its connection, on a thread that may not block.
#[test]
fn a_runtime_that_ends_before_the_store_closes_the_connection() -> TestResult {
    let directory = tempfile::tempdir()?;
    let (url, sink) = database();
    let runtime = tokio::runtime::Runtime::new()?;
    let store = runtime.block_on(async {
        let store = open::<Retried>(directory.path(), sink).await;
        write_some(&store, 0, 10).await;
        check_all::<Retried>(&store, &url).await;
        store
    });
    // A client that is closed on the wrong thread panics, which the store catches.
    static HAS_PANICKED: AtomicBool = AtomicBool::new(false);
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let is_ours = panic.to_string().contains("runtime");
        HAS_PANICKED.fetch_or(is_ours, Ordering::SeqCst);
        print(panic);
    }));
    drop(runtime);
    drop(store);
    assert!(!HAS_PANICKED.load(Ordering::SeqCst));
    let runtime = tokio::runtime::Runtime::new()?;
    let count = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'eventfold-es' AND datname = current_database()";
    for _ in 0..100 {
        let left = runtime.block_on(sql(&url, |client| client.query_one(count, &[])))?;
        if left.get::<_, i64>(0) == 0 {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Err("the connection is still there".into())
}
