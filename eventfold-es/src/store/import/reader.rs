//! The lines of a log with its archive. It reads some bytes at a time and keeps no descriptor open.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::path::PathBuf;

use super::ImportError;
use super::survey::Log;
use crate::disk::{FileHandle, Files, OpenMode};
use crate::error::Damage;

/// The largest piece of an archive that is decompressed at once. Each piece decompresses everything before it again.
const MAX_ARCHIVE_BYTES: u64 = 64 << 20;

/// A place in a log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct At {
    /// Whether the place is in the log. The archive comes before the log.
    pub(super) in_log: bool,
    /// The offset in the log, or in the decompressed text of the archive.
    pub(super) offset: u64,
}

impl At {
    pub(super) fn file(self, log: &Log) -> PathBuf {
        match self.in_log {
            true => log.log(),
            false => log.archive(),
        }
    }
}

/// A line, without white space around it.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) at: At,
    pub(super) text: String,
    /// Whether it is the end of the log and has no newline.
    pub(super) is_open: bool,
}

/// Reads the lines of one log.
#[derive(Debug, Default)]
pub(super) struct Reader {
    /// The place after the last read.
    at: At,
    lines: VecDeque<Line>,
    /// The bytes of these lines.
    bytes: usize,
}

impl Reader {
    pub(super) fn at(at: At) -> Self {
        Self {
            at,
            ..Self::default()
        }
    }

    /// The bytes in memory.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Drops the lines in memory. The next read gets them again.
    pub(super) fn forget(&mut self) {
        if let Some(first) = self.lines.front() {
            self.at = first.at;
        }
        self.lines = VecDeque::new();
        self.bytes = 0;
    }

    /// The next line, if any. It reads about `budget` bytes at once.
    pub(super) fn peek(
        &mut self,
        files: &Files,
        log: &Log,
        budget: u64,
    ) -> Result<Option<&Line>, ImportError> {
        while self.lines.is_empty() {
            let bytes = match self.at.in_log {
                true => self.read_log(files, log, budget)?,
                false => self.read_archive(files, log, budget)?,
            };
            match (bytes, self.at.in_log) {
                (Some(bytes), _) => self.split(log, bytes)?,
                (None, true) => return Ok(None),
                (None, false) => {
                    self.at = At {
                        in_log: true,
                        offset: 0,
                    }
                }
            }
        }
        Ok(self.lines.front())
    }

    pub(super) fn next(
        &mut self,
        files: &Files,
        log: &Log,
        budget: u64,
    ) -> Result<Option<Line>, ImportError> {
        self.peek(files, log, budget)?;
        let next = self.lines.pop_front();
        self.bytes -= next.as_ref().map_or(0, |line| line.text.len());
        Ok(next)
    }

    /// Whole lines of the log, or its rest; `None` at its end.
    fn read_log(
        &self,
        files: &Files,
        log: &Log,
        budget: u64,
    ) -> Result<Option<Vec<u8>>, ImportError> {
        if !log.has_log {
            return Ok(None);
        }
        let file = files.open(&log.log(), OpenMode::Read)?;
        let mut wanted = budget;
        loop {
            let mut bytes = file.read_range(self.at.offset, wanted)?;
            if bytes.is_empty() {
                return Ok(None);
            }
            if cut_behind_last_line(&mut bytes) || (bytes.len() as u64) < wanted {
                return Ok(Some(bytes));
            }
            wanted = wanted.saturating_mul(2);
        }
    }

    /// Whole lines of the archive, or its rest; `None` at its end.
    fn read_archive(
        &self,
        files: &Files,
        log: &Log,
        budget: u64,
    ) -> Result<Option<Vec<u8>>, ImportError> {
        if !log.has_archive {
            return Ok(None);
        }
        let path = log.archive();
        let failed = |error: io::Error| {
            let reason = format!(
                "it cannot be decompressed after its first {} bytes of text: {error}",
                self.at.offset
            );
            ImportError::Damaged(Damage::new(&path, 0, reason))
        };
        let file = Sequential {
            file: files.open(&path, OpenMode::Read)?,
            offset: 0,
        };
        let mut decoder = zstd::Decoder::new(file).map_err(failed)?;
        let skipped = io::copy(&mut decoder.by_ref().take(self.at.offset), &mut io::sink());
        skipped.map_err(failed)?;
        let wanted = (self.at.offset / 8).clamp(budget, MAX_ARCHIVE_BYTES.max(budget));
        let mut bytes = Vec::new();
        loop {
            let before = bytes.len();
            let more = decoder.by_ref().take(wanted).read_to_end(&mut bytes);
            more.map_err(failed)?;
            if bytes.is_empty() {
                return Ok(None);
            }
            if cut_behind_last_line(&mut bytes) || bytes.len() == before {
                return Ok(Some(bytes));
            }
        }
    }

    fn split(&mut self, log: &Log, bytes: Vec<u8>) -> Result<(), ImportError> {
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            let at = self.at;
            self.at.offset += line.len() as u64;
            let text = std::str::from_utf8(line).map_err(|error| {
                let reason = format!("the line is not UTF-8 text: {error}");
                damage(log, at, reason)
            })?;
            let is_open = at.in_log && !text.ends_with('\n');
            let text = text.trim_matches([' ', '\t', '\r', '\n']);
            if !text.is_empty() {
                self.bytes += text.len();
                self.lines.push_back(Line {
                    at,
                    text: text.to_owned(),
                    is_open,
                });
            }
        }
        Ok(())
    }
}

/// Damage of a line.
pub(super) fn damage(log: &Log, at: At, reason: String) -> ImportError {
    ImportError::Damaged(match at.in_log {
        true => Damage::new(log.log(), at.offset, reason),
        false => Damage::new(
            log.archive(),
            at.offset,
            format!("{reason} (the offset is in the decompressed text)"),
        ),
    })
}

/// Cuts the bytes after the last newline; `false` if there is no newline.
fn cut_behind_last_line(bytes: &mut Vec<u8>) -> bool {
    match memchr::memrchr(b'\n', bytes) {
        Some(newline) => {
            bytes.truncate(newline + 1);
            true
        }
        None => false,
    }
}

/// A file that is read from its beginning.
struct Sequential {
    file: FileHandle,
    offset: u64,
}

impl Read for Sequential {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self
            .file
            .read_range(self.offset, buffer.len() as u64)
            .map_err(|error| io::Error::new(error.source.kind(), error.to_string()))?;
        if let Some(start) = buffer.get_mut(..bytes.len()) {
            start.copy_from_slice(&bytes);
        }
        self.offset += bytes.len() as u64;
        Ok(bytes.len())
    }
}
