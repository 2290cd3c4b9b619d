//! Reads the journal onward, and the durable rows. Each subscribed event is delivered once, in order.

use std::sync::Arc;

use super::super::guarded::pooled;
use super::super::imported::is_imported;
use super::correlation::joins;
use super::driver::ProcessManagerRunner;
use super::hold::HeldStream;
use super::machine::{Effect, Input};
use super::rows::{self, ControlRow, HoldRow, InstanceRow};
use super::{Halt, Shown};
use crate::event::RecordedEvent;
use crate::journal::{
    CommittedEvent, Cursor, EarlyCommits, JournalError, RecordedCommit, Row, RowRange,
};
use crate::process_manager::FailureCause;

/// The number of events without a commit after which the runner notes its progress.
const NOTE_EVENTS: u64 = 4096;
/// The maximum number of row changes that wait for a reaction with a commit.
pub(super) const MAX_DIRTY: usize = 256;
/// The number of events to correlate before the runner loads their instances in one read.
const CHUNK_EVENTS: usize = 512;

impl ProcessManagerRunner {
    /// Handles all events up to the position `until`. Returns `false` if the store closes first.
    pub(super) async fn react_until(&mut self, until: u64) -> Result<bool, Halt> {
        while self.machine.position < until {
            if *self.context.closing.borrow() {
                return Ok(false);
            }
            self.react_to_more(until).await?;
        }
        Ok(true)
    }

    /// Handles the next commits up to the position `until`, and submits their effects.
    pub(super) async fn react_to_more(&mut self, until: u64) -> Result<(), Halt> {
        self.note_start().await?;
        self.go_on_where_it_stays().await?;
        self.react_to_next(until).await?;
        self.flush().await?;
        if let Some(seat) = &self.context.seat {
            seat.has_seen(self.machine.position);
        }
        self.settle()?;
        self.answer_skip().await
    }

    /// Handles the next commits that the journal has, up to the position `until`.
    async fn react_to_next(&mut self, until: u64) -> Result<(), Halt> {
        let commits = self.next_commits().await?;
        self.react_to_commits(&commits, until).await?;
        if self.machine.position >= until {
            self.cursor = Cursor::after(self.machine.position);
        }
        // Other tasks run between chunks.
        tokio::task::yield_now().await;
        Ok(())
    }

    /// The next commits that the journal has.
    pub(super) async fn next_commits(&mut self) -> Result<Vec<Arc<RecordedCommit>>, Halt> {
        let journal = Arc::clone(&self.context.runtime.journal);
        let seat = self.context.seat.as_ref();
        let recent = match seat.and_then(|seat| seat.read(&mut self.cursor)) {
            Some(EarlyCommits { commits, outcome }) => {
                self.depends_on(outcome)?;
                Some(commits)
            }
            None => journal.read_recent(&mut self.cursor),
        };
        let commits = match recent {
            Some(commits) => Ok(commits),
            None => {
                let mut cursor = self.cursor;
                let read = pooled(move || {
                    let commits = journal.read_on(&mut cursor);
                    (cursor, commits)
                });
                let (cursor, commits) = read.await.map_err(|_| Halt::Ended)?;
                self.cursor = cursor;
                commits
            }
        };
        if matches!(commits, Err(JournalError::File(_))) {
            // This failure does not undo the reactions in flight.
            self.finish_in_flight().await?;
        }
        self.read(commits)
    }

    /// Handles commits in chunks: correlates the events of a chunk, loads their instances, and delivers the events.
    async fn react_to_commits(
        &mut self,
        commits: &[Arc<RecordedCommit>],
        until: u64,
    ) -> Result<(), Halt> {
        let mut chunk = Vec::new();
        let mut reached = self.machine.position;
        for commit in commits {
            for event in commit.events() {
                if event.position <= self.machine.position || event.position > until {
                    continue;
                }
                reached = event.position;
                if self.is_shown(event) {
                    let name = || format!("correlation {}", event.position);
                    let given_up = match self.definition().is_keyed {
                        true => self.begins(name).await?,
                        false => None,
                    };
                    chunk.push((commit.time, self.show(event, given_up)));
                }
                if self.starts.is_careful() {
                    // A careful start handles single events, to find the event that aborts the process.
                    self.react_to_chunk(std::mem::take(&mut chunk)).await?;
                }
            }
            if chunk.len() >= CHUNK_EVENTS {
                self.react_to_chunk(std::mem::take(&mut chunk)).await?;
                self.machine.position = reached;
            }
        }
        self.react_to_chunk(chunk).await?;
        self.machine.position = reached;
        self.note_if_due();
        Ok(())
    }

    /// Notes progress without a commit, if much was read and nothing waits for a commit.
    pub(super) fn note_if_due(&mut self) {
        let is_idle = self.in_flight.is_empty() && self.machine.dirty.is_empty();
        if is_idle && self.machine.position >= self.noted + NOTE_EVENTS {
            self.note();
        }
    }

    /// Whether the event is subscribed, not imported, and not handled by an earlier version of the store.
    pub(super) fn is_shown(&self, event: CommittedEvent<'_>) -> bool {
        let seen = self.seen_before.as_ref();
        let is_seen =
            seen.is_some_and(|seen| seen.covers(event.stream, event.version, event.position));
        self.context
            .subscriptions
            .contains(&&**event.stream.aggregate_type)
            && !is_seen
            && !is_imported(event.line)
    }

    /// Decodes and correlates an event.
    pub(super) fn show(&self, event: CommittedEvent<'_>, given_up: Option<FailureCause>) -> Shown {
        let CommittedEvent {
            position,
            stream,
            version,
            ..
        } = event;
        let stream = stream.to_id();
        let (event, correlation) = match event.read() {
            Ok(event) => {
                let correlation = match given_up {
                    Some(cause) => Err(cause),
                    None => joins(self.definition(), &stream, &event),
                };
                (event, correlation)
            }
            Err(error) => {
                let event = eventfold::Event {
                    event_type: String::new(),
                    data: serde_json::Value::Null,
                    ts: 0,
                    id: None,
                    actor: None,
                    meta: None,
                };
                let reason = format!("the stored event does not decode: {error}");
                let event = RecordedEvent::new(position, version, event);
                (event, Err(FailureCause::Undecodable { reason }))
            }
        };
        Shown::new(Arc::new((stream, event)), correlation)
    }

    /// Delivers events, each with the time of its commit, to their instances.
    async fn react_to_chunk(&mut self, chunk: Vec<(u64, Shown)>) -> Result<(), Halt> {
        let joins = chunk.iter().flat_map(|(_, shown)| shown.joins());
        self.learn(joins.map(|join| join.key.clone()).collect())
            .await?;
        for (time, shown) in chunk {
            let position = shown.position();
            if self.machine.timers.is_due_before(time) {
                self.fire_before(time).await?;
            }
            self.settle()?;
            match self.skipped == Some(position) {
                true => drop(self.step(Input::Skipped(&shown)).await?),
                false => self.react_to_shown(&shown).await?,
            }
            self.machine.position = position;
            if self.machine.dirty.rows.len() >= MAX_DIRTY || self.starts.sizes.is_some() {
                self.flush().await?;
            }
        }
        self.machine.instances.evict(self.durable_commit);
        Ok(())
    }

    /// Delivers an event to its cached instances, and commits their commands with the progress. Without commands, the row changes wait for
    /// the next commit.
    pub(super) async fn react_to_shown(&mut self, shown: &Shown) -> Result<(), Halt> {
        let position = shown.position();
        // The commands of several instances are decided together, so an abort is not attributed to one instance.
        let together = || format!("commands {position}");
        let is_watched = self.starts.is_careful() || self.starts.sizes.is_some();
        let all_given_up = match is_watched {
            true => self.starts.given_up(&together()),
            false => None,
        };
        let joins = shown.joins();
        for nth in 0..joins.len().max(1) {
            let given_up = match joins.get(nth) {
                _ if all_given_up.is_some() => all_given_up.clone(),
                None => None,
                Some(join) if self.definition().is_keyed => {
                    self.begins(|| format!("event {position} of {}", join.key))
                        .await?
                }
                Some(_) => self.begins(|| format!("event {position}")).await?,
            };
            if let Some(cause) = given_up {
                if !self.definition().is_keyed && matches!(cause, FailureCause::Aborted { .. }) {
                    return Err(Halt::parked(position, cause.to_string()));
                }
                self.machine.given_up = Some(cause);
            }
            let effects = self.take(Input::Event { shown, nth });
            let decides = |effect: &Effect<_>| matches!(effect, Effect::Decide(_));
            if joins.len() > 1 && effects.iter().any(decides) {
                self.begins(together).await?;
            }
            self.carry_out(effects).await?;
        }
        Ok(())
    }

    /// Loads the instances that are not cached.
    pub(super) async fn learn(&mut self, mut keys: Vec<String>) -> Result<(), Halt> {
        keys.retain(|key| !self.machine.instances.knows(key));
        keys.sort();
        keys.dedup();
        if keys.is_empty() {
            return Ok(());
        }
        let table = self.machine.instances.table();
        let wanted = keys.iter().map(|key| table.key(key));
        let found = self.read_rows(wanted.collect()).await?;
        let (position, noted) = (self.machine.position, crate::clock::seconds_since_1970());
        for (key, row) in keys.iter().zip(found) {
            let instances = &mut self.machine.instances;
            let learnt = instances.learn(key, row.as_deref(), position, noted);
            learnt.map_err(|reason| self.unreadable_row(reason))?;
        }
        Ok(())
    }

    pub(super) fn unreadable_row(&self, reason: String) -> Halt {
        Halt::parked(self.machine.position + 1, reason)
    }

    /// Loads the durable rows, unless they are loaded.
    pub(super) async fn load(&mut self) -> Result<(), Halt> {
        match self.is_loaded {
            true => Ok(()),
            false => self.load_rows().await,
        }
    }

    /// Loads the decisions of operators, the held streams and the due work.
    pub(super) async fn load_rows(&mut self) -> Result<(), Halt> {
        let control = self.read_row(rows::CONTROL.into()).await?;
        let control = control.map(|row| rows::read::<ControlRow>(rows::CONTROL, &row));
        let control = control.transpose();
        let control = control.map_err(|reason| self.unreadable_row(reason))?;
        let control = control.unwrap_or_default();
        self.is_paused = control.is_paused;
        self.stays_at = control.stays_at;
        self.owes_releases = true;
        self.machine.instances.move_to(control.instances);
        self.announce_pause();
        let mut streams = Vec::new();
        self.each_row(RowRange::of_kind(rows::STREAMS), |row| {
            let hold = rows::read(&row.key, &row.value);
            // An operator can release the stream nevertheless.
            let hold = hold.unwrap_or_else(|reason| HoldRow::new(0, reason, 0));
            let held = HeldStream {
                hold,
                is_releasing: false,
            };
            streams.extend(rows::stream_of(&row.key).map(|stream| (stream, held)));
        })
        .await?;
        self.machine.held_streams = streams.into_iter().collect();
        if self.definition().is_keyed {
            self.sweep_spare().await?;
        } else {
            self.load_unkeyed().await?;
        }
        self.read_timers().await?;
        self.is_loaded = true;
        Ok(())
    }

    async fn load_unkeyed(&mut self) -> Result<(), Halt> {
        let table = self.machine.instances.table();
        let row = self.read_row(table.key("")).await?;
        if let (Some(row), Some(instance)) = (row, self.machine.instances.get("")) {
            let read = rows::read::<InstanceRow>("i", &row);
            match read {
                Ok(row) => {
                    instance.generation = row.generation;
                    instance.timers = row.timers;
                    instance.hold = row.parked;
                }
                Err(reason) => return Err(self.unreadable_row(reason)),
            }
        }
        Ok(())
    }

    pub(super) async fn read_row(&mut self, key: Box<str>) -> Result<Option<Box<str>>, Halt> {
        let found = self.read_rows(vec![key]).await?;
        Ok(found.into_iter().flatten().next())
    }

    pub(super) async fn read_rows(
        &mut self,
        keys: Vec<Box<str>>,
    ) -> Result<Vec<Option<Box<str>>>, Halt> {
        let name = self.definition().name;
        self.blocking(move |journal| {
            let keys: Vec<_> = keys.iter().map(|key| &**key).collect();
            journal.rows(name, &keys)
        })
        .await
    }

    pub(super) async fn read_range(
        &mut self,
        range: RowRange,
        limit: usize,
    ) -> Result<Vec<Row>, Halt> {
        let name = self.definition().name;
        self.blocking(move |journal| journal.row_range(name, &range, limit))
            .await
    }

    /// Calls `show` with each durable row of a range.
    pub(super) async fn each_row(
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

    /// The commit with the event at a position.
    pub(super) async fn commit_at(&mut self, at: u64) -> Result<Option<Arc<RecordedCommit>>, Halt> {
        self.blocking(move |journal| journal.commit_at(at)).await
    }

    /// The event at a position, with its correlation.
    pub(super) async fn shown_at(&mut self, at: u64) -> Result<Option<Shown>, Halt> {
        let commit = self.commit_at(at).await?;
        let event = commit.as_ref().and_then(|commit| commit.event_at(at));
        Ok(event.map(|event| self.show(event, None)))
    }

    /// Reads from the journal on a thread that may block.
    pub(super) async fn blocking<T: Send + 'static>(
        &mut self,
        read: impl FnOnce(&dyn crate::journal::Journal) -> Result<T, JournalError> + Send + 'static,
    ) -> Result<T, Halt> {
        let journal = Arc::clone(&self.context.runtime.journal);
        let read = pooled(move || read(&*journal)).await;
        self.read(read.map_err(|_| Halt::Ended)?)
    }

    pub(super) fn read<T>(&self, read: Result<T, JournalError>) -> Result<T, Halt> {
        match read {
            Ok(read) => Ok(read),
            Err(JournalError::Damage(damage)) => Err(self.unreadable_row(damage.to_string())),
            Err(JournalError::File(error)) => {
                tracing::warn!(process_manager = self.definition().name, %error, "a read of the journal failed and will be retried");
                Err(Halt::Retry)
            }
        }
    }
}
