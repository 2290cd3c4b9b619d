//! The file of a snapshot, read and written without the store.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use eventfold::line_hash;
use serde_json::Value;

/// Where the snapshot of an instance is whose directory has its name.
pub fn place(base: &Path, aggregate_type: &str, id: &str) -> PathBuf {
    base.join("streams")
        .join(aggregate_type)
        .join(id)
        .join("views/state.snapshot.json")
}

/// The content, if the file is whole.
pub fn content(path: &Path) -> Option<Value> {
    let text = std::fs::read_to_string(path).ok()?;
    let sealed = text.strip_prefix("{\"checksum\":\"")?.strip_suffix('\n')?;
    let (checksum, sealed) = sealed.split_once("\",")?;
    assert_eq!(checksum, line_hash(sealed.as_bytes()), "{}", path.display());
    let content = sealed
        .strip_prefix("\"format\":1,\"content\":")?
        .strip_suffix('}')?;
    serde_json::from_str(content).ok()
}

/// A content as it is stored.
pub fn seal(content: &str) -> String {
    let sealed = format!("\"format\":1,\"content\":{content}}}");
    let checksum = line_hash(sealed.as_bytes());
    format!("{{\"checksum\":\"{checksum}\",{sealed}\n")
}

/// How many events the state has seen; 0 without a snapshot.
pub fn version(path: &Path) -> u64 {
    content(path).map_or(0, |content| content["extent"]["lines"].as_u64().unwrap())
}

/// Changes the content and seals it again: nothing but what it says tells it from one that the store wrote.
pub fn forge(path: &Path, change: impl FnOnce(&mut Value)) {
    let mut content = content(path).expect("a snapshot");
    change(&mut content);
    std::fs::write(path, seal(&content.to_string())).expect("the file is written");
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
