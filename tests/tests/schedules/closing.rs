//! Closing a store in the middle of many occurrences, dropping it, and reading it elsewhere.

use std::sync::Arc;
use std::time::Duration;

use eventfold_es::disk::CrashImage;
use eventfold_es::prelude::*;
use eventfold_es::{RunMode, StoreError};
use eventfold_es_tests::{ReadOnlyDisk, TestResult};

use super::world::{EachMinute, Nightly, at, builder, clock, recorded, until};

/// The number of minutes that it is away: more than can be recorded before it is closed.
const AWAY: u64 = 90 * 24 * 60;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closing_does_not_wait_for_the_rest_which_is_recorded_later() -> TestResult {
    let directory = tempfile::tempdir()?;
    let clock = clock("2026-01-01T00:00:00Z");
    let open = || {
        builder(directory.path(), &clock)
            .schedule::<EachMinute>()
            .open()
    };
    open().await?.close().await?;
    clock.advance(Duration::from_secs(AWAY * 60));
    let mut before = 0;
    for _ in 0..3 {
        let store = open().await?;
        until("some are recorded", || async {
            store.schedules()[0]
                .last
                .is_some_and(|last| last > at("2026-01-01T00:00:00Z"))
        })
        .await;
        store.close().await?;
        let store = AggregateStore::builder(directory.path()).open().await?;
        let some = recorded::<EachMinute>(&store).await.len();
        store.close().await?;
        assert!(
            some >= before && some < AWAY as usize,
            "{before}, then {some}"
        );
        before = some;
    }
    let store = open().await?;
    store.run_process_managers().await?;
    let all = recorded::<EachMinute>(&store).await;
    assert_eq!(all.len(), AWAY as usize);
    assert!(all.is_sorted_by(|one, next| at(&one.0) < at(&next.0)));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_store_is_not_kept_open() -> TestResult {
    let directory = tempfile::tempdir()?;
    let clock = clock("2026-01-01T00:00:00Z");
    let open = || {
        builder(directory.path(), &clock)
            .schedule::<EachMinute>()
            .open()
    };
    drop(open().await?);
    clock.advance(Duration::from_secs(AWAY * 60));
    for _ in 0..10 {
        let store = open().await?;
        let before = store.schedules()[0].last;
        until("it records", || async {
            store.schedules()[0].last > before
        })
        .await;
        drop(store);
    }
    // It waits until the dropped store has released the directory.
    let store = AggregateStore::builder(directory.path()).open().await?;
    assert!(recorded::<EachMinute>(&store).await.len() < AWAY as usize);
    Ok(())
}

#[tokio::test]
async fn on_a_read_only_file_system_nothing_is_recorded() -> TestResult {
    let directory = tempfile::tempdir()?;
    let clock = clock("2026-11-29T12:00:00Z");
    builder(directory.path(), &clock)
        .schedule::<Nightly>()
        .open()
        .await?
        .close()
        .await?;
    clock.set(at("2026-12-05T12:00:00Z"));
    let store = builder(directory.path(), &clock)
        .disk(Arc::new(ReadOnlyDisk::default()))
        .schedule::<Nightly>()
        .schedule::<EachMinute>()
        .open()
        .await?;
    let refused = store.run_process_managers().await;
    assert!(
        matches!(refused, Err(StoreError::ReadOnly { .. })),
        "{refused:?}"
    );
    // Time for an attempt, whose failure would be reported.
    tokio::time::sleep(Duration::from_millis(50)).await;
    for (status, next) in store
        .schedules()
        .into_iter()
        .zip(["2026-11-30T01:00:00Z", "2026-12-05T12:01:00Z"])
    {
        assert_eq!((status.last, status.next), (None, Some(at(next))));
        assert_eq!(status.failure, None, "{}", status.name);
    }
    assert_eq!(recorded::<Nightly>(&store).await, []);
    store.close().await?;
    Ok(())
}

#[tokio::test]
async fn a_restored_copy_is_as_a_store_that_was_away() -> TestResult {
    let directory = tempfile::tempdir()?;
    let (base, copy) = (
        directory.path().join("store"),
        directory.path().join("copy"),
    );
    let clock = clock("2026-11-29T12:00:00Z");
    let store = builder(&base, &clock)
        .schedule::<Nightly>()
        .run_mode(RunMode::Background)
        .open()
        .await?;
    // Of a schedule without an occurrence.
    store.backup(&copy).await?;
    clock.set(at("2026-12-01T12:00:00Z"));
    let restored = builder(&copy, &clock).schedule::<Nightly>().open().await?;
    restored.run_process_managers().await?;
    assert_eq!(
        recorded::<Nightly>(&restored).await,
        [("2026-12-01T01:00:00Z".to_owned(), 2)]
    );
    assert_eq!(restored.verify().await?.differences.len(), 0);
    Ok(())
}

#[tokio::test]
async fn a_killed_program_records_each_occurrence_once() -> TestResult {
    let directory = tempfile::tempdir()?;
    let base = directory.path().join("store");
    let clock = clock("2026-11-29T12:00:00Z");
    let store = builder(&base, &clock)
        .schedule::<EachMinute>()
        .open()
        .await?;
    clock.advance(Duration::from_secs(600));
    store.run_process_managers().await?;
    // As a kill leaves it: without a close.
    let copy = directory.path().join("copy");
    CrashImage::read(&base)?.materialise(&copy)?;
    clock.advance(Duration::from_secs(600));
    let again = builder(&copy, &clock)
        .schedule::<EachMinute>()
        .open()
        .await?;
    again.run_process_managers().await?;
    let all = recorded::<EachMinute>(&again).await;
    assert_eq!(all.len(), 20);
    assert!(all.is_sorted_by(|one, next| at(&one.0) < at(&next.0)));
    Ok(())
}
