//! A leader that closes hands over, whatever else closing waits for.

use std::sync::atomic::{AtomicBool, Ordering};

use eventfold_es::prelude::*;
use eventfold_es::testing::SharedLog;
use eventfold_es::{AggregateHandle, StoreError};
use serde::Serializer;

use super::handovers::{check, closes};
use super::world::{Cluster, a_moment, until, until_follower_of, until_leader};
use crate::TestResult;
use crate::common::counter::{Counter, CounterCommand, CounterEvent};

/// `EVENTFOLD_NODE_CLOSES=50` takes more closes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_leader_waits_for_no_silence() {
    let log = SharedLog::new();
    check("the log in memory", closes(), || log.handle()).await;
}

static IS_HELD: AtomicBool = AtomicBool::new(true);
static IS_SAVING: AtomicBool = AtomicBool::new(false);

/// A state that takes a while to save.
#[projection(subscribes = [Counter])]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Heavy {
    #[serde(serialize_with = "slowly")]
    sum: i64,
}

fn slowly<S: Serializer>(sum: &i64, serializer: S) -> Result<S::Ok, S::Error> {
    IS_SAVING.store(true, Ordering::SeqCst);
    while IS_HELD.load(Ordering::SeqCst) {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    serializer.serialize_i64(*sum)
}

impl Project<Counter> for Heavy {
    fn project(&mut self, event: &CounterEvent, _: &EventContext<'_>) {
        if let CounterEvent::Added(by) = event {
            self.sum += by;
        }
    }
}

/// The node does not decide on its old state.
async fn assert_takes_nothing(counter: &AggregateHandle<Counter>) {
    for command in [
        CounterCommand::Add(1),
        CounterCommand::Nothing,
        CounterCommand::Reject,
    ] {
        let late = counter.execute(command, ()).await;
        let is_closed = matches!(&late, Err(ExecuteError::Store(StoreError::Closed)));
        assert!(is_closed, "{late:?}");
    }
}

/// Another node leads before the state of a projection is saved. The directory is released behind it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn saving_does_not_hold_up_the_next_leader() -> TestResult {
    let cluster = Cluster::new();
    let (builder, _) = cluster.node("one");
    let one = builder.projection::<Heavy>().open().await?;
    until_leader(&one).await;
    one.send("a", CounterCommand::Add(5), ()).await?;
    assert_eq!(one.projection::<Heavy>().await?.sum, 5);
    let (builder, _) = cluster.node("two");
    let two = builder.open().await?;
    until_follower_of(&two, "one").await;
    let counter = one.get::<Counter>("a").await?;
    let closing = tokio::spawn(one.close());
    until("it is saving", || async {
        IS_SAVING.load(Ordering::SeqCst)
    })
    .await;
    // The node has resigned, also before the next leader has claimed the log.
    assert_takes_nothing(&counter).await;
    until_leader(&two).await;
    two.send("a", CounterCommand::Add(1), ()).await?;
    a_moment().await;
    assert!(!closing.is_finished());
    assert_takes_nothing(&counter).await;
    IS_HELD.store(false, Ordering::SeqCst);
    closing.await??;
    let (builder, _) = cluster.node("one");
    let one = builder.projection::<Heavy>().open().await?;
    until("it has both", || async {
        one.projection::<Heavy>()
            .await
            .is_ok_and(|heavy| heavy.sum == 6)
    })
    .await;
    Ok(())
}
