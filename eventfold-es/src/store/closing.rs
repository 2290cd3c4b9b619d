//! Opening and closing a directory, by one caller of this process at a time. Closing finishes work in flight, saves derived
//! state, and releases the directory.

use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};

use crate::clock::Clock;
use crate::disk::Files;
use crate::error::{OpenError, StoreError};
use crate::journal::local::{JournalOptions, LocalJournal, RecoveryError, RecoveryReport};
use crate::journal::{Journal, Maintenance};
use crate::threads::{Next, StoreRuntime, Turn, Turns, Worker};

/// The time that closing waits for process managers to finish their submitted commits.
const RUNNER_PATIENCE: Duration = Duration::from_secs(5);

/// The directories that this process is about to open or to release, without links. The receiver turns true, or loses its
/// sender, afterwards.
static CHANGING: Mutex<Vec<(PathBuf, watch::Receiver<bool>)>> = Mutex::new(Vec::new());

fn changing() -> MutexGuard<'static, Vec<(PathBuf, watch::Receiver<bool>)>> {
    CHANGING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes other callers that open the directory wait until it is released.
fn announce(path: PathBuf, released: watch::Receiver<bool>) {
    changing().push((path, released));
}

/// The right to try to open a directory. One caller of this process has it at a time.
struct Claim {
    _given_up: watch::Sender<bool>,
}

impl Claim {
    /// Waits until no other caller of this process is opening or releasing the directory.
    async fn to(path: &Path) -> Self {
        loop {
            let busy = {
                let mut changing = changing();
                changing.retain(|(_, over)| !*over.borrow() && over.has_changed().is_ok());
                let busy = changing.iter().find(|(other, _)| other == path);
                match busy {
                    Some((_, over)) => over.clone(),
                    None => {
                        let (given_up, over) = watch::channel(false);
                        changing.push((path.to_owned(), over));
                        return Self {
                            _given_up: given_up,
                        };
                    }
                }
            };
            let mut over = busy;
            // An error means that the sender is gone.
            let _ = over.wait_for(|over| *over).await;
        }
    }
}

/// Runs code that blocks.
async fn run<T: Send + 'static>(
    threads: &StoreRuntime,
    directory: &Path,
    run: impl FnOnce() -> T + Send + 'static,
) -> Result<T, OpenError> {
    let result = threads.run(directory, run)?;
    // Its code does not panic, unless a disk of a test does.
    Ok(result.await.map_err(|_| StoreError::RuntimeGone)?)
}

/// A journal without an owner. Dropping it closes the journal, and the next caller that opens the directory waits for that.
pub(super) struct OpenedJournal {
    /// The path of the directory, without links.
    place: PathBuf,
    journal: Arc<LocalJournal>,
    is_kept: bool,
    /// Guards the time in which its future may have been dropped unnoticed.
    claim: Option<Claim>,
}

impl OpenedJournal {
    /// Opens the journal of a directory.
    ///
    /// Cancel safe: a journal that is opened after the future was dropped is closed again.
    pub(super) async fn open(
        files: Files,
        base: &Path,
        options: JournalOptions,
        clock: Arc<dyn Clock>,
        threads: &StoreRuntime,
    ) -> Result<(Self, RecoveryReport), OpenError> {
        let path = base.to_owned();
        let looking = files.clone();
        let place = run(threads, base, move || looking.canonical(&path)).await?;
        let claim = Claim::to(&place).await;
        let path = base.to_owned();
        let span = tracing::Span::current();
        let shared = threads.clone();
        let opening = run(threads, base, move || {
            let _entered = span.enter();
            let (journal, report) = LocalJournal::open(files, &path, &options, clock, &shared)?;
            let opened = Self {
                place,
                journal: Arc::new(journal),
                is_kept: false,
                claim: Some(claim),
            };
            Ok::<_, RecoveryError>((opened, report))
        });
        let (mut opened, report) = opening.await??;
        opened.claim = None;
        Ok((opened, report))
    }

    /// The journal, which the caller closes, and the path of its directory.
    pub(super) fn keep(mut self) -> (Arc<LocalJournal>, PathBuf) {
        self.is_kept = true;
        (Arc::clone(&self.journal), self.place.clone())
    }

    pub(super) fn journal(&self) -> &Arc<LocalJournal> {
        &self.journal
    }

    /// Closes it, and waits until the directory is released.
    pub(super) async fn close(self) {
        let mut closed = self.journal.closed();
        drop(self);
        // An error means that the sender is gone, and with it the lock on the directory.
        let _ = closed.wait_for(|closed| *closed).await;
    }
}

impl Drop for OpenedJournal {
    fn drop(&mut self) {
        if !self.is_kept {
            // Before the claim is given up.
            announce(self.place.clone(), self.journal.closed());
            self.journal.close();
        }
    }
}

/// Saves derived state after the last change; blocks.
pub(super) type Saver = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Ends a store when it is dropped.
pub(super) struct Shutdown {
    steps: Option<Steps>,
    released: watch::Receiver<bool>,
}

pub(super) struct Steps {
    /// The path of the directory, without links.
    pub(super) place: PathBuf,
    pub(super) journal: Arc<dyn Journal>,
    /// Tells the tasks to end.
    pub(super) closing: watch::Sender<bool>,
    /// Disconnected when all process managers have ended.
    pub(super) runners: mpsc::Receiver<()>,
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
        announce(steps.place.clone(), self.released.clone());
        steps.closing.send_replace(true);
        let begun = Instant::now();
        let journal = Arc::clone(&steps.journal);
        steps.closer.begin(Closing {
            begun,
            journal: steps.journal,
            runners: Some(steps.runners),
            rest: Box::pin(close(begun, steps.place, journal, steps.savers)),
        });
    }
}

impl Drop for Shutdown {
    fn drop(&mut self) {
        self.begin();
    }
}

/// A closing store. It waits for others without a thread, since they may need that.
struct Closing {
    begun: Instant,
    journal: Arc<dyn Journal>,
    /// The tasks it waits for.
    runners: Option<mpsc::Receiver<()>>,
    rest: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Turns for Closing {
    fn turn(&mut self, turn: &Turn<'_>) -> Next {
        let waker = turn.waker();
        let mut context = Context::from_waker(&waker);
        if let Some(runners) = &mut self.runners {
            let patience = RUNNER_PATIENCE.saturating_sub(self.begun.elapsed());
            // Nothing is ever sent: this is over when the last runner has ended, or patience has.
            if runners.poll_recv(&mut context).is_pending() && !patience.is_zero() {
                return Next::Later(patience);
            }
            self.runners = None;
        }
        match self.rest.as_mut().poll(&mut context) {
            Poll::Pending => Next::Idle,
            Poll::Ready(()) => Next::Ended,
        }
    }

    fn panicked(&mut self) {
        // Nothing is lost: derived state is found again in the journal.
        self.journal.close();
    }
}

/// Closes a store whose process managers have ended.
async fn close(begun: Instant, place: PathBuf, journal: Arc<dyn Journal>, savers: Vec<Saver>) {
    for saver in savers {
        saver.await;
    }
    journal.close();
    let mut released = journal.closed();
    // An error means that the sender is gone.
    let _ = released.wait_for(|released| *released).await;
    changing().retain(|(_, other)| !other.same_channel(&released));
    tracing::info!(
        path = %place.display(),
        position = *journal.durable().borrow(),
        ms = millis(begun.elapsed()),
        "the store is closed"
    );
}

/// Whole milliseconds, for the log.
pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
