//! Two stores on one directory wrote into each other's files. The second is refused, and told who has it open: in the same
//! process, and in another one, which this test starts as itself.

mod replaced;
mod threads;

use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;

use eventfold_es::{AggregateStore, OpenError, StoreError};
use eventfold_es_tests::crash::scratch;

const STORE: &str = "EVENTFOLD_SECOND_OPENER";

async fn refusal(store: &Path) -> Option<String> {
    match AggregateStore::open(store).await {
        Err(error @ OpenError::InUse { .. }) => Some(error.to_string()),
        Ok(_) => None,
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn second_opener() {
    if let Ok(store) = env::var(STORE) {
        let refusal = refusal(Path::new(&store)).await;
        println!("{}", refusal.as_deref().unwrap_or("opened"));
        return;
    }
    let place = scratch();
    let holder = format!("process {}", std::process::id());
    let store = AggregateStore::open(place.path()).await.unwrap();
    for _ in 0..3 {
        let refusal = refusal(place.path()).await.unwrap();
        assert!(refusal.contains(&holder), "{refusal}");
        let told = elsewhere(place.path());
        assert!(told.contains(&holder), "{told}");
    }
    store.close().await.unwrap();
    assert!(elsewhere(place.path()).contains("opened"));
    assert_eq!(refusal(place.path()).await, None);
}

/// The lock was on a file. Where that was removed, a second process got a lock of its own, and its acknowledged commit was
/// overwritten.
#[tokio::test]
async fn removing_files_lets_nobody_in() {
    let place = scratch();
    let path = place.path().join("store");
    let store = AggregateStore::open(&path).await.unwrap();
    fs::remove_file(path.join("meta/lock")).unwrap();
    let told = elsewhere(&path);
    assert!(told.contains("open in another process"), "{told}");
    assert!(refusal(&path).await.is_some());
    assert!(!path.join("meta/lock").exists(), "it is refused untouched");
    fs::remove_dir_all(path.join("meta")).unwrap();
    let told = elsewhere(&path);
    assert!(told.contains("open in another process"), "{told}");
    assert!(!path.join("meta").exists(), "it is refused untouched");
    assert!(matches!(
        store.close().await,
        Err(StoreError::Poisoned { .. })
    ));
}

fn elsewhere(store: &Path) -> String {
    let output = Command::new(env::current_exe().unwrap())
        .args(["--exact", "second_opener::second_opener", "--nocapture"])
        .env(STORE, store)
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}
