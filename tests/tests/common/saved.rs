//! The snapshots of a store that is open.

use std::time::{Duration, Instant};

use eventfold_es::AggregateStore;
use serde_json::{Value, json};

/// Where the snapshot of one instance is.
#[derive(Clone)]
pub struct Place {
    store: AggregateStore,
    aggregate_type: String,
    id: String,
}

pub fn place(store: &AggregateStore, aggregate_type: &str, id: &str) -> Place {
    Place {
        store: store.clone(),
        aggregate_type: aggregate_type.to_owned(),
        id: id.to_owned(),
    }
}

/// What is saved: `{"version":1,"snapshot_version":0,"commit_hash":2,"state":{}}`.
pub fn content(place: &Place) -> Option<Value> {
    let saved = place
        .store
        .saved_snapshot(&place.aggregate_type, &place.id)?;
    let state: Value = serde_json::from_str(saved.state.get()).expect("JSON");
    Some(json!({
        "version": saved.version,
        "snapshot_version": saved.snapshot_version,
        "commit_hash": saved.commit_hash,
        "state": state,
    }))
}

/// Whether there is none.
pub fn is_empty(place: &Place) -> bool {
    content(place).is_none()
}

/// How many events the state has seen; 0 without a snapshot.
pub fn version(place: &Place) -> u64 {
    content(place).map_or(0, |content| content["version"].as_u64().unwrap())
}

/// Changes what is saved: nothing but what it says tells it from a snapshot of the store's own.
pub fn forge(place: &Place, change: impl FnOnce(&mut Value)) {
    let mut content = content(place).expect("a snapshot");
    change(&mut content);
    let is_there = place
        .store
        .forge_snapshot(&place.aggregate_type, &place.id, |saved| {
            let number = |name: &str| content[name].as_u64().expect("a number");
            saved.version = number("version");
            saved.snapshot_version = number("snapshot_version") as u32;
            saved.commit_hash = number("commit_hash");
            saved.state = serde_json::value::to_raw_value(&content["state"]).expect("JSON");
        });
    assert!(is_there);
}

/// Waits until the snapshot has seen so many events.
pub async fn wait_for_version(place: &Place, wanted: u64) {
    let begun = Instant::now();
    while version(place) != wanted {
        assert!(
            begun.elapsed() < Duration::from_secs(20),
            "the snapshot has seen {} events instead of {wanted}",
            version(place)
        );
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
