//! The events of a command that was answered before, as they were stored.

use std::sync::Arc;

use super::cell::{Answer, decode};
use super::guarded::{blocking, guard};
use crate::aggregate::Aggregate;
use crate::error::{Damage, StoreError};
use crate::journal::{Cursor, Journal, RecordedCommit, StreamId};

/// Reads the events of an answer. They are looked up by position, since a stream may be long.
///
/// # Errors
///
/// As reading a stream and decoding its events.
pub(crate) async fn recall<A: Aggregate>(
    journal: &Arc<dyn Journal>,
    stream: StreamId,
    answer: Answer,
) -> Result<Vec<A::DomainEvent>, StoreError> {
    let cursor = Cursor::for_commit_at(answer.first_position());
    let recent = journal.read_recent(&mut { cursor });
    if let Some(lines) = recent
        .as_deref()
        .and_then(|recent| lines(recent, &stream, answer))
    {
        return guard(
            || format!("the decoding of `{}`", A::AGGREGATE_TYPE),
            || decoded::<A>(&stream, answer, lines),
        )?;
    }
    let journal = Arc::clone(journal);
    let what = || format!("reading an answer of `{}` again", A::AGGREGATE_TYPE);
    blocking(what, move || {
        let commits = journal.read_on(&mut { cursor })?;
        match lines(&commits, &stream, answer) {
            Some(lines) => decoded::<A>(&stream, answer, lines),
            None => Err(misplaced(&*journal, &stream, answer)),
        }
    })
    .await
}

/// The lines of the answer in the first of these commits, if they are there.
fn lines<'a>(
    commits: &'a [Arc<RecordedCommit>],
    stream: &StreamId,
    answer: Answer,
) -> Option<Vec<&'a str>> {
    let commit = commits.first()?;
    let index = commit
        .appends
        .iter()
        .position(|append| append.stream == *stream)?;
    let before = commit
        .appends
        .iter()
        .take(index)
        .map(|append| append.lines.len() as u64);
    let append = commit.appends.get(index)?;
    let skipped = answer.first_version().checked_sub(append.first_version)?;
    let position = commit.first_position + before.sum::<u64>() + skipped;
    let skipped = usize::try_from(skipped).ok()?;
    let count = usize::try_from(answer.event_count).ok()?;
    let lines: Vec<_> = append.lines.iter().skip(skipped).take(count).collect();
    (position == answer.first_position() && lines.len() == count).then_some(lines)
}

fn decoded<A: Aggregate>(
    stream: &StreamId,
    answer: Answer,
    lines: Vec<&str>,
) -> Result<Vec<A::DomainEvent>, StoreError> {
    (answer.first_version()..)
        .zip(lines)
        .map(|(version, line)| decode::<A>(stream, version, line))
        .collect()
}

fn misplaced(journal: &dyn Journal, stream: &StreamId, answer: Answer) -> StoreError {
    let stored = match journal.read_stream(stream) {
        Ok(stored) => stored,
        Err(error) => return error.into(),
    };
    let before = answer.first_version().saturating_sub(1);
    let before = stored
        .text
        .lines()
        .zip(0..before)
        .map(|(line, _)| line.len() as u64 + 1);
    let reason = format!(
        "the event says that its position is {}, where the journal has another one",
        answer.first_position()
    );
    StoreError::Damaged(Arc::new(Damage::new(&stored.path, before.sum(), reason)))
}
