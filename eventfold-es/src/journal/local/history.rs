//! Reading what is durable, in order: the latest commits from memory, older ones from the journal's file.

use std::collections::VecDeque;
use std::str::Utf8Error;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use tokio::sync::watch;

use super::line;
use super::line_read::RowLine;
use super::log::{JournalLog, Parts};
use super::streams::lock;
use crate::journal::{
    Cursor, JournalError, PastReaction, PastReactions, RecordedAppend, RecordedCommit,
    RecordedLines, StreamId,
};

/// How many bytes of the journal stay in memory for those who follow.
const RECENT_BYTES: usize = 8 << 20;
/// The distance of the entries of the index, in bytes of the journal.
const INDEX_STEP: u64 = 64 << 10;
/// How many entries the index has at most; older ones are further apart then.
const INDEX_ENTRIES: usize = 8192;
/// How much of the file one read takes.
const READ_BYTES: u64 = 1 << 20;

/// Where in the file the events from a position on are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct IndexEntry {
    /// The first position of a commit.
    pub(super) position: u64,
    /// Where its line starts.
    pub(super) offset: u64,
}

/// The durable part of the journal, to be read.
pub(super) struct History {
    log: Arc<JournalLog>,
    recent: Mutex<Recent>,
    index: Mutex<Vec<IndexEntry>>,
    /// The end of the last durable line in the file.
    end: AtomicU64,
    durable: watch::Sender<u64>,
}

#[derive(Default)]
struct Recent {
    /// Each with the length of its line.
    commits: VecDeque<(Arc<RecordedCommit>, usize)>,
    bytes: usize,
}

impl History {
    pub(super) fn new(
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
            durable: watch::Sender::new(position),
        }
    }

    pub(super) fn durable(&self) -> watch::Receiver<u64> {
        self.durable.subscribe()
    }

    /// The end of the last durable line.
    pub(super) fn end(&self) -> u64 {
        self.end.load(Ordering::Acquire)
    }

    /// The entries of the active file; segments have their own.
    pub(super) fn index(&self) -> Vec<IndexEntry> {
        let start = self.log.parts().start();
        let mut index = lock(&self.index);
        index.retain(|entry| entry.offset >= start);
        index.clone()
    }

    /// Adds a durable commit whose line starts at `offset` and has so many bytes; not yet announced.
    pub(super) fn push(&self, commit: Arc<RecordedCommit>, offset: u64, bytes: usize) {
        if commit.event_count() == 0 {
            return;
        }
        note(&mut lock(&self.index), commit.first_position, offset);
        let mut recent = lock(&self.recent);
        recent.bytes += bytes;
        recent.commits.push_back((commit, bytes));
        while recent.bytes > RECENT_BYTES && recent.commits.len() > 1 {
            if let Some((_, bytes)) = recent.commits.pop_front() {
                recent.bytes -= bytes;
            }
        }
    }

    /// Announces everything that was pushed, up to `end` in the file.
    pub(super) fn publish(&self, end: u64, position: u64) {
        self.end.store(end, Ordering::Release);
        self.durable.send_if_modified(|durable| {
            let moved = *durable != position;
            *durable = position;
            moved
        });
    }

    /// The commits behind the cursor, if the first of them is still in memory.
    pub(super) fn read_recent(&self, cursor: &mut Cursor) -> Option<Vec<Arc<RecordedCommit>>> {
        let durable = *self.durable.borrow();
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

    pub(super) fn read_on(
        &self,
        cursor: &mut Cursor,
    ) -> Result<Vec<Arc<RecordedCommit>>, JournalError> {
        match self.read_recent(cursor) {
            Some(read) => Ok(read),
            None => self.read_file(cursor),
        }
    }

    fn read_file(&self, cursor: &mut Cursor) -> Result<Vec<Arc<RecordedCommit>>, JournalError> {
        // In this order: a file that was replaced meanwhile does not have what came later.
        let end = self.end.load(Ordering::Acquire);
        let file = self.log.parts();
        let mut offset = match cursor.hint {
            0 => self.offset_of(cursor.position + 1, &file)?,
            hint => hint,
        };
        let mut read = Vec::new();
        let mut types = Vec::new();
        let mut window = match cursor.is_for_one {
            true => 2 * INDEX_STEP,
            false => READ_BYTES,
        };
        while offset < end && read.is_empty() {
            let length = window.min(end - offset);
            let bytes = match cursor.is_for_one {
                true => file.read_cached(offset, length)?,
                false => file.read_range(offset, length)?,
            };
            let (text, not_text) = text_of(bytes);
            let text = Arc::new(text);
            let mut consumed = 0;
            for end in memchr::memchr_iter(b'\n', text.as_bytes()) {
                let line = text.get(consumed..end).unwrap_or_default();
                let at = offset + consumed as u64;
                let commit = line::parse_text(line).map_err(|error| file.unreadable(at, error))?;
                consumed = end + 1;
                if commit.data.event_count() == 0 {
                    continue;
                }
                let commit = recorded(&commit.data, &text, &mut types);
                if commit.last_position() <= cursor.position {
                    continue;
                }
                if commit.first_position > cursor.position + 1 {
                    let reason = format!(
                        "the events at position {} are missing; the next commit begins at {}",
                        cursor.position + 1,
                        commit.first_position
                    );
                    return Err(file.damage(at, reason).into());
                }
                cursor.position = commit.last_position();
                read.push(Arc::new(commit));
                if cursor.is_for_one {
                    break;
                }
            }
            if consumed == 0 {
                if let Some(error) = not_text {
                    let reason = format!("the commit is not UTF-8 text: {error}");
                    return Err(file.damage(offset, reason).into());
                }
                if offset + window >= end {
                    return Err(file.damage(offset, "the last commit has no end").into());
                }
                // One line is longer than the window.
                window *= 2;
                continue;
            }
            offset += consumed as u64;
            cursor.hint = offset;
        }
        Ok(read)
    }

    /// What reactions of a process manager have left behind, in the next part of the file.
    pub(super) fn past_reactions(
        &self,
        past: &mut PastReactions,
    ) -> Result<Vec<PastReaction>, JournalError> {
        // In this order, as in `read_file`.
        let end = self.end.load(Ordering::Acquire);
        let file = self.log.parts();
        let mut window = READ_BYTES;
        let mut found = Vec::new();
        while past.offset < end {
            let bytes = file.read_range(past.offset, window.min(end - past.offset))?;
            let mut consumed = 0;
            for line_end in memchr::memchr_iter(b'\n', &bytes) {
                let line = bytes.get(consumed..line_end).unwrap_or_default();
                let at = past.offset + consumed as u64;
                let commit = line::parse(line).map_err(|error| file.unreadable(at, error))?;
                consumed = line_end + 1;
                let reactions = commit.data.process_managers.iter();
                for reaction in reactions.filter(|found| *found.name == *past.process_manager) {
                    let rows = reaction.rows.iter().filter(|row| past.wants(&row.key));
                    let reaction = PastReaction {
                        position: reaction.position,
                        rows: rows.map(RowLine::change).collect(),
                        dead_letters: reaction
                            .dead_letters
                            .lines
                            .iter()
                            .map(|line| (*line).into())
                            .collect(),
                    };
                    let is_first = !std::mem::replace(&mut past.has_begun, true);
                    if is_first || !reaction.rows.is_empty() || !reaction.dead_letters.is_empty() {
                        found.push(reaction);
                    }
                }
            }
            if consumed == 0 {
                if past.offset + window >= end {
                    let reason = "the last commit has no end";
                    return Err(file.damage(past.offset, reason).into());
                }
                window *= 2;
                continue;
            }
            past.offset += consumed as u64;
            return Ok(found);
        }
        past.is_read = true;
        Ok(found)
    }

    /// Where to begin to read in order to find the event at a position.
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

/// Adds an entry to the index if the last one is far enough away.
pub(super) fn note(index: &mut Vec<IndexEntry>, position: u64, offset: u64) {
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

/// The text up to what is none, and what is wrong there; a character that is cut off at the end is not.
fn text_of(bytes: Vec<u8>) -> (String, Option<Utf8Error>) {
    match String::from_utf8(bytes) {
        Ok(text) => (text, None),
        Err(error) => {
            let reason = error.utf8_error();
            let mut bytes = error.into_bytes();
            bytes.truncate(reason.valid_up_to());
            let text = String::from_utf8(bytes).unwrap_or_default();
            (text, reason.error_len().map(|_| reason))
        }
    }
}

/// The commit on a line of `text`; the names of aggregate types, which are few, are shared.
fn recorded(
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
