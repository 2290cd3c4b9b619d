//! States that are made again while events come, crashed at each operation on the disk: all of them are old ones, or all are new
//! ones, and each event is in its state once.

use eventfold_es::prelude::*;
use eventfold_es::{ProcessManagerHandle, RunMode};
use eventfold_es_tests::campaign::fewest;

use crate::process_managers::domain::{Log, log_of};
use crate::process_managers::interrupted::{interrupt, is_noted};
use crate::process_managers::worker::{Post, PostEvent, append, clock, said, say, with};

/// One program, for which each event has a weight.
macro_rules! weighing {
    ($name:ident, $weight:literal) => {
        #[process_manager(subscribes = [Post], dispatches = [Log], key = String, name = "weighing")]
        #[derive(Debug, Default, Serialize, Deserialize)]
        struct $name {
            weight: u64,
        }

        impl Correlate<Post> for $name {
            fn correlate(_event: &PostEvent, cx: &EventContext<'_>) -> Correlation<String> {
                Correlation::starts_or_continues(cx.stream_id().to_owned())
            }
        }

        impl React<Post> for $name {
            fn react(&mut self, event: &PostEvent, cx: &mut Reaction<'_, Self>) {
                let PostEvent::Said(said) = event;
                self.weight += $weight;
                cx.send(cx.key().clone(), append(said));
            }
        }
    };
}

weighing!(Light, 1);
weighing!(Heavy, 100);

fn handle(store: &AggregateStore) -> ProcessManagerHandle<Heavy> {
    store.process_manager().unwrap()
}

async fn weight(store: &AggregateStore, key: &str) -> u64 {
    let instance = handle(store).instance(key).await.unwrap();
    instance.map_or(0, |instance| {
        let state: Heavy = serde_json::from_str(&instance.state.unwrap()).unwrap();
        state.weight
    })
}

const BEFORE: [(&str, u64); 3] = [("a", 2), ("b", 1), ("c", 0)];

#[tokio::test]
#[cfg_attr(eventfold_memory_journal, ignore = "it is about the disk")]
async fn a_rebuild_while_events_come_is_there_wholly_or_not_at_all() {
    let points = interrupt(
        async |builder| {
            let store = with::<Light>(builder, &clock(), RunMode::Inline);
            let store = store.open().await.unwrap();
            for post in ["a", "b", "a"] {
                say(&store, post, "before").await;
            }
            store.close().await.unwrap();
        },
        async |builder, notes| {
            let store = with::<Heavy>(builder, &clock(), RunMode::Inline);
            let store = store.open().await.unwrap();
            let heavy = handle(&store);
            let telling = async {
                for post in ["a", "c", "a", "c"] {
                    say(&store, post, "meanwhile").await;
                }
                notes.note("told");
            };
            let rebuilding = async {
                tokio::task::yield_now().await;
                heavy.rebuild_state().await.unwrap();
                notes.note("rebuilt");
            };
            tokio::join!(telling, rebuilding);
            drop(heavy);
            store.close().await.unwrap();
        },
        async |disk, noted| {
            let store = with::<Heavy>(disk.builder(), &clock(), RunMode::Inline);
            let store = store.open().await.unwrap();
            store.run_process_managers().await.unwrap();
            handle(&store).settle().await.unwrap();
            let (mut old, mut new, mut found) = (Vec::new(), Vec::new(), Vec::new());
            for (post, before) in BEFORE {
                let told = said(&store, post).await;
                assert_eq!(log_of(&store, post).await, told);
                let told = told.len() as u64;
                old.push(before + 100 * (told - before));
                new.push(100 * told);
                found.push(weight(&store, post).await);
            }
            assert!(
                found == old || found == new,
                "{found:?}, not {old:?} or {new:?}"
            );
            if is_noted(noted, "rebuilt") {
                assert_eq!(found, new);
            }
            // Asked for again, it is done.
            handle(&store).rebuild_state().await.unwrap();
            for ((post, _), new) in BEFORE.into_iter().zip(new) {
                assert_eq!(weight(&store, post).await, new);
            }
            assert!(store.verify().await.unwrap().differences.is_empty());
            store.close().await.unwrap();
        },
    );
    assert!(points.await >= fewest());
}
