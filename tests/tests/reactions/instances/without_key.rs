//! What a policy can do where there is one instance: all that comes waits with it.

use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use eventfold_es::Reactions;
use eventfold_es::RunMode;
use eventfold_es_tests::TestResult;

use super::judge::*;
use super::tracker::{arrived, clock};

/// Without `key` all that comes waits, and nobody else.
#[tokio::test]
async fn the_same_without_key() -> TestResult {
    let causes = [PANIC, UNDECODABLE, PANIC_LATER, UNDECODABLE_LATER];
    for (mode, cause) in MODES
        .into_iter()
        .flat_map(|mode| causes.map(|cause| (mode, cause)))
    {
        let _guard = broken().await;
        let base = tempfile::tempdir()?;
        let clock = clock();
        let open = || builder::<Solo>(base.path(), mode, &clock).open();
        let mut store = open().await?;
        let said = add(&store, "retry-a", &[FINE, cause, FINE]).await;
        if mode == RunMode::Inline {
            assert_eq!(said, Reactions::Retrying, "{cause}");
        }
        assert_eq!(
            arrived(&store, "out-retry-a").await,
            before(cause),
            "{mode:?} {cause}"
        );
        // It retries itself: `status()` tells where, and both count it.
        let status = handle::<Solo>(&store).status().await?;
        assert!(status.parked_at.is_some());
        let health = store.health().await.process_managers.remove(0);
        let told = (health.parked_at, health.retrying, status.retrying);
        assert_eq!(told, (None, 1, 1), "{mode:?} {cause}");
        store.close().await?;
        store = open().await?;
        clock.advance(Duration::from_secs(1));
        run(&store).await;
        fix();
        clock.advance(Duration::from_millis(1500));
        run(&store).await;
        assert_eq!(
            arrived(&store, "out-retry-a").await,
            before(cause),
            "{mode:?} {cause}"
        );
        clock.advance(Duration::from_millis(500));
        run(&store).await;
        arrives(&store, "out-retry-a", &all_of(cause)).await;
        BROKEN.store(true, SeqCst);

        // After the last attempt, a dead letter; then it goes on.
        add(&store, "retry-b", &[FINE, cause, FINE]).await;
        for wait in [1, 2] {
            clock.advance(Duration::from_secs(wait));
            run(&store).await;
            handle::<Solo>(&store).settle().await?;
        }
        arrives(&store, "out-retry-b", &without(cause)).await;
        let solo = handle::<Solo>(&store);
        let letters = solo.dead_letters().await?;
        assert_eq!(
            (letters.len(), letters[0].attempts.len()),
            (1, 3),
            "{mode:?} {cause}"
        );
        assert_eq!(solo.redrive_all().await?.failed, 1);
        fix();
        assert_eq!(solo.redrive_all().await?.done, 1);
        let again = if cause > UNDECODABLE { -cause } else { cause };
        let mut all = without(cause);
        all.push(again);
        assert_eq!(arrived(&store, "out-retry-b").await, all);
        BROKEN.store(true, SeqCst);
        add(&store, "skip-a", &[FINE, cause, FINE]).await;
        add(&store, "sorry-a", &[FINE, cause, FINE]).await;
        arrives(&store, "out-skip-a", &without(cause)).await;
        arrives(&store, "out-sorry-a", &without(cause)).await;
        assert_eq!(arrived(&store, "out-sorry").await, [99]);
        // It does not wait when an operator asks for it.
        add(&store, "retry-c", &[FINE, cause, FINE]).await;
        assert_eq!(arrived(&store, "out-retry-c").await, before(cause));
        fix();
        assert_eq!(handle::<Solo>(&store).retry().await?.done, 1);
        run(&store).await;
        arrives(&store, "out-retry-c", &all_of(cause)).await;
        assert!(store.verify().await?.differences.is_empty());
        drop(solo);
        store.close().await?;
    }
    Ok(())
}

#[tokio::test]
async fn without_key_what_waits_for_its_next_attempt_is_skipped_before() -> TestResult {
    let guard = broken().await;
    for is_reopened in [false, true] {
        for cause in [PANIC, PANIC_LATER] {
            let base = tempfile::tempdir()?;
            let clock = clock();
            let mut store = builder::<Solo>(base.path(), RunMode::Inline, &clock)
                .open()
                .await?;
            add(&store, "retry", &[FINE, cause, FINE]).await;
            if is_reopened {
                store.close().await?;
                store = builder::<Solo>(base.path(), RunMode::Inline, &clock)
                    .open()
                    .await?;
            }
            assert_eq!(handle::<Solo>(&store).skip().await?.done, 1, "{cause}");
            run(&store).await;
            assert_eq!(arrived(&store, "out-retry").await, without(cause));
            clock.advance(Duration::from_secs(100));
            run(&store).await;
            assert_eq!(arrived(&store, "out-retry").await, without(cause));
            store.close().await?;
        }
    }
    drop(guard);
    Ok(())
}

#[tokio::test]
async fn without_key_a_deadline_that_waits_is_not_shown_while_it_is_paused() -> TestResult {
    let guard = broken().await;
    let base = tempfile::tempdir()?;
    let clock = clock();
    let open = || builder::<Solo>(base.path(), RunMode::Inline, &clock).open();
    let mut store = open().await?;
    add(&store, "retry", &[FINE, PANIC_LATER]).await;
    handle::<Solo>(&store).pause().await?;
    store.close().await?;
    fix();
    clock.advance(Duration::from_secs(100));
    store = open().await?;
    run(&store).await;
    assert_eq!(arrived(&store, "out-retry").await, [FINE, PANIC_LATER]);
    handle::<Solo>(&store).resume().await?;
    arrives(&store, "out-retry", &[FINE, PANIC_LATER, -PANIC_LATER]).await;
    drop(guard);
    Ok(())
}
