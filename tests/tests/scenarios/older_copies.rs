//! Scenario 42: a file that somebody restored from an older copy is detected, or derived again.

use std::fs;
use std::path::Path;

use eventfold_es::disk::CrashImage;
use eventfold_es_tests::crash::domain::Tally;
use eventfold_es_tests::crash::{Client, Place, scratch};

use super::everything::{Everything, Outcome, open};

/// What came of restoring each chosen file from a copy of two runs before.
async fn restore(is_chosen: impl Fn(&Path) -> bool) -> Vec<(String, Outcome)> {
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
    for (name, bytes) in older.files().filter(|(name, _)| is_chosen(name)) {
        if newer.file(name) == Some(bytes) {
            continue;
        }
        let root = copies.fresh();
        newer.materialise(&root).unwrap();
        let file = root.join(name);
        fs::write(&file, bytes).unwrap();
        let compared = everything.compare(&root.join("store"), &file).await;
        let outcome = compared.unwrap_or_else(|reason| panic!("{}: {reason}", name.display()));
        outcomes.push((name.display().to_string(), outcome));
    }
    outcomes
}

fn is_stream(path: &Path) -> bool {
    path.starts_with("store/streams")
}

#[tokio::test]
async fn scenario_42_an_older_copy_of_the_journal_and_of_what_is_derived_beside_streams() {
    let outcomes = restore(|path| !is_stream(path)).await;
    let of = |file: &str| outcomes.iter().find(|(name, _)| name.ends_with(file));
    assert_eq!(of("journal/app.jsonl").unwrap().1, Outcome::Detected);
    for file in [
        "meta/streams.jsonl",
        "meta/checkpoint.json",
        "fanout/checkpoint.json",
        "fanout/dead_letters.jsonl",
        "tally/checkpoint.json",
    ] {
        assert_eq!(of(file).unwrap().1, Outcome::Harmless, "{file}");
    }
}

#[tokio::test]
async fn scenario_42_an_older_copy_of_a_stream() {
    let outcomes = restore(is_stream).await;
    assert!(outcomes.len() > 2, "{outcomes:?}");
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
