//! How fast instances catch up, and what a million of them cost.

use std::path::Path;
use std::time::Instant;

use eventfold_es::prelude::*;
use eventfold_es::{Correlate, Correlation, EventContext, RunMode};

use crate::counter::{Counter, CounterCommand, CounterEvent};
use crate::process::{Usage, child};
use crate::report::{Limit, Report};
use crate::scratch::{Scratch, fill};
use crate::{Failure, ROUNDS, runtime};

pub(crate) const NAMES: &[&str] = &["keyed_reactions_per_s", "instances_1m"];
pub(crate) const CHILD: &str = "instances";

const STREAMS: usize = 1000;
const EVENTS: usize = 100_000;
/// How many instances one event begins.
const FAN_OUT: usize = 1000;

/// Sends on what is added, with an instance for each source.
#[process_manager(subscribes = [Counter], dispatches = [Counter], key = String)]
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Keyed {
    seen: u64,
}

impl Correlate<Counter> for Keyed {
    fn correlate(_event: &CounterEvent, cx: &EventContext<'_>) -> Correlation<String> {
        match cx.stream_id().starts_with("out-") {
            true => Correlation::none(),
            false => Correlation::starts_or_continues(cx.stream_id().to_owned()),
        }
    }
}

impl React<Counter> for Keyed {
    fn react(&mut self, event: &CounterEvent, cx: &mut Reaction<'_, Self>) {
        let CounterEvent::Added { amount, note } = event;
        self.seen += 1;
        let (amount, note) = (*amount, note.clone());
        cx.send(
            format!("out-{}", cx.stream_id()),
            CounterCommand::Add { amount, note },
        );
    }
}

/// Begins a thousand instances at each event; all but one of a hundred end at once.
#[process_manager(subscribes = [Counter], dispatches = [Counter], key = String)]
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Million {
    note: String,
}

impl Correlate<Counter> for Million {
    fn correlate(_event: &CounterEvent, cx: &EventContext<'_>) -> Correlation<String> {
        let (stream, version) = (cx.stream_id(), cx.event().version);
        Correlation::each(
            (0..FAN_OUT).map(|number| {
                Correlation::starts_or_continues(format!("{stream}-{version}-{number}"))
            }),
        )
    }
}

impl React<Counter> for Million {
    fn react(&mut self, event: &CounterEvent, cx: &mut Reaction<'_, Self>) {
        let CounterEvent::Added { note, .. } = event;
        self.note.clone_from(note);
        if !cx.key().ends_with("00") {
            cx.complete();
        }
    }
}

pub(crate) fn measure(scratch: &Scratch, report: &mut Report) -> Result<(), Failure> {
    let pending = scratch.join("pending");
    fill(&pending, STREAMS, EVENTS / STREAMS)?;
    let mut keyed = Vec::new();
    for round in 0..ROUNDS.min(3) {
        let place = scratch.join(&format!("keyed-{round}"));
        copy(&pending, &place)?;
        keyed.push(catch_up::<Keyed>(&place)?);
        std::fs::remove_dir_all(&place)?;
    }
    report.median("keyed_reactions_per_s", keyed, Limit::None);

    let store = scratch.join("instances");
    fill(&store, STREAMS, 1)?;
    for phase in ["begun", "restarted"] {
        let output = child(CHILD, &store)?.output()?;
        if !output.status.success() {
            return Err(format!("measuring instances failed: {}", output.status).into());
        }
        for line in String::from_utf8(output.stdout)?.lines() {
            let (name, value) = line.split_once(' ').ok_or("a line of the child is empty")?;
            let limit = match (phase, name) {
                ("restarted", "seconds_to_open") => Limit::Under(3.0),
                (_, "resident_mib") => Limit::Under(300.0),
                _ => Limit::None,
            };
            let name = format!("instances_1m_{phase}_{name}");
            report.value(&name, value.parse()?, limit);
        }
    }
    Ok(())
}

/// Copies a store; what of it is not synced is little beside what is measured.
fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let place = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &place)?;
        } else {
            std::fs::copy(entry.path(), &place)?;
        }
    }
    Ok(())
}

fn catch_up<PM: ProcessManager>(path: &Path) -> Result<f64, Failure> {
    runtime()?.block_on(async {
        let store = AggregateStore::builder(path)
            .run_mode(RunMode::OnDemand)
            .process_manager::<PM>()
            .open()
            .await?;
        let begun = Instant::now();
        let report = store.run_process_managers().await?;
        let rate = EVENTS as f64 / begun.elapsed().as_secs_f64();
        if report.dispatched != EVENTS {
            return Err(format!("{report:?}").into());
        }
        store.close().await?;
        Ok(rate)
    })
}

/// What the child does: it opens the store, lets it catch up, and tells what that takes.
pub(crate) fn work(path: &Path) -> Result<(), Failure> {
    runtime()?.block_on(async {
        let begun = Instant::now();
        let store = AggregateStore::builder(path)
            .run_mode(RunMode::OnDemand)
            .process_manager::<Million>()
            .open()
            .await?;
        println!("seconds_to_open {}", begun.elapsed().as_secs_f64());
        let begun = Instant::now();
        store.run_process_managers().await?;
        println!("seconds_to_catch_up {}", begun.elapsed().as_secs_f64());
        let begun = Instant::now();
        let status = store.process_manager::<Million>()?.status().await?;
        println!("seconds_to_count {}", begun.elapsed().as_secs_f64());
        println!("open {}", status.instances.open);
        println!("completed {}", status.instances.completed);
        println!("resident_mib {}", Usage::read()?.resident_mib());
        store.close().await?;
        Ok(())
    })
}
