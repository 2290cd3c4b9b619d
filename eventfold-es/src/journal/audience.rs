//! The process managers that see a batch before it is durable, so that their reactions join it.
//!
//! The writer shows the commits of a batch as soon as they have their positions. Each process manager reacts, submits its
//! commits behind the shown ones, and reports its position. The writer waits for that during a moment that is shorter
//! than a sync. So a command and its reaction share one write, one sync and one answer.
//!
//! All shown commits of a batch depend on one [`Outcome`]. A reaction names it in
//! [`ProposedCommit::after`](super::ProposedCommit::after), and is refused if the batch fails.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::{Cursor, Outcome, ProposedCommit, RecordedCommit};

/// The time for which the writer spins before it parks. Waking a parked thread takes about as long as a short reaction.
const SPIN: Duration = Duration::from_micros(40);
/// The number of consecutive waits without a reaction after which the writer waits for callers only, see [`Seat::new`].
const MAX_IN_VAIN: u32 = 8;

/// See the [module](self).
pub(crate) struct Audience {
    state: Mutex<State>,
    /// The last position that process managers may handle: of the last durable event, or of the last shown event.
    shown: watch::Sender<u64>,
    /// Whether the writer waits.
    is_waiting: AtomicBool,
}

#[derive(Default)]
struct State {
    seats: Vec<SeatState>,
    next_id: u64,
    batch: Option<EarlyCommits>,
    /// The writer, while it waits.
    writer: Option<Thread>,
    /// The number of consecutive waits that brought no reaction.
    in_vain: u32,
}

/// Shown commits, with the outcome of their batch.
pub(crate) struct EarlyCommits {
    pub(crate) commits: Vec<Arc<RecordedCommit>>,
    pub(crate) outcome: Arc<Outcome>,
}

/// The outcome of a wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waited {
    /// No process manager was awaited.
    ForNobody,
    /// All awaited process managers have seen all, or the wait was interrupted.
    UntilSeen,
    /// The time was over first.
    TooLong,
}

struct SeatState {
    id: u64,
    types: &'static [&'static str],
    has_callers: bool,
    /// The position up to which its reactions are submitted.
    seen: u64,
    /// The position of the last event of its types.
    due: u64,
    /// Whether it has events in this batch, and whether it had seen all earlier ones. The writer waits for no other.
    attends: Option<bool>,
}

impl SeatState {
    fn is_awaited(&self) -> bool {
        self.attends == Some(true) && self.seen < self.due
    }
}

impl State {
    fn is_anybody_awaited(&self) -> bool {
        let is_worth_it = self.in_vain < MAX_IN_VAIN;
        let mut awaited = self.seats.iter().filter(|seat| seat.is_awaited());
        awaited.any(|seat| seat.has_callers || is_worth_it)
    }

    /// Ends the batch: everything up to `position` is durable, and no other event is visible.
    fn end(&mut self, position: u64) -> Option<EarlyCommits> {
        for seat in &mut self.seats {
            seat.attends = None;
            seat.seen = seat.seen.min(position);
            seat.due = seat.due.min(position);
        }
        self.batch.take()
    }
}

impl Audience {
    /// An empty audience, for a journal whose last event has this position.
    pub(crate) fn new(durable: u64) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::default(),
            shown: watch::Sender::new(durable),
            is_waiting: AtomicBool::new(false),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every critical section leaves its data whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a process manager subscribes to one of the types.
    pub(crate) fn concerns(&self, commit: &RecordedCommit) -> bool {
        let state = self.state();
        let mut seats = state.seats.iter();
        seats.any(|seat| seat.is_concerned(commit))
    }

    /// Whether the commit is a command without a subscribed process manager. A batch with such a commit does not wait.
    pub(crate) fn is_plain(&self, commit: &ProposedCommit) -> bool {
        if commit.reaction.is_some() {
            return false;
        }
        let state = self.state();
        let mut types = commit
            .appends
            .iter()
            .map(|append| &*append.stream.aggregate_type);
        !types.any(|name| state.seats.iter().any(|seat| seat.types.contains(&name)))
    }

    /// Shows the next commits of a batch that has this outcome.
    pub(crate) fn show(&self, commits: Vec<Arc<RecordedCommit>>, outcome: &Arc<Outcome>) {
        let Some(last) = commits.last().map(|commit| commit.last_position()) else {
            return;
        };
        let mut state = self.state();
        for seat in &mut state.seats {
            let mut own = commits.iter().rev();
            if let Some(own) = own.find(|commit| seat.is_concerned(commit)) {
                let is_first = seat.seen >= seat.due;
                seat.attends.get_or_insert(is_first);
                seat.due = own.last_position();
            }
        }
        match &mut state.batch {
            Some(batch) => batch.commits.extend(commits),
            None => {
                let outcome = Arc::clone(outcome);
                state.batch = Some(EarlyCommits { commits, outcome });
            }
        }
        drop(state);
        self.move_to(last);
    }

    /// Waits until all attending process managers have handled the shown events, or until a time. Returns at once if
    /// `is_due`. [`interrupt`](Self::interrupt) ends the wait. It spins first, if `spins`.
    pub(crate) fn wait(
        &self,
        until: Instant,
        spins: bool,
        is_due: impl FnOnce() -> bool,
    ) -> Waited {
        {
            let mut state = self.state();
            if !state.is_anybody_awaited() {
                return Waited::ForNobody;
            }
            state.writer = Some(thread::current());
            self.is_waiting.store(true, Ordering::SeqCst);
        }
        // A command that was submitted before this call is found by it. A later submission sees that the writer waits.
        if is_due() {
            self.interrupt();
        }
        let parks_at = spins.then(|| Instant::now() + SPIN);
        let mut waited = Waited::UntilSeen;
        while self.is_waiting.load(Ordering::Acquire) {
            let now = Instant::now();
            if now >= until {
                waited = Waited::TooLong;
                break;
            }
            match parks_at.is_some_and(|parks_at| now < parks_at) {
                true => std::hint::spin_loop(),
                false => thread::park_timeout(until - now),
            }
        }
        self.is_waiting.store(false, Ordering::Release);
        self.state().writer = None;
        waited
    }

    /// Whether the writer waits.
    pub(crate) fn is_waited_for(&self) -> bool {
        self.is_waiting.load(Ordering::SeqCst)
    }

    /// Ends the wait of the writer.
    pub(crate) fn interrupt(&self) {
        let writer = self.state().writer.take();
        self.end_wait(writer);
    }

    fn end_wait(&self, writer: Option<Thread>) {
        if let Some(writer) = writer {
            self.is_waiting.store(false, Ordering::Release);
            writer.unpark();
        }
    }

    /// Notes whether a batch has a reaction, after a wait or without it.
    pub(crate) fn count(&self, has_reaction: bool) {
        let mut state = self.state();
        state.in_vain = match has_reaction {
            true => 0,
            false => state.in_vain.saturating_add(1),
        };
    }

    /// Ends the batch: the last durable event has this position. After a failure, it lies before the shown events.
    pub(crate) fn end(&self, durable: u64) {
        let batch = self.state().end(durable);
        drop(batch);
        self.move_to(durable);
    }

    fn move_to(&self, position: u64) {
        self.shown.send_if_modified(|shown| {
            let is_new = *shown != position;
            *shown = position;
            is_new
        });
    }

    /// The shown commit with the event at a position.
    pub(crate) fn commit_at(&self, position: u64) -> Option<Arc<RecordedCommit>> {
        let state = self.state();
        let mut commits = state.batch.iter().flat_map(|batch| &batch.commits);
        let is_it = |commit: &&Arc<RecordedCommit>| {
            (commit.first_position..=commit.last_position()).contains(&position)
        };
        commits.find(is_it).cloned()
    }
}

impl SeatState {
    fn is_concerned(&self, commit: &RecordedCommit) -> bool {
        let mut appends = commit.appends.iter();
        appends.any(|append| self.types.contains(&&*append.stream.aggregate_type))
    }
}

/// The place of a process manager in the audience, until it is dropped.
pub(crate) struct Seat {
    audience: Arc<Audience>,
    id: u64,
}

impl Seat {
    /// A seat for a process manager that has handled all events up to `position`. If callers wait for its reactions, the
    /// writer waits for them in any case, and otherwise only as long as reactions come.
    pub(crate) fn new(
        audience: &Arc<Audience>,
        types: &'static [&'static str],
        position: u64,
        has_callers: bool,
    ) -> Self {
        let mut state = audience.state();
        let id = state.next_id;
        state.next_id += 1;
        state.seats.push(SeatState {
            id,
            types,
            has_callers,
            seen: position,
            due: *audience.shown.borrow(),
            attends: None,
        });
        drop(state);
        let audience = Arc::clone(audience);
        Self { audience, id }
    }

    /// The last position that it may handle, as it changes. It goes back when a batch fails.
    pub(crate) fn shown(&self) -> watch::Receiver<u64> {
        self.audience.shown.subscribe()
    }

    /// The shown commits behind the cursor. Moves the cursor behind them. `None` without such commits, or if durable commits
    /// come first.
    pub(crate) fn read(&self, cursor: &mut Cursor) -> Option<EarlyCommits> {
        let state = self.audience.state();
        let batch = state.batch.as_ref()?;
        let first = batch.commits.first()?;
        if first.first_position > cursor.position + 1 {
            return None;
        }
        let is_read = |commit: &Arc<RecordedCommit>| commit.last_position() <= cursor.position;
        let start = batch.commits.partition_point(is_read);
        let commits = batch.commits.get(start..)?.to_vec();
        *cursor = Cursor::after(commits.last()?.last_position());
        let outcome = Arc::clone(&batch.outcome);
        Some(EarlyCommits { commits, outcome })
    }

    /// Says that all reactions up to `position` are submitted.
    pub(crate) fn has_seen(&self, position: u64) {
        self.change(|seat| seat.seen = position);
    }

    fn change(&self, change: impl FnOnce(&mut SeatState)) {
        let mut state = self.audience.state();
        let id = self.id;
        if let Some(seat) = state.seats.iter_mut().find(|seat| seat.id == id) {
            change(seat);
        }
        let writer = match state.is_anybody_awaited() {
            true => None,
            false => state.writer.take(),
        };
        drop(state);
        self.audience.end_wait(writer);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.change(|seat| seat.attends = None);
        let id = self.id;
        self.audience.state().seats.retain(|seat| seat.id != id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::{CommitError, ProposedAppend, ProposedReaction, RecordedAppend, StreamId};

    /// Longer than any step of these tests takes.
    const LONG: Duration = Duration::from_secs(60);

    /// A commit of one event.
    fn commit(position: u64, name: &str) -> Arc<RecordedCommit> {
        let append = RecordedAppend {
            stream: StreamId::new(name, "1"),
            first_version: position,
            lines: vec!["{}".into()].into(),
        };
        Arc::new(RecordedCommit {
            first_position: position,
            time: 0,
            reaction: None,
            appends: [append].into_iter().collect(),
        })
    }

    fn proposed(name: &str) -> ProposedCommit {
        let append = ProposedAppend {
            stream: StreamId::new(name, "1"),
            expected_version: 0,
            lines: vec!["{}".into()],
            keyed: Vec::new(),
        };
        ProposedCommit {
            appends: vec![append],
            ..ProposedCommit::default()
        }
    }

    /// Whether a wait lasts until its end.
    fn waits(audience: &Audience) -> bool {
        let until = Instant::now() + Duration::from_millis(5);
        audience.wait(until, true, || false) == Waited::TooLong
    }

    #[test]
    fn the_writer_waits_until_those_who_attend_have_seen_all_events_of_their_types() {
        let audience = Audience::new(9);
        let outcome = Arc::default();
        let orders = Seat::new(&audience, &["order"], 9, true);
        let late = Seat::new(&audience, &["order", "item"], 8, true);
        audience.show(vec![commit(10, "other")], &outcome);
        assert!(!waits(&audience), "nobody is concerned");
        audience.show(vec![commit(11, "order"), commit(12, "other")], &outcome);
        orders.has_seen(10);
        assert!(waits(&audience));
        thread::scope(|scope| {
            scope.spawn(|| {
                thread::sleep(2 * SPIN);
                orders.has_seen(11);
            });
            let begun = Instant::now();
            audience.wait(begun + LONG, true, || false);
            assert!(begun.elapsed() < LONG / 2);
        });
        // A process manager that lags is not awaited before it has caught up.
        late.has_seen(11);
        audience.end(12);
        audience.show(vec![commit(13, "item")], &Arc::default());
        assert!(waits(&audience));
        drop(late);
        assert!(!waits(&audience));
    }

    #[test]
    fn a_command_without_reactions_ends_the_wait() {
        let audience = Audience::new(0);
        let _seat = Seat::new(&audience, &["order"], 0, true);
        audience.show(vec![commit(1, "order")], &Arc::default());
        let begun = Instant::now();
        assert_eq!(
            audience.wait(begun + LONG, true, || true),
            Waited::UntilSeen
        );
        thread::scope(|scope| {
            scope.spawn(|| {
                while !audience.is_waited_for() {
                    thread::yield_now();
                }
                thread::sleep(2 * SPIN);
                audience.interrupt();
            });
            audience.wait(begun + LONG, true, || false);
        });
        assert!(begun.elapsed() < LONG / 2);
        let reaction = ProposedReaction {
            process_manager: "saga".into(),
            progress: crate::journal::Progress {
                position: 1,
                state: serde_json::value::RawValue::NULL.to_owned(),
            },
            dispatched: 1,
            rows: Vec::new(),
            dead_letters: Vec::new(),
        };
        let reaction = ProposedCommit {
            reaction: Some(reaction),
            ..proposed("other")
        };
        assert!(!audience.is_plain(&reaction));
        assert!(!audience.is_plain(&proposed("order")));
        assert!(audience.is_plain(&proposed("other")));
    }

    #[test]
    fn without_callers_the_writer_waits_as_long_as_reactions_come() {
        let audience = Audience::new(0);
        let background = Seat::new(&audience, &["order"], 0, false);
        for position in 1..=10 {
            audience.show(vec![commit(position, "order")], &Arc::default());
            assert_eq!(
                waits(&audience),
                position <= u64::from(MAX_IN_VAIN),
                "{position}"
            );
            audience.count(false);
            background.has_seen(position);
            audience.end(position);
        }
        audience.count(true);
        audience.show(vec![commit(11, "order")], &Arc::default());
        assert!(waits(&audience));
    }

    #[test]
    fn what_is_shown_is_read_once_and_is_gone_after_its_batch() {
        let audience = Audience::new(3);
        let seat = Seat::new(&audience, &["order"], 3, true);
        let shown = seat.shown();
        let outcome = Arc::default();
        audience.show(vec![commit(4, "order"), commit(5, "item")], &outcome);
        audience.show(vec![commit(6, "order")], &outcome);
        assert_eq!(*shown.borrow(), 6);
        let mut lagging = Cursor::after(2);
        assert!(
            seat.read(&mut lagging).is_none(),
            "a durable event comes first"
        );
        let mut cursor = Cursor::after(4);
        let read = seat.read(&mut cursor).map(|shown| shown.commits.len());
        assert_eq!((read, cursor.position), (Some(2), 6));
        assert!(seat.read(&mut cursor).is_none());
        assert!(audience.commit_at(5).is_some() && audience.commit_at(7).is_none());
        // The batch fails, and the next one has the same positions.
        outcome.settle(Err(CommitError::Closed));
        audience.end(3);
        assert_eq!(*shown.borrow(), 3);
        assert!(audience.commit_at(5).is_none());
        audience.show(vec![commit(4, "item")], &Arc::default());
        let mut cursor = Cursor::after(3);
        let read = seat.read(&mut cursor);
        assert!(read.is_some_and(|shown| shown.outcome.get().is_none()));
    }
}
