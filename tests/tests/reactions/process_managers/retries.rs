//! A command whose target cannot be read is tried again, and executed exactly once, under its command id.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use eventfold_es::disk::{Disk, Failure, Fault, FaultyDisk, OpenMode, Operation};
use eventfold_es::prelude::*;
use eventfold_es::testing::MemoryDisk;
use eventfold_es::{Reactions, RunMode};
use eventfold_es_tests::campaign::fewest;
use eventfold_es_tests::journal_file::{JOURNAL, commits_of_stream};

use crate::process_managers::domain::{LogCommand, log_of};
use crate::process_managers::interrupted::{interrupt, is_noted};
use crate::process_managers::worker::{Mended, Say, TIME, clock, said, say, with};

/// The commits of the log `a` in the journal of a store in memory.
fn commits(disk: &dyn Disk, base: &Path) -> Vec<Range<usize>> {
    let journal = disk.open(&base.join(JOURNAL), OpenMode::Read).unwrap();
    let mut bytes = vec![0; journal.len().unwrap() as usize];
    let read = journal.read_at(&mut bytes, 0).unwrap();
    assert_eq!(read, bytes.len());
    commits_of_stream(&bytes, "log", "a")
}

/// Until it is told otherwise, the log `a` cannot be read.
fn unreadable(disk: &FaultyDisk, base: &Path) {
    for commit in commits(disk, base) {
        let fault = Fault::starting(0, Failure::EIO).on(&[Operation::Read]);
        let fault = fault.at(|path| path.ends_with(JOURNAL));
        disk.inject(fault.from_offset(commit.start as u64));
    }
}

async fn prepared(builder: eventfold_es::store::AggregateStoreBuilder) {
    let store = with::<Mended>(builder, &clock(), RunMode::Inline)
        .open()
        .await
        .unwrap();
    say(&store, "a", "one").await;
    // Opening reads the last commit.
    say(&store, "last", "one").await;
    store.close().await.unwrap();
}

async fn command_ids(store: &AggregateStore) -> Vec<String> {
    let events = store.read_events("log", "a").await.unwrap();
    let ids = events.iter().map(|event| {
        let meta = event.meta.as_ref().unwrap();
        meta["command_id"].as_str().unwrap().to_owned()
    });
    ids.collect()
}

#[tokio::test]
#[cfg_attr(eventfold_memory_journal, ignore = "it is about the disk")]
async fn a_command_whose_target_cannot_be_read_is_executed_once_when_it_can() {
    for mode in [RunMode::Inline, RunMode::Background, RunMode::OnDemand] {
        let memory = MemoryDisk::new();
        prepared(memory.builder()).await;
        let faulty = FaultyDisk::new(Arc::new(memory.clone()));
        unreadable(&faulty, memory.root());
        let time = clock();
        let builder = AggregateStore::builder(memory.root()).disk(Arc::new(faulty.clone()));
        let store = with::<Mended>(builder, &time, mode).open().await.unwrap();
        say(&store, "a", "two").await;
        say(&store, "b", "beside").await;
        store.run_process_managers().await.unwrap();
        assert!(!faulty.hits().is_empty());
        let worker = store.process_manager::<Mended>().unwrap();
        let status = worker.status().await.unwrap();
        assert_eq!((status.retrying, status.dead_letters), (1, 0), "{mode:?}");
        assert_eq!(status.parked_at, None);
        assert_eq!(log_of(&store, "b").await, ["beside"], "it waits for nobody");
        // It fails again, and waits again.
        time.advance(TIME);
        store.run_process_managers().await.unwrap();
        assert_eq!(worker.status().await.unwrap().retrying, 1, "{mode:?}");
        faulty.clear();
        time.advance(TIME);
        store.run_process_managers().await.unwrap();
        let status = worker.status().await.unwrap();
        assert_eq!((status.retrying, status.dead_letters), (0, 0), "{mode:?}");
        assert_eq!(log_of(&store, "a").await, ["one", "two"], "{mode:?}");
        time.advance(TIME);
        store.run_process_managers().await.unwrap();
        assert_eq!(command_ids(&store).await.len(), 2, "{mode:?}");
        drop(worker);
        store.close().await.unwrap();
    }
}

#[tokio::test]
#[cfg_attr(eventfold_memory_journal, ignore = "it is about the disk")]
async fn a_command_that_waits_for_its_target_survives_a_crash_and_is_executed_once() {
    let ids = RefCell::new(BTreeSet::new());
    let points = interrupt(
        prepared,
        async |builder, notes| {
            let faulty = FaultyDisk::new(notes.disk());
            unreadable(&faulty, notes.base());
            let time = clock();
            let builder = builder.disk(Arc::new(faulty.clone()));
            let store = with::<Mended>(builder, &time, RunMode::Inline)
                .open()
                .await
                .unwrap();
            say(&store, "a", "two").await;
            notes.note("two");
            faulty.clear();
            time.advance(TIME);
            store.run_process_managers().await.unwrap();
            notes.note("executed");
            assert_eq!(log_of(&store, "a").await, ["one", "two"]);
            store.close().await.unwrap();
        },
        async |disk, noted| {
            let time = clock();
            let store = with::<Mended>(disk.builder(), &time, RunMode::Inline)
                .open()
                .await
                .unwrap();
            store.run_process_managers().await.unwrap();
            let told = said(&store, "a").await.len();
            assert!(told == 2 || !is_noted(noted, "two"));
            if is_noted(noted, "executed") {
                assert_eq!(log_of(&store, "a").await, ["one", "two"]);
            }
            for _ in 0..3 {
                time.advance(TIME);
                store.run_process_managers().await.unwrap();
            }
            assert_eq!(log_of(&store, "a").await, ["one", "two"][..told]);
            let found = command_ids(&store).await;
            ids.borrow_mut().extend(found);
            let worker = store.process_manager::<Mended>().unwrap();
            let status = worker.status().await.unwrap();
            assert_eq!((status.retrying, status.dead_letters), (0, 0));
            drop(worker);
            store.close().await.unwrap();
        },
    );
    assert!(points.await >= fewest());
    // Whatever was crashed when: the same command.
    assert_eq!(ids.borrow().len(), 2);
}

/// However many commands there are for it, and however often they are tried again: no attempt waits for anything.
#[tokio::test]
#[cfg_attr(eventfold_memory_journal, ignore = "it is about the disk")]
async fn a_target_that_cannot_be_read_holds_up_nobody() {
    let memory = MemoryDisk::new();
    prepared(memory.builder()).await;
    let faulty = FaultyDisk::new(Arc::new(memory.clone()));
    unreadable(&faulty, memory.root());
    let time = clock();
    let builder = AggregateStore::builder(memory.root()).disk(Arc::new(faulty.clone()));
    let store = with::<Mended>(builder, &time, RunMode::OnDemand)
        .open()
        .await
        .unwrap();
    for number in 0..10 {
        say(&store, "a", &format!("number {number}")).await;
        say(&store, "b", &format!("number {number}")).await;
    }
    let begun = Instant::now();
    store.run_process_managers().await.unwrap();
    time.advance(TIME);
    store.run_process_managers().await.unwrap();
    // Of 20 attempts none has waited.
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(4), "{took:?}");
    assert_eq!(log_of(&store, "b").await.len(), 10);
    let worker = store.process_manager::<Mended>().unwrap();
    assert_eq!(worker.status().await.unwrap().retrying, 10);
    faulty.clear();
    time.advance(TIME);
    store.run_process_managers().await.unwrap();
    assert_eq!(worker.status().await.unwrap().retrying, 0);
    let ids: BTreeSet<_> = command_ids(&store).await.into_iter().collect();
    assert_eq!(ids.len(), 11);
    drop(worker);
    store.close().await.unwrap();
}

/// Changes a bit in these commits; the second time, they are as they were.
fn flip(disk: &MemoryDisk, commits: &[Range<usize>]) {
    let path = disk.root().join(JOURNAL);
    let file = disk.open(&path, OpenMode::Write).unwrap();
    for commit in commits {
        let place = (commit.start + commit.end) as u64 / 2;
        let mut byte = [0];
        file.read_at(&mut byte, place).unwrap();
        file.write_at(&[byte[0] ^ 1], place).unwrap();
    }
}

#[tokio::test]
#[cfg_attr(eventfold_memory_journal, ignore = "it is about the disk")]
async fn a_command_whose_target_is_damaged_is_executed_once_when_it_is_mended() {
    for mode in [RunMode::Inline, RunMode::Background, RunMode::OnDemand] {
        let disk = MemoryDisk::new();
        prepared(disk.builder()).await;
        let time = clock();
        let store = with::<Mended>(disk.builder(), &time, mode).open().await;
        let store = store.unwrap();
        let commits = commits(&disk, disk.root());
        flip(&disk, &commits);
        say(&store, "a", "two").await;
        say(&store, "b", "beside").await;
        store.run_process_managers().await.unwrap();
        let worker = store.process_manager::<Mended>().unwrap();
        let status = worker.status().await.unwrap();
        assert_eq!((status.retrying, status.dead_letters), (1, 0), "{mode:?}");
        assert_eq!(log_of(&store, "b").await, ["beside"], "it waits for nobody");
        time.advance(TIME);
        store.run_process_managers().await.unwrap();
        assert_eq!(worker.status().await.unwrap().retrying, 1, "{mode:?}");
        flip(&disk, &commits);
        time.advance(TIME);
        store.run_process_managers().await.unwrap();
        let status = worker.status().await.unwrap();
        assert_eq!((status.retrying, status.dead_letters), (0, 0), "{mode:?}");
        assert_eq!(log_of(&store, "a").await, ["one", "two"], "{mode:?}");
        drop(worker);
        store.close().await.unwrap();
    }
}

/// Whoever redrives a letter is told at once, and the letter stays.
#[tokio::test]
#[cfg_attr(eventfold_memory_journal, ignore = "it is about the disk")]
async fn a_letter_whose_target_is_damaged_can_be_redriven_when_it_is_mended() {
    let disk = MemoryDisk::new();
    prepared(disk.builder()).await;
    let open = || with::<Mended>(disk.builder(), &clock(), RunMode::Inline).open();
    let store = open().await.unwrap();
    say(&store, "a", "refuse this").await;
    let opening = store.send("a", LogCommand::Open, CommandContext::default());
    opening.await.unwrap();
    store.close().await.unwrap();
    let store = open().await.unwrap();
    let commits = commits(&disk, disk.root());
    flip(&disk, &commits);
    let worker = store.process_manager::<Mended>().unwrap();
    let redriven = worker.redrive_all().await.unwrap();
    assert_eq!((redriven.done, redriven.failed), (0, 1));
    let letters = worker.dead_letters().await.unwrap();
    let kinds: Vec<_> = letters[0].attempts.iter().map(|one| &*one.kind).collect();
    assert_eq!(kinds, ["rejected", "storage"]);
    flip(&disk, &commits);
    assert_eq!(worker.redrive_all().await.unwrap().done, 1);
    assert_eq!(log_of(&store, "a").await, ["one", "this"]);
    drop(worker);
    store.close().await.unwrap();
}

/// The log of a newer program, with an event that the log of this one does not know.
mod newer {
    use std::convert::Infallible;

    use eventfold_es::prelude::*;

    #[derive(Debug, Clone, Serialize, Deserialize)]
    pub struct Seal;

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, DomainEvent)]
    #[serde(tag = "type", content = "data")]
    pub enum SealedEvent {
        Appended { tag: String },
        Opened,
        Sealed,
    }

    #[aggregate(command = Seal, event = SealedEvent, error = Infallible, name = "log")]
    #[derive(Debug, Clone, Default, Serialize, Deserialize)]
    pub struct SealedLog;

    impl Decider for SealedLog {
        fn decide(&self, _: Seal) -> Result<Vec<SealedEvent>, Infallible> {
            Ok(vec![SealedEvent::Sealed])
        }

        fn evolve(&mut self, _: &SealedEvent) {}
    }
}

/// Its target is to blame, and not the command: the newer program, or the mended one, executes it.
#[tokio::test]
async fn a_command_whose_target_has_events_of_a_newer_program_is_tried_again() {
    let disk = MemoryDisk::new();
    let store = disk.builder().open().await.unwrap();
    let sealed = store.send("a", newer::Seal, CommandContext::default());
    sealed.await.unwrap();
    store.close().await.unwrap();
    let time = clock();
    let store = with::<Mended>(disk.builder(), &time, RunMode::Inline).open();
    let store = store.await.unwrap();
    let told = store.send("a", Say("one".to_owned()), CommandContext::default());
    assert_eq!(told.await.unwrap().reactions, Reactions::Retrying);
    time.advance(TIME);
    store.run_process_managers().await.unwrap();
    let worker = store.process_manager::<Mended>().unwrap();
    let status = worker.status().await.unwrap();
    assert_eq!((status.retrying, status.dead_letters), (1, 0));
    drop(worker);
    store.close().await.unwrap();
}
