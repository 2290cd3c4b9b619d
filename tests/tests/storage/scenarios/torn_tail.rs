//! Scenario 27: the last batch is cut at every byte, and loses every subset of its sectors.

use std::collections::BTreeSet;

use eventfold_es::disk::{
    CrashImage, DiskModel, DiskOp, RecordingDisk, SECTOR, SplitMix64, Survival,
};
use eventfold_es::{AggregateStore, CommandContext, RunMode};
use eventfold_es_tests::campaign::size;
use eventfold_es_tests::crash::domain::{Ledger, LedgerCommand};
use eventfold_es_tests::crash::{Client, Place, open_on, scratch};

async fn tags(store: &AggregateStore, id: &str) -> Vec<u64> {
    let handle = store.get::<Ledger>(id).await.unwrap();
    handle.state().await.unwrap().tags
}

/// What was acknowledged is there, the command that was being written as a whole or not at all; the store is used, and
/// opened again if that is wanted. Whether the command is there.
async fn check(
    image: &CrashImage,
    copies: &mut Place,
    parts: u64,
    is_opened_again: bool,
    what: &str,
) -> bool {
    let root = copies.fresh();
    image.materialise(&root).unwrap();
    let path = root.join("store");
    let store = AggregateStore::open(&path).await;
    let store = store.unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_eq!(tags(&store, "a").await, [1], "{what}");
    let torn = tags(&store, "b").await;
    assert!(torn.is_empty() || torn == [7], "{what}: {torn:?}");
    let command = LedgerCommand::Put { tag: 9, parts: 2 };
    let done = store.send("b", command, CommandContext::default()).await;
    let version = parts * torn.len() as u64 + 2;
    assert_eq!(done.unwrap().version, version, "{what}");
    store.close().await.unwrap();
    if is_opened_again {
        let store = AggregateStore::open(&path).await.unwrap();
        assert_eq!(tags(&store, "a").await, [1], "{what}");
        let mut expected = torn.clone();
        expected.push(9);
        assert_eq!(tags(&store, "b").await, expected, "{what}");
        store.close().await.unwrap();
    }
    std::fs::remove_dir_all(&root).unwrap();
    !torn.is_empty()
}

/// One command of so many events is longer than what the file is filled with ahead.
const MANY: u32 = 1000;

/// The batch begins in the part of the file that was filled with zeros, and ends behind it.
#[tokio::test]
async fn scenario_27_a_large_batch_across_the_end_of_the_filled_file() {
    let place = scratch();
    let disk = RecordingDisk::new(place.path()).unwrap();
    let store = open_on(&disk, &place.path().join("store"), false, RunMode::Inline).await;
    let client = Client::recorded(&store, &disk);
    client.put("a", 1, 1).await.unwrap();
    let before = disk.len();
    client.put("b", 7, MANY).await.unwrap();
    drop(client);
    let recording = disk.recording();
    store.close().await.unwrap();
    let is_journal = |op: &DiskOp| matches!(op, DiskOp::Write { path, .. } if path.ends_with("meta/journal/app.jsonl"));
    let last = before
        + recording.ops()[before..]
            .iter()
            .position(is_journal)
            .unwrap();
    let DiskOp::Write { bytes, offset, .. } = &recording.ops()[last] else {
        unreachable!("it was looked for");
    };
    let filled = 256 << 10;
    assert!(*offset < filled && offset + bytes.len() as u64 > filled);
    let text = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    assert!(offset + text as u64 > filled && text < bytes.len());

    let before = DiskModel::replay(&recording.ops()[..last]).unwrap();
    let (mut copies, mut random) = (Place::default(), SplitMix64::new(27));
    let mut found = BTreeSet::new();
    let boundary = (filled - offset) as usize;
    let near = [0, 512, boundary, text, bytes.len()]
        .into_iter()
        .flat_map(|place| place.saturating_sub(3)..=(place + 3).min(bytes.len()));
    let anywhere: Vec<_> = (0..60).map(|_| random.below(bytes.len())).collect();
    for torn in near.chain(anywhere) {
        let mut model = before.clone();
        if let Some(part) = recording.ops()[last].torn(torn) {
            model.apply(&part).unwrap();
        }
        let what = format!("torn after {torn} bytes");
        let parts = MANY.into();
        found.insert(check(&model.page_cache(), &mut copies, parts, false, &what).await);
    }
    assert_eq!(found, BTreeSet::from([false, true]));

    let mut model = before;
    model.apply(&recording.ops()[last]).unwrap();
    let sectors: Vec<_> = recording.ops()[last].sectors().collect();
    found.clear();
    for round in 0..120 {
        // One of two, one of thirty, one or none.
        let lost: Vec<_> = match round % 4 {
            0 => sectors
                .iter()
                .copied()
                .filter(|_| random.chance(2))
                .collect(),
            1 => sectors
                .iter()
                .copied()
                .filter(|_| random.chance(30))
                .collect(),
            2 => vec![sectors[random.below(sectors.len())]],
            _ => Vec::new(),
        };
        let length_too = random.chance(3);
        let what = format!("without the sectors {lost:?}, the length too: {length_too}");
        let image = model.after_power_loss(&Survival::LoseSectors {
            op: last,
            sectors: lost,
            length_too,
        });
        found.insert(check(&image, &mut copies, MANY.into(), false, &what).await);
    }
    assert_eq!(found, BTreeSet::from([false, true]));
}

#[tokio::test]
async fn scenario_27_a_tail_torn_at_every_byte_and_with_every_subset_of_its_sectors_lost() {
    let place = scratch();
    let disk = RecordingDisk::new(place.path()).unwrap();
    let store = open_on(&disk, &place.path().join("store"), false, RunMode::Inline).await;
    let client = Client::recorded(&store, &disk);
    client.put("a", 1, 1).await.unwrap();
    // Its text is not one byte per character, so that it is also torn within one.
    client.put("b", 7, 2).await.unwrap();
    drop(client);
    let recording = disk.recording();
    store.close().await.unwrap();
    let last = recording.ops().iter().rposition(
        |op| matches!(op, DiskOp::Write { path, .. } if path.ends_with("meta/journal/app.jsonl")),
    );
    let last = last.unwrap();
    let DiskOp::Write { bytes, .. } = &recording.ops()[last] else {
        unreachable!("it was looked for");
    };
    let cut_in_a_character = bytes.windows(2).any(|pair| pair == "é".as_bytes());
    assert!(cut_in_a_character && bytes.len() > SECTOR as usize);

    let before = DiskModel::replay(&recording.ops()[..last]).unwrap();
    let mut copies = Place::default();
    let mut found = BTreeSet::new();
    // At every byte in a full run; the last ones always, at which the batch becomes whole.
    let last_ones = bytes.len() - 8;
    let torn_at = (0..last_ones).step_by(size(7, 1));
    for torn in torn_at.chain(last_ones..=bytes.len()) {
        let mut model = before.clone();
        if let Some(part) = recording.ops()[last].torn(torn) {
            model.apply(&part).unwrap();
        }
        let what = format!("torn after {torn} bytes");
        found.insert(check(&model.page_cache(), &mut copies, 2, torn % 8 == 0, &what).await);
    }
    assert_eq!(found, BTreeSet::from([false, true]));

    let mut model = before;
    model.apply(&recording.ops()[last]).unwrap();
    let sectors: Vec<_> = recording.ops()[last].sectors().collect();
    found.clear();
    for subset in 0..1_u32 << sectors.len() {
        let lost = sectors.iter().enumerate();
        let lost = lost.filter(|(index, _)| subset & (1 << index) != 0);
        let sectors: Vec<_> = lost.map(|(_, sector)| *sector).collect();
        let what = format!("without the sectors {sectors:?}");
        let image = model.after_power_loss(&Survival::LoseSectors {
            op: last,
            sectors,
            length_too: false,
        });
        found.insert(check(&image, &mut copies, 2, true, &what).await);
    }
    assert_eq!(found, BTreeSet::from([false, true]));
}
