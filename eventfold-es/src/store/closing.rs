//! Closing: what is in flight is finished, derived state is saved, and the directory is released.

use std::path::{Path, PathBuf};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use crate::journal::Journal;

/// How long closing waits for process managers to finish what they have handed over.
const RUNNER_PATIENCE: Duration = Duration::from_secs(5);

/// The directories that stores of this process are about to release.
static CLOSING: Mutex<Vec<(PathBuf, watch::Receiver<bool>)>> = Mutex::new(Vec::new());

fn closing() -> MutexGuard<'static, Vec<(PathBuf, watch::Receiver<bool>)>> {
    CLOSING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits until a store of this process that was dropped has released the directory.
pub(super) async fn wait_for_release(path: &Path) {
    let released = closing()
        .iter()
        .rev()
        .find(|(closing, _)| closing == path)
        .map(|(_, released)| released.clone());
    if let Some(mut released) = released {
        // An error means that the sender is gone, and with it the lock.
        let _ = released.wait_for(|released| *released).await;
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
    pub(super) path: PathBuf,
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

    /// Turns true when the directory is released.
    pub(super) fn released(&self) -> watch::Receiver<bool> {
        self.released.clone()
    }

    /// Begins to close, in the background; does nothing the second time.
    pub(super) fn begin(&mut self) {
        let Some(steps) = self.steps.take() else {
            return;
        };
        closing().push((steps.path.clone(), self.released.clone()));
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
        closing().retain(|(_, other)| !other.same_channel(&released));
    }
}
