//! Every call to the file system fails once: afterwards everything that was acknowledged is there, nothing that was refused
//! is, and the store either works on or says that it is poisoned.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use eventfold_es::disk::{Failure, Fault, Operation};
use eventfold_es::{AggregateStore, CommandContext, ExecuteError, Reactions, RunMode, StoreError};
use eventfold_es_tests::crash::domain::{Ledger, LedgerCommand};
use eventfold_es_tests::crash::{Bench, Expected, builder};

mod every_call;

/// Nothing here takes so long, unless it never ends.
const PATIENCE: Duration = Duration::from_secs(60);

fn is_journal(path: &Path) -> bool {
    path.ends_with("meta/journal/app.jsonl")
}

fn is_letters(path: &Path) -> bool {
    path.ends_with("dead_letters.jsonl")
}

/// A retry after a failed sync used to apply a command twice: the error said "not stored", and it was.
#[tokio::test]
async fn a_failed_sync_leaves_the_outcome_unknown_and_poisons() {
    let bench = Bench::default();
    let store = bench.open(RunMode::OnDemand).await.unwrap();
    let client = bench.client(&store);
    client.put("a", 1, 4).await.unwrap();
    bench.disk.inject(
        Fault::once(0, Failure::EIO)
            .on(&[Operation::SyncData])
            .at(is_journal),
    );
    let unknown = client.put("a", 2, 4).await;
    assert!(
        matches!(unknown, Err(ExecuteError::OutcomeUnknown { .. })),
        "{unknown:?}"
    );
    for (tag, id) in [(3, "a"), (4, "b")] {
        let poisoned = client.put(id, tag, 1).await;
        assert!(
            matches!(
                poisoned,
                Err(ExecuteError::Store(StoreError::Poisoned { .. }))
            ),
            "{poisoned:?}"
        );
    }
    // Reads go on, with what is known to be durable.
    read_back_tags(&store, "a", &bench.expected()).await;
    assert_eq!(store.read_events("ledger", "a").await.unwrap().len(), 4);
    let run = store.run_process_managers().await;
    assert!(matches!(run, Err(StoreError::Poisoned { .. })), "{run:?}");
    drop(client);
    assert!(matches!(
        store.close().await,
        Err(StoreError::Poisoned { .. })
    ));
    bench.check().await.unwrap();
}

/// Everything that was decided on a commit whose sync fails, fails with it, an answer without a commit, too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_decided_on_a_failed_commit_fails_with_it() {
    for n in 0..12 {
        for failure in [Failure::EIO, Failure::ENOSPC] {
            let bench = Bench::default();
            let store = bench.open(RunMode::OnDemand).await.unwrap();
            let operation = if n % 2 == 0 {
                Operation::SyncData
            } else {
                Operation::Write
            };
            bench
                .disk
                .inject(Fault::once(n / 2, failure).on(&[operation]).at(is_journal));
            let client = Arc::new(bench.client(&store));
            let clients = (1..=5).map(|number| {
                let client = Arc::clone(&client);
                tokio::spawn(async move {
                    for command in 0..4 {
                        let put = || client.put("hot", number * 1000 + command, 2);
                        // The answer to the second has no commit.
                        let _ = tokio::join!(put(), put());
                    }
                })
            });
            for client in clients.collect::<Vec<_>>() {
                client.await.unwrap();
            }
            drop(client);
            let _ = store.close().await;
            bench.check().await.unwrap_or_else(|reason| {
                panic!("{operation:?} {} with {failure:?}: {reason}", n / 2)
            });
        }
    }
}

/// The disk is full, and later it is not: no command is half stored, none is lost, and nobody has to open the store again.
#[tokio::test]
async fn a_full_disk_refuses_until_there_is_room() {
    let bench = Bench::default();
    let store = bench.open(RunMode::Inline).await.unwrap();
    let client = bench.client(&store);
    client.put("a", 2, 4).await.unwrap();
    for (round, failure) in [Failure::ENOSPC, Failure::EIO, Failure::EMFILE]
        .into_iter()
        .enumerate()
    {
        let tag = 10 * (round as u64 + 1);
        bench.disk.inject(
            Fault::starting(0, failure)
                .on(&[Operation::Write])
                .at(is_journal),
        );
        for tag in [tag, tag + 1] {
            let refused = client.put("a", tag, 4).await;
            assert!(
                matches!(
                    refused,
                    Err(ExecuteError::Store(StoreError::Refused { .. }))
                ),
                "{refused:?}"
            );
            read_back_tags(&store, "a", &bench.expected()).await;
        }
        bench.disk.clear();
        client.put("a", tag + 2, 4).await.unwrap();
        client
            .put(&format!("new-{round}"), tag + 4, 1)
            .await
            .unwrap();
        read_back_tags(&store, "a", &bench.expected()).await;
    }
    drop(client);
    store.close().await.unwrap();
    bench.check().await.unwrap();
}

/// The stream is not begun then: the next commit begins it, and it is listed and found by that.
#[tokio::test]
async fn a_stream_whose_first_commit_failed_begins_with_the_next() {
    let bench = Bench::default();
    let store = bench.open(RunMode::Inline).await.unwrap();
    let client = bench.client(&store);
    let fault = Fault::once(0, Failure::EIO).on(&[Operation::Write]);
    bench.disk.inject(fault.at(is_journal));
    client.put("a", 2, 1).await.unwrap_err();
    assert_eq!(store.list::<Ledger>().await.unwrap(), Vec::<String>::new());
    client.put("a", 4, 2).await.unwrap();
    assert_eq!(store.list::<Ledger>().await.unwrap(), ["a"]);
    assert_eq!(store.read_events("ledger", "a").await.unwrap().len(), 2);
    drop(client);
    store.close().await.unwrap();
    let store = bench.open(RunMode::Inline).await.unwrap();
    assert_eq!(store.recovery().redone_commits, 0);
    store.close().await.unwrap();
    bench.check().await.unwrap();
}

async fn read_back_tags(store: &AggregateStore, id: &str, expected: &Expected) {
    let state = store
        .get::<Ledger>(id)
        .await
        .unwrap()
        .state()
        .await
        .unwrap();
    let kept = expected.kept.iter().copied();
    let kept: Vec<_> = kept.filter(|tag| expected.tried[tag].id == id).collect();
    assert_eq!(state.tags, kept);
}

/// A reaction that cannot be written is no dead letter and is not forgotten: it is tried until there is room, and happens
/// once.
#[tokio::test]
async fn reactions_are_retried_when_there_is_room() {
    let bench = Bench::default();
    let store = bench.open(RunMode::OnDemand).await.unwrap();
    let client = bench.client(&store);
    for tag in 1..=6 {
        client.put("a", tag, 2).await.unwrap();
    }
    // The first reactions are written, later ones are not.
    bench.disk.inject(
        Fault::starting(1, Failure::ENOSPC)
            .on(&[Operation::Write])
            .at(is_journal),
    );
    let running = tokio::spawn({
        let store = store.clone();
        async move { store.run_process_managers().await }
    });
    let seen = bench.disk.hits().len();
    while bench.disk.hits().len() < seen + 4 {
        assert!(!running.is_finished());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    // A command is refused meanwhile, and what was there can be read.
    let refused = client.put("b", 8, 1).await;
    assert!(
        matches!(
            refused,
            Err(ExecuteError::Store(StoreError::Refused { .. }))
        ),
        "{refused:?}"
    );
    read_back_tags(&store, "a", &bench.expected()).await;
    bench.disk.clear();
    let report = tokio::time::timeout(PATIENCE, running)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    // Three even commands of two entries: three notes and a dead letter each, and a record.
    assert_eq!((report.dispatched, report.dead_lettered), (6 * 3 + 6, 6));
    drop(client);
    store.close().await.unwrap();
    bench.check().await.unwrap();
}

/// A reaction that fails takes those behind it along, also where they have no aggregate in common: otherwise the progress of
/// the process manager passes it.
#[tokio::test]
async fn a_failed_reaction_is_not_passed_by_those_behind_it() {
    for n in 0..8 {
        let bench = Bench::default();
        let store = bench.open(RunMode::OnDemand).await.unwrap();
        let client = bench.client(&store);
        for tag in (2..=24).step_by(2) {
            client.put("a", tag, 1).await.unwrap();
        }
        let fault = Fault::once(n, Failure::ENOSPC).on(&[Operation::Write]);
        bench.disk.inject(fault.at(is_journal));
        let run = tokio::time::timeout(PATIENCE, store.run_process_managers());
        let report = run.await.unwrap().unwrap();
        assert_eq!((report.dispatched, report.dead_lettered), (48, 12), "{n}");
        drop(client);
        store.close().await.unwrap();
        bench.check().await.unwrap();
    }
}

/// Dead letters are written after the answer: when they cannot be, nothing is lost and nothing is read that is old.
#[tokio::test]
async fn dead_letters_that_cannot_be_written_lag_behind() {
    let bench = Bench::default();
    let store = bench.open(RunMode::Inline).await.unwrap();
    let client = bench.client(&store);
    client.put("a", 2, 1).await.unwrap();
    bench.disk.inject(
        Fault::starting(0, Failure::ENOSPC)
            .on(&[Operation::Write])
            .at(is_letters),
    );
    for tag in 3..8 {
        client.put("a", tag, 2).await.unwrap();
    }
    read_back_tags(&store, "a", &bench.expected()).await;
    assert_eq!(store.read_events("ledger", "a").await.unwrap().len(), 11);
    bench.disk.clear();
    client.put("a", 8, 2).await.unwrap();
    drop(client);
    store.close().await.unwrap();
    bench.check().await.unwrap();
}

/// A store whose files could not be written never ended: the thread that retried did not hear that it was closed, so
/// `close` waited for ever and the directory stayed locked. What is missing in those files is in the journal.
#[tokio::test]
async fn closing_does_not_wait_for_files_that_cannot_be_written() {
    let bench = Bench::default();
    let store = bench.open(RunMode::Inline).await.unwrap();
    let client = bench.client(&store);
    client.put("a", 2, 1).await.unwrap();
    let fault = Fault::starting(0, Failure::ENOSPC).on(&[Operation::Write]);
    bench.disk.inject(fault.at(is_letters));
    client.put("b", 4, 2).await.unwrap();
    drop(client);
    tokio::time::timeout(PATIENCE, store.close())
        .await
        .unwrap()
        .unwrap();
    bench.disk.clear();
    let store = bench.open(RunMode::Inline).await.unwrap();
    assert!(store.recovery().redone_commits > 0);
    assert_eq!(store.read_events("ledger", "b").await.unwrap().len(), 2);
    store.close().await.unwrap();
    bench.check().await.unwrap();
}

/// Reactions of a command are told beside its answer: one that waits for them while nothing can be written is not refused.
#[tokio::test]
async fn a_command_whose_reactions_cannot_be_written_is_acknowledged() {
    let bench = Bench::default();
    let builder = builder(&bench.store(), Arc::new(bench.disk.clone()), true);
    let store = builder
        .reaction_timeout(Duration::from_millis(50))
        .open()
        .await
        .unwrap();
    // The first write is that of the command.
    bench.disk.inject(
        Fault::starting(1, Failure::ENOSPC)
            .on(&[Operation::Write])
            .at(is_journal),
    );
    let command = LedgerCommand::Put { tag: 2, parts: 1 };
    let done = store
        .send("a", command, CommandContext::default())
        .await
        .unwrap();
    assert_eq!(done.reactions, Reactions::TimedOut);
    bench.disk.clear();
    let report = tokio::time::timeout(PATIENCE, store.run_process_managers())
        .await
        .unwrap()
        .unwrap();
    assert_eq!((report.dispatched, report.dead_lettered), (4, 1));
    store.close().await.unwrap();
}
