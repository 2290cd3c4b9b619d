use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The unit, in bytes, that a device writes atomically.
pub const SECTOR: u64 = 512;

/// A file, independent of its present name: an inode of the file system.
///
/// A handle keeps its file when the file is renamed, or when another file takes its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId(pub(super) u64);

/// One operation that changed the disk, or made changes durable. Paths are relative to the recorded directory.
///
/// The `path` of an operation on an open file is the name at its opening; `file` identifies the file.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum DiskOp {
    /// A file that did not exist was created, empty.
    CreateFile {
        /// Its first name.
        path: PathBuf,
        /// The file.
        file: FileId,
    },
    /// A directory was created: one level, in an existing directory.
    CreateDir {
        /// The directory.
        path: PathBuf,
    },
    /// Bytes were written, as many as the write reported.
    Write {
        /// The name at opening.
        path: PathBuf,
        /// The file.
        file: FileId,
        /// The offset of the first byte.
        offset: u64,
        /// The bytes.
        bytes: Arc<[u8]>,
    },
    /// The length was set: by a call, or to zero by opening an existing file with
    /// [`OpenMode::Truncate`](crate::disk::OpenMode::Truncate).
    SetLen {
        /// The name at opening.
        path: PathBuf,
        /// The file.
        file: FileId,
        /// The new length.
        length: u64,
    },
    /// A file got a new name.
    Rename {
        /// The old name.
        from: PathBuf,
        /// The new name. A file that had it before has no name any more.
        to: PathBuf,
    },
    /// A file lost its name.
    Remove {
        /// The name.
        path: PathBuf,
    },
    /// The data and the length of a file were made durable.
    SyncData {
        /// The name at opening.
        path: PathBuf,
        /// The file.
        file: FileId,
    },
    /// A sync of a file failed.
    SyncDataFailed {
        /// The name at opening.
        path: PathBuf,
        /// The file.
        file: FileId,
    },
    /// The entries of a directory were made durable, but not the files and directories that they lead to.
    SyncDir {
        /// The directory; empty for the recorded directory.
        path: PathBuf,
    },
    /// Everything was durable: a recording of an existing directory begins with this.
    SyncFileSystem,
}

impl DiskOp {
    /// The possible numbers of completed bytes if the process is killed within this operation, besides all of them.
    ///
    /// A write may be torn: nothing, half, all but the last byte, or up to the first or last sector boundary inside it. Any
    /// other operation happens or does not: `[0]`.
    ///
    /// ```
    /// use eventfold_es::disk::{Disk, OpenMode, RecordingDisk};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// # let directory = tempfile::tempdir()?;
    /// let disk = RecordingDisk::new(directory.path())?;
    /// let file = disk.open(&directory.path().join("a"), OpenMode::Write)?;
    /// file.write_at(&[1; 600], 500)?;
    /// let tears: Vec<_> = disk.ops().iter().map(|op| op.tears()).collect();
    /// assert_eq!(tears, [vec![0], vec![0, 12, 300, 524, 599]]);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn tears(&self) -> Vec<usize> {
        let Self::Write { offset, bytes, .. } = self else {
            return vec![0];
        };
        let length = bytes.len();
        let sectors = self.sectors();
        let mut tears = vec![0, length / 2, length.saturating_sub(1)];
        for sector in [sectors.start + 1, sectors.end.saturating_sub(1)] {
            let inside = (sector * SECTOR).checked_sub(*offset);
            tears.extend(inside.and_then(|inside| usize::try_from(inside).ok()));
        }
        tears.sort_unstable();
        tears.dedup();
        tears.retain(|tear| *tear < length);
        tears
    }

    /// The completed part of this operation if the process is killed within it: a write of the first `bytes` bytes, or `None`
    /// for nothing. Only a write can be completed in part.
    #[must_use]
    pub fn torn(&self, bytes: usize) -> Option<Self> {
        match self {
            Self::Write {
                path,
                file,
                offset,
                bytes: all,
            } if bytes > 0 => Some(Self::Write {
                path: path.clone(),
                file: *file,
                offset: *offset,
                bytes: all.get(..bytes).unwrap_or(all).into(),
            }),
            _ => None,
        }
    }

    /// The sectors of its file that a write touches, by number; empty for every other operation.
    #[must_use]
    pub fn sectors(&self) -> Range<u64> {
        match self {
            Self::Write { offset, bytes, .. } if !bytes.is_empty() => {
                offset / SECTOR..(offset + bytes.len() as u64).div_ceil(SECTOR)
            }
            _ => 0..0,
        }
    }

    /// Its path: the new path of a rename, and `None` for a sync of the file system.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::CreateFile { path, .. }
            | Self::CreateDir { path }
            | Self::Write { path, .. }
            | Self::SetLen { path, .. }
            | Self::Rename { to: path, .. }
            | Self::Remove { path }
            | Self::SyncData { path, .. }
            | Self::SyncDataFailed { path, .. }
            | Self::SyncDir { path } => Some(path),
            Self::SyncFileSystem => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(offset: u64, length: usize) -> DiskOp {
        DiskOp::Write {
            path: "a".into(),
            file: FileId(0),
            offset,
            bytes: (0..length).map(|index| index as u8).collect(),
        }
    }

    #[test]
    fn tears_are_inside_the_write_and_hit_sector_boundaries() {
        assert_eq!(write(0, 1).tears(), [0]);
        assert_eq!(write(0, 512).tears(), [0, 256, 511]);
        assert_eq!(write(512, 513).tears(), [0, 256, 512]);
        assert_eq!(write(100, 2000).tears(), [0, 412, 1000, 1948, 1999]);
        assert_eq!(DiskOp::SyncFileSystem.tears(), [0]);
    }

    #[test]
    fn sectors_of_a_write() {
        assert_eq!(write(0, 1).sectors(), 0..1);
        assert_eq!(write(511, 2).sectors(), 0..2);
        assert_eq!(write(1024, 512).sectors(), 2..3);
        assert_eq!(write(7, 0).sectors(), 0..0);
        assert_eq!(DiskOp::SyncFileSystem.sectors(), 0..0);
    }

    #[test]
    fn only_a_write_is_torn() {
        assert_eq!(write(3, 10).torn(4), Some(write(3, 4)));
        assert_eq!(write(3, 10).torn(10), Some(write(3, 10)));
        assert_eq!(write(3, 10).torn(99), Some(write(3, 10)));
        assert_eq!(write(3, 10).torn(0), None);
        assert_eq!(DiskOp::SyncFileSystem.torn(1), None);
    }
}
