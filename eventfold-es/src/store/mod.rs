//! The store: everything that a program does with its aggregates, process managers and projections.

mod builder;
mod closing;
mod handle;
mod inject;
mod process_manager;
mod verify;

use std::any::{Any, TypeId, type_name};
use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

pub use builder::AggregateStoreBuilder;
pub use handle::{AggregateHandle, Executed};
pub use inject::InjectOptions;
pub use process_manager::{
    DeadLetterEntry, FailedAttempt, InstanceCounts, InstanceInfo, InstanceStatus, ParkedWork,
    ProcessManagerHandle, ProcessManagerOverview, Redriven,
};
pub use verify::{RepairReport, VerifyReport};

use tokio::sync::{mpsc, oneshot};

use crate::aggregate::Aggregate;
use crate::command::{Command, CommandContext};
use crate::dead_letter::DeadLetter;
use crate::error::{Damage, ExecuteError, OpenError, StoreError};
use crate::journal::StreamId;
use crate::journal::local::RecoveryReport;
use crate::process_manager::ProcessManager;
use crate::projection::Projection;
use crate::runtime::{
    ProjectionRunner, Reactions, Request, Runtime, blocking, check_id, refuse_inside_reaction,
};

/// How often a run lets deadlines fire that fire again at once.
const MAX_ROUNDS: usize = 16;

/// When process managers react.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum RunMode {
    /// At once; a command returns when every reaction to its events, and to theirs, is durable.
    #[default]
    Inline,
    /// At once, in the background; commands do not wait.
    Background,
    /// Only when [`AggregateStore::run_process_managers`] is called.
    OnDemand,
}

/// What process managers did since the report before.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ProcessManagerReport {
    /// How many commands their targets have executed.
    pub dispatched: usize,
    /// How many commands became dead letters.
    pub dead_lettered: usize,
}

/// Where a process manager stands.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProcessManagerStatus {
    /// Its stored name.
    pub name: String,
    /// The position up to which all its reactions are durable.
    pub position: u64,
    /// How many positions there are behind it.
    pub lag: u64,
    /// Whether an operator has paused it; see [`ProcessManagerHandle::pause`].
    pub is_paused: bool,
    /// The event that it cannot react to, if there is one.
    pub parked: Option<ParkedAt>,
}

/// The event at which a process manager is parked. It is shown no later one before the store is opened again.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ParkedAt {
    /// The position of the event.
    pub position: u64,
    /// Why it cannot be reacted to.
    pub reason: String,
}

/// An event store in a directory, with the process managers and projections that it was opened with.
///
/// Cheap to clone; all clones are one store. When the last clone and the last handle are dropped, it closes in the background;
/// [`close`](Self::close) does so and waits.
///
/// # Examples
///
/// ```
/// # use eventfold_es::prelude::*;
/// use eventfold_es::AggregateStore;
/// # #[derive(Debug, Clone, Serialize, Deserialize)]
/// # pub enum LampCommand { Switch }
/// # #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, DomainEvent)]
/// # #[serde(tag = "type", content = "data")]
/// # pub enum LampEvent { Switched }
/// # #[aggregate(error = std::convert::Infallible)]
/// # #[derive(Debug, Clone, Default, Serialize, Deserialize)]
/// # pub struct Lamp { on: bool }
/// # impl Decider for Lamp {
/// #     fn decide(&self, _: LampCommand) -> Result<Vec<LampEvent>, std::convert::Infallible> { Ok(vec![LampEvent::Switched]) }
/// #     fn evolve(&mut self, _: &LampEvent) { self.on = !self.on }
/// # }
/// # #[tokio::main]
/// # async fn main() -> Result<(), eventfold_es::Error> {
/// # let directory = tempfile::tempdir().unwrap();
/// let store = AggregateStore::open(directory.path()).await?;
/// let hall = store.get::<Lamp>("hall").await?;
/// let done = hall.execute(LampCommand::Switch, CommandContext::default()).await?;
/// assert_eq!(done.events, [LampEvent::Switched]);
/// assert!(hall.state().await?.on);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct AggregateStore {
    shared: Arc<Shared>,
}

struct Shared {
    runtime: Arc<Runtime>,
    run_mode: RunMode,
    reaction_timeout: Duration,
    recovery: RecoveryReport,
    /// A `tokio::sync::Mutex<ProjectionRunner<P>>` for each `P`.
    projections: HashMap<TypeId, Arc<dyn Any + Send + Sync>>,
    /// The index and the stored name of each.
    process_managers: HashMap<TypeId, (usize, &'static str)>,
    /// What is asked of each process manager.
    requests: Vec<mpsc::UnboundedSender<Request>>,
    shutdown: Mutex<closing::Shutdown>,
}

impl fmt::Debug for AggregateStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AggregateStore")
            .field("run_mode", &self.shared.run_mode)
            .field("position", &*self.shared.runtime.journal.durable().borrow())
            .finish_non_exhaustive()
    }
}

impl AggregateStore {
    /// Opens the store in `base` without process managers or projections.
    ///
    /// # Errors
    ///
    /// As [`AggregateStoreBuilder::open`].
    ///
    /// # Cancel safety
    ///
    /// As [`AggregateStoreBuilder::open`].
    pub async fn open(base: impl AsRef<Path>) -> Result<Self, OpenError> {
        Self::builder(base).open().await
    }

    /// Configures a store in `base`.
    pub fn builder(base: impl AsRef<Path>) -> AggregateStoreBuilder {
        AggregateStoreBuilder::new(base.as_ref())
    }

    /// A handle to the aggregate `id`; nothing is read or written before it is used.
    ///
    /// # Errors
    ///
    /// [`StoreError::InvalidId`] for an id that is empty, longer than 512 bytes or has control characters;
    /// [`StoreError::InvalidName`] if the aggregate's name cannot be stored or belongs to another type.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe; it changes nothing.
    // Async like every way into the store: a journal on another machine has to ask for what this one knows.
    pub async fn get<A: Aggregate>(&self, id: &str) -> Result<AggregateHandle<A>, StoreError> {
        check_id(A::AGGREGATE_TYPE, id)?;
        let cells = self.shared.runtime.types.cells::<A>()?;
        Ok(AggregateHandle::new(Arc::clone(&self.shared), cells, id))
    }

    /// Executes a command on the instance `id` of the aggregate that the command belongs to.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get) and [`AggregateHandle::execute`].
    ///
    /// # Cancel safety
    ///
    /// As [`AggregateHandle::execute`].
    pub async fn send<C: Command>(
        &self,
        id: &str,
        command: C,
        context: CommandContext,
    ) -> Result<
        Executed<<C::Aggregate as Aggregate>::DomainEvent>,
        ExecuteError<<C::Aggregate as Aggregate>::Error>,
    > {
        let handle = self.get::<C::Aggregate>(id).await?;
        handle.execute(command, context).await
    }

    /// The ids of all instances of `A` with at least one event, sorted.
    ///
    /// # Errors
    ///
    /// None with the local journal.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe; it changes nothing.
    pub async fn list<A: Aggregate>(&self) -> Result<Vec<String>, StoreError> {
        let streams = self.shared.runtime.journal.streams(Some(A::AGGREGATE_TYPE));
        Ok(streams
            .into_iter()
            .map(|stream| stream.instance_id.to_string())
            .collect())
    }

    /// The aggregate type and instance of every stream with at least one event, of one type or of all, sorted.
    ///
    /// # Errors
    ///
    /// None with the local journal.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe; it changes nothing.
    pub async fn list_streams(
        &self,
        aggregate_type: Option<&str>,
    ) -> Result<Vec<(String, String)>, StoreError> {
        let streams = self.shared.runtime.journal.streams(aggregate_type);
        Ok(streams
            .into_iter()
            .map(|stream| {
                (
                    stream.aggregate_type.to_string(),
                    stream.instance_id.to_string(),
                )
            })
            .collect())
    }

    /// All durable events of a stream, oldest first.
    ///
    /// # Errors
    ///
    /// [`StoreError::UnknownStream`] if it has none; [`StoreError::File`] or [`StoreError::Damaged`] if it cannot be read.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe; it changes nothing.
    pub async fn read_events(
        &self,
        aggregate_type: &str,
        instance_id: &str,
    ) -> Result<Vec<eventfold::Event>, StoreError> {
        let stream = StreamId::new(aggregate_type, instance_id);
        let journal = Arc::clone(&self.shared.runtime.journal);
        if !journal.has_stream(&stream) {
            return Err(StoreError::UnknownStream {
                aggregate_type: aggregate_type.to_owned(),
                instance_id: instance_id.to_owned(),
            });
        }
        let what = || "reading a stream".to_owned();
        blocking(what, move || {
            let stored = journal.read_stream(&stream)?;
            let mut offset = 0;
            let mut events = Vec::new();
            for line in stored.text.lines() {
                let event = serde_json::from_str(line)
                    .map_err(|error| {
                        Damage::new(
                            &stored.path,
                            offset,
                            format!("the line is no event: {error}"),
                        )
                    })
                    .map_err(|damage| StoreError::Damaged(Arc::new(damage)))?;
                offset += line.len() as u64 + 1;
                events.push(event);
            }
            Ok(events)
        })
        .await
    }

    /// The state of a projection, with everything that is durable when this is called.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotRegistered`] if the store was opened without it; [`StoreError::Projection`] or
    /// [`StoreError::Panicked`] if it fails on an event, at which it then stays; [`StoreError::File`] or
    /// [`StoreError::Damaged`] if the journal cannot be read.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe; catching up goes on without the caller.
    pub async fn projection<P: Projection>(&self) -> Result<P, StoreError> {
        self.caught_up::<P>(false).await
    }

    /// Builds a projection anew from the first event, and returns when it has everything that was durable at the call.
    ///
    /// # Errors
    ///
    /// As [`projection`](Self::projection).
    ///
    /// # Cancel safety
    ///
    /// Cancel safe; the rebuild goes on without the caller.
    pub async fn rebuild_projection<P: Projection>(&self) -> Result<(), StoreError> {
        self.caught_up::<P>(true).await.map(drop)
    }

    async fn caught_up<P: Projection>(&self, is_rebuild: bool) -> Result<P, StoreError> {
        let not_registered = || StoreError::NotRegistered {
            type_name: type_name::<P>(),
            method: "projection",
        };
        let runner = self
            .shared
            .projections
            .get(&TypeId::of::<P>())
            .ok_or_else(not_registered)?;
        let runner: Arc<tokio::sync::Mutex<ProjectionRunner<P>>> = Arc::clone(runner)
            .downcast()
            .map_err(|_| not_registered())?;
        let position = *self.shared.runtime.journal.durable().borrow();
        let mut runner = runner.lock_owned().await;
        if !is_rebuild && runner.catch_up_in_memory(position) {
            return Ok(runner.state().clone());
        }
        let what = || format!("catching up the projection `{}`", P::NAME);
        blocking(what, move || {
            if is_rebuild {
                runner.reset();
            }
            runner.catch_up(position)?;
            if is_rebuild {
                runner.save_or_warn();
            }
            Ok(runner.state().clone())
        })
        .await
    }

    /// Waits until all process managers have reacted to everything that was durable at the call, and to what that caused; in
    /// [`RunMode::OnDemand`] this is what makes them react.
    ///
    /// Deadlines that are due fire, and so do those that are due at once because of that; commands whose time has come are tried
    /// again. A process manager that is parked or paused is not waited for; see [`process_managers`](Self::process_managers).
    ///
    /// # Errors
    ///
    /// [`StoreError::ReadOnly`] on a read-only file system, where they do not run; [`StoreError::Poisoned`] if nothing can be
    /// written any more; [`StoreError::Closed`] if the store was closed before they
    /// had reacted, [`StoreError::RuntimeGone`] if the runtime that it was opened on has shut down, and
    /// [`StoreError::InsideReaction`] from inside a reaction.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: reactions go on without the caller, and each happens once.
    pub async fn run_process_managers(&self) -> Result<ProcessManagerReport, StoreError> {
        refuse_inside_reaction()?;
        let hub = &self.shared.runtime.reactions;
        let journal = &self.shared.runtime.journal;
        if let Some(reason) = journal.read_only() {
            return Err(StoreError::ReadOnly { reason });
        }
        for round in 0..MAX_ROUNDS {
            let fired = self.fire_due().await;
            if fired == 0 && round > 0 {
                break;
            }
            let position = *journal.durable().borrow();
            let mut wait = hub.wait();
            let position = wait.begin_until(position);
            hub.raise_demand(position);
            let outcome = wait.done().await;
            if let Some(reason) = journal.poisoned() {
                return Err(StoreError::Poisoned { reason });
            }
            if outcome == Reactions::Closed {
                return Err(hub.ended_because().unwrap_or(StoreError::Closed));
            }
        }
        let (dispatched, dead_lettered) = hub.take_counts();
        Ok(ProcessManagerReport {
            dispatched,
            dead_lettered,
        })
    }

    /// Lets each process manager fire what is due; how much that was.
    async fn fire_due(&self) -> usize {
        let mut answers = Vec::with_capacity(self.shared.requests.len());
        for requests in &self.shared.requests {
            let (answer, fired) = oneshot::channel();
            if requests.send(Request::Fire(answer)).is_ok() {
                answers.push(fired);
            }
        }
        let mut total = 0;
        for answer in answers {
            // One that has ended fires nothing.
            total += answer.await.unwrap_or_default();
        }
        total
    }

    /// Where each process manager stands, in the order in which they were registered.
    #[must_use]
    pub fn process_managers(&self) -> Vec<ProcessManagerStatus> {
        let durable = *self.shared.runtime.journal.durable().borrow();
        let members = self.shared.runtime.reactions.members();
        members
            .into_iter()
            .map(|member| ProcessManagerStatus {
                name: member.name.to_owned(),
                position: member.processed,
                lag: durable.saturating_sub(member.processed),
                is_paused: member.is_paused,
                parked: member
                    .parked
                    .map(|(position, reason)| ParkedAt { position, reason }),
            })
            .collect()
    }

    /// The dead letters of a process manager, oldest first: the commands that their targets did not accept.
    ///
    /// They stand, one JSON object per line, in `process_managers/<NAME>/dead_letters.jsonl`.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotRegistered`] if the store was opened without it; [`StoreError::File`] or [`StoreError::Damaged`] if
    /// the file cannot be read.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe; it changes nothing.
    pub async fn dead_letters<PM: ProcessManager>(&self) -> Result<Vec<DeadLetter>, StoreError> {
        let (_, name) = self.registered::<PM>()?;
        let journal = Arc::clone(&self.shared.runtime.journal);
        let what = || "reading dead letters".to_owned();
        blocking(what, move || {
            let letters = journal.dead_letters(name)?;
            let mut offset = 0;
            let mut read = Vec::with_capacity(letters.text.lines().count());
            for line in letters.text.lines() {
                let letter = serde_json::from_str(line).map_err(|error| {
                    let reason = format!("the line is no dead letter: {error}");
                    StoreError::Damaged(Arc::new(Damage::new(&letters.path, offset, reason)))
                })?;
                offset += line.len() as u64 + 1;
                read.push(letter);
            }
            Ok(read)
        })
        .await
    }

    fn registered<PM: ProcessManager>(&self) -> Result<(usize, &'static str), StoreError> {
        let found = self.shared.process_managers.get(&TypeId::of::<PM>());
        found.copied().ok_or(StoreError::NotRegistered {
            type_name: type_name::<PM>(),
            method: "process_manager",
        })
    }

    /// What opening the store found and did.
    #[must_use]
    pub fn recovery(&self) -> &RecoveryReport {
        &self.shared.recovery
    }

    /// Closes the store for all its clones and handles: what is in flight is finished, what is derived is saved, and the
    /// directory is released when this returns.
    ///
    /// Commands that come later fail with [`StoreError::Closed`].
    ///
    /// # Errors
    ///
    /// [`StoreError::Poisoned`] if an earlier failure left it unknown what is on disk.
    ///
    /// # Cancel safety
    ///
    /// Closing goes on without the caller.
    pub async fn close(self) -> Result<(), StoreError> {
        let mut released = {
            let mut shutdown = self
                .shared
                .shutdown
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            shutdown.begin();
            shutdown.released()
        };
        // An error means that the sender is gone, and with it the lock on the directory.
        let _ = released.wait_for(|released| *released).await;
        match self.shared.runtime.journal.poisoned() {
            Some(reason) => Err(StoreError::Poisoned { reason }),
            None => Ok(()),
        }
    }
}
