//! Every call to the file system fails once: afterwards everything that was acknowledged is there, nothing that was refused
//! is, and the store either works on or says that it is poisoned.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use eventfold_es::disk::{Failure, Fault, Operation};
use eventfold_es::{AggregateStore, CommandContext, ExecuteError, Reactions, RunMode, StoreError};
use eventfold_es_tests::crash::domain::{Ledger, LedgerCommand, Refused};
use eventfold_es_tests::crash::{Bench, Expected, Fixture, builder};

const FAILURES: [Failure; 5] = [
    Failure::EIO,
    Failure::ENOSPC,
    Failure::EMFILE,
    Failure::EINTR,
    Failure::Short,
];
/// Nothing here takes so long, unless it never ends.
const PATIENCE: Duration = Duration::from_secs(60);

fn is_journal(path: &Path) -> bool {
    path.ends_with("meta/journal/app.jsonl")
}

fn is_stream(path: &Path) -> bool {
    path.components().any(|part| part.as_os_str() == "streams")
}

/// Opens, commands and closes; what the store says on the way must be consistent.
async fn workload(bench: &Bench) -> Result<(), String> {
    let store = match bench.open(RunMode::Inline).await {
        Ok(store) => store,
        // Half opened is not open, and the directory is free again.
        Err(error) => match bench.open(RunMode::Inline).await {
            Ok(store) => store,
            Err(second) => return Err(format!("opening failed twice: {error}; {second}")),
        },
    };
    let client = bench.client(&store);
    let mut is_poisoned = false;
    let mut failures = 0;
    for (tag, id) in (101..).zip(["a", "a", "b", "a", "b"]) {
        let done = client.put(id, tag, 2).await;
        is_poisoned |= consistent(&done, is_poisoned)?;
        failures += usize::from(done.is_err() && !is_poisoned);
        read_back(&store, &bench.expected(), id).await?;
    }
    if failures > 1 {
        return Err(format!("one failed call failed {failures} commands"));
    }
    if !is_poisoned {
        store
            .run_process_managers()
            .await
            .map_err(|error| error.to_string())?;
    }
    drop(client);
    match store.close().await {
        Ok(()) if !is_poisoned => Ok(()),
        Err(StoreError::Poisoned { .. }) => Ok(()),
        closed => Err(format!("closing answers {closed:?}")),
    }
}

/// Whether the answer says that the store is poisoned; an error if it should not be this one.
fn consistent(done: &Result<(), ExecuteError<Refused>>, is_poisoned: bool) -> Result<bool, String> {
    match done {
        Ok(()) if !is_poisoned => Ok(false),
        Err(ExecuteError::OutcomeUnknown { .. }) if !is_poisoned => Ok(true),
        Err(ExecuteError::Store(StoreError::Poisoned { .. })) => Ok(true),
        Err(ExecuteError::Store(StoreError::Refused { .. } | StoreError::File(_)))
            if !is_poisoned =>
        {
            Ok(false)
        }
        other => Err(format!(
            "poisoned: {is_poisoned}, and a command answers {other:?}"
        )),
    }
}

/// The state has what was acknowledged, and only that.
async fn read_back(store: &AggregateStore, expected: &Expected, id: &str) -> Result<(), String> {
    let handle = store
        .get::<Ledger>(id)
        .await
        .map_err(|error| error.to_string())?;
    let state = match handle.state().await {
        Ok(state) => state,
        // The call that fails may be one of this reading.
        Err(_) => handle.state().await.map_err(|error| error.to_string())?,
    };
    let kept = expected.kept.iter().copied();
    let kept: Vec<_> = kept.filter(|tag| expected.tried[tag].id == id).collect();
    if state.tags == kept && state.entries == 2 * kept.len() as u64 {
        Ok(())
    } else {
        Err(format!("`{id}` is {state:?}, acknowledged were {kept:?}"))
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap()
}

#[test]
fn every_call_fails_once() {
    every_call_of(Bench::default);
}

/// Also those of opening a directory with an incomplete last batch, and commits to write again.
#[test]
fn every_call_fails_once_after_a_kill() {
    let fixture = runtime().block_on(Fixture::torn());
    every_call_of(|| Bench::of(&fixture));
}

fn every_call_of(bench: impl Fn() -> Bench + Sync) {
    let whole = bench();
    runtime().block_on(workload(&whole)).unwrap();
    let calls = whole.disk.calls();
    runtime().block_on(whole.check()).unwrap();
    let cases: Vec<_> = (0..calls)
        .flat_map(|n| FAILURES.map(|failure| (n, failure)))
        .collect();
    let (next, violations) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let hits = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let runtime = runtime();
                while let Some((n, failure)) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let bench = bench();
                    bench.disk.inject(Fault::once(*n, *failure));
                    let checked = runtime.block_on(async {
                        let checked = async {
                            workload(&bench).await?;
                            bench.check().await
                        };
                        let checked = tokio::time::timeout(PATIENCE, checked).await;
                        checked.unwrap_or_else(|_| Err("it never ends".to_owned()))
                    });
                    let hit = bench.disk.hits();
                    for hit in &hit {
                        *hits.lock().unwrap().entry(hit.operation).or_insert(0) += 1;
                    }
                    if let Err(reason) = checked {
                        violations
                            .lock()
                            .unwrap()
                            .push(format!("call {n}, {hit:?}: {reason}"));
                    }
                }
            });
        }
    });
    let violations = violations.into_inner().unwrap();
    println!(
        "{} failed calls, {} violations; {hits:?}",
        cases.len(),
        violations.len()
    );
    assert!(violations.is_empty(), "{violations:#?}");
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
    assert!(bench.store().join("streams/ledger/a").is_dir());
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

/// Stream files are written after the answer: when they cannot be, nothing is lost and nothing is read that is old.
#[tokio::test]
async fn stream_files_that_cannot_be_written_lag_behind() {
    let bench = Bench::default();
    let store = bench.open(RunMode::Inline).await.unwrap();
    let client = bench.client(&store);
    client.put("a", 2, 1).await.unwrap();
    bench.disk.inject(
        Fault::starting(0, Failure::ENOSPC)
            .on(&[Operation::Write])
            .at(is_stream),
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

/// A store whose stream files could not be written never ended: the thread that retried did not hear that it was closed, so
/// `close` waited for ever and the directory stayed locked. What is missing in those files is in the journal.
#[tokio::test]
async fn closing_does_not_wait_for_files_that_cannot_be_written() {
    let bench = Bench::default();
    let store = bench.open(RunMode::Inline).await.unwrap();
    let client = bench.client(&store);
    client.put("a", 2, 1).await.unwrap();
    let fault = Fault::starting(0, Failure::ENOSPC).on(&[Operation::Write]);
    bench.disk.inject(fault.at(is_stream));
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
