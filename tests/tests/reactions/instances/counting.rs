//! What is ignored and passed over is counted once, however often its commit is made again.

use std::path::Path;
use std::sync::Arc;

use eventfold_es::disk::{Failure, Fault, FaultyDisk, Operation, SystemDisk};
use eventfold_es::prelude::*;
use eventfold_es::{AggregateStoreBuilder, RunMode};
use eventfold_es_tests::TestResult;

use super::judge::{FINE, Judge, PANIC, UNCLAIMED, broken, builder, handle};
use super::tracker::{CONTINUE, SKIP, START, Tracker, clock};
use crate::common::counter::CounterCommand;

fn is_journal(path: &Path) -> bool {
    path.ends_with("meta/journal/app.jsonl")
}

fn on<PM: ProcessManager>(base: &Path, disk: &FaultyDisk) -> AggregateStoreBuilder {
    builder::<PM>(base, RunMode::OnDemand, &clock()).disk(Arc::new(disk.clone()))
}

async fn send(store: &AggregateStore, id: &str, number: i64) -> TestResult {
    let command = CounterCommand::Add(number);
    store.send(id, command, CommandContext::default()).await?;
    Ok(())
}

/// Lets the next commit, which is one of a process manager, fail at first.
async fn run_with_a_failure(store: &AggregateStore, disk: &FaultyDisk) -> TestResult {
    let before = disk.hits().len();
    let fault = Fault::once(0, Failure::ENOSPC).on(&[Operation::Write]);
    disk.inject(fault.at(is_journal));
    store.run_process_managers().await?;
    assert_eq!(disk.hits().len(), before + 1, "the commit failed");
    Ok(())
}

#[tokio::test]
#[cfg_attr(eventfold_memory_journal, ignore = "it is about the disk")]
async fn what_is_made_again_is_counted_once() -> TestResult {
    let base = tempfile::tempdir()?;
    let disk = FaultyDisk::new(Arc::new(SystemDisk));
    let store = on::<Tracker>(base.path(), &disk).open().await?;
    let tracker = handle::<Tracker>(&store);
    // For nobody, and without a commit; then a commit that fails, and all of it again.
    send(&store, "in-unknown", CONTINUE).await?;
    send(&store, "in-a", START).await?;
    run_with_a_failure(&store, &disk).await?;
    let status = tracker.status().await?;
    assert_eq!((status.ignored, status.skipped), (1, 0));
    // Several at once, of which each is for nobody.
    send(&store, "in-a", START).await?;
    send(&store, "in-unknown", CONTINUE).await?;
    // A command that the policy passes over.
    send(&store, "in-a", SKIP).await?;
    run_with_a_failure(&store, &disk).await?;
    let status = tracker.status().await?;
    assert_eq!((status.ignored, status.skipped), (3, 1));
    drop(tracker);
    store.close().await?;
    Ok(())
}

#[tokio::test]
#[cfg_attr(eventfold_memory_journal, ignore = "it is about the disk")]
async fn an_event_that_is_passed_over_again_is_counted_once() -> TestResult {
    let guard = broken().await;
    let base = tempfile::tempdir()?;
    let disk = FaultyDisk::new(Arc::new(SystemDisk));
    let store = on::<Judge>(base.path(), &disk).open().await?;
    let judge = handle::<Judge>(&store);
    send(&store, "in-skip-a", PANIC).await?;
    send(&store, "in-skip-a", FINE).await?;
    run_with_a_failure(&store, &disk).await?;
    assert_eq!(judge.status().await?.skipped, 1);
    // The same for one of which nobody can tell whose it is.
    send(&store, "in-skip-a", UNCLAIMED).await?;
    run_with_a_failure(&store, &disk).await?;
    assert_eq!(judge.status().await?.skipped, 2);
    drop(judge);
    store.close().await?;
    drop(guard);
    Ok(())
}
