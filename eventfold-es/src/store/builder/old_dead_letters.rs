//! Dead letters that were written before there were rows: they get theirs, so that they can be redriven and discarded.

use std::sync::Arc;

use super::ProcessManagerPart;
use crate::error::{OpenError, StoreError};
use crate::event::RecordedEvent;
use crate::journal::{
    Journal, JournalError, PastReactions, Progress, ProposedCommit, ProposedReaction, RowChange,
    StreamId,
};
use crate::runtime::blocking;
use crate::runtime::process_manager_rows::{self as rows, CONTROL, ControlRow, DEAD_LETTERS, put};

/// How many rows one commit has.
const ROWS: usize = 512;
/// The first letter of the keys of dead letters.
const KINDS: &[char] = &['d'];

/// Gives a row to each dead letter that has none and never had one; the journal tells which. It is done once.
pub(super) async fn give_rows(
    journal: &Arc<dyn Journal>,
    parts: &[ProcessManagerPart],
    points: &[Progress],
) -> Result<(), OpenError> {
    for (part, progress) in parts.iter().zip(points) {
        let name = part.name;
        let reading = Arc::clone(journal);
        let what = || "reading dead letters".to_owned();
        let found = blocking(what, move || Ok(missing(&*reading, name)?)).await?;
        let Some((mut rows, control)) = found else {
            continue;
        };
        if !rows.is_empty() {
            tracing::info!(
                process_manager = name,
                dead_letters = rows.len(),
                "dead letters of an earlier version can be redriven now"
            );
        }
        // The last one says that all are there: until then they are looked for again.
        rows.push(control);
        let mut commits = Vec::new();
        for rows in rows.chunks(ROWS) {
            let room = Arc::clone(journal.room())
                .acquire_owned()
                .await
                .map_err(|_| StoreError::Closed)?;
            let reaction = ProposedReaction {
                process_manager: name.into(),
                progress: progress.clone(),
                dispatched: 0,
                rows: rows.to_vec(),
                dead_letters: Vec::new(),
            };
            let commit = ProposedCommit {
                after: commits.clone(),
                reaction: Some(reaction),
                ..ProposedCommit::default()
            };
            commits = vec![journal.submit(room, commit)];
        }
        for commit in commits {
            commit.wait().await.map_err(StoreError::from)?;
        }
    }
    Ok(())
}

/// The rows that are missing, and the one that says that none is any more; `None` if that is known already, or if there are no dead
/// letters. Blocks.
fn missing(
    journal: &dyn Journal,
    name: &str,
) -> Result<Option<(Vec<RowChange>, RowChange)>, JournalError> {
    let control = journal.rows(name, &[CONTROL])?.into_iter().flatten().next();
    let control: Option<ControlRow> = control.and_then(|row| serde_json::from_str(&row).ok());
    let control = control.unwrap_or_default();
    if control.has_all_letters || journal.dead_letters(name)?.text.is_empty() {
        return Ok(None);
    }
    let mut past = PastReactions::new(name, KINDS);
    let mut missing = Vec::new();
    while !past.is_read {
        for reaction in journal.past_reactions(&mut past)? {
            let puts = |row: &RowChange| row.value.is_some() && row.key.starts_with(DEAD_LETTERS);
            if reaction.rows.iter().any(puts) || reaction.dead_letters.is_empty() {
                continue;
            }
            let event = event_at(journal, reaction.position)?;
            for line in &reaction.dead_letters {
                let number = missing.len();
                let row = rows::row_of_line(name, line, number, reaction.position, event.as_ref());
                missing.extend(row);
            }
        }
    }
    let control = ControlRow {
        has_all_letters: true,
        ..control
    };
    Ok(Some((missing, put(CONTROL.into(), &control))))
}

/// The event at a position.
fn event_at(
    journal: &dyn Journal,
    at: u64,
) -> Result<Option<(StreamId, RecordedEvent)>, JournalError> {
    let commit = journal.commit_at(at)?;
    let event = commit.as_ref().and_then(|commit| commit.event_at(at));
    Ok(event.and_then(|event| Some((event.stream.clone(), event.read().ok()?))))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use super::rows;
    use crate::aggregate::Aggregate;
    use crate::command::CommandContext;
    use crate::envelope::CommandEnvelope;
    use crate::event::{DomainEvent, EventError, RecordedEvent};
    use crate::journal::{Progress, ProposedCommit, ProposedReaction, RowChange};
    use crate::process_manager::{ProcessManager, ReactError};
    use crate::store::AggregateStore;
    use serde::{Deserialize, Serialize};
    use serde_json::value::RawValue;
    use std::sync::Arc;

    #[derive(Debug, Clone, Default, Serialize, Deserialize)]
    struct Note;

    #[derive(Debug, Clone, Serialize, Deserialize)]
    struct Happened(u64);

    impl DomainEvent for Happened {
        const EVENT_TYPES: &'static [&'static str] = &["Happened"];

        fn event_type(&self) -> &'static str {
            "Happened"
        }

        fn to_event(&self) -> Result<eventfold::Event, EventError> {
            Ok(eventfold::Event::new("Happened", serde_json::json!(self.0)))
        }

        fn from_event(event: &eventfold::Event) -> Result<Self, EventError> {
            Ok(Self(event.data.as_u64().unwrap_or_default()))
        }
    }

    impl Aggregate for Note {
        const AGGREGATE_TYPE: &'static str = "note";
        type Command = u64;
        type DomainEvent = Happened;
        type Error = std::convert::Infallible;

        fn handle(&self, command: u64) -> Result<Vec<Happened>, Self::Error> {
            Ok(vec![Happened(command)])
        }

        fn apply(self, _: &Happened) -> Self {
            self
        }
    }

    #[derive(Default, Serialize, Deserialize)]
    struct Old;

    impl ProcessManager for Old {
        const NAME: &'static str = "old";
        type Envelope = CommandEnvelope;

        fn subscriptions(&self) -> &'static [&'static str] {
            &["note"]
        }

        fn react(
            &mut self,
            _: &str,
            _: &str,
            _: &RecordedEvent,
        ) -> Result<Vec<CommandEnvelope>, ReactError> {
            Ok(Vec::new())
        }
    }

    /// A commit of an earlier version: dead letters, and no rows.
    async fn commit_letters(store: &AggregateStore, letters: &[&str]) {
        let letter = |id: &&str| {
            format!(
                r#"{{"envelope":{{"aggregate_type":"note","instance_id":"{id}","command":7,"context":{{}}}},"error":"it was closed","ts":5}}"#
            )
            .into()
        };
        commit(store, letters.iter().map(letter).collect(), Vec::new()).await;
    }

    async fn commit(store: &AggregateStore, dead_letters: Vec<Box<str>>, rows: Vec<RowChange>) {
        let journal = &store.shared.runtime.journal;
        let room = Arc::clone(journal.room()).acquire_owned().await.unwrap();
        let commit = ProposedCommit {
            reaction: Some(ProposedReaction {
                process_manager: "old".into(),
                progress: Progress {
                    position: 1,
                    state: RawValue::NULL.to_owned(),
                },
                dispatched: 0,
                rows,
                dead_letters,
            }),
            ..ProposedCommit::default()
        };
        journal.submit(room, commit).wait().await.unwrap();
    }

    async fn open(base: &std::path::Path) -> AggregateStore {
        let builder = AggregateStore::builder(base).process_manager::<Old>();
        builder.aggregate_type::<Note>().open().await.unwrap()
    }

    #[tokio::test]
    async fn letters_without_rows_get_theirs_once_and_are_redriven() {
        let base = tempfile::tempdir().unwrap();
        let store = open(base.path()).await;
        let source = store.get::<Note>("source").await.unwrap();
        source.execute(1, CommandContext::default()).await.unwrap();
        store.run_process_managers().await.unwrap();
        commit_letters(&store, &["a", "b"]).await;
        commit_letters(&store, &["c"]).await;
        let handle = store.process_manager::<Old>().unwrap();
        assert!(handle.dead_letters().await.unwrap().is_empty());
        drop((source, handle));
        store.close().await.unwrap();

        for round in 0..2 {
            let store = open(base.path()).await;
            let handle = store.process_manager::<Old>().unwrap();
            let letters = handle.dead_letters().await.unwrap();
            assert_eq!(
                letters.len(),
                3 - 2 * round,
                "each once, also after a restart"
            );
            let last = letters.last().unwrap();
            assert_eq!((last.error(), last.attempts.len()), ("it was closed", 1));
            if round == 0 {
                let first = &letters.first().unwrap().id;
                assert_eq!(handle.discard(first).await.unwrap().done, 1);
                let done = handle.redrive(&letters.get(1).unwrap().id).await.unwrap();
                assert_eq!((done.done, done.failed), (1, 0));
                let events = store.read_events("note", "b").await.unwrap();
                assert_eq!(events.len(), 1);
                assert!(store.read_events("note", "a").await.is_err());
            }
            assert!(store.verify().await.unwrap().differences.is_empty());
            drop(handle);
            store.close().await.unwrap();
        }
    }

    /// Others are executed, and it stays until somebody discards it.
    #[tokio::test]
    async fn a_letter_that_cannot_be_read_fails_alone() {
        let base = tempfile::tempdir().unwrap();
        let store = open(base.path()).await;
        let source = store.get::<Note>("source").await.unwrap();
        source.execute(1, CommandContext::default()).await.unwrap();
        store.run_process_managers().await.unwrap();
        commit_letters(&store, &["a"]).await;
        drop(source);
        store.close().await.unwrap();
        let store = open(base.path()).await;
        let damaged = "00000000000000000000000damaged";
        commit(
            &store,
            Vec::new(),
            vec![rows::put(
                format!("{}{damaged}", rows::DEAD_LETTERS).into(),
                &7,
            )],
        )
        .await;
        let handle = store.process_manager::<Old>().unwrap();
        let letters = handle.dead_letters().await.unwrap();
        let [first, other] = &*letters else {
            panic!("{letters:?}");
        };
        let kinds: Vec<_> = first.attempts.iter().map(|last| &*last.kind).collect();
        assert_eq!((&*first.id, &*kinds), (damaged, &["unreadable"][..]));
        assert_eq!(other.error(), "it was closed");
        let redriven = handle.redrive_all().await.unwrap();
        assert_eq!((redriven.done, redriven.failed), (1, 1));
        assert_eq!(redriven.unreadable, [damaged]);
        assert_eq!(handle.status().await.unwrap().parked, None);
        let redriven = handle.redrive(damaged).await.unwrap();
        assert_eq!((redriven.done, redriven.failed), (0, 1));
        assert_eq!(handle.discard(damaged).await.unwrap().done, 1);
        assert_eq!(handle.dead_letters().await.unwrap(), []);
        drop(handle);
        store.close().await.unwrap();
    }
}
