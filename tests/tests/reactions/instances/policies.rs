//! What a policy can do about an event or a deadline that is not reacted to: each cause with each action. What is tried again is in
//! `retried`, what becomes a dead letter in `lettered`, and what differs without `key` in `without_key`.

use std::time::Duration;

use eventfold_es::Reactions;
use eventfold_es::RunMode;
use eventfold_es_tests::TestResult;
use eventfold_es_tests::journal_file::unreadable;

use super::judge::*;
use super::tracker::{arrived, clock};

#[tokio::test]
async fn what_is_skipped_or_made_good_is_passed_over() -> TestResult {
    for cause in CAUSES {
        let _guard = broken().await;
        let base = tempfile::tempdir()?;
        let clock = clock();
        let store = builder::<Judge>(base.path(), RunMode::Inline, &clock)
            .open()
            .await?;
        assert_eq!(
            add(&store, "skip-a", &[FINE, cause, FINE]).await,
            Reactions::Done
        );
        assert_eq!(
            arrived(&store, "out-skip-a").await,
            without(cause),
            "{cause}"
        );
        assert_eq!(handle::<Judge>(&store).status().await?.skipped, 1);
        assert_eq!(
            add(&store, "sorry-a", &[FINE, cause, FINE]).await,
            Reactions::Done
        );
        assert_eq!(
            arrived(&store, "out-sorry-a").await,
            without(cause),
            "{cause}"
        );
        assert_eq!(arrived(&store, "out-sorry").await, [99], "{cause}");
        let events = store.read_events("counter", "out-sorry").await?;
        let meta = events[0].meta.as_ref().expect("a cause");
        assert!(meta["command_id"].is_string() && meta["causation_id"].is_string());
        store.close().await?;
        // It stays so.
        fix();
        let store = builder::<Judge>(base.path(), RunMode::Inline, &clock)
            .open()
            .await?;
        run(&store).await;
        assert_eq!(arrived(&store, "out-skip-a").await, without(cause));
        assert_eq!(arrived(&store, "out-sorry").await, [99]);
        store.close().await?;
    }
    Ok(())
}

#[tokio::test]
async fn what_is_parked_or_stopped_waits_for_an_operator() -> TestResult {
    for cause in CAUSES {
        let _guard = broken().await;
        let base = tempfile::tempdir()?;
        let clock = clock();
        let store = builder::<Judge>(base.path(), RunMode::Inline, &clock)
            .open()
            .await?;
        assert_eq!(
            add(&store, "park-a", &[FINE, cause, FINE]).await,
            Reactions::Parked
        );
        assert_eq!(
            arrived(&store, "out-park-a").await,
            before(cause),
            "{cause}"
        );
        assert_eq!(add(&store, "park-b", &[FINE]).await, Reactions::Done);
        clock.advance(Duration::from_secs(3600));
        run(&store).await;
        assert_eq!(
            arrived(&store, "out-park-a").await,
            before(cause),
            "{cause}"
        );
        assert_eq!(
            add(&store, "stop-a", &[FINE, cause, FINE]).await,
            Reactions::Stopped
        );
        assert_eq!(add(&store, "park-b", &[FINE]).await, Reactions::Stopped);
        assert!(handle::<Judge>(&store).status().await?.parked_at.is_some());
        fix();
        assert_eq!(handle::<Judge>(&store).retry().await?.done, 1);
        run(&store).await;
        let mut stopped = arrived(&store, "out-stop-a").await;
        let mut expected = all_of(cause);
        if cause == PANIC_LATER || cause == UNDECODABLE_LATER {
            // A deadline that stopped all has no place among what came meanwhile.
            stopped.sort_unstable();
            expected.sort_unstable();
        }
        assert_eq!(stopped, expected, "{cause}");
        assert_eq!(arrived(&store, "out-park-b").await, [FINE, FINE]);
        let judge = handle::<Judge>(&store);
        let released = match cause {
            UNCLAIMED => judge.release_stream("counter", "in-park-a").await?.done,
            _ => judge.release("park-a").await?.done,
        };
        assert_eq!(released, 2, "{cause}");
        assert_eq!(arrived(&store, "out-park-a").await, all_of(cause));
        store.close().await?;
    }
    Ok(())
}

/// Dead letters of events, their redrive, and what waits for its next attempt are in the commits of what they are about.
#[tokio::test]
#[cfg_attr(eventfold_memory_journal, ignore = "it is about the disk")]
async fn a_crash_at_any_point_leaves_each_event_reacted_to_once() -> TestResult {
    let _guard = broken().await;
    let clock = clock();
    let crashes = eventfold_es::testing::for_each_crash_point(
        |builder| {
            let builder = builder.clock(clock.clone());
            builder.process_manager::<Judge>()
        },
        async |store| {
            add(&store, "letter-a", &[FINE, PANIC, FINE]).await;
            add(&store, "retry-a", &[FINE, PANIC, FINE]).await;
            add(&store, "retry-b", &[FINE, UNCLAIMED, FINE]).await;
            let judge = handle::<Judge>(&store);
            assert_eq!(judge.redrive_all().await.expect("the disk works").failed, 1);
            fix();
            assert_eq!(judge.redrive_all().await.expect("the disk works").done, 1);
            clock.advance(Duration::from_secs(1));
            run(&store).await;
            assert_eq!(judge.status().await.expect("rows").retrying, 0);
        },
        async |store| {
            let judge = handle::<Judge>(&store);
            run(&store).await;
            judge.redrive_all().await.expect("the disk works");
            for (stream, is_ordered) in [("letter-a", false), ("retry-a", true), ("retry-b", true)]
            {
                let mut sent = arrived(&store, &format!("in-{stream}")).await;
                let mut out = arrived(&store, &format!("out-{stream}")).await;
                if !is_ordered {
                    sent.sort_unstable();
                    out.sort_unstable();
                }
                assert_eq!(out, sent, "{stream}");
            }
            let status = judge.status().await.expect("rows");
            assert_eq!(
                (status.retrying, status.dead_letters, status.held_streams),
                (0, 0, 0)
            );
            assert_eq!((status.instances.parked, status.instances.retrying), (0, 0));
        },
    )
    .await;
    assert!(crashes.points > 100, "{crashes:?}");
    Ok(())
}

/// The same actions for a command whose target cannot be read; those for a rejected one are in `failures`.
#[tokio::test]
#[cfg_attr(eventfold_memory_journal, ignore = "it is about the disk")]
async fn each_action_for_a_command_that_storage_fails() -> TestResult {
    for action in ["retry", "letter", "skip", "sorry", "park", "stop"] {
        let _guard = ONE_AT_A_TIME.lock().await;
        fix();
        let base = tempfile::tempdir()?;
        let clock = clock();
        let open = || builder::<Judge>(base.path(), RunMode::Inline, &clock).open();
        let stream = format!("{action}-disk");
        let out = format!("out-{stream}");
        let store = open().await?;
        add(&store, &stream, &[FINE]).await;
        // The last commit has to be readable.
        add(&store, "other", &[FINE]).await;
        store.close().await?;
        let mend = unreadable(base.path(), "counter", &out)?;
        let store = open().await?;
        let said = add(&store, &stream, &[FINE]).await;
        let judge = handle::<Judge>(&store);
        let status = judge.status().await?;
        let expected = match action {
            "retry" => (Reactions::Retrying, 1, 0, 0),
            "letter" => (Reactions::Done, 0, 1, 0),
            "park" => (Reactions::Parked, 0, 0, 1),
            "stop" => (Reactions::Stopped, 0, 0, 0),
            _ => (Reactions::Done, 0, 0, 0),
        };
        let found = (
            said,
            status.retrying,
            status.dead_letters,
            status.instances.parked,
        );
        assert_eq!(found, expected, "{action}");
        for letter in judge.dead_letters().await? {
            assert_eq!(letter.attempts[0].kind, "storage");
        }
        mend()?;
        match action {
            "retry" => clock.advance(Duration::from_secs(1)),
            "letter" => assert_eq!(judge.redrive_all().await?.done, 1),
            "park" => assert_eq!(judge.release(&stream).await?.done, 1),
            "stop" => assert_eq!(judge.retry().await?.done, 1),
            "sorry" => assert_eq!(arrived(&store, "out-sorry").await, [99]),
            _ => {}
        }
        run(&store).await;
        let effects = if matches!(action, "skip" | "sorry") {
            1
        } else {
            2
        };
        assert_eq!(arrived(&store, &out).await, vec![FINE; effects], "{action}");
        assert!(store.verify().await?.differences.is_empty());
        store.close().await?;
    }
    Ok(())
}
