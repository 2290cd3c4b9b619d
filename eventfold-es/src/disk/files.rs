use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use super::{DirectoryEntry, Disk, DiskFile, DiskLock, OpenMode, OverlayDisk};

/// A failed file operation: the attempt, the file, and the error of the operating system.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}: {source}", path.display())]
#[non_exhaustive]
pub struct FileError {
    /// The attempt, as a verb.
    pub action: &'static str,
    /// The file or directory.
    pub path: PathBuf,
    /// The error of the operating system.
    pub source: io::Error,
}

const SYNC: &str = "sync";
const SYNC_DIRECTORY: &str = "sync the directory";
const LOOK_FOR: &str = "look for";
/// The maximum size of a read that is not limited to the length of the file.
const UNCHECKED_BYTES: u64 = 1 << 20;

impl FileError {
    pub(crate) fn new(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self {
            action,
            path: path.to_owned(),
            source,
        }
    }

    /// Whether the operation was a sync. After a failed sync, the content of the disk is unknown, and a later success proves
    /// nothing about it.
    pub(crate) fn is_failed_sync(&self) -> bool {
        matches!(self.action, SYNC | SYNC_DIRECTORY)
    }

    /// Whether the file system is read-only, for all processes.
    pub(crate) fn is_read_only(&self) -> bool {
        self.source.kind() == io::ErrorKind::ReadOnlyFilesystem
    }

    pub(crate) fn is_not_found(&self) -> bool {
        self.source.kind() == io::ErrorKind::NotFound
    }
}

/// The path from the root of the file system.
pub(crate) fn absolute(path: &Path) -> Result<PathBuf, FileError> {
    std::path::absolute(path).map_err(|error| FileError::new("find", path, error))
}

/// The disk, with errors that name the file.
#[derive(Clone)]
pub(crate) struct Files {
    disk: Arc<dyn Disk>,
}

impl Files {
    pub(crate) fn new(disk: Arc<dyn Disk>) -> Self {
        Self { disk }
    }

    /// The same files, with every change in memory only.
    pub(crate) fn overlaid(&self) -> Self {
        Self::new(Arc::new(OverlayDisk::new(Arc::clone(&self.disk))))
    }

    pub(crate) fn open(&self, path: &Path, mode: OpenMode) -> Result<FileHandle, FileError> {
        let file = retried(|| self.disk.open(path, mode))
            .map_err(|error| FileError::new("open", path, error))?;
        Ok(FileHandle {
            file,
            path: path.to_owned(),
        })
    }

    /// The whole content, or `None` if the file does not exist.
    pub(crate) fn read(&self, path: &Path) -> Result<Option<Vec<u8>>, FileError> {
        let file = match self.open(path, OpenMode::Read) {
            Ok(file) => file,
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) => return Err(error),
        };
        let length = file.len()?;
        file.read_range(0, length).map(Some)
    }

    pub(crate) fn create_dir_all(&self, path: &Path) -> Result<(), FileError> {
        retried(|| self.disk.create_dir_all(path))
            .map_err(|error| FileError::new("create the directory", path, error))
    }

    /// Creates a directory and the directories above it, one level at a time, each durable before the next. After a crash, only
    /// the deepest existing directory may not be durable, and it is synced first.
    pub(crate) fn create_dir_durably(&self, path: &Path) -> Result<(), FileError> {
        let mut missing = Vec::new();
        for directory in path.ancestors() {
            if self.exists(directory)? {
                self.sync_name(directory)?;
                break;
            }
            missing.push(directory);
        }
        for directory in missing.into_iter().rev() {
            self.create_dir_all(directory)?;
            self.sync_name(directory)?;
        }
        Ok(())
    }

    /// Makes the name of a directory durable. A parent without read permission cannot be synced, and the store did not change
    /// it.
    fn sync_name(&self, directory: &Path) -> Result<(), FileError> {
        let Some(parent) = directory.parent() else {
            return Ok(());
        };
        match self.sync_dir(parent) {
            Err(error) if error.source.kind() == io::ErrorKind::PermissionDenied => Ok(()),
            synced => synced,
        }
    }

    pub(crate) fn rename(&self, from: &Path, to: &Path) -> Result<(), FileError> {
        retried(|| self.disk.rename(from, to)).map_err(|error| FileError::new("replace", to, error))
    }

    /// Gives a file a second name; `false` if that is impossible. For example, some file systems have no links, and none has
    /// links across devices.
    pub(crate) fn hard_link(&self, from: &Path, to: &Path) -> bool {
        retried(|| self.disk.hard_link(from, to)).is_ok()
    }

    /// Removes a file, if it exists.
    pub(crate) fn remove(&self, path: &Path) -> Result<(), FileError> {
        match retried(|| self.disk.remove_file(path)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(FileError::new("remove", path, error))
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn sync_dir(&self, path: &Path) -> Result<(), FileError> {
        retried(|| self.disk.sync_dir(path))
            .map_err(|error| FileError::new(SYNC_DIRECTORY, path, error))
    }

    pub(crate) fn exists(&self, path: &Path) -> Result<bool, FileError> {
        retried(|| self.disk.exists(path)).map_err(|error| FileError::new(LOOK_FOR, path, error))
    }

    /// The canonical path of a directory, which may not exist. The existing part has no links.
    pub(crate) fn canonical(&self, path: &Path) -> PathBuf {
        let mut missing = Vec::new();
        let mut existing = Some(path);
        while let Some(at) = existing {
            if let Ok(mut found) = retried(|| self.disk.canonical(at)) {
                for component in missing.into_iter().rev() {
                    match component {
                        // A missing component cannot be a link.
                        Component::ParentDir => drop(found.pop()),
                        component => found.push(component),
                    }
                }
                return found;
            }
            missing.extend(at.components().next_back());
            existing = at.parent();
        }
        path.to_owned()
    }

    /// The entries of a directory, by name; none if there is no such directory.
    pub(crate) fn list(&self, path: &Path) -> Result<Vec<DirectoryEntry>, FileError> {
        match retried(|| self.disk.list(path)) {
            Ok(mut entries) => {
                entries.sort();
                Ok(entries)
            }
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) =>
            {
                Ok(Vec::new())
            }
            Err(error) => Err(FileError::new("list the directory", path, error)),
        }
    }

    pub(crate) fn try_lock(&self, path: &Path) -> Result<Option<LockHandle>, FileError> {
        let lock = retried(|| self.disk.try_lock(path))
            .map_err(|error| FileError::new("lock", path, error))?;
        Ok(lock.map(|lock| LockHandle {
            lock,
            path: path.to_owned(),
        }))
    }
}

/// Retries a call that a signal has interrupted.
fn retried<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

fn gone(path: &Path) -> FileError {
    let reason = "it was removed, renamed or replaced while the store was open. Put it back and open the store again; \
                  commands since then are only where it is now";
    FileError::new("go on with", path, io::Error::other(reason))
}

/// A locked file or directory that knows its path.
pub(crate) struct LockHandle {
    lock: Box<dyn DiskLock>,
    path: PathBuf,
}

impl LockHandle {
    /// Whether its path still leads to it.
    pub(crate) fn is_in_place(&self) -> Result<bool, FileError> {
        retried(|| self.lock.is_at(&self.path))
            .map_err(|error| FileError::new(LOOK_FOR, &self.path, error))
    }

    /// The error for further use if the path leads elsewhere.
    pub(crate) fn gone(&self) -> FileError {
        gone(&self.path)
    }
}

/// An open file that knows its path.
pub(crate) struct FileHandle {
    file: Box<dyn DiskFile>,
    path: PathBuf,
}

impl FileHandle {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The same file under its new name.
    pub(crate) fn renamed(self, path: &Path) -> Self {
        Self {
            file: self.file,
            path: path.to_owned(),
        }
    }

    pub(crate) fn len(&self) -> Result<u64, FileError> {
        retried(|| self.file.len()).map_err(|error| self.error("measure", error))
    }

    /// Reads `length` bytes from `offset`, or fewer if the file ends before.
    pub(crate) fn read_range(&self, offset: u64, length: u64) -> Result<Vec<u8>, FileError> {
        let mut bytes = Vec::new();
        self.read_into(offset, length, &mut bytes)?;
        Ok(bytes)
    }

    /// [`read_range`](Self::read_range), in place of the content of `bytes`.
    pub(crate) fn read_into(
        &self,
        offset: u64,
        length: u64,
        bytes: &mut Vec<u8>,
    ) -> Result<(), FileError> {
        // A length from a damaged place may exceed the memory.
        let length = match length > UNCHECKED_BYTES {
            true => length.min(self.len()?.saturating_sub(offset)),
            false => length,
        };
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if bytes.capacity() < length {
            // The system has zeroed memory.
            *bytes = vec![0; length];
        }
        bytes.resize(length, 0);
        let filled = self.read_to(bytes, offset)?;
        bytes.truncate(filled);
        Ok(())
    }

    /// Fills the bytes with those from `offset` on. The result is their number, which is smaller if the file ends before.
    pub(crate) fn read_to(&self, bytes: &mut [u8], offset: u64) -> Result<usize, FileError> {
        let mut filled = 0;
        while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match retried(|| self.file.read_at(rest, offset + filled as u64)) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) => return Err(self.error("read", error)),
            }
        }
        Ok(filled)
    }

    pub(crate) fn write_all_at(&self, bytes: &[u8], offset: u64) -> Result<(), FileError> {
        let mut written = 0;
        while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
            match retried(|| self.file.write_at(rest, offset + written as u64)) {
                Ok(0) => return Err(self.error("write", io::ErrorKind::WriteZero.into())),
                Ok(count) => written += count,
                Err(error) => return Err(self.error("write", error)),
            }
        }
        Ok(())
    }

    pub(crate) fn set_len(&self, length: u64) -> Result<(), FileError> {
        retried(|| self.file.set_len(length))
            .map_err(|error| self.error("set the length of", error))
    }

    pub(crate) fn sync_data(&self) -> Result<(), FileError> {
        retried(|| self.file.sync_data()).map_err(|error| self.error(SYNC, error))
    }

    /// Whether its path still leads to it.
    pub(crate) fn is_in_place(&self) -> Result<bool, FileError> {
        retried(|| self.file.is_at(&self.path)).map_err(|error| self.error(LOOK_FOR, error))
    }

    /// The error for further use if the path leads elsewhere.
    pub(crate) fn gone(&self) -> FileError {
        gone(&self.path)
    }

    fn error(&self, action: &'static str, source: io::Error) -> FileError {
        FileError::new(action, &self.path, source)
    }
}
