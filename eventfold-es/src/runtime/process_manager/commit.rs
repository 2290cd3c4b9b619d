//! One commit: the commands of a draft, decided together, and the rows of the machine. It becomes durable, or the driver goes back.

use std::collections::VecDeque;
use std::sync::Arc;

use smallvec::SmallVec;

use super::super::Runtime;
use super::super::guarded::{Kept, guard, pooled};
use super::super::leadership::room_in;
use super::super::locked_targets::{LockedTargets, forget_evicted};
use super::super::origin::{Origin, path_to};
use super::super::reactions::DurableReaction;
use super::super::routes::Stage;
use super::super::saved_state::encode_state;
use super::super::staging::{
    Letter, Staged, Targets, Undeliverable, cause_of, cause_of_refusal, find_targets, look_up,
};
use super::Halt;
use super::calls::AnyHandler;
use super::definition::{AnyAction, Sent};
use super::driver::ProcessManagerRunner;
use super::failure::Attempt;
use super::machine::{Effect, Input, Stored};
use super::plan::{Draft, Planned, Post, Report};
use super::sizes::{Next, Sizes};
use super::tally::TallyChange;
use crate::command::CommandContext;
use crate::envelope::{CommandEnvelope, Dispatch};
use crate::error::ExecuteError;
use crate::journal::{CommitError, Outcome, Progress, ProposedCommit, ProposedReaction, Room};
use crate::process_manager::{Failure, FailureCause};
use serde_json::value::RawValue;

/// The maximum number of reactions in flight: submitted to the journal and not yet durable.
const MAX_IN_FLIGHT: usize = 1024;

/// A commit of this process manager, or a batch whose events it handled before the batch is durable.
pub(super) struct InFlight {
    pub(super) outcome: Arc<Outcome>,
    /// The position of the first event that is not handled durably before the outcome.
    position: u64,
    /// The progress and the number of the commit.
    commit: Option<(Progress, u64)>,
}

/// A command with its route.
type Routed = (Letter, Planned);

/// The result of an attempt to submit a commit.
enum HandOver {
    Done(Report),
    /// A target was evicted, an idempotency key needs another lookup, or an earlier commit failed.
    Again,
    /// The targets of compensations are not loaded, or their idempotency keys were not looked up.
    More(Vec<Letter>),
    Halt(Halt),
}

/// The routes to the aggregates of a store, and the value of an event handler.
pub(super) struct Routing {
    pub(super) runtime: Arc<Runtime>,
    pub(super) process_manager: &'static str,
    /// The value, if it is an event handler.
    pub(super) handler: Option<Arc<dyn AnyHandler>>,
}

impl Post for Routing {
    type Letter = Letter;

    fn on_failure(&self, failure: &Failure<'_>) -> Option<AnyAction> {
        let handler = self.handler.as_ref();
        handler.map(|handler| handler.on_failure(failure))
    }

    fn typed(&self, envelope: Sent) -> Letter {
        address(&self.runtime, self.process_manager, envelope)
    }

    fn stored(&self, envelope: CommandEnvelope) -> Letter {
        let Runtime { types, routes, .. } = &*self.runtime;
        match envelope.route(Stage { types, routes }) {
            Ok(staged) => Letter::Staged(staged),
            Err(undeliverable) => Letter::Dead(undeliverable),
        }
    }
}

/// Addresses a command.
pub(super) fn address(runtime: &Runtime, process_manager: &str, envelope: Sent) -> Letter {
    let Runtime { types, routes, .. } = runtime;
    // Without the macros, routing is user code.
    let routed = guard(
        || format!("the routing of a command of `{process_manager}`"),
        || envelope.stage(Stage { types, routes }),
    );
    match routed {
        Ok(Ok(staged)) => Letter::Staged(staged),
        Ok(Err(undeliverable)) => Letter::Dead(undeliverable),
        Err(error) => {
            let lost = CommandEnvelope {
                aggregate_type: String::new(),
                instance_id: String::new(),
                command: serde_json::Value::Null,
                context: CommandContext::default(),
            };
            Letter::Dead(Undeliverable::panicked(lost, &error))
        }
    }
}

impl ProcessManagerRunner {
    /// Commits a draft and the pending row changes.
    pub(super) async fn commit(&mut self, mut draft: Draft<Letter>) -> Result<Report, Halt> {
        self.machine.encode_unkeyed(draft.position)?;
        if draft.cause.depth > self.context.max_depth && !draft.commands.is_empty() {
            let reason = self.too_long(draft.source_position()).await?;
            for (letter, _) in &mut draft.commands {
                if let Letter::Staged(staged) = letter {
                    let undeliverable = Undeliverable::new(staged.erase(), reason.clone());
                    *letter = Letter::Dead(undeliverable);
                }
            }
        }
        let mut extra = Vec::new();
        let report = loop {
            let letters = draft.commands.iter().map(|(letter, _)| letter);
            let lookups = look_up(letters.chain(&extra).filter_map(Letter::wanted));
            let Ok(targets) = find_targets(lookups).await else {
                return Err(Halt::Ended);
            };
            let journal = &*self.context.runtime.journal;
            let Ok(room) = room_in(journal, self.context.term).await else {
                return Err(Halt::Ended);
            };
            match self.hand_over(&draft, &targets, room) {
                HandOver::Done(report) => break report,
                HandOver::Again => {
                    forget_evicted(targets);
                    self.settle()?;
                }
                HandOver::More(letters) => extra.extend(letters),
                HandOver::Halt(halt) => return Err(halt),
            }
        };
        if self.starts.sizes.is_some() {
            self.wait_for_its_size().await?;
        }
        while self.in_flight.len() > MAX_IN_FLIGHT {
            if let Some(first) = self.in_flight.front() {
                let outcome = Arc::clone(&first.outcome);
                drop(outcome.wait().await);
            }
            self.settle()?;
        }
        Ok(report)
    }

    /// Commits the pending row changes, if there are any.
    pub(super) async fn flush(&mut self) -> Result<(), Halt> {
        match self.machine.dirty.is_empty() {
            true => Ok(()),
            false => self.commit_progress().await,
        }
    }

    /// Commits the current position and the pending row changes.
    pub(super) async fn commit_progress(&mut self) -> Result<(), Halt> {
        let draft = self.machine.progress();
        self.commit(draft).await.map(drop)
    }

    pub(super) async fn settle_all(&mut self) -> Result<(), Halt> {
        self.flush().await?;
        self.finish_in_flight().await?;
        self.settle()
    }

    /// The reason why the commands that this event caused are not executed.
    async fn too_long(&mut self, position: u64) -> Result<String, Halt> {
        let journal = Arc::clone(&self.context.runtime.journal);
        let name = self.definition().name;
        let path = pooled(move || path_to(&*journal, position, name));
        let path = match path.await.map_err(|_| Halt::Ended)? {
            Ok(path) => path,
            Err(error) => format!("a path that cannot be read: {error}"),
        };
        let max = self.context.max_depth;
        Ok(format!(
            "the chain of reactions is longer than {max}: {path}. Let one of these process managers stop answering, or raise \
             `max_reaction_depth`"
        ))
    }

    /// No await lies between the locks on the targets and the submission. So a dropped future leaves either nothing or a commit.
    fn hand_over(&mut self, draft: &Draft<Letter>, targets: &Targets, room: Room) -> HandOver {
        let journal = Arc::clone(&self.context.runtime.journal);
        let Some(mut locked) = LockedTargets::lock(targets, &*journal) else {
            return HandOver::Again;
        };
        if self.has_failed() {
            return HandOver::Again;
        }
        let mut attempt = Attempt::default();
        let (mut dispatched, mut more) = (0, Vec::new());
        let mut compensations: VecDeque<Routed> = VecDeque::new();
        let mut index = 0;
        loop {
            let compensation;
            let (letter, planned) = match draft.commands.get(index) {
                Some(command) => command,
                None => match compensations.pop_front() {
                    Some(next) => {
                        compensation = next;
                        &compensation
                    }
                    None => break,
                },
            };
            let refused = match letter {
                Letter::Dead(dead) => Some((dead.cause.clone(), dead.envelope.clone())),
                Letter::Staged(staged) => match self.decide(&mut locked, draft, staged, planned) {
                    Some(Ok(())) => None,
                    Some(Err(cause)) => Some((cause, staged.erase())),
                    None => {
                        // This compensation is decided after its target is loaded and its key is looked up.
                        more.push(self.machine.post.stored(staged.erase()));
                        None
                    }
                },
            };
            match refused {
                None => dispatched += 1,
                Some((cause, envelope)) => {
                    // The cause may be the last owner of the aggregate's error, and its drop is user code.
                    let cause = Kept::new(cause);
                    let effects = self.take(Input::Refused {
                        draft,
                        planned,
                        envelope,
                        cause: &cause,
                        index,
                        attempt: &mut attempt,
                    });
                    for effect in effects {
                        if let Effect::Also(also) = effect {
                            compensations.extend(also);
                        }
                    }
                }
            }
            index += 1;
        }
        if !more.is_empty() {
            return HandOver::More(more);
        }
        let failed = attempt.failed;
        for effect in self.take(Input::Decided { draft, attempt }) {
            match effect {
                Effect::Store(stored) => self.submit(stored, dispatched, locked, room),
                Effect::Halt(halt) => return HandOver::Halt(halt),
                _ => continue,
            }
            return HandOver::Done(Report::new(dispatched, failed));
        }
        HandOver::Again
    }

    /// Lets the target decide a command. `None` if the target is not locked, or a key was not looked up.
    fn decide(
        &self,
        locked: &mut LockedTargets<'_>,
        draft: &Draft<Letter>,
        staged: &Staged,
        planned: &Planned,
    ) -> Option<Result<(), FailureCause>> {
        let context = staged.context();
        let before = planned.before.as_ref();
        let origin = Origin {
            command_id: &planned.command_id,
            cause: before.map_or(&draft.cause, |row| &row.cause),
        };
        let key = context.idempotency_key.as_deref();
        Some(match locked.target(staged.address().stream(), key)? {
            Ok(target) => {
                let clock = self.context.runtime.journal.clock();
                let command = staged.command().map_err(ExecuteError::Store);
                let decided = command.and_then(|command| {
                    target.decide(command, context, staged.key(), Some(origin), clock)
                });
                decided.map(drop).map_err(cause_of_refusal)
            }
            Err(error) => Err(cause_of(error)),
        })
    }

    /// Submits one commit.
    fn submit(
        &mut self,
        stored: Stored,
        dispatched: usize,
        mut locked: LockedTargets<'_>,
        room: Room,
    ) {
        let Stored {
            progress,
            rows,
            setbacks,
            dead_letters,
            counts,
        } = stored;
        let appends = locked.proposed();
        let after = locked
            .last_pending()
            .chain(self.in_flight.back().map(|last| Arc::clone(&last.outcome)))
            .collect();
        let aggregate_types: SmallVec<[_; 1]> = appends
            .iter()
            .map(|append| Arc::clone(&append.stream.aggregate_type))
            .collect();
        let tally: Vec<_> = rows.iter().filter_map(TallyChange::of).collect();
        let hub = Arc::clone(&self.context.runtime.reactions);
        let settled_hub = Arc::clone(&hub);
        let (member, operator) = (self.context.member, self.operator);
        let source = progress.position;
        let dead_lettered = dead_letters.len();
        // A deferred call is not done.
        let deferred = self.calls.deferred();
        let processed = deferred.map_or(source, |first| first.saturating_sub(1).min(source));
        let outcome = self.context.runtime.journal.submit(
            room,
            ProposedCommit {
                after,
                appends,
                reaction: Some(ProposedReaction {
                    process_manager: Arc::clone(&self.name),
                    progress: progress.clone(),
                    dispatched: dispatched as u64,
                    rows,
                    dead_letters,
                }),
                on_durable: Some(Box::new(move |receipt| {
                    hub.reacted(&DurableReaction {
                        member,
                        operator,
                        source,
                        receipt: receipt.clone(),
                        aggregate_types: &aggregate_types,
                        dispatched,
                        dead_lettered,
                        ignored: counts.ignored,
                        skipped: counts.skipped,
                        setbacks: &setbacks,
                        tally: &tally,
                    });
                })),
                // All earlier work is in earlier commits. The journal notifies waiting callers at once, without this task.
                on_settled: Some(Box::new(move || settled_hub.processed(member, processed))),
            },
        );
        locked.handed_over(&outcome);
        self.in_flight.push_back(InFlight {
            outcome,
            position: progress.position,
            commit: Some((progress, self.machine.next_commit - 1)),
        });
    }

    /// Whether a reaction in flight failed to become durable.
    fn has_failed(&self) -> bool {
        // Each commit depends on the previous one. So a failure reaches the last commit, if not the first.
        let ends = self.in_flight.front().into_iter();
        ends.chain(self.in_flight.back())
            .any(|reaction| matches!(reaction.outcome.get(), Some(Err(_))))
    }

    pub(super) fn take_durable(&mut self) {
        while let Some(first) = self
            .in_flight
            .pop_front_if(|first| first.outcome.is_durable())
        {
            if let Some((progress, number)) = first.commit {
                self.committed = progress;
                self.durable_commit = number;
            }
        }
    }

    /// Records that the next events depend on the outcome of their batch. Fails if the batch has failed.
    pub(super) fn depends_on(&mut self, outcome: Arc<Outcome>) -> Result<(), Halt> {
        let position = self.machine.position + 1;
        self.in_flight.push_back(InFlight {
            outcome,
            position,
            commit: None,
        });
        match self.has_failed() {
            true => Err(Halt::Retry),
            false => Ok(()),
        }
    }

    /// Records the reactions that became durable. Fails if a reaction did not.
    pub(super) fn settle(&mut self) -> Result<(), Halt> {
        self.take_durable();
        if self.context.runtime.journal.poisoned().is_some() {
            return Err(Halt::Ended);
        }
        if self.has_failed() {
            return Err(Halt::Retry);
        }
        let in_flight = self.in_flight.front().map(|first| first.position);
        let waiting = [in_flight, self.machine.dirty.first, self.calls.deferred()];
        let position = self.machine.position;
        let processed = match waiting.into_iter().flatten().min() {
            Some(first) => first.saturating_sub(1).min(position),
            None => position,
        };
        let hub = &self.context.runtime.reactions;
        hub.processed(self.context.member, processed);
        Ok(())
    }

    /// Waits for the commit of one piece of work, which may be too large.
    async fn wait_for_its_size(&mut self) -> Result<(), Halt> {
        self.finish_in_flight().await?;
        self.starts.sizes.iter_mut().for_each(Sizes::ends);
        let position = self.committed.position;
        self.starts
            .sizes
            .take_if(|sizes| sizes.have_passed(position));
        Ok(())
    }

    /// The next step, if a commit in flight is larger than an entry of the log.
    pub(super) fn after_its_size(&mut self) -> Option<Halt> {
        let mut failed = self.in_flight.iter();
        let (position, reason) = failed.find_map(|failed| match failed.outcome.get() {
            Some(Err(CommitError::TooLarge(reason))) => Some((failed.position, Arc::clone(reason))),
            _ => None,
        })?;
        tracing::warn!(process_manager = self.definition().name, position, %reason, "a commit of a process manager is too large for the log");
        match Sizes::too_large(&mut self.starts.sizes, position, &reason) {
            Next::Again => Some(Halt::Back),
            Next::Later => None,
            Next::Halt => {
                let reason = format!("the failure of its work cannot be stored: {reason}");
                Some(Halt::parked(self.committed.position + 1, reason))
            }
        }
    }

    /// Waits until no reaction is in flight.
    pub(super) async fn finish_in_flight(&mut self) -> Result<(), Halt> {
        while let Some(first) = self.in_flight.front() {
            let outcome = Arc::clone(&first.outcome);
            drop(outcome.wait().await);
            self.settle()?;
        }
        Ok(())
    }

    /// The position up to which everything is submitted.
    pub(super) fn submitted(&self) -> u64 {
        let mut commits = self.in_flight.iter().rev();
        let last = commits.find_map(|last| last.commit.as_ref());
        last.map_or(self.committed.position, |(progress, _)| progress.position)
    }

    /// Notes progress without a commit. The next checkpoint saves it.
    pub(super) fn note(&mut self) {
        if self.unreadable.is_some() {
            return;
        }
        let definition = self.definition();
        let only = self.machine.instances.only();
        let state = match only.and_then(|only| only.state.as_ref()) {
            Some(state) => encode_state(definition, state),
            None => Ok(RawValue::NULL.to_owned()),
        };
        if let Ok(state) = state {
            let progress = Progress {
                position: self.machine.position,
                state,
            };
            self.noted = self.machine.position;
            self.committed = progress.clone();
            let journal = &self.context.runtime.journal;
            journal.note_progress(&self.name, progress);
        }
    }
}
