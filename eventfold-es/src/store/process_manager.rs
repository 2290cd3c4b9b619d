//! What an operator sees of one process manager, and does to it.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::oneshot;

use super::{AggregateStore, ParkedAt};
use crate::envelope::CommandEnvelope;
use crate::error::{Damage, StoreError};
use crate::journal::{Row, RowRange, StreamId};
use crate::process_manager::{ProcessManager, SourceEvent};
use crate::runtime::process_manager_rows::{self as rows, CommandRow, InstanceRow, Status};
use crate::runtime::{Parked, Request, blocking};

/// How many rows are read at a time.
const ROWS: usize = 1024;

/// One process manager of a store: where it stands, what it could not do, and how it goes on.
///
/// Whatever it changes is done by the process manager itself, between two reactions, in commits of its own: it happens once, a
/// crash in the middle leaves the rest to be done, and what fails meanwhile is kept. Cheap to clone; while it lives, its store
/// stays open.
///
/// # Examples
///
/// ```
/// # use eventfold_es::prelude::*;
/// # #[derive(Debug, Clone, Serialize, Deserialize)]
/// # pub enum LampCommand { Switch }
/// # #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, DomainEvent)]
/// # #[serde(tag = "type", content = "data")]
/// # pub enum LampEvent { Switched }
/// # #[aggregate(error = std::convert::Infallible)]
/// # #[derive(Debug, Clone, Default, Serialize, Deserialize)]
/// # pub struct Lamp;
/// # impl Decider for Lamp {
/// #     fn decide(&self, _: LampCommand) -> Result<Vec<LampEvent>, std::convert::Infallible> { Ok(vec![LampEvent::Switched]) }
/// #     fn evolve(&mut self, _: &LampEvent) {}
/// # }
/// # #[process_manager(subscribes = [Lamp], dispatches = [Lamp])]
/// # #[derive(Debug, Default, Serialize, Deserialize)]
/// # pub struct Echo;
/// # impl React<Lamp> for Echo {
/// #     fn react(&mut self, _event: &LampEvent, _cx: &mut Reaction<'_, Self>) {}
/// # }
/// # #[tokio::main]
/// # async fn main() -> Result<(), eventfold_es::Error> {
/// # let directory = tempfile::tempdir().unwrap();
/// let store = AggregateStore::builder(directory.path()).process_manager::<Echo>().open().await?;
/// let echo = store.process_manager::<Echo>()?;
/// for letter in echo.dead_letters().await? {
///     println!("{}: {} ({} attempts)", letter.id, letter.error(), letter.attempts.len());
/// }
/// echo.redrive_all().await?;
/// echo.pause().await?;
/// assert!(echo.status().await?.is_paused);
/// # Ok(())
/// # }
/// ```
pub struct ProcessManagerHandle<PM> {
    store: AggregateStore,
    member: usize,
    name: &'static str,
    process_manager: PhantomData<fn() -> PM>,
}

impl<PM> Clone for ProcessManagerHandle<PM> {
    fn clone(&self) -> Self {
        Self {
            store: self.store.clone(),
            member: self.member,
            name: self.name,
            process_manager: PhantomData,
        }
    }
}

impl<PM> fmt::Debug for ProcessManagerHandle<PM> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProcessManagerHandle")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// Where a process manager stands, with what it has in its rows.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProcessManagerOverview {
    /// The position up to which all its reactions are durable.
    pub position: u64,
    /// How many positions there are behind it.
    pub lag: u64,
    /// Whether it reacts to nothing until it is [resumed](ProcessManagerHandle::resume).
    pub is_paused: bool,
    /// The event at which it stays as a whole, if there is one.
    pub parked: Option<ParkedAt>,
    /// Its instances; one without `key` has none.
    pub instances: InstanceCounts,
    /// How many streams wait behind an event that cannot be read.
    pub held_streams: u64,
    /// How many deadlines are armed.
    pub deadlines: u64,
    /// How many commands will be tried again.
    pub pending: u64,
    /// How many dead letters can be redriven or discarded.
    pub dead_letters: u64,
    /// How many events belonged to no open instance since the store was opened.
    pub ignored: u64,
}

/// How many instances there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct InstanceCounts {
    /// Those that react.
    pub open: u64,
    /// Those that hold what comes for them.
    pub parked: u64,
    /// Those that are complete.
    pub completed: u64,
}

/// Whether an instance takes part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum InstanceStatus {
    /// It reacts.
    Open,
    /// It holds what comes for it, in order, until it is released.
    Parked,
    /// It is complete; its key can be used again.
    Completed,
}

/// One instance of a process manager.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct InstanceInfo {
    /// Its key, as it is stored.
    pub key: String,
    /// Which of those that had its key, from 1.
    pub generation: u64,
    /// Whether it takes part.
    pub status: InstanceStatus,
    /// Its state as JSON; `None` when it is complete.
    pub state: Option<String>,
    /// Its deadlines, and when they are due.
    pub deadlines: Vec<(String, SystemTime)>,
    /// Where and why it is parked.
    pub parked: Option<ParkedAt>,
}

/// Something that waits until it is released.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ParkedWork {
    /// The key of the instance, if it is one.
    pub instance: Option<String>,
    /// The aggregate type and the id of the stream, if it is one that cannot be read, so that nobody knows whose its events are.
    pub stream: Option<(String, String)>,
    /// At what it was parked, and why.
    pub parked: ParkedAt,
    /// When, in seconds since 1970.
    pub ts: u64,
    /// How much it holds: events, deadlines and commands.
    pub held: u64,
}

/// A command that was not executed, and can be redriven or discarded.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct DeadLetterEntry {
    /// What names it.
    pub id: String,
    /// The command with its address.
    pub envelope: CommandEnvelope,
    /// What names the command, and stands in the `meta` of the events that it will cause.
    pub command_id: String,
    /// The instance that sent it; empty for a process manager without `key`.
    pub instance: String,
    /// What the process manager reacted to when it sent it.
    pub source: SourceEvent,
    /// Every attempt to execute it, the first one first.
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
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FailedAttempt {
    /// What kind of failure it was: `rejected`, `undecodable`, `storage` or `panicked`.
    pub kind: String,
    /// What was said.
    pub error: String,
    /// When, in seconds since 1970.
    pub ts: u64,
}

/// What became of dead letters that were redriven.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Redriven {
    /// How many were executed, and are no dead letters any more.
    pub executed: usize,
    /// How many failed again, and stay with their new error.
    pub failed: usize,
}

impl AggregateStore {
    /// What an operator sees of a process manager, and does to it.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotRegistered`] if the store was opened without it.
    pub fn process_manager<PM: ProcessManager>(
        &self,
    ) -> Result<ProcessManagerHandle<PM>, StoreError> {
        let (member, name) = self.registered::<PM>()?;
        Ok(ProcessManagerHandle {
            store: self.clone(),
            member,
            name,
            process_manager: PhantomData,
        })
    }
}

impl<PM: ProcessManager> ProcessManagerHandle<PM> {
    /// Where it stands. It counts its rows, which takes time where they are many: about a second for a million.
    ///
    /// # Errors
    ///
    /// [`StoreError::File`] or [`StoreError::Damaged`] if rows cannot be read.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe; it changes nothing.
    pub async fn status(&self) -> Result<ProcessManagerOverview, StoreError> {
        let durable = *self.store.shared.runtime.journal.durable().borrow();
        let members = self.store.shared.runtime.reactions.members();
        let member = members
            .into_iter()
            .nth(self.member)
            .ok_or(StoreError::Closed)?;
        let mut instances = InstanceCounts::default();
        if PM::IS_KEYED {
            self.each(RowRange::of_kind(rows::INSTANCES), |row| {
                let read: InstanceRow = self.read(row)?;
                match read.status {
                    Status::Open => instances.open += 1,
                    Status::Parked | Status::Releasing => instances.parked += 1,
                    Status::Completed => instances.completed += 1,
                }
                Ok(())
            })
            .await?;
        }
        Ok(ProcessManagerOverview {
            position: member.processed,
            lag: durable.saturating_sub(member.processed),
            is_paused: member.is_paused,
            parked: member
                .parked
                .map(|(position, reason)| ParkedAt { position, reason }),
            instances,
            held_streams: self.count(RowRange::of_kind(rows::STREAMS)).await?,
            deadlines: self.count(RowRange::of_kind(rows::TIMERS)).await?,
            pending: self.count(RowRange::of_kind(rows::PENDING)).await?,
            dead_letters: self.count(RowRange::of_kind(rows::DEAD_LETTERS)).await?,
            ignored: member.ignored,
        })
    }

    /// One instance, as it is durable; `None` if its key was never used.
    ///
    /// # Errors
    ///
    /// As [`status`](Self::status).
    ///
    /// # Cancel safety
    ///
    /// Cancel safe; it changes nothing.
    pub async fn instance(
        &self,
        key: impl fmt::Display,
    ) -> Result<Option<InstanceInfo>, StoreError> {
        let stored = rows::instance_key(&key.to_string());
        let (journal, name) = (Arc::clone(&self.store.shared.runtime.journal), self.name);
        let wanted = stored.clone();
        let read = blocking(reading, move || Ok(journal.rows(name, &[&*wanted])?)).await?;
        match read.into_iter().flatten().next() {
            None => Ok(None),
            Some(value) => self.info(&Row { key: stored, value }).map(Some),
        }
    }

    /// Up to `limit` instances behind the key `after`, in the order of their keys, completed ones among them.
    ///
    /// # Errors
    ///
    /// As [`status`](Self::status).
    ///
    /// # Cancel safety
    ///
    /// Cancel safe; it changes nothing.
    pub async fn instances(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<InstanceInfo>, StoreError> {
        let mut range = RowRange::of_kind(rows::INSTANCES);
        if let Some(after) = after {
            range = range.behind(&rows::instance_key(after));
        }
        let rows = self.rows(range, limit).await?;
        rows.iter().map(|row| self.info(row)).collect()
    }

    /// Lets it react to nothing until it is [resumed](Self::resume), also after a restart. Commands do not wait for it meanwhile.
    ///
    /// # Errors
    ///
    /// [`StoreError::ReadOnly`] on a read-only file system, [`StoreError::Closed`] if it has ended, and [`StoreError::Refused`] if
    /// it could not be done now.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves it done or not.
    pub async fn pause(&self) -> Result<(), StoreError> {
        self.ask(|answer| Request::Pause(true, answer)).await
    }

    /// Lets it react again.
    ///
    /// # Errors
    ///
    /// As [`pause`](Self::pause).
    ///
    /// # Cancel safety
    ///
    /// As [`pause`](Self::pause).
    pub async fn resume(&self) -> Result<(), StoreError> {
        self.ask(|answer| Request::Pause(false, answer)).await
    }

    /// Makes the effects of everything durable that it has reacted to so far, so that they can be seen here.
    ///
    /// # Errors
    ///
    /// As [`pause`](Self::pause).
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn settle(&self) -> Result<(), StoreError> {
        self.ask(Request::Settle).await
    }

    /// What waits until it is released: instances, and streams that cannot be read.
    ///
    /// # Errors
    ///
    /// As [`status`](Self::status).
    ///
    /// # Cancel safety
    ///
    /// Cancel safe; it changes nothing.
    pub async fn parked(&self) -> Result<Vec<ParkedWork>, StoreError> {
        let mut found = Vec::new();
        self.each(RowRange::of_kind(rows::INSTANCES), |row| {
            let read: InstanceRow = self.read(row)?;
            if let Some(parked) = read.parked {
                let key = row.key.get(1..).unwrap_or_default().to_owned();
                let held = RowRange::numbered(&rows::held_prefix(&key));
                found.push((Some(key), None, parked, held));
            }
            Ok(())
        })
        .await?;
        self.each(RowRange::of_kind(rows::STREAMS), |row| {
            if let Some(stream) = rows::stream_of(&row.key) {
                let held = RowRange::numbered(&rows::stream_held_prefix(&stream));
                let names = (
                    stream.aggregate_type.to_string(),
                    stream.instance_id.to_string(),
                );
                found.push((None, Some(names), self.read(row)?, held));
            }
            Ok(())
        })
        .await?;
        let mut parked = Vec::with_capacity(found.len());
        for (instance, stream, row, held) in found {
            parked.push(ParkedWork {
                instance,
                stream,
                parked: ParkedAt {
                    position: row.position,
                    reason: row.reason,
                },
                ts: row.ts,
                held: self.count(held).await?,
            });
        }
        Ok(parked)
    }

    /// Releases a parked instance: it is shown what it holds, in order, and then takes part again. How much of it was done; if it
    /// fails again, it stays parked with the rest.
    ///
    /// # Errors
    ///
    /// As [`pause`](Self::pause).
    ///
    /// # Cancel safety
    ///
    /// Releasing goes on without the caller, and after a crash.
    pub async fn release(&self, key: impl fmt::Display) -> Result<usize, StoreError> {
        let key = key.to_string();
        self.ask(|answer| Request::Release(Parked::Instance(key), answer))
            .await
    }

    /// Releases a stream that could not be read.
    ///
    /// # Errors
    ///
    /// As [`pause`](Self::pause).
    ///
    /// # Cancel safety
    ///
    /// As [`release`](Self::release).
    pub async fn release_stream(
        &self,
        aggregate_type: &str,
        stream_id: &str,
    ) -> Result<usize, StoreError> {
        let stream = StreamId::new(aggregate_type, stream_id);
        self.ask(|answer| Request::Release(Parked::Stream(stream), answer))
            .await
    }

    /// Drops what a parked instance holds, and lets it take part again with the state that it has. How much it held.
    ///
    /// # Errors
    ///
    /// As [`pause`](Self::pause).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves it done or not.
    pub async fn discard_parked(&self, key: impl fmt::Display) -> Result<usize, StoreError> {
        let key = key.to_string();
        self.ask(|answer| Request::Discard(Parked::Instance(key), answer))
            .await
    }

    /// Drops what a stream holds that could not be read, and goes on behind it. How much it held.
    ///
    /// # Errors
    ///
    /// As [`pause`](Self::pause).
    ///
    /// # Cancel safety
    ///
    /// As [`discard_parked`](Self::discard_parked).
    pub async fn discard_stream(
        &self,
        aggregate_type: &str,
        stream_id: &str,
    ) -> Result<usize, StoreError> {
        let stream = StreamId::new(aggregate_type, stream_id);
        self.ask(|answer| Request::Discard(Parked::Stream(stream), answer))
            .await
    }

    /// Shows a process manager that is parked as a whole the event that it stays at, once more, and lets it go on. Whether it was
    /// parked.
    ///
    /// # Errors
    ///
    /// As [`pause`](Self::pause).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves it done or not.
    pub async fn retry(&self) -> Result<bool, StoreError> {
        let done = self
            .ask(|answer| Request::Release(Parked::All, answer))
            .await?;
        Ok(done > 0)
    }

    /// Lets a process manager without `key` that is parked as a whole pass the event that it stays at, which a row remembers.
    /// Whether it was parked.
    ///
    /// # Errors
    ///
    /// As [`pause`](Self::pause).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves it done or not.
    pub async fn skip(&self) -> Result<bool, StoreError> {
        let done = self
            .ask(|answer| Request::Discard(Parked::All, answer))
            .await?;
        Ok(done > 0)
    }

    /// The commands that were not executed and that nobody has redriven or discarded, in the order of what they were sent for.
    ///
    /// [`AggregateStore::dead_letters`] has all that there ever were, as they stand in the readable file.
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
            let CommandRow {
                envelope,
                command_id,
                key,
                source,
                attempts,
                ..
            } = self.read(row)?;
            letters.push(DeadLetterEntry {
                id: row.key.get(1..).unwrap_or_default().to_owned(),
                envelope,
                command_id,
                instance: key,
                source,
                attempts: attempts
                    .into_iter()
                    .map(|attempt| FailedAttempt {
                        kind: attempt.kind,
                        error: attempt.error,
                        ts: attempt.ts,
                    })
                    .collect(),
            });
            Ok(())
        })
        .await?;
        Ok(letters)
    }

    /// Executes a dead letter again, once. If its target accepts it, it is a dead letter no more, in the same commit; else it stays,
    /// with the new error.
    ///
    /// # Errors
    ///
    /// As [`pause`](Self::pause).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves it done or not.
    pub async fn redrive(&self, id: &str) -> Result<Redriven, StoreError> {
        let id = id.to_owned();
        self.redrive_some(Some(id)).await
    }

    /// [`redrive`](Self::redrive), of all that there are now, in their order, each in a commit of its own.
    ///
    /// # Errors
    ///
    /// As [`pause`](Self::pause).
    ///
    /// # Cancel safety
    ///
    /// Redriving goes on without the caller. A crash leaves the rest as they were.
    pub async fn redrive_all(&self) -> Result<Redriven, StoreError> {
        self.redrive_some(None).await
    }

    async fn redrive_some(&self, id: Option<String>) -> Result<Redriven, StoreError> {
        let done = self.ask(|answer| Request::Redrive(id, answer)).await?;
        let (executed, failed) = done;
        Ok(Redriven { executed, failed })
    }

    /// Removes a dead letter; the readable file keeps its line. Whether there was one.
    ///
    /// # Errors
    ///
    /// As [`pause`](Self::pause).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves it done or not.
    pub async fn discard(&self, id: &str) -> Result<bool, StoreError> {
        let id = id.to_owned();
        let done = self.ask(|answer| Request::Forget(Some(id), answer)).await?;
        Ok(done > 0)
    }

    /// Removes all dead letters that there are now; how many.
    ///
    /// # Errors
    ///
    /// As [`pause`](Self::pause).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves it done or not.
    pub async fn discard_all(&self) -> Result<usize, StoreError> {
        self.ask(|answer| Request::Forget(None, answer)).await
    }

    /// Asks the task of the process manager for something.
    async fn ask<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<T>) -> Request,
    ) -> Result<T, StoreError> {
        crate::runtime::refuse_inside_reaction()?;
        let shared = &self.store.shared;
        if let Some(reason) = shared.runtime.journal.read_only() {
            return Err(StoreError::ReadOnly { reason });
        }
        let (answer, answered) = oneshot::channel();
        let requests = shared.requests.get(self.member);
        let sent = requests.map(|requests| requests.send(request(answer)));
        if !matches!(sent, Some(Ok(()))) {
            return Err(self.ended());
        }
        answered
            .await
            .map_err(|_| match shared.runtime.journal.poisoned() {
                Some(reason) => StoreError::Poisoned { reason },
                None => StoreError::Refused {
                    reason: format!(
                        "`{}` has stopped before it was done; look at its status, and try again",
                        self.name
                    )
                    .into(),
                },
            })
    }

    fn ended(&self) -> StoreError {
        let shared = &self.store.shared;
        if let Some(reason) = shared.runtime.journal.poisoned() {
            return StoreError::Poisoned { reason };
        }
        let members = shared.runtime.reactions.members();
        let member = members.into_iter().nth(self.member);
        member
            .and_then(|member| member.ended)
            .unwrap_or(StoreError::Closed)
    }

    fn info(&self, row: &Row) -> Result<InstanceInfo, StoreError> {
        let read: InstanceRow = self.read(row)?;
        let timers = read.timers.into_iter();
        Ok(InstanceInfo {
            key: row.key.get(1..).unwrap_or_default().to_owned(),
            generation: read.generation,
            status: match read.status {
                Status::Open => InstanceStatus::Open,
                Status::Parked | Status::Releasing => InstanceStatus::Parked,
                Status::Completed => InstanceStatus::Completed,
            },
            state: read.state.map(|state| state.get().to_owned()),
            deadlines: timers
                .map(|(name, due)| (name, UNIX_EPOCH + Duration::from_millis(due)))
                .collect(),
            parked: read.parked.map(|parked| ParkedAt {
                position: parked.position,
                reason: parked.reason,
            }),
        })
    }

    fn read<T: serde::de::DeserializeOwned>(&self, row: &Row) -> Result<T, StoreError> {
        rows::read(&row.key, &row.value).map_err(|reason| {
            let path = format!("process_managers/{}/instances.redb", self.name);
            StoreError::Damaged(Arc::new(Damage::new(path, 0, reason)))
        })
    }

    async fn count(&self, range: RowRange) -> Result<u64, StoreError> {
        let mut count = 0;
        self.each(range, |_| {
            count += 1;
            Ok(())
        })
        .await?;
        Ok(count)
    }

    async fn each(
        &self,
        mut range: RowRange,
        mut show: impl FnMut(&Row) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        loop {
            let rows = self.rows(range.clone(), ROWS).await?;
            for row in &rows {
                show(row)?;
            }
            match rows.last() {
                Some(last) if rows.len() == ROWS => range = range.behind(&last.key),
                _ => return Ok(()),
            }
        }
    }

    async fn rows(&self, range: RowRange, limit: usize) -> Result<Vec<Row>, StoreError> {
        let (journal, name) = (Arc::clone(&self.store.shared.runtime.journal), self.name);
        blocking(reading, move || Ok(journal.row_range(name, &range, limit)?)).await
    }
}

fn reading() -> String {
    "reading the rows of a process manager".to_owned()
}
