//! The task of one process manager: it reads events in order and turns each into one commit of what it caused.

mod agenda;
mod deadlines;
mod dispatch;
mod held;
mod instances;
mod react;
mod requests;
pub(crate) mod rows;

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use serde_json::value::RawValue;
use tokio::sync::{mpsc, watch};

use super::Runtime;
use super::end::End;
use super::saved_state::encode_state;
use crate::clock::Clock;
use crate::event::RecordedEvent;
use crate::journal::{
    Cursor, JournalError, Outcome, Progress, RecordedCommit, Row, RowChange, RowRange, SeenBefore,
    StreamId,
};
use crate::process_manager::ProcessManager;
use crate::sabotage::{Bug, planted};

use agenda::Agenda;
use dispatch::{Draft, HandOver, Report};
use instances::Instances;
pub(crate) use requests::{Parked, Request};
use rows::ControlRow;

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
    /// Its index among the process managers of the store.
    pub(crate) member: usize,
    /// How many reactions a chain may have.
    pub(crate) max_depth: u32,
    pub(crate) clock: Arc<dyn Clock>,
    /// Whether deadlines fire by themselves.
    pub(crate) fires: bool,
    /// Up to where to react.
    pub(crate) target: watch::Receiver<u64>,
    pub(crate) requests: mpsc::UnboundedReceiver<Request>,
    /// Turns true when the store closes.
    pub(crate) closing: watch::Receiver<bool>,
    /// Dropped when the runner has ended.
    pub(crate) _alive: std::sync::mpsc::Sender<()>,
}

pub(crate) struct ProcessManagerRunner<PM: ProcessManager> {
    context: RunnerContext,
    name: Arc<str>,
    subscriptions: &'static [&'static str],
    instances: Instances<PM>,
    /// Changes of rows that were not handed over yet.
    dirty: Dirty,
    /// Streams that are held since an event of them could not be read.
    held_streams: HashSet<StreamId>,
    timers: Agenda,
    pending: Agenda,
    is_paused: bool,
    /// Whether what is in rows was read.
    is_loaded: bool,
    /// What the state saw when eventfold-es 0.2.0 ran it; none for the events behind those.
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
    /// An event that could not be reacted to: before it is shown again, the state is kept.
    cautious: Option<u64>,
}

struct InFlight {
    outcome: Arc<Outcome>,
    progress: Progress,
    number: u64,
}

#[derive(Default)]
struct Dirty {
    rows: Vec<RowChange>,
    /// The first event whose effects are among them.
    first: Option<u64>,
}

impl Dirty {
    fn push(&mut self, row: RowChange, position: u64) {
        self.first.get_or_insert(position);
        self.rows.push(row);
    }

    fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

/// Why a runner stops reacting.
enum Halt {
    /// It cannot react to this event.
    Parked { position: u64, reason: String },
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
    correlation: Result<Vec<crate::process_manager::Join>, String>,
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
        let adopted = context.runtime.journal.adopted(PM::NAME);
        let seen_before = adopted.map(|adopted| Arc::clone(&adopted.seen));
        let mut runner = Self {
            seen_before,
            context,
            name: PM::NAME.into(),
            subscriptions: PM::default().subscriptions(),
            instances: Instances::new(),
            dirty: Dirty::default(),
            held_streams: HashSet::new(),
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
            cautious: None,
        };
        runner.restore_state()?;
        Ok(runner)
    }

    /// Without `key`, makes the state that of the last durable progress.
    fn restore_state(&mut self) -> Result<(), serde_json::Error> {
        if PM::IS_KEYED {
            return Ok(());
        }
        let state: PM = serde_json::from_str(self.committed.state.get())?;
        let instance = self.instances.begin("");
        instance.state = Some(state);
        instance.encoded = Some(self.committed.state.clone());
        Ok(())
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
                    self.park(position, &reason);
                    if !self.stay_parked().await {
                        return;
                    }
                    if !self.go_back_or_park().await {
                        return;
                    }
                }
                Err(Halt::Back) if self.finish_in_flight().await.is_ok() => {
                    if !self.go_back_or_park().await {
                        return;
                    }
                }
                // Before the event that it would be parked at, there are reactions to be tried again.
                Err(Halt::Parked { .. } | Halt::Retry | Halt::Back) => {
                    if self.committed.position > before {
                        retry = RETRY.0;
                    }
                    let mut closing = self.context.closing.clone();
                    let _ = tokio::time::timeout(retry, closing.wait_for(|closing| *closing)).await;
                    retry = (retry * 2).min(RETRY.1);
                    if !self.go_back_or_park().await {
                        return;
                    }
                }
            }
        }
        let is_finished = self.flush().await.is_ok() && self.finish_in_flight().await.is_ok();
        if is_finished && self.position > self.noted.max(self.committed.position) {
            self.note();
        }
        self.park_if_poisoned();
    }

    /// Whether it can go on from its last durable commit.
    async fn go_back_or_park(&mut self) -> bool {
        match self.go_back() {
            Err(Halt::Parked { position, reason }) => {
                self.park(position, &reason);
                self.stay_parked().await && self.go_back().is_ok()
            }
            Err(_) => false,
            Ok(()) => true,
        }
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
        self.load().await?;
        let mut target = self.context.target.clone();
        let mut closing = self.context.closing.clone();
        loop {
            if *closing.borrow() {
                return Ok(());
            }
            let until = *target.borrow_and_update();
            while self.position < until && !self.is_paused {
                self.react_to_next(until).await?;
                if self.context.fires {
                    self.fire_due().await?;
                }
                self.flush().await?;
                self.settle()?;
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

    /// Reads what is durable in rows, unless it is known.
    async fn load(&mut self) -> Result<(), Halt> {
        if self.is_loaded {
            return Ok(());
        }
        let control = self.read_rows(vec![rows::CONTROL.into()]).await?;
        let control = control.into_iter().flatten().next();
        let control: Option<ControlRow> = control.and_then(|row| serde_json::from_str(&row).ok());
        self.is_paused = control.unwrap_or_default().is_paused;
        self.announce_pause();
        let mut streams = Vec::new();
        let range = RowRange::of_kind(rows::STREAMS);
        self.each_row(range, |row| streams.extend(rows::stream_of(&row.key)))
            .await?;
        self.held_streams = streams.into_iter().collect();
        if !PM::IS_KEYED {
            self.load_unkeyed().await?;
        }
        self.read_agendas().await?;
        self.is_loaded = true;
        self.resume_releases().await
    }

    async fn load_unkeyed(&mut self) -> Result<(), Halt> {
        let row = self.read_rows(vec![rows::instance_key("")]).await?;
        let row = row.into_iter().flatten().next();
        if let (Some(row), Some(instance)) = (row, self.instances.get("")) {
            match rows::read::<rows::InstanceRow>("i", &row) {
                Ok(row) => {
                    instance.generation = row.generation;
                    instance.timers = row.timers;
                }
                Err(reason) => {
                    let position = self.position + 1;
                    return Err(Halt::Parked { position, reason });
                }
            }
        }
        Ok(())
    }

    async fn read_rows(&mut self, keys: Vec<Box<str>>) -> Result<Vec<Option<Box<str>>>, Halt> {
        let journal = Arc::clone(&self.context.runtime.journal);
        let read = move || {
            let keys: Vec<_> = keys.iter().map(|key| &**key).collect();
            journal.rows(PM::NAME, &keys)
        };
        let read = tokio::task::spawn_blocking(read).await;
        self.read(read.map_err(|_| Halt::Ended)?)
    }

    async fn read_range(&mut self, range: RowRange, limit: usize) -> Result<Vec<Row>, Halt> {
        let journal = Arc::clone(&self.context.runtime.journal);
        let read = move || journal.row_range(PM::NAME, &range, limit);
        let read = tokio::task::spawn_blocking(read).await;
        self.read(read.map_err(|_| Halt::Ended)?)
    }

    /// Shows every durable row of a part of them.
    async fn each_row(
        &mut self,
        mut range: RowRange,
        mut show: impl FnMut(&Row),
    ) -> Result<(), Halt> {
        const ROWS: usize = 1024;
        loop {
            let rows = self.read_range(range.clone(), ROWS).await?;
            rows.iter().for_each(&mut show);
            match rows.last() {
                Some(last) if rows.len() == ROWS => range = range.behind(&last.key),
                _ => return Ok(()),
            }
        }
    }

    fn read<T>(&self, read: Result<T, JournalError>) -> Result<T, Halt> {
        match read {
            Ok(read) => Ok(read),
            Err(JournalError::Damage(damage)) => Err(Halt::Parked {
                position: self.position + 1,
                reason: damage.to_string(),
            }),
            Err(JournalError::File(error)) => {
                tracing::warn!(process_manager = PM::NAME, %error, "the journal cannot be read now; it will be tried again");
                Err(Halt::Retry)
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
        if matches!(commits, Err(JournalError::File(_))) {
            // What is in flight is not undone by this.
            self.finish_in_flight().await?;
        }
        let commits = self.read(commits)?;
        if PM::IS_KEYED {
            self.react_to_keyed(&commits, until).await?;
        } else {
            for commit in commits {
                self.react_to_commit(&commit, until).await?;
                if self.position >= until {
                    break;
                }
            }
        }
        if self.position >= until {
            self.cursor = Cursor::after(self.position);
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
        self.note_if_due();
        Ok(())
    }

    /// Reacts to commits in chunks: correlates the events of one, reads the instances that they belong to, and shows them.
    async fn react_to_keyed(
        &mut self,
        commits: &[Arc<RecordedCommit>],
        until: u64,
    ) -> Result<(), Halt> {
        let mut chunk = Vec::new();
        let mut reached = self.position;
        for commit in commits {
            let mut position = commit.first_position;
            for append in &commit.appends {
                let is_subscribed = self.subscriptions.contains(&&*append.stream.aggregate_type);
                for (version, line) in (append.first_version..).zip(append.lines.iter()) {
                    let is_new = position > self.position && position <= until;
                    if is_new {
                        reached = position;
                        if is_subscribed && !self.has_seen(&append.stream, version, position) {
                            chunk.push(self.show(&append.stream, version, position, line));
                        }
                    }
                    position += 1;
                }
            }
            if chunk.len() >= CHUNK_EVENTS {
                self.react_to_chunk(std::mem::take(&mut chunk)).await?;
                self.position = reached;
            }
        }
        self.react_to_chunk(chunk).await?;
        self.position = reached;
        self.note_if_due();
        Ok(())
    }

    fn note_if_due(&mut self) {
        let is_idle = self.in_flight.is_empty() && self.dirty.is_empty();
        if is_idle && self.position >= self.noted + NOTE_EVENTS {
            self.note();
        }
    }

    fn has_seen(&self, stream: &StreamId, version: u64, position: u64) -> bool {
        let seen_before = self.seen_before.as_ref();
        seen_before.is_some_and(|seen| seen.covers(stream, version, position))
    }

    /// Commits what was planned and the changes of rows that wait.
    async fn commit(&mut self, mut draft: Draft) -> Result<Report, Halt> {
        let position = draft.position;
        if !PM::IS_KEYED
            && let Some(instance) = self.instances.get("")
        {
            let encoded = instance.encode();
            encoded.map_err(|reason| Halt::Parked { position, reason })?;
        }
        if draft.cause.depth > self.context.max_depth && !draft.planned.is_empty() {
            let reason = self.too_long(draft.position).await?;
            for planned in &mut draft.planned {
                planned.give_up(&reason);
            }
        }
        let mut extra = Vec::new();
        let report = loop {
            let letters = draft.planned.iter().map(dispatch::Planned::letter);
            let loads = super::staging::loads(letters.chain(&extra));
            let Ok(targets) = super::staging::load_targets(loads).await else {
                return Err(Halt::Ended);
            };
            let room = Arc::clone(self.context.runtime.journal.room());
            let Ok(room) = room.acquire_owned().await else {
                return Err(Halt::Ended);
            };
            match self.hand_over(&draft, &targets, room) {
                HandOver::Done(report) => break report,
                HandOver::Again => {
                    for target in targets.into_values().flatten() {
                        if target.lock().is_evicted() {
                            Arc::clone(&target).forget();
                        }
                    }
                    self.settle()?;
                }
                HandOver::More(letters) => extra.extend(letters),
                HandOver::Stop(reason) => {
                    return Err(Halt::Parked { position, reason });
                }
            }
        };
        while self.in_flight.len() > MAX_IN_FLIGHT {
            if let Some(first) = self.in_flight.front() {
                let outcome = Arc::clone(&first.outcome);
                drop(outcome.wait().await);
            }
            self.settle()?;
        }
        Ok(report)
    }

    /// Commits the changes of rows that wait for a reaction.
    async fn flush(&mut self) -> Result<(), Halt> {
        if self.dirty.is_empty() {
            return Ok(());
        }
        let cause = super::origin::Cause::none();
        let draft = Draft::new(
            self.position,
            self.position,
            cause,
            dispatch::Source::Nothing,
        );
        self.commit(draft).await.map(drop)
    }

    fn take_dirty(&mut self) -> Vec<RowChange> {
        let Dirty { rows, .. } = std::mem::take(&mut self.dirty);
        rows
    }

    /// Why nothing that is sent at this position is executed.
    async fn too_long(&self, position: u64) -> Result<String, Halt> {
        let journal = Arc::clone(&self.context.runtime.journal);
        let path = tokio::task::spawn_blocking(move || {
            super::origin::path_to(&journal, position, PM::NAME)
        });
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

    /// The state as it is stored with progress.
    fn progress_state(&mut self) -> Box<RawValue> {
        let encoded = match PM::IS_KEYED {
            true => None,
            false => self
                .instances
                .get("")
                .and_then(|found| found.encoded.clone()),
        };
        encoded.unwrap_or_else(|| RawValue::NULL.to_owned())
    }

    /// Whether a reaction in flight did not become durable.
    fn has_failed(&self) -> bool {
        // Each depends on the one before it, so that a failure reaches the last one, if not the first.
        let ends = self
            .in_flight
            .front()
            .into_iter()
            .chain(self.in_flight.back());
        ends.into_iter()
            .any(|reaction| matches!(reaction.outcome.get(), Some(Err(_))))
    }

    fn take_durable(&mut self) {
        while let Some(first) = self
            .in_flight
            .pop_front_if(|first| first.outcome.is_durable())
        {
            self.committed = first.progress;
            self.durable_commit = first.number;
        }
    }

    /// Takes note of the reactions that became durable; fails if one did not.
    fn settle(&mut self) -> Result<(), Halt> {
        self.take_durable();
        if self.context.runtime.journal.poisoned().is_some() {
            return Err(Halt::Ended);
        }
        if self.has_failed() {
            return Err(Halt::Retry);
        }
        let in_flight = self.in_flight.front().map(|first| first.progress.position);
        let waiting = [in_flight, self.dirty.first].into_iter().flatten().min();
        let processed = match waiting {
            Some(first) => first.saturating_sub(1).min(self.position),
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
        self.take_durable();
        self.in_flight.clear();
        self.dirty = Dirty::default();
        self.is_loaded = false;
        self.timers = Agenda::unread();
        self.pending = Agenda::unread();
        if !planted(Bug::ProgressNotRestored) {
            self.instances.clear();
            self.restore_state().map_err(|error| Halt::Parked {
                position: self.committed.position + 1,
                reason: format!("the state does not read back: {error}"),
            })?;
        }
        self.position = self.committed.position;
        self.cursor = Cursor::after(self.position);
        Ok(())
    }

    /// Notes progress that needed no commit, to be saved at the next checkpoint.
    fn note(&mut self) {
        let state = match self
            .instances
            .get("")
            .and_then(|found| found.state.as_ref())
        {
            Some(state) if !PM::IS_KEYED => encode_state(state),
            _ => Ok(RawValue::NULL.to_owned()),
        };
        if let Ok(state) = state {
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
