//! Rules 3, 4 and 13: what failures of the disk do to commands, and what a checkpoint waits for.

use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::task::{Context, Waker};

use eventfold_es::disk::{
    CrashImage, DiskOp, Failure, Fault, FaultyDisk, Operation, RecordingDisk, Survival,
};
use eventfold_es::{AggregateStore, ExecuteError, RunMode, StoreError};
use eventfold_es_tests::crash::domain::{Ledger, Refused};
use eventfold_es_tests::crash::{Bench, Check, Client, Expected, builder, check, open_on, scratch};
use eventfold_es_tests::gate::GatedDisk;

type Done = Result<(), ExecuteError<Refused>>;

fn is_journal(path: &Path) -> bool {
    path.ends_with("meta/journal/app.jsonl")
}

fn is_refused(done: &Done) -> bool {
    matches!(done, Err(ExecuteError::Store(StoreError::Refused { .. })))
}

fn is_unknown(done: &Done) -> bool {
    matches!(done, Err(ExecuteError::OutcomeUnknown { .. }))
}

fn is_poisoned(done: &Done) -> bool {
    matches!(done, Err(ExecuteError::Store(StoreError::Poisoned { .. })))
}

async fn tags(store: &AggregateStore, id: &str) -> Vec<u64> {
    let handle = store.get::<Ledger>(id).await.unwrap();
    handle.state().await.unwrap().tags
}

#[tokio::test]
async fn rule_03_a_failed_sync_of_any_kind_poisons() {
    for failure in [Failure::EIO, Failure::ENOSPC, Failure::EMFILE] {
        let bench = Bench::default();
        let store = bench.open(RunMode::OnDemand).await.unwrap();
        let client = bench.client(&store);
        client.put("a", 1, 1).await.unwrap();
        let fault = Fault::once(0, failure).on(&[Operation::SyncData]);
        bench.disk.inject(fault.at(is_journal));
        let unknown = client.put("a", 3, 2).await;
        assert!(is_unknown(&unknown), "{unknown:?}");
        let poisoned = client.put("b", 5, 1).await;
        assert!(is_poisoned(&poisoned), "{poisoned:?}");
        assert_eq!(tags(&store, "a").await, [1], "reads go on");
        drop(client);
        assert!(store.close().await.is_err());
        bench.check().await.unwrap();
    }
}

/// A signal interrupts any call, and says nothing about the disk.
#[tokio::test]
async fn rule_03_an_interrupted_call_is_made_again() {
    const CALLS: [Operation; 14] = [
        Operation::Open,
        Operation::CreateDir,
        Operation::Rename,
        Operation::Remove,
        Operation::SyncDir,
        Operation::Exists,
        Operation::List,
        Operation::Lock,
        Operation::IsAt,
        Operation::Len,
        Operation::Read,
        Operation::Write,
        Operation::SetLen,
        Operation::SyncData,
    ];
    let bench = Bench::default();
    for tag in 1..=2 {
        for operation in CALLS {
            let fault = Fault::once(0, Failure::EINTR).on(&[operation]);
            bench.disk.inject(fault);
        }
        let store = bench.open(RunMode::Inline).await.unwrap();
        let client = bench.client(&store);
        client.put("a", tag, 1).await.unwrap();
        drop(client);
        store.close().await.unwrap();
    }
    let mut hit: Vec<_> = bench.disk.hits().iter().map(|hit| hit.operation).collect();
    hit.sort_unstable();
    hit.dedup();
    assert_eq!(hit.len(), CALLS.len(), "{hit:?}");
    bench.check().await.unwrap();
}

/// A failed write is cut back and refused, and writing resumes; if cutting back fails as well, nobody knows what is there.
#[tokio::test]
async fn rule_03_a_failed_write_is_refused_unless_it_cannot_be_cut_back() {
    let is_write = |operation| {
        Fault::starting(0, Failure::ENOSPC)
            .on(&[operation])
            .at(is_journal)
    };
    let bench = Bench::default();
    let store = bench.open(RunMode::OnDemand).await.unwrap();
    let client = bench.client(&store);
    client.put("a", 1, 1).await.unwrap();
    bench.disk.inject(is_write(Operation::Write));
    let refused = client.put("a", 3, 2).await;
    assert!(is_refused(&refused), "{refused:?}");
    bench.disk.clear();
    client.put("a", 5, 1).await.unwrap();
    assert_eq!(tags(&store, "a").await, [1, 5]);
    for operation in [Operation::Write, Operation::SetLen] {
        bench.disk.inject(is_write(operation));
    }
    let unknown = client.put("a", 7, 2).await;
    assert!(is_unknown(&unknown), "{unknown:?}");
    bench.disk.clear();
    let poisoned = client.put("a", 9, 1).await;
    assert!(is_poisoned(&poisoned), "{poisoned:?}");
    drop(client);
    assert!(store.close().await.is_err());
    bench.check().await.unwrap();
}

/// A batch could not be written, and is being cut off again. What is handed over meanwhile is decided on it: all of that is
/// refused with it, on every aggregate, since nobody can tell what else depends on what.
#[tokio::test]
async fn rule_04_a_failed_batch_takes_along_what_was_handed_over_behind_it() {
    let place = scratch();
    let gate = GatedDisk::default();
    let disk = FaultyDisk::new(Arc::new(gate.clone()));
    let store = builder(&place.path().join("store"), Arc::new(disk.clone()), false);
    let store = store.open().await.unwrap();
    let client = Client::new(&store, |_| ());
    client.put("a", 1, 1).await.unwrap();
    client.put("b", 1, 1).await.unwrap();
    // One poll is enough to decide a command on a live aggregate and to hand it over.
    let handed_over = |(id, tag)| {
        let client = client.clone();
        let mut put = Box::pin(async move { client.put(id, tag, 1).await });
        let polled = put.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(polled.is_pending());
        put
    };
    gate.close();
    let fault = Fault::once(0, Failure::ENOSPC).on(&[Operation::Write]);
    disk.inject(fault.at(is_journal));
    let failed = handed_over(("a", 3));
    // The sync of the cut.
    gate.wait_for_sync();
    let behind = [("a", 5), ("b", 5), ("a", 7)].map(handed_over);
    gate.open();
    for put in [failed].into_iter().chain(behind) {
        let refused = put.await;
        assert!(is_refused(&refused), "{refused:?}");
    }
    assert_eq!(disk.hits().len(), 1);
    for id in ["a", "b"] {
        assert_eq!(tags(&store, id).await, [1]);
        client.put(id, 9, 1).await.unwrap();
    }
    drop(client);
    store.close().await.unwrap();
    let store = AggregateStore::open(place.path().join("store"))
        .await
        .unwrap();
    for id in ["a", "b"] {
        assert_eq!(tags(&store, id).await, [1, 9]);
    }
}

/// The checkpoint says from where the journal is read: everything before that must be durable in its own files first.
#[tokio::test]
async fn rule_13_a_checkpoint_syncs_what_it_vouches_for() {
    let place = scratch();
    let disk = RecordingDisk::new(place.path()).unwrap();
    let path = place.path().join("store");
    let store = open_on(&disk, &path, true, RunMode::Inline).await;
    let client = Client::recorded(&store, &disk);
    for tag in [2, 4, 6] {
        client.put("a", tag, 2).await.unwrap();
    }
    drop(client);
    store.close().await.unwrap();
    let recording = disk.recording();
    let saved = recording.ops().iter().rposition(
        |op| matches!(op, DiskOp::Rename { to, .. } if to.ends_with("meta/checkpoint.json")),
    );
    let saved = saved.unwrap() + 1;
    // Only what was synced is left, and the checkpoint.
    let cut = recording.until(saved, 0);
    let image = CrashImage::power_loss(&cut, &Survival::EntriesOnly).unwrap();
    let root = scratch();
    let root = root.path().join("root");
    image.materialise(&root).unwrap();
    let opened = builder(
        &root.join("store"),
        Arc::new(eventfold_es::disk::SystemDisk),
        true,
    );
    let opened = opened.run_mode(RunMode::OnDemand).open().await.unwrap();
    assert_eq!(
        opened.recovery().redone_commits,
        0,
        "it is the last checkpoint"
    );
    opened.close().await.unwrap();
    let expected = Expected::of(cut.marks());
    let checked = check(&root.join("store"), &expected, Check::PROCESS_MANAGERS).await;
    checked.unwrap();
}
