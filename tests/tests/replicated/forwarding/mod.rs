//! Commands on a follower that the leader executes.

mod closing;
mod commands;
mod exactly_once;
mod limits;
mod transactions;

use std::convert::Infallible;
use std::time::Duration;

use eventfold_es::prelude::*;
use eventfold_es::testing::SharedLog;
use eventfold_es::{AggregateHandle, AggregateStoreBuilder};

use super::world::{Cluster, until_follower_of};
use crate::TestResult;
use crate::common::counter::{Counter, CounterCommand};

/// A builder with the aggregate types of these tests.
pub(crate) fn with_types(builder: AggregateStoreBuilder) -> AggregateStoreBuilder {
    builder
        .aggregate_type::<Counter>()
        .aggregate_type::<Account>()
        .process_manager::<Notary>()
}

/// A node on a log with these types.
fn node(cluster: &Cluster, name: &str) -> (AggregateStoreBuilder, SharedLog) {
    let (builder, log) = cluster.node(name);
    let builder = builder.outcome_patience(Duration::from_secs(60));
    (with_types(builder), log)
}

/// The leader `one`, and the follower `two`.
pub(crate) struct Pair {
    pub(crate) cluster: Cluster,
    pub(crate) one: AggregateStore,
    pub(crate) one_log: SharedLog,
    pub(crate) two: AggregateStore,
    pub(crate) two_log: SharedLog,
}

impl Pair {
    pub(crate) async fn open() -> Result<Self, Box<dyn std::error::Error>> {
        let cluster = Cluster::new();
        let (builder, one_log) = node(&cluster, "one");
        let one = builder.open().await?;
        let (builder, two_log) = node(&cluster, "two");
        let two = builder.open().await?;
        until_follower_of(&two, "one").await;
        Ok(Self {
            cluster,
            one,
            one_log,
            two,
            two_log,
        })
    }

    /// Waits until `two` has all events of `one`.
    async fn meet(&self) -> TestResult {
        let last = self.one.health().await.position;
        let mut events = self.two.subscribe_all();
        if last > 0 {
            events = events.after(last - 1);
            events.next().await;
        }
        Ok(())
    }
}

async fn counter(store: &AggregateStore, id: &str) -> AggregateHandle<Counter> {
    store.get::<Counter>(id).await.expect("an id")
}

async fn balance(store: &AggregateStore, id: &str) -> i64 {
    let account = store.get::<Account>(id).await.expect("an id");
    account.state().await.expect("it is readable").balance
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum AccountCommand {
    Deposit(i64),
    Withdraw(i64),
    /// Two amounts that are noted in another stream.
    Note(i64),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
pub(crate) enum AccountEvent {
    Changed(i64),
    NoteTaken(i64),
}

#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("the balance is {balance}")]
pub(crate) struct Overdrawn {
    balance: i64,
}

#[aggregate(error = Overdrawn)]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Account {
    balance: i64,
}

impl Decider for Account {
    fn decide(&self, command: AccountCommand) -> Result<Vec<AccountEvent>, Overdrawn> {
        match command {
            AccountCommand::Deposit(amount) => Ok(vec![AccountEvent::Changed(amount)]),
            AccountCommand::Withdraw(amount) if amount > self.balance => Err(Overdrawn {
                balance: self.balance,
            }),
            AccountCommand::Withdraw(amount) => Ok(vec![AccountEvent::Changed(-amount)]),
            AccountCommand::Note(amount) => Ok(vec![AccountEvent::NoteTaken(amount)]),
        }
    }

    fn evolve(&mut self, event: &AccountEvent) {
        if let AccountEvent::Changed(amount) = event {
            self.balance += amount;
        }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct LedgerCommand(i64);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
enum LedgerEvent {
    Entered(i64),
}

#[aggregate(error = Infallible)]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Ledger {
    total: i64,
}

impl Decider for Ledger {
    fn decide(&self, LedgerCommand(amount): LedgerCommand) -> Result<Vec<LedgerEvent>, Infallible> {
        Ok(vec![LedgerEvent::Entered(amount)])
    }

    fn evolve(&mut self, LedgerEvent::Entered(amount): &LedgerEvent) {
        self.total += amount;
    }
}

/// Enters each note in the ledger.
#[process_manager(subscribes = [Account], dispatches = [Ledger])]
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Notary;

impl React<Account> for Notary {
    fn react(&mut self, event: &AccountEvent, cx: &mut Reaction<'_, Self>) {
        if let AccountEvent::NoteTaken(amount) = event {
            cx.send("all", LedgerCommand(*amount));
        }
    }
}

/// Adds one on a node, in the background.
fn add_one(
    store: &AggregateStore,
    id: &str,
) -> tokio::task::JoinHandle<
    Result<u64, eventfold_es::ExecuteError<crate::common::counter::CounterError>>,
> {
    let (store, id) = (store.clone(), id.to_owned());
    tokio::spawn(async move {
        let executed = store.send(&id, CounterCommand::Add(1), ()).await?;
        Ok(executed.version)
    })
}
