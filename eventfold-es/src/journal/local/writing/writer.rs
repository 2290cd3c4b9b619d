//! Making commits durable: all waiting commits go into one write and one sync.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::disk::FileError;
use crate::journal::local::backlog::Backlog;
use crate::journal::local::batch::{Batch, DeadLetterExtents, Prepared};
use crate::journal::local::history::History;
use crate::journal::local::jobs::{DurableBatch, Job, Jobs};
use crate::journal::local::linger::Linger;
use crate::journal::local::log::Archived;
use crate::journal::local::log::{JournalLog, SwapError};
use crate::journal::local::pulse::Pulse;
use crate::journal::local::queue::{BEHIND_CONFLICT, PANICKED, Pledge, Queue, Queued, Work};
use crate::journal::local::release::Release;
use crate::journal::local::replica::{NotAppended, Replica};
use crate::journal::local::rows::RowTables;
use crate::journal::local::scan::Tip;
use crate::journal::local::streams::StreamIndex;
use crate::journal::{CommitError, CommitPlace, Durability, Receipt};
use crate::sabotage::{Bug, planted};
use crate::threads::{Next, Turn, Turns};

/// The step in which the file is filled with zeros ahead, in bytes. A sync of existing bytes is faster than a sync of a longer
/// file.
const FILL_BYTES: u64 = 256 << 10;

pub(in crate::journal::local) struct Writer {
    pub(in crate::journal::local) log: Arc<JournalLog>,
    pub(in crate::journal::local) pulse: Arc<Pulse>,
    pub(in crate::journal::local) durability: Durability,
    pub(in crate::journal::local) queue: Arc<Queue>,
    pub(in crate::journal::local) streams: Arc<StreamIndex>,
    pub(in crate::journal::local) history: Arc<History>,
    pub(in crate::journal::local) backlog: Arc<Backlog>,
    pub(in crate::journal::local) rows: Arc<RowTables>,
    pub(in crate::journal::local) jobs: Arc<Jobs>,
    /// The end of the durable text.
    pub(in crate::journal::local) tip: Tip,
    /// The length of the file, trailing zeros included.
    pub(in crate::journal::local) filled: u64,
    /// The usual time of a sync; zero before the first.
    pub(in crate::journal::local) sync_time: Duration,
    /// Whether it spins for the next command of a lone client.
    pub(in crate::journal::local) linger: Linger,
    /// The number of commands in the last batch, whose clients may send their next ones.
    pub(in crate::journal::local) answered: usize,
    /// Whether it waits for the next commands of these clients.
    pub(in crate::journal::local) returning: Linger,
    /// Whether it waits for reactions.
    pub(in crate::journal::local) reactions: Linger,
    pub(in crate::journal::local) dead_letters: DeadLetterExtents,
    /// Work that waits for room in the backlog.
    pub(in crate::journal::local) held: Option<Work>,
    /// The log that takes each batch first, if the journal is replicated.
    pub(in crate::journal::local) replica: Option<Replica>,
    /// Dropped last.
    pub(in crate::journal::local) _release: Arc<Release>,
}

/// The outcome of a write of a batch.
pub(in crate::journal::local) enum Written {
    Durable,
    /// None of the batch is on the disk.
    CutBack(FileError),
    /// It is unknown whether the batch is on the disk, now or after a restart.
    Unknown(FileError),
}

impl Turns for Writer {
    /// Writes until nothing waits, or until other stores wait.
    fn turn(&mut self, turn: &Turn<'_>) -> Next {
        let mut was_alone = false;
        loop {
            if was_alone && self.is_waited_for() && !turn.others_wait() {
                // With work that has come meanwhile, this returns at once.
                self.linger.for_next(&self.queue);
            }
            was_alone = false;
            if !turn.others_wait() {
                self.await_answered();
            }
            let work = match self.held.take() {
                Some(held) => held,
                None => self.queue.take(),
            };
            let work = match work {
                Work::Commits(_) | Work::Errand(_) => work,
                Work::ReplaceActive(archived) => {
                    self.replace_active(archived);
                    continue;
                }
                Work::Nothing => return Next::Idle,
                Work::Resigned => {
                    self.resign();
                    continue;
                }
                Work::Ended => {
                    self.cut_zeros();
                    return Next::Ended;
                }
            };
            let room = match &work {
                Work::Errand(errand) if !errand.adds() => Ok(true),
                _ => self.backlog.has_room(),
            };
            match (room, work) {
                (Ok(false), work) => {
                    self.held = Some(work);
                    return Next::Idle;
                }
                (Ok(true), Work::Commits(queued)) => {
                    was_alone = queued.len() == 1;
                    self.write_batch(queued, !turn.others_wait());
                }
                (Ok(true), Work::Errand(errand)) => self.run(errand),
                (Err(reason), Work::Commits(queued)) => {
                    let reason = format!(
                        "the backlog is full, and the derived files cannot be written: {reason}"
                    );
                    // Another node may take commands.
                    self.detach_if_node(&reason);
                    let error = CommitError::Refused(reason.into());
                    let failed = queued.into_iter();
                    let failed = failed.map(|queued| (queued.pledge, error.clone()));
                    self.queue.undo(failed, &error);
                }
                (Err(reason), Work::Errand(errand)) => errand.refuse(&reason),
                (_, Work::ReplaceActive(_) | Work::Nothing | Work::Resigned | Work::Ended) => {}
            }
            if turn.others_wait() {
                return Next::Again;
            }
        }
    }

    fn panicked(&mut self) {
        self.queue.poison_with(PANICKED);
        self.backlog.failed(PANICKED);
    }
}

impl Drop for Writer {
    /// Nothing further is written to the journal. The derived files are completed.
    fn drop(&mut self) {
        self.backlog.close();
        // A poisoned store takes no checkpoint: the content of the disk is known only after the next opening.
        let take_checkpoint = self.queue.poison().is_none() && self.queue.read_only().is_none();
        self.jobs.hand_over(Job::Close { take_checkpoint });
    }
}

impl Writer {
    /// Whether callers wait until a batch is durable.
    pub(super) fn is_waited_for(&self) -> bool {
        self.durability == Durability::Sync || self.replica.is_some()
    }

    fn write_batch(&mut self, queued: Vec<Queued>, may_wait: bool) {
        let mut batch = self.gather(queued, may_wait);
        let refused = std::mem::take(&mut batch.refused);
        if !batch.commits.is_empty() {
            self.commit(batch);
        }
        if !refused.is_empty() {
            self.queue
                .undo(refused, &CommitError::Refused(BEHIND_CONFLICT.into()));
        }
    }

    /// Cuts the file to the written text.
    fn cut_zeros(&mut self) {
        if self.queue.poison().is_none()
            && let Err(error) = self.cut_back()
        {
            tracing::warn!(%error, "the zeros behind the journal were not cut off");
        }
    }

    fn replace_active(&mut self, archived: Archived) {
        if self.queue.poison().is_some() {
            return self.queue.replaced();
        }
        match self.log.replace_active(archived, self.tip.offset) {
            Ok(()) => self.filled = self.tip.offset,
            Err(SwapError::Unchanged(error)) => {
                tracing::warn!(%error, "the journal could not be rotated; a later checkpoint retries it");
            }
            Err(SwapError::Unknown(error)) => self.queue.poison_with(&error.to_string()),
        }
        self.queue.replaced();
    }

    fn commit(&mut self, batch: Batch) {
        if planted(Bug::AcknowledgeEarly) {
            for Prepared {
                pledge, receipt, ..
            } in &batch.commits
            {
                pledge.settle(Ok(receipt.clone()));
            }
        }
        match self.append_to_log(&batch) {
            Ok(()) => {}
            Err(NotAppended::Never(error)) => return self.refuse(batch, &error),
            Err(NotAppended::Unsettled) => return self.keep_unsettled(batch),
        }
        match self.write(&batch) {
            Written::Durable => {
                self.pulse.wrote(None);
                self.publish(batch);
            }
            Written::CutBack(error) | Written::Unknown(error) if self.replica.is_some() => {
                self.poison_behind_log(batch, &error);
            }
            Written::CutBack(error) => {
                let reason: Arc<str> = format!("the journal could not be written ({error})").into();
                // Before the answer: a caller who learns of the failure finds it in the health.
                self.pulse.wrote(Some(Arc::clone(&reason)));
                self.refuse(batch, &CommitError::Refused(reason));
            }
            Written::Unknown(error) => {
                let reason = format!(
                    "{error}. Whether the last commits are stored is known when the store is opened again; until then \
                     nothing can be written"
                );
                let error = CommitError::OutcomeUnknown(reason.as_str().into());
                // Whoever learns of the failure finds the store poisoned.
                self.queue.poison_with(&reason);
                for pledge in pledges(batch) {
                    pledge.settle(Err(error.clone()));
                }
                self.queue.audience().end(self.tip.position);
            }
        }
    }

    /// Fails a batch that is not stored, and all commits behind it.
    pub(in crate::journal::local) fn refuse(&mut self, batch: Batch, error: &CommitError) {
        self.queue.audience().end(self.tip.position);
        let failed = pledges(batch).map(|pledge| (pledge, error.clone()));
        self.queue.undo(failed, error);
    }

    /// Writes the batch to the file of the journal.
    pub(in crate::journal::local) fn write(&mut self, batch: &Batch) -> Written {
        let text = batch.text.as_bytes();
        let mut written = self.write_filled(text, &batch.tip);
        if written.is_err() && self.filled < batch.tip.offset {
            // The disk may have room for the batch, but not for the zeros.
            written = match self.cut_back() {
                Ok(()) => {
                    let journal = self.log.parts();
                    journal.write_all_at(text, self.tip.offset).map(|()| {
                        self.filled = batch.tip.offset;
                    })
                }
                Err(error) => return Written::Unknown(error),
            };
        }
        if let Err(error) = written {
            if planted(Bug::NoCutBack) {
                return Written::CutBack(error);
            }
            return match self.cut_back() {
                Ok(()) => Written::CutBack(error),
                Err(error) => Written::Unknown(error),
            };
        }
        // Only the first batch without a waiting caller is synced. If anything behind it is lost, it tells recovery that this
        // is no damage.
        let is_in_log = self.replica.is_some();
        if is_in_log || (batch.tip.flush && self.tip.flush) || planted(Bug::SkipSync) {
            return Written::Durable;
        }
        let begun = Instant::now();
        match self.log.parts().sync_data() {
            Ok(()) => {
                self.note_sync(begun.elapsed());
                self.pulse.synced(self.queue.clock());
                Written::Durable
            }
            Err(error) => Written::Unknown(error),
        }
    }

    /// Writes the batch. If it reaches the end of the file, zeros are written behind it.
    fn write_filled(&mut self, text: &[u8], tip: &Tip) -> Result<(), FileError> {
        if tip.offset <= self.filled {
            return self.log.parts().write_all_at(text, self.tip.offset);
        }
        let filled = (tip.offset + 1).next_multiple_of(FILL_BYTES);
        let length = usize::try_from(filled - self.tip.offset).unwrap_or(text.len());
        let mut bytes = Vec::with_capacity(length);
        bytes.extend_from_slice(text);
        bytes.resize(length.max(text.len()), 0);
        self.log.parts().write_all_at(&bytes, self.tip.offset)?;
        self.filled = filled;
        Ok(())
    }

    /// Cuts the file to its durable text.
    fn cut_back(&mut self) -> Result<(), FileError> {
        let journal = self.log.parts();
        journal.set_len(self.tip.offset)?;
        self.filled = self.tip.offset;
        journal.sync_data()
    }

    /// Publishes a durable batch: first to followers, then to the derived files, and last to the callers that wait for it.
    pub(in crate::journal::local) fn publish(&mut self, batch: Batch) {
        let mut pledges = Vec::with_capacity(batch.commits.len());
        let mut reactions = Vec::new();
        let mut on_settled = Vec::new();
        let bytes = batch.text.len();
        let mut line_start = self.tip.offset;
        for prepared in batch.commits {
            for append in prepared.indexed.iter() {
                self.streams.appends.note(append);
            }
            for append in prepared.appends() {
                self.streams.appends.note(&append);
            }
            let commit = Arc::new(prepared.commit);
            let CommitPlace { offset, length, .. } = prepared.place;
            line_start = offset;
            self.history.push(Arc::clone(&commit), offset, length);
            if batch.is_foreign {
                for append in &commit.appends {
                    self.queue.standing().applied(&append.stream);
                }
            }
            if let Some(mut reaction) = prepared.reaction {
                let rows = std::mem::take(&mut reaction.rows);
                if !rows.is_empty() {
                    let (name, commit) = (&reaction.process_manager, reaction.state.commit);
                    self.rows.change(name, commit, rows);
                }
                if let Some(replica) = &self.replica {
                    replica.reacted(&reaction);
                }
                reactions.push(reaction);
            }
            if let Some(on_durable) = prepared.on_durable {
                on_durable(&prepared.receipt);
            }
            on_settled.extend(prepared.on_settled);
            pledges.push((prepared.pledge, prepared.receipt));
        }
        if !batch.is_foreign {
            self.answered = pledges.len() - reactions.len();
        }
        self.dead_letters.extend(batch.dead_letters);
        self.tip = batch.tip;
        if self.replica.is_some() {
            let standing = self.queue.standing();
            standing.has_batch(self.tip.batch, self.tip.position);
        }
        self.backlog.add(bytes);
        let job = Job::Batch(DurableBatch {
            reactions,
            tip: self.tip.clone(),
            line_start,
            bytes,
        });
        if !self.jobs.hand_over(job) {
            // The worker ends before the writer only after a panic.
            self.queue.poison_with(PANICKED);
        }
        self.history.publish(self.tip.offset, self.tip.position);
        self.queue.audience().end(self.tip.position);
        if let Some(shown) = batch.shown {
            pledges.push((shown, Receipt::of_nothing(self.tip.position)));
        }
        // A caller that waits for its command and the reactions to it is woken once, when all of them are settled.
        for (pledge, receipt) in &mut pledges {
            pledge.set(Ok(std::mem::take(receipt)));
        }
        for on_settled in on_settled {
            on_settled();
        }
        for (pledge, _) in pledges {
            pledge.tell();
        }
    }
}

/// The pledges of a batch that is not durable. Each of them must be settled.
pub(in crate::journal::local) fn pledges(batch: Batch) -> impl Iterator<Item = Pledge> {
    let commits = batch.commits.into_iter();
    commits.map(|prepared| prepared.pledge).chain(batch.shown)
}
