//! What the journal knows of each stream: its directory, how long it is, and what of it is not yet in its own file.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::directories::Directories;
use super::stream_archive::StreamArchive;
use crate::journal::{Extent, RecordedCommit, StreamId};

/// One stream that has at least one event, or gets its first in the batch that is being written.
#[derive(Debug)]
pub(super) struct StreamSlot {
    pub(super) stream: StreamId,
    pub(super) directory: Box<str>,
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
    pub(super) fn new(stream: StreamId, directory: &str) -> Self {
        Self {
            stream,
            directory: directory.into(),
            state: Mutex::default(),
        }
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

    pub(super) fn unwritten(&self) -> Vec<Unwritten> {
        self.state().unwritten.iter().cloned().collect()
    }

    /// Notes that the first `count` unwritten appends are in the file.
    pub(super) fn written(&self, count: usize) {
        self.state().unwritten.drain(..count);
    }

    fn state(&self) -> MutexGuard<'_, SlotState> {
        lock(&self.state)
    }
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
    slots: HashMap<StreamId, Arc<StreamSlot>>,
    /// Those with at least one durable event.
    listed: BTreeSet<StreamId>,
    /// The same in the order of the registry.
    numbered: Vec<Arc<StreamSlot>>,
    directories: Directories,
}

impl StreamTable {
    pub(super) fn slot(&self, stream: &StreamId) -> Option<Arc<StreamSlot>> {
        lock(&self.inner).slots.get(stream).cloned()
    }

    /// Chooses the directory of a stream that gets its first event; not listed before [`list`](Self::list).
    pub(super) fn create(&self, stream: &StreamId) -> Arc<StreamSlot> {
        let mut table = lock(&self.inner);
        let directory = table
            .directories
            .choose(&stream.aggregate_type, &stream.instance_id);
        let slot = Arc::new(StreamSlot::new(stream.clone(), &directory));
        table.slots.insert(stream.clone(), Arc::clone(&slot));
        slot
    }

    /// Takes back what [`create`](Self::create) did, because the first event did not become durable.
    pub(super) fn discard(&self, slot: &StreamSlot) {
        let mut table = lock(&self.inner);
        table.slots.remove(&slot.stream);
        table
            .directories
            .give_back(&slot.stream.aggregate_type, &slot.directory);
    }

    /// Lists a stream whose first event is durable; in the order in which the registry gets them.
    pub(super) fn list(&self, slot: &Arc<StreamSlot>) {
        lock(&self.inner).list(slot);
    }

    /// Adds a stream that is recorded with its directory.
    pub(super) fn restore(&self, stream: StreamId, directory: &str) -> Arc<StreamSlot> {
        let mut table = lock(&self.inner);
        table.directories.take(&stream.aggregate_type, directory);
        let slot = Arc::new(StreamSlot::new(stream.clone(), directory));
        table.slots.insert(stream, Arc::clone(&slot));
        table.list(&slot);
        slot
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
        lock(&self.inner).listed.contains(stream)
    }

    pub(super) fn streams(&self, aggregate_type: Option<&str>) -> Vec<StreamId> {
        let table = lock(&self.inner);
        match aggregate_type {
            None => table.listed.iter().cloned().collect(),
            Some(aggregate_type) => table
                .listed
                .range(StreamId::new(aggregate_type, "")..)
                .take_while(|stream| &*stream.aggregate_type == aggregate_type)
                .cloned()
                .collect(),
        }
    }
}

impl TableState {
    fn list(&mut self, slot: &Arc<StreamSlot>) {
        self.listed.insert(slot.stream.clone());
        self.numbered.push(Arc::clone(slot));
        slot.state().number = self.numbered.len() as u64;
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Every critical section leaves its data whole before it can panic, and a panic on a thread of the journal poisons the
    // store anyway.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
