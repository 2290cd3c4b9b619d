//! What the tests of an operator's work share: opening one of the programs, and looking at what is left.

use eventfold_es::prelude::*;
use eventfold_es::store::InstanceStatus;
use eventfold_es::testing::MemoryDisk;
use eventfold_es::{AggregateStoreBuilder, ProcessManagerHandle, RunMode};

use crate::process_managers::worker::{clock, with};

pub async fn opened<PM: ProcessManager>(disk: &MemoryDisk, mode: RunMode) -> AggregateStore {
    let opened = with::<PM>(disk.builder(), &clock(), mode).open().await;
    opened.unwrap()
}

/// A store whose process manager runs by itself.
pub async fn started<PM: ProcessManager>(builder: AggregateStoreBuilder) -> AggregateStore {
    let opened = with::<PM>(builder, &clock(), RunMode::Inline).open().await;
    opened.unwrap()
}

pub fn handle<PM: ProcessManager>(store: &AggregateStore) -> ProcessManagerHandle<PM> {
    store.process_manager::<PM>().unwrap()
}

pub async fn status_of<PM: ProcessManager>(store: &AggregateStore, key: &str) -> InstanceStatus {
    let instance = handle::<PM>(store).instance(key).await.unwrap();
    instance.unwrap().status
}

pub async fn held<PM: ProcessManager>(store: &AggregateStore) -> Vec<(String, u64)> {
    let parked = handle::<PM>(store).parked().await.unwrap();
    let name = |work: &eventfold_es::store::ParkedWork| match (&work.instance, &work.stream) {
        (Some(key), _) => key.clone(),
        (None, stream) => stream.as_ref().unwrap().1.clone(),
    };
    parked.iter().map(|work| (name(work), work.held)).collect()
}

pub async fn close(store: AggregateStore) {
    store.close().await.unwrap();
}

pub async fn verified(store: AggregateStore) {
    let differences = store.verify().await.unwrap().differences;
    assert!(differences.is_empty(), "{differences:?}");
    close(store).await;
}
