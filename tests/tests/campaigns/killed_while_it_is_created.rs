//! A process was killed after it had created the directories of a new store, before it had synced their entries. The next
//! one found them there, took them for durable, and acknowledged commands in a directory that a power loss took away.

use eventfold_es::RunMode;
use eventfold_es::disk::{CrashImage, RecordingDisk, Survival};
use eventfold_es_tests::crash::{Check, Client, Expected, check, open_on, scratch};

#[tokio::test]
async fn killed_while_it_is_created() {
    let place = scratch();
    let disk = RecordingDisk::new(place.path()).unwrap();
    let store = open_on(
        &disk,
        &place.path().join("a/b/store"),
        false,
        RunMode::Inline,
    )
    .await;
    store.close().await.unwrap();
    let recording = disk.recording();
    for k in 0..=recording.len() {
        let (place, after) = (scratch(), scratch());
        let cut = recording.until(k, 0);
        CrashImage::killed(&cut)
            .unwrap()
            .materialise(place.path())
            .unwrap();
        let disk = RecordingDisk::continue_from(cut, place.path()).unwrap();
        let path = place.path().join("a/b/store");
        let store = open_on(&disk, &path, false, RunMode::Inline).await;
        let client = Client::recorded(&store, &disk);
        client.put("a", 1, 4).await.unwrap();
        let recording = disk.recording();
        let image = CrashImage::power_loss(&recording, &Survival::Nothing).unwrap();
        image.materialise(after.path()).unwrap();
        let expected = Expected::of(recording.marks());
        let checked = check(
            &after.path().join("a/b/store"),
            &expected,
            Check::AGGREGATES,
        )
        .await;
        checked.unwrap_or_else(|reason| panic!("killed after {k} operations: {reason}"));
        drop(client);
        store.close().await.unwrap();
    }
}
