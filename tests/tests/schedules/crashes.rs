//! A crash at each durable step of a store with a schedule and its subscribers.

use std::time::Duration;

use eventfold_es::Missed;
use eventfold_es::prelude::*;
use eventfold_es::testing;
use eventfold_es_tests::TestResult;

use super::subscribers::{Report, Reporting};
use super::world::{Nightly, at, clock, recorded};

/// The number of occurrences of the workload.
const NIGHTS: u64 = 5;

#[tokio::test]
async fn each_occurrence_is_recorded_once_and_reacted_to_once_at_every_crash_point() -> TestResult {
    let clock = clock("2026-11-29T12:00:00Z");
    let timetable = Nightly::timetable()?.missed(Missed::All);
    let crashes = testing::for_each_crash_point(
        |builder| {
            builder
                .clock(clock.clone())
                .process_manager::<Reporting>()
                .schedule_with::<Nightly>(timetable.clone())
        },
        async |store| {
            for _ in 0..NIGHTS {
                clock.advance(Duration::from_secs(24 * 3600));
                store.run_process_managers().await.expect("they run");
            }
        },
        async |store| {
            let occurrences = recorded::<Nightly>(&store).await;
            let report = store.get::<Report>("all").await.expect("a handle");
            let dates = report.state().await.expect("a state").dates().to_vec();
            let due: Vec<_> = occurrences.iter().map(|(due, _)| at(due)).collect();
            assert!(due.is_sorted_by(|one, next| one < next), "{occurrences:?}");
            let expected: Vec<_> = occurrences
                .iter()
                .map(|(due, _)| due[..10].to_owned())
                .collect();
            assert_eq!(dates, expected);
            // A crash before the first opening was durable leaves a store that begins at the end.
            let all = NIGHTS as usize;
            assert!([0, all].contains(&occurrences.len()), "{occurrences:?}");
        },
    )
    .await;
    assert!(crashes.points > 50, "{crashes:?}");
    Ok(())
}
