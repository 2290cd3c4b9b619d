use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::StoreError;
use crate::runtime::blocking;

/// Stops long work when its caller no longer waits for it.
#[derive(Default)]
pub(super) struct StopOnDrop(Arc<AtomicBool>);

impl StopOnDrop {
    /// The flag for the work: `true` once the caller no longer waits.
    pub(super) fn flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.0)
    }

    /// Does blocking work. The work returns nothing only if it is stopped.
    pub(super) async fn run<T, E>(
        &self,
        what: &'static str,
        work: impl FnOnce(&AtomicBool) -> Result<Option<T>, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let is_stopped = self.flag();
        let done = blocking(|| what.to_owned(), move || Ok(work(&is_stopped)));
        // Only dropping `self` stops the work.
        done.await??.ok_or_else(|| StoreError::RuntimeGone.into())
    }
}

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
