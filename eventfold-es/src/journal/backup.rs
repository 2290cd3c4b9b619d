use std::path::PathBuf;

use serde::Serialize;

use super::JournalError;
use crate::disk::FileError;
use crate::error::StoreError;

/// The result of [`AggregateStore::backup`](crate::AggregateStore::backup).
///
/// # JSON
///
/// ```json
/// {"position":1204,"commits":1100,"bytes":524288,"linked_bytes":0,"copied_bytes":524288}
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct BackupReport {
    /// The position of the last event in the backup; 0 if there is none.
    pub position: u64,
    /// The number of commits in the backup.
    pub commits: u64,
    /// The size of the backup in bytes.
    pub bytes: u64,
    /// The bytes that this call linked: the store and the backup share these files.
    pub linked_bytes: u64,
    /// The bytes that this call copied. Bytes that it neither linked nor copied were there from the previous backup.
    pub copied_bytes: u64,
}

/// The reason why a backup failed. The directory still holds the previous backup, or none.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackupError {
    /// The directory is the store's, or inside it, or contains it; or a link in it leads there.
    #[error("{} and the store are inside each other; a backup needs a directory of its own", path.display())]
    Overlapping {
        /// The directory, or the link.
        path: PathBuf,
    },
    /// Another backup is made in the directory, or it is open as a store.
    #[error("{} is in use: another backup is made there, or it was opened as a store", path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// The directory holds a file that does not belong to a backup. For example, a backup that was opened as a store has such
    /// files.
    #[error("{} is no part of a backup; choose an empty directory, or one that holds a backup of this store and nothing else", path.display())]
    Occupied {
        /// The first such file or directory.
        path: PathBuf,
    },
    /// The directory holds a backup of another store, or of a later state of this store. The call does not overwrite it.
    #[error("{} has other events than the store; choose an empty directory", path.display())]
    OtherStore {
        /// The file.
        path: PathBuf,
    },
    /// The store cannot be read, the directory cannot be written, or the copy is damaged. The error names the file.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<JournalError> for BackupError {
    fn from(error: JournalError) -> Self {
        Self::Store(error.into())
    }
}

impl From<FileError> for BackupError {
    fn from(error: FileError) -> Self {
        JournalError::from(error).into()
    }
}
