//! Rules 1 and 2: what opening a directory makes certain, and what it writes again.

use std::fs;

use eventfold_es::disk::{CrashImage, DiskOp, RecordingDisk, Survival};
use eventfold_es::{OpenError, RunMode};
use eventfold_es_tests::crash::{Client, Fixture, open_on, scratch};

/// A batch was written and not synced when the process was killed. The next process reads it from the page cache and shows
/// it: from then on it counts.
#[tokio::test]
async fn rule_01_what_was_served_after_a_kill_survives_a_power_loss() {
    let place = scratch();
    let disk = RecordingDisk::new(place.path()).unwrap();
    let store = open_on(&disk, &place.path().join("store"), false, RunMode::Inline).await;
    let client = Client::recorded(&store, &disk);
    client.put("a", 1, 2).await.unwrap();
    client.put("a", 3, 4).await.unwrap();
    drop(client);
    let recording = disk.recording();
    store.close().await.unwrap();
    let written = recording.ops().iter().rposition(
        |op| matches!(op, DiskOp::Write { path, .. } if path.ends_with("meta/journal/app.jsonl")),
    );
    let killed = recording.until(written.unwrap() + 1, 0);
    let nothing = CrashImage::power_loss(&killed, &Survival::Nothing).unwrap();
    assert_ne!(nothing, CrashImage::killed(&killed).unwrap(), "unsynced");

    let place = scratch();
    let root = place.path().join("killed");
    let image = CrashImage::killed(&killed).unwrap();
    image.materialise(&root).unwrap();
    let disk = RecordingDisk::continue_from(killed, &root).unwrap();
    let store = open_on(&disk, &root.join("store"), false, RunMode::Inline).await;
    let served = store.read_events("ledger", "a").await.unwrap();
    assert_eq!(served.len(), 6);
    let survivals = [
        Survival::Nothing,
        Survival::EntriesOnly,
        Survival::LengthsOnly,
        Survival::ContentOnly,
    ];
    let random = (0..8).map(Survival::Random);
    for (number, survival) in survivals.into_iter().chain(random).enumerate() {
        let image = CrashImage::power_loss(&disk.recording(), &survival).unwrap();
        let root = place.path().join(number.to_string());
        image.materialise(&root).unwrap();
        let disk = RecordingDisk::new(&root).unwrap();
        let again = open_on(&disk, &root.join("store"), false, RunMode::Inline).await;
        let events = again.read_events("ledger", "a").await.unwrap();
        assert_eq!(events, served, "{survival:?}");
        again.close().await.unwrap();
    }
    store.close().await.unwrap();
}

/// A complete line is followed by a line, by zeros or by nothing. Anything else is damage: to cut it off would be a guess.
#[tokio::test]
async fn rule_01_wrong_bytes_behind_the_last_line_are_damage() {
    let fixture = Fixture::closed().await;
    let length = fs::read(fixture.file("meta/journal/app.jsonl"))
        .unwrap()
        .len();
    for foreign in [&b"x"[..], b"\0\0x", b"\n\n", b"{}\n"] {
        let copy = fixture.copy();
        let journal = copy.file("meta/journal/app.jsonl");
        let mut bytes = fs::read(&journal).unwrap();
        bytes.extend_from_slice(foreign);
        fs::write(&journal, &bytes).unwrap();
        let refused = eventfold_es::AggregateStore::open(copy.store()).await;
        match refused {
            Err(OpenError::Damaged(damage)) => {
                assert_eq!(damage.path, journal);
                assert!(damage.offset >= length as u64, "{damage}");
            }
            other => panic!("behind the journal stands {foreign:?}, and opening answers {other:?}"),
        }
        assert_eq!(fs::read(&journal).unwrap(), bytes, "they are somebody's");
    }
}
