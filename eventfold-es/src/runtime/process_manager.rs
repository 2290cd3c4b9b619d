//! The task of one process manager: it reads events in order and turns each into one commit of what it caused.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, watch};

use super::Runtime;
use super::end::End;
use super::guarded::guard;
use super::inside_reaction::inside_reaction;
use super::origin::{Cause, Origin, command_id, path_to};
use super::reactions::DurableReaction;
use super::routes::Stage;
use super::saved_state::encode_state;
use super::staging::{Letter, Targets, Undeliverable, load_targets, parts_of};
use crate::clock::seconds_since_1970;
use crate::dead_letter::DeadLetterLine;
use crate::envelope::Dispatch;
use crate::event::RecordedEvent;
use crate::journal::{
    Cursor, JournalError, Outcome, Progress, ProposedCommit, ProposedReaction, RecordedCommit,
    SeenBefore, StreamId,
};
use crate::process_manager::ProcessManager;
use crate::sabotage::{Bug, planted};

/// How many reactions may be handed over and not yet durable.
const MAX_IN_FLIGHT: usize = 1024;
/// After how many events without a commit the progress is noted.
const NOTE_EVENTS: u64 = 4096;
/// How long to wait before what could not be read or written is tried again, at first and at most.
const RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

/// What a runner needs beside its process manager.
pub(crate) struct RunnerContext {
    pub(crate) runtime: Arc<Runtime>,
    /// Its index among the process managers of the store.
    pub(crate) member: usize,
    /// How many reactions a chain may have.
    pub(crate) max_depth: u32,
    /// Up to where to react.
    pub(crate) target: watch::Receiver<u64>,
    /// Turns true when the store closes.
    pub(crate) closing: watch::Receiver<bool>,
    /// Dropped when the runner has ended.
    pub(crate) _alive: std::sync::mpsc::Sender<()>,
}

pub(crate) struct ProcessManagerRunner<PM: ProcessManager> {
    context: RunnerContext,
    name: Arc<str>,
    subscriptions: &'static [&'static str],
    state: PM,
    /// What the state saw when eventfold-es 0.2.0 ran it; none for the events behind those.
    seen_before: Option<Arc<SeenBefore>>,
    /// The last event that the state has seen.
    position: u64,
    cursor: Cursor,
    /// The last durable progress: where a failure goes back to.
    committed: Progress,
    in_flight: VecDeque<InFlight>,
    /// The position that was noted last without a commit.
    noted: u64,
}

struct InFlight {
    outcome: Arc<Outcome>,
    progress: Progress,
}

/// Why a runner stops reacting.
enum Halt {
    /// It cannot react to this event.
    Parked { position: u64, reason: String },
    /// A read or a commit failed that may succeed later.
    Retry,
    /// Nothing can be written any more.
    Ended,
}

/// What became of the attempt to hand a reaction over.
enum HandOver {
    Done(Arc<Outcome>),
    /// A target was evicted meanwhile, or an earlier commit failed.
    Again,
}

impl<PM: ProcessManager> ProcessManagerRunner<PM> {
    /// Starts behind `progress`.
    ///
    /// # Errors
    ///
    /// What serde says if the stored state does not decode.
    pub(crate) fn new(
        context: RunnerContext,
        progress: Progress,
    ) -> Result<Self, serde_json::Error> {
        let state: PM = serde_json::from_str(progress.state.get())?;
        let adopted = context.runtime.journal.adopted(PM::NAME);
        let seen_before = adopted.map(|adopted| Arc::clone(&adopted.seen));
        Ok(Self {
            seen_before,
            context,
            name: PM::NAME.into(),
            subscriptions: state.subscriptions(),
            state,
            position: progress.position,
            cursor: Cursor::after(progress.position),
            noted: progress.position,
            committed: progress,
            in_flight: VecDeque::new(),
        })
    }

    /// Reacts until the store closes.
    pub(crate) async fn run(mut self) {
        let end = End::new(&self.context.runtime.reactions, self.context.member);
        self.react().await;
        end.orderly();
    }

    async fn react(&mut self) {
        let mut retry = RETRY.0;
        loop {
            let before = self.committed.position;
            match self.react_until_closing().await {
                Ok(()) => break,
                // The state may have seen an event that it has not reacted to: it is not to be saved.
                Err(Halt::Ended) => return self.park_if_poisoned(),
                Err(Halt::Parked { position, reason }) if self.finish_in_flight().await.is_ok() => {
                    return self.park(position, &reason);
                }
                // Before the event that it would be parked at, there are reactions to be tried again.
                Err(Halt::Parked { .. } | Halt::Retry) => {
                    if self.committed.position > before {
                        retry = RETRY.0;
                    }
                    let mut closing = self.context.closing.clone();
                    let _ = tokio::time::timeout(retry, closing.wait_for(|closing| *closing)).await;
                    retry = (retry * 2).min(RETRY.1);
                    if let Err(Halt::Parked { position, reason }) = self.go_back() {
                        return self.park(position, &reason);
                    }
                }
            }
        }
        let is_finished = self.finish_in_flight().await.is_ok();
        if is_finished && self.position > self.noted.max(self.committed.position) {
            self.note();
        }
        self.park_if_poisoned();
    }

    fn park_if_poisoned(&self) {
        if let Some(reason) = self.context.runtime.journal.poisoned() {
            self.park(self.committed.position + 1, &reason);
        }
    }

    fn park(&self, position: u64, reason: &str) {
        let hub = &self.context.runtime.reactions;
        hub.parked(self.context.member, position, reason);
    }

    async fn react_until_closing(&mut self) -> Result<(), Halt> {
        let mut target = self.context.target.clone();
        let mut closing = self.context.closing.clone();
        loop {
            if *closing.borrow() {
                return Ok(());
            }
            let until = *target.borrow_and_update();
            while self.position < until {
                self.react_to_next(until).await?;
                self.settle()?;
                if *closing.borrow() {
                    return Ok(());
                }
            }
            self.settle()?;
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
            tokio::select! {
                changed = target.changed() => if changed.is_err() { return Ok(()) },
                changed = closing.changed() => if changed.is_err() { return Ok(()) },
                () = settled => {}
            }
        }
    }

    /// Reacts to the next commits that can be read, up to the position `until`.
    async fn react_to_next(&mut self, until: u64) -> Result<(), Halt> {
        let journal = Arc::clone(&self.context.runtime.journal);
        let commits = match journal.read_recent(&mut self.cursor) {
            Some(commits) => Ok(commits),
            None => {
                let mut cursor = self.cursor;
                let read = tokio::task::spawn_blocking(move || {
                    let commits = journal.read_on(&mut cursor);
                    (cursor, commits)
                });
                let (cursor, commits) = read.await.map_err(|_| Halt::Ended)?;
                self.cursor = cursor;
                commits
            }
        };
        let commits = match commits {
            Ok(commits) => commits,
            Err(JournalError::Damage(damage)) => {
                return Err(Halt::Parked {
                    position: self.position + 1,
                    reason: damage.to_string(),
                });
            }
            Err(JournalError::File(error)) => {
                tracing::warn!(process_manager = PM::NAME, %error, "the journal cannot be read now; it will be tried again");
                // What is in flight is not undone by this.
                self.finish_in_flight().await?;
                return Err(Halt::Retry);
            }
        };
        for commit in commits {
            self.react_to_commit(&commit, until).await?;
            if self.position >= until {
                self.cursor = Cursor::after(self.position);
                break;
            }
        }
        // Between chunks others get their turn.
        tokio::task::yield_now().await;
        Ok(())
    }

    async fn react_to_commit(&mut self, commit: &RecordedCommit, until: u64) -> Result<(), Halt> {
        let mut position = commit.first_position;
        for append in &commit.appends {
            let is_subscribed = self.subscriptions.contains(&&*append.stream.aggregate_type);
            for (version, line) in (append.first_version..).zip(append.lines.iter()) {
                if position > until {
                    return Ok(());
                }
                if position > self.position {
                    if is_subscribed && !self.has_seen(&append.stream, version, position) {
                        self.react_to(&append.stream, version, position, line)
                            .await?;
                    }
                    self.position = position;
                }
                position += 1;
            }
        }
        if self.in_flight.is_empty() && self.position >= self.noted + NOTE_EVENTS {
            self.note();
        }
        Ok(())
    }

    fn has_seen(&self, stream: &StreamId, version: u64, position: u64) -> bool {
        let seen_before = self.seen_before.as_ref();
        seen_before.is_some_and(|seen| seen.covers(stream, version, position))
    }

    async fn react_to(
        &mut self,
        stream: &StreamId,
        version: u64,
        position: u64,
        line: &str,
    ) -> Result<(), Halt> {
        let parked = |reason: String| Halt::Parked { position, reason };
        let event = serde_json::from_str(line)
            .map_err(|error| parked(format!("the stored event is no event: {error}")))?;
        let event = RecordedEvent::new(position, version, event);
        self.settle()?;
        let state = &mut self.state;
        let reacted = guard(
            || format!("the reaction of `{}`", PM::NAME),
            || {
                inside_reaction(PM::NAME, || {
                    state.react(&stream.aggregate_type, &stream.instance_id, &event)
                })
            },
        );
        let envelopes = match reacted {
            Ok(Ok(envelopes)) => envelopes,
            Ok(Err(error)) => return Err(parked(error.to_string())),
            Err(error) => return Err(parked(error.to_string())),
        };
        if envelopes.is_empty() {
            return Ok(());
        }
        let state = encode_state(&self.state).map_err(parked)?;
        let progress = Progress { position, state };
        let Runtime { types, routes, .. } = &*self.context.runtime;
        let cause = Cause::of(&event);
        let too_long = match cause.depth > self.context.max_depth {
            false => None,
            true => Some(self.too_long(position).await?),
        };
        let letters = envelopes.into_iter().map(|envelope| {
            let letter = match envelope.route(Stage { types, routes }) {
                Ok(staged) => Letter::Staged(staged),
                Err(undeliverable) => Letter::Dead(undeliverable),
            };
            match (&too_long, letter) {
                (Some(reason), Letter::Staged(staged)) => {
                    Letter::Dead(Undeliverable::new(staged.erase(), reason.clone()))
                }
                (_, letter) => letter,
            }
        });
        let mut letters: Vec<_> = letters.collect();
        loop {
            let Ok(targets) = load_targets(&letters).await else {
                return Err(Halt::Ended);
            };
            let room = self.context.runtime.journal.room();
            let Ok(room) = Arc::clone(room).acquire_owned().await else {
                return Err(Halt::Ended);
            };
            let handed_over;
            (handed_over, letters) = self.hand_over(letters, &cause, &targets, room, &progress);
            match handed_over {
                HandOver::Done(outcome) => {
                    self.in_flight.push_back(InFlight { outcome, progress });
                    break;
                }
                HandOver::Again => {
                    for target in targets.into_values().flatten() {
                        if target.lock().is_evicted() {
                            Arc::clone(&target).forget();
                        }
                    }
                    self.settle()?;
                }
            }
        }
        while self.in_flight.len() > MAX_IN_FLIGHT {
            if let Some(first) = self.in_flight.front() {
                let outcome = Arc::clone(&first.outcome);
                drop(outcome.wait().await);
            }
            self.settle()?;
        }
        Ok(())
    }

    /// Why nothing that is sent at this position is executed.
    async fn too_long(&self, position: u64) -> Result<String, Halt> {
        let journal = Arc::clone(&self.context.runtime.journal);
        let path = tokio::task::spawn_blocking(move || path_to(&journal, position, PM::NAME));
        let path = match path.await.map_err(|_| Halt::Ended)? {
            Ok(path) => path,
            Err(error) => format!("a path that cannot be read: {error}"),
        };
        let max = self.context.max_depth;
        Ok(format!(
            "the chain of reactions is longer than {max}; it came along {path}. Let one of them stop answering, or raise \
             `max_reaction_depth`"
        ))
    }

    /// From the locks on the targets to the hand-over there is no await: a dropped future leaves nothing or a commit.
    fn hand_over(
        &mut self,
        letters: Vec<Letter>,
        cause: &Cause,
        targets: &Targets,
        room: OwnedSemaphorePermit,
        progress: &Progress,
    ) -> (HandOver, Vec<Letter>) {
        let journal = &self.context.runtime.journal;
        // A BTreeMap: the locks are taken in one order everywhere.
        let mut locked = BTreeMap::new();
        for (stream, target) in targets {
            let target = target.as_ref().map(|target| target.lock());
            if target.as_ref().is_ok_and(|target| target.is_evicted()) {
                return (HandOver::Again, letters);
            }
            locked.insert(stream, target.map_err(Clone::clone));
        }
        if self.has_failed() {
            return (HandOver::Again, letters);
        }
        for target in locked.values_mut() {
            if let Ok(cell) = target
                && let Err(error) = cell.settle()
            {
                *target = Err(error.to_string());
            }
        }
        let mut dispatched = 0;
        let mut dead_letters = Vec::new();
        let mut touched: Vec<&StreamId> = Vec::new();
        let mut seen = HashSet::new();
        for (index, letter) in letters.iter().enumerate() {
            let undelivered = match letter {
                Letter::Dead(dead) => Some((dead.envelope.clone(), dead.reason.clone())),
                Letter::Staged(staged) => {
                    let stream = staged.stream();
                    let command_id = &command_id(PM::NAME, "", 0, progress.position, index);
                    let origin = Origin { command_id, cause };
                    let decided = match locked.get_mut(stream) {
                        Some(Ok(cell)) => cell.decide(staged.command(), staged.context(), origin),
                        Some(Err(reason)) => Err(reason.clone()),
                        None => Err("its target was not found".to_owned()),
                    };
                    if seen.insert(stream) {
                        touched.push(stream);
                    }
                    decided.err().map(|reason| (staged.erase(), reason))
                }
            };
            match undelivered {
                None => dispatched += 1,
                Some((envelope, error)) => {
                    tracing::warn!(process_manager = PM::NAME, target = %envelope.aggregate_type, instance = %envelope.instance_id, error, "a command became a dead letter");
                    let letter = DeadLetterLine {
                        envelope: &envelope,
                        error: &error,
                        ts: seconds_since_1970(),
                    };
                    dead_letters.push(letter.to_line());
                }
            }
        }
        let appends: Vec<_> = touched
            .iter()
            .filter_map(|stream| locked.get(stream)?.as_ref().ok()?.proposed())
            .collect();
        let parts = parts_of(&appends);
        let aggregate_types: Vec<_> = appends
            .iter()
            .map(|append| Arc::clone(&append.stream.aggregate_type))
            .collect();
        let pending = locked.values().flatten();
        let after = pending
            .filter_map(|cell| cell.last_pending())
            .chain(self.in_flight.back().map(|last| Arc::clone(&last.outcome)))
            .collect();
        let hub = Arc::clone(&self.context.runtime.reactions);
        let source = progress.position;
        let dead_lettered = dead_letters.len();
        let outcome = journal.submit(
            room,
            ProposedCommit {
                after,
                appends,
                reaction: Some(ProposedReaction {
                    process_manager: Arc::clone(&self.name),
                    progress: progress.clone(),
                    dispatched: dispatched as u64,
                    rows: Vec::new(),
                    dead_letters,
                }),
                on_durable: Some(Box::new(move |receipt| {
                    hub.reacted(&DurableReaction {
                        source,
                        receipt: receipt.clone(),
                        aggregate_types: &aggregate_types,
                        dispatched,
                        dead_lettered,
                    });
                })),
            },
        );
        for (stream, cell) in locked {
            if let (Ok(mut cell), Some(part)) = (cell, parts.get(stream)) {
                cell.handed_over(&outcome, *part);
            }
        }
        (HandOver::Done(outcome), letters)
    }

    /// Whether a reaction in flight did not become durable, and so those behind it will not.
    fn has_failed(&self) -> bool {
        self.in_flight
            .iter()
            .any(|reaction| matches!(reaction.outcome.get(), Some(Err(_))))
    }

    /// Takes note of the reactions that became durable; fails if one did not.
    fn settle(&mut self) -> Result<(), Halt> {
        let journal = &self.context.runtime.journal;
        while let Some(first) = self
            .in_flight
            .pop_front_if(|first| first.outcome.is_durable())
        {
            self.committed = first.progress;
        }
        if journal.poisoned().is_some() {
            return Err(Halt::Ended);
        }
        if self.has_failed() {
            return Err(Halt::Retry);
        }
        let processed = match self.in_flight.front() {
            Some(first) => first.progress.position.saturating_sub(1),
            None => self.position,
        };
        self.context
            .runtime
            .reactions
            .processed(self.context.member, processed);
        Ok(())
    }

    /// Waits until nothing is in flight.
    async fn finish_in_flight(&mut self) -> Result<(), Halt> {
        while let Some(first) = self.in_flight.front() {
            let outcome = Arc::clone(&first.outcome);
            drop(outcome.wait().await);
            self.settle()?;
        }
        Ok(())
    }

    /// Goes back to the last durable progress, from where the reactions that failed are tried again.
    fn go_back(&mut self) -> Result<(), Halt> {
        while let Some(first) = self
            .in_flight
            .pop_front_if(|first| first.outcome.is_durable())
        {
            self.committed = first.progress;
        }
        self.in_flight.clear();
        let committed =
            serde_json::from_str(self.committed.state.get()).map_err(|error| Halt::Parked {
                position: self.committed.position + 1,
                reason: format!("the state does not read back: {error}"),
            })?;
        if !planted(Bug::ProgressNotRestored) {
            self.state = committed;
        }
        self.position = self.committed.position;
        self.cursor = Cursor::after(self.position);
        Ok(())
    }

    /// Notes progress that needed no commit, to be saved at the next checkpoint.
    fn note(&mut self) {
        if let Ok(state) = encode_state(&self.state) {
            let progress = Progress {
                position: self.position,
                state,
            };
            self.noted = self.position;
            self.committed = progress.clone();
            self.context
                .runtime
                .journal
                .note_progress(&self.name, progress);
        }
    }
}
