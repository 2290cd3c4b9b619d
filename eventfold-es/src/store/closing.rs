//! Closing a store: it finishes work in flight, saves derived state, and releases the directory.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};

use crate::journal::{Directory, Journal};
use crate::sabotage::{Bug, planted};
use crate::threads::{Next, Turn, Turns, Worker};

/// The time that closing waits for the tasks of a [`Stage`], beside the time for their calls.
const PATIENCE: Duration = Duration::from_secs(5);

/// Saves derived state after the last change; blocks.
pub(super) type Saver = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Ends a store when it is dropped.
pub(super) struct Shutdown {
    steps: Option<Steps>,
    released: watch::Receiver<bool>,
}

pub(super) struct Steps {
    pub(super) directory: Directory,
    pub(super) journal: Arc<dyn Journal>,
    pub(super) stages: Stages,
    pub(super) savers: Vec<Saver>,
    /// The worker of the steps.
    pub(super) closer: Worker,
}

/// The tasks of a store, in the order in which they end.
pub(super) struct Stages {
    /// Event handlers. A call takes its time, so everything else goes on until it has returned.
    pub(super) handlers: Stage,
    /// Everything else that commits: process managers, schedules, and commands on their way between nodes. Behind it, another node may lead.
    pub(super) runners: Stage,
    /// Projections.
    pub(super) followers: Stage,
}

/// Tasks that end together.
pub(super) struct Stage {
    closing: watch::Sender<bool>,
    /// Disconnected when all of them have ended.
    ended: mpsc::Receiver<()>,
    patience: Duration,
    begun: Option<Instant>,
}

/// The part of a [`Stage`] that each of its tasks has.
#[derive(Clone)]
pub(super) struct Staged {
    /// Turns true when the task has to end.
    pub(super) closing: watch::Receiver<bool>,
    /// The store waits until it is dropped.
    pub(super) alive: mpsc::Sender<()>,
}

impl Stage {
    /// `calls` is the time to wait for calls of user code.
    pub(super) fn new(calls: Duration) -> (Self, Staged) {
        let (closing, is_closing) = watch::channel(false);
        let (alive, ended) = mpsc::channel(1);
        let stage = Self {
            closing,
            ended,
            patience: PATIENCE.saturating_add(calls),
            begun: None,
        };
        let staged = Staged {
            closing: is_closing,
            alive,
        };
        (stage, staged)
    }

    /// Tells the tasks to end, once. Returns the time to wait for them, or `None` when they have ended or that time is over.
    fn end(&mut self, context: &mut Context<'_>) -> Option<Duration> {
        let begun = *self.begun.get_or_insert_with(|| {
            self.closing.send_replace(true);
            Instant::now()
        });
        let patience = self.patience.saturating_sub(begun.elapsed());
        // No value is ever sent.
        let is_running = self.ended.poll_recv(context).is_pending();
        (is_running && !patience.is_zero()).then_some(patience)
    }
}

impl Shutdown {
    pub(super) fn new(steps: Steps) -> Self {
        Self {
            released: steps.journal.closed(),
            steps: Some(steps),
        }
    }

    pub(super) fn add_saver(&mut self, saver: Saver) {
        if let Some(steps) = &mut self.steps {
            steps.savers.push(saver);
        }
    }

    /// Whether it has begun to close.
    pub(super) fn has_begun(&self) -> bool {
        self.steps.is_none()
    }

    /// Turns true when the directory is released.
    pub(super) fn released(&self) -> watch::Receiver<bool> {
        self.released.clone()
    }

    /// Begins to close, in the background; does nothing the second time.
    pub(super) fn begin(&mut self) {
        let Some(steps) = self.steps.take() else {
            return;
        };
        steps.directory.is_being_released(self.released.clone());
        let begun = Instant::now();
        let journal = Arc::clone(&steps.journal);
        steps.closer.begin(Closing {
            journal: steps.journal,
            stages: steps.stages,
            has_resigned: false,
            rest: Box::pin(close(begun, steps.directory, journal, steps.savers)),
        });
    }
}

impl Drop for Shutdown {
    fn drop(&mut self) {
        self.begin();
    }
}

/// A closing store. It waits for others without a thread, since they may need the thread.
struct Closing {
    journal: Arc<dyn Journal>,
    stages: Stages,
    has_resigned: bool,
    rest: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Closing {
    /// Lets another node lead; does nothing the second time.
    fn resign(&mut self) {
        if !std::mem::replace(&mut self.has_resigned, true) {
            self.journal.resign();
        }
    }
}

impl Turns for Closing {
    fn turn(&mut self, turn: &Turn<'_>) -> Next {
        let waker = turn.waker();
        let mut context = Context::from_waker(&waker);
        if planted(Bug::ResignedWithWork) {
            self.resign();
        }
        let Stages {
            handlers, runners, ..
        } = &mut self.stages;
        for stage in [handlers, runners] {
            if let Some(patience) = stage.end(&mut context) {
                return Next::Later(patience);
            }
        }
        if !planted(Bug::ResignedBehindSaving) {
            self.resign();
        }
        if let Some(patience) = self.stages.followers.end(&mut context) {
            return Next::Later(patience);
        }
        match self.rest.as_mut().poll(&mut context) {
            Poll::Pending => Next::Idle,
            Poll::Ready(()) => Next::Ended,
        }
    }

    fn panicked(&mut self) {
        // Nothing is lost: the next recovery derives this state from the journal again.
        self.journal.close();
    }
}

/// Closes a store whose process managers and projections have ended.
async fn close(
    begun: Instant,
    directory: Directory,
    journal: Arc<dyn Journal>,
    savers: Vec<Saver>,
) {
    for saver in savers {
        saver.await;
    }
    journal.close();
    let mut released = journal.closed();
    // An error means that the sender is dropped.
    let _ = released.wait_for(|released| *released).await;
    Directory::was_released(&released);
    tracing::info!(
        path = %directory,
        position = *journal.durable().borrow(),
        ms = millis(begun.elapsed()),
        "the store is closed"
    );
}

/// Whole milliseconds, for the log.
pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
