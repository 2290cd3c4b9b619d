//! Reading the events of a stream from a version on.

use std::ops::Range;
use std::sync::Arc;

use xxhash_rust::xxh64::xxh64;

use crate::journal::index::Address;
use crate::journal::local::commit_texts::{CommitTexts, in_line};
use crate::journal::local::history::text_of;
use crate::journal::local::line::{self, append_label};
use crate::journal::local::line_read::Lines;
use crate::journal::local::log::{JournalLog, Parts};
use crate::journal::local::streams::{Indexed, StreamEntries, StreamIndex};
use crate::journal::recorded_lines::place_in;
use crate::journal::stream_piece::CommitInPiece;
use crate::journal::{
    CommitPlace, FindEvents, JournalError, StreamEnd, StreamId, StreamPiece, StreamReader,
};
use crate::sabotage::{Bug, planted};

/// The number of commits in the first piece: all of them for most streams.
const FIRST_COMMITS: usize = 64;
/// The maximum number of commits in a piece.
const MAX_COMMITS: usize = 4096;
/// The number of bytes of commits after which no further commits are in a piece.
const PIECE_BYTES: u64 = 256 << 10;

/// The events of a stream from a version on, piece by piece.
pub(in crate::journal::local) struct StreamEvents<'a> {
    streams: &'a StreamIndex,
    finder: Arc<Finder>,
    entries: StreamEntries,
    /// The number of commits in the next piece.
    commits: usize,
    /// The appends of the last piece.
    last: Vec<Indexed>,
    /// See [`Appends::drops`](super::appends::Appends::drops).
    drops: u64,
    /// The end of the part of the stream that was read so far.
    end: StreamEnd,
}

impl StreamIndex {
    /// The events of a stream behind an earlier end. Blocks.
    ///
    /// # Errors
    ///
    /// Damage, also if the stream never ended there.
    pub(in crate::journal::local) fn read(
        &self,
        stream: &StreamId,
        behind: StreamEnd,
    ) -> Result<StreamEvents<'_>, JournalError> {
        if let Some(damage) = self.appends.quarantined(stream) {
            return Err(damage.into());
        }
        let finder = Arc::new(Finder {
            log: Arc::clone(&self.log),
            label: append_label(stream),
            stream: stream.clone(),
        });
        if behind.version > 0 && !planted(Bug::SnapshotPlaceNotChecked) {
            let CommitPlace { offset, length, .. } = behind.commit;
            let parts = self.log.parts();
            let text = text_of(parts.read_cached(offset, length)?);
            let (first, lines) = finder.append_in(&parts, &text, 0..text.len(), offset)?;
            let last = first + lines.len() as u64 - 1;
            if (last, hash_of(&text)) != (behind.version, behind.commit.hash) {
                let reason = format!(
                    "the stream `{}` of `{}` does not end here at version {}",
                    stream.instance_id, stream.aggregate_type, behind.version
                );
                return Err(parts.damage(behind.commit.offset, reason).into());
            }
        }
        Ok(StreamEvents {
            streams: self,
            finder,
            drops: self.appends.drops(),
            entries: self.entries(stream, behind.version + 1..=u64::MAX)?,
            commits: FIRST_COMMITS,
            last: Vec::new(),
            end: behind,
        })
    }
}

impl StreamEvents<'_> {
    /// Takes the appends of the next piece from the index. The error follows them. Blocks.
    fn take_appends(&mut self) -> Result<(), JournalError> {
        let mut bytes = 0_u64;
        while self.last.len() < self.commits
            && bytes < PIECE_BYTES
            && let Some(indexed) = self.streams.next_entry(&mut self.entries)?
        {
            let (
                version,
                Address {
                    offset,
                    length,
                    count,
                },
            ) = indexed;
            let last = (version + count).saturating_sub(1);
            if version != self.end.version + 1 {
                let parts = self.streams.log.parts();
                let reason = self
                    .finder
                    .other_events(version, count, self.end.version + 1);
                return Err(parts.damage(offset, reason).into());
            }
            self.end.version = last;
            self.last.push(indexed);
            bytes = bytes.saturating_add(length);
        }
        // Most streams are short. The first pieces of a long stream come early, so that another thread helps with the others.
        self.commits = (4 * self.commits).min(MAX_COMMITS);
        Ok(())
    }
}

impl StreamReader for StreamEvents<'_> {
    fn read(&mut self, piece: &mut StreamPiece) -> Result<bool, JournalError> {
        let memory = piece.restart(self.end.version + 1);
        self.last.clear();
        piece.failure = self.take_appends().err();
        if self.last.is_empty() {
            if let Some(failure) = piece.take_failure() {
                return Err(failure);
            }
            let (version, stream) = (self.end.version, &self.finder.stream);
            self.streams.appends.learn(stream, version, self.drops);
            return Ok(false);
        }
        let read = self.streams.read_commits(&self.last, memory);
        let CommitTexts {
            text,
            places,
            failure,
        } = read;
        if failure.is_some() {
            piece.failure = failure;
        }
        let commits = self.last.iter().zip(&places);
        piece
            .commits
            .extend(commits.map(|((version, address), place)| CommitInPiece {
                version: *version,
                address: *address,
                place: place.clone(),
            }));
        if let Some(CommitInPiece { address, place, .. }) = piece.commits.last() {
            self.end.commit = CommitPlace {
                offset: address.offset,
                length: address.length,
                hash: hash_of(text.get(place.clone()).unwrap_or_default()),
            };
        }
        piece.finish(text);
        Ok(true)
    }

    fn finder(&self) -> Arc<dyn FindEvents> {
        Arc::clone(&self.finder) as _
    }

    fn end(&self) -> StreamEnd {
        self.end
    }

    fn damage(&self, version: u64, reason: String) -> JournalError {
        let next = self.last.partition_point(|(first, _)| *first <= version);
        let append = next.checked_sub(1).and_then(|index| self.last.get(index));
        let offset = append.map_or(self.end.commit.offset, |(_, address)| address.offset);
        self.streams.log.parts().damage(offset, reason).into()
    }
}

/// Finds the events of a stream.
struct Finder {
    log: Arc<JournalLog>,
    stream: StreamId,
    /// See [`append_label`].
    label: String,
}

impl FindEvents for Finder {
    fn find(&self, piece: &mut StreamPiece) {
        let (text, mut commits) = piece.take_commits();
        let parts = self.log.parts();
        for CommitInPiece {
            version,
            address,
            place,
        } in commits.drain(..)
        {
            let Address { offset, count, .. } = address;
            let found = self
                .append_in(&parts, &text, place, offset)
                .and_then(|(first, lines)| {
                    let found = lines.len() as u64;
                    if (first, found) != (version, count) {
                        let reason = self.other_events(first, found, version);
                        return Err(parts.damage(offset, reason).into());
                    }
                    Ok(lines)
                });
            match found {
                Ok(lines) => lines
                    .iter()
                    .for_each(|line| piece.add(place_in(&text, line))),
                Err(failure) => {
                    piece.failure = Some(failure);
                    break;
                }
            }
        }
        piece.commits = commits;
        piece.finish(text);
    }
}

impl Finder {
    /// The version of the first event, and the lines of the events, that the commit with this place in a text appends to the
    /// stream.
    fn append_in<'a>(
        &self,
        parts: &Parts,
        text: &'a str,
        place: Range<usize>,
        offset: u64,
    ) -> Result<(u64, Lines<'a>), JournalError> {
        let Self { stream, label, .. } = self;
        let parse = |line: &'a str| line::parse_append(line, stream, label);
        in_line(parts, text, place, offset, parse)?.ok_or_else(|| {
            let reason = format!(
                "the commit adds nothing to the stream `{}` of `{}`, contrary to the index",
                stream.instance_id, stream.aggregate_type
            );
            parts.damage(offset, reason).into()
        })
    }

    fn other_events(&self, first: u64, count: u64, expected: u64) -> String {
        format!(
            "the commit adds the events {first} to {} to the stream `{}` of `{}`, where event {expected} was expected",
            (first + count).saturating_sub(1),
            self.stream.instance_id,
            self.stream.aggregate_type,
        )
    }
}

/// The hash of the line of a commit, without its newline.
fn hash_of(line: &str) -> u64 {
    xxh64(line.strip_suffix('\n').unwrap_or(line).as_bytes(), 0)
}

#[cfg(test)]
#[expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a panic is how a test fails"
)]
mod tests;
