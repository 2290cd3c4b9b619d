use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// A directory that is gone when this is dropped; on a file system in memory where there is one, since nothing that these
/// tests find depends on a real device.
#[must_use]
pub fn scratch() -> TempDir {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() {
        tempfile::tempdir_in(memory)
    } else {
        tempfile::tempdir()
    };
    made.or_else(|_| tempfile::tempdir())
        .expect("a temporary directory")
}

/// A fresh directory for each of many checks.
pub struct Place {
    root: TempDir,
    next: u64,
}

impl Default for Place {
    fn default() -> Self {
        Self {
            root: scratch(),
            next: 0,
        }
    }
}

impl Place {
    /// A directory that does not exist yet.
    pub fn fresh(&mut self) -> PathBuf {
        self.next += 1;
        self.root.path().join(self.next.to_string())
    }
}
