//! What clients were told, and whether the events can be their cause.

use std::collections::{BTreeMap, HashMap};
use std::time::Instant;

/// A command of a client, with all its repetitions.
#[derive(Debug, Clone)]
pub struct Operation {
    pub tally: String,
    pub key: String,
    pub begun: Instant,
    pub ended: Instant,
    pub outcome: Outcome,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is the event with this version.
    Acknowledged(u64),
    /// Every answer was that it is not stored.
    NotStored,
    /// No answer, or an answer that leaves it open.
    Unknown,
}

/// The keys of the events of each stream, in their order.
pub type Streams = BTreeMap<String, Vec<String>>;

/// Compares the history of the clients with the events. `ledgers` has what the process manager has noted.
pub fn check(operations: &[Operation], tallies: &Streams, ledgers: &Streams) -> Result<(), String> {
    let mut versions = HashMap::new();
    for (tally, keys) in tallies {
        for (key, version) in keys.iter().zip(1_u64..) {
            if versions.insert(key.as_str(), (tally, version)).is_some() {
                return Err(format!("`{key}` is in the log twice"));
            }
        }
    }
    let mut expected = HashMap::new();
    for operation in operations {
        let stored = versions.get(operation.key.as_str());
        let stored = stored
            .filter(|(tally, _)| **tally == operation.tally)
            .map(|(_, version)| *version);
        match operation.outcome {
            Outcome::Acknowledged(version) if stored != Some(version) => {
                return Err(format!("{operation:?} is stored at {stored:?}"));
            }
            Outcome::NotStored if stored.is_some() => {
                return Err(format!("{operation:?} is stored all the same"));
            }
            _ => {}
        }
        if let Some(version) = stored {
            let of_tally: &mut Vec<_> = expected.entry(&operation.tally).or_default();
            of_tally.push((version, operation));
        }
    }
    for of_tally in expected.values_mut() {
        in_real_time(of_tally)?;
    }
    let known = expected.values().map(Vec::len).sum::<usize>();
    if known != versions.len() {
        let stored = versions.len();
        return Err(format!(
            "{known} commands were sent, and {stored} are stored"
        ));
    }
    noted_once(tallies, ledgers)
}

/// An operation that ended before another began has the lower version.
fn in_real_time(of_tally: &mut [(u64, &Operation)]) -> Result<(), String> {
    of_tally.sort_by_key(|(version, _)| *version);
    let mut latest: Option<&Operation> = None;
    for (_, operation) in of_tally {
        if let Some(latest) = latest
            && matches!(operation.outcome, Outcome::Acknowledged(_))
            && operation.ended < latest.begun
        {
            return Err(format!("{operation:?} comes behind {latest:?}"));
        }
        if latest.is_none_or(|latest| operation.begun > latest.begun) {
            latest = Some(operation);
        }
    }
    Ok(())
}

fn noted_once(tallies: &Streams, ledgers: &Streams) -> Result<(), String> {
    for (tally, keys) in tallies {
        let noted = ledgers.get(tally).map(Vec::as_slice).unwrap_or_default();
        if noted != keys {
            let first = keys.iter().zip(noted).position(|(key, noted)| key != noted);
            return Err(format!(
                "`{tally}` has {} events and {} notes; the first difference is at {first:?}",
                keys.len(),
                noted.len()
            ));
        }
    }
    Ok(())
}

/// The check finds each mistake.
#[test]
fn mistakes_are_found() {
    use std::time::Duration;

    let begin = Instant::now();
    let at = |millis| begin + Duration::from_millis(millis);
    let operation = |key: &str, begun, ended, outcome| Operation {
        tally: "a".to_owned(),
        key: key.to_owned(),
        begun: at(begun),
        ended: at(ended),
        outcome,
    };
    let streams = |keys: &[&str]| {
        let keys = keys.iter().map(|key| (*key).to_owned()).collect();
        Streams::from([("a".to_owned(), keys)])
    };
    let operations = [
        operation("1", 0, 10, Outcome::Acknowledged(1)),
        operation("2", 20, 30, Outcome::Acknowledged(2)),
        operation("3", 20, 30, Outcome::Unknown),
        operation("4", 20, 30, Outcome::NotStored),
    ];
    let checked =
        |keys: &[&str], notes: &[&str]| check(&operations, &streams(keys), &streams(notes));
    assert_eq!(checked(&["1", "2"], &["1", "2"]), Ok(()));
    assert_eq!(checked(&["1", "2", "3"], &["1", "2", "3"]), Ok(()));
    for (keys, notes) in [
        // Lost, doubled, stored though it was refused, and from nowhere.
        (&["1"][..], &["1"][..]),
        (&["1", "2", "3", "3"], &["1", "2", "3", "3"]),
        (&["1", "2", "4"], &["1", "2", "4"]),
        (&["1", "2", "9"], &["1", "2", "9"]),
        // Another version than the client was told.
        (&["1", "3", "2"], &["1", "3", "2"]),
        // Reacted to never, twice, and in another order.
        (&["1", "2"], &["1"]),
        (&["1", "2"], &["1", "2", "2"]),
        (&["1", "2"], &["2", "1"]),
    ] {
        assert!(checked(keys, notes).is_err(), "{keys:?} {notes:?}");
    }
    // The second began when the first had ended.
    let backwards = [
        operation("1", 0, 10, Outcome::Acknowledged(2)),
        operation("2", 20, 30, Outcome::Acknowledged(1)),
    ];
    let events = streams(&["2", "1"]);
    assert!(check(&backwards, &events, &events).is_err());
}
