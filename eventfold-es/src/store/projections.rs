//! Projections in memory, caught up at each read; and the waits and rebuilds of all projections.

use std::any::{Any, TypeId, type_name};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use tokio::sync::{Mutex, OwnedMutexGuard, mpsc, oneshot, watch};

use super::AggregateStore;
use crate::error::StoreError;
use crate::journal::Journal;
use crate::projection::{Projection, ReadModel};
use crate::runtime::{FollowerRequest, ProjectionGauge, ProjectionRunner, blocking, guard};

/// A projection of an open store.
pub(super) struct RegisteredProjection {
    /// A `tokio::sync::Mutex<ProjectionRunner<P>>` or a `RowTable<P>`.
    pub(super) state: Option<Arc<dyn Any + Send + Sync>>,
    pub(super) control: ProjectionControl,
    pub(super) gauge: Arc<ProjectionGauge>,
}

/// The operations on a projection that do not depend on its type.
pub(super) enum ProjectionControl {
    /// A value in memory, which catches up when it is read.
    Folded(Arc<dyn Rebuild>),
    /// Rows or a database, which a task brings up to date.
    Followed(mpsc::UnboundedSender<FollowerRequest>),
}

type Rebuilt = Pin<Box<dyn Future<Output = Result<(), StoreError>> + Send + Sync>>;

/// A value in memory that can be rebuilt.
pub(super) trait Rebuild: Send + Sync {
    fn rebuild(self: Arc<Self>, journal: Arc<dyn Journal>) -> Rebuilt;
}

impl<P: Projection> Rebuild for Mutex<ProjectionRunner<P>> {
    fn rebuild(self: Arc<Self>, journal: Arc<dyn Journal>) -> Rebuilt {
        Box::pin(async move {
            let mut runner = self.lock_owned().await;
            let what = || format!("rebuilding the projection `{}`", P::NAME);
            let position = *journal.durable().borrow();
            blocking(what, move || {
                runner.reset();
                runner.catch_up(position)?;
                runner.save_or_warn();
                Ok(())
            })
            .await
        })
    }
}

impl AggregateStore {
    /// Calls `read` with a projection that has every event durable at the time of the call, and returns its result. It
    /// copies nothing, however large the projection is.
    ///
    /// Other readers of this projection wait while `read` runs, and `read` must not wait for the store. For more than a
    /// look-up, use a [copy](Self::projection).
    ///
    /// # Errors
    ///
    /// As [`projection`](Self::projection); [`StoreError::Panicked`] also if `read` panics.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe; catching up continues without the caller.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::collections::BTreeMap;
    /// # use eventfold_es::prelude::*;
    /// # #[derive(Debug, Clone, Serialize, Deserialize)]
    /// # pub enum StockCommand { Receive(u32) }
    /// # #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, DomainEvent)]
    /// # #[serde(tag = "type", content = "data")]
    /// # pub enum StockEvent { Received(u32) }
    /// # #[aggregate(error = std::convert::Infallible)]
    /// # #[derive(Debug, Clone, Default, Serialize, Deserialize)]
    /// # pub struct Stock;
    /// # impl Decider for Stock {
    /// #     fn decide(&self, command: StockCommand) -> Result<Vec<StockEvent>, std::convert::Infallible> {
    /// #         let StockCommand::Receive(qty) = command;
    /// #         Ok(vec![StockEvent::Received(qty)])
    /// #     }
    /// #     fn evolve(&mut self, _: &StockEvent) {}
    /// # }
    /// #[projection(subscribes = [Stock])]
    /// #[derive(Debug, Clone, Default, Serialize, Deserialize)]
    /// pub struct Shelves { qty: BTreeMap<String, u32> }
    ///
    /// impl Project<Stock> for Shelves {
    ///     fn project(&mut self, event: &StockEvent, cx: &EventContext<'_>) {
    ///         let StockEvent::Received(qty) = event;
    ///         *self.qty.entry(cx.stream_id().to_owned()).or_default() += qty;
    ///     }
    /// }
    ///
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), eventfold_es::Error> {
    /// # let directory = tempfile::tempdir().unwrap();
    /// let store = AggregateStore::builder(directory.path()).projection::<Shelves>().open().await?;
    /// store.send("tea", StockCommand::Receive(5), ()).await?;
    ///
    /// let tea = store.with_projection::<Shelves, _>(|shelves| shelves.qty.get("tea").copied()).await?;
    /// assert_eq!(tea, Some(5));
    ///
    /// let shelves = store.projection::<Shelves>().await?;
    /// assert_eq!(shelves.qty.len(), 1);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn with_projection<P: Projection, R>(
        &self,
        read: impl FnOnce(&P) -> R,
    ) -> Result<R, StoreError> {
        let runner = self.caught_up::<P>().await?;
        let what = || format!("reading the projection `{}`", P::NAME);
        guard(what, || read(runner.state()))
    }

    /// The projection with every event that is durable at the time of the call. Later events do not change it.
    ///
    /// It costs the caller an `Arc`. The next folded event clones the projection once if the copy is still held then. A
    /// short-lived copy costs nothing, and a long-lived copy costs its memory.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotRegistered`] if the store was opened without it. [`StoreError::Projection`] or [`StoreError::Panicked`]
    /// if it fails on an event; it then stops there. [`StoreError::File`] or [`StoreError::Damaged`] if the journal cannot be
    /// read.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe; catching up continues without the caller.
    pub async fn projection<P: Projection>(&self) -> Result<Arc<P>, StoreError> {
        let runner = self.caught_up::<P>().await?;
        Ok(Arc::clone(runner.state()))
    }

    /// Rebuilds a projection from the first event, and returns when it has every event that was durable at the call.
    ///
    /// Rows and databases show their old state until the new state is complete. The events from meanwhile are in the new
    /// state. [`Health::projections`](crate::store::ProjectionHealth::rebuild) tells how far it is. A projection in memory has no
    /// state for readers during its rebuild, so they wait.
    ///
    /// An interrupted rebuild of rows goes on at the next open, behind its last commit. A database is rebuilt in one transaction:
    /// after an interruption, its old state goes on, or the rebuild begins again if it was due to another `version`. See
    /// [`Sink::rebuild`](crate::Sink::rebuild).
    ///
    /// # Errors
    ///
    /// [`StoreError::NotRegistered`] if the store was opened without it, [`StoreError::RebuildCancelled`] after
    /// [`cancel_rebuild`](Self::cancel_rebuild), and the errors of the projection at an event. The projection then tries the
    /// rebuild again by its `on_failure` policy.
    ///
    /// # Cancel safety
    ///
    /// The rebuild continues without the caller.
    pub async fn rebuild_projection<P: ReadModel>(&self) -> Result<(), StoreError> {
        let registered = self.registered_projection::<P>()?;
        match &registered.control {
            ProjectionControl::Folded(state) => {
                let journal = Arc::clone(&self.shared.runtime.journal);
                Arc::clone(state).rebuild(journal).await
            }
            ProjectionControl::Followed(requests) => {
                let (answer, rebuilt) = oneshot::channel();
                let is_cancelled = Arc::new(AtomicBool::new(false));
                let request = FollowerRequest::Rebuild {
                    is_cancelled: Arc::clone(&is_cancelled),
                    answer,
                };
                registered.gauge.can_cancel(&is_cancelled);
                registered.gauge.is_resumed();
                requests.send(request).map_err(|_| self.has_ended())?;
                rebuilt.await.map_err(|_| self.has_ended())?
            }
        }
    }

    /// Cancels the rebuild of a projection with rows or a database. It continues with its old state, unless that is of another
    /// `version`: the projection then stops until [`rebuild_projection`](Self::rebuild_projection) or the next open. Nothing
    /// of the new state stays. Without a rebuild it has no effect.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotRegistered`] if the store was opened without it.
    pub fn cancel_rebuild<P: ReadModel>(&self) -> Result<(), StoreError> {
        self.registered_projection::<P>()?.gauge.cancel_rebuild();
        Ok(())
    }

    /// Lets a projection that has stopped, or waits for its next attempt, try again at once.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotRegistered`] if the store was opened without it, [`StoreError::Closed`] if it is closed.
    pub fn resume_projection<P: ReadModel>(&self) -> Result<(), StoreError> {
        let registered = self.registered_projection::<P>()?;
        match &registered.control {
            // It tries again at each read.
            ProjectionControl::Folded(_) => Ok(()),
            ProjectionControl::Followed(requests) => {
                registered.gauge.is_resumed();
                requests
                    .send(FollowerRequest::Resume)
                    .map_err(|_| self.has_ended())
            }
        }
    }

    /// Waits until a projection has every event up to a position, and returns the position that it has reached. It lets a
    /// program read its own writes: wait for [`Executed::position`](crate::Executed::position). `None`, from a command without
    /// events, waits only until the rows or tables exist.
    ///
    /// A projection in memory catches up at each read, so for it the call only waits until the event is durable.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotReached`] after `timeout`, and at once if the projection has stopped. It has the reason if the
    /// projection fails. [`StoreError::Closed`] if the store closes, [`StoreError::NotRegistered`] if it was opened
    /// without the projection.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe; it changes nothing.
    ///
    /// # Examples
    ///
    /// ```
    /// # use eventfold_es::prelude::*;
    /// # use eventfold_es::contract::{ReadModel, RowProjection};
    /// # use std::time::Duration;
    /// # async fn place<A, P>(store: AggregateStore, command: A::Command) -> Result<(), Box<dyn std::error::Error>>
    /// # where A: Aggregate, P: RowProjection + ReadModel {
    /// let done = store.get::<A>("ord-1").await?.execute(command, ()).await?;
    /// store.wait_for::<P>(done.position, Duration::from_secs(2)).await?;
    /// let rows = store.rows::<P>()?.all().limit(20).collect().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn wait_for<P: ReadModel>(
        &self,
        position: impl Into<Option<u64>>,
        timeout: Duration,
    ) -> Result<u64, StoreError> {
        let position = position.into().unwrap_or(0);
        let registered = self.registered_projection::<P>()?;
        let gauge = &registered.gauge;
        let is_folded = matches!(registered.control, ProjectionControl::Folded(_));
        let mut reached = match registered.control {
            ProjectionControl::Folded(_) => self.shared.runtime.journal.durable(),
            ProjectionControl::Followed(_) => gauge.positions(),
        };
        let mut closing = self.shared.closing.clone();
        let not_reached = || StoreError::NotReached {
            name: P::NAME,
            position,
            reached: gauge.position(),
            failure: gauge.failure(),
        };
        let waiting = async {
            loop {
                let at = *reached.borrow_and_update();
                if at >= position && (is_folded || gauge.has_begun()) {
                    return Ok(at);
                }
                if gauge.has_stopped() {
                    return Err(not_reached());
                }
                if reached.changed().await.is_err() {
                    return Err(StoreError::Closed);
                }
            }
        };
        tokio::select! {
            biased;
            waited = tokio::time::timeout(timeout, waiting) => waited.unwrap_or_else(|_| Err(not_reached())),
            _ = closing.wait_for(|closing| *closing) => Err(StoreError::Closed),
        }
    }

    /// The position of the last event that has changed a projection, as it moves on. A user interface draws again when it
    /// changes.
    ///
    /// A projection in memory changes when it is read. For it, the position is that of the last durable event of any kind.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotRegistered`] if the store was opened without it.
    ///
    /// # Examples
    ///
    /// ```
    /// # use eventfold_es::prelude::*;
    /// # use eventfold_es::contract::{ReadModel, RowProjection};
    /// # async fn draw<P: RowProjection + ReadModel>(store: AggregateStore) -> Result<(), Box<dyn std::error::Error>> {
    /// let mut changes = store.watch::<P>()?;
    /// while changes.changed().await.is_ok() {
    ///     let position = *changes.borrow_and_update();
    ///     println!("{} rows at {position}", store.rows::<P>()?.all().count().await?);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn watch<P: ReadModel>(&self) -> Result<watch::Receiver<u64>, StoreError> {
        let registered = self.registered_projection::<P>()?;
        Ok(match registered.control {
            ProjectionControl::Folded(_) => self.shared.runtime.journal.durable(),
            ProjectionControl::Followed(_) => registered.gauge.changes(),
        })
    }

    /// The reason why a projection no longer takes requests.
    fn has_ended(&self) -> StoreError {
        match self.shared.runtime.journal.read_only() {
            Some(reason) => StoreError::ReadOnly { reason },
            None => StoreError::Closed,
        }
    }

    fn registered_projection<P: ReadModel>(&self) -> Result<&RegisteredProjection, StoreError> {
        let registered = self.shared.projections.get(&TypeId::of::<P>());
        registered.ok_or(StoreError::NotRegistered {
            type_name: type_name::<P>(),
            method: "projection",
        })
    }

    /// The projection, locked, with all durable events.
    async fn caught_up<P: Projection>(
        &self,
    ) -> Result<OwnedMutexGuard<ProjectionRunner<P>>, StoreError> {
        let not_registered = || StoreError::NotRegistered {
            type_name: type_name::<P>(),
            method: "projection",
        };
        let runner = self.registered_projection::<P>()?.state.clone();
        let runner: Arc<Mutex<ProjectionRunner<P>>> = runner
            .ok_or_else(not_registered)?
            .downcast()
            .map_err(|_| not_registered())?;
        let position = *self.shared.runtime.journal.durable().borrow();
        let mut runner = runner.lock_owned().await;
        if runner.catch_up_in_memory(position, false) {
            return Ok(runner);
        }
        let what = || format!("catching up the projection `{}`", P::NAME);
        blocking(what, move || {
            if !runner.catch_up_in_memory(position, true) {
                runner.catch_up(position)?;
            }
            Ok(runner)
        })
        .await
    }
}
