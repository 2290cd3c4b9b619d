//! The directories that this process is opening or releasing. One caller at a time does so.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::disk::Files;

/// The directory of a store, without links.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Directory(PathBuf);

/// The directories that this process is about to open or to release. The receiver turns true, or loses its sender, afterwards.
static CHANGING: Mutex<Vec<(Directory, watch::Receiver<bool>)>> = Mutex::new(Vec::new());

fn changing() -> MutexGuard<'static, Vec<(Directory, watch::Receiver<bool>)>> {
    CHANGING.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Directory {
    /// The directory at a path. Blocks.
    pub(super) fn at(files: &Files, base: &Path) -> Self {
        Self(files.canonical(base))
    }

    /// Makes other callers that open the directory wait until it is released.
    pub(crate) fn is_being_released(&self, released: watch::Receiver<bool>) {
        changing().push((self.clone(), released));
    }

    /// Forgets a directory that is released.
    pub(crate) fn was_released(released: &watch::Receiver<bool>) {
        changing().retain(|(_, other)| !other.same_channel(released));
    }
}

impl fmt::Display for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.display().fmt(f)
    }
}

/// The right to try to open a directory. One caller of this process has it at a time.
pub(super) struct Claim {
    _given_up: watch::Sender<bool>,
}

impl Claim {
    /// Waits until no other caller of this process is opening or releasing the directory.
    pub(super) async fn to(directory: &Directory) -> Self {
        loop {
            let busy = {
                let mut changing = changing();
                changing.retain(|(_, over)| !*over.borrow() && over.has_changed().is_ok());
                let busy = changing.iter().find(|(other, _)| other == directory);
                match busy {
                    Some((_, over)) => over.clone(),
                    None => {
                        let (given_up, over) = watch::channel(false);
                        changing.push((directory.clone(), over));
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
