//! Putting a batch together: numbers, positions, offsets and hashes are assigned here.

use std::collections::HashMap;
use std::sync::Arc;

use eventfold::line_hash;
use smallvec::SmallVec;

use super::checkpoint::ProcessManagerState;
use super::jobs::DurableReaction;
use super::line::{Body, Heading, LinePlaces};
use super::queue::{Pledge, Queued};
use super::scan::Tip;
use super::streams::{StreamSlot, StreamTable};
use crate::journal::{
    CommitError, Durability, Extent, OnDurable, ProposedCommit, Receipt, RecordedAppend,
    RecordedCommit, RecordedLines, StreamId, keyed,
};
use crate::sabotage::{Bug, planted};

/// How much of each dead-letter file there is, per process manager.
pub(super) type DeadLetterExtents = HashMap<Arc<str>, Extent>;

/// A batch that is put together but not yet durable.
pub(super) struct Batch {
    /// Its lines, each with a newline.
    pub(super) text: Arc<String>,
    pub(super) commits: Vec<Prepared>,
    pub(super) streams: Vec<Planned>,
    pub(super) dead_letters: DeadLetterExtents,
    /// What it holds, in bytes.
    pub(super) bytes: usize,
    /// The first commit that does not continue its streams, and everything behind it, with what they are told: once the others are
    /// durable, so that whoever waits for the last one has waited for all.
    pub(super) refused: Vec<(Pledge, CommitError)>,
    /// The end of the journal once it is durable.
    pub(super) tip: Tip,
}

/// One commit of a batch.
pub(super) struct Prepared {
    /// Where its line starts.
    pub(super) offset: u64,
    /// How long that is, newline included.
    pub(super) bytes: usize,
    pub(super) commit: RecordedCommit,
    /// Where its appends go.
    pub(super) places: Places,
    pub(super) receipt: Receipt,
    pub(super) reaction: Option<DurableReaction>,
    pub(super) on_durable: Option<OnDurable>,
    pub(super) on_settled: Option<Box<dyn FnOnce() + Send>>,
    pub(super) pledge: Pledge,
}

/// Where each of the appends of a commit goes; most commits have one.
pub(super) type Places = SmallVec<[Place; 1]>;

pub(super) struct Place {
    /// Which of the streams of the batch it is.
    pub(super) stream: usize,
    /// Where in the stream it begins.
    pub(super) offset: u64,
}

/// A stream that a batch adds to.
pub(super) struct Planned {
    pub(super) slot: Arc<StreamSlot>,
    /// Whether a commit of the batch adds to it; otherwise one was meant to.
    pub(super) is_touched: bool,
    /// How long it is once the batch is durable.
    pub(super) extent: Extent,
    /// When its first event was committed, if that is in this batch.
    pub(super) began: Option<u64>,
}

/// A commit that fits, before the batch is closed.
struct Draft {
    body: Body,
    prepared: Prepared,
    commit_number: u64,
    time: u64,
}

/// Why commits behind a conflict are refused.
pub(super) const BEHIND_CONFLICT: &str =
    "an earlier commit was in conflict with what is stored; try again";

/// Puts a batch together, up to the first commit that does not continue its streams.
pub(super) fn assemble(
    queued: Vec<Queued>,
    tip: &Tip,
    table: &StreamTable,
    dead_letters: &DeadLetterExtents,
    durability: Durability,
) -> Batch {
    let mut streams = Streams::default();
    let mut batch = Batch {
        text: Arc::default(),
        commits: Vec::with_capacity(queued.len()),
        streams: Vec::new(),
        dead_letters: HashMap::new(),
        bytes: 0,
        refused: Vec::new(),
        tip: Tip {
            batch: tip.batch + 1,
            flush: durability == Durability::Flush,
            ..tip.clone()
        },
    };
    let mut drafts = Vec::with_capacity(queued.len());
    for queued in queued {
        let Queued {
            commit,
            time,
            pledge,
            ..
        } = queued;
        if !batch.refused.is_empty() {
            // It may have been decided on what the conflicting commit would have changed.
            let error = CommitError::Refused(BEHIND_CONFLICT.into());
            batch.refused.push((pledge, error));
            continue;
        }
        match plan(&mut streams, &commit, table, time / 1000) {
            Ok(places) => drafts.push(draft(
                &mut batch,
                &mut streams.planned,
                places,
                commit,
                time,
                pledge,
                dead_letters,
            )),
            Err(error) => batch.refused.push((pledge, error)),
        }
    }
    let count = drafts.len();
    // It stays as long as one of its events does: what is reserved in vain stays with it.
    let bytes = drafts.iter().map(|draft| draft.body.line_bytes()).sum();
    let mut text = String::with_capacity(bytes);
    let mut head = String::new();
    let mut line_places = Vec::with_capacity(count);
    for (index, mut draft) in drafts.into_iter().enumerate() {
        let start = text.len();
        let places = draft.body.push_to(
            &mut text,
            &Heading {
                commit: draft.commit_number,
                batch: batch.tip.batch,
                end: index + 1 == count && !planted(Bug::NoEndOfBatch),
                flush: batch.tip.flush,
                previous: &batch.tip.hash,
                position: draft.prepared.receipt.first_position,
                time: draft.time,
                ts: draft.time / 1000,
            },
            &mut head,
        );
        batch.tip.hash = line_hash(text.as_bytes().get(start..).unwrap_or_default());
        text.push('\n');
        draft.prepared.offset = batch.tip.offset;
        draft.prepared.bytes = text.len() - start;
        batch.tip.offset += draft.prepared.bytes as u64;
        line_places.push(places);
        batch.commits.push(draft.prepared);
    }
    batch.text = Arc::new(text);
    batch.bytes = batch.text.len();
    batch.streams = streams.planned;
    for (prepared, places) in batch.commits.iter_mut().zip(line_places) {
        share(prepared, places, &batch.text);
    }
    batch
}

/// Lets the events of a commit stand in the text of the batch, which those who read it share.
fn share(prepared: &mut Prepared, places: LinePlaces, text: &Arc<String>) {
    let mut places = places.into_iter();
    let spent = prepared.commit.appends.iter_mut().map(|append| {
        let count = append.lines.len();
        let shared = RecordedLines::at(text, places.by_ref().take(count));
        std::mem::replace(&mut append.lines, shared)
    });
    prepared.pledge.keep(spent.collect());
}

/// The streams of a batch, each once.
#[derive(Default)]
struct Streams {
    found: HashMap<StreamId, usize>,
    planned: Vec<Planned>,
}

impl Streams {
    fn add(&mut self, stream: &StreamId, slot: Arc<StreamSlot>, began: Option<u64>) -> usize {
        let index = self.planned.len();
        self.planned.push(Planned {
            is_touched: false,
            extent: slot.extent(),
            slot,
            began,
        });
        self.found.insert(stream.clone(), index);
        index
    }

    fn version(&self, stream: usize) -> u64 {
        let planned = self.planned.get(stream);
        planned.map_or(0, |planned| planned.extent.lines)
    }
}

/// Checks that the commit continues its streams where they end, before anything of it is noted; where its appends go.
fn plan(
    streams: &mut Streams,
    commit: &ProposedCommit,
    table: &StreamTable,
    ts: u64,
) -> Result<Places, CommitError> {
    let mut places = Places::with_capacity(commit.appends.len());
    let mut has_new = false;
    for append in &commit.appends {
        let found = streams.found.get(&append.stream).copied().or_else(|| {
            let slot = table.slot(&append.stream)?;
            // That it is planned says nothing yet.
            Some(streams.add(&append.stream, slot, None))
        });
        has_new |= found.is_none();
        let version = found.map_or(0, |stream| streams.version(stream));
        if version != append.expected_version {
            return Err(CommitError::Conflict {
                expected: append.expected_version,
                actual: version,
            });
        }
        places.push(Place {
            stream: found.unwrap_or(usize::MAX),
            offset: 0,
        });
    }
    if has_new {
        for (append, place) in commit.appends.iter().zip(&mut places) {
            place.stream = match streams.found.get(&append.stream) {
                Some(found) => *found,
                None => streams.add(&append.stream, table.create(&append.stream), Some(ts)),
            };
        }
    }
    Ok(places)
}

fn draft(
    batch: &mut Batch,
    streams: &mut [Planned],
    mut places: Places,
    commit: ProposedCommit,
    time: u64,
    pledge: Pledge,
    dead_letters: &DeadLetterExtents,
) -> Draft {
    batch.tip.commit += 1;
    batch.tip.time = time;
    let first_position = batch.tip.position + 1;
    let mut position = first_position;
    let mut body = Body::default();
    let mut appends = SmallVec::with_capacity(commit.appends.len());
    let mut ends: SmallVec<[Extent; 1]> = SmallVec::with_capacity(commit.appends.len());
    for (append, place) in commit.appends.into_iter().zip(&mut places) {
        let Some(planned) = streams.get_mut(place.stream) else {
            continue;
        };
        planned.is_touched = true;
        let is_new = planned.extent == Extent::default();
        let first_version = planned.extent.lines + 1;
        let lines = keyed::complete(append.lines, &append.keyed, position);
        position += lines.len() as u64;
        body.stream(
            &append.stream,
            is_new.then_some(planned.slot.directory()),
            first_version,
            planned.extent.bytes,
            &lines,
        );
        place.offset = planned.extent.bytes;
        for line in &lines {
            planned.extent.push(line);
        }
        ends.push(planned.extent);
        appends.push(RecordedAppend {
            stream: append.stream,
            first_version,
            lines: lines.into(),
        });
    }
    let reaction = commit.reaction.as_ref();
    let recorded = RecordedCommit {
        first_position,
        time,
        reaction: reaction.map(|reaction| {
            let name = Arc::clone(&reaction.process_manager);
            (name, reaction.progress.position)
        }),
        appends,
    };
    let receipt = Receipt {
        first_position,
        event_count: recorded.event_count(),
        ends: Arc::from(&*ends),
    };
    batch.tip.position += receipt.event_count;
    let reaction = commit.reaction.map(|reaction| {
        let name = Arc::clone(&reaction.process_manager);
        let mut extent = batch
            .dead_letters
            .get(&name)
            .or_else(|| dead_letters.get(&name))
            .copied()
            .unwrap_or_default();
        if !planted(Bug::CursorOutsideTheCommit) {
            body.process_manager(&reaction, extent.bytes);
        }
        let mut letters = String::new();
        for line in &reaction.dead_letters {
            letters.push_str(line);
            letters.push('\n');
            extent.push(line);
        }
        batch.dead_letters.insert(Arc::clone(&name), extent);
        DurableReaction {
            process_manager: name,
            state: ProcessManagerState {
                commit: batch.tip.commit,
                progress: reaction.progress,
                dead_letters: extent,
            },
            rows: reaction.rows,
            dead_letters: letters,
        }
    });
    Draft {
        body,
        commit_number: batch.tip.commit,
        time,
        prepared: Prepared {
            offset: 0,
            bytes: 0,
            commit: recorded,
            places,
            receipt,
            reaction,
            on_durable: commit.on_durable,
            on_settled: commit.on_settled,
            pledge,
        },
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use std::path::Path;

    use super::super::queue::{Queue, Work};
    use super::*;
    use crate::clock::SystemClock;
    use crate::journal::ProposedAppend;
    use crate::threads::StoreRuntime;

    fn commit(expected_version: u64) -> ProposedCommit {
        let append = ProposedAppend {
            stream: StreamId::new("counter", "c-1"),
            expected_version,
            lines: vec![r#"{"type":"Added","data":1,"ts":1}"#.into()],
            keyed: Vec::new(),
        };
        ProposedCommit {
            appends: [append].into_iter().collect(),
            ..ProposedCommit::default()
        }
    }

    /// Whoever waits for what was handed over before a time waits for those before a conflict as well.
    #[test]
    fn nothing_is_passed_before_what_is_stored_before_a_conflict() {
        // Nobody takes turns: what is pushed stays until it is taken.
        let writer = StoreRuntime::default()
            .journal_worker(Path::new("a"))
            .unwrap();
        let queue = Queue::new(0, Arc::new(SystemClock), None, writer);
        let pushed = [0, 7, 0].map(|version| {
            let room = Arc::clone(queue.room()).try_acquire_owned().unwrap();
            queue.push(room, commit(version))
        });
        let Work::Commits(queued) = queue.take() else {
            panic!("there are commits");
        };
        let table = StreamTable::default();
        let (tip, letters) = (Tip::default(), DeadLetterExtents::new());
        let batch = assemble(queued, &tip, &table, &letters, Durability::Flush);
        assert_eq!((batch.commits.len(), batch.refused.len()), (1, 2));
        for outcome in &pushed {
            assert!(outcome.get().is_none(), "the first one is not stored yet");
        }
        assert!(queue.pass(0).is_some());
    }
}
