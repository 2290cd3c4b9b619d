use std::fmt;
use std::io;
use std::sync::{Arc, Mutex};

use redb::StorageBackend;

use super::super::appends::lock;
use crate::disk::{FileError, FileHandle};

/// The file of a table, for redb. It keeps the store's own errors beside the errors that redb makes of them.
pub(super) struct TableFile {
    pub(super) file: FileHandle,
    pub(super) failure: Arc<Mutex<Option<FileError>>>,
}

impl TableFile {
    fn note<T>(&self, done: Result<T, FileError>) -> io::Result<T> {
        done.map_err(|error| {
            let told = io::Error::new(error.source.kind(), error.to_string());
            let mut failure = lock(&self.failure);
            // A failed sync is more precise than the errors that follow from it.
            if !failure.as_ref().is_some_and(FileError::is_failed_sync) {
                *failure = Some(error);
            }
            told
        })
    }
}

impl fmt::Debug for TableFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TableFile").field(&self.file.path()).finish()
    }
}

impl StorageBackend for TableFile {
    fn len(&self) -> io::Result<u64> {
        self.note(self.file.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let read = self.note(self.file.read_range(offset, out.len() as u64))?;
        if read.len() < out.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        out.copy_from_slice(&read);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.note(self.file.set_len(len))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.note(self.file.sync_data())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.note(self.file.write_all_at(data, offset))
    }
}
