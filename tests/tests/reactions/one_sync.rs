//! A command and the reactions to it share a batch, and stand or fall together.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::common::counter::{Counter, CounterCommand, CounterEvent};
use eventfold_es::disk::{Disk, Failure, Fault, FaultyDisk, Operation, SlowDisk, SystemDisk};
use eventfold_es::prelude::*;
use eventfold_es::{ExecuteError, Reactions, RunMode, testing};
use eventfold_es_tests::TestResult;

/// Long enough that the reactions of these tests come within a part of it, on a busy machine too.
const SYNC: Duration = Duration::from_millis(40);

/// Longer than a store waits for reactions on such a disk, and shorter than it takes to cut off a batch that was not
/// written.
const LATE: Duration = Duration::from_millis(35);

/// Sends what is added to `a-…` on to `b-…`, and so on. It panics at `panic`, and comes late at `a-late`.
macro_rules! relay {
    ($name:ident, $from:literal, $to:literal) => {
        #[process_manager(subscribes = [Counter], dispatches = [Counter])]
        #[derive(Debug, Default, Serialize, Deserialize)]
        struct $name {
            relayed: u64,
        }

        impl React<Counter> for $name {
            fn react(&mut self, event: &CounterEvent, cx: &mut Reaction<'_, Self>) {
                let CounterEvent::Added(by) = event else {
                    return;
                };
                assert_ne!(cx.stream_id(), "panic", "it was asked to");
                if $from == "a-" && cx.stream_id() == "a-late" {
                    std::thread::sleep(LATE);
                }
                if let Some(rest) = cx.stream_id().strip_prefix($from) {
                    self.relayed += 1;
                    cx.send(format!("{}{rest}", $to), CounterCommand::Add(by * 10));
                }
            }
        }
    };
}

relay!(FromAToB, "a-", "b-");
relay!(FromBToC, "b-", "c-");

async fn open(base: &Path, disk: Arc<dyn Disk>, mode: RunMode) -> AggregateStore {
    let builder = AggregateStore::builder(base)
        .disk(Arc::new(SlowDisk::new(disk, SYNC)))
        .run_mode(mode)
        .process_manager::<FromAToB>()
        .process_manager::<FromBToC>();
    let store = builder.open().await.unwrap();
    // The store waits for reactions once it knows how long a sync takes.
    add(&store, "warm-up").await.unwrap();
    store
}

async fn add(
    store: &AggregateStore,
    id: &str,
) -> Result<Reactions, ExecuteError<crate::common::counter::CounterError>> {
    let done = store.send(id, CounterCommand::Add(1), ()).await?;
    Ok(done.reactions)
}

async fn sum(store: &AggregateStore, id: &str) -> i64 {
    let counter = store.get::<Counter>(id).await.unwrap();
    counter.state().await.unwrap().sum
}

/// The batch of each commit with an event of `id`.
fn batches(base: &Path, id: &str) -> Vec<u64> {
    let journal = std::fs::read_to_string(base.join("meta/journal/app.jsonl")).unwrap();
    let lines = journal.split('\n').filter(|line| line.starts_with('{'));
    let commits = lines.map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let own = commits.filter(|commit| commit["data"]["streams"][0]["id"] == *id);
    own.map(|commit| commit["data"]["batch"].as_u64().unwrap())
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(eventfold_memory_journal, ignore = "it is about the disk")]
async fn a_chain_of_reactions_shares_the_batch_of_its_command() -> TestResult {
    for mode in [RunMode::Inline, RunMode::Background] {
        let base = tempfile::tempdir()?;
        let disk = FaultyDisk::new(Arc::new(SystemDisk));
        let store = open(base.path(), Arc::new(disk.clone()), mode).await;
        for _ in 0..10 {
            let reactions = add(&store, "a-1").await?;
            assert_eq!(reactions == Reactions::Done, mode == RunMode::Inline);
        }
        store.run_process_managers().await?;
        assert_eq!(
            (sum(&store, "b-1").await, sum(&store, "c-1").await),
            (100, 1000)
        );
        store.close().await?;
        let of = |id: &str| batches(base.path(), id);
        let (commands, ends) = (of("a-1"), of("c-1"));
        let shared = commands.iter().zip(&ends);
        let shared = shared.filter(|(command, end)| command == end).count();
        // On a busy machine some come too late.
        assert!(
            shared >= 5,
            "{mode:?}: {commands:?}, {:?}, {ends:?}",
            of("b-1")
        );
    }
    Ok(())
}

/// Makes the next write to the journal fail.
fn fail_next_write(disk: &FaultyDisk) {
    let is_journal = |path: &Path| path.ends_with("meta/journal/app.jsonl");
    let fault = Fault::once(0, Failure::ENOSPC).on(&[Operation::Write]);
    disk.inject(fault.at(is_journal));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(eventfold_memory_journal, ignore = "it is about the disk")]
async fn a_refused_command_takes_the_reactions_to_it_along() -> TestResult {
    let base = tempfile::tempdir()?;
    let disk = FaultyDisk::new(Arc::new(SystemDisk));
    let store = open(base.path(), Arc::new(disk.clone()), RunMode::Inline).await;
    for number in 1..=3 {
        fail_next_write(&disk);
        assert!(add(&store, "a-1").await.is_err());
        assert_eq!(sum(&store, "b-1").await, 10 * (number - 1));
        assert_eq!(add(&store, "a-1").await?, Reactions::Done);
        assert_eq!(sum(&store, "b-1").await, 10 * number);
        assert_eq!(sum(&store, "c-1").await, 100 * number);
    }
    store.close().await?;
    assert_eq!(batches(base.path(), "b-1").len(), 3);
    Ok(())
}

/// The reaction comes when the batch is closed, and waits while the batch fails.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[cfg_attr(eventfold_memory_journal, ignore = "it is about the disk")]
async fn a_reaction_that_is_too_late_for_a_refused_batch_is_refused_with_it() -> TestResult {
    let base = tempfile::tempdir()?;
    let disk = FaultyDisk::new(Arc::new(SystemDisk));
    let store = open(base.path(), Arc::new(disk.clone()), RunMode::Inline).await;
    for number in 1..=4 {
        fail_next_write(&disk);
        assert!(add(&store, "a-late").await.is_err());
        assert_eq!(add(&store, "a-late").await?, Reactions::Done);
        assert_eq!(sum(&store, "b-late").await, 10 * number);
        assert_eq!(sum(&store, "c-late").await, 100 * number);
    }
    store.close().await?;
    assert_eq!(batches(base.path(), "b-late").len(), 4);
    Ok(())
}

/// The process managers have seen a refused event and done nothing. The next event has its position.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(eventfold_memory_journal, ignore = "it is about the disk")]
async fn the_event_in_the_place_of_a_refused_one_is_reacted_to() -> TestResult {
    let base = tempfile::tempdir()?;
    let disk = FaultyDisk::new(Arc::new(SystemDisk));
    let store = open(base.path(), Arc::new(disk.clone()), RunMode::Inline).await;
    for number in 1..=5 {
        fail_next_write(&disk);
        assert!(add(&store, "z-1").await.is_err());
        assert_eq!(add(&store, "a-1").await?, Reactions::Done);
        assert_eq!(sum(&store, "b-1").await, 10 * number);
    }
    store.close().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_manager_that_panics_while_a_batch_waits_for_it_fails_nothing_else() -> TestResult
{
    let base = tempfile::tempdir()?;
    let store = open(base.path(), Arc::new(SystemDisk), RunMode::Inline).await;
    assert_eq!(add(&store, "panic").await?, Reactions::Parked);
    assert_eq!(sum(&store, "panic").await, 1);
    assert_eq!(add(&store, "a-1").await?, Reactions::Parked);
    assert_eq!((sum(&store, "a-1").await, sum(&store, "b-1").await), (1, 0));
    // Both process managers serve an operator, and go on behind the event.
    assert_eq!(store.process_manager::<FromBToC>()?.skip().await?.done, 1);
    assert_eq!(store.process_manager::<FromAToB>()?.skip().await?.done, 1);
    store.run_process_managers().await?;
    let sums = (sum(&store, "b-1").await, sum(&store, "c-1").await);
    assert_eq!(sums, (10, 100));
    store.close().await?;
    Ok(())
}

/// A batch that is torn between a command and the reactions to it, or within them, leaves none of them, and every event that
/// is left is reacted to once. A chain goes over several batches, too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(eventfold_memory_journal, ignore = "it is about the disk")]
async fn a_batch_that_is_torn_before_a_reaction_leaves_no_half_of_a_chain() {
    let configure = |builder: eventfold_es::AggregateStoreBuilder| {
        builder
            .process_manager::<FromAToB>()
            .process_manager::<FromBToC>()
    };
    let crashes = testing::for_each_crash_point(
        configure,
        async |store| {
            for id in ["a-1", "a-1", "a-late", "a-1"] {
                add(&store, id).await.unwrap();
            }
        },
        async |store| {
            for end in ["1", "late"] {
                let of = |start: &str| format!("{start}-{end}");
                let (a, b) = (sum(&store, &of("a")).await, sum(&store, &of("b")).await);
                assert_eq!((10 * a, 100 * a), (b, sum(&store, &of("c")).await));
            }
            let a = sum(&store, "a-1").await;
            assert_eq!(add(&store, "a-1").await.unwrap(), Reactions::Done);
            assert_eq!(sum(&store, "c-1").await, 100 * (a + 1));
        },
    )
    .await;
    assert!(crashes.points > 50, "{crashes:?}");
}
