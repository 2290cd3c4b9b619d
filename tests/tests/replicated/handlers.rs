//! Calls of event handlers when the leadership is lost: they are dropped, and made again in the next term.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use eventfold_es::HandleError;
use eventfold_es::prelude::*;
use eventfold_es::store::HealthStatus;
use eventfold_es::testing::SharedLog;
use eventfold_es_tests::TestResult;
use tokio::sync::Semaphore;

use super::world::{
    Cluster, a_moment, hand_over, next_term, until, until_follower_of, until_leader,
};
use crate::common::counter::{Counter, CounterCommand, CounterEvent};

/// Calls the world outside, which answers when the gate has room.
struct Caller {
    gate: Arc<Semaphore>,
    begun: Arc<AtomicUsize>,
    dropped: Arc<AtomicUsize>,
}

/// Counts a call that does not return.
struct OnDrop(Arc<AtomicUsize>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl EventHandler for Caller {
    const NAME: &'static str = "caller";
    const SUBSCRIPTIONS: &'static [&'static str] = &[Counter::AGGREGATE_TYPE];
    type Envelope = CommandEnvelope;

    async fn handle_event(&self, cx: &mut Handling<'_, Self>) -> Result<(), HandleError> {
        let event = CounterEvent::from_event(cx.event())?;
        let (CounterEvent::Added(number), Some(rest)) = (event, cx.stream_id().strip_prefix("a-"))
        else {
            return Ok(());
        };
        let target = format!("b-{rest}");
        self.begun.fetch_add(1, Ordering::SeqCst);
        let dropped = OnDrop(Arc::clone(&self.dropped));
        self.gate.acquire().await.expect("it is open").forget();
        std::mem::forget(dropped);
        cx.send_envelope(CommandEnvelope {
            aggregate_type: Counter::AGGREGATE_TYPE.to_owned(),
            instance_id: target,
            command: serde_json::json!({ "Add": number }),
            context: CommandContext::default(),
        });
        Ok(())
    }
}

#[derive(Clone)]
struct World {
    gate: Arc<Semaphore>,
    begun: Arc<AtomicUsize>,
    dropped: Arc<AtomicUsize>,
}

impl World {
    fn new() -> Self {
        Self {
            gate: Arc::new(Semaphore::new(0)),
            begun: Arc::default(),
            dropped: Arc::default(),
        }
    }

    /// The node with the handler.
    async fn open(&self, cluster: &Cluster, name: &str) -> (AggregateStore, SharedLog) {
        let Self {
            gate,
            begun,
            dropped,
        } = self.clone();
        let (builder, log) = cluster.node(name);
        let builder = builder.max_starts(1).aggregate_type::<Counter>();
        let builder = builder.event_handler(Caller {
            gate,
            begun,
            dropped,
        });
        (builder.open().await.expect("it opens"), log)
    }

    async fn until_begun(&self, count: usize) {
        until(&format!("{count} calls have begun"), || async {
            self.begun.load(Ordering::SeqCst) == count
        })
        .await;
    }

    async fn until_dropped(&self, count: usize) {
        until(&format!("{count} calls are dropped"), || async {
            self.dropped.load(Ordering::SeqCst) == count
        })
        .await;
    }
}

async fn sum(store: &AggregateStore, id: &str) -> i64 {
    let counter = store.get::<Counter>(id).await.expect("an id");
    counter.state().await.expect("it is read").sum
}

#[tokio::test]
async fn a_call_is_dropped_with_its_term_and_made_again_in_the_next() -> TestResult {
    let cluster = Cluster::new();
    let world = World::new();
    let (one, log) = world.open(&cluster, "one").await;
    until_leader(&one).await;
    one.send("a-1", CounterCommand::Add(5), ()).await?;
    world.until_begun(1).await;
    let (two, _) = world.open(&cluster, "two").await;
    until_follower_of(&two, "one").await;
    // On a follower nothing is called.
    a_moment().await;
    assert_eq!(world.begun.load(Ordering::SeqCst), 1);
    hand_over(&one, &log, &two, "two").await;
    world.until_dropped(1).await;
    world.until_begun(2).await;
    a_moment().await;
    assert_eq!(world.begun.load(Ordering::SeqCst), 2);
    world.gate.add_permits(10);
    for store in [&one, &two] {
        until("its command is executed", || async {
            sum(store, "b-1").await == 5
        })
        .await;
    }
    a_moment().await;
    assert_eq!(sum(&two, "b-1").await, 5);
    assert_eq!(world.begun.load(Ordering::SeqCst), 2);
    Ok(())
}

/// A term is no start of the program: a call that many terms did not finish has not aborted it.
#[tokio::test]
async fn terms_do_not_count_as_aborts() -> TestResult {
    let cluster = Cluster::new();
    let world = World::new();
    let (store, log) = world.open(&cluster, "one").await;
    until_leader(&store).await;
    store.send("a-1", CounterCommand::Add(5), ()).await?;
    for term in 1..=4 {
        world.until_begun(term).await;
        next_term(&store, &log).await;
        world.until_dropped(term).await;
    }
    world.gate.add_permits(10);
    until("its command is executed", || async {
        sum(&store, "b-1").await == 5
    })
    .await;
    let status = store.event_handler::<Caller>()?.status().await?;
    assert_eq!((status.instances.parked, status.dead_letters), (0, 0));
    Ok(())
}

/// A call may take seconds. A leader that closes finishes it, and the cluster does not wait for that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_go_on_while_a_leader_that_closes_finishes_its_calls() -> TestResult {
    let cluster = Cluster::new();
    let world = World::new();
    let (one, _) = world.open(&cluster, "one").await;
    until_leader(&one).await;
    one.send("a-1", CounterCommand::Add(5), ()).await?;
    world.until_begun(1).await;
    let (two, _) = world.open(&cluster, "two").await;
    until_follower_of(&two, "one").await;
    let closing = tokio::spawn(one.clone().close());
    until("it closes", || async {
        one.health().await.status == HealthStatus::Unusable
    })
    .await;
    for stream in ["a-2", "c", "c", "c"] {
        two.send(stream, CounterCommand::Add(7), ()).await?;
        a_moment().await;
    }
    // They were executed by the leader, which begins no further call.
    until_follower_of(&two, "one").await;
    assert!(!closing.is_finished());
    assert_eq!(world.begun.load(Ordering::SeqCst), 1);
    world.gate.add_permits(10);
    closing.await??;
    until_leader(&two).await;
    until("both commands of the calls are executed", || async {
        sum(&two, "b-1").await == 5 && sum(&two, "b-2").await == 7
    })
    .await;
    assert_eq!(world.begun.load(Ordering::SeqCst), 2);
    assert_eq!(world.dropped.load(Ordering::SeqCst), 0);
    Ok(())
}
