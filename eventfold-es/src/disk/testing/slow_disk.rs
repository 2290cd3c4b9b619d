use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::disk::{DirectoryEntry, Disk, DiskFile, DiskLock, OpenMode};

/// A disk on which each sync of a file takes at least a given time, as on a real disk. Other calls go through to the disk
/// below.
///
/// A store lets reactions join the batch of their command for a moment that is shorter than a sync. On a disk whose syncs
/// take no time, for example a disk in memory, no reaction joins.
#[derive(Clone)]
pub struct SlowDisk {
    inner: Arc<dyn Disk>,
    sync_time: Duration,
}

impl SlowDisk {
    /// Each sync of a file takes at least `sync_time`.
    #[must_use]
    pub fn new(inner: Arc<dyn Disk>, sync_time: Duration) -> Self {
        Self { inner, sync_time }
    }
}

impl Disk for SlowDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(SlowFile {
            inner: self.inner.open(path, mode)?,
            sync_time: self.sync_time,
        }))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.inner.create_dir_all(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.inner.rename(from, to)
    }

    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.inner.hard_link(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.inner.remove_file(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.inner.sync_dir(path)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.inner.exists(path)
    }

    fn canonical(&self, path: &Path) -> io::Result<PathBuf> {
        self.inner.canonical(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirectoryEntry>> {
        self.inner.list(path)
    }

    fn try_lock(&self, path: &Path) -> io::Result<Option<Box<dyn DiskLock>>> {
        self.inner.try_lock(path)
    }
}

struct SlowFile {
    inner: Box<dyn DiskFile>,
    sync_time: Duration,
}

impl DiskFile for SlowFile {
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.inner.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.inner.write_at(bytes, offset)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.inner.set_len(length)
    }

    fn sync_data(&self) -> io::Result<()> {
        thread::sleep(self.sync_time);
        self.inner.sync_data()
    }

    fn is_at(&self, path: &Path) -> io::Result<bool> {
        self.inner.is_at(path)
    }
}
