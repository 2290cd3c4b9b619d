//! A disk with a gate at which the journal's syncs wait, so that a test can look at what is handed over and not yet durable, or
//! the last steps of replacing a file.

use std::io;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use eventfold_es::disk::{DirectoryEntry, Disk, DiskFile, DiskLock, OpenMode, SystemDisk};

/// More than any wait of a test takes.
const LONG: Duration = Duration::from_secs(60);

/// The file system, with a gate before each sync of the journal's file, or before each renaming to one name.
#[derive(Debug, Clone, Default)]
pub struct GatedDisk {
    gate: Arc<Gate>,
    renamed: Option<&'static str>,
}

#[derive(Debug, Default)]
struct Gate {
    state: Mutex<GateState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct GateState {
    is_closed: bool,
    is_mined: bool,
    waiting: usize,
    /// So many of those that wait may pass.
    passes: usize,
}

impl Gate {
    fn state(&self) -> MutexGuard<'_, GateState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_while(&self, condition: impl Fn(&mut GateState) -> bool) -> MutexGuard<'_, GateState> {
        self.changed
            .wait_while(self.state(), condition)
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn pass(&self) {
        let mut state = self.state();
        if state.is_mined {
            drop(state);
            std::panic::resume_unwind(Box::new("the disk panics"));
        }
        state.waiting += 1;
        drop(state);
        self.changed.notify_all();
        let mut state = self.wait_while(|state| state.is_closed && state.passes == 0);
        state.waiting -= 1;
        state.passes = state.passes.saturating_sub(1);
    }
}

impl GatedDisk {
    /// A gate before each file gets this name instead.
    #[must_use]
    pub fn at_name(name: &'static str) -> Self {
        Self {
            gate: Arc::default(),
            renamed: Some(name),
        }
    }

    /// Lets nothing pass.
    pub fn close(&self) {
        self.gate.state().is_closed = true;
    }

    /// Lets whatever comes panic.
    pub fn mine(&self) {
        self.gate.state().is_mined = true;
    }

    /// Lets everything pass.
    pub fn open(&self) {
        let mut state = self.gate.state();
        state.is_closed = false;
        state.is_mined = false;
        drop(state);
        self.gate.changed.notify_all();
    }

    /// Lets one of those that wait pass.
    pub fn let_one_pass(&self) {
        self.gate.state().passes += 1;
        self.gate.changed.notify_all();
    }

    /// Blocks until something waits.
    pub fn wait_for_sync(&self) {
        self.wait_for(1);
    }

    /// Blocks until so many wait.
    pub fn wait_for(&self, number: usize) {
        let changed = &self.gate.changed;
        let waited =
            changed.wait_timeout_while(self.gate.state(), LONG, |state| state.waiting < number);
        let (state, waited) = waited.unwrap_or_else(PoisonError::into_inner);
        let waiting = state.waiting;
        drop(state);
        assert!(!waited.timed_out(), "{waiting} wait, not {number}");
    }
}

impl Disk for GatedDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Box<dyn DiskFile>> {
        let file = SystemDisk.open(path, mode)?;
        if self.renamed.is_none() && path.ends_with("meta/journal/app.jsonl") {
            let gate = Arc::clone(&self.gate);
            return Ok(Box::new(GatedFile { file, gate }));
        }
        Ok(file)
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        SystemDisk.create_dir_all(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        if self.renamed.is_some_and(|name| to.ends_with(name)) {
            self.gate.pass();
        }
        SystemDisk.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        SystemDisk.remove_file(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        SystemDisk.sync_dir(path)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        SystemDisk.exists(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirectoryEntry>> {
        SystemDisk.list(path)
    }

    fn try_lock(&self, path: &Path) -> io::Result<Option<Box<dyn DiskLock>>> {
        SystemDisk.try_lock(path)
    }
}

struct GatedFile {
    file: Box<dyn DiskFile>,
    gate: Arc<Gate>,
}

impl DiskFile for GatedFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.file.write_at(bytes, offset)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.file.set_len(length)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.gate.pass();
        self.file.sync_data()
    }

    fn is_at(&self, path: &Path) -> io::Result<bool> {
        self.file.is_at(path)
    }
}
