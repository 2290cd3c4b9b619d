//! Every crash of a store, at every operation on its files, leaves what was acknowledged, and nothing of what was not half
//! done.
//!
//! A store works on a disk that records what is done to it. Then the process is killed before, within and after each
//! operation, or the power fails there and any part of what was not synced is lost. What is left is opened, checked, used
//! and opened again. For some kills, opening is recorded too, and crashes at each of its own operations.
//!
//! - `EVENTFOLD_CRASH_POINTS=100000` checks at least so many points, in as many rounds as it takes; without it there is one round.
//! - `EVENTFOLD_CRASH_SEED=7` chooses them by another seed.
//! - `EVENTFOLD_CRASH_WORKLOAD=Archive` leaves out the other workloads.
//! - `EVENTFOLD_CRASH_FIRST=1` ends at the first violation.

mod adoption;

use std::env;
use std::path::Path;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};
use std::time::Duration;

use eventfold_es::disk::{DiskOp, Recording, RecordingDisk, SplitMix64};
use eventfold_es::{CommandContext, RunMode};
use eventfold_es_tests::campaign::{number, size};
use eventfold_es_tests::crash::domain::{LedgerCommand, TallyRow};
use eventfold_es_tests::crash::instances::{Heavy, PARKS, Watcher, release};
use eventfold_es_tests::crash::{
    Campaign, Check, Client, Members, Note, Post, builder, open_on, scratch,
};

/// How many points each workload gets in one round, and how many first crashes with how many second ones.
const ROUND: [(Workload, usize, (usize, usize)); 15] = [
    (Workload::Commands, 100, (3, 12)),
    (Workload::HotAggregate, 75, (3, 12)),
    (Workload::ProcessManagers, 150, (4, 12)),
    (Workload::Reopened, 125, (3, 12)),
    (Workload::OddIds, 50, (2, 12)),
    (Workload::Archive, 150, (5, 12)),
    (Workload::Snapshots, 125, (3, 12)),
    (Workload::Keyed, 75, (3, 12)),
    (Workload::Transactions, 125, (4, 12)),
    (Workload::Instances, 125, (4, 12)),
    (Workload::Rebuilt, 75, (4, 12)),
    (Workload::Backup, 75, (3, 12)),
    (Workload::Adoption, 50, (2, 12)),
    (Workload::Rows, 125, (4, 12)),
    (Workload::Handlers, 125, (4, 12)),
];

#[derive(Debug, Clone, Copy)]
enum Workload {
    /// Commands on several aggregates, of up to four events, and rejected ones.
    Commands,
    /// Clients that keep one aggregate busy, so that its commits share batches.
    HotAggregate,
    /// A reaction with several commands to several aggregates and twice to one, one of them rejected, and a chain.
    ProcessManagers,
    /// The same with a checkpoint in the middle, and process managers that are behind.
    Reopened,
    /// Streams whose directories are not named like them.
    OddIds,
    /// Journal and streams that are archived again and again.
    Archive,
    /// Aggregates that are saved every other event, evicted and loaded again, with a checkpoint in the middle.
    Snapshots,
    /// Commands with idempotency keys, events with ids, and futures that are dropped, with a checkpoint in the middle.
    Keyed,
    /// Transactions over several aggregates, twice to one of them, and rejected and dropped ones, with process managers and a
    /// checkpoint in the middle.
    Transactions,
    /// Instances that begin, end and begin again, with deadlines, dead letters that are redriven, what is parked and released, and a
    /// checkpoint in the middle.
    Instances,
    /// Instances whose states are made again by a later version of the program.
    Rebuilt,
    /// A second backup to the directory of the first, which is what is opened.
    Backup,
    /// A directory of 0.2.0, with process managers half caught up, that is adopted and worked on.
    Adoption,
    /// An event handler whose calls are noted outside, some of which fail once or take long.
    Handlers,
    /// A projection with rows that is behind, follows, and is rebuilt.
    Rows,
}

#[test]
fn crash_enumeration() {
    let seed = number("EVENTFOLD_CRASH_SEED").unwrap_or(20_260_101);
    let wanted = number("EVENTFOLD_CRASH_POINTS").unwrap_or_else(|| size(1, 5_000)) as usize;
    println!("seed {seed}");
    let chosen = env::var("EVENTFOLD_CRASH_WORKLOAD").ok();
    let mut campaign = Campaign::new(seed);
    if number("EVENTFOLD_CRASH_FIRST").is_some() {
        campaign.end_after(1);
    }
    while campaign.points() < wanted && !campaign.has_enough() {
        let mut has_one = false;
        for (workload, points, again) in ROUND {
            let name = format!("{workload:?}");
            if chosen.as_ref().is_some_and(|chosen| *chosen != name) {
                continue;
            }
            has_one = true;
            let begun = std::time::Instant::now();
            let how = workload.check();
            let recording = record(workload, campaign.random());
            let first = campaign.crash(&name, &recording, how, points);
            let second = campaign.crash_again(&name, &recording, how, again);
            println!(
                "{name}: {} operations, {first} crash points, {second} after a second crash, {:.1} s",
                recording.len(),
                begun.elapsed().as_secs_f32()
            );
        }
        assert!(has_one, "there is no workload {chosen:?}");
    }
    let totals = campaign.finish();
    println!(
        "{} crash points, {} violations (seed {seed})",
        totals.points,
        totals.violations.len()
    );
    assert!(totals.violations.is_empty(), "{:#?}", totals.violations);
    assert!(totals.points >= wanted);
}

impl Workload {
    fn check(self) -> Check {
        match self {
            Self::Instances | Self::Rebuilt => Check::INSTANCES,
            Self::ProcessManagers
            | Self::Reopened
            | Self::Transactions
            | Self::Archive
            | Self::Snapshots
            | Self::Backup
            | Self::Adoption => Check::PROCESS_MANAGERS,
            Self::Rows => Check::ROWS,
            Self::Handlers => Check::HANDLERS,
            Self::Commands | Self::HotAggregate | Self::OddIds | Self::Keyed => Check::AGGREGATES,
        }
    }
}

fn record(workload: Workload, random: &mut SplitMix64) -> Recording {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()
        .expect("a runtime");
    let place = scratch();
    let disk = RecordingDisk::new(place.path()).expect("an empty directory");
    let store = place.path().join("store");
    match workload {
        Workload::Commands => runtime.block_on(commands(&disk, &store, random)),
        Workload::HotAggregate => runtime.block_on(hot_aggregate(&disk, &store)),
        Workload::ProcessManagers => runtime.block_on(process_managers(&disk, &store, random)),
        Workload::Reopened => runtime.block_on(reopened(&disk, &store, random)),
        Workload::OddIds => runtime.block_on(odd_ids(&disk, &store)),
        Workload::Archive => runtime.block_on(archive(&disk, &store, random)),
        Workload::Snapshots => runtime.block_on(snapshots(&disk, &store, random)),
        Workload::Keyed => runtime.block_on(keyed(&disk, &store, random)),
        Workload::Transactions => runtime.block_on(transactions(&disk, &store, random)),
        Workload::Instances => runtime.block_on(instances(&disk, &store, random)),
        Workload::Rebuilt => runtime.block_on(rebuilt(&disk, &store, random)),
        Workload::Rows => runtime.block_on(rows(&disk, &store, random)),
        Workload::Handlers => runtime.block_on(handlers(&disk, &store, random)),
        Workload::Backup => return runtime.block_on(backup(place.path(), random)),
        Workload::Adoption => return runtime.block_on(adoption::record(place.path())),
    }
    disk.check().expect("everything goes through the disk");
    disk.recording()
}

async fn commands(disk: &RecordingDisk, path: &Path, random: &mut SplitMix64) {
    let store = open_on(disk, path, false, RunMode::Inline).await;
    let client = Client::recorded(&store, disk);
    for tag in 1..=16 {
        let id = ["a", "b", "c"][random.below(3)];
        let parts = [1, 2, 4, 4][random.below(4)];
        client.put(id, tag, parts).await.expect("the disk works");
        let refused = store.send(id, LedgerCommand::Refuse, CommandContext::default());
        refused.await.expect_err("it is rejected");
    }
    drop(client);
    store.close().await.expect("the disk works");
}

async fn hot_aggregate(disk: &RecordingDisk, path: &Path) {
    let store = open_on(disk, path, false, RunMode::Inline).await;
    let client = Arc::new(Client::recorded(&store, disk));
    let clients = (1..=6).map(|number| {
        let client = Arc::clone(&client);
        tokio::spawn(async move {
            for command in 0..6 {
                let put = || client.put("hot", number * 1000 + command, 1 + (command % 4) as u32);
                // The answer to the second has no commit, and waits for that of the first.
                let (first, second) = tokio::join!(put(), put());
                first.and(second).expect("the disk works");
            }
        })
    });
    for client in clients.collect::<Vec<_>>() {
        client.await.expect("a client");
    }
    drop(client);
    store.close().await.expect("the disk works");
}

async fn process_managers(disk: &RecordingDisk, path: &Path, random: &mut SplitMix64) {
    let store = open_on(disk, path, true, RunMode::Inline).await;
    let client = Arc::new(Client::recorded(&store, disk));
    for tag in 1..=4 {
        client.put("one", tag, 2).await.expect("the disk works");
    }
    let clients = (1..=3).map(|number| {
        let client = Arc::clone(&client);
        let parts = 1 + random.below(2) as u32;
        tokio::spawn(async move {
            for command in 0..2 {
                let id = ["one", "two"][command as usize];
                let done = client.put(id, number * 1000 + command, parts).await;
                done.expect("the disk works");
            }
        })
    });
    for client in clients.collect::<Vec<_>>() {
        client.await.expect("a client");
    }
    drop(client);
    store.close().await.expect("the disk works");
}

async fn reopened(disk: &RecordingDisk, path: &Path, random: &mut SplitMix64) {
    let mut tag = 0;
    // In the second run the process managers stay behind what is committed, and catch up in the third.
    for mode in [RunMode::Inline, RunMode::OnDemand, RunMode::Background] {
        let store = open_on(disk, path, true, mode).await;
        let client = Client::recorded(&store, disk);
        for _ in 0..3 {
            tag += 1;
            let id = ["a", "b"][random.below(2)];
            client
                .put(id, tag, 1 + random.below(4) as u32)
                .await
                .expect("the disk works");
        }
        drop(client);
        store.close().await.expect("the disk works");
    }
}

async fn archive(disk: &RecordingDisk, path: &Path, random: &mut SplitMix64) {
    let mut tag = 0;
    for max_log_size in [700, 3_000] {
        let store = builder(path, Arc::new(disk.clone()), true)
            .max_log_size(max_log_size)
            .open()
            .await
            .expect("the store opens");
        let client = Client::recorded(&store, disk);
        for _ in 0..5 {
            tag += 1;
            let id = ["a", "b"][random.below(2)];
            let parts = 1 + random.below(3) as u32;
            client.put(id, tag, parts).await.expect("the disk works");
        }
        client.note_served().await;
        drop(client);
        store.close().await.expect("the disk works");
    }
}

/// The crashes are in the second of two backups: what was acknowledged before the first is there, and the rest when the second is done.
async fn backup(root: &Path, random: &mut SplitMix64) -> Recording {
    let (source, to) = (root.join("source"), root.join("store"));
    let mut disk = RecordingDisk::new(root).expect("an empty directory");
    let mut tag = 0;
    for round in 0..2 {
        let notes = Arc::new(Mutex::new(Vec::new()));
        let store = builder(&source, Arc::new(disk.clone()), true)
            .max_log_size(1_500)
            .open()
            .await
            .expect("the store opens");
        let client = Client::new(&store, {
            let notes = Arc::clone(&notes);
            move |note| notes.lock().expect("no panic").push(note.clone())
        });
        for _ in 0..6 {
            tag += 1;
            let id = ["a", "b"][random.below(2)];
            let parts = 1 + random.below(3) as u32;
            client.put(id, tag, parts).await.expect("the disk works");
        }
        drop(client);
        let notes = std::mem::take(&mut *notes.lock().expect("no panic"));
        let (tried, done): (Vec<_>, Vec<_>) = notes
            .into_iter()
            .partition(|note| matches!(note, Note::Tried { .. }));
        for note in tried {
            disk.mark(note.label());
        }
        // Closing archives what is due, so that the first backup has a segment that the second one does not copy again.
        store.close().await.expect("the disk works");
        if round == 1 {
            // What is enumerated begins here.
            disk = RecordingDisk::continue_from(disk.recording(), root).expect("the same files");
        }
        let store = builder(&source, Arc::new(disk.clone()), true).open().await;
        let store = store.expect("the store opens");
        let report = store.backup(&to).await.expect("the disk works");
        assert_eq!(report.copied_bytes < report.bytes, round == 1, "{report:?}");
        store.close().await.expect("the disk works");
        for note in done {
            disk.mark(note.label());
        }
    }
    disk.recording()
}

async fn handlers(disk: &RecordingDisk, path: &Path, random: &mut SplitMix64) {
    let mut tag = 0;
    for mode in [RunMode::Background, RunMode::OnDemand, RunMode::Inline] {
        let store = open_on(disk, path, Members::Handlers, mode).await;
        let client = Client::recorded(&store, disk);
        for _ in 0..6 {
            tag += 1;
            let id = ["a", "b", "c", "a/b"][random.below(4)];
            let parts = 1 + random.below(4) as u32;
            client.put(id, tag, parts).await.expect("the disk works");
        }
        if mode != RunMode::Background {
            store.run_process_managers().await.expect("the disk works");
            // A retry that was not due then is due a moment later.
            let post = store.event_handler::<Post>().expect("registered");
            while !post.parked().await.expect("the disk works").is_empty() {
                tokio::time::sleep(Duration::from_millis(1)).await;
                store.run_process_managers().await.expect("the disk works");
            }
            for tag in 1..=tag {
                disk.mark(Note::Reacted { tag }.label());
            }
        }
        drop(client);
        store.close().await.expect("the disk works");
    }
}

async fn instances(disk: &RecordingDisk, path: &Path, random: &mut SplitMix64) {
    let mut tag = 0;
    for mode in [RunMode::Inline, RunMode::OnDemand, RunMode::Inline] {
        let store = open_on(disk, path, Members::Keyed, mode).await;
        let client = Client::recorded(&store, disk);
        for _ in 0..5 {
            tag += 1;
            let id = ["a", "b", "ends"][random.below(3)];
            let parts = 1 + random.below(2) as u32;
            client.put(id, tag, parts).await.expect("the disk works");
        }
        store.run_process_managers().await.expect("the disk works");
        let watcher = store.process_manager::<Watcher>().expect("registered");
        watcher.redrive_all().await.expect("the disk works");
        // It is parked, with a deadline that becomes due and events that come later; released in the second run.
        tag = (tag / 3 + 1) * 3;
        for _ in 0..3 {
            client.put(PARKS, tag, 1).await.expect("the disk works");
            tag += 1;
        }
        if mode == RunMode::OnDemand {
            let parked = watcher.parked().await.expect("rows");
            assert_eq!(parked.len(), 1, "{parked:?}");
            release(&store).await.expect("what is parked is released");
        }
        tag += 1;
        client.put("ends", tag, 1).await.expect("the disk works");
        drop((client, watcher));
        store.close().await.expect("the disk works");
    }
    let ops = disk.ops();
    let saves = ops.iter().filter(
        |op| matches!(op, DiskOp::Write { path, .. } if path.ends_with("watcher/instances.redb")),
    );
    assert!(saves.count() > 10, "the table of the instances is written");
}

async fn rebuilt(disk: &RecordingDisk, path: &Path, random: &mut SplitMix64) {
    let store = open_on(disk, path, Members::Keyed, RunMode::Inline).await;
    let client = Client::recorded(&store, disk);
    for tag in 1..=8 {
        let id = ["a", "b", "ends"][random.below(3)];
        client.put(id, tag, 2).await.expect("the disk works");
    }
    // One that is open, and one that begins anew.
    client.put("a", 9, 2).await.expect("the disk works");
    client.put("ends", 10, 1).await.expect("the disk works");
    client.put("ends", 11, 1).await.expect("the disk works");
    store.run_process_managers().await.expect("the disk works");
    drop(client);
    store.close().await.expect("the disk works");
    let store = open_on(disk, path, Members::Rewritten, RunMode::OnDemand).await;
    let heavy = store.process_manager::<Heavy>().expect("registered");
    let rebuilt = heavy.rebuild_state().await.expect("the disk works");
    assert!(rebuilt.deadlines > 0, "{rebuilt:?}");
    heavy.rebuild_state().await.expect("the disk works");
    drop(heavy);
    store.close().await.expect("the disk works");
}

async fn rows(disk: &RecordingDisk, path: &Path, random: &mut SplitMix64) {
    let mut tag = 0;
    for members in [Members::None, Members::Rows, Members::Rows] {
        let store = open_on(disk, path, members, RunMode::Inline).await;
        let client = Client::recorded(&store, disk);
        let has_rows = matches!(members, Members::Rows);
        for round in 0..8 {
            tag += 1;
            let id = ["a", "b", "c"][random.below(3)];
            let parts = 1 + random.below(4) as u32;
            client.put(id, tag, parts).await.expect("the disk works");
            if !has_rows {
                continue;
            }
            if round == 5 {
                let rebuilt = store.rebuild_projection::<TallyRow>().await;
                rebuilt.expect("the disk works");
            }
            if random.chance(4) {
                let position = store.health().await.position;
                let reached = store.wait_for::<TallyRow>(position, Duration::from_secs(20));
                reached.await.expect("the disk works");
            }
        }
        drop(client);
        store.close().await.expect("the disk works");
    }
    let ops = disk.ops();
    let saves = ops.iter().filter(
        |op| matches!(op, DiskOp::Write { path, .. } if path.ends_with("tally-row/rows.redb")),
    );
    assert!(saves.count() > 10, "the rows are written");
}

async fn odd_ids(disk: &RecordingDisk, path: &Path) {
    let long = "x".repeat(500);
    let ids = [
        "47591d",
        "47591D",
        "a/b",
        "a",
        "A",
        "..",
        "Ä",
        "CON",
        "trailing.",
        "%41",
        &long,
    ];
    let store = open_on(disk, path, false, RunMode::Inline).await;
    let client = Client::recorded(&store, disk);
    for (tag, id) in (1..).zip(ids.iter().chain(&ids[..4])) {
        client.put(id, tag, 2).await.expect("the disk works");
    }
    drop(client);
    store.close().await.expect("the disk works");
}

async fn keyed(disk: &RecordingDisk, path: &Path, random: &mut SplitMix64) {
    let mut tag = 0;
    for _ in 0..2 {
        let store = open_on(disk, path, false, RunMode::Inline).await;
        let client = Client::recorded(&store, disk);
        for _ in 0..6 {
            tag += 1;
            let id = ["a", "b"][random.below(2)];
            let parts = 1 + random.below(3) as u32;
            if random.chance(3) {
                client.inject(id, tag).await.expect("the disk works");
            } else {
                client
                    .put_keyed(id, tag, parts)
                    .await
                    .expect("the disk works");
            }
            // Each is a client of its own, since what is lost of it comes later than what follows.
            let dropped = 10_000 + tag * 1000;
            let polls = random.below(4);
            abandon_after(polls, client.put_keyed(id, dropped, parts)).await;
            abandon_after(polls, client.inject(id, dropped + 500_000)).await;
        }
        drop(client);
        store.close().await.expect("the disk works");
    }
}

async fn transactions(disk: &RecordingDisk, path: &Path, random: &mut SplitMix64) {
    let mut tag = 0;
    for _ in 0..2 {
        let store = open_on(disk, path, true, RunMode::Inline).await;
        let client = Client::recorded(&store, disk);
        for _ in 0..3 {
            let mut puts = |first: u64| {
                let ids = [["a", "b", "c"], ["c", "a", "c"]][random.below(2)];
                let mut put =
                    |(tag, id): (u64, &str)| (tag, id.to_owned(), 1 + random.below(3) as u32);
                (first..).zip(ids).map(&mut put).collect::<Vec<_>>()
            };
            let done = client.put_together(&puts(tag + 1)).await;
            done.expect("the disk works");
            // Each is a client of its own, since what is lost of it comes later than what follows.
            let own = 10_000 + tag * 1000;
            let (refused, dropped) = (puts(own), puts(own + 500_000));
            client.refused_together(&refused, "a").await;
            abandon_after(random.below(4), client.put_together(&dropped)).await;
            tag += 3;
        }
        drop(client);
        store.close().await.expect("the disk works");
    }
}

/// Polls a future a number of times, with others in between, and drops it.
async fn abandon_after(polls: usize, future: impl Future) {
    let mut future = pin!(future);
    for _ in 0..polls {
        let polled = future
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()));
        if polled.is_ready() {
            return;
        }
        tokio::task::yield_now().await;
    }
}

async fn snapshots(disk: &RecordingDisk, path: &Path, random: &mut SplitMix64) {
    let mut tag = 0;
    for _ in 0..2 {
        let store = builder(path, Arc::new(disk.clone()), true)
            .snapshot_every(2)
            // Each checkpoint saves snapshots.
            .max_log_size(2_000)
            .idle_timeout(Duration::from_millis(2))
            .open()
            .await
            .expect("the store opens");
        let client = Client::recorded(&store, disk);
        for _ in 0..5 {
            tag += 1;
            let id = ["a", "b"][random.below(2)];
            let put = client.put(id, tag, 1 + random.below(3) as u32);
            put.await.expect("the disk works");
            // Now and then long enough for all to be evicted.
            let pause = Duration::from_millis([0, 1, 10][random.below(3)]);
            tokio::time::sleep(pause).await;
        }
        drop(client);
        store.close().await.expect("the disk works");
    }
    let is_run = |op: &DiskOp| matches!(op, DiskOp::CreateFile { path, .. } if path.starts_with("store/meta/snapshots"));
    let taken = disk.ops().iter().filter(|op| is_run(op)).count();
    assert!(
        taken >= 4,
        "{taken} runs of snapshots are too few to say anything"
    );
}
