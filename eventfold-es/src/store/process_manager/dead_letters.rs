//! Dead letters for an operator, who redrives or discards them.

use serde::Serialize;

use super::{OperatorReport, ProcessManagerHandle, rows};
use crate::envelope::CommandEnvelope;
use crate::error::StoreError;
use crate::journal::RowRange;
use crate::process_manager::{ProcessManager, SourceEvent};
use crate::runtime::Request;
use rows::{AttemptRow, DeadRow, HeldRow};

/// A command that was not executed, or an event or a deadline that was not handled. It can be redriven or discarded.
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
    /// The id of the letter.
    pub id: String,
    /// The command with its address; `None` if it is an event or a deadline.
    pub envelope: Option<CommandEnvelope>,
    /// The command id, which the `meta` of its events will have; empty for an event or a deadline.
    pub command_id: String,
    /// The instance that sent it, or failed to handle it. Empty for a process manager without `key`, and for an event whose
    /// instance key could not be determined.
    pub instance: String,
    /// The source event of the command; the event that was not handled; or the event whose reaction armed the deadline.
    pub source: SourceEvent,
    /// The name of the deadline; `None` if it is a command or an event.
    pub deadline: Option<String>,
    /// Every attempt, the first one first. For an event or a deadline, only the first and the last attempts.
    pub attempts: Vec<FailedAttempt>,
}

impl DeadLetterEntry {
    /// The reason why the last attempt failed.
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
    /// The kind of the failure: `rejected`, `undecodable`, `storage`, `too-large`, `failed`, `timed-out`, `panicked` or `aborted`. It is `unknown` for letters of
    /// versions that did not store it. It is `unreadable` if the letter itself is damaged, so that only its id is known.
    pub kind: String,
    /// The error message.
    pub error: String,
    /// The time, in seconds since 1970; 0 if the letter is damaged.
    pub ts: u64,
}

impl<PM: ProcessManager> ProcessManagerHandle<PM> {
    /// The current dead letters: neither redriven nor discarded, in the order of their sources.
    ///
    /// [`AggregateStore::dead_letters`](crate::AggregateStore::dead_letters) has all past and current dead letters of
    /// commands, from the readable file.
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

    /// Executes a dead letter again, once. If its target accepts it, the same commit removes the letter (`done` is 1).
    /// Otherwise it stays, with the new error (`failed` is 1). A damaged letter fails, and stays until it is
    /// [discarded](Self::discard).
    ///
    /// An event or a deadline is delivered again, now.
    /// - An event starts or continues an instance as its correlation says. A parked instance holds it in its place: before
    ///   later events.
    /// - A deadline stays a dead letter while its instance is parked, and has no effect after the end of the instance.
    ///
    /// Later work may have been handled before it meanwhile.
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

    /// [`redrive`](Self::redrive) for all current letters, in their order, each in a commit of its own.
    ///
    /// # Errors
    ///
    /// As [`pause`](Self::pause). If something stops it, [`StoreError::Refused`] has the numbers of done and failed
    /// letters so far. The other letters stay unchanged.
    ///
    /// # Cancel safety
    ///
    /// Redriving continues without the caller. A crash leaves the remaining letters unchanged.
    pub async fn redrive_all(&self) -> Result<OperatorReport, StoreError> {
        self.operate(|asked| Request::Redrive(None, asked)).await
    }

    /// Removes a dead letter; the readable file keeps its line. `done` is 1 if there was a letter.
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

    /// Removes all current dead letters; `done` is their number.
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

    /// The other letters are executed. The unreadable letter stays until it is discarded.
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
        let term = journal.standing().term().unwrap();
        let room = crate::runtime::room_in(&**journal, term).await.unwrap();
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
        assert_eq!(handle.status().await.unwrap().parked_at, None);
        let redriven = handle.redrive(damaged).await.unwrap();
        assert_eq!((redriven.done, redriven.failed), (0, 1));
        assert_eq!(handle.discard(damaged).await.unwrap().done, 1);
        assert_eq!(handle.dead_letters().await.unwrap(), []);
        drop(handle);
        store.close().await.unwrap();
    }
}
