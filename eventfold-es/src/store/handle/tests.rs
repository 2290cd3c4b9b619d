//! The tests of handles that look below them.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod elsewhere;

use std::cell::RefCell;

use super::*;
use crate::command::DecidedBy;
use crate::event::{DomainEvent, EventError};
use crate::journal::{CommitError, Outcome};
use crate::runtime::{EncodedEvent, PartOfCommit};
use crate::store::AggregateStore;

#[derive(Debug, Clone, Default, Serialize, serde::Deserialize)]
pub(in crate::store) struct Note(u64);

#[derive(Debug, Clone, Serialize, serde::Deserialize)]
pub(in crate::store) struct Write;

impl DecidedBy for Write {
    type Aggregate = Note;
}

#[derive(Debug, Clone, Serialize, serde::Deserialize)]
pub(in crate::store) struct Noted;

thread_local! {
    /// The states on which this thread has decided.
    static DECIDED_ON: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

impl DomainEvent for Noted {
    const EVENT_TYPES: &'static [&'static str] = &["Noted"];

    fn event_type(&self) -> &'static str {
        "Noted"
    }

    fn to_event(&self) -> Result<eventfold::Event, EventError> {
        Ok(eventfold::Event::new("Noted", serde_json::Value::Null))
    }

    fn from_event(_: &eventfold::Event) -> Result<Self, EventError> {
        Ok(Self)
    }
}

impl Aggregate for Note {
    const AGGREGATE_TYPE: &'static str = "note";
    type Command = Write;
    type DomainEvent = Noted;
    type Error = std::convert::Infallible;

    fn handle(&self, _: Write) -> Result<Vec<Noted>, Self::Error> {
        DECIDED_ON.with_borrow_mut(|states| states.push(self.0));
        Ok(vec![Noted])
    }

    fn apply(self, _: &Noted) -> Self {
        Self(self.0 + 1)
    }
}

/// After a commit was in conflict with the stream, nothing is decided before the stream is loaded again.
#[tokio::test]
async fn nothing_is_decided_on_a_state_that_the_stream_contradicts() {
    let base = tempfile::tempdir().unwrap();
    let store = AggregateStore::builder(base.path());
    let store = store.aggregate_type::<Note>().open().await.unwrap();
    let note = store.get::<Note>("a").await.unwrap();
    note.execute(Write, CommandContext::default())
        .await
        .unwrap();
    let clock = store.shared.runtime.journal.clock();
    let conflicting = |_: &Arc<Cell<Note>>, locked: &mut LockedCell<'_, Note>| {
        let context = CommandContext::default();
        let event = EncodedEvent::new::<Note>(&Noted, &context, None, clock)?;
        locked.stage(vec![event])?;
        let outcome = Arc::new(Outcome::default());
        let (expected, actual) = (1, 2);
        outcome.settle(Err(CommitError::Conflict { expected, actual }));
        locked.handed_over(&outcome, PartOfCommit::default());
        Ok::<_, StoreError>(())
    };
    note.with_cell(Needs::State, conflicting).await.unwrap();
    let decided = note.with_cell(Needs::State, |_, locked| {
        Ok::<_, StoreError>((locked.is_evicted(), locked.durable().1))
    });
    assert_eq!(decided.await.unwrap(), (false, 1));
    // A transaction does not decide on it either.
    note.with_cell(Needs::State, conflicting).await.unwrap();
    DECIDED_ON.take();
    store
        .transaction(())
        .send("a", Write)
        .commit()
        .await
        .unwrap();
    assert_eq!(DECIDED_ON.take(), [1]);
    drop(note);
    store.close().await.unwrap();
}

/// The answer to a repeated command waits until readers see its commit.
#[tokio::test]
async fn a_repeated_answer_is_not_before_its_commit() {
    let base = tempfile::tempdir().unwrap();
    let store = AggregateStore::builder(base.path());
    let store = store.aggregate_type::<Note>().open().await.unwrap();
    let note = store.get::<Note>("a").await.unwrap();
    let journal = Arc::clone(&store.shared.runtime.journal);
    let context = CommandContext::default().with_idempotency_key("k");
    // The writer stands still where the journal has the answer, and readers do not see the commit yet.
    let (entered, is_entered) = tokio::sync::oneshot::channel();
    let (release, is_released) = std::sync::mpsc::channel();
    let on_durable: OnDurable = Box::new(move |_| {
        entered.send(()).unwrap();
        is_released.recv().unwrap();
    });
    let target = note.target();
    let room = store.shared.runtime.leadership.room().await.unwrap();
    let decided = target.decide(room, Kept::new(Write), &context, Some(on_durable));
    assert!(matches!(decided.await.unwrap(), Decision::Committed { .. }));
    is_entered.await.unwrap();
    let repeated = tokio::spawn({
        let (note, journal) = (note.clone(), Arc::clone(&journal));
        async move {
            let executed = note.execute(Write, context).await.unwrap();
            (executed.position, *journal.durable().borrow())
        }
    });
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
    assert!(!repeated.is_finished());
    release.send(()).unwrap();
    assert_eq!(repeated.await.unwrap(), (Some(1), 1));
    drop((note, journal));
    store.close().await.unwrap();
}
