//! Accounts, a process manager that notes every deposit on an audit, and a projection: as a program of 0.2.0 has them, and
//! the same types in a program of this version.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use eventfold_es::prelude::*;
use eventfold_es::store::AggregateStoreBuilder;
use eventfold_es_020 as old;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum AccountCommand {
    Deposit(u64),
    DepositMany(Vec<u64>),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
pub enum AccountEvent {
    Deposited { amount: u64, note: String },
}

impl AccountEvent {
    pub fn new(amount: u64) -> Self {
        let note = "Ünïcode und \"mehr\"".to_owned();
        Self::Deposited { amount, note }
    }
}

#[derive(Debug, thiserror::Error)]
#[error("{0} is not accepted")]
pub struct Unaccepted(u64);

#[aggregate(error = Unaccepted)]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Account {
    pub amounts: Vec<u64>,
}

impl Decider for Account {
    fn decide(&self, command: AccountCommand) -> Result<Vec<AccountEvent>, Unaccepted> {
        let amounts = match command {
            AccountCommand::Deposit(amount) => vec![amount],
            AccountCommand::DepositMany(amounts) => amounts,
        };
        Ok(amounts.into_iter().map(AccountEvent::new).collect())
    }

    fn evolve(&mut self, event: &AccountEvent) {
        let AccountEvent::Deposited { amount, .. } = event;
        self.amounts.push(*amount);
    }
}

impl old::Aggregate for Account {
    const AGGREGATE_TYPE: &'static str = "account";
    type Command = AccountCommand;
    type DomainEvent = AccountEvent;
    type Error = Unaccepted;

    fn handle(&self, command: AccountCommand) -> Result<Vec<AccountEvent>, Unaccepted> {
        self.decide(command)
    }

    fn apply(mut self, event: &AccountEvent) -> Self {
        self.evolve(event);
        self
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum AuditCommand {
    Note(u64),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
pub enum AuditEvent {
    Noted(u64),
}

/// What was noted; amounts that end in 13 are not accepted.
#[aggregate(error = Unaccepted)]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Audit {
    pub noted: Vec<u64>,
}

impl Decider for Audit {
    fn decide(
        &self,
        AuditCommand::Note(amount): AuditCommand,
    ) -> Result<Vec<AuditEvent>, Unaccepted> {
        match amount % 100 {
            13 => Err(Unaccepted(amount)),
            _ => Ok(vec![AuditEvent::Noted(amount)]),
        }
    }

    fn evolve(&mut self, AuditEvent::Noted(amount): &AuditEvent) {
        self.noted.push(*amount);
    }
}

impl old::Aggregate for Audit {
    const AGGREGATE_TYPE: &'static str = "audit";
    type Command = AuditCommand;
    type DomainEvent = AuditEvent;
    type Error = Unaccepted;

    fn handle(&self, command: AuditCommand) -> Result<Vec<AuditEvent>, Unaccepted> {
        self.decide(command)
    }

    fn apply(mut self, event: &AuditEvent) -> Self {
        self.evolve(event);
        self
    }
}

/// Its state has a number that JSON values cannot hold, and text that looks like something else.
#[process_manager(subscribes = [Account], dispatches = [Audit])]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Auditor {
    pub deposits: u64,
    pub large: u128,
    pub text: String,
}

impl Default for Auditor {
    fn default() -> Self {
        Self {
            deposits: 0,
            large: u128::MAX,
            text: "{ \"a\" :\n 1 }".to_owned(),
        }
    }
}

impl React<Account> for Auditor {
    fn react(
        &mut self,
        AccountEvent::Deposited { amount, .. }: &AccountEvent,
        cx: &mut Reaction<'_, Self>,
    ) {
        self.deposits += 1;
        let id = cx.stream_id().to_owned();
        cx.send(id, AuditCommand::Note(*amount));
    }
}

impl old::ProcessManager for Auditor {
    const NAME: &'static str = "auditor";

    fn subscriptions(&self) -> &'static [&'static str] {
        &["account"]
    }

    fn react(
        &mut self,
        _: &str,
        stream_id: &str,
        event: &eventfold::Event,
    ) -> Vec<old::CommandEnvelope> {
        self.deposits += 1;
        vec![old::CommandEnvelope {
            aggregate_type: "audit".to_owned(),
            instance_id: stream_id.to_owned(),
            command: serde_json::json!({ "Note": event.data["amount"] }),
            context: old::CommandContext::default().with_correlation_id("c"),
        }]
    }
}

/// The deposits in the order in which they were seen.
#[projection(subscribes = [Account])]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Deposits {
    pub sum: u64,
    pub seen: Vec<u64>,
}

impl Project<Account> for Deposits {
    fn project(
        &mut self,
        AccountEvent::Deposited { amount, .. }: &AccountEvent,
        _: &EventContext<'_>,
    ) {
        self.sum += amount;
        self.seen.push(*amount);
    }
}

impl old::Projection for Deposits {
    const NAME: &'static str = "deposits";

    fn subscriptions(&self) -> &'static [&'static str] {
        &["account"]
    }

    fn apply(&mut self, _: &str, _: &str, event: &eventfold::Event) {
        let amount = event.data["amount"].as_u64().unwrap();
        self.sum += amount;
        self.seen.push(amount);
    }
}

/// A directory in which 0.2.0 works.
pub async fn old_store(base: &Path) -> old::AggregateStore {
    old::AggregateStore::builder(base)
        .process_manager::<Auditor>()
        .projection::<Deposits>()
        .aggregate_type::<Audit>()
        .open()
        .await
        .unwrap()
}

pub async fn old_deposit(store: &old::AggregateStore, id: &str, amount: u64) {
    let account = store.get::<Account>(id).await.unwrap();
    let command = AccountCommand::Deposit(amount);
    let done = account.execute(command, old::CommandContext::default());
    done.await.unwrap();
}

/// Ends 0.2.0: its threads give their locks back a moment after it is dropped.
pub async fn end(store: old::AggregateStore) {
    let base = store.layout().base_dir().to_owned();
    drop(store);
    for log in logs(&base) {
        while fs::File::open(&log).unwrap().try_lock().is_err() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

/// Lets 0.2.0 deposit amounts, and nothing else.
pub async fn deposited(base: &Path, deposits: &[(&str, u64)]) {
    let store = old_store(base).await;
    for (id, amount) in deposits {
        old_deposit(&store, id, *amount).await;
    }
    end(store).await;
}

/// The logs of all streams.
pub fn logs(base: &Path) -> Vec<PathBuf> {
    let mut logs = Vec::new();
    let mut directories = vec![base.join("streams")];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else if path.ends_with("app.jsonl") {
                logs.push(path);
            }
        }
    }
    logs.sort();
    logs
}

/// What eventfold's own reader finds in the log of a stream, given by its directory.
pub fn read(base: &Path, stream: &str) -> Vec<eventfold::Event> {
    let reader = eventfold::EventReader::new(base.join("streams").join(stream));
    let events = reader.read_from(0).unwrap();
    events.map(|event| event.unwrap().0).collect()
}

/// A store of this version, whose process managers run when they are told to.
pub fn builder(base: &Path) -> AggregateStoreBuilder {
    AggregateStore::builder(base)
        .process_manager::<Auditor>()
        .projection::<Deposits>()
        .run_mode(eventfold_es::RunMode::OnDemand)
}

pub async fn open(base: &Path) -> AggregateStore {
    builder(base).open().await.unwrap()
}

pub async fn deposit(store: &AggregateStore, id: &str, amount: u64) {
    let command = AccountCommand::Deposit(amount);
    let done = store.send(id, command, CommandContext::default());
    done.await.unwrap();
}

pub async fn amounts(store: &AggregateStore, id: &str) -> Vec<u64> {
    let account = store.get::<Account>(id).await.unwrap();
    account.state().await.unwrap().amounts
}

pub async fn noted(store: &AggregateStore, id: &str) -> Vec<u64> {
    let audit = store.get::<Audit>(id).await.unwrap();
    audit.state().await.unwrap().noted
}
