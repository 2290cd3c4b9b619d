//! The task of one process manager: it reads events in order and turns each into one commit of what it caused.

mod agenda;
mod catch_up;
mod commit;
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

/// How many reactions may be handed over and not yet durable.
const MAX_IN_FLIGHT: usize = 1024;
/// After how many events without a commit the progress is noted.
const NOTE_EVENTS: u64 = 4096;
/// How many changes of rows wait at most for a reaction that has a commit.
const MAX_DIRTY: usize = 256;
/// How many events are correlated before the instances that they belong to are read together.
const CHUNK_EVENTS: usize = 512;
/// How long to wait before what could not be read or written is tried again, at first and at most.
const RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

/// What a runner needs beside its process manager.
pub(crate) struct RunnerContext {
    pub(crate) runtime: Arc<Runtime>,
    /// What it subscribes to.
    pub(crate) subscriptions: &'static [&'static str],
    /// Its index among the process managers of the store.
    pub(crate) member: usize,
    /// How many reactions a chain may have.
    pub(crate) max_depth: u32,
    /// How many starts of the program something may end before it is parked.
    pub(crate) max_starts: u32,
    /// Whether it is parked if its state cannot be read.
    pub(crate) parks_unreadable: bool,
    /// Why it cannot, if that is known already.
    pub(crate) unreadable: Option<String>,
    pub(crate) clock: Arc<dyn Clock>,
    /// Whether deadlines fire by themselves.
    pub(crate) fires: bool,
    /// Up to where to react.
    pub(crate) target: watch::Receiver<u64>,
    pub(crate) requests: mpsc::UnboundedReceiver<Request>,
    /// Turns true when the store closes.
    pub(crate) closing: watch::Receiver<bool>,
    /// Dropped when the runner has ended.
    pub(crate) _alive: mpsc::Sender<()>,
}

pub(crate) struct ProcessManagerRunner<PM: ProcessManager> {
    context: RunnerContext,
    name: Arc<str>,
    subscriptions: &'static [&'static str],
    instances: Instances<PM>,
    /// Changes of rows that were not handed over yet.
    dirty: Dirty,
    /// Streams that are held since an event of them could not be read.
    held_streams: HashMap<StreamId, Reactions>,
    timers: Agenda,
    pending: Agenda,
    is_paused: bool,
    /// Whether what is in rows was read.
    is_loaded: bool,
    /// What the state saw when an earlier version ran it; none for the events behind those.
    seen_before: Option<Arc<SeenBefore>>,
    /// The last event that the state has seen.
    position: u64,
    cursor: Cursor,
    /// The last durable progress: where a failure goes back to.
    committed: Progress,
    in_flight: VecDeque<InFlight>,
    /// The number of the next commit that is handed over.
    next_commit: u64,
    /// The number of the last commit that is known to be durable.
    durable_commit: u64,
    /// The position that was noted last without a commit.
    noted: u64,
    /// An event that an operator has discarded.
    skipped: Option<u64>,
    /// Who is told when that is durable.
    skip_answer: Option<requests::Asked>,
    /// The wait of the operator whose request is served now.
    operator: Option<u64>,
    /// Whether operators wait until it has done what there is to do.
    is_going_on: bool,
    /// The row of the deadline or the command that is being worked on.
    due: Option<Box<str>>,
    /// An event that could not be reacted to: before it is shown again, the state is kept.
    cautious: Option<u64>,
    /// Whether what waits for its next attempt is tried now, since an operator asks for it or its time has come.
    tries_now: bool,
    starts: Starts,
    /// Why nobody is shown what comes next.
    given_up: Option<FailureCause>,
    /// The row of the deadline or the command at which it stays as a whole: it comes before everything else.
    stays_at: Option<Box<str>>,
    /// Without `key`: why its state cannot be used, as long as it is not made again.
    unreadable: Option<String>,
    /// Whether there may be releases that were interrupted.
    owes_releases: bool,
    /// No commit that is still to come is stored at this time or before, in milliseconds since 1970; and the last event that was.
    passed: Option<(u64, u64)>,
    /// The last event that was counted as ignored, and for which of those that it belongs to.
    ignored_to: (u64, usize),
}

#[derive(Default)]
struct Dirty {
    rows: Vec<RowChange>,
    /// The first event whose effects are among them.
    first: Option<u64>,
    /// What is not done that somebody may wait for.
    setbacks: Vec<Setback>,
    /// Lines of dead letters.
    dead_letters: Vec<Box<str>>,
    counts: Counts,
}

/// What is counted when it is durable.
#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    /// Events that were held, and belonged to no open instance when they were released.
    ignored: u64,
    /// What the policy passes over.
    skipped: u64,
}

impl Dirty {
    fn push(&mut self, row: RowChange, position: u64) {
        self.first.get_or_insert(position);
        self.rows.push(row);
    }

    /// Notes that the reaction to an event, or something else, is not done.
    fn set_back(&mut self, position: Option<u64>, outcome: Reactions) {
        self.setbacks.push(Setback { position, outcome });
    }

    fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

/// Why a runner stops reacting.
enum Halt {
    /// It cannot react to this event.
    Parked { position: u64, reason: String },
    /// The policy says that it goes no further than this event.
    Stopped { position: u64, reason: String },
    /// It is to be shown this event, or a deadline behind it, again later.
    Waiting {
        position: u64,
        reason: String,
        retry: Box<RetryRow>,
    },
    /// A read or a commit failed that may succeed later.
    Retry,
    /// It goes back to its last commit, and on at once.
    Back,
    /// Nothing can be written any more.
    Ended,
}

/// An event that a keyed process manager subscribes to.
struct Shown {
    event: Arc<(StreamId, RecordedEvent)>,
    correlation: Result<Vec<crate::process_manager::Join>, FailureCause>,
}

impl<PM: ProcessManager> ProcessManagerRunner<PM> {
    /// Starts behind `progress`.
    ///
    /// # Errors
    ///
    /// The reason if the stored state does not decode, and it is not to be parked then.
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

    /// Without `key`, makes the state that of the last durable progress. One that cannot be used stays stored as it is.
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

    /// Reacts until the store closes.
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
                // All code of the user is guarded where it is called, and fails its instance only. What gets past that fails
                // the process manager, and not its task: an operator is heard.
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

    /// Reacts until something keeps it from that, and deals with it; whether it goes on then.
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
            // The state may have seen an event that it has not reacted to: it is not to be saved.
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
            // Before the event that it would be parked at, there are reactions to be tried again.
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

    /// Makes durable what was reacted to, since the store closes.
    async fn finish(&mut self) {
        let is_finished = self.flush().await.is_ok() && self.finish_in_flight().await.is_ok();
        if is_finished {
            // Whatever was begun has ended.
            let _ = self.forget_note().await;
        }
        if is_finished && self.position > self.noted.max(self.committed.position) {
            self.note();
        }
        self.park_if_poisoned();
    }

    /// Stays at what it does not get past, visibly, until somebody or its time lets it go on; whether it does.
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

    /// Whether it can go on from its last durable commit.
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

    /// While it is paused, it goes no further than an event that an operator has discarded.
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
                    "its state cannot be used: {reason}; or make it again with `rebuild_state()`"
                ),
            });
        }
        self.wait_for_retry()?;
        if let Some(deadline) = self.retried_deadline() {
            // What comes behind it waits.
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
