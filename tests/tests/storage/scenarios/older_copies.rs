//! Scenario 42: a file that somebody restored from an older copy is detected, or derived again.

use std::fs;
use std::path::{Path, PathBuf};

use eventfold_es::disk::CrashImage;
use eventfold_es_tests::crash::domain::Tally;
use eventfold_es_tests::crash::{Client, Place, scratch};

use super::everything::{Everything, Outcome, open};

/// What came of restoring files from a copy of two runs before, one at a time: those that are chosen of the older and the newer store.
async fn restore(
    choose: impl Fn(&CrashImage, &CrashImage) -> Vec<(PathBuf, Vec<u8>)>,
) -> Vec<(String, Outcome)> {
    let place = scratch();
    let path = place.path().join("store");
    let mut older = CrashImage::default();
    for tags in [[2, 4], [6, 8], [10, 12]] {
        let store = open(&path).await.unwrap();
        let client = Client::new(&store, |_| ());
        for tag in tags {
            client.put("a", tag, 2).await.unwrap();
        }
        store.run_process_managers().await.unwrap();
        Everything::read(&store).await.unwrap();
        drop(client);
        store.close().await.unwrap();
        if tags[0] == 2 {
            older = CrashImage::read(place.path()).unwrap();
        }
    }
    let store = open(&path).await.unwrap();
    let everything = Everything::read(&store).await.unwrap();
    store.close().await.unwrap();
    let newer = CrashImage::read(place.path()).unwrap();
    let mut copies = Place::default();
    let mut outcomes = Vec::new();
    for (name, bytes) in choose(&older, &newer) {
        let root = copies.fresh();
        newer.materialise(&root).unwrap();
        let file = root.join(&name);
        fs::write(&file, bytes).unwrap();
        let compared = everything.compare(&root.join("store"), &file).await;
        let outcome = compared.unwrap_or_else(|reason| panic!("{}: {reason}", name.display()));
        outcomes.push((name.display().to_string(), outcome));
    }
    outcomes
}

fn is_run(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "run")
}

#[tokio::test]
async fn scenario_42_an_older_copy_of_the_journal_and_of_what_is_derived_beside_streams() {
    let changed = |older: &CrashImage, newer: &CrashImage| {
        let files = older.files().filter(|(path, _)| !is_run(path));
        let changed = files.filter(|(path, bytes)| newer.file(path) != Some(*bytes));
        let changed = changed.map(|(path, bytes)| (path.to_owned(), bytes.to_vec()));
        changed.collect()
    };
    let outcomes = restore(changed).await;
    let of = |file: &str| outcomes.iter().find(|(name, _)| name.ends_with(file));
    assert_eq!(of("journal/app.jsonl").unwrap().1, Outcome::Detected);
    for file in [
        "meta/checkpoint.json",
        "fanout/checkpoint.json",
        "fanout/dead_letters.jsonl",
        "tally/checkpoint.json",
    ] {
        assert_eq!(of(file).unwrap().1, Outcome::Harmless, "{file}");
    }
}

#[tokio::test]
async fn scenario_42_an_older_run_in_the_place_of_a_newer_one() {
    let others = |older: &CrashImage, newer: &CrashImage| {
        let runs = |image: &CrashImage| {
            let runs = image.files().filter(|(path, _)| is_run(path));
            let runs = runs.map(|(path, bytes)| (path.to_owned(), bytes.to_vec()));
            runs.collect::<Vec<_>>()
        };
        let (_, oldest) = runs(older).remove(0);
        let others = runs(newer)
            .into_iter()
            .filter(|(_, bytes)| *bytes != oldest);
        others.map(|(path, _)| (path, oldest.clone())).collect()
    };
    let outcomes = restore(others).await;
    assert!(outcomes.len() > 1, "{outcomes:?}");
    for (file, outcome) in outcomes {
        assert_eq!(outcome, Outcome::Harmless, "{file}");
    }
}

/// A checkpoint that saw as many events of another store is not believed.
#[tokio::test]
async fn scenario_42_the_checkpoint_of_a_projection_of_another_history() {
    let place = scratch();
    let paths = ["one", "other"].map(|name| place.path().join(name));
    let mut tallies = Vec::new();
    for (path, ids) in paths.iter().zip([["a", "b"], ["c", "d"]]) {
        let store = open(path).await.unwrap();
        let client = Client::new(&store, |_| ());
        for (tag, id) in (1..).zip(ids) {
            client.put(id, tag, 2).await.unwrap();
        }
        store.run_process_managers().await.unwrap();
        tallies.push(store.projection::<Tally>().await.unwrap());
        drop(client);
        store.close().await.unwrap();
    }
    assert_ne!(tallies[0], tallies[1]);
    let [one, other] = paths.map(|path| path.join("projections/tally/checkpoint.json"));
    fs::copy(&one, &other).unwrap();
    let store = open(&place.path().join("other")).await.unwrap();
    assert_eq!(store.projection::<Tally>().await.unwrap(), tallies[1]);
    store.close().await.unwrap();
}
