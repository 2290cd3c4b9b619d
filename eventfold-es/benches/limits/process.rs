//! What a process uses, as `/proc` says, and processes that this one starts to be measured on their own.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

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

/// The processor time of the threads that this process has now.
pub(crate) fn processor_time() -> Result<Duration, Failure> {
    let mut nanos = 0;
    for thread in fs::read_dir("/proc/self/task")? {
        // A thread may end meanwhile.
        if let Ok(times) = fs::read_to_string(thread?.path().join("schedstat")) {
            let running = times.split_whitespace().next();
            nanos += running.ok_or("`schedstat` is empty")?.parse::<u64>()?;
        }
    }
    Ok(Duration::from_nanos(nanos))
}

/// How many system calls this process has made to read.
pub(crate) fn read_calls() -> Result<u64, Failure> {
    let io = fs::read_to_string("/proc/self/io")?;
    let calls = io.lines().find_map(|line| line.strip_prefix("syscr: "));
    Ok(calls.ok_or("/proc/self/io has no `syscr`")?.parse()?)
}
