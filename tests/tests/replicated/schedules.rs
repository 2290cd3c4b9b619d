//! Schedules are kept by the leader, and go on at the last recorded occurrence.

use std::time::{Duration, SystemTime};

use eventfold_es::clock::ManualClock;
use eventfold_es::prelude::*;
use eventfold_es::testing::SharedLog;
use eventfold_es_tests::TestResult;

use super::world::{Cluster, hand_over, until, until_detached, until_leader};

#[schedule(cron = "* * * * *", missed = "all")]
pub struct EachMinute;

const MINUTE: Duration = Duration::from_secs(60);

fn clock() -> ManualClock {
    ManualClock::new(SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000))
}

async fn open(cluster: &Cluster, name: &str, clock: &ManualClock) -> (AggregateStore, SharedLog) {
    let (builder, log) = cluster.node(name);
    let builder = builder.clock(clock.clone()).schedule::<EachMinute>();
    (builder.open().await.expect("it opens"), log)
}

async fn recorded(store: &AggregateStore) -> usize {
    let history = store.history::<EachMinute>("each-minute").collect().await;
    history.expect("it is read").len()
}

async fn until_recorded(store: &AggregateStore, count: usize) {
    until(&format!("{count} are recorded"), || async {
        recorded(store).await == count
    })
    .await;
}

#[tokio::test]
async fn only_the_leader_records_and_each_occurrence_once() -> TestResult {
    let (cluster, clock) = (Cluster::new(), clock());
    let (one, log) = open(&cluster, "one", &clock).await;
    until_leader(&one).await;
    until("it is kept", || async { one.schedules()[0].next.is_some() }).await;
    clock.advance(2 * MINUTE);
    until_recorded(&one, 2).await;
    let (two, two_log) = open(&cluster, "two", &clock).await;
    until_recorded(&two, 2).await;
    let status = two.schedules().remove(0);
    assert_eq!(
        (status.last, status.next, status.failure),
        (None, None, None)
    );

    hand_over(&one, &log, &two, "two").await;
    until("nothing is known of it", || async {
        one.schedules()[0].next.is_none()
    })
    .await;
    clock.advance(3 * MINUTE);
    until_recorded(&one, 5).await;
    hand_over(&two, &two_log, &one, "one").await;
    clock.advance(MINUTE);
    until_recorded(&one, 6).await;
    // A look of the program, right after another takeover.
    log.cut_off();
    until_detached(&one).await;
    two.close().await?;
    clock.advance(MINUTE);
    log.reconnect();
    until_leader(&one).await;
    one.run_process_managers().await?;
    assert_eq!(recorded(&one).await, 7);
    assert_eq!(one.schedules()[0].failure, None);
    Ok(())
}
