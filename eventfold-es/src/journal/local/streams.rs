//! What the journal knows of each stream: its directory, how long it is, and what of it is not yet in its own file.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::directories::Directories;
use super::layout::Layout;
use crate::disk::{Files, OpenMode};
use crate::journal::{
    Damage, Extent, JournalError, RecordedCommit, StoredLines, StreamId, StreamTail,
};

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

    /// What of it is durable, and which part of that is not yet in its file.
    pub(super) fn durable(&self) -> (Extent, Vec<Unwritten>) {
        let state = self.state();
        (state.extent, state.unwritten.iter().cloned().collect())
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

    /// Sets the extents of streams by their numbers; whether all numbers are known.
    pub(super) fn set_extents(&self, extents: impl IntoIterator<Item = (u64, Extent)>) -> bool {
        let table = lock(&self.inner);
        for (number, extent) in extents {
            let index = usize::try_from(number)
                .ok()
                .and_then(|number| number.checked_sub(1));
            let Some(slot) = index.and_then(|index| table.numbered.get(index)) else {
                return false;
            };
            slot.set_extent(extent);
        }
        true
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

/// The damage of a stream file that is longer than the stream.
pub(super) fn foreign_bytes(path: &Path, length: u64, extent: Extent) -> Option<Damage> {
    let count = length
        .checked_sub(extent.bytes)
        .filter(|count| *count > 0)?;
    let reason = format!(
        "{count} bytes stand behind the last event that the journal wrote to this stream; another program wrote them, or they \
         belong to another copy of the store"
    );
    Some(Damage::new(path, extent.bytes, reason))
}

/// Reads the durable events of a stream behind its beginning `start`: what is in its file, then what is still on its way there.
///
/// What comes back leads from `start` to what the journal wrote; of the beginning itself nothing is read.
pub(super) fn read_stream(
    files: &Files,
    layout: &Layout,
    slot: &StreamSlot,
    start: Extent,
) -> Result<StreamTail, JournalError> {
    let path = layout.stream_file(&slot.stream.aggregate_type, &slot.directory);
    // Before the file: what is no longer unwritten after this line is in the file.
    let (extent, unwritten) = slot.durable();
    let in_file = unwritten.first().map_or(extent.bytes, |first| first.offset);
    let from = start.bytes.min(in_file);
    let mut bytes = Vec::new();
    let mut read = from;
    if in_file > 0 {
        let file = match files.open(&path, OpenMode::Read) {
            Err(error) if error.is_not_found() => {
                let reason = "the stream's file is missing; the journal can restore it";
                return Err(Damage::new(path, 0, reason).into());
            }
            opened => opened?,
        };
        bytes = file.read_range(from, in_file - from)?;
        let length = file.len()?;
        read = length.min(from) + bytes.len() as u64;
        // Unless more was written to it meanwhile.
        if slot.extent() == extent
            && let Some(damage) = foreign_bytes(&path, length, extent)
        {
            return Err(damage.into());
        }
    }
    if read != in_file {
        let reason = format!(
            "the stream ends here, but the journal has written {in_file} bytes of it; the journal can restore it"
        );
        return Err(Damage::new(path, read, reason).into());
    }
    let mut text = String::from_utf8(bytes).map_err(|error| {
        let offset = from + error.utf8_error().valid_up_to() as u64;
        let reason = "the stream is not UTF-8 text from here on; the journal can restore it";
        Damage::new(&path, offset, reason)
    })?;
    for append in &unwritten {
        append.push_text(&mut text);
    }
    let text = behind(text, start.bytes - from);
    let mut actual = start;
    // What a snapshot says of the stream may be anything.
    if start.lines <= extent.lines {
        actual.push_text(&text);
    }
    if actual != extent {
        let reason = "the events of the stream from here on are not those that the journal wrote; the journal can restore them";
        return Err(Damage::new(path, start.bytes, reason).into());
    }
    let lines = StoredLines { text, path };
    Ok(StreamTail { lines, end: extent })
}

/// The text without its first bytes; empty if there are not so many.
fn behind(text: String, count: u64) -> String {
    match usize::try_from(count) {
        Ok(0) => text,
        Ok(count) => text.get(count..).unwrap_or_default().to_owned(),
        Err(_) => String::new(),
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Every critical section leaves its data whole before it can panic, and a panic on a thread of the journal poisons the
    // store anyway.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
