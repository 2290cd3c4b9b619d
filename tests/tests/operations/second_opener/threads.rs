//! A process without room for another thread panicked when it opened a store. This test starts itself as that process: threads of
//! Rust cannot be started where their stacks are larger than the address space.

use std::env;
use std::path::Path;
use std::process::Command;

use eventfold_es::{AggregateStore, OpenError};
use eventfold_es_tests::crash::scratch;

const STORE: &str = "EVENTFOLD_WITHOUT_THREADS";

#[tokio::test]
async fn opening_without_room_for_threads_is_an_error() {
    if let Ok(store) = env::var(STORE) {
        let opened = AggregateStore::open(Path::new(&store)).await.map(drop);
        let Err(OpenError::File(error)) = opened else {
            panic!("{opened:?}");
        };
        println!("refused: {error}");
        return;
    }
    let place = scratch();
    let path = place.path().join("store");
    let output = Command::new(env::current_exe().unwrap())
        .args([
            "--exact",
            "second_opener::threads::opening_without_room_for_threads_is_an_error",
        ])
        .arg("--nocapture")
        .env(STORE, &path)
        .env("RUST_MIN_STACK", (1_u64 << 47).to_string())
        .output()
        .unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    let expected = format!("refused: cannot start a thread for {}", path.display());
    assert!(
        told.contains(&expected),
        "{told}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(output.status.success());
    assert!(!path.exists(), "it is refused untouched");
    AggregateStore::open(&path)
        .await
        .unwrap()
        .close()
        .await
        .unwrap();
}
