//! A disk whose changes are in memory only.

mod file;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use file::{OverlayFile, OverlayHandle};

use super::{DirectoryEntry, Disk, DiskFile, DiskLock, OpenMode};

/// A disk that shows the content of the disk below, and keeps all changes in memory. Only reads reach the disk below.
///
/// The disk below must not change meanwhile. Memory holds the written bytes, not the files that they were written to. An open
/// file has one descriptor per handle. Locks and syncs succeed and do nothing. Directories cannot be renamed.
pub(crate) struct OverlayDisk {
    below: Arc<dyn Disk>,
    names: Arc<Mutex<Names>>,
}

#[derive(Default)]
struct Names {
    /// The entries that differ from the disk below, and directories that are known to exist.
    entries: BTreeMap<PathBuf, Entry>,
    /// The open files without changes. A change through one handle is visible through the others.
    unchanged: HashMap<PathBuf, Weak<OverlayFile>>,
}

impl Names {
    /// The open or changed file at `path`, if it exists.
    fn file(&self, path: &Path) -> Option<Arc<OverlayFile>> {
        match self.entries.get(path) {
            Some(Entry::File(file)) => Some(Arc::clone(file)),
            Some(Entry::Directory | Entry::Removed) => None,
            None => self.unchanged.get(path).and_then(Weak::upgrade),
        }
    }
}

enum Entry {
    File(Arc<OverlayFile>),
    Directory,
    Removed,
}

impl OverlayDisk {
    pub(crate) fn new(below: Arc<dyn Disk>) -> Self {
        Self {
            below,
            names: Arc::default(),
        }
    }

    fn names(&self) -> MutexGuard<'_, Names> {
        lock(&self.names)
    }

    fn is_directory(&self, names: &mut Names, path: &Path) -> io::Result<bool> {
        match names.entries.get(path) {
            Some(Entry::Directory) => return Ok(true),
            Some(Entry::File(_) | Entry::Removed) => return Ok(false),
            None => {}
        }
        match self.below.list(path) {
            Ok(_) => {
                names.entries.insert(path.to_owned(), Entry::Directory);
                Ok(true)
            }
            Err(error) if is_absent(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The file at `path`, if it exists.
    fn find(&self, names: &mut Names, path: &Path) -> io::Result<Option<Arc<OverlayFile>>> {
        match names.entries.get(path) {
            Some(Entry::File(file)) => return Ok(Some(Arc::clone(file))),
            Some(Entry::Directory) => return Err(io::ErrorKind::IsADirectory.into()),
            Some(Entry::Removed) => return Ok(None),
            None => {}
        }
        if let Some(file) = names.unchanged.get(path).and_then(Weak::upgrade) {
            return Ok(Some(file));
        }
        let file = match self.below.open(path, OpenMode::Read) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            // Some platforms do not open directories.
            Err(error) if self.is_directory(names, path)? => {
                return Err(io::Error::new(io::ErrorKind::IsADirectory, error));
            }
            Err(error) => return Err(error),
        };
        Ok(Some(Arc::new(OverlayFile::below(path, file.len()?))))
    }

    /// A new file at `path`.
    fn create(&self, names: &mut Names, path: &Path) -> io::Result<Arc<OverlayFile>> {
        self.require_parent(names, path)?;
        let file = Arc::new(OverlayFile::default());
        let entry = Entry::File(Arc::clone(&file));
        names.entries.insert(path.to_owned(), entry);
        Ok(file)
    }

    fn require_parent(&self, names: &mut Names, path: &Path) -> io::Result<()> {
        match path.parent() {
            Some(parent) if !self.is_directory(names, parent)? => {
                Err(io::ErrorKind::NotFound.into())
            }
            _ => Ok(()),
        }
    }

    fn refuse_directory(&self, names: &mut Names, path: &Path) -> io::Result<()> {
        if self.is_directory(names, path)? {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        Ok(())
    }
}

fn lock(names: &Mutex<Names>) -> MutexGuard<'_, Names> {
    names.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether the file or the directory is absent.
fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

impl Disk for OverlayDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Box<dyn DiskFile>> {
        let names = &mut *self.names();
        let is_writable = mode != OpenMode::Read;
        if is_writable {
            self.refuse_directory(names, path)?;
        }
        let file = match self.find(names, path)? {
            Some(file) => file,
            None if is_writable => self.create(names, path)?,
            None => return Err(io::ErrorKind::NotFound.into()),
        };
        let handle = OverlayHandle::new(Arc::clone(&file), self, is_writable)?;
        if is_writable {
            names.unchanged.remove(path);
            names.entries.insert(path.to_owned(), Entry::File(file));
        } else if !names.entries.contains_key(path) {
            names.unchanged.retain(|_, file| file.strong_count() > 0);
            let file = Arc::downgrade(&file);
            names.unchanged.insert(path.to_owned(), file);
        }
        if mode == OpenMode::Truncate {
            handle.set_len(0)?;
        }
        Ok(Box::new(handle))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        let names = &mut *self.names();
        let mut missing = Vec::new();
        for ancestor in path.ancestors() {
            if ancestor.as_os_str().is_empty() || self.is_directory(names, ancestor)? {
                break;
            }
            let is_taken = match names.entries.get(ancestor) {
                Some(Entry::File(_) | Entry::Directory) => true,
                Some(Entry::Removed) => false,
                None => match self.below.exists(ancestor) {
                    Err(error) if is_absent(&error) => false,
                    exists => exists?,
                },
            };
            if is_taken {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            missing.push(ancestor.to_owned());
        }
        let missing = missing.into_iter().map(|path| (path, Entry::Directory));
        names.entries.extend(missing);
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let names = &mut *self.names();
        self.refuse_directory(names, from)?;
        self.refuse_directory(names, to)?;
        let file = self.find(names, from)?;
        let file = file.ok_or(io::ErrorKind::NotFound)?;
        self.require_parent(names, to)?;
        names.unchanged.remove(from);
        names.unchanged.remove(to);
        names.entries.insert(from.to_owned(), Entry::Removed);
        names.entries.insert(to.to_owned(), Entry::File(file));
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let names = &mut *self.names();
        self.refuse_directory(names, path)?;
        if self.find(names, path)?.is_none() {
            return Err(io::ErrorKind::NotFound.into());
        }
        names.unchanged.remove(path);
        names.entries.insert(path.to_owned(), Entry::Removed);
        Ok(())
    }

    fn sync_dir(&self, _path: &Path) -> io::Result<()> {
        Ok(())
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        match self.names().entries.get(path) {
            Some(Entry::File(_) | Entry::Directory) => Ok(true),
            Some(Entry::Removed) => Ok(false),
            None => self.below.exists(path),
        }
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirectoryEntry>> {
        let names = self.names();
        let is_known = match names.entries.get(path) {
            Some(Entry::File(_)) => return Err(io::ErrorKind::NotADirectory.into()),
            Some(Entry::Removed) => return Err(io::ErrorKind::NotFound.into()),
            Some(Entry::Directory) => true,
            None => false,
        };
        let below = match self.below.list(path) {
            Err(error) if is_known && is_absent(&error) => Vec::new(),
            below => below?,
        };
        let mut found: BTreeMap<String, bool> = below
            .into_iter()
            .map(|entry| (entry.name, entry.is_directory))
            .collect();
        let within = names
            .entries
            .range::<Path, _>((Bound::Excluded(path), Bound::Unbounded))
            .take_while(|(entry, _)| entry.starts_with(path))
            .filter(|(entry, _)| entry.parent() == Some(path));
        for (entry, what) in within {
            let Some(name) = entry.file_name().and_then(|name| name.to_str()) else {
                continue;
            };
            match what {
                Entry::Removed => drop(found.remove(name)),
                Entry::File(_) => drop(found.insert(name.to_owned(), false)),
                Entry::Directory => drop(found.entry(name.to_owned()).or_insert(true)),
            }
        }
        let found = found.into_iter();
        Ok(found
            .map(|(name, is_directory)| DirectoryEntry { name, is_directory })
            .collect())
    }

    fn try_lock(&self, _path: &Path) -> io::Result<Option<Box<dyn DiskLock>>> {
        Ok(Some(Box::new(InMemory)))
    }
}

/// A lock on files in memory. No other process sees them, so that it does nothing.
struct InMemory;

impl DiskLock for InMemory {
    fn is_at(&self, _path: &Path) -> io::Result<bool> {
        Ok(true)
    }
}
