//! Occurrences that cannot be recorded.

use std::sync::Arc;
use std::time::Duration;

use eventfold_es::contract::Due;
use eventfold_es::disk::{Failure, Fault, FaultyDisk, Operation, SystemDisk};
use eventfold_es::prelude::*;
use eventfold_es::store::HealthStatus;
use eventfold_es_tests::TestResult;

use super::world::{EachMinute, Nightly, at, builder, clock, recorded, until};

#[tokio::test]
async fn an_occurrence_that_the_program_records_itself_is_not_doubled() -> TestResult {
    let directory = tempfile::tempdir()?;
    let clock = clock("2026-11-29T12:00:00Z");
    let store = builder(directory.path(), &clock)
        .schedule::<Nightly>()
        .open()
        .await?;
    let nightly = store.get::<Nightly>("nightly").await?;
    let early = Occurrence::at(at("2026-11-30T01:00:00Z"));
    nightly.execute(Due::from(early.clone()), ()).await?;
    let again = nightly.execute(Due::from(early), ()).await;
    let Err(ExecuteError::Domain(refused)) = again else {
        return Err("it is recorded twice".into());
    };
    assert_eq!(
        refused.to_string(),
        "the occurrence of 2026-11-30T01:00:00Z is not after 2026-11-30T01:00:00Z, the last recorded occurrence"
    );
    clock.set(at("2026-11-30T12:00:00Z"));
    store.run_process_managers().await?;
    assert_eq!(recorded::<Nightly>(&store).await.len(), 1);
    clock.set(at("2026-12-01T01:00:00Z"));
    store.run_process_managers().await?;
    let expected = ["2026-11-30T01:00:00Z", "2026-12-01T01:00:00Z"].map(|due| (due.to_owned(), 1));
    assert_eq!(recorded::<Nightly>(&store).await, expected);
    assert_eq!(store.health().await.status, HealthStatus::Healthy);
    Ok(())
}

#[tokio::test]
async fn two_occurrences_of_one_command_are_in_order() -> TestResult {
    let directory = tempfile::tempdir()?;
    let store = AggregateStore::open(directory.path()).await?;
    let nightly = store.get::<Nightly>("nightly").await?;
    let one = Occurrence::at(at("2026-11-30T01:00:00Z"));
    let other = Occurrence::at(at("2026-12-01T01:00:00Z"));
    let wrong = nightly
        .execute(Due::from(vec![other.clone(), one.clone()]), ())
        .await;
    assert!(matches!(wrong, Err(ExecuteError::Domain(_))), "{wrong:?}");
    let done = nightly.execute(Due::from(vec![one, other]), ()).await?;
    assert_eq!(done.events.len(), 2);
    Ok(())
}

#[tokio::test]
async fn a_poisoned_store_says_so_and_the_occurrence_is_recorded_after_a_restart() -> TestResult {
    let directory = tempfile::tempdir()?;
    let clock = clock("2026-11-29T12:00:00Z");
    let disk = FaultyDisk::new(Arc::new(SystemDisk));
    let store = builder(directory.path(), &clock)
        .disk(Arc::new(disk.clone()))
        .schedule::<Nightly>()
        .schedule::<EachMinute>()
        .open()
        .await?;
    disk.inject(Fault::once(0, Failure::EIO).on(&[Operation::SyncData]));
    clock.set(at("2026-11-30T01:00:00Z"));
    until("it fails", || async {
        store.schedules()[0].failure.is_some()
    })
    .await;
    assert_eq!(store.health().await.status, HealthStatus::Unusable);
    drop(store.close().await);
    let store = builder(directory.path(), &clock)
        .schedule::<Nightly>()
        .open()
        .await?;
    store.run_process_managers().await?;
    assert_eq!(recorded::<Nightly>(&store).await.len(), 1);
    Ok(())
}

#[tokio::test]
async fn a_schedule_whose_stream_cannot_be_read_is_reported_and_tried_again() -> TestResult {
    let directory = tempfile::tempdir()?;
    let clock = clock("2026-11-29T12:00:00Z");
    let store = AggregateStore::builder(directory.path())
        .clock(clock.clone())
        .open()
        .await?;
    // An aggregate of the same name has stored something else.
    let other = store.get::<Other>("nightly").await?;
    other.execute(Switch, ()).await?;
    store.close().await?;
    let store = builder(directory.path(), &clock)
        .schedule::<Nightly>()
        .schedule::<EachMinute>()
        .open()
        .await?;
    let failure = store.schedules()[0]
        .failure
        .clone()
        .ok_or("it does not fail")?;
    assert!(
        failure.contains("unknown event type `Switched`"),
        "{failure}"
    );
    let health = store.health().await;
    assert_eq!(health.status, HealthStatus::Degraded);
    let expected = format!("the schedule `nightly` does not record its occurrences: {failure}");
    assert_eq!(health.reasons, [expected]);
    clock.advance(Duration::from_secs(60));
    store.run_process_managers().await?;
    assert_eq!(
        recorded::<EachMinute>(&store).await.len(),
        1,
        "the other schedule goes on"
    );
    Ok(())
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Switch;

#[derive(Debug, Clone, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
enum OtherEvent {
    Switched,
}

#[aggregate(name = "nightly", command = Switch, error = std::convert::Infallible)]
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Other;

impl Decider for Other {
    fn decide(&self, Switch: Switch) -> Result<Vec<OtherEvent>, std::convert::Infallible> {
        Ok(vec![OtherEvent::Switched])
    }

    fn evolve(&mut self, _: &OtherEvent) {}
}
