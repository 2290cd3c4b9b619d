//! A crash at each operation on the disk, of what a second program does to the store of a first one.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use eventfold_es::disk::{CrashImage, Disk, Recording, RecordingDisk, SplitMix64, Survival};
use eventfold_es::prelude::*;
use eventfold_es::store::AggregateStoreBuilder;
use eventfold_es::testing::MemoryDisk;
use eventfold_es_tests::campaign::size;

/// What was begun and what was acknowledged, in order.
#[derive(Clone)]
pub struct Notes {
    disk: RecordingDisk,
    base: PathBuf,
}

impl Notes {
    pub fn note(&self, what: &str) {
        self.disk.mark(what);
    }

    /// The disk that is recorded.
    pub fn disk(&self) -> Arc<dyn Disk> {
        Arc::new(self.disk.clone())
    }

    /// The base directory of the store on it.
    pub fn base(&self) -> &Path {
        &self.base
    }
}

/// How many crash points of each test are checked at most; ten times as many in full.
const POINTS: usize = 50;
const SEED: u64 = 20_260_101;

/// Lets `prepare` make a store, `operate` work on it, and `check` see what is left of that after a crash at each operation on the
/// disk, with what had been noted before it. How many crashes there were.
pub async fn interrupt(
    prepare: impl AsyncFnOnce(AggregateStoreBuilder),
    operate: impl AsyncFnOnce(AggregateStoreBuilder, Notes),
    check: impl AsyncFn(MemoryDisk, &[String]),
) -> usize {
    let memory = MemoryDisk::new();
    let recorded = RecordingDisk::on(Arc::new(memory.clone()), memory.root()).unwrap();
    prepare(AggregateStore::builder(memory.root()).disk(Arc::new(recorded.clone()))).await;
    let image = CrashImage::killed(&recorded.recording()).unwrap();

    let memory = MemoryDisk::holding(&image).unwrap();
    let root = memory.root().to_owned();
    let disk = RecordingDisk::on_image(Arc::new(memory), &root, &image).unwrap();
    let builder = AggregateStore::builder(&root).disk(Arc::new(disk.clone()));
    let notes = Notes {
        disk: disk.clone(),
        base: root,
    };
    operate(builder, notes).await;

    let recording = disk.recording();
    let crashes = crashes(&recording);
    let mut last = None;
    let mut points = 0;
    let checked = crashes.len().min(size(POINTS, 10 * POINTS));
    for index in 0..checked {
        let (k, torn, survival) = &crashes[index * crashes.len() / checked];
        let cut = recording.until(*k, *torn);
        let image = match survival {
            None => CrashImage::killed(&cut).unwrap(),
            Some(survival) => CrashImage::power_loss(&cut, survival).unwrap(),
        };
        let noted: Vec<_> = cut.marks().iter().map(|mark| mark.label.clone()).collect();
        let this = Some((image, noted));
        if this == last {
            continue;
        }
        last = this;
        let Some((image, noted)) = &last else {
            continue;
        };
        points += 1;
        let told = Told(format!(
            "the crash after {k} of {} operations and {torn} bytes, of which {survival:?} is left; noted: {noted:?}",
            recording.len()
        ));
        check(MemoryDisk::holding(image).unwrap(), noted).await;
        std::mem::forget(told);
    }
    points
}

/// Told, if a check does not survive it.
struct Told(String);

impl Drop for Told {
    fn drop(&mut self) {
        eprintln!("{}", self.0);
    }
}

fn crashes(recording: &Recording) -> Vec<(usize, usize, Option<Survival>)> {
    let mut random = SplitMix64::new(SEED);
    let mut crashes = Vec::new();
    for k in recording.start()..=recording.len() {
        crashes.extend(recording.tears(k).into_iter().map(|torn| (k, torn, None)));
        let survivals = [
            Survival::Nothing,
            Survival::EntriesOnly,
            Survival::LengthsOnly,
            Survival::ContentOnly,
            Survival::Random(random.next_u64()),
        ];
        crashes.extend(survivals.map(|survival| (k, 0, Some(survival))));
    }
    crashes
}

/// Whether something was noted before the crash.
pub fn is_noted(noted: &[String], what: &str) -> bool {
    noted.iter().any(|noted| noted == what)
}
