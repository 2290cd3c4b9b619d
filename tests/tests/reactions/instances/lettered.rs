//! An event or a deadline that becomes a dead letter, and is reacted to again.

use std::sync::atomic::Ordering::SeqCst;

use eventfold_es::Reactions;
use eventfold_es::RunMode;
use eventfold_es_tests::TestResult;

use super::judge::*;
use super::tracker::{arrived, clock};

#[tokio::test]
#[cfg_attr(eventfold_memory_journal, ignore = "it is about the disk")]
async fn a_dead_letter_is_reacted_to_again_once() -> TestResult {
    for cause in CAUSES {
        let _guard = broken().await;
        let base = tempfile::tempdir()?;
        let clock = clock();
        let store = builder::<Judge>(base.path(), RunMode::Inline, &clock)
            .open()
            .await?;
        assert_eq!(
            add(&store, "letter-a", &[FINE, cause, FINE]).await,
            Reactions::Done
        );
        assert_eq!(
            arrived(&store, "out-letter-a").await,
            without(cause),
            "nothing waits"
        );
        let judge = handle::<Judge>(&store);
        let letters = judge.dead_letters().await?;
        let [letter] = &letters[..] else {
            panic!("{letters:?}");
        };
        assert_eq!((&letter.envelope, &*letter.command_id), (&None, ""));
        assert_eq!(
            (&*letter.source.stream_id, letter.source.version),
            ("in-letter-a", 2)
        );
        let is_late = matches!(cause, PANIC_LATER | UNDECODABLE_LATER);
        assert_eq!(letter.deadline.as_deref(), is_late.then_some("due"));
        assert_eq!(letter.attempts[0].kind, kind(cause));
        assert!(
            store.dead_letters::<Judge>().await?.is_empty(),
            "it is no command"
        );
        let file = base
            .path()
            .join("process_managers/judge/dead_letters.jsonl");
        // It fails again, and stays what it is.
        let again = judge.redrive(&letter.id).await?;
        assert_eq!((again.done, again.failed), (0, 1), "{cause}");
        let again = judge.dead_letters().await?;
        assert_eq!(
            (again.len(), &again[0].id, again[0].attempts.len()),
            (1, &letter.id, 2)
        );
        let seen = handle::<Judge>(&store).instance("letter-a").await?.unwrap();
        assert_eq!(
            serde_json::from_str::<Judge>(&seen.state.unwrap())?.seen,
            without(cause),
            "what failed has changed nothing"
        );
        drop(judge);
        store.close().await?;
        let lines = std::fs::read_to_string(file)?;
        assert_eq!(lines.lines().count(), 1, "{lines}");
        assert!(lines.contains("\"in-letter-a\""), "{lines}");

        let store = builder::<Judge>(base.path(), RunMode::Inline, &clock)
            .open()
            .await?;
        fix();
        let judge = handle::<Judge>(&store);
        let done = judge.redrive_all().await?;
        assert_eq!((done.done, done.failed), (1, 0), "{cause}");
        let mut all = without(cause);
        all.push(if is_late { -cause } else { cause });
        assert_eq!(arrived(&store, "out-letter-a").await, all);
        assert_eq!(judge.redrive_all().await?.done, 0, "once");
        assert!(judge.dead_letters().await?.is_empty());
        store.close().await?;
        let store = builder::<Judge>(base.path(), RunMode::Inline, &clock)
            .open()
            .await?;
        run(&store).await;
        assert_eq!(arrived(&store, "out-letter-a").await, all);
        assert!(store.verify().await?.differences.is_empty());
        store.close().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_dead_letter_is_for_its_instance_as_that_is_now() -> TestResult {
    let _guard = broken().await;
    let base = tempfile::tempdir()?;
    let clock = clock();
    let store = builder::<Judge>(base.path(), RunMode::Inline, &clock)
        .open()
        .await?;
    let judge = handle::<Judge>(&store);
    // It would have begun the instance.
    add(&store, "letter-new", &[PANIC]).await;
    assert!(judge.instance("letter-new").await?.is_none());
    // A parked instance holds it.
    add(&store, "letter-parked", &[PANIC]).await;
    fix();
    add(&store, "letter-parked", &[FINE]).await;
    BROKEN.store(true, SeqCst);
    let letters = judge.dead_letters().await?;
    assert_eq!(letters.len(), 2);
    // One is given up.
    add(&store, "letter-gone", &[PANIC]).await;
    let gone = judge.dead_letters().await?.pop().expect("three");
    assert_eq!(judge.discard(&gone.id).await?.done, 1);
    fix();
    assert_eq!(judge.redrive(&letters[0].id).await?.done, 1);
    let begun = judge.instance("letter-new").await?.expect("it has begun");
    assert_eq!(begun.generation, 1);
    assert_eq!(arrived(&store, "out-letter-new").await, [PANIC]);
    judge.redrive_all().await?;
    assert_eq!(arrived(&store, "out-letter-parked").await, [FINE, PANIC]);
    // What was given up is not in a state that is made again, and what was redriven is.
    judge.rebuild_state().await?;
    assert!(judge.instance("letter-gone").await?.is_none());
    let state = judge
        .instance("letter-parked")
        .await?
        .and_then(|found| found.state);
    let state: Judge = serde_json::from_str(&state.expect("a state"))?;
    assert_eq!(state.seen, [PANIC, FINE], "in the order of the events");
    Ok(())
}
