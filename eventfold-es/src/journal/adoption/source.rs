//! The bytes of one stream of 0.2.0, line by line, without an open descriptor between reads.

use std::path::PathBuf;

use super::archive;
use super::piece::Piece;
use crate::disk::{FileError, Files, OpenMode};

/// The minimum number of bytes of an archive that are decompressed at once. Each time, everything before them is decompressed
/// too.
const ARCHIVE_BYTES: u64 = 1 << 20;
/// The maximum number of times that an archive is decompressed.
const ARCHIVE_READS: u64 = 32;

/// The files and pieces with the events of a stream.
#[derive(Debug, Clone)]
pub(super) struct StreamSource {
    pub(super) log: PathBuf,
    pub(super) archive: PathBuf,
    pub(super) pieces: Vec<Piece>,
}

/// A line of a stream, as stored.
pub(super) struct RawLine {
    /// The index of its piece.
    pub(super) piece: usize,
    /// Its start, in the offsets of the piece.
    pub(super) start: u64,
    /// Without its newline.
    pub(super) bytes: Vec<u8>,
    pub(super) has_newline: bool,
}

/// Reads a source from its beginning, chunk by chunk.
pub(super) struct LineReader {
    source: StreamSource,
    piece: usize,
    offset: u64,
    /// The number of bytes of the log that are read at once.
    chunk: u64,
    window: Window,
}

/// Bytes that were read.
#[derive(Default)]
struct Window {
    is_archived: bool,
    start: u64,
    bytes: Vec<u8>,
}

impl LineReader {
    pub(super) fn new(source: StreamSource, chunk: u64) -> Self {
        Self {
            offset: source.pieces.first().map_or(0, |piece| piece.start),
            source,
            piece: 0,
            chunk,
            window: Window::default(),
        }
    }

    pub(super) fn next_line(&mut self, files: &Files) -> Result<Option<RawLine>, FileError> {
        let piece = loop {
            match self.source.pieces.get(self.piece) {
                None => return Ok(None),
                Some(piece) if self.offset < piece.end => break *piece,
                Some(_) => {
                    self.piece += 1;
                    let next = self.source.pieces.get(self.piece);
                    self.offset = next.map_or(0, |piece| piece.start);
                }
            }
        };
        let mut line = RawLine {
            piece: self.piece,
            start: self.offset,
            bytes: Vec::new(),
            has_newline: false,
        };
        while self.offset < piece.end && !line.has_newline {
            self.read(files, piece)?;
            let bytes = self.window.from(self.offset, piece.end);
            if bytes.is_empty() {
                let path = self.path(piece);
                let error = std::io::Error::other("it was changed while it was adopted");
                return Err(FileError::new("read", path, error));
            }
            match bytes.iter().position(|byte| *byte == b'\n') {
                Some(newline) => {
                    line.bytes.extend(bytes.iter().take(newline));
                    line.has_newline = true;
                    self.offset += newline as u64 + 1;
                }
                None => {
                    line.bytes.extend_from_slice(bytes);
                    self.offset += bytes.len() as u64;
                }
            }
        }
        Ok(Some(line))
    }

    fn path(&self, piece: Piece) -> &PathBuf {
        if piece.is_archived {
            &self.source.archive
        } else {
            &self.source.log
        }
    }

    /// Loads the bytes from the offset on into the window.
    fn read(&mut self, files: &Files, piece: Piece) -> Result<(), FileError> {
        if self.window.is_archived == piece.is_archived
            && !self.window.from(self.offset, piece.end).is_empty()
        {
            return Ok(());
        }
        let offset = self.offset;
        let path = self.path(piece);
        let bytes = if piece.is_archived {
            let archived = self.source.pieces.iter().filter(|piece| piece.is_archived);
            let length = archived.map(|piece| piece.end).max().unwrap_or_default();
            archive::read(
                files,
                path,
                offset,
                ARCHIVE_BYTES.max(length / ARCHIVE_READS),
            )?
        } else {
            let length = self.chunk.min(piece.end - offset);
            files
                .open(path, OpenMode::Read)?
                .read_range(offset, length)?
        };
        self.window = Window {
            is_archived: piece.is_archived,
            start: offset,
            bytes,
        };
        Ok(())
    }
}

impl Window {
    /// The bytes from `offset` to `end` that the window holds.
    fn from(&self, offset: u64, end: u64) -> &[u8] {
        let Some(skipped) = offset.checked_sub(self.start) else {
            return &[];
        };
        let count = usize::try_from(end - offset).unwrap_or(usize::MAX);
        let rest = usize::try_from(skipped)
            .ok()
            .and_then(|skipped| self.bytes.get(skipped..))
            .unwrap_or_default();
        rest.get(..count).unwrap_or(rest)
    }
}
