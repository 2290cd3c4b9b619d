//! Without `key`, a state that cannot be read: the store is refused, or opened with the process manager parked, until the state is made
//! again.

use eventfold_es::StoredState;
use eventfold_es::prelude::*;
use eventfold_es::store::AggregateStoreBuilder;
use eventfold_es::testing::MemoryDisk;
use eventfold_es::{
    MigrationError, OpenError, ProcessManagerHandle, Reactions, RunMode, StoreError,
};
use eventfold_es_tests::campaign::fewest;

use crate::process_managers::domain::{Log, LogCommand, log_of};
use crate::process_managers::interrupted::{interrupt, is_noted};
use crate::process_managers::worker::{
    Mended, Post, PostEvent, append, clock, refuse, say, with, words,
};

/// Versions of one process manager, which remember what was said in different ways, and tell how much that is.
macro_rules! listener {
    ($name:ident { $field:ident : $ty:ty } $(version $version:literal)?, $count:expr) => {
        #[process_manager(subscribes = [Post], dispatches = [Log], name = "listener" $(, state_version = $version)?)]
        #[derive(Debug, Default, Serialize, Deserialize)]
        struct $name {
            $field: $ty,
        }

        impl React<Post> for $name {
            fn react(&mut self, PostEvent::Said(said): &PostEvent, cx: &mut Reaction<'_, Self>) {
                let count: fn(&mut Self, &str) -> usize = $count;
                let count = count(self, said);
                match words(said) {
                    ("refuse", tag) => cx.send("listener", refuse(tag)),
                    _ => cx.send("listener", append(&format!("{said}: {count}"))),
                }
            }
        }
    };
}

listener!(First { heard: usize }, |state, _| {
    state.heard += 1;
    state.heard
});
listener!(Retyped { heard: Vec<String> }, |state, said| {
    state.heard.push(said.to_owned());
    state.heard.len() * 10
});
// What the first version has stored reads as one of these, and means something else.
listener!(Refusing { heard: usize } version 2, |state, said| {
    state.heard += said.len();
    state.heard
});

impl MigrateState for Refusing {
    fn migrate(_state: StoredState<'_>) -> Result<Self, MigrationError> {
        Err(MigrationError::Other(
            "nobody has counted letters".to_owned(),
        ))
    }
}

fn parking<PM: ProcessManager>(builder: AggregateStoreBuilder) -> AggregateStoreBuilder {
    with::<PM>(builder, &clock(), RunMode::Inline)
        .process_manager::<Mended>()
        .park_unreadable_states(true)
}

fn handle<PM: ProcessManager>(store: &AggregateStore) -> ProcessManagerHandle<PM> {
    store.process_manager::<PM>().unwrap()
}

/// Two words, and a dead letter.
async fn first(builder: AggregateStoreBuilder) {
    let store = with::<First>(builder, &clock(), RunMode::Inline);
    let store = store.open().await.unwrap();
    for said in ["one", "refuse this"] {
        say(&store, "a", said).await;
    }
    store.close().await.unwrap();
}

async fn is_parked<PM: ProcessManager>(store: &AggregateStore, why: &str) {
    let parked = handle::<PM>(store).status().await.unwrap().parked_at;
    let parked = parked.expect("its state cannot be read");
    for part in [why, "`rebuild_state()`"] {
        assert!(parked.reason.contains(part), "{}", parked.reason);
    }
}

/// Nothing of it is lost by whatever is tried, and everything else runs.
async fn it_is_parked_and_kept<PM: ProcessManager>(why: &str) {
    let disk = MemoryDisk::new();
    first(disk.builder()).await;
    let refused = with::<PM>(disk.builder(), &clock(), RunMode::Inline).open();
    let refused = refused.await.unwrap_err();
    assert!(
        matches!(refused, OpenError::ProcessManagerState { .. }),
        "{refused:?}"
    );
    assert!(
        refused
            .to_string()
            .contains("`park_unreadable_states(true)`"),
        "{refused}"
    );

    let store = parking::<PM>(disk.builder()).open().await.unwrap();
    store.run_process_managers().await.unwrap();
    say(&store, "a", "two").await;
    is_parked::<PM>(&store, why).await;
    assert_eq!(
        log_of(&store, "a").await.last().unwrap(),
        "two",
        "the others react"
    );
    let listener = handle::<PM>(&store);
    assert_eq!(listener.retry().await.unwrap().done, 1);
    store.run_process_managers().await.unwrap();
    let refusals = [
        listener.skip().await.map(drop),
        listener.redrive_all().await.map(drop),
    ];
    for refusal in refusals {
        assert!(
            matches!(refusal, Err(StoreError::Refused { .. })),
            "{refusal:?}"
        );
    }
    listener.settle().await.unwrap();
    listener.pause().await.unwrap();
    listener.resume().await.unwrap();
    is_parked::<PM>(&store, why).await;
    assert_eq!(log_of(&store, "listener").await, ["one: 1"]);
    assert_eq!(listener.dead_letters().await.unwrap().len(), 1);
    assert!(store.verify().await.unwrap().differences.is_empty());
    drop(listener);
    store.close().await.unwrap();

    // The program that can read it goes on where it was.
    let store = with::<First>(disk.builder(), &clock(), RunMode::Inline);
    let store = store.open().await.unwrap();
    say(&store, "a", "three").await;
    assert_eq!(
        log_of(&store, "listener").await,
        ["one: 1", "two: 3", "three: 4"]
    );
    store.close().await.unwrap();
}

#[tokio::test]
async fn what_cannot_be_read_is_parked_and_kept() {
    it_is_parked_and_kept::<Retyped>("invalid type").await;
    it_is_parked_and_kept::<Refusing>("nobody has counted letters").await;
}

/// Made again, it goes on at once, and needs no permission to open any more.
async fn it_goes_on_when_it_is_made_again<PM: ProcessManager>(counts: [usize; 3]) {
    let points = interrupt(
        first,
        async |builder, notes| {
            let store = parking::<PM>(builder).open().await.unwrap();
            say(&store, "a", "two").await;
            let rebuilt = handle::<PM>(&store).rebuild_state().await.unwrap();
            notes.note("rebuilt");
            assert_eq!((rebuilt.events, rebuilt.reactions), (2, Reactions::Done));
            assert_eq!(handle::<PM>(&store).status().await.unwrap().parked_at, None);
            let two = format!("two: {}", counts[0]);
            assert_eq!(log_of(&store, "listener").await, ["one: 1", &two]);
            store.close().await.unwrap();
        },
        async |disk, noted| {
            if is_noted(noted, "rebuilt") {
                let store = with::<PM>(disk.builder(), &clock(), RunMode::Inline);
                store.open().await.unwrap().close().await.unwrap();
            }
            let store = parking::<PM>(disk.builder()).open().await.unwrap();
            store.run_process_managers().await.unwrap();
            let listener = handle::<PM>(&store);
            if listener.status().await.unwrap().parked_at.is_some() {
                assert_eq!(log_of(&store, "listener").await, ["one: 1"]);
                listener.rebuild_state().await.unwrap();
            }
            say(&store, "a", "three").await;
            let log = log_of(&store, "listener").await;
            let expected = match log.len() {
                2 => vec!["one: 1".to_owned(), format!("three: {}", counts[1])],
                _ => vec![
                    "one: 1".to_owned(),
                    format!("two: {}", counts[0]),
                    format!("three: {}", counts[2]),
                ],
            };
            assert_eq!(log, expected);
            let open = store.send("listener", LogCommand::Open, CommandContext::default());
            open.await.unwrap();
            assert_eq!(listener.redrive_all().await.unwrap().done, 1);
            assert!(store.verify().await.unwrap().differences.is_empty());
            drop(listener);
            store.close().await.unwrap();
            // The first version knows nothing of it.
            let older = with::<First>(disk.builder(), &clock(), RunMode::Inline).open();
            let refused = older.await.unwrap_err();
            assert!(
                matches!(refused, OpenError::ProcessManagerState { .. }),
                "{refused:?}"
            );
        },
    );
    assert!(points.await >= fewest());
}

#[tokio::test]
#[cfg_attr(eventfold_memory_journal, ignore = "it is about the disk")]
async fn what_cannot_be_read_goes_on_when_it_is_made_again() {
    it_goes_on_when_it_is_made_again::<Retyped>([30, 30, 40]).await;
    it_goes_on_when_it_is_made_again::<Refusing>([17, 19, 22]).await;
}
