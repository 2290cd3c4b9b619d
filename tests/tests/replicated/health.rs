//! The role in `health()` and in its JSON.

use eventfold_es::prelude::*;
use eventfold_es::store::HealthStatus;
use eventfold_es_tests::TestResult;
use serde_json::{Value, json};

use super::world::{Cluster, hand_over, until, until_detached, until_leader};
use crate::common::sagas::ReservationSaga;
use crate::common::shop::{IN_STOCK, place};

async fn json_of(store: &AggregateStore) -> Value {
    serde_json::to_value(store.health().await).expect("JSON")
}

#[tokio::test]
async fn a_store_alone_says_nothing_of_a_role() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = AggregateStore::open(base.path()).await?;
    assert_eq!(store.health().await.role, None);
    assert_eq!(json_of(&store).await.get("role"), None);
    assert!(store.role().borrow().is_leader());
    Ok(())
}

#[tokio::test]
async fn health_tells_the_role_and_who_is_missing() -> TestResult {
    let cluster = Cluster::new();
    let (builder, log) = cluster.node("one");
    let one = builder.process_manager::<ReservationSaga>().open().await?;
    until_leader(&one).await;
    one.send("o-1", place("W", IN_STOCK + 1), ()).await?;
    let health = json_of(&one).await;
    assert_eq!(health["role"], "leader");
    let saga = &health["process_managers"][0];
    let told = (&saga["dead_letters"], saga.get("is_elsewhere"));
    assert_eq!(told, (&json!(1), None));

    // The saga runs on another node. It does not lag, and it has not ended.
    let (builder, _) = cluster.node("two");
    let two = builder.process_manager::<ReservationSaga>().open().await?;
    hand_over(&one, &log, &two, "two").await;
    until("the saga is elsewhere", || async {
        one.health().await.process_managers[0].is_elsewhere
    })
    .await;
    let health = json_of(&one).await;
    let told = json!([health["status"], health["role"]]);
    assert_eq!(told, json!(["healthy", "follower"]));
    let other = json!({"name": "two", "address": "http://two:8080"});
    assert_eq!(health["leader"], other);
    let saga = &health["process_managers"][0];
    let told = json!([
        saga["is_elsewhere"],
        saga["lag"],
        saga["dead_letters"],
        saga["ended"],
        saga["position"]
    ]);
    assert_eq!(told, json!([true, 0, 0, null, 1]));
    until("the new leader runs it", || async {
        two.health().await.process_managers[0].dead_letters == 1
    })
    .await;

    log.cut_off();
    until_detached(&one).await;
    let health = one.health().await;
    assert_eq!(health.status, HealthStatus::Degraded);
    let reason = &health.reasons[0];
    assert!(reason.contains("cut off from the log"), "{reason}");
    let health = json_of(&one).await;
    assert_eq!(health["role"], "detached");
    assert!(health["since"].is_string());
    two.close().await?;
    log.reconnect();
    until_leader(&one).await;
    one.run_process_managers().await?;
    assert_eq!(one.health().await.status, HealthStatus::Healthy);
    Ok(())
}
