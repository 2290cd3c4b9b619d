//! A server that is suspended: its connections stay open, and it answers nothing.

use std::time::Duration;

use eventfold_es::prelude::*;
use eventfold_es::{Postgres, StoreError};
use eventfold_es_tests::TestResult;
use tokio::time::{sleep, timeout};

use crate::pad::{Retried, SOON, Skipped, Stopped, builder, check_all, open, write_some};
use crate::server::Server;

/// The time after which a test gives up calls. A server that runs answers sooner.
const SHORT: Duration = Duration::from_secs(2);

fn sink(url: &str, timeout: Duration) -> Postgres {
    Postgres::url(url).timeout(timeout)
}

/// Waits until all projections fail for one of these reasons.
async fn all_fail(store: &AggregateStore, reasons: &[&str]) {
    let all_fail = async {
        loop {
            let projections = store.health().await.projections;
            let fails = |failure: &String| reasons.iter().any(|reason| failure.contains(reason));
            // The fold in memory has no failures.
            let followers = projections
                .iter()
                .filter(|projection| projection.name != "folds");
            if followers.clone().count() > 0
                && followers
                    .clone()
                    .all(|projection| projection.failure.as_ref().is_some_and(fails))
            {
                return;
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    let failed = timeout(SOON * 2, all_fail).await;
    failed.unwrap_or_else(|_| panic!("the projections do not fail for {reasons:?}"));
}

async fn close(store: AggregateStore) {
    let closed = timeout(SOON, store.close()).await;
    closed.expect("the store closes").unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_server_is_reported_and_caught_up_when_it_is_back() -> TestResult {
    let directory = tempfile::tempdir()?;
    let server = Server::start(false);
    let url = server.database();
    let store = builder(directory.path())
        .projection::<Retried>()
        .projection::<Skipped>()
        .projection::<Stopped>()
        .sink(sink(&url, SHORT))
        .open()
        .await?;
    write_some(&store, 0, 100).await;
    check_all::<Retried>(&store, &url).await;
    for round in 1..=2 {
        server.suspend();
        write_some(&store, round * 1_000, 100).await;
        all_fail(
            &store,
            &["has not returned for 2s", "calls have not returned"],
        )
        .await;
        if round == 2 {
            // Connections hang, too.
            all_fail(&store, &["4 calls have not returned"]).await;
        }
        server.wake();
        check_all::<Retried>(&store, &url).await;
        check_all::<Skipped>(&store, &url).await;
        check_all::<Stopped>(&store, &url).await;
    }
    close(store).await;
    Ok(())
}

/// Idle, in a transaction, and in a rebuild.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_closes_while_the_server_is_suspended_and_loses_nothing() -> TestResult {
    let directory = tempfile::tempdir()?;
    let server = Server::start(false);
    let url = server.database();
    for round in 0..3 {
        let store = open::<Retried>(directory.path(), sink(&url, SOON * 10)).await;
        write_some(&store, round * 1_000, 200).await;
        check_all::<Retried>(&store, &url).await;
        let rebuild = match round {
            2 => {
                let store = store.clone();
                let rebuild = async move { store.rebuild_projection::<Retried>().await };
                Some(tokio::spawn(rebuild))
            }
            _ => None,
        };
        server.suspend();
        if round == 1 {
            write_some(&store, 1_500, 100).await;
            // The transaction has begun.
            sleep(Duration::from_millis(300)).await;
        }
        let closed = timeout(SOON, store.close()).await;
        let rebuilt = match rebuild {
            Some(rebuild) => Some(timeout(SOON, rebuild).await),
            None => None,
        };
        // A store that does not close fails the test, and does not hang it.
        server.wake();
        closed.expect("the store closes").unwrap();
        if let Some(rebuilt) = rebuilt {
            let rebuilt = rebuilt??;
            // It may have been faster than the signal.
            assert!(
                matches!(rebuilt, Ok(()) | Err(StoreError::Closed)),
                "{rebuilt:?}"
            );
        }
        let store = open::<Retried>(directory.path(), sink(&url, SOON * 10)).await;
        check_all::<Retried>(&store, &url).await;
        close(store).await;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_in_a_suspended_server_is_cancelled() -> TestResult {
    let directory = tempfile::tempdir()?;
    let server = Server::start(false);
    let url = server.database();
    let store = open::<Retried>(directory.path(), sink(&url, SOON * 10)).await;
    write_some(&store, 0, 100).await;
    check_all::<Retried>(&store, &url).await;
    server.suspend();
    let rebuild = tokio::spawn({
        let store = store.clone();
        async move { store.rebuild_projection::<Retried>().await }
    });
    sleep(Duration::from_millis(300)).await;
    store.cancel_rebuild::<Retried>()?;
    let cancelled = timeout(SOON, rebuild).await??;
    assert!(
        matches!(cancelled, Err(StoreError::RebuildCancelled)),
        "{cancelled:?}"
    );
    server.wake();
    write_some(&store, 1_000, 100).await;
    check_all::<Retried>(&store, &url).await;
    close(store).await;
    Ok(())
}
