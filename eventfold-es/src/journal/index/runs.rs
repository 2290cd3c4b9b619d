//! The runs of a store, and their merges.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use super::footer::Coverage;
use super::merge::{Entries, Merged};
use super::restore::Restore;
use super::run::Run;
use super::run_writer::{FilterWriter, RunWriter};
use crate::disk::Files;
use crate::journal::block_cache::BlockCache;
use crate::journal::{Damage, JournalError};
use crate::sabotage::{Bug, planted};
use crate::threads::StoreRuntime;

/// The number of runs of one level that are merged into one run of the next level.
const FAN_IN: usize = 8;

/// The entry of a checkpoint for one run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RunNote {
    pub(crate) number: u64,
    pub(crate) level: u32,
    pub(crate) bytes: u64,
    #[serde(flatten)]
    pub(crate) coverage: Coverage,
    /// Whether a reader has found damage in the run. The next opening then writes it again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) is_damaged: bool,
}

struct Listed {
    number: u64,
    level: u32,
    run: Arc<Run>,
    is_merging: bool,
}

/// Sorted runs that together hold the entries of one part of the journal.
pub(crate) struct Runs {
    files: Files,
    directory: PathBuf,
    cache: Arc<BlockCache>,
    state: Mutex<State>,
    /// Whether a reader has found new damage, so that a checkpoint is due soon.
    is_news: AtomicBool,
}

struct State {
    /// The oldest run first, and with it the highest level.
    listed: Vec<Listed>,
    /// The numbers of merged runs whose files a checkpoint may still list.
    retired: Vec<u64>,
    next_number: u64,
}

impl Runs {
    /// Opens the runs that a checkpoint lists. The second part of the result is the lost runs: damaged, missing, or different
    /// from the listed runs. Other files in the directory are removed. Blocks.
    pub(crate) fn open(
        files: &Files,
        directory: &Path,
        cache: &Arc<BlockCache>,
        notes: &[RunNote],
    ) -> Result<(Self, Vec<RunNote>), JournalError> {
        let mut listed = Vec::with_capacity(notes.len());
        let mut lost = Vec::new();
        for note in notes {
            match listed_run(files, directory, cache, note) {
                Ok(run) => listed.push(Listed {
                    number: note.number,
                    level: note.level,
                    run: Arc::new(run),
                    is_merging: false,
                }),
                Err(JournalError::Damage(damage)) => {
                    tracing::warn!(%damage, "a part of the index cannot be used; its entries are derived from the journal again");
                    lost.push(*note);
                }
                Err(error) => return Err(error),
            }
        }
        files.create_dir_all(directory)?;
        let mut next_number = 1;
        for entry in files.list(directory)? {
            let Some(number) = number(&entry.name) else {
                continue;
            };
            next_number = next_number.max(number.saturating_add(1));
            if listed.iter().all(|listed| listed.number != number) {
                files.remove(&directory.join(entry.name))?;
            }
        }
        let runs = Self {
            files: files.clone(),
            directory: directory.to_owned(),
            cache: Arc::clone(cache),
            is_news: AtomicBool::new(!lost.is_empty()),
            state: Mutex::new(State {
                listed,
                retired: Vec::new(),
                next_number,
            }),
        };
        Ok((runs, lost))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every critical section leaves its data whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn new_path(&self) -> (u64, PathBuf) {
        let mut state = self.state();
        let number = state.next_number;
        state.next_number += 1;
        (number, path(&self.directory, number))
    }

    /// The entries for the runs in the next checkpoint, the oldest run first.
    pub(crate) fn notes(&self) -> Vec<RunNote> {
        self.is_news.store(false, Ordering::Relaxed);
        self.listed()
    }

    /// Reads the parts of each run again that opening reads. Blocks.
    ///
    /// # Errors
    ///
    /// The damage of one of the runs.
    pub(crate) fn check(&self) -> Result<(), JournalError> {
        for note in self.listed() {
            let checked = listed_run(&self.files, &self.directory, &self.cache, &note);
            let is_listed = |listed: &&Listed| listed.number == note.number;
            // A run that was merged meanwhile may be gone.
            if let Err(error) = checked
                && let Some(listed) = self.state().listed.iter().find(is_listed)
            {
                if matches!(error, JournalError::Damage(_)) {
                    listed.run.set_damaged();
                }
                return self.noted(Err(error));
            }
        }
        Ok(())
    }

    fn listed(&self) -> Vec<RunNote> {
        let state = self.state();
        let notes = state.listed.iter().map(|listed| RunNote {
            number: listed.number,
            level: listed.level,
            bytes: listed.run.bytes(),
            coverage: listed.run.coverage(),
            is_damaged: listed.run.is_damaged() && !planted(Bug::DamagedIndexListed),
        });
        notes.collect()
    }

    /// Whether a checkpoint is due soon, because the last checkpoint does not list all known damage.
    pub(crate) fn is_news(&self) -> bool {
        self.is_news.load(Ordering::Relaxed)
    }

    /// Passes on the result of reading the runs. Damage makes a checkpoint due.
    pub(crate) fn noted<T>(&self, result: Result<T, JournalError>) -> Result<T, JournalError> {
        if let Err(JournalError::Damage(_)) = &result {
            self.is_news.store(true, Ordering::Relaxed);
        }
        result
    }

    /// Writes a run of the newest entries, in the order of their keys, durably. Readers find them from then on. Blocks.
    pub(crate) fn add<'a>(
        &self,
        entries: impl IntoIterator<Item = (&'a [u8], &'a [u8])>,
        coverage: Coverage,
    ) -> Result<(), JournalError> {
        let (number, run) = self.write(entries, coverage)?;
        if !planted(Bug::RunNameNotSynced) {
            self.files.sync_dir(&self.directory)?;
        }
        self.state().listed.push(Listed {
            number,
            level: 0,
            run: Arc::new(run),
            is_merging: false,
        });
        Ok(())
    }

    /// Writes a run that is not listed. Its name is not durable. Blocks.
    pub(super) fn write<'a>(
        &self,
        entries: impl IntoIterator<Item = (&'a [u8], &'a [u8])>,
        coverage: Coverage,
    ) -> Result<(u64, Run), JournalError> {
        let (number, path) = self.new_path();
        let write = || {
            let mut writer = RunWriter::create(&self.files, &path)?;
            for (key, value) in entries {
                writer.push(key, value)?;
            }
            let mut filter = writer.end_entries()?;
            while !filter.step(u64::MAX)? {}
            filter.finish(coverage, &self.cache)
        };
        match write() {
            Ok(run) => Ok((number, run)),
            Err(error) => {
                self.remove_unlisted(number);
                Err(error)
            }
        }
    }

    /// Removes an unlisted run. If that fails, the next opening removes it.
    fn remove_unlisted(&self, number: u64) {
        let path = path(&self.directory, number);
        if let Err(error) = self.files.remove(&path) {
            tracing::warn!(%error, "an unlisted part of the index could not be removed");
        }
    }

    /// Begins to write a lost run again.
    pub(crate) fn restore(&self, lost: RunNote) -> Restore<'_> {
        Restore::new(self, lost)
    }

    fn newest_first(&self) -> Vec<Arc<Run>> {
        let state = self.state();
        let runs = state.listed.iter().rev();
        runs.map(|listed| Arc::clone(&listed.run)).collect()
    }

    /// Whether no run has a key with the same filtered part, if memory has the answer.
    pub(crate) fn surely_lacks(&self, key: &[u8]) -> bool {
        let state = self.state();
        let mut runs = state.listed.iter();
        runs.all(|listed| listed.run.surely_lacks(key))
    }

    /// The end of the covered part of the journal.
    pub(crate) fn covered(&self) -> u64 {
        let state = self.state();
        state
            .listed
            .last()
            .map_or(0, |listed| listed.run.coverage().to)
    }

    /// The damage of a meaningless entry.
    pub(crate) fn malformed(&self) -> Damage {
        let reason = "an entry of the index is malformed; `repair` writes the index again";
        Damage::new(&self.directory, 0, reason)
    }

    /// The entries from a key on with the same filtered part: the appends of its stream, or the answers with its hash. `newest`
    /// are the entries that are not in a run yet. Several runs are read at once. Blocks.
    pub(crate) fn alike(
        &self,
        threads: &StoreRuntime,
        key: &[u8],
        newest: Vec<Entries>,
    ) -> Result<Merged, JournalError> {
        let mut runs = self.newest_first();
        runs.retain(|run| !run.surely_lacks(key));
        let key = key.to_vec();
        let found = threads.at_once(runs, move |run| match run.may_hold(&key)? {
            true => run.seek(&key).map(Some),
            false => Ok(None),
        });
        let mut sources = newest;
        for cursor in found {
            sources.extend(self.noted(cursor)?.map(Entries::Run));
        }
        Ok(Merged::of(sources))
    }

    /// All entries from a key on, for a reader of all entries, without the cache. Blocks.
    pub(crate) fn from(&self, key: &[u8], newest: Vec<Entries>) -> Result<Merged, JournalError> {
        let mut sources = newest;
        for run in self.newest_first() {
            sources.push(Entries::Run(self.noted(run.through(key))?));
        }
        Ok(Merged::of(sources))
    }

    /// Begins to merge the runs of the lowest level that has enough of them, if there is such a level. Blocks.
    pub(crate) fn begin_merge(&self) -> Result<Option<Merge>, JournalError> {
        let merged = {
            let state = self.state();
            let free = state.listed.iter().filter(|listed| !listed.is_merging);
            let levels = free.clone().rev().map(|listed| listed.level);
            let due = levels.clone().find(|level| {
                let alike = levels.clone().filter(|other| other == level);
                alike.count() >= FAN_IN
            });
            let Some(level) = due else {
                return Ok(None);
            };
            let alike = free.filter(|listed| listed.level == level).take(FAN_IN);
            let inputs = alike.map(|listed| (listed.number, Arc::clone(&listed.run)));
            (level, inputs.collect::<Vec<_>>())
        };
        let (level, inputs) = merged;
        if inputs.iter().any(|(_, run)| run.is_damaged()) {
            return Ok(None);
        }
        let coverages = inputs.iter().map(|(_, run)| run.coverage());
        let Some(coverage) = coverages.reduce(|older, newer| Coverage {
            from: older.from,
            ..newer
        }) else {
            return Ok(None);
        };
        let merge = self.merge(inputs, level + 1, coverage)?;
        let mut state = self.state();
        for listed in &mut state.listed {
            listed.is_merging |= merge.inputs.contains(&listed.number);
        }
        Ok(Some(merge))
    }

    /// A merge of these runs, ordered from the oldest to the newest.
    pub(super) fn merge(
        &self,
        inputs: Vec<(u64, Arc<Run>)>,
        level: u32,
        coverage: Coverage,
    ) -> Result<Merge, JournalError> {
        let cursors = inputs.iter().rev();
        let cursors = cursors.map(|(_, run)| run.through(&[]).map(Entries::Run));
        let entries = Merged::of(self.noted(cursors.collect::<Result<_, _>>())?);
        let (number, path) = self.new_path();
        let writer = RunWriter::create(&self.files, &path)?;
        Ok(Merge {
            stage: Stage::Entries(entries, writer),
            inputs: inputs.into_iter().map(|(number, _)| number).collect(),
            number,
            level,
            coverage,
        })
    }

    /// Continues a merge for about `bytes` bytes, and returns it if it is not done. Otherwise, the new run replaces the merged
    /// runs. These are no longer listed, and their files stay until they are [swept](Self::sweep). Blocks.
    pub(crate) fn go_on(&self, merge: Merge, bytes: u64) -> Result<Option<Merge>, JournalError> {
        let (number, inputs) = (merge.number, merge.inputs.clone());
        let gone_on = self.noted(self.step(merge, bytes));
        if gone_on.is_err() {
            for listed in &mut self.state().listed {
                listed.is_merging &= !inputs.contains(&listed.number);
            }
            self.remove_unlisted(number);
        }
        gone_on
    }

    fn step(&self, merge: Merge, bytes: u64) -> Result<Option<Merge>, JournalError> {
        let stage = match merge.stage {
            Stage::Entries(mut entries, mut writer) => {
                let enough = writer.end().saturating_add(bytes);
                loop {
                    if writer.end() >= enough {
                        break Stage::Entries(entries, writer);
                    }
                    match entries.next()? {
                        Some((key, value)) => writer.push(key, value)?,
                        None => break Stage::Filter(writer.end_entries()?),
                    }
                }
            }
            Stage::Filter(mut filter) => match filter.step(bytes)? {
                false => Stage::Filter(filter),
                true => {
                    let run = filter.finish(merge.coverage, &self.cache)?;
                    self.replace(&merge.inputs, merge.number, merge.level, run)?;
                    return Ok(None);
                }
            },
        };
        Ok(Some(Merge { stage, ..merge }))
    }

    /// Replaces runs by one run. Blocks.
    fn replace(
        &self,
        inputs: &[u64],
        number: u64,
        level: u32,
        run: Run,
    ) -> Result<(), JournalError> {
        if !planted(Bug::RunNameNotSynced) {
            self.files.sync_dir(&self.directory)?;
        }
        let mut state = self.state();
        state
            .listed
            .retain(|listed| !inputs.contains(&listed.number));
        if planted(Bug::MergedRunsRemovedEarly) {
            for number in inputs {
                self.files.remove(&path(&self.directory, *number))?;
            }
        }
        state.retired.extend(inputs);
        let from = run.coverage().from;
        let place = state
            .listed
            .partition_point(|listed| listed.run.coverage().from < from);
        let listed = Listed {
            number,
            level,
            run: Arc::new(run),
            is_merging: false,
        };
        state.listed.insert(place, listed);
        Ok(())
    }

    /// Removes the files of merged runs after a checkpoint with these notes is durable. A file that cannot be removed stays
    /// until the next opening. Blocks.
    pub(crate) fn sweep(&self, saved: &[RunNote]) {
        let is_saved = |number: &u64| saved.iter().any(|note| note.number == *number);
        let (kept, retired): (Vec<_>, Vec<_>) = std::mem::take(&mut self.state().retired)
            .into_iter()
            .partition(is_saved);
        self.state().retired.extend(kept);
        for number in retired {
            self.remove_unlisted(number);
        }
    }

    /// The number of entries, including those that a newer entry replaces.
    pub(crate) fn entries(&self) -> u64 {
        self.newest_first().iter().map(|run| run.entries()).sum()
    }
}

/// A merge in progress.
pub(crate) struct Merge {
    stage: Stage,
    /// The numbers of the runs, the oldest first.
    inputs: Vec<u64>,
    number: u64,
    pub(crate) level: u32,
    coverage: Coverage,
}

enum Stage {
    Entries(Merged, RunWriter),
    Filter(FilterWriter),
}

/// A run that a checkpoint lists. Blocks.
fn listed_run(
    files: &Files,
    directory: &Path,
    cache: &Arc<BlockCache>,
    note: &RunNote,
) -> Result<Run, JournalError> {
    let path = path(directory, note.number);
    let damage = |reason: &str| Err(Damage::new(&path, 0, reason).into());
    if note.is_damaged {
        return damage("`meta/checkpoint.json` says that this part of the index is damaged");
    }
    let run = Run::open(files, &path, cache)?;
    let is_listed = (run.coverage(), run.bytes()) == (note.coverage, note.bytes);
    if !is_listed && !planted(Bug::OtherRunsBelieved) {
        return damage("this is a different part of the index than `meta/checkpoint.json` lists");
    }
    Ok(run)
}

fn path(directory: &Path, number: u64) -> PathBuf {
    directory.join(format!("{number:06}.run"))
}

/// The number of the run in a file with this name.
fn number(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".run")?;
    digits.parse().ok().filter(|_| !digits.starts_with('+'))
}
