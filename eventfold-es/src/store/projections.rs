//! Projections, caught up at each read.

use std::any::{TypeId, type_name};
use std::sync::Arc;

use tokio::sync::{Mutex, OwnedMutexGuard};

use super::AggregateStore;
use crate::error::StoreError;
use crate::projection::Projection;
use crate::runtime::{ProjectionRunner, blocking, guard};

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
        let runner = self.caught_up::<P>(false).await?;
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
        let runner = self.caught_up::<P>(false).await?;
        Ok(Arc::clone(runner.state()))
    }

    /// Rebuilds a projection from the first event, and returns when it has every event that was durable at the call.
    ///
    /// # Errors
    ///
    /// As [`projection`](Self::projection).
    ///
    /// # Cancel safety
    ///
    /// Cancel safe; the rebuild continues without the caller.
    pub async fn rebuild_projection<P: Projection>(&self) -> Result<(), StoreError> {
        self.caught_up::<P>(true).await.map(drop)
    }

    /// The projection, locked, with all durable events.
    async fn caught_up<P: Projection>(
        &self,
        is_rebuild: bool,
    ) -> Result<OwnedMutexGuard<ProjectionRunner<P>>, StoreError> {
        let not_registered = || StoreError::NotRegistered {
            type_name: type_name::<P>(),
            method: "projection",
        };
        let runner = self
            .shared
            .projections
            .get(&TypeId::of::<P>())
            .ok_or_else(not_registered)?;
        let runner: Arc<Mutex<ProjectionRunner<P>>> = Arc::clone(runner)
            .downcast()
            .map_err(|_| not_registered())?;
        let position = *self.shared.runtime.journal.durable().borrow();
        let mut runner = runner.lock_owned().await;
        if !is_rebuild && runner.catch_up_in_memory(position, false) {
            return Ok(runner);
        }
        let what = || format!("catching up the projection `{}`", P::NAME);
        blocking(what, move || {
            if is_rebuild {
                runner.reset();
            } else if runner.catch_up_in_memory(position, true) {
                return Ok(runner);
            }
            runner.catch_up(position)?;
            if is_rebuild {
                runner.save_or_warn();
            }
            Ok(runner)
        })
        .await
    }
}
