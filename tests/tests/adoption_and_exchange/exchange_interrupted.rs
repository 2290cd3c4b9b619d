//! Exports and imports that stop somewhere are told from complete ones, and an import goes on.

use std::fs;
use std::time::Duration;

use eventfold_es::eventfold::Event;
use eventfold_es::prelude::*;
use eventfold_es::store::{ExportError, ImportError, ImportOptions};
use serde_json::json;

use crate::common::counter::{Counter, CounterCommand};

#[tokio::test]
async fn an_export_with_its_mark_is_no_export() {
    let directory = tempfile::tempdir().unwrap();
    let tree = directory.path().join("tree");
    let store = AggregateStore::open(directory.path().join("store"))
        .await
        .unwrap();
    store.send("a", CounterCommand::Add(1), ()).await.unwrap();
    let export = store.export_streams(&tree);
    export.await.unwrap();
    fs::write(tree.join("unfinished-export"), "").unwrap();
    let imported = store.import_streams(&tree, ImportOptions::default()).await;
    assert!(
        matches!(imported, Err(ImportError::Unfinished { .. })),
        "{imported:?}"
    );
    let again = store.export_streams(&tree).await;
    assert!(
        matches!(again, Err(ExportError::Unfinished { .. })),
        "{again:?}"
    );
}

#[tokio::test]
async fn an_import_that_is_dropped_goes_on_with_the_next_call() {
    let directory = tempfile::tempdir().unwrap();
    let tree = directory.path().join("tree");
    for id in ["a", "b"] {
        let log = tree.join("streams/counter").join(id);
        fs::create_dir_all(&log).unwrap();
        let mut lines = String::new();
        for number in 0..12_000 {
            let mut event = Event::new("Added", json!(1)).with_id(format!("{id}-{number}"));
            event.ts = number / 100;
            event.meta = Some(json!({ "note": "x".repeat(100) }));
            lines.push_str(&serde_json::to_string(&event).unwrap());
            lines.push('\n');
        }
        fs::write(log.join("app.jsonl"), lines).unwrap();
    }
    let base = directory.path().join("store");
    let mut imported = 0;
    for millis in [1, 50, 200, 400, 800, 1_600] {
        let store = AggregateStore::open(&base).await.unwrap();
        let importing = store.import_streams(&tree, ImportOptions::default());
        let dropped = tokio::time::timeout(Duration::from_millis(millis), importing).await;
        store.close().await.unwrap();
        imported += u64::from(dropped.is_ok());
    }
    let store = AggregateStore::open(&base).await.unwrap();
    let report = store.import_streams(&tree, ImportOptions::default());
    let report = report.await.unwrap();
    assert_eq!(
        report.events + report.skipped,
        24_000,
        "{imported} ended in time"
    );
    for id in ["a", "b"] {
        let counter = store.get::<Counter>(id).await.unwrap();
        assert_eq!(counter.load().await.unwrap().version, 12_000);
    }
    assert!(store.verify().await.unwrap().is_clean());
}
