//! The journal: the total order of all accepted commits.
//!
//! [`Journal`] is all that the runtime knows of it. It submits commits, gets their outcomes, reads a stream, and reads or
//! follows all events from a position. Files, offsets and batches stay below, in [`local`].

mod answer;
mod backup;
mod block_cache;
mod extent;
pub(crate) mod index;
mod inherited;
pub(crate) mod keyed;
pub(crate) mod local;
mod outcome;
mod past_reactions;
mod recorded_lines;
mod rows;
mod saved_projection;
pub(crate) mod segments;
mod snapshot;
mod stream_end;
mod stream_reader;
mod varint;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use serde::Serialize;
use serde_json::value::RawValue;
use smallvec::SmallVec;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

pub(crate) use answer::{Answer, KeyLookup};
pub use backup::{BackupError, BackupReport};
use extent::Extent;
pub(crate) use inherited::{Inherited, SeenBefore};
pub(crate) use keyed::KeyedLines;
pub(crate) use outcome::{CommitError, Outcome, Receipt, Spent};
pub(crate) use past_reactions::{PastReaction, PastReactions};
pub(crate) use recorded_lines::RecordedLines;
pub(crate) use rows::{Row, RowChange, RowRange};
pub(crate) use saved_projection::{SavedProjection, SkippedEvent};
pub(crate) use snapshot::Snapshot;
pub(crate) use stream_end::{CommitPlace, StreamEnd};
pub(crate) use stream_reader::StreamReader;

use crate::clock::StoreClock;
use crate::disk::FileError;
use crate::event::{EventError, RecordedEvent, StoredEvent};

/// The log under the runtime.
///
/// Methods that say so block on I/O; the rest only take short locks.
pub(crate) trait Journal: Send + Sync + 'static {
    /// Room for commits that are handed over but not yet written: one permit each.
    fn room(&self) -> &Arc<Semaphore>;

    /// Hands a commit over; never waits. The caller holds the locks of the cells that the commit was decided on, so that
    /// commits of one stream arrive in the order of their versions.
    fn submit(&self, room: OwnedSemaphorePermit, commit: ProposedCommit) -> Arc<Outcome>;

    /// The time of the store: commits get theirs from it when they are handed over.
    fn clock(&self) -> &StoreClock;

    /// Gives every later commit a time after `time`, in milliseconds since 1970, even if the clock stands. Returns the last
    /// commit before, if it is not settled: when it settles, all earlier commits are settled.
    fn pass(&self, time: u64) -> Option<Arc<Outcome>>;

    /// The durable events of a stream behind a place where it ended once; an error also if it did not end there. Blocks.
    fn read_stream<'a>(
        &'a self,
        stream: &'a StreamId,
        behind: StreamEnd,
    ) -> Result<Box<dyn StreamReader + 'a>, JournalError>;

    /// The durable answer to the command with this key to a stream, as far as it is known without I/O: a key may be known to be free since
    /// it was [looked for](Self::find_answer) `before`.
    fn known_answer(
        &self,
        stream: &StreamId,
        key: &str,
        before: Option<KeyLookup>,
    ) -> Option<KeyLookup>;

    /// The durable answer to the command with this key to a stream. Blocks.
    fn find_answer(&self, stream: &StreamId, key: &str) -> Result<KeyLookup, JournalError>;

    /// The events of an answer, one line each. Blocks.
    fn read_answer(
        &self,
        stream: &StreamId,
        answer: &Answer,
    ) -> Result<Vec<Box<str>>, JournalError>;

    /// The snapshot of a stream that was saved last, if there is one that can be read. Blocks.
    fn load_snapshot(&self, stream: &StreamId) -> Option<Snapshot>;

    /// Replaces the snapshot of a stream. The next checkpoint saves it; until then it may be lost again.
    fn save_snapshot(&self, stream: &StreamId, snapshot: &Snapshot);

    /// The next commits with events behind the cursor, up to about a megabyte, and moves the cursor behind them; empty when
    /// all that is durable was read. Blocks only if the commits are no longer in memory.
    fn read_on(&self, cursor: &mut Cursor) -> Result<Vec<Arc<RecordedCommit>>, JournalError>;

    /// The next commits if they are still in memory, without any I/O.
    fn read_recent(&self, cursor: &mut Cursor) -> Option<Vec<Arc<RecordedCommit>>>;

    /// The position of the last durable event, as it moves on; 0 in an empty store.
    fn durable(&self) -> watch::Receiver<u64>;

    /// The streams with at least one event, of one aggregate type or of all, in the order of type and id. Blocks.
    fn streams(&self, aggregate_type: Option<&str>) -> Result<Vec<StreamId>, JournalError>;

    /// Whether the stream has at least one event, or cannot be read. Blocks.
    fn has_stream(&self, stream: &StreamId) -> Result<bool, JournalError>;

    /// How many events the stream has, if that is known without I/O.
    fn known_version(&self, stream: &StreamId) -> Option<u64>;

    /// The last known progress of a process manager.
    fn progress(&self, process_manager: &str) -> Option<Progress>;

    /// Notes progress that needed no commit, to be saved at the next checkpoint.
    fn note_progress(&self, process_manager: &str, progress: Progress);

    /// The durable values of rows of a process manager, in the order of the keys. Blocks.
    fn rows(
        &self,
        process_manager: &str,
        keys: &[&str],
    ) -> Result<Vec<Option<Box<str>>>, JournalError>;

    /// The first durable rows in a part of those of a process manager, `limit` at most, in the order of their keys. Blocks.
    fn row_range(
        &self,
        process_manager: &str,
        range: &RowRange,
        limit: usize,
    ) -> Result<Vec<Row>, JournalError>;

    /// What reactions of a process manager have left behind, from where the last call ended on, about a megabyte of the journal
    /// at a time. Blocks.
    fn past_reactions(&self, past: &mut PastReactions) -> Result<Vec<PastReaction>, JournalError>;

    /// The dead letters of a process manager, oldest first, one JSON object per line. Blocks.
    fn dead_letters(&self, process_manager: &str) -> Result<StoredLines, JournalError>;

    /// Makes certain, before something derived is saved, that everything that can be read survives a power loss, and that the
    /// files are still those of this store. Blocks.
    fn prepare_to_save(&self) -> Result<(), JournalError>;

    /// Reads everything back and compares it; what a snapshot holds is told by `check_state`. Blocks.
    fn verify(&self, check_state: &CheckState<'_>) -> Result<Verified, JournalError>;

    /// Copies everything that is durable now to another directory, which then holds a store of its own; `None` if it was stopped before
    /// that. Blocks.
    fn backup(
        &self,
        to: &Path,
        is_stopped: &AtomicBool,
    ) -> Result<Option<BackupReport>, BackupError>;

    /// What an earlier version left of a process manager, if it ran it in this directory.
    fn inherited(&self, process_manager: &str) -> Option<&Inherited>;

    /// Where and why nothing can be written at all, if the file system is read-only.
    fn read_only(&self) -> Option<Arc<str>>;

    /// The reason why nothing can be written any more, if so.
    fn poisoned(&self) -> Option<Arc<str>>;

    /// How large it is, and when it was written to the disk last.
    fn vitals(&self) -> Vitals;

    /// Takes no more commits; finishes, in the background, what was handed over.
    fn close(&self);

    /// Completes when everything is written and the lock on the directory is gone.
    fn closed(&self) -> watch::Receiver<bool>;
}

/// The identity of a stream: the stored name of its aggregate type, and the instance.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct StreamId {
    pub(crate) aggregate_type: Arc<str>,
    pub(crate) instance_id: Arc<str>,
}

impl StreamId {
    pub(crate) fn new(aggregate_type: &str, instance_id: &str) -> Self {
        Self {
            aggregate_type: aggregate_type.into(),
            instance_id: instance_id.into(),
        }
    }
}

/// Called on the writer's thread when a commit is durable, before anybody can read it.
pub(crate) type OnDurable = Box<dyn FnOnce(&Receipt) + Send>;

/// A commit that was decided but not yet written.
#[derive(Default)]
pub(crate) struct ProposedCommit {
    /// The commits that it was decided on, as far as they are not known to be durable: if one of them fails, so does this.
    pub(crate) after: Vec<Arc<Outcome>>,
    /// The events, per stream.
    pub(crate) appends: Vec<ProposedAppend>,
    /// The progress of the process manager whose reaction this is.
    pub(crate) reaction: Option<ProposedReaction>,
    pub(crate) on_durable: Option<OnDurable>,
    /// Called on the writer's thread when the commit is durable and everybody can read it.
    pub(crate) on_settled: Option<Box<dyn FnOnce() + Send>>,
}

impl ProposedCommit {
    /// Whether it was decided on something that did not happen.
    pub(crate) fn is_undone(&self) -> bool {
        self.after
            .iter()
            .any(|outcome| matches!(outcome.get(), Some(Err(_))))
    }
}

/// The events that a commit adds to one stream.
pub(crate) struct ProposedAppend {
    pub(crate) stream: StreamId,
    /// The version the stream has before.
    pub(crate) expected_version: u64,
    /// One eventfold event each, as JSON without a newline.
    pub(crate) lines: Vec<Box<str>>,
    /// Those that commands with an idempotency key caused; the writer completes them.
    pub(crate) keyed: Vec<KeyedLines>,
}

impl ProposedAppend {
    /// About what it adds to a stream, in bytes.
    pub(crate) fn byte_count(&self) -> usize {
        let lines = self.lines.iter().map(|line| line.len());
        let keyed = self.keyed.iter().map(KeyedLines::byte_count);
        lines.chain(keyed).sum()
    }
}

/// What a reaction adds to a commit.
pub(crate) struct ProposedReaction {
    pub(crate) process_manager: Arc<str>,
    pub(crate) progress: Progress,
    pub(crate) dispatched: u64,
    /// What becomes of rows; the last change of a key counts.
    pub(crate) rows: Vec<RowChange>,
    /// One JSON line each.
    pub(crate) dead_letters: Vec<Box<str>>,
}

impl ProposedReaction {
    pub(crate) fn byte_count(&self) -> usize {
        let letters = self.dead_letters.iter().map(|line| line.len() + 1);
        let rows = self.rows.iter().map(RowChange::byte_count);
        self.progress.state.get().len() + letters.sum::<usize>() + rows.sum::<usize>()
    }
}

/// How far a process manager is, and the state it has there.
#[derive(Debug, Clone)]
pub(crate) struct Progress {
    /// The position of the last event that it is done with.
    pub(crate) position: u64,
    pub(crate) state: Box<RawValue>,
}

/// The condition under which a command counts as stored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Durability {
    /// It is on the disk: an acknowledged command survives a power loss.
    #[default]
    Sync,
    /// The operating system has it: an acknowledged command survives the end of the process, but not that of the machine. The
    /// disk is written in the background. A power loss takes a tail of the commands, never a part of a command, and never a
    /// command from before a surviving command. It is for tests, and for imports that can be repeated.
    Flush,
}

/// A durable commit.
#[derive(Debug)]
pub(crate) struct RecordedCommit {
    pub(crate) first_position: u64,
    /// When it was stored, in milliseconds since 1970: never less than that of the commit before.
    pub(crate) time: u64,
    /// The process manager whose reaction it was, and the position of what that reacted to.
    pub(crate) reaction: Option<(Arc<str>, u64)>,
    /// Most commits add to one stream.
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
            events.map(|(version, line)| (&append.stream, version, line))
        });
        let placed = (self.first_position..).zip(events);
        placed.map(|(position, (stream, version, line))| CommittedEvent {
            position,
            stream,
            version,
            line,
        })
    }

    /// The event at a position, if it is one of these.
    pub(crate) fn event_at(&self, position: u64) -> Option<CommittedEvent<'_>> {
        self.events().find(|event| event.position == position)
    }
}

/// An event in a durable commit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CommittedEvent<'a> {
    pub(crate) position: u64,
    pub(crate) stream: &'a StreamId,
    /// The version of the stream with it.
    pub(crate) version: u64,
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

impl dyn Journal {
    /// The commit that has the event at a position, if there is one. Blocks.
    pub(crate) fn commit_at(
        &self,
        position: u64,
    ) -> Result<Option<Arc<RecordedCommit>>, JournalError> {
        let commits = self.read_on(&mut Cursor::for_commit_at(position))?;
        let has_it = |commit: &Arc<RecordedCommit>| commit.first_position <= position;
        Ok(commits.into_iter().next().filter(has_it))
    }

    /// What `read` makes of the event at a position, if there is one. Blocks.
    pub(crate) fn event_at<T>(
        &self,
        position: u64,
        read: impl FnOnce(CommittedEvent<'_>) -> Option<T>,
    ) -> Result<Option<T>, JournalError> {
        let commit = self.commit_at(position)?;
        let event = commit.as_ref().and_then(|commit| commit.event_at(position));
        Ok(event.and_then(read))
    }
}

/// The events that a durable commit added to one stream.
#[derive(Debug)]
pub(crate) struct RecordedAppend {
    pub(crate) stream: StreamId,
    /// The version of the first of the lines.
    pub(crate) first_version: u64,
    pub(crate) lines: RecordedLines,
}

impl RecordedAppend {
    /// Its events, each with its version, as JSON without a newline.
    pub(crate) fn events(&self) -> impl Iterator<Item = (u64, &str)> {
        (self.first_version..).zip(self.lines.iter())
    }
}

/// The dead letters of one process manager, as they are stored.
#[derive(Debug, Default)]
pub(crate) struct StoredLines {
    /// Newline-terminated lines, one JSON object each.
    pub(crate) text: String,
    /// Names the place of the text in errors.
    pub(crate) path: PathBuf,
}

/// A place in the order of events, behind which to read on.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Cursor {
    /// The position of the last event that was read.
    pub(crate) position: u64,
    /// Where the journal found the events up to there; only the journal knows what it means.
    hint: u64,
    /// Whether one commit is enough.
    is_for_one: bool,
}

impl Cursor {
    pub(crate) fn after(position: u64) -> Self {
        Self {
            position,
            ..Self::default()
        }
    }

    /// For the commit that has the event at `position`, and nothing else.
    pub(crate) fn for_commit_at(position: u64) -> Self {
        Self {
            is_for_one: true,
            ..Self::after(position.saturating_sub(1))
        }
    }
}

/// Says why a snapshot is not the fold of its events, which are the first of a stream.
pub(crate) type CheckState<'a> =
    dyn Fn(&StreamId, &Snapshot, &mut dyn StreamReader) -> StateChecked + 'a;

/// Why a snapshot is not the fold of its events, if it is not.
pub(crate) type StateChecked = Result<Option<String>, JournalError>;

/// What reading everything back has found.
#[derive(Debug, Default)]
pub(crate) struct Verified {
    pub(crate) commits: u64,
    pub(crate) events: u64,
    pub(crate) streams: u64,
    pub(crate) snapshots: u64,
    pub(crate) differences: Vec<Damage>,
}

/// How large the journal is, and when it was written to the disk last.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Vitals {
    /// What it takes on the disk.
    pub(crate) bytes: u64,
    /// In milliseconds since 1970, if that was since it was opened.
    pub(crate) last_sync: Option<u64>,
    /// The same.
    pub(crate) last_checkpoint: Option<u64>,
}

/// A journal that cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JournalError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Damage(#[from] Damage),
}

/// Stored bytes that were changed.
///
/// # JSON
///
/// ```json
/// {"path":"shop/meta/journal/app.jsonl","offset":512,"reason":"the checksum differs"}
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize)]
#[error("{} is damaged at byte {offset}: {reason}", path.display())]
#[non_exhaustive]
pub struct Damage {
    /// The file.
    #[serde(serialize_with = "crate::report_json::path")]
    pub path: PathBuf,
    /// The beginning of the unusable bytes.
    pub offset: u64,
    /// The problem of the bytes, and the action for it.
    pub reason: String,
}

impl Damage {
    pub(crate) fn new(path: impl Into<PathBuf>, offset: u64, reason: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            offset,
            reason: reason.into(),
        }
    }
}
