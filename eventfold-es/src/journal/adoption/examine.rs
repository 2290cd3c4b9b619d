//! Examining a stream of 0.2.0: whether it can be adopted, and the last event before each cursor into it.

use eventfold::line_hash;
use serde::Deserialize;

use super::archive::{self, Unreadable};
use super::piece::Piece;
use super::source::{LineReader, RawLine, StreamSource};
use super::survey::Found;
use crate::disk::{FileError, Files, OpenMode};
use crate::journal::local::Layout;

const READ_BYTES: u64 = 1 << 20;

/// The place of a process manager or a projection in a stream: behind the line with this hash.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct OldCursor {
    pub(super) offset: u64,
    pub(super) hash: String,
}

/// The result of examining a stream.
pub(super) enum Examined {
    /// The stream has no event.
    Empty,
    Sound(Sound),
    /// The stream has a line that is not an event. In an archive, `offset` is that in the compressed file or in the
    /// decompressed text.
    Unsound {
        is_archived: bool,
        offset: u64,
        reason: String,
    },
}

/// A stream that can be adopted.
pub(super) struct Sound {
    pub(super) source: StreamSource,
    pub(super) events: u64,
    pub(super) torn: Vec<Torn>,
    /// For each cursor, the version of the event before it, if there is such an event.
    pub(super) versions: Vec<Option<u64>>,
}

/// The bytes of an incompletely written event. No caller was told that it is stored.
pub(super) struct Torn {
    pub(super) is_archived: bool,
    pub(super) offset: u64,
    pub(super) bytes: u64,
}

/// The event in a line, without the surrounding white space; `None` if the line is empty. The error is the reason why the line
/// is not an event.
pub(super) fn event(line: &[u8]) -> Result<Option<(&str, eventfold::Event)>, String> {
    let text = std::str::from_utf8(line)
        .map_err(|error| format!("the line is not UTF-8 text: {error}"))?
        .trim_matches([' ', '\t', '\r']);
    if text.is_empty() {
        return Ok(None);
    }
    match serde_json::from_str(text) {
        Ok(event) => Ok(Some((text, event))),
        Err(error) => Err(format!("the line is no event: {error}")),
    }
}

pub(super) fn examine(
    files: &Files,
    layout: &Layout,
    found: &Found,
    cursors: &[&OldCursor],
) -> Result<Examined, FileError> {
    let mut source = found.source(layout);
    let log = found.has_log.then_some(source.log.as_path());
    if found.has_archive {
        match archive::pieces(files, &source.archive, log)? {
            Ok(pieces) => source.pieces = pieces,
            Err(Unreadable { offset, reason }) => {
                return Ok(Examined::Unsound {
                    is_archived: true,
                    offset,
                    reason,
                });
            }
        }
    }
    if let Some(log) = log {
        source.pieces.push(Piece {
            is_archived: false,
            start: 0,
            end: files.open(log, OpenMode::Read)?.len()?,
        });
    }
    let mut sound = Sound {
        source: source.clone(),
        events: 0,
        torn: Vec::new(),
        versions: Vec::new(),
    };
    let mut sightings: Vec<_> = cursors.iter().copied().map(Sightings::new).collect();
    let mut lines = LineReader::new(source, READ_BYTES);
    while let Some(line) = lines.next_line(files)? {
        if let Err(reason) = sound.take(&line, &mut sightings) {
            return Ok(Examined::Unsound {
                is_archived: sound.is_archived(&line),
                offset: line.start,
                reason,
            });
        }
    }
    if sound.events == 0 && sound.torn.is_empty() && !found.has_archive {
        return Ok(Examined::Empty);
    }
    let versions = sightings.into_iter().map(|sightings| sightings.version());
    sound.versions = versions.collect();
    Ok(Examined::Sound(sound))
}

impl Sound {
    fn is_archived(&self, line: &RawLine) -> bool {
        let piece = self.source.pieces.get(line.piece);
        piece.is_some_and(|piece| piece.is_archived)
    }

    fn take(&mut self, line: &RawLine, sightings: &mut [Sightings<'_>]) -> Result<(), String> {
        if !line.has_newline {
            return self.end_torn(line);
        }
        if event(&line.bytes)?.is_none() {
            return Ok(());
        }
        self.events += 1;
        if sightings.is_empty() {
            return Ok(());
        }
        // 0.2.0 read lines without a trailing `\r\n`.
        let hash = line_hash(line.bytes.strip_suffix(b"\r").unwrap_or(&line.bytes));
        let piece = self.source.pieces.get(line.piece);
        let start = line.start - piece.map_or(0, |piece| piece.start);
        let end = start + line.bytes.len() as u64 + 1;
        for sightings in sightings.iter_mut() {
            let is_archived = piece.is_some_and(|piece| piece.is_archived);
            sightings.compare(&hash, end, self.events, is_archived);
        }
        Ok(())
    }

    /// Leaves out a last line without a newline. Of several archived parts, only the last one may end like this. Any other
    /// would be joined to the next part.
    fn end_torn(&mut self, line: &RawLine) -> Result<(), String> {
        let is_archived = self.is_archived(line);
        let next = self.source.pieces.get(line.piece + 1);
        if next.is_some_and(|next| next.is_archived) {
            return Err("an event is incomplete, and further events follow it".to_owned());
        }
        if let Some(piece) = self.source.pieces.get_mut(line.piece) {
            piece.end = line.start;
        }
        self.torn.push(Torn {
            is_archived,
            offset: line.start,
            bytes: line.bytes.len() as u64,
        });
        Ok(())
    }
}

/// The events that may be directly before a cursor.
struct Sightings<'a> {
    cursor: &'a OldCursor,
    /// The versions of events with its hash that ended at its offset in the log of their time.
    exact: Vec<u64>,
    /// The versions of events with its hash that were archived since.
    elsewhere: Vec<u64>,
}

impl<'a> Sightings<'a> {
    fn new(cursor: &'a OldCursor) -> Self {
        Self {
            cursor,
            exact: Vec::new(),
            elsewhere: Vec::new(),
        }
    }

    fn compare(&mut self, hash: &str, end: u64, version: u64, is_archived: bool) {
        if hash != self.cursor.hash {
            return;
        }
        if end == self.cursor.offset {
            self.exact.push(version);
        } else if is_archived {
            self.elsewhere.push(version);
        }
    }

    /// The version of the event, if it is unique. An archive that was rewritten has lost the ends of the logs.
    fn version(&self) -> Option<u64> {
        match (self.exact.as_slice(), self.elsewhere.as_slice()) {
            ([version], _) | ([], [version]) => Some(*version),
            _ => None,
        }
    }
}
