//! A sync of files that are derived from the journal failed while a checkpoint was taken; the next checkpoint synced again, was told
//! that all is well, and was believed. But a failed sync marks pages clean that were never written: after a power loss the checkpoint
//! vouched for files that had lost their content.

use std::sync::Arc;

use eventfold_es::disk::{
    CrashImage, Failure, Fault, FaultyDisk, Operation, Recording, RecordingDisk, Survival,
    SystemDisk,
};
use eventfold_es::prelude::*;
use eventfold_es_tests::crash::{audit, scratch};

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Fill;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
pub enum BlobEvent {
    Filled { text: String },
}

#[aggregate(command = Fill, error = std::convert::Infallible)]
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Blob {
    length: usize,
}

impl Decider for Blob {
    fn decide(&self, _: Fill) -> Result<Vec<BlobEvent>, std::convert::Infallible> {
        let text = "x".repeat(3 << 20);
        Ok(vec![BlobEvent::Filled { text }])
    }

    fn evolve(&mut self, event: &BlobEvent) {
        let BlobEvent::Filled { text } = event;
        self.length += text.len();
    }
}

#[tokio::test]
async fn checkpoint_after_failed_sync() {
    let place = scratch();
    let faults = FaultyDisk::new(Arc::new(SystemDisk));
    let disk = RecordingDisk::new(place.path()).unwrap();
    let disk = disk.over(Arc::new(faults.clone()));
    let path = place.path().join("store");
    let open = || {
        AggregateStore::builder(&path)
            .disk(Arc::new(disk.clone()))
            .open()
    };
    let store = open().await.unwrap();
    store
        .send("a", Fill, CommandContext::default())
        .await
        .unwrap();
    store.close().await.unwrap();
    let store = open().await.unwrap();
    faults.inject(Fault::once(0, Failure::EIO).on(&[Operation::SyncDir]));
    let mut acknowledged = 1;
    // Enough for a checkpoint, which fails, and for another one.
    for _ in 0..7 {
        let filled = store.send("a", Fill, CommandContext::default()).await;
        acknowledged += usize::from(filled.is_ok());
    }
    assert!(store.close().await.is_err());
    assert_eq!(faults.hits().len(), 1);
    let killed = disk.recording();
    // What is written again looks as if it were there already.
    let store = open().await.unwrap();
    store.close().await.unwrap();
    check(&killed, acknowledged).await;
    check(&disk.recording(), acknowledged).await;
}

async fn check(recording: &Recording, acknowledged: usize) {
    let second = scratch();
    let image = CrashImage::power_loss(recording, &Survival::Nothing).unwrap();
    image.materialise(second.path()).unwrap();
    let path = second.path().join("store");
    let store = AggregateStore::open(&path).await.unwrap();
    let read = store.read_events("blob", "a").await.unwrap();
    assert!(
        read.len() >= acknowledged,
        "{} of {acknowledged}",
        read.len()
    );
    store.close().await.unwrap();
    audit(&path).unwrap();
}
