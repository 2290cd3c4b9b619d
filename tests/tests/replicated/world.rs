//! Nodes over one log in memory, and ways to take the leadership from a node.

use std::future::Future;
use std::time::Duration;

use eventfold_es::prelude::*;
use eventfold_es::replication::{Node, Role};
use eventfold_es::testing::{LostAnswer, SharedLog};
use eventfold_es::{AggregateStoreBuilder, StoreError};
use tempfile::TempDir;

use crate::common::counter::{Counter, CounterCommand};

/// No test waits for so long.
pub const FOREVER: Duration = Duration::from_secs(3600);

pub struct Cluster {
    log: SharedLog,
    directory: TempDir,
}

impl Cluster {
    pub fn new() -> Self {
        Self {
            log: SharedLog::new(),
            directory: tempfile::tempdir().expect("a directory"),
        }
    }

    /// A node that waits for a leader without end, and its end of the log.
    pub fn node(&self, name: &str) -> (AggregateStoreBuilder, SharedLog) {
        let log = self.log.handle();
        let builder = AggregateStore::builder(self.directory.path().join(name))
            .leader_patience(FOREVER)
            .replicated(log.clone())
            .node(name)
            .advertise(format!("http://{name}:8080"));
        (builder, log)
    }

    /// A node that is the leader, as far as nobody takes that from it.
    pub async fn leader(&self, name: &str) -> (AggregateStore, SharedLog) {
        let (builder, log) = self.node(name);
        let store = builder.open().await.expect("it opens");
        until_leader(&store).await;
        (store, log)
    }
}

/// Waits until a role is there.
pub async fn until_role(store: &AggregateStore, wanted: impl Fn(&Role) -> bool) {
    let mut role = store.role();
    let waiting = role.wait_for(|role| wanted(role));
    let found = tokio::time::timeout(Duration::from_secs(60), waiting).await;
    let _ = found
        .expect("the role changes in time")
        .expect("the store is open");
}

pub async fn until_leader(store: &AggregateStore) {
    until_role(store, Role::is_leader).await;
}

pub async fn until_detached(store: &AggregateStore) {
    until_role(store, |role| matches!(role, Role::Detached { .. })).await;
}

/// Waits until the node follows this leader.
pub async fn until_follower_of(store: &AggregateStore, name: &str) {
    let is_it = |node: &Option<Node>| node.as_ref().is_some_and(|node| node.name == name);
    until_role(
        store,
        |role| matches!(role, Role::Follower { leader } if is_it(leader)),
    )
    .await;
}

/// Takes the leadership from the only node, which takes it again: the next term.
pub async fn next_term(store: &AggregateStore, log: &SharedLog) {
    let mut role = store.role();
    role.mark_unchanged();
    log.lose_next_answer(LostAnswer::Stored);
    let counter = store.get::<Counter>("of the next term").await;
    let counter = counter.expect("an id");
    // Its answer is lost, so the outcome is known after the claim.
    let added = counter.execute(CounterCommand::Add(1), ()).await;
    assert!(added.is_ok(), "{added:?}");
    role.changed().await.expect("the store is open");
    until_leader(store).await;
}

/// Takes the leadership from a node for as long as another node has it.
pub async fn hand_over(from: &AggregateStore, log: &SharedLog, to: &AggregateStore, name: &str) {
    log.cut_off();
    until_leader(to).await;
    log.reconnect();
    until_follower_of(from, name).await;
}

/// The name of the leader to which an error sends the caller.
pub fn sent_to<T, E: Into<Refused>>(result: Result<T, E>) -> Option<String> {
    match result.map(drop).map_err(Into::into) {
        Err(Refused(Some(leader))) => Some(leader.to_string()),
        Ok(()) | Err(Refused(None)) => None,
    }
}

/// The leader in an error, if it is [`StoreError::NotLeader`].
pub struct Refused(Option<Node>);

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NotLeader { leader } => Self(leader),
            _ => Self(None),
        }
    }
}

impl<E> From<ExecuteError<E>> for Refused {
    fn from(error: ExecuteError<E>) -> Self {
        match error {
            ExecuteError::NotLeader { leader } => Self(leader),
            _ => Self(None),
        }
    }
}

/// Waits until a condition holds.
pub async fn until<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let waited = tokio::time::timeout(Duration::from_secs(60), async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });
    assert!(waited.await.is_ok(), "it takes too long until {what}");
}

/// Gives other tasks time to do what they must not do.
pub async fn a_moment() {
    tokio::time::sleep(Duration::from_millis(50)).await;
}
