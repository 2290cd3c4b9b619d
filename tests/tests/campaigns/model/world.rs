//! A store and its model, side by side.

mod crash;
mod requests;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use eventfold_es::disk::{CrashImage, RecordingDisk};
use eventfold_es::prelude::*;
use eventfold_es::store::AggregateStoreBuilder;
use eventfold_es::store::ProcessManagerReport;
use eventfold_es::{RunMode, StoreError};
use eventfold_es_tests::crash::{audit, scratch};
use tempfile::TempDir;

use super::domain::{ACCOUNTS, Account, Auditor, Clerk, Log, TILLS, Till};
use super::operations::{Action, Operation, Reading, Setup};
use super::shadow::{Letter, Request, Shadow, Stream, fold_each};
use crash::behind_a_write_to_the_journal;
use requests::{Answer, abandon_after, answer};

/// Nothing here takes so long, unless it never ends.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs a case.
///
/// # Errors
///
/// The first thing that the model does not explain.
pub async fn run(setup: Setup, operations: &[Operation]) -> Result<(), String> {
    let mut world = World::new(setup).await?;
    for (number, operation) in operations.iter().enumerate() {
        let stepped = tokio::time::timeout(PATIENCE, world.step(operation)).await;
        stepped
            .unwrap_or_else(|_| Err("it never ends".to_owned()))
            .map_err(|reason| format!("operation {number}, {operation:?}: {reason}"))?;
    }
    let ended = tokio::time::timeout(PATIENCE, world.end()).await;
    ended
        .unwrap_or_else(|_| Err("it never ends".to_owned()))
        .map_err(|reason| format!("at the end: {reason}"))
}

struct World {
    place: TempDir,
    images: u64,
    disk: RecordingDisk,
    root: PathBuf,
    store: AggregateStore,
    setup: Setup,
    shadow: Shadow,
    /// What was abandoned and may still happen, by tag.
    open: BTreeMap<u64, Request>,
    /// The tag of the next request.
    next: u64,
    /// How long the log must be at least after the next crash, if it takes everything back that this recording has.
    floor: u64,
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, found: T, expected: T) -> Result<(), String> {
    if found == expected {
        return Ok(());
    }
    Err(format!("{what} is {found:?} instead of {expected:?}"))
}

impl World {
    async fn new(setup: Setup) -> Result<Self, String> {
        let place = scratch();
        let root = place.path().join("0");
        std::fs::create_dir(&root).map_err(text)?;
        let disk = RecordingDisk::new(&root).map_err(text)?;
        let store = open(&disk, &root, setup).await?;
        Ok(Self {
            place,
            images: 0,
            disk,
            root,
            store,
            setup,
            shadow: Shadow::default(),
            open: BTreeMap::new(),
            next: 1,
            floor: 0,
        })
    }

    async fn step(&mut self, operation: &Operation) -> Result<(), String> {
        match operation {
            Operation::Do(action) => self.ask(std::slice::from_ref(action), None).await,
            Operation::AtOnce(actions) => self.ask(actions, None).await,
            Operation::Abandon(action, polls) => {
                self.ask(std::slice::from_ref(action), Some(*polls)).await
            }
            Operation::Read(reading) => self.read(reading).await,
            Operation::React => self.react().await,
            Operation::Evict => {
                // The sweep comes by every millisecond; nothing depends on whether it did.
                tokio::time::sleep(Duration::from_millis(3)).await;
                Ok(())
            }
            Operation::Reopen(setup) => self.reopen(*setup).await,
            Operation::Kill {
                back,
                torn,
                before_a_sync,
                setup,
            } => {
                let recording = self.killed_store().await?;
                let k = self.moment(&recording, *back);
                let cut = if *before_a_sync {
                    recording.until(behind_a_write_to_the_journal(&recording, k), 0)
                } else {
                    let tears = recording.tears(k);
                    recording.until(k, tears[usize::from(*torn) % tears.len()])
                };
                let image = CrashImage::killed(&cut).map_err(text)?;
                let root = self.materialise(&image)?;
                let disk = RecordingDisk::continue_from(cut, &root).map_err(text)?;
                self.open_again(disk, root, *setup).await
            }
            Operation::PowerLoss {
                back,
                survival,
                setup,
            } => {
                let recording = self.killed_store().await?;
                let k = self.moment(&recording, *back);
                let cut = recording.until(k, 0);
                let image = CrashImage::power_loss(&cut, &survival.survival()).map_err(text)?;
                let root = self.materialise(&image)?;
                self.floor = self.kept_by(&cut);
                let disk = RecordingDisk::new(&root).map_err(text)?;
                self.open_again(disk, root, *setup).await
            }
        }
    }

    /// Sends requests, all at once, and drops them after so many polls.
    async fn ask(&mut self, actions: &[Action], polls: Option<usize>) -> Result<(), String> {
        let mut asked = Vec::new();
        for action in actions {
            let (request, options) = self.request(action);
            let before = self.shadow.length(&request.stream());
            self.open.insert(self.next, request.clone());
            let answer = answer(self.store.clone(), request.clone(), options);
            let disk = self.disk.clone();
            let answer = async move {
                let answer = answer.await;
                if let Ok(Answer::Done {
                    position: Some(position),
                    ..
                }) = &answer
                {
                    disk.mark(position.to_string());
                }
                answer
            };
            asked.push((self.next, request, before, answer));
            self.next += 1;
        }
        let mut answers = Vec::new();
        if let Some(polls) = polls {
            for (tag, request, before, answer) in asked {
                let answer = abandon_after(polls, answer).await;
                answers.push((tag, request, before, answer));
            }
        } else {
            let spawned: Vec<_> = asked
                .into_iter()
                .map(|(tag, request, before, answer)| (tag, request, before, tokio::spawn(answer)))
                .collect();
            for (tag, request, before, answer) in spawned {
                answers.push((tag, request, before, Some(answer.await.map_err(text)?)));
            }
        }
        let found = self.observe().await?;
        for (tag, request, before, answer) in answers {
            // Not answered: it may happen until the store is closed.
            let Some(answer) = answer else { continue };
            self.open.remove(&tag);
            // Of requests that are alike, those before the first accepted one may be rejected, and any of them is found.
            let is_alone = self.open.values().all(|open| *open != request);
            let found = found.get(&tag);
            let found = found.filter(|_| is_alone || !matches!(answer, Ok(Answer::Rejected(_))));
            self.check(&request, before, answer?, found)
                .map_err(|reason| format!("the answer to {request:?}: {reason}"))?;
        }
        Ok(())
    }

    /// Shows the model what the store has by now.
    async fn observe(&mut self) -> Result<BTreeMap<u64, Range<usize>>, String> {
        let log = self.store.projection::<Log>().await.map_err(text)?;
        let log = &log.seen;
        self.disk.mark(log.len().to_string());
        let known = self.shadow.log.len();
        if let Some(first) = (0..known).find(|index| log.get(*index) != self.shadow.log.get(*index))
        {
            return Err(format!(
                "position {} was {:?} and is {:?}",
                first + 1,
                self.shadow.log[first],
                log.get(first)
            ));
        }
        self.shadow.absorb(&log[known..], &mut self.open)
    }

    async fn read(&mut self, reading: &Reading) -> Result<(), String> {
        match reading {
            Reading::Account(account) => self.read_stream::<Account>(ACCOUNTS[*account]).await,
            Reading::Till(till) => self.read_stream::<Till>(TILLS[*till]).await,
            Reading::DeadLetters => {
                let before = self.shadow.letters().map(<[Letter]>::len);
                let found = self.dead_letters().await?;
                // As in a stream.
                while {
                    self.observe().await?;
                    let known = self.shadow.letters().map(<[Letter]>::len);
                    known[0] < found[0].len() || known[1] < found[1].len()
                } {
                    tokio::task::yield_now().await;
                }
                for ((found, expected), before) in
                    found.iter().zip(self.shadow.letters()).zip(before)
                {
                    let is_part = found.len() >= before && expected.starts_with(found);
                    if !is_part {
                        return Err(format!(
                            "the dead letters are {found:#?} instead of {expected:#?}"
                        ));
                    }
                }
                Ok(())
            }
            Reading::RebuiltProjection => {
                self.store.rebuild_projection::<Log>().await.map_err(text)?;
                self.observe().await.map(drop)
            }
        }
    }

    async fn read_stream<A>(&mut self, id: &str) -> Result<(), String>
    where
        A: Aggregate + PartialEq + std::fmt::Debug,
    {
        let stream = Stream {
            aggregate_type: A::AGGREGATE_TYPE.to_owned(),
            id: id.to_owned(),
        };
        let before = self.shadow.length(&stream);
        let handle = self.store.get::<A>(id).await.map_err(text)?;
        // A state shows an event a moment after the order over all streams does, a stream a moment before it.
        let known = fold_each::<A>(&self.shadow.events(&stream)[..before]);
        let state = loop {
            let state = handle.state().await.map_err(text)?;
            match known.split_last() {
                Some((_, older)) if older.contains(&state) => tokio::task::yield_now().await,
                _ => break state,
            }
        };
        let is_listed = self
            .store
            .list::<A>()
            .await
            .map_err(text)?
            .contains(&stream.id);
        let events = match self.store.read_events(A::AGGREGATE_TYPE, id).await {
            Err(StoreError::UnknownStream { .. }) => Vec::new(),
            events => events.map_err(text)?,
        };
        while {
            self.observe().await?;
            self.shadow.length(&stream) < events.len()
        } {
            tokio::task::yield_now().await;
        }
        let expected = self.shadow.events(&stream);
        let states = fold_each::<A>(expected);
        if !states[before..].contains(&state) {
            let expected = states.last();
            return Err(format!("the state is {state:?} instead of {expected:?}"));
        }
        if events.len() < before || !expected.starts_with(&events) {
            return Err(format!("the events are {events:?} instead of {expected:?}"));
        }
        same("whether it is listed", is_listed || before == 0, true)
    }

    async fn dead_letters(&self) -> Result<[Vec<Letter>; 2], String> {
        let clerk = self.store.dead_letters::<Clerk>().await.map_err(text)?;
        let auditor = self.store.dead_letters::<Auditor>().await.map_err(text)?;
        Ok([clerk, auditor].map(|letters| letters.into_iter().map(Letter::from).collect()))
    }

    async fn react(&mut self) -> Result<(), String> {
        let (known, is_quiet) = (self.shadow.log.len(), self.open.is_empty());
        self.store.run_process_managers().await.map_err(text)?;
        self.observe().await?;
        if let Some(owed) = self.shadow.owed_for(0..known) {
            return Err(format!(
                "process managers ran, and nobody reacted to {owed}"
            ));
        }
        if is_quiet {
            let second = self.store.run_process_managers().await.map_err(text)?;
            same("the second report", second, ProcessManagerReport::default())?;
        }
        Ok(())
    }

    async fn reopen(&mut self, setup: Setup) -> Result<(), String> {
        self.store.clone().close().await.map_err(text)?;
        self.store = open(&self.disk, &self.root, setup).await?;
        self.setup = setup;
        same("what is to redo", self.store.recovery().redone_commits, 0)?;
        self.observe().await?;
        // What has not happened by now never will.
        self.open.clear();
        Ok(())
    }

    /// Compares everything with everything, in the store and in its files, and opens it once more.
    async fn end(mut self) -> Result<(), String> {
        if !self.open.is_empty() {
            self.reopen(self.setup).await?;
        }
        self.react().await?;
        for id in ACCOUNTS {
            self.read_stream::<Account>(id).await?;
        }
        for id in TILLS {
            self.read_stream::<Till>(id).await?;
        }
        let log = self.store.projection::<Log>().await.map_err(text)?;
        self.store.rebuild_projection::<Log>().await.map_err(text)?;
        let rebuilt = self.store.projection::<Log>().await.map_err(text)?;
        same("the rebuilt projection", rebuilt, log)?;
        for status in self.store.health().await.process_managers {
            let waiting = (status.parked_at, status.retrying);
            same("what a process manager waits for", waiting, (None, 0))?;
        }
        let report = self.store.verify().await.map_err(text)?;
        same("what verifying finds", report.differences, Vec::new())?;
        let setup = Setup {
            mode: RunMode::OnDemand,
            ..self.setup
        };
        self.reopen(setup).await?;
        let report = self.store.run_process_managers().await.map_err(text)?;
        same(
            "the report after a close",
            report,
            ProcessManagerReport::default(),
        )?;
        let letters = self.dead_letters().await?;
        self.store.clone().close().await.map_err(text)?;
        same(
            "the dead letters",
            letters.each_ref().map(Vec::as_slice),
            self.shadow.letters(),
        )?;
        let audited = audit(&self.root.join("store"))?;
        let expected = self.shadow.streams().map(|(stream, events)| {
            let key = (stream.aggregate_type.clone(), stream.id.clone());
            (key, events.to_vec())
        });
        same("what the files hold", audited.streams, expected.collect())
    }
}

/// Everything that depends on how a store is configured.
fn builder(disk: &RecordingDisk, root: &Path, setup: Setup) -> AggregateStoreBuilder {
    let mut builder = AggregateStore::builder(root.join("store"))
        .disk(Arc::new(disk.clone()))
        .process_manager::<Clerk>()
        .process_manager::<Auditor>()
        .projection::<Log>()
        .run_mode(setup.mode);
    if setup.archives {
        builder = builder.max_log_size(700);
    }
    if setup.saves {
        builder = builder.snapshot_every(2);
    }
    if setup.evicts {
        builder.idle_timeout(Duration::ZERO)
    } else {
        builder
    }
}

async fn open(disk: &RecordingDisk, root: &Path, setup: Setup) -> Result<AggregateStore, String> {
    let opened = builder(disk, root, setup).open().await;
    opened.map_err(|error| format!("opening: {error}"))
}
