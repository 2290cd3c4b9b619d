//! `cargo bench -p eventfold-es --bench limits`: what the store must reach, measured. `docs/internals/benchmarks.md` says what each line
//! means.

mod alone;
mod catch_up;
mod clients;
mod commands;
mod counter;
mod creating;
mod document;
mod handlers;
mod instances;
mod loading;
mod long_stream;
mod memory;
mod opening;
mod pauses;
mod process;
mod projections;
mod raw;
mod reactions;
mod redo;
mod report;
mod rows;
mod scratch;
mod space;
#[cfg(feature = "sqlite")]
mod sqlite;
mod states;
mod subscribers;

use std::time::{Duration, Instant};

use report::Report;
use scratch::Scratch;

/// Whatever stops a measurement.
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// How often everything is measured that takes part in a median.
const ROUNDS: usize = 5;

/// Measurements that share what they are made on.
struct Section {
    /// What it prints, for the filters on the command line.
    names: &'static [&'static str],
    measure: fn(&Scratch, &mut Report) -> Result<(), Failure>,
}

const SECTIONS: &[Section] = &[
    Section {
        names: commands::NAMES,
        measure: commands::measure,
    },
    Section {
        names: alone::NAMES,
        measure: alone::measure,
    },
    Section {
        names: states::READS,
        measure: states::measure_reads,
    },
    Section {
        names: states::BIG,
        measure: states::measure_big,
    },
    Section {
        names: catch_up::NAMES,
        measure: catch_up::measure,
    },
    Section {
        names: long_stream::NAMES,
        measure: long_stream::measure,
    },
    Section {
        names: subscribers::LIVE,
        measure: subscribers::measure_live,
    },
    Section {
        names: subscribers::IDLE,
        measure: subscribers::measure_idle,
    },
    Section {
        names: reactions::INLINE,
        measure: reactions::measure_inline,
    },
    Section {
        names: reactions::INLINE_64,
        measure: reactions::measure_inline_64,
    },
    Section {
        names: reactions::BACKGROUND,
        measure: reactions::measure_background,
    },
    Section {
        names: reactions::CATCHING_UP,
        measure: reactions::measure_catching_up,
    },
    Section {
        names: handlers::RATE,
        measure: handlers::measure_rate,
    },
    Section {
        names: handlers::LATENCY,
        measure: handlers::measure_latency,
    },
    Section {
        names: handlers::COST,
        measure: handlers::measure_cost,
    },
    Section {
        names: handlers::WAITING,
        measure: handlers::measure_waiting,
    },
    Section {
        names: instances::NAMES,
        measure: instances::measure,
    },
    Section {
        names: redo::NAMES,
        measure: redo::measure,
    },
    Section {
        names: projections::NAMES,
        measure: projections::measure,
    },
    Section {
        names: projections::LOOK_UPS,
        measure: projections::measure_look_ups,
    },
    Section {
        names: creating::NAMES,
        measure: creating::measure,
    },
    Section {
        names: memory::NAMES,
        measure: memory::measure,
    },
    Section {
        names: opening::NAMES,
        measure: opening::measure,
    },
    Section {
        names: opening::CLOSING,
        measure: opening::measure_closing,
    },
    Section {
        names: creating::RATES,
        measure: creating::measure_rates,
    },
    Section {
        names: space::NAMES,
        measure: space::measure,
    },
    Section {
        names: pauses::NAMES,
        measure: pauses::measure,
    },
    Section {
        names: loading::OF_SNAPSHOTS,
        measure: loading::measure_snapshots,
    },
    Section {
        names: loading::SCATTERED,
        measure: loading::measure_scattered,
    },
    Section {
        names: opening::A_MILLION,
        measure: opening::measure_a_million,
    },
    Section {
        names: memory::A_MILLION,
        measure: memory::measure_a_million,
    },
    Section {
        names: loading::NAMES,
        measure: loading::measure,
    },
    Section {
        names: rows::NAMES,
        measure: rows::measure,
    },
    Section {
        names: rows::READS,
        measure: rows::measure_reads,
    },
    #[cfg(feature = "sqlite")]
    Section {
        names: sqlite::NAMES,
        measure: sqlite::measure,
    },
    #[cfg(feature = "sqlite")]
    Section {
        names: sqlite::READING,
        measure: sqlite::measure_reading,
    },
];

fn main() -> Result<(), Failure> {
    if let Some(child) = process::child_task()? {
        return match child.task.as_str() {
            redo::CHILD => redo::work_until_killed(&child.store),
            memory::CHILD => memory::work(&child.store),
            rows::CHILD => rows::work(&child.store),
            memory::CHILD_OF_A_MILLION => memory::open(&child.store),
            task @ (handlers::WAIT | handlers::IDLE) => handlers::wait(task, &child.store),
            task @ (instances::FILL | instances::FILL_AND_KILL | instances::RESTART) => {
                instances::work(task, &child.store)
            }
            other => Err(format!("there is no child `{other}`").into()),
        };
    }
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    if !arguments.iter().any(|argument| argument == "--bench") {
        println!("# nothing is measured unless `cargo bench` asks for it");
        return Ok(());
    }
    let filters: Vec<_> = arguments
        .iter()
        .filter(|argument| !argument.starts_with('-'))
        .collect();
    let is_wanted = |section: &&Section| {
        let mut names = section.names.iter();
        filters.is_empty()
            || names.any(|name| filters.iter().any(|filter| name.contains(filter.as_str())))
    };

    let scratch = Scratch::new()?;
    let mut report = Report::default();
    report.comment(&format!("in {}", scratch.path().display()));
    for section in SECTIONS.iter().filter(is_wanted) {
        let start = Instant::now();
        (section.measure)(&scratch, &mut report)?;
        report.comment(&format!("{:.1} s", start.elapsed().as_secs_f64()));
    }
    report.finish();
    Ok(())
}

/// The runtime that clients and the store share, with a worker per core.
fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    Ok(tokio::runtime::Builder::new_multi_thread()
        .enable_time()
        .build()?)
}

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}
