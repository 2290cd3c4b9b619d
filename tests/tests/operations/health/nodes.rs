//! The lines of a node of a replicated store.

use eventfold_es::prelude::*;
use eventfold_es::testing::SharedLog;
use eventfold_es_tests::TestResult;
use tracing::Level;

use super::logged::eventually;
use super::{DoorCommand, ParcelCommand};
use crate::collector::{Collector, Told};

/// Waits for a line of a node.
async fn told(node: &str, with: &str) -> Told {
    let node = format!("node=\"{node}\"");
    eventually(&[with, &node]).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_tells_each_change_of_its_role() -> TestResult {
    Collector::global();
    let base = tempfile::tempdir()?;
    let log = SharedLog::new();
    let node = |name: &str, log: &SharedLog| {
        let builder = AggregateStore::builder(base.path().join(name));
        let builder = builder.aggregate_type::<super::Door>();
        builder.replicated(log.clone()).node(name)
    };
    let ants = node("ants", &log).open().await?;
    let leads = told("ants", "this node is the leader").await;
    assert_eq!(leads.level, Level::INFO);
    assert!(leads.text.contains("term=1"), "{leads:?}");
    let bees = node("bees", &log.handle()).open().await?;
    let follows = told("bees", "this node follows the leader").await;
    assert!(follows.text.contains("`ants`"), "{follows:?}");

    // Its type is not registered, so it is not forwarded. The other command is, and the log refuses it.
    let parcel = ParcelCommand::Send {
        to: "bees".to_owned(),
        how: super::How::Well,
    };
    assert!(bees.send("p", parcel, ()).await.is_err());
    let large = CommandContext::default().with_actor("x".repeat(2 << 20));
    assert!(bees.send("d", DoorCommand::Knock, large).await.is_err());
    let refused = eventually(&["a command of this node was not executed by the leader"]).await;
    assert_eq!(refused.level, Level::WARN);
    assert!(refused.text.contains("is the maximum"), "{refused:?}");

    log.cut_off();
    let lost = told("ants", "this node is no longer the leader: it is cut off").await;
    assert_eq!(lost.level, Level::WARN);
    assert!(lost.text.contains("the node is cut off"), "{lost:?}");
    told("bees", "this node is the leader").await;
    log.reconnect();
    told("ants", "this node is no longer cut off from the log").await;
    let follows = told("ants", "this node follows the leader").await;
    assert!(follows.text.contains("`bees`"), "{follows:?}");

    bees.close().await?;
    told("bees", "this node hands the leadership over").await;
    ants.close().await?;
    Ok(())
}
