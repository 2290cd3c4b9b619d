//! Opening a store that was killed far behind its last checkpoint.
//!
//! A running store takes a checkpoint whenever its journal is 16 MiB ahead, so that 64 MiB are left only where several of them
//! failed. They fail here because a directory has the name of the file that each of them begins with.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::time::Instant;

use eventfold_es::AggregateStore;

use crate::clients::{id, run_commands};
use crate::counter::Counter;
use crate::process::{child, processor_time};
use crate::report::{Limit, Report};
use crate::scratch::{Scratch, copy_directory};
use crate::{Failure, ROUNDS, runtime};

pub(crate) const NAMES: &[&str] = &["open_redo_ms"];
pub(crate) const CHILD: &str = "redo";

const STREAMS: usize = 1000;
const REDO_BYTES: u64 = 64 << 20;
/// By how much the file of the journal may be longer than what is written in it.
const FILLED_AHEAD: u64 = 256 << 10;
const CLIENTS: usize = 256;
const COMMANDS_AT_ONCE: usize = 1000;

fn obstacle(store: &Path) -> PathBuf {
    store.join("meta/checkpoint.json.tmp")
}

fn journal_bytes(store: &Path) -> Result<u64, Failure> {
    Ok(fs::metadata(store.join("meta/journal/app.jsonl"))?.len())
}

pub(crate) fn measure(scratch: &Scratch, report: &mut Report) -> Result<(), Failure> {
    let killed = scratch.store_of(STREAMS)?;
    fs::create_dir(obstacle(&killed))?;
    let acknowledged = kill_one_that_works(&killed)?;
    fs::remove_dir(obstacle(&killed))?;

    let (mut rounds, mut processors) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let path = scratch.join(&format!("killed-{round}"));
        copy_directory(&killed, &path)?;
        let (opening, processor) = open(&path, acknowledged)?;
        rounds.push(opening);
        processors.push(processor);
        fs::remove_dir_all(path)?;
    }
    fs::remove_dir_all(killed)?;
    report.median("open_redo_ms", rounds, Limit::Under(300.0));
    report.median("open_redo_processor_ms", processors, Limit::None);
    report.comment(&format!("{acknowledged} commits were redone"));
    Ok(())
}

/// How many commands the process was told that they are durable.
fn kill_one_that_works(store: &Path) -> Result<usize, Failure> {
    let mut child = child(CHILD, store)?.spawn()?;
    let output = child.stdout.take().ok_or("the child has no output")?;
    let mut line = String::new();
    let told = BufReader::new(output).read_line(&mut line);
    child.kill()?;
    child.wait()?;
    told?;
    Ok(line
        .trim()
        .parse()
        .map_err(|_| format!("the child said `{line}`"))?)
}

/// What the child does: it fills the journal, tells how many commands were acknowledged, and waits to be killed.
pub(crate) fn work_until_killed(path: &Path) -> Result<(), Failure> {
    runtime()?.block_on(async {
        let enough = journal_bytes(path)? + REDO_BYTES + FILLED_AHEAD;
        let store = AggregateStore::open(path).await?;
        let mut acknowledged = 0;
        while journal_bytes(path)? < enough {
            run_commands(&store, CLIENTS, STREAMS, COMMANDS_AT_ONCE).await?;
            acknowledged += COMMANDS_AT_ONCE;
        }
        println!("{acknowledged}");
        std::future::pending().await
    })
}

/// Opens the store, and checks that everything acknowledged was redone and is there; gives the milliseconds of the opening, and those
/// that processors worked on it.
fn open(path: &Path, acknowledged: usize) -> Result<(f64, f64), Failure> {
    runtime()?.block_on(async {
        let (start, before) = (Instant::now(), processor_time()?);
        let store = AggregateStore::open(path).await?;
        let opening = start.elapsed();
        let processor = processor_time()?.saturating_sub(before);
        let redone = store.recovery().redone_commits;
        if redone != acknowledged as u64 {
            return Err(format!("{redone} of {acknowledged} commits were redone").into());
        }
        let mut sum = 0;
        for number in 0..STREAMS {
            sum += store.get::<Counter>(&id(number)).await?.state().await?.sum;
        }
        if sum != (STREAMS + acknowledged) as u64 {
            return Err(format!("{sum} of {} events are there", STREAMS + acknowledged).into());
        }
        store.close().await?;
        Ok((opening.as_secs_f64() * 1e3, processor.as_secs_f64() * 1e3))
    })
}
