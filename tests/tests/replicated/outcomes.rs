//! A log that does not answer: the caller is told, and the store goes on to find out.

use std::sync::Arc;
use std::time::Duration;

use eventfold_es::prelude::*;
use eventfold_es::{AggregateHandle, TransactionError};
use eventfold_es_tests::TestResult;
use eventfold_es_tests::gate::GatedDisk;

use super::world::{Cluster, a_moment, until_leader};
use crate::common::counter::{Counter, CounterCommand};

const SHORT: Duration = Duration::from_millis(30);

fn with_key() -> CommandContext {
    CommandContext::default().with_idempotency_key("k")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_outcome_is_told_and_settled_later() -> TestResult {
    let cluster = Cluster::new();
    let (builder, log) = cluster.node("one");
    let store = builder.outcome_patience(SHORT).open().await?;
    until_leader(&store).await;
    let a: AggregateHandle<Counter> = store.get("a").await?;
    log.pause();
    for _ in 0..2 {
        // The second is a repetition of the first, whose outcome is unknown still.
        let result = a.execute(CounterCommand::Add(7), with_key()).await;
        let Err(ExecuteError::OutcomeUnknown { reason }) = &result else {
            panic!("{result:?}");
        };
        assert_eq!(&**reason, "the replicated log has not answered within 30ms");
    }
    let transaction = store.transaction(()).send("b", CounterCommand::Add(1));
    let transaction = transaction.commit().await;
    let is_unknown = matches!(&transaction, Err(TransactionError::OutcomeUnknown { .. }));
    assert!(is_unknown, "{transaction:?}");
    // These answers depend on the unsettled commit, and they store nothing themselves.
    for command in [CounterCommand::Nothing, CounterCommand::Reject] {
        let result = a.execute(command, ()).await;
        let is_unavailable = matches!(&result, Err(ExecuteError::Unavailable { .. }));
        assert!(is_unavailable, "{result:?}");
    }
    log.release();
    // The command was stored, once.
    let settled = async {
        loop {
            match a.execute(CounterCommand::Add(7), with_key()).await {
                Err(ExecuteError::OutcomeUnknown { .. }) => {}
                other => break other,
            }
        }
    };
    let done = tokio::time::timeout(Duration::from_secs(60), settled).await??;
    assert_eq!((done.version, done.events.len()), (1, 1));
    assert_eq!(a.state().await?.sum, 7);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_alone_waits_for_its_disk() -> TestResult {
    let base = tempfile::tempdir()?;
    let disk = GatedDisk::default();
    let store = AggregateStore::builder(base.path())
        .outcome_patience(SHORT)
        .disk(Arc::new(disk.clone()))
        .open()
        .await?;
    let a: AggregateHandle<Counter> = store.get("a").await?;
    disk.close();
    let executing = tokio::spawn(async move { a.execute(CounterCommand::Add(7), ()).await });
    for _ in 0..5 {
        a_moment().await;
    }
    assert!(!executing.is_finished());
    disk.open();
    assert_eq!(executing.await??.version, 1);
    Ok(())
}
