//! Clocks that are wrong.

use std::pin::Pin;
use std::time::{Duration, SystemTime};

use eventfold_es::clock::{Clock, SystemClock};
use eventfold_es::prelude::*;
use eventfold_es_tests::TestResult;

use super::world::{EachMinute, Nightly, at, builder, clock, recorded, until_recorded};

#[tokio::test]
async fn a_clock_that_goes_back_doubles_no_occurrence() -> TestResult {
    let directory = tempfile::tempdir()?;
    let clock = clock("2026-11-30T00:59:00Z");
    let store = builder(directory.path(), &clock)
        .schedule::<Nightly>()
        .open()
        .await?;
    clock.set(at("2026-11-30T01:00:30Z"));
    until_recorded::<Nightly>(&store, 1).await;
    for back in ["2026-11-30T00:59:30Z", "2026-11-28T00:00:00Z"] {
        clock.set(at(back));
        store.run_process_managers().await?;
        clock.set(at("2026-11-30T01:00:30Z"));
        store.run_process_managers().await?;
        assert_eq!(recorded::<Nightly>(&store).await.len(), 1, "back to {back}");
    }
    store.close().await?;
    // Also over a restart with an earlier clock.
    clock.set(at("2026-11-30T00:50:00Z"));
    let store = builder(directory.path(), &clock)
        .schedule::<Nightly>()
        .open()
        .await?;
    for time in [
        "2026-11-30T00:59:59Z",
        "2026-11-30T01:00:00Z",
        "2026-11-30T23:00:00Z",
    ] {
        clock.set(at(time));
        store.run_process_managers().await?;
        assert_eq!(recorded::<Nightly>(&store).await.len(), 1, "at {time}");
    }
    clock.set(at("2026-12-01T01:00:00Z"));
    store.run_process_managers().await?;
    assert_eq!(recorded::<Nightly>(&store).await.len(), 2);
    Ok(())
}

#[tokio::test]
async fn a_clock_that_was_ahead_is_caught_up_with() -> TestResult {
    let directory = tempfile::tempdir()?;
    let clock = clock("2026-11-29T12:00:00Z");
    let store = builder(directory.path(), &clock)
        .schedule::<Nightly>()
        .open()
        .await?;
    clock.set(at("2027-01-05T12:00:00Z"));
    store.run_process_managers().await?;
    clock.set(at("2026-11-30T12:00:00Z"));
    store.run_process_managers().await?;
    let wrong = [("2027-01-05T01:00:00Z".to_owned(), 37)];
    assert_eq!(recorded::<Nightly>(&store).await, wrong);
    clock.set(at("2027-01-06T01:00:00Z"));
    store.run_process_managers().await?;
    assert_eq!(recorded::<Nightly>(&store).await.len(), 2);
    Ok(())
}

/// The clock of the system, ahead by a time.
struct Ahead(Duration);

impl Clock for Ahead {
    fn now(&self) -> SystemTime {
        SystemClock.now() + self.0
    }

    fn sleep_until(&self, time: SystemTime) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        SystemClock.sleep_until(time - self.0)
    }
}

#[tokio::test]
async fn a_clock_that_runs_is_looked_at_in_time() -> TestResult {
    let directory = tempfile::tempdir()?;
    let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    // The next minute begins in a second and a half.
    let to_the_minute =
        Duration::from_secs(60) - Duration::from_millis(since_1970.as_millis() as u64 % 60_000);
    let ahead =
        (to_the_minute + Duration::from_secs(60)).saturating_sub(Duration::from_millis(1500));
    let store = AggregateStore::builder(directory.path())
        .clock(Ahead(ahead))
        .schedule::<EachMinute>()
        .open()
        .await?;
    let next = store.schedules()[0].next.ok_or("it ends")?;
    until_recorded::<EachMinute>(&store, 1).await;
    assert!(Ahead(ahead).now() >= next, "it is not early");
    assert_eq!(at(&recorded::<EachMinute>(&store).await[0].0), next);
    Ok(())
}
