//! Process managers while the leader changes: each event is reacted to once, whatever is lost on the way.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use eventfold_es::prelude::*;
use eventfold_es::replication::Role;
use eventfold_es::testing::{LostAnswer, SharedLog};
use eventfold_es::{AggregateStore, ExecuteError, OpenError};

use crate::TestResult;
use crate::common::sagas::ReservationSaga;
use crate::common::shop::{Inventory, OrderCommand};

const CLIENTS: u64 = 4;
/// Less than the stock: an order that is reserved twice is noticed.
const ORDERS: u64 = 20;

async fn open(base: &Path, name: &str, log: &SharedLog) -> Result<AggregateStore, OpenError> {
    let builder = AggregateStore::builder(base.join(name));
    let builder = builder.process_manager::<ReservationSaga>();
    let builder = builder.leader_patience(Duration::from_millis(200));
    builder.replicated(log.clone()).node(name).open().await
}

/// Places an order at whichever node takes it, and sends it again until its outcome is known.
async fn place(nodes: &[AggregateStore], id: &str) {
    let mut node = 0;
    loop {
        let context = CommandContext::default().with_idempotency_key(id);
        let command = OrderCommand::Place {
            sku: "W-1".to_owned(),
            qty: 1,
        };
        match nodes[node % nodes.len()].send(id, command, context).await {
            Ok(_) => return,
            Err(ExecuteError::Domain(error)) => panic!("{id}: {error}"),
            Err(_) => node += 1,
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn reserved(store: &AggregateStore) -> u64 {
    let inventory = store
        .get::<Inventory>("inv-W-1")
        .await
        .expect("the store is open");
    let inventory = inventory.state().await.expect("it is readable");
    u64::from(inventory.reserved)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_order_is_reserved_once() -> TestResult {
    let directory = tempfile::tempdir()?;
    let first = SharedLog::new();
    let logs = [first.clone(), first.handle(), first.handle()];
    let mut nodes = Vec::new();
    for (log, name) in logs.iter().zip(["one", "two", "three"]) {
        nodes.push(open(directory.path(), name, log).await?);
    }
    let placed = Arc::new(AtomicU64::new(0));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let (nodes, placed) = (nodes.clone(), Arc::clone(&placed));
            tokio::spawn(async move {
                for order in 0..ORDERS {
                    place(&nodes, &format!("ord-{client}-{order}")).await;
                    placed.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    // Whoever leads loses an answer, and then the log.
    let mut round = 0;
    while clients.iter().any(|client| !client.is_finished()) {
        let leader = nodes
            .iter()
            .position(|node| node.role().borrow().is_leader());
        if let Some(leader) = leader {
            let answer = [LostAnswer::Stored, LostAnswer::Dropped, LostAnswer::Delayed][round % 3];
            logs[leader].lose_next_answer(answer);
            logs[leader].cut_off_after_next();
            tokio::time::sleep(Duration::from_millis(100)).await;
            logs[leader].cut_off();
            let others = nodes.iter().enumerate().filter(|(node, _)| *node != leader);
            let taken = others.map(|(_, node)| {
                let mut role = node.role();
                Box::pin(async move { role.wait_for(Role::is_leader).await.is_ok() })
            });
            for taken in taken {
                if tokio::time::timeout(Duration::from_secs(2), taken)
                    .await
                    .is_ok()
                {
                    break;
                }
            }
            first.deliver();
            logs[leader].reconnect();
            round += 1;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for client in clients {
        client.await?;
    }
    assert_eq!(placed.load(Ordering::Relaxed), CLIENTS * ORDERS);
    assert!(round >= 2, "{round} takeovers");
    for node in &nodes {
        for attempt in 0.. {
            if reserved(node).await == CLIENTS * ORDERS {
                break;
            }
            assert!(attempt < 60_000, "{} are reserved", reserved(node).await);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    // Nothing comes later, and all nodes have the same bytes.
    tokio::time::sleep(Duration::from_millis(300)).await;
    for node in nodes {
        assert_eq!(reserved(&node).await, CLIENTS * ORDERS);
        assert!(node.verify().await?.is_clean());
        node.close().await?;
    }
    let text = first.texts().concat();
    let placed = text.matches("\"type\":\"Placed\"").count() as u64;
    assert_eq!(placed, CLIENTS * ORDERS);
    Ok(())
}
