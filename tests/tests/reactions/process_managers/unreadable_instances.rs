//! Instances that are parked for another reason, when a program comes that cannot read their states: none of the ways out loses them.

use eventfold_es::StoredState;
use eventfold_es::prelude::*;
use eventfold_es::testing::MemoryDisk;
use eventfold_es::{Backoff, MigrationError, ProcessManagerHandle, RunMode};

use crate::process_managers::domain::{Log, log_of};
use crate::process_managers::worker::{Post, PostEvent, TIME, append, clock, say, with, words};

/// Versions of one process manager, of which the first is broken.
macro_rules! reader {
    ($name:ident { $field:ident : $ty:ty } $(version $version:literal)?, $is_broken:literal, $count:expr) => {
        #[process_manager(subscribes = [Post], dispatches = [Log], key = String, name = "reader", on_failure $(, state_version = $version)?)]
        #[derive(Debug, Default, Serialize, Deserialize)]
        struct $name {
            $field: $ty,
        }

        impl Correlate<Post> for $name {
            fn correlate(_event: &PostEvent, cx: &EventContext<'_>) -> Correlation<String> {
                Correlation::starts_or_continues(cx.stream_id().to_owned())
            }
        }

        impl React<Post> for $name {
            fn react(&mut self, PostEvent::Said(said): &PostEvent, cx: &mut Reaction<'_, Self>) {
                let count: fn(&mut Self) -> usize = $count;
                let count = count(self);
                assert!(!$is_broken || words(said).0 != "poison", "{said}");
                cx.send(cx.key().clone(), append(&format!("{said}: {count}")));
            }
        }

        impl HandleFailure for $name {
            fn on_failure(&self, failure: &Failure<'_>) -> FailureAction<Self> {
                match failure.cause.to_string().contains("poison later") {
                    true => FailureAction::Retry(Backoff::exponential(TIME).jitter(0.0)),
                    false => FailureAction::default_for(failure),
                }
            }
        }
    };
}

reader!(Broken { read: usize }, true, |state| {
    state.read += 1;
    state.read
});
reader!(Retyped { read: Vec<String> }, false, |state| state.read.len());
reader!(Mended { lines: usize } version 2, false, |state| {
    state.lines += 1;
    state.lines
});

impl MigrateState for Mended {
    fn migrate(state: StoredState<'_>) -> Result<Self, MigrationError> {
        let Broken { read } = state.decode()?;
        Ok(Self { lines: read })
    }
}

fn handle<PM: ProcessManager>(store: &AggregateStore) -> ProcessManagerHandle<PM> {
    store.process_manager::<PM>().unwrap()
}

/// It is parked, says that it is the state, holds what it held, and waits for somebody.
async fn stays(store: &AggregateStore, held: u64) {
    let parked = handle::<Retyped>(store).parked().await.unwrap();
    let [parked] = &parked[..] else {
        panic!("{parked:?}");
    };
    assert_eq!((parked.held, parked.retries_at), (held, None));
    assert!(parked.parked.reason.contains("invalid type"), "{parked:?}");
    let status = handle::<Retyped>(store).status().await.unwrap();
    assert_eq!((status.retrying, status.instances.parked), (0, 1));
    assert_eq!(log_of(store, "a").await, ["one: 1"]);
}

#[tokio::test]
async fn neither_a_release_nor_a_discard_loses_what_cannot_be_read() {
    for poison in ["poison", "poison later"] {
        let (disk, time) = (MemoryDisk::new(), clock());
        let store = with::<Broken>(disk.builder(), &time, RunMode::Inline);
        let store = store.open().await.unwrap();
        for said in ["one", poison, "two"] {
            say(&store, "a", said).await;
        }
        store.close().await.unwrap();

        let store = with::<Retyped>(disk.builder(), &time, RunMode::Inline);
        let store = store.open().await.unwrap();
        let reader = handle::<Retyped>(&store);
        assert_eq!(reader.discard_parked("a").await.unwrap().done, 0);
        assert_eq!(reader.parked().await.unwrap()[0].held, 2);
        // By itself, when its time has come, or because somebody asks for it.
        match poison {
            "poison" => assert_eq!(reader.release("a").await.unwrap().done, 0),
            _ => {
                time.advance(TIME);
                store.run_process_managers().await.unwrap();
            }
        }
        stays(&store, 2).await;
        say(&store, "a", "three").await;
        stays(&store, 3).await;
        assert_eq!(reader.discard_parked("a").await.unwrap().done, 0);
        assert_eq!(reader.release("a").await.unwrap().done, 0);
        stays(&store, 3).await;
        // Others go on.
        say(&store, "b", "one").await;
        assert_eq!(log_of(&store, "b").await, ["one: 0"]);
        drop(reader);
        store.close().await.unwrap();

        let store = with::<Mended>(disk.builder(), &time, RunMode::Inline);
        let store = store.open().await.unwrap();
        assert_eq!(handle::<Mended>(&store).release("a").await.unwrap().done, 3);
        let cured = format!("{poison}: 2");
        assert_eq!(
            log_of(&store, "a").await,
            ["one: 1", &cured, "two: 3", "three: 4"]
        );
        assert!(store.verify().await.unwrap().differences.is_empty());
        store.close().await.unwrap();
    }
}
