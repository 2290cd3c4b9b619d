//! Commands that do not reach the leader, or whose answer does not come.

use std::time::Duration;

use eventfold_es::prelude::*;
use eventfold_es::testing::{LostMessage, SharedLog};
use eventfold_es::{AggregateStoreBuilder, StoreError};

use super::super::world::{
    Cluster, FOREVER, sent_to, until_detached, until_follower_of, until_leader,
};
use super::{Pair, counter, node};
use crate::TestResult;
use crate::common::counter::{Counter, CounterCommand};

const SHORT: Duration = Duration::from_millis(100);

/// A follower of `one` with other settings.
async fn follower(
    cluster: &Cluster,
    set: impl FnOnce(AggregateStoreBuilder) -> AggregateStoreBuilder,
) -> Result<(AggregateStore, SharedLog), Box<dyn std::error::Error>> {
    let (builder, log) = node(cluster, "two");
    let store = set(builder).open().await?;
    until_follower_of(&store, "one").await;
    Ok((store, log))
}

/// The programs of the nodes are not the same: a rolling deployment.
#[tokio::test]
async fn a_leader_that_does_not_know_the_type_is_named() -> TestResult {
    let cluster = Cluster::new();
    let (_one, _) = cluster.leader("one").await;
    let (two, _) = follower(&cluster, |two| two).await?;
    let sent = two.send("a", CounterCommand::Add(1), ()).await;
    assert_eq!(sent_to(sent).as_deref(), Some("`one` at http://one:8080"));
    let sent = two.transaction(()).send("a", CounterCommand::Add(1));
    let sent = sent.commit().await;
    let is_sent_on = matches!(
        &sent,
        Err(eventfold_es::TransactionError::NotLeader {
            leader: Some(leader)
        }) if leader.name == "one"
    );
    assert!(is_sent_on, "{sent:?}");
    Ok(())
}

#[tokio::test]
async fn a_command_that_is_too_large_is_refused() -> TestResult {
    let pair = Pair::open().await?;
    let large = serde_json::json!({ "text": "x".repeat(2 << 20) });
    let context = CommandContext::default().with_metadata(large);
    let refused = pair.two.send("a", CounterCommand::Add(1), context).await;
    let Err(ExecuteError::Store(StoreError::Refused { reason })) = &refused else {
        panic!("{refused:?}");
    };
    assert!(
        reason.starts_with("the command cannot be sent to the leader: it has 20")
            && reason.ends_with(" bytes, and 1048576 is the maximum"),
        "{reason}"
    );
    assert_eq!(counter(&pair.two, "a").await.load().await?.version, 0);
    Ok(())
}

#[tokio::test]
async fn without_a_leader_nothing_is_stored() -> TestResult {
    let cluster = Cluster::new();
    let (builder, one_log) = node(&cluster, "one");
    let one = builder.open().await?;
    let (two, two_log) = follower(&cluster, |two| two.leader_patience(SHORT)).await?;
    // Its role is still that of a follower, and the leader does not answer.
    one_log.cut_off();
    let sent = two.send("a", CounterCommand::Add(1), ()).await;
    let is_nothing = matches!(
        &sent,
        Err(ExecuteError::NotLeader { .. } | ExecuteError::Unavailable { .. })
    );
    assert!(is_nothing, "{sent:?}");
    two_log.cut_off();
    until_detached(&two).await;
    let sent = two.send("a", CounterCommand::Add(1), ()).await;
    assert!(
        matches!(&sent, Err(ExecuteError::Unavailable { .. })),
        "{sent:?}"
    );
    one_log.reconnect();
    until_leader(&one).await;
    assert_eq!(counter(&one, "a").await.load().await?.version, 0);
    Ok(())
}

/// The answer is lost, and then the way to all others.
#[tokio::test]
async fn without_an_answer_the_outcome_is_unknown() -> TestResult {
    let cluster = Cluster::new();
    let _one = node(&cluster, "one").0.open().await?;
    let patient = |two: AggregateStoreBuilder| two.leader_patience(SHORT).outcome_patience(SHORT);
    let (two, two_log) = follower(&cluster, patient).await?;
    for _ in 0..2 {
        two_log.lose_next_message(LostMessage::Question);
        let executing = tokio::spawn({
            let two = two.clone();
            async move { two.send("a", CounterCommand::Add(1), ()).await }
        });
        while two_log.loses_next_message() {
            tokio::task::yield_now().await;
        }
        two_log.cut_off();
        let sent = executing.await?;
        let Err(ExecuteError::OutcomeUnknown { reason }) = &sent else {
            panic!("{sent:?}");
        };
        assert!(
            reason.starts_with("a leader has not answered, and then: "),
            "{reason}"
        );
        two_log.reconnect();
        until_follower_of(&two, "one").await;
    }
    Ok(())
}

/// The leader may have executed the first question, so its failure with the second one says nothing.
#[tokio::test]
async fn an_error_after_a_lost_answer_leaves_the_outcome_open() -> TestResult {
    let pair = Pair::open().await?;
    pair.two_log.lose_next_message(LostMessage::Answer);
    let a = counter(&pair.two, "a").await;
    let panicked = a.execute(CounterCommand::PanicInDecide, ()).await;
    let Err(ExecuteError::OutcomeUnknown { reason }) = &panicked else {
        panic!("{panicked:?}");
    };
    assert!(reason.contains("panicked: no idea"), "{reason}");
    Ok(())
}

/// The command is stored, and this node does not get its events in time.
#[tokio::test]
async fn a_node_without_the_events_says_that_they_are_elsewhere() -> TestResult {
    let cluster = Cluster::new();
    let one = node(&cluster, "one").0.open().await?;
    let (two, two_log) = follower(&cluster, |two| two.outcome_patience(SHORT)).await?;
    two_log.fall_behind();
    let sent = two.send("a", CounterCommand::Add(1), ()).await;
    let Err(ExecuteError::OutcomeUnknown { reason }) = &sent else {
        panic!("{sent:?}");
    };
    let said = "`one` at http://one:8080 has answered at position 1, which this node has not got within 100ms";
    assert_eq!(&**reason, said);
    assert_eq!(counter(&one, "a").await.load().await?.version, 1);
    // A rejection stores nothing.
    let sent = two.send("a", CounterCommand::Reject, ()).await;
    let Err(ExecuteError::Unavailable { reason }) = &sent else {
        panic!("{sent:?}");
    };
    assert_eq!(&**reason, said);
    Ok(())
}

/// Types that are not registered, and a log without messages between nodes.
#[tokio::test]
async fn other_commands_are_sent_to_the_leader_by_the_program() -> TestResult {
    let cluster = Cluster::new();
    let _one = node(&cluster, "one").0.open().await?;
    let (builder, _) = cluster.node("two");
    let two = builder.leader_patience(FOREVER).open().await?;
    until_follower_of(&two, "one").await;
    let sent = two.send("a", CounterCommand::Add(1), ()).await;
    assert_eq!(sent_to(sent).as_deref(), Some("`one` at http://one:8080"));
    // All or none of a transaction.
    let (builder, _) = cluster.node("three");
    let three = builder.aggregate_type::<Counter>().open().await?;
    until_follower_of(&three, "one").await;
    let sent = three
        .transaction(())
        .send("a", CounterCommand::Add(1))
        .send("b", super::AccountCommand::Deposit(1));
    assert!(matches!(
        sent.commit().await,
        Err(eventfold_es::TransactionError::NotLeader { .. })
    ));
    let counter = three.get::<Counter>("a").await?;
    assert_eq!(counter.load().await?.version, 0);
    Ok(())
}
