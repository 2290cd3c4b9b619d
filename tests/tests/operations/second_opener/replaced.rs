//! The journal, or the whole directory, was taken away under an open store, which went on acknowledging commands into a file that
//! nobody would ever read again, and wrote what it derived from them into whatever had taken the place.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use eventfold_es::disk::{CrashImage, Disk, SystemDisk};
use eventfold_es::testing::MemoryDisk;
use eventfold_es::{AggregateStore, ExecuteError, OpenError, StoreError};
use eventfold_es_tests::crash::domain::Ledger;
use eventfold_es_tests::crash::{Client, builder, scratch};

const JOURNAL: &str = "meta/journal/app.jsonl";
const PATIENCE: Duration = Duration::from_secs(20);

async fn open(path: &Path) -> Result<AggregateStore, OpenError> {
    let builder = builder(path, Arc::new(SystemDisk), true);
    builder.open().await
}

/// Executes commands until the store says that it is poisoned; how many it acknowledged before, and what it said.
async fn put_until_poisoned(client: &Client, first: u64) -> (u64, String) {
    let begun = Instant::now();
    let mut tag = first;
    loop {
        match client.put("a", tag, 1).await {
            Ok(()) => tag += 1,
            Err(ExecuteError::Store(StoreError::Poisoned { reason })) => {
                return (tag - first, reason.to_string());
            }
            Err(other) => panic!("{other}"),
        }
        assert!(begun.elapsed() < PATIENCE, "nothing was noticed");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

async fn count(path: &Path) -> usize {
    let store = open(path).await.unwrap();
    let ledger = store.get::<Ledger>("a").await.unwrap();
    let count = ledger.state().await.unwrap().tags.len();
    store.close().await.unwrap();
    count
}

fn reason(closed: Result<(), StoreError>) -> String {
    match closed {
        Err(StoreError::Poisoned { reason }) => reason.to_string(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_journal_that_is_deleted_moved_or_replaced_poisons_the_store() {
    type Mischief = fn(&Path, &Path);
    let ways: [(&str, Mischief); 3] = [
        ("deleted", |journal, _| fs::remove_file(journal).unwrap()),
        ("moved", |journal, aside| {
            fs::rename(journal, aside).unwrap()
        }),
        ("restored from a copy", |journal, aside| {
            fs::copy(journal, aside).unwrap();
            let copy = journal.with_extension("copy");
            fs::copy(journal, &copy).unwrap();
            fs::rename(&copy, journal).unwrap();
        }),
    ];
    for (way, mischief) in ways {
        for is_noticed_by_commands in [true, false] {
            let place = scratch();
            let (path, aside) = (place.path().join("store"), place.path().join("aside"));
            let journal = path.join(JOURNAL);
            let store = open(&path).await.unwrap();
            let client = Client::new(&store, |_| ());
            client.put("a", 1, 1).await.unwrap();
            mischief(&journal, &aside);
            let left = fs::read(&journal).ok();
            let mut acknowledged = 1;
            if is_noticed_by_commands {
                let (more, said) = put_until_poisoned(&client, 2).await;
                acknowledged += more;
                assert!(said.contains("app.jsonl"), "{way}: {said}");
            }
            let said = reason(store.close().await);
            let named = said.contains(&journal.display().to_string());
            assert!(
                named && said.contains("removed, renamed or replaced"),
                "{said}"
            );
            assert_eq!(fs::read(&journal).ok(), left, "{way}: it was written");
            let back = match way {
                "moved" => {
                    fs::rename(&aside, &journal).unwrap();
                    acknowledged
                }
                "deleted" => continue,
                _ => 1,
            };
            assert_eq!(count(&path).await as u64, back, "{way}");
        }
    }
}

#[tokio::test]
async fn a_directory_that_is_renamed_poisons_the_store_and_keeps_its_lock() {
    for is_taken in [false, true] {
        let place = scratch();
        let (path, moved) = (place.path().join("store"), place.path().join("moved"));
        let store = open(&path).await.unwrap();
        let client = Client::new(&store, |_| ());
        client.put("a", 1, 1).await.unwrap();
        fs::rename(&path, &moved).unwrap();
        let refused = open(&moved).await.map(drop);
        assert!(
            matches!(refused, Err(OpenError::InUse { .. })),
            "{refused:?}"
        );
        let other = match is_taken {
            false => None,
            true => {
                let other = open(&path).await.unwrap();
                Client::new(&other, |_| ()).put("b", 1, 1).await.unwrap();
                other.close().await.unwrap();
                Some(CrashImage::read(&path).unwrap())
            }
        };
        let (more, said) = put_until_poisoned(&client, 2).await;
        assert!(said.contains(&path.display().to_string()), "{said}");
        reason(store.close().await);
        match other {
            None => assert!(!path.exists(), "it was made again"),
            Some(other) => {
                let now = CrashImage::read(&path).unwrap();
                assert_eq!(now.first_difference(&other), None);
            }
        }
        assert_eq!(count(&moved).await as u64, 1 + more);
    }
}

#[tokio::test]
async fn a_journal_in_memory_is_missed_as_well() {
    let disk = MemoryDisk::new();
    let store = disk.builder().open().await.unwrap();
    let client = Client::new(&store, |_| ());
    client.put("a", 1, 1).await.unwrap();
    disk.remove_file(&disk.root().join(JOURNAL)).unwrap();
    reason(store.close().await);
}
