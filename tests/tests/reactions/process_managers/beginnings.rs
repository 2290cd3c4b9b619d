//! Whether an instance is there whose first event was not reacted to: in memory, on disk, and when it is made again.

use eventfold_es::RunMode;
use eventfold_es::prelude::*;
use eventfold_es::store::{InstanceInfo, InstanceStatus};
use eventfold_es::testing::MemoryDisk;

use crate::process_managers::domain::log_of;
use crate::process_managers::worker::{Broken, clock, say, with};

async fn opened(disk: &MemoryDisk) -> AggregateStore {
    let opened = with::<Broken>(disk.builder(), &clock(), RunMode::Inline).open();
    opened.await.unwrap()
}

async fn instances(store: &AggregateStore) -> Vec<InstanceInfo> {
    let worker = store.process_manager::<Broken>().unwrap();
    worker.instances(None, 100).await.unwrap()
}

/// One in whose place something was sent is there with the state of a new one, and stays.
#[tokio::test]
async fn an_instance_that_a_compensation_begins_is_there_whatever_comes_then() {
    for is_reopened in [false, true] {
        let disk = MemoryDisk::new();
        let mut store = opened(&disk).await;
        for key in ["only", "goes on", "skips", "is discarded", "ended"] {
            if key == "ended" {
                say(&store, key, "ends").await;
            }
            say(&store, key, "poison repair").await;
        }
        if is_reopened {
            store.close().await.unwrap();
            store = opened(&disk).await;
        }
        say(&store, "skips", "poison skip").await;
        say(&store, "is discarded", "poison").await;
        let worker = store.process_manager::<Broken>().unwrap();
        assert_eq!(worker.discard_parked("is discarded").await.unwrap().done, 1);
        for key in ["goes on", "skips", "is discarded", "ended"] {
            say(&store, key, "continue x").await;
            let log = log_of(&store, key).await;
            assert!(
                log.ends_with(&["repaired".to_owned(), "continue x".to_owned()]),
                "{key}: {log:?}"
            );
        }
        let before = instances(&store).await;
        assert_eq!(before.len(), 5);
        assert!(
            before
                .iter()
                .all(|found| found.status == InstanceStatus::Open),
            "{before:?}"
        );
        assert_eq!(before[4].state.as_deref(), Some(r#"{"seen":1}"#));
        // Made again, they are what they were.
        worker.rebuild_state().await.unwrap();
        assert_eq!(instances(&store).await, before);
        drop(worker);
        store.close().await.unwrap();
        let store = opened(&disk).await;
        assert_eq!(instances(&store).await, before);
        say(&store, "only", "continue y").await;
        assert_eq!(log_of(&store, "only").await, ["repaired", "continue y"]);
        store.close().await.unwrap();
    }
}
