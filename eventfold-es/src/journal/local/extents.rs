//! `meta/stream-extents.<0|1>.jsonl`: how much of each stream there is, so that a stream that was cut, extended or changed by
//! somebody else is noticed.
//!
//! One line per stream and checkpoint that found it changed: `{"stream","extent","archive"}`, where the stream is the number of
//! its line in the registry; the last line of a stream counts. When most lines are outdated the other of the two files begins anew.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::layout::Layout;
use super::stream_archive::StreamArchive;
use super::streams::StreamTable;
use crate::disk::{FileError, FileHandle, Files, OpenMode};
use crate::journal::Extent;

/// How many outdated lines are always tolerated.
const OUTDATED_LINES: u64 = 4096;

/// How much of which of the two files is vouched for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SavedExtents {
    generation: u64,
    file: Extent,
}

impl SavedExtents {
    pub(super) fn generation(self) -> u64 {
        self.generation
    }
}

#[derive(Serialize, Deserialize)]
struct Line {
    stream: u64,
    #[serde(flatten)]
    place: StreamPlace,
}

/// How much of a stream there is, and how much of that is archived.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct StreamPlace {
    pub(super) extent: Extent,
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) archive: StreamArchive,
}

fn is_default(archive: &StreamArchive) -> bool {
    *archive == StreamArchive::default()
}

/// The extents of all streams as they are saved.
pub(super) struct StreamExtents {
    files: Files,
    layout: Layout,
    /// What the last checkpoint vouches for.
    saved: SavedExtents,
    open: Option<FileHandle>,
}

impl StreamExtents {
    /// Those of a store without a checkpoint.
    pub(super) fn new(files: &Files, layout: &Layout) -> Self {
        Self {
            files: files.clone(),
            layout: layout.clone(),
            saved: SavedExtents::default(),
            open: None,
        }
    }

    /// Gives every stream of the table its extent; the reason if that is not possible.
    pub(super) fn load(
        files: &Files,
        layout: &Layout,
        saved: SavedExtents,
        table: &StreamTable,
    ) -> Result<Result<Self, String>, FileError> {
        let mut extents = Self::new(files, layout);
        extents.saved = saved;
        let lines = match read_extents(files, layout, saved)? {
            Ok(lines) => lines,
            Err(reason) => return Ok(Err(reason)),
        };
        let count = lines.len() as u64;
        let mut known = 0;
        for (number, place) in lines {
            if let Some(slot) = table.numbered(number) {
                slot.set_extent(place.extent);
                slot.set_archive(place.archive);
                known += 1;
            }
        }
        if (count, known) != (table.len(), count) {
            return Ok(Err(format!(
                "it knows {count} streams, the registry {}",
                table.len()
            )));
        }
        Ok(Ok(extents))
    }

    /// Writes the extents that have changed; nothing is synced, and nothing of it counts before [`saved`](Self::saved).
    pub(super) fn write(
        &mut self,
        changed: &BTreeMap<u64, StreamPlace>,
        streams: u64,
    ) -> Result<SavedExtents, FileError> {
        let lines = self.saved.file.lines + changed.len() as u64;
        if lines <= streams * 2 + OUTDATED_LINES {
            return self.append(self.saved, changed);
        }
        match read_extents(&self.files, &self.layout, self.saved)? {
            Ok(mut all) => {
                all.extend(changed);
                self.open = None;
                let generation = (self.saved.generation + 1) % 2;
                let file = Extent::default();
                self.append(SavedExtents { generation, file }, &all)
            }
            Err(reason) => {
                let path = self.layout.stream_extents(self.saved.generation);
                let source = std::io::Error::new(std::io::ErrorKind::InvalidData, reason);
                Err(FileError::new("read", &path, source))
            }
        }
    }

    fn append(
        &mut self,
        mut to: SavedExtents,
        changed: &BTreeMap<u64, StreamPlace>,
    ) -> Result<SavedExtents, FileError> {
        let offset = to.file.bytes;
        let mut text = String::with_capacity(changed.len() * 80);
        for (stream, place) in changed {
            let line = Line {
                stream: *stream,
                place: *place,
            };
            if let Ok(line) = serde_json::to_string(&line) {
                to.file.push(&line);
                text.push_str(&line);
                text.push('\n');
            }
        }
        let file = match &self.open {
            Some(file) => file,
            None => {
                let path = self.layout.stream_extents(to.generation);
                let file = self.files.open(&path, OpenMode::Write)?;
                // What stands behind it was never vouched for, or is not any more.
                file.set_len(offset)?;
                self.open.insert(file)
            }
        };
        file.write_all_at(text.as_bytes(), offset)?;
        Ok(to)
    }

    /// Makes what was written durable, where that is not done for the file system as a whole.
    pub(super) fn sync(&self) -> Result<(), FileError> {
        self.open.as_ref().map_or(Ok(()), FileHandle::sync_data)
    }

    /// Notes that a checkpoint vouches for what was written.
    pub(super) fn saved(&mut self, saved: SavedExtents) {
        self.saved = saved;
    }
}

/// The place of each stream, as saved; the reason if it cannot be read. Blocks.
pub(super) fn read_extents(
    files: &Files,
    layout: &Layout,
    saved: SavedExtents,
) -> Result<Result<BTreeMap<u64, StreamPlace>, String>, FileError> {
    let SavedExtents { generation, file } = saved;
    if file == Extent::default() {
        return Ok(Ok(BTreeMap::new()));
    }
    let bytes = match files.open(&layout.stream_extents(generation), OpenMode::Read) {
        Ok(opened) => opened.read_range(0, file.bytes)?,
        Err(error) if error.is_not_found() => Vec::new(),
        Err(error) => return Err(error),
    };
    Ok(parse(&bytes, file))
}

fn parse(bytes: &[u8], expected: Extent) -> Result<BTreeMap<u64, StreamPlace>, String> {
    let text = std::str::from_utf8(bytes).map_err(|error| error.to_string())?;
    let mut extent = Extent::default();
    let mut extents = BTreeMap::new();
    for line in text.lines() {
        let Line { stream, place } = serde_json::from_str(line)
            .map_err(|error| format!("byte {}: {error}", extent.bytes))?;
        extent.push(line);
        extents.insert(stream, place);
    }
    if extent == expected {
        Ok(extents)
    } else {
        Err(format!(
            "it holds {} lines and {} bytes, or other ones, where {} lines and {} bytes were saved",
            extent.lines, extent.bytes, expected.lines, expected.bytes
        ))
    }
}
