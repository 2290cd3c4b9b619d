//! The same calls, to a journal on files and to one in memory, have the same results.

use std::path::Path;
use std::sync::Arc;

use serde_json::value::RawValue;

use super::MemoryJournal;
use crate::clock::SystemClock;
use crate::disk::{Files, SystemDisk};
use crate::journal::local::LocalJournal;
use crate::journal::{
    CommitError, Cursor, Durability, Journal, JournalOptions, KeyLookup, KeyedLines, PastReactions,
    Progress, ProposedAppend, ProposedCommit, ProposedReaction, Receipt, Room, RowChange, RowRange,
    Snapshot, StreamEnd, StreamId, StreamPiece,
};
use crate::replication::Membership;
use crate::threads::StoreRuntime;

const OPTIONS: JournalOptions = JournalOptions {
    max_log_size: 0,
    durability: Durability::Flush,
    rebuild: false,
};

type Open = fn(&Path) -> Arc<dyn Journal>;

fn on_files(base: &Path) -> Arc<dyn Journal> {
    let (files, clock) = (Files::new(Arc::new(SystemDisk)), Arc::new(SystemClock));
    let opened = LocalJournal::open(
        files,
        base,
        &OPTIONS,
        Membership::Alone,
        clock,
        &StoreRuntime::default(),
    );
    Arc::new(opened.unwrap().0)
}

fn in_memory(base: &Path) -> Arc<dyn Journal> {
    let (files, clock) = (Files::new(Arc::new(SystemDisk)), Arc::new(SystemClock));
    let opened = MemoryJournal::open(
        files,
        base,
        &OPTIONS,
        Membership::Alone,
        clock,
        &StoreRuntime::default(),
    );
    Arc::new(opened.unwrap().0)
}

fn append(id: &str, expected_version: u64, lines: usize, key: Option<&str>) -> ProposedAppend {
    let line = |number| format!(r#"{{"type":"Added","data":"{id}{number}","ts":1}}"#).into();
    ProposedAppend {
        stream: StreamId::new("counter", id),
        expected_version,
        lines: (0..lines).map(line).collect(),
        keyed: Vec::from_iter(key.map(|key| KeyedLines {
            key: key.into(),
            digest: Some(7),
            before: lines - 1,
            count: 1,
        })),
    }
}

fn reaction(position: u64, rows: &[(&str, Option<&str>)], letters: &[&str]) -> ProposedReaction {
    let rows = rows.iter().map(|(key, value)| RowChange {
        key: (*key).into(),
        value: value.map(Into::into),
    });
    ProposedReaction {
        process_manager: "saga".into(),
        progress: Progress {
            position,
            state: RawValue::from_string(position.to_string()).unwrap(),
        },
        dispatched: 0,
        rows: rows.collect(),
        dead_letters: letters.iter().map(|letter| (*letter).into()).collect(),
    }
}

async fn commit(
    journal: &dyn Journal,
    appends: Vec<ProposedAppend>,
    reaction: Option<ProposedReaction>,
) -> Result<Receipt, CommitError> {
    let permit = Arc::clone(journal.room()).acquire_owned().await.unwrap();
    let room = Room::new(permit, journal.standing().term().unwrap());
    let commit = ProposedCommit {
        appends,
        reaction,
        ..ProposedCommit::default()
    };
    journal.submit(room, commit).wait().await
}

async fn close(journal: Arc<dyn Journal>) {
    let mut closed = journal.closed();
    journal.close();
    drop(journal);
    let _ = closed.wait_for(|closed| *closed).await;
}

/// The ends that streams had, each with the id of the stream.
type Ends = Vec<(&'static str, StreamEnd)>;

/// Writes to a journal; returns the results, and the ends of the streams after each commit.
async fn written(journal: &dyn Journal) -> (Vec<String>, Ends) {
    let (mut said, mut ends) = (Vec::new(), Vec::new());
    let mut say = |what: &str, ids: &[&'static str], result: Result<Receipt, CommitError>| {
        let receipt = result.as_ref().ok();
        let receipt_ends = receipt.into_iter().flat_map(|receipt| receipt.ends.iter());
        ends.extend(ids.iter().copied().zip(receipt_ends.copied()));
        let result = result.map(|receipt| {
            let versions: Vec<_> = receipt.ends.iter().map(|end| end.version).collect();
            (receipt.first_position, receipt.event_count, versions)
        });
        said.push(format!("{what}: {result:?}"));
    };
    let rows = [("a1", Some("1")), ("a2", Some("2")), ("b1", Some("3"))];
    let first = reaction(1, &rows, &["{}", "[]"]);
    let first = commit(journal, vec![append("a", 0, 2, Some("k"))], Some(first));
    say("first", &["a"], first.await);
    let two = vec![append("a", 2, 1, None), append("b", 0, 3, Some("k"))];
    say("two streams", &["a", "b"], commit(journal, two, None).await);
    let rows = [("a2", None), ("a3", Some("4"))];
    let none = commit(journal, Vec::new(), Some(reaction(5, &rows, &["7"])));
    say("no events", &[], none.await);
    let last = vec![append("a", 3, 1, None)];
    say(
        "last",
        &["a"],
        commit(journal, last, Some(reaction(6, &[], &[]))).await,
    );
    // The last one: a commit that comes at once behind it may be refused with it.
    let conflict = vec![append("b", 3, 1, None), append("a", 1, 1, None)];
    say("conflict", &[], commit(journal, conflict, None).await);
    (said, ends)
}

/// Reads all that can be read.
fn read(journal: &dyn Journal, ends: &Ends) -> Vec<String> {
    let mut said = vec![format!("durable {}", *journal.durable().borrow())];
    for mut cursor in [
        Cursor::default(),
        Cursor::after(3),
        Cursor::for_commit_at(4),
        Cursor::after(7),
    ] {
        let commits = journal.read_on(&mut cursor).unwrap();
        let commits = commits.iter().map(|commit| {
            let events = commit.events().map(|event| {
                // The two journals have different times.
                format!(
                    "{:?}",
                    (event.position, event.stream, event.version, event.line)
                )
            });
            (commit.reaction.clone(), events.collect::<Vec<_>>())
        });
        said.push(format!(
            "{} {:?}",
            cursor.position,
            commits.collect::<Vec<_>>()
        ));
    }
    let all = journal.streams(None).unwrap();
    let others = journal.streams(Some("count")).unwrap();
    said.push(format!("{all:?} {others:?}"));
    for id in ["a", "b", "none"] {
        let stream = StreamId::new("counter", id);
        let ends = ends.iter().filter(|(of, _)| *of == id).map(|(_, end)| *end);
        let ends = [StreamEnd::default()].into_iter().chain(ends);
        let mut events = journal.read_stream(&stream, StreamEnd::default()).unwrap();
        let mut piece = StreamPiece::default();
        while events.next(&mut piece).unwrap() {
            said.extend(piece.events().map(|event| format!("{event:?}")));
        }
        assert_eq!(Some(events.end()), ends.clone().last());
        let has_it = journal.has_stream(&stream).unwrap();
        said.push(has_it.to_string());
        // It need not be known.
        let (known, end) = (journal.known_version(&stream), events.end());
        assert!(known.is_none_or(|known| known == end.version), "{known:?}");
        for end in ends {
            let mut rest = journal.read_stream(&stream, end).unwrap();
            let next = rest.next(&mut piece).unwrap();
            let next = next.then(|| piece.events().next().map(|(version, _)| version));
            said.push(format!("behind {} {next:?}", end.version));
            let mut other = end;
            other.version += 1;
            said.push(format!("{}", journal.read_stream(&stream, other).is_err()));
            other = end;
            other.commit.hash ^= 1;
            said.push(format!("{}", journal.read_stream(&stream, other).is_err()));
        }
        for key in ["k", "other"] {
            let found = journal.find_answer(&stream, key).unwrap();
            said.push(match found {
                KeyLookup::Free(_) => "free".to_owned(),
                KeyLookup::Answered(answer) => {
                    let lines = journal.read_answer(&stream, &answer).unwrap();
                    let (position, version) = (answer.first_position, answer.first_version);
                    format!("{position} {version} {:?} {lines:?}", answer.digest)
                }
            });
        }
    }
    let values = journal.rows("saga", &["a1", "a2", "none"]).unwrap();
    said.push(format!(
        "{values:?} {:?}",
        journal.rows("none", &["a1"]).unwrap()
    ));
    for (range, limit) in [
        (RowRange::of_kind("a"), 9),
        (RowRange::of_kind("a").behind("a1"), 9),
        (RowRange::of_kind("a"), 1),
        (RowRange::numbered("b"), 9),
    ] {
        said.push(format!(
            "{:?}",
            journal.row_range("saga", &range, limit).unwrap()
        ));
    }
    let mut past = PastReactions::new("saga", "b");
    while !past.is_read {
        said.push(format!("{:?}", journal.past_reactions(&mut past).unwrap()));
    }
    said.retain(|said| said != "[]");
    let letters = journal.dead_letters("saga").unwrap();
    said.push(format!("{:?}", letters.iter().collect::<Vec<_>>()));
    said.push(format!(
        "{}",
        journal.dead_letters("none").unwrap().iter().count()
    ));
    said
}

/// The values that are saved beside the commits.
fn saved(journal: &dyn Journal) -> Vec<String> {
    let stream = StreamId::new("counter", "a");
    let snapshot = journal
        .load_snapshot(&stream)
        .map(|found| (found.seen.version, found.state));
    let projection = journal.projection("sales").load::<u64>().unwrap();
    let starts = journal.starts("saga").load::<u64>().unwrap();
    let progress = journal.progress("saga");
    vec![format!(
        "{snapshot:?} {projection:?} {starts:?} {progress:?}"
    )]
}

fn save(journal: &dyn Journal, seen: StreamEnd) {
    let stream = StreamId::new("counter", "a");
    let snapshot = Snapshot {
        seen,
        snapshot_version: 1,
        state: RawValue::from_string("2".to_owned()).unwrap(),
    };
    journal.save_snapshot(&stream, &snapshot);
    journal.prepare_to_save().unwrap();
    journal.projection("sales").save(&6).unwrap();
    journal.starts("saga").save(&8).unwrap();
    journal.starts("saga").remove().unwrap();
}

async fn all(open: Open) -> Vec<String> {
    let place = tempfile::tempdir().unwrap();
    let (base, copy) = (place.path().join("store"), place.path().join("copy"));
    let journal = open(&base);
    let mut said = saved(&*journal);
    let (written, ends) = written(&*journal).await;
    said.extend(written);
    said.extend(read(&*journal, &ends));
    save(&*journal, ends.first().unwrap().1);
    let report = journal.backup(&copy, &Default::default()).unwrap().unwrap();
    said.push(format!("{} {}", report.position, report.commits));
    close(journal).await;
    for base in [&base, &copy] {
        let journal = open(base);
        said.extend(read(&*journal, &ends));
        if base.ends_with("store") {
            said.extend(saved(&*journal));
            let found = journal.verify(&|_, _, _| Ok(None)).unwrap();
            said.push(format!("{found:?}"));
        }
        close(journal).await;
    }
    said
}

#[tokio::test]
async fn it_answers_as_the_journal_on_files() {
    let (files, memory) = (all(on_files).await, all(in_memory).await);
    assert!(files.len() > 100, "{files:#?}");
    for (files, memory) in files.iter().zip(&memory) {
        assert_eq!(files, memory);
    }
    assert_eq!(files.len(), memory.len());
}
