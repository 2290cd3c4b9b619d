//! A projection follows the events, while servers come and go.

use eventfold_es::Postgres;
use eventfold_es_tests::TestResult;

use crate::pad::{Retried, SOON, Skipped, Stopped, builder, check, check_all, open, write_some};
use crate::server::{Server, database};

#[tokio::test]
async fn each_event_is_projected_once_and_in_order() -> TestResult {
    let directory = tempfile::tempdir()?;
    let (url, sink) = database();
    let store = open::<Retried>(directory.path(), sink.clone()).await;
    // One by one, as they come.
    for number in 0..50 {
        let position = write_some(&store, number, 1).await;
        store.wait_for::<Retried>(position, SOON).await?;
        check::<Retried>(&store, &url, &[]).await;
    }
    store.close().await?;

    // Many at once, from before the projection is there.
    let store = builder(directory.path()).open().await?;
    write_some(&store, 50, 3_000).await;
    store.close().await?;
    let store = open::<Retried>(directory.path(), sink).await;
    check_all::<Retried>(&store, &url).await;
    store.rebuild_projection::<Retried>().await?;
    check_all::<Retried>(&store, &url).await;
    store.close().await?;
    Ok(())
}

#[tokio::test]
async fn a_server_that_is_down_at_the_open_comes_later() -> TestResult {
    let directory = tempfile::tempdir()?;
    let mut server = Server::stopped(false);
    let url = server.url("postgres");
    let store = open::<Retried>(directory.path(), Postgres::url(&url)).await;
    let position = write_some(&store, 0, 100).await;
    let failed = store
        .wait_for::<Retried>(position, std::time::Duration::from_secs(1))
        .await;
    let failed = failed.unwrap_err().to_string();
    assert!(failed.contains("error connecting to server"), "{failed}");
    server.resume();
    check_all::<Retried>(&store, &url).await;
    store.close().await?;
    Ok(())
}

#[tokio::test]
async fn a_server_is_stopped_and_started_again() -> TestResult {
    let directory = tempfile::tempdir()?;
    let mut server = Server::start(false);
    let url = server.database();
    let store = builder(directory.path())
        .projection::<Retried>()
        .projection::<Skipped>()
        .projection::<Stopped>()
        .sink(Postgres::url(&url))
        .open()
        .await?;
    for round in 0..3 {
        let position = write_some(&store, round * 200, 100).await;
        store.wait_for::<Retried>(position, SOON).await?;
        server.stop();
        write_some(&store, round * 200 + 100, 100).await;
        server.resume();
        check_all::<Retried>(&store, &url).await;
        check_all::<Skipped>(&store, &url).await;
        check_all::<Stopped>(&store, &url).await;
    }
    store.close().await?;
    Ok(())
}
