use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::{JoinHandle, spawn};

use eventfold_es::RunMode;
use eventfold_es::disk::{
    CrashImage, DiskModel, DiskOp, Recording, RecordingDisk, SplitMix64, Survival,
};

use super::check::{Check, check};
use super::note::{Expected, Note};
use super::place::{Place, scratch};
use super::workload::{Client, open_on};

/// How many directories are checked at the same time.
const WORKERS: usize = 4;
/// How many seeds of [`Survival::Random`] each operation gets.
const RANDOM_LOSSES: usize = 3;
/// After how many violations a campaign ends.
const ENOUGH: usize = 10;
/// The tags of commands that are executed after a first crash.
const RESUMED: u64 = 900_000;
/// Where they go.
pub(super) const RESUMED_LEDGER: &str = "resumed";

/// Crash points of recordings, sampled by a seed, each checked once.
pub struct Campaign {
    seed: u64,
    random: SplitMix64,
    jobs: Option<SyncSender<Job>>,
    workers: Vec<JoinHandle<()>>,
    violations: Arc<Mutex<Vec<String>>>,
    seen: HashSet<u64>,
    totals: Totals,
    enough: usize,
}

/// What a campaign came to.
#[derive(Debug, Clone, Default)]
pub struct Totals {
    /// How many directories were checked.
    pub points: usize,
    /// What was wrong with them.
    pub violations: Vec<String>,
}

struct Job {
    label: String,
    image: CrashImage,
    expected: Expected,
    how: Check,
}

/// One crash.
#[derive(Debug, Clone)]
struct Crash {
    /// After how many operations.
    k: usize,
    /// How many bytes of the next one were done.
    torn: usize,
    /// What a power loss leaves; nothing is lost in a kill.
    survival: Option<Survival>,
}

impl Campaign {
    /// A campaign that takes everything that it chooses from `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let (jobs, received) = sync_channel(2 * WORKERS);
        let received = Arc::new(Mutex::new(received));
        let violations = Arc::default();
        let workers = (0..WORKERS).map(|_| {
            let (received, violations) = (Arc::clone(&received), Arc::clone(&violations));
            spawn(move || work(&received, &violations))
        });
        Self {
            seed,
            random: SplitMix64::new(seed),
            workers: workers.collect(),
            jobs: Some(jobs),
            violations,
            seen: HashSet::new(),
            totals: Totals::default(),
            enough: ENOUGH,
        }
    }

    /// Ends after so many violations.
    pub fn end_after(&mut self, violations: usize) {
        self.enough = violations;
    }

    /// Numbers that follow from the seed.
    pub fn random(&mut self) -> &mut SplitMix64 {
        &mut self.random
    }

    /// How many points were handed to the checks.
    #[must_use]
    pub fn points(&self) -> usize {
        self.totals.points
    }

    /// Checks up to `budget` different images that crashes in the last run of the recording can leave behind.
    ///
    /// # Panics
    ///
    /// If the recording contradicts itself.
    pub fn crash(&mut self, name: &str, recording: &Recording, how: Check, budget: usize) -> usize {
        let mut candidates = self.candidates(recording);
        for index in (1..candidates.len()).rev() {
            candidates.swap(index, self.random.below(index + 1));
        }
        let mut checked = 0;
        while checked < budget && !candidates.is_empty() && !self.has_enough() {
            let rest = candidates.split_off((budget - checked).min(candidates.len()));
            candidates.sort_by_key(|crash| crash.k);
            let mut model = DiskModel::default();
            for crash in candidates {
                if self.has_enough() {
                    break;
                }
                for op in &recording.ops()[model.applied()..crash.k] {
                    model.apply(op).expect("a recording fits itself");
                }
                let image = image(&model, recording, &crash);
                let marks = recording.marks().iter().filter(|mark| mark.at <= crash.k);
                let marks: Vec<_> = marks.cloned().collect();
                let mut hasher = DefaultHasher::new();
                (name, &image, marks.len()).hash(&mut hasher);
                if !self.seen.insert(hasher.finish()) {
                    continue;
                }
                checked += 1;
                let job = Job {
                    label: format!("seed {}, {name}, {crash:?}", self.seed),
                    image,
                    expected: Expected::of(&marks),
                    how,
                };
                if let Some(jobs) = &self.jobs {
                    jobs.send(job).expect("the workers live");
                }
            }
            candidates = rest;
        }
        self.totals.points += checked;
        checked
    }

    /// Kills the last run at some points, opens what is left, serves what is there and works on, and lets that crash, too.
    ///
    /// # Panics
    ///
    /// If a directory does not open after a kill.
    pub fn crash_again(
        &mut self,
        name: &str,
        recording: &Recording,
        how: Check,
        (first, second): (usize, usize),
    ) -> usize {
        let unsynced: Vec<_> = (recording.start() + 1..=recording.len())
            .filter(|k| matches!(&recording.ops()[k - 1], DiskOp::Write { path, .. } if path.ends_with("journal/app.jsonl")))
            .collect();
        let mut checked = 0;
        for index in 0..first {
            if self.has_enough() {
                break;
            }
            let (k, torn) = match (index % 3, unsynced.len()) {
                // Between a write to the journal and the sync behind it.
                (0, 1..) => (unsynced[self.random.below(unsynced.len())], 0),
                // Within a write to the journal.
                (1, 1..) => {
                    let k = unsynced[self.random.below(unsynced.len())] - 1;
                    (k, recording.tears(k).pop().unwrap_or_default())
                }
                _ => {
                    let span = recording.len() + 1 - recording.start();
                    let k = recording.start() + self.random.below(span);
                    let tears = recording.tears(k);
                    (k, tears[self.random.below(tears.len())])
                }
            };
            let cut = recording.until(k, torn);
            let place = scratch();
            let root = place.path().join("root");
            CrashImage::killed(&cut)
                .expect("a recording fits itself")
                .materialise(&root)
                .expect("room");
            let expected = Expected::of(cut.marks());
            let disk =
                RecordingDisk::continue_from(cut, &root).expect("the image of the recording");
            resume(&disk, &root, how, &expected);
            let name = format!("{name}, killed at {k} + {torn} bytes and opened again");
            checked += self.crash(&name, &disk.recording(), how, second);
        }
        checked
    }

    /// Whether so much is wrong that there is no use in going on.
    ///
    /// # Panics
    ///
    /// If a check panicked.
    #[must_use]
    pub fn has_enough(&self) -> bool {
        self.violations.lock().expect("no check panics").len() >= self.enough
    }

    /// Waits for the checks.
    ///
    /// # Panics
    ///
    /// If one panicked.
    #[must_use]
    pub fn finish(mut self) -> Totals {
        self.jobs = None;
        for worker in self.workers {
            worker.join().expect("no check panics");
        }
        let violations = self.violations.lock().expect("no check panics").clone();
        Totals {
            violations,
            ..self.totals
        }
    }

    fn candidates(&mut self, recording: &Recording) -> Vec<Crash> {
        let mut crashes = Vec::new();
        for k in recording.start()..=recording.len() {
            crashes.extend(recording.tears(k).into_iter().map(|torn| Crash {
                k,
                torn,
                survival: None,
            }));
            let mut survivals = vec![
                Survival::All,
                Survival::Nothing,
                Survival::EntriesOnly,
                Survival::LengthsOnly,
                Survival::ContentOnly,
            ];
            survivals.extend((0..RANDOM_LOSSES).map(|_| Survival::Random(self.random.next_u64())));
            if let Some(last) = k.checked_sub(1).and_then(|op| recording.ops().get(op)) {
                // Of the zeros that the journal is filled with, a few sectors will do.
                let sectors: Vec<_> = last.sectors().take(6).collect();
                let lost: Vec<_> = sectors
                    .into_iter()
                    .filter(|_| self.random.chance(4))
                    .collect();
                if !lost.is_empty() {
                    survivals.push(Survival::LoseSectors {
                        op: k - 1,
                        sectors: lost,
                        length_too: self.random.chance(4),
                    });
                }
            }
            crashes.extend(survivals.into_iter().map(|survival| Crash {
                k,
                torn: 0,
                survival: Some(survival),
            }));
        }
        crashes
    }
}

fn image(model: &DiskModel, recording: &Recording, crash: &Crash) -> CrashImage {
    let part = recording
        .ops()
        .get(crash.k)
        .and_then(|op| op.torn(crash.torn));
    let torn;
    let model = match part {
        None => model,
        Some(part) => {
            let mut copy = model.clone();
            copy.apply(&part)
                .expect("a part of a write fits where it does");
            torn = copy;
            &torn
        }
    };
    match &crash.survival {
        None => model.page_cache(),
        Some(survival) => model.after_power_loss(survival),
    }
}

/// What the next process does after a kill: it opens the store, shows what is there, takes a command and closes.
fn resume(disk: &RecordingDisk, root: &std::path::Path, how: Check, expected: &Expected) {
    let runtime = runtime();
    let tag = expected
        .tried
        .keys()
        .max()
        .copied()
        .unwrap_or_default()
        .max(RESUMED)
        / 2
        * 2
        + 2;
    runtime.block_on(async {
        let path = root.join("store");
        let store = open_on(disk, &path, how.members(), RunMode::OnDemand).await;
        let client = Client::recorded(&store, disk);
        client.note_served().await;
        client
            .put(RESUMED_LEDGER, tag, 1)
            .await
            .expect("the disk works");
        if how.process_managers {
            store.run_process_managers().await.expect("the disk works");
            disk.mark(Note::Reacted { tag }.label());
        }
        drop(client);
        store.close().await.expect("the disk works");
    });
    disk.check().expect("everything goes through the disk");
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime")
}

fn work(jobs: &Mutex<Receiver<Job>>, violations: &Mutex<Vec<String>>) {
    let runtime = runtime();
    let mut place = Place::default();
    loop {
        let job = jobs.lock().expect("no check panics").recv();
        let Ok(job) = job else { return };
        let root = place.fresh();
        job.image.materialise(&root).expect("room for an image");
        let checked = runtime.block_on(check(&root.join("store"), &job.expected, job.how));
        std::fs::remove_dir_all(&root).expect("the image is ours");
        if let Err(reason) = checked {
            let kept = keep(&job.image);
            let violation = format!("{}: {reason}\n  image: {}", job.label, kept.display());
            eprintln!("{violation}");
            violations.lock().expect("no check panics").push(violation);
        }
    }
}

/// Keeps an image for whoever looks for the cause.
fn keep(image: &CrashImage) -> PathBuf {
    let kept = tempfile::Builder::new()
        .prefix("eventfold-es-crash-")
        .tempdir()
        .expect("a temporary directory")
        .keep();
    // Without it the label has to do.
    let _ = image.materialise(&kept);
    kept
}
