//! Reading a stream piece by piece, from either end. The index has no way back, so that a piece is looked for from its lower bound.

use std::ops::{Range, RangeInclusive};
use std::sync::Arc;

use crate::journal::local::commit_texts::CommitTexts;
use crate::journal::local::streams::{Indexed, StreamIndex};
use crate::journal::{JournalError, RecordedCommit, StreamId, StreamPart};

/// The maximum number of commits that are read at once.
const AHEAD_COMMITS: usize = 64;
/// The number of bytes of commits after which no further commits are read at once.
const AHEAD_BYTES: u64 = 1 << 20;

/// The version of the last event of an append.
fn last_of((version, address): &Indexed) -> u64 {
    version.saturating_add(address.count).saturating_sub(1)
}

impl StreamIndex {
    /// See [`Streams::read_part`](crate::journal::Streams::read_part).
    pub(in crate::journal::local) fn read_part(
        &self,
        stream: &StreamId,
        part: &StreamPart,
    ) -> Result<Vec<RecordedCommit>, JournalError> {
        if let Some(damage) = self.appends.quarantined(stream) {
            return Err(damage.into());
        }
        let (first, last) = (part.first.max(1), part.last.min(self.end_of(stream)?));
        if first > last || part.limit == 0 {
            return Ok(Vec::new());
        }
        // Each commit has at least one event.
        let further = part.limit.min(AHEAD_COMMITS as u64) - 1;
        let mut piece = match part.is_backwards {
            true => self.appends_in(stream, first.max(last.saturating_sub(further))..=last)?,
            false => self.appends_in(stream, first..=last.min(first.saturating_add(further)))?,
        };
        // The append with the event where reading begins may begin before the piece.
        match part.is_backwards {
            true if piece.is_empty() => piece.push(self.append_with(stream, last)?),
            false if piece.first().is_none_or(|append| append.0 > first) => {
                piece.insert(0, self.append_with(stream, first)?);
            }
            _ => {}
        }
        let is_whole = piece.is_sorted_by(|append, next| next.0 == last_of(append) + 1)
            && match part.is_backwards {
                true => piece.last().is_some_and(|append| last_of(append) >= last),
                false => piece.first().is_some_and(|append| last_of(append) >= first),
            };
        if !is_whole {
            return self.index.noted(Err(self.index.malformed().into()));
        }
        let mut bytes = 0_u64;
        let mut is_kept = |append: &&Indexed| {
            let is_kept = bytes < AHEAD_BYTES;
            bytes = bytes.saturating_add(append.1.length);
            is_kept
        };
        match part.is_backwards {
            true => {
                let kept = piece.iter().rev().take_while(&mut is_kept).count();
                piece.drain(..piece.len() - kept);
            }
            false => {
                let kept = piece.iter().take_while(&mut is_kept).count();
                piece.truncate(kept);
            }
        }
        let CommitTexts {
            text,
            places,
            failure,
        } = self.read_commits(&piece, String::new());
        if let Some(failure) = failure {
            return Err(failure);
        }
        let (text, commits) = (Arc::new(text), piece.into_iter().zip(places));
        commits
            .map(|(append, place)| self.commit_with(stream, append, &text, place))
            .collect()
    }

    /// The commit on a line that was read where the index has an append to the stream.
    fn commit_with(
        &self,
        stream: &StreamId,
        (version, address): Indexed,
        text: &Arc<String>,
        place: Range<usize>,
    ) -> Result<RecordedCommit, JournalError> {
        let commit = self.commit_in(text, place, address.offset)?;
        let is_indexed = commit.appends.iter().any(|append| {
            append.stream == *stream
                && (append.first_version, append.lines.len() as u64) == (version, address.count)
        });
        if !is_indexed {
            let reason = format!(
                "the commit adds other events to the stream `{}` of `{}` than the index tells",
                stream.instance_id, stream.aggregate_type
            );
            let parts = self.log.parts();
            return Err(parts.damage(address.offset, reason).into());
        }
        Ok(commit)
    }

    /// The appends that begin with one of these versions. Blocks.
    fn appends_in(
        &self,
        stream: &StreamId,
        versions: RangeInclusive<u64>,
    ) -> Result<Vec<Indexed>, JournalError> {
        let mut found = Vec::new();
        let mut entries = self.entries(stream, versions.clone())?;
        while let Some(append) = self.next_entry(&mut entries)?
            && append.0 <= *versions.end()
        {
            found.push(append);
        }
        Ok(found)
    }

    /// The append with an event that the stream has. Blocks.
    fn append_with(&self, stream: &StreamId, version: u64) -> Result<Indexed, JournalError> {
        let mut back = 0;
        loop {
            let from = version.saturating_sub(back);
            let mut entries = self.entries(stream, from..=version)?;
            let mut found = None;
            while let Some(append) = self.next_entry(&mut entries)?
                && append.0 <= version
            {
                found = Some(append);
            }
            match found {
                Some(append) => return Ok(append),
                None if from == 0 => {
                    return self.index.noted(Err(self.index.malformed().into()));
                }
                None => back = 2 * back + 1,
            }
        }
    }

    /// The version of the stream, found with few looks into the index where it is not known. Blocks.
    fn end_of(&self, stream: &StreamId) -> Result<u64, JournalError> {
        if let Some(version) = self.appends.version(stream) {
            return Ok(version);
        }
        let drops = self.appends.drops();
        // The last append that is known, and a version from which on there is none.
        let (mut end, mut beyond, mut step) = (0_u64, None::<u64>, 1_u64);
        loop {
            let next = end.saturating_add(1);
            let from = match beyond {
                None => end.saturating_add(step),
                Some(beyond) if next >= beyond => break,
                Some(beyond) => next + (beyond - next) / 2,
            };
            let mut entries = self.entries(stream, from..=u64::MAX)?;
            match self.next_entry(&mut entries)? {
                Some(append) => end = last_of(&append),
                None => beyond = Some(from),
            }
            step = step.saturating_mul(2);
        }
        self.appends.learn(stream, end, drops);
        Ok(end)
    }
}
