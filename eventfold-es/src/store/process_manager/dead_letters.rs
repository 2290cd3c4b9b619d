//! Dead letters, as an operator sees them: redriven, or given up.

use serde::Serialize;

use super::{OperatorReport, ProcessManagerHandle, rows};
use crate::envelope::CommandEnvelope;
use crate::error::StoreError;
use crate::journal::RowRange;
use crate::process_manager::{ProcessManager, SourceEvent};
use crate::runtime::Request;
use rows::{AttemptRow, DeadRow, HeldRow};

/// A command that was not executed, or an event or a deadline that was not reacted to. It can be redriven or discarded.
///
/// # JSON
///
/// ```json
/// {"id":"7-0",
///  "envelope":{"aggregate_type":"inventory","instance_id":"inv-1","command":{"Reserve":{"qty":2}},
///   "context":{"actor":null,"correlation_id":null,"metadata":null}},
///  "command_id":"c-1","instance":"ord-1",
///  "source":{"aggregate_type":"order","stream_id":"ord-1","position":7,"version":2,"event_type":"Placed","event_id":"e-1"},
///  "deadline":null,
///  "attempts":[{"kind":"rejected","error":"out of stock","ts":1700000000}]}
/// ```
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct DeadLetterEntry {
    /// What names it.
    pub id: String,
    /// The command with its address; `None` if it is an event or a deadline.
    pub envelope: Option<CommandEnvelope>,
    /// What names the command, and stands in the `meta` of the events that it will cause; empty if it is an event or a deadline.
    pub command_id: String,
    /// The instance that sent it, or did not react; empty for a process manager without `key`, and for an event of which could not
    /// be told whose it is.
    pub instance: String,
    /// What the process manager reacted to when it sent it; what it did not react to; or the event whose reaction armed the
    /// deadline.
    pub source: SourceEvent,
    /// The name of the deadline, if it is one.
    pub deadline: Option<String>,
    /// Every attempt, the first one first; of an event or a deadline the first and the last ones.
    pub attempts: Vec<FailedAttempt>,
}

impl DeadLetterEntry {
    /// Why the last attempt failed.
    #[must_use]
    pub fn error(&self) -> &str {
        self.attempts.last().map_or("", |last| &last.error)
    }
}

/// One failed attempt to execute a command.
///
/// # JSON
///
/// ```json
/// {"kind":"rejected","error":"out of stock","ts":1700000000}
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct FailedAttempt {
    /// What kind of failure it was: `rejected`, `undecodable`, `storage`, `panicked` or `aborted`; `unknown` for the letters of
    /// versions that did not store it; and `unreadable` if the letter itself is damaged, so that only its id is known.
    pub kind: String,
    /// What was said.
    pub error: String,
    /// When, in seconds since 1970; 0 if the letter is damaged.
    pub ts: u64,
}

impl<PM: ProcessManager> ProcessManagerHandle<PM> {
    /// The commands that were not executed and that nobody has redriven or discarded, in the order of what they were sent for.
    ///
    /// [`AggregateStore::dead_letters`](crate::AggregateStore::dead_letters) has all that there ever were, as they stand in the readable file.
    ///
    /// # Errors
    ///
    /// As [`status`](Self::status).
    ///
    /// # Cancel safety
    ///
    /// Cancel safe; it changes nothing.
    pub async fn dead_letters(&self) -> Result<Vec<DeadLetterEntry>, StoreError> {
        let mut letters = Vec::new();
        self.each(RowRange::of_kind(rows::DEAD_LETTERS), |row| {
            let id = row.key.get(1..).unwrap_or_default().to_owned();
            letters.push(match DeadRow::read(&row.key, &row.value) {
                Err(reason) => DeadLetterEntry {
                    id,
                    envelope: None,
                    command_id: String::new(),
                    instance: String::new(),
                    source: SourceEvent::none(),
                    deadline: None,
                    attempts: vec![FailedAttempt {
                        kind: "unreadable".to_owned(),
                        error: reason,
                        ts: 0,
                    }],
                },
                Ok(DeadRow::Command(row)) => DeadLetterEntry {
                    id,
                    envelope: Some(row.envelope),
                    command_id: row.command_id,
                    instance: row.key,
                    source: row.source,
                    deadline: None,
                    attempts: attempts(row.attempts),
                },
                Ok(DeadRow::Reaction(row)) => DeadLetterEntry {
                    id,
                    envelope: None,
                    command_id: String::new(),
                    instance: row.key,
                    source: row.source,
                    deadline: match row.reaction {
                        HeldRow::Deadline(timer) => Some(timer.deadline.name),
                        HeldRow::Event(_) | HeldRow::Failed(_) | HeldRow::Command(_) => None,
                    },
                    attempts: attempts(row.attempts),
                },
            });
            Ok(())
        })
        .await?;
        Ok(letters)
    }

    /// Executes a dead letter again, once. If its target accepts it, it is a dead letter no more, in the same commit (`done` is 1);
    /// else it stays, with the new error (`failed` is 1). One that is damaged fails, and stays until it is
    /// [discarded](Self::discard).
    ///
    /// An event or a deadline is reacted to again, as if it came now: an event begins an instance or goes on with one as its
    /// correlation says, and one that belongs to a parked instance is held by that, in its place among the events: before those that
    /// came later. A deadline stays a dead letter while its instance is parked, and does nothing when that is over. What came after
    /// it meanwhile was reacted to before it.
    ///
    /// # Errors
    ///
    /// As [`pause`](Self::pause).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves it done or not.
    pub async fn redrive(&self, id: &str) -> Result<OperatorReport, StoreError> {
        let id = id.to_owned();
        self.operate(|asked| Request::Redrive(Some(id), asked))
            .await
    }

    /// [`redrive`](Self::redrive), of all that there are now, in their order, each in a commit of its own.
    ///
    /// # Errors
    ///
    /// As [`pause`](Self::pause). If something stops it, [`StoreError::Refused`] says how many were done and how many failed again
    /// before; those that it did not come to are as they were.
    ///
    /// # Cancel safety
    ///
    /// Redriving goes on without the caller. A crash leaves the rest as they were.
    pub async fn redrive_all(&self) -> Result<OperatorReport, StoreError> {
        self.operate(|asked| Request::Redrive(None, asked)).await
    }

    /// Removes a dead letter; the readable file keeps its line. `done` is 1 if there was one.
    ///
    /// # Errors
    ///
    /// As [`pause`](Self::pause).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves it done or not.
    pub async fn discard(&self, id: &str) -> Result<OperatorReport, StoreError> {
        let id = id.to_owned();
        self.operate(|asked| Request::Forget(Some(id), asked)).await
    }

    /// Removes all dead letters that there are now; `done` is how many.
    ///
    /// # Errors
    ///
    /// As [`pause`](Self::pause).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves it done or not.
    pub async fn discard_all(&self) -> Result<OperatorReport, StoreError> {
        self.operate(|asked| Request::Forget(None, asked)).await
    }
}

fn attempts(rows: Vec<AttemptRow>) -> Vec<FailedAttempt> {
    let rows = rows.into_iter();
    rows.map(|attempt| FailedAttempt {
        kind: attempt.kind,
        error: attempt.error,
        ts: attempt.ts,
    })
    .collect()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use std::sync::Arc;

    use serde_json::value::RawValue;

    use crate::command::CommandContext;
    use crate::envelope::CommandEnvelope;
    use crate::event::RecordedEvent;
    use crate::journal::{Progress, ProposedCommit, ProposedReaction};
    use crate::process_manager::SourceEvent;
    use crate::process_manager::tests::Plain;
    use crate::runtime::Cause;
    use crate::runtime::process_manager_rows::{AttemptRow, CommandRow, dead_letter_key, put};
    use crate::store::AggregateStore;
    use crate::store::handle::tests::Note;

    async fn open(base: &std::path::Path) -> AggregateStore {
        let builder = AggregateStore::builder(base).process_manager::<Plain>();
        builder.aggregate_type::<Note>().open().await.unwrap()
    }

    fn letter() -> CommandRow {
        let event = eventfold::Event::new("Placed", serde_json::Value::Null);
        let event = RecordedEvent::new(1, 1, event);
        CommandRow {
            envelope: CommandEnvelope {
                aggregate_type: "note".to_owned(),
                instance_id: "b".to_owned(),
                command: serde_json::Value::Null,
                context: CommandContext::default(),
            },
            command_id: "id".to_owned(),
            key: String::new(),
            generation: 0,
            cause: Cause::of(&event),
            source: SourceEvent::of("order", "7", &event),
            attempts: vec![AttemptRow {
                kind: "rejected".to_owned(),
                error: "it was closed".to_owned(),
                ts: 5,
            }],
            backoff: None,
            is_compensation: false,
            index: 0,
            is_dead: true,
        }
    }

    /// Others are executed, and it stays until somebody discards it.
    #[tokio::test]
    async fn one_that_cannot_be_read_fails_alone() {
        let base = tempfile::tempdir().unwrap();
        let store = open(base.path()).await;
        let damaged = dead_letter_key(0, 0, "damaged");
        let rows = vec![
            put(damaged.clone(), &7),
            put(dead_letter_key(1, 0, "id"), &letter()),
        ];
        let journal = &store.shared.runtime.journal;
        let room = Arc::clone(journal.room()).acquire_owned().await.unwrap();
        let commit = ProposedCommit {
            reaction: Some(ProposedReaction {
                process_manager: "plain".into(),
                progress: Progress {
                    position: 0,
                    state: RawValue::NULL.to_owned(),
                },
                dispatched: 0,
                rows,
                dead_letters: Vec::new(),
            }),
            ..ProposedCommit::default()
        };
        journal.submit(room, commit).wait().await.unwrap();
        store.close().await.unwrap();

        let store = open(base.path()).await;
        let handle = store.process_manager::<Plain>().unwrap();
        let letters = handle.dead_letters().await.unwrap();
        let [first, other] = &*letters else {
            panic!("{letters:?}");
        };
        let damaged = damaged.strip_prefix('d').unwrap();
        let kinds: Vec<_> = first.attempts.iter().map(|last| &*last.kind).collect();
        assert_eq!((&*first.id, &*kinds), (damaged, &["unreadable"][..]));
        assert_eq!(other.error(), "it was closed");
        let redriven = handle.redrive_all().await.unwrap();
        assert_eq!((redriven.done, redriven.failed), (1, 1));
        assert_eq!(redriven.unreadable, [damaged]);
        assert_eq!(store.read_events("note", "b").await.unwrap().len(), 1);
        assert_eq!(handle.status().await.unwrap().parked, None);
        let redriven = handle.redrive(damaged).await.unwrap();
        assert_eq!((redriven.done, redriven.failed), (0, 1));
        assert_eq!(handle.discard(damaged).await.unwrap().done, 1);
        assert_eq!(handle.dead_letters().await.unwrap(), []);
        drop(handle);
        store.close().await.unwrap();
    }
}
