//! The suite catches bugs: each of a list is planted, one at a time, and some test of the suite must fail.
//!
//! A bug is planted by the environment variable `EVENTFOLD_PLANTED_BUG`, which the library reads only in a build with
//! `--cfg eventfold_sabotage`. This test makes that build, of the test executables that it needs. For each bug a few tests are
//! named that could catch it; they are run, in processes of their own, until one fails. Which one it was is printed, with the
//! first thing that it said. Without a bug all of them pass.
//!
//! `EVENTFOLD_PLANTED_BUG_ONLY=skip-sync` plants that one only.

mod detectors;
mod executables;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use detectors::{Detector, detectors};
use eventfold_es::sabotage::Bug;

/// Nothing here takes so long, unless it never ends.
const PATIENCE: Duration = Duration::from_secs(60);
/// How many tests run at the same time. Those of several nodes wait most of the time.
const WORKERS: usize = 4;

/// What became of a test.
enum Ran {
    Passed,
    Failed(String),
    NeverEnded,
}

#[test]
fn every_planted_bug_is_caught() {
    let only = std::env::var("EVENTFOLD_PLANTED_BUG_ONLY").ok();
    let is_chosen = |bug: &Bug| only.as_ref().is_none_or(|only| only == bug.name());
    let bugs: Vec<_> = Bug::ALL.iter().copied().filter(is_chosen).collect();
    assert!(!bugs.is_empty(), "there is no bug {only:?}");
    let all = bugs.iter().flat_map(|bug| detectors(*bug));
    let names: BTreeSet<_> = all.map(|detector| detector.executable).collect();
    let executables = executables::build(&names);
    let run = |detector: &Detector, bug| run(&executables[detector.executable], detector, bug);

    let used = Mutex::new(BTreeSet::new());
    let lines = in_parallel(&bugs, |bug| {
        let begun = Instant::now();
        for detector in detectors(*bug) {
            let how = match run(&detector, Some(*bug)) {
                Ran::Passed => continue,
                Ran::Failed(message) => message,
                Ran::NeverEnded => "it never ends".to_owned(),
            };
            used.lock().unwrap().insert(detector);
            let seconds = begun.elapsed().as_secs_f32();
            return Ok(format!(
                "{}: caught by {detector} ({how}), {seconds:.1} s",
                bug.name()
            ));
        }
        Err(format!(
            "{}: NOT CAUGHT ({})",
            bug.name(),
            bug.description().trim()
        ))
    });
    for line in &lines {
        println!("{}", line.as_ref().unwrap_or_else(|line| line));
    }
    let missed: Vec<_> = lines.into_iter().filter_map(Result::err).collect();
    println!("{} bugs, {} not caught", bugs.len(), missed.len());

    // A test that fails anyway catches nothing. The crash enumeration is not run again, it takes long and is a test itself.
    let used = used.into_inner().unwrap().into_iter();
    let used: Vec<_> = used.filter(|used| !used.is_long()).collect();
    let failing: Vec<_> = in_parallel(&used, |detector| match run(detector, None) {
        Ran::Passed => Ok(String::new()),
        Ran::Failed(message) => Err(format!("{detector}: {message}")),
        Ran::NeverEnded => Err(format!("{detector} never ends")),
    });
    let failing: Vec<_> = failing.into_iter().filter_map(Result::err).collect();
    assert!(failing.is_empty(), "these fail without a bug: {failing:#?}");
    assert!(missed.is_empty(), "{missed:#?}");
}

fn in_parallel<T: Sync>(
    items: &[T],
    work: impl Fn(&T) -> Result<String, String> + Sync,
) -> Vec<Result<String, String>> {
    let (next, done) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(item) = items.get(index) else { return };
                    let worked = work(item);
                    done.lock().unwrap().insert(index, worked);
                }
            });
        }
    });
    done.into_inner().unwrap().into_values().collect()
}

/// Runs one test of the suite in a process of its own.
fn run(executable: &Path, detector: &Detector, bug: Option<Bug>) -> Ran {
    // Images of crashes that are kept for whoever looks for the cause go with it.
    let place = tempfile::tempdir().unwrap();
    let output = place.path().join("output");
    let file = File::create(&output).unwrap();
    let mut command = Command::new(executable);
    command
        .args(["--exact", detector.test, "--test-threads=1"])
        .env("TMPDIR", place.path())
        .env("RUST_BACKTRACE", "0")
        .envs(detector.environment())
        .stdin(Stdio::null())
        .stdout(file.try_clone().unwrap())
        .stderr(file);
    match bug {
        Some(bug) => command.env("EVENTFOLD_PLANTED_BUG", bug.name()),
        None => command.env_remove("EVENTFOLD_PLANTED_BUG"),
    };
    let mut child = command.spawn().unwrap();
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if begun.elapsed() > PATIENCE {
            child.kill().unwrap();
            child.wait().unwrap();
            return Ran::NeverEnded;
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    let output = String::from_utf8_lossy(&std::fs::read(&output).unwrap()).into_owned();
    if status.success() {
        assert!(
            output.contains("1 passed"),
            "there is no {detector}: {output}"
        );
        return Ran::Passed;
    }
    Ran::Failed(first_message(&output).unwrap_or_else(|| format!("{status}")))
}

/// What the first panic of a test said, on one line.
fn first_message(output: &str) -> Option<String> {
    let mut lines = output
        .lines()
        .skip_while(|line| !line.contains(" panicked at "))
        .skip(1)
        .map(str::trim);
    let mut message = lines.next()?.to_owned();
    // A list of violations begins on the next line.
    if message == "[" || message.ends_with(':') {
        message.push(' ');
        message.push_str(lines.next().unwrap_or_default());
    }
    let short: String = message.chars().take(200).collect();
    Some(short)
}
