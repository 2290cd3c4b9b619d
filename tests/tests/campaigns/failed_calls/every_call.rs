//! Scenario 30: each call of a workload to the file system fails once.
//!
//! The ways to fail take turns; `EVENTFOLD_EVERY_FAILURE=1` makes each call fail in each of them, as in a full run.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use eventfold_es::disk::{Failure, Fault, FaultyDisk, Operation};
use eventfold_es::store::AggregateStoreBuilder;
use eventfold_es::{AggregateStore, ExecuteError, OpenError, RunMode, StoreError};
use eventfold_es_tests::campaign::{number, size};
use eventfold_es_tests::crash::domain::{Ledger, Refused, Tally};
use eventfold_es_tests::crash::{Bench, Expected, Fixture};

use super::PATIENCE;

const FAILURES: [Failure; 5] = [
    Failure::EIO,
    Failure::ENOSPC,
    Failure::EMFILE,
    Failure::EINTR,
    Failure::Short,
];
const WORKERS: usize = 4;

/// How the store of a workload is configured.
#[derive(Debug, Clone, Copy)]
enum Setup {
    /// As it comes.
    Plain,
    /// Journal and streams are archived, states saved and aggregates evicted all the time, so that there are checkpoints while
    /// commands are executed.
    Busy,
}

impl Setup {
    fn builder(self, bench: &Bench) -> AggregateStoreBuilder {
        match self {
            Self::Plain => bench.builder(),
            Self::Busy => bench
                .builder()
                .max_log_size(700)
                .snapshot_every(2)
                .idle_timeout(Duration::ZERO),
        }
    }

    /// Opens, commands and closes; what the store says on the way must be consistent.
    async fn run(self, bench: &Bench) -> Result<(), String> {
        let store = opened_in_two(|| self.builder(bench)).await?;
        let client = bench.client(&store);
        let mut is_poisoned = false;
        let mut failures = 0;
        for (tag, id) in (101..).zip(["a", "a", "b", "a", "b"]) {
            let done = client.put(id, tag, 2).await;
            is_poisoned |= consistent(&done, is_poisoned)?;
            failures += usize::from(done.is_err() && !is_poisoned);
            if let Self::Busy = self {
                // Long enough for what was used to be evicted.
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            read_back(&store, &bench.expected(), id).await?;
        }
        if failures > 1 {
            return Err(format!("one failed call failed {failures} commands"));
        }
        if let Self::Busy = self {
            // The one that is caught up may be told of the call that failed, the next one not.
            if store.projection::<Tally>().await.is_err() {
                store
                    .projection::<Tally>()
                    .await
                    .map_err(|error| format!("a projection fails twice: {error}"))?;
            }
        }
        if !is_poisoned {
            match store.run_process_managers().await {
                Ok(_) => {}
                // A checkpoint that was taken meanwhile.
                Err(StoreError::Poisoned { .. }) => is_poisoned = true,
                Err(error) => return Err(error.to_string()),
            }
        }
        drop(client);
        match store.close().await {
            Ok(()) if !is_poisoned => {}
            Err(StoreError::Poisoned { .. }) => is_poisoned = true,
            closed => return Err(format!("closing answers {closed:?}")),
        }
        poisoned_by_a_sync(&bench.disk, is_poisoned)
    }
}

/// Half opened is not open, and the directory is free again.
async fn opened_in_two(
    builder: impl Fn() -> AggregateStoreBuilder,
) -> Result<AggregateStore, String> {
    let open = || builder().run_mode(RunMode::Inline).open();
    match open().await {
        Ok(store) => Ok(store),
        Err(error) => open()
            .await
            .map_err(|second| format!("opening failed twice: {error}; {second}")),
    }
}

/// Nothing but a call after which nobody knows what the disk has makes a store useless.
fn poisoned_by_a_sync(disk: &FaultyDisk, is_poisoned: bool) -> Result<(), String> {
    const UNKNOWN: [Operation; 4] = [
        Operation::SyncData,
        Operation::SyncDir,
        Operation::Rename,
        // Cutting back what was written in part.
        Operation::SetLen,
    ];
    let hits = disk.hits();
    if is_poisoned && !hits.iter().any(|hit| UNKNOWN.contains(&hit.operation)) {
        return Err(format!("it is poisoned by {hits:?}"));
    }
    Ok(())
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
    every_call_of(Bench::default, async |bench| {
        Setup::Plain.run(bench).await?;
        bench.check().await
    });
}

/// Also those of opening a directory with an incomplete last batch, and commits to write again.
#[test]
fn every_call_fails_once_after_a_kill() {
    let fixture = runtime().block_on(Fixture::torn());
    every_call_of(
        || Bench::of(&fixture),
        async |bench| {
            Setup::Plain.run(bench).await?;
            bench.check().await
        },
    );
}

/// Also those of archives, snapshots, evictions, and checkpoints between commands.
#[test]
fn every_call_fails_once_while_there_is_much_to_do() {
    every_call_of(Bench::default, async |bench| {
        Setup::Busy.run(bench).await?;
        bench.check().await
    });
}

/// Also those of opening with archives, and an incomplete last batch.
#[test]
fn every_call_fails_once_after_a_kill_while_there_is_much_to_do() {
    let fixture = runtime().block_on(Fixture::torn());
    every_call_of(
        || Bench::of(&fixture),
        async |bench| {
            Setup::Busy.run(bench).await?;
            bench.check().await
        },
    );
}

#[test]
fn every_call_of_a_repair_fails_once() {
    let fixture = runtime().block_on(Fixture::damaged());
    every_call_of(|| Bench::of(&fixture), repair);
}

#[test]
fn every_call_of_a_repair_with_archives_fails_once() {
    let fixture = runtime().block_on(Fixture::damaged_and_archived());
    every_call_of(|| Bench::of(&fixture), repair);
}

/// A repair is whole, or says that it is not and can be begun again.
async fn repair(bench: &Bench) -> Result<(), String> {
    match bench.builder().repair().await {
        Ok(report) if report.remaining.is_empty() => return bench.check().await,
        Ok(_) => {}
        Err(OpenError::Store(_) | OpenError::File(_)) => {}
        Err(error) => return Err(format!("it answers {error}")),
    }
    bench.disk.clear();
    let report = bench.builder().repair().await;
    let report = report.map_err(|error| format!("the second one fails: {error}"))?;
    if !report.remaining.is_empty() {
        return Err(format!("the second one leaves {:?}", report.remaining));
    }
    bench.check().await
}

fn every_call_of(
    bench: impl Fn() -> Bench + Sync,
    checked: impl AsyncFn(&Bench) -> Result<(), String> + Sync,
) {
    let whole = bench();
    runtime().block_on(checked(&whole)).unwrap();
    let calls = whole.disk.calls();
    let in_all_ways = number("EVENTFOLD_EVERY_FAILURE").is_some() || size(false, true);
    let has_turn = |n: u64, way: usize| in_all_ways || n % FAILURES.len() as u64 == way as u64;
    let cases: Vec<_> = (0..calls)
        .flat_map(|n| {
            let ways = FAILURES.into_iter().enumerate();
            ways.filter(move |(way, _)| has_turn(n, *way))
                .map(move |(_, failure)| (n, failure))
        })
        .collect();
    let (next, violations) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let hits = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                let runtime = runtime();
                while let Some((n, failure)) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let bench = bench();
                    bench.disk.inject(Fault::once(*n, *failure));
                    let checked = runtime.block_on(async {
                        let checked = tokio::time::timeout(PATIENCE, checked(&bench)).await;
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
        "{} failed calls, {} violations; {:?}",
        cases.len(),
        violations.len(),
        hits.into_inner().unwrap()
    );
    assert!(violations.is_empty(), "{violations:#?}");
}
