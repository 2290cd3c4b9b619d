//! The task of one process manager. It reads events in order and commits the effects of each reaction in one commit.

mod agenda;
mod catch_up;
mod commit;
pub(crate) mod correlation;
mod deadlines;
mod draft;
mod durable;
mod failed_command;
mod failed_reaction;
mod hand_over;
mod held;
mod in_flight;
mod instances;
mod react;
mod rebuild;
mod requests;
pub(crate) mod rows;
mod starts;
mod stays;
mod tally;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use super::Runtime;
use super::end::End;
use super::guarded::{Kept, guard_task};
use super::reactions::{Reactions, Setback, Stay};
use super::saved_state::decode_state;
use crate::clock::{Clock, millis_since_1970};
use crate::error::StoreError;
use crate::event::RecordedEvent;
use crate::journal::{Cursor, Progress, RowChange, SeenBefore, StreamId};
use crate::process_manager::{FailureCause, ProcessManager};

use agenda::Agenda;
pub(crate) use draft::Report;
use in_flight::InFlight;
use instances::Instances;
pub(crate) use rebuild::Rebuilt;
pub(crate) use requests::{Asked, Parked, Request};
use rows::RetryRow;
use starts::Starts;
pub(crate) use tally::{Tallied, Tally, TallyChange};

/// The maximum number of reactions in flight: submitted to the journal and not yet durable.
const MAX_IN_FLIGHT: usize = 1024;
/// The number of events without a commit after which the runner notes its progress.
const NOTE_EVENTS: u64 = 4096;
/// The maximum number of row changes that wait for a reaction with a commit.
const MAX_DIRTY: usize = 256;
/// The number of events to correlate before the runner loads their instances in one read.
const CHUNK_EVENTS: usize = 512;
/// The delay before a failed read or write is retried: the first delay, and the maximum.
const RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

/// The dependencies of a runner, apart from its process manager.
pub(crate) struct RunnerContext {
    pub(crate) runtime: Arc<Runtime>,
    /// The aggregate types whose events the process manager handles.
    pub(crate) subscriptions: &'static [&'static str],
    /// The index of the process manager among those of the store.
    pub(crate) member: usize,
    /// The maximum number of reactions in a chain.
    pub(crate) max_depth: u32,
    /// The number of starts of the program that the same work may abort before it is parked.
    pub(crate) max_starts: u32,
    /// Whether a state that does not decode parks the process manager. Otherwise its start fails.
    pub(crate) parks_unreadable: bool,
    /// The reason why the state is unusable, if it is already known.
    pub(crate) unreadable: Option<String>,
    pub(crate) clock: Arc<dyn Clock>,
    /// Whether deadlines fire and retries start on their own.
    pub(crate) fires: bool,
    /// The last position to handle.
    pub(crate) target: watch::Receiver<u64>,
    pub(crate) requests: mpsc::UnboundedReceiver<Request>,
    /// Becomes true when the store closes.
    pub(crate) closing: watch::Receiver<bool>,
    /// Dropped when the runner ends.
    pub(crate) _alive: mpsc::Sender<()>,
}

pub(crate) struct ProcessManagerRunner<PM: ProcessManager> {
    context: RunnerContext,
    name: Arc<str>,
    subscriptions: &'static [&'static str],
    instances: Instances<PM>,
    /// Row changes that are in no submitted commit yet.
    dirty: Dirty,
    /// Streams that are held because one of their events cannot be correlated, with the outcome for waiting callers.
    held_streams: HashMap<StreamId, Reactions>,
    timers: Agenda,
    pending: Agenda,
    is_paused: bool,
    /// Whether the durable rows are loaded.
    is_loaded: bool,
    /// The events that the state handled under an earlier version of the store. `None` if nothing was imported.
    seen_before: Option<Arc<SeenBefore>>,
    /// The position of the last processed event. Its effects may not be durable yet.
    position: u64,
    cursor: Cursor,
    /// The last durable progress. After a failure, the runner restarts from it.
    committed: Progress,
    in_flight: VecDeque<InFlight>,
    /// The number of the next commit to submit.
    next_commit: u64,
    /// The number of the last commit that is known to be durable.
    durable_commit: u64,
    /// The last position that was noted without a commit.
    noted: u64,
    /// The position of an event that an operator discarded.
    skipped: Option<u64>,
    /// The request to answer when the discard is durable.
    skip_answer: Option<requests::Asked>,
    /// The wait of the operator whose request the runner currently serves.
    operator: Option<u64>,
    /// Whether operators wait until the runner has no work left.
    is_going_on: bool,
    /// The row of the deadline or command that the runner currently processes.
    due: Option<Box<str>>,
    /// The position of an event whose reaction failed. Before the next delivery, the runner encodes the state, to restore it after another
    /// failure.
    cautious: Option<u64>,
    /// Whether pending retries start now, because an operator asked for them or because they are due.
    tries_now: bool,
    starts: Starts,
    /// The cause with which the next delivery fails, without a call of user code.
    given_up: Option<FailureCause>,
    /// The row of the deadline or command at which the whole process manager halts. It comes before all other work.
    stays_at: Option<Box<str>>,
    /// Without `key`: the reason why the state is unusable, until a rebuild replaces it.
    unreadable: Option<String>,
    /// Whether interrupted releases may exist.
    owes_releases: bool,
    /// A time, in milliseconds since 1970, and a position. Every commit after this position is stored later than this time.
    passed: Option<(u64, u64)>,
    /// The position of the last event that was counted as ignored, and the last of its joins that was counted, from 1.
    ignored_to: (u64, usize),
}

#[derive(Default)]
struct Dirty {
    rows: Vec<RowChange>,
    /// The position of the first event whose effects are in `rows`.
    first: Option<u64>,
    /// Unfinished work that callers may wait for.
    setbacks: Vec<Setback>,
    /// Dead letters, each as a line.
    dead_letters: Vec<Box<str>>,
    counts: Counts,
}

/// Counters that are reported when the commit is durable.
#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    /// Held events without an open instance at the time of their release.
    ignored: u64,
    /// Work that the failure policy skipped.
    skipped: u64,
}

impl Dirty {
    fn push(&mut self, row: RowChange, position: u64) {
        self.first.get_or_insert(position);
        self.rows.push(row);
    }

    /// Records that the reaction to an event, or other work, is not finished.
    fn set_back(&mut self, position: Option<u64>, outcome: Reactions) {
        self.setbacks.push(Setback { position, outcome });
    }

    fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

/// The reason why a runner stops reacting.
enum Halt {
    /// The reaction to this event fails, and the process manager parks.
    Parked { position: u64, reason: String },
    /// The failure policy stops the process manager at this event.
    Stopped { position: u64, reason: String },
    /// The delivery of this event, or of a deadline after it, is retried later.
    Waiting {
        position: u64,
        reason: String,
        retry: Box<RetryRow>,
    },
    /// A read or a commit failed and may succeed later.
    Retry,
    /// The runner restarts from its last durable commit without a delay.
    Back,
    /// No further write is possible.
    Ended,
}

/// The failure cause of a guarded call of user code.
fn cause_of(error: &StoreError) -> FailureCause {
    match error {
        StoreError::Panicked { .. } => FailureCause::Panicked {
            message: error.to_string(),
        },
        other => FailureCause::Undecodable {
            reason: other.to_string(),
        },
    }
}

/// An event, with the result of its correlation.
struct Shown {
    event: Arc<(StreamId, RecordedEvent)>,
    correlation: Result<Vec<crate::process_manager::Join>, FailureCause>,
}

impl<PM: ProcessManager> ProcessManagerRunner<PM> {
    /// Creates a runner that continues after `progress`.
    ///
    /// # Errors
    ///
    /// The reason, if the stored state does not decode and [`RunnerContext::parks_unreadable`] is false.
    pub(crate) fn new(mut context: RunnerContext, progress: Progress) -> Result<Self, String> {
        let inherited = context.runtime.journal.inherited(PM::NAME);
        let seen_before = inherited.map(|inherited| Arc::clone(&inherited.seen));
        let head = *context.runtime.journal.durable().borrow();
        let opened = millis_since_1970(context.clock.now());
        let starts = Starts::new(
            context.runtime.journal.starts(PM::NAME),
            context.max_starts,
            head,
            opened,
        );
        let mut runner = Self {
            unreadable: context.unreadable.take(),
            seen_before,
            subscriptions: context.subscriptions,
            context,
            name: PM::NAME.into(),
            instances: Instances::new(),
            dirty: Dirty::default(),
            held_streams: HashMap::new(),
            timers: Agenda::unread(),
            pending: Agenda::unread(),
            is_paused: false,
            is_loaded: false,
            position: progress.position,
            cursor: Cursor::after(progress.position),
            noted: progress.position,
            committed: progress,
            in_flight: VecDeque::new(),
            next_commit: 1,
            durable_commit: 0,
            skipped: None,
            skip_answer: None,
            operator: None,
            is_going_on: false,
            due: None,
            cautious: None,
            tries_now: false,
            starts,
            given_up: None,
            stays_at: None,
            owes_releases: false,
            passed: None,
            ignored_to: (0, 0),
        };
        if let Err(error) = runner.restore_state() {
            if !runner.context.parks_unreadable {
                return Err(error);
            }
            runner.unreadable = Some(format!(
                "it does not decode: {error}. Give new fields `#[serde(default)]`, or raise `state_version` and migrate it"
            ));
        }
        Ok(runner)
    }

    /// Without `key`: restores the state of the last durable progress. An unusable state remains stored unchanged.
    fn restore_state(&mut self) -> Result<(), String> {
        if PM::IS_KEYED {
            return Ok(());
        }
        let instance = self.instances.begin("");
        instance.state = None;
        instance.encoded = Some(self.committed.state.clone());
        if self.unreadable.is_none() {
            let state = decode_state(self.committed.state.get())?;
            instance.state = Some(Kept::new(state));
        }
        Ok(())
    }

    /// Handles events until the store closes.
    pub(crate) async fn run(mut self) {
        let end = End::new(&self.context.runtime.reactions, self.context.member);
        let what = || format!("the process manager `{}`", PM::NAME);
        end.of_task(guard_task(what, self.react()).await);
    }

    async fn react(&mut self) {
        let mut retry = RETRY.0;
        let mut panicked = None;
        loop {
            let what = || format!("the code of `{}`", PM::NAME);
            let step = self.step(&mut retry, panicked.take());
            match guard_task(what, step).await {
                Ok(true) => {}
                Ok(false) => return,
                // User code is guarded at each call, and a panic there fails only one instance. Any other panic parks the process manager.
                // The task itself continues, so that it still serves operators.
                Err(error) => {
                    tokio::time::sleep(RETRY.0).await;
                    panicked = Some(Halt::Parked {
                        position: self.committed.position + 1,
                        reason: format!("{error}, at this event or a later one"),
                    });
                }
            }
        }
    }

    /// Handles events until a halt, and resolves the halt. Returns whether the runner continues.
    async fn step(&mut self, retry: &mut Duration, panicked: Option<Halt>) -> bool {
        let before = self.committed.position;
        let reacted = match panicked {
            Some(halt) => Err(halt),
            None => self.react_until_closing().await,
        };
        match reacted {
            Ok(()) => {
                self.finish().await;
                false
            }
            // The state may contain an event without the effects of its reaction, so it must not be saved.
            Err(Halt::Ended) => {
                self.park_if_poisoned();
                false
            }
            Err(Halt::Parked { position, reason }) if self.finish_in_flight().await.is_ok() => {
                self.stay(position, reason, Reactions::Parked, None).await
            }
            Err(Halt::Stopped { position, reason }) if self.finish_in_flight().await.is_ok() => {
                self.stay(position, reason, Reactions::Stopped, None).await
            }
            Err(Halt::Waiting {
                position,
                reason,
                retry,
            }) if self.finish_in_flight().await.is_ok() => {
                let retry = Some(retry);
                self.stay(position, reason, Reactions::Retrying, retry)
                    .await
            }
            Err(Halt::Back) if self.finish_in_flight().await.is_ok() => {
                self.go_back_or_park().await
            }
            // Some reactions before the halt are not durable. They are retried before the process manager parks.
            Err(
                Halt::Parked { .. }
                | Halt::Stopped { .. }
                | Halt::Waiting { .. }
                | Halt::Retry
                | Halt::Back,
            ) => {
                if self.committed.position > before {
                    *retry = RETRY.0;
                }
                let mut closing = self.context.closing.clone();
                let _ = tokio::time::timeout(*retry, closing.wait_for(|closing| *closing)).await;
                *retry = (*retry * 2).min(RETRY.1);
                self.go_back_or_park().await
            }
        }
    }

    /// Makes all completed reactions durable, because the store closes.
    async fn finish(&mut self) {
        let is_finished = self.flush().await.is_ok() && self.finish_in_flight().await.is_ok();
        if is_finished {
            // All started work has ended.
            let _ = self.forget_note().await;
        }
        if is_finished && self.position > self.noted.max(self.committed.position) {
            self.note();
        }
        self.park_if_poisoned();
    }

    /// Halts visibly until an operator or the time of the retry lets the runner continue. Returns whether it continues.
    async fn stay(
        &mut self,
        position: u64,
        reason: String,
        outcome: Reactions,
        retry: Option<Box<RetryRow>>,
    ) -> bool {
        let stay = Stay {
            position,
            reason,
            outcome,
        };
        self.stay_parked(stay, retry).await && self.go_back_or_park().await
    }

    /// Restarts from the last durable commit, or parks if that fails. Returns whether the runner continues.
    async fn go_back_or_park(&mut self) -> bool {
        loop {
            match self.go_back() {
                Err(Halt::Parked { position, reason }) => {
                    let stay = Stay {
                        position,
                        reason,
                        outcome: Reactions::Parked,
                    };
                    if !self.stay_parked(stay, None).await {
                        return false;
                    }
                }
                Err(_) => return false,
                Ok(()) => return true,
            }
        }
    }

    fn park_if_poisoned(&self) {
        if let Some(reason) = self.context.runtime.journal.poisoned() {
            let stay = Stay {
                position: self.committed.position + 1,
                reason: reason.to_string(),
                outcome: Reactions::Parked,
            };
            let hub = &self.context.runtime.reactions;
            hub.stays(self.context.member, stay);
        }
    }

    /// The last position to handle. While the process manager is paused, it ends at the event that an operator discarded.
    fn may_go_to(&self, until: u64) -> u64 {
        match self.is_paused {
            true => self.skipped.map_or(0, |skipped| skipped.min(until)),
            false => until,
        }
    }

    async fn react_until_closing(&mut self) -> Result<(), Halt> {
        self.load().await?;
        if let Some(reason) = &self.unreadable {
            return Err(Halt::Parked {
                position: self.committed.position + 1,
                reason: format!(
                    "its state cannot be used: {reason}; or rebuild it with `rebuild_state()`"
                ),
            });
        }
        self.wait_for_retry()?;
        if let Some(deadline) = self.retried_deadline() {
            // All later work waits for this deadline.
            self.stays_at.get_or_insert(deadline);
            self.go_on_where_it_stays().await?;
        }
        let mut target = self.context.target.clone();
        let mut closing = self.context.closing.clone();
        loop {
            if *closing.borrow() {
                return Ok(());
            }
            if !self.is_paused {
                self.resume_releases().await?;
            }
            let until = *target.borrow_and_update();
            while self.position < self.may_go_to(until) {
                self.react_to_more(self.may_go_to(until)).await?;
                if self.context.fires && !self.is_paused {
                    self.try_due_again().await?;
                    self.flush().await?;
                }
                if *closing.borrow() {
                    return Ok(());
                }
                self.serve_waiting().await?;
            }
            if self.context.fires && !self.is_paused {
                self.fire_due().await?;
                self.flush().await?;
            }
            self.settle()?;
            self.answer_skip().await?;
            self.has_gone_on().await?;
            self.forget_start().await?;
            let first = self
                .in_flight
                .front()
                .map(|first| Arc::clone(&first.outcome));
            let settled = async {
                match first {
                    Some(outcome) => drop(outcome.wait().await),
                    None => std::future::pending().await,
                }
            };
            let next_due = self.next_due();
            let clock = Arc::clone(&self.context.clock);
            let due = async {
                match next_due {
                    Some(due) => clock.sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                changed = target.changed() => if changed.is_err() { return Ok(()) },
                changed = closing.changed() => if changed.is_err() { return Ok(()) },
                request = self.context.requests.recv() => match request {
                    Some(request) => self.serve(request).await?,
                    None => return Ok(()),
                },
                () = settled => {}
                () = due => {}
            }
        }
    }
}
