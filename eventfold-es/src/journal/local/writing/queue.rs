//! The commits that wait for the writer.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, Weak};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use crate::clock::{Clock, StoreClock};
use crate::journal::local::appends::lock;
use crate::journal::local::log::Archived;
use crate::journal::local::replica::Errand;
use crate::journal::standing::Standing;
use crate::journal::{Audience, CommitError, Outcome, ProposedCommit, Receipt, Room, Spent};
use crate::replication::Role;
use crate::sabotage::{Bug, planted};
use crate::threads::Worker;

/// The maximum number of waiting commits.
const CAPACITY: usize = 8192;
/// The maximum number of commits in a batch.
const BATCH_COMMITS: usize = 1024;
/// The maximum number of bytes of events in a batch, unless a single commit is larger.
const BATCH_BYTES: usize = 1 << 20;

/// The approximate size of a line beside its parts, and of each part beside its content, in bytes.
const PART_BYTES: usize = 320;

/// The reason for the poisoning after a panic of the store's code or of its disk.
pub(in crate::journal) const PANICKED: &str =
    "a thread of the journal panicked; open the store again";

/// The reason for refusing the commits behind a conflict.
pub(in crate::journal) const BEHIND_CONFLICT: &str =
    "an earlier commit conflicted with the stored events; try again";

/// The reason for refusing a commit that was decided on a commit that was not stored.
pub(in crate::journal) const BEHIND_FAILURE: &str =
    "an earlier commit that this commit was decided on could not be written; try again";

/// A commit on its way to the writer.
pub(in crate::journal) struct Queued {
    pub(in crate::journal) commit: ProposedCommit,
    /// The time at which the commit counts as stored, in milliseconds since 1970.
    pub(in crate::journal) time: u64,
    pub(in crate::journal) pledge: Pledge,
    _room: Room,
}

/// The duty to settle an outcome. A drop before that, which only a panic causes, settles it, so that no caller waits
/// forever.
pub(in crate::journal) struct Pledge(Arc<Outcome>);

impl Pledge {
    /// The pledge of a whole batch, with its outcome.
    pub(in crate::journal) fn of_batch() -> Self {
        Self(Arc::default())
    }

    pub(in crate::journal) fn outcome(&self) -> &Arc<Outcome> {
        &self.0
    }

    pub(in crate::journal) fn settle(&self, result: Result<Receipt, CommitError>) {
        self.0.settle(result);
    }

    /// See [`Outcome::set`].
    pub(in crate::journal) fn set(&self, result: Result<Receipt, CommitError>) {
        self.0.set(result);
    }

    /// See [`Outcome::tell`].
    pub(in crate::journal) fn tell(&self) {
        self.0.tell();
    }

    /// See [`Outcome::keep`].
    pub(in crate::journal) fn keep(&self, spent: Spent) {
        self.0.keep(spent);
    }
}

impl Drop for Pledge {
    fn drop(&mut self) {
        if self.0.get().is_none() {
            self.0
                .settle(Err(CommitError::OutcomeUnknown(PANICKED.into())));
        }
    }
}

/// The approximate size that a commit adds to the journal, in bytes.
fn byte_count(commit: &ProposedCommit) -> usize {
    let appends = commit.appends.iter();
    let appends = appends.map(|append| append.byte_count() + PART_BYTES);
    let reaction = commit.reaction.as_ref();
    PART_BYTES
        + appends.sum::<usize>()
        + reaction.map_or(0, |reaction| reaction.byte_count() + PART_BYTES)
}

/// The next task of the writer.
pub(in crate::journal) enum Work {
    Commits(Vec<Queued>),
    /// Let the active file of the journal begin behind the archived part.
    ReplaceActive(Archived),
    /// Follow the replicated log.
    Errand(Errand),
    /// Idle until the next wake-up.
    Nothing,
    /// The queue takes no more commits and is empty: another node may lead.
    Resigned,
    /// The queue is closed and empty.
    Ended,
}

pub(in crate::journal) struct Queue {
    room: Arc<Semaphore>,
    state: Mutex<QueueState>,
    writer: Worker,
    /// Set under the lock of the state, and read with every event that is handled.
    poison: OnceLock<Arc<str>>,
    /// The reason for refusing every commit, if the file system is read-only.
    read_only: Option<Arc<str>>,
    clock: StoreClock,
    audience: Arc<Audience>,
    standing: Standing,
    /// Whether something waits for the writer, for a query without the lock.
    has_work: AtomicBool,
    /// The maximum number of bytes in a batch, unless a single commit is larger.
    batch_bytes: AtomicUsize,
    /// The maximum number of bytes in a commit: those of an entry of the replicated log.
    commit_bytes: AtomicUsize,
}

#[derive(Default)]
struct QueueState {
    waiting: VecDeque<Queued>,
    /// No later commit gets an earlier time.
    time: u64,
    /// The outcome of the last commit that was added.
    last: Weak<Outcome>,
    archived: Option<Archived>,
    errands: VecDeque<Errand>,
    /// Whether the replacement of the active file is due or in progress.
    is_replacing: bool,
    /// Whether it takes no more commits.
    is_closed: bool,
    /// Whether the writer knows that the last commit is written.
    has_resigned: bool,
    /// Whether the writer may end.
    may_end: bool,
    has_ended: bool,
    /// Whether the writer found nothing to do, so that it has to be woken.
    is_idle: bool,
    /// The writer, while it waits until so many commits wait.
    gathers: Option<(usize, Thread)>,
}

impl QueueState {
    fn has_task_beside_commits(&self) -> bool {
        self.is_closed || self.archived.is_some() || !self.errands.is_empty()
    }

    /// The writer, if it has waited for enough.
    fn gathered(&mut self) -> Option<Thread> {
        let (wanted, _) = self.gathers.as_ref()?;
        let is_enough = self.waiting.len() >= *wanted || self.has_task_beside_commits();
        let (_, writer) = self.gathers.take_if(|_| is_enough)?;
        Some(writer)
    }
}

impl Queue {
    /// The queue of a journal whose last commit has this time.
    pub(in crate::journal) fn new(
        last_commit: u64,
        clock: Arc<dyn Clock>,
        read_only: Option<Arc<str>>,
        writer: Worker,
        audience: Arc<Audience>,
    ) -> Self {
        Self {
            audience,
            standing: Standing::alone(),
            has_work: AtomicBool::new(false),
            batch_bytes: AtomicUsize::new(BATCH_BYTES),
            commit_bytes: AtomicUsize::new(usize::MAX),
            read_only,
            clock: StoreClock::behind(last_commit, clock),
            room: Arc::new(Semaphore::new(CAPACITY)),
            state: Mutex::new(QueueState {
                time: last_commit,
                ..QueueState::default()
            }),
            writer,
            poison: OnceLock::new(),
        }
    }

    pub(in crate::journal) fn room(&self) -> &Arc<Semaphore> {
        &self.room
    }

    pub(in crate::journal) fn clock(&self) -> &StoreClock {
        &self.clock
    }

    pub(in crate::journal) fn audience(&self) -> &Arc<Audience> {
        &self.audience
    }

    pub(in crate::journal) fn standing(&self) -> &Standing {
        &self.standing
    }

    /// Changes the role. Unless this node is the leader now, every waiting commit fails.
    ///
    /// A commit is added under the same lock, and only in its term. So no commit of an earlier term waits afterwards.
    pub(in crate::journal) fn change_role(&self, role: Role) {
        let mut state = lock(&self.state);
        let former = self.standing.set(role.clone());
        if self.standing.term().is_none() {
            let error = self.standing.reason();
            for queued in state.waiting.drain(..) {
                queued.pledge.settle(Err(error.clone()));
            }
        }
        drop(state);
        if let Some(former) = former {
            self.standing.log_change(&former, &role);
        }
    }

    /// See [`Log::pass`](crate::journal::Log::pass).
    pub(in crate::journal) fn pass(&self, time: u64) -> Option<Arc<Outcome>> {
        let mut state = lock(&self.state);
        state.time = state.time.max(time.saturating_add(1));
        let last = state.last.upgrade();
        last.filter(|last| last.get().is_none())
    }

    pub(in crate::journal) fn read_only(&self) -> Option<Arc<str>> {
        self.read_only.clone()
    }

    pub(in crate::journal) fn poison(&self) -> Option<Arc<str>> {
        self.poison.get().cloned()
    }

    pub(in crate::journal) fn push(&self, room: Room, commit: ProposedCommit) -> Arc<Outcome> {
        let outcome = Arc::new(Outcome::default());
        let now = self.clock.now_ms();
        let mut state = lock(&self.state);
        let is_undone = || commit.is_undone() && !planted(Bug::UndoNotTransitive);
        let refusal = match (self.poison.get(), &self.read_only) {
            (Some(reason), _) => Some(CommitError::Poisoned(Arc::clone(reason))),
            (None, _) if state.is_closed => Some(CommitError::Closed),
            (None, Some(reason)) => Some(CommitError::ReadOnly(Arc::clone(reason))),
            // A commit that was decided on a commit of a lost term gets the reason of both.
            (None, None) => self
                .standing
                .refusal(room.term)
                .or_else(|| is_undone().then(|| CommitError::Refused(BEHIND_FAILURE.into())))
                .or_else(|| self.too_large(&commit)),
        };
        match refusal {
            Some(error) => outcome.settle(Err(error)),
            None => {
                state.time = state.time.max(now);
                state.last = Arc::downgrade(&outcome);
                let time = state.time;
                state.waiting.push_back(Queued {
                    commit,
                    time,
                    pledge: Pledge(Arc::clone(&outcome)),
                    _room: room,
                });
            }
        }
        self.has_work.store(true, Ordering::Release);
        let is_plain = self.audience.is_waited_for() && self.has_plain_in(state.waiting.back());
        self.wake_writer(state);
        if is_plain {
            self.audience.interrupt();
        }
        outcome
    }

    /// Wakes the writer, if it waits for this commit or task.
    fn wake_writer(&self, mut state: MutexGuard<'_, QueueState>) {
        let (is_idle, gathered) = (std::mem::take(&mut state.is_idle), state.gathered());
        drop(state);
        if is_idle {
            self.writer.wake();
        }
        if let Some(writer) = gathered {
            writer.unpark();
        }
    }

    /// Asks the writer to let the active file of the journal begin behind the archived part.
    pub(in crate::journal) fn replace_active(&self, archived: Archived) {
        let mut state = lock(&self.state);
        state.archived = Some(archived);
        state.is_replacing = true;
        self.wake_writer(state);
    }

    /// The reason for refusing a commit that no entry of the log can hold. No other commit fails with it.
    fn too_large(&self, commit: &ProposedCommit) -> Option<CommitError> {
        let limit = self.commit_bytes.load(Ordering::Relaxed);
        let bytes = match limit {
            usize::MAX => return None,
            _ => byte_count(commit),
        };
        (bytes > limit).then(|| {
            let reason = format!(
                "the commit has about {bytes} bytes, and an entry of the replicated log has at most {limit} bytes: let it store less, or raise \
                 that limit (with NATS, `max_payload` of the servers)"
            );
            CommitError::TooLarge(reason.into())
        })
    }

    fn batch_bytes(&self) -> usize {
        self.batch_bytes.load(Ordering::Relaxed)
    }

    /// Keeps batches below the size of an entry of the replicated log. The sizes of commits are estimates.
    pub(in crate::journal) fn limit_batches(&self, entry_bytes: usize) {
        let bytes = BATCH_BYTES.min(entry_bytes / 8 * 7);
        self.batch_bytes.store(bytes, Ordering::Relaxed);
        self.commit_bytes.store(entry_bytes, Ordering::Relaxed);
    }

    /// Gives the writer an errand of the node. The queue of a writer that has ended drops it, and with it the sender of its answer.
    pub(in crate::journal) fn send(&self, errand: Errand) {
        let mut state = lock(&self.state);
        if state.has_ended {
            return;
        }
        state.errands.push_back(errand);
        self.wake_writer(state);
    }

    /// The time of a commit that is written now, in milliseconds since 1970.
    pub(in crate::journal) fn time(&self) -> u64 {
        let now = self.clock.now_ms();
        let mut state = lock(&self.state);
        state.time = state.time.max(now);
        state.time
    }

    /// Gives every later commit at least the time of a commit of another node.
    pub(in crate::journal) fn is_behind(&self, time: u64) {
        self.clock.is_behind(time);
        let mut state = lock(&self.state);
        state.time = state.time.max(time);
    }

    /// Records that the active file was replaced, or that its replacement was given up.
    pub(in crate::journal) fn replaced(&self) {
        lock(&self.state).is_replacing = false;
    }

    pub(in crate::journal) fn is_replacing(&self) -> bool {
        lock(&self.state).is_replacing
    }

    /// Whether a commit is added within a moment. The thread spins meanwhile.
    pub(in crate::journal) fn gets_work_within(&self, moment: Duration) -> bool {
        let begun = Instant::now();
        while !self.has_work.load(Ordering::Acquire) {
            if begun.elapsed() >= moment {
                return false;
            }
            std::hint::spin_loop();
        }
        true
    }

    /// Waits until `more` commits are added, or until there is another task. After the first of them, a pause of `silence` ends the wait, too.
    /// Without a first commit, the time `until` ends it. Returns the number of waiting commits before and after.
    pub(in crate::journal) fn await_more(
        &self,
        more: usize,
        until: Instant,
        silence: Duration,
    ) -> (usize, usize) {
        let mut state = lock(&self.state);
        let before = state.waiting.len();
        let wanted = (before + more).min(BATCH_COMMITS);
        let (mut seen, mut look) = (before, Instant::now() + silence);
        while state.waiting.len() < wanted && !state.has_task_beside_commits() {
            let now = Instant::now();
            if now >= look {
                let count = state.waiting.len();
                let is_silent = count == seen && (count > before || now >= until);
                if is_silent {
                    break;
                }
                (seen, look) = (count, now + silence);
            }
            state.gathers = Some((wanted, thread::current()));
            drop(state);
            thread::park_timeout(look - now);
            state = lock(&self.state);
        }
        state.gathers = None;
        (before, state.waiting.len())
    }

    #[cfg(test)]
    pub(in crate::journal) fn is_awaiting_more(&self) -> bool {
        lock(&self.state).gathers.is_some()
    }

    /// Takes the next task: at most as many commits as a batch holds.
    pub(in crate::journal) fn take(&self) -> Work {
        let mut state = lock(&self.state);
        if let Some(archived) = state.archived.take() {
            return Work::ReplaceActive(archived);
        }
        if let Some(errand) = state.errands.pop_front() {
            return Work::Errand(errand);
        }
        if state.waiting.is_empty() {
            if state.is_closed && !std::mem::replace(&mut state.has_resigned, true) {
                return Work::Resigned;
            }
            if state.may_end {
                state.has_ended = true;
                return Work::Ended;
            }
            state.is_idle = true;
            self.has_work.store(false, Ordering::Release);
            return Work::Nothing;
        }
        Work::Commits(self.take_up_to(&mut state, BATCH_COMMITS, self.batch_bytes()))
    }

    /// Takes more commits for a batch that has this many commits and bytes.
    pub(in crate::journal) fn take_more(&self, commits: usize, bytes: usize) -> Vec<Queued> {
        let (commits, bytes) = (
            BATCH_COMMITS.saturating_sub(commits),
            self.batch_bytes().saturating_sub(bytes),
        );
        match commits > 0 && bytes > 0 {
            true => self.take_up_to(&mut lock(&self.state), commits, bytes),
            false => Vec::new(),
        }
    }

    /// Whether a command without subscribed process managers waits.
    pub(in crate::journal) fn has_plain(&self) -> bool {
        self.has_plain_in(&lock(&self.state).waiting)
    }

    fn has_plain_in<'a>(&self, queued: impl IntoIterator<Item = &'a Queued>) -> bool {
        let mut queued = queued.into_iter();
        queued.any(|queued| self.audience.is_plain(&queued.commit))
    }

    /// The first waiting commits: at least one, unless none waits, and at most so many commits and bytes.
    fn take_up_to(&self, state: &mut QueueState, commits: usize, bytes: usize) -> Vec<Queued> {
        let waiting = &mut state.waiting;
        let mut taken_bytes = 0;
        let mut taken = Vec::with_capacity(waiting.len().min(commits));
        while let Some(next) = waiting.front() {
            taken_bytes += byte_count(&next.commit);
            if !taken.is_empty() && (taken_bytes > bytes || taken.len() >= commits) {
                break;
            }
            taken.extend(waiting.pop_front());
        }
        self.has_work.store(!waiting.is_empty(), Ordering::Release);
        taken
    }

    /// Fails these commits, each with its error, and every commit that was added so far.
    ///
    /// All of them fail at once. A caller that adds a new commit after it has learned of the failure is therefore behind it.
    /// A commit that was decided on a failed commit is refused.
    pub(in crate::journal) fn undo(
        &self,
        failed: impl IntoIterator<Item = (Pledge, CommitError)>,
        error: &CommitError,
    ) {
        let mut state = lock(&self.state);
        for (pledge, error) in failed {
            pledge.settle(Err(error));
        }
        if planted(Bug::UndoLeavesTheQueue) {
            return;
        }
        for queued in state.waiting.drain(..) {
            queued.pledge.settle(Err(error.clone()));
        }
    }

    /// Fails every waiting commit, and refuses every later commit.
    pub(in crate::journal) fn poison_with(&self, reason: &str) {
        if planted(Bug::NoPoison) {
            return;
        }
        let mut state = lock(&self.state);
        let poison = self.poison.get_or_init(|| {
            tracing::error!(
                reason,
                "the store is poisoned: nothing can be written any more"
            );
            reason.into()
        });
        let error = CommitError::Poisoned(Arc::clone(poison));
        for queued in state.waiting.drain(..) {
            queued.pledge.settle(Err(error.clone()));
        }
    }

    /// Wakes the writer, even if it is about to become idle.
    fn wake_even_if_busy(&self, mut state: MutexGuard<'_, QueueState>) {
        state.is_idle = true;
        self.wake_writer(state);
    }

    /// Takes no more commits, and lets another node lead when the waiting commits are written.
    pub(in crate::journal) fn resign(&self) {
        // A command without events needs room, too, and no commit.
        self.room.close();
        let mut state = lock(&self.state);
        state.is_closed = true;
        self.wake_even_if_busy(state);
    }

    /// [Resigns](Self::resign), and ends.
    pub(in crate::journal) fn close(&self) {
        self.room.close();
        let mut state = lock(&self.state);
        state.is_closed = true;
        state.may_end = true;
        self.wake_even_if_busy(state);
    }
}
