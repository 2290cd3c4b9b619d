use std::path::Path;

use super::super::fixture::{commit, open};
use crate::journal::index::{Address, Coverage, EntryKey};
use crate::journal::{Maintenance, StreamId};

/// A closed journal in which three streams have two events each, and the places of their commits.
async fn closed(base: &Path, streams: &[StreamId]) -> Vec<Address> {
    let journal = open(base, 0);
    let mut addresses = Vec::new();
    for stream in streams {
        let receipt = commit(&journal, stream, 0, "k").await;
        let place = receipt.ends.first().unwrap().commit;
        addresses.push(Address {
            offset: place.offset,
            length: place.length,
            count: 2,
        });
    }
    journal.close();
    let mut closed = journal.closed();
    drop(journal);
    // The journal is closed by then, and the sender is dropped with it.
    let _ = closed.wait_for(|closed| *closed).await;
    addresses
}

/// Entries with different content have no damaged bytes.
#[tokio::test]
async fn an_entry_that_is_wrong_is_found_and_named() {
    let streams = ["a", "b", "c"].map(|id| StreamId::new("counter", id));
    let append = |index: usize, version| EntryKey::append(&streams[index], version);
    let answer = |version| EntryKey::answer(&streams[1], "k", version);
    for case in 0..7 {
        let base = tempfile::tempdir().unwrap();
        let addresses = closed(base.path(), &streams).await;
        let (of_a, of_b) = (addresses[0], addresses[1]);
        let shorter = Address {
            length: of_b.length - 1,
            ..of_b
        };
        let keyed = |address| Address {
            count: 1,
            ..address
        };
        let (entries, expected) = match case {
            0 => (vec![], None),
            1 => (vec![(append(1, 1), of_b), (answer(2), keyed(of_b))], None),
            2 => (vec![(append(1, 1), shorter)], Some("event 1 of `b`")),
            3 => (vec![(append(2, 1), of_b)], Some("event 1 of `c`")),
            4 => (vec![(answer(2), keyed(of_a))], Some("event 1 of `b`")),
            5 => (vec![(append(1, 3), of_b)], Some("4 appends and 3")),
            _ => (vec![(answer(3), of_b)], Some("3 appends and 4")),
        };
        let journal = open(base.path(), 0);
        let entries: Vec<_> = entries
            .into_iter()
            .map(|(key, address)| (key.into_bytes(), address.encode()))
            .collect();
        let coverage = Coverage {
            from: 0,
            to: 0,
            hash: 0,
        };
        if !entries.is_empty() {
            let mut entries: Vec<_> = entries
                .iter()
                .map(|(key, value)| (&key[..], &value[..]))
                .collect();
            entries.sort();
            journal.streams.index.add(entries, coverage).unwrap();
        }
        let verified = journal.verify(&|_, _, _| Ok(None)).unwrap();
        assert_eq!((verified.commits, verified.events), (3, 6));
        let differences = verified.differences.iter();
        let found: Vec<_> = differences.map(|found| &found.reason).collect();
        match expected {
            None => assert!(found.is_empty(), "{case}: {found:?}"),
            Some(expected) => assert!(
                found.len() == 1 && found[0].contains(expected),
                "{case}: {found:?}"
            ),
        }
    }
}
