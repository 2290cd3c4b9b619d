//! What the journal knows of each stream: its directory, how long it is, and what of it is not yet in its own file.

use std::borrow::Borrow;
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::stream_archive::StreamArchive;
use crate::directories::Directories;
use crate::journal::{Damage, Extent, RecordedCommit, StreamId};

/// One stream that has at least one event, or gets its first in the batch that is being written.
#[derive(Debug)]
pub(super) struct StreamSlot {
    pub(super) stream: StreamId,
    /// Where it is not named like the instance, as most are.
    directory: Option<Box<str>>,
    state: Mutex<SlotState>,
}

#[derive(Debug, Default)]
struct SlotState {
    /// The number of its line in the registry; 0 before its first event is durable.
    number: u64,
    /// What of it is durable.
    extent: Extent,
    /// What of that is archived; most streams have no archive.
    archive: Option<Box<StreamArchive>>,
    /// Whether its file is just being replaced by one that begins later.
    is_replacing: bool,
    /// The durable appends that are not yet in the stream's file, oldest first.
    unwritten: VecDeque<Unwritten>,
}

/// A durable append that is not yet in the stream's file.
#[derive(Debug, Clone)]
pub(super) struct Unwritten {
    pub(super) offset: u64,
    pub(super) commit: Arc<RecordedCommit>,
    /// Which of the commit's appends it is.
    pub(super) append: usize,
}

impl Unwritten {
    pub(super) fn push_text(&self, text: &mut String) {
        if let Some(append) = self.commit.appends.get(self.append) {
            for line in append.lines.iter() {
                text.push_str(line);
                text.push('\n');
            }
        }
    }
}

impl StreamSlot {
    fn new(stream: StreamId, directory: &str) -> Self {
        let directory = (*stream.instance_id != *directory).then(|| directory.into());
        Self {
            stream,
            directory,
            state: Mutex::default(),
        }
    }

    pub(super) fn directory(&self) -> &str {
        let directory = self.directory.as_deref();
        directory.unwrap_or(&self.stream.instance_id)
    }

    pub(super) fn number(&self) -> u64 {
        self.state().number
    }

    pub(super) fn extent(&self) -> Extent {
        self.state().extent
    }

    pub(super) fn set_extent(&self, extent: Extent) {
        self.state().extent = extent;
    }

    /// Notes a durable append.
    pub(super) fn append(&self, unwritten: Unwritten, extent: Extent) {
        let mut state = self.state();
        state.extent = extent;
        state.unwritten.push_back(unwritten);
    }

    pub(super) fn archive(&self) -> StreamArchive {
        self.state().archive.as_deref().copied().unwrap_or_default()
    }

    pub(super) fn set_archive(&self, archive: StreamArchive) {
        self.state().archive = (archive != StreamArchive::default()).then(|| Box::new(archive));
    }

    /// Begins to replace the active file: readers wait until the result is dropped.
    pub(super) fn begin_replacing(&self) -> Replacing<'_> {
        self.state().is_replacing = true;
        Replacing(self)
    }

    /// What of it is durable, and where.
    pub(super) fn view(&self) -> StreamView {
        let state = self.state();
        StreamView {
            extent: state.extent,
            archive: state.archive.as_deref().copied().unwrap_or_default(),
            is_replacing: state.is_replacing,
            unwritten: state.unwritten.iter().cloned().collect(),
        }
    }

    /// What is not yet in the file of the first `end` bytes of the stream; nothing if that is all there. Only one thread may write
    /// files, and so tell what [is written](Self::written).
    pub(super) fn unwritten(&self, end: u64) -> Option<UnwrittenText> {
        let mut found: Option<UnwrittenText> = None;
        loop {
            let state = self.state();
            let known = found.as_ref().map_or(0, |found| found.count);
            let mut new = state.unwritten.iter().skip(known).peekable();
            // Not all of it at once: the thread that adds to it would wait.
            for unwritten in new.by_ref().take(UNWRITTEN_AT_ONCE) {
                if unwritten.offset >= end {
                    return found;
                }
                let found = found.get_or_insert_with(|| UnwrittenText {
                    offset: unwritten.offset,
                    text: String::new(),
                    count: 0,
                });
                unwritten.push_text(&mut found.text);
                found.count += 1;
            }
            if new.peek().is_none() {
                return found;
            }
        }
    }

    /// Notes that the first `count` unwritten appends are in the file.
    pub(super) fn written(&self, count: usize) {
        let mut state = self.state();
        state.unwritten.drain(..count);
        if state.unwritten.is_empty() {
            // Most streams are at rest: their room would add up.
            state.unwritten = VecDeque::new();
        }
    }

    fn state(&self) -> MutexGuard<'_, SlotState> {
        lock(&self.state)
    }
}

/// How many appends are taken from a stream before somebody else may add to it.
const UNWRITTEN_AT_ONCE: usize = 256;

/// The appends of a stream that are not yet in its file, oldest first.
pub(super) struct UnwrittenText {
    /// Where in the stream they begin.
    pub(super) offset: u64,
    pub(super) text: String,
    /// How many they are.
    pub(super) count: usize,
}

/// Where the durable events of a stream are.
pub(super) struct StreamView {
    pub(super) extent: Extent,
    pub(super) archive: StreamArchive,
    pub(super) is_replacing: bool,
    pub(super) unwritten: Vec<Unwritten>,
}

impl StreamView {
    /// Up to where the events are in the archive and in the file, in bytes.
    pub(super) fn in_file(&self) -> u64 {
        let first = self.unwritten.first();
        first.map_or(self.extent.bytes, |first| first.offset)
    }
}

/// A stream whose file is being replaced.
pub(super) struct Replacing<'a>(&'a StreamSlot);

impl Replacing<'_> {
    /// The file begins behind what is archived from now on.
    pub(super) fn finish(self, archive: StreamArchive) {
        self.0.set_archive(archive);
    }
}

impl Drop for Replacing<'_> {
    fn drop(&mut self) {
        self.0.state().is_replacing = false;
    }
}

/// All streams of the store.
#[derive(Debug, Default)]
pub(super) struct StreamTable {
    inner: Mutex<TableState>,
}

#[derive(Debug, Default)]
struct TableState {
    slots: HashSet<SlotOfStream>,
    /// Those with at least one durable event, per aggregate type, in the order of the registry.
    listed: BTreeMap<Arc<str>, Vec<Arc<StreamSlot>>>,
    /// The same of all types.
    numbered: Vec<Arc<StreamSlot>>,
    directories: Directories,
    /// Those that were not adopted from 0.2.0.
    quarantined: HashMap<StreamId, Damage>,
}

/// A slot that is found by its stream.
#[derive(Debug)]
struct SlotOfStream(Arc<StreamSlot>);

impl Borrow<StreamId> for SlotOfStream {
    fn borrow(&self) -> &StreamId {
        &self.0.stream
    }
}

impl PartialEq for SlotOfStream {
    fn eq(&self, other: &Self) -> bool {
        self.0.stream == other.0.stream
    }
}

impl Eq for SlotOfStream {}

impl Hash for SlotOfStream {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.stream.hash(state);
    }
}

impl StreamTable {
    pub(super) fn slot(&self, stream: &StreamId) -> Option<Arc<StreamSlot>> {
        let table = lock(&self.inner);
        table.slots.get(stream).map(|found| Arc::clone(&found.0))
    }

    /// Chooses the directory of a stream that gets its first event; not listed before [`list`](Self::list).
    pub(super) fn create(&self, stream: &StreamId) -> Arc<StreamSlot> {
        let mut table = lock(&self.inner);
        let directory = table
            .directories
            .choose(&stream.aggregate_type, &stream.instance_id);
        let slot = Arc::new(StreamSlot::new(stream.clone(), &directory));
        table.slots.insert(SlotOfStream(Arc::clone(&slot)));
        slot
    }

    /// Takes back what [`create`](Self::create) did, because the first event did not become durable.
    pub(super) fn discard(&self, slot: &StreamSlot) {
        let mut table = lock(&self.inner);
        table.slots.remove(&slot.stream);
        table
            .directories
            .give_back(&slot.stream.aggregate_type, slot.directory());
    }

    /// Lists a stream whose first event is durable; in the order in which the registry gets them.
    pub(super) fn list(&self, slot: &Arc<StreamSlot>) {
        lock(&self.inner).list(slot);
    }

    /// Makes room for so many more streams.
    pub(super) fn reserve(&self, count: usize) {
        let mut table = lock(&self.inner);
        table.slots.reserve(count);
        table.numbered.reserve(count);
        table.directories.reserve(count);
    }

    /// Adds a stream that is recorded with its directory.
    pub(super) fn restore(
        &self,
        aggregate_type: &str,
        id: &str,
        directory: &str,
    ) -> Arc<StreamSlot> {
        let mut table = lock(&self.inner);
        table.directories.take(aggregate_type, directory);
        let known_type = table.listed.get_key_value(aggregate_type);
        let stream = StreamId {
            aggregate_type: known_type
                .map_or_else(|| aggregate_type.into(), |(known, _)| Arc::clone(known)),
            instance_id: id.into(),
        };
        let slot = Arc::new(StreamSlot::new(stream, directory));
        table.slots.replace(SlotOfStream(Arc::clone(&slot)));
        table.list(&slot);
        slot
    }

    /// Notes a stream that is in the directory but not in the journal, so that it is neither read nor begun.
    pub(super) fn quarantine(&self, stream: &StreamId, directory: Option<&str>, damage: Damage) {
        let mut table = lock(&self.inner);
        if let Some(directory) = directory {
            table.directories.take(&stream.aggregate_type, directory);
        }
        table.quarantined.insert(stream.clone(), damage);
    }

    /// Why a stream can neither be read nor begun, if so.
    pub(super) fn quarantined(&self, stream: &StreamId) -> Option<Damage> {
        lock(&self.inner).quarantined.get(stream).cloned()
    }

    /// How many streams are listed.
    pub(super) fn len(&self) -> u64 {
        lock(&self.inner).numbered.len() as u64
    }

    /// The stream with this number.
    pub(super) fn numbered(&self, number: u64) -> Option<Arc<StreamSlot>> {
        let index = usize::try_from(number.checked_sub(1)?).ok()?;
        lock(&self.inner).numbered.get(index).cloned()
    }

    pub(super) fn contains(&self, stream: &StreamId) -> bool {
        self.slot(stream).is_some_and(|slot| slot.number() > 0)
    }

    /// The listed streams, of one type or of all, in the order of type and id.
    pub(super) fn streams(&self, aggregate_type: Option<&str>) -> Vec<StreamId> {
        let streams = |slots: &Vec<Arc<StreamSlot>>| -> Vec<StreamId> {
            slots.iter().map(|slot| slot.stream.clone()).collect()
        };
        let mut listed = {
            let table = lock(&self.inner);
            match aggregate_type {
                None => streams(&table.numbered),
                Some(aggregate_type) => {
                    let slots = table.listed.get(aggregate_type);
                    slots.map(streams).unwrap_or_default()
                }
            }
        };
        listed.sort();
        listed
    }
}

impl TableState {
    fn list(&mut self, slot: &Arc<StreamSlot>) {
        let aggregate_type = &slot.stream.aggregate_type;
        match self.listed.get_mut(aggregate_type) {
            Some(listed) => listed.push(Arc::clone(slot)),
            None => {
                let listed = vec![Arc::clone(slot)];
                self.listed.insert(Arc::clone(aggregate_type), listed);
            }
        }
        self.numbered.push(Arc::clone(slot));
        slot.state().number = self.numbered.len() as u64;
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Every critical section leaves its data whole before it can panic, and a panic on a thread of the journal poisons the
    // store anyway.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
