//! A journal in memory, without paths, offsets and formats. It shows that nothing above depends on those.
//!
//! In a build with `--cfg eventfold_memory_journal` every store has one, and the tests that are not about files run on it. A
//! closed store keeps its content as long as the process: a directory that is opened again has it.

mod reader;
mod stored;
#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests;
mod writer;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use tokio::sync::{Semaphore, watch};

use reader::MemoryReader;
use stored::{Stored, StoredCommit, StoredProcessManager, StoredValue, lock};
use writer::MemoryWriter;

use super::local::queue::Queue;
use super::{
    Answer, Audience, BackupError, BackupReport, CheckState, Cursor, Damage, Followers, Inherited,
    Journal, JournalError, JournalOptions, KeyLookup, Log, Maintenance, Outcome, PastReaction,
    PastReactions, Progress, ProposedCommit, RecordedCommit, RecoveryReport, RedbFile, RedbOptions,
    Room, Row, RowRange, RowStore, SavedValue, Snapshot, Snapshots, Standing, StoredLines,
    StreamEnd, StreamId, StreamPart, StreamReader, Streams, Types, Verified, Vitals, Waiting,
};
use crate::clock::{Clock, StoreClock};
use crate::disk::Files;
use crate::error::OpenError;
use crate::replication::Membership;
use crate::threads::StoreRuntime;

/// The content of each directory that this process has opened.
static STORED: Mutex<BTreeMap<PathBuf, Arc<Mutex<Stored>>>> = Mutex::new(BTreeMap::new());

/// The content of a directory.
fn stored_in(files: &Files, base: &Path) -> Arc<Mutex<Stored>> {
    Arc::clone(lock(&STORED).entry(files.canonical(base)).or_default())
}

/// The number of commits that one call reads.
const READ_COMMITS: usize = 1000;

pub(crate) struct MemoryJournal {
    files: Files,
    base: PathBuf,
    stored: Arc<Mutex<Stored>>,
    queue: Arc<Queue>,
    followers: Arc<Followers>,
    closed: watch::Receiver<bool>,
}

impl MemoryJournal {
    pub(crate) fn open(
        files: Files,
        base: &Path,
        options: &JournalOptions,
        membership: Membership,
        clock: Arc<dyn Clock>,
        runtime: &StoreRuntime,
    ) -> Result<(Self, RecoveryReport), OpenError> {
        if let Membership::Node(replication) = membership {
            return Err(OpenError::LogUnusable {
                log: replication.log.describe(),
                reason: "a journal in memory cannot be replicated".to_owned(),
            });
        }
        let worker = runtime.journal_worker(base)?;
        let stored = stored_in(&files, base);
        let (time, position) = {
            let mut stored = lock(&stored);
            if std::mem::replace(&mut stored.is_open, true) {
                return Err(OpenError::InUse {
                    path: base.to_owned(),
                    holder: format!("process {}", std::process::id()),
                });
            }
            if options.rebuild {
                stored.snapshots.clear();
            }
            (stored.time, stored.position)
        };
        let (closed_sender, closed) = watch::channel(false);
        let journal = Self {
            files,
            base: base.to_owned(),
            stored,
            queue: Arc::new(Queue::new(
                time,
                clock,
                None,
                worker.clone(),
                Audience::new(position),
            )),
            followers: Followers::new(position),
            closed,
        };
        worker.begin(MemoryWriter {
            stored: Arc::clone(&journal.stored),
            queue: Arc::clone(&journal.queue),
            followers: Arc::clone(&journal.followers),
            closed: closed_sender,
        });
        Ok((journal, RecoveryReport::default()))
    }

    /// What `read` finds of a process manager, if it has committed anything.
    fn of<T: Default>(
        &self,
        process_manager: &str,
        read: impl FnOnce(&StoredProcessManager) -> T,
    ) -> T {
        let stored = lock(&self.stored);
        let found = stored.process_managers.get(process_manager);
        found.map(read).unwrap_or_default()
    }

    fn value(&self, place: String) -> Arc<dyn SavedValue> {
        let mut stored = lock(&self.stored);
        let value = stored.values.entry(place.clone()).or_insert_with(|| {
            let json = Mutex::default();
            Arc::new(StoredValue { place, json })
        });
        Arc::<StoredValue>::clone(value)
    }
}

impl Drop for MemoryJournal {
    fn drop(&mut self) {
        self.queue.close();
    }
}

impl Log for MemoryJournal {
    fn room(&self) -> &Arc<Semaphore> {
        self.queue.room()
    }

    fn submit(&self, room: Room, commit: ProposedCommit) -> Arc<Outcome> {
        self.queue.push(room, commit)
    }

    fn clock(&self) -> &StoreClock {
        self.queue.clock()
    }

    fn pass(&self, time: u64) -> Option<Arc<Outcome>> {
        self.queue.pass(time)
    }

    fn read_on(&self, cursor: &mut Cursor) -> Result<Vec<Arc<RecordedCommit>>, JournalError> {
        let durable = self.followers.position();
        let stored = lock(&self.stored);
        let is_read = |commit: &Arc<RecordedCommit>| commit.last_position() <= cursor.position;
        let start = stored
            .commits
            .partition_point(|commit| is_read(&commit.recorded));
        let rest = stored
            .commits
            .iter()
            .skip(start)
            .map(|commit| &commit.recorded);
        let read = rest
            .take_while(|commit| commit.last_position() <= durable)
            .filter(|commit| commit.event_count() > 0)
            .take(if cursor.is_for_one { 1 } else { READ_COMMITS });
        let read: Vec<_> = read.cloned().collect();
        if let Some(last) = read.last() {
            cursor.position = last.last_position();
        }
        Ok(read)
    }

    fn read_recent(&self, cursor: &mut Cursor) -> Option<Vec<Arc<RecordedCommit>>> {
        self.read_on(cursor).ok()
    }

    fn durable(&self) -> watch::Receiver<u64> {
        self.followers.durable()
    }

    fn wait_behind(&self, position: u64, types: &Types) -> Option<Waiting> {
        self.followers.wait_behind(position, types)
    }

    /// No commit is visible early, because there is no sync that a reaction could share.
    fn audience(&self) -> Option<&Arc<Audience>> {
        None
    }

    fn standing(&self) -> &Standing {
        self.queue.standing()
    }

    fn read_only(&self) -> Option<Arc<str>> {
        None
    }

    fn poisoned(&self) -> Option<Arc<str>> {
        self.queue.poison()
    }
}

impl Streams for MemoryJournal {
    fn read_stream<'a>(
        &'a self,
        stream: &'a StreamId,
        behind: StreamEnd,
    ) -> Result<Box<dyn StreamReader + 'a>, JournalError> {
        let reader = MemoryReader::new(Arc::clone(&self.stored), stream, behind)?;
        Ok(Box::new(reader))
    }

    fn read_part(
        &self,
        stream: &StreamId,
        part: &StreamPart,
    ) -> Result<Vec<RecordedCommit>, JournalError> {
        let stored = lock(&self.stored);
        let indices = stored.streams.get(stream).map(|stream| &stream.commits);
        let indices = indices.into_iter().flatten();
        let commits = indices.filter_map(|index| stored.commits.get(*index));
        let is_wanted = |commit: &&StoredCommit| {
            commit.recorded.appends.iter().any(|append| {
                let end = append.first_version + append.lines.len() as u64;
                append.stream == *stream && append.first_version <= part.last && end > part.first
            })
        };
        let wanted = commits.filter(is_wanted);
        let mut wanted: Vec<_> = wanted.map(|commit| &*commit.recorded).collect();
        // Each commit has at least one event.
        let limit = usize::try_from(part.limit).unwrap_or(usize::MAX);
        let kept = limit.min(READ_COMMITS).min(wanted.len());
        match part.is_backwards {
            true => wanted.drain(..wanted.len() - kept).for_each(drop),
            false => wanted.truncate(kept),
        }
        Ok(wanted.into_iter().cloned().collect())
    }

    fn streams(&self, aggregate_type: Option<&str>) -> Result<Vec<StreamId>, JournalError> {
        let stored = lock(&self.stored);
        let streams = stored
            .streams
            .keys()
            .filter(|stream| aggregate_type.is_none_or(|wanted| *stream.aggregate_type == *wanted));
        Ok(streams.cloned().collect())
    }

    fn has_stream(&self, stream: &StreamId) -> Result<bool, JournalError> {
        Ok(lock(&self.stored).version(stream) > 0)
    }

    fn known_version(&self, stream: &StreamId) -> Option<u64> {
        Some(lock(&self.stored).version(stream))
    }

    fn known_answer(
        &self,
        stream: &StreamId,
        key: &str,
        _before: Option<KeyLookup>,
    ) -> Option<KeyLookup> {
        self.find_answer(stream, key).ok()
    }

    fn find_answer(&self, stream: &StreamId, key: &str) -> Result<KeyLookup, JournalError> {
        let stored = lock(&self.stored);
        let stream = stored.streams.get(stream);
        let answer = stream.and_then(|stream| stream.answers.get(key));
        Ok(answer.map_or(KeyLookup::Free(0), |answer| KeyLookup::Answered(*answer)))
    }

    fn read_answer(
        &self,
        stream: &StreamId,
        answer: &Answer,
    ) -> Result<Vec<Box<str>>, JournalError> {
        // Its position may not be announced yet.
        let stored = lock(&self.stored);
        let index = usize::try_from(answer.address.offset).unwrap_or(usize::MAX);
        let commit = stored.commits.get(index);
        let events = commit
            .into_iter()
            .flat_map(|commit| commit.recorded.events());
        let versions = answer.first_version..=answer.last_version();
        let events = events
            .filter(|event| event.stream == stream.borrowed() && versions.contains(&event.version));
        Ok(events.map(|event| event.line.into()).collect())
    }
}

impl RowStore for MemoryJournal {
    fn progress(&self, process_manager: &str) -> Option<Progress> {
        self.of(process_manager, |found| found.progress.clone())
    }

    fn note_progress(&self, process_manager: &str, progress: Progress) {
        let mut stored = lock(&self.stored);
        if let Some(found) = stored.process_managers.get_mut(process_manager) {
            found.progress = Some(progress);
        }
    }

    fn rows(
        &self,
        process_manager: &str,
        keys: &[&str],
    ) -> Result<Vec<Option<Box<str>>>, JournalError> {
        let stored = lock(&self.stored);
        let found = stored.process_managers.get(process_manager);
        let rows = keys.iter().map(|key| found?.rows.get(*key).cloned());
        Ok(rows.collect())
    }

    fn row_range(
        &self,
        process_manager: &str,
        range: &RowRange,
        limit: usize,
    ) -> Result<Vec<Row>, JournalError> {
        Ok(self.of(process_manager, |found| {
            let rows = found.rows.iter().skip_while(|(key, _)| **key < range.from);
            let rows = rows.take_while(|(key, _)| **key < range.to).take(limit);
            let rows = rows.map(|(key, value)| Row {
                key: key.clone(),
                value: value.clone(),
            });
            rows.collect()
        }))
    }

    fn past_reactions(&self, past: &mut PastReactions) -> Result<Vec<PastReaction>, JournalError> {
        past.is_read = true;
        let stored = lock(&self.stored);
        let mut found = Vec::new();
        for commit in &stored.commits {
            let Some((name, position)) = &commit.recorded.reaction else {
                continue;
            };
            if **name != *past.process_manager {
                continue;
            }
            let rows = commit.rows.iter();
            let rows = rows.filter(|row| row.key.starts_with(past.prefix));
            let rows: Vec<_> = rows.cloned().collect();
            if !std::mem::replace(&mut past.has_begun, true) || !rows.is_empty() {
                let position = *position;
                found.push(PastReaction { position, rows });
            }
        }
        Ok(found)
    }

    fn dead_letters(&self, process_manager: &str) -> Result<StoredLines, JournalError> {
        Ok(StoredLines {
            text: self.of(process_manager, |found| found.dead_letters.clone()),
            path: self.base.clone(),
        })
    }

    fn damaged_rows(&self, process_manager: &str, reason: String) -> Damage {
        Damage::new(self.base.join(process_manager), 0, reason)
    }

    fn starts(&self, process_manager: &str) -> Arc<dyn SavedValue> {
        self.value(format!("the starts of {process_manager}"))
    }

    fn inherited(&self, _process_manager: &str) -> Option<&Inherited> {
        None
    }
}

impl Snapshots for MemoryJournal {
    fn load_snapshot(&self, stream: &StreamId) -> Option<Snapshot> {
        lock(&self.stored).snapshots.get(stream).cloned()
    }

    fn save_snapshot(&self, stream: &StreamId, snapshot: &Snapshot) {
        let snapshot = snapshot.clone();
        lock(&self.stored)
            .snapshots
            .insert(stream.clone(), snapshot);
    }

    fn projection(&self, name: &str) -> Arc<dyn SavedValue> {
        self.value(format!("the state of {name}"))
    }

    /// The rows do not survive the store. They are rebuilt from the events.
    fn projection_rows(
        &self,
        _name: &str,
        options: &RedbOptions,
        _is_new: bool,
    ) -> Result<RedbFile, JournalError> {
        RedbFile::in_memory(options)
    }

    fn prepare_to_save(&self) -> Result<(), JournalError> {
        Ok(())
    }
}

impl Maintenance for MemoryJournal {
    fn verify(&self, check_state: &CheckState<'_>) -> Result<Verified, JournalError> {
        let Stored {
            commits,
            streams,
            snapshots,
            position,
            ..
        } = lock(&self.stored).clone();
        let mut verified = Verified {
            commits: commits.len() as u64,
            events: position,
            streams: streams.len() as u64,
            snapshots: snapshots.len() as u64,
            ..Verified::default()
        };
        for (stream, snapshot) in &snapshots {
            let mut events = self.read_stream(stream, StreamEnd::default())?;
            if let Some(reason) = check_state(stream, snapshot, &mut *events)? {
                verified
                    .differences
                    .push(Damage::new(&self.base, 0, reason));
            }
        }
        Ok(verified)
    }

    fn backup(
        &self,
        to: &Path,
        _is_stopped: &AtomicBool,
    ) -> Result<Option<BackupReport>, BackupError> {
        let copy = stored_in(&self.files, to);
        if Arc::ptr_eq(&copy, &self.stored) {
            let path = to.to_owned();
            return Err(BackupError::Overlapping { path });
        }
        let content = Stored {
            is_open: false,
            values: BTreeMap::new(),
            ..lock(&self.stored).clone()
        };
        let mut copy = lock(&copy);
        if copy.is_open {
            let path = to.to_owned();
            return Err(BackupError::InUse { path });
        }
        *copy = content;
        Ok(Some(BackupReport {
            position: copy.position,
            commits: copy.commits.len() as u64,
            bytes: copy.bytes,
            copied_bytes: copy.bytes,
            ..BackupReport::default()
        }))
    }

    fn vitals(&self) -> Vitals {
        Vitals {
            bytes: lock(&self.stored).bytes,
            last_sync: None,
            last_checkpoint: None,
            write_failure: None,
        }
    }

    fn resign(&self) {
        self.queue.resign();
    }

    fn close(&self) {
        self.queue.close();
    }

    fn closed(&self) -> watch::Receiver<bool> {
        self.closed.clone()
    }
}

impl Journal for MemoryJournal {}
