//! The latest appends to streams, in memory: the appends that no run of the index covers, and the versions of their streams.

use std::collections::HashMap;
use std::ops::{Range, RangeInclusive};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use smallvec::SmallVec;

use crate::journal::index::{Address, EntryKey, answer_hash};
use crate::journal::keyed::KeyedAnswer;
use crate::journal::{Answer, Damage, StreamId};

/// The maximum number of streams that may be known between two checkpoints. At the maximum, no further stream is learned.
const MAX_LEARNED: usize = 100_000;
/// The whole journal.
pub(in crate::journal::local) const ALL: Range<u64> = 0..u64::MAX;

/// An append to a stream.
#[derive(Debug, Clone)]
pub(in crate::journal::local) struct Append {
    pub(in crate::journal::local) stream: StreamId,
    /// The version of its first event.
    pub(in crate::journal::local) version: u64,
    pub(in crate::journal::local) address: Address,
    /// The answers to the commands with idempotency keys that caused its events.
    pub(in crate::journal::local) answers: Vec<KeyedAnswer>,
}

impl Append {
    /// Its entries in the index.
    pub(in crate::journal::local) fn entries(&self) -> impl Iterator<Item = (EntryKey, Address)> {
        let key = EntryKey::append(&self.stream, self.version);
        let answers = self.answers.iter().map(|(key, answer)| {
            let key = EntryKey::answer(&self.stream, key, answer.first_version);
            (key, answer.address)
        });
        std::iter::once((key, self.address)).chain(answers)
    }
}

/// The appends that no checkpoint covers yet, by stream.
///
/// They are dropped as a whole, so that no lock is held for long. A checkpoint that is due [seals](Self::seal) the present
/// appends. It is taken when it covers all of them, and [drops](Self::drop_sealed) them.
#[derive(Debug, Default)]
pub(in crate::journal::local) struct Appends {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The appends since the seal.
    new: Table,
    sealed: Arc<Table>,
    /// The appends that were dropped last. Only the versions of their streams still count.
    covered: Arc<Table>,
    /// The end of the last append in the journal.
    end: u64,
    /// The number of times that sealed appends were dropped.
    drops: u64,
    /// The streams of an adopted directory that cannot be read.
    quarantined: HashMap<StreamId, Damage>,
}

#[derive(Debug, Default, Clone)]
struct Table {
    streams: HashMap<StreamId, Latest>,
    answers: Answers,
}

impl Table {
    fn add(&mut self, append: &Append) {
        let Append {
            stream,
            version,
            address,
            answers,
        } = append;
        let latest = match self.streams.get_mut(stream) {
            Some(latest) => latest,
            None => self.streams.entry(stream.clone()).or_default(),
        };
        latest.version = version + address.count - 1;
        latest.appends.push((*version, *address));
        for (key, answer) in answers {
            self.answers.add(stream, key, *answer);
        }
    }

    /// Adds the appends that follow.
    fn extend(&mut self, newer: Self) {
        for (stream, latest) in newer.streams {
            let own = self.streams.entry(stream).or_default();
            own.version = latest.version;
            own.appends.extend(latest.appends);
        }
        for (stream, key, answer) in newer.answers.all() {
            self.answers.add(stream, key, *answer);
        }
    }

    fn holds(&self, append: &Append) -> bool {
        let place = (append.version, append.address);
        let latest = self.streams.get(&append.stream);
        latest.is_some_and(|latest| latest.appends.contains(&place))
            && append.answers.iter().all(|(key, answer)| {
                let mut found = self.answers.of(&append.stream, key);
                found.any(|found| found == answer)
            })
    }

    /// The entries of the appends in a part of the journal: to streams of one type, or to all streams.
    fn appends(
        &self,
        aggregate_type: Option<&str>,
        part: &Range<u64>,
    ) -> impl Iterator<Item = (EntryKey, Address)> {
        let streams = self.streams.iter().filter(move |(stream, _)| {
            aggregate_type.is_none_or(|wanted| *stream.aggregate_type == *wanted)
        });
        streams.flat_map(move |(stream, latest)| {
            let appends = latest.appends.iter();
            let appends = appends.filter(move |(_, address)| part.contains(&address.offset));
            appends.map(move |(version, address)| (EntryKey::append(stream, *version), *address))
        })
    }

    /// The entries of all appends and answers in a part of the journal.
    fn entries(&self, part: &Range<u64>) -> impl Iterator<Item = (EntryKey, Address)> {
        let answers = self.answers.all();
        let answers = answers.filter(move |(.., answer)| part.contains(&answer.address.offset));
        let answers = answers.map(|(stream, key, answer)| {
            let key = EntryKey::answer(stream, key, answer.first_version);
            (key, answer.address)
        });
        self.appends(None, part).chain(answers)
    }
}

#[derive(Debug, Default, Clone)]
struct Latest {
    /// The version of the stream.
    version: u64,
    appends: SmallVec<[(u64, Address); 1]>,
}

/// Answers to commands with idempotency keys, by the hash of the key of their entry.
#[derive(Debug, Default, Clone)]
struct Answers(HashMap<u64, SmallVec<[StreamAnswer; 1]>>);

/// The answer to the command with a key, and its stream.
type StreamAnswer = (StreamId, Arc<str>, Answer);

impl Answers {
    fn add(&mut self, stream: &StreamId, key: &Arc<str>, answer: Answer) {
        let alike = self.0.entry(answer_hash(stream, key)).or_default();
        alike.push((stream.clone(), Arc::clone(key), answer));
    }

    /// The answers to the commands with a key, the oldest first. The store gives no second answer to a key, but an import may
    /// bring several.
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

    /// Records a durable append.
    pub(in crate::journal::local) fn note(&self, append: &Append) {
        let mut state = self.state();
        state.end = append.address.offset + append.address.length;
        state.new.add(append);
    }

    /// The number of events in the stream, if it is known.
    pub(in crate::journal::local) fn version(&self, stream: &StreamId) -> Option<u64> {
        let state = self.state();
        let maps = [
            &state.new.streams,
            &state.sealed.streams,
            &state.covered.streams,
        ];
        let found = maps.into_iter().find_map(|map| map.get(stream));
        found.map(|latest| latest.version)
    }

    /// The answer to the command with this key, if it is here, and the number of drops until now.
    pub(in crate::journal::local) fn answer(
        &self,
        stream: &StreamId,
        key: &str,
    ) -> (Option<Answer>, u64) {
        let state = self.state();
        let answers = [&state.sealed.answers, &state.new.answers];
        let mut answers = answers
            .into_iter()
            .flat_map(|answers| answers.of(stream, key));
        let found = answers.next().copied();
        drop(answers);
        (found, state.drops)
    }

    /// The number of drops. The caller reads it before it reads a stream whose version it then [learns](Self::learn).
    pub(in crate::journal::local) fn drops(&self) -> u64 {
        self.state().drops
    }

    /// Records the version of a stream that was read after this number of drops, unless the stream may have grown since.
    pub(in crate::journal::local) fn learn(&self, stream: &StreamId, version: u64, drops: u64) {
        let mut state = self.state();
        let maps = [
            &state.new.streams,
            &state.sealed.streams,
            &state.covered.streams,
        ];
        let is_known = maps.into_iter().any(|map| map.contains_key(stream));
        // After a drop, the appends by which the stream has grown may be gone from here.
        let is_certain = state.drops == drops && state.new.streams.len() < MAX_LEARNED;
        if is_certain && !is_known {
            let latest = Latest {
                version,
                ..Latest::default()
            };
            state.new.streams.insert(stream.clone(), latest);
        }
    }

    /// The uncovered appends to a stream that begin at this version or later, in order. The caller asks here before it asks the
    /// runs, so that an append that is dropped in between is found in a run.
    pub(in crate::journal::local) fn of_stream(
        &self,
        stream: &StreamId,
        versions: &RangeInclusive<u64>,
    ) -> Vec<(u64, Address)> {
        let state = self.state();
        let maps = [&state.sealed.streams, &state.new.streams];
        let latest = maps.into_iter().filter_map(|map| map.get(stream));
        let appends = latest.flat_map(|latest| {
            // They are in the order of their versions.
            let before = |bound: u64| move |(first, _): &(u64, Address)| *first < bound;
            let begin = latest.appends.partition_point(before(*versions.start()));
            let appends = latest.appends.get(begin..).unwrap_or_default().iter();
            appends.take_while(|(first, _)| first <= versions.end())
        });
        appends.copied().collect()
    }

    /// Whether an append is uncovered, and present here with the same content.
    pub(in crate::journal::local) fn holds(&self, append: &Append) -> bool {
        let state = self.state();
        state.sealed.holds(append) || state.new.holds(append)
    }

    /// The uncovered appends as entries of the index: to streams of one type, or to all streams.
    pub(in crate::journal::local) fn entries(
        &self,
        aggregate_type: Option<&str>,
    ) -> Vec<(Vec<u8>, Vec<u8>)> {
        let state = self.state();
        let tables = [&*state.sealed, &state.new].into_iter();
        let entries = tables.flat_map(|table| table.appends(aggregate_type, &ALL));
        let entries = entries.map(|(key, address)| (key.into_bytes(), address.encode()));
        let mut entries: Vec<_> = entries.collect();
        drop(state);
        entries.sort();
        entries
    }

    /// The entries of the uncovered appends and answers in a part of the journal, ordered by key.
    pub(in crate::journal::local) fn entries_of(
        &self,
        part: &Range<u64>,
    ) -> Vec<(EntryKey, Vec<u8>)> {
        let state = self.state();
        let mut entries: Vec<_> = state.new.entries(part).collect();
        let sealed = Arc::clone(&state.sealed);
        // Sealed appends do not change, so that the lock is released early.
        drop(state);
        entries.extend(sealed.entries(part));
        drop(sealed);
        encoded(entries)
    }

    /// Seals the present appends. The result is the end of the last of them in the journal.
    pub(in crate::journal::local) fn seal(&self) -> u64 {
        let mut state = self.state();
        let new = std::mem::take(&mut state.new);
        if state.sealed.streams.is_empty() {
            state.sealed = Arc::new(new);
        } else {
            // The last checkpoint failed.
            Arc::make_mut(&mut state.sealed).extend(new);
        }
        state.end
    }

    /// Drops the sealed appends, which a durable run of the index now covers.
    pub(in crate::journal::local) fn drop_sealed(&self) {
        let mut state = self.state();
        state.drops += 1;
        let sealed = std::mem::take(&mut state.sealed);
        let dropped = std::mem::replace(&mut state.covered, sealed);
        // The memory is freed after the lock is released.
        drop(state);
        drop(dropped);
    }

    /// Records a stream of an adopted directory that the journal does not have. It can then be neither read nor begun.
    pub(in crate::journal::local) fn quarantine(&self, stream: &StreamId, damage: Damage) {
        self.state().quarantined.insert(stream.clone(), damage);
    }

    /// The reason why a stream can be neither read nor begun, if it is quarantined.
    pub(in crate::journal::local) fn quarantined(&self, stream: &StreamId) -> Option<Damage> {
        self.state().quarantined.get(stream).cloned()
    }
}

/// Entries in the form of the index, ordered by key.
pub(in crate::journal::local) fn encoded(
    entries: Vec<(EntryKey, Address)>,
) -> Vec<(EntryKey, Vec<u8>)> {
    let entries = entries.into_iter();
    let entries = entries.map(|(key, address)| (key, address.encode()));
    let mut entries: Vec<_> = entries.collect();
    entries.sort_unstable();
    entries
}

pub(in crate::journal::local) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Every critical section leaves its data whole before it can panic. A panic on a thread of the journal poisons the store
    // anyway.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
