//! An event or a deadline that is tried again: it is held with what comes behind it, and nobody else waits.

use std::time::Duration;

use eventfold_es::Reactions;
use eventfold_es::RunMode;
use eventfold_es_tests::TestResult;

use super::judge::*;
use super::tracker::{arrived, clock};

#[tokio::test]
async fn a_retry_holds_its_instance_in_order_and_nobody_else() -> TestResult {
    for (mode, cause) in MODES
        .into_iter()
        .flat_map(|mode| CAUSES.map(|cause| (mode, cause)))
    {
        let _guard = broken().await;
        let base = tempfile::tempdir()?;
        let clock = clock();
        let mut store = builder::<Judge>(base.path(), mode, &clock).open().await?;
        let said = add(&store, "retry-a", &[FINE, cause, FINE]).await;
        if mode == RunMode::Inline {
            assert_eq!(said, Reactions::Retrying, "{cause}");
        }
        add(&store, "retry-b", &[FINE]).await;
        assert_eq!(
            arrived(&store, "out-retry-a").await,
            before(cause),
            "{mode:?}"
        );
        assert_eq!(
            arrived(&store, "out-retry-b").await,
            [FINE],
            "nobody else waits"
        );
        let status = handle::<Judge>(&store).status().await?;
        let waiting = status.instances.retrying + status.held_streams;
        assert_eq!(
            (waiting, status.retrying, status.instances.parked),
            (1, 1, 0),
            "{cause}"
        );
        let parked = handle::<Judge>(&store).parked().await?;
        assert_eq!(parked[0].held, 2);
        assert!(parked[0].retries_at.is_some());
        // The second attempt fails, also after a restart; the third one finds the program mended.
        store.close().await?;
        store = builder::<Judge>(base.path(), mode, &clock).open().await?;
        clock.advance(Duration::from_millis(999));
        run(&store).await;
        clock.advance(Duration::from_millis(1));
        run(&store).await;
        handle::<Judge>(&store).settle().await?;
        assert_eq!(arrived(&store, "out-retry-a").await, before(cause));
        fix();
        clock.advance(Duration::from_millis(1999));
        run(&store).await;
        assert_eq!(
            arrived(&store, "out-retry-a").await,
            before(cause),
            "not before its time"
        );
        clock.advance(Duration::from_millis(1));
        run(&store).await;
        arrives(&store, "out-retry-a", &all_of(cause)).await;
        let status = handle::<Judge>(&store).status().await?;
        assert_eq!((status.retrying, status.held_streams), (0, 0));
        assert_eq!((status.instances.open, status.instances.retrying), (2, 0));
        assert!(store.verify().await?.differences.is_empty());
        store.close().await?;
    }
    Ok(())
}

#[tokio::test]
async fn after_the_last_attempt_comes_what_the_policy_says_then() -> TestResult {
    for (then, cause) in ["retry", "retryskip", "retrypark", "retrystop"]
        .into_iter()
        .flat_map(|then| CAUSES.map(|cause| (then, cause)))
    {
        let _guard = broken().await;
        let base = tempfile::tempdir()?;
        let clock = clock();
        let store = builder::<Judge>(base.path(), RunMode::OnDemand, &clock)
            .open()
            .await?;
        let stream = format!("{then}-a");
        add(&store, &stream, &[FINE, cause, FINE]).await;
        for wait in [1, 2] {
            assert_eq!(
                arrived(&store, &format!("out-{stream}")).await,
                before(cause)
            );
            clock.advance(Duration::from_secs(wait));
            run(&store).await;
        }
        let status = handle::<Judge>(&store).status().await?;
        let out = arrived(&store, &format!("out-{stream}")).await;
        assert_eq!(status.retrying, 0, "{then} {cause}");
        match then {
            "retry" => {
                assert_eq!((status.dead_letters, out), (1, without(cause)), "{cause}");
                let letters = handle::<Judge>(&store).dead_letters().await?;
                let kinds: Vec<_> = letters[0]
                    .attempts
                    .iter()
                    .map(|tried| &*tried.kind)
                    .collect();
                assert_eq!(kinds, [kind(cause); 3]);
            }
            "retryskip" => assert_eq!((status.skipped, out), (1, without(cause)), "{cause}"),
            "retrypark" => {
                let parked = status.instances.parked + status.held_streams;
                assert_eq!((parked, out), (1, before(cause)), "{cause}");
            }
            _ => {
                assert!(status.parked_at.is_some(), "{cause}");
                assert_eq!(out, before(cause));
            }
        }
        store.close().await?;
    }
    Ok(())
}

/// An operator need not wait for the next attempt, and may give up what waits for it.
#[tokio::test]
async fn what_waits_for_its_next_attempt_is_released_or_discarded_before() -> TestResult {
    for cause in CAUSES {
        let _guard = broken().await;
        let base = tempfile::tempdir()?;
        let clock = clock();
        let store = builder::<Judge>(base.path(), RunMode::Inline, &clock)
            .open()
            .await?;
        add(&store, "retry-a", &[FINE, cause, FINE]).await;
        add(&store, "retry-b", &[FINE, cause, FINE]).await;
        let judge = handle::<Judge>(&store);
        let given_up = match cause {
            UNCLAIMED => judge.discard_stream("counter", "in-retry-b").await?.done,
            _ => judge.discard_parked("retry-b").await?.done,
        };
        assert_eq!(given_up, 2);
        fix();
        let released = match cause {
            UNCLAIMED => judge.release_stream("counter", "in-retry-a").await?.done,
            _ => judge.release("retry-a").await?.done,
        };
        assert_eq!(released, 2);
        assert_eq!(judge.status().await?.retrying, 0, "{cause}");
        clock.advance(Duration::from_secs(10));
        run(&store).await;
        assert_eq!(arrived(&store, "out-retry-a").await, all_of(cause));
        assert_eq!(arrived(&store, "out-retry-b").await, before(cause));
        store.close().await?;
    }
    Ok(())
}
