//! What one client notices of checkpoints, archives and merges.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use eventfold_es::AggregateStore;

use crate::clients::{id, make_live};
use crate::counter::{Counter, CounterCommand, NOTE};
use crate::raw::Raw;
use crate::report::{Limit, Report};
use crate::scratch::{Scratch, fill_fast};
use crate::{Failure, runtime};

pub(crate) const NAMES: &[&str] = &["p999_us"];

/// The live aggregates that the client goes round: each gets snapshots on the way.
const AGGREGATES: usize = 1000;
/// The events of each before: about 100 MiB of journal, and six or seven runs.
const EVENTS_BEFORE: usize = 200;
/// How often the note of an event is repeated, so that the journal grows by 1,300 bytes with each command.
const NOTES: usize = 10;
/// About 75 MiB more: four checkpoints, an archive, and a merge of eight runs.
const COMMANDS: usize = 60_000;
/// How long the disk is measured before and after.
const TURN: Duration = Duration::from_secs(1);

pub(crate) fn measure(scratch: &Scratch, report: &mut Report) -> Result<(), Failure> {
    let path = scratch.join("pauses");
    fill_fast(&path, AGGREGATES, EVENTS_BEFORE)?;
    let archives_before = names(&path.join("meta/journal"), ".jsonl.zst")?;
    let mut raw = Raw::measure(scratch.path(), TURN)?;
    let (latencies, archives, runs) = runtime()?.block_on(async {
        let store = AggregateStore::open(&path).await?;
        make_live(&store, 0..AGGREGATES).await?;
        let mut latencies = Vec::with_capacity(COMMANDS);
        for number in 0..COMMANDS {
            let counter = store.get::<Counter>(&id(number % AGGREGATES)).await?;
            let add = CounterCommand::Add {
                amount: 1,
                note: NOTE.repeat(NOTES),
            };
            let sent = Instant::now();
            counter.execute(add, ()).await?;
            latencies.push(sent.elapsed());
        }
        let archives = names(&path.join("meta/journal"), ".jsonl.zst")?;
        let runs = names(&path.join("meta/index"), ".run")?;
        store.close().await?;
        Ok::<_, Failure>((latencies, archives, runs))
    })?;
    raw.add(Raw::measure(scratch.path(), TURN)?);
    let is_merged = runs.iter().all(|run| run != "000001.run");
    if archives.len() == archives_before.len() || !is_merged {
        return Err(format!("there are the archives {archives:?} and the runs {runs:?}").into());
    }
    report.per_mille("p999_us", latencies, 999, Limit::Under(5000.0));
    report.per_mille("raw_p999_us", raw.latencies, 999, Limit::None);
    report.comment(&format!("{} archives, runs {runs:?}", archives.len()));
    Ok(())
}

/// The names with this end in a directory, sorted.
fn names(directory: &Path, end: &str) -> Result<Vec<String>, Failure> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory)? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.retain(|name| name.ends_with(end));
    names.sort();
    Ok(names)
}
