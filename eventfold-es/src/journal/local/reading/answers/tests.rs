use super::*;
use crate::journal::index::Coverage;
use crate::journal::local::appends::{ALL, Append, Appends};
use crate::journal::local::fixture::{commit, open};
use crate::journal::{StreamId, Streams};

/// The distance between two checkpoints.
const STEP: u64 = 1_000;

/// An earlier lookup is valid only while nothing moves from memory to a run.
#[tokio::test]
async fn a_key_that_was_free_is_not_when_its_answer_went_from_memory_to_a_run() {
    let base = tempfile::tempdir().unwrap();
    let journal = open(base.path(), STEP);
    let (stream, other) = (StreamId::new("counter", "a"), StreamId::new("counter", "b"));
    let before = journal.find_answer(&stream, "k").unwrap();
    assert_eq!(before, KeyLookup::Free(0));
    commit(&journal, &stream, 0, "k").await;
    let known = || journal.known_answer(&stream, "k", Some(before));
    let Some(KeyLookup::Answered(answer)) = known() else {
        panic!("{:?}", known());
    };
    let expected = (2, 2, 1, Some(7));
    let found = |answer: Answer| {
        let (version, position) = (answer.first_version, answer.first_position);
        (version, position, answer.event_count(), answer.digest)
    };
    assert_eq!(found(answer), expected);
    let mut commits = 0;
    while let Some(known) = known() {
        assert_eq!(known, KeyLookup::Answered(answer));
        assert!(commits < 20_000, "it stays in memory");
        if commits > 100 {
            // A busy machine writes the run later.
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        commit(&journal, &other, 2 * commits, "k").await;
        commits += 1;
    }
    let KeyLookup::Answered(answer) = journal.find_answer(&stream, "k").unwrap() else {
        panic!("the run has it");
    };
    assert_eq!(found(answer), expected);
    assert_eq!(journal.read_answer(&stream, &answer).unwrap().len(), 1);
    for (stream, key) in [(&stream, "l"), (&StreamId::new("counter", "c"), "k")] {
        let free = journal.find_answer(stream, key).unwrap();
        assert!(matches!(free, KeyLookup::Free(_)), "{free:?}");
        assert_eq!(journal.known_answer(stream, key, Some(free)), Some(free));
    }
}

/// An entry that leads to a different line does not make a key free.
#[tokio::test]
async fn an_entry_that_leads_to_another_line_is_damage() {
    let base = tempfile::tempdir().unwrap();
    let journal = open(base.path(), 0);
    let stream = StreamId::new("counter", "a");
    let receipt = commit(&journal, &stream, 0, "k").await;
    let place = receipt.ends.first().unwrap().commit;
    let address = Address {
        offset: place.offset,
        length: place.length,
        count: 1,
    };
    let coverage = Coverage {
        from: 0,
        to: place.length,
        hash: place.hash,
    };
    let index = &journal.streams.index;
    for (key, version) in [("k", 2), ("lost", 2), ("late", 1)] {
        let entry = EntryKey::answer(&stream, key, version);
        let entry = (entry.into_bytes(), address.encode());
        index.add([(&entry.0[..], &entry.1[..])], coverage).unwrap();
    }
    let lost = journal.find_answer(&stream, "lost");
    assert!(matches!(lost, Err(JournalError::Damage(_))), "{lost:?}");
    let late = journal.find_answer(&stream, "late");
    assert!(matches!(late, Err(JournalError::Damage(_))), "{late:?}");
}

/// Appends that were sealed for a failed checkpoint stay in memory until a checkpoint covers them.
#[test]
fn an_answer_is_in_memory_until_a_run_has_it() {
    let appends = Appends::default();
    let stream = StreamId::new("counter", "a");
    let append = |version: u64, key: &str| {
        let address = Address {
            offset: version * 100,
            length: 100,
            count: 1,
        };
        let answer = Answer {
            first_version: version,
            first_position: version,
            digest: None,
            address,
        };
        Append {
            stream: stream.clone(),
            version,
            address,
            answers: vec![(key.into(), answer)],
        }
    };
    let noted = [append(1, "k"), append(2, "l"), append(3, "k")];
    for append in &noted {
        appends.note(append);
        appends.seal();
    }
    let version = |key: &str| {
        let (answer, _) = appends.answer(&stream, key);
        answer.map(|answer| answer.first_version)
    };
    assert_eq!((version("k"), version("l")), (Some(1), Some(2)));
    assert!(noted.iter().all(|append| appends.holds(append)));
    assert!(!appends.holds(&append(2, "k")) && !appends.holds(&append(4, "m")));
    let entries = appends.entries_of(&ALL);
    assert_eq!(entries.len(), 6);
    assert!(entries.is_sorted());
    assert_eq!(appends.entries_of(&(200..300)).len(), 2);
    appends.drop_sealed();
    assert_eq!((version("k"), version("l")), (None, None));
}
