//! A process manager with 1,000,000 instances, most of them complete: what it takes of memory, and how long a restart takes.

use std::convert::Infallible;
use std::path::Path;
use std::time::Instant;

use eventfold_es::prelude::*;
use eventfold_es::{AggregateStore, Correlation, Durability, RunMode};

use crate::process::{Usage, child};
use crate::report::{Limit, Report};
use crate::scratch::Scratch;
use crate::{Failure, runtime};

pub(crate) const NAMES: &[&str] = &[
    "instances_1m_filling_mib",
    "instances_1m_resident_mib",
    "instances_1m_restart_ms",
    "instances_1m_after_kill_ms",
];
pub(crate) const FILL: &str = "fill-instances";
pub(crate) const FILL_AND_KILL: &str = "add-instances";
pub(crate) const RESTART: &str = "restart-instances";

const INSTANCES: u64 = 1_000_000;
/// One in so many stays open.
const OPEN: u64 = 100;
const EVENTS_OF_A_COMMAND: u64 = 500;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum TillCommand {
    Serve { first: u64, customers: u64 },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
pub(crate) enum TillEvent {
    Came { customer: u64 },
    Left { customer: u64 },
}

#[aggregate(error = Infallible)]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Till {
    served: u64,
}

impl Decider for Till {
    fn decide(&self, command: TillCommand) -> Result<Vec<TillEvent>, Infallible> {
        let TillCommand::Serve { first, customers } = command;
        let events = (first..first + customers).flat_map(|customer| {
            let left = (customer % OPEN != 0).then_some(TillEvent::Left { customer });
            std::iter::once(TillEvent::Came { customer }).chain(left)
        });
        Ok(events.collect())
    }

    fn evolve(&mut self, _: &TillEvent) {
        self.served += 1;
    }
}

/// One visit of one customer.
#[process_manager(subscribes = [Till], dispatches = [], key = u64)]
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Visit {
    steps: u64,
    remark: String,
}

impl Correlate<Till> for Visit {
    fn correlate(event: &TillEvent, _: &EventContext<'_>) -> Correlation<u64> {
        match event {
            TillEvent::Came { customer } => Correlation::starts(*customer),
            TillEvent::Left { customer } => Correlation::continues(*customer),
        }
    }
}

impl React<Till> for Visit {
    fn react(&mut self, event: &TillEvent, cx: &mut Reaction<'_, Self>) {
        self.steps += 1;
        self.remark = "came in through the front door, looked around".to_owned();
        if let TillEvent::Left { .. } = event {
            cx.complete();
        }
    }
}

pub(crate) fn measure(scratch: &Scratch, report: &mut Report) -> Result<(), Failure> {
    let path = scratch.join("instances");
    let begun = Instant::now();
    let filled = run(FILL, &path)?;
    let seconds = begun.elapsed().as_secs_f64();
    report.value(
        "instances_1m_events_per_s",
        (2 * INSTANCES - INSTANCES / OPEN) as f64 / seconds,
        Limit::None,
    );
    tell(
        report,
        &filled,
        "resident_mib",
        "instances_1m_filling_mib",
        Limit::Under(300.0),
    )?;
    let restarted = run(RESTART, &path)?;
    tell(
        report,
        &restarted,
        "resident_mib",
        "instances_1m_resident_mib",
        Limit::Under(300.0),
    )?;
    tell(
        report,
        &restarted,
        "restart_ms",
        "instances_1m_restart_ms",
        Limit::Under(3000.0),
    )?;
    // It aborts itself, with more behind the last checkpoint.
    let mut killed = child(FILL_AND_KILL, &path)?;
    drop(killed.output()?);
    let restarted = run(RESTART, &path)?;
    tell(
        report,
        &restarted,
        "restart_ms",
        "instances_1m_after_kill_ms",
        Limit::Under(3000.0),
    )
}

fn run(task: &str, path: &Path) -> Result<String, Failure> {
    let output = child(task, path)?.output()?;
    if !output.status.success() {
        return Err(format!("{task} failed: {}", output.status).into());
    }
    Ok(String::from_utf8(output.stdout)?)
}

fn tell(
    report: &mut Report,
    output: &str,
    name: &str,
    as_name: &str,
    limit: Limit,
) -> Result<(), Failure> {
    let mut lines = output.lines().filter_map(|line| line.split_once(' '));
    let (_, value) = lines
        .find(|(found, _)| *found == name)
        .ok_or_else(|| format!("the child did not say {name}"))?;
    report.value(as_name, value.parse()?, limit);
    Ok(())
}

/// What the children do.
pub(crate) fn work(task: &str, path: &Path) -> Result<(), Failure> {
    runtime()?.block_on(async {
        let begun = Instant::now();
        let store = AggregateStore::builder(path)
            .process_manager::<Visit>()
            .run_mode(RunMode::Background)
            .durability(Durability::Flush)
            .open()
            .await?;
        match task {
            FILL => {
                serve(&store, 0, INSTANCES).await?;
                store.run_process_managers().await?;
                println!("resident_mib {}", Usage::read()?.resident_mib());
            }
            FILL_AND_KILL => {
                serve(&store, 2 * INSTANCES, 10_000).await?;
                store.run_process_managers().await?;
                std::process::abort();
            }
            _ => {
                // Until a new instance has been served.
                let first = 3 * INSTANCES + u64::from(std::process::id()) * 1000;
                serve(&store, first, 1).await?;
                store.run_process_managers().await?;
                println!("restart_ms {}", begun.elapsed().as_secs_f64() * 1e3);
                println!("resident_mib {}", Usage::read()?.resident_mib());
                check(&store).await?;
            }
        }
        store.close().await?;
        Ok(())
    })
}

/// That all instances are there, and those that did not leave are open.
async fn check(store: &AggregateStore) -> Result<(), Failure> {
    let status = store.process_manager::<Visit>()?.status().await?;
    let found = status.instances;
    let all = found.open + found.completed;
    if all < INSTANCES || found.open < INSTANCES / OPEN || found.open > all / (OPEN / 2) {
        return Err(format!("{found:?} are not those that were served").into());
    }
    println!("instances {all}, of which open {}", found.open);
    Ok(())
}

async fn serve(store: &AggregateStore, first: u64, customers: u64) -> Result<(), Failure> {
    let mut next = first;
    while next < first + customers {
        let count = EVENTS_OF_A_COMMAND.min(first + customers - next);
        let till = format!("till-{}", next / EVENTS_OF_A_COMMAND % 64);
        let command = TillCommand::Serve {
            first: next,
            customers: count,
        };
        store.send(&till, command, ()).await?;
        next += count;
    }
    Ok(())
}
