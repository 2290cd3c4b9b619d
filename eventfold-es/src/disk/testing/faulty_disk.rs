use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::fault::{Failure, Fault, Hit, Operation, Part};
use crate::disk::{DirectoryEntry, Disk, DiskFile, DiskLock, OpenMode};

/// A disk on which chosen calls fail or transfer too few bytes. Other calls go through to the disk below. A clone is the same
/// disk.
///
/// To fail every call of a workload once, run it without faults, and read [`calls`](Self::calls). Then run it again with
/// `Fault::once(n, …)` for each number below that. If the order of the calls depends on threads, a later run may make fewer
/// calls: [`hits`](Self::hits) has the real failures.
///
/// Below a [`RecordingDisk`](super::RecordingDisk) ([`over`](super::RecordingDisk::over)), its failed syncs are part of
/// the recording.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
/// use eventfold_es::disk::{Disk, Failure, Fault, FaultyDisk, OpenMode, Operation, SystemDisk};
///
/// # fn main() -> std::io::Result<()> {
/// # let directory = tempfile::tempdir()?;
/// let disk = FaultyDisk::new(Arc::new(SystemDisk));
/// let file = disk.open(&directory.path().join("a"), OpenMode::Write)?;
/// disk.inject(Fault::starting(1, Failure::ENOSPC).on(&[Operation::Write]));
/// assert_eq!(file.write_at(b"fits", 0)?, 4);
/// assert!(file.write_at(b"does not", 4).is_err());
/// assert!(file.write_at(b"does not", 4).is_err());
/// disk.clear();
/// assert_eq!(file.write_at(b"fits again", 4)?, 10);
/// assert_eq!(disk.hits().len(), 2);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct FaultyDisk {
    inner: Arc<dyn Disk>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    faults: Vec<Fault>,
    calls: BTreeMap<Operation, u64>,
    hits: Vec<Hit>,
}

impl FaultyDisk {
    /// A disk without faults.
    #[must_use]
    pub fn new(inner: Arc<dyn Disk>) -> Self {
        Self {
            inner,
            state: Arc::default(),
        }
    }

    /// Adds a fault. If several faults apply to one call, each of them counts it, and the fault that was injected first
    /// decides.
    pub fn inject(&self, fault: Fault) {
        lock(&self.state).faults.push(fault);
    }

    /// Removes all faults.
    pub fn clear(&self) {
        lock(&self.state).faults.clear();
    }

    /// The number of calls so far, including failed calls.
    #[must_use]
    pub fn calls(&self) -> u64 {
        lock(&self.state).calls.values().sum()
    }

    /// The number of calls of these kinds so far, including failed calls.
    #[must_use]
    pub fn calls_of(&self, operations: &[Operation]) -> u64 {
        let state = lock(&self.state);
        let counts = operations.iter().filter_map(|one| state.calls.get(one));
        counts.sum()
    }

    /// The calls that faults made fail, in order.
    #[must_use]
    pub fn hits(&self) -> Vec<Hit> {
        lock(&self.state).hits.clone()
    }

    fn call(&self, operation: Operation, path: &Path) -> io::Result<()> {
        call(&self.state, operation, path, Part::default()).map(drop)
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Counts the call. The result is the number of its `length` bytes that it may transfer.
fn call(state: &Mutex<State>, operation: Operation, path: &Path, part: Part) -> io::Result<usize> {
    let Part { length, .. } = part;
    let mut state = lock(state);
    *state.calls.entry(operation).or_default() += 1;
    let mut failure = None;
    for fault in &mut state.faults {
        if fault.hits(operation, path, part) {
            failure = failure.or(Some(fault.failure));
        }
    }
    let Some(failure) = failure else {
        return Ok(length);
    };
    state.hits.push(Hit {
        operation,
        path: path.to_owned(),
        failure,
    });
    match failure {
        Failure::Errno(number) => Err(io::Error::from_raw_os_error(number)),
        Failure::Short => Ok(length / 2),
    }
}

impl Disk for FaultyDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Box<dyn DiskFile>> {
        self.call(Operation::Open, path)?;
        Ok(Box::new(FaultyFile {
            inner: self.inner.open(path, mode)?,
            state: Arc::clone(&self.state),
            path: path.to_owned(),
        }))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.call(Operation::CreateDir, path)?;
        self.inner.create_dir_all(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.call(Operation::Rename, to)?;
        self.inner.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.call(Operation::Remove, path)?;
        self.inner.remove_file(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.call(Operation::SyncDir, path)?;
        self.inner.sync_dir(path)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.call(Operation::Exists, path)?;
        self.inner.exists(path)
    }

    fn canonical(&self, path: &Path) -> io::Result<PathBuf> {
        self.inner.canonical(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirectoryEntry>> {
        self.call(Operation::List, path)?;
        self.inner.list(path)
    }

    fn try_lock(&self, path: &Path) -> io::Result<Option<Box<dyn DiskLock>>> {
        self.call(Operation::Lock, path)?;
        let lock = self.inner.try_lock(path)?;
        Ok(lock.map(|inner| {
            Box::new(FaultyLock {
                inner,
                state: Arc::clone(&self.state),
                path: path.to_owned(),
            }) as Box<dyn DiskLock>
        }))
    }
}

struct FaultyFile {
    inner: Box<dyn DiskFile>,
    state: Arc<Mutex<State>>,
    path: PathBuf,
}

impl FaultyFile {
    fn call(&self, operation: Operation) -> io::Result<()> {
        call(&self.state, operation, &self.path, Part::default()).map(drop)
    }

    fn call_at(&self, operation: Operation, offset: u64, length: usize) -> io::Result<usize> {
        let part = Part {
            offset: Some(offset),
            length,
        };
        call(&self.state, operation, &self.path, part)
    }
}

impl DiskFile for FaultyFile {
    fn len(&self) -> io::Result<u64> {
        self.call(Operation::Len)?;
        self.inner.len()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let allowed = self.call_at(Operation::Read, offset, buffer.len())?;
        self.inner
            .read_at(buffer.get_mut(..allowed).unwrap_or_default(), offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let allowed = self.call_at(Operation::Write, offset, bytes.len())?;
        self.inner
            .write_at(bytes.get(..allowed).unwrap_or_default(), offset)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.call(Operation::SetLen)?;
        self.inner.set_len(length)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.call(Operation::SyncData)?;
        self.inner.sync_data()
    }

    fn is_at(&self, path: &Path) -> io::Result<bool> {
        self.call(Operation::IsAt)?;
        self.inner.is_at(path)
    }
}

struct FaultyLock {
    inner: Box<dyn DiskLock>,
    state: Arc<Mutex<State>>,
    path: PathBuf,
}

impl DiskLock for FaultyLock {
    fn is_at(&self, path: &Path) -> io::Result<bool> {
        call(&self.state, Operation::IsAt, &self.path, Part::default())?;
        self.inner.is_at(path)
    }
}

#[cfg(test)]
mod tests;
