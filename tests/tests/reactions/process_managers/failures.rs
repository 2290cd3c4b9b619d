use eventfold_es::RunMode;
use eventfold_es::prelude::*;
use eventfold_es::store::InstanceStatus;
use eventfold_es::testing::{CrashPoints, MemoryDisk};
use eventfold_es_tests::TestResult;
use eventfold_es_tests::campaign::{fewest, size};

use crate::process_managers::domain::{
    LogCommand, OrderEvent, SHARED, Saga, clock, continued, exactly_once, expected, log_of, logs,
    mend, poisoned, refused, started, tell, told, with_saga,
};

#[tokio::test]
async fn scenario_13_poison_in_one_instance_stops_no_other_and_release_keeps_the_order()
-> TestResult {
    let (disk, clock) = (MemoryDisk::new(), clock());
    let store = with_saga(disk.builder(), &clock, RunMode::Inline)
        .open()
        .await?;
    let events = [
        started("s13-a"),
        started("s13-b"),
        poisoned("s13-a"),
        continued("s13-a", "1"),
        continued("s13-b", "1"),
        continued("s13-a", "2"),
    ];
    for event in events {
        tell(&store, event).await;
    }
    assert_eq!(log_of(&store, "s13-a").await, ["start"]);
    assert_eq!(log_of(&store, "s13-b").await, ["start", "1", "1 of 2"]);
    let saga = store.process_manager::<Saga>()?;
    let parked = saga.parked().await?;
    let [parked] = parked.as_slice() else {
        panic!("{parked:?}");
    };
    assert_eq!(parked.instance.as_deref(), Some("s13-a"));
    assert!(parked.parked.reason.contains("it is poison"), "{parked:?}");
    // The event that it cannot react to, and the two behind it.
    assert_eq!(parked.held, 3);

    // It is parked after a restart, too, and holds what comes.
    store.close().await?;
    let store = with_saga(disk.builder(), &clock, RunMode::Inline)
        .open()
        .await?;
    let saga = store.process_manager::<Saga>()?;
    tell(&store, continued("s13-a", "3")).await;
    assert_eq!(log_of(&store, "s13-a").await, ["start"]);

    mend("s13-a");
    saga.release("s13-a").await?;
    store.run_process_managers().await?;
    assert_eq!(saga.parked().await?.len(), 0);
    tell(&store, continued("s13-a", "4")).await;
    // Each instance has what it has to have, in order; what several of them share is in the order in which they got there.
    let (mut found, mut expected) = (logs(&store).await, expected(&told(&store).await));
    for logs in [&mut found, &mut expected] {
        logs.entry(SHARED.to_owned()).or_default().sort();
    }
    assert_eq!(found, expected);
    Ok(())
}

/// Release after a crash at each step of parking and holding.
#[tokio::test]
#[cfg_attr(eventfold_memory_journal, ignore = "it is about the disk")]
async fn scenario_13_held_events_survive_a_crash() {
    let clock = clock();
    let key = "s13-c";
    let crashes = CrashPoints::new().at_most(size(60, 10_000)).for_each(
        |builder| with_saga(builder, &clock, RunMode::Inline),
        async |store| {
            for event in [
                started(key),
                poisoned(key),
                continued(key, "1"),
                continued(key, "2"),
            ] {
                tell(&store, event).await;
            }
            mend(key);
        },
        async |store| {
            let saga = store.process_manager::<Saga>().unwrap();
            saga.release(key).await.unwrap();
            store.run_process_managers().await.unwrap();
            exactly_once(&store).await;
            let instance = saga.instance(key).await.unwrap();
            if let Some(instance) = instance {
                assert_eq!(instance.status, InstanceStatus::Open);
            }
        },
    );
    assert!(crashes.await.points >= fewest());
}

async fn letters(store: &AggregateStore) -> Vec<String> {
    let saga = store.process_manager::<Saga>().unwrap();
    let letters = saga.dead_letters().await.unwrap();
    letters
        .iter()
        .map(|letter| letter.error().to_owned())
        .collect()
}

#[tokio::test]
async fn scenario_14_dead_letters_keep_their_order_and_new_ones_arrive_during_a_redrive()
-> TestResult {
    let (disk, clock) = (MemoryDisk::new(), clock());
    let builder = || with_saga(disk.builder(), &clock, RunMode::Inline);
    let store = builder().open().await?;
    tell(&store, started("a")).await;
    for tag in ["1", "2"] {
        tell(&store, refused("a", tag)).await;
    }
    store.close().await?;
    let store = builder().open().await?;
    tell(&store, refused("a", "3")).await;
    assert_eq!(
        letters(&store).await,
        ["`1` is refused", "`2` is refused", "`3` is refused"]
    );
    // They fail again, and keep their place and their history.
    let saga = store.process_manager::<Saga>()?;
    let redriven = saga.redrive_all().await?;
    assert_eq!((redriven.done, redriven.failed), (0, 3));
    let all = saga.dead_letters().await?;
    assert!(
        all.iter().all(|letter| letter.attempts.len() == 2),
        "{all:?}"
    );
    assert_eq!(letters(&store).await.len(), 3);

    // New ones arrive while the old ones are redriven, after the fix.
    tell(&store, started("b")).await;
    store
        .send("a", LogCommand::Open, CommandContext::default())
        .await?;
    let (redriven, ()) = tokio::join!(saga.redrive_all(), tell(&store, refused("b", "new")));
    let redriven = redriven?;
    assert_eq!(redriven.done, 3);
    assert_eq!(log_of(&store, "a").await, ["start", "1", "2", "3"]);
    assert_eq!(letters(&store).await, ["`new` is refused"]);
    saga.redrive_all().await?;
    assert_eq!(log_of(&store, "a").await, ["start", "1", "2", "3"]);
    Ok(())
}

#[tokio::test]
#[cfg_attr(eventfold_memory_journal, ignore = "it is about the disk")]
async fn scenario_14_a_crash_in_the_middle_of_a_redrive() {
    let clock = clock();
    let crashes = CrashPoints::new().at_most(size(100, 10_000)).for_each(
        |builder| with_saga(builder, &clock, RunMode::Inline),
        async |store| {
            tell(&store, started("a")).await;
            tell(&store, refused("a", "1")).await;
            tell(&store, refused("a", "2")).await;
            store
                .send("a", LogCommand::Open, CommandContext::default())
                .await
                .unwrap();
            let saga = store.process_manager::<Saga>().unwrap();
            saga.redrive_all().await.unwrap();
        },
        async |store| {
            let told = told(&store).await.len();
            store
                .send("a", LogCommand::Open, CommandContext::default())
                .await
                .unwrap();
            let saga = store.process_manager::<Saga>().unwrap();
            saga.redrive_all().await.unwrap();
            assert!(saga.dead_letters().await.unwrap().is_empty());
            let expected = ["start", "1", "2"];
            assert_eq!(log_of(&store, "a").await, expected[..told]);
        },
    );
    assert!(crashes.await.points >= fewest());
}

#[tokio::test]
#[cfg_attr(eventfold_memory_journal, ignore = "it is about the disk")]
async fn scenario_21_the_cursor_never_passes_an_append_that_failed() -> TestResult {
    use std::sync::Arc;

    use eventfold_es::disk::{Failure, Fault, FaultyDisk, Operation};

    for n in 0..12 {
        let (memory, clock) = (MemoryDisk::new(), clock());
        let faulty = FaultyDisk::new(Arc::new(memory.clone()));
        let builder = AggregateStore::builder(memory.root()).disk(Arc::new(faulty.clone()));
        let store = with_saga(builder, &clock, RunMode::Background)
            .open()
            .await?;
        tell(&store, started("a")).await;
        store.run_process_managers().await?;
        // One write to the journal fails: that of a command, or that of a reaction.
        faulty.inject(
            Fault::once(n, Failure::Errno(28))
                .on(&[Operation::Write])
                .at(|path| path.ends_with("meta/journal/app.jsonl")),
        );
        for number in 0..6 {
            let event = continued("a", &number.to_string());
            // What is refused has left nothing behind.
            let _ = store
                .send(
                    "orders",
                    crate::process_managers::domain::Tell(event),
                    CommandContext::default(),
                )
                .await;
        }
        faulty.clear();
        store.run_process_managers().await?;
        exactly_once(&store).await;
        store.close().await?;
        let store = with_saga(memory.builder(), &clock, RunMode::Background)
            .open()
            .await?;
        store.run_process_managers().await?;
        exactly_once(&store).await;
        store.close().await?;
    }
    Ok(())
}

#[tokio::test]
async fn scenario_22_a_failing_compensation_is_visible_and_stuck() -> TestResult {
    let (disk, clock) = (MemoryDisk::new(), clock());
    let store = with_saga(disk.builder(), &clock, RunMode::Inline)
        .open()
        .await?;
    tell(&store, started("a")).await;
    tell(&store, started("b")).await;
    let key = "a".to_owned();
    tell(&store, OrderEvent::Compensated { key }).await;
    let saga = store.process_manager::<Saga>()?;
    let parked = saga.parked().await?;
    let [parked] = parked.as_slice() else {
        panic!("{parked:?}, {:?}", letters(&store).await);
    };
    assert_eq!(parked.instance.as_deref(), Some("a"));
    assert!(
        parked.parked.reason.contains("`second` is refused"),
        "{parked:?}"
    );
    // It does not try for ever, and others go on.
    let report = store.run_process_managers().await?;
    let again = store.run_process_managers().await?;
    assert_eq!(
        (again.dispatched, again.dead_lettered),
        (0, 0),
        "{report:?}"
    );
    tell(&store, continued("b", "x")).await;
    assert_eq!(log_of(&store, "b").await, ["start", "x", "x of 2"]);
    // A restart changes nothing.
    store.close().await?;
    let store = with_saga(disk.builder(), &clock, RunMode::Inline)
        .open()
        .await?;
    let saga = store.process_manager::<Saga>()?;
    assert_eq!(saga.parked().await?.len(), 1);
    assert_eq!(logs(&store).await["a"], ["start"]);
    Ok(())
}

#[tokio::test]
async fn scenario_24_a_run_is_cancelled_after_some_of_the_reactions() -> TestResult {
    let (disk, clock) = (MemoryDisk::new(), clock());
    let store = with_saga(disk.builder(), &clock, RunMode::OnDemand)
        .open()
        .await?;
    tell(&store, started("a")).await;
    for number in 0..200 {
        tell(&store, continued("a", &number.to_string())).await;
    }
    for micros in [0, 1, 10, 100, 1000, 5000] {
        let run = store.run_process_managers();
        let _ = tokio::time::timeout(std::time::Duration::from_micros(micros), run).await;
    }
    store.run_process_managers().await?;
    assert_eq!(exactly_once(&store).await.len(), 201);
    Ok(())
}
