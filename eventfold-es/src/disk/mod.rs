//! The disk seam: the store reaches every file through [`Disk`], so that a test can fail, tear, reorder and drop writes.

mod atomic;
mod files;
mod overlay;
mod sealed;
mod system;
#[cfg(feature = "testing")]
mod testing;

use std::io;
use std::path::{Path, PathBuf};

use atomic::replace_file;
pub use files::FileError;
pub(crate) use files::{FileHandle, Files, LockHandle, absolute};
pub(crate) use overlay::OverlayDisk;
pub(crate) use sealed::{SealError, SealedFile};
pub use system::SystemDisk;
#[cfg(feature = "testing")]
pub use testing::{
    CrashImage, DiskModel, DiskOp, Failure, Fault, FaultyDisk, FileId, Hit, LogError, Mark,
    Operation, Recording, RecordingDisk, SECTOR, SlowDisk, SplitMix64, Survival,
};

/// The mode in which a file is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenMode {
    /// Opens an existing file for reading.
    Read,
    /// Opens a file for reading and writing. A missing file is created empty; the content of an existing file stays.
    Write,
    /// Opens a file for writing. A missing file is created; an existing file is emptied.
    Truncate,
}

/// An entry of a directory.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DirectoryEntry {
    /// Its name in the directory.
    pub name: String,
    /// Whether it is a directory itself. A link to a directory is not.
    pub is_directory: bool,
}

/// The operations of a file system that the store uses. Each is one step that can fail or be lost on its own.
///
/// Calls block. The store makes them on the threads of its [`StoreRuntime`](crate::StoreRuntime), or on the blocking pool of the
/// tokio runtime.
pub trait Disk: Send + Sync + 'static {
    /// Opens a file.
    ///
    /// # Errors
    ///
    /// Those of the file system, including `NotFound`.
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Box<dyn DiskFile>>;

    /// Creates a directory and its parents; nothing is synced.
    ///
    /// # Errors
    ///
    /// Those of the file system.
    fn create_dir_all(&self, path: &Path) -> io::Result<()>;

    /// Replaces `to` by `from`. The change is not durable before the directory is synced.
    ///
    /// # Errors
    ///
    /// Those of the file system.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Gives the file at `from` a second name, `to`, which must not exist. The change is not durable before the directory is
    /// synced. The default does not support links: the store then copies the file.
    ///
    /// # Errors
    ///
    /// Those of the file system, including `CrossesDevices` and `Unsupported`.
    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let _ = (from, to);
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Removes a file. The change is not durable before the directory is synced.
    ///
    /// # Errors
    ///
    /// Those of the file system, including `NotFound`.
    fn remove_file(&self, path: &Path) -> io::Result<()>;

    /// Makes the entries of a directory durable.
    ///
    /// # Errors
    ///
    /// Those of the file system.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;

    /// Whether a file or directory exists at `path`.
    ///
    /// # Errors
    ///
    /// Those of the file system.
    fn exists(&self, path: &Path) -> io::Result<bool>;

    /// The path of an existing file or directory, without links and `..`: two paths to one directory give the same result. The
    /// default returns `path`, for disks without links.
    ///
    /// # Errors
    ///
    /// Those of the file system, including `NotFound`.
    fn canonical(&self, path: &Path) -> io::Result<PathBuf> {
        Ok(path.to_owned())
    }

    /// The entries of a directory, in any order. Names that are not UTF-8 are left out, because the store creates none.
    ///
    /// # Errors
    ///
    /// Those of the file system, including `NotFound`.
    fn list(&self, path: &Path) -> io::Result<Vec<DirectoryEntry>>;

    /// Takes an exclusive lock on the file or directory at `path`; `None` if another holder has it. The lock ends when the
    /// result is dropped or the process ends.
    ///
    /// On Unix the lock is on the directory itself, independent of its name and its files. Where directories cannot be locked,
    /// it is on the file `.lock` in the directory, which is created.
    ///
    /// # Errors
    ///
    /// Those of the file system, including `NotFound`.
    fn try_lock(&self, path: &Path) -> io::Result<Option<Box<dyn DiskLock>>>;
}

/// An open file.
#[allow(clippy::len_without_is_empty, reason = "a file is no collection")]
pub trait DiskFile: Send + Sync {
    /// Its length in bytes.
    ///
    /// # Errors
    ///
    /// Those of the file system.
    fn len(&self) -> io::Result<u64>;

    /// Reads up to `buffer.len()` bytes from `offset`; 0 at the end.
    ///
    /// # Errors
    ///
    /// Those of the file system.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes some bytes at `offset`, and returns their number.
    ///
    /// # Errors
    ///
    /// Those of the file system.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize>;

    /// Cuts the file, or extends it with zeros.
    ///
    /// # Errors
    ///
    /// Those of the file system.
    fn set_len(&self, length: u64) -> io::Result<()>;

    /// Makes its data and length durable.
    ///
    /// # Errors
    ///
    /// Those of the file system.
    fn sync_data(&self) -> io::Result<()>;

    /// Whether `path` leads to this file: `false` if there is no file, or a different file.
    ///
    /// If the platform does not distinguish files, it is `true` for any file.
    ///
    /// # Errors
    ///
    /// Those of the file system.
    fn is_at(&self, path: &Path) -> io::Result<bool>;
}

/// A file or directory that is open and locked.
pub trait DiskLock: Send + Sync {
    /// Whether `path` leads to the locked file or directory; see [`DiskFile::is_at`].
    ///
    /// # Errors
    ///
    /// Those of the file system.
    fn is_at(&self, path: &Path) -> io::Result<bool>;
}
