//! Where a process manager stays as a whole, or an instance waits for its next attempt: what comes first then, and what is counted.

use std::time::Duration;

use eventfold_es::prelude::*;
use eventfold_es::{Reactions, RunMode};
use eventfold_es_tests::TestResult;
use eventfold_es_tests::journal_file::unreadable;

use super::judge::{
    FINE, Judge, MODES, PANIC, PANIC_LATER, Solo, UNDECODABLE_LATER, add, all_of, arrives, before,
    broken, builder, fix, handle, run,
};
use super::tracker::{arrived, clock};

async fn a_deadline_comes_first<PM: ProcessManager>(
    mode: RunMode,
    action: &str,
    cause: i64,
    is_reopened: bool,
) -> TestResult {
    let _guard = broken().await;
    let base = tempfile::tempdir()?;
    let clock = clock();
    let open = || builder::<PM>(base.path(), mode, &clock).open();
    let mut store = open().await?;
    let (stream, out) = (format!("{action}-a"), format!("out-{action}-a"));
    add(&store, &stream, &[FINE, cause, FINE]).await;
    let what = format!("{} {mode:?} {action} {cause} {is_reopened}", PM::NAME);
    assert_eq!(arrived(&store, &out).await, before(cause), "{what}");
    if is_reopened {
        // The same program stays there.
        store.close().await?;
        store = open().await?;
        run(&store).await;
        assert_eq!(arrived(&store, &out).await, before(cause), "{what}");
        let parked = handle::<PM>(&store).status().await?.parked_at;
        assert!(parked.is_some(), "{what}");
        store.close().await?;
        fix();
        store = open().await?;
    } else {
        fix();
        assert_eq!(handle::<PM>(&store).retry().await?.done, 1, "{what}");
    }
    run(&store).await;
    arrives(&store, &out, &all_of(cause)).await;
    let status = handle::<PM>(&store).status().await?;
    assert_eq!((status.parked_at, status.deadlines), (None, 0), "{what}");
    assert!(store.verify().await?.differences.is_empty());
    store.close().await?;
    // Nothing of it is left.
    let store = open().await?;
    add(&store, &stream, &[FINE]).await;
    let expected = [all_of(cause), vec![FINE]].concat();
    arrives(&store, &out, &expected).await;
    store.close().await?;
    Ok(())
}

/// A deadline at which all stay comes before the events that came meanwhile, no less than an event would.
#[tokio::test]
async fn the_deadline_at_which_all_stay_comes_before_what_came_meanwhile() -> TestResult {
    for mode in MODES {
        for cause in [PANIC_LATER, UNDECODABLE_LATER] {
            for is_reopened in [false, true] {
                a_deadline_comes_first::<Solo>(mode, "park", cause, is_reopened).await?;
                a_deadline_comes_first::<Solo>(mode, "stop", cause, is_reopened).await?;
                a_deadline_comes_first::<Judge>(mode, "stop", cause, is_reopened).await?;
            }
        }
    }
    Ok(())
}

/// It stays there while it is paused, and does not go on without it.
#[tokio::test]
async fn the_deadline_at_which_all_stay_waits_while_it_is_paused() -> TestResult {
    let guard = broken().await;
    for mode in MODES {
        let base = tempfile::tempdir()?;
        let clock = clock();
        let open = || builder::<Solo>(base.path(), mode, &clock).open();
        let store = open().await?;
        add(&store, "park-a", &[FINE, PANIC_LATER, FINE]).await;
        handle::<Solo>(&store).pause().await?;
        store.close().await?;
        let store = open().await?;
        for _ in 0..2 {
            run(&store).await;
            assert_eq!(arrived(&store, "out-park-a").await, before(PANIC_LATER));
            let status = handle::<Solo>(&store).status().await?;
            assert_eq!((status.parked_at, status.is_paused), (None, true));
        }
        handle::<Solo>(&store).resume().await?;
        run(&store).await;
        let parked = handle::<Solo>(&store).status().await?.parked_at;
        assert!(parked.is_some(), "{mode:?}");
        // Passed over, it is over for good.
        assert_eq!(handle::<Solo>(&store).skip().await?.done, 1);
        run(&store).await;
        let passed = [before(PANIC_LATER), vec![FINE]].concat();
        arrives(&store, "out-park-a", &passed).await;
        store.close().await?;
        let store = open().await?;
        run(&store).await;
        assert_eq!(arrived(&store, "out-park-a").await, passed);
        store.close().await?;
    }
    drop(guard);
    Ok(())
}

/// The same for a command that was tried again until its policy had enough.
#[tokio::test]
#[cfg_attr(eventfold_memory_journal, ignore = "it is about the disk")]
async fn the_command_at_which_all_stay_comes_before_what_came_meanwhile() -> TestResult {
    let guard = broken().await;
    fix();
    let base = tempfile::tempdir()?;
    let clock = clock();
    let open = || builder::<Solo>(base.path(), RunMode::Inline, &clock).open();
    let store = open().await?;
    add(&store, "retrypark-disk", &[FINE]).await;
    // The last commit has to be readable.
    add(&store, "other", &[FINE]).await;
    store.close().await?;
    let mend = unreadable(base.path(), "counter", "out-retrypark-disk")?;
    let store = open().await?;
    let said = add(&store, "retrypark-disk", &[FINE]).await;
    assert_eq!(said, Reactions::Retrying);
    for wait in [1, 2] {
        clock.advance(Duration::from_secs(wait));
        run(&store).await;
    }
    assert_eq!(add(&store, "fine", &[FINE]).await, Reactions::Parked);
    store.close().await?;
    let store = open().await?;
    run(&store).await;
    assert!(handle::<Solo>(&store).status().await?.parked_at.is_some());
    assert_eq!(arrived(&store, "out-fine").await, [0; 0]);
    store.close().await?;
    mend()?;
    let store = open().await?;
    run(&store).await;
    assert_eq!(arrived(&store, "out-retrypark-disk").await, [FINE, FINE]);
    assert_eq!(arrived(&store, "out-fine").await, [FINE]);
    store.close().await?;
    drop(guard);
    Ok(())
}

/// Without `key`: how many attempts the only dead letter has, if there is one.
async fn attempts(store: &AggregateStore) -> Option<usize> {
    let letters = handle::<Solo>(store).dead_letters().await.expect("rows");
    let [letter] = &letters[..] else {
        return None;
    };
    Some(letter.attempts.len())
}

/// Attempts that an operator asks for are counted, also where the next one would be due when this one would have been.
#[tokio::test]
async fn attempts_that_are_asked_for_at_one_time_are_all_counted() -> TestResult {
    let guard = broken().await;
    for cause in [PANIC, PANIC_LATER] {
        let base = tempfile::tempdir()?;
        let clock = clock();
        let open = || builder::<Solo>(base.path(), RunMode::Inline, &clock).open();
        let store = open().await?;
        add(&store, "evenly-a", &[cause]).await;
        for _ in 0..2 {
            assert_eq!(attempts(&store).await, None, "{cause}");
            assert_eq!(handle::<Solo>(&store).retry().await?.done, 1);
            run(&store).await;
        }
        assert_eq!(attempts(&store).await, Some(3), "{cause}");
        store.close().await?;
    }
    drop(guard);
    Ok(())
}

#[tokio::test]
async fn an_attempt_that_is_asked_for_after_a_restart_is_counted() -> TestResult {
    let guard = broken().await;
    for cause in [PANIC, PANIC_LATER] {
        let base = tempfile::tempdir()?;
        let clock = clock();
        let open = || builder::<Solo>(base.path(), RunMode::Inline, &clock).open();
        let store = open().await?;
        add(&store, "twice-a", &[FINE, cause]).await;
        store.close().await?;
        let store = open().await?;
        run(&store).await;
        assert_eq!(attempts(&store).await, None, "{cause}");
        assert_eq!(handle::<Solo>(&store).retry().await?.done, 1);
        run(&store).await;
        assert_eq!(attempts(&store).await, Some(2), "{cause}");
        store.close().await?;
    }
    drop(guard);
    Ok(())
}

/// An instance that waits for the next attempt at an event does so although a command that it had sent before parks it.
#[tokio::test]
#[cfg_attr(eventfold_memory_journal, ignore = "it is about the disk")]
async fn what_is_tried_again_goes_on_being_so_when_a_command_parks_its_instance() -> TestResult {
    let guard = broken().await;
    let base = tempfile::tempdir()?;
    let clock = clock();
    let open = || builder::<Judge>(base.path(), RunMode::Inline, &clock).open();
    let store = open().await?;
    add(&store, "mixed-disk", &[FINE]).await;
    // The last commit has to be readable.
    add(&store, "other", &[FINE]).await;
    store.close().await?;
    let mend = unreadable(base.path(), "counter", "out-mixed-disk")?;
    let store = open().await?;
    add(&store, "mixed-disk", &[FINE, PANIC]).await;
    let judge = handle::<Judge>(&store);
    assert_eq!(judge.status().await?.retrying, 2);
    // The last attempt at the command.
    clock.advance(Duration::from_secs(1));
    run(&store).await;
    let parked = judge.parked().await?;
    let [parked] = &parked[..] else {
        panic!("{parked:?}");
    };
    assert_eq!(parked.held, 2);
    assert!(parked.retries_at.is_some(), "{parked:?}");
    assert!(
        parked.parked.reason.contains("broken handler"),
        "{parked:?}"
    );
    // The other ones at the event: it becomes a dead letter, and what is left is the command.
    for wait in [9, 20] {
        assert_eq!(judge.status().await?.dead_letters, 0);
        clock.advance(Duration::from_secs(wait));
        run(&store).await;
    }
    let letters = judge.dead_letters().await?;
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].attempts.len(), 3);
    let parked = judge.parked().await?;
    assert_eq!((parked.len(), parked[0].held), (1, 1));
    assert_eq!(parked[0].retries_at, None);
    assert_eq!(judge.status().await?.retrying, 0);
    mend()?;
    assert_eq!(judge.release("mixed-disk").await?.done, 1);
    assert_eq!(arrived(&store, "out-mixed-disk").await, [FINE, FINE]);
    assert!(store.verify().await?.differences.is_empty());
    drop(judge);
    store.close().await?;
    drop(guard);
    Ok(())
}
