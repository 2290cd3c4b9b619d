//! What the journal knows of each stream: its directory, how long it is, and what of it is not yet in its own file.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::directories::Directories;
use super::layout::Layout;
use crate::disk::{Files, OpenMode};
use crate::journal::{Damage, JournalError, RecordedCommit, StoredLines, StreamId};

/// How long a stream is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Extent {
    /// Its number of events.
    pub(super) version: u64,
    /// Its length in bytes, the archived ones included.
    pub(super) bytes: u64,
}

/// One stream that has at least one event, or gets its first in the batch that is being written.
#[derive(Debug)]
pub(super) struct StreamSlot {
    pub(super) stream: StreamId,
    pub(super) directory: Box<str>,
    state: Mutex<SlotState>,
}

#[derive(Debug, Default)]
struct SlotState {
    /// Known once the stream was read or redone.
    extent: Option<Extent>,
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
            for line in &append.lines {
                text.push_str(line);
                text.push('\n');
            }
        }
    }
}

impl StreamSlot {
    pub(super) fn new(stream: StreamId, directory: &str, extent: Option<Extent>) -> Self {
        Self {
            stream,
            directory: directory.into(),
            state: Mutex::new(SlotState {
                extent,
                unwritten: VecDeque::new(),
            }),
        }
    }

    pub(super) fn extent(&self) -> Option<Extent> {
        self.state().extent
    }

    /// Notes a durable append.
    pub(super) fn append(&self, unwritten: Unwritten, extent: Extent) {
        let mut state = self.state();
        state.extent = Some(extent);
        state.unwritten.push_back(unwritten);
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
        let slot = Arc::new(StreamSlot::new(
            stream.clone(),
            &directory,
            Some(Extent::default()),
        ));
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

    pub(super) fn list(&self, slot: &StreamSlot) {
        lock(&self.inner).listed.insert(slot.stream.clone());
    }

    /// Adds a stream that is recorded with its directory.
    pub(super) fn restore(&self, stream: StreamId, directory: &str) -> Arc<StreamSlot> {
        let mut table = lock(&self.inner);
        table.directories.take(&stream.aggregate_type, directory);
        let slot = Arc::new(StreamSlot::new(stream.clone(), directory, None));
        table.slots.insert(stream.clone(), Arc::clone(&slot));
        table.listed.insert(stream);
        slot
    }

    /// Those whose length is known, which after opening are those that were written again.
    pub(super) fn known(&self) -> Vec<Arc<StreamSlot>> {
        let table = lock(&self.inner);
        table
            .slots
            .values()
            .filter(|slot| slot.extent().is_some())
            .cloned()
            .collect()
    }

    pub(super) fn set_extent(&self, slot: &StreamSlot, extent: Extent) {
        slot.state().extent = Some(extent);
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

/// Reads all durable events of a stream: what is in its file, then what is still on its way there.
pub(super) fn read_stream(
    files: &Files,
    layout: &Layout,
    slot: &StreamSlot,
) -> Result<StoredLines, JournalError> {
    let path = layout.stream_file(&slot.stream.aggregate_type, &slot.directory);
    // Before the file: what is no longer unwritten after this line is in the file.
    let (known, unwritten) = {
        let state = slot.state();
        let unwritten: Vec<_> = state.unwritten.iter().cloned().collect();
        (state.extent, unwritten)
    };
    let in_file = match (unwritten.first(), known) {
        (Some(first), _) => Some(first.offset),
        (None, known) => known.map(|known| known.bytes),
    };
    let bytes = match in_file {
        Some(0) => Vec::new(),
        Some(length) => files.open(&path, OpenMode::Read)?.read_range(0, length)?,
        None => {
            let file = files.open(&path, OpenMode::Read)?;
            file.read_range(0, file.len()?)?
        }
    };
    let read = bytes.len() as u64;
    if let Some(expected) = in_file.filter(|expected| *expected != read) {
        let reason = format!(
            "the stream ends here, but the journal has written {expected} bytes of it; the journal can restore it"
        );
        return Err(Damage::new(path, read, reason).into());
    }
    let mut text = String::from_utf8(bytes).map_err(|error| {
        let offset = error.utf8_error().valid_up_to() as u64;
        Damage::new(&path, offset, "the stream is not UTF-8 text from here on")
    })?;
    if in_file != Some(0) && !text.ends_with('\n') {
        let complete = text.rfind('\n').map_or(0, |newline| newline + 1);
        let reason =
            "the last line of the stream is incomplete, though the journal once wrote all of it";
        return Err(Damage::new(path, complete as u64, reason).into());
    }
    for append in &unwritten {
        append.push_text(&mut text);
    }
    let mut state = slot.state();
    if state.extent.is_none() {
        state.extent = Some(Extent {
            version: text.bytes().filter(|byte| *byte == b'\n').count() as u64,
            bytes: text.len() as u64,
        });
    }
    drop(state);
    Ok(StoredLines { text, path })
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Every critical section leaves its data whole before it can panic, and a panic on a thread of the journal poisons the
    // store anyway.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
