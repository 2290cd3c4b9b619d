//! What a parked instance holds, when it is released: in which order, by which program, and for whom.

use eventfold_es::prelude::*;
use eventfold_es::testing::MemoryDisk;
use eventfold_es::{ProcessManagerHandle, RunMode};

use crate::process_managers::domain::log_of;
use crate::process_managers::worker::{
    BrokenCorrelation, BrokenReaction, Mended, clock, say, with,
};

async fn opened<PM: ProcessManager>(disk: &MemoryDisk) -> AggregateStore {
    let opened = with::<PM>(disk.builder(), &clock(), RunMode::Inline).open();
    opened.await.unwrap()
}

fn handle<PM: ProcessManager>(store: &AggregateStore) -> ProcessManagerHandle<PM> {
    store.process_manager::<PM>().unwrap()
}

/// What comes behind the end of an instance that is released, and cannot be correlated any more, holds its stream: what comes behind
/// it waits, wherever it was held.
#[tokio::test]
async fn what_nobody_can_claim_any_more_holds_what_comes_behind_it() {
    for is_held_before in [false, true] {
        let disk = MemoryDisk::new();
        let store = opened::<BrokenReaction>(&disk).await;
        for words in ["one", "poison", "ends", "unreadable 1", "two"] {
            say(&store, "a", words).await;
        }
        store.close().await.unwrap();
        let store = opened::<BrokenCorrelation>(&disk).await;
        let worker = handle::<BrokenCorrelation>(&store);
        let mut held = 2;
        if is_held_before {
            for words in ["unreadable 2", "three"] {
                say(&store, "a", words).await;
            }
            held += 2;
        }
        worker.release("a").await.unwrap();
        assert_eq!(log_of(&store, "a").await, ["one", "cured", "end"]);
        let parked = worker.parked().await.unwrap();
        let [parked] = &parked[..] else {
            panic!("{parked:?}");
        };
        assert_eq!((&parked.instance, parked.held), (&None, held));
        // One that can be correlated waits behind it, too.
        say(&store, "a", "four").await;
        assert_eq!(worker.release_stream("post", "a").await.unwrap().done, 0);
        drop(worker);
        store.close().await.unwrap();
        let store = opened::<Mended>(&disk).await;
        let worker = handle::<Mended>(&store);
        worker.release_stream("post", "a").await.unwrap();
        let mut expected = vec!["one", "cured", "end", "unreadable 1", "two"];
        if is_held_before {
            expected.extend(["unreadable 2", "three"]);
        }
        expected.push("four");
        assert_eq!(log_of(&store, "a").await, expected);
        assert_eq!(worker.parked().await.unwrap(), []);
        assert!(store.verify().await.unwrap().differences.is_empty());
        drop(worker);
        store.close().await.unwrap();
    }
}
