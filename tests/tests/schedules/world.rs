//! Schedules, a handler that keeps what it is told, and a clock that a test moves.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use eventfold_es::clock::ManualClock;
use eventfold_es::prelude::*;
use eventfold_es::{AggregateStoreBuilder, HandleError};
use jiff::Timestamp;

/// Two in the morning in Berlin.
#[schedule(cron = "0 2 * * *", time_zone = "Europe/Berlin")]
#[derive(Debug, PartialEq)]
pub struct Nightly;

#[schedule(cron = "* * * * *", missed = "all", name = "each-minute")]
pub struct EachMinute;

#[schedule(cron = "0 * * * *", missed = "none")]
pub struct Hourly;

/// What the handler was told: the schedule, and the local time of the occurrence.
pub type Told = Arc<Mutex<Vec<(String, String)>>>;

#[event_handler(subscribes = [Nightly, EachMinute, Hourly])]
#[derive(Default)]
pub struct Listener {
    pub told: Told,
}

impl Listener {
    fn note(&self, schedule: &str, event: &Occurrence) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.push((schedule.to_owned(), event.local().to_owned()));
    }
}

impl Handle<Nightly> for Listener {
    type Error = HandleError;

    async fn handle(
        &self,
        event: &Occurrence,
        _: &mut Handling<'_, Self>,
    ) -> Result<(), HandleError> {
        self.note("nightly", event);
        Ok(())
    }
}

impl Handle<EachMinute> for Listener {
    type Error = HandleError;

    async fn handle(
        &self,
        event: &Occurrence,
        _: &mut Handling<'_, Self>,
    ) -> Result<(), HandleError> {
        self.note("each-minute", event);
        Ok(())
    }
}

impl Handle<Hourly> for Listener {
    type Error = HandleError;

    async fn handle(
        &self,
        event: &Occurrence,
        _: &mut Handling<'_, Self>,
    ) -> Result<(), HandleError> {
        self.note("hourly", event);
        Ok(())
    }
}

/// The time of an RFC 3339 text.
pub fn at(time: &str) -> SystemTime {
    time.parse::<Timestamp>().expect("a time").into()
}

pub fn text(time: SystemTime) -> String {
    Timestamp::try_from(time).expect("a time").to_string()
}

pub fn clock(time: &str) -> ManualClock {
    ManualClock::new(at(time))
}

pub fn builder(base: &Path, clock: &ManualClock) -> AggregateStoreBuilder {
    AggregateStore::builder(base).clock(clock.clone())
}

/// The recorded occurrences of a schedule: their times, and how many each stands for.
pub async fn recorded<S: Schedule>(store: &AggregateStore) -> Vec<(String, u64)> {
    let history = store.history::<S>(S::AGGREGATE_TYPE).collect().await;
    let history = history.expect("it is read").into_iter();
    history
        .map(|recorded| (text(recorded.event.due()), recorded.event.stands_for()))
        .collect()
}

/// Waits until a condition holds.
pub async fn until<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let waited = tokio::time::timeout(Duration::from_secs(60), async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });
    assert!(waited.await.is_ok(), "it takes too long until {what}");
}

pub async fn until_recorded<S: Schedule>(store: &AggregateStore, count: usize) {
    until(&format!("{count} are recorded"), || async {
        recorded::<S>(store).await.len() == count
    })
    .await;
}
