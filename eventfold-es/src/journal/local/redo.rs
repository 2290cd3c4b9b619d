//! Writing again, from the journal, what may not have reached the files derived from it.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use eventfold::line_hash;

use super::checkpoint::{ProcessManagerState, ProcessManagerStates};
use super::derived::Grown;
use super::layout::Layout;
use super::line::CommitLine;
use super::line_read::RowLine;
use super::registry::Registry;
use super::rows::RowTables;
use super::stream_archive::unarchive;
use super::stream_reader::foreign_bytes;
use super::streams::{StreamSlot, StreamTable};
use crate::disk::{FileHandle, Files, OpenMode};
use crate::journal::{Damage, Extent, JournalError, Progress, StreamId};
use crate::sabotage::{Bug, planted};

/// How many bytes are collected before they are written.
const PENDING_BYTES: usize = 32 << 20;

/// Applies commits, in order, to the stream files, the registry, the progress of process managers and their dead letters.
///
/// Bytes are always written at the recorded offsets, never skipped because equal ones seem to be there: what is read back
/// may be in the page cache only.
pub(super) struct Redo<'a> {
    files: &'a Files,
    layout: &'a Layout,
    table: &'a StreamTable,
    registry: &'a mut Registry,
    states: &'a mut ProcessManagerStates,
    rows: &'a RowTables,
    streams: HashMap<StreamId, Window>,
    dead_letters: BTreeMap<String, Letters>,
    pending: usize,
    damaged: Vec<Damage>,
    /// Whether everything is derived anew, so that no archive of a stream counts.
    is_rebuild: bool,
}

/// What redo has done.
pub(super) struct Redone {
    /// The streams that have grown, by their numbers.
    pub(super) grown: BTreeMap<u64, Grown>,
    /// The streams with bytes behind them that the journal did not write.
    pub(super) extended: Vec<Arc<StreamSlot>>,
    /// The streams whose files are not what the journal wrote.
    pub(super) damaged: Vec<Damage>,
}

/// The part of a stream that is written again.
struct Window {
    slot: Arc<StreamSlot>,
    /// Where the stream ends with it.
    extent: Extent,
    text: Text,
    file: StreamFile,
}

/// Whether the file of a stream is what the window continues.
#[derive(Clone, Copy, PartialEq, Eq)]
enum StreamFile {
    Unchecked,
    Continued,
    /// Something is missing before the window: nothing is written to it, and whoever reads it is told.
    Damaged,
}

/// The part of the dead letters of a process manager that is written again.
struct Letters {
    /// How much of them there is with it.
    extent: Extent,
    text: Text,
}

impl Letters {
    fn behind(extent: Extent) -> Self {
        Self {
            extent,
            text: Text {
                offset: extent.bytes,
                pending: String::new(),
            },
        }
    }
}

/// Bytes that belong at an offset.
#[derive(Default)]
struct Text {
    offset: u64,
    pending: String,
}

impl Text {
    fn end(&self) -> u64 {
        self.offset + self.pending.len() as u64
    }
}

impl<'a> Redo<'a> {
    pub(super) fn new(
        files: &'a Files,
        layout: &'a Layout,
        table: &'a StreamTable,
        registry: &'a mut Registry,
        states: &'a mut ProcessManagerStates,
        rows: &'a RowTables,
        is_rebuild: bool,
    ) -> Self {
        Self {
            files,
            layout,
            table,
            registry,
            states,
            rows,
            streams: HashMap::new(),
            dead_letters: BTreeMap::new(),
            pending: 0,
            damaged: Vec::new(),
            is_rebuild,
        }
    }

    /// Takes the commit on the line at `at` of the journal.
    pub(super) fn commit(&mut self, commit: &CommitLine<'_>, at: u64) -> Result<(), JournalError> {
        let data = &commit.data;
        for stream in &data.streams {
            let id = StreamId::new(&stream.aggregate_type, &stream.id);
            let window = match self.streams.entry(id) {
                std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
                std::collections::hash_map::Entry::Vacant(entry) => {
                    let slot = match (self.table.slot(entry.key()), stream.dir.as_deref()) {
                        (Some(slot), _) => slot,
                        (None, Some(directory)) => {
                            let slot =
                                self.table
                                    .restore(&stream.aggregate_type, &stream.id, directory);
                            self.registry.add(&slot, commit.ts);
                            slot
                        }
                        (None, None) => {
                            let reason = format!(
                                "commit {} continues the stream `{}` of `{}`, which the stream registry does not know",
                                data.commit, stream.id, stream.aggregate_type
                            );
                            return Err(Damage::new(self.layout.journal_file(), at, reason).into());
                        }
                    };
                    let extent = slot.extent();
                    entry.insert(Window {
                        slot,
                        extent,
                        text: Text {
                            offset: extent.bytes,
                            pending: String::new(),
                        },
                        file: StreamFile::Unchecked,
                    })
                }
            };
            if window.extent.lines + 1 != stream.version || window.extent.bytes != stream.offset {
                let reason = format!(
                    "commit {} continues the stream `{}` of `{}` at version {} and byte {}, but it ends at version {} and byte {}",
                    data.commit,
                    stream.id,
                    stream.aggregate_type,
                    stream.version,
                    stream.offset,
                    window.extent.lines,
                    window.extent.bytes
                );
                return Err(Damage::new(self.layout.journal_file(), at, reason).into());
            }
            for line in &stream.lines {
                window.text.pending.push_str(line);
                window.text.pending.push('\n');
                window.extent.push(line);
                self.pending += line.len() + 1;
            }
        }
        for process_manager in &data.process_managers {
            let name: &str = &process_manager.name;
            if !process_manager.rows.is_empty() {
                let changes = process_manager.rows.iter().map(RowLine::change);
                self.rows.change(name, data.commit, changes);
            }
            let known = self.states.get(name);
            if known.is_some_and(|state| state.commit >= data.commit) {
                // Its checkpoint is newer than that of the store, and vouches for the dead letters too.
                continue;
            }
            let known = known.map(|state| state.dead_letters);
            let letters = self
                .dead_letters
                .entry(name.to_owned())
                .or_insert_with(|| Letters::behind(known.unwrap_or_default()));
            if letters.extent.bytes != process_manager.dead_letters.offset {
                let reason = format!(
                    "commit {} continues the dead letters of `{name}` at byte {}, but they end at byte {}",
                    data.commit, process_manager.dead_letters.offset, letters.extent.bytes
                );
                return Err(Damage::new(self.layout.journal_file(), at, reason).into());
            }
            for line in &process_manager.dead_letters.lines {
                letters.extent.push(line);
                letters.text.pending.push_str(line);
                letters.text.pending.push('\n');
            }
            let json = serde_json::from_str(process_manager.state).map_err(|error| {
                let reason = format!("the state of `{name}` is no JSON: {error}");
                Damage::new(self.layout.journal_file(), at, reason)
            })?;
            let state = ProcessManagerState {
                commit: data.commit,
                progress: Progress {
                    position: process_manager.position,
                    state: json,
                },
                dead_letters: letters.extent,
            };
            self.states.insert(name.to_owned(), state);
        }
        if self.is_rebuild {
            self.rows
                .relieve(data.commit, || line_hash(commit.text.as_bytes()))?;
        }
        if self.pending > PENDING_BYTES {
            self.write()?;
        }
        Ok(())
    }

    /// Writes everything that was taken.
    pub(super) fn finish(mut self) -> Result<Redone, JournalError> {
        self.write()?;
        let mut grown = BTreeMap::new();
        let mut extended = Vec::new();
        for window in self.streams.into_values() {
            let Window {
                slot, extent, file, ..
            } = window;
            let path = self
                .layout
                .stream_file(&slot.stream.aggregate_type, slot.directory());
            if file == StreamFile::Continued {
                let length = self.files.open(&path, OpenMode::Write)?.len()?;
                let expected = extent.bytes - slot.archive().extent.bytes;
                if let Some(damage) = foreign_bytes(&path, length, expected) {
                    self.damaged.push(damage);
                    extended.push(Arc::clone(&slot));
                }
            }
            slot.set_extent(extent);
            grown.insert(slot.number(), Grown { slot, extent });
        }
        for (name, letters) in &self.dead_letters {
            self.files
                .create_dir_all(&self.layout.process_manager(name))?;
            let file = self
                .files
                .open(&self.layout.dead_letters(name), OpenMode::Write)?;
            let text = &letters.text;
            file.write_all_at(text.pending.as_bytes(), text.offset)?;
            file.set_len(text.end())?;
        }
        self.registry.flush()?;
        Ok(Redone {
            grown,
            extended,
            damaged: self.damaged,
        })
    }

    fn write(&mut self) -> Result<(), JournalError> {
        for window in self.streams.values_mut() {
            if window.text.pending.is_empty() {
                continue;
            }
            let slot = &window.slot;
            let (aggregate_type, directory) = (&slot.stream.aggregate_type, slot.directory());
            let path = self.layout.stream_file(aggregate_type, directory);
            self.files
                .create_dir_all(&self.layout.stream(aggregate_type, directory))?;
            if window.file == StreamFile::Unchecked && self.is_rebuild {
                unarchive(self.files, self.layout, slot)?;
            }
            let file = self.files.open(&path, OpenMode::Write)?;
            let offset = window.text.offset - slot.archive().extent.bytes;
            if window.file == StreamFile::Unchecked {
                window.file = StreamFile::Continued;
                if let Some(damage) = missing_before(&path, &file, offset)? {
                    tracing::warn!(%damage, "a stream is damaged; the others are not affected");
                    self.damaged.push(damage);
                    window.file = StreamFile::Damaged;
                }
            }
            let text = window.text.pending.as_bytes();
            let is_skipped = (planted(Bug::RedoSkipsAStream) && offset == 0)
                || (planted(Bug::RedoComparesAndSkips)
                    && file.read_range(offset, text.len() as u64)? == text);
            if window.file == StreamFile::Continued && !is_skipped {
                file.write_all_at(text, offset)?;
            }
            window.text.offset = window.text.end();
            window.text.pending.clear();
        }
        self.pending = 0;
        Ok(())
    }
}

/// What stands before the window must be there and end in a newline; the damage if it is not so.
fn missing_before(
    path: &Path,
    file: &FileHandle,
    offset: u64,
) -> Result<Option<Damage>, JournalError> {
    let Some(last) = offset.checked_sub(1) else {
        return Ok(None);
    };
    Ok(match file.read_range(last, 1)?.first() {
        Some(b'\n') => None,
        Some(_) => Some(Damage::new(
            path,
            last,
            "an event should end here, but there is no newline; the journal can restore the stream",
        )),
        None => {
            let reason = format!(
                "the stream should have {offset} bytes before what the journal writes again; the journal can restore it"
            );
            Some(Damage::new(path, file.len()?, reason))
        }
    })
}
