use std::collections::BTreeMap;
use std::io;

use super::crash_image::CrashImage;
use super::namespace::{Namespace, Node};
use super::op::{DiskOp, FileId};
use super::pages::FilePages;
use super::recording::Recording;
use super::survival::{Pick, Survival};

/// An operation that cannot follow the operations before it. A recording never has one.
#[derive(Debug, thiserror::Error)]
#[error("operation {index} contradicts the operations before it: {reason}")]
pub struct LogError {
    /// Its place in the log.
    pub index: usize,
    /// The contradiction.
    pub reason: &'static str,
}

impl From<LogError> for io::Error {
    fn from(error: LogError) -> Self {
        Self::new(io::ErrorKind::InvalidData, error)
    }
}

/// The content of the page cache and of the device after some operations, and the effect of a crash on it.
///
/// # A kill of the process
///
/// A kill keeps the page cache: the next process sees every operation that happened, in order ([`page_cache`]). A write in
/// progress may have happened in part, from its start ([`DiskOp::torn`]). A kill makes nothing durable: unsynced data stays
/// unsynced until a process syncs that file. A log can therefore be continued
/// ([`RecordingDisk::continue_from`](super::RecordingDisk::continue_from)).
///
/// # A power loss
///
/// A power loss keeps synced data on the device, and any part of the rest ([`after_power_loss`]):
///
/// - **Names.** A creation, a rename or a removal is durable after a successful sync of its directory or of the file system.
///   For a rename between two directories, a sync of either suffices, since it is one change. Until then, it survives as a
///   whole or not at all, independently of all other changes, even earlier changes in the same directory. Syncing a file does
///   not make its name durable (ext4 does that; POSIX does not promise it). Syncing a directory does not make the directory's
///   own name durable.
/// - **Content.** A sync of a file makes its data and its length durable, independent of the name and the handle of the writes.
///   Otherwise each sector of 512 bytes is written as a whole, at any moment since the last sync. It has its durable content,
///   or the content of the page cache after any of the writes since. For example, two unsynced writes to one sector leave
///   neither, the first, or both, and writes to different sectors survive in any order and number.
/// - **Length.** It is any length of the file since the last sync, independently of the content. A write beyond the end may
///   also have moved it to any sector boundary on the way. Where the length survives and the bytes do not, there are zeros. A
///   cut that survives destroys the bytes behind it, even if the file grows later. A cut that does not survive may still have
///   zeroed the rest of the sector in which it ended.
/// - **A failed sync** marks pages clean without having written them, as Linux does. Their data may or may not be on the
///   device, and no later sync changes that; only writing it again does. Lengths and names stay pending for the next sync,
///   because a file system keeps them in its own journal.
///
/// Not modeled: sectors torn inside, devices that lie about a flush or damage durable data, removal of directories (the seam
/// has none), and links.
///
/// [`page_cache`]: Self::page_cache
/// [`after_power_loss`]: Self::after_power_loss
///
/// # Examples
///
/// ```
/// use eventfold_es::disk::{Disk, DiskModel, OpenMode, RecordingDisk, Survival};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let directory = tempfile::tempdir()?;
/// let disk = RecordingDisk::new(directory.path())?;
/// let file = disk.open(&directory.path().join("a"), OpenMode::Write)?;
/// file.write_at(b"one ", 0)?;
/// file.sync_data()?;
/// disk.sync_dir(directory.path())?;
/// file.write_at(b"two ", 4)?;
///
/// let mut model = DiskModel::default();
/// for op in disk.ops() {
///     model.apply(&op)?;
/// }
/// assert_eq!(model.page_cache().file("a"), Some(&b"one two "[..]));
/// let lost = model.after_power_loss(&Survival::Nothing);
/// assert_eq!(lost.file("a"), Some(&b"one "[..]));
/// let length_only = model.after_power_loss(&Survival::LengthsOnly);
/// assert_eq!(length_only.file("a"), Some(&b"one \0\0\0\0"[..]));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Default)]
pub struct DiskModel {
    applied: usize,
    namespace: Namespace,
    files: BTreeMap<FileId, FilePages>,
}

impl DiskModel {
    /// The state after these operations, on an empty directory.
    ///
    /// # Errors
    ///
    /// If an operation contradicts the operations before it.
    pub fn replay<'a>(ops: impl IntoIterator<Item = &'a DiskOp>) -> Result<Self, LogError> {
        let mut model = Self::default();
        for op in ops {
            model.apply(op)?;
        }
        Ok(model)
    }

    /// Adds one operation.
    ///
    /// # Errors
    ///
    /// If the operation contradicts the operations before it. The state is unchanged then.
    pub fn apply(&mut self, op: &DiskOp) -> Result<(), LogError> {
        let index = self.applied;
        self.try_apply(index, op)
            .map_err(|reason| LogError { index, reason })?;
        self.applied += 1;
        Ok(())
    }

    /// The number of operations.
    #[must_use]
    pub fn applied(&self) -> usize {
        self.applied
    }

    /// The state that every process sees. After a kill, the next process sees it too.
    #[must_use]
    pub fn page_cache(&self) -> CrashImage {
        self.image(self.namespace.tree(), |pages| pages.current().to_vec())
    }

    /// The state after a power loss.
    #[must_use]
    pub fn after_power_loss(&self, survival: &Survival) -> CrashImage {
        let mut pick = survival.pick();
        let pick: &mut dyn Pick = &mut *pick;
        let tree = self.namespace.tree_after_power_loss(pick);
        self.image(tree, |pages| pages.after_power_loss(pick))
    }

    pub(super) fn into_namespace(self) -> Namespace {
        self.namespace
    }

    fn image(
        &self,
        tree: Vec<(std::path::PathBuf, Node)>,
        mut content: impl FnMut(&FilePages) -> Vec<u8>,
    ) -> CrashImage {
        let entries = tree.into_iter().map(|(path, node)| match node {
            Node::Directory(_) => (path, None),
            Node::File(file) => {
                let content = self.files.get(&file).map(&mut content);
                (path, Some(content.unwrap_or_default()))
            }
        });
        CrashImage::new(entries.collect())
    }

    fn try_apply(&mut self, index: usize, op: &DiskOp) -> Result<(), &'static str> {
        match op {
            DiskOp::CreateFile { path, file } => {
                if self.files.contains_key(file) {
                    return Err("the file was created before");
                }
                self.namespace.create_file(index, path, *file)?;
                self.files.insert(*file, FilePages::default());
            }
            DiskOp::CreateDir { path } => self.namespace.create_dir(index, path)?,
            DiskOp::Write {
                file,
                offset,
                bytes,
                ..
            } => {
                let offset = usize::try_from(*offset).map_err(|_| "the offset is too large")?;
                if !self.file(*file)?.write(index, offset, bytes) {
                    return Err("the offset is too large");
                }
            }
            DiskOp::SetLen { file, length, .. } => {
                let length = usize::try_from(*length).map_err(|_| "the length is too large")?;
                self.file(*file)?.set_len(index, length);
            }
            DiskOp::Rename { from, to } => self.namespace.rename(index, from, to)?,
            DiskOp::Remove { path } => self.namespace.remove(index, path)?,
            DiskOp::SyncData { file, .. } => self.file(*file)?.sync(),
            DiskOp::SyncDataFailed { file, .. } => self.file(*file)?.sync_failed(),
            DiskOp::SyncDir { path } => self.namespace.sync_dir(path)?,
            DiskOp::SyncFileSystem => {
                self.namespace.sync_all();
                self.files.values_mut().for_each(FilePages::sync);
            }
        }
        Ok(())
    }

    fn file(&mut self, file: FileId) -> Result<&mut FilePages, &'static str> {
        self.files.get_mut(&file).ok_or("no such file was created")
    }
}

impl CrashImage {
    /// The state that the next process finds after a kill at the end of the recording. For a kill within the recording, cut it
    /// with [`Recording::until`].
    ///
    /// # Errors
    ///
    /// If the recording contradicts itself.
    pub fn killed(recording: &Recording) -> Result<Self, LogError> {
        Ok(DiskModel::replay(recording.ops())?.page_cache())
    }

    /// The state after a power loss at the end of the recording.
    ///
    /// # Errors
    ///
    /// If the recording contradicts itself.
    pub fn power_loss(recording: &Recording, survival: &Survival) -> Result<Self, LogError> {
        Ok(DiskModel::replay(recording.ops())?.after_power_loss(survival))
    }
}

#[cfg(test)]
#[expect(clippy::indexing_slicing, reason = "a panic is how a test fails")]
mod tests {
    use super::*;

    type TestResult = Result<(), Box<dyn std::error::Error>>;

    fn create(path: &str, file: u64) -> DiskOp {
        DiskOp::CreateFile {
            path: path.into(),
            file: FileId(file),
        }
    }

    fn write(file: u64, offset: u64, bytes: &[u8]) -> DiskOp {
        DiskOp::Write {
            path: "".into(),
            file: FileId(file),
            offset,
            bytes: bytes.into(),
        }
    }

    fn sync(file: u64) -> DiskOp {
        DiskOp::SyncData {
            path: "".into(),
            file: FileId(file),
        }
    }

    fn sync_root() -> DiskOp {
        DiskOp::SyncDir { path: "".into() }
    }

    #[test]
    fn the_fixed_survivals_of_a_file_replaced_without_any_sync() -> TestResult {
        let mut model = DiskModel::replay(&[
            create("a", 0),
            write(0, 0, b"old"),
            DiskOp::SyncFileSystem,
            create("a.tmp", 1),
            write(1, 0, b"new"),
            DiskOp::Rename {
                from: "a.tmp".into(),
                to: "a".into(),
            },
        ])?;
        let content = |model: &DiskModel, survival: Survival| {
            let image = model.after_power_loss(&survival);
            let found = image.file("a").map(<[u8]>::to_vec);
            (found.unwrap_or_default(), image.file("a.tmp").is_some())
        };
        assert_eq!(content(&model, Survival::All), (b"new".to_vec(), false));
        assert_eq!(content(&model, Survival::Nothing), (b"old".to_vec(), false));
        assert_eq!(content(&model, Survival::EntriesOnly), (vec![], false));
        assert_eq!(content(&model, Survival::LengthsOnly), (vec![0; 3], false));
        assert_eq!(
            content(&model, Survival::ContentOnly),
            (b"old".to_vec(), false)
        );
        assert_eq!(model.after_power_loss(&Survival::All), model.page_cache());

        // A durable name does not imply durable content, nor durable content a durable name.
        let mut names = model.clone();
        names.apply(&sync_root())?;
        assert_eq!(content(&names, Survival::Nothing), (vec![], false));
        model.apply(&sync(1))?;
        assert_eq!(content(&model, Survival::Nothing), (b"old".to_vec(), false));
        model.apply(&sync_root())?;
        for survival in [Survival::Nothing, Survival::Random(1), Survival::All] {
            assert_eq!(content(&model, survival), (b"new".to_vec(), false));
        }
        Ok(())
    }

    #[test]
    fn a_new_file_that_was_synced_may_have_no_name() -> TestResult {
        let model = DiskModel::replay(&[create("a", 0), write(0, 0, b"x"), sync(0)])?;
        assert_eq!(model.after_power_loss(&Survival::Nothing).file("a"), None);
        let image = model.after_power_loss(&Survival::EntriesOnly);
        assert_eq!(image.file("a"), Some(&b"x"[..]));
        Ok(())
    }

    #[test]
    fn writes_through_a_handle_go_to_the_file_that_was_opened() -> TestResult {
        // A rotation that keeps readers working: a new file takes the name while a writer still writes to the old file.
        let model = DiskModel::replay(&[
            create("a", 0),
            create("b", 1),
            DiskOp::Rename {
                from: "b".into(),
                to: "a".into(),
            },
            write(0, 0, b"into the old one"),
            write(1, 0, b"new"),
        ])?;
        assert_eq!(model.page_cache().file("a"), Some(&b"new"[..]));
        Ok(())
    }

    #[test]
    fn chosen_sectors_of_one_write_are_lost() -> TestResult {
        let mut ops = vec![
            create("a", 0),
            write(0, 0, &[1; 1024]),
            DiskOp::SyncFileSystem,
            write(0, 512, &[2; 1024]),
            write(0, 1024, &[3; 1024]),
        ];
        let model = DiskModel::replay(&ops)?;
        let lose = |sectors: &[u64], length_too| {
            let survival = Survival::LoseSectors {
                op: 3,
                sectors: sectors.to_vec(),
                length_too,
            };
            let image = model.after_power_loss(&survival);
            let content = image.file("a").unwrap_or_default();
            let firsts: Vec<u8> = content.chunks(512).map(|sector| sector[0]).collect();
            assert!(content.chunks(512).zip(&firsts).all(|(sector, first)| {
                sector.len() == 512 && sector.iter().all(|byte| byte == first)
            }));
            firsts
        };
        assert_eq!(lose(&[], false), [1, 2, 3, 3]);
        assert_eq!(lose(&[1], false), [1, 1, 3, 3]);
        assert_eq!(lose(&[2], false), [1, 2, 0, 3]);
        assert_eq!(lose(&[1, 2], false), [1, 1, 0, 3]);
        assert_eq!(lose(&[0, 3], false), [1, 2, 3, 3]);
        assert_eq!(lose(&[1], true), [1, 1]);

        ops.push(sync(0));
        let synced = DiskModel::replay(&ops)?;
        let survival = Survival::LoseSectors {
            op: 3,
            sectors: vec![1, 2],
            length_too: true,
        };
        assert_eq!(synced.after_power_loss(&survival), synced.page_cache());
        Ok(())
    }

    #[test]
    fn an_operation_that_does_not_fit_is_refused() -> TestResult {
        let mut model = DiskModel::replay(&[create("a", 0)])?;
        for op in [create("b", 0), create("a", 1), write(7, 0, b"x")] {
            let refused = model.apply(&op).map_err(|error| error.index);
            assert_eq!(refused, Err(1), "{op:?}");
        }
        assert!(model.apply(&write(0, u64::MAX, b"x")).is_err());
        assert_eq!(model.applied(), 1);
        Ok(())
    }
}
