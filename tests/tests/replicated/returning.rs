//! A node ends without closing, and returns with what its disk has.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use eventfold_es::AggregateStore;
use eventfold_es::testing::{CrashPoints, MemoryDisk, SharedLog};

use crate::TestResult;
use crate::common::counter::{Counter, CounterCommand};

const COUNTERS: [&str; 3] = ["a", "b", "c"];

async fn add(store: &AggregateStore, number: usize) -> TestResult {
    let id = COUNTERS[number % COUNTERS.len()];
    let counter = store.get::<Counter>(id).await?;
    // Some lines are longer than a sector of the disk.
    let command = match number % 4 {
        0 => CounterCommand::AddOnes(20),
        _ => CounterCommand::Add(number as i64),
    };
    counter.execute(command, ()).await?;
    Ok(())
}

async fn sums(store: &AggregateStore) -> [i64; 3] {
    let mut sums = [0; 3];
    for (sum, id) in sums.iter_mut().zip(COUNTERS) {
        let counter = store.get::<Counter>(id).await.expect("the store is open");
        *sum = counter.state().await.expect("the counter is readable").sum;
    }
    sums
}

/// Waits until the node has these sums, and checks that all its files agree.
async fn converges(store: &AggregateStore, expected: [i64; 3]) {
    for _ in 0..60_000 {
        if sums(store).await == expected {
            let verified = store.verify().await.expect("it can be verified");
            assert!(verified.is_clean(), "{verified:?}");
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("{:?} instead of {expected:?}", sums(store).await);
}

/// A follower loses power, or is killed, at each step of its writes.
#[tokio::test]
async fn a_follower_returns_from_any_crash() -> TestResult {
    let log = SharedLog::new();
    let disk = MemoryDisk::new();
    let leader = disk
        .builder()
        .replicated(log.handle())
        .node("leader")
        .open()
        .await?;
    for number in 0..8 {
        add(&leader, number).await?;
    }
    let expected = Mutex::new([0; 3]);
    let crashes = CrashPoints::new()
        .at_most(150)
        .for_each(
            |builder| {
                builder
                    .max_log_size(2_000)
                    .replicated(log.handle())
                    .node("follower")
            },
            async |follower| {
                for number in 8..24 {
                    add(&leader, number)
                        .await
                        .expect("the leader takes commands");
                    if number % 5 == 0 {
                        let now = sums(&leader).await;
                        converges(&follower, now).await;
                    }
                }
                let now = sums(&leader).await;
                converges(&follower, now).await;
                *expected.lock().unwrap_or_else(PoisonError::into_inner) = now;
            },
            async |returned| {
                let expected = *expected.lock().unwrap_or_else(PoisonError::into_inner);
                converges(&returned, expected).await;
                assert!(!returned.role().borrow().is_leader());
            },
        )
        .await;
    assert!(crashes.points > 60, "{crashes:?}");
    Ok(())
}

/// The leader loses power, or is killed, at each step of its writes. Another node has taken over when it returns.
#[tokio::test]
async fn a_leader_returns_from_any_crash() -> TestResult {
    let log = SharedLog::new();
    let disk = MemoryDisk::new();
    let next = Mutex::new(None);
    let taken = || next.lock().unwrap_or_else(PoisonError::into_inner);
    let crashes = CrashPoints::new()
        .at_most(150)
        .for_each(
            |builder| {
                builder
                    .max_log_size(2_000)
                    .replicated(log.handle())
                    .node("leader")
            },
            async |leader| {
                for number in 0..24 {
                    add(&leader, number)
                        .await
                        .expect("the leader takes commands");
                }
                let follower = disk.builder().replicated(log.handle()).node("next");
                *taken() = Some(follower.open().await.expect("the next leader follows"));
            },
            async |returned| {
                let next = taken().clone().expect("the next leader is open");
                let mut role = next.role();
                role.wait_for(|role| role.is_leader())
                    .await
                    .expect("it takes over");
                converges(&returned, sums(&next).await).await;
                assert!(!returned.role().borrow().is_leader());
            },
        )
        .await;
    assert!(crashes.points > 60, "{crashes:?}");
    Ok(())
}

/// The journal of one machine was synced batch by batch, and says so. A new node takes it over without a sync, and loses any of it.
#[tokio::test]
async fn a_new_node_returns_from_any_crash_while_it_takes_over() -> TestResult {
    let log = SharedLog::new();
    let disk = MemoryDisk::new();
    let alone = disk.builder().open().await?;
    for number in 0..40 {
        add(&alone, number).await?;
    }
    let expected = sums(&alone).await;
    alone.close().await?;
    let leader = disk.builder().replicated(log.handle()).node("leader");
    let leader = leader.open().await?;
    assert!(
        log.texts()
            .iter()
            .filter(|text| !text.contains("\"flush\":true"))
            .count()
            >= 40
    );
    for seed in 1..=4 {
        let crashes = CrashPoints::new()
            .at_most(60)
            .seed(seed)
            .for_each(
                |builder| builder.replicated(log.handle()).node("new"),
                async |new| converges(&new, expected).await,
                async |returned| converges(&returned, expected).await,
            )
            .await;
        assert!(crashes.points > 20, "{crashes:?}");
    }
    leader.close().await?;
    Ok(())
}
