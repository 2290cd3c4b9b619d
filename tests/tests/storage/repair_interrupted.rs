//! A repair that is interrupted, at whatever operation, has lost nothing: begun again, it gives the whole store.
//!
//! The ordinary run interrupts it at each operation in one way, and in another at the next; `EVENTFOLD_FULL=1` in all ways at each.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use eventfold_es::AggregateStore;
use eventfold_es::disk::{CrashImage, Recording, RecordingDisk, Survival, SystemDisk};
use eventfold_es_tests::campaign::size;
use eventfold_es_tests::crash::{Check, Expected, Fixture, check, scratch};

/// How many threads crash and repair.
const WORKERS: usize = 2;

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap()
}

async fn record(fixture: &Fixture) -> Recording {
    let store = fixture.store();
    let disk = RecordingDisk::new(store.parent().unwrap()).unwrap();
    let builder = AggregateStore::builder(&store).disk(Arc::new(disk.clone()));
    let report = builder.repair().await.unwrap();
    assert_eq!(report.remaining, []);
    assert_ne!(report.found, []);
    disk.check().unwrap();
    disk.recording()
}

async fn repair_again(store: &Path, expected: &Expected) -> Result<(), String> {
    let builder = AggregateStore::builder(store).disk(Arc::new(SystemDisk));
    let report = builder.repair().await.map_err(|error| error.to_string())?;
    if !report.remaining.is_empty() {
        return Err(format!("these remain: {:?}", report.remaining));
    }
    check(store, expected, Check::PROCESS_MANAGERS).await
}

#[test]
fn an_interrupted_repair_is_begun_again() {
    interrupt(&runtime().block_on(Fixture::damaged()));
}

#[test]
fn an_interrupted_repair_with_archives_is_begun_again() {
    interrupt(&runtime().block_on(Fixture::damaged_and_archived()));
}

fn interrupt(fixture: &Fixture) {
    let runtime = runtime();
    let recording = runtime.block_on(record(fixture));
    let points: Vec<_> = (recording.start()..=recording.len())
        .flat_map(|k| {
            let tears = recording.tears(k);
            let killed = [0, tears[tears.len() / 2]].map(|torn| (k, torn, None));
            let survivals = [Survival::Nothing, Survival::Random(k as u64)];
            let lost = survivals.map(|survival| (k, 0, Some(survival)));
            killed.into_iter().chain(lost)
        })
        .step_by(size(5, 1))
        .collect();
    let (next, checked) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                let runtime = self::runtime();
                let mut last = None;
                while let Some((k, torn, survival)) =
                    points.get(next.fetch_add(1, Ordering::Relaxed))
                {
                    let cut = recording.until(*k, *torn);
                    let image = match survival {
                        None => CrashImage::killed(&cut).unwrap(),
                        Some(survival) => CrashImage::power_loss(&cut, survival).unwrap(),
                    };
                    if last.as_ref() == Some(&image) {
                        continue;
                    }
                    let place = scratch();
                    let root = place.path().join("root");
                    image.materialise(&root).unwrap();
                    let store = root.join("store");
                    let repaired = repair_again(&store, &fixture.expected);
                    if let Err(reason) = runtime.block_on(repaired) {
                        panic!("after {k} operations and {torn} bytes, {survival:?}: {reason}");
                    }
                    checked.fetch_add(1, Ordering::Relaxed);
                    last = Some(image);
                }
            });
        }
    });
    let checked = checked.into_inner();
    println!(
        "{} operations, {checked} interrupted repairs begun again",
        recording.len()
    );
    assert!(checked > size(20, 100), "{checked}");
}
