//! What event handlers reach, and what they cost the commands beside them.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use eventfold_es::prelude::*;
use eventfold_es::{AggregateStore, HandleError, RunMode};

use crate::clients::{Reached, id, make_live, run_for};
use crate::counter::{Counter, CounterCommand};
use crate::process::{Usage, child};
use crate::report::{Limit, Report};
use crate::scratch::{Scratch, copy_directory, fill, fill_fast};
use crate::{Failure, ROUNDS, runtime};

pub(crate) const RATE: &[&str] = &["handlers_per_s"];
pub(crate) const LATENCY: &[&str] = &["handler_latency_p99_us"];
pub(crate) const COST: &[&str] = &["handlers_cost"];
pub(crate) const WAITING: &[&str] = &["handlers_1m_waiting_mib"];
/// The children that hold a store whose events wait for a handler, and the same store without one.
pub(crate) const WAIT: &str = "wait-for-a-handler";
pub(crate) const IDLE: &str = "without-a-handler";

/// How many events wait for the handler.
const PENDING: usize = 100_000;
const PENDING_STREAMS: usize = 1000;
const TURN: Duration = Duration::from_millis(200);
const TURNS: usize = 5;
const CLIENTS: usize = 64;
/// How many commands are sent to an idle handler.
const SENT: usize = 1000;

/// How many events wait for a slow handler.
const WAITING_EVENTS: usize = 1_000_000;
/// How long the memory of its store is watched.
const WATCHED: Duration = Duration::from_secs(20);

/// Does nothing, with 64 keys at a time.
struct Idle;

impl EventHandler for Idle {
    const NAME: &'static str = "idle";
    const SUBSCRIPTIONS: &'static [&'static str] = &[Counter::AGGREGATE_TYPE];
    const CONCURRENCY: usize = 64;
    type Envelope = CommandEnvelope;

    async fn handle_event(&self, _: &mut Handling<'_, Self>) -> Result<(), HandleError> {
        Ok(())
    }
}

/// Takes 10 ms for each event.
struct Slow;

impl EventHandler for Slow {
    const NAME: &'static str = "slow";
    const SUBSCRIPTIONS: &'static [&'static str] = &[Counter::AGGREGATE_TYPE];
    type Envelope = CommandEnvelope;

    async fn handle_event(&self, _: &mut Handling<'_, Self>) -> Result<(), HandleError> {
        tokio::time::sleep(Duration::from_millis(10)).await;
        Ok(())
    }
}

/// Takes 10 ms, or 300 ms for each 16th event. These calls are deferred.
struct Slower;

impl EventHandler for Slower {
    const NAME: &'static str = "slower";
    const SUBSCRIPTIONS: &'static [&'static str] = &[Counter::AGGREGATE_TYPE];
    type Envelope = CommandEnvelope;

    async fn handle_event(&self, cx: &mut Handling<'_, Self>) -> Result<(), HandleError> {
        let millis = match cx.position() % 16 {
            0 => 300,
            _ => 10,
        };
        tokio::time::sleep(Duration::from_millis(millis)).await;
        Ok(())
    }
}

/// Notes when it is called.
#[derive(Clone, Default)]
struct Clocked(Arc<Mutex<Vec<Instant>>>);

impl Clocked {
    fn calls(&self) -> Vec<Instant> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl EventHandler for Clocked {
    const NAME: &'static str = "clocked";
    const SUBSCRIPTIONS: &'static [&'static str] = &[Counter::AGGREGATE_TYPE];
    type Envelope = CommandEnvelope;

    async fn handle_event(&self, _: &mut Handling<'_, Self>) -> Result<(), HandleError> {
        let mut calls = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        calls.push(Instant::now());
        Ok(())
    }
}

/// A handler that has many events before it, of a store that was just opened.
pub(crate) fn measure_rate(scratch: &Scratch, report: &mut Report) -> Result<(), Failure> {
    let runtime = runtime()?;
    let pending = scratch.join("to-handle");
    fill(&pending, PENDING_STREAMS, PENDING / PENDING_STREAMS)?;
    let mut rates = Vec::new();
    for round in 0..ROUNDS {
        let path = scratch.join(&format!("to-handle-{round}"));
        copy_directory(&pending, &path)?;
        let elapsed = runtime.block_on(async {
            let store = AggregateStore::builder(&path)
                .event_handler(Idle)
                .run_mode(RunMode::OnDemand)
                .open()
                .await?;
            let begun = Instant::now();
            store.run_process_managers().await?;
            store.event_handler::<Idle>()?.settle().await?;
            let elapsed = begun.elapsed();
            store.close().await?;
            Ok::<_, Failure>(elapsed)
        })?;
        std::fs::remove_dir_all(path)?;
        rates.push(PENDING as f64 / elapsed.as_secs_f64());
    }
    report.median("handlers_per_s", rates, Limit::AtLeast(100_000.0));
    Ok(())
}

/// From the answer to a command until the call, while nothing else happens.
pub(crate) fn measure_latency(scratch: &Scratch, report: &mut Report) -> Result<(), Failure> {
    let runtime = runtime()?;
    let mut latencies = Vec::new();
    for round in 0..ROUNDS {
        let path = scratch.join(&format!("clocked-{round}"));
        runtime.block_on(async {
            let clocked = Clocked::default();
            let store = AggregateStore::builder(&path)
                .event_handler(clocked.clone())
                .run_mode(RunMode::Background)
                .open()
                .await?;
            let counter = store.get::<Counter>(&id(0)).await?;
            let mut answered = Vec::new();
            for sent in 1..=SENT / ROUNDS {
                counter.execute(CounterCommand::add_one(), ()).await?;
                answered.push(Instant::now());
                while clocked.calls().len() < sent {
                    tokio::time::sleep(Duration::from_micros(100)).await;
                }
            }
            let calls = clocked.calls().into_iter().zip(answered);
            latencies.extend(calls.map(|(call, answer)| call.saturating_duration_since(answer)));
            store.close().await?;
            Ok::<_, Failure>(())
        })?;
    }
    report.per_mille(
        "handler_latency_p50_us",
        latencies.clone(),
        500,
        Limit::None,
    );
    report.per_mille(
        "handler_latency_p99_us",
        latencies,
        990,
        Limit::Under(500.0),
    );
    Ok(())
}

/// Commands of 64 clients beside a slow handler that falls behind, against commands in a store without it, by turns.
pub(crate) fn measure_cost(scratch: &Scratch, report: &mut Report) -> Result<(), Failure> {
    let runtime = runtime()?;
    let mut ratios = Vec::new();
    for round in 0..ROUNDS {
        let plain = scratch.join(&format!("without-handler-{round}"));
        let handled = scratch.join(&format!("with-handler-{round}"));
        runtime.block_on(async {
            let plain = AggregateStore::open(&plain).await?;
            let handled = AggregateStore::builder(&handled)
                .event_handler(Slow)
                .handler_patience(Duration::ZERO)
                .open()
                .await?;
            for store in [&plain, &handled] {
                make_live(store, 0..CLIENTS).await?;
            }
            let mut reached = [Reached::default(), Reached::default()];
            for _ in 0..TURNS {
                for (store, reached) in [&plain, &handled].into_iter().zip(&mut reached) {
                    reached.add(run_for(store, CLIENTS, 0..CLIENTS, 0, TURN).await?);
                }
            }
            let [without, with] = reached;
            ratios.push(with.per_second() / without.per_second());
            plain.close().await?;
            handled.close().await?;
            Ok::<_, Failure>(())
        })?;
    }
    report.median("handlers_cost", ratios, Limit::AtLeast(0.9));
    Ok(())
}

/// The memory of a process with events that wait for a slow handler, above that of a process without the handler.
pub(crate) fn measure_waiting(scratch: &Scratch, report: &mut Report) -> Result<(), Failure> {
    let path = scratch.join("waiting");
    fill_fast(&path, PENDING_STREAMS, WAITING_EVENTS / PENDING_STREAMS)?;
    let largest = |task| {
        let output = child(task, &path)?.output()?;
        if !output.status.success() {
            return Err(format!("{task} failed: {}", output.status).into());
        }
        Ok::<f64, Failure>(String::from_utf8(output.stdout)?.trim().parse()?)
    };
    let idle = largest(IDLE)?;
    let waiting = largest(WAIT)?;
    report.value("handlers_idle_mib", idle, Limit::None);
    report.value(
        "handlers_1m_waiting_mib",
        waiting - idle,
        Limit::Under(64.0),
    );
    std::fs::remove_dir_all(path)?;
    Ok(())
}

/// What the children do: they print the most memory that they have used.
pub(crate) fn wait(task: &str, path: &Path) -> Result<(), Failure> {
    runtime()?.block_on(async {
        let builder = AggregateStore::builder(path).handler_patience(Duration::ZERO);
        let builder = match task {
            WAIT => builder.event_handler(Slower),
            _ => builder,
        };
        let store = builder.run_mode(RunMode::Background).open().await?;
        let begun = Instant::now();
        let mut most = 0.0_f64;
        while begun.elapsed() < WATCHED {
            most = most.max(Usage::read()?.resident_mib());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        if task == WAIT {
            let position = store.event_handler::<Slower>()?.status().await?.position;
            if position == 0 || position >= WAITING_EVENTS as u64 / 2 {
                return Err(format!("the handler is at {position}, and was to wait").into());
            }
        }
        println!("{most}");
        store.close().await?;
        Ok(())
    })
}
