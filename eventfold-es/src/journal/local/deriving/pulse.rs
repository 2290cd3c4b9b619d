//! The journal's last writes to the disk: their times, and the reason why the last one failed.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::clock::StoreClock;

/// The times of the last sync and the last checkpoint, in milliseconds since 1970; 0 for never.
#[derive(Debug, Default)]
pub(in crate::journal::local) struct Pulse {
    sync: AtomicU64,
    checkpoint: AtomicU64,
    /// The reason why the last write of commits failed; none if it did not.
    failure: Mutex<Option<Arc<str>>>,
}

impl Pulse {
    pub(in crate::journal::local) fn synced(&self, clock: &StoreClock) {
        self.sync.store(clock.now_ms(), Ordering::Relaxed);
        clock.warn_if_it_stands();
    }

    pub(in crate::journal::local) fn took_checkpoint(&self, clock: &StoreClock) {
        self.checkpoint.store(clock.now_ms(), Ordering::Relaxed);
    }

    pub(in crate::journal::local) fn last_sync(&self) -> Option<u64> {
        Some(self.sync.load(Ordering::Relaxed)).filter(|time| *time > 0)
    }

    pub(in crate::journal::local) fn last_checkpoint(&self) -> Option<u64> {
        Some(self.checkpoint.load(Ordering::Relaxed)).filter(|time| *time > 0)
    }

    /// The last write of commits succeeded, or failed for this reason.
    pub(in crate::journal::local) fn wrote(&self, failure: Option<Arc<str>>) {
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = failure;
    }

    pub(in crate::journal::local) fn failure(&self) -> Option<Arc<str>> {
        let failure = self.failure.lock();
        failure.unwrap_or_else(PoisonError::into_inner).clone()
    }
}
