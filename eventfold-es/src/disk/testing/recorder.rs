mod operations;

use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::crash_image::CrashImage;
use super::model::DiskModel;
use super::namespace::{Namespace, Node};
use super::op::{DiskOp, FileId};
use super::recording::Recording;
use crate::disk::{Disk, SystemDisk};

/// A disk that performs every operation below one directory for real, and logs each operation that changes data or makes it
/// durable.
///
/// A mutex is held while an operation is performed and logged, so that the log has the order of the effects. Reads do not wait
/// for it. A failed operation counts as without effect, except that a failed sync is logged as such. A write is logged with the
/// bytes that it wrote.
///
/// Changes outside of the directory are refused. So is a file that was created or removed without this disk. A clone is the
/// same disk.
///
/// For a workload with many syncs, put the directory on a file system in memory. The syncs are then logged but take no time.
///
/// # Examples
///
/// ```
/// use eventfold_es::disk::{CrashImage, Disk, OpenMode, RecordingDisk};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let directory = tempfile::tempdir()?;
/// let disk = RecordingDisk::new(directory.path())?;
/// let file = disk.open(&directory.path().join("a"), OpenMode::Write)?;
/// file.write_at(b"one", 0)?;
/// file.sync_data()?;
/// disk.mark("one");
/// file.write_at(b"two", 3)?;
///
/// let recording = disk.recording();
/// assert_eq!(recording.len(), 4);
/// assert_eq!(recording.marks()[0].at, 3);
/// // Killed when the last write was half done.
/// let killed = CrashImage::killed(&recording.until(3, 1))?;
/// assert_eq!(killed.file("a"), Some(&b"onet"[..]));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct RecordingDisk {
    inner: Arc<dyn Disk>,
    shared: Arc<Shared>,
}

struct Shared {
    root: PathBuf,
    canonical: PathBuf,
    /// The disk that finally performs the operations, below any disk that was put over it.
    ground: Arc<dyn Disk>,
    log: Mutex<Log>,
}

struct Log {
    recording: Recording,
    namespace: Namespace,
    next_file: u64,
}

impl RecordingDisk {
    /// Records all operations below `root`, which must exist. Its content counts as durable, as after a power loss.
    ///
    /// # Errors
    ///
    /// Those of the file system, when `root` is read.
    pub fn new(root: &Path) -> io::Result<Self> {
        let image = CrashImage::read(root)?;
        Self::begin(&image, Arc::new(SystemDisk), root, root.canonicalize()?)
    }

    /// Records all operations below `root` on `inner`, which need not be a file system of the operating system. `root` must not
    /// exist on it.
    ///
    /// # Errors
    ///
    /// `AlreadyExists` if `root` exists.
    pub fn on(inner: Arc<dyn Disk>, root: &Path) -> io::Result<Self> {
        if inner.exists(root)? {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        inner.create_dir_all(root)?;
        Self::begin(&CrashImage::default(), inner, root, root.to_owned())
    }

    /// As [`on`](Self::on), for a disk on which `root` already holds `image`, which counts as durable.
    ///
    /// # Errors
    ///
    /// None, if the image is consistent.
    pub fn on_image(inner: Arc<dyn Disk>, root: &Path, image: &CrashImage) -> io::Result<Self> {
        Self::begin(image, inner, root, root.to_owned())
    }

    fn begin(
        image: &CrashImage,
        inner: Arc<dyn Disk>,
        root: &Path,
        canonical: PathBuf,
    ) -> io::Result<Self> {
        let mut ops = Vec::new();
        ops.extend(image.directories().map(|path| DiskOp::CreateDir {
            path: path.to_owned(),
        }));
        for (number, (path, bytes)) in image.files().enumerate() {
            let file = FileId(number as u64);
            let path = path.to_owned();
            ops.push(DiskOp::CreateFile {
                path: path.clone(),
                file,
            });
            if !bytes.is_empty() {
                ops.push(DiskOp::Write {
                    path,
                    file,
                    offset: 0,
                    bytes: bytes.into(),
                });
            }
        }
        if !ops.is_empty() {
            ops.push(DiskOp::SyncFileSystem);
        }
        let model = DiskModel::replay(&ops)?;
        let recording = Recording::begin(ops);
        Ok(Self::with_log(inner, root, canonical, recording, model))
    }

    /// Continues at the end of a recording, like the next process after a kill. `root` has the image of the kill
    /// ([`CrashImage::killed`]), and unsynced data is still not durable.
    ///
    /// # Examples
    ///
    /// ```
    /// use eventfold_es::disk::{CrashImage, Disk, OpenMode, RecordingDisk, Survival};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let (first, second) = (tempfile::tempdir()?, tempfile::tempdir()?);
    /// let disk = RecordingDisk::new(first.path())?;
    /// let file = disk.open(&first.path().join("a"), OpenMode::Write)?;
    /// disk.sync_dir(first.path())?;
    /// file.write_at(b"x", 0)?;
    ///
    /// // Killed before the sync, and opened again: the byte is there, but it is not durable.
    /// let killed = disk.recording();
    /// CrashImage::killed(&killed)?.materialise(second.path())?;
    /// let disk = RecordingDisk::continue_from(killed, second.path())?;
    /// let file = disk.open(&second.path().join("a"), OpenMode::Write)?;
    /// assert_eq!(file.len()?, 1);
    /// let lost = CrashImage::power_loss(&disk.recording(), &Survival::Nothing)?;
    /// assert_eq!(lost.file("a"), Some(&b""[..]));
    ///
    /// file.sync_data()?;
    /// let kept = CrashImage::power_loss(&disk.recording(), &Survival::Nothing)?;
    /// assert_eq!(kept.file("a"), Some(&b"x"[..]));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Those of the file system, and `InvalidData` if `root` does not have the image of the recording.
    pub fn continue_from(history: Recording, root: &Path) -> io::Result<Self> {
        let model = DiskModel::replay(history.ops())?;
        same(&model.page_cache(), root)?;
        let (inner, history) = (Arc::new(SystemDisk), history.continued());
        Ok(Self::with_log(
            inner,
            root,
            root.canonicalize()?,
            history,
            model,
        ))
    }

    /// The same disk, but performing its operations through `inner` instead of the [`SystemDisk`]. A
    /// [`FaultyDisk`](super::FaultyDisk) belongs there: its failed syncs are then part of the log.
    #[must_use]
    pub fn over(self, inner: Arc<dyn Disk>) -> Self {
        Self { inner, ..self }
    }

    /// The operations so far.
    #[must_use]
    pub fn ops(&self) -> Vec<DiskOp> {
        self.shared.log().recording.ops().to_vec()
    }

    /// The number of operations so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shared.log().recording.len()
    }

    /// Whether there are no operations yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds a note, such as an acknowledged command, at this place of the log.
    ///
    /// Add it after the acknowledgement, and a note of an attempt before the attempt. Then a crash at any point has every
    /// acknowledged command, and none that was not attempted.
    pub fn mark(&self, label: impl Into<String>) {
        self.shared.log().recording.mark(label.into());
    }

    /// The operations and marks so far.
    #[must_use]
    pub fn recording(&self) -> Recording {
        self.shared.log().recording.clone()
    }

    /// Compares the directory with the log: whether every change to it went through this disk.
    ///
    /// # Errors
    ///
    /// Those of the file system, and `InvalidData` naming the first path that differs.
    pub fn check(&self) -> io::Result<()> {
        let log = self.shared.log();
        let model = DiskModel::replay(log.recording.ops())?;
        same(&model.page_cache(), &self.shared.root)
    }

    fn with_log(
        inner: Arc<dyn Disk>,
        root: &Path,
        canonical: PathBuf,
        recording: Recording,
        model: DiskModel,
    ) -> Self {
        let files = recording.ops().iter().filter_map(|op| match op {
            DiskOp::CreateFile { file, .. } => Some(file.0 + 1),
            _ => None,
        });
        let log = Log {
            next_file: files.max().unwrap_or_default(),
            recording,
            namespace: model.into_namespace(),
        };
        Self {
            shared: Arc::new(Shared {
                root: root.to_owned(),
                canonical,
                ground: Arc::clone(&inner),
                log: Mutex::new(log),
            }),
            inner,
        }
    }

    fn inside(&self, path: &Path) -> io::Result<PathBuf> {
        self.shared.relative(path).ok_or_else(|| {
            let (path, root) = (path.display(), self.shared.root.display());
            let message = format!("{path} is outside of the recorded directory {root}");
            io::Error::new(io::ErrorKind::InvalidInput, message)
        })
    }
}

impl Shared {
    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn relative(&self, path: &Path) -> Option<PathBuf> {
        let below = path
            .strip_prefix(&self.root)
            .or_else(|_| path.strip_prefix(&self.canonical));
        let mut relative = PathBuf::new();
        for component in below.ok()?.components() {
            match component {
                Component::Normal(name) => relative.push(name),
                Component::CurDir => {}
                _ => return None,
            }
        }
        Some(relative)
    }
}

impl Log {
    fn push(&mut self, op: DiskOp) {
        self.recording.push(op);
    }

    /// The node with this name, after checking that the directory agrees.
    fn find(&self, ground: &dyn Disk, path: &Path, relative: &Path) -> io::Result<Option<Node>> {
        let known = self.namespace.resolve(relative);
        if known.is_some() == ground.exists(path)? {
            Ok(known)
        } else {
            Err(behind_our_back(relative))
        }
    }

    fn created_file(&mut self, relative: &Path) -> io::Result<FileId> {
        let file = FileId(self.next_file);
        self.namespace
            .create_file(self.recording.len(), relative, file)
            .map_err(io::Error::other)?;
        self.next_file += 1;
        self.push(DiskOp::CreateFile {
            path: relative.to_owned(),
            file,
        });
        Ok(file)
    }
}

fn behind_our_back(path: &Path) -> io::Error {
    let message = format!("{} was changed without the recording disk", path.display());
    io::Error::new(io::ErrorKind::InvalidData, message)
}

fn same(expected: &CrashImage, root: &Path) -> io::Result<()> {
    let found = CrashImage::read(root)?;
    match expected.first_difference(&found) {
        Some(path) => Err(behind_our_back(path)),
        None => Ok(()),
    }
}

#[cfg(test)]
#[expect(clippy::indexing_slicing, reason = "a panic is how a test fails")]
mod tests;
