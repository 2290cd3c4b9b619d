//! Calls that take time: an event handler, driven by the engine of process managers.
//!
//! The machine handles an event in one step. A call of an event handler takes time, so the driver makes it before: the step receives the
//! outcome of the call in place of a call of user code. Everything else is shared: commits, the judge of failures, holds, dead letters,
//! operators.
//!
//! | room | holds |
//! |---|---|
//! | [`window`] | events that were read and are not stored as handled: which of them may be called now |
//! | [`handler`] | one call of user code: its guard, its time-out |
//! | [`turns`] | the await loop: reads ahead, calls, takes outcomes in the order of the journal |
//! | [`errand`] | held work and dead letters, called again one after the other |
//!
//! Outcomes are committed in the order of the journal. If an older call takes longer than [`PATIENCE`], it is **deferred**: its key holds
//! the event in a row, as if it were being released. The call continues, and later events of other keys are committed. So progress is one
//! position, as that of a process manager, and a crash leaves a release to continue.

mod errand;
mod handler;
mod turns;
mod window;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use super::Shown;
use super::operator::Answer;
use crate::journal::RecordedCommit;
use errand::Errand;
pub(crate) use handler::AnyHandler;
pub(super) use handler::Handler;
use handler::Outcome;
#[cfg(feature = "testing")]
pub(crate) use handler::call;
use window::Window;

/// The time that finished calls wait for an older call.
const PATIENCE: Duration = Duration::from_millis(100);
/// The number of events without commands after which progress is stored.
const BATCH: usize = 1024;
/// The longest time between the end of a call without commands and the commit of the progress.
const BATCH_TIME: Duration = Duration::from_millis(100);

/// The place that a running call belongs to.
#[derive(Debug, Clone, Copy)]
enum Job {
    /// An event of the window, by its number.
    Event(u64),
    /// An errand, by its number.
    Errand(u64),
}

/// See the [module](self).
pub(super) struct Calls {
    handler: Option<Handler>,
    window: Window<Shown, Outcome>,
    errands: Vec<Errand>,
    next_errand: u64,
    running: JoinSet<(Job, Outcome)>,
    /// Commits that were read, and whose events do not fit into the window yet.
    unread: VecDeque<Arc<RecordedCommit>>,
    /// The position up to which events are in the window, or are handled.
    read_to: u64,
    /// The number of events handled without a commit since then, and the time of the first of them.
    handled: usize,
    since: Option<Instant>,
    /// Requests to start due retries, each with their number. They are answered when the retries have ended.
    fired: Vec<(Answer<usize>, usize)>,
}

impl Calls {
    pub(super) fn new(handler: Option<Handler>, position: u64) -> Self {
        Self {
            handler,
            window: Window::default(),
            errands: Vec::new(),
            next_errand: 0,
            running: JoinSet::new(),
            unread: VecDeque::new(),
            read_to: position,
            handled: 0,
            since: None,
            fired: Vec::new(),
        }
    }

    /// Whether the reactions are calls.
    pub(super) fn are_made(&self) -> bool {
        self.handler.is_some()
    }

    /// Drops all calls, to continue after `position`.
    pub(super) fn go_back(&mut self, position: u64) {
        if self.are_made() {
            *self = Self::new(self.handler.take(), position);
        }
    }

    /// The first deferred event: everything before it is handled.
    pub(super) fn deferred(&self) -> Option<u64> {
        self.errands
            .iter()
            .filter_map(|errand| errand.deferred)
            .min()
    }
}
