//! Directories that are no good for a backup: full disks, and links that lead back into the store.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use eventfold_es::disk::{CrashImage, Disk, Failure, Fault, FaultyDisk, Operation, SystemDisk};
use eventfold_es::prelude::*;
use eventfold_es::{BackupError, StoreError};
use eventfold_es_tests::crash::scratch;

use crate::common::counter::{Counter, CounterCommand};

async fn open(directory: &Path, disk: impl Disk, max_log_size: u64) -> AggregateStore {
    AggregateStore::builder(directory)
        .disk(Arc::new(disk))
        .max_log_size(max_log_size)
        .open()
        .await
        .unwrap()
}

async fn add(store: &AggregateStore, count: usize) {
    for _ in 0..count {
        store.send("a", CounterCommand::Add(1), ()).await.unwrap();
    }
}

async fn sum(directory: &Path) -> i64 {
    let store = open(directory, SystemDisk, 0).await;
    let counter = store.get::<Counter>("a").await.unwrap();
    let sum = counter.state().await.unwrap().sum;
    store.close().await.unwrap();
    sum
}

/// Copies a directory, so that opening the copy leaves it a backup.
fn copy(from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to);
    CrashImage::read(from).unwrap().materialise(to).unwrap();
}

/// The disk has no room at the first write, the second, and so on: the backup from before stays, and the store goes on.
#[tokio::test]
async fn a_full_disk_leaves_the_backup_from_before() {
    let place = scratch();
    let path = |name: &str| place.path().join(name);
    let disk = FaultyDisk::new(Arc::new(SystemDisk));
    let store = open(&path("store"), disk.clone(), 1_000).await;
    add(&store, 10).await;
    store.backup(path("backup")).await.unwrap();
    add(&store, 20).await;
    let mut writes = 0;
    loop {
        let target = path("target");
        copy(&path("backup"), &target);
        let is_there = |path: &Path| path.components().any(|name| name.as_os_str() == "target");
        let full = Fault::starting(writes, Failure::ENOSPC).on(&[Operation::Write]);
        disk.inject(full.at(is_there));
        let seen = disk.hits().len();
        let answer = store.backup(&target).await;
        let is_hit = disk.hits().len() > seen;
        disk.clear();
        copy(&target, &path("opened"));
        if !is_hit {
            assert_eq!(answer.unwrap().position, 30 + writes);
            assert_eq!(sum(&path("opened")).await, 30 + writes as i64);
            break;
        }
        assert!(
            matches!(answer, Err(BackupError::Store(StoreError::File(_)))),
            "{answer:?}"
        );
        assert_eq!(sum(&path("opened")).await, 10);
        // The store goes on, and so does the backup where there is room again.
        add(&store, 1).await;
        store.backup(&target).await.unwrap();
        copy(&target, &path("opened"));
        writes += 1;
        assert_eq!(sum(&path("opened")).await, 30 + writes as i64);
    }
    assert!(writes > 0);
    store.close().await.unwrap();
}

/// A backup through such a link used to replace the journal of the store that it was made from.
#[cfg(unix)]
#[tokio::test]
async fn a_link_into_the_store_is_refused() {
    use std::os::unix::fs::symlink;

    let place = scratch();
    let path = |name: &str| place.path().join(name);
    // Nothing else replaces the journal.
    let store = open(&path("store"), SystemDisk, 0).await;
    add(&store, 20).await;
    store.backup(path("backup")).await.unwrap();
    for (name, link, leads_to) in [
        ("itself", "", "store"),
        ("above", "", ""),
        ("inside", "", "store/meta"),
        ("meta", "meta", "store/meta"),
        ("journal", "meta/journal", "store/meta/journal"),
        (
            "files",
            "meta/journal/app.jsonl.new",
            "store/meta/journal/app.jsonl",
        ),
        ("mark", "meta/journal/unfinished-backup", "store/meta/lock"),
    ] {
        let (target, link) = (path(name), path(name).join(link));
        fs::create_dir_all(link.parent().unwrap()).unwrap();
        let link = link.components().as_path();
        symlink(path(leads_to), link).unwrap();
        let before = fs::read(path("store/meta/journal/app.jsonl")).unwrap();
        let answer = store.backup(&target).await;
        assert!(
            matches!(answer, Err(BackupError::Overlapping { .. })),
            "{name}: {answer:?}"
        );
        let after = fs::read(path("store/meta/journal/app.jsonl")).unwrap();
        assert!(before == after, "{name}");
        add(&store, 1).await;
    }
    // One that leads elsewhere is as good as a directory.
    symlink(path("backup"), path("link")).unwrap();
    assert_eq!(store.backup(path("link")).await.unwrap().position, 27);
    store.close().await.unwrap();
    assert_eq!(sum(&path("backup")).await, 27);
    assert_eq!(sum(&path("store")).await, 27);
}
