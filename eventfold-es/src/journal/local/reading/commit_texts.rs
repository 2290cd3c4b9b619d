//! Reading the lines of commits that the index has located.

use std::ops::Range;
use std::sync::Arc;

use crate::journal::local::history::{recorded, text_of};
use crate::journal::local::line::{self, LineError};
use crate::journal::local::log::Parts;
use crate::journal::local::streams::{Indexed, StreamIndex};
use crate::journal::{JournalError, RecordedCommit};

/// The longest gap between two commits that are read together, in bytes: approximately the text of a frame.
const GAP_BYTES: u64 = 4 << 10;

/// The lines of commits.
pub(in crate::journal::local) struct CommitTexts {
    pub(in crate::journal::local) text: String,
    /// The places of the lines in the text, in the order of the commits.
    pub(in crate::journal::local) places: Vec<Range<usize>>,
    /// The error of reading the first commit without a place.
    pub(in crate::journal::local) failure: Option<JournalError>,
}

impl StreamIndex {
    /// Reads the lines of commits; those that are close to each other in the journal are read together. `memory` serves for
    /// the text. Blocks.
    pub(in crate::journal::local) fn read_commits(
        &self,
        commits: &[Indexed],
        memory: String,
    ) -> CommitTexts {
        let parts = self.log.parts();
        let are_near = |(_, before): &Indexed, (_, next): &Indexed| {
            let end = before.offset.saturating_add(before.length);
            let gap = next.offset.checked_sub(end);
            gap.is_some_and(|gap| gap <= GAP_BYTES)
        };
        let mut read = Lines {
            bytes: memory.into_bytes(),
            ..Lines::default()
        };
        if commits.is_sorted_by(are_near) {
            read.read(&parts, commits);
            return read.into_texts();
        }
        read.bytes.clear();
        let groups = commits.chunk_by(are_near).map(<[_]>::to_vec).collect();
        let groups = self.threads.at_once(groups, move |group| {
            let mut read = Lines::default();
            read.read(&parts, group);
            read
        });
        for group in groups {
            let start = read.bytes.len();
            read.bytes.extend_from_slice(&group.bytes);
            let places = group.places.iter();
            let moved = places.map(|place| place.start + start..place.end + start);
            read.places.extend(moved);
            read.failure = group.failure;
            if read.failure.is_some() {
                break;
            }
        }
        read.into_texts()
    }

    /// The commit at an address. Blocks.
    pub(in crate::journal::local) fn commit_at(
        &self,
        offset: u64,
        length: u64,
    ) -> Result<RecordedCommit, JournalError> {
        let parts = self.log.parts();
        let text = Arc::new(text_of(parts.read_cached(offset, length)?));
        self.commit_in(&text, 0..text.len(), offset)
    }

    /// The commit whose line has this place in a text.
    pub(in crate::journal::local) fn commit_in(
        &self,
        text: &Arc<String>,
        place: Range<usize>,
        offset: u64,
    ) -> Result<RecordedCommit, JournalError> {
        let parts = self.log.parts();
        let commit = in_line(&parts, text, place, offset, line::parse_text)?;
        Ok(recorded(&commit.data, text, &mut Vec::new()))
    }
}

/// Parses the line of a commit that has this place in a text.
pub(in crate::journal::local) fn in_line<'a, T>(
    parts: &Parts,
    text: &'a str,
    place: Range<usize>,
    offset: u64,
    parse: impl FnOnce(&'a str) -> Result<T, LineError>,
) -> Result<T, JournalError> {
    let line = text.get(place);
    let line = line.and_then(|line| line.strip_suffix('\n'));
    line.ok_or_else(|| other_line(parts, offset))
        .and_then(|line| {
            parse(line).map_err(|error| match error {
                LineError::Damaged(_) if line.contains('\n') => other_line(parts, offset),
                error => parts.unreadable(offset, error),
            })
        })
}

fn other_line(parts: &Parts, offset: u64) -> JournalError {
    let reason = "the index expects a different line here";
    parts.damage(offset, reason).into()
}

/// [`CommitTexts`] while they are read.
#[derive(Default)]
struct Lines {
    bytes: Vec<u8>,
    places: Vec<Range<usize>>,
    failure: Option<JournalError>,
}

impl Lines {
    fn into_texts(self) -> CommitTexts {
        CommitTexts {
            text: text_of(self.bytes),
            places: self.places,
            failure: self.failure,
        }
    }

    /// Reads the lines of adjacent commits, in place of the present bytes. Blocks.
    fn read(&mut self, parts: &Parts, commits: &[Indexed]) {
        let mut rest = commits;
        self.places.reserve(commits.len());
        while let ([(_, first), ..], Some(last)) = (rest, rest.last()) {
            let end = |(_, address): &Indexed| address.offset.saturating_add(address.length);
            let length = end(last) - first.offset;
            let start = match self.places.is_empty() {
                true => parts
                    .read_near(first.offset, length, &mut self.bytes)
                    .map(|()| 0),
                // The read before has ended with its segment.
                false => {
                    let start = self.bytes.len();
                    let read = parts.read_cached(first.offset, length);
                    read.map(|read| {
                        self.bytes.extend_from_slice(&read);
                        start
                    })
                }
            };
            let Ok(start) = start else {
                break;
            };
            let read = (self.bytes.len() - start) as u64;
            let whole = rest.partition_point(|commit| end(commit) - first.offset <= read);
            if whole == 0 {
                break;
            }
            let (found, behind) = rest.split_at_checked(whole).unwrap_or((rest, &[]));
            self.places.extend(found.iter().map(|(_, address)| {
                let place = start + (address.offset - first.offset) as usize;
                place..place + address.length as usize
            }));
            rest = behind;
        }
        if self.places.is_empty() {
            self.bytes.clear();
        }
        // Damage between the commits does not affect them.
        for (_, address) in rest {
            match parts.read_cached(address.offset, address.length) {
                Ok(line) => {
                    let start = self.bytes.len();
                    self.bytes.extend_from_slice(&line);
                    self.places.push(start..self.bytes.len());
                }
                Err(failure) => {
                    self.failure = Some(failure);
                    return;
                }
            }
        }
    }
}
