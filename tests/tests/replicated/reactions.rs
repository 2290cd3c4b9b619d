//! Process managers run while the node is the leader, and begin each term at their durable progress.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use eventfold_es::RunMode;
use eventfold_es::prelude::*;
use eventfold_es_tests::TestResult;

use super::world::{
    Cluster, a_moment, hand_over, next_term, until, until_follower_of, until_leader,
};
use crate::common::counter::{Counter, CounterCommand, CounterEvent};
use crate::common::sagas::ReservationSaga;
use crate::common::shop::{Inventory, place};

async fn reserved(store: &AggregateStore) -> u32 {
    let inventory = store.get::<Inventory>("inv-W").await.expect("an id");
    inventory.state().await.expect("it is read").reserved
}

async fn until_reserved(store: &AggregateStore, count: u32) {
    until(&format!("{count} are reserved"), || async {
        reserved(store).await == count
    })
    .await;
}

/// The program of the first leader does not have the saga yet.
#[tokio::test]
async fn a_follower_reacts_to_nothing_and_the_leader_to_everything() -> TestResult {
    for mode in [RunMode::Inline, RunMode::Background] {
        let cluster = Cluster::new();
        let (one, log) = cluster.leader("one").await;
        one.send("o-1", place("W", 3), ()).await?;
        let (builder, _) = cluster.node("two");
        let builder = builder.process_manager::<ReservationSaga>().run_mode(mode);
        let two = builder.open().await?;
        until_follower_of(&two, "one").await;
        until("it has the order", || async {
            two.read_all(0, 9)
                .await
                .is_ok_and(|events| events.len() == 1)
        })
        .await;
        a_moment().await;
        assert_eq!(reserved(&two).await, 0);
        // It has no starting point yet.
        let status = two.health().await.process_managers.remove(0);
        assert!(status.is_elsewhere);
        assert_eq!((status.position, status.lag), (0, 0));
        assert_eq!(two.read_all(0, usize::MAX).await?.len(), 1);

        hand_over(&one, &log, &two, "two").await;
        until_reserved(&two, 3).await;
        // A command that comes now is waited for, as on one machine.
        let done = two.send("o-2", place("W", 4), ()).await?;
        if mode == RunMode::Inline {
            assert_eq!(done.reactions, Reactions::Done);
            assert_eq!(reserved(&two).await, 7);
        }
        until_reserved(&one, 7).await;
        assert!(!two.health().await.process_managers[0].is_elsewhere);
        assert!(two.dead_letters::<ReservationSaga>().await?.is_empty());
    }
    Ok(())
}

/// The first command of a term waits for process managers that have not begun yet.
#[tokio::test]
async fn a_command_right_after_the_takeover_waits_for_its_reactions() -> TestResult {
    let cluster = Cluster::new();
    let (builder, log) = cluster.node("one");
    let builder = builder.process_manager::<ReservationSaga>();
    let store = builder.open().await?;
    until_leader(&store).await;
    for number in 1..=5 {
        log.cut_off();
        super::world::until_detached(&store).await;
        let sending = tokio::spawn({
            let store = store.clone();
            async move { store.send(&format!("o-{number}"), place("W", 1), ()).await }
        });
        a_moment().await;
        log.reconnect();
        assert_eq!(sending.await??.reactions, Reactions::Done);
        assert_eq!(reserved(&store).await, number);
    }
    Ok(())
}

/// The leadership goes to and fro, and both nodes have been the leader before.
#[tokio::test]
async fn each_leader_goes_on_where_the_last_one_was() -> TestResult {
    let cluster = Cluster::new();
    let mut nodes = Vec::new();
    for name in ["one", "two"] {
        let (builder, log) = cluster.node(name);
        let builder = builder.process_manager::<ReservationSaga>();
        nodes.push((builder.open().await?, log, name));
    }
    until("one of them leads", || async {
        nodes
            .iter()
            .any(|(node, ..)| node.role().borrow().is_leader())
    })
    .await;
    if nodes[1].0.role().borrow().is_leader() {
        nodes.reverse();
    }
    let mut total = 0;
    for round in 0..4 {
        let (leader, log, _) = &nodes[0];
        for order in 0..3 {
            let id = format!("o-{round}-{order}");
            let done = leader.send(&id, place("W", 1), ()).await?;
            assert_eq!(done.reactions, Reactions::Done);
            total += 1;
            assert_eq!(reserved(leader).await, total);
        }
        let (next, _, name) = &nodes[1];
        hand_over(leader, log, next, name).await;
        nodes.reverse();
    }
    for (node, ..) in &nodes {
        until_reserved(node, total).await;
        // Each order, and its reservation.
        until("it has all", || async {
            let events = node.read_all(0, usize::MAX).await;
            events.is_ok_and(|events| events.len() == 2 * total as usize)
        })
        .await;
    }
    Ok(())
}

static IS_HELD: AtomicBool = AtomicBool::new(false);
static REACTIONS: AtomicUsize = AtomicUsize::new(0);

/// Its reaction waits until it is let go.
#[process_manager(subscribes = [Counter], dispatches = [Counter])]
#[derive(Debug, Default, Serialize, Deserialize)]
struct Held;

impl React<Counter> for Held {
    fn react(&mut self, event: &CounterEvent, cx: &mut Reaction<'_, Self>) {
        let (CounterEvent::Added(by), Some(rest)) = (event, cx.stream_id().strip_prefix("a-"))
        else {
            return;
        };
        let target = format!("b-{rest}");
        REACTIONS.fetch_add(1, Ordering::SeqCst);
        while IS_HELD.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(1));
        }
        cx.send(target, CounterCommand::Add(*by));
    }
}

/// The state in memory has the event, and the commit of the reaction would come in the next term. The task is not polled between the
/// terms, because its thread is in the reaction.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_reaction_of_an_earlier_term_is_not_stored_and_happens_again() -> TestResult {
    let cluster = Cluster::new();
    let (builder, log) = cluster.node("one");
    let store = builder.process_manager::<Held>().open().await?;
    until_leader(&store).await;
    IS_HELD.store(true, Ordering::SeqCst);
    let sending = tokio::spawn({
        let store = store.clone();
        async move { store.send("a-1", CounterCommand::Add(5), ()).await }
    });
    until("it reacts", || async {
        REACTIONS.load(Ordering::SeqCst) == 1
    })
    .await;
    until("the command is stored", || async {
        store
            .read_all(0, 1)
            .await
            .is_ok_and(|events| !events.is_empty())
    })
    .await;
    let regained = tokio::spawn({
        let (store, log) = (store.clone(), log.clone());
        async move {
            let mut role = store.role();
            role.mark_unchanged();
            log.cut_off();
            role.changed().await.expect("the store is open");
            log.reconnect();
            until_leader(&store).await;
        }
    });
    regained.await?;
    IS_HELD.store(false, Ordering::SeqCst);
    let done = sending.await??;
    // The command is done, and its caller does not wait for the next term.
    assert_eq!((done.version, done.reactions), (1, Reactions::Closed));
    store.run_process_managers().await?;
    assert_eq!(REACTIONS.load(Ordering::SeqCst), 2);
    let b = store.get::<Counter>("b-1").await?.load().await?;
    assert_eq!((b.version, b.state.sum), (1, 5));
    next_term(&store, &log).await;
    store.run_process_managers().await?;
    assert_eq!(REACTIONS.load(Ordering::SeqCst), 2);
    Ok(())
}
