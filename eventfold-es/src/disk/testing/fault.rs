use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A kind of call that can fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operation {
    /// [`Disk::open`](crate::disk::Disk::open).
    Open,
    /// [`Disk::create_dir_all`](crate::disk::Disk::create_dir_all).
    CreateDir,
    /// [`Disk::rename`](crate::disk::Disk::rename); its path is the new name.
    Rename,
    /// [`Disk::remove_file`](crate::disk::Disk::remove_file).
    Remove,
    /// [`Disk::sync_dir`](crate::disk::Disk::sync_dir).
    SyncDir,
    /// [`Disk::exists`](crate::disk::Disk::exists).
    Exists,
    /// [`Disk::list`](crate::disk::Disk::list).
    List,
    /// [`Disk::try_lock`](crate::disk::Disk::try_lock).
    Lock,
    /// [`DiskFile::is_at`](crate::disk::DiskFile::is_at) and [`DiskLock::is_at`](crate::disk::DiskLock::is_at).
    IsAt,
    /// [`DiskFile::len`](crate::disk::DiskFile::len).
    Len,
    /// [`DiskFile::read_at`](crate::disk::DiskFile::read_at).
    Read,
    /// [`DiskFile::write_at`](crate::disk::DiskFile::write_at).
    Write,
    /// [`DiskFile::set_len`](crate::disk::DiskFile::set_len).
    SetLen,
    /// [`DiskFile::sync_data`](crate::disk::DiskFile::sync_data).
    SyncData,
}

/// The way in which a call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The call fails with this error number of the operating system, without an effect.
    Errno(i32),
    /// A read or a write of two bytes or more transfers only its first half. Other calls do not fail and are not counted.
    Short,
}

/// The numbers are those of Linux, macOS and the BSDs.
impl Failure {
    /// An I/O error.
    pub const EIO: Self = Self::Errno(5);
    /// The disk is full.
    pub const ENOSPC: Self = Self::Errno(28);
    /// The process has too many open files.
    pub const EMFILE: Self = Self::Errno(24);
    /// Interrupted by a signal.
    pub const EINTR: Self = Self::Errno(4);
    /// The file system is read-only.
    pub const EROFS: Self = Self::Errno(30);
}

type PathFilter = Arc<dyn Fn(&Path) -> bool + Send + Sync>;

/// The selection of the calls that fail, and their failure. From its injection on, a fault counts the calls that it applies to,
/// starting at 0.
#[derive(Clone)]
pub struct Fault {
    pub(super) failure: Failure,
    first: u64,
    always: bool,
    operations: Option<Vec<Operation>>,
    path: Option<PathFilter>,
    offset: Option<u64>,
    seen: u64,
}

impl Fault {
    /// Call number `n` fails, and no other.
    #[must_use]
    pub fn once(n: u64, failure: Failure) -> Self {
        Self {
            failure,
            first: n,
            always: false,
            operations: None,
            path: None,
            offset: None,
            seen: 0,
        }
    }

    /// Call number `n` fails, and every later one.
    #[must_use]
    pub fn starting(n: u64, failure: Failure) -> Self {
        Self {
            always: true,
            ..Self::once(n, failure)
        }
    }

    /// Applies to these operations only.
    #[must_use]
    pub fn on(mut self, operations: &[Operation]) -> Self {
        self.operations = Some(operations.to_vec());
        self
    }

    /// Applies to these paths only. The path of a file is its name at its opening.
    #[must_use]
    pub fn at(mut self, path: impl Fn(&Path) -> bool + Send + Sync + 'static) -> Self {
        self.path = Some(Arc::new(path));
        self
    }

    /// Applies only to reads and writes that begin at this offset.
    #[must_use]
    pub fn from_offset(mut self, offset: u64) -> Self {
        self.offset = Some(offset);
        self
    }

    /// Counts the call if the fault applies to it, and returns whether it fails.
    pub(super) fn hits(&mut self, operation: Operation, path: &Path, part: Part) -> bool {
        let applies = (self.failure != Failure::Short || part.length > 1)
            && self.offset.is_none_or(|only| part.offset == Some(only))
            && self
                .operations
                .as_ref()
                .is_none_or(|only| only.contains(&operation))
            && self.path.as_ref().is_none_or(|applies| applies(path));
        if !applies {
            return false;
        }
        let number = self.seen;
        self.seen += 1;
        number == self.first || (self.always && number > self.first)
    }
}

/// The part of a file that a call reads or writes.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Part {
    pub(super) offset: Option<u64>,
    pub(super) length: usize,
}

/// A call that a fault made fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hit {
    /// The call.
    pub operation: Operation,
    /// Its file or directory.
    pub path: PathBuf,
    /// The failure.
    pub failure: Failure,
}
