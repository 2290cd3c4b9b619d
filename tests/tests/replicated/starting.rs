//! Stores that lose the leadership while they open.

use std::sync::Arc;
use std::time::Duration;

use eventfold_es::ProcessManager as _;
use eventfold_es::prelude::*;
use eventfold_es::replication::{AppendError, CommitLog, Entry, LogError};
use eventfold_es::testing::SharedLog;
use eventfold_es_tests::TestResult;
use tokio::sync::{broadcast, watch};

use super::schedules::EachMinute;
use super::world::{until, until_leader};
use crate::common::sagas::ReservationSaga;
use crate::common::shop::{IN_STOCK, place};

/// The name of the progress of the schedule.
const SCHEDULE: &str = "schedule@each-minute";

/// A log that a node loses as it appends an entry with a text. The answer is lost, too.
struct LostAt {
    log: SharedLog,
    text: &'static str,
}

impl CommitLog for LostAt {
    fn describe(&self) -> String {
        self.log.describe()
    }

    fn open(&self) -> Result<(), LogError> {
        self.log.open()
    }

    fn max_entry_bytes(&self) -> usize {
        self.log.max_entry_bytes()
    }

    fn append(&self, after: u64, text: Arc<str>) -> Result<(), AppendError> {
        // Only the first: afterwards the log has it.
        let is_first = !self.log.texts().concat().contains(self.text);
        if !text.contains(self.text) || !is_first {
            return self.log.append(after, text);
        }
        self.log.append(after, text)?;
        self.log.cut_off();
        Err(AppendError::Unknown("the connection is lost".to_owned()))
    }

    fn read(&self, from: u64, max_bytes: usize) -> Result<Vec<Entry>, LogError> {
        self.log.read(from, max_bytes)
    }

    fn follow(&self) -> watch::Receiver<u64> {
        self.log.follow()
    }

    fn signal(&self, message: String) {
        self.log.signal(message);
    }

    fn signals(&self) -> broadcast::Receiver<String> {
        self.log.signals()
    }
}

/// Opens a store whose log is lost at an entry, and finds the log again.
async fn opens_without_the_log(text: &'static str) -> TestResult {
    let directory = tempfile::tempdir()?;
    let log = SharedLog::new();
    let lost = LostAt {
        log: log.clone(),
        text,
    };
    let builder = AggregateStore::builder(directory.path())
        .replicated(lost)
        .node("one")
        .process_manager::<ReservationSaga>()
        .schedule::<EachMinute>();
    let opening = tokio::time::timeout(Duration::from_secs(60), builder.open());
    let store = opening.await.expect("it does not wait for the log")?;
    assert!(!store.role().borrow().is_leader());
    log.reconnect();
    until_leader(&store).await;
    store.send("o-1", place("W", IN_STOCK + 1), ()).await?;
    until("the process manager runs", || async {
        store.health().await.process_managers[0].dead_letters == 1
    })
    .await;
    until("the schedule is kept", || async {
        store.schedules()[0].next.is_some()
    })
    .await;
    let beginnings = log.texts().concat().matches(SCHEDULE).count();
    assert_eq!(beginnings, 1, "its beginning is committed once");
    store.close().await?;
    Ok(())
}

#[tokio::test]
async fn a_term_that_is_lost_at_a_starting_point_does_not_hold_the_opening() -> TestResult {
    opens_without_the_log(ReservationSaga::NAME).await
}

#[tokio::test]
async fn a_term_that_is_lost_at_the_beginning_of_a_schedule_does_not_hold_the_opening() -> TestResult
{
    opens_without_the_log(SCHEDULE).await
}
