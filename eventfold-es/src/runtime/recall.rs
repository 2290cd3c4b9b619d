//! The stored events of a command that was answered before, or on another node.

use std::sync::Arc;

use super::cell::decode;
use super::guarded::{blocking, guard};
use crate::aggregate::Aggregate;
use crate::error::StoreError;
use crate::journal::{
    Answer, CommittedEvent, Cursor, Journal, RecordedCommit, StreamId, StreamPart,
};

/// Contiguous events of one stream in one commit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EventsOfStream {
    pub(crate) first_version: u64,
    pub(crate) first_position: u64,
    pub(crate) count: u64,
}

impl From<&Answer> for EventsOfStream {
    fn from(answer: &Answer) -> Self {
        Self {
            first_version: answer.first_version,
            first_position: answer.first_position,
            count: answer.event_count(),
        }
    }
}

impl EventsOfStream {
    fn last_version(&self) -> u64 {
        self.first_version
            .saturating_add(self.count)
            .saturating_sub(1)
    }
}

/// Reads the events of an answer.
///
/// # Errors
///
/// The errors of reading a stream and decoding its events.
pub(crate) async fn recall<A: Aggregate>(
    journal: &Arc<dyn Journal>,
    stream: StreamId,
    answer: Answer,
) -> Result<Vec<A::DomainEvent>, StoreError> {
    let events = EventsOfStream::from(&answer);
    if let Some(recent) = recall_recent::<A>(journal, &stream, events) {
        return recent;
    }
    let journal = Arc::clone(journal);
    let what = || format!("reading an answer of `{}` again", A::AGGREGATE_TYPE);
    blocking(what, move || {
        let lines = journal.read_answer(&stream, &answer)?;
        decoded::<A>(&stream, events, lines.iter().map(|line| &**line))
    })
    .await
}

/// Reads durable events by their place.
///
/// # Errors
///
/// As [`recall`]. The result has fewer events if the stream has fewer.
pub(crate) async fn recall_events<A: Aggregate>(
    journal: &Arc<dyn Journal>,
    stream: StreamId,
    events: EventsOfStream,
) -> Result<Vec<A::DomainEvent>, StoreError> {
    if events.count == 0 {
        return Ok(Vec::new());
    }
    if let Some(recent) = recall_recent::<A>(journal, &stream, events) {
        return recent;
    }
    let journal = Arc::clone(journal);
    let what = || format!("reading new events of `{}`", A::AGGREGATE_TYPE);
    blocking(what, move || {
        let part = StreamPart {
            first: events.first_version,
            last: events.last_version(),
            ..StreamPart::ALL
        };
        let commits = journal.read_part(&stream, &part)?;
        let appends = commits.iter().flat_map(|commit| &commit.appends);
        let lines = appends
            .filter(|append| append.stream == stream)
            .flat_map(|append| append.events())
            .filter(|(version, _)| (part.first..=part.last).contains(version));
        decoded::<A>(&stream, events, lines.map(|(_, line)| line))
    })
    .await
}

/// The events, if they are still in memory.
fn recall_recent<A: Aggregate>(
    journal: &Arc<dyn Journal>,
    stream: &StreamId,
    events: EventsOfStream,
) -> Option<Result<Vec<A::DomainEvent>, StoreError>> {
    let cursor = Cursor::for_commit_at(events.first_position);
    let recent = journal.read_recent(&mut { cursor })?;
    let lines = lines(&recent, stream, events)?;
    let decoded = guard(
        || format!("the decoding of `{}`", A::AGGREGATE_TYPE),
        || decoded::<A>(stream, events, lines.into_iter()),
    );
    Some(decoded.and_then(|decoded| decoded))
}

/// The lines of the events, if the first of these commits contains them.
fn lines<'a>(
    commits: &'a [Arc<RecordedCommit>],
    stream: &StreamId,
    events: EventsOfStream,
) -> Option<Vec<&'a str>> {
    let commit = commits.first()?;
    let found = commit.events();
    let found = found.filter(|event| is_of(event, stream, events));
    let lines: Vec<_> = found.map(|event| event.line).collect();
    (lines.len() as u64 == events.count).then_some(lines)
}

fn is_of(event: &CommittedEvent<'_>, stream: &StreamId, events: EventsOfStream) -> bool {
    let index = event.position.checked_sub(events.first_position);
    event.stream == stream.borrowed()
        && index == event.version.checked_sub(events.first_version)
        && index.is_some_and(|index| index < events.count)
}

fn decoded<'a, A: Aggregate>(
    stream: &StreamId,
    events: EventsOfStream,
    lines: impl Iterator<Item = &'a str>,
) -> Result<Vec<A::DomainEvent>, StoreError> {
    (events.first_version..)
        .zip(lines)
        .map(|(version, line)| decode::<A>(stream, version, line))
        .collect()
}
