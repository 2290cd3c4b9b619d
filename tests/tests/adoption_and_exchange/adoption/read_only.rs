use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use eventfold_es::disk::CrashImage;
use eventfold_es::{AggregateStore, StoreError};
use eventfold_es_tests::ReadOnlyDisk;
use eventfold_es_tests::crash::scratch;

use super::domain::*;

/// Everything that can be read, with paths relative to the directory.
async fn shown(store: &AggregateStore, base: &Path) -> Vec<String> {
    let mut streams = BTreeMap::new();
    for (aggregate_type, id) in store.list_streams(None).await.unwrap() {
        let events = store.read_events(&aggregate_type, &id).await.unwrap();
        streams.insert((aggregate_type, id), events);
    }
    let health = store.health().await;
    let standing = health.process_managers.into_iter();
    // On a read-only file system they have ended.
    let standing = standing.map(|one| {
        (
            one.name,
            one.position,
            one.lag,
            one.is_paused,
            one.parked_at,
        )
    });
    let shown = vec![
        format!("{streams:?}"),
        format!("{:?}", store.projection::<Deposits>().await.unwrap()),
        format!("{:?}", store.dead_letters::<Auditor>().await.unwrap()),
        format!("{:?}", standing.collect::<Vec<_>>()),
        format!("{:?}", store.recovery().adoption),
        format!("{:?}", store.verify().await.unwrap().differences),
    ];
    let base = base.display().to_string();
    shown
        .into_iter()
        .map(|text| text.replace(&base, ""))
        .collect()
}

#[tokio::test]
async fn it_is_taken_over_in_memory_on_a_read_only_file_system() {
    let place = scratch();
    let base = place.path();
    let old = old_store(base).await;
    for (id, amount) in [("a", 1), ("b", 2), ("a", 113), ("b", 4)] {
        old_deposit(&old, id, amount).await;
    }
    old.run_process_managers().await.unwrap();
    old.projection::<Deposits>().unwrap();
    old_deposit(&old, "a", 5).await;
    end(old).await;
    for has_checkpoint in [true, false] {
        if !has_checkpoint {
            fs::remove_file(base.join("process_managers/auditor/checkpoint.json")).unwrap();
        }
        let before = CrashImage::read(base).unwrap();
        let copy = scratch();
        before.materialise(copy.path()).unwrap();
        let writable = open(copy.path()).await;
        let expected = shown(&writable, copy.path()).await;
        writable.close().await.unwrap();

        let store = builder(base).disk(Arc::new(ReadOnlyDisk::default()));
        let store = store.open().await.unwrap();
        assert!(store.recovery().read_only);
        assert_eq!(shown(&store, base).await, expected);
        assert_eq!(amounts(&store, "a").await, [1, 113, 5]);
        let ran = store.run_process_managers().await;
        assert!(matches!(ran, Err(StoreError::ReadOnly { .. })), "{ran:?}");
        store.close().await.unwrap();
        let after = CrashImage::read(base).unwrap();
        assert_eq!(after.first_difference(&before), None);
    }
}
