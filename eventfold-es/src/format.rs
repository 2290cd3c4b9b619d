//! The formats of what is stored, one number each: a program refuses what has a higher one, untouched.

use std::path::{Path, PathBuf};

use crate::disk::FileError;

/// The format of a line of the journal: `{"type":"commit","data":{"format":1,..`.
pub(crate) const JOURNAL: u64 = 1;

/// The format of a table of rows, in what stands under its empty key.
pub(crate) const ROWS: u64 = 1;

/// The format of a run, of the index or of snapshots.
pub(crate) const RUNS: u64 = 1;

/// The format of the table of a journal segment.
pub(crate) const SEGMENTS: u64 = 1;

/// The format of checkpoints: `{"checksum":"..","format":1,..`. The dead letters, which a checkpoint vouches for and which have no
/// number of their own, are of this format, too.
pub(crate) const SEALED: u64 = 1;

/// Something that a newer version of eventfold-es has written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "it has format {found}, but this version of eventfold-es reads formats up to {supported}. Nothing was changed: open the store with \
     the version that wrote it, or a later one"
)]
pub(crate) struct Newer {
    pub(crate) found: u64,
    pub(crate) supported: u64,
}

impl Newer {
    /// The failure to read the file. It is never damage, which would be derived again.
    pub(crate) fn in_file(self, path: &Path) -> FileError {
        FileError::new("read", path, std::io::Error::other(self))
    }

    /// What a file operation failed on, if it was that.
    pub(crate) fn of(error: &FileError) -> Option<(PathBuf, Self)> {
        let newer = error.source.get_ref()?.downcast_ref::<Self>()?;
        Some((error.path.clone(), newer.clone()))
    }
}

/// Refuses a format that this version does not know.
pub(crate) fn refuse_newer(found: u64, supported: u64) -> Result<(), Newer> {
    match found > supported {
        true => Err(Newer { found, supported }),
        false => Ok(()),
    }
}
