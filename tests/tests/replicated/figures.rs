//! The figures of a node in `health()`.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::SystemTime;

use eventfold_es::prelude::*;
use eventfold_es::store::NodeHealth;
use eventfold_es::testing::{LostAnswer, LostMessage, SharedLog};
use serde_json::json;

use super::forwarding::{AccountCommand, Pair};
use super::leading::Late;
use super::world::{
    Cluster, a_moment, hand_over, next_term, until, until_detached, until_follower_of, until_leader,
};
use crate::TestResult;
use crate::common::counter::CounterCommand;

async fn figures(store: &AggregateStore) -> NodeHealth {
    store.health().await.node.expect("it is a node")
}

async fn add(store: &AggregateStore, by: i64) -> Result<(), String> {
    let added = store.send("a", CounterCommand::Add(by), ()).await;
    added.map(|_| ()).map_err(|error| error.to_string())
}

#[tokio::test]
async fn a_store_alone_has_no_figures_of_a_node() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = AggregateStore::open(base.path()).await?;
    let health = store.health().await;
    assert_eq!(health.node, None);
    assert_eq!(serde_json::to_value(health)?.get("node"), None);
    Ok(())
}

#[tokio::test]
async fn appends_are_counted_by_their_answers() -> TestResult {
    let base = tempfile::tempdir()?;
    let log = SharedLog::new();
    let node = |name: &str, log: &SharedLog| {
        let builder = AggregateStore::builder(base.path().join(name));
        builder.replicated(log.clone()).node(name).open()
    };
    let one = node("one", &log).await?;
    until_leader(&one).await;
    let claimed = figures(&one).await.appends;
    let told = (claimed.acknowledged, claimed.refused, claimed.fenced);
    assert_eq!(told, (1, 0, 0));
    for _ in 0..3 {
        add(&one, 1).await?;
    }
    let stored = figures(&one).await.appends;
    assert_eq!(stored.acknowledged, 4);
    assert!(stored.time > claimed.time, "{stored:?}");

    next_term(&one, &log).await;
    let settled = figures(&one).await;
    let told = (settled.appends.unknown, settled.claims, settled.cut_offs);
    assert_eq!(told, (1, 2, 1));
    assert_eq!(settled.reconnects, 1);

    log.cut_off();
    assert!(add(&one, 1).await.is_err());
    until_detached(&one).await;
    log.reconnect();
    until_leader(&one).await;
    let returned = figures(&one).await;
    assert_eq!(returned.appends.unavailable, 1);
    let told = (returned.claims, returned.cut_offs, returned.reconnects);
    assert_eq!(told, (3, 2, 2));

    // Another node claims the log while an append waits on its way.
    let other = log.handle();
    let two = node("two", &other).await?;
    until_follower_of(&two, "one").await;
    log.pause();
    let paused = one.clone();
    let adding = tokio::spawn(async move { add(&paused, 1).await });
    until("it is on its way", || async { log.has_paused_append() }).await;
    log.cut_off();
    until_leader(&two).await;
    log.reconnect();
    log.release();
    assert!(adding.await?.is_err());
    until_follower_of(&one, "two").await;
    let fenced = figures(&one).await;
    assert_eq!(fenced.appends.fenced, 1);
    assert_eq!(fenced.claims, 3);
    assert_eq!(figures(&two).await.claims, 1);
    Ok(())
}

/// The term is the same number on all nodes, also on a node that was opened after the claim.
#[tokio::test]
async fn nodes_agree_on_the_term() -> TestResult {
    let cluster = Cluster::new();
    let (one, log) = cluster.leader("one").await;
    let first = figures(&one).await.term;
    assert_eq!(first, Some(1));
    let (builder, _) = cluster.node("two");
    let two = builder.open().await?;
    hand_over(&one, &log, &two, "two").await;
    let second = figures(&two).await.term;
    assert!(second > first, "{second:?}");
    until("the former leader knows the term", || async {
        figures(&one).await.term == second
    })
    .await;
    one.close().await?;
    let one = cluster.node("one").0.open().await?;
    until("the node knows the term again", || async {
        figures(&one).await.term == second
    })
    .await;
    Ok(())
}

#[tokio::test]
async fn a_node_that_is_behind_says_how_far() -> TestResult {
    let cluster = Cluster::new();
    let (one, _) = cluster.leader("one").await;
    let visible = Arc::new(AtomicU64::new(u64::MAX));
    let (builder, log) = cluster.node("two");
    let late = Late {
        log,
        visible: Arc::clone(&visible),
        claims: Arc::default(),
    };
    let two = builder.replicated(late).open().await?;
    add(&one, 1).await?;
    until("it has all", || async { two.health().await.position == 1 }).await;
    let entry = figures(&one).await.entry;
    visible.store(entry, Relaxed);
    let three = CounterCommand::AddOnes(3);
    one.send("a", three, ()).await?;
    add(&one, 1).await?;
    until("it has heard of them", || async {
        let figures = figures(&two).await;
        (figures.lag_entries, figures.lag_events) == (2, 4)
    })
    .await;
    assert_eq!(figures(&two).await.entry, entry);
    visible.store(u64::MAX, Relaxed);
    until("it has all", || async {
        let figures = figures(&two).await;
        let lag = (figures.lag_entries, figures.lag_events);
        (figures.entry, lag) == (entry + 2, (0, 0))
    })
    .await;
    let leads = figures(&one).await;
    assert_eq!((leads.lag_entries, leads.lag_events), (0, 0));
    Ok(())
}

#[tokio::test]
async fn the_last_contact_stands_while_a_node_is_cut_off() -> TestResult {
    let cluster = Cluster::new();
    let (one, log) = cluster.leader("one").await;
    log.cut_off();
    // An answer may have been on its way.
    a_moment().await;
    let cut_off = SystemTime::now();
    until_detached(&one).await;
    let last = figures(&one).await.last_contact;
    assert!(last.is_some_and(|last| last <= cut_off), "{last:?}");
    log.reconnect();
    until("it has contact", || async {
        figures(&one).await.last_contact > last
    })
    .await;
    Ok(())
}

#[tokio::test]
async fn forwarded_commands_are_counted_on_both_nodes() -> TestResult {
    let pair = Pair::open().await?;
    let two = &pair.two;
    add(two, 1).await?;
    pair.two_log.lose_next_message(LostMessage::Answer);
    add(two, 1).await?;
    let overdrawn = AccountCommand::Withdraw(5);
    assert!(two.send("a", overdrawn, ()).await.is_err());
    let together = two.transaction(());
    let together = together.send("a", AccountCommand::Deposit(1));
    together
        .send("b", AccountCommand::Deposit(1))
        .commit()
        .await?;
    let told = async |store: &AggregateStore| {
        let health = serde_json::to_value(figures(store).await).expect("JSON");
        json!([health["sent"], health["taken"]])
    };
    let none = json!({"questions": 0, "executed": 0, "rejected": 0, "failed": 0, "unknown": 0});
    let some = json!({"questions": 5, "executed": 3, "rejected": 1, "failed": 0, "unknown": 0});
    assert_eq!(told(two).await, json!([some, none]));
    // The question whose answer was lost is executed twice, the second time by its key.
    let taken = json!({"questions": 5, "executed": 4, "rejected": 1, "failed": 0, "unknown": 0});
    assert_eq!(told(&pair.one).await, json!([none, taken]));

    // The log does not take the command.
    pair.one_log.lose_next_answer(LostAnswer::Dropped);
    add(two, 1).await?;
    let large = "x".repeat(2 << 20);
    let context = CommandContext::default().with_actor(large);
    let refused = two.send("a", CounterCommand::Add(1), context).await;
    assert!(refused.is_err());
    let sent = figures(two).await.sent;
    assert_eq!((sent.executed, sent.failed, sent.unknown), (4, 1, 0));
    Ok(())
}
