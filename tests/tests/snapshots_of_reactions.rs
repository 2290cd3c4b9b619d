//! A reaction that reaches several aggregates is one commit, and the snapshot of each of them says how much of its own stream it has
//! seen.

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::snapshot_file::{content, place, wait_for_version};
use eventfold_es::CommandContext;
use eventfold_es::disk::SystemDisk;
use eventfold_es_tests::TestResult;
use eventfold_es_tests::crash::domain::{LedgerCommand, Target, first_target, second_target};
use eventfold_es_tests::crash::{builder, scratch};

#[tokio::test]
async fn each_target_of_a_reaction_is_saved_with_its_own_extent() -> TestResult {
    let base = scratch();
    let store = builder(base.path(), Arc::new(SystemDisk), true)
        .snapshot_every(1)
        .idle_timeout(Duration::from_millis(2))
        .open()
        .await?;
    // One note on each entry goes to the first target, two to the second; after both tags they share one of them.
    for tag in [2, 12] {
        let put = LedgerCommand::Put { tag, parts: 3 };
        store.send("l", put, CommandContext::default()).await?;
    }
    let targets = [
        (first_target(2), 3),
        (first_target(12), 3),
        (second_target(2), 12),
    ];
    assert_eq!(second_target(2), second_target(12));
    for (id, notes) in &targets {
        let file = place(base.path(), "target", id);
        wait_for_version(&file, *notes).await;
        let stream = base.path().join(format!("streams/target/{id}/app.jsonl"));
        let length = std::fs::metadata(stream)?.len();
        let content = content(&file).ok_or("no snapshot")?;
        assert_eq!(content["extent"]["bytes"], length, "{id}");
        let target = store.get::<Target>(id).await?;
        assert_eq!(target.state().await?.notes, *notes);
    }
    store.close().await?;
    Ok(())
}
