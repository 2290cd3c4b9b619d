//! The tables of rows: what is believed of them, and what is not in them yet.

use eventfold_es::RunMode;
use eventfold_es_tests::TestResult;

use super::tracker::*;

fn table(base: &std::path::Path) -> std::path::PathBuf {
    base.join("process_managers/tracker/instances.redb")
}

#[tokio::test]
#[cfg_attr(eventfold_memory_journal, ignore = "it is about the disk")]
async fn an_older_copy_of_a_table_is_not_believed() -> TestResult {
    let base = tempfile::tempdir()?;
    let clock = clock();
    let store = builder(base.path(), RunMode::Inline, &clock).open().await?;
    add(&store, "a", &[START]).await?;
    store.close().await?;
    let older = std::fs::read(table(base.path()))?;
    let store = builder(base.path(), RunMode::Inline, &clock).open().await?;
    add(&store, "a", &[CONTINUE]).await?;
    store.close().await?;
    std::fs::write(table(base.path()), older)?;
    let store = builder(base.path(), RunMode::Inline, &clock).open().await?;
    assert_eq!(state(&store, "a").await.unwrap().seen, [START, CONTINUE]);
    assert!(store.verify().await?.differences.is_empty());
    store.close().await?;
    Ok(())
}

/// Checkpoints are taken all the time, while more is committed.
#[tokio::test]
#[cfg_attr(eventfold_memory_journal, ignore = "it is about the disk")]
async fn what_is_newer_than_a_checkpoint_is_not_lost_to_it() -> TestResult {
    let base = tempfile::tempdir()?;
    let clock = clock();
    let store = builder(base.path(), RunMode::Background, &clock)
        .max_log_size(600)
        .open()
        .await?;
    // Each is changed once: what is lost of it is not made good by what comes later.
    let many = (0..8).map(|client| {
        let store = store.clone();
        tokio::spawn(async move {
            for number in 0..50 {
                let command = crate::common::counter::CounterCommand::Add(START);
                let context = eventfold_es::CommandContext::default();
                let id = format!("in-{client}-{number}");
                store.send(&id, command, context).await?;
            }
            Ok::<_, eventfold_es::Error>(())
        })
    });
    for done in many.collect::<Vec<_>>() {
        done.await??;
    }
    store.run_process_managers().await?;
    assert_eq!(handle(&store).status().await?.instances.open, 400);
    let checkpoints = table(base.path()).exists();
    assert!(checkpoints, "no checkpoint was taken");
    assert!(store.verify().await?.differences.is_empty());
    store.close().await?;
    Ok(())
}

/// A value that is not what was written is never used, and `repair` derives the rows again.
#[tokio::test]
#[cfg_attr(eventfold_memory_journal, ignore = "it is about the disk")]
async fn a_damaged_table_is_repaired() -> TestResult {
    let base = tempfile::tempdir()?;
    let clock = clock();
    let store = builder(base.path(), RunMode::Inline, &clock).open().await?;
    add(&store, "a", &[START, CONTINUE]).await?;
    store.close().await?;
    let whole = std::fs::read(table(base.path()))?;
    let at = whole
        .windows(6)
        .position(|bytes| bytes == b"\"seen\"")
        .expect("a state");
    let mut changed = whole.clone();
    changed[at + 8] ^= 1;
    std::fs::write(table(base.path()), &changed)?;
    drop(
        eventfold_es::AggregateStore::builder(base.path())
            .repair()
            .await?,
    );
    let store = builder(base.path(), RunMode::Inline, &clock).open().await?;
    assert_eq!(state(&store, "a").await.unwrap().seen, [START, CONTINUE]);
    assert!(store.verify().await?.differences.is_empty());
    store.close().await?;
    Ok(())
}
