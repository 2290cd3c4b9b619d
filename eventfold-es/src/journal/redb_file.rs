//! A file of redb, behind the disk seam.

use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redb::{Database, StorageBackend};
use xxhash_rust::xxh64::xxh64;

use super::{Damage, JournalError};
use crate::disk::{FileError, FileHandle};

/// The number of bytes of the hash before each value.
const HASH_BYTES: usize = 8;

/// An open file of redb.
pub(crate) struct RedbFile {
    database: Database,
    path: PathBuf,
    /// The remedy for a damaged file.
    remedy: &'static str,
    failure: Arc<Mutex<Option<FileError>>>,
}

/// The options of a [`RedbFile`].
pub(crate) struct RedbOptions {
    /// The number of bytes of the file that stay in memory.
    pub(crate) cache_bytes: usize,
    /// Whether every page is checked when the file is opened.
    pub(crate) is_checked: bool,
    /// The remedy for a damaged file.
    pub(crate) remedy: &'static str,
}

impl RedbFile {
    /// Opens a file, which may be empty. Blocks.
    pub(crate) fn open(file: FileHandle, options: &RedbOptions) -> Result<Self, JournalError> {
        let path = file.path().to_owned();
        let is_checked = options.is_checked && file.len()? > 0;
        let failure = Arc::default();
        let backend = Backend {
            file,
            failure: Arc::clone(&failure),
        };
        let database = guarded(&failure, &path, options.remedy, || {
            Database::builder()
                .set_cache_size(options.cache_bytes)
                .set_check_integrity_on_open(is_checked)
                .create_with_backend(backend)
        })?;
        Ok(Self {
            database,
            path,
            remedy: options.remedy,
            failure,
        })
    }

    /// An empty file in memory.
    #[cfg(any(test, eventfold_memory_journal, feature = "testing"))]
    pub(crate) fn in_memory(options: &RedbOptions) -> Result<Self, JournalError> {
        let (failure, path) = (Arc::default(), PathBuf::from("memory"));
        let database = guarded(&failure, &path, options.remedy, || {
            Database::builder().create_with_backend(redb::backends::InMemoryBackend::new())
        })?;
        Ok(Self {
            database,
            path,
            remedy: options.remedy,
            failure,
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Runs calls of redb. It panics on some files that were changed from outside, which is an error here.
    pub(crate) fn run<T, E: Into<redb::Error>>(
        &self,
        run: impl FnOnce(&Database) -> Result<T, E>,
    ) -> Result<T, JournalError> {
        guarded(&self.failure, &self.path, self.remedy, || {
            run(&self.database)
        })
    }

    pub(crate) fn damage(&self, reason: &str) -> JournalError {
        damage(&self.path, reason, self.remedy)
    }
}

/// A value with a hash of its row, because redb does not verify the content of a page when it reads it.
pub(crate) fn sealed(key: &[u8], value: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HASH_BYTES + value.len());
    bytes.extend_from_slice(&hash(key, value).to_le_bytes());
    bytes.extend_from_slice(value);
    bytes
}

/// [`sealed`] for a value that `write` appends.
pub(crate) fn sealed_with<E>(
    key: &[u8],
    write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
) -> Result<Vec<u8>, E> {
    let mut bytes = vec![0; HASH_BYTES];
    write(&mut bytes)?;
    if let Some((start, value)) = bytes.split_at_mut_checked(HASH_BYTES) {
        start.copy_from_slice(&hash(key, value).to_le_bytes());
    }
    Ok(bytes)
}

/// The value, unless it was changed.
pub(crate) fn unsealed<'a>(key: &[u8], bytes: &'a [u8]) -> Option<&'a [u8]> {
    let (stored, value) = bytes.split_at_checked(HASH_BYTES)?;
    (stored == hash(key, value).to_le_bytes()).then_some(value)
}

fn hash(key: &[u8], value: &[u8]) -> u64 {
    xxh64(value, xxh64(key, 0))
}

fn damage(path: &Path, reason: &str, remedy: &str) -> JournalError {
    Damage::new(path, 0, format!("{reason}; {remedy}")).into()
}

fn guarded<T, E: Into<redb::Error>>(
    failure: &Mutex<Option<FileError>>,
    path: &Path,
    remedy: &str,
    run: impl FnOnce() -> Result<T, E>,
) -> Result<T, JournalError> {
    let error: redb::Error = match catch_unwind(AssertUnwindSafe(run)) {
        Ok(Ok(done)) => return Ok(done),
        Ok(Err(error)) => error.into(),
        Err(_) => return Err(damage(path, "redb cannot read it", remedy)),
    };
    if let Some(failure) = lock(failure).take() {
        return Err(failure.into());
    }
    match error {
        redb::Error::Io(source) if source.kind() != io::ErrorKind::InvalidData => {
            Err(FileError::new("use", path, source).into())
        }
        error @ (redb::Error::PreviousIo | redb::Error::DatabaseClosed) => {
            let source = io::Error::other(error.to_string());
            Err(FileError::new("use", path, source).into())
        }
        error => Err(damage(path, &error.to_string(), remedy)),
    }
}

/// The file for redb. It keeps the store's own errors beside the errors that redb makes of them.
struct Backend {
    file: FileHandle,
    failure: Arc<Mutex<Option<FileError>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Backend {
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

impl fmt::Debug for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Backend").field(&self.file.path()).finish()
    }
}

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        self.note(self.file.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        match self.note(self.file.read_to(out, offset))? == out.len() {
            true => Ok(()),
            false => Err(io::ErrorKind::UnexpectedEof.into()),
        }
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
