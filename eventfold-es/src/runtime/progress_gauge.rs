//! The progress of a projection, for readers that do not wait until it has caught up.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::watch;

/// The progress of a projection.
#[derive(Debug)]
pub(crate) struct ProjectionGauge {
    /// The position of the last event that it has seen, including the events that are none of its own.
    position: watch::Sender<u64>,
    /// The position of the last event that has changed it.
    changed: watch::Sender<u64>,
    state: Mutex<State>,
}

#[derive(Debug, Clone, Default)]
struct State {
    /// Whether its state exists, though it may have seen no event yet.
    has_begun: bool,
    failure: Option<String>,
    has_stopped: bool,
    rebuild: Option<RebuildProgress>,
    /// The flags of the rebuilds that are wanted: one may wait for the end of another.
    cancel_rebuild: Vec<Weak<AtomicBool>>,
    skipped: u64,
}

/// The progress of a rebuild.
///
/// # JSON
///
/// ```json
/// {"position":300,"of":1204}
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct RebuildProgress {
    /// The position up to which the new state is made.
    pub position: u64,
    /// The position that it has to reach.
    pub of: u64,
}

impl Default for ProjectionGauge {
    fn default() -> Self {
        Self {
            position: watch::Sender::new(0),
            changed: watch::Sender::new(0),
            state: Mutex::default(),
        }
    }
}

impl ProjectionGauge {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn position(&self) -> u64 {
        *self.position.borrow()
    }

    pub(crate) fn positions(&self) -> watch::Receiver<u64> {
        self.position.subscribe()
    }

    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// The reason why the projection does not advance.
    pub(crate) fn failure(&self) -> Option<String> {
        self.state().failure.clone()
    }

    pub(crate) fn has_begun(&self) -> bool {
        self.state().has_begun
    }

    pub(crate) fn has_stopped(&self) -> bool {
        self.state().has_stopped
    }

    pub(crate) fn rebuild(&self) -> Option<RebuildProgress> {
        self.state().rebuild
    }

    pub(crate) fn skipped(&self) -> u64 {
        self.state().skipped
    }

    /// The projection is about to try again.
    pub(crate) fn is_resumed(&self) {
        self.state().has_stopped = false;
    }

    /// Notes the flag that cancels a rebuild.
    pub(crate) fn can_cancel(&self, flag: &Arc<AtomicBool>) {
        let flags = &mut self.state().cancel_rebuild;
        flags.retain(|flag| flag.strong_count() > 0);
        flags.push(Arc::downgrade(flag));
    }

    /// Cancels all rebuilds.
    pub(crate) fn cancel_rebuild(&self) {
        for flag in self.state().cancel_rebuild.iter().filter_map(Weak::upgrade) {
            flag.store(true, Ordering::Release);
        }
    }

    pub(super) fn is_at(&self, position: u64) {
        self.state().has_begun = true;
        self.position.send_replace(position);
    }

    pub(super) fn has_changed(&self, position: u64) {
        self.changed.send_replace(position);
    }

    pub(super) fn fails(&self, failure: Option<String>, has_stopped: bool) {
        let mut state = self.state();
        state.failure = failure;
        state.has_stopped = has_stopped;
        drop(state);
        // Whoever waits for a position looks at the failure.
        self.position.send_modify(|_| {});
    }

    pub(super) fn rebuilds(&self, progress: Option<RebuildProgress>) {
        self.state().rebuild = progress;
    }

    pub(super) fn has_skipped(&self, skipped: u64) {
        self.state().skipped = skipped;
    }
}
