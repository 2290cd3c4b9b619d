use std::fs;
use std::path::Path;

use eventfold_es::{RunMode, StoreError};
use eventfold_es_tests::crash::scratch;

use super::domain::*;

fn change(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

/// Whatever is left of a last line: of its bytes, of a character, zeros, and all but its newline.
#[tokio::test]
async fn a_torn_last_line_is_left_out_and_kept() {
    let whole = r#"{"type":"Deposited","data":{"amount":9,"note":"Ü"},"ts":1}"#;
    let umlaut = whole.find('Ü').unwrap();
    let zeros = vec![0; 700];
    let tails = [
        &whole.as_bytes()[..20],
        &whole.as_bytes()[..=umlaut],
        &zeros,
        whole.as_bytes(),
    ];
    for tail in tails {
        let place = scratch();
        let base = place.path();
        deposited(base, &[("a", 1), ("a", 2), ("b", 3)]).await;
        let log = base.join("streams/account/a/app.jsonl");
        let text = fs::read(&log).unwrap();
        change(&log, |bytes| bytes.extend_from_slice(tail));
        let store = open(base).await;
        let adoption = store.recovery().adoption.clone().unwrap();
        let [torn] = &adoption.torn_tails[..] else {
            panic!("{adoption:?}");
        };
        assert_eq!(
            (&*torn.aggregate_type, &*torn.instance_id),
            ("account", "a")
        );
        assert_eq!(
            (torn.offset, torn.bytes),
            (text.len() as u64, tail.len() as u64)
        );
        assert!(fs::read(&torn.kept_in).unwrap().ends_with(tail));
        assert_eq!(adoption.quarantined, []);
        deposit(&store, "a", 4).await;
        assert_eq!(amounts(&store, "a").await, [1, 2, 4]);
        store.close().await.unwrap();
        assert!(
            fs::read(&log).unwrap().ends_with(tail),
            "it stays as it was"
        );
    }
}

#[tokio::test]
async fn a_stream_that_only_has_a_torn_line_is_begun_anew() {
    let place = scratch();
    let base = place.path();
    deposited(base, &[("a", 1)]).await;
    let log = base.join("streams/account/a/app.jsonl");
    change(&log, |bytes| {
        bytes.pop();
        bytes.resize(5000, b'x');
    });
    let store = open(base).await;
    assert_eq!(store.recovery().adoption.clone().unwrap().empty_streams, 1);
    deposit(&store, "a", 2).await;
    store.close().await.unwrap();
    let store = open(base).await;
    assert_eq!(amounts(&store, "a").await, [2]);
    store.close().await.unwrap();
}

#[tokio::test]
async fn rule_15_a_stream_that_was_torn_and_appended_to_is_quarantined() {
    for garbage in [&b"{\"type\":\"Dep"[..], b"\xc3", &[0; 10], b"[]\n"] {
        let place = scratch();
        let base = place.path();
        deposited(base, &[("a", 1), ("b", 2)]).await;
        let log = base.join("streams/account/a/app.jsonl");
        let end = fs::metadata(&log).unwrap().len();
        change(&log, |bytes| bytes.extend_from_slice(garbage));
        let mut writer = eventfold::EventWriter::open(log.parent().unwrap()).unwrap();
        writer
            .append(&eventfold::Event::new(
                "Deposited",
                serde_json::json!({ "amount": 3, "note": "" }),
            ))
            .unwrap();
        drop(writer);
        let before = fs::read(&log).unwrap();
        for opening in 0..3 {
            if opening == 2 {
                fs::remove_file(base.join("meta/checkpoint.json")).unwrap();
            }
            let store = open(base).await;
            let adoption = store.recovery().adoption.clone().unwrap();
            assert_eq!((adoption.streams, adoption.events), (1, 1));
            let [stream] = &adoption.quarantined[..] else {
                panic!("{adoption:?}");
            };
            assert_eq!(
                (&*stream.aggregate_type, &*stream.instance_id),
                ("account", "a")
            );
            assert_eq!(
                (&stream.damage.path, stream.damage.offset),
                (&log, end),
                "{}",
                stream.damage
            );
            let refused = store.send(
                "a",
                AccountCommand::Deposit(4),
                eventfold_es::CommandContext::default(),
            );
            let refused = refused.await.unwrap_err().to_string();
            assert!(
                refused.contains("app.jsonl is damaged at byte"),
                "{refused}"
            );
            match store.read_events("account", "a").await {
                Err(StoreError::Damaged(damage)) => assert_eq!(*damage, stream.damage),
                other => panic!("{other:?}"),
            }
            deposit(&store, "A", 5 + opening).await;
            deposit(&store, "b", 6).await;
            store.close().await.unwrap();
            assert!(!base.join("streams/account/A").exists());
        }
        assert_eq!(fs::read(&log).unwrap(), before);
    }
}

#[tokio::test]
async fn an_archive_that_cannot_be_read_is_quarantined() {
    let place = scratch();
    let base = place.path();
    deposited(base, &[("a", 1), ("b", 2)]).await;
    let directory = base.join("streams/account/a");
    eventfold::EventLog::open(&directory)
        .unwrap()
        .rotate()
        .unwrap();
    deposited(base, &[("a", 3)]).await;
    change(&directory.join("archive.jsonl.zst"), |bytes| bytes[2] ^= 1);
    let store = builder(base)
        .run_mode(RunMode::Inline)
        .open()
        .await
        .unwrap();
    let adoption = store.recovery().adoption.clone().unwrap();
    assert_eq!(
        adoption.quarantined[0].damage.path,
        directory.join("archive.jsonl.zst")
    );
    assert_eq!(amounts(&store, "b").await, [2]);
    store.close().await.unwrap();
}
