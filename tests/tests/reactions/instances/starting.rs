//! An instance that is parked at the event that begins it.

use eventfold_es::RunMode;
use eventfold_es::store::InstanceStatus;
use eventfold_es_tests::TestResult;

use super::failures::broken;
use super::tracker::*;

#[tokio::test]
async fn what_begins_an_instance_is_shown_first_when_it_is_released() -> TestResult {
    let guard = broken().await;
    let base = tempfile::tempdir()?;
    let clock = clock();
    let mut store = builder(base.path(), RunMode::Inline, &clock).open().await?;
    add(&store, "a", &[BAD_START, CONTINUE]).await?;
    add(&store, "a", &[START, COMPLETE, CONTINUE, START, QUIET]).await?;
    for _ in 0..2 {
        assert_eq!(handle(&store).parked().await?[0].held, 7);
        assert_eq!(
            handle(&store).release("a").await?.done,
            0,
            "without the fix"
        );
        assert_eq!(handle(&store).parked().await?[0].parked.position, 1);
        store.close().await?;
        store = builder(base.path(), RunMode::Inline, &clock).open().await?;
    }
    set_broken(false);
    assert_eq!(handle(&store).release("a").await?.done, 7);
    // The second start meets the open instance, and what continues it after its completion meets nobody.
    assert_eq!(
        arrived(&store, "out-a").await,
        [BAD_START, CONTINUE, COMPLETE, START]
    );
    assert_eq!(handle(&store).status().await?.ignored, 2);
    let instance = handle(&store).instance("a").await?.unwrap();
    assert_eq!(
        (instance.status, instance.generation),
        (InstanceStatus::Open, 2)
    );
    assert_eq!(state(&store, "a").await.unwrap().seen, [START, QUIET]);
    assert!(handle(&store).parked().await?.is_empty());
    drop(guard);
    Ok(())
}

#[tokio::test]
async fn an_instance_that_completes_when_it_is_released_is_parked_no_more() -> TestResult {
    let guard = broken().await;
    let base = tempfile::tempdir()?;
    let clock = clock();
    let mut store = builder(base.path(), RunMode::Inline, &clock).open().await?;
    add(&store, "a", &[BAD_START, COMPLETE]).await?;
    set_broken(false);
    assert_eq!(handle(&store).release("a").await?.done, 2);
    assert_eq!(
        arrived(&store, "out-a").await,
        [BAD_START, COMPLETE],
        "both were shown"
    );
    for _ in 0..2 {
        let instance = handle(&store).instance("a").await?.unwrap();
        assert_eq!(instance.status, InstanceStatus::Completed);
        assert!(instance.parked.is_none());
        assert!(handle(&store).parked().await?.is_empty());
        assert_eq!(handle(&store).status().await?.instances.parked, 0);
        store.close().await?;
        store = builder(base.path(), RunMode::Inline, &clock).open().await?;
    }
    drop(guard);
    Ok(())
}

#[tokio::test]
async fn an_instance_that_was_never_begun_ends_when_what_it_holds_is_discarded() -> TestResult {
    let guard = broken().await;
    let base = tempfile::tempdir()?;
    let clock = clock();
    let mut store = builder(base.path(), RunMode::Inline, &clock).open().await?;
    add(&store, "a", &[BAD_START, CONTINUE]).await?;
    assert_eq!(handle(&store).discard_parked("a").await?.done, 2);
    for _ in 0..2 {
        let instance = handle(&store).instance("a").await?.unwrap();
        assert_eq!(instance.status, InstanceStatus::Completed);
        store.close().await?;
        store = builder(base.path(), RunMode::Inline, &clock).open().await?;
    }
    add(&store, "a", &[CONTINUE, START, QUIET]).await?;
    assert_eq!(state(&store, "a").await.unwrap().seen, [START, QUIET]);
    assert_eq!(arrived(&store, "out-a").await, [START]);
    drop(guard);
    Ok(())
}

#[tokio::test]
async fn a_rebuilt_state_has_seen_the_event_whose_command_is_held() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = builder(base.path(), RunMode::Inline, &clock())
        .open()
        .await?;
    add(&store, "a", &[START, PARK]).await?;
    let before = state(&store, "a").await.unwrap();
    assert_eq!(before.seen, [START, PARK]);
    assert_eq!(handle(&store).parked().await?[0].held, 1);
    handle(&store).rebuild_state().await?;
    assert_eq!(state(&store, "a").await.unwrap(), before);
    assert_eq!(handle(&store).parked().await?[0].held, 1);
    Ok(())
}
