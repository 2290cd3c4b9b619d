//! A process that works on a store is killed at any moment, again and again: what it was told is there, and everything
//! happened once.
//!
//! The test starts itself as that process, which tells on its standard output what it tries and what is acknowledged. Each
//! directory is used by one of several workloads, which take turns.
//! `EVENTFOLD_KILLS=1000` kills it more often, `EVENTFOLD_CRASH_SEED=7` at other moments.

use std::env;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use eventfold_es::RunMode;
use eventfold_es::disk::{CrashImage, SplitMix64, SystemDisk};
use eventfold_es_tests::campaign::{number, size};
use eventfold_es_tests::crash::{Check, Client, Expected, Note, Place, builder, check, scratch};

const STORE: &str = "EVENTFOLD_KILLED_STORE";
const ROUND: &str = "EVENTFOLD_KILLED_ROUND";
const WORKLOAD: &str = "EVENTFOLD_KILLED_WORKLOAD";
/// How often one directory survives before there is a new one, so that checking it stays quick.
const LIVES: u64 = 5;

/// What the process does.
#[derive(Debug, Clone, Copy)]
enum Workload {
    /// Commands on several aggregates, some of them rejected.
    Commands,
    /// Commands of four events each.
    MultiEvent,
    /// Many clients on one aggregate.
    HotAggregate,
    /// Reactions with several commands, and a chain of them.
    ProcessManagers,
    /// Aggregates that are saved every other event, evicted and loaded again.
    Snapshots,
    /// Journal and streams that are archived again and again.
    Archive,
    /// Commands with idempotency keys, and events with ids.
    Keyed,
}

const WORKLOADS: [Workload; 7] = [
    Workload::Commands,
    Workload::MultiEvent,
    Workload::HotAggregate,
    Workload::ProcessManagers,
    Workload::Snapshots,
    Workload::Archive,
    Workload::Keyed,
];

impl Workload {
    /// The one that has its turn.
    fn of(turn: u64) -> Self {
        WORKLOADS[turn as usize % WORKLOADS.len()]
    }

    fn check(self) -> Check {
        match self {
            Self::ProcessManagers | Self::Snapshots | Self::Archive => Check::PROCESS_MANAGERS,
            Self::Commands | Self::MultiEvent | Self::HotAggregate | Self::Keyed => {
                Check::AGGREGATES
            }
        }
    }
}

#[test]
fn killed() {
    if let Ok(store) = env::var(STORE) {
        let workload = Workload::of(number(WORKLOAD).unwrap());
        work(Path::new(&store), workload, number(ROUND).unwrap());
        return;
    }
    let kills = number("EVENTFOLD_KILLS").unwrap_or_else(|| size(70, 400));
    let seed = number("EVENTFOLD_CRASH_SEED").unwrap_or(20_260_101);
    let mut random = SplitMix64::new(seed);
    let mut copies = Place::default();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let (mut place, mut expected) = (scratch(), Expected::default());
    let mut acknowledged = 0;
    let begun = Instant::now();
    for kill in 0..kills {
        if kill % LIVES == 0 {
            acknowledged += expected.kept.len();
            (place, expected) = (scratch(), Expected::default());
        }
        let (turn, round) = (kill / LIVES, kill % LIVES);
        let workload = Workload::of(turn);
        let store = place.path().join("store");
        for note in told_before_the_kill(&store, turn, round, &mut random) {
            expected.take(note);
        }
        // A copy, so that the next process finds what this one left.
        let copy = copies.fresh();
        let image = CrashImage::read(place.path()).unwrap();
        image.materialise(&copy).unwrap();
        let checked = runtime.block_on(check(&copy.join("store"), &expected, workload.check()));
        if let Err(reason) = checked {
            panic!(
                "seed {seed}, kill {kill} of {workload:?}: {reason}; see {}",
                place.keep().display()
            );
        }
        std::fs::remove_dir_all(&copy).unwrap();
    }
    acknowledged += expected.kept.len();
    println!(
        "{kills} kills, {acknowledged} commands acknowledged, 0 violations (seed {seed}), {:.1} s",
        begun.elapsed().as_secs_f32()
    );
}

/// Starts a process that works, kills it after some notes or some time, and gives all its notes.
fn told_before_the_kill(store: &Path, turn: u64, round: u64, random: &mut SplitMix64) -> Vec<Note> {
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["--exact", "killed::killed", "--nocapture"])
        .env(STORE, store)
        .env(ROUND, round.to_string())
        .env(WORKLOAD, turn.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let output = child.stdout.take().unwrap();
    let (sender, notes) = channel();
    let reader = std::thread::spawn(move || {
        // The last line may have no end, and the first ones are about the test.
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if let Ok(note) = serde_json::from_str::<Note>(&line) {
                let _ = sender.send(note);
            }
        }
    });
    let mut told = Vec::new();
    if random.chance(2) {
        std::thread::sleep(Duration::from_micros(random.below(30_000) as u64));
    } else {
        for _ in 0..1 + random.below(120) {
            told.extend(notes.recv());
        }
        std::thread::sleep(Duration::from_micros(random.below(2_000) as u64));
    }
    let ended = child.try_wait().unwrap();
    assert!(ended.is_none(), "the process ended by itself: {ended:?}");
    child.kill().unwrap();
    child.wait().unwrap();
    reader.join().unwrap();
    told.extend(notes.try_iter());
    told
}

fn work(store: &Path, workload: Workload, round: u64) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(async {
        let has_reactions = workload.check().process_managers;
        let builder = builder(store, Arc::new(SystemDisk), has_reactions);
        let builder = match workload {
            Workload::Snapshots => builder
                .snapshot_every(2)
                .idle_timeout(Duration::from_millis(1)),
            Workload::Archive => builder.max_log_size(2_000),
            _ => builder,
        };
        let mode = if round.is_multiple_of(2) {
            RunMode::Inline
        } else {
            RunMode::Background
        };
        let store = builder.run_mode(mode).open().await.unwrap();
        let client = Client::new(&store, |note| println!("{}", note.label()));
        client.note_served().await;
        let clients = (1..=4).map(|number| {
            let client = client.clone();
            tokio::spawn(async move {
                for command in 0..1000 {
                    let tag = (round * 10 + number) * 1000 + command;
                    work_once(&client, workload, tag).await;
                }
            })
        });
        for client in clients.collect::<Vec<_>>() {
            client.await.unwrap();
        }
        // Until the kill.
        std::future::pending::<()>().await;
    });
}

async fn work_once(client: &Client, workload: Workload, tag: u64) {
    let id = ["hot", "a", "hot", "b"][tag as usize % 4];
    let parts = 1 + (tag % 4) as u32;
    match workload {
        Workload::MultiEvent => client.put(id, tag, 4).await.unwrap(),
        Workload::HotAggregate => client.put("hot", tag, parts).await.unwrap(),
        Workload::Keyed if tag.is_multiple_of(3) => client.inject(id, tag).await.unwrap(),
        Workload::Keyed => client.put_keyed(id, tag, parts).await.unwrap(),
        Workload::Commands if tag.is_multiple_of(5) => client.refused(id).await,
        Workload::Commands
        | Workload::ProcessManagers
        | Workload::Snapshots
        | Workload::Archive => client.put(id, tag, parts).await.unwrap(),
    }
}
