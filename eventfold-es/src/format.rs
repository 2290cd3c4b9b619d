//! The format numbers of stored files: a program refuses a higher number and changes nothing.

use std::path::{Path, PathBuf};

use crate::disk::FileError;

/// The format of a line of the journal: `{"type":"commit","data":{"format":1,..`.
pub(crate) const JOURNAL: u64 = 1;

/// The format of a table of rows, in the value under its empty key.
pub(crate) const ROWS: u64 = 1;

/// The format of a run, of the index or of snapshots.
pub(crate) const RUNS: u64 = 1;

/// The format of the table of a journal segment.
pub(crate) const SEGMENTS: u64 = 1;

/// The format of checkpoints: `{"checksum":"..","format":1,..`. The dead letters have no number of their own. A
/// checkpoint covers them, so they have its format.
pub(crate) const SEALED: u64 = 1;

/// A file of a newer version of eventfold-es.
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
    /// The failure to read the file. It must not count as damage, which would be derived again.
    pub(crate) fn in_file(self, path: &Path) -> FileError {
        FileError::new("read", path, std::io::Error::other(self))
    }

    /// The failed file operation, if it was one.
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
