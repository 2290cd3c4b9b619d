//! Durable commits and their events.

use std::sync::Arc;

use smallvec::SmallVec;

use super::{RecordedLines, StreamId, StreamRef};
use crate::event::{EventError, RecordedEvent, StoredEvent};

/// A durable commit.
#[derive(Debug, Clone)]
pub(crate) struct RecordedCommit {
    pub(crate) first_position: u64,
    /// The time at which it was stored, in milliseconds since 1970, and never less than that of the commit before.
    pub(crate) time: u64,
    /// The process manager and its position, if the commit is a reaction. The position is that of the source event, unless the
    /// reaction was due to a deadline, a retry or a release.
    pub(crate) reaction: Option<(Arc<str>, u64)>,
    /// Most commits append to one stream.
    pub(crate) appends: SmallVec<[RecordedAppend; 1]>,
}

impl RecordedCommit {
    pub(crate) fn event_count(&self) -> u64 {
        self.appends
            .iter()
            .map(|append| append.lines.len() as u64)
            .sum()
    }

    /// The position of its last event.
    pub(crate) fn last_position(&self) -> u64 {
        (self.first_position + self.event_count()).saturating_sub(1)
    }

    /// Its events, in their order.
    pub(crate) fn events(&self) -> impl Iterator<Item = CommittedEvent<'_>> {
        let events = self.appends.iter().flat_map(|append| {
            let events = append.events();
            events.map(|(version, line)| (append.stream.borrowed(), version, line))
        });
        let placed = (self.first_position..).zip(events);
        placed.map(|(position, (stream, version, line))| CommittedEvent {
            position,
            stream,
            version,
            time: self.time,
            line,
        })
    }

    /// The event at a position, if the commit has it.
    pub(crate) fn event_at(&self, position: u64) -> Option<CommittedEvent<'_>> {
        self.events().find(|event| event.position == position)
    }
}

/// An event of a durable commit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CommittedEvent<'a> {
    pub(crate) position: u64,
    pub(crate) stream: StreamRef<'a>,
    /// The version of the stream after the event.
    pub(crate) version: u64,
    /// The time of its commit, in milliseconds since 1970.
    pub(crate) time: u64,
    /// One eventfold event, as JSON without a newline.
    pub(crate) line: &'a str,
}

impl<'a> CommittedEvent<'a> {
    pub(crate) fn stored(&self) -> Result<StoredEvent<'a>, EventError> {
        StoredEvent::of_line(self.position, self.version, self.line)
    }

    pub(crate) fn read(&self) -> Result<RecordedEvent, serde_json::Error> {
        let event = serde_json::from_str(self.line)?;
        Ok(RecordedEvent::new(self.position, self.version, event))
    }
}

/// The events that a durable commit appended to one stream.
#[derive(Debug, Clone)]
pub(crate) struct RecordedAppend {
    pub(crate) stream: StreamId,
    /// The version of the first line.
    pub(crate) first_version: u64,
    pub(crate) lines: RecordedLines,
}

impl RecordedAppend {
    /// Its events, each with its version, as JSON without a newline.
    pub(crate) fn events(&self) -> impl Iterator<Item = (u64, &str)> {
        (self.first_version..).zip(self.lines.iter())
    }
}
