//! What a parked instance holds keeps its place, however often it fails, and is for whoever it belongs to when it is released.

use eventfold_es::RunMode;
use eventfold_es::prelude::*;
use eventfold_es::store::InstanceStatus;
use eventfold_es::testing::MemoryDisk;

use crate::process_managers::domain::{LogCommand, log_of};
use crate::process_managers::operator::{close, handle, held, opened, status_of, verified};
use crate::process_managers::worker::{Broken, Mended, TIME, clock, say, with};

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
    assert_eq!(worker.status().await.unwrap().retrying, 2);
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
    assert_eq!(worker.release("a").await.unwrap().done, 4);
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
    assert_eq!(worker.release("a").await.unwrap().done, 6);
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
    assert_eq!(handle::<Mended>(&store).release("a").await.unwrap().done, 1);
    let log = log_of(&store, "a").await;
    assert_eq!(log[5..], ["three", "cured"]);
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
            assert_eq!(worker.release("a").await.unwrap().done, 3);
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
            assert_eq!(worker.discard_parked("a").await.unwrap().done, 3);
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

/// One whose time is past when it is armed comes before what was stored later, also where another one of its name is armed then.
#[tokio::test]
async fn a_deadline_whose_time_is_past_is_not_replaced_by_what_comes_later() {
    let disk = MemoryDisk::new();
    let store = opened::<Broken>(&disk, RunMode::OnDemand).await;
    for words in ["past one", "poison", "past two"] {
        say(&store, "a", words).await;
    }
    store.run_process_managers().await.unwrap();
    assert_eq!(held::<Broken>(&store).await, [("a".to_owned(), 2)]);
    close(store).await;
    let store = opened::<Mended>(&disk, RunMode::OnDemand).await;
    handle::<Mended>(&store).release("a").await.unwrap();
    store.run_process_managers().await.unwrap();
    assert_eq!(log_of(&store, "a").await, ["one", "cured", "two"]);
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
