//! A store that is opened without one of its process managers for a while: what that owes stays, and is done when it is back.

use std::time::Duration;

use eventfold_es::RunMode;
use eventfold_es::prelude::*;
use eventfold_es::store::InstanceStatus;
use eventfold_es_tests::TestResult;

use super::failures::broken;
use super::tracker::*;
use crate::common::counter::{Counter, CounterCommand};

#[tokio::test]
async fn what_is_owed_by_one_that_is_away_is_done_when_it_is_back() -> TestResult {
    let guard = broken().await;
    for is_repaired in [false, true] {
        set_broken(true);
        let base = tempfile::tempdir()?;
        let clock = clock();
        let store = builder(base.path(), RunMode::Inline, &clock).open().await?;
        add(&store, "waits", &[START, RETRY]).await?;
        add(&store, "armed", &[START, ARM]).await?;
        add(&store, "parked", &[START, POISON, QUIET]).await?;
        add(&store, "letter", &[START, REJECTED]).await?;
        add(&store, "over", &[START, COMPLETE]).await?;
        handle(&store).pause().await?;
        add(&store, "owed", &[START]).await?;
        store.close().await?;

        // What it needs is in archives when it is back, and what is derived was saved without it, and made again.
        for round in 0..3 {
            let without = || {
                AggregateStore::builder(base.path())
                    .aggregate_type::<Counter>()
                    .max_log_size(2_000)
            };
            if is_repaired {
                without().repair().await?;
            }
            let store = without().open().await?;
            for number in 0..50 {
                let id = match number % 2 {
                    0 => "in-meanwhile".to_owned(),
                    _ => format!("other-{round}-{number}"),
                };
                let command = CounterCommand::Add(EITHER);
                store.send(&id, command, CommandContext::default()).await?;
            }
            store.close().await?;
        }
        clock.advance(Duration::from_secs(100));
        set_broken(false);

        let store = builder(base.path(), RunMode::Inline, &clock).open().await?;
        store.run_process_managers().await?;
        let status = handle(&store).status().await?;
        assert!(status.is_paused);
        assert_eq!(
            (status.deadlines, status.retrying, status.dead_letters),
            (1, 1, 1)
        );
        handle(&store).resume().await?;
        store.run_process_managers().await?;
        handle(&store).settle().await?;
        assert_eq!(arrived(&store, "out-owed").await, [START]);
        assert_eq!(arrived(&store, "out-meanwhile").await, [EITHER; 75]);
        assert_eq!(arrived(&store, "out-armed").await, [START, 102]);
        assert_eq!(arrived(&store, "out-waits").await, [START, RETRY]);
        assert_eq!(handle(&store).release("parked").await?.done, 2);
        assert_eq!(arrived(&store, "out-parked").await, [START, POISON]);
        let over = handle(&store).instance("over").await?.unwrap();
        assert_eq!(over.status, InstanceStatus::Completed);
        let letters = handle(&store).dead_letters().await?;
        assert_eq!((letters.len(), &*letters[0].instance), (1, "letter"));
        assert!(store.verify().await?.differences.is_empty());
        store.close().await?;
    }
    drop(guard);
    Ok(())
}
