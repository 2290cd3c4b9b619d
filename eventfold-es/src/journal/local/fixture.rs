//! A journal for unit tests.

use std::path::Path;
use std::sync::Arc;

use super::queue::Queue;
use super::{JournalOptions, LocalJournal};
use crate::clock::SystemClock;
use crate::disk::{Files, SystemDisk};
use crate::journal::{
    Audience, Durability, KeyedLines, Log, Outcome, ProposedAppend, ProposedCommit, Receipt, Room,
    StreamId,
};
use crate::replication::Membership;
use crate::threads::StoreRuntime;

/// Opens a journal that takes a checkpoint at each `max_log_size` bytes.
pub(super) fn open(base: &Path, max_log_size: u64) -> LocalJournal {
    let options = JournalOptions {
        max_log_size,
        durability: Durability::Flush,
        rebuild: false,
    };
    let files = Files::new(Arc::new(SystemDisk));
    let runtime = StoreRuntime::default();
    let opened = LocalJournal::open(
        files,
        base,
        &options,
        Membership::Alone,
        Arc::new(SystemClock),
        &runtime,
    );
    opened.unwrap().0
}

/// A queue without a writer: a pushed commit stays until the test takes it.
pub(super) fn queue() -> Queue {
    let writer = StoreRuntime::default().journal_worker(Path::new("a"));
    let audience = Audience::new(0);
    Queue::new(0, Arc::new(SystemClock), None, writer.unwrap(), audience)
}

pub(super) fn push(queue: &Queue, commit: ProposedCommit) -> Arc<Outcome> {
    let permit = Arc::clone(queue.room()).try_acquire_owned().unwrap();
    let room = Room::new(permit, queue.standing().term().unwrap());
    queue.push(room, commit)
}

/// Commits two events; the second one has the key.
pub(super) async fn commit(
    journal: &LocalJournal,
    stream: &StreamId,
    version: u64,
    key: &str,
) -> Receipt {
    let permit = Arc::clone(journal.room()).acquire_owned().await.unwrap();
    let room = Room::new(permit, journal.standing().term().unwrap());
    let append = ProposedAppend {
        stream: stream.clone(),
        expected_version: version,
        lines: vec![r#"{"type":"Added","data":1,"ts":1}"#.into(); 2],
        keyed: vec![KeyedLines {
            key: key.into(),
            digest: Some(7),
            before: 1,
            count: 1,
        }],
    };
    let commit = ProposedCommit {
        appends: vec![append],
        ..ProposedCommit::default()
    };
    journal.submit(room, commit).wait().await.unwrap()
}
