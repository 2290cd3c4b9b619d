//! A write or a sync fails, the store goes on or is opened again, and then the power fails.

use std::path::Path;
use std::sync::Arc;

use eventfold_es::ExecuteError;
use eventfold_es::StoreError;
use eventfold_es::disk::{
    CrashImage, Failure, Fault, FaultyDisk, Operation, RecordingDisk, Survival, SystemDisk,
};
use eventfold_es_tests::crash::{Check, Client, Expected, builder, check, scratch};

fn is_journal(path: &Path) -> bool {
    path.ends_with("meta/journal/app.jsonl")
}

/// On Linux a failed sync marks pages clean that were never written, so that a later sync succeeds and keeps nothing. What
/// was unsynced then must be written again before anything counts as durable.
#[tokio::test]
async fn a_power_loss_after_a_failed_sync() {
    for survival in [
        Survival::All,
        Survival::Nothing,
        Survival::LengthsOnly,
        Survival::Random(1),
        Survival::Random(2),
    ] {
        let (place, second) = (scratch(), scratch());
        let faults = FaultyDisk::new(Arc::new(SystemDisk));
        let disk = RecordingDisk::new(place.path())
            .unwrap()
            .over(Arc::new(faults.clone()));
        let path = place.path().join("store");
        let store = builder(&path, Arc::new(disk.clone()), true)
            .open()
            .await
            .unwrap();
        let client = Client::recorded(&store, &disk);
        client.put("a", 2, 4).await.unwrap();
        faults.inject(
            Fault::once(0, Failure::EIO)
                .on(&[Operation::SyncData])
                .at(is_journal),
        );
        assert!(client.put("a", 4, 4).await.is_err());
        drop(client);
        assert!(store.close().await.is_err());

        // Opened again without a crash: what is read back now was perhaps never written.
        let store = builder(&path, Arc::new(disk.clone()), true)
            .open()
            .await
            .unwrap();
        let client = Client::recorded(&store, &disk);
        client.note_served().await;
        client.put("b", 6, 1).await.unwrap();
        let recording = disk.recording();
        let image = CrashImage::power_loss(&recording, &survival).unwrap();
        let root = second.path().join("root");
        image.materialise(&root).unwrap();
        let expected = Expected::of(recording.marks());
        assert!(expected.kept.contains(&6));
        check(&root.join("store"), &expected, Check::PROCESS_MANAGERS)
            .await
            .unwrap_or_else(|reason| panic!("{survival:?}: {reason}"));
        drop(client);
        store.close().await.unwrap();
    }
}

/// Half of a commit reached the file when the disk was full. It was cut off again: the next one, which is shorter, does not
/// end in the middle of it.
#[tokio::test]
async fn a_write_that_fails_halfway_leaves_nothing() {
    let (place, second) = (scratch(), scratch());
    let faults = FaultyDisk::new(Arc::new(SystemDisk));
    let disk = RecordingDisk::new(place.path()).unwrap();
    let disk = disk.over(Arc::new(faults.clone()));
    let store = builder(&place.path().join("store"), Arc::new(disk.clone()), false);
    let store = store.open().await.unwrap();
    let client = Client::recorded(&store, &disk);
    client.put("a", 1, 1).await.unwrap();
    let fault = |n, failure| {
        Fault::once(n, failure)
            .on(&[Operation::Write])
            .at(is_journal)
    };
    faults.inject(fault(0, Failure::Short));
    faults.inject(fault(1, Failure::ENOSPC));
    let refused = client.put("a", 3, 8).await;
    assert!(
        matches!(
            refused,
            Err(ExecuteError::Store(StoreError::Refused { .. }))
        ),
        "{refused:?}"
    );
    client.put("a", 240, 1).await.unwrap();
    let recording = disk.recording();
    for (number, survival) in [Survival::All, Survival::Nothing].iter().enumerate() {
        let root = second.path().join(number.to_string());
        let image = CrashImage::power_loss(&recording, survival).unwrap();
        image.materialise(&root).unwrap();
        let expected = Expected::of(recording.marks());
        let checked = check(&root.join("store"), &expected, Check::AGGREGATES).await;
        checked.unwrap_or_else(|reason| panic!("{survival:?}: {reason}"));
    }
    drop(client);
    store.close().await.unwrap();
}
