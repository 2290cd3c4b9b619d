//! Another timetable, a schedule that is left out, and wrong timetables.

use eventfold_es::contract::Due;
use eventfold_es::prelude::*;
use eventfold_es::{Missed, OpenError};
use eventfold_es_tests::TestResult;

use super::world::{Nightly, at, builder, clock, recorded};

mod times {
    pub const WRONG: &str = "0 25 * * *";
    pub const ZONE: &str = "Europe/Atlantis";
}

#[schedule(cron = times::WRONG)]
struct WrongCron;

#[schedule(cron = "0 2 * * *", time_zone = times::ZONE)]
struct WrongZone;

#[tokio::test]
async fn another_timetable_is_effective_from_the_last_occurrence_on() -> TestResult {
    let directory = tempfile::tempdir()?;
    let clock = clock("2026-11-29T12:00:00Z");
    let store = builder(directory.path(), &clock)
        .schedule::<Nightly>()
        .open()
        .await?;
    clock.set(at("2026-11-30T01:00:00Z"));
    store.run_process_managers().await?;
    store.close().await?;

    clock.set(at("2026-11-30T05:30:00Z"));
    let hourly = Timetable::new("0 * * * *")?
        .in_time_zone("America/New_York")?
        .missed(Missed::All);
    let store = builder(directory.path(), &clock)
        .schedule::<Nightly>()
        .schedule_with::<Nightly>(hourly)
        .open()
        .await?;
    store.run_process_managers().await?;
    let due: Vec<_> = recorded::<Nightly>(&store)
        .await
        .into_iter()
        .map(|(due, _)| due)
        .collect();
    let expected = [1, 2, 3, 4, 5].map(|hour| format!("2026-11-30T0{hour}:00:00Z"));
    assert_eq!(
        due, expected,
        "as if it had been hourly since the last occurrence"
    );
    assert_eq!(store.schedules()[0].time_zone, "America/New_York");
    Ok(())
}

#[tokio::test]
async fn a_schedule_that_is_left_out_is_away() -> TestResult {
    let directory = tempfile::tempdir()?;
    let clock = clock("2026-11-28T12:00:00Z");
    builder(directory.path(), &clock)
        .schedule::<Nightly>()
        .open()
        .await?
        .close()
        .await?;
    clock.set(at("2026-11-29T12:00:00Z"));
    let without = AggregateStore::builder(directory.path())
        .clock(clock.clone())
        .open()
        .await?;
    without.run_process_managers().await?;
    assert_eq!(without.schedules(), []);
    without.close().await?;
    clock.set(at("2026-12-01T12:00:00Z"));
    let store = builder(directory.path(), &clock)
        .schedule::<Nightly>()
        .open()
        .await?;
    store.run_process_managers().await?;
    assert_eq!(
        recorded::<Nightly>(&store).await,
        [("2026-12-01T01:00:00Z".to_owned(), 3)]
    );
    Ok(())
}

#[tokio::test]
async fn a_stream_from_another_store_continues_behind_its_last_occurrence() -> TestResult {
    let directory = tempfile::tempdir()?;
    let clock = clock("2026-12-01T12:00:00Z");
    // The occurrence comes from an import, for example, and the schedule was never registered here.
    let without = AggregateStore::builder(directory.path())
        .clock(clock.clone())
        .open()
        .await?;
    let last = Occurrence::at(at("2026-11-29T01:00:00Z"));
    let nightly = without.get::<Nightly>("nightly").await?;
    nightly.execute(Due::from(last), ()).await?;
    drop(nightly);
    without.close().await?;
    let store = builder(directory.path(), &clock)
        .schedule::<Nightly>()
        .open()
        .await?;
    store.run_process_managers().await?;
    let expected = [
        ("2026-11-29T01:00:00Z".to_owned(), 1),
        ("2026-12-01T01:00:00Z".to_owned(), 2),
    ];
    assert_eq!(recorded::<Nightly>(&store).await, expected);
    Ok(())
}

#[tokio::test]
async fn a_wrong_timetable_is_refused_when_the_store_is_opened() -> TestResult {
    let directory = tempfile::tempdir()?;
    let base = directory.path().join("store");
    let refused = AggregateStore::builder(&base)
        .schedule::<WrongCron>()
        .open()
        .await;
    let Err(
        error @ OpenError::Timetable {
            name: "wrong-cron", ..
        },
    ) = refused
    else {
        return Err("it is opened".into());
    };
    assert_eq!(
        error.to_string(),
        "the timetable of the schedule `wrong-cron` cannot be used: `25` is no hour: it is 0 to 23. Write for example `0 2 * * *`"
    );
    let refused = AggregateStore::builder(&base)
        .schedule::<WrongZone>()
        .open()
        .await;
    assert_eq!(
        refused
            .err()
            .map(|error| error.to_string())
            .unwrap_or_default(),
        "the timetable of the schedule `wrong-zone` cannot be used: `Europe/Atlantis` is no time zone: write a name of the IANA \
         database, for example `Europe/Berlin`, or `UTC`"
    );
    assert!(!base.exists(), "nothing was written");
    Ok(())
}

#[tokio::test]
async fn two_types_cannot_share_a_name() -> TestResult {
    #[schedule(cron = "@daily", name = "nightly")]
    struct Other;

    let directory = tempfile::tempdir()?;
    let refused = AggregateStore::builder(directory.path())
        .schedule::<Nightly>()
        .schedule::<Other>()
        .open()
        .await;
    assert!(
        matches!(refused, Err(OpenError::NameTaken { .. })),
        "{refused:?}"
    );
    Ok(())
}
