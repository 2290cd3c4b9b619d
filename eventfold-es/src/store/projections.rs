//! Projections, caught up when they are asked for.

use std::any::{TypeId, type_name};
use std::sync::Arc;

use super::AggregateStore;
use crate::error::StoreError;
use crate::projection::Projection;
use crate::runtime::{ProjectionRunner, blocking};

impl AggregateStore {
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
}
