//! The events of many commits, as they are read to be handled once.

use std::iter;
use std::ops::Range;
use std::sync::Arc;

use super::recorded_lines::place_in;
use super::{CommittedEvent, JournalError, RecordedCommit, StreamRef};

/// The events of consecutive commits. Events from the journal's files share one text, and no event has an allocation of its
/// own. The memory of a used chunk serves for the next chunk.
#[derive(Debug, Default)]
pub(crate) struct EventChunk {
    /// From memory.
    commits: Vec<Arc<RecordedCommit>>,
    /// From the files.
    read: ReadEvents,
    /// The place in the journal of the text. Only the journal knows its meaning.
    pub(super) place: u64,
    /// Whether the events in the text were not found yet.
    pub(super) is_unread: bool,
    /// The reason why the events end before the text.
    pub(super) failure: Option<JournalError>,
}

/// Events from the journal's files.
#[derive(Debug, Default)]
struct ReadEvents {
    text: String,
    /// The names of the aggregate types.
    types: Vec<Arc<str>>,
    /// The stream ids that are written with escapes.
    escaped: Vec<Box<str>>,
    events: Vec<ReadEvent>,
}

#[derive(Debug, Clone)]
struct ReadEvent {
    position: u64,
    version: u64,
    time: u64,
    aggregate_type: usize,
    id: IdPlace,
    line: Range<usize>,
}

#[derive(Debug, Clone)]
enum IdPlace {
    Text(Range<usize>),
    Escaped(usize),
}

/// A place among the events of a chunk.
#[derive(Debug, Default, Clone)]
pub(crate) struct EventPlace {
    /// The place among the commits.
    commit: usize,
    append: usize,
    line: usize,
    /// The number of passed events of the commit.
    passed: u64,
    /// The place among the events from the files.
    read: usize,
}

impl EventChunk {
    pub(crate) fn of_commits(commits: Vec<Arc<RecordedCommit>>) -> Self {
        Self {
            commits,
            ..Self::default()
        }
    }

    /// Empties the chunk, and takes the memory of its text.
    pub(super) fn restart(&mut self) -> String {
        self.commits.clear();
        (self.is_unread, self.failure) = (false, None);
        self.read.escaped.clear();
        self.read.events.clear();
        std::mem::take(&mut self.read.text)
    }

    /// Sets the text, of which all added strings are slices.
    pub(super) fn finish(&mut self, text: String) {
        self.read.text = text;
    }

    pub(super) fn text_bytes(&self) -> u64 {
        self.read.text.len() as u64
    }

    /// The positions of the first and the last event of the text.
    pub(super) fn text_positions(&self) -> Option<(u64, u64)> {
        let events = &self.read.events;
        Some((events.first()?.position, events.last()?.position))
    }

    /// Takes the reason why the events end before the text.
    pub(crate) fn take_failure(&mut self) -> Option<JournalError> {
        self.failure.take()
    }

    /// Adds the events that the next commit appended to one stream. `lines` are slices of `text`, and so is `id`, unless it
    /// was written with escapes.
    pub(super) fn add<'a>(
        &mut self,
        text: &str,
        (position, time): (u64, u64),
        (aggregate_type, id): (&str, &str),
        version: u64,
        lines: impl Iterator<Item = &'a str>,
    ) {
        let read = &mut self.read;
        let known = read
            .types
            .iter()
            .position(|known| **known == *aggregate_type);
        let aggregate_type = known.unwrap_or_else(|| {
            read.types.push(aggregate_type.into());
            read.types.len() - 1
        });
        let id_place = place_in(text, id);
        let id = match id_place.start < text.len() && id_place.end <= text.len() {
            true => IdPlace::Text(id_place),
            false => {
                read.escaped.push(id.into());
                IdPlace::Escaped(read.escaped.len() - 1)
            }
        };
        for (index, line) in (0..).zip(lines) {
            read.events.push(ReadEvent {
                position: position + index,
                version: version + index,
                time,
                aggregate_type,
                id: id.clone(),
                line: place_in(text, line),
            });
        }
    }

    /// The events, in their order.
    pub(crate) fn events(&self) -> impl Iterator<Item = CommittedEvent<'_>> + Clone {
        let mut place = EventPlace::default();
        iter::from_fn(move || self.next(&mut place))
    }

    /// The event at a place, which moves behind it.
    pub(crate) fn next(&self, place: &mut EventPlace) -> Option<CommittedEvent<'_>> {
        while let Some(commit) = self.commits.get(place.commit) {
            let Some(append) = commit.appends.get(place.append) else {
                (place.commit, place.append, place.passed) = (place.commit + 1, 0, 0);
                continue;
            };
            let Some(line) = append.lines.get(place.line) else {
                (place.append, place.line) = (place.append + 1, 0);
                continue;
            };
            let event = CommittedEvent {
                position: commit.first_position + place.passed,
                stream: append.stream.borrowed(),
                version: append.first_version + place.line as u64,
                time: commit.time,
                line,
            };
            place.line += 1;
            place.passed += 1;
            return Some(event);
        }
        let event = self.read.events.get(place.read)?;
        place.read += 1;
        self.read.event(event)
    }
}

impl ReadEvents {
    fn event(&self, event: &ReadEvent) -> Option<CommittedEvent<'_>> {
        Some(CommittedEvent {
            position: event.position,
            stream: StreamRef {
                aggregate_type: self.types.get(event.aggregate_type)?,
                instance_id: match &event.id {
                    IdPlace::Text(place) => self.text.get(place.clone())?,
                    IdPlace::Escaped(index) => self.escaped.get(*index)?,
                },
            },
            version: event.version,
            time: event.time,
            line: self.text.get(event.line.clone())?,
        })
    }
}
