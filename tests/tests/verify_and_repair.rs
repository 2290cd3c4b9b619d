//! Verifying finds every difference between the journal and what is derived from it, and repairing restores it.

#[path = "common/snapshot_file.rs"]
#[allow(dead_code, reason = "only what seals a file")]
mod snapshot_file;

use std::fs;
use std::path::Path;
use std::sync::Arc;

use eventfold_es::disk::SystemDisk;
use eventfold_es::prelude::*;
use eventfold_es::{OpenError, RunMode, VerifyReport};
use eventfold_es_tests::crash::domain::{Ledger, LedgerCommand};
use eventfold_es_tests::crash::{Check, Fixture, Note, builder, check};

const STREAM: &str = "streams/ledger/both/app.jsonl";

async fn verify(fixture: &Fixture) -> VerifyReport {
    let builder = builder(&fixture.store(), Arc::new(SystemDisk), true);
    let store = builder.run_mode(RunMode::OnDemand).open().await.unwrap();
    let report = store.verify().await.unwrap();
    drop(store);
    report
}

fn change(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

async fn assert_repaired(fixture: &Fixture, what: &str) {
    let report = AggregateStore::builder(fixture.store()).repair().await;
    let report = report.unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_eq!(report.remaining, [], "{what}");
    assert_eq!(
        (report.imported_events, &report.set_aside[..]),
        (0, &[][..]),
        "{what}"
    );
    let checked = check(&fixture.store(), &fixture.expected, Check::PROCESS_MANAGERS).await;
    checked.unwrap_or_else(|reason| panic!("{what}: {reason}"));
    let again = AggregateStore::builder(fixture.store())
        .repair()
        .await
        .unwrap();
    assert_eq!(again.found, [], "{what}");
}

#[tokio::test]
async fn a_whole_store_has_no_differences() {
    for fixture in [Fixture::closed().await, Fixture::killed().await] {
        let report = verify(&fixture).await;
        assert!(report.is_clean(), "{report:?}");
        assert!(report.commits > 0 && report.events > 0 && report.streams > 0);
        assert_repaired(&fixture, "a whole store").await;
    }
}

#[tokio::test]
async fn whatever_happened_to_a_stream_is_found_and_restored() {
    let fixture = Fixture::closed().await;
    let length = fs::read(fixture.file(STREAM)).unwrap().len();
    type Change = Box<dyn Fn(&mut Vec<u8>)>;
    let changes: [(&str, Change); 5] = [
        ("cut", Box::new(|bytes| bytes.truncate(bytes.len() / 2))),
        ("emptied", Box::new(Vec::clear)),
        (
            "a bit is flipped",
            Box::new(move |bytes| bytes[length / 3] ^= 4),
        ),
        ("not UTF-8", Box::new(move |bytes| bytes[length / 3] = 0xff)),
        (
            "the last line is missing",
            Box::new(|bytes| {
                let end = bytes.len() - 1;
                let line = bytes[..end]
                    .iter()
                    .rposition(|byte| *byte == b'\n')
                    .unwrap();
                bytes.truncate(line + 1);
            }),
        ),
    ];
    for (what, change_bytes) in changes {
        let copy = fixture.copy();
        change(&copy.file(STREAM), |bytes| change_bytes(bytes));
        let report = verify(&copy).await;
        assert_eq!(report.differences.len(), 1, "{what}: {report:?}");
        assert_eq!(report.differences[0].path, copy.file(STREAM), "{what}");
        assert_repaired(&copy, what).await;
    }
    let copy = fixture.copy();
    fs::remove_dir_all(copy.file("streams/ledger/both")).unwrap();
    assert_eq!(verify(&copy).await.differences.len(), 1);
    assert_repaired(&copy, "the directory is gone").await;
}

#[tokio::test]
async fn a_difference_that_comes_while_the_store_is_open_is_found_and_restored() {
    let fixture = Fixture::closed().await;
    for file in [
        "process_managers/fanout/dead_letters.jsonl",
        "meta/streams.jsonl",
        "meta/checkpoint.json",
        "meta/stream-extents.0.jsonl",
        STREAM,
    ] {
        let copy = fixture.copy();
        let builder = builder(&copy.store(), Arc::new(SystemDisk), true);
        let store = builder.run_mode(RunMode::OnDemand).open().await.unwrap();
        change(&copy.file(file), |bytes| {
            let place = bytes.len() / 2;
            bytes[place] ^= 1;
        });
        let report = store.verify().await.unwrap();
        let found = report.differences.iter();
        assert!(found.clone().count() > 0, "{file}");
        for difference in found {
            assert_eq!(difference.path, copy.file(file));
        }
        drop(store);
        assert_repaired(&copy, file).await;
    }
}

#[tokio::test]
async fn damage_of_the_journal_is_found_behind_no_checkpoint() {
    let fixture = Fixture::closed().await;
    let journal = "meta/journal/app.jsonl";
    let copy = fixture.copy();
    change(&copy.file(journal), |bytes| bytes[300] ^= 1);
    let report = verify(&copy).await;
    assert_eq!(report.differences.len(), 1, "{report:?}");
    assert_eq!(report.differences[0].path, copy.file(journal));
    match AggregateStore::builder(copy.store()).repair().await {
        Err(OpenError::Damaged(damage)) => assert_eq!(damage.path, copy.file(journal)),
        other => panic!("{other:?}"),
    }
    // Nothing was derived from a damaged journal.
    let store = builder(&copy.store(), Arc::new(SystemDisk), true)
        .open()
        .await;
    drop(store);
}

#[tokio::test]
async fn events_that_another_program_wrote_are_imported() {
    let fixture = Fixture::closed().await;
    let copy = fixture.copy();
    let last = fs::read_to_string(copy.file(STREAM)).unwrap();
    let last = last.lines().last().unwrap().to_owned();
    let path = copy.file("streams/ledger/both");
    let before = fs::read_to_string(copy.file(STREAM))
        .unwrap()
        .lines()
        .count();
    // With eventfold's own writer, as a tool would.
    let mut writer = eventfold::EventWriter::open(&path).unwrap();
    let event: eventfold::Event = serde_json::from_str(&last).unwrap();
    let tag = 77_777;
    for part in 0..2 {
        let mut event = event.clone();
        event.id = None;
        event.data["tag"] = tag.into();
        if event.data.get("part").is_some() {
            event.data["part"] = part.into();
        }
        writer.append(&event).unwrap();
    }
    drop(writer);
    change(&copy.file(STREAM), |bytes| {
        bytes.extend_from_slice(b"{\"type\":\"Half")
    });
    let report = verify(&copy).await;
    assert_eq!(report.differences.len(), 1, "{report:?}");
    let report = AggregateStore::builder(copy.store())
        .repair()
        .await
        .unwrap();
    assert_eq!(report.imported_events, 2);
    assert_eq!(report.remaining, []);
    let [aside] = &report.set_aside[..] else {
        panic!("{report:?}");
    };
    assert_eq!(fs::read(aside).unwrap(), b"{\"type\":\"Half");
    let store = builder(&copy.store(), Arc::new(SystemDisk), true)
        .open()
        .await
        .unwrap();
    let events = store.read_events("ledger", "both").await.unwrap();
    assert_eq!(events.len(), before + 2);
    assert_eq!(events.last().unwrap().data["tag"], tag);
    store
        .get::<Ledger>("both")
        .await
        .unwrap()
        .state()
        .await
        .unwrap();
    assert!(store.verify().await.unwrap().is_clean());
    store.close().await.unwrap();
}

#[tokio::test]
async fn an_open_store_is_not_repaired() {
    let fixture = Fixture::closed().await;
    let store = builder(&fixture.store(), Arc::new(SystemDisk), true)
        .open()
        .await
        .unwrap();
    match AggregateStore::builder(fixture.store()).repair().await {
        Err(OpenError::InUse { holder, .. }) => {
            assert!(holder.contains(&std::process::id().to_string()), "{holder}");
        }
        other => panic!("{other:?}"),
    }
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_is_used_can_be_verified() {
    for is_busy in [false, true] {
        let fixture = Fixture::closed().await;
        let mut builder = builder(&fixture.store(), Arc::new(SystemDisk), true);
        if is_busy {
            // What is compared is archived, saved and evicted meanwhile.
            builder = builder
                .max_log_size(3_000)
                .snapshot_every(1)
                .idle_timeout(std::time::Duration::ZERO);
        }
        let store = builder.open().await.unwrap();
        let writers = ["both", "old", "more"].into_iter().zip(50_000..);
        let writers = writers.map(|(id, first)| {
            let store = store.clone();
            tokio::spawn(async move {
                for tag in (first..first + 240).step_by(3) {
                    let put = LedgerCommand::Put { tag, parts: 3 };
                    let done = store.send(id, put, CommandContext::default()).await;
                    done.unwrap();
                }
            })
        });
        let writers: Vec<_> = writers.collect();
        while !writers.iter().all(tokio::task::JoinHandle::is_finished) {
            let report = store.verify().await.unwrap();
            assert!(report.is_clean(), "{report:?}");
        }
        for writer in writers {
            writer.await.unwrap();
        }
        store.close().await.unwrap();
    }
}

/// Repairing wrote the whole stream where its last part had stood, and over what another program had written behind that.
#[tokio::test]
async fn what_another_program_wrote_behind_an_archived_stream_is_imported() {
    for (is_complete, is_checkpoint_damaged) in [(true, false), (false, false), (true, true)] {
        let mut fixture = Fixture::closed().await;
        let open = |max_log_size| {
            let builder = builder(&fixture.store(), Arc::new(SystemDisk), true);
            builder.max_log_size(max_log_size).open()
        };
        let store = open(500).await.unwrap();
        let put = LedgerCommand::Put { tag: 100, parts: 4 };
        store
            .send("both", put, CommandContext::default())
            .await
            .unwrap();
        store.close().await.unwrap();
        // What comes behind the archive.
        let store = open(0).await.unwrap();
        let put = LedgerCommand::Put { tag: 102, parts: 1 };
        store
            .send("both", put, CommandContext::default())
            .await
            .unwrap();
        store.close().await.unwrap();
        for (tag, parts) in [(100, 4), (102, 1)] {
            fixture.expected.take(Note::Tried {
                tag,
                id: "both".to_owned(),
                parts,
            });
            fixture.expected.take(Note::Acknowledged { tag });
        }
        assert!(
            fixture
                .file("streams/ledger/both/archive.jsonl.zst")
                .exists()
        );
        let line = r#"{"type":"Entry","data":{"tag":5001,"part":0,"of":1,"text":""},"ts":1}"#;
        change(&fixture.file(STREAM), |bytes| {
            bytes.extend(line.bytes());
            if is_complete {
                bytes.push(b'\n');
            }
        });
        if is_checkpoint_damaged {
            change(&fixture.file("meta/checkpoint.json"), |bytes| {
                bytes.truncate(50)
            });
        }
        let report = AggregateStore::builder(fixture.store())
            .repair()
            .await
            .unwrap();
        let what = format!("{is_complete}, {is_checkpoint_damaged}: {report:?}");
        assert_eq!(report.remaining, [], "{what}");
        if is_complete {
            assert_eq!(
                (report.imported_events, report.set_aside.len()),
                (1, 0),
                "{what}"
            );
            let tag = 5001;
            fixture.expected.take(Note::Tried {
                tag,
                id: "both".to_owned(),
                parts: 1,
            });
            fixture.expected.take(Note::Acknowledged { tag });
        } else {
            assert_eq!(
                (report.imported_events, report.set_aside.len()),
                (0, 1),
                "{what}"
            );
            let aside = fs::read_to_string(&report.set_aside[0]).unwrap();
            assert_eq!(aside, line);
        }
        let checked = check(&fixture.store(), &fixture.expected, Check::PROCESS_MANAGERS).await;
        checked.unwrap_or_else(|reason| panic!("{what}: {reason}"));
    }
}

#[tokio::test]
async fn a_snapshot_that_is_not_believed_or_not_right_is_found_and_discarded() {
    let fixture = Fixture::closed().await;
    let snapshot = fixture.file("streams/ledger/both/views/state.snapshot.json");
    let open = || {
        let builder = builder(&fixture.store(), Arc::new(SystemDisk), true);
        builder
            .run_mode(RunMode::OnDemand)
            .idle_timeout(std::time::Duration::from_millis(1))
            .snapshot_every(1)
            .open()
    };
    let store = open().await.unwrap();
    let ledger = store.get::<Ledger>("both").await.unwrap();
    while !snapshot.exists() {
        ledger.state().await.unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    let report = store.verify().await.unwrap();
    assert!(report.is_clean() && report.snapshots > 0, "{report:?}");
    store.close().await.unwrap();

    // Snapshots are not synced: what a power loss leaves of one is nothing to repair, and nobody believes it.
    let whole = fs::read(&snapshot).unwrap();
    let mut torn = vec![Vec::new(), whole[..whole.len() / 2].to_vec(), whole.clone()];
    torn[2][..100].fill(0);
    for torn in torn {
        fs::write(&snapshot, torn).unwrap();
        let store = AggregateStore::open(fixture.store()).await.unwrap();
        let report = store.verify().await.unwrap();
        assert_eq!(report.differences, []);
        let ledger = store.get::<Ledger>("both").await.unwrap();
        assert_eq!(ledger.state().await.unwrap().entries, 6);
        store.close().await.unwrap();
    }
    fs::write(&snapshot, &whole).unwrap();
    change(&snapshot, |bytes| {
        let place = bytes.len() / 2;
        bytes[place] ^= 1;
    });
    let store = open().await.unwrap();
    let report = store.verify().await.unwrap();
    assert_eq!(report.differences.len(), 1, "{report:?}");
    assert_eq!(report.differences[0].path, snapshot);
    store.close().await.unwrap();

    // With the right checksum over another state, only folding the events shows it.
    let text = String::from_utf8(whole).unwrap();
    let start = text.find("\"content\":").unwrap() + "\"content\":".len();
    let content = &text[start..text.len() - 2];
    let content = content.replace("\"entries\":6", "\"entries\":12345");
    assert!(content.contains("12345"), "{content}");
    fs::write(&snapshot, snapshot_file::seal(&content)).unwrap();
    let store = open().await.unwrap();
    // The type is known once it was used.
    store.get::<Ledger>("elsewhere").await.unwrap();
    let report = store.verify().await.unwrap();
    assert_eq!(report.differences.len(), 1, "{report:?}");
    assert_eq!(report.differences[0].path, snapshot);
    store.close().await.unwrap();
    assert_repaired(&fixture, "a forged snapshot").await;
    assert!(!snapshot.exists());
}
