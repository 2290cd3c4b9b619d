//! The stored events of a command that was answered before.

use std::sync::Arc;

use super::cell::decode;
use super::guarded::{blocking, guard};
use crate::aggregate::Aggregate;
use crate::error::StoreError;
use crate::journal::{Answer, CommittedEvent, Cursor, Journal, RecordedCommit, StreamId};

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
    let cursor = Cursor::for_commit_at(answer.first_position);
    let recent = journal.read_recent(&mut { cursor });
    if let Some(lines) = recent
        .as_deref()
        .and_then(|recent| lines(recent, &stream, answer))
    {
        return guard(
            || format!("the decoding of `{}`", A::AGGREGATE_TYPE),
            || decoded::<A>(&stream, answer, lines.into_iter()),
        )?;
    }
    let journal = Arc::clone(journal);
    let what = || format!("reading an answer of `{}` again", A::AGGREGATE_TYPE);
    blocking(what, move || {
        let lines = journal.read_answer(&stream, &answer)?;
        decoded::<A>(&stream, answer, lines.iter().map(|line| &**line))
    })
    .await
}

/// The lines of the answer, if the first of these commits contains them.
fn lines<'a>(
    commits: &'a [Arc<RecordedCommit>],
    stream: &StreamId,
    answer: Answer,
) -> Option<Vec<&'a str>> {
    let commit = commits.first()?;
    let is_of_answer = |event: &CommittedEvent<'_>| {
        let index = event.position.checked_sub(answer.first_position);
        event.stream == stream.borrowed()
            && index == event.version.checked_sub(answer.first_version)
            && index.is_some_and(|index| index < answer.event_count())
    };
    let events = commit.events().filter(is_of_answer);
    let lines: Vec<_> = events.map(|event| event.line).collect();
    (lines.len() as u64 == answer.event_count()).then_some(lines)
}

fn decoded<'a, A: Aggregate>(
    stream: &StreamId,
    answer: Answer,
    lines: impl Iterator<Item = &'a str>,
) -> Result<Vec<A::DomainEvent>, StoreError> {
    (answer.first_version..)
        .zip(lines)
        .map(|(version, line)| decode::<A>(stream, version, line))
        .collect()
}
