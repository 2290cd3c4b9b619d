//! An operator's view of one process manager, and its controls.

mod control;
mod dead_letters;
mod instances;
mod parked;
mod rebuild;
mod status;

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use serde::Serialize;
use tokio::sync::oneshot;

use super::{AggregateStore, ParkedAt, RunMode};
use crate::error::StoreError;
use crate::journal::{Row, RowRange};
use crate::process_manager::ProcessManager;
use crate::runtime::process_manager_rows::{self as rows, ControlRow, InstanceTable};
use crate::runtime::{Asked, Kept, Reactions, Report, Request, WaitGuard, blocking, guard};

pub use dead_letters::{DeadLetterEntry, FailedAttempt};
pub use instances::{InstanceInfo, InstanceStatus};
pub use parked::ParkedWork;
pub use rebuild::RebuiltState;
pub use status::{InstanceCounts, ProcessManagerStatus};

/// The number of rows in one read.
const ROWS: usize = 1024;

/// One process manager of a store: its progress, its failures, and its controls.
///
/// The process manager itself makes each change, between two reactions, in commits of its own. So a change happens
/// once, a crash in the middle leaves the rest of the work to do, and new failures are kept. The handle is cheap to
/// clone. While it lives, its store stays open.
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
/// let redriven = echo.redrive_all().await?;
/// println!("{} executed, {} failed again: {:?}", redriven.done, redriven.failed, redriven.reactions);
/// echo.pause().await?;
/// assert!(echo.status().await?.is_paused);
/// # Ok(())
/// # }
/// ```
///
/// Calls that may cause reactions wait for them in [`RunMode::Inline`], as a command does; see [`OperatorReport`].
pub struct ProcessManagerHandle<PM> {
    store: AggregateStore,
    member: usize,
    name: &'static str,
    process_manager: PhantomData<fn() -> PM>,
}

/// The result of a call of an operator, and the outcome of the reactions.
///
/// # Examples
///
/// For example, a letter whose command the target accepts has `done: 1`, and the process managers have handled its events. A
/// letter that is rejected again has `failed: 1`. An unknown id has neither.
///
/// # JSON
///
/// ```json
/// {"done":1,"failed":0,"unreadable":[],"reactions":"done"}
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct OperatorReport {
    /// The amount of work done, in the unit of each method; 0 if there was nothing to do.
    pub done: usize,
    /// The number of failures. They stay, with their new errors.
    pub failed: usize,
    /// The ids of the damaged dead letters among the failures. They cannot be executed.
    pub unreadable: Vec<String>,
    /// The outcome of the reactions to the new events, and to their consequences. Whatever the outcome is, the work
    /// stays done.
    pub reactions: Reactions,
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

impl AggregateStore {
    /// The handle of a process manager for an operator.
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
    /// Sends a request that may cause reactions to the task of the process manager, and waits for them as a command does.
    async fn operate(
        &self,
        request: impl FnOnce(Asked) -> Request,
    ) -> Result<OperatorReport, StoreError> {
        let (report, reactions) = self.operate_on(request).await?;
        let Report {
            done,
            failed,
            unreadable,
            is_interrupted,
        } = report;
        if is_interrupted {
            return Err(StoreError::Refused {
                reason: format!(
                    "`{}` stopped before it had handled all of them: {done} were done and {failed} failed again. Look at its status, \
                     and try again",
                    self.name
                )
                .into(),
            });
        }
        Ok(OperatorReport {
            done,
            failed,
            unreadable,
            reactions,
        })
    }

    /// Like [`operate`](Self::operate), with another answer.
    async fn operate_on<T>(
        &self,
        request: impl FnOnce(Asked<T>) -> Request,
    ) -> Result<(T, Reactions), StoreError> {
        let shared = &self.store.shared;
        let is_awaited = shared.run_mode == RunMode::Inline;
        let wait = is_awaited.then(|| shared.runtime.reactions.wait());
        let id = wait.as_ref().map(WaitGuard::id);
        let asked = self.ask(|answer| request(Asked { wait: id, answer }));
        let answer = asked.await?;
        if let Some(wait) = &wait {
            wait.begin();
        }
        Ok((answer, shared.reactions(wait).await))
    }

    /// Sends a request to the task of the process manager.
    async fn ask<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<T>) -> Request,
    ) -> Result<T, StoreError> {
        crate::runtime::refuse_inside_reaction()?;
        let shared = &self.store.shared;
        if let Some(reason) = shared.runtime.journal.read_only() {
            return Err(StoreError::ReadOnly { reason });
        }
        let term = shared.runtime.leadership.term().await?;
        let (answer, answered) = oneshot::channel();
        let requests = shared.requests.get(self.member);
        let sent = requests.map(|requests| requests.send(request(answer)));
        if !matches!(sent, Some(Ok(()))) {
            return Err(self.ended().unwrap_or(StoreError::Closed));
        }
        answered.await.map_err(|_| {
            if shared.runtime.journal.standing().refusal(term).is_some() {
                return StoreError::OutcomeUnknown {
                    reason: format!(
                        "this node lost the leadership before `{}` had done the request; look at its status on the leader, and try again",
                        self.name
                    )
                    .into(),
                };
            }
            self.ended().unwrap_or_else(|| StoreError::Refused {
                reason: format!(
                    "`{}` stopped before the request was done; look at its status, and try again",
                    self.name
                )
                .into(),
            })
        })
    }

    /// The reason why the task of the process manager has ended.
    fn ended(&self) -> Option<StoreError> {
        let shared = &self.store.shared;
        if let Some(reason) = shared.runtime.journal.poisoned() {
            return Some(StoreError::Poisoned { reason });
        }
        let members = shared.runtime.reactions.members();
        let member = members.into_iter().nth(self.member);
        member.and_then(|member| member.presence.ended().cloned())
    }

    fn read<T: serde::de::DeserializeOwned>(&self, row: &Row) -> Result<T, StoreError> {
        rows::read(&row.key, &row.value).map_err(|reason| self.damaged(reason))
    }

    fn damaged(&self, reason: String) -> StoreError {
        let rows = &self.store.shared.runtime.journal;
        StoreError::Damaged(Arc::new(rows.damaged_rows(self.name, reason)))
    }

    /// Reads instances from their current table, and again if a rebuild replaces them meanwhile.
    ///
    /// Not an `AsyncFnMut`: a bound cannot say that its futures are `Send`.
    async fn of_instances<T, F>(
        &self,
        mut read: impl FnMut(InstanceTable) -> F,
    ) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let mut table = self.instance_table().await?;
        loop {
            let found = read(table).await?;
            let now = self.instance_table().await?;
            if now == table {
                return Ok(found);
            }
            table = now;
        }
    }

    async fn instance_table(&self) -> Result<InstanceTable, StoreError> {
        let control = self.row(rows::CONTROL.into()).await?;
        let control = control
            .map(|row| self.read::<ControlRow>(&row))
            .transpose()?;
        Ok(control.unwrap_or_default().instances)
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

    async fn row(&self, key: Box<str>) -> Result<Option<Row>, StoreError> {
        let (journal, name) = (Arc::clone(&self.store.shared.runtime.journal), self.name);
        let wanted = key.clone();
        let read = blocking(reading, move || Ok(journal.rows(name, &[&*wanted])?)).await?;
        let value = read.into_iter().flatten().next();
        Ok(value.map(|value| Row { key, value }))
    }

    async fn rows(&self, range: RowRange, limit: usize) -> Result<Vec<Row>, StoreError> {
        let (journal, name) = (Arc::clone(&self.store.shared.runtime.journal), self.name);
        blocking(reading, move || Ok(journal.row_range(name, &range, limit)?)).await
    }
}

/// The text of a key.
fn text_of(key: impl fmt::Display) -> Result<String, StoreError> {
    let key = Kept::new(key);
    guard(|| "the text of a key".to_owned(), || key.to_string())
}

fn reading() -> String {
    "reading the rows of a process manager".to_owned()
}
