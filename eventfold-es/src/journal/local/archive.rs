//! Eventfold's archive format, `archive.jsonl.zst`: zstd frames one behind another, which decompress to the lines that once
//! stood in `app.jsonl`. Each of ours holds whole lines, about a megabyte of them, so that any place is found quickly.

use serde::{Deserialize, Serialize};

use crate::disk::{FileError, FileHandle};
use crate::journal::{Damage, JournalError};

/// How much text one frame holds, unless a single line is longer.
const FRAME_BYTES: u64 = 1 << 20;
/// How much of an archive is read to find the ends of frames.
const WALK_BYTES: u64 = 4 << 20;
/// The level that eventfold uses.
const LEVEL: i32 = 3;

/// A place where a frame begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Frame {
    /// The logical offset of its first byte of text.
    pub(super) start: u64,
    /// Where it begins in the archive.
    pub(super) offset: u64,
}

/// The frames of an archive, and where they end.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Frames {
    pub(super) list: Vec<Frame>,
    /// The end of their text.
    pub(super) end: u64,
    /// The end of their bytes in the archive.
    pub(super) bytes: u64,
}

impl Frames {
    fn push(&mut self, text: u64, bytes: u64) {
        self.list.push(Frame {
            start: self.end,
            offset: self.bytes,
        });
        self.end += text;
        self.bytes += bytes;
    }

    /// Forgets the frames from the logical offset `start` on, at which one of them begins.
    pub(super) fn cut(&mut self, start: u64) {
        let keep = self.list.partition_point(|frame| frame.start < start);
        if let Some(first) = self.list.get(keep) {
            self.end = first.start;
            self.bytes = first.offset;
        }
        self.list.truncate(keep);
    }

    /// The place of the frame that holds a logical offset before the end, and where the next one begins.
    fn find(&self, offset: u64) -> Option<(Frame, Frame)> {
        let next = self.list.partition_point(|frame| frame.start <= offset);
        let found = self.list.get(next.checked_sub(1)?)?;
        let end = Frame {
            start: self.end,
            offset: self.bytes,
        };
        (offset < self.end).then(|| (*found, self.list.get(next).copied().unwrap_or(end)))
    }

    /// The text of the frame that holds the logical offset, from there on. Blocks.
    pub(super) fn read(&self, archive: &FileHandle, offset: u64) -> Result<Vec<u8>, JournalError> {
        let Some((frame, next)) = self.find(offset) else {
            return Ok(Vec::new());
        };
        let bytes = archive.read_range(frame.offset, next.offset - frame.offset)?;
        let mut text = decompress(&bytes, next.start - frame.start)
            .map_err(|reason| Damage::new(archive.path(), frame.offset, reason))?;
        let skipped = usize::try_from(offset - frame.start).unwrap_or(usize::MAX);
        text.drain(..skipped.min(text.len()));
        Ok(text)
    }

    /// The whole text from the logical offset `start` on, at which a frame begins. Blocks.
    pub(super) fn read_all(
        &self,
        archive: &FileHandle,
        start: u64,
    ) -> Result<Vec<u8>, JournalError> {
        let mut text = Vec::new();
        while start + (text.len() as u64) < self.end {
            text.extend(self.read(archive, start + text.len() as u64)?);
        }
        Ok(text)
    }

    /// Compresses the text of `source` from `from` to `to` (its own offsets, at the ends of lines) and writes it behind the
    /// frames; nothing is synced. Blocks.
    pub(super) fn append(
        &mut self,
        archive: &FileHandle,
        source: &FileHandle,
        from: u64,
        to: u64,
        mut check: impl FnMut(&[u8]) -> Result<(), Damage>,
    ) -> Result<(), JournalError> {
        // What an interrupted attempt has left.
        archive.set_len(self.bytes)?;
        let mut at = from;
        let mut window = FRAME_BYTES;
        while at < to {
            let mut text = source.read_range(at, window.min(to - at))?;
            let end = text.iter().rposition(|byte| *byte == b'\n');
            let Some(end) = end else {
                if window >= to - at {
                    let reason = "the text to be archived does not end in a newline";
                    return Err(Damage::new(source.path(), at, reason).into());
                }
                window *= 2;
                continue;
            };
            window = FRAME_BYTES;
            text.truncate(end + 1);
            check(&text)?;
            let frame = zstd::bulk::compress(&text, LEVEL)
                .map_err(|error| FileError::new("compress", source.path(), error))?;
            archive.write_all_at(&frame, self.bytes)?;
            self.push(text.len() as u64, frame.len() as u64);
            at += text.len() as u64;
        }
        Ok(())
    }

    /// Finds the frames behind those that are known, up to the end of the archive or to an incomplete one. Blocks.
    pub(super) fn walk(&mut self, archive: &FileHandle) -> Result<(), FileError> {
        let length = archive.len()?;
        let mut window = WALK_BYTES;
        while self.bytes < length {
            let available = window.min(length - self.bytes);
            let bytes = archive.read_range(self.bytes, available)?;
            let mut rest = &bytes[..];
            while let Some((frame, behind)) = split_frame(rest) {
                let Some(text) = text_length(frame) else {
                    return Ok(());
                };
                self.push(text, frame.len() as u64);
                rest = behind;
            }
            if rest.len() < bytes.len() {
                window = WALK_BYTES;
            } else if available < length - self.bytes {
                window *= 2;
            } else {
                break;
            }
        }
        Ok(())
    }
}

/// The first frame, if it is complete, and what stands behind it.
fn split_frame(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = zstd::zstd_safe::find_frame_compressed_size(bytes).ok()?;
    bytes.split_at_checked(length).filter(|_| length > 0)
}

/// How much text a frame holds: as it says itself, or else by decompressing it.
fn text_length(frame: &[u8]) -> Option<u64> {
    match zstd::zstd_safe::get_frame_content_size(frame) {
        Ok(Some(length)) => Some(length),
        Ok(None) => {
            let mut decoder = zstd::stream::read::Decoder::new(frame).ok()?;
            std::io::copy(&mut decoder, &mut std::io::sink()).ok()
        }
        Err(_) => None,
    }
}

/// Decompresses a frame that holds `length` bytes of text; the reason if it does not.
fn decompress(frame: &[u8], length: u64) -> Result<Vec<u8>, String> {
    let mut text = Vec::new();
    // A damaged length is more than there is memory for.
    let reserved = usize::try_from(length).map(|length| text.try_reserve_exact(length));
    if !matches!(reserved, Ok(Ok(()))) {
        return Err(format!(
            "the frame of the archive cannot hold {length} bytes of text"
        ));
    }
    let decompressed = zstd::bulk::Decompressor::new()
        .and_then(|mut decompressor| decompressor.decompress_to_buffer(frame, &mut text));
    match decompressed {
        Ok(_) if text.len() as u64 == length => Ok(text),
        Ok(_) => Err(format!(
            "the frame of the archive holds {} bytes of text where {length} were archived",
            text.len()
        )),
        Err(error) => Err(format!(
            "the frame of the archive cannot be decompressed: {error}"
        )),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use super::*;
    use crate::disk::{Files, OpenMode, SystemDisk};

    type TestResult = Result<(), Box<dyn std::error::Error>>;

    fn text(lines: usize) -> String {
        (0..lines)
            .map(|line| format!("{line} {}\n", "x".repeat(line % 1000)))
            .collect()
    }

    fn archived(directory: &Path, text: &str) -> Result<(FileHandle, Frames), JournalError> {
        let files = Files::new(Arc::new(SystemDisk));
        let source = files.open(&directory.join("app.jsonl"), OpenMode::Write)?;
        source.write_all_at(text.as_bytes(), 0)?;
        let archive = files.open(&directory.join("archive.jsonl.zst"), OpenMode::Write)?;
        let mut frames = Frames::default();
        frames.append(&archive, &source, 0, text.len() as u64, |_| Ok(()))?;
        Ok((archive, frames))
    }

    #[test]
    fn every_line_is_read_back_from_any_place() -> TestResult {
        let directory = tempfile::tempdir()?;
        let text = text(8_000);
        let (archive, frames) = archived(directory.path(), &text)?;
        assert!(frames.list.len() >= 3);
        assert_eq!(frames.read_all(&archive, 0)?, text.as_bytes());
        for offset in (0..text.len()).step_by(60_000) {
            let read = frames.read(&archive, offset as u64)?;
            assert!(!read.is_empty());
            assert!(
                text.get(offset..)
                    .ok_or("short")?
                    .as_bytes()
                    .starts_with(&read)
            );
        }
        assert!(frames.read(&archive, text.len() as u64)?.is_empty());
        Ok(())
    }

    #[test]
    fn frames_are_found_again_up_to_an_incomplete_one() -> TestResult {
        let directory = tempfile::tempdir()?;
        let (archive, frames) = archived(directory.path(), &text(8_000))?;
        let mut found = Frames::default();
        found.walk(&archive)?;
        assert_eq!(found, frames);
        let last = frames.list.last().ok_or("no frame")?;
        for length in [last.offset + 1, frames.bytes - 1] {
            archive.set_len(length)?;
            let mut found = Frames::default();
            found.walk(&archive)?;
            let mut expected = frames.clone();
            expected.cut(last.start);
            assert_eq!(found, expected, "{length}");
        }
        Ok(())
    }

    #[test]
    fn eventfold_reads_what_we_archive() -> TestResult {
        let directory = tempfile::tempdir()?;
        let lines: String = (0..30_000)
            .map(|n| format!("{{\"type\":\"Counted\",\"data\":{n},\"ts\":1}}\n"))
            .collect();
        archived(directory.path(), &lines)?;
        std::fs::write(directory.path().join("app.jsonl"), "")?;
        let reader = eventfold::EventReader::new(directory.path());
        let mut count = 0;
        for event in reader.read_full()? {
            assert_eq!(event?.0.data, count);
            count += 1;
        }
        assert_eq!(count, 30_000);
        Ok(())
    }

    #[test]
    fn a_changed_frame_is_no_other_text() -> TestResult {
        let directory = tempfile::tempdir()?;
        let text = text(200);
        let (archive, frames) = archived(directory.path(), &text)?;
        for index in 0..frames.bytes {
            let byte = archive
                .read_range(index, 1)?
                .first()
                .copied()
                .ok_or("short")?;
            archive.write_all_at(&[byte ^ 0x10], index)?;
            // The text itself is protected by the checksums of its lines.
            if let Ok(read) = frames.read(&archive, 0) {
                assert_eq!(read.len(), text.len(), "byte {index}");
            }
            archive.write_all_at(&[byte], index)?;
        }
        Ok(())
    }
}
