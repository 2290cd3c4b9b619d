//! The leader closes, is cut off, or is only slow.

use std::time::Duration;

use eventfold_es::replication::Role;

use crate::TestResult;
use crate::cluster::Cluster;

#[tokio::test]
async fn a_leader_that_closes_hands_over() -> TestResult {
    let cluster = Cluster::new()?;
    let one = cluster.open("one").await?;
    let two = cluster.open("two").await?;
    let three = cluster.open("three").await?;
    one.add("a", 1).await?;
    one.store.close().await?;
    let next = tokio::select! {
        () = two.until_leader() => &two,
        () = three.until_leader() => &three,
    };
    next.add("a", 10).await?;
    for node in [&two, &three] {
        node.until_sum("a", 11).await;
    }
    let one = cluster.open("one").await?;
    assert_eq!(one.sum("a").await?, 11);
    assert!(!one.is_leader());
    Ok(())
}

#[tokio::test]
async fn a_leader_that_is_cut_off_steps_down() -> TestResult {
    let cluster = Cluster::new()?;
    let one = cluster.open("one").await?;
    let two = cluster.open("two").await?;
    one.add("a", 1).await?;
    one.log.cut_off();
    let lost = one.add("a", 100).await;
    assert!(lost.is_err(), "{lost:?}");
    one.until(|role| matches!(role, Role::Detached { .. }))
        .await;
    // Its reads go on.
    assert_eq!(one.sum("a").await?, 1);
    two.until_leader().await;
    two.add("a", 2).await?;
    one.log.reconnect();
    one.until_follower_of("two").await;
    one.until_sum("a", 3).await;
    Ok(())
}

/// Without a command, the leader notices by itself.
#[tokio::test]
async fn an_idle_leader_notices_that_it_is_cut_off() -> TestResult {
    let cluster = Cluster::new()?;
    let one = cluster.open("one").await?;
    one.log.cut_off();
    one.until(|role| matches!(role, Role::Detached { .. }))
        .await;
    one.log.reconnect();
    one.until_leader().await;
    one.add("a", 1).await?;
    Ok(())
}

#[tokio::test]
async fn a_leader_that_sleeps_is_fenced_when_it_wakes() -> TestResult {
    let cluster = Cluster::new()?;
    let one = cluster.open("one").await?;
    let two = cluster.open("two").await?;
    one.add("a", 1).await?;
    one.log.pause();
    let asleep = tokio::spawn({
        let counter = one
            .store
            .get::<crate::common::counter::Counter>("a")
            .await?;
        async move {
            let command = crate::common::counter::CounterCommand::Add(100);
            counter.execute(command, ()).await
        }
    });
    while !one.log.has_paused_append() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    // Its thread of signals sleeps, too.
    one.log.cut_off();
    two.until_leader().await;
    two.add("a", 2).await?;
    one.log.reconnect();
    one.log.release();
    let woken = asleep.await?;
    assert!(woken.is_err(), "{woken:?}");
    one.until_follower_of("two").await;
    one.until_sum("a", 3).await;
    one.store.close().await?;
    two.store.close().await?;
    assert_eq!(cluster.journal("one")?, cluster.text());
    assert_eq!(cluster.journal("two")?, cluster.text());
    Ok(())
}
