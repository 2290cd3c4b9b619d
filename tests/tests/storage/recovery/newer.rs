//! What a newer version has written was read as far as it was understood, and derived files of it were written over. It is refused,
//! and nothing is changed.

use std::fs;

use eventfold::line_hash;
use eventfold_es::{AggregateStore, OpenError};
use eventfold_es_tests::crash::Fixture;

use super::{CHECKPOINT, JOURNAL, assert_damaged, assert_whole, open};

/// Opening names the file, the formats and the remedy, and changes nothing; nor does `repair`.
async fn assert_refused(fixture: &Fixture, file: &str) {
    let before = fixture.image();
    let opened = open(&fixture.store()).await.map(drop);
    let repaired = AggregateStore::builder(fixture.store())
        .repair()
        .await
        .map(drop);
    for refused in [opened, repaired] {
        let error = refused.expect_err("it is refused");
        let message = error.to_string();
        for part in [
            file,
            "format 2",
            "up to 1",
            "Nothing was changed",
            "the version that wrote it",
        ] {
            assert!(message.contains(part), "{file}: {message}");
        }
        match error {
            OpenError::NewerFormat {
                path,
                found: 2,
                supported: 1,
            } => assert_eq!(path, fixture.file(file)),
            other => panic!("{file}: {other:?}"),
        }
    }
    assert_eq!(fixture.image().first_difference(&before), None, "{file}");
}

/// A sealed file as a version with format 2 may write it.
fn make_newer(text: &str) -> String {
    let (_, sealed) = text.split_once("\",").unwrap();
    let sealed = sealed
        .trim_end()
        .replacen("\"format\":1", "\"format\":2,\"new\":true", 1);
    let checksum = line_hash(sealed.as_bytes());
    format!("{{\"checksum\":\"{checksum}\",{sealed}\n")
}

#[tokio::test]
async fn a_checkpoint_of_a_newer_format_is_refused() {
    for file in [
        CHECKPOINT,
        "process_managers/fanout/checkpoint.json",
        "projections/tally/checkpoint.json",
    ] {
        for fixture in [Fixture::closed().await, Fixture::killed().await] {
            let path = fixture.file(file);
            let text = fs::read_to_string(&path).unwrap();
            fs::write(&path, make_newer(&text)).unwrap();
            if file.starts_with("projections") {
                // Opening has recovered the directory before it looks at projections; repairing does not need them.
                let refused = open(&fixture.store()).await.map(drop);
                assert!(
                    matches!(&refused, Err(OpenError::NewerFormat { path: named, .. }) if *named == path),
                    "{refused:?}"
                );
                assert_eq!(fs::read_to_string(&path).unwrap(), make_newer(&text));
            } else {
                assert_refused(&fixture, file).await;
            }
            // The version that wrote it goes on.
            fs::write(&path, text).unwrap();
            assert_whole(&fixture).await;
        }
    }
}

#[tokio::test]
async fn a_line_of_a_newer_format_is_refused() {
    for has_checkpoint in [true, false] {
        for is_first in [false, true] {
            let fixture = Fixture::closed().await;
            if !has_checkpoint {
                fs::remove_file(fixture.file(CHECKPOINT)).unwrap();
            }
            let path = fixture.file(JOURNAL);
            let text = fs::read_to_string(&path).unwrap();
            let line = text.lines().next().unwrap();
            let (body, _) = line.split_once(",\"meta\"").unwrap();
            let body = body.replacen("\"format\":1", "\"format\":2,\"new\":[1]", 1);
            let checksum = line_hash(body.as_bytes());
            let newer = format!("{body},\"meta\":{{\"checksum\":\"{checksum}\"}}}}\n");
            let changed = match is_first {
                false => format!("{text}{newer}"),
                true => newer.clone(),
            };
            fs::write(&path, &changed).unwrap();
            assert_refused(&fixture, JOURNAL).await;
            if !is_first {
                // Without its checksum it is damage.
                fs::write(&path, changed.replace("\"new\":[1]", "\"new\":[2]")).unwrap();
                assert_damaged(&fixture, JOURNAL).await;
                fs::write(&path, text).unwrap();
                assert_whole(&fixture).await;
            }
        }
    }
}

/// A run with the head that a version with format 2 may write.
fn make_run_newer(mut run: Vec<u8>) -> Vec<u8> {
    run[16] = 2;
    let checksum = u64::from_str_radix(&line_hash(&run[..20]), 16).unwrap();
    run[20..28].copy_from_slice(&checksum.to_le_bytes());
    run
}

#[tokio::test]
async fn a_run_of_a_newer_format_is_refused() {
    let fixture = Fixture::closed().await;
    let path = fixture.runs().pop().unwrap();
    let run = fs::read(&path).unwrap();
    fs::write(&path, make_run_newer(run.clone())).unwrap();
    let name = path.file_name().unwrap().to_str().unwrap();
    assert_refused(&fixture, &format!("meta/index/{name}")).await;
    // The version that wrote it goes on.
    fs::write(&path, run).unwrap();
    assert_whole(&fixture).await;
}
