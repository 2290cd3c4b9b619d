//! Dead letters are redriven or discarded, interrupted at each operation on the disk.

use eventfold_es::RunMode;
use eventfold_es::prelude::*;
use eventfold_es_tests::campaign::fewest;

use crate::process_managers::domain::{LogCommand, log_of};
use crate::process_managers::interrupted::{interrupt, is_noted};
use crate::process_managers::operator::{close, handle, opened, started, verified};
use crate::process_managers::worker::{Mended, said, say};

/// Three dead letters of `a`.
async fn refused(builder: eventfold_es::store::AggregateStoreBuilder) {
    let store = started::<Mended>(builder).await;
    for words in ["refuse 1", "refuse 2", "refuse 3"] {
        say(&store, "a", words).await;
    }
    close(store).await;
}

async fn letters(store: &AggregateStore) -> Vec<String> {
    let letters = handle::<Mended>(store).dead_letters().await.unwrap();
    let errors = letters.iter().map(|letter| letter.error().to_owned());
    errors.collect()
}

fn errors(tags: &[&str]) -> Vec<String> {
    let tags = tags.iter();
    tags.map(|tag| format!("`{tag}` is refused")).collect()
}

#[tokio::test]
#[cfg_attr(eventfold_memory_journal, ignore = "it is about the disk")]
async fn a_redrive_is_done_once_for_each_letter() {
    let points = interrupt(
        refused,
        async |builder, notes| {
            let store = started::<Mended>(builder).await;
            let worker = handle::<Mended>(&store);
            let first = worker.dead_letters().await.unwrap().remove(0);
            let failed = worker.redrive(&first.id).await.unwrap();
            assert_eq!((failed.done, failed.failed), (0, 1));
            notes.note("failed");
            let open = store.send("a", LogCommand::Open, CommandContext::default());
            open.await.unwrap();
            let one = worker.redrive(&first.id).await.unwrap();
            assert_eq!((one.done, one.failed), (1, 0));
            notes.note("one");
            let telling = async {
                say(&store, "b", "refuse new").await;
                notes.note("b");
            };
            let (all, ()) = tokio::join!(worker.redrive_all(), telling);
            assert_eq!(all.unwrap().done, 2);
            notes.note("all");
            close(store).await;
        },
        async |disk, noted| {
            let store = opened::<Mended>(&disk, RunMode::Inline).await;
            store.run_process_managers().await.unwrap();
            let worker = handle::<Mended>(&store);
            let left = letters(&store).await;
            if is_noted(noted, "failed") && !is_noted(noted, "one") {
                let letters = worker.dead_letters().await.unwrap();
                let attempts = letters.iter().map(|letter| letter.attempts.len());
                let attempts: Vec<_> = attempts.collect();
                // It was redriven, or it has not been yet.
                assert!(attempts == [2, 1, 1] || attempts == [1, 1], "{attempts:?}");
            }
            if is_noted(noted, "one") {
                assert!(!left.contains(&errors(&["1"])[0]), "{left:?}");
            }
            let is_new = !said(&store, "b").await.is_empty();
            assert!(is_new || !is_noted(noted, "b"));
            if is_noted(noted, "all") {
                assert_eq!(left, errors(&["new"]));
            }
            assert_eq!(left.contains(&errors(&["new"])[0]), is_new);
            let open = store.send("a", LogCommand::Open, CommandContext::default());
            open.await.unwrap();
            worker.redrive_all().await.unwrap();
            worker.redrive_all().await.unwrap();
            assert_eq!(log_of(&store, "a").await, ["1", "2", "3"]);
            assert_eq!(
                letters(&store).await,
                errors(&["new"])[..usize::from(is_new)]
            );
            verified(store).await;
        },
    );
    assert!(points.await >= fewest());
}

#[tokio::test]
#[cfg_attr(eventfold_memory_journal, ignore = "it is about the disk")]
async fn dead_letters_are_discarded_wholly_or_not_at_all() {
    let points = interrupt(
        refused,
        async |builder, notes| {
            let store = started::<Mended>(builder).await;
            let worker = handle::<Mended>(&store);
            let first = worker.dead_letters().await.unwrap().remove(0);
            assert_eq!(worker.discard(&first.id).await.unwrap().done, 1);
            notes.note("one");
            assert_eq!(worker.discard_all().await.unwrap().done, 2);
            notes.note("all");
            say(&store, "a", "refuse new").await;
            close(store).await;
        },
        async |disk, noted| {
            let store = opened::<Mended>(&disk, RunMode::Inline).await;
            store.run_process_managers().await.unwrap();
            let left = letters(&store).await;
            let choices = [&["1", "2", "3"][..], &["2", "3"], &[], &["new"]];
            let which = choices.iter().position(|tags| left == errors(tags));
            let which = which.unwrap_or_else(|| panic!("{left:?}"));
            assert!(which >= 1 || !is_noted(noted, "one"));
            assert!(which >= 2 || !is_noted(noted, "all"));
            let worker = handle::<Mended>(&store);
            assert_eq!(worker.discard_all().await.unwrap().done, left.len());
            assert_eq!(worker.discard_all().await.unwrap().done, 0);
            let open = store.send("a", LogCommand::Open, CommandContext::default());
            open.await.unwrap();
            worker.redrive_all().await.unwrap();
            assert_eq!(log_of(&store, "a").await, [""; 0]);
            verified(store).await;
        },
    );
    assert!(points.await >= fewest());
}
