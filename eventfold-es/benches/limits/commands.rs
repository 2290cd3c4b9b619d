//! Durable commands per second, against what the same disk does without a store.

use std::ops::Range;
use std::time::Duration;

use eventfold_es::AggregateStore;
use tokio::runtime::Runtime;

use crate::clients::{Reached, make_live, run_for};
use crate::process::Usage;
use crate::raw::Raw;
use crate::report::{Limit, Report};
use crate::scratch::{Scratch, fill};
use crate::{Failure, ROUNDS, runtime};

pub(crate) const NAMES: &[&str] = &[
    "one_client_ratio",
    "c64_a64_ratio",
    "c64_a1_ratio",
    "c256_a10k_ratio",
    "c256_a10k_live_ratio",
    "raw_per_s",
];

/// How long the disk and the store are measured by turns, so that both meet the same moods of the machine.
const TURN: Duration = Duration::from_millis(200);
const TURNS: usize = 5;
/// How many existing aggregates 256 clients go round.
const MANY: usize = 10_000;

/// One kind of load.
struct Load {
    name: &'static str,
    clients: usize,
    aggregates: Range<usize>,
    at_least: Limit,
    ratios: Vec<f64>,
    per_second: Vec<f64>,
    latencies: Vec<Duration>,
}

impl Load {
    fn new(name: &'static str, clients: usize, aggregates: Range<usize>, at_least: Limit) -> Self {
        Self {
            name,
            clients,
            aggregates,
            at_least,
            ratios: Vec::new(),
            per_second: Vec::new(),
            latencies: Vec::new(),
        }
    }

    /// Measures a round, and adds what the disk did meanwhile to `raws`.
    fn round(
        &mut self,
        scratch: &Scratch,
        runtime: &Runtime,
        store: &AggregateStore,
        raws: &mut Raw,
    ) -> Result<(), Failure> {
        let mut raw = Raw::measure(scratch.path(), TURN)?;
        let mut reached = Reached::default();
        for _ in 0..TURNS {
            let turn = run_for(
                store,
                self.clients,
                self.aggregates.clone(),
                reached.latencies.len(),
                TURN,
            );
            reached.add(runtime.block_on(turn)?);
            raw.add(Raw::measure(scratch.path(), TURN)?);
        }
        self.ratios.push(reached.per_second() / raw.per_second());
        self.per_second.push(reached.per_second());
        self.latencies.extend(reached.latencies);
        raws.add(raw);
        Ok(())
    }
}

pub(crate) fn measure(scratch: &Scratch, report: &mut Report) -> Result<(), Failure> {
    let few = scratch.join("few-aggregates");
    let mut on_few = [
        Load::new("one_client", 1, 0..1, Limit::AtLeast(0.9)),
        Load::new("c64_a64", 64, 1..65, Limit::AtLeast(12.0)),
        Load::new("c64_a1", 64, 65..66, Limit::AtLeast(8.0)),
    ];
    let mut on_many = [
        Load::new("c256_a10k", 256, 0..MANY, Limit::AtLeast(15.0)),
        // Once more, now that none of them has to be loaded first.
        Load::new("c256_a10k_live", 256, 0..MANY, Limit::None),
    ];
    let runtime = runtime()?;
    let mut raws = Raw::default();
    let mut usage = None;
    for _ in 0..ROUNDS {
        let store = runtime.block_on(AggregateStore::open(&few))?;
        for load in &on_few {
            // There are no snapshots yet: loading the longest of them takes a part of a second.
            runtime.block_on(make_live(&store, load.aggregates.clone()))?;
        }
        for load in &mut on_few {
            load.round(scratch, &runtime, &store, &mut raws)?;
        }
        runtime.block_on(store.close())?;
        // Filled and opened anew in each round, so that none of them is live yet, and each has one event.
        let many = scratch.join("many-aggregates");
        fill(&many, MANY, 1)?;
        let store = runtime.block_on(AggregateStore::open(&many))?;
        for load in &mut on_many {
            load.round(scratch, &runtime, &store, &mut raws)?;
        }
        usage = Some(Usage::read()?);
        runtime.block_on(store.close())?;
        std::fs::remove_dir_all(&many)?;
    }
    report.value("raw_per_s", raws.per_second(), Limit::None);
    report.latencies("raw", raws.latencies);
    for load in on_few.into_iter().chain(on_many) {
        let name = load.name;
        report.median(&format!("{name}_ratio"), load.ratios, load.at_least);
        report.median(&format!("{name}_per_s"), load.per_second, Limit::None);
        report.latencies(name, load.latencies);
    }
    if let Some(usage) = usage {
        report.value("threads", usage.threads as f64, Limit::None);
        report.value("descriptors", usage.descriptors as f64, Limit::None);
        report.value("resident_mib", usage.resident_mib(), Limit::None);
    }
    Ok(())
}
