//! Scenario 33: one flipped bit anywhere is detected, or changes nothing.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use eventfold_es::disk::{CrashImage, SplitMix64, SystemDisk};
use eventfold_es_tests::campaign::size;
use eventfold_es_tests::crash::domain::Ledger;
use eventfold_es_tests::crash::{Client, Place, builder, scratch};
use tempfile::TempDir;

use super::everything::{Everything, Outcome, open};

/// A closed store, as small as one can be in which everything has happened.
async fn closed() -> (TempDir, Everything) {
    let place = scratch();
    let path = place.path().join("store");
    let store = open(&path).await.unwrap();
    let client = Client::new(&store, |_| ());
    // The texts of this one are short.
    client.put("a", 240, 1).await.unwrap();
    store.run_process_managers().await.unwrap();
    drop(client);
    store.close().await.unwrap();
    read(place, &path).await
}

/// The same with archives and snapshots, and something behind them.
async fn archived() -> (TempDir, Everything) {
    let place = scratch();
    let path = place.path().join("store");
    for max_log_size in [200, 0] {
        let store = builder(&path, Arc::new(SystemDisk), true)
            .max_log_size(max_log_size)
            .snapshot_every(1)
            .idle_timeout(Duration::from_millis(1))
            .open()
            .await
            .unwrap();
        let client = Client::new(&store, |_| ());
        let first = 240 + 240 * u64::from(max_log_size == 0);
        client.put("a", first, 2).await.unwrap();
        while store.saved_snapshot("ledger", "a").is_none() {
            store
                .get::<Ledger>("a")
                .await
                .unwrap()
                .state()
                .await
                .unwrap();
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        drop(client);
        store.close().await.unwrap();
    }
    read(place, &path).await
}

async fn read(place: TempDir, path: &Path) -> (TempDir, Everything) {
    let store = open(path).await.unwrap();
    let everything = Everything::read(&store).await.unwrap();
    store.close().await.unwrap();
    (place, everything)
}

/// Flips a bit of the files that are chosen, one after the other.
fn flip_in(is_chosen: impl Fn(&Path) -> bool) -> BTreeMap<PathBuf, BTreeMap<Outcome, usize>> {
    flip_in_store(runtime().block_on(closed()), is_chosen)
}

fn runtime() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_time().build().unwrap()
}

fn flip_in_store(
    (place, everything): (TempDir, Everything),
    is_chosen: impl Fn(&Path) -> bool,
) -> BTreeMap<PathBuf, BTreeMap<Outcome, usize>> {
    let image = CrashImage::read(place.path()).unwrap();
    let chosen = image.files().filter(|(path, _)| is_chosen(path));
    let flips: Vec<_> = chosen
        .flat_map(|(path, bytes)| flipped_bytes(path, bytes).map(move |at| (path, at)))
        .collect();
    let (next, outcomes) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    let wrong = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let (runtime, mut copies) = (runtime(), Place::default());
                while let Some((path, at)) = flips.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let bit = SplitMix64::new(*at as u64).below(8);
                    let root = copies.fresh();
                    image.materialise(&root).unwrap();
                    let file = root.join(path);
                    let mut bytes = fs::read(&file).unwrap();
                    bytes[*at] ^= 1 << bit;
                    fs::write(&file, bytes).unwrap();
                    match runtime.block_on(everything.compare(&root.join("store"), &file)) {
                        Ok(outcome) => {
                            let mut outcomes = outcomes.lock().unwrap();
                            let of_file: &mut BTreeMap<_, _> =
                                outcomes.entry(path.to_path_buf()).or_default();
                            *of_file.entry(outcome).or_default() += 1;
                        }
                        Err(reason) => wrong.lock().unwrap().push(format!(
                            "byte {at}, bit {bit} of {}: {reason}",
                            path.display()
                        )),
                    }
                    fs::remove_dir_all(&root).unwrap();
                }
            });
        }
    });
    let (wrong, outcomes) = (wrong.into_inner().unwrap(), outcomes.into_inner().unwrap());
    println!(
        "{} flips, {} wrong; {outcomes:#?}",
        flips.len(),
        wrong.len()
    );
    let first: Vec<_> = wrong.iter().take(3).collect();
    assert!(
        wrong.is_empty(),
        "{} of {}: {first:#?}",
        wrong.len(),
        flips.len()
    );
    outcomes
}

/// One of [`step`] bytes; of a table of rows, which is a megabyte of pages, a part of those that are used.
fn flipped_bytes(path: &Path, bytes: &[u8]) -> impl Iterator<Item = usize> {
    let of_table = size(60, 600);
    let is_table = is_table(path);
    let used = |at: &usize| !is_table || bytes[*at] != 0;
    let used: Vec<_> = (0..bytes.len()).filter(used).collect();
    let step = match is_table {
        true => used.len().div_ceil(of_table).max(1),
        false => step(),
    };
    used.into_iter().step_by(step)
}

/// Of so many bytes one is flipped: of each in a full run.
fn step() -> usize {
    size(7, 1)
}

fn is_table(path: &Path) -> bool {
    path.ends_with("instances.redb")
}

fn is_run(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "run")
}

fn is_letters(path: &Path) -> bool {
    path.ends_with("dead_letters.jsonl")
}

#[test]
fn scenario_33_a_flipped_bit_in_the_journal() {
    let outcomes = flip_in(|path| path.ends_with("journal/app.jsonl"));
    let detected: usize = outcomes
        .values()
        .filter_map(|of| of.get(&Outcome::Detected))
        .sum();
    assert!(detected * step() > 1000, "{outcomes:#?}");
}

#[test]
fn scenario_33_a_flipped_bit_in_checkpoints() {
    let is_chosen = |path: &Path| {
        !path.ends_with("journal/app.jsonl")
            && !is_run(path)
            && !is_letters(path)
            && !is_table(path)
    };
    let outcomes = flip_in(is_chosen);
    for file in [
        "store/meta/checkpoint.json",
        "store/projections/tally/checkpoint.json",
        "store/process_managers/fanout/checkpoint.json",
    ] {
        // Each of them is derived again.
        let of_file = outcomes.get(Path::new(file));
        let harmless = of_file.and_then(|of| of.get(&Outcome::Harmless));
        assert!(
            harmless.is_some_and(|count| count * step() > 100),
            "{outcomes:#?}"
        );
    }
}

#[test]
fn scenario_33_a_flipped_bit_in_the_index() {
    let outcomes = flip_in(is_run);
    assert!(!outcomes.is_empty(), "{outcomes:#?}");
}

/// Those that are harmless are in pages that nothing refers to, or the table is derived again.
#[test]
fn scenario_33_a_flipped_bit_in_the_tables_of_rows() {
    let outcomes = flip_in(is_table);
    assert!(!outcomes.is_empty());
}

#[test]
fn scenario_33_a_flipped_bit_in_the_dead_letters() {
    let outcomes = flip_in(is_letters);
    assert_eq!(outcomes.len(), 1, "{outcomes:#?}");
}

#[test]
fn scenario_33_a_flipped_bit_in_the_archives() {
    let store = runtime().block_on(archived());
    let is_archive = |path: &Path| path.extension().is_some_and(|extension| extension == "zst");
    let outcomes = flip_in_store(store, is_archive);
    let detected = outcomes
        .values()
        .filter_map(|of| of.get(&Outcome::Detected));
    assert!(detected.sum::<usize>() * step() > 100, "{outcomes:#?}");
}

/// They are never believed then, and what comes instead is the same.
#[test]
fn scenario_33_a_flipped_bit_in_a_snapshot() {
    let store = runtime().block_on(archived());
    let outcomes = flip_in_store(store, |path| {
        is_run(path) && path.starts_with("store/meta/snapshots")
    });
    let of_file = outcomes.values().next().unwrap();
    assert_eq!(of_file.keys().collect::<Vec<_>>(), [&Outcome::Harmless]);
}
