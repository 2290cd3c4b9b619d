//! Which instance an event belongs to, and what becomes of keys.

use eventfold_es::RunMode;
use eventfold_es::store::InstanceStatus;
use eventfold_es_tests::TestResult;

use super::tracker::*;

const MODES: [RunMode; 3] = [RunMode::Inline, RunMode::Background, RunMode::OnDemand];

#[tokio::test]
async fn each_key_has_a_state_of_its_own_also_after_a_restart() -> TestResult {
    for mode in MODES {
        let base = tempfile::tempdir()?;
        let clock = clock();
        let store = builder(base.path(), mode, &clock).open().await?;
        add(&store, "a", &[START, CONTINUE, QUIET]).await?;
        add(&store, "b", &[EITHER, EITHER]).await?;
        store.close().await?;
        let store = builder(base.path(), mode, &clock).open().await?;
        add(&store, "a", &[CONTINUE]).await?;
        let seen = state(&store, "a").await.unwrap().seen;
        assert_eq!(seen, [START, CONTINUE, QUIET, CONTINUE], "{mode:?}");
        assert_eq!(state(&store, "b").await.unwrap().seen, [EITHER, EITHER]);
        assert_eq!(arrived(&store, "out-a").await, [START, CONTINUE, CONTINUE]);
        assert_eq!(arrived(&store, "out-b").await, [EITHER, EITHER]);
        let instances = handle(&store).instances(None, 10).await?;
        let keys: Vec<_> = instances.iter().map(|found| &*found.key).collect();
        assert_eq!(keys, ["a", "b"]);
        assert_eq!(handle(&store).instances(Some("a"), 10).await?.len(), 1);
        assert!(store.verify().await?.differences.is_empty());
        store.close().await?;
    }
    Ok(())
}

#[tokio::test]
async fn what_belongs_to_no_open_instance_is_ignored_and_counted() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = builder(base.path(), RunMode::Inline, &clock())
        .open()
        .await?;
    // Unknown, started twice, continued after its end.
    add(
        &store,
        "a",
        &[CONTINUE, START, START, COMPLETE, CONTINUE, NONE],
    )
    .await?;
    assert_eq!(arrived(&store, "out-a").await, [START, COMPLETE]);
    let status = handle(&store).status().await?;
    assert_eq!(status.ignored, 3);
    assert_eq!((status.instances.open, status.instances.completed), (0, 1));
    let ended = handle(&store).instance("a").await?.unwrap();
    assert_eq!(ended.status, InstanceStatus::Completed);
    assert_eq!((ended.state, ended.generation), (None, 1));
    Ok(())
}

/// Commanded #565: restart, stop, then start the same instance id again.
#[tokio::test]
async fn a_completed_key_begins_anew_without_what_was_before() -> TestResult {
    for between in [false, true] {
        let base = tempfile::tempdir()?;
        let clock = clock();
        let mut store = builder(base.path(), RunMode::Inline, &clock).open().await?;
        add(&store, "a", &[START, CONTINUE, COMPLETE]).await?;
        if between {
            store.close().await?;
            store = builder(base.path(), RunMode::Inline, &clock).open().await?;
        }
        add(&store, "a", &[START, CONTINUE]).await?;
        assert_eq!(state(&store, "a").await.unwrap().seen, [START, CONTINUE]);
        let instance = handle(&store).instance("a").await?.unwrap();
        assert_eq!(
            (instance.status, instance.generation),
            (InstanceStatus::Open, 2)
        );
        // What it sent before its end is not taken for what it sends now.
        assert_eq!(
            arrived(&store, "out-a").await,
            [START, CONTINUE, COMPLETE, START, CONTINUE]
        );
        store.close().await?;
    }
    Ok(())
}

#[tokio::test]
#[cfg_attr(eventfold_memory_journal, ignore = "it is about the disk")]
async fn one_event_reaches_several_instances_in_one_commit() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = builder(base.path(), RunMode::Inline, &clock())
        .open()
        .await?;
    add(&store, "b", &[START]).await?;
    add(&store, "x", &[SEVERAL]).await?;
    assert_eq!(arrived(&store, "out-a").await, [SEVERAL]);
    assert_eq!(arrived(&store, "out-b").await, [START, SEVERAL]);
    assert_eq!(arrived(&store, "out-c").await, [SEVERAL]);
    store.close().await?;
    let journal = std::fs::read_to_string(base.path().join("meta/journal/app.jsonl"))?;
    let last = journal
        .lines()
        .rfind(|line| line.contains("out-c"))
        .unwrap();
    for part in [
        "\"id\":\"out-a\"",
        "\"id\":\"out-b\"",
        "\"key\":\"ia\"",
        "\"key\":\"ic\"",
    ] {
        assert!(last.contains(part), "{part} is not in {last}");
    }
    Ok(())
}

/// What instances cost is on disk, and what was changed is found again without a close.
#[tokio::test]
#[cfg_attr(eventfold_memory_journal, ignore = "it is about the disk")]
async fn many_instances_are_found_again() -> TestResult {
    let base = tempfile::tempdir()?;
    let clock = clock();
    let store = builder(base.path(), RunMode::OnDemand, &clock)
        .open()
        .await?;
    let many = (0..3000).map(|number| {
        let store = store.clone();
        async move {
            let command = crate::common::counter::CounterCommand::Add(START);
            let context = eventfold_es::CommandContext::default();
            store
                .send(&format!("in-{number:04}"), command, context)
                .await
        }
    });
    for started in many.map(tokio::spawn).collect::<Vec<_>>() {
        started.await??;
    }
    store.run_process_managers().await?;
    let status = handle(&store).status().await?;
    assert_eq!(status.instances.open, 3000);
    store.close().await?;
    let store = builder(base.path(), RunMode::OnDemand, &clock)
        .open()
        .await?;
    add(&store, "1234", &[COMPLETE]).await?;
    assert_eq!(arrived(&store, "out-1234").await, [START, COMPLETE]);
    let status = handle(&store).status().await?;
    assert_eq!(
        (status.instances.open, status.instances.completed),
        (2999, 1)
    );
    assert!(store.verify().await?.differences.is_empty());
    store.close().await?;
    // Without its table, or with a damaged one, everything is derived again.
    let table = base.path().join("process_managers/tracker/instances.redb");
    for is_removed in [true, false] {
        match is_removed {
            true => std::fs::remove_file(&table)?,
            false => std::fs::write(&table, b"no table")?,
        }
        let store = builder(base.path(), RunMode::OnDemand, &clock)
            .open()
            .await?;
        let status = handle(&store).status().await?;
        assert_eq!(
            (status.instances.open, status.instances.completed),
            (2999, 1)
        );
        store.close().await?;
    }
    Ok(())
}
