//! Scenario 27: the last batch is cut at every byte, and loses every subset of its sectors.

use std::collections::BTreeSet;

use eventfold_es::disk::{CrashImage, DiskModel, DiskOp, RecordingDisk, SECTOR, Survival};
use eventfold_es::{AggregateStore, CommandContext, RunMode};
use eventfold_es_tests::crash::domain::{Ledger, LedgerCommand};
use eventfold_es_tests::crash::{Client, Place, open_on, scratch};

async fn tags(store: &AggregateStore, id: &str) -> Vec<u64> {
    let handle = store.get::<Ledger>(id).await.unwrap();
    handle.state().await.unwrap().tags
}

/// What was acknowledged is there, the command that was being written as a whole or not at all; the store is used, and
/// opened again if that is wanted. Whether the command is there.
async fn check(image: &CrashImage, copies: &mut Place, is_opened_again: bool, what: &str) -> bool {
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
    assert_eq!(done.unwrap().version, 2 * torn.len() as u64 + 2, "{what}");
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
    for torn in 0..=bytes.len() {
        let mut model = before.clone();
        if let Some(part) = recording.ops()[last].torn(torn) {
            model.apply(&part).unwrap();
        }
        let what = format!("torn after {torn} bytes");
        found.insert(check(&model.page_cache(), &mut copies, torn % 8 == 0, &what).await);
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
        found.insert(check(&image, &mut copies, true, &what).await);
    }
    assert_eq!(found, BTreeSet::from([false, true]));
}
