use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
#[cfg(unix)]
use std::time::{Duration, Instant};

use super::{DirectoryEntry, Disk, DiskFile, DiskLock, OpenMode};

/// The maximum time to wait for a file descriptor that a sync needs.
#[cfg(unix)]
const DESCRIPTOR_PATIENCE: Duration = Duration::from_secs(5);
/// The interval between two attempts.
#[cfg(unix)]
const DESCRIPTOR_POLL: Duration = Duration::from_millis(1);

/// The file system of the operating system.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemDisk;

impl Disk for SystemDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Box<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        options.read(true);
        match mode {
            OpenMode::Read => {}
            OpenMode::Write => {
                options.write(true).create(true).truncate(false);
            }
            OpenMode::Truncate => {
                options.write(true).create(true).truncate(true);
            }
        }
        Ok(Box::new(options.open(path)?))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::hard_link(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    #[cfg(unix)]
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        open_directory(path)?.sync_all()
    }

    // Windows makes directory entries durable with the file, and offers no handle to sync.
    #[cfg(not(unix))]
    fn sync_dir(&self, _path: &Path) -> io::Result<()> {
        Ok(())
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        path.try_exists()
    }

    fn canonical(&self, path: &Path) -> io::Result<PathBuf> {
        path.canonicalize()
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirectoryEntry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            if let Ok(name) = entry.file_name().into_string() {
                let is_directory = entry.file_type()?.is_dir();
                entries.push(DirectoryEntry { name, is_directory });
            }
        }
        Ok(entries)
    }

    fn try_lock(&self, path: &Path) -> io::Result<Option<Box<dyn DiskLock>>> {
        #[cfg(unix)]
        let locked = File::open(path)?;
        #[cfg(not(unix))]
        let locked = lockable(path)?;
        match locked.try_lock() {
            Ok(()) => Ok(Some(Box::new(SystemLock(locked)))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

/// The file that is locked in place of a directory, where directories cannot be opened.
#[cfg(not(unix))]
fn lockable(path: &Path) -> io::Result<File> {
    if !path.is_dir() {
        return File::open(path);
    }
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    options.open(path.join(".lock"))
}

/// Whether `path` leads to the open file or directory, by device and inode.
#[cfg(unix)]
fn leads_to(path: &Path, open: &File) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;

    let found = match fs::metadata(path) {
        Err(error) if is_absent(&error) => return Ok(false),
        found => found?,
    };
    let open = open.metadata()?;
    Ok((found.dev(), found.ino()) == (open.dev(), open.ino()))
}

// The standard library cannot compare files on this platform.
#[cfg(not(unix))]
fn leads_to(path: &Path, _open: &File) -> io::Result<bool> {
    match path.try_exists() {
        Err(error) if is_absent(&error) => Ok(false),
        found => found,
    }
}

/// Whether the name leads nowhere.
fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

/// Opens a directory for a sync. Without a free descriptor, it waits for one: a rename cannot be undone, and an unsynced
/// directory counts as a failed sync.
#[cfg(unix)]
fn open_directory(path: &Path) -> io::Result<File> {
    const ENFILE: i32 = 23;
    const EMFILE: i32 = 24;
    let begun = Instant::now();
    loop {
        match File::open(path) {
            Err(error)
                if matches!(error.raw_os_error(), Some(ENFILE | EMFILE))
                    && begun.elapsed() < DESCRIPTOR_PATIENCE =>
            {
                std::thread::sleep(DESCRIPTOR_POLL);
            }
            opened => return opened,
        }
    }
}

impl DiskFile for File {
    fn len(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    #[cfg(unix)]
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        std::os::unix::fs::FileExt::read_at(self, buffer, offset)
    }

    #[cfg(windows)]
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        std::os::windows::fs::FileExt::seek_read(self, buffer, offset)
    }

    #[cfg(unix)]
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        std::os::unix::fs::FileExt::write_at(self, bytes, offset)
    }

    #[cfg(windows)]
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        std::os::windows::fs::FileExt::seek_write(self, bytes, offset)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        File::set_len(self, length)
    }

    fn sync_data(&self) -> io::Result<()> {
        File::sync_data(self)
    }

    fn is_at(&self, path: &Path) -> io::Result<bool> {
        leads_to(path, self)
    }
}

struct SystemLock(File);

impl Drop for SystemLock {
    // A child process that another thread is starting holds a copy of the descriptor for a moment, and would keep the lock.
    fn drop(&mut self) {
        let _ = self.0.unlock();
    }
}

impl DiskLock for SystemLock {
    fn is_at(&self, path: &Path) -> io::Result<bool> {
        leads_to(path, &self.0)
    }
}
