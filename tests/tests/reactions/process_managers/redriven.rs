//! What an operator is told of dead letters that were handed over when another one ended the call.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use eventfold_es::RunMode;
use eventfold_es::prelude::*;
use eventfold_es_tests::TestResult;
use eventfold_es_tests::gate::GatedDisk;
use serde::Serializer;
use serde::ser::Error as _;

use crate::process_managers::domain::{Log, LogCommand, log_of};
use crate::process_managers::operator::{close, handle};
use crate::process_managers::worker::{Post, PostEvent, clock, refuse, say, with};

/// Sends what is refused until its log is open. It panics at poison until it is mended, and cannot be stored afterwards.
#[process_manager(subscribes = [Post], dispatches = [Log], on_failure)]
#[derive(Debug, Default, Serialize, Deserialize)]
struct Mixed {
    #[serde(serialize_with = "unless_it_is_spoilt")]
    is_spoilt: bool,
}

static IS_MENDED: AtomicBool = AtomicBool::new(false);

impl React<Post> for Mixed {
    fn react(&mut self, PostEvent::Said(said): &PostEvent, cx: &mut Reaction<'_, Self>) {
        if said == "poison" {
            assert!(IS_MENDED.load(SeqCst), "it is poison");
            self.is_spoilt = true;
        }
        cx.send("a", refuse(said));
    }
}

impl HandleFailure for Mixed {
    fn on_failure(&self, _: &Failure<'_>) -> FailureAction<Self> {
        FailureAction::DeadLetter
    }
}

fn unless_it_is_spoilt<S: Serializer>(is_spoilt: &bool, serializer: S) -> Result<S::Ok, S::Error> {
    match is_spoilt {
        true => Err(S::Error::custom("it is spoilt")),
        false => serializer.serialize_bool(false),
    }
}

/// The first letter is a command, which is handed over and not durable yet when the second one ends the call.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(eventfold_memory_journal, ignore = "it is about the disk")]
async fn what_was_handed_over_before_the_call_ended_counts() -> TestResult {
    let (base, disk) = (tempfile::tempdir()?, GatedDisk::default());
    let builder = AggregateStore::builder(base.path()).disk(Arc::new(disk.clone()));
    let store = with::<Mixed>(builder, &clock(), RunMode::Inline)
        .open()
        .await?;
    for words in ["one", "poison"] {
        say(&store, "a", words).await;
    }
    let mixed = handle::<Mixed>(&store);
    assert_eq!(mixed.dead_letters().await?.len(), 2);
    store.send("a", LogCommand::Open, ()).await?;
    IS_MENDED.store(true, SeqCst);
    disk.close();
    let redriving = tokio::spawn({
        let mixed = mixed.clone();
        async move { mixed.redrive_all().await }
    });
    tokio::task::block_in_place(|| disk.wait_for_sync());
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!redriving.is_finished(), "it is not known what is done");
    disk.open();
    let refused = redriving.await?.unwrap_err().to_string();
    assert!(
        refused.contains("1 were done and 0 failed again"),
        "{refused}"
    );
    assert_eq!(log_of(&store, "a").await, ["one"]);
    assert_eq!(mixed.dead_letters().await?.len(), 1);
    drop(mixed);
    close(store).await;
    Ok(())
}
