//! What an operator asks for, interrupted at each operation on the disk: it took effect wholly or not at all, what was answered is
//! durable, asking again completes it, exactly once, and what failed meanwhile is kept.

use eventfold_es::prelude::*;
use eventfold_es::testing::MemoryDisk;
use eventfold_es::{InstanceStatus, ProcessManagerHandle, RunMode};

use crate::domain::{LogCommand, log_of};
use crate::interrupted::{interrupt, is_noted};
use crate::worker::{Broken, BrokenSolo, Mended, MendedSolo, TIME, clock, said, say, with};

async fn opened<PM: ProcessManager>(disk: &MemoryDisk, mode: RunMode) -> AggregateStore {
    let opened = with::<PM>(disk.builder(), &clock(), mode).open().await;
    opened.unwrap()
}

fn handle<PM: ProcessManager>(store: &AggregateStore) -> ProcessManagerHandle<PM> {
    store.process_manager::<PM>().unwrap()
}

async fn status_of<PM: ProcessManager>(store: &AggregateStore, key: &str) -> InstanceStatus {
    let instance = handle::<PM>(store).instance(key).await.unwrap();
    instance.unwrap().status
}

async fn held<PM: ProcessManager>(store: &AggregateStore) -> Vec<(String, u64)> {
    let parked = handle::<PM>(store).parked().await.unwrap();
    let name = |work: &eventfold_es::ParkedWork| match (&work.instance, &work.stream) {
        (Some(key), _) => key.clone(),
        (None, stream) => stream.as_ref().unwrap().1.clone(),
    };
    parked.iter().map(|work| (name(work), work.held)).collect()
}

async fn close(store: AggregateStore) {
    store.close().await.unwrap();
}

async fn verified(store: AggregateStore) {
    let differences = store.verify().await.unwrap().differences;
    assert!(differences.is_empty(), "{differences:?}");
    close(store).await;
}

#[tokio::test]
async fn a_pause_and_its_end_are_kept_or_did_not_happen() {
    let points = interrupt(
        async |builder| {
            let store = with::<Mended>(builder, &clock(), RunMode::Inline)
                .open()
                .await
                .unwrap();
            say(&store, "a", "one").await;
            close(store).await;
        },
        async |builder, notes| {
            let store = with::<Mended>(builder, &clock(), RunMode::Inline)
                .open()
                .await
                .unwrap();
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
    assert!(points.await >= 50);
}

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
async fn a_release_goes_on_where_it_was_interrupted() {
    let points = interrupt(
        park,
        async |builder, notes| {
            let store = with::<Mended>(builder, &clock(), RunMode::Inline)
                .open()
                .await
                .unwrap();
            let worker = handle::<Mended>(&store);
            // Another one is told something meanwhile, and fails.
            let telling = async {
                say(&store, "b", "refuse park").await;
                notes.note("b");
            };
            notes.note("releasing");
            let (released, ()) = tokio::join!(worker.release("a"), telling);
            assert_eq!(released.unwrap(), 6);
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
    assert!(points.await >= 50);
}

#[tokio::test]
async fn what_is_parked_is_discarded_wholly_or_not_at_all() {
    let points = interrupt(
        park,
        async |builder, notes| {
            let store = with::<Broken>(builder, &clock(), RunMode::Inline)
                .open()
                .await
                .unwrap();
            let discarded = handle::<Broken>(&store).discard_parked("a").await;
            assert_eq!(discarded.unwrap(), 6);
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
            assert_eq!(worker.discard_parked("a").await.unwrap(), 0);
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
    assert!(points.await >= 50);
}

/// Holds the stream `a` with three events.
async fn hold(builder: eventfold_es::store::AggregateStoreBuilder) {
    let store = with::<Broken>(builder, &clock(), RunMode::Inline)
        .open()
        .await
        .unwrap();
    for words in ["one", "unreadable", "two", "three"] {
        say(&store, "a", words).await;
    }
    say(&store, "b", "one").await;
    assert_eq!(held::<Broken>(&store).await, [("a".to_owned(), 3)]);
    assert_eq!(log_of(&store, "a").await, ["one"]);
    close(store).await;
}

#[tokio::test]
async fn a_stream_is_released_once_and_in_order() {
    let all = ["one", "unreadable", "two", "three"];
    let points = interrupt(
        hold,
        async |builder, notes| {
            let store = with::<Mended>(builder, &clock(), RunMode::Inline)
                .open()
                .await
                .unwrap();
            let worker = handle::<Mended>(&store);
            let released = worker.release_stream("post", "a").await;
            assert_eq!(released.unwrap(), 3);
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
            assert_eq!(worker.release_stream("post", "a").await.unwrap(), 0);
            assert_eq!(log_of(&store, "a").await, all);
            say(&store, "a", "four").await;
            assert_eq!(log_of(&store, "a").await.len(), 5);
            verified(store).await;
        },
    );
    assert!(points.await >= 50);
}

#[tokio::test]
async fn a_stream_is_discarded_wholly_or_not_at_all() {
    let points = interrupt(
        hold,
        async |builder, notes| {
            let store = with::<Broken>(builder, &clock(), RunMode::Inline)
                .open()
                .await
                .unwrap();
            let discarded = handle::<Broken>(&store).discard_stream("post", "a").await;
            assert_eq!(discarded.unwrap(), 3);
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
            assert_eq!(worker.discard_stream("post", "a").await.unwrap(), 0);
            say(&store, "a", "four").await;
            assert_eq!(log_of(&store, "a").await, ["one", "four"]);
            verified(store).await;
        },
    );
    assert!(points.await >= 50);
}

/// Three dead letters of `a`.
async fn refused(builder: eventfold_es::store::AggregateStoreBuilder) {
    let store = with::<Mended>(builder, &clock(), RunMode::Inline)
        .open()
        .await
        .unwrap();
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
async fn a_redrive_is_done_once_for_each_letter() {
    let points = interrupt(
        refused,
        async |builder, notes| {
            let store = with::<Mended>(builder, &clock(), RunMode::Inline)
                .open()
                .await
                .unwrap();
            let worker = handle::<Mended>(&store);
            let first = worker.dead_letters().await.unwrap().remove(0);
            let failed = worker.redrive(&first.id).await.unwrap();
            assert_eq!((failed.executed, failed.failed), (0, 1));
            notes.note("failed");
            let open = store.send("a", LogCommand::Open, CommandContext::default());
            open.await.unwrap();
            let one = worker.redrive(&first.id).await.unwrap();
            assert_eq!((one.executed, one.failed), (1, 0));
            notes.note("one");
            let telling = async {
                say(&store, "b", "refuse new").await;
                notes.note("b");
            };
            let (all, ()) = tokio::join!(worker.redrive_all(), telling);
            assert_eq!(all.unwrap().executed, 2);
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
    assert!(points.await >= 50);
}

#[tokio::test]
async fn dead_letters_are_discarded_wholly_or_not_at_all() {
    let points = interrupt(
        refused,
        async |builder, notes| {
            let store = with::<Mended>(builder, &clock(), RunMode::Inline)
                .open()
                .await
                .unwrap();
            let worker = handle::<Mended>(&store);
            let first = worker.dead_letters().await.unwrap().remove(0);
            assert!(worker.discard(&first.id).await.unwrap());
            notes.note("one");
            assert_eq!(worker.discard_all().await.unwrap(), 2);
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
            assert_eq!(worker.discard_all().await.unwrap(), left.len());
            assert_eq!(worker.discard_all().await.unwrap(), 0);
            let open = store.send("a", LogCommand::Open, CommandContext::default());
            open.await.unwrap();
            worker.redrive_all().await.unwrap();
            assert_eq!(log_of(&store, "a").await, [""; 0]);
            verified(store).await;
        },
    );
    assert!(points.await >= 50);
}

/// Without `key`, the whole process manager is parked at an event.
#[tokio::test]
async fn an_event_that_was_skipped_is_skipped_for_good() {
    let points = interrupt(
        async |builder| {
            let store = with::<BrokenSolo>(builder, &clock(), RunMode::OnDemand)
                .open()
                .await
                .unwrap();
            for words in ["one", "quiet", "poison", "quiet", "two"] {
                say(&store, "a", words).await;
            }
            store.run_process_managers().await.unwrap();
            close(store).await;
        },
        async |builder, notes| {
            let store = with::<BrokenSolo>(builder, &clock(), RunMode::OnDemand)
                .open()
                .await
                .unwrap();
            let solo = handle::<BrokenSolo>(&store);
            store.run_process_managers().await.unwrap();
            assert!(solo.status().await.unwrap().parked.is_some());
            notes.note("skipping");
            assert!(solo.skip().await.unwrap());
            notes.note("skipped");
            store.run_process_managers().await.unwrap();
            close(store).await;
        },
        async |disk, noted| {
            let store = opened::<BrokenSolo>(&disk, RunMode::OnDemand).await;
            store.run_process_managers().await.unwrap();
            let solo = handle::<BrokenSolo>(&store);
            let is_parked = solo.status().await.unwrap().parked.is_some();
            if is_noted(noted, "skipped") {
                assert!(!is_parked, "it was answered");
            }
            let log = log_of(&store, "solo").await;
            let skipped = ["one of 1", "two of 4"];
            if is_parked {
                assert_eq!(log, skipped[..1]);
                // A retry without a mended program changes nothing.
                assert!(solo.retry().await.unwrap());
                store.run_process_managers().await.unwrap();
                assert!(solo.status().await.unwrap().parked.is_some());
                assert_eq!(log_of(&store, "solo").await, skipped[..1]);
                if points_alternate(noted) {
                    close(store).await;
                    let store = opened::<MendedSolo>(&disk, RunMode::OnDemand).await;
                    store.run_process_managers().await.unwrap();
                    let all = ["one of 1", "cured", "two of 5"];
                    assert_eq!(log_of(&store, "solo").await, all);
                    return verified(store).await;
                }
                assert!(solo.skip().await.unwrap());
                store.run_process_managers().await.unwrap();
            }
            assert_eq!(log_of(&store, "solo").await, skipped);
            assert!(!solo.skip().await.unwrap_or_default(), "nothing is parked");
            close(store).await;
            // The mended program does not come back to it.
            let store = opened::<MendedSolo>(&disk, RunMode::OnDemand).await;
            say(&store, "a", "three").await;
            store.run_process_managers().await.unwrap();
            let all = ["one of 1", "two of 4", "three of 5"];
            assert_eq!(log_of(&store, "solo").await, all);
            verified(store).await;
        },
    );
    assert!(points.await >= 50);
}

/// Two ways on from the same state, in turns.
fn points_alternate(noted: &[String]) -> bool {
    noted.is_empty()
}

/// Without `key`, a deadline at which the process manager stays can be skipped as an event can.
#[tokio::test]
async fn a_deadline_that_was_skipped_is_skipped_for_good() {
    let disk = MemoryDisk::new();
    let time = clock();
    let store = with::<BrokenSolo>(disk.builder(), &time, RunMode::Inline)
        .open()
        .await
        .unwrap();
    say(&store, "a", "arm poison").await;
    say(&store, "a", "one").await;
    time.advance(TIME);
    store.run_process_managers().await.unwrap();
    let solo = handle::<BrokenSolo>(&store);
    let parked = solo.status().await.unwrap().parked.unwrap();
    assert!(parked.reason.contains("the alarm is poison"), "{parked:?}");
    say(&store, "a", "two").await;
    assert_eq!(log_of(&store, "solo").await, ["one of 2"]);
    assert!(solo.skip().await.unwrap());
    store.run_process_managers().await.unwrap();
    let status = solo.status().await.unwrap();
    assert_eq!((status.parked, status.deadlines), (None, 0));
    assert_eq!(log_of(&store, "solo").await, ["one of 2", "two of 3"]);
    close(store).await;
    let store = with::<MendedSolo>(disk.builder(), &time, RunMode::Inline)
        .open()
        .await
        .unwrap();
    say(&store, "a", "three").await;
    let all = ["one of 2", "two of 3", "three of 4"];
    assert_eq!(log_of(&store, "solo").await, all);
    verified(store).await;
}

/// The same with the mended program: it is retried.
#[tokio::test]
async fn a_deadline_that_was_poison_is_reacted_to_after_the_fix() {
    let disk = MemoryDisk::new();
    let time = clock();
    let store = with::<BrokenSolo>(disk.builder(), &time, RunMode::Inline)
        .open()
        .await
        .unwrap();
    say(&store, "a", "arm poison").await;
    time.advance(TIME);
    store.run_process_managers().await.unwrap();
    say(&store, "a", "one").await;
    assert_eq!(log_of(&store, "solo").await, [""; 0]);
    close(store).await;
    let store = with::<MendedSolo>(disk.builder(), &time, RunMode::Inline)
        .open()
        .await
        .unwrap();
    store.run_process_managers().await.unwrap();
    let mut log = log_of(&store, "solo").await;
    log.sort();
    assert_eq!(log.len(), 2, "{log:?}");
    assert!(log.contains(&"poison".to_owned()), "{log:?}");
    verified(store).await;
}

#[tokio::test]
async fn commands_that_are_parked_at_one_position_are_all_kept_and_stay_in_their_place() {
    let (disk, time) = (MemoryDisk::new(), clock());
    let store = with::<Mended>(disk.builder(), &time, RunMode::OnDemand)
        .open()
        .await
        .unwrap();
    // Both are tried once more, and park the instance then.
    say(&store, "a", "refuse retry-1 retry-2").await;
    store.run_process_managers().await.unwrap();
    let worker = handle::<Mended>(&store);
    assert_eq!(worker.status().await.unwrap().pending, 2);
    time.advance(TIME);
    store.run_process_managers().await.unwrap();
    assert_eq!(held::<Mended>(&store).await, [("a".to_owned(), 2)]);
    for words in ["one", "two"] {
        say(&store, "a", words).await;
    }
    store.run_process_managers().await.unwrap();
    // They fail again: nothing overtakes them, however often.
    for _ in 0..2 {
        worker.release("a").await.unwrap();
        assert_eq!(held::<Mended>(&store).await, [("a".to_owned(), 4)]);
        assert_eq!(log_of(&store, "a").await, [""; 0]);
    }
    let open = store.send("a", LogCommand::Open, CommandContext::default());
    open.await.unwrap();
    assert_eq!(worker.release("a").await.unwrap(), 4);
    assert_eq!(
        log_of(&store, "a").await,
        ["retry-1", "retry-2", "one", "two"]
    );
    verified(store).await;
}

/// What an instance is shown of what it held may be its end: what it held behind that is shown to whom it belongs then.
#[tokio::test]
async fn an_instance_that_ends_while_it_is_released_leaves_nothing_behind() {
    let disk = MemoryDisk::new();
    let store = opened::<Broken>(&disk, RunMode::Inline).await;
    let words = [
        "one",
        "poison",
        "ends",
        "continue nothing",
        "two",
        "ends",
        "continue nothing",
    ];
    for words in words {
        say(&store, "a", words).await;
    }
    assert_eq!(held::<Broken>(&store).await, [("a".to_owned(), 6)]);
    close(store).await;
    let store = opened::<Mended>(&disk, RunMode::Inline).await;
    let worker = handle::<Mended>(&store);
    assert_eq!(worker.release("a").await.unwrap(), 6);
    assert_eq!(
        log_of(&store, "a").await,
        ["one", "cured", "end", "two", "end"]
    );
    let instance = worker.instance("a").await.unwrap().unwrap();
    assert_eq!(
        (instance.status, instance.generation),
        (InstanceStatus::Completed, 2)
    );
    assert_eq!(worker.status().await.unwrap().ignored, 2);
    // Nothing of it comes back to those that have the key later.
    close(store).await;
    let store = opened::<Broken>(&disk, RunMode::Inline).await;
    for words in ["three", "poison"] {
        say(&store, "a", words).await;
    }
    assert_eq!(held::<Broken>(&store).await, [("a".to_owned(), 1)]);
    close(store).await;
    let store = opened::<Mended>(&disk, RunMode::Inline).await;
    assert_eq!(handle::<Mended>(&store).release("a").await.unwrap(), 1);
    let log = log_of(&store, "a").await;
    assert_eq!(log[5..], ["three", "cured"]);
    verified(store).await;
}

/// A deadline that became due while its instance was parked, and that an event before it cancels, replaces or outlives.
#[tokio::test]
async fn a_held_deadline_is_cancelled_by_what_was_held_before_it() {
    for (before, after) in [
        ("disarm", &[][..]),
        ("arm later", &["later"]),
        ("ends", &["end"]),
        ("hello", &["hello", "due"]),
    ] {
        let (disk, time) = (MemoryDisk::new(), clock());
        let store = with::<Broken>(disk.builder(), &time, RunMode::Inline)
            .open()
            .await
            .unwrap();
        for words in ["arm due", "poison", before] {
            say(&store, "a", words).await;
        }
        time.advance(TIME);
        store.run_process_managers().await.unwrap();
        assert_eq!(held::<Broken>(&store).await, [("a".to_owned(), 3)]);
        close(store).await;
        let store = with::<Mended>(disk.builder(), &time, RunMode::Inline)
            .open()
            .await
            .unwrap();
        handle::<Mended>(&store).release("a").await.unwrap();
        time.advance(TIME);
        store.run_process_managers().await.unwrap();
        let expected = [&["cured"], after].concat();
        assert_eq!(log_of(&store, "a").await, expected, "{before}");
        let status = handle::<Mended>(&store).status().await.unwrap();
        assert_eq!((status.deadlines, status.instances.parked), (0, 0));
        verified(store).await;
    }
}

/// The same where it is replaced by one for the same time: what counts is the last one.
#[tokio::test]
async fn a_held_deadline_is_replaced_by_one_for_the_same_time() {
    let disk = MemoryDisk::new();
    let store = opened::<Broken>(&disk, RunMode::OnDemand).await;
    for words in ["past one", "poison", "past two"] {
        say(&store, "a", words).await;
    }
    store.run_process_managers().await.unwrap();
    assert_eq!(held::<Broken>(&store).await, [("a".to_owned(), 3)]);
    close(store).await;
    let store = opened::<Mended>(&disk, RunMode::OnDemand).await;
    handle::<Mended>(&store).release("a").await.unwrap();
    store.run_process_managers().await.unwrap();
    assert_eq!(log_of(&store, "a").await, ["cured", "two"]);
    let status = handle::<Mended>(&store).status().await.unwrap();
    assert_eq!((status.deadlines, status.instances.parked), (0, 0));
    verified(store).await;
}

/// A deadline whose reaction fails is held with its instance, in its place.
#[tokio::test]
async fn a_deadline_whose_reaction_fails_is_held_in_its_place() {
    let (disk, time) = (MemoryDisk::new(), clock());
    let store = with::<Broken>(disk.builder(), &time, RunMode::Inline)
        .open()
        .await
        .unwrap();
    say(&store, "a", "arm poison").await;
    time.advance(TIME);
    store.run_process_managers().await.unwrap();
    say(&store, "a", "one").await;
    assert_eq!(held::<Broken>(&store).await, [("a".to_owned(), 2)]);
    let worker = handle::<Broken>(&store);
    worker.release("a").await.unwrap();
    assert_eq!(held::<Broken>(&store).await, [("a".to_owned(), 2)]);
    assert_eq!(log_of(&store, "a").await, [""; 0], "it does not overtake");
    close(store).await;
    let store = with::<Mended>(disk.builder(), &time, RunMode::Inline)
        .open()
        .await
        .unwrap();
    handle::<Mended>(&store).release("a").await.unwrap();
    assert_eq!(log_of(&store, "a").await, ["poison", "one"]);
    let instance = handle::<Mended>(&store)
        .instance("a")
        .await
        .unwrap()
        .unwrap();
    assert_eq!(instance.deadlines, []);
    verified(store).await;
}

/// An instance whose first event is passed over is not begun, in memory no more than on disk; one to which something is sent in
/// place of it is.
#[tokio::test]
async fn an_instance_whose_first_event_is_skipped_is_not_begun() {
    for is_reopened in [false, true] {
        let disk = MemoryDisk::new();
        let mut store = opened::<Broken>(&disk, RunMode::Inline).await;
        say(&store, "a", "poison skip").await;
        say(&store, "b", "poison repair").await;
        say(&store, "c", "ends").await;
        say(&store, "c", "poison skip").await;
        if is_reopened {
            close(store).await;
            store = opened::<Broken>(&disk, RunMode::Inline).await;
        }
        let worker = handle::<Broken>(&store);
        assert_eq!(worker.instance("a").await.unwrap(), None);
        assert_eq!(status_of::<Broken>(&store, "b").await, InstanceStatus::Open);
        assert_eq!(
            status_of::<Broken>(&store, "c").await,
            InstanceStatus::Completed
        );
        for key in ["a", "b", "c"] {
            say(&store, key, "continue x").await;
        }
        assert_eq!(worker.status().await.unwrap().ignored, 2);
        assert_eq!(log_of(&store, "a").await, [""; 0]);
        assert_eq!(log_of(&store, "b").await, ["repaired", "continue x"]);
        assert_eq!(log_of(&store, "c").await, ["end"]);
        for key in ["a", "c"] {
            say(&store, key, "one").await;
            assert_eq!(log_of(&store, key).await.last().unwrap(), "one");
        }
        let generation = worker.instance("c").await.unwrap().unwrap().generation;
        assert_eq!(generation, 2);
        verified(store).await;
    }
}

/// What is skipped changes nothing but that a deadline is over.
#[tokio::test]
async fn what_is_skipped_leaves_the_state_as_it_was() {
    let (disk, time) = (MemoryDisk::new(), clock());
    let open = || with::<Broken>(disk.builder(), &time, RunMode::Inline).open();
    let store = open().await.unwrap();
    for words in ["one", "poison skip", "arm poison skip", "refuse skip"] {
        say(&store, "a", words).await;
    }
    time.advance(TIME);
    store.run_process_managers().await.unwrap();
    assert_eq!(handle::<Broken>(&store).status().await.unwrap().skipped, 3);
    say(&store, "a", "arm poison repair").await;
    time.advance(TIME);
    store.run_process_managers().await.unwrap();
    close(store).await;
    let store = open().await.unwrap();
    let instance = handle::<Broken>(&store)
        .instance("a")
        .await
        .unwrap()
        .unwrap();
    assert_eq!(instance.status, InstanceStatus::Open);
    assert_eq!(instance.deadlines, []);
    assert_eq!(instance.state.unwrap(), r#"{"seen":4}"#);
    assert_eq!(log_of(&store, "a").await, ["one", "repaired"]);
    verified(store).await;
}

/// A command that an instance sent at its end parks it; released, it is complete as before.
#[tokio::test]
async fn an_instance_that_is_parked_at_its_end_stays_complete() {
    for is_released in [true, false] {
        let disk = MemoryDisk::new();
        let store = opened::<Mended>(&disk, RunMode::Inline).await;
        for words in ["one", "ends refuse", "two", "continue three"] {
            say(&store, "a", words).await;
        }
        assert_eq!(held::<Mended>(&store).await, [("a".to_owned(), 3)]);
        close(store).await;
        let store = opened::<Mended>(&disk, RunMode::Inline).await;
        let worker = handle::<Mended>(&store);
        if is_released {
            // It fails again.
            worker.release("a").await.unwrap();
            assert_eq!(held::<Mended>(&store).await, [("a".to_owned(), 3)]);
            let open = store.send("a", LogCommand::Open, CommandContext::default());
            open.await.unwrap();
            assert_eq!(worker.release("a").await.unwrap(), 3);
            let log = log_of(&store, "a").await;
            assert_eq!(
                log,
                ["one", "end", "park at the end", "two", "continue three"]
            );
            // What came behind its end has begun another one.
            let instance = worker.instance("a").await.unwrap().unwrap();
            assert_eq!(
                (instance.status, instance.generation),
                (InstanceStatus::Open, 2)
            );
        } else {
            assert_eq!(worker.discard_parked("a").await.unwrap(), 3);
            assert_eq!(
                status_of::<Mended>(&store, "a").await,
                InstanceStatus::Completed
            );
            say(&store, "a", "continue nothing").await;
            assert_eq!(log_of(&store, "a").await, ["one", "end"]);
        }
        verified(store).await;
    }
}

/// Commands with different ids, also where a deadline of one name is due twice at one time, and fails both times.
#[tokio::test]
async fn deadlines_of_one_name_and_time_send_commands_of_their_own() {
    for (words, sent) in [("past x", "x"), ("past poison repair", "repaired")] {
        let disk = MemoryDisk::new();
        let store = opened::<Broken>(&disk, RunMode::Inline).await;
        for _ in 0..2 {
            say(&store, "a", words).await;
            store.run_process_managers().await.unwrap();
        }
        assert_eq!(log_of(&store, "a").await, [sent, sent]);
        let events = store.read_events("log", "a").await.unwrap();
        let ids: Vec<_> = events
            .iter()
            .map(|event| event.meta.as_ref().unwrap()["command_id"].clone())
            .collect();
        assert_ne!(ids[0], ids[1], "{words}");
        verified(store).await;
    }
}
