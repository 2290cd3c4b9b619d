//! The times of the journal's last writes to the disk.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::clock::StoreClock;

/// The times of the last sync and the last checkpoint, in milliseconds since 1970; 0 for never.
#[derive(Debug, Default)]
pub(in crate::journal::local) struct Pulse {
    sync: AtomicU64,
    checkpoint: AtomicU64,
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
}
