//! Reading the durable commits in order: the latest commits from memory, older commits from the journal's file.

use std::borrow::Borrow;
use std::cell::Cell;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::journal::local::appends::lock;
use crate::journal::local::line::{self, LineError};
use crate::journal::local::line_read::{CommitEvents, RowLine};
use crate::journal::local::log::{JournalLog, Parts, each_line};
use crate::journal::local::scan::Tip;
use crate::journal::{
    Cursor, EventChunk, Followers, JournalError, PastReaction, PastReactions, RecordedAppend,
    RecordedCommit, RecordedLines, StreamId, TextPlace,
};

/// The number of bytes of the journal that stay in memory for followers.
const RECENT_BYTES: usize = 8 << 20;
/// The distance of the entries of the index, in bytes of the journal.
const INDEX_STEP: u64 = 64 << 10;
/// The maximum number of entries in the index. Beyond it, older entries are further apart.
const INDEX_ENTRIES: usize = 8192;
/// The number of bytes that one read takes from the file.
const READ_BYTES: u64 = 1 << 20;

/// The place in the file of the events from a position on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(in crate::journal::local) struct IndexEntry {
    /// The first position of a commit.
    pub(in crate::journal::local) position: u64,
    /// The start of its line.
    pub(in crate::journal::local) offset: u64,
}

/// The durable part of the journal, for readers.
pub(in crate::journal::local) struct History {
    log: Arc<JournalLog>,
    recent: Mutex<Recent>,
    index: Mutex<Vec<IndexEntry>>,
    /// The end of the last durable line in the file.
    end: AtomicU64,
    /// They know the position of the last durable event.
    pub(in crate::journal::local) followers: Arc<Followers>,
}

#[derive(Default)]
struct Recent {
    /// Each commit with the length of its line.
    commits: VecDeque<(Arc<RecordedCommit>, usize)>,
    bytes: usize,
}

impl History {
    pub(in crate::journal::local) fn new(
        log: Arc<JournalLog>,
        index: Vec<IndexEntry>,
        end: u64,
        position: u64,
    ) -> Self {
        Self {
            log,
            recent: Mutex::default(),
            index: Mutex::new(index),
            end: AtomicU64::new(end),
            followers: Followers::new(position),
        }
    }

    /// The end of the last durable line.
    pub(in crate::journal::local) fn end(&self) -> u64 {
        self.end.load(Ordering::Acquire)
    }

    /// The entries of the active file. Segments have their own entries.
    pub(in crate::journal::local) fn index(&self) -> Vec<IndexEntry> {
        let start = self.log.parts().start();
        let mut index = lock(&self.index);
        index.retain(|entry| entry.offset >= start);
        index.clone()
    }

    /// Adds a durable commit whose line starts at `offset` and has `bytes` bytes. [`publish`](Self::publish) announces it.
    pub(in crate::journal::local) fn push(
        &self,
        commit: Arc<RecordedCommit>,
        offset: u64,
        bytes: u64,
    ) {
        if commit.event_count() == 0 {
            return;
        }
        note(&mut lock(&self.index), commit.first_position, offset);
        self.followers.note(&commit);
        let mut recent = lock(&self.recent);
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        recent.bytes = recent.bytes.saturating_add(bytes);
        recent.commits.push_back((commit, bytes));
        while recent.bytes > RECENT_BYTES && recent.commits.len() > 1 {
            if let Some((_, bytes)) = recent.commits.pop_front() {
                recent.bytes -= bytes;
            }
        }
    }

    /// Announces all added commits, up to `end` in the file.
    pub(in crate::journal::local) fn publish(&self, end: u64, position: u64) {
        self.end.store(end, Ordering::Release);
        self.followers.announce(position);
    }

    /// The commits behind the cursor, if the first of them is still in memory.
    pub(in crate::journal::local) fn read_recent(
        &self,
        cursor: &mut Cursor,
    ) -> Option<Vec<Arc<RecordedCommit>>> {
        let durable = self.followers.position();
        if cursor.position >= durable {
            return Some(Vec::new());
        }
        let recent = lock(&self.recent);
        let (oldest, _) = recent.commits.front()?;
        if oldest.first_position > cursor.position + 1 {
            return None;
        }
        let start = recent
            .commits
            .partition_point(|(commit, _)| commit.last_position() <= cursor.position);
        let mut bytes = 0;
        let mut read = Vec::new();
        for (commit, line_bytes) in recent.commits.range(start..) {
            let is_enough = bytes > READ_BYTES as usize || cursor.is_for_one && bytes > 0;
            if commit.last_position() > durable || is_enough {
                break;
            }
            bytes += line_bytes;
            cursor.position = commit.last_position();
            cursor.hint = 0;
            read.push(Arc::clone(commit));
        }
        Some(read)
    }

    pub(in crate::journal::local) fn read_on(
        &self,
        cursor: &mut Cursor,
    ) -> Result<Vec<Arc<RecordedCommit>>, JournalError> {
        match self.read_recent(cursor) {
            Some(read) => Ok(read),
            None => self.read_file(cursor),
        }
    }

    /// The events of [`read_on`](Self::read_on), in the memory of an earlier chunk.
    pub(in crate::journal::local) fn read_events(
        &self,
        cursor: &mut Cursor,
        bytes: u64,
        mut chunk: EventChunk,
    ) -> Result<EventChunk, JournalError> {
        if let Some(read) = self.read_recent(cursor) {
            return Ok(EventChunk::of_commits(read));
        }
        let memory = Cell::new(chunk.restart());
        let read = |file: &Parts, range| text_in(file, range, bytes, memory.take());
        let text = self.scan_file(cursor, read, |text, commit| add(&mut chunk, text, commit))?;
        chunk.finish(text.unwrap_or_default());
        Ok(chunk)
    }

    /// The text from a place on, whose events [`find_events`](Self::find_events) finds.
    pub(in crate::journal::local) fn read_text(
        &self,
        place: &mut TextPlace,
        bytes: u64,
        mut chunk: EventChunk,
    ) -> Result<Option<EventChunk>, JournalError> {
        // In this order, as in `scan_file`.
        let end = self.end.load(Ordering::Acquire);
        let file = self.log.parts();
        let offset = place.0;
        if offset >= end {
            return Ok(None);
        }
        let text = text_in(&file, offset..end, bytes, chunk.restart())?;
        let text = text.ok_or_else(|| file.endless(offset))?;
        place.0 += text.len() as u64;
        chunk.finish(text);
        (chunk.place, chunk.is_unread) = (offset, true);
        Ok(Some(chunk))
    }

    /// Finds the events in the text of a chunk.
    pub(in crate::journal::local) fn find_events(&self, chunk: &mut EventChunk) {
        if !chunk.is_unread {
            return;
        }
        let text = chunk.restart();
        let mut next = None;
        let mut begin = 0;
        for end in memchr::memchr_iter(b'\n', text.as_bytes()) {
            let line = text.get(begin..end).unwrap_or_default();
            let offset = chunk.place + begin as u64;
            begin = end + 1;
            let commit = match line::parse_events(line) {
                Ok(commit) => commit,
                Err(error) => {
                    chunk.failure = Some(self.log.parts().unreadable(offset, error));
                    break;
                }
            };
            let (first, events) = commit.positions();
            if events == 0 {
                continue;
            }
            if let Some(next) = next
                && next != first
            {
                chunk.failure = Some(missing(&self.log.parts(), offset, next, first));
                break;
            }
            match &commit {
                CommitEvents::OneAppend(append) => {
                    let id = (&*append.aggregate_type, &*append.id);
                    let lines = append.lines.iter().copied();
                    chunk.add(&text, (first, append.time), id, append.version, lines);
                }
                CommitEvents::Commit(commit) => add(chunk, &text, &commit.data),
            }
            next = Some(first + events);
        }
        chunk.finish(text);
    }

    /// Moves the cursor behind the events of a text.
    pub(in crate::journal::local) fn pass_text(
        &self,
        cursor: &mut Cursor,
        chunk: &EventChunk,
    ) -> Result<(), JournalError> {
        if let Some((first, last)) = chunk.text_positions() {
            let next = cursor.position + 1;
            if first != next {
                return Err(missing(&self.log.parts(), chunk.place, next, first));
            }
            cursor.position = last;
        }
        // The next read finds the place of unreadable text again.
        cursor.hint = match chunk.failure {
            None => chunk.place + chunk.text_bytes(),
            Some(_) => 0,
        };
        Ok(())
    }

    fn read_file(&self, cursor: &mut Cursor) -> Result<Vec<Arc<RecordedCommit>>, JournalError> {
        let (window, of_parts): (_, fn(&Parts, u64, u64) -> _) = match cursor.is_for_one {
            true => (2 * INDEX_STEP, Parts::read_cached),
            false => (READ_BYTES, Parts::read_range),
        };
        let read = |file: &Parts, range| {
            let lines = file.lines(range, window, of_parts)?;
            Ok(lines.map(|lines| Arc::new(text_of(lines))))
        };
        let (mut commits, mut types) = (Vec::new(), Vec::new());
        self.scan_file(cursor, read, |text, commit| {
            commits.push(Arc::new(recorded(commit, text, &mut types)));
        })?;
        Ok(commits)
    }

    /// Calls `found` with the next commits behind the cursor in one text of the file, and moves the cursor behind them.
    /// `read` reads whole lines of a range. The result is the last text.
    fn scan_file<T: Borrow<String>>(
        &self,
        cursor: &mut Cursor,
        read: impl Fn(&Parts, Range<u64>) -> Result<Option<T>, JournalError>,
        mut found: impl FnMut(&T, &line::CommitData<'_>),
    ) -> Result<Option<T>, JournalError> {
        // The end is loaded first: a file that is replaced meanwhile does not have the later lines.
        let end = self.end.load(Ordering::Acquire);
        let file = self.log.parts();
        let mut offset = match cursor.hint {
            0 => self.offset_of(cursor.position + 1, &file)?,
            hint => hint,
        };
        let mut last_text = None;
        let mut has_found = false;
        // The damage of lines that may be before the wanted position. The next whole line decides.
        let mut passed = None;
        while offset < end && !has_found {
            // Its memory serves for the next text.
            drop(last_text.take());
            let text = read(&file, offset..end)?.ok_or_else(|| file.endless(offset))?;
            let whole: &String = text.borrow();
            let mut begin = 0;
            for end in memchr::memchr_iter(b'\n', whole.as_bytes()) {
                let line = whole.get(begin..end).unwrap_or_default();
                begin = end + 1;
                let at = offset;
                offset += line.len() as u64 + 1;
                let commit = match line::parse_text(line) {
                    Ok(commit) => commit,
                    Err(error @ LineError::Newer(_)) => return Err(file.unreadable(at, error)),
                    Err(_) if has_found => {
                        offset = at;
                        break;
                    }
                    Err(error) => {
                        passed.get_or_insert_with(|| file.unreadable(at, error));
                        continue;
                    }
                };
                let first = commit.data.position;
                if let Some(error) = passed.take()
                    && first > cursor.position + 1
                {
                    return Err(error);
                }
                let events = commit.data.event_count();
                let last = (first + events).saturating_sub(1);
                if events == 0 || last <= cursor.position {
                    continue;
                }
                if first > cursor.position + 1 {
                    return Err(missing(&file, at, cursor.position + 1, first));
                }
                found(&text, &commit.data);
                has_found = true;
                cursor.position = last;
                if cursor.is_for_one {
                    break;
                }
            }
            cursor.hint = offset;
            last_text = Some(text);
        }
        match passed.filter(|_| !has_found) {
            Some(error) => Err(error),
            None => Ok(last_text),
        }
    }

    /// The results of past reactions of a process manager, in the next part of the file.
    pub(in crate::journal::local) fn past_reactions(
        &self,
        past: &mut PastReactions,
    ) -> Result<Vec<PastReaction>, JournalError> {
        // In this order, as in `read_file`.
        let end = self.end.load(Ordering::Acquire);
        let file = self.log.parts();
        let mut found = Vec::new();
        if past.offset >= end {
            past.is_read = true;
            return Ok(found);
        }
        let lines = file.lines(past.offset..end, READ_BYTES, Parts::read_range)?;
        let lines = lines.ok_or_else(|| file.endless(past.offset))?;
        for (at, line) in each_line(&lines, past.offset) {
            let commit = line::parse(line).map_err(|error| file.unreadable(at, error))?;
            let reactions = commit.data.process_managers.iter();
            for reaction in reactions.filter(|found| *found.name == *past.process_manager) {
                let rows = reaction.rows.iter();
                let rows = rows.filter(|row| row.key.starts_with(past.prefix));
                let reaction = PastReaction {
                    position: reaction.position,
                    rows: rows.map(RowLine::change).collect(),
                };
                let is_first = !std::mem::replace(&mut past.has_begun, true);
                if is_first || !reaction.rows.is_empty() {
                    found.push(reaction);
                }
            }
        }
        past.offset += lines.len() as u64;
        Ok(found)
    }

    /// The offset from which a read finds the event at a position.
    fn offset_of(&self, position: u64, file: &Parts) -> Result<u64, JournalError> {
        let found = {
            let index = lock(&self.index);
            let next = index.partition_point(|entry| entry.position <= position);
            next.checked_sub(1)
                .and_then(|found| index.get(found).copied())
        };
        match found {
            Some(entry) => Ok(entry.offset),
            None => file.find(position),
        }
    }
}

/// Adds the place behind the last commit.
pub(in crate::journal::local) fn note_end(index: &mut Vec<IndexEntry>, tip: &Tip) {
    if index.last().is_none_or(|last| last.offset < tip.offset) {
        index.push(IndexEntry {
            position: tip.position + 1,
            offset: tip.offset,
        });
    }
}

/// Adds an entry to the index if the last entry is far enough away.
pub(in crate::journal::local) fn note(index: &mut Vec<IndexEntry>, position: u64, offset: u64) {
    let is_due = index
        .last()
        .is_none_or(|last| offset >= last.offset + INDEX_STEP && position > last.position);
    if is_due {
        index.push(IndexEntry { position, offset });
    }
    if index.len() > INDEX_ENTRIES {
        let mut is_kept = false;
        index.retain(|_| {
            is_kept = !is_kept;
            is_kept
        });
    }
}

/// The text of bytes that were read. Invalid UTF-8 is replaced by text of the same length, which fails the checksum of its
/// line.
pub(in crate::journal::local) fn text_of(mut bytes: Vec<u8>) -> String {
    loop {
        match String::from_utf8(bytes) {
            Ok(text) => return text,
            Err(error) => {
                let start = error.utf8_error().valid_up_to();
                let length = error.utf8_error().error_len();
                bytes = error.into_bytes();
                let end = length.map_or(bytes.len(), |length| start + length);
                bytes.get_mut(start..end).unwrap_or_default().fill(b'?');
            }
        }
    }
}

/// The error of a commit at an offset that does not begin with the next position.
fn missing(file: &Parts, offset: u64, next: u64, first: u64) -> JournalError {
    let reason =
        format!("the events at position {next} are missing; the next commit begins at {first}");
    file.damage(offset, reason).into()
}

/// The whole lines at the beginning of a range, in the memory of an earlier text.
fn text_in(
    file: &Parts,
    range: Range<u64>,
    bytes: u64,
    memory: String,
) -> Result<Option<String>, JournalError> {
    let mut text = memory.into_bytes();
    let is_whole = file.lines_into(range, bytes, &mut text)?;
    Ok(is_whole.then(|| text_of(text)))
}

/// Adds the events of a commit on a line of `text`.
fn add(chunk: &mut EventChunk, text: &str, commit: &line::CommitData<'_>) {
    let mut position = commit.position;
    for stream in &commit.streams {
        let id = (&*stream.aggregate_type, &*stream.id);
        let lines = stream.lines.iter().copied();
        chunk.add(text, (position, commit.time), id, stream.version, lines);
        position += stream.lines.len() as u64;
    }
}

/// The commit on a line of `text`. The names of the few aggregate types are shared.
pub(in crate::journal::local) fn recorded(
    data: &line::CommitData<'_>,
    text: &Arc<String>,
    types: &mut Vec<Arc<str>>,
) -> RecordedCommit {
    let reaction = data.process_managers.first();
    RecordedCommit {
        first_position: data.position,
        time: data.time,
        reaction: reaction.map(|reaction| (shared(&reaction.name, types), reaction.position)),
        appends: data
            .streams
            .iter()
            .map(|stream| RecordedAppend {
                stream: StreamId {
                    aggregate_type: shared(&stream.aggregate_type, types),
                    instance_id: (*stream.id).into(),
                },
                first_version: stream.version,
                lines: RecordedLines::shared(text, &stream.lines),
            })
            .collect(),
    }
}

fn shared(name: &str, known: &mut Vec<Arc<str>>) -> Arc<str> {
    if let Some(known) = known.iter().find(|known| ***known == *name) {
        return Arc::clone(known);
    }
    let new: Arc<str> = name.into();
    known.push(Arc::clone(&new));
    new
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::local::fixture;
    use crate::journal::{CommittedEvent, Log};

    #[tokio::test]
    async fn text_has_the_events_of_the_commits_in_chunks_of_any_size()
    -> Result<(), Box<dyn std::error::Error>> {
        let directory = tempfile::tempdir()?;
        // Most of it is archived.
        let journal = fixture::open(directory.path(), 8 << 10);
        for version in 0..120 {
            for id in ["plain", "with \"escapes\" \n"] {
                let stream = StreamId::new("a", id);
                fixture::commit(&journal, &stream, 2 * version, &version.to_string()).await;
            }
        }
        let shown = |event: CommittedEvent<'_>| format!("{event:?}");
        let (mut cursor, mut expected) = (Cursor::default(), Vec::new());
        loop {
            let commits = journal.read_on(&mut cursor)?;
            if commits.is_empty() {
                break;
            }
            expected.extend(commits.iter().flat_map(|commit| commit.events()).map(shown));
        }
        assert_eq!(expected.len(), 480);
        for bytes in [1, 700, 5_000, 1 << 20] {
            let (mut cursor, mut found) = (Cursor::default(), Vec::new());
            let (mut chunk, mut place) = (EventChunk::default(), TextPlace(0));
            while let Some(read) = journal.read_text(&mut place, bytes, chunk)? {
                chunk = read;
                journal.find_events(&mut chunk);
                journal.pass_text(&mut cursor, &chunk)?;
                assert!(chunk.take_failure().is_none());
                found.extend(chunk.events().map(shown));
            }
            assert_eq!(found, expected, "{bytes}");
            assert_eq!(cursor.position, 480);
        }
        // A chunk that is left out is seen.
        let mut cursor = Cursor::default();
        let (mut place, chunk) = (TextPlace(0), EventChunk::default());
        let left_out = journal.read_text(&mut place, 1, chunk)?.ok_or("the end")?;
        let mut next = journal
            .read_text(&mut place, 1, left_out)?
            .ok_or("the end")?;
        journal.find_events(&mut next);
        let passed = journal.pass_text(&mut cursor, &next);
        assert!(passed.is_err_and(|error| error.to_string().contains("are missing")));
        Ok(())
    }

    #[test]
    fn the_index_stays_small_and_knows_its_first_entry() {
        let mut index = Vec::new();
        for commit in 0..200_000 {
            note(&mut index, commit + 1, commit * INDEX_STEP);
        }
        assert!(index.len() <= INDEX_ENTRIES && index.len() > INDEX_ENTRIES / 4);
        assert_eq!(index.first().map(|entry| entry.offset), Some(0));
        assert!(index.is_sorted_by_key(|entry| (entry.position, entry.offset)));
    }
}
