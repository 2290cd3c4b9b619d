//! Events that come into a stream without its aggregate: from another node, or by an import.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use super::*;
use crate::journal::{ProposedAppend, ProposedCommit, StreamId};
use crate::runtime::room_in;

/// Counts its events. The fold of the aggregate `slow` waits until it is let go.
#[derive(Debug, Clone, Default, Serialize, serde::Deserialize)]
struct Slow(u64);

static IS_HELD: AtomicBool = AtomicBool::new(false);
static FOLDS: AtomicUsize = AtomicUsize::new(0);

impl Aggregate for Slow {
    const AGGREGATE_TYPE: &'static str = "slow";
    type Command = ();
    type DomainEvent = Noted;
    type Error = std::convert::Infallible;

    fn handle(&self, (): ()) -> Result<Vec<Noted>, Self::Error> {
        Ok(vec![Noted])
    }

    fn apply(self, _: &Noted) -> Self {
        FOLDS.fetch_add(1, Ordering::SeqCst);
        while IS_HELD.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(1));
        }
        Self(self.0 + 1)
    }
}

/// Stores an event behind a version, without the aggregate, and tells of it.
async fn append(store: &AggregateStore, stream: &StreamId, expected_version: u64) {
    let journal = &store.shared.runtime.journal;
    let term = journal.standing().term().unwrap();
    let room = room_in(&**journal, term).await.unwrap();
    let commit = ProposedCommit {
        appends: vec![ProposedAppend {
            stream: stream.clone(),
            expected_version,
            lines: vec![r#"{"type":"Noted","data":null,"ts":1}"#.into()],
            keyed: Vec::new(),
        }],
        ..ProposedCommit::default()
    };
    journal.submit(room, commit).wait().await.unwrap();
    journal.standing().applied(stream);
}

#[tokio::test]
async fn a_live_aggregate_shows_them_at_once() {
    let base = tempfile::tempdir().unwrap();
    let store = AggregateStore::open(base.path()).await.unwrap();
    let note = store.get::<Note>("a").await.unwrap();
    let stream = StreamId::new("note", "a");
    // New here, live with events, and live again after it was loaded.
    for version in 0..3 {
        assert_eq!(note.load().await.unwrap().version, version);
        append(&store, &stream, version).await;
    }
    let loaded = note.load().await.unwrap();
    assert_eq!((loaded.version, loaded.state.0), (3, 3));
    // The next command is decided on them.
    let done = note.execute(Write, ()).await.unwrap();
    assert_eq!(done.version, 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_load_that_misses_them_does_not_become_live() {
    let base = tempfile::tempdir().unwrap();
    let store = AggregateStore::open(base.path()).await.unwrap();
    // Known, so that the store tells its cells of the event.
    let slow = store.get::<Slow>("a").await.unwrap();
    let stream = StreamId::new("slow", "a");
    append(&store, &stream, 0).await;
    IS_HELD.store(true, Ordering::SeqCst);
    let load = || {
        let slow = slow.clone();
        tokio::spawn(async move { slow.load().await.unwrap().version })
    };
    let early = load();
    while FOLDS.load(Ordering::SeqCst) == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    append(&store, &stream, 1).await;
    // It comes after the event, and perhaps joins the load.
    let late = load();
    tokio::time::sleep(Duration::from_millis(20)).await;
    IS_HELD.store(false, Ordering::SeqCst);
    assert!((1..=2).contains(&early.await.unwrap()));
    assert_eq!(late.await.unwrap(), 2);
    assert_eq!(slow.load().await.unwrap().version, 2);
    // A load that nobody disturbs becomes live: nothing is folded again.
    let folds = FOLDS.load(Ordering::SeqCst);
    assert_eq!(slow.load().await.unwrap().version, 2);
    assert_eq!(FOLDS.load(Ordering::SeqCst), folds);
}
