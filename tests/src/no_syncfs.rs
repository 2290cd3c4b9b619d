//! A disk of a platform that cannot sync a file system as a whole, so that each file and each directory is synced on its own.

use std::io;
use std::path::Path;

use eventfold_es::disk::{DirectoryEntry, Disk, DiskFile, DiskLock, OpenMode, SystemDisk};

/// The file system without `syncfs`.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoSyncfs;

impl Disk for NoSyncfs {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Box<dyn DiskFile>> {
        SystemDisk.open(path, mode)
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        SystemDisk.create_dir_all(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        SystemDisk.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        SystemDisk.remove_file(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        SystemDisk.sync_dir(path)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        SystemDisk.exists(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirectoryEntry>> {
        SystemDisk.list(path)
    }

    fn try_lock(&self, path: &Path) -> io::Result<Option<Box<dyn DiskLock>>> {
        let lock = SystemDisk.try_lock(path)?;
        Ok(lock.map(|lock| Box::new(Lock(lock)) as Box<dyn DiskLock>))
    }
}

struct Lock(Box<dyn DiskLock>);

impl DiskLock for Lock {
    fn is_at(&self, path: &Path) -> io::Result<bool> {
        self.0.is_at(path)
    }

    fn sync_file_system(&self) -> io::Result<bool> {
        Ok(false)
    }
}
