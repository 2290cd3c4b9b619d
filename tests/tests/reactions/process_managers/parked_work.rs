//! What is parked is released or discarded, interrupted at each operation on the disk: that took effect wholly or not at all, what was
//! answered is durable, asking again completes it, exactly once, and what failed meanwhile is kept.

use eventfold_es::RunMode;
use eventfold_es::store::InstanceStatus;
use eventfold_es_tests::campaign::fewest;

use crate::process_managers::domain::log_of;
use crate::process_managers::interrupted::{interrupt, is_noted};
use crate::process_managers::operator::{
    close, handle, held, opened, started, status_of, verified,
};
use crate::process_managers::worker::{Broken, Mended, TIME, clock, said, say, with};

/// Parks `a` with four events and a deadline, of which the last but one ends the instance.
async fn park(builder: eventfold_es::store::AggregateStoreBuilder) {
    let clock = clock();
    let store = with::<Broken>(builder, &clock, RunMode::Inline)
        .open()
        .await
        .unwrap();
    for words in ["arm due", "one", "poison", "two"] {
        say(&store, "a", words).await;
    }
    clock.advance(TIME);
    store.run_process_managers().await.unwrap();
    for words in ["three", "ends", "four"] {
        say(&store, "a", words).await;
    }
    assert_eq!(held::<Broken>(&store).await, [("a".to_owned(), 6)]);
    assert_eq!(log_of(&store, "a").await, ["one"]);
    close(store).await;
}

const RELEASED: [&str; 7] = ["one", "cured", "two", "due", "three", "end", "four"];

#[tokio::test]
#[cfg_attr(eventfold_memory_journal, ignore = "it is about the disk")]
async fn a_release_goes_on_where_it_was_interrupted() {
    let points = interrupt(
        park,
        async |builder, notes| {
            let store = started::<Mended>(builder).await;
            let worker = handle::<Mended>(&store);
            // Another one is told something meanwhile, and fails.
            let telling = async {
                say(&store, "b", "refuse park").await;
                notes.note("b");
            };
            notes.note("releasing");
            let (released, ()) = tokio::join!(worker.release("a"), telling);
            assert_eq!(released.unwrap().done, 6);
            notes.note("released");
            close(store).await;
        },
        async |disk, noted| {
            let store = opened::<Mended>(&disk, RunMode::Inline).await;
            store.run_process_managers().await.unwrap();
            let worker = handle::<Mended>(&store);
            let log = log_of(&store, "a").await;
            assert!(RELEASED.starts_with(&log.iter().map(|tag| &**tag).collect::<Vec<_>>()));
            if is_noted(noted, "released") {
                assert_eq!(log, RELEASED);
            }
            let parked = held::<Mended>(&store).await;
            if log.len() > 1 {
                // Once it has begun, it goes on by itself.
                assert_eq!(log, RELEASED);
                assert!(parked.iter().all(|(key, _)| key != "a"), "{parked:?}");
            } else {
                assert!(parked.contains(&("a".to_owned(), 6)), "{parked:?}");
            }
            worker.release("a").await.unwrap();
            worker.release("a").await.unwrap();
            assert_eq!(log_of(&store, "a").await, RELEASED);
            assert_eq!(status_of::<Mended>(&store, "a").await, InstanceStatus::Open);
            let instance = worker.instance("a").await.unwrap().unwrap();
            assert_eq!((instance.generation, instance.deadlines), (2, Vec::new()));
            // What failed meanwhile is kept.
            let told = said(&store, "b").await.len();
            assert!(told == 1 || !is_noted(noted, "b"));
            let expected = [("b".to_owned(), 1)];
            assert_eq!(held::<Mended>(&store).await, expected[..told]);
            say(&store, "a", "five").await;
            assert_eq!(log_of(&store, "a").await.last().unwrap(), "five");
            verified(store).await;
        },
    );
    assert!(points.await >= fewest());
}

#[tokio::test]
#[cfg_attr(eventfold_memory_journal, ignore = "it is about the disk")]
async fn what_is_parked_is_discarded_wholly_or_not_at_all() {
    let points = interrupt(
        park,
        async |builder, notes| {
            let store = started::<Broken>(builder).await;
            let discarded = handle::<Broken>(&store).discard_parked("a").await;
            assert_eq!(discarded.unwrap().done, 6);
            notes.note("discarded");
            say(&store, "a", "five").await;
            close(store).await;
        },
        async |disk, noted| {
            let store = opened::<Broken>(&disk, RunMode::Inline).await;
            store.run_process_managers().await.unwrap();
            let parked = held::<Broken>(&store).await;
            let five = usize::from(said(&store, "a").await.contains(&"five".to_owned()));
            if is_noted(noted, "discarded") {
                assert_eq!(parked, []);
            }
            assert!(
                parked.is_empty() || parked == [("a".to_owned(), 6)],
                "{parked:?}"
            );
            let worker = handle::<Broken>(&store);
            worker.discard_parked("a").await.unwrap();
            assert_eq!(worker.discard_parked("a").await.unwrap().done, 0);
            assert_eq!(held::<Broken>(&store).await, []);
            assert_eq!(log_of(&store, "a").await, ["one", "five"][..1 + five]);
            let instance = worker.instance("a").await.unwrap().unwrap();
            assert_eq!(instance.status, InstanceStatus::Open);
            assert_eq!(instance.deadlines, [], "what was due is discarded, too");
            say(&store, "a", "six").await;
            assert_eq!(log_of(&store, "a").await.len(), 2 + five);
            verified(store).await;
        },
    );
    assert!(points.await >= fewest());
}

/// Holds the stream `a` with three events.
async fn hold(builder: eventfold_es::store::AggregateStoreBuilder) {
    let store = started::<Broken>(builder).await;
    for words in ["one", "unreadable", "two", "three"] {
        say(&store, "a", words).await;
    }
    say(&store, "b", "one").await;
    assert_eq!(held::<Broken>(&store).await, [("a".to_owned(), 3)]);
    assert_eq!(log_of(&store, "a").await, ["one"]);
    close(store).await;
}

#[tokio::test]
#[cfg_attr(eventfold_memory_journal, ignore = "it is about the disk")]
async fn a_stream_is_released_once_and_in_order() {
    let all = ["one", "unreadable", "two", "three"];
    let points = interrupt(
        hold,
        async |builder, notes| {
            let store = started::<Mended>(builder).await;
            let worker = handle::<Mended>(&store);
            let released = worker.release_stream("post", "a").await;
            assert_eq!(released.unwrap().done, 3);
            notes.note("released");
            close(store).await;
        },
        async |disk, noted| {
            let store = opened::<Mended>(&disk, RunMode::Inline).await;
            store.run_process_managers().await.unwrap();
            let log = log_of(&store, "a").await;
            assert!(all.starts_with(&log.iter().map(|tag| &**tag).collect::<Vec<_>>()));
            if is_noted(noted, "released") || log.len() > 1 {
                // Once it has begun, it goes on by itself.
                assert_eq!(log, all);
                assert_eq!(held::<Mended>(&store).await, []);
            } else {
                assert_eq!(held::<Mended>(&store).await, [("a".to_owned(), 3)]);
            }
            let worker = handle::<Mended>(&store);
            worker.release_stream("post", "a").await.unwrap();
            assert_eq!(worker.release_stream("post", "a").await.unwrap().done, 0);
            assert_eq!(log_of(&store, "a").await, all);
            say(&store, "a", "four").await;
            assert_eq!(log_of(&store, "a").await.len(), 5);
            verified(store).await;
        },
    );
    assert!(points.await >= fewest());
}

#[tokio::test]
#[cfg_attr(eventfold_memory_journal, ignore = "it is about the disk")]
async fn a_stream_is_discarded_wholly_or_not_at_all() {
    let points = interrupt(
        hold,
        async |builder, notes| {
            let store = started::<Broken>(builder).await;
            let discarded = handle::<Broken>(&store).discard_stream("post", "a").await;
            assert_eq!(discarded.unwrap().done, 3);
            notes.note("discarded");
            close(store).await;
        },
        async |disk, noted| {
            let store = opened::<Broken>(&disk, RunMode::Inline).await;
            let parked = held::<Broken>(&store).await;
            if is_noted(noted, "discarded") {
                assert_eq!(parked, []);
            }
            assert!(
                parked.is_empty() || parked == [("a".to_owned(), 3)],
                "{parked:?}"
            );
            let worker = handle::<Broken>(&store);
            worker.discard_stream("post", "a").await.unwrap();
            assert_eq!(worker.discard_stream("post", "a").await.unwrap().done, 0);
            say(&store, "a", "four").await;
            assert_eq!(log_of(&store, "a").await, ["one", "four"]);
            verified(store).await;
        },
    );
    assert!(points.await >= fewest());
}
