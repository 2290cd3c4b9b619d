//! How soon a subscriber has an event, and what those that wait cost the others.

use std::time::{Duration, Instant};

use eventfold_es::AggregateStore;
use tokio::sync::mpsc;

use crate::clients::{Reached, execute, id, run_for};
use crate::counter::{Counter, CounterCommand};
use crate::document::Document;
use crate::report::{Limit, Report};
use crate::scratch::Scratch;
use crate::{Failure, ROUNDS, runtime};

pub(crate) const LIVE: &[&str] = &["subscribe_live_p99_us"];
pub(crate) const IDLE: &[&str] = &["subscribers_1k_cost"];

const COMMANDS: usize = 5_000;
const CLIENTS: usize = 64;
const SUBSCRIBERS: usize = 1_000;
const TURN: Duration = Duration::from_millis(500);
const TURNS: usize = 3;

/// The time from the answer to a command to its event in a subscriber; none if that was first.
pub(crate) fn measure_live(scratch: &Scratch, report: &mut Report) -> Result<(), Failure> {
    let latencies = runtime()?.block_on(async {
        let store = AggregateStore::open(scratch.join("live")).await?;
        let (sender, mut received) = mpsc::channel(1);
        let mut events = store.subscribe::<Counter>();
        let subscriber = tokio::spawn(async move {
            while let Some(event) = events.next().await {
                let position = event?.position();
                if sender.send((position, Instant::now())).await.is_err() {
                    break;
                }
            }
            Ok::<_, Failure>(())
        });
        let counter = store.get::<Counter>("counter").await?;
        let mut latencies = Vec::with_capacity(COMMANDS);
        for position in 1..=COMMANDS as u64 {
            execute(&counter).await?;
            let answered = Instant::now();
            match received.recv().await {
                Some((found, at)) if found == position => {
                    latencies.push(at.saturating_duration_since(answered));
                }
                other => return Err(format!("{other:?} instead of {position}").into()),
            }
        }
        drop(received);
        drop(counter);
        store.close().await?;
        subscriber.await??;
        Ok::<_, Failure>(latencies)
    })?;
    report.per_mille("subscribe_live_p99_us", latencies, 990, Limit::Under(500.0));
    Ok(())
}

/// Commands with and without subscribers that wait for events of another type, by turns.
pub(crate) fn measure_idle(scratch: &Scratch, report: &mut Report) -> Result<(), Failure> {
    let ratios = runtime()?.block_on(async {
        let store = AggregateStore::open(scratch.join("subscribers")).await?;
        let mut sent = 0;
        let mut ratios = Vec::new();
        for _ in 0..ROUNDS {
            let (mut with, mut without) = (Reached::default(), Reached::default());
            for _ in 0..TURNS {
                let now = store.send(&id(0), CounterCommand::add_one(), ()).await?;
                let now = now.position.unwrap_or_default();
                let waiting: Vec<_> = (0..SUBSCRIBERS)
                    .map(|_| {
                        let mut documents = store.subscribe::<Document>().after(now);
                        tokio::spawn(async move { documents.next().await.is_some() })
                    })
                    .collect();
                // Each waits then.
                tokio::time::sleep(TURN).await;
                for (reached, is_with) in [(&mut with, true), (&mut without, false)] {
                    if !is_with {
                        waiting.iter().for_each(|subscriber| subscriber.abort());
                        tokio::time::sleep(TURN).await;
                    }
                    let turn = run_for(&store, CLIENTS, 0..CLIENTS, sent, TURN).await?;
                    sent += turn.latencies.len();
                    reached.add(turn);
                }
            }
            ratios.push(with.per_second() / without.per_second());
        }
        store.close().await?;
        Ok::<_, Failure>(ratios)
    })?;
    report.median("subscribers_1k_cost", ratios, Limit::AtLeast(0.9));
    Ok(())
}
