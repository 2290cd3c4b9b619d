//! Nodes that close while commands are forwarded.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use eventfold_es::prelude::*;

use super::super::world::{Cluster, a_moment, until, until_follower_of, until_leader};
use super::{Pair, add_one, counter, node};
use crate::TestResult;
use crate::common::counter::CounterCommand;

/// The leader answers the questions in work, and takes no others. They are executed by the next leader.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_closes_takes_no_more_questions() -> TestResult {
    let pair = Pair::open().await?;
    pair.one_log.pause();
    let in_work = add_one(&pair.two, "in-work");
    until("it is on its way", || async {
        pair.one_log.has_paused_append()
    })
    .await;
    let closing = tokio::spawn(pair.one.close());
    a_moment().await;
    let later = add_one(&pair.two, "later");
    a_moment().await;
    assert!(!in_work.is_finished() && !later.is_finished());
    pair.one_log.release();
    assert_eq!(in_work.await??, 1);
    closing.await??;
    assert_eq!(later.await??, 1);
    assert!(pair.two.role().borrow().is_leader());
    let texts = pair.one_log.texts();
    let entry = |words: &[&str]| {
        let has_all = |text: &String| words.iter().all(|word| text.contains(word));
        texts.iter().position(has_all).expect("it is in the log")
    };
    let claim = entry(&["claim", "\"two\""]);
    assert!(entry(&["\"in-work\""]) < claim && claim < entry(&["\"later\""]));
    Ok(())
}

static IS_HELD: AtomicBool = AtomicBool::new(true);
static IS_DECIDING: AtomicBool = AtomicBool::new(false);

/// Its first decision waits until it is let go.
#[aggregate(error = std::convert::Infallible)]
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Slow;

#[derive(Debug, Clone, Serialize, Deserialize)]
struct SlowCommand;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
enum SlowEvent {
    SlowlyDecided,
}

impl Decider for Slow {
    fn decide(&self, _: SlowCommand) -> Result<Vec<SlowEvent>, std::convert::Infallible> {
        IS_DECIDING.store(true, Ordering::SeqCst);
        while IS_HELD.load(Ordering::SeqCst) {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        Ok(vec![SlowEvent::SlowlyDecided])
    }

    fn evolve(&mut self, _: &SlowEvent) {}
}

/// A question is in work before it has a commit. Closing waits for it, as it does for process managers.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_leader_that_closes_finishes_its_questions() -> TestResult {
    let cluster = Cluster::new();
    let (builder, log) = node(&cluster, "one");
    let one = builder.aggregate_type::<Slow>().open().await?;
    let (builder, _) = node(&cluster, "two");
    let two = builder.aggregate_type::<Slow>().open().await?;
    until_follower_of(&two, "one").await;
    let slow = two.get::<Slow>("a").await?;
    let executing = tokio::spawn(async move { slow.execute(SlowCommand, ()).await });
    until("it is decided", || async {
        IS_DECIDING.load(Ordering::SeqCst)
    })
    .await;
    let closing = tokio::spawn(one.close());
    let next = tokio::time::timeout(Duration::from_millis(200), until_leader(&two)).await;
    IS_HELD.store(false, Ordering::SeqCst);
    assert!(
        next.is_err(),
        "another node leads while the question is in work"
    );
    closing.await??;
    assert_eq!(executing.await??.version, 1);
    let texts = log.texts();
    let claim = texts.iter().position(|text| text.contains("\"two\""));
    let event = texts.iter().position(|text| text.contains("SlowlyDecided"));
    // By the leader that has closed.
    assert!(event.is_some() && (claim.is_none() || event < claim));
    Ok(())
}

/// A follower that closes waits for its commands.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_that_closes_finishes_its_commands() -> TestResult {
    let pair = Pair::open().await?;
    pair.one_log.pause();
    let a = counter(&pair.two, "a").await;
    let executing = tokio::spawn(async move { a.execute(CounterCommand::Add(1), ()).await });
    until("it is on its way", || async {
        pair.one_log.has_paused_append()
    })
    .await;
    let late = counter(&pair.two, "b").await;
    let closing = tokio::spawn(pair.two.close());
    a_moment().await;
    assert!(!closing.is_finished());
    pair.one_log.release();
    assert_eq!(executing.await??.version, 1);
    closing.await??;
    let refused = late.execute(CounterCommand::Add(1), ()).await;
    let is_closed = matches!(
        &refused,
        Err(ExecuteError::Store(eventfold_es::StoreError::Closed))
    );
    assert!(is_closed, "{refused:?}");
    Ok(())
}

/// Each node is closed and opened again, while clients send commands to nodes that stay open. No command fails, and none is stored twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_loses_no_command() -> TestResult {
    const CLIENTS: usize = 4;
    let cluster = Cluster::new();
    let names = ["one", "two", "three"];
    let mut nodes = Vec::new();
    for name in names {
        nodes.push(Some(node(&cluster, name).0.open().await?));
    }
    for restarted in 0..names.len() {
        let has_ended = Arc::new(AtomicBool::new(false));
        let done = Arc::new(AtomicU64::new(0));
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let at = (restarted + 1 + client % 2) % names.len();
                let store = nodes[at].clone().expect("it is open");
                let (has_ended, done) = (Arc::clone(&has_ended), Arc::clone(&done));
                tokio::spawn(async move {
                    while !has_ended.load(Ordering::Relaxed) {
                        let id = format!("{restarted}-{client}");
                        store.send(&id, CounterCommand::Add(1), ()).await?;
                        done.fetch_add(1, Ordering::Relaxed);
                    }
                    Ok::<_, ExecuteError<_>>(())
                })
            })
            .collect();
        let more = |than: u64| {
            let done = Arc::clone(&done);
            move || {
                let is_more = done.load(Ordering::Relaxed) >= than + 20;
                async move { is_more }
            }
        };
        until("commands are done", more(0)).await;
        nodes[restarted].take().expect("it is open").close().await?;
        until("commands are done", more(done.load(Ordering::Relaxed))).await;
        let opened = node(&cluster, names[restarted]).0.open().await?;
        nodes[restarted] = Some(opened);
        until("commands are done", more(done.load(Ordering::Relaxed))).await;
        has_ended.store(true, Ordering::Relaxed);
        for client in clients {
            client.await??;
        }
        let store = nodes[(restarted + 1) % 3].as_ref().expect("it is open");
        let mut sum = 0;
        for client in 0..CLIENTS {
            let id = format!("{restarted}-{client}");
            // The other of both nodes may be a moment ahead.
            let at = (restarted + 1 + client % 2) % names.len();
            let node = nodes[at].as_ref().unwrap_or(store);
            sum += counter(node, &id).await.load().await?.version;
        }
        assert_eq!(sum, done.load(Ordering::Relaxed));
    }
    let leads = nodes.iter().flatten();
    let leads = leads.filter(|node| node.role().borrow().is_leader());
    assert_eq!(leads.count(), 1);
    Ok(())
}

/// A question in work keeps no store open.
#[tokio::test]
async fn a_dropped_leader_closes() -> TestResult {
    let Pair {
        cluster: _cluster,
        one,
        two,
        ..
    } = Pair::open().await?;
    until_follower_of(&two, "one").await;
    drop(one);
    until_leader(&two).await;
    assert_eq!(add_one(&two, "a").await??, 1);
    Ok(())
}
