//! Assembly of a batch: numbers, positions, offsets and hashes are assigned here.

use std::collections::HashMap;
use std::sync::Arc;

use eventfold::line_hash;
use smallvec::SmallVec;

use crate::journal::index::Address;
use crate::journal::keyed::complete;
use crate::journal::local::appends::Append;
use crate::journal::local::checkpoint::ProcessManagerState;
use crate::journal::local::jobs::ReactionToWrite;
use crate::journal::local::line::{Body, Heading, LinePlaces};
use crate::journal::local::queue::{BEHIND_CONFLICT, BEHIND_FAILURE, Pledge, Queued};
use crate::journal::local::scan::Tip;
use crate::journal::local::streams::hash_from;
use crate::journal::{
    CommitError, CommitPlace, Durability, Extent, JournalError, KeyedLines, OnDurable, Outcome,
    ProposedCommit, Receipt, RecordedAppend, RecordedCommit, RecordedLines, StreamEnd, StreamId,
};
use crate::sabotage::{Bug, planted};

/// The extent of each dead-letter file, by process manager.
pub(in crate::journal::local) type DeadLetterExtents = HashMap<Arc<str>, Extent>;

/// A batch that is assembled but not yet durable.
pub(in crate::journal::local) struct Batch {
    /// Its lines, each with a newline.
    pub(in crate::journal::local) text: Arc<String>,
    pub(in crate::journal::local) commits: Vec<Prepared>,
    pub(in crate::journal::local) dead_letters: DeadLetterExtents,
    /// The first commit that does not continue its streams, and every commit behind it, with their errors. They are settled
    /// after the other commits are durable, so that a caller that waits for the last commit has waited for all.
    pub(in crate::journal::local) refused: Vec<(Pledge, CommitError)>,
    /// The outcome of the whole batch, if process managers can see commits of it.
    pub(in crate::journal::local) shown: Option<Pledge>,
    /// The end of the journal once it is durable.
    pub(in crate::journal::local) tip: Tip,
    /// Whether another node has decided the commits.
    pub(in crate::journal::local) is_foreign: bool,
}

/// One commit of a batch.
pub(in crate::journal::local) struct Prepared {
    pub(in crate::journal::local) place: CommitPlace,
    pub(in crate::journal::local) commit: RecordedCommit,
    /// Per append, the lines that commands with an idempotency key caused.
    pub(in crate::journal::local) keyed: SmallVec<[Vec<KeyedLines>; 1]>,
    /// Its appends as the index records them, if they were read from its line.
    pub(in crate::journal::local) indexed: Vec<Append>,
    pub(in crate::journal::local) receipt: Receipt,
    pub(in crate::journal::local) reaction: Option<ReactionToWrite>,
    pub(in crate::journal::local) on_durable: Option<OnDurable>,
    pub(in crate::journal::local) on_settled: Option<Box<dyn FnOnce() + Send>>,
    pub(in crate::journal::local) pledge: Pledge,
}

impl Prepared {
    /// Sets the place of its line, and thereby the ends of its streams.
    pub(in crate::journal::local) fn place(&mut self, place: CommitPlace) {
        self.place = place;
        let ends = self.commit.appends.iter().map(|append| StreamEnd {
            version: append.first_version + append.lines.len() as u64 - 1,
            commit: place,
        });
        self.receipt.ends = ends.collect();
    }

    /// Its appends, as the index records them.
    pub(in crate::journal::local) fn appends(&self) -> impl Iterator<Item = Append> {
        let mut position = self.receipt.first_position;
        let appends = self.commit.appends.iter().zip(&self.keyed);
        appends.map(move |(append, keyed)| {
            let (first_version, first_position) = (append.first_version, position);
            let count = append.lines.len() as u64;
            position += count;
            let answers = keyed.iter().map(|group| {
                let answer = group.answer(first_version, first_position, self.place);
                (Arc::clone(&group.key), answer)
            });
            Append {
                stream: append.stream.clone(),
                version: first_version,
                address: Address {
                    offset: self.place.offset,
                    length: self.place.length,
                    count,
                },
                answers: answers.collect(),
            }
        })
    }
}

/// A commit that continues its streams, before the batch is complete.
struct OpenCommit {
    body: Body,
    prepared: Prepared,
    commit_number: u64,
    time: u64,
}

/// The number of events in a stream, given the number that a commit expects.
pub(in crate::journal::local) type VersionOf<'a> =
    dyn Fn(&StreamId, u64) -> Result<u64, JournalError> + 'a;

/// A batch to which commits are added. They have their numbers and positions, and no text yet.
pub(in crate::journal::local) struct OpenBatch {
    batch: Batch,
    drafts: Vec<OpenCommit>,
    /// The versions of the streams that the batch appends to.
    versions: HashMap<StreamId, u64>,
    /// The number of commits that process managers can see.
    shown: usize,
}

impl OpenBatch {
    /// A batch behind `tip`.
    pub(in crate::journal::local) fn new(tip: &Tip, durability: Durability) -> Self {
        Self {
            batch: Batch {
                text: Arc::default(),
                commits: Vec::new(),
                dead_letters: HashMap::new(),
                refused: Vec::new(),
                shown: None,
                is_foreign: false,
                tip: Tip {
                    batch: tip.batch + 1,
                    flush: durability == Durability::Flush,
                    ..tip.clone()
                },
            },
            drafts: Vec::new(),
            versions: HashMap::new(),
            shown: 0,
        }
    }

    /// Adds commits, up to the first commit that does not continue its streams.
    pub(in crate::journal::local) fn add(
        &mut self,
        queued: Vec<Queued>,
        version: &VersionOf<'_>,
        dead_letters: &DeadLetterExtents,
    ) {
        let Self {
            batch,
            drafts,
            versions,
            ..
        } = self;
        drafts.reserve(queued.len());
        for queued in queued {
            let Queued {
                commit,
                time,
                pledge,
                ..
            } = queued;
            if commit.is_undone() && !planted(Bug::UndoNotTransitive) {
                pledge.settle(Err(CommitError::Refused(BEHIND_FAILURE.into())));
                continue;
            }
            if !batch.refused.is_empty() {
                // The command may have been decided on events of the conflicting commit.
                let error = CommitError::Refused(BEHIND_CONFLICT.into());
                batch.refused.push((pledge, error));
                continue;
            }
            match plan(versions, &commit, version) {
                Ok(()) => drafts.push(draft(batch, versions, commit, time, pledge, dead_letters)),
                Err(Unfit::Unknown(error)) => {
                    // Only the commits that were decided on this commit are refused with it.
                    pledge.settle(Err(CommitError::Refused(error.to_string().into())));
                }
                Err(Unfit::Conflict(error)) => batch.refused.push((pledge, error)),
            }
        }
    }

    /// The number of its commits, and of the bytes of their lines.
    pub(in crate::journal::local) fn size(&self) -> (usize, usize) {
        let bytes = self.drafts.iter().map(|draft| draft.body.line_bytes());
        (self.drafts.len(), bytes.sum())
    }

    /// Whether it takes no further commit, because one was refused.
    pub(in crate::journal::local) fn is_refusing(&self) -> bool {
        !self.batch.refused.is_empty()
    }

    /// Its commits that process managers cannot see yet.
    pub(in crate::journal::local) fn unseen(&self) -> impl Iterator<Item = &RecordedCommit> {
        let unseen = self.drafts.get(self.shown..).unwrap_or_default();
        unseen.iter().map(|draft| &draft.prepared.commit)
    }

    /// The unseen commits with events, and the outcome of the batch. They count as seen from now on.
    pub(in crate::journal::local) fn show(&mut self) -> (Vec<Arc<RecordedCommit>>, Arc<Outcome>) {
        let unseen = self.unseen().filter(|commit| commit.event_count() > 0);
        let unseen = unseen.map(|commit| Arc::new(commit.clone())).collect();
        self.shown = self.drafts.len();
        let pledge = self.batch.shown.get_or_insert_with(Pledge::of_batch);
        (unseen, Arc::clone(pledge.outcome()))
    }

    /// Writes the text of its commits.
    pub(in crate::journal::local) fn seal(self) -> Batch {
        let Self {
            mut batch, drafts, ..
        } = self;
        let count = drafts.len();
        // The text lives as long as any of its events, and so does every byte that is reserved in vain.
        let bytes = drafts.iter().map(|draft| draft.body.line_bytes()).sum();
        let mut text = String::with_capacity(bytes);
        let mut head = String::new();
        let mut line_places = Vec::with_capacity(count);
        batch.commits.reserve(count);
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
            let place = CommitPlace {
                offset: batch.tip.offset,
                length: (text.len() - start) as u64,
                hash: hash_from(&batch.tip.hash),
            };
            batch.tip.offset += place.length;
            draft.prepared.place(place);
            line_places.push(places);
            batch.commits.push(draft.prepared);
        }
        batch.text = Arc::new(text);
        for (prepared, places) in batch.commits.iter_mut().zip(line_places) {
            share(prepared, places, &batch.text);
        }
        batch
    }
}

/// Lets the events of a commit point into the text of the batch, which its readers share.
fn share(prepared: &mut Prepared, places: LinePlaces, text: &Arc<String>) {
    let mut places = places.into_iter();
    let spent = prepared.commit.appends.iter_mut().map(|append| {
        let count = append.lines.len();
        let shared = RecordedLines::at(text, places.by_ref().take(count));
        std::mem::replace(&mut append.lines, shared)
    });
    prepared.pledge.keep(spent.collect());
}

/// The reason why a commit is not stored.
enum Unfit {
    /// One of its streams has a different end.
    Conflict(CommitError),
    /// The end of one of its streams cannot be read.
    Unknown(JournalError),
}

/// Checks that the commit continues its streams at their ends, before any part of it is recorded. Blocks if an end is not in
/// memory.
fn plan(
    versions: &mut HashMap<StreamId, u64>,
    commit: &ProposedCommit,
    version: &VersionOf<'_>,
) -> Result<(), Unfit> {
    for append in &commit.appends {
        let expected = append.expected_version;
        let actual = match versions.get(&append.stream) {
            Some(version) => *version,
            None => {
                let version = version(&append.stream, expected).map_err(Unfit::Unknown)?;
                versions.insert(append.stream.clone(), version);
                version
            }
        };
        if actual != expected {
            let conflict = CommitError::Conflict { expected, actual };
            return Err(Unfit::Conflict(conflict));
        }
    }
    Ok(())
}

fn draft(
    batch: &mut Batch,
    versions: &mut HashMap<StreamId, u64>,
    commit: ProposedCommit,
    time: u64,
    pledge: Pledge,
    dead_letters: &DeadLetterExtents,
) -> OpenCommit {
    batch.tip.commit += 1;
    batch.tip.time = time;
    let first_position = batch.tip.position + 1;
    let mut position = first_position;
    let mut body = Body::default();
    let mut appends = SmallVec::with_capacity(commit.appends.len());
    let mut keyed = SmallVec::with_capacity(commit.appends.len());
    for append in commit.appends {
        let first_version = append.expected_version + 1;
        let lines = complete(append.lines, &append.keyed, position);
        position += lines.len() as u64;
        body.stream(&append.stream, first_version, &lines);
        if let Some(version) = versions.get_mut(&append.stream) {
            *version += lines.len() as u64;
        }
        appends.push(RecordedAppend {
            stream: append.stream,
            first_version,
            lines: lines.into(),
        });
        keyed.push(append.keyed);
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
        ends: Arc::default(),
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
        ReactionToWrite {
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
    OpenCommit {
        body,
        commit_number: batch.tip.commit,
        time,
        prepared: Prepared {
            place: CommitPlace::default(),
            commit: recorded,
            keyed,
            indexed: Vec::new(),
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
    use super::*;
    use crate::journal::local::fixture;
    use crate::journal::local::queue::Work;
    use crate::journal::{Damage, ProposedAppend};

    fn assemble(
        queued: Vec<Queued>,
        tip: &Tip,
        version: &VersionOf<'_>,
        dead_letters: &DeadLetterExtents,
        durability: Durability,
    ) -> Batch {
        let mut batch = OpenBatch::new(tip, durability);
        batch.add(queued, version, dead_letters);
        batch.seal()
    }

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

    /// Commits that were not decided on the refused commit are stored.
    #[test]
    fn a_stream_that_cannot_be_read_refuses_its_own_commits_only() {
        let queue = fixture::queue();
        let push = |commit| fixture::push(&queue, commit);
        let of = |id: &str, version| {
            let mut commit = commit(version);
            for append in &mut commit.appends {
                append.stream = StreamId::new("counter", id);
            }
            commit
        };
        let unreadable = push(of("unreadable", 3));
        let behind = push(ProposedCommit {
            after: vec![Arc::clone(&unreadable)],
            ..of("behind", 0)
        });
        let other = push(of("other", 0));
        let Work::Commits(queued) = queue.take() else {
            panic!("there are commits");
        };
        let version = |stream: &StreamId, _| match &*stream.instance_id {
            "unreadable" => Err(Damage::new("a", 1, "a line is cut").into()),
            _ => Ok(0),
        };
        let letters = DeadLetterExtents::new();
        let batch = assemble(
            queued,
            &Tip::default(),
            &version,
            &letters,
            Durability::Flush,
        );
        assert_eq!((batch.commits.len(), batch.refused.len()), (1, 0));
        for (outcome, reason) in [(unreadable, "a line is cut"), (behind, "decided on")] {
            let settled = outcome.get().unwrap().as_ref().unwrap_err().to_string();
            assert!(settled.contains(reason), "{settled}");
        }
        assert!(other.get().is_none());
    }

    /// A caller that waits for all commits before a time also waits for the commits before a conflict.
    #[test]
    fn nothing_is_passed_before_what_is_stored_before_a_conflict() {
        let queue = fixture::queue();
        let pushed = [0, 7, 0].map(|version| fixture::push(&queue, commit(version)));
        let Work::Commits(queued) = queue.take() else {
            panic!("there are commits");
        };
        let (tip, letters) = (Tip::default(), DeadLetterExtents::new());
        let batch = assemble(queued, &tip, &|_, _| Ok(0), &letters, Durability::Flush);
        assert_eq!((batch.commits.len(), batch.refused.len()), (1, 2));
        for outcome in &pushed {
            assert!(outcome.get().is_none(), "the first one is not stored yet");
        }
        assert!(queue.pass(0).is_some());
    }
}
