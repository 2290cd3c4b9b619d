//! Databases and stores that are restored from older copies, and databases of several stores.

use std::time::Duration;

use eventfold_es::prelude::*;
use eventfold_es_tests::{TestResult, copy_directory};

use crate::pad::{Retried, SOON, Stopped, builder, check, check_all, open, write_some};
use crate::server::{batch, database};

const SAVE: &str = "
    CREATE TABLE old_lines AS SELECT * FROM retried_lines;
    CREATE TABLE old_folds AS SELECT * FROM retried_folds;
    CREATE TABLE old_progress AS SELECT * FROM eventfold_progress WHERE projection = 'retried';";
const RESTORE: &str = "
    BEGIN;
    DELETE FROM retried_lines; INSERT INTO retried_lines SELECT * FROM old_lines;
    DELETE FROM retried_folds; INSERT INTO retried_folds SELECT * FROM old_folds;
    DELETE FROM eventfold_progress WHERE projection = 'retried'; INSERT INTO eventfold_progress SELECT * FROM old_progress;
    COMMIT;";

/// The failure of a projection that does not reach the end of its store.
async fn refused(store: &AggregateStore) -> String {
    let end = store.health().await.position;
    let waited = store
        .wait_for::<Retried>(end + 1, Duration::from_millis(500))
        .await;
    waited.unwrap_err().to_string()
}

#[tokio::test]
async fn a_database_of_an_older_copy_goes_on_from_its_own_position() -> TestResult {
    let directory = tempfile::tempdir()?;
    let (url, sink) = database();
    let store = open::<Retried>(directory.path(), sink.clone()).await;
    write_some(&store, 0, 50).await;
    check_all::<Retried>(&store, &url).await;
    batch(&url, SAVE).await?;
    write_some(&store, 50, 50).await;
    check_all::<Retried>(&store, &url).await;

    // While the store is open, and while it is closed.
    batch(&url, RESTORE).await?;
    write_some(&store, 100, 50).await;
    check_all::<Retried>(&store, &url).await;
    store.close().await?;
    batch(&url, RESTORE).await?;
    let store = open::<Retried>(directory.path(), sink).await;
    check_all::<Retried>(&store, &url).await;
    store.close().await?;
    Ok(())
}

#[tokio::test]
async fn a_database_that_is_ahead_is_refused_until_it_is_put_right() -> TestResult {
    let (directory, older) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let (url, sink) = database();
    let store = open::<Retried>(directory.path(), sink.clone()).await;
    write_some(&store, 0, 50).await;
    check_all::<Retried>(&store, &url).await;
    store.close().await?;
    copy_directory(directory.path(), older.path())?;
    batch(&url, SAVE).await?;
    let store = open::<Retried>(directory.path(), sink.clone()).await;
    write_some(&store, 50, 50).await;
    check_all::<Retried>(&store, &url).await;
    store.close().await?;

    let store = open::<Retried>(older.path(), sink).await;
    let failure = refused(&store).await;
    assert!(failure.contains("it is ahead of this store"), "{failure}");
    // Also when the positions of both are the same again.
    write_some(&store, 200, 100).await;
    store.resume_projection::<Retried>()?;
    let failure = refused(&store).await;
    assert!(failure.contains("it belongs to another store"), "{failure}");
    batch(&url, RESTORE).await?;
    check_all::<Retried>(&store, &url).await;
    store.close().await?;
    Ok(())
}

#[tokio::test]
async fn two_stores_share_a_database_but_not_a_projection() -> TestResult {
    let (first, second) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let (url, sink) = database();
    let one = open::<Retried>(first.path(), sink.clone()).await;
    let two = builder(second.path())
        .projection::<Stopped>()
        .projection::<Retried>()
        .sink(sink)
        .open()
        .await?;
    let position = write_some(&one, 0, 50).await;
    one.wait_for::<Retried>(position, SOON).await?;
    write_some(&two, 1_000, 70).await;
    check_all::<Retried>(&one, &url).await;
    check_all::<Stopped>(&two, &url).await;
    two.resume_projection::<Retried>()?;
    let failure = refused(&two).await;
    assert!(failure.contains("it belongs to another store"), "{failure}");
    write_some(&one, 50, 50).await;
    check_all::<Retried>(&one, &url).await;
    tokio::try_join!(one.close(), two.close())?;
    Ok(())
}

#[tokio::test]
async fn progress_that_an_operator_has_touched_is_read_or_named() -> TestResult {
    let directory = tempfile::tempdir()?;
    let (url, sink) = database();
    let store = open::<Retried>(directory.path(), sink).await;
    write_some(&store, 0, 50).await;
    check_all::<Retried>(&store, &url).await;

    // The same progress with other spaces, as tools for JSON write it.
    batch(
        &url,
        "UPDATE eventfold_progress SET progress = progress::jsonb::text",
    )
    .await?;
    write_some(&store, 50, 10).await;
    check_all::<Retried>(&store, &url).await;

    batch(
        &url,
        "UPDATE eventfold_progress SET progress = 'x' || progress",
    )
    .await?;
    write_some(&store, 60, 10).await;
    let failure = refused(&store).await;
    assert!(
        failure.contains("its saved progress does not read"),
        "{failure}"
    );
    batch(
        &url,
        "UPDATE eventfold_progress SET progress = substr(progress, 2)",
    )
    .await?;
    check_all::<Retried>(&store, &url).await;

    // Without progress the tables are rebuilt.
    batch(&url, "DELETE FROM eventfold_progress").await?;
    write_some(&store, 70, 10).await;
    check_all::<Retried>(&store, &url).await;
    check::<Retried>(&store, &url, &[]).await;
    store.close().await?;
    Ok(())
}
