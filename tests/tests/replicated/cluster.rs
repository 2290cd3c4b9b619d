//! Nodes on directories of their own, and one log.

use std::path::PathBuf;
use std::time::Duration;

use eventfold_es::replication::Role;
use eventfold_es::testing::SharedLog;
use eventfold_es::{AggregateStore, AggregateStoreBuilder, Executed};
use tempfile::TempDir;

use crate::common::counter::{Counter, CounterCommand, CounterError, CounterEvent};

pub(crate) type Done = Result<Executed<CounterEvent>, eventfold_es::ExecuteError<CounterError>>;

pub(crate) struct Cluster {
    pub(crate) log: SharedLog,
    directory: TempDir,
}

pub(crate) struct Member {
    pub(crate) store: AggregateStore,
    pub(crate) log: SharedLog,
}

impl Cluster {
    pub(crate) fn new() -> std::io::Result<Self> {
        Ok(Self {
            log: SharedLog::new(),
            directory: tempfile::tempdir()?,
        })
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn builder(&self, name: &str) -> AggregateStoreBuilder {
        AggregateStore::builder(self.path(name))
    }

    pub(crate) async fn open(&self, name: &str) -> Result<Member, eventfold_es::OpenError> {
        let log = self.log.handle();
        let builder = self.builder(name).replicated(log.clone()).node(name);
        let store = builder.advertise(format!("http://{name}")).open().await?;
        Ok(Member { store, log })
    }

    /// The text of the journal of a closed node.
    pub(crate) fn journal(&self, name: &str) -> std::io::Result<String> {
        let path = self.path(name).join("meta/journal/app.jsonl");
        let text = std::fs::read_to_string(path)?;
        Ok(text.trim_end_matches('\0').to_owned())
    }

    /// The note of a directory on its part in replication.
    pub(crate) fn note(&self, name: &str) -> Result<String, Box<dyn std::error::Error>> {
        let path = self.path(name).join("meta/journal/replicated.json");
        let note: serde_json::Value = serde_json::from_slice(&std::fs::read(path)?)?;
        Ok(note["content"].as_str().unwrap_or_default().to_owned())
    }

    /// The text of the log.
    pub(crate) fn text(&self) -> String {
        self.log.texts().concat()
    }
}

impl Member {
    pub(crate) async fn add(&self, id: &str, by: i64) -> Done {
        let counter = self.store.get::<Counter>(id).await?;
        counter.execute(CounterCommand::Add(by), ()).await
    }

    pub(crate) async fn sum(&self, id: &str) -> Result<i64, Box<dyn std::error::Error>> {
        Ok(self.store.get::<Counter>(id).await?.state().await?.sum)
    }

    pub(crate) fn is_leader(&self) -> bool {
        self.store.role().borrow().is_leader()
    }

    pub(crate) async fn until(&self, wanted: impl Fn(&Role) -> bool) -> Role {
        let mut role = self.store.role();
        let waiting = role.wait_for(|role| wanted(role));
        let found = tokio::time::timeout(Duration::from_secs(60), waiting).await;
        let found = found.expect("the role changes in time");
        found.expect("the store is open").clone()
    }

    pub(crate) async fn until_leader(&self) {
        self.until(Role::is_leader).await;
    }

    pub(crate) async fn until_follower_of(&self, name: &str) {
        self.until(
            |role| matches!(role, Role::Follower { leader: Some(leader) } if leader.name == name),
        )
        .await;
    }

    /// Waits until a counter has a sum.
    pub(crate) async fn until_sum(&self, id: &str, sum: i64) {
        for _ in 0..60_000 {
            if self.sum(id).await.ok() == Some(sum) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        panic!("`{id}` does not come to {sum}");
    }
}
