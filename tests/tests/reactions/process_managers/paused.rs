//! A process manager that is paused goes on with nothing by itself.

use std::cell::Cell;

use eventfold_es::RunMode;
use eventfold_es_tests::campaign::fewest;

use crate::process_managers::domain::log_of;
use crate::process_managers::interrupted::{interrupt, is_noted};
use crate::process_managers::operator::{close, handle, opened, started, verified};
use crate::process_managers::worker::{Broken, BrokenReaction, Mended, clock, said, say, with};

const RELEASED: [&str; 5] = ["one", "cured", "two", "three", "four"];

/// What was released while it was paused, and interrupted, waits for the end of the pause.
#[tokio::test]
#[cfg_attr(eventfold_memory_journal, ignore = "it is about the disk")]
async fn a_release_that_was_interrupted_waits_while_it_is_paused() {
    let waited = Cell::new(0);
    let points = interrupt(
        async |builder| {
            let store = with::<Broken>(builder, &clock(), RunMode::Inline);
            let store = store.open().await.unwrap();
            for words in ["one", "poison", "two", "three", "four"] {
                say(&store, "a", words).await;
            }
            store.close().await.unwrap();
        },
        async |builder, notes| {
            let store = with::<Mended>(builder, &clock(), RunMode::Inline);
            let store = store.open().await.unwrap();
            let worker = store.process_manager::<Mended>().unwrap();
            worker.pause().await.unwrap();
            notes.note("paused");
            assert_eq!(worker.release("a").await.unwrap().done, 4);
            notes.note("released");
            drop(worker);
            store.close().await.unwrap();
        },
        async |disk, noted| {
            let store = with::<Mended>(disk.builder(), &clock(), RunMode::Inline);
            let store = store.open().await.unwrap();
            let worker = store.process_manager::<Mended>().unwrap();
            store.run_process_managers().await.unwrap();
            worker.settle().await.unwrap();
            let log = log_of(&store, "a").await;
            assert!(RELEASED.starts_with(&log.iter().map(|tag| &**tag).collect::<Vec<_>>()));
            if is_noted(noted, "released") {
                assert_eq!(log, RELEASED);
            }
            assert!(worker.status().await.unwrap().is_paused || !is_noted(noted, "paused"));
            worker.resume().await.unwrap();
            worker.settle().await.unwrap();
            // Once it has begun, nobody has to ask again.
            let resumed = log_of(&store, "a").await;
            assert!(resumed == RELEASED || log.len() == 1 && resumed == log);
            let is_done = worker.parked().await.unwrap().is_empty();
            assert_eq!(is_done, resumed == RELEASED);
            if resumed != log {
                waited.set(waited.get() + 1);
            }
            worker.release("a").await.unwrap();
            assert_eq!(log_of(&store, "a").await, RELEASED);
            drop(worker);
            store.close().await.unwrap();
        },
    );
    assert!(points.await >= fewest());
    assert!(waited.get() > 0, "none was interrupted");
}

/// The same for what waits behind an event of a stream.
#[tokio::test]
#[cfg_attr(eventfold_memory_journal, ignore = "it is about the disk")]
async fn a_release_of_a_stream_that_was_interrupted_waits_while_it_is_paused() {
    let waited = Cell::new(0);
    let released = ["unreadable", "two", "three"];
    let points = interrupt(
        async |builder| {
            let store = with::<Broken>(builder, &clock(), RunMode::Inline);
            let store = store.open().await.unwrap();
            for words in released {
                say(&store, "a", words).await;
            }
            store.close().await.unwrap();
        },
        async |builder, _| {
            let store = with::<BrokenReaction>(builder, &clock(), RunMode::Inline);
            let store = store.open().await.unwrap();
            let worker = store.process_manager::<BrokenReaction>().unwrap();
            worker.pause().await.unwrap();
            assert_eq!(worker.release_stream("post", "a").await.unwrap().done, 3);
            drop(worker);
            store.close().await.unwrap();
        },
        async |disk, _| {
            let store = with::<Mended>(disk.builder(), &clock(), RunMode::Inline);
            let store = store.open().await.unwrap();
            let worker = store.process_manager::<Mended>().unwrap();
            store.run_process_managers().await.unwrap();
            worker.settle().await.unwrap();
            let log = log_of(&store, "a").await;
            assert!(released.starts_with(&log.iter().map(|tag| &**tag).collect::<Vec<_>>()));
            worker.resume().await.unwrap();
            worker.settle().await.unwrap();
            let resumed = log_of(&store, "a").await;
            assert!(resumed == released || log.is_empty() && resumed.is_empty());
            if resumed != log {
                waited.set(waited.get() + 1);
            }
            worker.release_stream("post", "a").await.unwrap();
            assert_eq!(log_of(&store, "a").await, released);
            assert_eq!(worker.parked().await.unwrap(), []);
            drop(worker);
            store.close().await.unwrap();
        },
    );
    assert!(points.await >= fewest());
    assert!(waited.get() > 0, "none was interrupted");
}

#[tokio::test]
#[cfg_attr(eventfold_memory_journal, ignore = "it is about the disk")]
async fn a_pause_and_its_end_are_kept_or_did_not_happen() {
    let points = interrupt(
        async |builder| {
            let store = started::<Mended>(builder).await;
            say(&store, "a", "one").await;
            close(store).await;
        },
        async |builder, notes| {
            let store = started::<Mended>(builder).await;
            let worker = handle::<Mended>(&store);
            notes.note("pausing");
            worker.pause().await.unwrap();
            notes.note("paused");
            say(&store, "a", "two").await;
            notes.note("two");
            notes.note("resuming");
            worker.resume().await.unwrap();
            notes.note("resumed");
            close(store).await;
        },
        async |disk, noted| {
            let store = opened::<Mended>(&disk, RunMode::Inline).await;
            store.run_process_managers().await.unwrap();
            let worker = handle::<Mended>(&store);
            let is_paused = worker.status().await.unwrap().is_paused;
            let told = said(&store, "a").await.len();
            if is_noted(noted, "paused") && !is_noted(noted, "resuming") {
                assert!(is_paused);
            }
            if !is_noted(noted, "pausing") || is_noted(noted, "resumed") {
                assert!(!is_paused);
            }
            if is_paused {
                assert_eq!(log_of(&store, "a").await, ["one"]);
            }
            worker.pause().await.unwrap();
            worker.pause().await.unwrap();
            say(&store, "a", "three").await;
            assert!(!log_of(&store, "a").await.contains(&"three".to_owned()));
            worker.resume().await.unwrap();
            worker.resume().await.unwrap();
            store.run_process_managers().await.unwrap();
            let expected = [&["one", "two"][..told], &["three"]].concat();
            assert_eq!(log_of(&store, "a").await, expected);
            verified(store).await;
        },
    );
    assert!(points.await >= fewest());
}
