//! The calls of operators, on a node that is not the leader and while the leadership is lost.

use std::time::Duration;

use eventfold_es::StoreError;
use eventfold_es_tests::TestResult;

use super::world::{
    Cluster, a_moment, sent_to, until, until_detached, until_follower_of, until_leader,
};
use crate::common::sagas::ReservationSaga;
use crate::common::shop::{IN_STOCK, place};

#[tokio::test]
async fn a_follower_refuses_them() -> TestResult {
    let cluster = Cluster::new();
    let one = cluster.node("one").0.process_manager::<ReservationSaga>();
    let one = one.open().await?;
    until_leader(&one).await;
    one.send("o-1", place("W", IN_STOCK + 1), ()).await?;
    one.process_manager::<ReservationSaga>()?.pause().await?;

    let (builder, log) = cluster.node("two");
    let two = builder.process_manager::<ReservationSaga>().open().await?;
    until_follower_of(&two, "one").await;
    let saga = two.process_manager::<ReservationSaga>()?;
    let refused = [
        sent_to(saga.pause().await),
        sent_to(saga.resume().await),
        sent_to(saga.settle().await),
        sent_to(saga.retry().await),
        sent_to(saga.skip().await),
        sent_to(saga.redrive_all().await),
        sent_to(saga.rebuild_state().await),
        sent_to(two.run_process_managers().await),
    ];
    for leader in refused {
        assert_eq!(leader.as_deref(), Some("`one` at http://one:8080"));
    }
    // They wait for a leader, as commands do.
    log.cut_off();
    until_detached(&two).await;
    let resuming = tokio::spawn({
        let saga = saga.clone();
        async move { saga.resume().await }
    });
    a_moment().await;
    assert!(!resuming.is_finished());
    one.close().await?;
    log.reconnect();
    // The pause and the dead letter are read from the durable rows.
    assert_eq!(resuming.await??.done, 1);
    assert!(!saga.status().await?.is_paused);
    assert_eq!(two.health().await.process_managers[0].dead_letters, 1);
    Ok(())
}

/// The pause is on its way to the log. Its caller is not told that it is done, and not that it is not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_loses_its_term_has_an_unknown_outcome() -> TestResult {
    let cluster = Cluster::new();
    let (builder, log) = cluster.node("one");
    let store = builder.process_manager::<ReservationSaga>().open().await?;
    until_leader(&store).await;
    let saga = store.process_manager::<ReservationSaga>()?;
    saga.settle().await?;
    log.lose_next_answer(eventfold_es::testing::LostAnswer::Stored);
    log.cut_off_after_next();
    let pausing = tokio::spawn({
        let saga = saga.clone();
        async move { saga.pause().await }
    });
    let error = tokio::time::timeout(Duration::from_secs(60), pausing).await??;
    let is_unknown = matches!(&error, Err(StoreError::OutcomeUnknown { reason }) if reason.contains("lost the leadership"));
    assert!(is_unknown, "{error:?}");
    log.reconnect();
    until_leader(&store).await;
    // The next term begins with the durable rows.
    until("it runs again", || async {
        !store.health().await.process_managers[0].is_elsewhere
    })
    .await;
    assert_eq!(saga.resume().await?.done, 1);
    Ok(())
}
