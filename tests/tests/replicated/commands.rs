//! Commands on a node that is not the leader, and on a node whose role changes while they are executed.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use eventfold_es::prelude::*;
use eventfold_es::store::InjectOptions;
use eventfold_es::{AggregateHandle, CommandBus, DispatchError, StoreError, TransactionError};
use eventfold_es_tests::TestResult;

use super::world::{
    Cluster, a_moment, hand_over, next_term, sent_to, until, until_detached, until_follower_of,
    until_leader,
};
use crate::common::counter::{Counter, CounterCommand, CounterError};

const ONE: &str = "`one` at http://one:8080";

async fn counter(store: &AggregateStore, id: &str) -> AggregateHandle<Counter> {
    store.get::<Counter>(id).await.expect("an id")
}

#[tokio::test]
async fn a_follower_says_at_once_where_the_leader_is() -> TestResult {
    let cluster = Cluster::new();
    let (_one, _) = cluster.leader("one").await;
    let store = cluster.node("two").0.open().await?;
    until_follower_of(&store, "one").await;
    let a = counter(&store, "a").await;
    let one = || Some(ONE.to_owned());
    let add = || CounterCommand::Add(1);
    assert_eq!(sent_to(a.execute(add(), ()).await), one());
    let key = CommandContext::default().with_idempotency_key("k");
    assert_eq!(sent_to(a.execute(add(), key).await), one());
    assert_eq!(sent_to(store.send("a", add(), ()).await), one());
    let transaction = store.transaction(()).send("a", add()).commit().await;
    let Err(TransactionError::NotLeader { leader }) = transaction else {
        panic!("{transaction:?}");
    };
    assert_eq!(leader.map(|leader| leader.to_string()), one());
    let mut bus = CommandBus::new(store.clone());
    bus.register::<Counter>();
    let Err(DispatchError::Execution(error)) = bus.dispatch("a", add(), ()).await else {
        panic!("it is not executed");
    };
    let text = format!("nothing was stored: this node is not the leader; the leader is {ONE}");
    assert_eq!(error.to_string(), text);
    let error = error.downcast_ref::<ExecuteError<CounterError>>();
    assert!(matches!(error, Some(ExecuteError::NotLeader { .. })));
    let event = eventfold_es::eventfold::Event::new("Added", serde_json::json!(1));
    let injected = store.inject_event::<Counter>("a", event, InjectOptions::default());
    assert_eq!(sent_to(injected.await), one());
    // Reads are answered.
    assert_eq!(a.load().await?.version, 0);
    assert!(store.read_all(0, usize::MAX).await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn a_command_goes_on_when_this_node_becomes_the_leader() -> TestResult {
    let cluster = Cluster::new();
    let (store, log) = cluster.leader("one").await;
    let a = counter(&store, "a").await;
    log.cut_off();
    until_detached(&store).await;
    let waiting = tokio::spawn(async move { a.execute(CounterCommand::Add(1), ()).await });
    a_moment().await;
    assert!(!waiting.is_finished());
    log.reconnect();
    assert_eq!(waiting.await??.version, 1);
    Ok(())
}

#[tokio::test]
async fn a_command_that_waits_learns_of_another_leader() -> TestResult {
    let cluster = Cluster::new();
    let (one, _one_log) = cluster.leader("one").await;
    let (builder, log) = cluster.node("two");
    let two = builder.open().await?;
    until_follower_of(&two, "one").await;
    log.cut_off();
    until_detached(&two).await;
    let a = counter(&two, "a").await;
    let waiting = tokio::spawn(async move { a.execute(CounterCommand::Add(1), ()).await });
    a_moment().await;
    assert!(!waiting.is_finished());
    log.reconnect();
    assert_eq!(sent_to(waiting.await?), Some(ONE.to_owned()));
    one.close().await?;
    Ok(())
}

#[tokio::test]
async fn without_a_leader_a_command_fails_in_the_end() -> TestResult {
    let cluster = Cluster::new();
    let (builder, log) = cluster.node("one");
    let short = Duration::from_millis(30);
    let store = builder.leader_patience(short).open().await?;
    until_leader(&store).await;
    log.cut_off();
    until_detached(&store).await;
    let a = counter(&store, "a").await;
    let failed = a.execute(CounterCommand::Add(1), ()).await;
    let Err(ExecuteError::Unavailable { reason }) = failed else {
        panic!("{failed:?}");
    };
    let said = "this node is cut off from the log: ";
    assert!(
        reason.starts_with(said) && reason.ends_with("; waited 30ms"),
        "{reason}"
    );
    assert_eq!(a.load().await?.version, 0);
    Ok(())
}

#[tokio::test]
async fn closing_answers_the_commands_that_wait_for_a_leader() -> TestResult {
    let cluster = Cluster::new();
    let (store, log) = cluster.leader("one").await;
    log.cut_off();
    until_detached(&store).await;
    let a = counter(&store, "a").await;
    let late = a.clone();
    let waiting = tokio::spawn(async move { a.execute(CounterCommand::Add(1), ()).await });
    a_moment().await;
    store.close().await?;
    for result in [
        waiting.await?,
        late.execute(CounterCommand::Add(1), ()).await,
    ] {
        let is_closed = matches!(&result, Err(ExecuteError::Store(StoreError::Closed)));
        assert!(is_closed, "{result:?}");
    }
    Ok(())
}

/// The first commit is on its way to the log. The others wait for the writer, two of them decided on an earlier one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_that_wait_are_refused_when_the_leadership_is_lost() -> TestResult {
    let cluster = Cluster::new();
    let (store, log) = cluster.leader("one").await;
    let two = cluster.node("two").0.open().await?;
    until_follower_of(&two, "one").await;
    let (a, b) = (counter(&store, "a").await, counter(&store, "b").await);
    let execute = |counter: &AggregateHandle<Counter>| {
        let counter = counter.clone();
        tokio::spawn(async move { counter.execute(CounterCommand::Add(1), ()).await })
    };
    log.pause();
    let mut commands = vec![execute(&a)];
    until("the first is on its way", || async {
        log.has_paused_append()
    })
    .await;
    commands.extend([execute(&b), execute(&b), execute(&a)]);
    a_moment().await;
    log.cut_off();
    until_leader(&two).await;
    log.release();
    for command in commands {
        let refused = command.await?;
        let is_refused = matches!(
            &refused,
            Err(ExecuteError::NotLeader { .. } | ExecuteError::Unavailable { .. })
        );
        assert!(is_refused, "{refused:?}");
    }
    log.reconnect();
    until_follower_of(&store, "two").await;
    for counter in [&a, &b] {
        assert_eq!(counter.load().await?.version, 0);
    }
    two.close().await?;
    until_leader(&store).await;
    assert_eq!(execute(&b).await??.version, 1);
    assert_eq!(execute(&a).await??.version, 1);
    Ok(())
}

/// An aggregate that is live on the old leader, and changes on the new one.
#[tokio::test]
async fn a_live_aggregate_follows_the_leader() -> TestResult {
    let cluster = Cluster::new();
    let (one, log) = cluster.leader("one").await;
    let two = cluster.node("two").0.open().await?;
    let (here, there) = (counter(&one, "a").await, counter(&two, "a").await);
    let mut sum = 0;
    assert_eq!(there.state().await?.sum, 0);
    for by in 1..=20 {
        sum += by;
        let done = here.execute(CounterCommand::Add(by), ()).await?;
        // A follower that has announced the event shows the state with it.
        let mut events = two.subscribe::<Counter>();
        for _ in 0..done.version {
            events.next().await;
        }
        assert_eq!(there.state().await?.sum, sum);
    }
    hand_over(&one, &log, &two, "two").await;
    there.execute(CounterCommand::Add(100), ()).await?;
    until("the old leader has the event", || async {
        here.state().await.is_ok_and(|state| state.sum == sum + 100)
    })
    .await;
    Ok(())
}

static IS_HELD: AtomicBool = AtomicBool::new(false);
static FOLDS: AtomicUsize = AtomicUsize::new(0);

/// The fold of its events waits until it is let go.
#[aggregate(error = std::convert::Infallible)]
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Slow(u64);

#[derive(Debug, Clone, Serialize, Deserialize)]
struct SlowCommand;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
enum SlowEvent {
    Stepped,
}

impl Decider for Slow {
    fn decide(&self, _: SlowCommand) -> Result<Vec<SlowEvent>, std::convert::Infallible> {
        Ok(vec![SlowEvent::Stepped])
    }

    fn evolve(&mut self, _: &SlowEvent) {
        FOLDS.fetch_add(1, Ordering::SeqCst);
        while IS_HELD.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(1));
        }
        self.0 += 1;
    }
}

/// Its aggregate is loaded from the first term on, and would be decided in the second.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_of_an_earlier_term_is_not_stored() -> TestResult {
    let cluster = Cluster::new();
    let (store, _) = cluster.leader("one").await;
    let slow = store.get::<Slow>("a").await?;
    slow.execute(SlowCommand, ()).await?;
    drop(slow);
    store.close().await?;

    let (store, log) = cluster.leader("one").await;
    let slow = store.get::<Slow>("a").await?;
    let before = FOLDS.load(Ordering::SeqCst);
    IS_HELD.store(true, Ordering::SeqCst);
    let executing = tokio::spawn({
        let slow = slow.clone();
        async move { slow.execute(SlowCommand, ()).await }
    });
    until("it is loaded", || async {
        FOLDS.load(Ordering::SeqCst) > before
    })
    .await;
    next_term(&store, &log).await;
    IS_HELD.store(false, Ordering::SeqCst);
    let result = executing.await?;
    let is_refused =
        matches!(&result, Err(ExecuteError::Unavailable { reason }) if reason.contains("regained"));
    assert!(is_refused, "{result:?}");
    assert_eq!(slow.load().await?.version, 1);
    assert_eq!(slow.execute(SlowCommand, ()).await?.version, 2);
    Ok(())
}
