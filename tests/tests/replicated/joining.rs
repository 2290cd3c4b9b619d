//! A node with any directory meets a log with any content.

use eventfold_es::replication::{CommitLog as _, Role};
use eventfold_es::testing::SharedLog;
use eventfold_es::{ExecuteError, OpenError};

use crate::TestResult;
use crate::cluster::{Cluster, Member};
use crate::common::counter::{Counter, CounterCommand};

#[tokio::test]
async fn the_second_node_has_the_events_of_the_first() -> TestResult {
    let cluster = Cluster::new()?;
    let one = cluster.open("one").await?;
    assert!(one.is_leader());
    for by in 1..=10 {
        one.add("a", by).await?;
    }
    let two = cluster.open("two").await?;
    two.until_follower_of("one").await;
    assert_eq!(two.sum("a").await?, 55);
    one.add("a", 45).await?;
    two.until_sum("a", 100).await;

    let refused = two.add("a", 1).await;
    let leader = match &refused {
        Err(ExecuteError::NotLeader { leader }) => leader.clone(),
        other => panic!("{other:?}"),
    };
    let leader = leader.ok_or("the leader is known")?;
    assert_eq!(
        (leader.name.as_str(), leader.address.as_deref()),
        ("one", Some("http://one"))
    );
    two.store.close().await?;
    one.store.close().await?;
    let text = cluster.text();
    assert_eq!(cluster.journal("one")?, text);
    assert_eq!(cluster.journal("two")?, text);
    Ok(())
}

#[tokio::test]
async fn a_store_of_one_machine_is_published() -> TestResult {
    let cluster = Cluster::new()?;
    let alone = cluster.builder("one").open().await?;
    let counter = alone.get::<Counter>("a").await?;
    for by in 1..=20 {
        counter.execute(CounterCommand::Add(by), ()).await?;
    }
    drop(counter);
    alone.close().await?;
    let before = cluster.journal("one")?;

    let one = cluster.open("one").await?;
    assert!(cluster.text().starts_with(&before));
    let two = cluster.open("two").await?;
    assert_eq!(two.sum("a").await?, 210);
    one.add("a", 1).await?;
    two.until_sum("a", 211).await;
    Ok(())
}

#[tokio::test]
async fn the_directory_of_a_follower_is_a_store_of_one_machine() -> TestResult {
    let cluster = Cluster::new()?;
    let one = cluster.open("one").await?;
    one.add("a", 7).await?;
    let two = cluster.open("two").await?;
    two.store.close().await?;
    let alone = cluster.builder("two").open().await?;
    let counter = alone.get::<Counter>("a").await?;
    counter.execute(CounterCommand::Add(1), ()).await?;
    assert_eq!(counter.state().await?.sum, 8);
    drop(counter);
    alone.close().await?;

    // It has gone its own way, and does not come back.
    one.add("a", 2).await?;
    let back = cluster.open("two").await.map(|_| ());
    assert!(
        matches!(back, Err(OpenError::OtherHistory { .. })),
        "{back:?}"
    );
    Ok(())
}

#[tokio::test]
async fn another_history_is_refused() -> TestResult {
    let (cluster, other) = (Cluster::new()?, Cluster::new()?);
    let one = cluster.open("one").await?;
    one.add("a", 1).await?;
    one.store.close().await?;
    let stranger = other.open("stranger").await?;
    stranger.add("a", 1).await?;
    drop(stranger);

    let log = other.log.handle();
    let opened = cluster.builder("one").replicated(log).node("one");
    let opened = opened.open().await.map(|_| ());
    assert!(
        matches!(opened, Err(OpenError::OtherHistory { .. })),
        "{opened:?}"
    );
    // Nothing was changed.
    let one = cluster.open("one").await?;
    assert_eq!(one.sum("a").await?, 1);
    Ok(())
}

#[tokio::test]
async fn a_log_that_has_lost_data_is_refused() -> TestResult {
    let cluster = Cluster::new()?;
    let one = cluster.open("one").await?;
    one.add("a", 1).await?;
    one.add("a", 2).await?;
    one.store.close().await?;
    cluster.log.forget_after(2);
    let opened = cluster.open("one").await.map(|_| ());
    assert!(
        matches!(opened, Err(OpenError::AheadOfLog { batch: 3, .. })),
        "{opened:?}"
    );
    Ok(())
}

/// It is no invitation to publish again.
#[tokio::test]
async fn a_log_that_has_lost_everything_is_refused() -> TestResult {
    let cluster = Cluster::new()?;
    let one = cluster.open("one").await?;
    one.add("a", 1).await?;
    one.store.close().await?;
    let log = SharedLog::new();
    let opened = cluster.builder("one").replicated(log).node("one");
    let opened = opened.open().await.map(|_| ());
    assert!(
        matches!(opened, Err(OpenError::AheadOfLog { .. })),
        "{opened:?}"
    );
    Ok(())
}

#[tokio::test]
async fn two_nodes_of_one_name_are_refused() -> TestResult {
    let (cluster, other) = (Cluster::new()?, Cluster::new()?);
    let one = cluster.open("one").await?;
    let log = cluster.log.handle();
    let namesake = other.builder("one").replicated(log).node("one");
    let namesake = namesake.open().await.map(|_| ());
    assert!(
        matches!(namesake, Err(OpenError::NodeNameTaken { .. })),
        "{namesake:?}"
    );
    one.add("a", 1).await?;

    for name in ["", "no name", "../up"] {
        let unnamed = other.builder("x").replicated(cluster.log.handle());
        let unnamed = unnamed.node(name).open().await.map(|_| ());
        assert!(
            matches!(unnamed, Err(OpenError::NodeName { .. })),
            "{unnamed:?}"
        );
    }
    let unnamed = other.builder("x").replicated(cluster.log.handle());
    let unnamed = unnamed.open().await.map(|_| ());
    assert!(
        matches!(unnamed, Err(OpenError::NodeName { .. })),
        "{unnamed:?}"
    );
    Ok(())
}

#[tokio::test]
async fn without_the_log_no_node_opens() -> TestResult {
    let cluster = Cluster::new()?;
    let log = cluster.log.handle();
    log.cut_off();
    let opened = cluster.builder("one").replicated(log).node("one");
    let opened = opened.open().await.map(|_| ());
    assert!(
        matches!(opened, Err(OpenError::LogUnavailable { .. })),
        "{opened:?}"
    );
    let Member { store, .. } = cluster.open("one").await?;
    assert_eq!(*store.role().borrow(), Role::Leader);
    Ok(())
}

/// Another application writes to the log, or a version that this one does not know.
#[tokio::test]
async fn a_foreign_entry_stops_a_node() -> TestResult {
    let entry = |cluster: &Cluster| cluster.log.texts().last().cloned().unwrap_or_default();
    let newer = |text: String| text.replace("\"format\":1", "\"format\":2");
    let again = |text: String| text;
    let foreign = |_| "{\"type\":\"greeting\"}\n".to_owned();
    let cut = |text: String| text.trim_end().to_owned();
    let changes: [fn(String) -> String; 4] = [newer, again, foreign, cut];
    for change in changes {
        let cluster = Cluster::new()?;
        let one = cluster.open("one").await?;
        one.add("a", 1).await?;
        one.store.close().await?;
        let before = cluster.log.texts().len() as u64;
        cluster.log.append(before, change(entry(&cluster)).into())?;
        let opened = cluster.open("one").await.map(|_| ());
        assert!(
            matches!(opened, Err(OpenError::LogUnusable { .. })),
            "{opened:?}"
        );
        let reason = opened
            .err()
            .map(|error| error.to_string())
            .unwrap_or_default();
        assert!(
            reason.contains(&format!("entry {}", before + 1)),
            "{reason}"
        );
    }
    Ok(())
}
