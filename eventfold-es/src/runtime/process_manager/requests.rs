//! The requests of operators. The task of the process manager serves them between reactions, so that no other work runs meanwhile.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::super::origin::Cause;
use super::draft::{Draft, Report, Source};
use super::react::Input;
use super::rows::{self, AttemptRow, ControlRow, DeadRow, HeldRow, ReactionRow, put, remove};
use super::{Halt, ProcessManagerRunner, Rebuilt, Shown};
use crate::journal::{RowRange, StreamId};
use crate::process_manager::ProcessManager;

/// The channel of the answer. Its receiver may be gone.
pub(crate) type Answer<T> = oneshot::Sender<T>;

/// The caller of a request that may cause reactions.
pub(crate) struct Asked<T = Report> {
    /// The wait for these reactions, if the caller waits.
    pub(crate) wait: Option<u64>,
    pub(crate) answer: Answer<T>,
}

impl<T> Asked<T> {
    pub(super) fn tell(self, report: T) {
        let _ = self.answer.send(report);
    }
}

/// The parked work that a request concerns.
#[derive(Debug, Clone)]
pub(crate) enum Parked {
    Instance(String),
    Stream(StreamId),
    /// The whole process manager.
    All,
}

/// See the [module](self).
pub(crate) enum Request {
    /// Fires due deadlines and starts due retries, after all events stored so far. Answers with their number.
    Fire(Answer<usize>),
    /// Makes all completed reactions durable.
    Settle(Answer<()>),
    Pause(Answer<()>),
    Resume(Asked),
    Release(Parked, Asked),
    Discard(Parked, Asked),
    /// Redrives one dead letter, or all.
    Redrive(Option<String>, Asked),
    /// Discards one dead letter, or all.
    Forget(Option<String>, Asked),
    /// Rebuilds the states. Answers with the reason if they remain unchanged.
    Rebuild(Asked<Result<Rebuilt, String>>),
}

impl Request {
    /// Whether a process manager with an unusable state can serve the request.
    pub(super) fn needs_no_state(&self) -> bool {
        match self {
            Self::Settle(_)
            | Self::Pause(_)
            | Self::Resume(_)
            | Self::Forget(..)
            | Self::Rebuild(_) => true,
            Self::Fire(_) | Self::Release(..) | Self::Discard(..) | Self::Redrive(..) => false,
        }
    }

    /// The operator's wait, for requests whose work is done before the answer.
    fn operator(&self) -> Option<u64> {
        match self {
            Self::Fire(_)
            | Self::Settle(_)
            | Self::Pause(_)
            | Self::Resume(_)
            | Self::Rebuild(_) => None,
            Self::Release(_, asked)
            | Self::Discard(_, asked)
            | Self::Redrive(_, asked)
            | Self::Forget(_, asked) => asked.wait,
        }
    }
}

impl<PM: ProcessManager> ProcessManagerRunner<PM> {
    /// Serves the requests that have arrived.
    pub(super) async fn serve_waiting(&mut self) -> Result<(), Halt> {
        while let Ok(request) = self.context.requests.try_recv() {
            self.serve(request).await?;
        }
        Ok(())
    }

    pub(super) async fn serve(&mut self, request: Request) -> Result<(), Halt> {
        let request = match request {
            // After these requests, the runner works for the operator until no work is left.
            Request::Resume(asked) => return self.resume(asked).await,
            Request::Rebuild(asked) => return self.rebuild_and_go_on(asked).await,
            request => request,
        };
        let operator = request.operator();
        if operator.is_some() {
            // Earlier reactions are not part of the operator's request.
            self.flush().await?;
        }
        self.operator = operator;
        let served = self.serve_now(request).await;
        self.operator = None;
        served
    }

    async fn serve_now(&mut self, request: Request) -> Result<(), Halt> {
        match request {
            Request::Fire(answer) => {
                let fired = match self.is_paused {
                    true => 0,
                    false => self.fire_due().await?,
                };
                self.settle_all().await?;
                let _ = answer.send(fired);
            }
            Request::Settle(answer) => {
                self.settle_all().await?;
                let _ = answer.send(());
            }
            Request::Pause(answer) => {
                self.set_paused(true).await?;
                let _ = answer.send(());
            }
            // `serve` handles these requests.
            Request::Resume(_) | Request::Rebuild(_) => {}
            Request::Release(parked, asked) => {
                let done = match &parked {
                    Parked::Instance(key) => {
                        self.starts.forgive();
                        self.release(key).await?
                    }
                    Parked::Stream(stream) => {
                        self.starts.forgive();
                        self.release_stream(stream).await?
                    }
                    Parked::All => Report::default(),
                };
                asked.tell(done);
            }
            Request::Discard(parked, asked) => {
                let done = match &parked {
                    Parked::Instance(key) => self.discard(key).await?,
                    Parked::Stream(stream) => self.discard_stream(stream).await?,
                    Parked::All => Report::default(),
                };
                asked.tell(done);
            }
            Request::Redrive(id, asked) => {
                let mut done = Vec::new();
                let redriven = self.redrive(id, &mut done).await;
                if redriven.is_err() {
                    // Dead letters that were submitted may be durable nevertheless.
                    let _ = self.finish_in_flight().await;
                }
                let mut total = Report {
                    is_interrupted: redriven.is_err(),
                    ..Report::default()
                };
                done.retain(|(commit, _)| *commit <= self.durable_commit);
                for (_, report) in done {
                    total.done += report.done;
                    total.failed += report.failed;
                    total.unreadable.extend(report.unreadable);
                }
                asked.tell(total);
                redriven?;
            }
            Request::Forget(id, asked) => {
                let letters = self.dead_letters(id).await?;
                for (key, value) in &letters {
                    self.dirty.push(remove(key.clone()), self.position);
                    if let Ok(DeadRow::Reaction(letter)) = DeadRow::read(key, value)
                        && let HeldRow::Event(at) = letter.reaction
                    {
                        // The event counts as skipped from now on.
                        let passed = put(rows::passed_key(at, &letter.key), &letter.source);
                        self.dirty.push(passed, self.position);
                    }
                }
                self.settle_all().await?;
                asked.tell(Report::done(letters.len()));
            }
        }
        Ok(())
    }

    async fn set_paused(&mut self, is_paused: bool) -> Result<(), Halt> {
        let control = ControlRow {
            is_paused,
            ..self.control()
        };
        let row = put(rows::CONTROL.into(), &control);
        self.dirty.push(row, self.position);
        self.settle_all().await?;
        self.is_paused = is_paused;
        self.announce_pause();
        Ok(())
    }

    async fn resume(&mut self, asked: Asked) -> Result<(), Halt> {
        let was_paused = self.is_paused;
        if was_paused {
            self.set_paused(false).await?;
            self.goes_on_for(asked.wait);
        }
        asked.tell(Report::done(usize::from(was_paused)));
        Ok(())
    }

    async fn rebuild_and_go_on(
        &mut self,
        asked: Asked<Result<Rebuilt, String>>,
    ) -> Result<(), Halt> {
        let was_unreadable = self.unreadable.is_some();
        let rebuilt = self.rebuild().await?;
        if was_unreadable && self.unreadable.is_none() {
            let hub = &self.context.runtime.reactions;
            hub.unparked(self.context.member);
        }
        if rebuilt.is_ok() {
            self.goes_on_for(asked.wait);
        }
        asked.tell(rebuilt);
        Ok(())
    }

    pub(super) fn announce_pause(&self) {
        let hub = &self.context.runtime.reactions;
        hub.paused(self.context.member, self.is_paused);
    }

    /// The current decisions of operators.
    pub(super) fn control(&self) -> ControlRow {
        ControlRow {
            is_paused: self.is_paused,
            instances: self.instances.table(),
            stays_at: self.stays_at.clone(),
        }
    }

    pub(super) async fn settle_all(&mut self) -> Result<(), Halt> {
        self.flush().await?;
        self.finish_in_flight().await?;
        self.settle()
    }

    /// The current dead letters: one, or all.
    async fn dead_letters(
        &mut self,
        id: Option<String>,
    ) -> Result<Vec<(Box<str>, Box<str>)>, Halt> {
        self.settle_all().await?;
        if let Some(id) = id {
            let key: Box<str> = format!("{}{id}", rows::DEAD_LETTERS).into();
            let found = self.read_rows(vec![key.clone()]).await?;
            let found = found.into_iter().flatten();
            return Ok(found.map(|value| (key.clone(), value)).collect());
        }
        let mut letters = Vec::new();
        self.each_row(RowRange::of_kind(rows::DEAD_LETTERS), |row| {
            letters.push((row.key.clone(), row.value.clone()));
        })
        .await?;
        Ok(letters)
    }

    /// Redrives dead letters in order, each in its own commit. A letter that fails again remains, with its new error. `done` receives the
    /// report of each letter, with the number of its commit.
    async fn redrive(
        &mut self,
        id: Option<String>,
        done: &mut Vec<(u64, Report)>,
    ) -> Result<(), Halt> {
        for (key, value) in self.dead_letters(id).await? {
            let report = match DeadRow::read(&key, &value) {
                Ok(DeadRow::Command(row)) => {
                    self.learn(vec![row.key.clone()]).await?;
                    self.dirty.push(remove(key), self.position);
                    self.settle()?;
                    self.execute_for_operator(*row).await?
                }
                Ok(DeadRow::Reaction(letter)) => {
                    self.settle()?;
                    self.react_for_operator(key, *letter).await?
                }
                Err(reason) => {
                    let id = key.get(1..).unwrap_or_default().to_owned();
                    tracing::error!(
                        process_manager = PM::NAME,
                        id,
                        reason,
                        "a dead letter cannot be read"
                    );
                    Report {
                        unreadable: vec![id],
                        ..Report::new(0, 1)
                    }
                }
            };
            done.push((self.next_commit.saturating_sub(1), report));
        }
        self.settle_all().await
    }

    /// Redrives a failed reaction, in a commit that removes its dead letter. If the reaction fails again, the letter remains with its new
    /// error.
    async fn react_for_operator(
        &mut self,
        row_key: Box<str>,
        mut letter: ReactionRow,
    ) -> Result<Report, Halt> {
        let position = self.position;
        let done = |has_failed| match has_failed {
            true => Report::new(0, 1),
            false => Report::done(1),
        };
        let mut draft = match &letter.reaction {
            HeldRow::Event(at) | HeldRow::Failed(at) => {
                let Some(Shown { event, correlation }) = self.shown_at(*at).await? else {
                    return Ok(Report::default());
                };
                let (key, cause) = (letter.key.clone(), Cause::of(&event.1));
                let mut joins = match correlation {
                    _ if !PM::IS_KEYED => Vec::new(),
                    Ok(joins) => joins,
                    Err(cause) => {
                        letter.attempts.push(AttemptRow::new(&cause));
                        self.dirty.push(put(row_key, &letter), position);
                        self.settle_all().await?;
                        return Ok(done(true));
                    }
                };
                // A letter with a key concerns only that instance. A letter without a key concerns all instances, because the correlation
                // failed.
                joins.retain(|join| key.is_empty() || join.key == key);
                self.learn(joins.iter().map(|join| join.key.clone()).collect())
                    .await?;
                let source = Source::Event(Arc::clone(&event));
                let mut draft = Draft::new(position, *at, cause, source);
                self.dirty.push(remove(row_key.clone()), position);
                draft.letter = (joins.len() < 2).then_some((row_key, letter));
                if !PM::IS_KEYED {
                    self.keep_state_before(position)?;
                    let input = Input::Event(&event.0, &event.1);
                    self.show_to("", input, &mut draft)?;
                }
                for (nth, join) in joins.iter().enumerate() {
                    self.join(nth, join, &event, &mut draft)?;
                }
                draft
            }
            HeldRow::Deadline(timer) => {
                let timer = timer.clone();
                self.learn(vec![timer.key.clone()]).await?;
                let found = self.instances.get(&timer.key);
                if found.is_some_and(|found| found.generation == timer.generation && found.holds())
                {
                    // The deadline would take the name of the armed deadline, so the letter remains until its instance continues.
                    return Ok(done(true));
                }
                self.dirty.push(remove(row_key.clone()), position);
                let mut draft = Draft::of_deadline(position, &timer);
                draft.letter = Some((row_key, letter));
                let found = self.instances.get(&timer.key);
                let is_its = found.filter(|found| found.generation == timer.generation);
                // A deadline of an ended instance has no effect.
                if is_its.is_some() {
                    self.keep_state_before(position)?;
                    self.show_to(&timer.key, Input::Deadline(&timer), &mut draft)?;
                }
                draft
            }
            HeldRow::Command(_) => return Ok(Report::default()),
        };
        draft.letter = None;
        let has_failed = draft.has_failed;
        self.commit(draft).await?;
        self.settle_all().await?;
        Ok(done(has_failed))
    }

    /// Without `key`: encodes the state before the next delivery, to restore it after a failure.
    fn keep_state_before(&mut self, position: u64) -> Result<(), Halt> {
        if self.encode_unkeyed(position)? {
            self.cautious = Some(position);
        }
        Ok(())
    }
}
