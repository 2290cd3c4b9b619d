//! The latest appends to streams, in memory: those that no run of the index covers, and the versions of the streams they went to.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use smallvec::SmallVec;

use crate::journal::index::{Address, EntryKey, answer_hash};
use crate::journal::keyed::KeyedAnswer;
use crate::journal::{Answer, Damage, StreamId};

/// How many streams may be known between two checkpoints before no more are learned.
const MAX_LEARNED: usize = 100_000;

/// An append to a stream.
#[derive(Debug, Clone)]
pub(super) struct Append {
    pub(super) stream: StreamId,
    /// The version of its first event.
    pub(super) version: u64,
    pub(super) address: Address,
    /// The answers to commands with an idempotency key among its events.
    pub(super) answers: Vec<KeyedAnswer>,
}

impl Append {
    /// Its entries of the index.
    pub(super) fn entries(&self) -> impl Iterator<Item = (EntryKey, Address)> {
        let key = EntryKey::append(&self.stream, self.version);
        let answers = self.answers.iter().map(|(key, answer)| {
            let key = EntryKey::answer(&self.stream, key, answer.first_version);
            (key, answer.address)
        });
        std::iter::once((key, self.address)).chain(answers)
    }
}

/// The appends that a checkpoint has not covered yet, by their streams.
///
/// They are dropped as a whole, so that no lock is held for long: a checkpoint that is due [seals](Self::seal) what there is, is taken
/// when it covers all of that, and [drops](Self::drop_sealed) it.
#[derive(Debug, Default)]
pub(super) struct Appends {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The appends since the seal.
    new: HashMap<StreamId, Latest>,
    sealed: HashMap<StreamId, Latest>,
    new_answers: Answers,
    sealed_answers: Answers,
    /// The appends that were dropped last: only the versions of their streams still count.
    covered: HashMap<StreamId, Latest>,
    /// The end of the last one in the journal.
    end: u64,
    /// How often what was sealed was dropped.
    drops: u64,
    /// The streams of an adopted directory that cannot be read.
    quarantined: HashMap<StreamId, Damage>,
}

#[derive(Debug, Default)]
struct Latest {
    /// Of the stream.
    version: u64,
    appends: SmallVec<[(u64, Address); 1]>,
}

/// Answers to commands with idempotency keys, by the hashes of the keys of their entries.
#[derive(Debug, Default)]
struct Answers(HashMap<u64, SmallVec<[StreamAnswer; 1]>>);

/// The answer on a stream to the command with a key.
type StreamAnswer = (StreamId, Arc<str>, Answer);

impl Answers {
    fn add(&mut self, stream: &StreamId, key: &Arc<str>, answer: Answer) {
        let alike = self.0.entry(answer_hash(stream, key)).or_default();
        alike.push((stream.clone(), Arc::clone(key), answer));
    }

    /// The answers to commands with a key, the oldest first. The store gives no second answer, but an import may bring one.
    fn of<'a>(&'a self, stream: &'a StreamId, key: &'a str) -> impl Iterator<Item = &'a Answer> {
        let alike = self.0.get(&answer_hash(stream, key)).into_iter().flatten();
        let same = alike.filter(move |(of, own, _)| of == stream && **own == *key);
        same.map(|(_, _, answer)| answer)
    }

    fn all(&self) -> impl Iterator<Item = &StreamAnswer> {
        self.0.values().flatten()
    }
}

impl Appends {
    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Notes an append that is durable.
    pub(super) fn note(&self, append: &Append) {
        let Append {
            stream,
            version,
            address,
            answers,
        } = append;
        let mut state = self.state();
        state.end = address.offset + address.length;
        let latest = match state.new.get_mut(stream) {
            Some(latest) => latest,
            None => state.new.entry(stream.clone()).or_default(),
        };
        latest.version = version + address.count - 1;
        latest.appends.push((*version, *address));
        for (key, answer) in answers {
            state.new_answers.add(stream, key, *answer);
        }
    }

    /// How many events the stream has, if that is known.
    pub(super) fn version(&self, stream: &StreamId) -> Option<u64> {
        let state = self.state();
        let maps = [&state.new, &state.sealed, &state.covered];
        let found = maps.into_iter().find_map(|map| map.get(stream));
        found.map(|latest| latest.version)
    }

    /// The answer to the command with this key, if it is here, and how often was dropped until now.
    pub(super) fn answer(&self, stream: &StreamId, key: &str) -> (Option<Answer>, u64) {
        let state = self.state();
        let answers = [&state.sealed_answers, &state.new_answers];
        let mut answers = answers
            .into_iter()
            .flat_map(|answers| answers.of(stream, key));
        let found = answers.next().copied();
        drop(answers);
        (found, state.drops)
    }

    /// To be asked before a stream is read whose version is then [learned](Self::learn).
    pub(super) fn drops(&self) -> u64 {
        self.state().drops
    }

    /// Lets the version of a stream be known that was read after so many drops, unless it may have grown since.
    pub(super) fn learn(&self, stream: &StreamId, version: u64, drops: u64) {
        let mut state = self.state();
        let is_known = state.sealed.contains_key(stream) || state.covered.contains_key(stream);
        // What it has grown by may be no longer here.
        let is_certain = state.drops == drops && state.new.len() < MAX_LEARNED;
        if is_certain && !is_known && !state.new.contains_key(stream) {
            let latest = Latest {
                version,
                ..Latest::default()
            };
            state.new.insert(stream.clone(), latest);
        }
    }

    /// The appends to a stream that begin with this version or behind it, and are not covered, in their order. To be asked before the runs
    /// are: what is dropped meanwhile is there.
    pub(super) fn of_stream(&self, stream: &StreamId, version: u64) -> Vec<(u64, Address)> {
        let state = self.state();
        let maps = [&state.sealed, &state.new];
        let latest = maps.into_iter().filter_map(|map| map.get(stream));
        let appends = latest.flat_map(|latest| &latest.appends);
        appends
            .filter(|(first, _)| *first >= version)
            .copied()
            .collect()
    }

    /// Whether an append is not covered and is here as it should be.
    pub(super) fn holds(&self, append: &Append) -> bool {
        let state = self.state();
        let maps = [
            (&state.sealed, &state.sealed_answers),
            (&state.new, &state.new_answers),
        ];
        let place = (append.version, append.address);
        maps.into_iter().any(|(map, answers)| {
            let latest = map.get(&append.stream);
            latest.is_some_and(|latest| latest.appends.contains(&place))
                && append.answers.iter().all(|(key, answer)| {
                    let mut found = answers.of(&append.stream, key);
                    found.any(|found| found == answer)
                })
        })
    }

    /// The appends to streams of one type or of all that are not covered, as entries of the index.
    pub(super) fn entries(&self, aggregate_type: Option<&str>) -> Vec<(Vec<u8>, Vec<u8>)> {
        let state = self.state();
        let streams = state.sealed.iter().chain(&state.new);
        let wanted = streams
            .filter(|(stream, _)| aggregate_type.is_none_or(|one| *stream.aggregate_type == *one));
        let mut entries: Vec<_> = wanted
            .flat_map(|(stream, latest)| {
                let appends = latest.appends.iter();
                appends.map(|(version, address)| {
                    let key = EntryKey::append(stream, *version);
                    (key.into_bytes(), address.encode())
                })
            })
            .collect();
        drop(state);
        entries.sort();
        entries
    }

    /// The answers that are not covered, and behind them all appends, as entries of the index.
    pub(super) fn all_entries(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        let state = self.state();
        let answers = state.sealed_answers.all().chain(state.new_answers.all());
        let answers = answers.map(|(stream, key, answer)| {
            let key = EntryKey::answer(stream, key, answer.first_version);
            (key.into_bytes(), answer.address.encode())
        });
        let mut entries: Vec<_> = answers.collect();
        drop(state);
        entries.extend(self.entries(None));
        entries.sort();
        entries
    }

    /// Seals what there is; where the last of it ends.
    pub(super) fn seal(&self) -> u64 {
        let mut state = self.state();
        let new = std::mem::take(&mut state.new);
        let answers = std::mem::take(&mut state.new_answers);
        if state.sealed.is_empty() {
            state.sealed = new;
            state.sealed_answers = answers;
        } else {
            // The last checkpoint failed.
            for (stream, latest) in new {
                let sealed = state.sealed.entry(stream).or_default();
                sealed.version = latest.version;
                sealed.appends.extend(latest.appends);
            }
            for (stream, key, answer) in answers.all() {
                state.sealed_answers.add(stream, key, *answer);
            }
        }
        state.end
    }

    /// Drops what was sealed, which a durable run of the index has.
    pub(super) fn drop_sealed(&self) {
        let mut state = self.state();
        state.drops += 1;
        let sealed = std::mem::take(&mut state.sealed);
        let dropped = std::mem::replace(&mut state.covered, sealed);
        let answers = std::mem::take(&mut state.sealed_answers);
        // Its memory is given back while nobody waits.
        drop(state);
        drop((dropped, answers));
    }

    /// Notes a stream that was in an adopted directory but is not in the journal, so that it is neither read nor begun.
    pub(super) fn quarantine(&self, stream: &StreamId, damage: Damage) {
        self.state().quarantined.insert(stream.clone(), damage);
    }

    /// Why a stream can neither be read nor begun, if so.
    pub(super) fn quarantined(&self, stream: &StreamId) -> Option<Damage> {
        self.state().quarantined.get(stream).cloned()
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Every critical section leaves its data whole before it can panic, and a panic on a thread of the journal poisons the
    // store anyway.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
