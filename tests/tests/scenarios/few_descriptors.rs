//! Scenario 38: descriptors are bounded, whatever the number of live aggregates. The test starts itself under a limit.

use std::env;
use std::path::Path;
use std::process::Command;

use eventfold_es::prelude::*;
use eventfold_es_tests::crash::domain::{Ledger, LedgerCommand};
use eventfold_es_tests::crash::scratch;

const STORE: &str = "EVENTFOLD_FEW_DESCRIPTORS";
const AGGREGATES: u64 = 10_000;
const LIMIT: u32 = 256;

#[test]
fn scenario_38_ten_thousand_live_aggregates_under_a_limit_of_256_descriptors() {
    if let Ok(store) = env::var(STORE) {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(2).enable_time().build().unwrap();
        runtime.block_on(live(Path::new(&store)));
        return;
    }
    let place = scratch();
    let name = "few_descriptors::scenario_38_ten_thousand_live_aggregates_under_a_limit_of_256_descriptors";
    let output = Command::new("sh")
        .arg("-c")
        .arg(format!(
            "ulimit -n {LIMIT} && exec \"$0\" --exact {name} --nocapture"
        ))
        .arg(env::current_exe().unwrap())
        .env(STORE, place.path())
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}\n{complaint}");
    assert!(
        told.contains("10000 aggregates are live"),
        "{told}\n{complaint}"
    );
}

async fn live(path: &Path) {
    // The limit is one.
    let files: Vec<_> = (0..LIMIT)
        .map_while(|_| std::fs::File::open("/dev/null").ok())
        .collect();
    assert!(files.len() < LIMIT as usize);
    drop(files);
    let store = AggregateStore::open(path).await.unwrap();
    let mut commands = Vec::new();
    for number in 0..AGGREGATES {
        let ledger = store.get::<Ledger>(&format!("l-{number}")).await.unwrap();
        commands.push(tokio::spawn(async move {
            let command = LedgerCommand::Put { tag: 240, parts: 1 };
            ledger
                .execute(command, CommandContext::default())
                .await
                .unwrap();
            ledger
        }));
    }
    let mut handles = Vec::new();
    for command in commands {
        handles.push(command.await.unwrap());
    }
    for handle in &handles {
        assert_eq!(handle.state().await.unwrap().entries, 1);
    }
    drop(handles);
    store.close().await.unwrap();

    // And all at once from their files.
    let store = AggregateStore::open(path).await.unwrap();
    let mut reads = Vec::new();
    for number in 0..AGGREGATES {
        let store = store.clone();
        reads.push(tokio::spawn(async move {
            let id = format!("l-{number}");
            let ledger = store.get::<Ledger>(&id).await.unwrap();
            assert_eq!(ledger.state().await.unwrap().entries, 1);
            ledger
        }));
    }
    let mut handles = Vec::new();
    for read in reads {
        handles.push(read.await.unwrap());
    }
    println!("{} aggregates are live", handles.len());
    drop(handles);
    store.close().await.unwrap();
}
