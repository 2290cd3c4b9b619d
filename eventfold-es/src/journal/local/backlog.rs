//! How much of what is durable has not reached the files derived from the journal.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use super::streams::lock;

/// How many bytes of the journal may wait; while more do and files cannot be written, commits are refused.
const MAX_BYTES: usize = 64 << 20;
/// How often somebody who waits looks whether the files can be written again.
const POLL: Duration = Duration::from_millis(100);
/// From how many bytes on it does not wait for more, at most.
const GATHERED_BYTES: u64 = 16 << 20;

pub(super) struct Backlog {
    /// How long what is durable gathers before it goes to its files, so that each of them is opened and written once for many
    /// commits.
    gathering: Duration,
    /// From how many bytes on nothing more gathers.
    gathered_bytes: usize,
    state: Mutex<BacklogState>,
    changed: Condvar,
    /// Notified when what has gathered is to be written now.
    urgent: Condvar,
}

#[derive(Default)]
struct BacklogState {
    bytes: usize,
    handed_over: u64,
    done: u64,
    /// Why the files cannot be written now.
    failure: Option<Arc<str>>,
    /// How many wait for what is written.
    waiting: usize,
    is_closing: bool,
}

impl Backlog {
    /// Of a store whose files are archived from `max_log_size` bytes on; 0 for never.
    pub(super) fn new(gathering: Duration, max_log_size: u64) -> Self {
        // Files that are archived early are not to grow far beyond that meanwhile.
        let gathered_bytes = match max_log_size {
            0 => GATHERED_BYTES,
            max => GATHERED_BYTES.min(max / 4),
        };
        Self {
            gathering,
            gathered_bytes: usize::try_from(gathered_bytes).unwrap_or(usize::MAX),
            state: Mutex::default(),
            changed: Condvar::new(),
            urgent: Condvar::new(),
        }
    }

    fn is_urgent(&self, state: &BacklogState) -> bool {
        state.bytes >= self.gathered_bytes || state.waiting > 0 || state.is_closing
    }

    pub(super) fn add(&self, bytes: usize) {
        let mut state = lock(&self.state);
        let was_urgent = self.is_urgent(&state);
        state.bytes += bytes;
        state.handed_over += 1;
        if self.is_urgent(&state) && !was_urgent {
            self.urgent.notify_all();
        }
    }

    /// Lets more gather for a while, unless somebody waits for it or it is much.
    pub(super) fn gather(&self) {
        let state = lock(&self.state);
        drop(
            self.urgent
                .wait_timeout_while(state, self.gathering, |state| !self.is_urgent(state))
                .unwrap_or_else(PoisonError::into_inner),
        );
    }

    pub(super) fn done(&self, bytes: usize, jobs: u64) {
        let mut state = lock(&self.state);
        state.bytes = state.bytes.saturating_sub(bytes);
        state.done += jobs;
        state.failure = None;
        self.changed.notify_all();
    }

    pub(super) fn failed(&self, reason: &str) {
        lock(&self.state).failure = Some(reason.into());
        self.changed.notify_all();
    }

    /// Nothing more is added: what cannot be written now is left to the next opening.
    pub(super) fn close(&self) {
        lock(&self.state).is_closing = true;
        self.urgent.notify_all();
    }

    pub(super) fn is_closing(&self) -> bool {
        lock(&self.state).is_closing
    }

    /// Waits until there is room; the reason if there is none and files cannot be written.
    pub(super) fn wait_for_room(&self) -> Result<(), Arc<str>> {
        self.wait_until(|state| state.bytes <= MAX_BYTES)
    }

    /// Waits until everything that was handed over before this call is written; the reason if files cannot be written.
    pub(super) fn wait_until_written(&self) -> Result<(), Arc<str>> {
        let target = lock(&self.state).handed_over;
        self.wait_until(|state| state.done >= target)
    }

    fn wait_until(&self, reached: impl Fn(&BacklogState) -> bool) -> Result<(), Arc<str>> {
        let mut state = lock(&self.state);
        if reached(&state) {
            return Ok(());
        }
        state.waiting += 1;
        self.urgent.notify_all();
        let mut result = Ok(());
        while !reached(&state) {
            if let Some(reason) = &state.failure {
                result = Err(Arc::clone(reason));
                break;
            }
            (state, _) = self
                .changed
                .wait_timeout(state, POLL)
                .unwrap_or_else(PoisonError::into_inner);
        }
        state.waiting -= 1;
        result
    }
}
