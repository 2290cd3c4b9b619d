//! What 100,000 streams and 1,000,000 take of memory, threads and descriptors, in a process that does nothing else.

use std::path::Path;
use std::time::Duration;

use eventfold_es::AggregateStore;

use crate::clients::{make_live, run_commands};
use crate::process::{Usage, child};
use crate::report::{Limit, Report};
use crate::scratch::Scratch;
use crate::{Failure, runtime};

pub(crate) const NAMES: &[&str] = &[
    "live_100k_bytes_each",
    "known_100k_bytes_each",
    "used_100k_bytes_each",
];
pub(crate) const CHILD: &str = "memory";
pub(crate) const A_MILLION: &[&str] = &["known_1m_resident_mib"];
pub(crate) const CHILD_OF_A_MILLION: &str = "memory-of-a-million";

const STREAMS: usize = 100_000;
const CLIENTS: usize = 256;
/// Longer than the store waits before it looks what has become idle.
const SETTLING: Duration = Duration::from_secs(12);

pub(crate) fn measure(scratch: &Scratch, report: &mut Report) -> Result<(), Failure> {
    let path = scratch.store_of(STREAMS)?;
    for line in ask(CHILD, &path)?.lines() {
        let (name, value) = line.split_once(' ').ok_or("a line of the child is empty")?;
        let limit = match name {
            "live_100k_bytes_each" | "used_100k_bytes_each" => Limit::Under(1024.0),
            "live_100k_added_threads" | "live_100k_added_descriptors" => Limit::Under(100.0),
            _ => Limit::None,
        };
        report.value(name, value.parse()?, limit);
    }
    Ok(())
}

pub(crate) fn measure_a_million(scratch: &Scratch, report: &mut Report) -> Result<(), Failure> {
    let resident = ask(CHILD_OF_A_MILLION, &scratch.store_of_a_million()?)?;
    let resident = resident.trim().parse()?;
    report.value("known_1m_resident_mib", resident, Limit::Under(40.0));
    Ok(())
}

fn ask(task: &str, path: &Path) -> Result<String, Failure> {
    let output = child(task, path)?.output()?;
    if !output.status.success() {
        return Err(format!("measuring memory failed: {}", output.status).into());
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// What the child of a million does.
pub(crate) fn open(path: &Path) -> Result<(), Failure> {
    runtime()?.block_on(async {
        let store = AggregateStore::open(path).await?;
        println!("{}", Usage::read()?.resident_mib());
        store.close().await?;
        Ok(())
    })
}

/// What the child does.
pub(crate) fn work(path: &Path) -> Result<(), Failure> {
    runtime()?.block_on(async {
        let empty = Usage::read()?;
        let store = AggregateStore::open(path).await?;
        let known = Usage::read()?;
        tell_growth("known", &empty, &known);

        // One after the other, so that few threads load.
        make_live(&store, 0..STREAMS).await?;
        let live = Usage::read()?;
        tell_growth("live", &known, &live);
        println!("live_100k_resident_mib {}", live.resident_mib());

        run_commands(&store, CLIENTS, STREAMS, STREAMS).await?;
        tokio::time::sleep(SETTLING).await;
        tell_growth("used", &known, &Usage::read()?);
        store.close().await?;
        Ok(())
    })
}

fn tell_growth(name: &str, before: &Usage, after: &Usage) {
    let bytes = after.resident_bytes as f64 - before.resident_bytes as f64;
    println!("{name}_100k_bytes_each {}", bytes / STREAMS as f64);
    let threads = after.threads as f64 - before.threads as f64;
    println!("{name}_100k_added_threads {threads}");
    let descriptors = after.descriptors as f64 - before.descriptors as f64;
    println!("{name}_100k_added_descriptors {descriptors}");
}
