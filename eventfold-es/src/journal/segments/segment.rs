//! Reading a segment.

use std::cell::Cell;
use std::path::Path;
use std::sync::Arc;

use zstd::bulk::Decompressor;

use super::Span;
use super::table::{CommitPlace, FRAME_BYTES, Table, TableError};
use crate::disk::{FileHandle, Files, OpenMode};
use crate::journal::block_cache::{BlockCache, FileKey};
use crate::journal::{Damage, JournalError};

/// The number of bytes at the end of a file that are read to find its table. The table of 64 MiB of text has about 40 KiB.
const TAIL_BYTES: u64 = 64 << 10;

thread_local! {
    /// The last tools of the thread. Creating a decompressor takes longer than decompressing a frame.
    static TOOLS: Cell<Option<Box<Tools>>> = const { Cell::new(None) };
}

/// A decompressor and its memory.
struct Tools {
    decompressor: Decompressor<'static>,
    compressed: Vec<u8>,
    frame: [u8; FRAME_BYTES as usize],
}

impl Tools {
    fn new() -> std::io::Result<Box<Self>> {
        Ok(Box::new(Self {
            decompressor: Decompressor::new()?,
            compressed: Vec::new(),
            frame: [0; FRAME_BYTES as usize],
        }))
    }
}

/// An open segment. Its file stays open as long as it is held.
pub(super) struct Segment {
    file: FileHandle,
    bytes: u64,
    table: Table,
}

impl Segment {
    /// Blocks.
    pub(super) fn open(files: &Files, path: &Path) -> Result<Self, JournalError> {
        let file = files.open(path, OpenMode::Read)?;
        let length = file.len()?;
        let incomplete = || {
            let reason = "the segment of the journal does not end as it was written; restore the file from a copy";
            Damage::new(path, length, reason)
        };
        let tail = length.min(TAIL_BYTES);
        let mut tail = file.read_range(length - tail, tail)?;
        let content = Table::length(&tail)
            .filter(|content| *content <= length)
            .ok_or_else(incomplete)?;
        if content > tail.len() as u64 {
            tail = file.read_range(length - content, content)?;
        }
        let content = usize::try_from(content)
            .ok()
            .and_then(|content| tail.len().checked_sub(content));
        let content = content
            .and_then(|start| tail.get(start..))
            .ok_or_else(incomplete)?;
        let table = match Table::decode(content) {
            Ok(table) => table,
            Err(TableError::Incomplete) => return Err(incomplete().into()),
            Err(TableError::Newer(newer)) => return Err(newer.in_file(path).into()),
        };
        Ok(Self {
            file,
            bytes: length,
            table,
        })
    }

    pub(super) fn span(&self) -> Span {
        Span {
            start: self.table.start,
            end: self.table.start + self.table.text,
            bytes: self.bytes,
        }
    }

    pub(super) fn first_commit(&self) -> u64 {
        self.table.first_commit
    }

    /// The position of the first event, or the highest possible position if there is none.
    pub(super) fn first_position(&self) -> u64 {
        self.table
            .commits
            .first()
            .map_or(u64::MAX, |place| place.position)
    }

    /// The offset in the text from which a read finds the event at a position.
    pub(super) fn find(&self, position: u64) -> u64 {
        let commits = &self.table.commits;
        let next = commits.partition_point(|place| place.position <= position);
        let place = next.checked_sub(1).and_then(|index| commits.get(index));
        self.table.start + place.map_or(0, |CommitPlace { offset, .. }| *offset)
    }

    /// The offset in the file of the frame with an offset of the text.
    pub(super) fn place_of(&self, offset: u64) -> u64 {
        let frame = offset.saturating_sub(self.table.start) / FRAME_BYTES;
        let frame = usize::try_from(frame)
            .ok()
            .and_then(|frame| self.table.frames.get(frame));
        frame.copied().unwrap_or_default().into()
    }

    /// Up to `length` bytes of the text from `offset` on, fewer at its end. Frames are cached. Blocks.
    pub(super) fn read(
        &self,
        offset: u64,
        length: u64,
        (cache, key): &(Arc<BlockCache>, FileKey),
    ) -> Result<Vec<u8>, JournalError> {
        let from = offset.saturating_sub(self.table.start);
        let to = from.saturating_add(length).min(self.table.text);
        let (first, last) = (from / FRAME_BYTES, to.div_ceil(FRAME_BYTES));
        let wanted = usize::try_from(to.saturating_sub(from)).unwrap_or(0);
        let mut text = Vec::with_capacity(wanted);
        let mut skipped = usize::try_from(from - first * FRAME_BYTES).unwrap_or(usize::MAX);
        let mut take = |content: &[u8]| {
            let content = content
                .get(std::mem::take(&mut skipped)..)
                .unwrap_or_default();
            let content = content.get(..wanted - text.len()).unwrap_or(content);
            text.extend_from_slice(content);
        };
        let found = |frame| cache.find(*key, self.table.start + frame * FRAME_BYTES);
        let mut frame = first;
        let mut read = Vec::new();
        while frame < last {
            if let Some(content) = found(frame) {
                take(&content);
                frame += 1;
                continue;
            }
            // The same read also covers the missing frames behind it.
            let behind = (frame + 1..last).find(|frame| found(*frame).is_some());
            let behind = behind.unwrap_or(last);
            let place = self.table.start + frame * FRAME_BYTES;
            self.read_into(place, (behind - frame) * FRAME_BYTES, &mut read)?;
            for (frame, content) in (frame..).zip(read.chunks(FRAME_BYTES as usize)) {
                let place = self.table.start + frame * FRAME_BYTES;
                cache.insert(*key, place, content.into());
            }
            take(&read);
            frame = behind;
        }
        Ok(text)
    }

    /// Up to `length` bytes of the text from `offset` on, fewer at its end, in place of the content of `text`. Blocks.
    pub(super) fn read_into(
        &self,
        offset: u64,
        length: u64,
        text: &mut Vec<u8>,
    ) -> Result<(), JournalError> {
        let from = offset.saturating_sub(self.table.start);
        let to = from.saturating_add(length).min(self.table.text);
        let wanted = usize::try_from(to.saturating_sub(from)).unwrap_or(0);
        if text.capacity() < wanted {
            // The system has zeroed memory.
            *text = vec![0; wanted];
        }
        text.resize(wanted, 0);
        let (first, last) = (from / FRAME_BYTES, to.div_ceil(FRAME_BYTES));
        let bound = |frame: u64| {
            let place = usize::try_from(frame)
                .ok()
                .and_then(|frame| self.table.frames.get(frame));
            place.copied().map_or(0, u64::from)
        };
        let start = bound(first);
        let mut tools = match TOOLS.take() {
            Some(used) => used,
            None => Tools::new().map_err(|error| self.damaged(start, &error.to_string()))?,
        };
        let length = bound(last).saturating_sub(start);
        self.file.read_into(start, length, &mut tools.compressed)?;
        let mut rest = &mut text[..];
        for frame in first..last {
            let (begin, end) = (bound(frame), bound(frame + 1));
            let place = |at: u64| usize::try_from(at.saturating_sub(start)).unwrap_or(usize::MAX);
            let compressed = tools.compressed.get(place(begin)..place(end));
            let compressed = compressed.unwrap_or_default();
            let frame_from = frame * FRAME_BYTES;
            let expected = FRAME_BYTES.min(self.table.text.saturating_sub(frame_from)) as usize;
            // The first frame and the last frame may be wanted in part.
            let is_whole = from <= frame_from && rest.len() >= expected;
            let room = match is_whole {
                true => rest.get_mut(..expected).unwrap_or_default(),
                false => &mut tools.frame[..],
            };
            match tools.decompressor.decompress_to_buffer(compressed, room) {
                Ok(length) if length == expected => {}
                Ok(length) => {
                    let reason =
                        format!("it holds {length} bytes of text where {expected} were written");
                    return Err(self.damaged(begin, &reason).into());
                }
                Err(error) => return Err(self.damaged(begin, &error.to_string()).into()),
            }
            let mut filled = expected;
            if !is_whole {
                let skipped = usize::try_from(from.saturating_sub(frame_from)).unwrap_or(0);
                let part = tools.frame.get(skipped..expected).unwrap_or_default();
                filled = part.len().min(rest.len());
                let (part, room) = (part.get(..filled), rest.get_mut(..filled));
                if let (Some(part), Some(room)) = (part, room) {
                    room.copy_from_slice(part);
                }
            }
            rest = rest
                .split_at_mut_checked(filled)
                .map_or(&mut [], |(_, rest)| rest);
        }
        TOOLS.set(Some(tools));
        Ok(())
    }

    fn damaged(&self, offset: u64, reason: &str) -> Damage {
        let reason = format!(
            "a frame of the journal cannot be decompressed ({reason}); restore the file from a copy"
        );
        Damage::new(self.file.path(), offset, reason)
    }
}
