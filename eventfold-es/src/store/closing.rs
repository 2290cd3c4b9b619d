//! Opening a directory and closing it: one caller of this process at a time. When it closes, what is in flight is finished, derived
//! state is saved, and the directory is released.

use std::path::{Path, PathBuf};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{oneshot, watch};

use crate::clock::Clock;
use crate::disk::{FileError, Files};
use crate::error::{OpenError, StoreError};
use crate::journal::Journal;
use crate::journal::local::{JournalOptions, LocalJournal, RecoveryError, RecoveryReport};

/// How long closing waits for process managers to finish what they have handed over.
const RUNNER_PATIENCE: Duration = Duration::from_secs(5);

/// The directories that this process is about to open or to release, without links; a receiver turns true, or loses its sender, when that is
/// over.
static CHANGING: Mutex<Vec<(PathBuf, watch::Receiver<bool>)>> = Mutex::new(Vec::new());

fn changing() -> MutexGuard<'static, Vec<(PathBuf, watch::Receiver<bool>)>> {
    CHANGING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes those who want to open the directory wait until it is released.
fn announce(path: PathBuf, released: watch::Receiver<bool>) {
    changing().push((path, released));
}

/// The right to try to open a directory, which one caller of this process has at a time.
struct Claim {
    _given_up: watch::Sender<bool>,
}

impl Claim {
    /// Waits until nobody in this process is opening the directory or about to release it.
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

/// Runs code that blocks on a thread of its own. Without room for one it is an error, where the pool of tokio panics.
async fn on_a_thread<T: Send + 'static>(
    directory: &Path,
    run: impl FnOnce() -> T + Send + 'static,
) -> Result<T, OpenError> {
    let (done, result) = oneshot::channel();
    std::thread::Builder::new()
        .name("eventfold-es-open".to_owned())
        // Nobody may wait for it any more: what it has opened is closed then.
        .spawn(move || drop(done.send(run())))
        .map_err(|error| FileError::new("start a thread for", directory, error))?;
    // Its code does not panic, unless a disk of a test does.
    Ok(result.await.map_err(|_| StoreError::RuntimeGone)?)
}

/// A journal that belongs to nobody yet: it is closed again when it is dropped, and whoever wants to open the directory next
/// waits for that.
pub(super) struct OpenedJournal {
    /// Where the directory is, without links.
    place: PathBuf,
    journal: Arc<LocalJournal>,
    is_kept: bool,
    /// While its future may have been dropped without anybody knowing.
    claim: Option<Claim>,
}

impl OpenedJournal {
    /// Opens the journal of a directory on a thread of its own.
    ///
    /// Cancel safe: what is opened after the future was dropped is closed again.
    pub(super) async fn open(
        files: Files,
        base: &Path,
        options: JournalOptions,
        clock: Arc<dyn Clock>,
    ) -> Result<(Self, RecoveryReport), OpenError> {
        let path = base.to_owned();
        let looking = files.clone();
        let place = on_a_thread(base, move || looking.canonical(&path)).await?;
        let claim = Claim::to(&place).await;
        let path = base.to_owned();
        let span = tracing::Span::current();
        let opening = on_a_thread(base, move || {
            let _entered = span.enter();
            let (journal, report) = LocalJournal::open(files, &path, &options, clock)?;
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

    /// The journal, which the caller closes, and where its directory is.
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

/// Saves derived state; blocks.
pub(super) type Saver = Box<dyn FnOnce() + Send>;

/// Ends a store when it is dropped.
pub(super) struct Shutdown {
    steps: Option<Steps>,
    released: watch::Receiver<bool>,
}

pub(super) struct Steps {
    /// Where the directory is, without links.
    pub(super) place: PathBuf,
    pub(super) journal: Arc<dyn Journal>,
    /// Tells the tasks to end.
    pub(super) closing: watch::Sender<bool>,
    /// Disconnected when all process managers have ended.
    pub(super) runners: Receiver<()>,
    pub(super) savers: Vec<Saver>,
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
        let journal = Arc::clone(&steps.journal);
        let spawned = std::thread::Builder::new()
            .name("eventfold-es-close".to_owned())
            .spawn(move || steps.run());
        if let Err(error) = spawned {
            // Nothing is lost: derived state is found again in the journal.
            tracing::warn!(%error, "no thread could be started to close the store in order");
            journal.close();
        }
    }
}

impl Drop for Shutdown {
    fn drop(&mut self) {
        self.begin();
    }
}

impl Steps {
    fn run(self) {
        let begun = Instant::now();
        self.closing.send_replace(true);
        // Nothing is ever sent: this returns when the last runner has ended, or patience has.
        let _ = self.runners.recv_timeout(RUNNER_PATIENCE);
        for save in self.savers {
            save();
        }
        self.journal.close();
        let mut released = self.journal.closed();
        while !*released.borrow_and_update() {
            if released.has_changed().is_err() {
                break;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        changing().retain(|(_, other)| !other.same_channel(&released));
        tracing::info!(
            path = %self.place.display(),
            position = *self.journal.durable().borrow(),
            ms = millis(begun.elapsed()),
            "the store is closed"
        );
    }
}

/// Whole milliseconds, for the log.
pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
