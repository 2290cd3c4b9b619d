//! The file of a snapshot, read and written without the store.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use eventfold::line_hash;
use serde_json::Value;
use serde_json::value::RawValue;

/// Where the snapshot of an instance is whose directory has its name.
pub fn place(base: &Path, aggregate_type: &str, id: &str) -> PathBuf {
    base.join("streams")
        .join(aggregate_type)
        .join(id)
        .join("views/state.snapshot.json")
}

/// The content, if the file is whole.
pub fn content(path: &Path) -> Option<Value> {
    #[derive(serde::Deserialize)]
    struct Sealed {
        checksum: String,
        content: Box<RawValue>,
    }
    let sealed: Sealed = serde_json::from_slice(&std::fs::read(path).ok()?).ok()?;
    assert_eq!(
        sealed.checksum,
        line_hash(sealed.content.get().as_bytes()),
        "{}",
        path.display()
    );
    serde_json::from_str(sealed.content.get()).ok()
}

/// How many events the state has seen; 0 without a snapshot.
pub fn version(path: &Path) -> u64 {
    content(path).map_or(0, |content| content["extent"]["lines"].as_u64().unwrap())
}

/// Changes the content and seals it again: nothing but what it says tells it from one that the store wrote.
pub fn forge(path: &Path, change: impl FnOnce(&mut Value)) {
    let mut content = content(path).expect("a snapshot");
    change(&mut content);
    let content = content.to_string();
    let checksum = line_hash(content.as_bytes());
    let sealed = format!("{{\"checksum\":\"{checksum}\",\"content\":{content}}}\n");
    std::fs::write(path, sealed).expect("the file is written");
}

/// Waits until the snapshot has seen so many events.
pub async fn wait_for_version(path: &Path, wanted: u64) {
    let begun = Instant::now();
    while version(path) != wanted {
        assert!(
            begun.elapsed() < Duration::from_secs(20),
            "the snapshot has seen {} events instead of {wanted}",
            version(path)
        );
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
