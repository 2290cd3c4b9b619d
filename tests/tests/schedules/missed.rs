//! Occurrences that became due while the store was closed, or while nobody looked at the clock.

use std::time::Duration;

use eventfold_es::RunMode;
use eventfold_es::prelude::*;
use eventfold_es_tests::TestResult;

use super::world::{EachMinute, Hourly, Nightly, at, builder, clock, recorded, until_recorded};

fn occurrence(due: &str) -> (String, u64) {
    (due.to_owned(), 1)
}

#[tokio::test]
async fn an_occurrence_is_recorded_at_its_time_and_once() -> TestResult {
    let directory = tempfile::tempdir()?;
    let clock = clock("2026-11-29T12:00:00Z");
    let store = builder(directory.path(), &clock)
        .schedule::<Nightly>()
        .open()
        .await?;
    let [status] = store.schedules().try_into().map_err(|_| "one schedule")?;
    assert_eq!(
        (status.name.as_str(), status.cron.as_str()),
        ("nightly", "0 2 * * *")
    );
    assert_eq!(status.time_zone, "Europe/Berlin");
    assert_eq!(
        (status.last, status.next),
        (None, Some(at("2026-11-30T01:00:00Z")))
    );

    clock.set(at("2026-11-30T00:59:59.999Z"));
    store.run_process_managers().await?;
    assert_eq!(recorded::<Nightly>(&store).await, []);
    clock.set(at("2026-11-30T01:00:00Z"));
    // By itself, without a call.
    until_recorded::<Nightly>(&store, 1).await;
    store.run_process_managers().await?;
    store.run_process_managers().await?;
    assert_eq!(
        recorded::<Nightly>(&store).await,
        [occurrence("2026-11-30T01:00:00Z")]
    );
    let status = store.schedules();
    assert_eq!(status[0].last, Some(at("2026-11-30T01:00:00Z")));
    assert_eq!(status[0].next, Some(at("2026-12-01T01:00:00Z")));
    store.close().await?;

    for _ in 0..2 {
        let store = builder(directory.path(), &clock)
            .schedule::<Nightly>()
            .open()
            .await?;
        store.run_process_managers().await?;
        assert_eq!(recorded::<Nightly>(&store).await.len(), 1);
        store.close().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_schedule_starts_when_it_is_first_opened_and_remembers_this_time() -> TestResult {
    let directory = tempfile::tempdir()?;
    let clock = clock("2026-11-01T12:00:00Z");
    AggregateStore::builder(directory.path())
        .clock(clock.clone())
        .open()
        .await?
        .close()
        .await?;
    clock.set(at("2026-11-28T12:00:00Z"));
    // It is closed before the first occurrence.
    builder(directory.path(), &clock)
        .schedule::<Nightly>()
        .open()
        .await?
        .close()
        .await?;

    clock.set(at("2026-11-30T12:00:00Z"));
    let store = builder(directory.path(), &clock)
        .schedule::<Nightly>()
        .open()
        .await?;
    store.run_process_managers().await?;
    let expected = [("2026-11-30T01:00:00Z".to_owned(), 2)];
    assert_eq!(
        recorded::<Nightly>(&store).await,
        expected,
        "those of 29 and 30 November"
    );
    Ok(())
}

#[tokio::test]
async fn each_policy_after_a_time_away() -> TestResult {
    let directory = tempfile::tempdir()?;
    let clock = clock("2026-11-29T10:30:30Z");
    let open = || {
        builder(directory.path(), &clock)
            .schedule::<Nightly>()
            .schedule::<EachMinute>()
            .schedule::<Hourly>()
            .run_mode(RunMode::OnDemand)
            .open()
    };
    open().await?.close().await?;
    clock.set(at("2026-12-02T11:00:59Z"));
    let store = open().await?;
    store.run_process_managers().await?;
    let expected = [("2026-12-02T01:00:00Z".to_owned(), 3)];
    assert_eq!(recorded::<Nightly>(&store).await, expected);
    let expected = [occurrence("2026-12-02T11:00:00Z")];
    assert_eq!(
        recorded::<Hourly>(&store).await,
        expected,
        "it is late by 59 seconds"
    );
    let minutes = recorded::<EachMinute>(&store).await;
    assert_eq!(minutes.len(), 3 * 24 * 60 + 30);
    assert_eq!(minutes.first(), Some(&occurrence("2026-11-29T10:31:00Z")));
    assert_eq!(minutes.last(), Some(&occurrence("2026-12-02T11:00:00Z")));
    assert!(minutes.is_sorted_by(|one, next| at(&one.0) + Duration::from_secs(60) == at(&next.0)));
    store.close().await?;

    clock.set(at("2026-12-02T14:01:00Z"));
    let store = open().await?;
    store.run_process_managers().await?;
    assert_eq!(
        recorded::<Hourly>(&store).await,
        expected,
        "the others are late by a minute and more"
    );
    clock.set(at("2026-12-02T15:00:00Z"));
    store.run_process_managers().await?;
    assert_eq!(recorded::<Hourly>(&store).await.len(), 2);
    Ok(())
}

#[tokio::test]
async fn a_machine_that_slept_is_as_a_store_that_was_away() -> TestResult {
    let directory = tempfile::tempdir()?;
    let clock = clock("2026-11-29T12:00:00Z");
    let store = builder(directory.path(), &clock)
        .schedule::<Nightly>()
        .schedule::<EachMinute>()
        .open()
        .await?;
    clock.advance(Duration::from_secs(3 * 24 * 3600));
    until_recorded::<Nightly>(&store, 1).await;
    assert_eq!(
        recorded::<Nightly>(&store).await,
        [("2026-12-02T01:00:00Z".to_owned(), 3)]
    );
    until_recorded::<EachMinute>(&store, 3 * 24 * 60).await;
    Ok(())
}

#[tokio::test]
async fn on_demand_only_a_call_records_occurrences() -> TestResult {
    let directory = tempfile::tempdir()?;
    let clock = clock("2026-11-29T12:00:00Z");
    let store = builder(directory.path(), &clock)
        .schedule::<EachMinute>()
        .run_mode(RunMode::OnDemand)
        .open()
        .await?;
    clock.advance(Duration::from_secs(120));
    // A task that looked by itself would have been woken by now.
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(recorded::<EachMinute>(&store).await, []);
    store.run_process_managers().await?;
    assert_eq!(recorded::<EachMinute>(&store).await.len(), 2);
    Ok(())
}
