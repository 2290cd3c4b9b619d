//! Scenario 40: a clock that jumps backwards, stands still, or stands before 1970. Order comes from positions, never from
//! the clock.

use std::time::{Duration, UNIX_EPOCH};

use crate::common::counter::CounterCommand;
use eventfold_es::clock::{ManualClock, set_clock};
use eventfold_es::{AggregateStore, CommandContext, RunMode};
use eventfold_es_tests::TestResult;
use eventfold_es_tests::alone::is_alone;
use eventfold_es_tests::crash::domain::Fanout;
use eventfold_es_tests::crash::{Bench, Check, check};

#[tokio::test]
async fn scenario_40_a_clock_that_jumps_backwards_and_before_1970() {
    // The clock that is set is that of the process.
    if !is_alone("clock::scenario_40_a_clock_that_jumps_backwards_and_before_1970") {
        return;
    }
    let year = Duration::from_secs(365 * 24 * 60 * 60);
    let bench = Bench::default();
    let mut times = Vec::new();
    for (round, time) in [
        UNIX_EPOCH + 60 * year,
        UNIX_EPOCH + 30 * year,
        UNIX_EPOCH - year,
        UNIX_EPOCH,
        UNIX_EPOCH + 61 * year,
    ]
    .into_iter()
    .enumerate()
    {
        set_clock(Some(time));
        // Also while it is opened and closed.
        let store = bench.open(RunMode::Inline).await.unwrap();
        let client = bench.client(&store);
        let first = 4 * round as u64 + 2;
        for tag in [first, first + 2] {
            client.put("a", tag, 2).await.unwrap();
            times.extend(
                [time.duration_since(UNIX_EPOCH)
                    .unwrap_or_default()
                    .as_secs(); 2],
            );
        }
        drop(client);
        store.close().await.unwrap();
    }
    let store = bench.open(RunMode::OnDemand).await.unwrap();
    let events = store.read_events("ledger", "a").await.unwrap();
    let found: Vec<_> = events.iter().map(|event| event.ts).collect();
    assert_eq!(
        found, times,
        "each event has the time that the clock showed"
    );
    let ids: Vec<_> = events.iter().map(|event| event.id.clone()).collect();
    assert!(
        ids.is_sorted_by(|one, next| one < next),
        "the ids of one process are in order, whatever the clock does: {ids:?}"
    );
    let letters = store.dead_letters::<Fanout>().await.unwrap();
    let letters: Vec<_> = letters.iter().map(|letter| letter.ts).collect();
    assert_eq!(letters, times, "one per event");
    store.close().await.unwrap();
    set_clock(None);
    let checked = check(&bench.store(), &bench.expected(), Check::PROCESS_MANAGERS).await;
    checked.unwrap();
}

/// The journal tells when each commit was stored, by the clock of the store, and never goes back; events have the time that the clock
/// showed.
#[tokio::test]
async fn commits_have_their_times_in_order_whatever_the_clock_does() -> TestResult {
    let base = tempfile::tempdir()?;
    let mut expected = Vec::new();
    let clock = ManualClock::new(UNIX_EPOCH);
    for millis in [5_250, 5_251, 3_000, 5_999, 0, 6_001] {
        let time = UNIX_EPOCH + Duration::from_millis(millis);
        clock.set(time);
        let store = AggregateStore::builder(base.path()).clock(clock.clone());
        let store = store.open().await?;
        for _ in 0..2 {
            let command = CounterCommand::Add(1);
            store.send("c", command, CommandContext::default()).await?;
            let latest = expected.last().map_or(0, |(latest, _)| *latest);
            expected.push((millis.max(latest), millis / 1000));
        }
        store.close().await?;
    }
    let journal = std::fs::read_to_string(base.path().join("meta/journal/app.jsonl"))?;
    let found = journal.lines().map(|line| {
        let commit: serde_json::Value = serde_json::from_str(line)?;
        let time = commit["data"]["time"].as_u64().ok_or("no time")?;
        assert_eq!(commit["ts"].as_u64(), Some(time / 1000));
        let event = &commit["data"]["streams"][0]["lines"][0];
        Ok((time, event["ts"].as_u64().ok_or("no ts")?))
    });
    let found = found.collect::<Result<Vec<_>, Box<dyn std::error::Error>>>()?;
    assert_eq!(found, expected);
    Ok(())
}
