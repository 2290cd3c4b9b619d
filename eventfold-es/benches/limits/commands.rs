//! Durable commands per second, against what the same disk does without a store.

use std::time::Duration;

use eventfold_es::AggregateStore;

use crate::clients::{Reached, run_for};
use crate::raw::Raw;
use crate::report::{Limit, Report};
use crate::scratch::Scratch;
use crate::{Failure, ROUNDS, process, runtime};

pub(crate) const NAMES: &[&str] = &[
    "one_client_ratio",
    "c64_a64_ratio",
    "c64_a1_ratio",
    "c256_a10k_ratio",
    "c256_a10k_live_ratio",
    "raw_per_s",
];

const WINDOW: Duration = Duration::from_millis(700);
/// How many existing aggregates 256 clients go round.
const MANY: usize = 10_000;

/// One kind of load.
struct Load {
    name: &'static str,
    clients: usize,
    aggregates: usize,
    at_least: Limit,
    ratios: Vec<f64>,
    per_second: Vec<f64>,
    latencies: Vec<Duration>,
}

impl Load {
    fn new(name: &'static str, clients: usize, aggregates: usize, at_least: Limit) -> Self {
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

    fn add(&mut self, reached: Reached, raw: &Raw) {
        self.ratios.push(reached.per_second / raw.per_second());
        self.per_second.push(reached.per_second);
        self.latencies.extend(reached.latencies);
    }
}

pub(crate) fn measure(scratch: &Scratch, report: &mut Report) -> Result<(), Failure> {
    let path = scratch.store_of(MANY)?;
    let mut loads = [
        Load::new("one_client", 1, 1, Limit::AtLeast(0.9)),
        Load::new("c64_a64", 64, 64, Limit::AtLeast(12.0)),
        Load::new("c64_a1", 64, 1, Limit::AtLeast(8.0)),
        Load::new("c256_a10k", 256, MANY, Limit::AtLeast(15.0)),
        // Once more, now that none of them has to be loaded first.
        Load::new("c256_a10k_live", 256, MANY, Limit::None),
    ];
    let runtime = runtime()?;
    let mut raws = Raw::default();
    for round in 1..=ROUNDS {
        // Opened anew, so that nothing is live yet.
        let store = runtime.block_on(AggregateStore::open(&path))?;
        let mut before = Raw::measure(scratch.path(), WINDOW)?;
        for load in &mut loads {
            let run = run_for(&store, load.clients, load.aggregates, WINDOW);
            let reached = runtime.block_on(run)?;
            let after = Raw::measure(scratch.path(), WINDOW)?;
            load.add(reached, &before.with(&after));
            raws = raws.with(&before);
            before = after;
        }
        if round == ROUNDS {
            let usage = process::Usage::read()?;
            report.value("threads", usage.threads as f64, Limit::None);
            report.value("descriptors", usage.descriptors as f64, Limit::None);
            report.value("resident_mib", usage.resident_mib(), Limit::None);
        }
        runtime.block_on(store.close())?;
    }
    report.value("raw_per_s", raws.per_second(), Limit::None);
    report.latencies("raw", raws.latencies);
    for load in loads {
        let name = load.name;
        report.median(&format!("{name}_ratio"), load.ratios, load.at_least);
        report.median(&format!("{name}_per_s"), load.per_second, Limit::None);
        report.latencies(name, load.latencies);
    }
    Ok(())
}
