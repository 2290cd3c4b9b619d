//! Where everything is measured, and the stores that several measurements need.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use eventfold_es::{AggregateStore, Durability};
use tempfile::TempDir;

use crate::clients::run_commands;
use crate::{Failure, runtime};

/// How many clients fill a store.
const FILLING_CLIENTS: usize = 256;

/// The counters of the store with the most streams, and the events of each.
pub(crate) const MILLION: usize = 1_000_000;
pub(crate) const EVENTS_OF_A_MILLION: usize = 3;

/// A directory that is removed at the end.
pub(crate) struct Scratch {
    directory: TempDir,
}

impl Scratch {
    /// In `EVENTFOLD_BENCH_DIR`, or where cargo builds: `/tmp` may be memory.
    pub(crate) fn new() -> io::Result<Self> {
        let parent = std::env::var_os("EVENTFOLD_BENCH_DIR")
            .map_or_else(|| PathBuf::from(env!("CARGO_TARGET_TMPDIR")), PathBuf::from);
        fs::create_dir_all(&parent)?;
        let directory = tempfile::Builder::new()
            .prefix("limits-")
            .tempdir_in(parent)?;
        Ok(Self { directory })
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// A closed store in which each of `streams` counters has one event; made when it is first asked for.
    pub(crate) fn store_of(&self, streams: usize) -> Result<PathBuf, Failure> {
        let path = self.join(&format!("store-of-{streams}"));
        if !path.exists() {
            fill(&path, streams, 1)?;
        }
        Ok(path)
    }

    /// A closed store in which each of [`MILLION`] counters has [`EVENTS_OF_A_MILLION`] events, far from each other; made when
    /// it is first asked for.
    pub(crate) fn store_of_a_million(&self) -> Result<PathBuf, Failure> {
        let path = self.join("store-of-a-million");
        if !path.exists() {
            fill_fast(&path, MILLION, EVENTS_OF_A_MILLION)?;
        }
        Ok(path)
    }
}

/// Gives each of `streams` counters `events` more events, one in each command, and closes the store.
pub(crate) fn fill(path: &Path, streams: usize, events: usize) -> Result<(), Failure> {
    fill_with(path, Durability::Sync, streams, events)
}

/// The same without waiting for the disk with each batch.
pub(crate) fn fill_fast(path: &Path, streams: usize, events: usize) -> Result<(), Failure> {
    fill_with(path, Durability::Flush, streams, events)
}

fn fill_with(
    path: &Path,
    durability: Durability,
    streams: usize,
    events: usize,
) -> Result<(), Failure> {
    runtime()?.block_on(async {
        let builder = AggregateStore::builder(path).durability(durability);
        let store = builder.open().await?;
        run_commands(&store, FILLING_CLIENTS, streams, streams * events).await?;
        store.close().await?;
        Ok(())
    })
}

/// Copies a directory and makes the copy durable, so that nothing of the copying is left to whoever opens it.
pub(crate) fn copy_directory(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let copy = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_directory(&entry.path(), &copy)?;
        } else {
            fs::copy(entry.path(), &copy)?;
            File::open(&copy)?.sync_all()?;
        }
    }
    File::open(to)?.sync_all()
}
