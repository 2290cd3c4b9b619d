//! `cargo bench -p eventfold-es --bench micro`: what is worth profiling because no disk is in it.

#[path = "limits/counter.rs"]
mod counter;

use std::hint::black_box;

use counter::{Counter, CounterCommand, CounterEvent, NOTE, Sums};
use criterion::{Criterion, Throughput};
use eventfold_es::{AggregateStore, DomainEvent};
use tokio::runtime::Runtime;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// How many events are folded in one go.
const EVENTS: u64 = 10_000;

fn main() -> Result<(), Failure> {
    let mut criterion = Criterion::default().configure_from_args();
    events(&mut criterion)?;
    store(&mut criterion)?;
    criterion.final_summary();
    Ok(())
}

fn events(criterion: &mut Criterion) -> Result<(), Failure> {
    let event = CounterEvent::Added {
        amount: 1,
        note: NOTE.to_owned(),
    };
    let stored = event.to_event()?;
    criterion.bench_function("encode an event", |bencher| {
        bencher.iter(|| black_box(&event).to_event());
    });
    criterion.bench_function("decode an event", |bencher| {
        bencher.iter(|| CounterEvent::from_event(black_box(&stored)));
    });
    Ok(())
}

fn store(criterion: &mut Criterion) -> Result<(), Failure> {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let runtime = Runtime::new()?;
    let store = runtime.block_on(async {
        let builder = AggregateStore::builder(directory.path()).projection::<Sums>();
        let store = builder.open().await?;
        let counter = store.get::<Counter>("counter").await?;
        let clients: Vec<_> = (0..64)
            .map(|_| {
                let counter = counter.clone();
                tokio::spawn(async move {
                    for _ in 0..EVENTS / 64 {
                        let add = CounterCommand::add_one();
                        counter.execute(add, ()).await?;
                    }
                    Ok::<_, Failure>(())
                })
            })
            .collect();
        for client in clients {
            client.await??;
        }
        store.projection::<Sums>().await?;
        Ok::<_, Failure>(store)
    })?;
    let counter = runtime.block_on(store.get::<Counter>("counter"))?;

    criterion.bench_function("read the state of a live aggregate", |bencher| {
        bencher.iter(|| runtime.block_on(counter.state()).ok());
    });
    criterion.bench_function("execute a command with nothing to do", |bencher| {
        bencher.iter(|| {
            let nothing = CounterCommand::Add {
                amount: 0,
                note: String::new(),
            };
            runtime.block_on(counter.execute(nothing, ()))
        });
    });
    criterion.bench_function("read a projection with nothing new", |bencher| {
        bencher.iter(|| runtime.block_on(store.projection::<Sums>()));
    });
    let mut reading = criterion.benchmark_group("read the journal");
    reading
        .throughput(Throughput::Elements(EVENTS / 64 * 64))
        .sample_size(20);
    reading.bench_function("rebuild a projection", |bencher| {
        bencher.iter(|| runtime.block_on(store.rebuild_projection::<Sums>()));
    });
    reading.bench_function("read the events of a stream", |bencher| {
        bencher.iter(|| runtime.block_on(store.read_events("counter", "counter")));
    });
    reading.finish();
    Ok(runtime.block_on(store.close())?)
}
