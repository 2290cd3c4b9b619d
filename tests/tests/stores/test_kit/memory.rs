use eventfold_es::OpenError;
use eventfold_es::prelude::*;
use eventfold_es::store::InjectOptions;
use eventfold_es::testing::MemoryDisk;
use eventfold_es_tests::TestResult;

use crate::test_kit::domain::{Order, OrderCommand, OrderError};

fn place() -> OrderCommand {
    let items = vec!["tea".to_owned()];
    OrderCommand::Place { items }
}

#[tokio::test]
async fn a_store_in_memory_does_all_that_one_on_a_file_system_does() -> TestResult {
    let disk = MemoryDisk::new();
    let builder = || disk.builder().max_log_size(4 << 10).snapshot_every(10);
    let store = builder().open().await?;
    for number in 0..200 {
        let id = format!("{}", number % 7);
        store.send(&id, place(), CommandContext::default()).await?;
    }
    let refused = OrderCommand::Place { items: Vec::new() };
    let refused = store.send("0", refused, CommandContext::default()).await;
    assert!(matches!(
        refused,
        Err(eventfold_es::ExecuteError::Domain(OrderError::Empty))
    ));
    let event = store.read_events("order", "0").await?.remove(0);
    store
        .inject_event::<Order>("copy", event, InjectOptions::default())
        .await?;
    store.close().await?;

    let store = builder().open().await?;
    assert_eq!(store.read_events("order", "3").await?.len(), 29);
    assert_eq!(
        store.get::<Order>("copy").await?.state().await?.items,
        ["tea"]
    );
    assert!(store.verify().await?.is_clean());
    assert!(!disk.root().exists(), "nothing is on the file system");
    store.close().await?;
    assert!(!disk.root().exists());
    Ok(())
}

#[tokio::test]
async fn two_stores_on_one_disk_are_refused_and_two_disks_are_apart() -> TestResult {
    let disk = MemoryDisk::new();
    let store = disk.builder().open().await?;
    let error = disk.builder().open().await.unwrap_err();
    assert!(matches!(error, OpenError::InUse { .. }), "{error}");
    assert!(error.to_string().contains("process"), "{error}");
    let other = MemoryDisk::new().builder().open().await?;
    store.send("a", place(), CommandContext::default()).await?;
    assert!(other.list_streams(None).await?.is_empty());
    Ok(())
}
