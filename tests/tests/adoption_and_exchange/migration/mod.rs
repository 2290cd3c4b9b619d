//! One program twice: as it is written by hand for eventfold-es 0.2.0, and as it is declared with the macros. Both are in
//! `docs/guide/migration.md`.

mod after;
mod before;

use std::path::Path;
use std::time::Duration;

use eventfold_es::AggregateStore;

/// 0.2.0 writes on threads of its own, which hold the locks of their streams until they end.
async fn released(directory: &Path) {
    for aggregate_type in std::fs::read_dir(directory.join("streams")).unwrap() {
        for stream in std::fs::read_dir(aggregate_type.unwrap().path()).unwrap() {
            let log = stream.unwrap().path().join("app.jsonl");
            while std::fs::File::open(&log).unwrap().try_lock().is_err() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
    }
}

#[tokio::test]
async fn the_declared_program_goes_on_where_the_old_one_stopped() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    assert_eq!(before::run(directory, "ord-1").await.unwrap(), 2);
    released(directory).await;
    assert_eq!(before::run(directory, "ord-2").await.unwrap(), 4);
    released(directory).await;
    assert_eq!(after::run(directory, "ord-3").await.unwrap(), 6);

    let store = AggregateStore::builder(directory)
        .process_manager::<after::ReservationSaga>()
        .projection::<after::Sales>()
        .open()
        .await
        .unwrap();
    assert_eq!(store.projection::<after::Sales>().await.unwrap().units, 6);
    let letters = store.dead_letters::<after::ReservationSaga>().await;
    assert!(letters.unwrap().is_empty());
    let order = store.get::<after::Order>("ord-1").await.unwrap();
    assert_eq!(order.state().await.unwrap().qty, 2);
}
