//! Closing a store: it finishes work in flight, saves derived state, and releases the directory.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};

use crate::journal::{Directory, Journal};
use crate::threads::{Next, Turn, Turns, Worker};

/// The time that closing waits for process managers to finish their submitted commits, and for projections to finish theirs.
pub(super) const RUNNER_PATIENCE: Duration = Duration::from_secs(5);

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
    /// Tells the tasks to end.
    pub(super) closing: watch::Sender<bool>,
    /// Disconnected when all that commits has ended: process managers, and commands on their way between nodes.
    pub(super) runners: mpsc::Receiver<()>,
    /// Disconnected when the tasks of all projections have ended.
    pub(super) followers: mpsc::Receiver<()>,
    /// The time to wait for both.
    pub(super) patience: Duration,
    pub(super) savers: Vec<Saver>,
    /// The worker of the steps.
    pub(super) closer: Worker,
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
        steps.closing.send_replace(true);
        let begun = Instant::now();
        let journal = Arc::clone(&steps.journal);
        steps.closer.begin(Closing {
            begun,
            journal: steps.journal,
            runners: Some(steps.runners),
            followers: Some(steps.followers),
            patience: steps.patience,
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
    begun: Instant,
    journal: Arc<dyn Journal>,
    /// The process managers that it waits for.
    runners: Option<mpsc::Receiver<()>>,
    /// The projections that it waits for, when another node may lead.
    followers: Option<mpsc::Receiver<()>>,
    patience: Duration,
    rest: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Turns for Closing {
    fn turn(&mut self, turn: &Turn<'_>) -> Next {
        let waker = turn.waker();
        let mut context = Context::from_waker(&waker);
        let patience = self.patience.saturating_sub(self.begun.elapsed());
        let mut is_running = |tasks: &mut mpsc::Receiver<()>| {
            // No value is ever sent. The wait ends when the last task has ended or the patience is over.
            tasks.poll_recv(&mut context).is_pending() && !patience.is_zero()
        };
        if let Some(runners) = &mut self.runners {
            if is_running(runners) {
                return Next::Later(patience);
            }
            self.runners = None;
            self.journal.resign();
        }
        if let Some(followers) = &mut self.followers {
            if is_running(followers) {
                return Next::Later(patience);
            }
            self.followers = None;
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
