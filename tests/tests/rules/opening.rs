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

/// Equal bytes that are read back may be in the page cache only.
#[tokio::test]
async fn rule_02_redo_writes_at_the_recorded_offsets_what_is_already_there() {
    let fixture = Fixture::killed().await;
    let stored = fs::read(fixture.file("streams/ledger/new/app.jsonl")).unwrap();
    assert!(!stored.is_empty());
    let root = fixture.store().parent().unwrap().to_owned();
    let disk = RecordingDisk::new(&root).unwrap();
    let start = disk.recording().start();
    let store = open_on(&disk, &fixture.store(), true, RunMode::OnDemand).await;
    let ops = disk.ops();
    let is_written = ops[start..].iter().any(|op| {
        matches!(op, DiskOp::Write { path, offset: 0, bytes, .. }
            if path.ends_with("streams/ledger/new/app.jsonl") && **bytes == *stored)
    });
    assert!(is_written, "{:#?}", &ops[start..]);
    store.close().await.unwrap();
    let after = fs::read(fixture.file("streams/ledger/new/app.jsonl")).unwrap();
    assert_eq!(after, stored);
}

/// Before the window a newline must stand; in it anything is replaced; behind it nothing may be.
#[tokio::test]
async fn rule_02_redo_replaces_its_window_and_nothing_else() {
    let fixture = Fixture::killed().await;
    let both = "streams/ledger/both/app.jsonl";
    let stored = fs::read(fixture.file(both)).unwrap();
    let start = stored.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    // The first command of this stream, of two events, stands before the checkpoint.
    let window = start
        + stored[start..]
            .iter()
            .position(|byte| *byte == b'\n')
            .unwrap()
        + 1;
    let open = |bytes: Vec<u8>| {
        let copy = fixture.copy();
        async move {
            fs::write(copy.file(both), bytes).unwrap();
            let opened = eventfold_es::AggregateStore::open(copy.store()).await;
            let damage = match opened {
                Ok(store) => {
                    let damaged = store.recovery().damaged_streams.clone();
                    let read = store.read_events("ledger", "both").await;
                    assert_eq!(read.is_err(), !damaged.is_empty());
                    store.close().await.unwrap();
                    damaged.first().map(|damage| damage.offset)
                }
                Err(other) => panic!("{other}"),
            };
            (damage, fs::read(copy.file(both)).unwrap())
        }
    };
    let mut in_window = stored.clone();
    in_window[window..].fill(b'?');
    assert_eq!(open(in_window).await, (None, stored.clone()));
    let mut before = stored.clone();
    before[window - 1] = b' ';
    assert_eq!(
        open(before.clone()).await,
        (Some(window as u64 - 1), before)
    );
    let mut behind = stored.clone();
    behind.extend_from_slice(b"behind\n");
    assert_eq!(open(behind.clone()).await.0, Some(stored.len() as u64));
}
