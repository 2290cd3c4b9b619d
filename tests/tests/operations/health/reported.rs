//! `health()`: what it says in each state of a store, and that its figures are those of the rows.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use eventfold_es::clock::ManualClock;
use eventfold_es::disk::{Failure, Fault, FaultyDisk, Operation, SystemDisk};
use eventfold_es::store::{HealthStatus, ProcessManagerHealth};
use eventfold_es::{Health, RunMode};
use eventfold_es_tests::{ReadOnlyDisk, TestResult};

use super::{Courier, How, Sent, builder, send};
use crate::collector::Collector;
use eventfold_es::prelude::*;

fn courier(health: &Health) -> &ProcessManagerHealth {
    &health.process_managers[0]
}

#[track_caller]
fn assert_only_reason(health: &Health, status: HealthStatus, has: &str) {
    assert_eq!(health.status, status, "{health:?}");
    assert_eq!(health.reasons.len(), 1, "{health:?}");
    assert!(health.reasons[0].contains(has), "{health:?}");
}

/// The figures of `health()` are those that counting the rows comes to.
async fn counted(store: &AggregateStore) -> (u64, u64, u64) {
    let courier = store.process_manager::<Courier>().unwrap();
    let status = courier.status().await.unwrap();
    let health = store.health().await;
    let health = self::courier(&health);
    let found = (health.parked, health.retrying, health.dead_letters);
    let expected = (
        status.instances.parked + status.held_streams,
        status.retrying,
        status.dead_letters,
    );
    assert_eq!(found, expected);
    found
}

#[tokio::test]
async fn a_store_without_trouble_is_healthy() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = builder(base.path()).open().await?;
    let health = store.health().await;
    assert_eq!(health.status, HealthStatus::Healthy, "{health:?}");
    assert_eq!(health.position, 0);
    let before = health.journal.bytes;
    send(&store, "a", How::Well).await;
    // The courier passes the door's event, which is not for it, in its own time.
    store.run_process_managers().await?;
    store.projection::<Sent>().await?;
    let health = store.health().await;
    assert_eq!(health.status, HealthStatus::Healthy, "{health:?}");
    assert!(health.reasons.is_empty());
    assert_eq!(health.position, 2);
    assert!(health.journal.bytes > before);
    let synced = health.journal.last_sync.unwrap();
    assert!(synced.elapsed()? < Duration::from_secs(60));
    assert_eq!(courier(&health).lag_seconds, Some(0));
    assert_eq!(health.projections[0].position, 2);
    Ok(())
}

#[tokio::test]
async fn work_that_waits_for_somebody_is_counted_and_the_counts_survive_a_restart() -> TestResult {
    let base = tempfile::tempdir()?;
    let mut store = builder(base.path()).open().await?;
    for (to, how) in [
        ("parked", How::Panics),
        ("parked", How::Well),
        ("fine", How::Well),
        ("dead", How::Rejected),
        ("dead", How::Rejected),
        ("later", How::Later),
    ] {
        send(&store, to, how).await;
    }
    for _ in 0..2 {
        assert_eq!(counted(&store).await, (1, 1, 2));
        let health = store.health().await;
        assert_only_reason(&health, HealthStatus::Degraded, "1 parked in `courier`");
        store.close().await?;
        store = builder(base.path()).open().await?;
    }
    let courier = store.process_manager::<Courier>()?;
    // It fails again, and stays one.
    courier.release("parked").await?;
    courier.redrive_all().await?;
    assert_eq!(counted(&store).await, (1, 1, 2));
    courier.discard_parked("parked").await?;
    let letter = courier.dead_letters().await?.remove(0);
    courier.discard(&letter.id).await?;
    assert_eq!(counted(&store).await, (0, 1, 1));
    let health = store.health().await;
    assert_eq!(health.status, HealthStatus::Healthy, "{health:?}");
    courier.rebuild_state().await?;
    assert_eq!(counted(&store).await, (0, 1, 1));
    Ok(())
}

#[tokio::test]
async fn parked_instances_are_counted_through_a_rebuild() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = builder(base.path()).open().await?;
    for (to, how) in [("a", How::Well), ("a", How::Panics), ("b", How::Panics)] {
        send(&store, to, how).await;
    }
    assert_eq!(counted(&store).await, (2, 0, 0));
    store.process_manager::<Courier>()?.rebuild_state().await?;
    assert_eq!(counted(&store).await, (2, 0, 0));
    store.close().await?;
    let store = builder(base.path()).open().await?;
    assert_eq!(counted(&store).await, (2, 0, 0));
    Ok(())
}

#[tokio::test]
async fn lag_is_told_in_events_and_in_seconds() -> TestResult {
    let base = tempfile::tempdir()?;
    let clock = ManualClock::new(SystemTime::now());
    let opened = || builder(base.path()).clock(clock.clone());
    let store = opened().run_mode(RunMode::OnDemand).open().await?;
    send(&store, "a", How::Well).await;
    clock.advance(Duration::from_secs(30));
    send(&store, "b", How::Well).await;
    clock.advance(Duration::from_secs(5));
    let lag = |health: &Health| {
        let one = courier(health);
        (one.lag, one.lag_seconds)
    };
    let health = store.health().await;
    assert_eq!(lag(&health), (2, Some(35)));
    let sent = &health.projections[0];
    assert_eq!((sent.lag, sent.lag_seconds), (2, Some(35)));
    assert_eq!(
        health.status,
        HealthStatus::Healthy,
        "lag is for the user to judge"
    );
    store.close().await?;
    // Not in memory any more.
    let store = opened().run_mode(RunMode::OnDemand).open().await?;
    assert_eq!(lag(&store.health().await), (2, Some(35)));
    store.run_process_managers().await?;
    // What the doors said is for nobody, and has no age yet.
    assert_eq!(lag(&store.health().await).1, Some(0));
    Ok(())
}

/// A commit was stored when the clock was ahead: the time of the store stands, and that is told until the clock has caught up.
#[tokio::test]
async fn a_clock_that_is_behind_the_last_commit_is_a_reason() -> TestResult {
    let collector = Collector::global();
    let base = tempfile::tempdir()?;
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    let ahead = Duration::from_secs(86_411);
    let clock = ManualClock::new(now + ahead);
    let opened = || builder(base.path()).clock(clock.clone());
    let told = || {
        collector
            .lines("the clock is behind the last commit")
            .iter()
            .filter(|line| line.text.contains("seconds=8641"))
            .count()
    };
    let store = opened().open().await?;
    send(&store, "a", How::Well).await;
    assert_eq!(store.health().await.status, HealthStatus::Healthy);
    clock.set(now);
    send(&store, "a", How::Well).await;
    let health = store.health().await;
    assert_only_reason(
        &health,
        HealthStatus::Degraded,
        "the clock is 86411 seconds behind the last commit",
    );
    assert_eq!(told(), 1);
    store.close().await?;
    let store = opened().open().await?;
    assert_eq!(store.health().await.status, HealthStatus::Degraded);
    assert_eq!(told(), 2);
    clock.set(now + ahead);
    assert_eq!(store.health().await.status, HealthStatus::Healthy);
    Ok(())
}

#[tokio::test]
async fn a_paused_process_manager_and_a_projection_that_fails_are_reasons() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = builder(base.path()).open().await?;
    let courier = store.process_manager::<Courier>()?;
    courier.pause().await?;
    let health = store.health().await;
    assert_only_reason(
        &health,
        HealthStatus::Degraded,
        "`courier` is paused; `resume()`",
    );
    courier.resume().await?;
    send(&store, "a", How::Uncounted).await;
    assert!(store.projection::<Sent>().await.is_err());
    let health = store.health().await;
    assert_only_reason(
        &health,
        HealthStatus::Degraded,
        "the projection `sent` does not get past",
    );
    assert!(health.projections[0].failure.is_some());
    Ok(())
}

#[tokio::test]
async fn a_closed_store_is_unusable_and_says_what_to_do() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = builder(base.path())
        .run_mode(RunMode::OnDemand)
        .open()
        .await?;
    send(&store, "a", How::Well).await;
    store.clone().close().await?;
    let health = store.health().await;
    assert_only_reason(&health, HealthStatus::Unusable, "closed; open it again");
    assert_eq!(
        courier(&health).lag_seconds,
        None,
        "nothing is read of a directory that was released"
    );
    Ok(())
}

#[tokio::test]
async fn a_poisoned_store_is_unusable_and_says_what_to_do() -> TestResult {
    // It makes the writer slow in poisoning the store.
    Collector::global();
    let base = tempfile::tempdir()?;
    let disk = FaultyDisk::new(Arc::new(SystemDisk));
    let store = builder(base.path())
        .disk(Arc::new(disk.clone()))
        .open()
        .await?;
    send(&store, "a", How::Well).await;
    let is_journal = |path: &std::path::Path| path.ends_with("meta/journal/app.jsonl");
    let fault = Fault::once(0, Failure::EIO).on(&[Operation::SyncData]);
    disk.inject(fault.at(is_journal));
    let command = super::ParcelCommand::Send {
        to: "a".to_owned(),
        how: How::Well,
    };
    assert!(store.send("p-1", command, ()).await.is_err());
    let health = store.health().await;
    assert_only_reason(&health, HealthStatus::Unusable, "open the store again");
    Ok(())
}

#[tokio::test]
async fn a_read_only_store_is_degraded_since_it_can_be_read() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = builder(base.path()).open().await?;
    send(&store, "parked", How::Panics).await;
    store.close().await?;
    let disk = Arc::new(ReadOnlyDisk::default());
    let store = builder(base.path()).disk(disk).open().await?;
    let health = store.health().await;
    assert_only_reason(&health, HealthStatus::Degraded, "nothing can be written");
    assert_eq!(courier(&health).parked, 1);
    assert!(courier(&health).ended.is_some());
    Ok(())
}

/// A handler of a web framework is spawned, and returns the report as it is.
#[tokio::test]
async fn a_probe_can_be_spawned_and_returned_as_json() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = builder(base.path()).open().await?;
    let probe = tokio::spawn(async move { store.health().await });
    let json = serde_json::to_value(probe.await?)?;
    assert_eq!(json["status"], "healthy");
    assert_eq!(json["process_managers"][0]["name"], "courier");
    Ok(())
}
