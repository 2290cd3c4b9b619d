//! Signals to processes that tests start.

use std::fs;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// The time that a process has to stop, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Kills processes.
pub fn kill(processes: impl IntoIterator<Item = u32>) {
    signal("KILL", processes);
}

/// Asks processes to end, and returns when they have ended.
///
/// # Panics
///
/// If a process has not ended after a minute.
pub fn end(processes: impl IntoIterator<Item = u32>) {
    signal_and_wait("TERM", processes, "ZXx");
}

/// Stops all threads of processes, and returns when they have stopped. The signal alone does less: a thread that waits for a
/// processor, or for the disk, goes on for a while.
///
/// # Panics
///
/// If a process has not stopped after a minute.
pub fn stop(processes: impl IntoIterator<Item = u32>) {
    signal_and_wait("STOP", processes, "TtZXx");
}

/// Ends [`stop`].
pub fn go_on(processes: impl IntoIterator<Item = u32>) {
    signal("CONT", processes);
}

/// Sends a signal to processes, some of which may have ended.
fn signal(name: &str, processes: impl IntoIterator<Item = u32>) {
    let pids: Vec<_> = processes.into_iter().map(|pid| pid.to_string()).collect();
    if !pids.is_empty() {
        let _ = Command::new("kill")
            .arg(format!("-{name}"))
            .args(pids)
            .stderr(Stdio::null())
            .status();
    }
}

/// Sends a signal to processes, and waits until each of their threads is in one of these states. proc(5) has the letters.
fn signal_and_wait(name: &str, processes: impl IntoIterator<Item = u32>, states: &str) {
    let processes: Vec<_> = processes.into_iter().collect();
    signal(name, processes.iter().copied());
    let begun = Instant::now();
    let goes_on = |process: &&u32| is_in_another_state(**process, states);
    while let Some(process) = processes.iter().find(goes_on) {
        assert!(begun.elapsed() < PATIENCE, "process {process} runs on");
        sleep(Duration::from_millis(1));
    }
}

/// Whether a thread of a process is in another state than these.
fn is_in_another_state(process: u32, states: &str) -> bool {
    let threads = fs::read_dir(format!("/proc/{process}/task"));
    threads.into_iter().flatten().flatten().any(|thread| {
        let stat = fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        // The name of the program, in parentheses, may have any letter.
        let state = stat
            .rsplit_once(") ")
            .and_then(|(_, rest)| rest.chars().next());
        state.is_some_and(|state| !states.contains(state))
    })
}
