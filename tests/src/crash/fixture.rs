use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use eventfold_es::disk::{CrashImage, Recording, RecordingDisk};
use tempfile::TempDir;

use super::note::Expected;
use super::place::scratch;
use super::workload::{Client, builder};

/// A store directory that no process has open, with process managers that are not behind.
pub struct Fixture {
    place: TempDir,
    /// What is in it.
    pub expected: Expected,
}

impl Fixture {
    /// A store that is not there yet.
    #[must_use]
    pub fn empty() -> Self {
        Self::of(&Recording::default())
    }

    /// A store that was closed.
    pub async fn closed() -> Self {
        let recording = record(0).await;
        Self::of(&recording)
    }

    /// A store that was closed and opened again, and whose process was killed after some more commands: a checkpoint, and
    /// commits behind it. The streams `old` end before the checkpoint, `new` begin behind it, `both` have events on both
    /// sides.
    pub async fn killed() -> Self {
        let recording = record(0).await;
        let end = recording.marks().iter().find(|mark| mark.label == KILLED);
        Self::of(&recording.until(end.expect("the mark").at, 0))
    }

    /// As [`killed`](Self::killed), but within the last write to the journal: a half is there.
    pub async fn torn() -> Self {
        let recording = record(0).await;
        let end = recording.marks().iter().find(|mark| mark.label == KILLED);
        let ops = &recording.ops()[..end.expect("the mark").at];
        let last = ops.iter().rposition(|op| {
            !op.sectors().is_empty()
                && op
                    .path()
                    .is_some_and(|path| path.ends_with("journal/app.jsonl"))
        });
        let last = last.expect("a write to the journal");
        let half = ops[last].tears().into_iter().max().unwrap_or_default() / 2;
        Self::of(&recording.until(last, half))
    }

    /// As [`closed`](Self::closed), but with files derived from the journal that were damaged since. All of it can be repaired.
    ///
    /// # Panics
    ///
    /// If there is no room.
    pub async fn damaged() -> Self {
        let recording = record(0).await;
        Self::of(&recording).damage()
    }

    /// The same with a journal whose first half is archived.
    ///
    /// # Panics
    ///
    /// If there is no room.
    pub async fn damaged_and_archived() -> Self {
        let recording = record(400).await;
        let fixture = Self::of(&recording).damage();
        assert!(
            fixture
                .file("meta/journal/000000000000000.jsonl.zst")
                .exists()
        );
        fixture
    }

    fn damage(self) -> Self {
        // In the first block of each run.
        for run in self.runs() {
            change(&run, |bytes| bytes[60] ^= 1);
        }
        self
    }

    /// The runs of the index.
    ///
    /// # Panics
    ///
    /// If there is no index.
    #[must_use]
    pub fn runs(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.file("meta/index")).expect("an index");
        let mut runs: Vec<_> = entries.map(|entry| entry.expect("a run").path()).collect();
        runs.sort();
        runs
    }

    fn of(recording: &Recording) -> Self {
        let place = scratch();
        let image = CrashImage::killed(recording).expect("a recording fits itself");
        image.materialise(place.path()).expect("room");
        Self {
            place,
            expected: Expected::of(recording.marks()),
        }
    }

    /// The base directory of the store.
    #[must_use]
    pub fn store(&self) -> PathBuf {
        self.place.path().join("store")
    }

    /// A file of it.
    #[must_use]
    pub fn file(&self, path: impl AsRef<Path>) -> PathBuf {
        self.store().join(path)
    }

    /// A copy to do something to.
    ///
    /// # Panics
    ///
    /// If there is no room.
    #[must_use]
    pub fn copy(&self) -> Self {
        let place = scratch();
        let image = CrashImage::read(self.place.path()).expect("the fixture");
        image.materialise(place.path()).expect("room");
        Self {
            place,
            expected: self.expected.clone(),
        }
    }

    /// What is in it, byte for byte.
    ///
    /// # Panics
    ///
    /// If it cannot be read.
    #[must_use]
    pub fn image(&self) -> CrashImage {
        CrashImage::read(self.place.path()).expect("the fixture")
    }
}

const KILLED: &str = "killed";

fn change(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).expect("the fixture");
    change(&mut bytes);
    fs::write(path, bytes).expect("room");
}

async fn record(max_log_size: u64) -> Recording {
    let place = scratch();
    let disk = RecordingDisk::new(place.path()).expect("an empty directory");
    let path = place.path().join("store");
    let runs: [&[&str]; 2] = [&["old", "both", "old"], &["both", "new", "both"]];
    let mut tag = 0;
    for (ids, max_log_size) in runs.into_iter().zip([max_log_size, 0]) {
        let builder = builder(&path, Arc::new(disk.clone()), true).max_log_size(max_log_size);
        let store = builder.open().await.expect("the store opens");
        let client = Client::recorded(&store, &disk);
        for id in ids {
            tag += 2;
            client.put(id, tag, 2).await.expect("the disk works");
        }
        // They are written before they are read.
        store
            .dead_letters::<super::domain::Fanout>()
            .await
            .expect("dead letters");
        store
            .projection::<super::domain::Tally>()
            .await
            .expect("a projection");
        disk.mark(KILLED.repeat(usize::from(tag > 6)));
        drop(client);
        store.close().await.expect("the disk works");
    }
    disk.recording()
}
