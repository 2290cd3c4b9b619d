//! `main` returns while a process manager reads a target: the runtime ends in the middle of a reaction.
//!
//! Once, every command whose target was being read became a dead letter then, durably, with the reason that the runtime was
//! shutting down; and the state of the process manager could be saved with an event in it that it had not reacted to.

use std::convert::Infallible;
use std::path::Path;

use eventfold_es::RunMode;
use eventfold_es::prelude::*;
use eventfold_es_tests::TestResult;

const EVENTS: u64 = 60;
const ROUNDS: u64 = 12;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum SourceCommand {
    Emit(u64),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
pub enum SourceEvent {
    Emitted { round: u64 },
}

#[aggregate(error = Infallible)]
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Source;

impl Decider for Source {
    fn decide(&self, command: SourceCommand) -> Result<Vec<SourceEvent>, Infallible> {
        let SourceCommand::Emit(round) = command;
        Ok(vec![SourceEvent::Emitted { round }; EVENTS as usize])
    }

    fn evolve(&mut self, _event: &SourceEvent) {}
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum NoteCommand {
    Write { seen: u64 },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
pub enum NoteEvent {
    Written { seen: u64 },
}

#[aggregate(error = Infallible)]
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Note {
    seen: Vec<u64>,
}

impl Decider for Note {
    fn decide(&self, command: NoteCommand) -> Result<Vec<NoteEvent>, Infallible> {
        let NoteCommand::Write { seen } = command;
        Ok(vec![NoteEvent::Written { seen }])
    }

    fn evolve(&mut self, event: &NoteEvent) {
        let NoteEvent::Written { seen } = event;
        self.seen.push(*seen);
    }
}

/// Writes how many events it has seen, of every other event only, so that its state also moves on without a commit.
#[process_manager(subscribes = [Source], dispatches = [Note])]
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Counting {
    seen: u64,
}

impl React<Source> for Counting {
    fn react(&mut self, _event: &SourceEvent, cx: &mut Reaction<'_, Self>) {
        self.seen += 1;
        if self.seen.is_multiple_of(2) {
            let target = format!("note-{}", self.seen % EVENTS);
            cx.send(target, NoteCommand::Write { seen: self.seen });
        }
    }
}

async fn open(base: &Path) -> Result<AggregateStore, eventfold_es::OpenError> {
    AggregateStore::builder(base)
        .process_manager::<Counting>()
        .run_mode(RunMode::Background)
        // On a busy machine each runtime may end at the same reaction.
        .max_starts(0)
        .open()
        .await
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()
}

#[test]
fn a_runtime_that_ends_in_a_reaction_loses_and_doubles_nothing() -> TestResult {
    let base = tempfile::tempdir()?;
    for round in 1..=ROUNDS {
        let main = runtime()?;
        main.block_on(async {
            // Every target is cold again: reading it is what the end of the runtime interrupts.
            let store = open(base.path()).await?;
            store
                .send("s", SourceCommand::Emit(round), CommandContext::default())
                .await?;
            for _ in 0..round * 7 {
                tokio::task::yield_now().await;
            }
            Ok::<_, eventfold_es::Error>(())
        })?;
        drop(main);
    }
    runtime()?.block_on(async {
        let store = open(base.path()).await?;
        store.run_process_managers().await?;
        assert_eq!(store.dead_letters::<Counting>().await?, []);
        let mut seen = Vec::new();
        for id in store.list::<Note>().await? {
            seen.extend(store.get::<Note>(&id).await?.state().await?.seen);
        }
        seen.sort_unstable();
        let expected: Vec<_> = (1..=EVENTS * ROUNDS)
            .filter(|seen| seen.is_multiple_of(2))
            .collect();
        assert_eq!(seen, expected);
        store.close().await?;
        Ok(())
    })
}
