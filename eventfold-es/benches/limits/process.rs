//! What a process uses, as `/proc` says, and processes that this one starts to be measured on their own.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::Failure;

const TASK: &str = "EVENTFOLD_BENCH_CHILD";
const STORE: &str = "EVENTFOLD_BENCH_CHILD_STORE";

/// What a child process is to do.
pub(crate) struct ChildTask {
    pub(crate) task: String,
    pub(crate) store: PathBuf,
}

/// The task of this process, if another one of this program started it.
pub(crate) fn child_task() -> Result<Option<ChildTask>, Failure> {
    let Ok(task) = std::env::var(TASK) else {
        return Ok(None);
    };
    let store = std::env::var_os(STORE).ok_or("a child needs a store")?;
    Ok(Some(ChildTask {
        task,
        store: store.into(),
    }))
}

/// This program once more, to do `task` on a store and to tell of it on its standard output.
pub(crate) fn child(task: &str, store: &Path) -> io::Result<Command> {
    let mut child = Command::new(std::env::current_exe()?);
    child
        .env(TASK, task)
        .env(STORE, store)
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    Ok(child)
}

/// What this process uses at one moment.
#[derive(Clone, Copy)]
pub(crate) struct Usage {
    pub(crate) threads: u64,
    pub(crate) descriptors: u64,
    pub(crate) resident_bytes: u64,
}

impl Usage {
    pub(crate) fn read() -> Result<Self, Failure> {
        let status = fs::read_to_string("/proc/self/status")?;
        let number = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key));
            let number = line.and_then(|line| line.split_whitespace().next());
            number.ok_or_else(|| format!("/proc/self/status has no `{key}`"))
        };
        Ok(Self {
            threads: number("Threads:")?.parse()?,
            // Without the one that reads the directory.
            descriptors: (fs::read_dir("/proc/self/fd")?.count() as u64).saturating_sub(1),
            resident_bytes: number("VmRSS:")?.parse::<u64>()? * 1024,
        })
    }

    pub(crate) fn resident_mib(&self) -> f64 {
        self.resident_bytes as f64 / (1 << 20) as f64
    }
}
