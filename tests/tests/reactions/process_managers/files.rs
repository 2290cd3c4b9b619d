//! What is derived is missing, cut or damaged: nothing is dispatched again, nothing is reset, and nobody else is stopped.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use eventfold_es::RunMode;
use eventfold_es::disk::{Failure, Fault, FaultyDisk, Operation, SystemDisk};
use eventfold_es::prelude::*;
use eventfold_es_tests::TestResult;
use eventfold_es_tests::journal_file::{JOURNAL, commits_of_stream};

use crate::process_managers::domain::{
    Log, LogCommand, Order, OrderEvent, Saga, TIME, clock, continued, exactly_once, finished,
    log_of, started, tell, with_saga,
};

/// Beside the saga, one with a single instance.
#[process_manager(subscribes = [Order], dispatches = [Log])]
#[derive(Debug, Default, Serialize, Deserialize)]
struct Bystander {
    seen: u64,
}

impl React<Order> for Bystander {
    fn react(&mut self, _event: &OrderEvent, cx: &mut Reaction<'_, Self>) {
        self.seen += 1;
        let tag = self.seen.to_string();
        cx.send("bystander", LogCommand::Append { tag });
    }
}

fn files_below(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(files_below(&path));
        } else {
            files.push(path);
        }
    }
    files.sort();
    files
}

#[derive(Debug, Clone, Copy)]
enum Harm {
    Removed,
    Empty,
    Half,
    Garbage,
}

fn harm(path: &Path, how: Harm) {
    let bytes = std::fs::read(path).unwrap();
    match how {
        Harm::Removed => std::fs::remove_file(path).unwrap(),
        Harm::Empty => std::fs::write(path, b"").unwrap(),
        Harm::Half => std::fs::write(path, &bytes[..bytes.len() / 2]).unwrap(),
        Harm::Garbage => {
            let garbage: Vec<u8> = bytes.iter().map(|byte| byte ^ 0x55).collect();
            std::fs::write(path, garbage).unwrap();
        }
    }
}

async fn told(base: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let clock = clock();
    let store = with_saga(AggregateStore::builder(base), &clock, RunMode::Inline)
        .process_manager::<Bystander>()
        .open()
        .await?;
    for event in [
        started("a"),
        continued("a", "x"),
        started("b"),
        finished("b"),
        crate::process_managers::domain::refused("a", "no"),
    ] {
        tell(&store, event).await;
    }
    store.close().await?;
    Ok(())
}

/// Scenarios 17 and 26: each file of a process manager, harmed in each way.
#[tokio::test]
#[cfg_attr(eventfold_memory_journal, ignore = "it is about the disk")]
async fn scenario_26_a_harmed_file_of_a_process_manager_resets_nothing() -> TestResult {
    let place = tempfile::tempdir()?;
    let original = place.path().join("original");
    told(&original).await?;
    let files = files_below(&original.join("process_managers"));
    assert!(files.len() >= 3, "{files:?}");
    let image = eventfold_es::disk::CrashImage::read(&original)?;
    for file in &files {
        for how in [Harm::Removed, Harm::Empty, Harm::Half, Harm::Garbage] {
            let relative = file.strip_prefix(&original)?;
            let what = format!("{} {how:?}", relative.display());
            let copy = place.path().join("copy");
            image.materialise(&copy)?;
            harm(&copy.join(relative), how);
            let clock = clock();
            let opened = with_saga(AggregateStore::builder(&copy), &clock, RunMode::Inline)
                .process_manager::<Bystander>()
                .open()
                .await;
            match opened {
                // Refusing is allowed, if it says which file it is.
                Err(error) => {
                    let named = relative.file_name().unwrap().to_string_lossy().into_owned();
                    assert!(error.to_string().contains(&named), "{what}: {error}");
                }
                Ok(store) => {
                    store.run_process_managers().await?;
                    let log = log_of(&store, "a").await;
                    assert_eq!(log, ["start", "x", "x of 2"], "{what}");
                    assert_eq!(
                        log_of(&store, "b").await,
                        ["start", "finish of 2"],
                        "{what}"
                    );
                    let bystander = log_of(&store, "bystander").await;
                    assert_eq!(bystander, ["1", "2", "3", "4", "5"], "{what}");
                    let saga = store.process_manager::<Saga>()?;
                    assert_eq!(saga.dead_letters().await?.len(), 1, "{what}");
                    tell(&store, continued("a", "after")).await;
                    let log = log_of(&store, "a").await;
                    assert_eq!(log.last().unwrap(), "after of 4", "{what}");
                    assert_eq!(log_of(&store, "bystander").await.len(), 6, "{what}");
                    store.close().await?;
                }
            }
            std::fs::remove_dir_all(&copy)?;
        }
    }
    Ok(())
}

/// Recovery starts without new traffic.
#[tokio::test]
async fn scenario_17_recovery_starts_without_new_traffic() -> TestResult {
    let place = tempfile::tempdir()?;
    let clock = clock();
    let builder = || AggregateStore::builder(place.path());
    let store = with_saga(builder(), &clock, RunMode::OnDemand)
        .open()
        .await?;
    tell(&store, started("a")).await;
    tell(&store, continued("a", "x")).await;
    store.close().await?;
    let store = with_saga(builder(), &clock, RunMode::Background)
        .open()
        .await?;
    for _ in 0..500 {
        if log_of(&store, "a").await.len() == 3 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert_eq!(log_of(&store, "a").await, ["start", "x", "x of 2"]);
    exactly_once(&store).await;
    Ok(())
}

/// Scenario 25: what one process manager sends to cannot be read. The other one goes on, what was sent is kept, and is executed once
/// when it can be; also after a kill.
#[tokio::test]
#[cfg_attr(eventfold_memory_journal, ignore = "it is about the disk")]
async fn scenario_25_an_unreadable_stream_of_another_process_manager_loses_nothing() -> TestResult {
    let place = tempfile::tempdir()?;
    let base = place.path();
    told(base).await?;
    // Opening reads the last commit.
    let store = AggregateStore::open(base).await?;
    let command = LogCommand::Append { tag: "one".into() };
    store.send("last", command, ()).await?;
    store.close().await?;
    // What the bystander sends to.
    let faulty = FaultyDisk::new(Arc::new(SystemDisk));
    for commit in commits_of_stream(&std::fs::read(base.join(JOURNAL))?, "log", "bystander") {
        let fault = Fault::starting(0, Failure::EIO).on(&[Operation::Read]);
        let fault = fault.at(|path| path.ends_with(JOURNAL));
        faulty.inject(fault.from_offset(commit.start as u64));
    }
    let clock = clock();
    let open = || {
        let builder = AggregateStore::builder(base).disk(Arc::new(faulty.clone()));
        with_saga(builder, &clock, RunMode::Background)
            .process_manager::<Bystander>()
            .open()
    };
    for (number, tag) in [(0, "y"), (1, "z")] {
        let store = open().await?;
        tell(&store, continued("a", tag)).await;
        store.run_process_managers().await?;
        let log = log_of(&store, "a").await;
        let all = ["start", "x", "x of 2", "y", "y of 4", "z", "z of 5"];
        assert_eq!(log, all[..5 + 2 * number as usize]);
        // Each command that could not be executed waits for its next attempt, and for nobody else.
        let bystander = store.process_manager::<Bystander>()?;
        let status = bystander.status().await?;
        assert_eq!((status.retrying, status.dead_letters), (number + 1, 0));
        assert_eq!(status.parked_at, None);
        let saga = store.process_manager::<Saga>()?;
        assert_eq!(saga.dead_letters().await?.len(), 1, "it has its own only");
        drop((bystander, saga));
        store.close().await?;
    }
    faulty.clear();
    let store = open().await?;
    let bystander = store.process_manager::<Bystander>()?;
    assert_eq!(log_of(&store, "bystander").await, ["1", "2", "3", "4", "5"]);
    clock.advance(TIME);
    store.run_process_managers().await?;
    assert_eq!(bystander.status().await?.retrying, 0);
    clock.advance(TIME);
    tell(&store, continued("a", "last")).await;
    store.run_process_managers().await?;
    let mut log = log_of(&store, "bystander").await;
    // Which of those that waited comes first is not said.
    log.sort();
    assert_eq!(log, ["1", "2", "3", "4", "5", "6", "7", "8"]);
    exactly_once_but(&store, &["bystander", "last"]).await;
    drop(bystander);
    store.close().await?;
    Ok(())
}

/// The saga has reacted to each event once; what others have logged is their own.
async fn exactly_once_but(store: &AggregateStore, others: &[&str]) {
    let events = crate::process_managers::domain::told(store).await;
    let mut found = crate::process_managers::domain::logs(store).await;
    found.retain(|key, _| !others.contains(&&**key));
    assert_eq!(found, crate::process_managers::domain::expected(&events));
}
