//! The store: all calls of a program to its aggregates, process managers and projections.

mod backup;
mod builder;
mod closing;
mod event_handlers;
mod export;
mod forwarding;
mod handle;
mod health;
mod import;
mod inject;
mod nodes;
mod process_manager;
mod projections;
mod reading;
mod rows;
mod running;
#[cfg(feature = "testing")]
mod saved_snapshots;
#[cfg(feature = "schedules")]
mod schedules;
mod stop_on_drop;
mod streams;
#[cfg(feature = "schedules")]
mod timekeeper;
mod transaction;
mod verify;

use std::any::TypeId;
use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

pub use crate::journal::{
    AdoptedCheckpoint, AdoptionReport, BackupError, BackupReport, Durability, IncompleteBatch,
    QuarantinedStream, RecoveryReport, TornTail,
};
pub use crate::runtime::RebuildProgress;
pub use builder::{AggregateStoreBuilder, Awaits, Given};
pub use event_handlers::EventHandlerHandle;
pub use export::{ExportError, ExportReport};
pub use handle::{AggregateHandle, Executed, Loaded};
pub use health::{
    AppendHealth, ForwardedHealth, Health, HealthStatus, JournalHealth, NodeHealth,
    ProcessManagerHealth, ProjectionHealth,
};
pub use import::{ImportError, ImportOptions, ImportReport};
pub use inject::InjectOptions;
pub use process_manager::{
    DeadLetterEntry, FailedAttempt, InstanceCounts, InstanceInfo, InstanceStatus, OperatorReport,
    ParkedWork, ProcessManagerHandle, ProcessManagerStatus, RebuiltState,
};
pub use reading::{Decodes, History, RawRecorded, Recorded, Subscription, subscribe};
pub use rows::{InvalidPageToken, Page, PageToken, RowQuery, Rows};
pub use running::{ParkedAt, ProcessManagerReport, RunMode};
#[cfg(feature = "schedules")]
pub use schedules::ScheduleStatus;
pub use transaction::{Committed, CommittedCommand, Transaction};
pub use verify::{RepairReport, VerifyReport};

use tokio::sync::{mpsc, watch};

use crate::aggregate::Aggregate;
use crate::command::{Command, CommandContext};
use crate::disk::Files;
use crate::error::{ExecuteError, OpenError, StoreError};
use crate::replication::Measured;
use crate::runtime::{ProjectionGauge, Reactions, Request, Runtime, WaitGuard, check_id};

/// An event store in a directory, with the process managers and projections that it was opened with.
///
/// Cheap to clone; all clones are one store. It closes in the background when the last clone and the last handle are dropped.
/// [`close`](Self::close) closes it and waits.
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
/// let done = hall.execute(LampCommand::Switch, ()).await?;
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
    /// The disk, below the changes that a read-only recovery holds in memory.
    files: Files,
    base: PathBuf,
    run_mode: RunMode,
    reaction_timeout: Duration,
    recovery: RecoveryReport,
    projections: HashMap<TypeId, projections::RegisteredProjection>,
    /// The stored name and the progress of each projection, in the order of registration.
    gauges: Vec<(&'static str, Arc<ProjectionGauge>)>,
    /// The index and the stored name of each process manager.
    process_managers: HashMap<TypeId, (usize, &'static str)>,
    /// The channel of requests to each process manager.
    requests: Vec<mpsc::UnboundedSender<Request>>,
    /// The log of a replicated store, and the name of this node.
    node: Option<(Arc<Measured>, String)>,
    /// The way to the other nodes, if the replicated log has one.
    forwarding: Option<forwarding::Forwarding>,
    shutdown: Mutex<closing::Shutdown>,
    /// Turns true when the store begins to close.
    closing: watch::Receiver<bool>,
    #[cfg(feature = "schedules")]
    schedules: timekeeper::Schedules,
}

impl Shared {
    /// The outcome of the awaited reactions, if the caller waits for any.
    async fn reactions(&self, wait: Option<WaitGuard>) -> Reactions {
        match wait {
            None => Reactions::NotAwaited,
            Some(mut wait) => tokio::time::timeout(self.reaction_timeout, wait.done())
                .await
                .unwrap_or(Reactions::TimedOut),
        }
    }
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

    /// A handle to the aggregate `id`. It reads and writes nothing before its first use.
    ///
    /// # Errors
    ///
    /// [`StoreError::InvalidId`] for an id that is empty, longer than 512 bytes or has control characters;
    /// [`StoreError::InvalidName`] if the aggregate's name cannot be stored or belongs to another type.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe; it changes nothing.
    // Async like every way into the store: a journal on another machine has to ask for facts that this process knows.
    pub async fn get<A: Aggregate>(&self, id: &str) -> Result<AggregateHandle<A>, StoreError> {
        check_id(A::AGGREGATE_TYPE, id)?;
        let cells = self.shared.runtime.types.cells::<A>()?;
        Ok(AggregateHandle::new(Arc::clone(&self.shared), cells, id))
    }

    /// Executes a command on the instance `id` of the command's aggregate.
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
        context: impl Into<CommandContext>,
    ) -> Result<
        Executed<<C::Aggregate as Aggregate>::DomainEvent>,
        ExecuteError<<C::Aggregate as Aggregate>::Error>,
    > {
        let context = context.into();
        let handle = self.get::<C::Aggregate>(id).await?;
        handle.execute_with(command, context).await
    }

    /// The report of opening the store.
    #[must_use]
    pub fn recovery(&self) -> &RecoveryReport {
        &self.shared.recovery
    }

    /// Closes the store for all its clones and handles. Work in flight is finished, derived state is saved, and the directory
    /// is released when this returns.
    ///
    /// Commands are executed until the running calls of event handlers have returned, for at most
    /// [`handler_patience`](AggregateStoreBuilder::handler_patience) and 5 seconds. Later commands fail with [`StoreError::Closed`]. A call
    /// of a database has four seconds to return. Then it is [given up](crate::Sink#calls-that-do-not-return), and its events are written after
    /// the next opening.
    ///
    /// # Errors
    ///
    /// [`StoreError::Poisoned`] if an earlier failure left the content of the disk unknown.
    ///
    /// # Cancel safety
    ///
    /// Closing continues without the caller.
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
        // An error means that the sender is dropped, and with it the lock on the directory.
        let _ = released.wait_for(|released| *released).await;
        match self.shared.runtime.journal.poisoned() {
            Some(reason) => Err(StoreError::Poisoned { reason }),
            None => Ok(()),
        }
    }
}
