//! What is skipped, by an operator or by a policy, is skipped for good, and changes nothing else.

use eventfold_es::RunMode;
use eventfold_es::store::InstanceStatus;
use eventfold_es::testing::MemoryDisk;
use eventfold_es_tests::campaign::fewest;

use crate::process_managers::domain::log_of;
use crate::process_managers::interrupted::{interrupt, is_noted};
use crate::process_managers::operator::{close, handle, opened, status_of, verified};
use crate::process_managers::worker::{
    Broken, BrokenSolo, Mended, MendedSolo, TIME, clock, say, with,
};

/// Without `key`, the whole process manager is parked at an event.
#[tokio::test]
#[cfg_attr(eventfold_memory_journal, ignore = "it is about the disk")]
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
            assert!(solo.status().await.unwrap().parked_at.is_some());
            notes.note("skipping");
            assert_eq!(solo.skip().await.unwrap().done, 1);
            notes.note("skipped");
            store.run_process_managers().await.unwrap();
            close(store).await;
        },
        async |disk, noted| {
            let store = opened::<BrokenSolo>(&disk, RunMode::OnDemand).await;
            store.run_process_managers().await.unwrap();
            let solo = handle::<BrokenSolo>(&store);
            let is_parked = solo.status().await.unwrap().parked_at.is_some();
            if is_noted(noted, "skipped") {
                assert!(!is_parked, "it was answered");
            }
            let log = log_of(&store, "solo").await;
            let skipped = ["one of 1", "two of 4"];
            if is_parked {
                assert_eq!(log, skipped[..1]);
                // A retry without a mended program changes nothing.
                assert_eq!(solo.retry().await.unwrap().done, 1);
                store.run_process_managers().await.unwrap();
                assert!(solo.status().await.unwrap().parked_at.is_some());
                assert_eq!(log_of(&store, "solo").await, skipped[..1]);
                if points_alternate(noted) {
                    close(store).await;
                    let store = opened::<MendedSolo>(&disk, RunMode::OnDemand).await;
                    store.run_process_managers().await.unwrap();
                    let all = ["one of 1", "cured", "two of 5"];
                    assert_eq!(log_of(&store, "solo").await, all);
                    return verified(store).await;
                }
                assert_eq!(solo.skip().await.unwrap().done, 1);
                store.run_process_managers().await.unwrap();
            }
            assert_eq!(log_of(&store, "solo").await, skipped);
            let again = solo.skip().await.unwrap();
            assert_eq!(again.done, 0, "nothing is parked");
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
    assert!(points.await >= fewest());
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
    let parked = solo.status().await.unwrap().parked_at.unwrap();
    assert!(parked.reason.contains("the alarm is poison"), "{parked:?}");
    say(&store, "a", "two").await;
    assert_eq!(log_of(&store, "solo").await, ["one of 2"]);
    assert_eq!(solo.skip().await.unwrap().done, 1);
    store.run_process_managers().await.unwrap();
    let status = solo.status().await.unwrap();
    assert_eq!((status.parked_at, status.deadlines), (None, 0));
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

/// What the policy has passed over is in no state that is made again, whatever was done about it.
#[tokio::test]
async fn what_was_passed_over_is_in_no_state_that_is_made_again() {
    let disk = MemoryDisk::new();
    let store = opened::<Broken>(&disk, RunMode::Inline).await;
    for words in ["one", "poison skip", "poison repair", "two"] {
        say(&store, "a", words).await;
    }
    close(store).await;
    let store = opened::<Mended>(&disk, RunMode::Inline).await;
    let worker = handle::<Mended>(&store);
    assert_eq!(worker.rebuild_state().await.unwrap().events, 2);
    let instance = worker.instance("a").await.unwrap().unwrap();
    assert_eq!(instance.state.unwrap(), r#"{"seen":2}"#);
    assert_eq!(log_of(&store, "a").await, ["one", "repaired", "two"]);
    verified(store).await;
}
