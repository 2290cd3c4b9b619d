//! The answer of the log is lost: the next entry decides whether the command is stored.

use std::time::Duration;

use eventfold_es::ExecuteError;
use eventfold_es::replication::Role;
use eventfold_es::testing::LostAnswer;

use crate::TestResult;
use crate::cluster::Cluster;
use crate::common::counter::{Counter, CounterCommand};

#[tokio::test]
async fn a_stored_command_succeeds() -> TestResult {
    let cluster = Cluster::new()?;
    let one = cluster.open("one").await?;
    one.add("a", 1).await?;
    one.log.lose_next_answer(LostAnswer::Stored);
    let done = one.add("a", 2).await?;
    assert_eq!(done.version, 2);
    one.until_leader().await;
    one.add("a", 4).await?;
    assert_eq!(one.sum("a").await?, 7);
    one.store.close().await?;
    assert_eq!(cluster.journal("one")?, cluster.text());
    Ok(())
}

#[tokio::test]
async fn a_lost_command_fails() -> TestResult {
    let cluster = Cluster::new()?;
    let one = cluster.open("one").await?;
    one.add("a", 1).await?;
    one.log.lose_next_answer(LostAnswer::Dropped);
    let lost = one.add("a", 2).await;
    assert!(lost.is_err(), "{lost:?}");
    one.until_leader().await;
    one.add("a", 4).await?;
    assert_eq!(one.sum("a").await?, 5);
    Ok(())
}

/// The claim of the node takes the number of the command, which therefore never arrives.
#[tokio::test]
async fn a_late_command_is_fenced() -> TestResult {
    let cluster = Cluster::new()?;
    let one = cluster.open("one").await?;
    one.add("a", 1).await?;
    one.log.lose_next_answer(LostAnswer::Delayed);
    let lost = one.add("a", 2).await;
    assert!(lost.is_err(), "{lost:?}");
    assert_eq!(cluster.log.deliver(), 0);
    one.until_leader().await;
    one.add("a", 4).await?;
    assert_eq!(one.sum("a").await?, 5);
    Ok(())
}

/// The store is closed before the node learns whether the log has the command.
#[tokio::test]
async fn a_store_that_closes_leaves_the_outcome_open() -> TestResult {
    for answer in [LostAnswer::Stored, LostAnswer::Dropped] {
        let cluster = Cluster::new()?;
        let one = cluster.open("one").await?;
        one.add("a", 1).await?;
        let counter = one.store.get::<Counter>("a").await?;
        one.log.lose_next_answer(answer);
        one.log.cut_off_after_next();
        let adding = tokio::spawn(async move { counter.execute(CounterCommand::Add(2), ()).await });
        one.until(|role| matches!(role, Role::Detached { .. }))
            .await;
        one.store.close().await?;
        let added = adding.await?;
        let is_unknown = matches!(&added, Err(ExecuteError::OutcomeUnknown { .. }));
        assert!(is_unknown, "{answer:?}: {added:?}");
    }
    Ok(())
}

/// Another node takes over meanwhile, with the command or without it.
#[tokio::test]
async fn another_leader_decides_too() -> TestResult {
    for answer in [LostAnswer::Stored, LostAnswer::Dropped] {
        let cluster = Cluster::new()?;
        let one = cluster.open("one").await?;
        let two = cluster.open("two").await?;
        one.add("a", 1).await?;
        two.until_sum("a", 1).await;
        one.log.lose_next_answer(answer);
        one.log.cut_off_after_next();
        let counter = one.add("a", 2);
        let other = async {
            two.until_leader().await;
            let added = two.add("a", 10).await;
            one.log.reconnect();
            added
        };
        let (first, second) = tokio::join!(counter, other);
        second?;
        match (answer, &first) {
            (LostAnswer::Stored, Ok(_)) => {}
            // The client looks for the leader, as after any other takeover.
            (LostAnswer::Dropped, Err(ExecuteError::NotLeader { .. })) => {}
            other => panic!("{other:?}"),
        }
        let sum = 11 + i64::from(first.is_ok()) * 2;
        one.until_sum("a", sum).await;
        two.until_sum("a", sum).await;
    }
    Ok(())
}

/// A command that waits behind a lost answer was decided in a term that is over.
#[tokio::test]
async fn a_waiting_command_fails_with_the_term() -> TestResult {
    let cluster = Cluster::new()?;
    let one = cluster.open("one").await?;
    one.add("a", 1).await?;
    one.log.pause();
    one.log.lose_next_answer(LostAnswer::Stored);
    let waiting = async {
        while !one.log.has_paused_append() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let second = one.add("b", 4);
        let release = async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            one.log.release();
        };
        tokio::join!(second, release).0
    };
    let (first, second) = tokio::join!(one.add("a", 2), waiting);
    first?;
    assert!(
        matches!(second, Err(ExecuteError::Unavailable { .. })),
        "{second:?}"
    );
    one.until_leader().await;
    assert_eq!((one.sum("a").await?, one.sum("b").await?), (3, 0));
    Ok(())
}
