//! A reaction that reaches several aggregates is one commit, and the snapshot of each of them says how far its own stream has
//! come.

use std::sync::Arc;
use std::time::Duration;

use crate::common::saved::{place, wait_for_version};
use eventfold_es::CommandContext;
use eventfold_es::disk::SystemDisk;
use eventfold_es_tests::TestResult;
use eventfold_es_tests::crash::domain::{LedgerCommand, Target, first_target, second_target};
use eventfold_es_tests::crash::{builder, scratch};

#[tokio::test]
async fn each_target_of_a_reaction_is_saved_with_its_own_version() -> TestResult {
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
        wait_for_version(&place(&store, "target", id), *notes).await;
        let target = store.get::<Target>(id).await?;
        assert_eq!(target.state().await?.notes, *notes);
    }
    store.close().await?;
    // Each is believed, and so is found to be the fold of its own events.
    let store = builder(base.path(), Arc::new(SystemDisk), true)
        .open()
        .await?;
    for (id, notes) in &targets {
        let target = store.get::<Target>(id).await?;
        assert_eq!(target.state().await?.notes, *notes);
    }
    let report = store.verify().await?;
    assert!(report.is_clean() && report.snapshots >= 3, "{report:?}");
    store.close().await?;
    Ok(())
}
