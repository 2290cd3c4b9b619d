//! What is tried again later, and ends the process then.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use eventfold_es::{ProcessManager, RunMode};
use eventfold_es_tests::TestResult;
use eventfold_es_tests::crash::scratch;

use super::{Scribe, builder, is_parked_after_starts, notes, prepare};

pub const TOO_EARLY: &str = "too early";
/// How long until what was too early is tried again.
pub const PAUSE: Duration = Duration::from_millis(50);

static IS_FIRST: AtomicBool = AtomicBool::new(false);

pub fn panic_at_first() {
    assert!(!IS_FIRST.load(Ordering::SeqCst), "{TOO_EARLY}");
}

/// A stream that would be released by itself waits for somebody then, and says so.
#[tokio::test(flavor = "multi_thread")]
async fn scenario_16_a_stream_that_is_tried_again_is_held_until_it_is_released() -> TestResult {
    let place = scratch();
    let base = place.path();
    prepare(base, &[("a", "correlate later"), ("a", "1"), ("b", "1")]).await?;
    IS_FIRST.store(true, Ordering::SeqCst);
    let store = builder(base, "keyed", RunMode::OnDemand).open().await?;
    store.run_process_managers().await?;
    let scribe = store.process_manager::<Scribe>()?;
    assert!(scribe.parked().await?[0].retries_at.is_some());
    drop(scribe);
    store.close().await?;
    IS_FIRST.store(false, Ordering::SeqCst);
    tokio::time::sleep(PAUSE * 2).await;

    is_parked_after_starts(base, "keyed", 1);
    let store = builder(base, "keyed", RunMode::Inline).open().await?;
    store.run_process_managers().await?;
    assert_eq!(notes(&store, "a").await, [""; 0], "{}", Scribe::NAME);
    assert_eq!(notes(&store, "b").await, ["1"]);
    let scribe = store.process_manager::<Scribe>()?;
    let parked = scribe.parked().await?;
    let [parked] = &parked[..] else {
        panic!("{parked:?}");
    };
    assert_eq!((parked.held, parked.parked.position), (2, 1));
    assert_eq!(parked.retries_at, None);
    assert!(parked.parked.reason.contains("3 times"), "{parked:?}");
    let status = scribe.status().await?;
    assert_eq!((status.retrying, status.held_streams), (0, 1));
    // This program is mended.
    assert_eq!(scribe.release_stream("post", "a").await?.done, 2);
    assert_eq!(notes(&store, "a").await, ["correlate later", "1"]);
    drop(scribe);
    store.close().await?;
    Ok(())
}
