use std::io;
use std::path::Path;

use eventfold_es::disk::{DirectoryEntry, Disk, DiskFile, DiskLock, OpenMode, SystemDisk};

/// A file system that is mounted read-only: what is there can be opened for reading, synced and found.
#[derive(Debug, Clone, Copy)]
pub struct ReadOnlyDisk {
    /// What changing anything comes to, as a number of the operating system.
    pub errno: i32,
    /// What syncing a directory comes to, if that fails.
    pub sync_errno: Option<i32>,
}

impl Default for ReadOnlyDisk {
    fn default() -> Self {
        Self {
            errno: 30,
            sync_errno: None,
        }
    }
}

impl ReadOnlyDisk {
    fn refused<T>(self) -> io::Result<T> {
        Err(io::Error::from_raw_os_error(self.errno))
    }
}

impl Disk for ReadOnlyDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Box<dyn DiskFile>> {
        match mode {
            OpenMode::Read => SystemDisk.open(path, mode),
            OpenMode::Write | OpenMode::Truncate => self.refused(),
        }
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        if path.is_dir() {
            Ok(())
        } else {
            self.refused()
        }
    }

    fn rename(&self, _: &Path, _: &Path) -> io::Result<()> {
        self.refused()
    }

    fn remove_file(&self, _: &Path) -> io::Result<()> {
        self.refused()
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirectoryEntry>> {
        SystemDisk.list(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        match self.sync_errno {
            Some(errno) => Err(io::Error::from_raw_os_error(errno)),
            None => SystemDisk.sync_dir(path),
        }
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        SystemDisk.exists(path)
    }

    fn try_lock(&self, path: &Path) -> io::Result<Option<Box<dyn DiskLock>>> {
        SystemDisk.try_lock(path)
    }
}
