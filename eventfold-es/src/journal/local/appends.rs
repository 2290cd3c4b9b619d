//! The latest appends to streams, in memory: those that no run of the index covers, and the versions of the streams they went to.

use std::collections::HashMap;
use std::ops::{Range, RangeInclusive};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use smallvec::SmallVec;

use crate::journal::index::{Address, EntryKey, answer_hash};
use crate::journal::keyed::KeyedAnswer;
use crate::journal::{Answer, Damage, StreamId};

/// How many streams may be known between two checkpoints before no more are learned.
const MAX_LEARNED: usize = 100_000;
/// The whole journal.
pub(super) const ALL: Range<u64> = 0..u64::MAX;

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
    new: Table,
    sealed: Arc<Table>,
    /// The appends that were dropped last: only the versions of their streams still count.
    covered: Arc<Table>,
    /// The end of the last one in the journal.
    end: u64,
    /// How often what was sealed was dropped.
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

    /// Adds what came behind it.
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

    /// The entries of the appends in a part of the journal to streams of one type or of all.
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
    /// Of the stream.
    version: u64,
    appends: SmallVec<[(u64, Address); 1]>,
}

/// Answers to commands with idempotency keys, by the hashes of the keys of their entries.
#[derive(Debug, Default, Clone)]
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
        let mut state = self.state();
        state.end = append.address.offset + append.address.length;
        state.new.add(append);
    }

    /// How many events the stream has, if that is known.
    pub(super) fn version(&self, stream: &StreamId) -> Option<u64> {
        let state = self.state();
        let maps = [
            &state.new.streams,
            &state.sealed.streams,
            &state.covered.streams,
        ];
        let found = maps.into_iter().find_map(|map| map.get(stream));
        found.map(|latest| latest.version)
    }

    /// The answer to the command with this key, if it is here, and how often was dropped until now.
    pub(super) fn answer(&self, stream: &StreamId, key: &str) -> (Option<Answer>, u64) {
        let state = self.state();
        let answers = [&state.sealed.answers, &state.new.answers];
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
        let maps = [
            &state.new.streams,
            &state.sealed.streams,
            &state.covered.streams,
        ];
        let is_known = maps.into_iter().any(|map| map.contains_key(stream));
        // What it has grown by may be no longer here.
        let is_certain = state.drops == drops && state.new.streams.len() < MAX_LEARNED;
        if is_certain && !is_known {
            let latest = Latest {
                version,
                ..Latest::default()
            };
            state.new.streams.insert(stream.clone(), latest);
        }
    }

    /// The appends to a stream that begin with one of these versions and are not covered, in their order. To be asked before the runs are:
    /// what is dropped meanwhile is there.
    pub(super) fn of_stream(
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

    /// Whether an append is not covered and is here as it should be.
    pub(super) fn holds(&self, append: &Append) -> bool {
        let state = self.state();
        state.sealed.holds(append) || state.new.holds(append)
    }

    /// The appends to streams of one type or of all that are not covered, as entries of the index.
    pub(super) fn entries(&self, aggregate_type: Option<&str>) -> Vec<(Vec<u8>, Vec<u8>)> {
        let state = self.state();
        let tables = [&*state.sealed, &state.new].into_iter();
        let entries = tables.flat_map(|table| table.appends(aggregate_type, &ALL));
        let entries = entries.map(|(key, address)| (key.into_bytes(), address.encode()));
        let mut entries: Vec<_> = entries.collect();
        drop(state);
        entries.sort();
        entries
    }

    /// The entries of the appends and answers in a part of the journal that are not covered, in the order of their keys.
    pub(super) fn entries_of(&self, part: &Range<u64>) -> Vec<(EntryKey, Vec<u8>)> {
        let state = self.state();
        let mut entries: Vec<_> = state.new.entries(part).collect();
        let sealed = Arc::clone(&state.sealed);
        // What is sealed does not change, so nobody has to wait.
        drop(state);
        entries.extend(sealed.entries(part));
        drop(sealed);
        encoded(entries)
    }

    /// Seals what there is; where the last of it ends.
    pub(super) fn seal(&self) -> u64 {
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

    /// Drops what was sealed, which a durable run of the index has.
    pub(super) fn drop_sealed(&self) {
        let mut state = self.state();
        state.drops += 1;
        let sealed = std::mem::take(&mut state.sealed);
        let dropped = std::mem::replace(&mut state.covered, sealed);
        // Its memory is given back while nobody waits.
        drop(state);
        drop(dropped);
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

/// Entries as the index holds them, in the order of their keys.
pub(super) fn encoded(entries: Vec<(EntryKey, Address)>) -> Vec<(EntryKey, Vec<u8>)> {
    let entries = entries.into_iter();
    let entries = entries.map(|(key, address)| (key, address.encode()));
    let mut entries: Vec<_> = entries.collect();
    entries.sort_unstable();
    entries
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Every critical section leaves its data whole before it can panic, and a panic on a thread of the journal poisons the
    // store anyway.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
