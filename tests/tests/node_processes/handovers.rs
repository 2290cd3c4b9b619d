//! Nodes of one process. Their leader is closed again and again, as for a new version of the program.

use std::path::Path;
use std::time::{Duration, Instant};

use eventfold_es::AggregateStore;
use eventfold_es::prelude::*;
use eventfold_es::replication::{CommitLog, Role};
use eventfold_es::store::NodeHealth;
use tokio::time::sleep;

const NAMES: [&str; 3] = ["one", "two", "three"];
/// No test waits for so long.
const FOREVER: Duration = Duration::from_secs(600);

#[derive(Debug, Clone, Serialize, Deserialize)]
struct TallyCommand;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
enum TallyEvent {
    Added,
}

#[aggregate(error = std::convert::Infallible)]
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Tally {
    count: u64,
}

impl Decider for Tally {
    fn decide(&self, _: TallyCommand) -> Result<Vec<TallyEvent>, std::convert::Infallible> {
        Ok(vec![TallyEvent::Added])
    }

    fn evolve(&mut self, _: &TallyEvent) {
        self.count += 1;
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct CopiesCommand;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
enum CopiesEvent {
    Copied,
}

#[aggregate(error = std::convert::Infallible)]
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Copies {
    count: u64,
}

impl Decider for Copies {
    fn decide(&self, _: CopiesCommand) -> Result<Vec<CopiesEvent>, std::convert::Infallible> {
        Ok(vec![CopiesEvent::Copied])
    }

    fn evolve(&mut self, _: &CopiesEvent) {
        self.count += 1;
    }
}

/// Copies each event once.
#[process_manager(subscribes = [Tally], dispatches = [Copies])]
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Copyist;

impl React<Tally> for Copyist {
    fn react(&mut self, _: &TallyEvent, cx: &mut Reaction<'_, Self>) {
        cx.send("all", CopiesCommand);
    }
}

async fn open(base: &Path, name: &str, log: impl CommitLog) -> AggregateStore {
    AggregateStore::builder(base.join(name))
        .aggregate_type::<Tally>()
        .process_manager::<Copyist>()
        .leader_patience(FOREVER)
        .outcome_patience(FOREVER)
        .replicated(log)
        .node(name)
        .open()
        .await
        .expect("it opens")
}

async fn figures(store: &AggregateStore) -> NodeHealth {
    store.health().await.node.expect("it is a node")
}

/// Waits for the next leader among the nodes, and returns its number.
async fn leader_of(nodes: &[Option<AggregateStore>; 3]) -> usize {
    loop {
        let leads = |node: &Option<AggregateStore>| {
            let role = node.as_ref().map(|node| node.role().borrow().clone());
            role.is_some_and(|role| role.is_leader())
        };
        if let Some(leader) = nodes.iter().position(leads) {
            return leader;
        }
        sleep(Duration::from_millis(1)).await;
    }
}

/// Closes the leader so often, and prints the times from the beginning of `close` to the first acknowledged command of the next leader. Each
/// time the next leader claims because the former one has closed, and not because it was silent.
pub async fn check<L: CommitLog>(what: &str, closes: usize, log: impl Fn() -> L) {
    let base = tempfile::tempdir().expect("a directory");
    let mut nodes = [None, None, None];
    for (node, name) in nodes.iter_mut().zip(NAMES) {
        *node = Some(open(base.path(), name, log()).await);
    }
    let mut times = Vec::new();
    let mut sent = 0;
    for _ in 0..closes {
        let leader = leader_of(&nodes).await;
        for node in nodes.iter().flatten() {
            let knows = |role: &Role| !matches!(role, Role::Follower { leader: None });
            node.role().wait_for(knows).await.expect("it is open");
            for _ in 0..3 {
                node.send("a", TallyCommand, ())
                    .await
                    .expect("it is executed");
                sent += 1;
            }
        }
        let before: Vec<_> = {
            let mut before = Vec::new();
            for node in nodes.iter().flatten() {
                before.push(figures(node).await);
            }
            before
        };
        let closing = nodes[leader].take().expect("it is open");
        let begun = Instant::now();
        let closing = tokio::spawn(closing.close());
        let next = leader_of(&nodes).await;
        let node = nodes[next].as_ref().expect("it is open");
        node.send("a", TallyCommand, ())
            .await
            .expect("it is executed");
        sent += 1;
        times.push(begun.elapsed());
        closing.await.expect("it ends").expect("it closes");
        let of = |name: &str| before.iter().find(|node| node.name == name);
        let after = figures(node).await;
        let before = of(&after.name).expect("it was open");
        assert_eq!(
            (after.claims, after.handovers),
            (before.claims + 1, before.handovers + 1),
            "{what}: the next leader has waited for a silence"
        );
        nodes[leader] = Some(open(base.path(), NAMES[leader], log()).await);
    }
    times.sort_unstable();
    let median = times.get(times.len() / 2).copied().unwrap_or_default();
    let most = times.last().copied().unwrap_or_default();
    println!("{what}: {closes} closes, p50 {median:?}, at most {most:?}");
    let leader = leader_of(&nodes).await;
    let store = nodes[leader].as_ref().expect("it is open");
    let tally = store.get::<Tally>("a").await.expect("an id");
    let copies = store.get::<Copies>("all").await.expect("an id");
    assert_eq!(tally.state().await.expect("it is readable").count, sent);
    while copies.state().await.expect("it is readable").count < sent {
        sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(copies.state().await.expect("it is readable").count, sent);
}

/// The number of closes in this run.
pub fn closes() -> usize {
    let asked = std::env::var("EVENTFOLD_NODE_CLOSES").ok();
    asked.and_then(|closes| closes.parse().ok()).unwrap_or(6)
}
