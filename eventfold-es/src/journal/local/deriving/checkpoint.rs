//! Checkpoints: each records how far the derived files follow the journal, so that opening starts there.
//!
//! A checkpoint is valid only as a whole. If it or one of its files differs from the saved content, everything is derived from
//! the whole journal again.

use std::collections::BTreeMap;

use eventfold::line_hash;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::disk::{FileError, Files, SealError, SealedFile};
use crate::journal::adoption::Adoption;
use crate::journal::index::RunNote;
use crate::journal::local::history::IndexEntry;
use crate::journal::local::layout::Layout;
use crate::journal::local::line;
use crate::journal::local::log::{Parts, SavedParts};
use crate::journal::local::rows::TableTips;
use crate::journal::local::scan::Tip;
use crate::journal::{Extent, JournalError, Progress};

/// The content of `meta/checkpoint.json`.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::journal::local) struct Checkpoint {
    commit: u64,
    batch: u64,
    position: u64,
    /// The time of the commit, in milliseconds since 1970.
    time: u64,
    /// The start and the end of the commit's line in the journal, newline included.
    line: (u64, u64),
    hash: String,
    flush: bool,
    /// The parts of the journal when it was taken.
    pub(in crate::journal::local) journal: SavedParts,
    /// The runs of the index, which cover everything up to here.
    pub(in crate::journal::local) runs: Vec<RunNote>,
    /// The runs of snapshots.
    pub(in crate::journal::local) snapshots: Vec<RunNote>,
    /// The commit up to which the saved progress of each process manager is valid.
    process_managers: BTreeMap<String, u64>,
    /// The commits up to which the row tables are valid.
    #[serde(default, skip_serializing_if = "TableTips::is_empty")]
    pub(in crate::journal::local) row_tables: TableTips,
    pub(in crate::journal::local) index: Vec<IndexEntry>,
    /// The record of the adoption, if this directory was one of an earlier version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::journal::local) adoption: Option<Adoption>,
}

/// The content of `process_managers/<NAME>/checkpoint.json`.
#[derive(Debug, Serialize, Deserialize)]
struct SavedProgress {
    commit: u64,
    position: u64,
    /// The extent of `dead_letters.jsonl`.
    dead_letters: Extent,
    state: Box<RawValue>,
}

/// The journal's record of one process manager.
#[derive(Debug, Clone)]
pub(in crate::journal::local) struct ProcessManagerState {
    /// The commit up to which it is valid.
    pub(in crate::journal::local) commit: u64,
    pub(in crate::journal::local) progress: Progress,
    /// The extent of the dead-letter file.
    pub(in crate::journal::local) dead_letters: Extent,
}

pub(in crate::journal::local) type ProcessManagerStates = BTreeMap<String, ProcessManagerState>;

/// The content that a checkpoint covers.
pub(in crate::journal::local) struct Covered<'a> {
    pub(in crate::journal::local) journal: SavedParts,
    pub(in crate::journal::local) runs: &'a [RunNote],
    pub(in crate::journal::local) snapshots: &'a [RunNote],
    pub(in crate::journal::local) states: &'a ProcessManagerStates,
    pub(in crate::journal::local) row_tables: TableTips,
    pub(in crate::journal::local) index: Vec<IndexEntry>,
    pub(in crate::journal::local) adoption: Option<&'a Adoption>,
}

impl Checkpoint {
    /// A checkpoint that follows the commit whose line starts at `line_start` and ends at the tip.
    pub(in crate::journal::local) fn new(tip: &Tip, line_start: u64, covered: Covered<'_>) -> Self {
        let states = covered.states;
        let index = covered.index.into_iter();
        Self {
            commit: tip.commit,
            batch: tip.batch,
            position: tip.position,
            time: tip.time,
            line: (line_start, tip.offset),
            hash: tip.hash.clone(),
            flush: tip.flush,
            journal: covered.journal,
            runs: covered.runs.to_vec(),
            snapshots: covered.snapshots.to_vec(),
            process_managers: states
                .iter()
                .map(|(name, state)| (name.clone(), state.commit))
                .collect(),
            row_tables: covered.row_tables,
            index: index
                .take_while(|entry| entry.offset < tip.offset)
                .collect(),
            adoption: covered.adoption.map(|adoption| {
                adoption.kept_beside(|name| states.get(name).map(|state| &state.progress))
            }),
        }
    }

    /// The checkpoint, if it exists and is whole.
    pub(in crate::journal::local) fn load(
        files: &Files,
        layout: &Layout,
    ) -> Result<Option<Self>, FileError> {
        let file = SealedFile::new(files.clone(), layout.checkpoint());
        match file.load()? {
            None => Ok(None),
            Some(Ok(checkpoint)) => Ok(Some(checkpoint)),
            Some(Err(reason)) => {
                tracing::warn!(path = %file, %reason, "the checkpoint is damaged; everything is derived from the journal again");
                Ok(None)
            }
        }
    }

    pub(in crate::journal::local) fn save(
        &self,
        files: &Files,
        layout: &Layout,
    ) -> Result<(), FileError> {
        SealedFile::new(files.clone(), layout.checkpoint()).save(self)
    }

    pub(in crate::journal::local) fn tip(&self) -> Tip {
        Tip {
            commit: self.commit,
            batch: self.batch,
            position: self.position,
            time: self.time,
            offset: self.line.1,
            hash: self.hash.clone(),
            flush: self.flush,
        }
    }

    /// The number of the last covered commit.
    pub(in crate::journal::local) fn commit(&self) -> u64 {
        self.commit
    }

    /// The start of the line of the last covered commit.
    pub(in crate::journal::local) fn line_start(&self) -> u64 {
        self.line.0
    }

    /// Checks that the journal still holds the commit that this checkpoint follows.
    pub(in crate::journal::local) fn verify(&self, journal: &Parts) -> Result<(), JournalError> {
        if self.commit == 0 {
            return Ok(());
        }
        let (start, end) = self.line;
        let length = end.saturating_sub(start);
        let mut line = journal.read_range(start, length)?;
        // A read from a segment continues to the end of its frame.
        line.truncate(usize::try_from(length).unwrap_or(usize::MAX));
        let intact = line
            .strip_suffix(b"\n")
            .is_some_and(|line| line_hash(line) == self.hash && line::parse(line).is_ok());
        if intact {
            return Ok(());
        }
        let reason = format!(
            "commit {} should stand here, which `meta/checkpoint.json` follows. The journal was cut, replaced or \
             overwritten; restore it from a copy that is at least as new as the checkpoint",
            self.commit
        );
        Err(journal.damage(start, reason).into())
    }

    /// The progress of each process manager, if all of it is as saved.
    pub(in crate::journal::local) fn process_managers(
        &self,
        files: &Files,
        layout: &Layout,
    ) -> Result<Option<ProcessManagerStates>, FileError> {
        let mut states = BTreeMap::new();
        for (name, commit) in &self.process_managers {
            let Some(state) = load_progress(files, layout, name, *commit)? else {
                return Ok(None);
            };
            states.insert(name.clone(), state);
        }
        Ok(Some(states))
    }
}

fn load_progress(
    files: &Files,
    layout: &Layout,
    name: &str,
    commit: u64,
) -> Result<Option<ProcessManagerState>, FileError> {
    let path = layout.process_manager_checkpoint(name);
    let saved: Result<SavedProgress, _> =
        match SealedFile::new(files.clone(), path.clone()).load()? {
            None => Err("it is missing".to_owned()),
            Some(loaded) => loaded.map_err(|error: SealError| error.to_string()),
        };
    let letters = layout.dead_letters(name);
    let reason = match saved {
        Err(reason) => reason,
        Ok(saved) if saved.commit < commit => {
            format!(
                "it is valid up to commit {}, but commit {commit} was saved",
                saved.commit
            )
        }
        Ok(saved) => {
            let bytes = files.read(&letters)?.unwrap_or_default();
            if saved.dead_letters.is_prefix_of(&bytes) {
                return Ok(Some(ProcessManagerState {
                    commit: saved.commit,
                    progress: Progress {
                        position: saved.position,
                        state: saved.state,
                    },
                    dead_letters: saved.dead_letters,
                }));
            }
            "`dead_letters.jsonl` does not hold the lines that were written to it".to_owned()
        }
    };
    tracing::warn!(path = %path.display(), %reason, "the checkpoint of a process manager cannot be used; everything is derived from the journal again");
    Ok(None)
}

pub(in crate::journal::local) fn save_progress(
    files: &Files,
    layout: &Layout,
    name: &str,
    state: &ProcessManagerState,
) -> Result<(), FileError> {
    let saved = SavedProgress {
        commit: state.commit,
        position: state.progress.position,
        dead_letters: state.dead_letters,
        state: state.progress.state.clone(),
    };
    SealedFile::new(files.clone(), layout.process_manager_checkpoint(name)).save(&saved)
}
