//! A directory that is copied file by file while commands go on, its folders in any order, opens with everything that was
//! acknowledged before and nothing doubled, or is refused with a remedy.
//!
//! `EVENTFOLD_COPIES=200` makes more copies, `EVENTFOLD_CRASH_SEED=7` in other orders.

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use eventfold_es::disk::{CrashImage, SplitMix64, SystemDisk};
use eventfold_es::{AggregateStore, RunMode};
use eventfold_es_tests::campaign::{number, size};
use eventfold_es_tests::crash::domain::Tally;
use eventfold_es_tests::crash::{Check, Client, Expected, Place, builder, check, scratch};
use tokio::runtime::Runtime;

/// How many copies are made of one store, so that checking them stays quick.
const COPIES: u64 = 10;
/// How many clients work meanwhile.
const CLIENTS: u64 = 3;
/// The parts of a directory, in the order in which the documentation says to copy them.
const PARTS: [&str; 6] = [
    "process_managers/fanout",
    "process_managers/chain",
    "projections",
    "meta/index",
    "meta/snapshots",
    "meta/checkpoint.json",
];
const JOURNAL: &str = "meta/journal";
/// The moment of a part that is not copied.
const NOWHERE: usize = 3;
const REMEDY: &str = "has to be made again, with `AggregateStore::backup`";

fn seed() -> u64 {
    let seed = number("EVENTFOLD_CRASH_SEED").unwrap_or(20_260_101);
    println!("seed {seed}");
    seed
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()
        .unwrap()
}

/// A copy, and what has to be in it and may be.
struct Copy {
    path: PathBuf,
    is_in_order: bool,
    expected: Expected,
}

/// Copies a file in pieces, as `cp` does. A file that is gone meanwhile is left out.
fn copy_file(from: &Path, to: &Path, piece: usize) {
    let mut from = match File::open(from) {
        Err(error) if error.kind() == ErrorKind::NotFound => return,
        file => file.unwrap(),
    };
    fs::create_dir_all(to.parent().unwrap()).unwrap();
    let mut to = File::create(to).unwrap();
    let mut piece = vec![0; piece];
    loop {
        let length = from.read(&mut piece).unwrap();
        if length == 0 {
            return;
        }
        to.write_all(&piece[..length]).unwrap();
    }
}

/// Copies a file or a directory, what is in it in any order, and the store goes on between.
fn copy(from: &Path, to: &Path, random: &mut SplitMix64) {
    if !from.is_dir() {
        return copy_file(from, to, 1 << (10 + random.below(8)));
    }
    fs::create_dir_all(to).unwrap();
    let entries = fs::read_dir(from).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
    for index in (1..names.len()).rev() {
        names.swap(index, random.below(index + 1));
    }
    for name in names {
        if random.chance(4) {
            std::thread::sleep(Duration::from_micros(random.below(8_000) as u64));
        }
        copy(&from.join(&name), &to.join(&name), random);
    }
}

/// Copies a directory as the documentation says.
fn copy_in_order(from: &Path, to: &Path, random: &mut SplitMix64) {
    for part in PARTS {
        copy(&from.join(part), &to.join(part), random);
    }
    let (from, to) = (from.join(JOURNAL), to.join(JOURNAL));
    copy_file(&from.join("app.jsonl"), &to.join("app.jsonl"), 1 << 20);
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_name() != "app.jsonl" {
            copy_file(&entry.path(), &to.join(entry.file_name()), 1 << 20);
        }
    }
}

async fn open(place: &Path, max_log_size: u64, mode: RunMode) -> AggregateStore {
    builder(&place.join("store"), Arc::new(SystemDisk), true)
        // Each few commands end with a checkpoint, a segment and runs, and these are merged.
        .max_log_size(max_log_size)
        .snapshot_every(4)
        .run_mode(mode)
        .open()
        .await
        .unwrap()
}

/// A client, and what it was told.
fn client(store: &AggregateStore, told: &Arc<Mutex<Expected>>) -> Client {
    let told = Arc::clone(told);
    Client::new(store, move |note| told.lock().unwrap().take(note.clone()))
}

/// Makes copies of a store on which clients work.
async fn copies(
    place: &Path,
    count: u64,
    store: AggregateStore,
    random: &mut SplitMix64,
) -> Vec<Copy> {
    let told = Arc::new(Mutex::new(Expected::default()));
    let is_done = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (1..=CLIENTS)
        .map(|number| {
            let client = client(&store, &told);
            let (store, is_done) = (store.clone(), Arc::clone(&is_done));
            tokio::spawn(async move {
                let mut tag = number * 1000;
                while !is_done.load(Ordering::Relaxed) {
                    let id = ["hot", "a", "b"][tag as usize % 3];
                    client.put(id, tag, 1 + (tag % 3) as u32).await.unwrap();
                    tag += 1;
                    if tag % 5 == 0 {
                        // It saves a checkpoint of its own.
                        store.projection::<Tally>().await.unwrap();
                    }
                    tokio::time::sleep(Duration::from_millis(3)).await;
                }
            })
        })
        .collect();
    let mut copies = Vec::new();
    for number in 0..count {
        tokio::time::sleep(Duration::from_millis(3)).await;
        let before = told.lock().unwrap().clone();
        let (from, to) = (place.join("store"), place.join(format!("copy-{number}")));
        let mut random = SplitMix64::new(random.next_u64());
        let (path, is_in_order) = (to.clone(), number % 3 == 0);
        let copying = tokio::task::spawn_blocking(move || match is_in_order {
            true => copy_in_order(&from, &to, &mut random),
            false => copy(&from, &to, &mut random),
        });
        copying.await.unwrap();
        // What came meanwhile may be in it.
        let tried = told.lock().unwrap().tried.clone();
        let expected = Expected { tried, ..before };
        copies.push(Copy {
            path,
            is_in_order,
            expected,
        });
    }
    is_done.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.unwrap();
    }
    store.close().await.unwrap();
    copies
}

/// Whether it opens, and then with everything; otherwise it is refused with a remedy.
fn opens(runtime: &Runtime, store: &Path, expected: &Expected) -> bool {
    match runtime.block_on(check(store, expected, Check::PROCESS_MANAGERS)) {
        Ok(()) => true,
        Err(reason) if reason.starts_with("opening: ") && reason.contains(REMEDY) => {
            println!("refused: {reason}");
            false
        }
        Err(reason) => panic!("{}: {reason}", store.display()),
    }
}

#[test]
fn a_copy_made_while_commands_go_on_opens_or_is_refused() {
    let wanted = number("EVENTFOLD_COPIES").unwrap_or_else(|| size(20, 100));
    let mut random = SplitMix64::new(seed());
    let runtime = runtime();
    let mut places = Place::default();
    // Whether it opens: all copies, and only their journals.
    let (mut whole, mut journals) = ([0; 2], [0; 2]);
    for round in 0..wanted.div_ceil(COPIES) {
        let is_busy = round % 2 == 0;
        let (max_log_size, mode) = match is_busy {
            true => (3_000, RunMode::Inline),
            false => (40_000, RunMode::Background),
        };
        let place = scratch();
        let store = runtime.block_on(open(place.path(), max_log_size, mode));
        let count = COPIES.min(wanted - round * COPIES);
        let made = runtime.block_on(copies(place.path(), count, store, &mut random));
        for (number, copied) in made.into_iter().enumerate() {
            let Copy { path, expected, .. } = copied;
            if number % 5 == 0 {
                let alone = places.fresh();
                copy(&path.join(JOURNAL), &alone.join(JOURNAL), &mut random);
                journals[usize::from(opens(&runtime, &alone, &expected))] += 1;
            }
            let opened = opens(&runtime, &path, &expected);
            // With two checkpoints between two files no order helps.
            assert!(opened || !copied.is_in_order || is_busy);
            whole[usize::from(opened)] += 1;
        }
    }
    println!("copies: {} opened, {} refused", whole[1], whole[0]);
    println!("journals: {} opened, {} refused", journals[1], journals[0]);
    assert!(whole[1] > wanted / 4 && journals[1] > 0);
}

/// A store at three moments: closed, at work, and closed again; with what was acknowledged until then.
async fn moments(place: &Path, max_log_size: u64) -> Vec<(CrashImage, Expected)> {
    let told = Arc::new(Mutex::new(Expected::default()));
    let mut moments = Vec::new();
    let mut note = || {
        let image = CrashImage::read(place).unwrap();
        moments.push((image, told.lock().unwrap().clone()));
    };
    for tags in [1..6, 6..12] {
        let store = open(place, max_log_size, RunMode::Inline).await;
        let client = client(&store, &told);
        for tag in tags {
            if tag == 9 {
                note();
            }
            let id = ["a", "b"][tag as usize % 2];
            client.put(id, tag, 2).await.unwrap();
        }
        store.projection::<Tally>().await.unwrap();
        drop(client);
        store.close().await.unwrap();
        note();
    }
    moments
}

/// The moments of the parts of a copy, the journal last: one is earlier or later than all others, only the journal is there, or
/// each is chosen at random.
fn mixtures(at_random: u64, random: &mut SplitMix64) -> Vec<[usize; PARTS.len() + 1]> {
    let mut mixtures = Vec::new();
    for part in 0..=PARTS.len() {
        for other in [0, 2] {
            let mut mixture = [1; PARTS.len() + 1];
            mixture[part] = other;
            mixtures.push(mixture);
        }
    }
    // The journal alone is enough.
    mixtures.extend((0..3).map(|journal| {
        let mut mixture = [NOWHERE; PARTS.len() + 1];
        mixture[PARTS.len()] = journal;
        mixture
    }));
    mixtures.extend((0..at_random).map(|_| [0; PARTS.len() + 1].map(|_| random.below(3))));
    mixtures
}

/// A copy whose parts are of different moments opens as the store was when its journal was copied, unless its checkpoint is of
/// a later one.
#[test]
fn parts_of_different_moments_open_unless_the_checkpoint_is_newer_than_the_journal() {
    let mut random = SplitMix64::new(seed());
    let at_random = number("EVENTFOLD_COPIES").unwrap_or_else(|| size(0, 100));
    let runtime = runtime();
    let mut places = Place::default();
    let (mut opened, mut refused) = (0, 0);
    for max_log_size in [0, 3_000] {
        let place = scratch();
        let moments = runtime.block_on(moments(place.path(), max_log_size));
        for mixture in mixtures(at_random, &mut random) {
            let root = places.fresh();
            for (part, moment) in PARTS.iter().chain([&JOURNAL]).zip(mixture) {
                let part = Path::new("store").join(part);
                let files = moments.get(moment).map(|(image, _)| image.files());
                let files = files.into_iter().flatten();
                for (path, bytes) in files.filter(|(path, _)| path.starts_with(&part)) {
                    let path = root.join(path);
                    fs::create_dir_all(path.parent().unwrap()).unwrap();
                    fs::write(path, bytes).unwrap();
                }
            }
            let [.., checkpoint, journal] = mixture;
            let expected = Expected {
                tried: moments[2].1.tried.clone(),
                ..moments[journal].1.clone()
            };
            match opens(&runtime, &root.join("store"), &expected) {
                true => opened += 1,
                false if checkpoint != NOWHERE && checkpoint > journal => refused += 1,
                false => panic!("{mixture:?} with {max_log_size}"),
            }
        }
    }
    println!("{opened} opened, {refused} refused");
    assert!(refused > 0);
}
