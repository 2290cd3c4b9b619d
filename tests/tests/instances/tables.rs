//! The tables of rows: what is believed of them, and what is not in them yet.

use eventfold_es::RunMode;
use eventfold_es_tests::TestResult;

use super::tracker::*;

fn table(base: &std::path::Path) -> std::path::PathBuf {
    base.join("process_managers/tracker/instances.redb")
}

#[tokio::test]
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
async fn what_is_newer_than_a_checkpoint_is_not_lost_to_it() -> TestResult {
    let base = tempfile::tempdir()?;
    let clock = clock();
    let store = builder(base.path(), RunMode::Background, &clock)
        .max_log_size(600)
        .open()
        .await?;
    let keys = ["a", "b", "c", "d"];
    let many = keys.map(|key| {
        let store = store.clone();
        tokio::spawn(async move {
            for number in 0..60 {
                let what = if number == 0 { START } else { CONTINUE };
                let command = super::common::counter::CounterCommand::Add(what);
                let context = eventfold_es::CommandContext::default();
                store.send(&format!("in-{key}"), command, context).await?;
            }
            Ok::<_, eventfold_es::Error>(())
        })
    });
    for done in many {
        done.await??;
    }
    store.run_process_managers().await?;
    for key in keys {
        assert_eq!(state(&store, key).await.unwrap().seen.len(), 60);
        assert_eq!(arrived(&store, &out(key)).await.len(), 60);
    }
    let checkpoints = table(base.path()).exists();
    assert!(checkpoints, "no checkpoint was taken");
    assert!(store.verify().await?.differences.is_empty());
    store.close().await?;
    Ok(())
}

/// `repair` derives the rows again, and `verify` finds those that are not what the journal holds.
#[tokio::test]
async fn a_damaged_table_is_found_and_repaired() -> TestResult {
    let base = tempfile::tempdir()?;
    let clock = clock();
    let store = builder(base.path(), RunMode::Inline, &clock).open().await?;
    add(&store, "a", &[START, CONTINUE]).await?;
    store.close().await?;
    let whole = std::fs::read(table(base.path()))?;
    let store = builder(base.path(), RunMode::Inline, &clock).open().await?;
    // Behind the back of the open store: a value that is not what was written.
    let at = whole
        .windows(6)
        .position(|bytes| bytes == b"\"seen\"")
        .expect("a state");
    let mut changed = whole.clone();
    changed[at + 8] ^= 1;
    store.close().await?;
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
