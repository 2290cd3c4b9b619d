use std::time::Duration;

use eventfold_es::RunMode;
use eventfold_es::prelude::*;
use eventfold_es::testing::{CrashPoints, MemoryDisk};
use eventfold_es_tests::TestResult;
use eventfold_es_tests::campaign::{fewest, size};

use crate::process_managers::domain::{
    OrderEvent, Saga, TIME, armed, beginning, clock, continued, disarmed, finished, log_of,
    started, tell, told, with_saga,
};

fn dues(log: &[String]) -> usize {
    log.iter().filter(|tag| *tag == "due").count()
}

#[tokio::test]
#[cfg_attr(eventfold_memory_journal, ignore = "it is about the disk")]
async fn scenario_10_an_armed_deadline_survives_a_kill_and_fires_once() {
    let clock = clock();
    let crashes = CrashPoints::new().at_most(size(80, 10_000)).for_each(
        |builder| {
            clock.set(beginning());
            with_saga(builder, &clock, RunMode::OnDemand)
        },
        async |store| {
            tell(&store, started("a")).await;
            tell(&store, armed("a")).await;
            store.run_process_managers().await.unwrap();
        },
        async |store| {
            let is_armed = told(&store).await.contains(&armed("a"));
            assert_eq!(dues(&log_of(&store, "a").await), 0);
            // A moment ahead, then past.
            clock.advance(TIME - Duration::from_millis(1));
            store.run_process_managers().await.unwrap();
            assert_eq!(dues(&log_of(&store, "a").await), 0);
            clock.advance(Duration::from_millis(1));
            store.run_process_managers().await.unwrap();
            assert_eq!(dues(&log_of(&store, "a").await), usize::from(is_armed));
            clock.advance(TIME * 10);
            store.run_process_managers().await.unwrap();
            assert_eq!(dues(&log_of(&store, "a").await), usize::from(is_armed));
        },
    );
    assert!(crashes.await.points >= fewest());
}

/// The time has come already when the reaction that arms it is crashed: the past is no obstacle.
#[tokio::test]
#[cfg_attr(eventfold_memory_journal, ignore = "it is about the disk")]
async fn scenario_10_a_deadline_that_fires_is_crashed_and_fires_once() {
    let clock = clock();
    let crashes = CrashPoints::new().at_most(size(80, 10_000)).for_each(
        |builder| {
            clock.set(beginning());
            with_saga(builder, &clock, RunMode::OnDemand)
        },
        async |store| {
            tell(&store, started("a")).await;
            tell(&store, armed("a")).await;
            store.run_process_managers().await.unwrap();
            clock.advance(TIME);
            store.run_process_managers().await.unwrap();
        },
        async |store| {
            // What was armed in the crashed run is due now; what is armed in this one is later.
            clock.advance(TIME);
            store.run_process_managers().await.unwrap();
            let is_armed = told(&store).await.contains(&armed("a"));
            assert_eq!(dues(&log_of(&store, "a").await), usize::from(is_armed));
        },
    );
    assert!(crashes.await.points >= fewest());
}

#[tokio::test]
async fn scenario_11_a_deadline_after_completion_and_after_the_id_was_used_again() -> TestResult {
    let (disk, clock) = (MemoryDisk::new(), clock());
    let store = with_saga(disk.builder(), &clock, RunMode::Inline)
        .open()
        .await?;
    for event in [started("a"), armed("a"), finished("a"), started("a")] {
        tell(&store, event).await;
    }
    clock.advance(TIME * 2);
    store.run_process_managers().await?;
    assert_eq!(log_of(&store, "a").await, ["start", "finish of 3", "start"]);
    let saga = store.process_manager::<Saga>()?;
    assert_eq!(saga.status().await?.deadlines, 0);
    // The one of the new instance is its own.
    tell(&store, armed("a")).await;
    store.close().await?;
    let store = with_saga(disk.builder(), &clock, RunMode::Inline)
        .open()
        .await?;
    clock.advance(TIME);
    store.run_process_managers().await?;
    assert_eq!(
        log_of(&store, "a").await,
        ["start", "finish of 3", "start", "due"]
    );
    Ok(())
}

#[tokio::test]
async fn scenario_12_cancelling_a_deadline_that_does_not_exist() -> TestResult {
    let (disk, clock) = (MemoryDisk::new(), clock());
    let store = with_saga(disk.builder(), &clock, RunMode::Inline)
        .open()
        .await?;
    let events: [OrderEvent; 5] = [
        started("a"),
        disarmed("a"),
        armed("a"),
        disarmed("a"),
        disarmed("a"),
    ];
    for event in events {
        tell(&store, event).await;
    }
    clock.advance(TIME * 2);
    let report = store.run_process_managers().await?;
    assert_eq!(report.dead_lettered, 0);
    assert_eq!(log_of(&store, "a").await, ["start"]);
    let report = store.run_process_managers().await?;
    assert_eq!(report.dispatched, 0);
    tell(&store, continued("a", "x")).await;
    assert_eq!(log_of(&store, "a").await, ["start", "x", "x of 6"]);
    Ok(())
}

/// Time that passes while nobody runs the program counts.
#[tokio::test]
async fn a_deadline_that_passed_while_the_store_was_closed_fires_when_it_is_opened() -> TestResult {
    let (disk, clock) = (MemoryDisk::new(), clock());
    let store = with_saga(disk.builder(), &clock, RunMode::Background)
        .open()
        .await?;
    tell(&store, started("a")).await;
    tell(&store, armed("a")).await;
    store.run_process_managers().await?;
    store.close().await?;
    clock.advance(TIME);
    let store = with_saga(disk.builder(), &clock, RunMode::Background)
        .open()
        .await?;
    // No new traffic, and no call.
    for _ in 0..500 {
        if dues(&log_of(&store, "a").await) > 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(dues(&log_of(&store, "a").await), 1);
    Ok(())
}

/// A command that waits for its next attempt holds up nobody, and is executed once.
#[tokio::test]
#[cfg_attr(eventfold_memory_journal, ignore = "it is about the disk")]
async fn a_retry_waits_by_the_clock_and_is_executed_once_whatever_crashes() {
    let clock = clock();
    let crashes = CrashPoints::new().at_most(size(60, 10_000)).for_each(
        |builder| {
            clock.set(beginning());
            with_saga(builder, &clock, RunMode::OnDemand)
        },
        async |store| {
            for event in [
                started("a"),
                crate::process_managers::domain::refused("a", "retried"),
                continued("a", "x"),
            ] {
                tell(&store, event).await;
            }
            store.run_process_managers().await.unwrap();
        },
        async |store| {
            let events = told(&store).await;
            let saga = store.process_manager::<Saga>().unwrap();
            let pending = usize::from(events.len() > 1);
            assert_eq!(saga.status().await.unwrap().retrying, pending as u64);
            // The instance went on meanwhile.
            assert_eq!(log_of(&store, "a").await.len(), [0, 1, 1, 3][events.len()]);
            let open = crate::process_managers::domain::LogCommand::Open;
            store
                .send("a", open, CommandContext::default())
                .await
                .unwrap();
            clock.advance(TIME);
            store.run_process_managers().await.unwrap();
            let log = log_of(&store, "a").await;
            let retried = log.iter().filter(|tag| *tag == "retried").count();
            assert_eq!(retried, pending, "{log:?}");
            assert_eq!(saga.status().await.unwrap().retrying, 0);
        },
    );
    assert!(crashes.await.points >= fewest());
}
