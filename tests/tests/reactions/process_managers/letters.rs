//! Dead letters of events and deadlines that are redriven while their instance is parked.

use eventfold_es::prelude::*;
use eventfold_es::testing::MemoryDisk;
use eventfold_es::{ProcessManagerHandle, RunMode};

use crate::process_managers::domain::log_of;
use crate::process_managers::worker::{BrokenReaction, Mended, TIME, clock, say, with};

fn handle<PM: ProcessManager>(store: &AggregateStore) -> ProcessManagerHandle<PM> {
    store.process_manager::<PM>().unwrap()
}

async fn held(store: &AggregateStore) -> Option<u64> {
    let parked = handle::<BrokenReaction>(store).parked().await.unwrap();
    parked.first().map(|parked| parked.held)
}

/// An event takes its place among those that are held: what came later in its stream comes later again.
#[tokio::test]
async fn an_event_is_held_in_its_place_among_the_others() {
    let (disk, time) = (MemoryDisk::new(), clock());
    let store = with::<BrokenReaction>(disk.builder(), &time, RunMode::Inline);
    let store = store.open().await.unwrap();
    for said in ["one", "poison letter 1", "poison", "two", "poison letter 2"] {
        say(&store, "a", said).await;
    }
    let worker = handle::<BrokenReaction>(&store);
    assert_eq!(
        held(&store).await,
        Some(3),
        "the second one is held, and no letter yet"
    );
    assert_eq!(worker.dead_letters().await.unwrap().len(), 1);
    assert_eq!(worker.redrive_all().await.unwrap().done, 1);
    assert_eq!(worker.dead_letters().await.unwrap(), []);
    assert_eq!(held(&store).await, Some(4));
    assert_eq!(log_of(&store, "a").await, ["one"]);
    drop(worker);
    store.close().await.unwrap();
    let store = with::<Mended>(disk.builder(), &time, RunMode::Inline);
    let store = store.open().await.unwrap();
    let worker = handle::<Mended>(&store);
    // What is held is owed: it is in no state that is made again.
    worker.rebuild_state().await.unwrap();
    let state = worker.instance("a").await.unwrap().unwrap().state;
    assert_eq!(state.as_deref(), Some(r#"{"seen":1}"#));
    assert_eq!(worker.release("a").await.unwrap().done, 4);
    assert_eq!(
        log_of(&store, "a").await,
        ["one", "letter 1 cured", "cured", "two", "letter 2 cured"]
    );
    assert!(store.verify().await.unwrap().differences.is_empty());
    drop(worker);
    store.close().await.unwrap();
}

/// A deadline would take the name of the one that is armed now: it stays a letter until its instance goes on.
#[tokio::test]
async fn a_deadline_stays_a_letter_while_its_instance_is_parked() {
    let (disk, time) = (MemoryDisk::new(), clock());
    let store = with::<BrokenReaction>(disk.builder(), &time, RunMode::Inline);
    let store = store.open().await.unwrap();
    say(&store, "a", "arm poison letter").await;
    time.advance(TIME);
    store.run_process_managers().await.unwrap();
    let worker = handle::<BrokenReaction>(&store);
    assert_eq!(worker.dead_letters().await.unwrap().len(), 1);
    for said in ["arm other", "poison"] {
        say(&store, "a", said).await;
    }
    for _ in 0..2 {
        let redriven = worker.redrive_all().await.unwrap();
        assert_eq!((redriven.done, redriven.failed), (0, 1));
    }
    let letters = worker.dead_letters().await.unwrap();
    assert_eq!((letters.len(), letters[0].attempts.len()), (1, 1));
    assert_eq!(held(&store).await, Some(1));
    assert_eq!(
        worker.instance("a").await.unwrap().unwrap().deadlines.len(),
        1
    );
    drop(worker);
    store.close().await.unwrap();
    let store = with::<Mended>(disk.builder(), &time, RunMode::Inline);
    let store = store.open().await.unwrap();
    let worker = handle::<Mended>(&store);
    assert_eq!(worker.redrive_all().await.unwrap().failed, 1);
    assert_eq!(worker.release("a").await.unwrap().done, 1);
    assert_eq!(worker.redrive_all().await.unwrap().done, 1);
    assert_eq!(worker.dead_letters().await.unwrap(), []);
    // The one that was armed meanwhile is still there.
    time.advance(TIME);
    store.run_process_managers().await.unwrap();
    assert_eq!(
        log_of(&store, "a").await,
        ["cured", "poison letter", "other"]
    );
    assert!(store.verify().await.unwrap().differences.is_empty());
    drop(worker);
    store.close().await.unwrap();
}
