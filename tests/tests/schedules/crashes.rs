//! A crash at each durable step of a store with a schedule and its subscribers.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use eventfold_es::prelude::*;
use eventfold_es::{HandleError, Missed, testing};
use eventfold_es_tests::TestResult;

use super::subscribers::{Report, ReportCommand, Reporting};
use super::world::{Nightly, at, clock, recorded};

/// The calls outside: the idempotency keys of each date.
type Calls = Arc<Mutex<BTreeMap<String, Vec<String>>>>;

/// Notes each night outside, and then inside.
#[event_handler(subscribes = [Nightly], dispatches = [Report])]
struct Scribe {
    calls: Calls,
}

impl Handle<Nightly> for Scribe {
    type Error = HandleError;

    async fn handle(
        &self,
        event: &Occurrence,
        cx: &mut Handling<'_, Self>,
    ) -> Result<(), HandleError> {
        let date = event.local_date().to_owned();
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        let keys = calls.entry(date.clone()).or_default();
        keys.push(cx.idempotency_key().to_owned());
        cx.send("outside", ReportCommand::Write { date });
        Ok(())
    }
}

async fn dates(store: &AggregateStore, id: &str) -> Vec<String> {
    let report = store.get::<Report>(id).await.expect("a handle");
    report.state().await.expect("a state").dates().to_vec()
}

/// The number of occurrences of the workload.
const NIGHTS: u64 = 5;

#[tokio::test]
async fn each_occurrence_is_recorded_once_and_reacted_to_once_at_every_crash_point() -> TestResult {
    let clock = clock("2026-11-29T12:00:00Z");
    let timetable = Nightly::timetable()?.missed(Missed::All);
    let calls = Calls::default();
    let crashes = testing::for_each_crash_point(
        |builder| {
            builder
                .clock(clock.clone())
                .process_manager::<Reporting>()
                .schedule_with::<Nightly>(timetable.clone())
                .event_handler(Scribe {
                    calls: Arc::clone(&calls),
                })
        },
        async |store| {
            for _ in 0..NIGHTS {
                clock.advance(Duration::from_secs(24 * 3600));
                store.run_process_managers().await.expect("they run");
            }
        },
        async |store| {
            let occurrences = recorded::<Nightly>(&store).await;
            let due: Vec<_> = occurrences.iter().map(|(due, _)| at(due)).collect();
            assert!(due.is_sorted_by(|one, next| one < next), "{occurrences:?}");
            let expected: Vec<_> = occurrences
                .iter()
                .map(|(due, _)| due[..10].to_owned())
                .collect();
            assert_eq!(dates(&store, "all").await, expected);
            assert_eq!(dates(&store, "outside").await, expected);
            // A crash before the first opening was durable leaves a store that begins at the end.
            let all = NIGHTS as usize;
            assert!([0, all].contains(&occurrences.len()), "{occurrences:?}");
        },
    )
    .await;
    assert!(crashes.points > 50, "{crashes:?}");
    let calls = calls.lock().unwrap_or_else(PoisonError::into_inner);
    assert_eq!(calls.len() as u64, NIGHTS);
    for (date, keys) in calls.iter() {
        assert!(keys.len() > 1, "the crashes repeat the call of {date}");
        assert!(keys.iter().all(|key| *key == keys[0]), "{keys:?}");
    }
    Ok(())
}
