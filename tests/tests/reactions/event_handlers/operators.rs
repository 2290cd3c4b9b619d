//! The controls of an operator.

use std::sync::Arc;
use std::time::Duration;

use eventfold_es::StoreError;
use eventfold_es_tests::TestResult;
use tokio::sync::Semaphore;

use super::world::{Act, Courier, Policy, World, add, builder, sum, until, until_sum};

type Handler = Courier<2, 60_000>;

#[tokio::test]
async fn a_paused_handler_ends_its_calls_and_begins_none_until_it_is_resumed() -> TestResult {
    let directory = tempfile::tempdir()?;
    let gate = Arc::new(Semaphore::new(0));
    let held = Arc::clone(&gate);
    let world = World::new(move |_| Act::At(Arc::clone(&held)));
    let store = builder::<2, 60_000>(directory.path(), &world)
        .open()
        .await?;
    add(&store, "a-1", 1).await;
    until("it is called", || async { world.running() == 1 }).await;
    let handle = store.event_handler::<Handler>()?;
    handle.pause().await?;
    add(&store, "a-1", 2).await;
    add(&store, "a-2", 1).await;
    gate.add_permits(10);
    until_sum(&store, "b-1", 1).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(world.calls().len(), 1);
    assert!(store.health().await.process_managers[0].is_paused);
    store.close().await?;
    let store = builder::<2, 60_000>(directory.path(), &world)
        .open()
        .await?;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(world.calls().len(), 1, "it stays paused");
    let resumed = store.event_handler::<Handler>()?.resume().await?;
    assert_eq!(resumed.done, 1);
    assert_eq!((sum(&store, "b-1").await, sum(&store, "b-2").await), (3, 1));
    Ok(())
}

#[tokio::test]
async fn discarded_work_is_skipped_also_while_it_is_called() -> TestResult {
    let directory = tempfile::tempdir()?;
    let world = World::new(|_| Act::Fail("no")).with(Policy::Park);
    let store = builder::<2, 60_000>(directory.path(), &world)
        .open()
        .await?;
    let handle = store.event_handler::<Handler>()?;
    add(&store, "a-1", 1).await;
    add(&store, "a-1", 2).await;
    store.run_process_managers().await?;
    assert_eq!(handle.parked().await?[0].held, 2);
    let discarded = handle.discard_parked("counter/a-1").await?;
    assert_eq!((discarded.done, discarded.failed), (2, 0));
    assert!(handle.parked().await?.is_empty());
    add(&store, "a-1", 3).await;
    store.run_process_managers().await?;
    assert_eq!(world.numbers("a-1"), [1, 3]);
    // The held event is called, and discarded meanwhile: its command is not sent.
    let gate = Arc::new(Semaphore::new(0));
    let held = Arc::clone(&gate);
    world.acts(move |_| Act::At(Arc::clone(&held)));
    let releasing = tokio::spawn({
        let handle = handle.clone();
        async move { handle.release("counter/a-1").await }
    });
    until("it is called", || async { world.running() == 1 }).await;
    assert_eq!(handle.discard_parked("counter/a-1").await?.done, 1);
    assert_eq!(releasing.await??.done, 0);
    add(&store, "a-1", 4).await;
    gate.add_permits(2);
    until_sum(&store, "b-1", 4).await;
    assert_eq!(world.numbers("a-1"), [1, 3, 3, 4]);
    assert!(world.overlaps().is_empty(), "{:?}", world.overlaps());
    Ok(())
}

#[tokio::test]
async fn a_redriven_event_waits_for_the_running_call_of_its_key() -> TestResult {
    let directory = tempfile::tempdir()?;
    let world = World::new(|_| Act::Fail("no")).with(Policy::DeadLetter);
    let store = builder::<2, 60_000>(directory.path(), &world)
        .open()
        .await?;
    let handle = store.event_handler::<Handler>()?;
    add(&store, "a-1", 1).await;
    store.run_process_managers().await?;
    let gate = Arc::new(Semaphore::new(0));
    let held = Arc::clone(&gate);
    world.acts(move |_| Act::At(Arc::clone(&held)));
    add(&store, "a-1", 2).await;
    until("it is called", || async { world.running() == 1 }).await;
    let redriving = tokio::spawn({
        let handle = handle.clone();
        async move { handle.redrive_all().await }
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(world.numbers("a-1"), [1, 2]);
    gate.add_permits(2);
    assert_eq!(redriving.await??.done, 1);
    until_sum(&store, "b-1", 3).await;
    assert_eq!(world.numbers("a-1"), [1, 2, 1]);
    assert!(world.overlaps().is_empty(), "{:?}", world.overlaps());
    Ok(())
}

#[tokio::test]
async fn what_a_handler_does_not_have_is_refused() -> TestResult {
    let directory = tempfile::tempdir()?;
    let world = World::new(|_| Act::Answer);
    let store = builder::<2, 60_000>(directory.path(), &world)
        .open()
        .await?;
    let handle = store.event_handler::<Handler>()?;
    let refused = handle.rebuild_state().await.map(drop);
    let refused = refused.expect_err("it has no state").to_string();
    assert!(
        refused.contains("an event handler has no state"),
        "{refused}"
    );
    let unknown = store.event_handler::<Courier<9, 9>>().map(drop);
    let unknown = unknown.expect_err("it is not registered");
    assert!(matches!(
        unknown,
        StoreError::NotRegistered {
            method: "event_handler",
            ..
        }
    ));
    Ok(())
}
