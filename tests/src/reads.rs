//! A disk that counts the bytes which are read from its files.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use eventfold_es::disk::{DirectoryEntry, Disk, DiskFile, DiskLock, OpenMode, SystemDisk};

/// The file system, which counts what is read of the journal and of the index.
#[derive(Debug, Clone, Default)]
pub struct CountingDisk {
    journal: Arc<AtomicU64>,
    index: Arc<AtomicU64>,
}

impl CountingDisk {
    /// The bytes that were read of the journal and of the index since the last call.
    #[must_use]
    pub fn take(&self) -> (u64, u64) {
        let taken = |count: &AtomicU64| count.swap(0, Ordering::Relaxed);
        (taken(&self.journal), taken(&self.index))
    }

    /// Waits until nobody reads of the index any more: an opened store goes on with the merges that are due.
    ///
    /// # Errors
    ///
    /// If that takes longer than ten seconds.
    pub fn wait_until_quiet(&self) -> io::Result<()> {
        // The store rests for 20 milliseconds between two steps of a merge.
        let rest = Duration::from_millis(400);
        for _ in 0..25 {
            self.index.store(0, Ordering::Relaxed);
            thread::sleep(rest);
            if self.index.load(Ordering::Relaxed) == 0 {
                return Ok(());
            }
        }
        Err(io::Error::other("the index is read all the time"))
    }
}

impl Disk for CountingDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Box<dyn DiskFile>> {
        let file = SystemDisk.open(path, mode)?;
        let directory = path.parent().map(Path::to_owned).unwrap_or_default();
        let count = match directory {
            of if of.ends_with("meta/journal") => &self.journal,
            of if of.ends_with("meta/index") => &self.index,
            _ => return Ok(file),
        };
        let count = Arc::clone(count);
        Ok(Box::new(CountedFile { file, count }))
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
        SystemDisk.try_lock(path)
    }
}

struct CountedFile {
    file: Box<dyn DiskFile>,
    count: Arc<AtomicU64>,
}

impl DiskFile for CountedFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let read = self.file.read_at(buffer, offset)?;
        self.count.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.file.write_at(bytes, offset)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.file.set_len(length)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn is_at(&self, path: &Path) -> io::Result<bool> {
        self.file.is_at(path)
    }
}
