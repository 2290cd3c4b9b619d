use std::ops::Range;

use super::JournalError;
use super::index::Address;

/// Consecutive events of a stream. They share one text, and its memory serves for the next piece.
#[derive(Debug, Default)]
pub(crate) struct StreamPiece {
    text: String,
    /// The commits in the text whose events were not found yet.
    pub(super) commits: Vec<CommitInPiece>,
    /// The version of the first event.
    first_version: u64,
    /// The places in the text of the events, each of which is JSON without a newline.
    lines: Vec<Range<usize>>,
    /// The reason why no more events follow.
    pub(crate) failure: Option<JournalError>,
}

/// A commit that adds to a stream, according to the index.
#[derive(Debug, Clone)]
pub(super) struct CommitInPiece {
    /// The version of the first event.
    pub(super) version: u64,
    pub(super) address: Address,
    /// The place of its line in the text.
    pub(super) place: Range<usize>,
}

impl StreamPiece {
    /// Empties the piece, whose next event has this version, and takes the memory of its text.
    pub(crate) fn restart(&mut self, first_version: u64) -> String {
        self.first_version = first_version;
        self.commits.clear();
        self.lines.clear();
        std::mem::take(&mut self.text)
    }

    /// Takes the text, and the commits in it.
    pub(super) fn take_commits(&mut self) -> (String, Vec<CommitInPiece>) {
        let commits = std::mem::take(&mut self.commits);
        (std::mem::take(&mut self.text), commits)
    }

    /// Adds the next event, whose line has this place in the text.
    pub(crate) fn add(&mut self, line: Range<usize>) {
        self.lines.push(line);
    }

    /// Sets the text.
    pub(crate) fn finish(&mut self, text: String) {
        self.text = text;
    }

    /// The number of events.
    pub(crate) fn len(&self) -> usize {
        self.lines.len()
    }

    /// The version of the last event, or that before the first if there is none.
    pub(crate) fn last_version(&self) -> u64 {
        (self.first_version + self.lines.len() as u64).saturating_sub(1)
    }

    /// The events, each with its version.
    pub(crate) fn events(&self) -> impl Iterator<Item = (u64, &str)> {
        let lines = self.lines.iter();
        let lines = lines.map(|line| self.text.get(line.clone()).unwrap_or_default());
        (self.first_version..).zip(lines)
    }

    /// The event with a version, if it is in the piece.
    pub(crate) fn event(&self, version: u64) -> Option<&str> {
        let index = version.checked_sub(self.first_version)?;
        let line = self.lines.get(usize::try_from(index).ok()?)?;
        self.text.get(line.clone())
    }

    /// Takes the reason why no more events follow.
    pub(crate) fn take_failure(&mut self) -> Option<JournalError> {
        self.failure.take()
    }
}
