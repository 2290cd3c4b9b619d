//! How fast a projection and a subscription read events, against a bare loop of eventfold's reader.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use eventfold::EventReader;
use eventfold_es::{Aggregate, AggregateStore};
use serde_json::Value;

use crate::counter::{Counter, CounterEvent, Sums};
use crate::report::{Limit, Report};
use crate::scratch::{Scratch, fill};
use crate::{Failure, ROUNDS, runtime};

pub(crate) const NAMES: &[&str] = &["catch_up_ratio", "rebuild_ratio", "subscribe_ratio"];

pub(crate) const STREAMS: usize = 1000;
pub(crate) const EVENTS: usize = 200_000;

pub(crate) fn measure(scratch: &Scratch, report: &mut Report) -> Result<(), Failure> {
    let store = scratch.join("catch-up");
    fill(&store, STREAMS, EVENTS / STREAMS)?;
    let one_stream = scratch.join("one-stream");
    runtime()?.block_on(gather(&store, &scratch.join("exported"), &one_stream))?;

    let mut catch_up = (Vec::new(), Vec::new());
    let mut rebuild = (Vec::new(), Vec::new());
    let mut subscribed = (Vec::new(), Vec::new());
    let mut bare_rates = Vec::new();
    for _ in 0..ROUNDS {
        let before = bare_loop(&one_stream, EVENTS)?;
        let (catching_up, rebuilding) = projection(&store)?;
        let subscribing = subscription(&store)?;
        let after = bare_loop(&one_stream, EVENTS)?;
        let bare = per_second((before + after) / 2);
        for ((ratios, rates), elapsed) in [
            (&mut catch_up, catching_up),
            (&mut rebuild, rebuilding),
            (&mut subscribed, subscribing),
        ] {
            ratios.push(per_second(elapsed) / bare);
            rates.push(per_second(elapsed));
        }
        bare_rates.push(bare);
    }
    report.median("catch_up_ratio", catch_up.0, Limit::AtLeast(2.0));
    report.median("catch_up_events_per_s", catch_up.1, Limit::None);
    report.median("rebuild_ratio", rebuild.0, Limit::AtLeast(2.0));
    report.median("rebuild_events_per_s", rebuild.1, Limit::None);
    report.median("subscribe_ratio", subscribed.0, Limit::AtLeast(1.5));
    report.median("subscribe_events_per_s", subscribed.1, Limit::None);
    report.median("bare_loop_events_per_s", bare_rates, Limit::None);
    Ok(())
}

fn per_second(elapsed: Duration) -> f64 {
    EVENTS as f64 / elapsed.as_secs_f64()
}

/// Exports the streams of the store, and puts the lines of all of them into one.
pub(crate) async fn gather(
    store: &Path,
    exported: &Path,
    one_stream: &Path,
) -> Result<(), Failure> {
    let store = AggregateStore::open(store).await?;
    store.export_streams(exported).await?;
    store.close().await?;
    fs::create_dir_all(one_stream)?;
    let mut all = File::create(one_stream.join("app.jsonl"))?;
    for entry in fs::read_dir(exported.join("streams").join(Counter::AGGREGATE_TYPE))? {
        let mut stream = File::open(entry?.path().join("app.jsonl"))?;
        io::copy(&mut stream, &mut all)?;
    }
    Ok(all.sync_all()?)
}

pub(crate) fn bare_loop(one_stream: &Path, events: usize) -> Result<Duration, Failure> {
    let start = Instant::now();
    let mut sums = Sums::default();
    for read in EventReader::new(one_stream).read_from(0)? {
        let (event, _, _) = read?;
        // As the projection does.
        sums.events += 1;
        let amount = event.data.get("amount").and_then(Value::as_u64);
        sums.amount += amount.unwrap_or_default();
    }
    let elapsed = start.elapsed();
    check(&sums, events)?;
    Ok(elapsed)
}

/// How long catching up takes in a store that was just opened, and how long a rebuild takes then.
pub(crate) fn projection(path: &Path) -> Result<(Duration, Duration), Failure> {
    let checkpoints = path.join("projections");
    if checkpoints.exists() {
        fs::remove_dir_all(checkpoints)?;
    }
    runtime()?.block_on(async {
        let builder = AggregateStore::builder(path).projection::<Sums>();
        let store = builder.open().await?;
        let start = Instant::now();
        let sums = store.projection::<Sums>().await?;
        let catching_up = start.elapsed();
        check(&sums, EVENTS)?;
        let start = Instant::now();
        store.rebuild_projection::<Sums>().await?;
        let rebuilding = start.elapsed();
        check(&*store.projection::<Sums>().await?, EVENTS)?;
        store.close().await?;
        Ok((catching_up, rebuilding))
    })
}

/// How long a typed subscription takes in a store that was just opened.
fn subscription(path: &Path) -> Result<Duration, Failure> {
    runtime()?.block_on(async {
        let store = AggregateStore::open(path).await?;
        let start = Instant::now();
        let mut sums = Sums::default();
        let mut events = store.subscribe::<Counter>().until_now();
        while let Some(event) = events.next().await {
            let CounterEvent::Added { amount, .. } = event?.event;
            sums.events += 1;
            sums.amount += amount;
        }
        let elapsed = start.elapsed();
        check(&sums, EVENTS)?;
        store.close().await?;
        Ok(elapsed)
    })
}

fn check(sums: &Sums, events: usize) -> Result<(), Failure> {
    let expected = Sums {
        events: events as u64,
        amount: events as u64,
    };
    if *sums == expected {
        return Ok(());
    }
    Err(format!("{sums:?} were folded instead of {expected:?}").into())
}
