//! The task of one process manager. It reads events in order and commits the effects of each reaction in one commit.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use tokio::sync::{OwnedMutexGuard, mpsc, watch};

use super::super::Runtime;
use super::super::end::End;
use super::super::guarded::guard_task;
use super::super::reactions::{Reactions, Stay};
use super::super::saved_state::decode_state;
use super::super::staging::Letter;
use super::Halt;
use super::calls::{AnyHandler, Calls, Handler};
use super::commit::{InFlight, Routing};
use super::definition::Definition;
use super::machine::{Effect, Input, Machine, Now};
use super::operator::{Asked, Request};
use super::plan::Report;
use super::rows::HoldRow;
use super::starts::Starts;
use crate::clock::{Clock, millis_since_1970, seconds_since_1970};
use crate::journal::{Cursor, Progress, Seat, SeenBefore, Term};

/// The delay before a failed read or write is retried: the first delay, and the maximum.
pub(super) const RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

/// The dependencies of a runner, apart from its process manager.
pub(crate) struct RunnerContext {
    pub(crate) runtime: Arc<Runtime>,
    /// The term in which it runs. The journal refuses its commits in every other term.
    pub(crate) term: Term,
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
    /// The time that closing waits for the calls of an event handler.
    pub(crate) handler_patience: Duration,
    /// Whether deadlines fire and retries start on their own.
    pub(crate) fires: bool,
    /// The last position to handle.
    pub(crate) target: watch::Receiver<u64>,
    /// The place from which it sees commits before they are durable, unless it reacts on demand.
    pub(crate) seat: Option<Seat>,
    pub(crate) requests: OwnedMutexGuard<mpsc::UnboundedReceiver<Request>>,
    /// Becomes true when the store closes.
    pub(crate) closing: watch::Receiver<bool>,
    /// Dropped when the runner ends.
    pub(crate) _alive: mpsc::Sender<()>,
}

/// The task of a process manager or of an event handler.
pub(crate) type RunnerTask = Pin<Box<dyn Future<Output = ()> + Send>>;

pub(crate) struct ProcessManagerRunner {
    pub(super) context: RunnerContext,
    pub(super) name: Arc<str>,
    pub(super) machine: Machine<Routing>,
    /// The calls of an event handler.
    pub(super) calls: Calls,
    pub(super) is_paused: bool,
    /// Whether the durable rows are loaded.
    pub(super) is_loaded: bool,
    /// The events that the state handled under an earlier version of the store. `None` if nothing was imported.
    pub(super) seen_before: Option<Arc<SeenBefore>>,
    pub(super) cursor: Cursor,
    /// The last durable progress. After a failure, the runner restarts from it.
    pub(super) committed: Progress,
    pub(super) in_flight: VecDeque<InFlight>,
    /// The number of the last commit that is known to be durable.
    pub(super) durable_commit: u64,
    /// The last position that was noted without a commit.
    pub(super) noted: u64,
    /// The position of an event that an operator discarded.
    pub(super) skipped: Option<u64>,
    /// The request to answer when the discard is durable.
    pub(super) skip_answer: Option<Asked>,
    /// The wait of the operator whose request the runner currently serves.
    pub(super) operator: Option<u64>,
    /// Whether operators wait until the runner has no work left.
    pub(super) is_going_on: bool,
    /// The row of the deadline or command that the runner currently processes.
    pub(super) due: Option<Box<str>>,
    /// Whether pending retries start now, because an operator asked for them or because they are due.
    pub(super) tries_now: bool,
    pub(super) starts: Starts,
    /// The row of the deadline or command at which the whole process manager halts. It comes before all other work.
    pub(super) stays_at: Option<Box<str>>,
    /// Without `key`: the reason why the state is unusable, until a rebuild replaces it.
    pub(super) unreadable: Option<String>,
    /// Whether interrupted releases may exist.
    pub(super) owes_releases: bool,
    /// A time, in milliseconds since 1970, and a position. Every commit after this position is stored later than this time.
    pub(super) passed: Option<(u64, u64)>,
}

impl ProcessManagerRunner {
    /// Starts a process manager or an event handler, which continues after `progress`. The task runs until the store closes.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub(crate) fn start(
        definition: &'static Definition,
        handler: Option<Arc<dyn AnyHandler>>,
        context: RunnerContext,
        progress: Progress,
    ) -> Result<RunnerTask, String> {
        let runner = Self::new(definition, handler, context, progress)?;
        Ok(Box::pin(runner.run()))
    }

    pub(super) fn definition(&self) -> &'static Definition {
        self.machine.definition
    }

    /// Creates a runner that continues after `progress`. An event handler has a value.
    ///
    /// # Errors
    ///
    /// The reason, if the stored state does not decode and [`RunnerContext::parks_unreadable`] is false.
    fn new(
        definition: &'static Definition,
        handler: Option<Arc<dyn AnyHandler>>,
        mut context: RunnerContext,
        progress: Progress,
    ) -> Result<Self, String> {
        let name = definition.name;
        let inherited = context.runtime.journal.inherited(name);
        let seen_before = inherited.map(|inherited| Arc::clone(&inherited.seen));
        let head = *context.runtime.journal.durable().borrow();
        let opened = millis_since_1970(context.clock.now());
        let starts = Starts::new(
            context.runtime.journal.starts(name),
            context.max_starts,
            head,
            opened,
        );
        let mut runner = Self {
            unreadable: context.unreadable.take(),
            seen_before,
            name: name.into(),
            machine: Machine::new(
                definition,
                progress.position,
                Routing {
                    runtime: Arc::clone(&context.runtime),
                    process_manager: name,
                    handler: handler.clone(),
                },
            ),
            calls: Calls::new(
                handler.map(|value| {
                    let runtime = Arc::clone(&context.runtime);
                    Handler::new(value, runtime, context.handler_patience)
                }),
                progress.position,
            ),
            context,
            is_paused: false,
            is_loaded: false,
            cursor: Cursor::after(progress.position),
            noted: progress.position,
            committed: progress,
            in_flight: VecDeque::new(),
            durable_commit: 0,
            skipped: None,
            skip_answer: None,
            operator: None,
            is_going_on: false,
            due: None,
            tries_now: false,
            starts,
            stays_at: None,
            owes_releases: false,
            passed: None,
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
    pub(super) fn restore_state(&mut self) -> Result<(), String> {
        let definition = self.definition();
        if definition.is_keyed {
            return Ok(());
        }
        let instance = self.machine.instances.begin("");
        instance.state = None;
        instance.encoded = Some(self.committed.state.clone());
        if self.unreadable.is_none() {
            let state = decode_state(definition, self.committed.state.get())?;
            instance.state = Some(state);
        }
        Ok(())
    }

    /// Gives one input to the machine, and carries out its effects. Returns the report of its commit.
    pub(super) fn step(
        &mut self,
        input: Input<'_, Letter>,
    ) -> impl Future<Output = Result<Report, Halt>> + Send {
        let effects = self.take(input);
        self.carry_out(effects)
    }

    /// Gives one input to the machine, and returns its effects.
    pub(super) fn take(&mut self, input: Input<'_, Letter>) -> Vec<Effect<Letter>> {
        self.machine.now = self.now();
        let effects = self.machine.step(input);
        self.machine.given_up = None;
        effects
    }

    /// Carries out effects, in their order.
    pub(super) async fn carry_out(&mut self, effects: Vec<Effect<Letter>>) -> Result<Report, Halt> {
        let mut report = Report::default();
        for effect in effects {
            match effect {
                Effect::Decide(draft) => report = self.commit(draft).await?,
                Effect::Redriven { has_failed } => {
                    self.settle_all().await?;
                    report = match has_failed {
                        true => Report::new(0, 1),
                        false => Report::done(1),
                    };
                }
                Effect::Ignore => {
                    let hub = &self.context.runtime.reactions;
                    hub.ignored(self.context.member);
                }
                Effect::Halt(halt) => return Err(halt),
                // The commit takes them.
                Effect::Also(_) | Effect::Store(_) => {}
            }
        }
        Ok(report)
    }

    fn now(&self) -> Now {
        Now {
            stored: self.context.runtime.journal.clock().now(),
            retries_ms: self.now_ms(),
            noted: seconds_since_1970(),
        }
    }

    /// Handles events until the store closes.
    async fn run(mut self) {
        let Runtime {
            reactions, journal, ..
        } = &*self.context.runtime;
        let end = End::new(reactions, self.context.member).of_term(journal, self.context.term);
        let name = self.definition().name;
        let what = || format!("the process manager `{name}`");
        end.of_task(guard_task(what, self.react()).await);
    }

    async fn react(&mut self) {
        let mut retry = RETRY.0;
        let mut panicked = None;
        loop {
            let name = self.definition().name;
            let what = || format!("the code of `{name}`");
            let step = self.react_until_a_halt(&mut retry, panicked.take());
            match guard_task(what, step).await {
                Ok(true) => {}
                Ok(false) => return,
                // User code is guarded at each call, and a panic there fails only one instance. Any other panic parks the process manager.
                // The task itself continues, so that it still serves operators.
                Err(error) => {
                    tokio::time::sleep(RETRY.0).await;
                    let reason = format!("{error}, at this event or a later one");
                    panicked = Some(Halt::parked(self.committed.position + 1, reason));
                }
            }
        }
    }

    /// Handles events until a halt, and resolves the halt. Returns whether the runner continues.
    async fn react_until_a_halt(&mut self, retry: &mut Duration, panicked: Option<Halt>) -> bool {
        let before = self.committed.position;
        let reacted = match panicked {
            Some(halt) => Err(halt),
            None if self.calls.are_made() => self.call_until_closing().await,
            None => self.react_until_closing().await,
        };
        let halt = match reacted {
            Ok(()) => {
                self.finish().await;
                return false;
            }
            // The state may contain an event without the effects of its reaction, so it must not be saved.
            Err(Halt::Ended) => {
                self.park_if_poisoned();
                return false;
            }
            Err(halt) => self.after_its_size().unwrap_or(halt),
        };
        match halt {
            Halt::Held(hold, outcome) if self.finish_in_flight().await.is_ok() => {
                self.stay(*hold, outcome).await && self.go_back_or_park().await
            }
            Halt::Back if self.finish_in_flight().await.is_ok() => self.go_back_or_park().await,
            // Some reactions before the halt are not durable. They are retried before the process manager parks.
            Halt::Held(..) | Halt::Retry | Halt::Back | Halt::Ended => {
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
        if is_finished && self.machine.position > self.noted.max(self.committed.position) {
            self.note();
        }
        self.park_if_poisoned();
    }

    /// Goes back to the last durable progress, from which the failed reactions are retried.
    pub(super) fn go_back(&mut self) -> Result<(), Halt> {
        self.take_durable();
        self.in_flight.clear();
        self.is_loaded = false;
        self.due = None;
        self.machine.go_back(self.committed.position);
        self.calls.go_back(self.committed.position);
        self.cursor = Cursor::after(self.committed.position);
        if !crate::sabotage::planted(crate::sabotage::Bug::ProgressNotRestored) {
            self.machine.instances.clear();
            let restored = self.restore_state();
            restored.map_err(|error| {
                let reason = format!("the state does not read back: {error}");
                Halt::parked(self.committed.position + 1, reason)
            })?;
        }
        Ok(())
    }

    /// Restarts from the last durable commit, or parks if that fails. Returns whether the runner continues.
    async fn go_back_or_park(&mut self) -> bool {
        loop {
            match self.go_back() {
                Err(Halt::Held(hold, outcome)) => {
                    if !self.stay(*hold, outcome).await {
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
            let reason =
                format!("its state cannot be used: {reason}; or rebuild it with `rebuild_state()`");
            return Err(Halt::parked(self.committed.position + 1, reason));
        }
        self.wait_for_retry()?;
        if let Some(deadline) = self.machine.retried_deadline() {
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
            while self.machine.position < self.may_go_to(until) {
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
            self.note_if_due();
            self.answer_skip().await?;
            self.has_gone_on().await?;
            self.forget_start().await?;
            let first = self.in_flight.front();
            let first = first.map(|first| Arc::clone(&first.outcome));
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

    /// Without `key`: halts until the next attempt is due.
    fn wait_for_retry(&mut self) -> Result<(), Halt> {
        let tries_now = std::mem::take(&mut self.tries_now);
        let now = self.now_ms();
        let fires = self.context.fires && !self.is_paused;
        let deadline = self.machine.retried_deadline();
        let only = self.machine.instances.only();
        let hold = only.and_then(|only| only.hold.clone());
        let Some((hold, due)) = hold.and_then(|hold| {
            let due = hold.retry.as_ref()?.due;
            Some((hold, due))
        }) else {
            return Ok(());
        };
        if !tries_now && (due > now || deadline.is_some() && !fires) {
            self.due = deadline.or(self.due.take());
            return Err(Halt::from(hold));
        }
        // It has failed before, so this attempt counts.
        self.machine.cautious = Some(hold.position);
        Ok(())
    }

    /// Halts visibly until an operator or the time of the retry lets the runner continue. Returns `false` when the store closes.
    async fn stay(&mut self, hold: HoldRow, outcome: Reactions) -> bool {
        let until = hold.retry.as_ref().map(|retry| retry.due);
        let mut closing = self.context.closing.clone();
        let due = self.due.take();
        // The discard did not take effect. The dropped answer tells the operator.
        if self.skip_answer.take().is_some() {
            self.skipped = None;
        }
        // Uncommitted changes must not be saved.
        let can_serve = self.reload().await;
        if can_serve && self.store_stay(due.as_deref(), &hold).await.is_err() {
            // The input is delivered again, and fails again.
            let _ = tokio::time::timeout(RETRY.0, closing.wait_for(|closing| *closing)).await;
            return !*closing.borrow();
        }
        let parked_at = hold.position;
        let stay = Stay {
            position: hold.position,
            reason: hold.reason,
            outcome,
        };
        // The halt is visible only after it is stored. So all later work comes after it, even after a crash.
        let hub = &self.context.runtime.reactions;
        hub.stays(self.context.member, stay);
        self.is_going_on = false;
        loop {
            let clock = Arc::clone(&self.context.clock);
            let fires = self.context.fires && !self.is_paused;
            let due_time = until
                .filter(|_| fires)
                .and_then(|until| UNIX_EPOCH.checked_add(Duration::from_millis(until)));
            let time_has_come = async {
                match due_time {
                    Some(time) => clock.sleep_until(time).await,
                    None => std::future::pending().await,
                }
            };
            let request = tokio::select! {
                _ = closing.wait_for(|closing| *closing) => return false,
                request = self.context.requests.recv() => request,
                () = time_has_come => {
                    self.leaves();
                    return true;
                }
            };
            let Some(request) = request else {
                return false;
            };
            match self
                .serve_held(request, until, parked_at, due.as_deref(), can_serve)
                .await
            {
                Ok(true) => return true,
                Ok(false) => {}
                Err(_) => {
                    if !self.reload().await {
                        return false;
                    }
                }
            }
        }
    }

    /// Goes back to the durable state, and loads its rows. Returns whether that succeeds.
    async fn reload(&mut self) -> bool {
        self.go_back().is_ok() && self.load_rows().await.is_ok()
    }

    /// Ends the halt of the whole process manager: the next attempt is now.
    pub(super) fn leaves(&mut self) {
        self.tries_now = true;
        self.starts.sizes = None;
        self.context.runtime.reactions.unparked(self.context.member);
    }
}
