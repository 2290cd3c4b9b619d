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
    extent: Extent,
    #[serde(default, skip_serializing_if = "is_default")]
    archive: StreamArchive,
}

/// How much of a stream there is, and how much of that is archived.
#[derive(Debug, Clone, Copy)]
pub(super) struct StreamPlace {
    pub(super) extent: Extent,
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
    /// The file that was written to for a checkpoint that is not saved yet, and which of the two it is: after one that failed it
    /// may be the other one.
    open: Option<(u64, FileHandle)>,
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
        let (mut known, mut unknown) = (0, 0);
        let read = read_places(files, layout, saved, |number, place| {
            let Some(slot) = table.numbered(number) else {
                unknown += 1;
                return;
            };
            if slot.extent() == Extent::default() {
                known += 1;
            }
            slot.set_extent(place.extent);
            slot.set_archive(place.archive);
        })?;
        if let Err(reason) = read {
            return Ok(Err(reason));
        }
        if (known, unknown) != (table.len(), 0) {
            return Ok(Err(format!(
                "it knows {known} of the {} streams of the registry, and {unknown} times one that is not there",
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
                extent: place.extent,
                archive: place.archive,
            };
            if let Ok(line) = serde_json::to_string(&line) {
                to.file.push(&line);
                text.push_str(&line);
                text.push('\n');
            }
        }
        let is_open = |open: &(u64, FileHandle)| open.0 == to.generation && offset > 0;
        let (_, file) = match self.open.take_if(|open| is_open(open)) {
            Some(open) => self.open.insert(open),
            None => {
                let path = self.layout.stream_extents(to.generation);
                let file = self.files.open(&path, OpenMode::Write)?;
                // What stands behind it was never vouched for, or is not any more.
                file.set_len(offset)?;
                self.open.insert((to.generation, file))
            }
        };
        file.write_all_at(text.as_bytes(), offset)?;
        Ok(to)
    }

    /// Makes what was written durable, where that is not done for the file system as a whole.
    pub(super) fn sync(&self) -> Result<(), FileError> {
        self.open
            .as_ref()
            .map_or(Ok(()), |(_, file)| file.sync_data())
    }

    /// Notes that a checkpoint vouches for what was written.
    pub(super) fn saved(&mut self, saved: SavedExtents) {
        self.saved = saved;
        self.open = None;
    }
}

/// The place of each stream, as saved; the reason if it cannot be read. Blocks.
pub(super) fn read_extents(
    files: &Files,
    layout: &Layout,
    saved: SavedExtents,
) -> Result<Result<BTreeMap<u64, StreamPlace>, String>, FileError> {
    let mut places = BTreeMap::new();
    let read = read_places(files, layout, saved, |stream, place| {
        places.insert(stream, place);
    })?;
    Ok(read.map(|()| places))
}

/// Calls `take` with each place that is saved, the valid one of a stream last; the reason if they cannot be read.
fn read_places(
    files: &Files,
    layout: &Layout,
    saved: SavedExtents,
    take: impl FnMut(u64, StreamPlace),
) -> Result<Result<(), String>, FileError> {
    let SavedExtents { generation, file } = saved;
    if file == Extent::default() {
        return Ok(Ok(()));
    }
    let bytes = match files.open(&layout.stream_extents(generation), OpenMode::Read) {
        Ok(opened) => opened.read_range(0, file.bytes)?,
        Err(error) if error.is_not_found() => Vec::new(),
        Err(error) => return Err(error),
    };
    Ok(parse(&bytes, file, take))
}

fn parse(
    bytes: &[u8],
    expected: Extent,
    mut take: impl FnMut(u64, StreamPlace),
) -> Result<(), String> {
    let text = std::str::from_utf8(bytes).map_err(|error| error.to_string())?;
    expected.check(text)?;
    for (index, line) in text.lines().enumerate() {
        let Line {
            stream,
            extent,
            archive,
        } = serde_json::from_str(line).map_err(|error| format!("line {}: {error}", index + 1))?;
        take(stream, StreamPlace { extent, archive });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::disk::SystemDisk;

    fn places(count: u64, lines: u64) -> BTreeMap<u64, StreamPlace> {
        let extent = Extent {
            lines,
            ..Extent::default()
        };
        let archive = StreamArchive::default();
        let place = StreamPlace { extent, archive };
        (1..=count).map(|stream| (stream, place)).collect()
    }

    /// The second file was begun for a checkpoint that could not be saved; what came later was written to it all the same,
    /// where the first one ends.
    #[test]
    fn a_file_that_no_checkpoint_vouches_for_is_not_gone_on_with()
    -> Result<(), Box<dyn std::error::Error>> {
        let directory = tempfile::tempdir()?;
        let files = Files::new(Arc::new(SystemDisk));
        let layout = Layout::new(directory.path());
        files.create_dir_all(&layout.meta())?;
        let mut extents = StreamExtents::new(&files, &layout);
        let first = extents.write(&places(OUTDATED_LINES, 1), 1)?;
        extents.saved(first);
        let second = extents.write(&places(10, 2), 1)?;
        assert_ne!(second.generation(), first.generation());
        // It is not saved, and by now there are so many streams that the first file will do.
        let third = extents.write(&places(20, 3), OUTDATED_LINES)?;
        assert_eq!(third.generation(), first.generation());
        extents.saved(third);
        let read = read_extents(&files, &layout, third)??;
        let lines = |stream| read.get(&stream).map(|place| place.extent.lines);
        assert_eq!((lines(20), lines(21)), (Some(3), Some(1)));
        Ok(())
    }
}
