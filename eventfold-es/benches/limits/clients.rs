//! Clients that send durable commands, each waiting for its answer before it sends the next.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use eventfold_es::{AggregateHandle, AggregateStore};

use crate::Failure;
use crate::counter::{Counter, CounterCommand};

/// What clients reached.
#[derive(Default)]
pub(crate) struct Reached {
    elapsed: Duration,
    pub(crate) latencies: Vec<Duration>,
}

impl Reached {
    pub(crate) fn per_second(&self) -> f64 {
        self.latencies.len() as f64 / self.elapsed.as_secs_f64()
    }

    /// Counts what came behind the last command too.
    pub(crate) fn lasted(&mut self, elapsed: Duration) {
        self.elapsed = elapsed;
    }

    pub(crate) fn add(&mut self, later: Self) {
        self.elapsed += later.elapsed;
        self.latencies.extend(later.latencies);
    }
}

/// The id of a counter.
pub(crate) fn id(number: usize) -> String {
    format!("counter-{number:06}")
}

/// Loads counters, one after the other.
pub(crate) async fn make_live(
    store: &AggregateStore,
    aggregates: Range<usize>,
) -> Result<(), Failure> {
    for number in aggregates {
        store.get::<Counter>(&id(number)).await?.state().await?;
    }
    Ok(())
}

/// Sends commands for a while. Together the clients go round the aggregates, from where `sent` commands have brought them; as
/// many clients as aggregates keep to one each.
pub(crate) async fn run_for(
    store: &AggregateStore,
    clients: usize,
    aggregates: Range<usize>,
    sent: usize,
    during: Duration,
) -> Result<Reached, Failure> {
    let mut handles = Vec::with_capacity(aggregates.len());
    for number in aggregates {
        handles.push(store.get::<Counter>(&id(number)).await?);
    }
    let handles: Arc<[AggregateHandle<Counter>]> = handles.into();
    let start = Instant::now();
    let tasks: Vec<_> = (0..clients)
        .map(|client| {
            let handles = Arc::clone(&handles);
            tokio::spawn(async move {
                let mut latencies = Vec::new();
                let first = (sent + client) % handles.len();
                let own = handles.iter().cycle().skip(first).step_by(clients);
                for handle in own {
                    let begin = Instant::now();
                    if begin.duration_since(start) >= during {
                        break;
                    }
                    execute(handle).await?;
                    latencies.push(begin.elapsed());
                }
                Ok::<_, Failure>(latencies)
            })
        })
        .collect();
    let mut latencies = Vec::new();
    for task in tasks {
        latencies.extend(task.await??);
    }
    Ok(Reached {
        elapsed: start.elapsed(),
        latencies,
    })
}

/// Creates streams for a while, numbered on from `next`.
pub(crate) async fn create_for(
    store: &AggregateStore,
    clients: usize,
    next: &Arc<AtomicUsize>,
    during: Duration,
) -> Result<Reached, Failure> {
    let start = Instant::now();
    let tasks: Vec<_> = (0..clients)
        .map(|_| {
            let (store, next) = (store.clone(), Arc::clone(next));
            tokio::spawn(async move {
                let mut latencies = Vec::new();
                loop {
                    let begin = Instant::now();
                    if begin.duration_since(start) >= during {
                        return Ok::<_, Failure>(latencies);
                    }
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    execute(&store.get(&id(number)).await?).await?;
                    latencies.push(begin.elapsed());
                }
            })
        })
        .collect();
    let mut latencies = Vec::new();
    for task in tasks {
        latencies.extend(task.await??);
    }
    Ok(Reached {
        elapsed: start.elapsed(),
        latencies,
    })
}

/// Sends so many commands, going round the aggregates.
pub(crate) async fn run_commands(
    store: &AggregateStore,
    clients: usize,
    aggregates: usize,
    commands: usize,
) -> Result<(), Failure> {
    let next = Arc::new(AtomicUsize::new(0));
    let tasks: Vec<_> = (0..clients)
        .map(|_| {
            let (store, next) = (store.clone(), Arc::clone(&next));
            tokio::spawn(async move {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= commands {
                        return Ok::<_, Failure>(());
                    }
                    execute(&store.get(&id(number % aggregates)).await?).await?;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await??;
    }
    Ok(())
}

pub(crate) async fn execute(handle: &AggregateHandle<Counter>) -> Result<(), Failure> {
    let command = CounterCommand::add_one();
    handle.execute(command, ()).await?;
    Ok(())
}
