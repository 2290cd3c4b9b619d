//! A retry right after an `open` that was abandoned, as by a time-out, was told that the store is in use: by the call that
//! nobody waited for any more, which was still recovering the directory.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use eventfold_es::{AggregateStore, OpenError};
use eventfold_es_tests::crash::{Client, Fixture, scratch};
use eventfold_es_tests::gate::GatedDisk;

fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// Opens the gate also when the test fails, which would otherwise wait behind it for ever.
struct Opens<'a>(&'a GatedDisk);

impl Drop for Opens<'_> {
    fn drop(&mut self) {
        self.0.open();
    }
}

#[tokio::test]
async fn the_next_one_waits_until_the_directory_is_released() {
    let fixture = Fixture::killed().await;
    let gate = GatedDisk::default();
    for _ in 0..3 {
        // In the middle of recovery.
        gate.close();
        let opens = Opens(&gate);
        let builder = AggregateStore::builder(fixture.store()).disk(Arc::new(gate.clone()));
        let mut abandoned = Box::pin(builder.open());
        let waiting = gate.clone();
        tokio::select! {
            _ = &mut abandoned => panic!("it did not wait"),
            waited = tokio::task::spawn_blocking(move || waiting.wait_for_sync()) => waited.unwrap(),
        }
        drop(abandoned);
        let mut next = Box::pin(AggregateStore::open(fixture.store()));
        let mut repair = Box::pin(AggregateStore::builder(fixture.store()).repair());
        for _ in 0..20 {
            assert!(poll(next.as_mut()).is_pending());
            assert!(poll(repair.as_mut()).is_pending());
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        drop(opens);
        let store = next.await.unwrap();
        assert!(matches!(repair.await, Err(OpenError::InUse { .. })));
        store.close().await.unwrap();
    }
}

/// Under another spelling of its path it was told that the store is in use: by the one that had just been dropped.
#[cfg(unix)]
#[tokio::test]
async fn another_spelling_of_the_path_waits_as_well() {
    let place = scratch();
    let path = place.path().join("store");
    std::fs::create_dir(place.path().join("sub")).unwrap();
    std::os::unix::fs::symlink(place.path(), place.path().join("link")).unwrap();
    let spellings = ["link/store", "sub/../store", "./link/link/sub/../store"];
    for (turn, spelling) in (1..).zip(spellings.into_iter().cycle().take(30)) {
        let store = AggregateStore::open(&path).await.unwrap();
        Client::new(&store, |_| ()).put("a", turn, 1).await.unwrap();
        drop(store);
        let other = AggregateStore::open(place.path().join(spelling)).await;
        let other = other.unwrap_or_else(|error| panic!("{spelling}: {error}"));
        match turn {
            // Nobody writes to what is removed.
            30 => other.close().await.unwrap(),
            _ => drop(other),
        }
    }
    std::fs::remove_dir_all(&path).unwrap();
    // Before there is a directory, too.
    let (one, other) = tokio::join!(
        AggregateStore::open(&path),
        AggregateStore::open(place.path().join("link/store"))
    );
    assert_eq!(
        [one.is_ok(), other.is_ok()]
            .iter()
            .filter(|one| **one)
            .count(),
        1
    );
}

/// Whenever it is abandoned.
#[tokio::test]
async fn it_is_released_wherever_it_was() {
    let fixture = Fixture::killed().await;
    for polls in 0..40_u32 {
        let mut abandoned = Box::pin(AggregateStore::open(fixture.store()));
        for _ in 0..polls {
            if poll(abandoned.as_mut()).is_ready() {
                break;
            }
            tokio::time::sleep(Duration::from_micros(100)).await;
        }
        drop(abandoned);
        let store = AggregateStore::open(fixture.store()).await.unwrap();
        drop(store);
        let mut abandoned = Box::pin(AggregateStore::builder(fixture.store()).repair());
        for _ in 0..polls {
            if poll(abandoned.as_mut()).is_ready() {
                break;
            }
            tokio::time::sleep(Duration::from_micros(300)).await;
        }
        drop(abandoned);
        let store = AggregateStore::open(fixture.store()).await.unwrap();
        store.close().await.unwrap();
    }
}

/// Of two that open a directory at once, one has it.
#[tokio::test]
async fn two_at_once() {
    let place = scratch();
    for _ in 0..20 {
        let (one, other) = tokio::join!(
            AggregateStore::open(place.path()),
            AggregateStore::open(place.path())
        );
        let (opened, refused): (Vec<_>, Vec<_>) = [one, other].into_iter().partition(Result::is_ok);
        assert_eq!((opened.len(), refused.len()), (1, 1));
        for refused in refused {
            assert!(matches!(refused, Err(OpenError::InUse { .. })));
        }
        for store in opened.into_iter().flatten() {
            store.close().await.unwrap();
        }
    }
}
