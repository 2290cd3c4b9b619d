//! Who learns of occurrences: process managers, event handlers, projections, subscriptions, and the test kit.

use std::convert::Infallible;
use std::sync::PoisonError;
use std::time::Duration;

use eventfold_es::prelude::*;
use eventfold_es::testing;
use eventfold_es_tests::TestResult;

use super::world::{
    EachMinute, Hourly, Listener, Nightly, Told, at, builder, clock, recorded, until,
};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum ReportCommand {
    Write { date: String },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
pub enum ReportEvent {
    Written { date: String },
}

#[aggregate(error = Infallible)]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    dates: Vec<String>,
}

impl Report {
    pub fn dates(&self) -> &[String] {
        &self.dates
    }
}

impl Decider for Report {
    fn decide(
        &self,
        ReportCommand::Write { date }: ReportCommand,
    ) -> Result<Vec<ReportEvent>, Infallible> {
        Ok(vec![ReportEvent::Written { date }])
    }

    fn evolve(&mut self, ReportEvent::Written { date }: &ReportEvent) {
        self.dates.push(date.clone());
    }
}

#[process_manager(subscribes = [Nightly], dispatches = [Report])]
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Reporting {
    nights: u64,
}

impl React<Nightly> for Reporting {
    fn react(&mut self, event: &Occurrence, cx: &mut Reaction<'_, Self>) {
        self.nights += event.stands_for();
        let date = event.local_date().to_owned();
        cx.send("all", ReportCommand::Write { date });
    }
}

#[projection(subscribes = [Nightly])]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Nights {
    count: u64,
}

impl Project<Nightly> for Nights {
    fn project(&mut self, event: &Occurrence, _: &EventContext<'_>) {
        self.count += event.stands_for();
    }
}

#[event_store(
    aggregates = [Report],
    schedules = [Nightly, EachMinute, Hourly],
    process_managers = [Reporting],
    event_handlers = [Listener],
    projections = [Nights]
)]
pub struct Office;

fn told(told: &Told) -> Vec<(String, String)> {
    told.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

#[tokio::test]
async fn a_declared_store_records_its_schedules_and_tells_its_parts() -> TestResult {
    let directory = tempfile::tempdir()?;
    let clock = clock("2026-11-30T00:59:30Z");
    let listener = Listener::default();
    let heard = listener.told.clone();
    let store = Office::builder(directory.path())
        .event_handler(listener)
        .clock(clock.clone())
        .open()
        .await?;
    let names: Vec<_> = store.schedules().into_iter().map(|one| one.name).collect();
    assert_eq!(names, ["nightly", "each-minute", "hourly"]);
    let mut events = Office::subscribe(&store);
    clock.advance(Duration::from_secs(60));
    until("all are told", || async { told(&heard).len() == 3 }).await;
    store.run_process_managers().await?;
    let mut heard = told(&heard);
    heard.sort();
    let expected = [
        ("each-minute", "2026-11-30T01:00:00+00:00[UTC]"),
        ("hourly", "2026-11-30T01:00:00+00:00[UTC]"),
        ("nightly", "2026-11-30T02:00:00+01:00[Europe/Berlin]"),
    ];
    assert_eq!(
        heard,
        expected.map(|(name, local)| (name.to_owned(), local.to_owned()))
    );
    let report = store.get::<Report>("all").await?.state().await?;
    assert_eq!(report.dates, ["2026-11-30"]);
    assert_eq!(store.projection::<Nights>().await?.count, 1);
    let first = events.next().await.ok_or("no event")??;
    let OfficeEvent::Nightly(occurrence) = first.event else {
        return Err("the schedules are in their order".into());
    };
    assert_eq!(occurrence.due(), at("2026-11-30T01:00:00Z"));
    let drawing = Office::topology().to_mermaid();
    assert!(drawing.contains("Nightly"), "{drawing}");
    let lock = Office::schema().to_lock();
    assert!(
        lock.contains("aggregate nightly\n  event Occurred\n    struct\n      due: String\n      local: String\n      stands_for: u64\n"),
        "{lock}"
    );
    Ok(())
}

#[tokio::test]
async fn the_stored_form_is_readable() -> TestResult {
    let directory = tempfile::tempdir()?;
    let clock = clock("2026-11-30T00:59:30Z");
    let store = builder(directory.path(), &clock)
        .schedule::<Nightly>()
        .open()
        .await?;
    clock.advance(Duration::from_secs(60));
    store.run_process_managers().await?;
    let state = store.get::<Nightly>("nightly").await?.state().await?;
    assert_eq!(
        serde_json::to_string(&state)?,
        r#"{"last":"2026-11-30T01:00:00Z"}"#
    );
    assert_eq!(state.occurrences().last(), Some(at("2026-11-30T01:00:00Z")));
    store.close().await?;
    let journal = std::fs::read_to_string(directory.path().join("meta/journal/app.jsonl"))?;
    let data = r#""data":{"due":"2026-11-30T01:00:00Z","local":"2026-11-30T02:00:00+01:00[Europe/Berlin]","stands_for":1}"#;
    // An event is text within the line of its commit.
    let journal = journal.replace("\\\"", "\"");
    assert!(journal.contains(data), "{journal}");
    assert!(journal.contains(r#""type":"Occurred""#), "{journal}");
    Ok(())
}

#[test]
fn the_test_kit_gives_occurrences() -> TestResult {
    let saturday = Nightly::timetable()?
        .next_after(at("2026-11-28T00:00:00Z"))
        .ok_or("it ends")?;
    let monday = Occurrence::at(at("2026-11-30T01:00:00Z")).standing_for(2);
    testing::process_manager::<Reporting>()
        .given::<Nightly>("nightly", saturday)
        .when::<Nightly>("nightly", monday.clone())
        .then(|expected| {
            expected.send(
                "all",
                ReportCommand::Write {
                    date: "2026-11-30".to_owned(),
                },
            )
        })
        .then_state(&Reporting { nights: 3 });
    testing::projection::<Nights>()
        .given::<Nightly>("nightly", monday)
        .then(&Nights { count: 2 });
    Ok(())
}

#[tokio::test]
async fn a_paused_process_manager_reacts_to_each_occurrence_later() -> TestResult {
    let directory = tempfile::tempdir()?;
    let clock = clock("2026-11-29T12:00:00Z");
    let store = builder(directory.path(), &clock)
        .process_manager::<Reporting>()
        .schedule::<Nightly>()
        .open()
        .await?;
    let reporting = store.process_manager::<Reporting>()?;
    reporting.pause().await?;
    for day in ["2026-11-30T01:00:00Z", "2026-12-01T01:00:00Z"] {
        clock.set(at(day));
        store.run_process_managers().await?;
    }
    assert_eq!(recorded::<Nightly>(&store).await.len(), 2);
    assert_eq!(
        store.get::<Report>("all").await?.state().await?.dates.len(),
        0
    );
    reporting.resume().await?;
    store.run_process_managers().await?;
    assert_eq!(
        store.get::<Report>("all").await?.state().await?.dates,
        ["2026-11-30", "2026-12-01"]
    );
    Ok(())
}
