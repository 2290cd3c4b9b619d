//! Putting a batch together: numbers, positions, offsets and hashes are assigned here.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use eventfold::line_hash;
use smallvec::SmallVec;

use super::checkpoint::ProcessManagerState;
use super::derived::DurableReaction;
use super::line::{Body, Heading};
use super::queue::{Pledge, Queued};
use super::scan::Tip;
use super::streams::{StreamSlot, StreamTable};
use crate::clock::seconds_since_1970;
use crate::journal::{
    CommitError, Durability, Extent, OnDurable, ProposedCommit, Receipt, RecordedAppend,
    RecordedCommit, StreamId, keyed,
};
use crate::sabotage::{Bug, planted};

/// How much of each dead-letter file there is, per process manager.
pub(super) type DeadLetterExtents = HashMap<Arc<str>, Extent>;

/// A batch that is put together but not yet durable.
pub(super) struct Batch {
    /// Its lines, each with a newline.
    pub(super) text: String,
    pub(super) commits: Vec<Prepared>,
    pub(super) streams: HashMap<StreamId, Planned>,
    pub(super) dead_letters: DeadLetterExtents,
    /// What it holds, in bytes.
    pub(super) bytes: usize,
    /// Whether a commit did not continue its streams, so that everything behind it is undone.
    pub(super) has_conflict: bool,
    /// The end of the journal once it is durable.
    pub(super) tip: Tip,
}

/// One commit of a batch.
pub(super) struct Prepared {
    /// Where its line starts.
    pub(super) offset: u64,
    pub(super) commit: RecordedCommit,
    /// Where each of its appends goes in its stream.
    pub(super) append_offsets: Vec<u64>,
    pub(super) receipt: Receipt,
    pub(super) reaction: Option<DurableReaction>,
    pub(super) on_durable: Option<OnDurable>,
    pub(super) on_settled: Option<Box<dyn FnOnce() + Send>>,
    pub(super) pledge: Pledge,
}

/// A stream that a batch adds to.
pub(super) struct Planned {
    pub(super) slot: Arc<StreamSlot>,
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
    let ts = seconds_since_1970();
    let mut batch = Batch {
        text: String::new(),
        commits: Vec::new(),
        streams: HashMap::new(),
        dead_letters: HashMap::new(),
        bytes: queued.iter().map(Queued::byte_count).sum(),
        has_conflict: false,
        tip: Tip {
            batch: tip.batch + 1,
            flush: durability == Durability::Flush,
            ..tip.clone()
        },
    };
    let mut drafts = Vec::with_capacity(queued.len());
    for Queued { commit, pledge, .. } in queued {
        if batch.has_conflict {
            // It may have been decided on what the conflicting commit would have changed.
            pledge.settle(Err(CommitError::Refused(BEHIND_CONFLICT.into())));
            continue;
        }
        match plan(&mut batch, &commit, table, ts) {
            Ok(()) => drafts.push(draft(&mut batch, commit, pledge, dead_letters)),
            Err(error) => {
                pledge.settle(Err(error));
                batch.has_conflict = true;
            }
        }
    }
    let count = drafts.len();
    for (index, mut draft) in drafts.into_iter().enumerate() {
        let line = draft.body.finish(&Heading {
            commit: draft.commit_number,
            batch: batch.tip.batch,
            end: index + 1 == count && !planted(Bug::NoEndOfBatch),
            flush: batch.tip.flush,
            previous: &batch.tip.hash,
            position: draft.prepared.receipt.first_position,
            ts,
        });
        draft.prepared.offset = batch.tip.offset;
        batch.tip.hash = line_hash(line.as_bytes());
        batch.tip.offset += line.len() as u64 + 1;
        batch.text.push_str(&line);
        batch.text.push('\n');
        batch.commits.push(draft.prepared);
    }
    batch
}

/// Checks that the commit continues its streams where they end, before anything of it is noted.
fn plan(
    batch: &mut Batch,
    commit: &ProposedCommit,
    table: &StreamTable,
    ts: u64,
) -> Result<(), CommitError> {
    let mut has_new = false;
    for append in &commit.appends {
        let version = match batch.streams.entry(append.stream.clone()) {
            Entry::Occupied(planned) => planned.get().extent.lines,
            Entry::Vacant(entry) => match table.slot(&append.stream) {
                // That it is planned says nothing yet.
                Some(slot) => {
                    let extent = slot.extent();
                    let began = None;
                    entry.insert(Planned {
                        slot,
                        extent,
                        began,
                    });
                    extent.lines
                }
                None => {
                    has_new = true;
                    0
                }
            },
        };
        if version != append.expected_version {
            return Err(CommitError::Conflict {
                expected: append.expected_version,
                actual: version,
            });
        }
    }
    if has_new {
        for append in &commit.appends {
            if let Entry::Vacant(entry) = batch.streams.entry(append.stream.clone()) {
                let slot = table.create(&append.stream);
                entry.insert(Planned {
                    extent: slot.extent(),
                    slot,
                    began: Some(ts),
                });
            }
        }
    }
    Ok(())
}

fn draft(
    batch: &mut Batch,
    commit: ProposedCommit,
    pledge: Pledge,
    dead_letters: &DeadLetterExtents,
) -> Draft {
    batch.tip.commit += 1;
    let first_position = batch.tip.position + 1;
    let mut position = first_position;
    let mut body = Body::default();
    let mut appends = SmallVec::with_capacity(commit.appends.len());
    let mut append_offsets = Vec::with_capacity(commit.appends.len());
    let mut ends = Vec::with_capacity(commit.appends.len());
    for append in commit.appends {
        let Some(planned) = batch.streams.get_mut(&append.stream) else {
            continue;
        };
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
        append_offsets.push(planned.extent.bytes);
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
        reaction: reaction.map(|reaction| {
            let name = Arc::clone(&reaction.process_manager);
            (name, reaction.progress.position)
        }),
        appends,
    };
    let receipt = Receipt {
        first_position,
        event_count: recorded.event_count(),
        ends: ends.into(),
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
            process_manager: name.to_string(),
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
        prepared: Prepared {
            offset: 0,
            commit: recorded,
            append_offsets,
            receipt,
            reaction,
            on_durable: commit.on_durable,
            on_settled: commit.on_settled,
            pledge,
        },
    }
}
