//! Spans and lines. All tests of this executable share the subscriber, so that each looks for names of its own.

use std::time::{Duration, Instant};

use eventfold_es_tests::{TestResult, copy_directory};
use tracing::Level;

use super::{Courier, How, ParcelCommand, Sent, builder, send};
use crate::collector::{Collector, Told};

/// Waits for a thread of the store to say something.
pub(super) async fn eventually(with: &[&str]) -> Told {
    let begun = Instant::now();
    loop {
        let lines = Collector::global().lines(with[0]);
        let has_all = |line: &&Told| with.iter().all(|text| line.text.contains(text));
        if let Some(line) = lines.iter().find(has_all) {
            return line.clone();
        }
        assert!(begun.elapsed() < Duration::from_secs(10), "{with:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn opening_recovery_and_closing_are_one_line_each() -> TestResult {
    let collector = Collector::global();
    let base = tempfile::tempdir()?;
    let path = base.path().display().to_string();
    let store = builder(base.path()).open().await?;
    for _ in 0..7 {
        send(&store, "open", How::Well).await;
    }
    // As a program leaves it that is killed.
    let copy = tempfile::tempdir()?;
    let place = copy.path().display().to_string();
    std::fs::remove_dir(copy.path())?;
    copy_directory(base.path(), copy.path())?;
    std::fs::remove_file(copy.path().join("meta/lock")).ok();
    store.close().await?;
    let closed = eventually(&["the store is closed", &path]).await;
    assert_eq!(closed.level, Level::INFO);
    assert!(closed.text.contains("position=14"), "{closed:?}");

    let store = builder(copy.path()).open().await?;
    let count = store.recovery().redone_commits;
    assert!(count >= 14, "{count}");
    store.close().await?;
    eventually(&["the store is closed", &place]).await;
    let spans = collector.spans(&format!("open path={place}"));
    assert_eq!(spans.len(), 1, "{spans:?}");
    let redone = collector.lines("commits redone");
    let commits = format!("commits={count}");
    let redone = redone.iter().find(|line| line.text.contains(&commits));
    let redone = redone.expect("the commits that were redone are told");
    assert_eq!(redone.level, Level::INFO);
    assert_eq!(redone.within, ["open"]);
    let opened = collector.lines("the store is open");
    let is_this = |line: &&Told| {
        line.text.contains("position=14") && line.text.contains("process_managers=1")
    };
    assert_eq!(opened.iter().filter(is_this).count(), 1, "{opened:?}");
    let checkpoints = collector.spans("checkpoint commit=");
    let is_last = |span: &&Told| span.text.ends_with("position=14");
    assert!(
        checkpoints.iter().filter(is_last).count() >= 2,
        "{checkpoints:?}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_is_a_span() -> TestResult {
    let collector = Collector::global();
    let base = tempfile::tempdir()?;
    let store = builder(base.path()).open().await?;
    let parcel = |to: &str| {
        let (to, how) = (to.to_owned(), How::Well);
        ParcelCommand::Send { to, how }
    };
    let transaction = store.transaction(());
    let transaction = (0..17).fold(transaction, |transaction, number| {
        transaction.send(format!("together-{number}"), parcel("door-of-transactions"))
    });
    transaction.commit().await?;
    let committed = collector.spans("transaction commands=17 position=17");
    assert_eq!(committed.len(), 1, "{committed:?}");
    assert_eq!(committed[0].level, Level::DEBUG);
    let packed = collector.lines("a parcel is packed to=\"door-of-transactions\"");
    let is_within = packed.iter().all(|line| line.within == ["transaction"]);
    assert!(is_within && packed.len() == 17, "{packed:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_its_reaction_and_a_projection_are_spans() -> TestResult {
    let collector = Collector::global();
    let base = tempfile::tempdir()?;
    let store = builder(base.path()).open().await?;
    send(&store, "door-of-spans", How::Well).await;
    send(&store, "door-of-spans", How::Rejected).await;
    let executed = collector.spans("execute aggregate=\"parcel\" instance=\"p-1\" position=");
    assert!(executed.iter().any(|span| span.level == Level::DEBUG));
    let reacted = collector.spans("react process_manager=\"courier\" instance=\"door-of-spans\"");
    assert_eq!(reacted.len(), 2, "{reacted:?}");
    assert!(
        reacted[0].text.contains("position=1 event=\"Sent\""),
        "{reacted:?}"
    );
    let said = collector.lines("the courier is on the way");
    assert!(said.iter().all(|line| line.within == ["react"]), "{said:?}");
    assert!(said.len() >= 2);
    store.projection::<Sent>().await?;
    let projected = collector.spans("project projection=\"sent\" from=0 to=3");
    assert!(!projected.is_empty());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_parked_and_goes_on_is_a_line_each() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = builder(base.path()).open().await?;
    send(&store, "door-that-parks", How::Panics).await;
    let parked = eventually(&["an instance is parked", "door-that-parks"]).await;
    assert_eq!(parked.level, Level::ERROR);
    let courier = store.process_manager::<Courier>()?;
    courier.discard_parked("door-that-parks").await?;
    let goes_on = eventually(&[
        "goes on without what it held",
        "door-that-parks",
        "dropped=1",
    ])
    .await;
    assert_eq!(goes_on.level, Level::INFO);
    courier.pause().await?;
    courier.resume().await?;
    for line in [
        "a process manager is paused",
        "a process manager is resumed",
    ] {
        assert_eq!(eventually(&[line, "courier"]).await.level, Level::INFO);
    }
    Ok(())
}
