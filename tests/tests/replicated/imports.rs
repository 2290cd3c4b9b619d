//! Imports on a node that is not the leader.

use eventfold_es::eventfold::{Event, EventWriter};
use eventfold_es::store::{ImportError, ImportOptions};
use eventfold_es_tests::TestResult;

use super::world::{Cluster, sent_to, until, until_follower_of};
use crate::common::counter::Counter;

#[tokio::test]
async fn only_the_leader_imports() -> TestResult {
    let tree = tempfile::tempdir()?;
    let mut log = EventWriter::open(tree.path().join("streams/counter/a"))?;
    log.append(&Event::new("Added", serde_json::json!(3)))?;
    drop(log);

    let cluster = Cluster::new();
    let (leader, _) = cluster.leader("one").await;
    let follower = cluster.node("two").0.open().await?;
    until_follower_of(&follower, "one").await;
    let options = ImportOptions::default;
    match follower.import_streams(tree.path(), options()).await {
        Err(ImportError::Store(error)) => {
            let leader = sent_to::<(), _>(Err(error));
            assert_eq!(leader.as_deref(), Some("`one` at http://one:8080"));
        }
        other => panic!("{other:?}"),
    }
    // A look at the logs changes nothing.
    let looked = follower.import_streams(tree.path(), options().dry_run());
    assert_eq!(looked.await?.events, 1);
    assert!(follower.read_all(0, usize::MAX).await?.is_empty());
    let imported = leader.import_streams(tree.path(), options());
    assert_eq!(imported.await?.events, 1);
    let a = follower.get::<Counter>("a").await?;
    until("the follower has it", || async {
        a.state().await.is_ok_and(|state| state.sum == 3)
    })
    .await;
    Ok(())
}
