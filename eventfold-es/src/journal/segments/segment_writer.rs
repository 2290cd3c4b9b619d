//! Writing a segment, one piece of the journal's text at a time.

use std::path::{Path, PathBuf};

use super::table::{CommitPlace, FRAME_BYTES, Table};
use super::{Span, UNFINISHED};
use crate::disk::{FileError, FileHandle, Files, OpenMode};
use crate::sabotage::{Bug, planted};

/// The fast level, because a store compresses all the time.
const LEVEL: i32 = -1;
/// The distance between commits whose places are recorded.
const COMMIT_DISTANCE: u64 = 64 << 10;
/// The size of the text that is collected before it is compressed and written.
const WRITE_BYTES: usize = 256 << 10;

/// A segment under construction. Its file has a temporary name until it is complete.
pub(crate) struct SegmentWriter {
    files: Files,
    file: FileHandle,
    path: PathBuf,
    start: u64,
    first_commit: u64,
    /// The length of the text so far.
    text: u64,
    /// The end of the text that does not fill a frame yet.
    pending: Vec<u8>,
    commits: Vec<CommitPlace>,
    frames: Vec<u32>,
    written: u64,
    compressor: zstd::bulk::Compressor<'static>,
}

impl SegmentWriter {
    /// Blocks.
    pub(super) fn create(
        files: &Files,
        path: &Path,
        start: u64,
        first_commit: u64,
    ) -> Result<Self, FileError> {
        let file = files.open(
            &path.with_extension(format!("zst{UNFINISHED}")),
            OpenMode::Truncate,
        )?;
        let compressor = zstd::bulk::Compressor::new(LEVEL);
        Ok(Self {
            compressor: compressor.map_err(|error| FileError::new("compress", path, error))?,
            files: files.clone(),
            file,
            path: path.to_owned(),
            start,
            first_commit,
            text: 0,
            pending: Vec::new(),
            commits: Vec::new(),
            frames: vec![0],
            written: 0,
        })
    }

    /// Records that the next text begins with a commit whose first event has this position.
    pub(crate) fn begin_commit(&mut self, position: u64) {
        let last = self.commits.last().map(|place| place.offset);
        if last.is_none_or(|last| self.text >= last + COMMIT_DISTANCE) {
            self.commits.push(CommitPlace {
                position,
                offset: self.text,
            });
        }
    }

    /// The end of the text so far.
    pub(crate) fn end(&self) -> u64 {
        self.start + self.text
    }

    /// Adds text. Blocks.
    pub(crate) fn push(&mut self, text: &[u8]) -> Result<(), FileError> {
        self.pending.extend_from_slice(text);
        self.text += text.len() as u64;
        if self.pending.len() < WRITE_BYTES {
            return Ok(());
        }
        let whole = self.pending.len() as u64 / FRAME_BYTES * FRAME_BYTES;
        self.write_frames(usize::try_from(whole).unwrap_or(0))
    }

    fn write_frames(&mut self, length: usize) -> Result<(), FileError> {
        let length = length.min(self.pending.len());
        let whole = self.pending.get(..length).unwrap_or_default();
        let failed = |error| FileError::new("compress", &self.path, error);
        let frame_bytes = usize::try_from(FRAME_BYTES).unwrap_or(usize::MAX);
        let mut frames = Vec::with_capacity(length / 2);
        let mut frame = Vec::with_capacity(zstd::zstd_safe::compress_bound(frame_bytes));
        for text in whole.chunks(frame_bytes) {
            let compressed = self.compressor.compress_to_buffer(text, &mut frame);
            compressed.map_err(failed)?;
            frames.extend_from_slice(&frame);
            let end = u32::try_from(self.written + frames.len() as u64);
            self.frames.push(end.map_err(|_| {
                let reason = std::io::Error::other("a segment of the journal takes at most 4 GiB");
                FileError::new("write", &self.path, reason)
            })?);
        }
        self.pending.drain(..length);
        self.file.write_all_at(&frames, self.written)?;
        self.written += frames.len() as u64;
        Ok(())
    }

    /// Ends the segment, and gives it its name, both durably. Blocks.
    pub(crate) fn finish(mut self) -> Result<Span, FileError> {
        self.write_frames(self.pending.len())?;
        let table = Table {
            start: self.start,
            text: self.text,
            first_commit: self.first_commit,
            commits: self.commits,
            frames: self.frames.into(),
        };
        let table = table.encode();
        self.file.write_all_at(&table, self.written)?;
        if !planted(Bug::JournalArchiveNotSynced) {
            self.file.sync_data()?;
        }
        self.files.rename(self.file.path(), &self.path)?;
        if let Some(directory) = self.path.parent()
            && !planted(Bug::JournalArchiveNotSynced)
        {
            self.files.sync_dir(directory)?;
        }
        Ok(Span {
            start: self.start,
            end: self.start + self.text,
            bytes: self.written + table.len() as u64,
        })
    }
}
