//! A disk in memory.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::disk::{CrashImage, DirectoryEntry, Disk, DiskFile, DiskLock, OpenMode, OverlayDisk};
use crate::store::{AggregateStore, AggregateStoreBuilder};

/// A disk in memory. A store on it works as on a file system, and leaves nothing behind.
///
/// Its content lives as long as the disk: you can open a closed store again. A clone is the same disk. It loses
/// nothing, so syncs have no effect. For losses use [`for_each_crash_point`](super::for_each_crash_point).
///
/// # Examples
///
/// ```
/// use eventfold_es::prelude::*;
/// use eventfold_es::testing::MemoryDisk;
/// # #[derive(Debug, Clone, Serialize, Deserialize)]
/// # pub enum LampCommand { Switch }
/// # #[derive(Debug, Clone, Serialize, Deserialize, DomainEvent)]
/// # #[serde(tag = "type", content = "data")]
/// # pub enum LampEvent { Switched }
/// # #[aggregate(error = std::convert::Infallible)]
/// # #[derive(Debug, Clone, Default, Serialize, Deserialize)]
/// # pub struct Lamp { on: bool }
/// # impl Decider for Lamp {
/// #     fn decide(&self, _: LampCommand) -> Result<Vec<LampEvent>, std::convert::Infallible> { Ok(vec![LampEvent::Switched]) }
/// #     fn evolve(&mut self, _: &LampEvent) { self.on = !self.on; }
/// # }
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), eventfold_es::Error> {
/// let disk = MemoryDisk::new();
/// let store = disk.builder().open().await?;
/// store.send("hall", LampCommand::Switch, ()).await?;
/// store.close().await?;
///
/// let store = disk.builder().open().await?;
/// assert!(store.get::<Lamp>("hall").await?.state().await?.on);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct MemoryDisk {
    overlay: Arc<OverlayDisk>,
    root: PathBuf,
    locked: Arc<Mutex<HashSet<PathBuf>>>,
}

impl Default for MemoryDisk {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for MemoryDisk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemoryDisk")
            .field("root", &self.root)
            .finish_non_exhaustive()
    }
}

impl MemoryDisk {
    /// An empty disk.
    #[must_use]
    pub fn new() -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        // The path must be absolute: this process identifies a store by it.
        let root = PathBuf::from(format!("/eventfold-es-in-memory-{number}"));
        Self {
            overlay: Arc::new(OverlayDisk::new(Arc::new(Empty))),
            root: std::path::absolute(&root).unwrap_or(root),
            locked: Arc::default(),
        }
    }

    /// A disk that holds `image` at its [`root`](Self::root).
    ///
    /// # Errors
    ///
    /// Errors of writing the image, which should not occur.
    pub fn holding(image: &CrashImage) -> io::Result<Self> {
        let disk = Self::new();
        disk.create_dir_all(&disk.root)?;
        for path in image.directories() {
            disk.create_dir_all(&disk.root.join(path))?;
        }
        for (path, bytes) in image.files() {
            let file = disk.open(&disk.root.join(path), OpenMode::Truncate)?;
            let mut written = 0;
            while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
                match file.write_at(rest, written as u64)? {
                    0 => return Err(io::ErrorKind::WriteZero.into()),
                    count => written += count,
                }
            }
        }
        Ok(disk)
    }

    /// The directory of its stores. No other disk in memory has the same directory.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The builder of a store on it.
    pub fn builder(&self) -> AggregateStoreBuilder {
        AggregateStore::builder(&self.root).disk(Arc::new(self.clone()))
    }
}

impl Disk for MemoryDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Box<dyn DiskFile>> {
        self.overlay.open(path, mode)
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.overlay.create_dir_all(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.overlay.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.overlay.remove_file(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.overlay.sync_dir(path)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.overlay.exists(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirectoryEntry>> {
        self.overlay.list(path)
    }

    fn try_lock(&self, path: &Path) -> io::Result<Option<Box<dyn DiskLock>>> {
        if !self.overlay.exists(path)? {
            return Err(io::ErrorKind::NotFound.into());
        }
        let mut locked = self.locked.lock().unwrap_or_else(PoisonError::into_inner);
        if !locked.insert(path.to_owned()) {
            return Ok(None);
        }
        Ok(Some(Box::new(MemoryLock {
            path: path.to_owned(),
            locked: Arc::clone(&self.locked),
        })))
    }
}

struct MemoryLock {
    path: PathBuf,
    locked: Arc<Mutex<HashSet<PathBuf>>>,
}

impl DiskLock for MemoryLock {
    // Directories in memory are neither renamed nor removed, so the lock stays in place.
    fn is_at(&self, path: &Path) -> io::Result<bool> {
        Ok(path == self.path)
    }
}

impl Drop for MemoryLock {
    fn drop(&mut self) {
        let mut locked = self.locked.lock().unwrap_or_else(PoisonError::into_inner);
        locked.remove(&self.path);
    }
}

/// The base of a disk in memory: an empty root directory.
struct Empty;

impl Disk for Empty {
    fn open(&self, _path: &Path, _mode: OpenMode) -> io::Result<Box<dyn DiskFile>> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn create_dir_all(&self, _path: &Path) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn rename(&self, _from: &Path, _to: &Path) -> io::Result<()> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn remove_file(&self, _path: &Path) -> io::Result<()> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn sync_dir(&self, _path: &Path) -> io::Result<()> {
        Ok(())
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        Ok(path.parent().is_none())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirectoryEntry>> {
        if path.parent().is_none() {
            Ok(Vec::new())
        } else {
            Err(io::ErrorKind::NotFound.into())
        }
    }

    fn try_lock(&self, _path: &Path) -> io::Result<Option<Box<dyn DiskLock>>> {
        Ok(None)
    }
}
