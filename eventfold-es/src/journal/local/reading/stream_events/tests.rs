use std::os::unix::fs::FileExt;

use super::*;
use crate::journal::Streams;
use crate::journal::local::LocalJournal;
use crate::journal::local::fixture::{commit, open};

/// The number of commits of the stream.
const COMMITS: u64 = 600;

/// Commits to a stream, with a few commits to another between them. The result is the ends of the stream.
async fn filled(journal: &LocalJournal, stream: &StreamId) -> Vec<StreamEnd> {
    let other = StreamId::new("counter", "b\"ö");
    let mut ends = Vec::new();
    for number in 0..COMMITS {
        let receipt = commit(journal, stream, 2 * number, &number.to_string()).await;
        ends.extend(receipt.ends.first().copied());
        // Once so many that they are not read with those before and behind.
        let others = match number {
            250 => 40,
            _ => u64::from(number % 7 == 0),
        };
        for _ in 0..others {
            let version = journal.known_version(&other).unwrap_or_default();
            commit(journal, &other, version, &number.to_string()).await;
        }
    }
    ends
}

/// The versions that are read behind an end, each with the position in its line, and the error that follows them.
fn versions(
    journal: &LocalJournal,
    stream: &StreamId,
    behind: StreamEnd,
) -> (Vec<u64>, Option<JournalError>) {
    let mut events = journal.read_stream(stream, behind).unwrap();
    let (mut versions, mut piece) = (Vec::new(), StreamPiece::default());
    let failure = loop {
        match events.next(&mut piece) {
            Ok(true) => versions.extend(piece.events().map(|(version, line)| {
                assert!(line.starts_with(r#"{"type":"Added","data":1,"#), "{line}");
                assert_eq!(piece.event(version), Some(line));
                version
            })),
            Ok(false) => break None,
            Err(error) => break Some(error),
        }
    };
    (versions, failure)
}

/// Most of the journal is archived, and some of it is not.
#[tokio::test]
async fn a_stream_is_read_from_every_end_across_the_parts_of_the_journal() {
    let base = tempfile::tempdir().unwrap();
    for max_log_size in [8 << 10, 100 << 10, 0] {
        let base = base.path().join(max_log_size.to_string());
        let journal = open(&base, max_log_size);
        for id in ["a", "a\"ö"] {
            let stream = StreamId::new("counter", id);
            let ends = filled(&journal, &stream).await;
            for end in [None, ends.first(), ends.get(63), ends.get(300), ends.last()] {
                let end = end.copied().unwrap_or_default();
                let (found, failure) = versions(&journal, &stream, end);
                assert!(failure.is_none(), "{failure:?}");
                assert!(found.into_iter().eq(end.version + 1..=2 * COMMITS));
            }
        }
    }
}

#[tokio::test]
async fn damage_comes_behind_the_events_before_it() {
    let base = tempfile::tempdir().unwrap();
    let journal = open(base.path(), 0);
    let stream = StreamId::new("counter", "a");
    let ends = filled(&journal, &stream).await;
    let file = base.path().join("meta/journal/app.jsonl");
    for (index, end) in ends.iter().enumerate().step_by(99) {
        let CommitPlace { offset, length, .. } = end.commit;
        let opened = std::fs::File::options().write(true).read(true).open(&file);
        let (opened, mut byte) = (opened.unwrap(), [0]);
        opened
            .read_exact_at(&mut byte, offset + length / 2)
            .unwrap();
        // Also a byte that no text has.
        for changed in [byte[0] ^ 1, 0xff] {
            opened
                .write_all_at(&[changed], offset + length / 2)
                .unwrap();
            let (found, failure) = versions(&journal, &stream, StreamEnd::default());
            assert!(found.into_iter().eq(1..=2 * index as u64));
            let Some(JournalError::Damage(damage)) = failure else {
                panic!("{failure:?}");
            };
            assert_eq!((damage.path, damage.offset), (file.clone(), offset));
            assert!(damage.reason.contains("checksum"), "{}", damage.reason);
        }
        opened.write_all_at(&byte, offset + length / 2).unwrap();
    }
    let (found, failure) = versions(&journal, &stream, StreamEnd::default());
    assert!(failure.is_none() && found.len() as u64 == 2 * COMMITS);
    // An end that another commit has.
    let other = StreamEnd {
        version: ends[1].version,
        ..ends[0]
    };
    assert!(journal.read_stream(&stream, other).is_err());
}
