//! The content of a journal in memory.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::value::RawValue;

use crate::disk::{FileError, SealError};
use crate::journal::keyed::complete;
use crate::journal::{
    Answer, CommitPlace, Progress, ProposedCommit, ProposedReaction, Receipt, RecordedAppend,
    RecordedCommit, RowChange, SavedValue, Snapshot, StreamEnd, StreamId,
};

/// Everything that a closed store keeps.
#[derive(Default, Clone)]
pub(super) struct Stored {
    pub(super) commits: Vec<StoredCommit>,
    pub(super) streams: BTreeMap<StreamId, StoredStream>,
    pub(super) process_managers: BTreeMap<Arc<str>, StoredProcessManager>,
    pub(super) snapshots: BTreeMap<StreamId, Snapshot>,
    pub(super) values: BTreeMap<String, Arc<StoredValue>>,
    /// The position of the last event.
    pub(super) position: u64,
    /// The time of the last commit, in milliseconds since 1970.
    pub(super) time: u64,
    /// The size of the events.
    pub(super) bytes: u64,
    /// Whether a store has it open.
    pub(super) is_open: bool,
}

#[derive(Clone)]
pub(super) struct StoredCommit {
    pub(super) recorded: Arc<RecordedCommit>,
    /// The rows that the reaction changed, if it is one.
    pub(super) rows: Vec<RowChange>,
}

#[derive(Default, Clone)]
pub(super) struct StoredStream {
    /// The indices of its commits.
    pub(super) commits: Vec<usize>,
    pub(super) version: u64,
    pub(super) answers: BTreeMap<Arc<str>, Answer>,
}

#[derive(Default, Clone)]
pub(super) struct StoredProcessManager {
    pub(super) progress: Option<Progress>,
    pub(super) rows: BTreeMap<Box<str>, Box<str>>,
    /// One line each.
    pub(super) dead_letters: String,
}

/// The token for a commit: the rest of the program does not look into it.
pub(super) fn place_of(index: usize) -> CommitPlace {
    CommitPlace {
        offset: index as u64,
        length: 0,
        hash: !(index as u64),
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Stored {
    pub(super) fn version(&self, stream: &StreamId) -> u64 {
        self.streams.get(stream).map_or(0, |stream| stream.version)
    }

    /// Adds a commit that continues its streams.
    pub(super) fn add(&mut self, commit: ProposedCommit, time: u64) -> Receipt {
        let index = self.commits.len();
        let place = place_of(index);
        let first_position = self.position + 1;
        let mut recorded = RecordedCommit {
            first_position,
            time,
            reaction: commit.reaction.as_ref().map(|reaction| {
                let name = Arc::clone(&reaction.process_manager);
                (name, reaction.progress.position)
            }),
            appends: Default::default(),
        };
        let mut ends = Vec::new();
        for append in commit.appends {
            let (first_version, position) = (append.expected_version + 1, self.position + 1);
            let lines = complete(append.lines, &append.keyed, position);
            self.position += lines.len() as u64;
            self.bytes += lines.iter().map(|line| line.len() as u64).sum::<u64>();
            let stream = self.streams.entry(append.stream.clone()).or_default();
            stream.commits.push(index);
            stream.version += lines.len() as u64;
            for group in append.keyed {
                let answer = group.answer(first_version, position, place);
                stream.answers.insert(group.key, answer);
            }
            ends.push(StreamEnd {
                version: stream.version,
                commit: place,
            });
            recorded.appends.push(RecordedAppend {
                stream: append.stream,
                first_version,
                lines: lines.into(),
            });
        }
        let receipt = Receipt {
            first_position,
            event_count: recorded.event_count(),
            ends: ends.into(),
        };
        let rows = commit.reaction.map(|reaction| self.react(reaction));
        self.commits.push(StoredCommit {
            recorded: Arc::new(recorded),
            rows: rows.unwrap_or_default(),
        });
        self.time = time;
        receipt
    }

    fn react(&mut self, reaction: ProposedReaction) -> Vec<RowChange> {
        let name = reaction.process_manager;
        let stored = self.process_managers.entry(name).or_default();
        for RowChange { key, value } in reaction.rows.iter().cloned() {
            match value {
                Some(value) => stored.rows.insert(key, value),
                None => stored.rows.remove(&key),
            };
        }
        for line in reaction.dead_letters {
            stored.dead_letters.push_str(&line);
            stored.dead_letters.push('\n');
        }
        stored.progress = Some(reaction.progress);
        reaction.rows
    }
}

/// A saved value in memory.
pub(super) struct StoredValue {
    pub(super) place: String,
    pub(super) json: Mutex<Option<Box<RawValue>>>,
}

impl fmt::Display for StoredValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.place)
    }
}

impl SavedValue for StoredValue {
    fn load_json(&self) -> Result<Option<Result<Box<RawValue>, SealError>>, FileError> {
        Ok(lock(&self.json).clone().map(Ok))
    }

    fn save_json(&self, value: &RawValue) -> Result<(), FileError> {
        *lock(&self.json) = Some(value.to_owned());
        Ok(())
    }

    fn remove(&self) -> Result<(), FileError> {
        *lock(&self.json) = None;
        Ok(())
    }
}
