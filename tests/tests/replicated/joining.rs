//! A node with any directory meets a log with any content.

use std::sync::Arc;
use std::time::Duration;

use eventfold_es::replication::{AppendError, CommitLog, Entry, LogError, Role};
use eventfold_es::testing::SharedLog;
use eventfold_es::{AggregateStoreBuilder, ExecuteError, OpenError};
use tokio::sync::{broadcast, watch};

use crate::TestResult;
use crate::cluster::{Cluster, Member};
use crate::common::counter::{Counter, CounterCommand};

#[tokio::test]
async fn the_second_node_has_the_events_of_the_first() -> TestResult {
    let cluster = Cluster::new()?;
    let one = cluster.open("one").await?;
    assert!(one.is_leader());
    for by in 1..=10 {
        one.add("a", by).await?;
    }
    let two = cluster.open("two").await?;
    two.until_follower_of("one").await;
    assert_eq!(two.sum("a").await?, 55);
    one.add("a", 45).await?;
    two.until_sum("a", 100).await;

    let refused = two.add("a", 1).await;
    let leader = match &refused {
        Err(ExecuteError::NotLeader { leader }) => leader.clone(),
        other => panic!("{other:?}"),
    };
    let leader = leader.ok_or("the leader is known")?;
    assert_eq!(
        (leader.name.as_str(), leader.address.as_deref()),
        ("one", Some("http://one"))
    );
    two.store.close().await?;
    one.store.close().await?;
    let text = cluster.text();
    assert_eq!(cluster.journal("one")?, text);
    assert_eq!(cluster.journal("two")?, text);
    Ok(())
}

#[tokio::test]
async fn a_store_of_one_machine_is_published() -> TestResult {
    let cluster = Cluster::new()?;
    let alone = cluster.builder("one").open().await?;
    let counter = alone.get::<Counter>("a").await?;
    for by in 1..=20 {
        counter.execute(CounterCommand::Add(by), ()).await?;
    }
    drop(counter);
    alone.close().await?;
    let before = cluster.journal("one")?;

    let one = cluster.open("one").await?;
    assert!(cluster.text().starts_with(&before));
    let two = cluster.open("two").await?;
    assert_eq!(two.sum("a").await?, 210);
    one.add("a", 1).await?;
    two.until_sum("a", 211).await;
    Ok(())
}

/// The node does not serve the beginning of a history.
#[tokio::test]
async fn a_log_that_is_being_published_is_not_claimed() -> TestResult {
    let cluster = Cluster::new()?;
    let before = published_in_part(&cluster).await?;
    let opened = cluster.open("two").await.map(|_| ());
    match &opened {
        Err(OpenError::LogUnavailable { reason, .. }) => {
            assert!(reason.contains("is being published"), "{reason}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(cluster.log.texts().len(), 1);
    assert_eq!(cluster.note("two")?, "joining");

    // It waits with the first entry, until the node that publishes has opened.
    let (one, two) = tokio::join!(cluster.open("one"), cluster.open("two"));
    let (one, two) = (one?, two?);
    assert!(one.is_leader());
    two.until_follower_of("one").await;
    assert_eq!(two.sum("a").await?, 210);
    assert!(cluster.text().starts_with(&before));
    assert_eq!(cluster.note("one")?, "following");

    // It has the claim of the first leader, and claims the log after it, also when it is opened again.
    one.store.close().await?;
    two.until_leader().await;
    two.add("a", 1).await?;
    two.store.close().await?;
    let two = cluster.open("two").await?;
    assert!(two.is_leader());
    assert_eq!(two.sum("a").await?, 211);
    assert_eq!(cluster.note("two")?, "following");
    Ok(())
}

/// The journal of a machine was synced. Its middle does not vanish as writes do that did not reach the disk.
#[tokio::test]
async fn damage_is_found_while_a_journal_is_published() -> TestResult {
    let cluster = Cluster::new()?;
    let before = published_in_part(&cluster).await?;
    let path = cluster.path("one");
    // Everything is read again.
    std::fs::remove_file(path.join("meta/checkpoint.json"))?;
    let file = path.join("meta/journal/app.jsonl");
    let mut bytes = std::fs::read(&file)?;
    let middle = before.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&file, &bytes)?;
    let opened = cluster.open("one").await.map(|_| ());
    assert!(matches!(opened, Err(OpenError::Damaged(_))), "{opened:?}");
    assert_eq!(std::fs::read(&file)?, bytes);
    assert_eq!(cluster.log.texts().len(), 1);
    Ok(())
}

/// A store of one machine with 20 batches. Its log has the first of them. Returns the text of its journal.
async fn published_in_part(cluster: &Cluster) -> Result<String, Box<dyn std::error::Error>> {
    let alone = cluster.builder("one").open().await?;
    let counter = alone.get::<Counter>("a").await?;
    for by in 1..=20 {
        counter.execute(CounterCommand::Add(by), ()).await?;
    }
    drop(counter);
    alone.close().await?;
    let log = cluster.log.handle();
    log.cut_off_after_next();
    let opened = cluster.builder("one").replicated(log).node("one");
    let opened = opened.open().await.map(|_| ());
    assert!(
        matches!(opened, Err(OpenError::LogUnavailable { .. })),
        "{opened:?}"
    );
    assert_eq!(cluster.log.texts().len(), 1);
    assert_eq!(cluster.note("one")?, "publishing");
    Ok(cluster.journal("one")?)
}

#[tokio::test]
async fn the_directory_of_a_follower_is_a_store_of_one_machine() -> TestResult {
    let cluster = Cluster::new()?;
    let one = cluster.open("one").await?;
    one.add("a", 7).await?;
    let two = cluster.open("two").await?;
    two.store.close().await?;
    let alone = cluster.builder("two").open().await?;
    let counter = alone.get::<Counter>("a").await?;
    counter.execute(CounterCommand::Add(1), ()).await?;
    assert_eq!(counter.state().await?.sum, 8);
    drop(counter);
    alone.close().await?;

    // It has gone its own way, and does not come back.
    one.add("a", 2).await?;
    let back = cluster.open("two").await.map(|_| ());
    assert!(
        matches!(back, Err(OpenError::OtherHistory { .. })),
        "{back:?}"
    );
    Ok(())
}

#[tokio::test]
async fn another_history_is_refused() -> TestResult {
    let (cluster, other) = (Cluster::new()?, Cluster::new()?);
    let one = cluster.open("one").await?;
    one.add("a", 1).await?;
    one.store.close().await?;
    let stranger = other.open("stranger").await?;
    stranger.add("a", 1).await?;
    drop(stranger);

    let log = other.log.handle();
    let opened = cluster.builder("one").replicated(log).node("one");
    let opened = opened.open().await.map(|_| ());
    assert!(
        matches!(opened, Err(OpenError::OtherHistory { .. })),
        "{opened:?}"
    );
    // Nothing was changed.
    let one = cluster.open("one").await?;
    assert_eq!(one.sum("a").await?, 1);
    Ok(())
}

/// Its history is not that of the log, as far as the log goes.
#[tokio::test]
async fn another_longer_history_is_refused() -> TestResult {
    let (cluster, other) = (Cluster::new()?, Cluster::new()?);
    let one = cluster.open("one").await?;
    one.add("a", 1).await?;
    one.store.close().await?;
    let stranger = other.open("stranger").await?;
    for by in 1..=5 {
        stranger.add("a", by).await?;
    }
    stranger.store.close().await?;

    let log = cluster.log.handle();
    let opened = other.builder("stranger").replicated(log).node("stranger");
    let opened = opened.open().await.map(|_| ());
    let last = cluster.log.texts().len() as u64;
    assert!(
        matches!(opened, Err(OpenError::OtherHistory { batch, .. }) if batch == last),
        "{opened:?}"
    );
    Ok(())
}

#[tokio::test]
async fn a_log_that_has_lost_data_is_refused() -> TestResult {
    let cluster = Cluster::new()?;
    let one = cluster.open("one").await?;
    one.add("a", 1).await?;
    one.add("a", 2).await?;
    one.store.close().await?;
    cluster.log.forget_after(2);
    let opened = cluster.open("one").await.map(|_| ());
    assert!(
        matches!(opened, Err(OpenError::AheadOfLog { batch: 3, .. })),
        "{opened:?}"
    );
    Ok(())
}

/// It is no invitation to publish again.
#[tokio::test]
async fn a_log_that_has_lost_everything_is_refused() -> TestResult {
    let cluster = Cluster::new()?;
    let one = cluster.open("one").await?;
    one.add("a", 1).await?;
    one.store.close().await?;
    let log = SharedLog::new();
    let opened = cluster.builder("one").replicated(log).node("one");
    let opened = opened.open().await.map(|_| ());
    assert!(
        matches!(opened, Err(OpenError::AheadOfLog { .. })),
        "{opened:?}"
    );
    Ok(())
}

#[tokio::test]
async fn two_nodes_of_one_name_are_refused() -> TestResult {
    let (cluster, other) = (Cluster::new()?, Cluster::new()?);
    let one = cluster.open("one").await?;
    let log = cluster.log.handle();
    let namesake = other.builder("one").replicated(log).node("one");
    let namesake = namesake.open().await.map(|_| ());
    assert!(
        matches!(namesake, Err(OpenError::NodeNameTaken { .. })),
        "{namesake:?}"
    );
    one.add("a", 1).await?;

    for name in ["", "no name", "../up"] {
        let unnamed = other.builder("x").replicated(cluster.log.handle());
        let unnamed = unnamed.node(name).open().await.map(|_| ());
        assert!(
            matches!(unnamed, Err(OpenError::NodeName { .. })),
            "{unnamed:?}"
        );
    }
    let unnamed = other.builder("x").replicated(cluster.log.handle());
    let unnamed = unnamed.open().await.map(|_| ());
    assert!(
        matches!(unnamed, Err(OpenError::NodeName { .. })),
        "{unnamed:?}"
    );
    Ok(())
}

/// The directory is free when opening has failed, however long its threads take to end.
#[tokio::test]
async fn a_node_that_is_refused_has_released_its_directory() -> TestResult {
    let (cluster, other) = (Cluster::new()?, Cluster::new()?);
    let one = cluster.open("one").await?;
    one.add("a", 7).await?;
    let log = ClosesSlowly(cluster.log.handle());
    let namesake = other.builder("x").replicated(log).node("one");
    let namesake = namesake.open().await.map(|_| ());
    assert!(
        matches!(namesake, Err(OpenError::NodeNameTaken { .. })),
        "{namesake:?}"
    );
    let two = other.builder("x").replicated(cluster.log.handle());
    let log = cluster.log.handle();
    let store = two.node("two").open().await?;
    let two = Member { store, log };
    two.until_sum("a", 7).await;
    Ok(())
}

/// A log whose connection takes a while to end.
struct ClosesSlowly(SharedLog);

impl CommitLog for ClosesSlowly {
    fn describe(&self) -> String {
        self.0.describe()
    }

    fn open(&self) -> Result<(), LogError> {
        self.0.open()
    }

    fn max_entry_bytes(&self) -> usize {
        self.0.max_entry_bytes()
    }

    fn append(&self, after: u64, text: Arc<str>) -> Result<(), AppendError> {
        self.0.append(after, text)
    }

    fn read(&self, from: u64, max_bytes: usize) -> Result<Vec<Entry>, LogError> {
        self.0.read(from, max_bytes)
    }

    fn follow(&self) -> watch::Receiver<u64> {
        self.0.follow()
    }

    fn signal(&self, message: String) {
        self.0.signal(message);
    }

    fn signals(&self) -> broadcast::Receiver<String> {
        self.0.signals()
    }

    fn close(&self) {
        std::thread::sleep(Duration::from_millis(300));
    }
}

#[tokio::test]
async fn without_the_log_no_node_opens() -> TestResult {
    let cluster = Cluster::new()?;
    let log = cluster.log.handle();
    log.cut_off();
    let opened = cluster.builder("one").replicated(log).node("one");
    let opened = opened.open().await.map(|_| ());
    assert!(
        matches!(opened, Err(OpenError::LogUnavailable { .. })),
        "{opened:?}"
    );
    let Member { store, .. } = cluster.open("one").await?;
    assert_eq!(*store.role().borrow(), Role::Leader);
    Ok(())
}

/// Another application writes to the log, or a version that this one does not know.
#[tokio::test]
async fn a_foreign_entry_stops_a_node() -> TestResult {
    let entry = |cluster: &Cluster| cluster.log.texts().last().cloned().unwrap_or_default();
    let newer = |text: String| text.replace("\"format\":1", "\"format\":2");
    let again = |text: String| text;
    let foreign = |_| "{\"type\":\"greeting\"}\n".to_owned();
    let cut = |text: String| text.trim_end().to_owned();
    let changes: [fn(String) -> String; 4] = [newer, again, foreign, cut];
    for change in changes {
        let cluster = Cluster::new()?;
        let one = cluster.open("one").await?;
        one.add("a", 1).await?;
        one.store.close().await?;
        let before = cluster.log.texts().len() as u64;
        cluster.log.append(before, change(entry(&cluster)).into())?;
        let opened = cluster.open("one").await.map(|_| ());
        assert!(
            matches!(opened, Err(OpenError::LogUnusable { .. })),
            "{opened:?}"
        );
        let reason = opened
            .err()
            .map(|error| error.to_string())
            .unwrap_or_default();
        assert!(
            reason.contains(&format!("entry {}", before + 1)),
            "{reason}"
        );
    }
    Ok(())
}

/// A shop, and later the same with another aggregate.
mod programs {
    use eventfold_es::prelude::*;

    pub(super) use crate::common::counter::Counter;

    #[derive(Debug, Clone, Serialize, Deserialize)]
    pub(super) enum LampCommand {
        Switch,
    }

    #[derive(Debug, Clone, Serialize, Deserialize, DomainEvent)]
    #[serde(tag = "type", content = "data")]
    pub(super) enum LampEvent {
        Switched,
    }

    #[aggregate(error = std::convert::Infallible)]
    #[derive(Debug, Clone, Default, Serialize, Deserialize)]
    pub(super) struct Lamp;

    impl Decider for Lamp {
        fn decide(&self, _: LampCommand) -> Result<Vec<LampEvent>, std::convert::Infallible> {
            Ok(vec![LampEvent::Switched])
        }
        fn evolve(&mut self, _: &LampEvent) {}
    }

    #[event_store(aggregates = [Counter])]
    pub(super) struct Shop;

    #[event_store(aggregates = [Counter, Lamp])]
    pub(super) struct NewerShop;

    #[event_store(aggregates = [Lamp])]
    pub(super) struct House;
}

/// An operator mistakes the log of another program for that of this one.
#[tokio::test]
async fn the_log_of_another_program_is_refused() -> TestResult {
    use programs::{House, Lamp, LampCommand, NewerShop, Shop};

    let cluster = Cluster::new()?;
    let open = async |builder: AggregateStoreBuilder, name: &str| {
        let builder = builder.replicated(cluster.log.handle());
        builder.node(name).open().await
    };
    let is_refused = async || {
        let house = open(House::builder(cluster.path("house")), "house").await;
        match house.map(|_| ()) {
            Err(OpenError::LogUnusable { reason, .. }) => {
                let expected = "none of an aggregate that this program declares (lamp)";
                assert!(reason.contains(expected), "{reason}");
            }
            other => panic!("{other:?}"),
        }
    };
    let one = open(Shop::builder(cluster.path("one")), "one").await?;
    one.send("a", CounterCommand::Add(1), ()).await?;
    is_refused().await;
    one.close().await?;
    // Without a leader, it does not become the leader.
    let entries = cluster.log.texts().len();
    is_refused().await;
    assert_eq!(cluster.log.texts().len(), entries);

    // A newer version of the program declares more.
    let newer = open(NewerShop::builder(cluster.path("one")), "one").await?;
    newer.send("hall", LampCommand::Switch, ()).await?;
    assert_eq!(newer.list::<Lamp>().await?, ["hall"]);
    newer.close().await?;
    // Now the log has events of an aggregate that it declares.
    let house = open(House::builder(cluster.path("house")), "house").await?;
    house.close().await?;
    Ok(())
}
