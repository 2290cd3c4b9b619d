//! Events that a database refuses, and the policies for them.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use eventfold_es::Postgres;
use eventfold_es::contract::{ReadModel, SinkProjection};
use eventfold_es::postgres::{Error, Transaction};
use eventfold_es::prelude::*;
use eventfold_es::store::ProjectionHealth;
use eventfold_es_tests::TestResult;

use crate::pad::{Pad, PadEvent, Retried, SOON, Skipped, Stopped};
use crate::pad::{
    builder, check, check_all, open, prepare, tables, write, write_numbers, write_some,
};
use crate::server::{batch, database};

async fn health<P: ReadModel>(store: &AggregateStore) -> ProjectionHealth {
    let health = store.health().await.projections.into_iter();
    health
        .clone()
        .find(|health| health.name == P::NAME)
        .unwrap()
}

/// A store whose projection finds an event with a number in the middle of others.
async fn open_with<P: ReadModel>(
    directory: &std::path::Path,
    sink: Postgres,
    number: i64,
) -> (AggregateStore, u64) {
    let store = builder(directory).open().await.unwrap();
    write_some(&store, 0, 50).await;
    write_numbers(&store, "pad-1", vec![8, number, 9]).await;
    write_some(&store, 50, 50).await;
    store.close().await.unwrap();
    let store = open::<P>(directory, sink).await;
    let end = store.health().await.position;
    (store, end)
}

/// Fails unless a projection skips the event with a number, and no other: in a batch, and when it comes.
async fn is_skipped<P: ReadModel + SinkProjection>(number: i64, reason: &str) -> TestResult {
    let directory = tempfile::tempdir()?;
    let (url, sink) = database();
    let (store, end) = open_with::<P>(directory.path(), sink, number).await;
    store.wait_for::<P>(end, SOON).await?;
    check::<P>(&store, &url, &[number]).await;
    assert_eq!(health::<P>(&store).await.skipped, 1);
    let progress = tables::<P>(&url).await.unwrap().progress;
    let saved = progress["reasons"][0]["reason"].as_str().unwrap();
    assert!(saved.contains(reason), "{saved}");

    write_numbers(&store, "pad-1", vec![number]).await;
    let end = write_some(&store, 100, 5).await;
    store.wait_for::<P>(end, SOON).await?;
    check::<P>(&store, &url, &[number]).await;
    assert_eq!(health::<P>(&store).await.skipped, 2);
    store.close().await?;
    Ok(())
}

#[tokio::test]
async fn an_event_that_violates_a_constraint_is_skipped() -> TestResult {
    is_skipped::<Skipped>(13, "no_13").await
}

#[tokio::test]
async fn an_event_that_violates_a_constraint_stops_the_projection_until_it_is_resumed() -> TestResult
{
    let directory = tempfile::tempdir()?;
    let (url, sink) = database();
    let (store, end) = open_with::<Stopped>(directory.path(), sink, 13).await;
    let failure = store
        .wait_for::<Stopped>(end, SOON)
        .await
        .unwrap_err()
        .to_string();
    assert!(failure.contains("no_13"), "{failure}");
    check::<Stopped>(&store, &url, &[]).await;
    let lines = tables::<Stopped>(&url).await.unwrap().lines;
    assert_eq!(lines.last().map(|(_, _, number)| *number), Some(8));

    batch(&url, "ALTER TABLE stopped_lines DROP CONSTRAINT no_13").await?;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(health::<Stopped>(&store).await.failure.is_some());
    check_all::<Stopped>(&store, &url).await;
    store.close().await?;
    Ok(())
}

#[tokio::test]
async fn an_event_that_violates_a_constraint_is_retried() -> TestResult {
    let directory = tempfile::tempdir()?;
    let (url, sink) = database();
    let (store, end) = open_with::<Retried>(directory.path(), sink, 13).await;
    let failure = store.wait_for::<Retried>(end, Duration::from_secs(1)).await;
    let failure = failure.unwrap_err().to_string();
    assert!(failure.contains("no_13"), "{failure}");
    batch(&url, "ALTER TABLE retried_lines DROP CONSTRAINT no_13").await?;
    store.wait_for::<Retried>(end, SOON).await?;
    check_all::<Retried>(&store, &url).await;
    store.close().await?;
    Ok(())
}

/// Ignores the error of a statement.
#[projection(subscribes = [Pad], sink = Postgres, on_failure = "skip")]
struct Careless;

impl Prepare for Careless {
    fn prepare(tx: &mut Transaction<'_>) -> Result<(), Error> {
        prepare(tx, "careless")
    }
}

impl ProjectInto<Pad> for Careless {
    fn project(
        event: &PadEvent,
        cx: &EventContext<'_>,
        tx: &mut Transaction<'_>,
    ) -> Result<(), Error> {
        write(tx, "careless", event, cx)?;
        match event {
            PadEvent::Wrote(14) => {
                // The transaction can only roll back from here on.
                let _ = tx.batch_execute("SELECT 1 / 0");
            }
            PadEvent::Wrote(15) => {
                let mut nested = tx.transaction()?;
                assert!(nested.batch_execute("SELECT 1 / 0").is_err());
                nested.rollback()?;
            }
            PadEvent::Wrote(16) => panic!("at 16"),
            PadEvent::Wrote(_) => {}
        }
        Ok(())
    }
}

#[tokio::test]
async fn an_event_whose_handler_ignores_an_error_is_skipped() -> TestResult {
    is_skipped::<Careless>(14, "current transaction is aborted").await
}

#[tokio::test]
async fn an_error_in_a_nested_transaction_may_be_ignored() -> TestResult {
    let directory = tempfile::tempdir()?;
    let (url, sink) = database();
    let (store, _) = open_with::<Careless>(directory.path(), sink, 15).await;
    check_all::<Careless>(&store, &url).await;
    store.close().await?;
    Ok(())
}

#[tokio::test]
async fn an_event_whose_handler_panics_is_skipped() -> TestResult {
    is_skipped::<Careless>(16, "at 16").await
}

/// Has a constraint that is checked when the transaction commits.
#[projection(subscribes = [Pad], sink = Postgres, on_failure = "skip")]
struct Deferring;

impl Prepare for Deferring {
    fn prepare(tx: &mut Transaction<'_>) -> Result<(), Error> {
        prepare(tx, "deferring")?;
        tx.batch_execute(
            "DROP TABLE IF EXISTS owners CASCADE;
             CREATE TABLE owners (id bigint PRIMARY KEY);
             ALTER TABLE deferring_lines ADD owner bigint CONSTRAINT has_owner REFERENCES owners DEFERRABLE INITIALLY DEFERRED;",
        )
    }
}

impl ProjectInto<Pad> for Deferring {
    fn project(
        event: &PadEvent,
        cx: &EventContext<'_>,
        tx: &mut Transaction<'_>,
    ) -> Result<(), Error> {
        write(tx, "deferring", event, cx)?;
        tx.execute(
            "UPDATE deferring_lines SET owner = number WHERE number = 17",
            &[],
        )?;
        Ok(())
    }
}

#[tokio::test]
async fn an_event_that_is_refused_at_the_commit_is_skipped() -> TestResult {
    is_skipped::<Deferring>(17, "has_owner").await
}

/// Declares a projection that loses its connection five times in the handler of one event.
macro_rules! losing {
    ($type:ident, $name:literal, $on_failure:literal) => {
        #[projection(subscribes = [Pad], sink = Postgres, name = $name, on_failure = $on_failure)]
        struct $type;

        impl Prepare for $type {
            fn prepare(tx: &mut Transaction<'_>) -> Result<(), Error> {
                prepare(tx, $name)
            }
        }

        impl ProjectInto<Pad> for $type {
            fn project(
                event: &PadEvent,
                cx: &EventContext<'_>,
                tx: &mut Transaction<'_>,
            ) -> Result<(), Error> {
                static LOSSES: AtomicU32 = AtomicU32::new(0);
                if *event == PadEvent::Wrote(18) && LOSSES.fetch_add(1, Ordering::Relaxed) < 5 {
                    let lost = tx.batch_execute("SELECT pg_terminate_backend(pg_backend_pid())");
                    // Some handlers pass the error on, some panic.
                    if LOSSES.load(Ordering::Relaxed) % 2 == 0 {
                        assert!(lost.is_ok(), "lost");
                    }
                    lost?;
                }
                write(tx, $name, event, cx)
            }
        }
    };
}

losing!(LosingSkips, "losing_skips", "skip");
losing!(LosingStops, "losing_stops", "stop");

#[tokio::test]
async fn a_connection_that_is_lost_in_a_handler_is_no_failure_of_the_event() -> TestResult {
    async fn is_projected<P: ReadModel + SinkProjection>() -> TestResult {
        let directory = tempfile::tempdir()?;
        let (url, sink) = database();
        let (store, end) = open_with::<P>(directory.path(), sink, 18).await;
        store.wait_for::<P>(end, SOON).await?;
        check_all::<P>(&store, &url).await;
        store.close().await?;
        Ok(())
    }
    is_projected::<LosingSkips>().await?;
    is_projected::<LosingStops>().await
}

#[tokio::test]
async fn a_locked_table_is_waited_for_and_is_no_failure_of_the_event() -> TestResult {
    async fn waits<P: ReadModel + SinkProjection>() -> TestResult {
        let directory = tempfile::tempdir()?;
        let (url, _) = database();
        let sink = Postgres::url(format!("{url}?options=-c%20statement_timeout%3D50"));
        let store = open::<P>(directory.path(), sink).await;
        let position = write_some(&store, 0, 10).await;
        store.wait_for::<P>(position, SOON).await?;
        let name = <P as ReadModel>::NAME;
        let locked = tokio::spawn({
            let url = url.clone();
            async move {
                batch(
                    &url,
                    format!("BEGIN; LOCK TABLE {name}_lines; SELECT pg_sleep(2); COMMIT"),
                )
                .await
            }
        });
        tokio::time::sleep(Duration::from_millis(300)).await;
        let position = write_some(&store, 10, 10).await;
        let failure = store.wait_for::<P>(position, Duration::from_secs(1)).await;
        let failure = failure.unwrap_err().to_string();
        assert!(failure.contains("statement timeout"), "{failure}");
        locked.await??;
        store.wait_for::<P>(position, SOON).await?;
        check_all::<P>(&store, &url).await;
        store.close().await?;
        Ok(())
    }
    tokio::try_join!(waits::<Skipped>(), waits::<Stopped>())?;
    Ok(())
}
