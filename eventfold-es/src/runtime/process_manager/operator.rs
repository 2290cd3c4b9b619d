//! The requests of operators. The task of the process manager serves them between reactions, so that no other work runs meanwhile.

use tokio::sync::oneshot;

use super::driver::ProcessManagerRunner;
use super::hold::Scope;
use super::machine::Input;
use super::plan::Report;
use super::rows::{
    self, CommandRow, ControlRow, DeadRow, HeldRow, HoldRow, ReactionRow, TimerRow, put, remove,
};
use super::{Halt, Rebuilt};
use crate::journal::{Row, RowRange};

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

/// See the [module](self).
pub(crate) enum Request {
    /// Fires due deadlines and starts due retries, after all events stored so far. Answers with their number.
    Fire(Answer<usize>),
    /// Makes all completed reactions durable.
    Settle(Answer<()>),
    Pause(Answer<()>),
    Resume(Asked),
    Release(Scope, Asked),
    Discard(Scope, Asked),
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

    /// Whether an event handler serves the request by calls.
    fn needs_call(&self) -> bool {
        matches!(self, Self::Fire(_) | Self::Release(..) | Self::Redrive(..))
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

impl ProcessManagerRunner {
    /// Serves the requests that have arrived.
    pub(super) async fn serve_waiting(&mut self) -> Result<(), Halt> {
        while let Ok(request) = self.context.requests.try_recv() {
            self.serve(request).await?;
        }
        Ok(())
    }

    pub(super) async fn serve(&mut self, request: Request) -> Result<(), Halt> {
        self.operator = request.operator();
        if self.operator.is_some() {
            // Earlier reactions are not part of the operator's request.
            let operator = self.operator.take();
            self.flush().await?;
            self.operator = operator;
        }
        let served = self.serve_now(request).await;
        self.operator = None;
        served
    }

    async fn serve_now(&mut self, request: Request) -> Result<(), Halt> {
        match request {
            Request::Fire(answer) if self.calls.are_made() => self.fire_for(answer).await?,
            Request::Fire(answer) => {
                let fired = match self.is_paused {
                    true => 0,
                    false => self.fire_due().await?,
                };
                self.settle_all().await?;
                let _ = answer.send(fired);
            }
            Request::Settle(answer) => {
                self.store_progress().await?;
                self.settle_all().await?;
                let _ = answer.send(());
            }
            Request::Pause(answer) => {
                self.set_paused(true).await?;
                let _ = answer.send(());
            }
            // After these two, the runner works for the operator until no work is left.
            Request::Resume(asked) => {
                let was_paused = self.is_paused;
                if was_paused {
                    self.set_paused(false).await?;
                    self.goes_on_for(asked.wait);
                }
                asked.tell(Report::done(usize::from(was_paused)));
            }
            Request::Rebuild(asked) if !self.definition().has_state => {
                asked.tell(Err("an event handler has no state".to_owned()));
            }
            Request::Rebuild(asked) => {
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
            }
            Request::Release(scope, asked) => {
                if scope != Scope::All {
                    self.starts.forgive();
                }
                if self.calls.are_made() {
                    return self.begin_errand(&scope, Some(asked)).await;
                }
                let done = self.release(&scope).await?;
                asked.tell(done);
            }
            Request::Discard(scope, asked) => {
                self.drop_errand(&scope);
                let done = self.discard(&scope).await?;
                asked.tell(done);
            }
            Request::Redrive(id, asked) if self.calls.are_made() => {
                let letters = self.dead_letters(id).await?.into_iter();
                let letters = letters.map(|(key, value)| Row { key, value });
                self.begin_letters(letters.collect(), asked);
            }
            Request::Redrive(id, asked) => self.redrive(id, asked).await?,
            Request::Forget(id, asked) => {
                let letters = self.dead_letters(id).await?;
                let position = self.machine.position;
                for (key, value) in &letters {
                    self.machine.put(remove(key.clone()), position);
                    if let Ok(DeadRow::Reaction(letter)) = DeadRow::read(key, value)
                        && let HeldRow::Event(at) = letter.reaction
                    {
                        // The event counts as skipped from now on.
                        let passed = put(rows::passed_key(at, &letter.key), &letter.source);
                        self.machine.put(passed, position);
                    }
                }
                self.settle_all().await?;
                asked.tell(Report::done(letters.len()));
            }
        }
        Ok(())
    }

    /// Serves a request while the whole process manager is held at `parked_at`, or at the row `due`. Returns whether the hold ends.
    pub(super) async fn serve_held(
        &mut self,
        request: Request,
        until: Option<u64>,
        parked_at: u64,
        due: Option<&str>,
        can_serve: bool,
    ) -> Result<bool, Halt> {
        match request {
            Request::Fire(answer) => {
                let is_due = until.is_some_and(|until| until <= self.now_ms()) && !self.is_paused;
                if is_due {
                    self.leaves();
                }
                let _ = answer.send(usize::from(is_due));
                Ok(is_due)
            }
            Request::Release(Scope::All, asked) => {
                self.starts.forgive();
                self.leaves_for(&asked);
                asked.tell(Report::done(1));
                Ok(true)
            }
            Request::Discard(Scope::All, asked) if !self.definition().is_keyed => {
                match due {
                    None => {
                        self.skipped = Some(parked_at);
                        self.leaves_for(&asked);
                        self.skip_answer = Some(asked);
                    }
                    Some(due) if can_serve => {
                        self.skip_due(due).await?;
                        self.leaves_for(&asked);
                        self.tries_now = false;
                        asked.tell(Report::done(1));
                    }
                    Some(_) => return Err(Halt::Retry),
                }
                Ok(true)
            }
            // No call begins while the whole handler is held.
            request if self.calls.are_made() && request.needs_call() => Ok(false),
            request if can_serve && (self.unreadable.is_none() || request.needs_no_state()) => {
                let was_unreadable = self.unreadable.is_some();
                self.serve(request).await?;
                Ok(was_unreadable && self.unreadable.is_none())
            }
            // The dropped answer tells the caller that the request is not served.
            _ => Ok(false),
        }
    }

    /// Ends the halt at the request of an operator. The input is tried now, although its retry may not be due yet.
    fn leaves_for(&mut self, asked: &Asked) {
        self.leaves();
        self.goes_on_for(asked.wait);
    }

    /// Answers the operator who discarded an event, when the progress past the event is durable.
    pub(super) async fn answer_skip(&mut self) -> Result<(), Halt> {
        let position = self.machine.position;
        let is_behind = self.skipped.is_some_and(|skipped| skipped <= position);
        if is_behind && self.skip_answer.is_some() {
            self.settle_all().await?;
            if let Some(asked) = self.skip_answer.take() {
                asked.tell(Report::done(1));
            }
        }
        Ok(())
    }

    /// Continues at the request of an operator. The operator's wait covers all work until none is left.
    fn goes_on_for(&mut self, wait: Option<u64>) {
        if let Some(wait) = wait {
            self.is_going_on = true;
            let hub = &self.context.runtime.reactions;
            hub.goes_on(wait, self.context.member);
        }
    }

    /// Ends the waits of these operators when no work is left.
    pub(super) async fn has_gone_on(&mut self) -> Result<(), Halt> {
        if self.is_going_on {
            self.settle_all().await?;
            self.is_going_on = false;
            let hub = &self.context.runtime.reactions;
            hub.has_gone_on(self.context.member);
        }
        Ok(())
    }

    /// Skips a deadline, or a command with a pending retry, that an operator discarded.
    async fn skip_due(&mut self, due: &str) -> Result<(), Halt> {
        let position = self.machine.position;
        let row = self.read_row(due.into()).await?;
        if self.stays_at.take().is_some() {
            self.put_control();
        }
        let Some(row) = row else {
            return self.settle_all().await;
        };
        let source = match rows::read::<TimerRow>(due, &row) {
            Ok(TimerRow { key, deadline, .. }) => {
                if let Some(instance) = self.machine.instances.get(&key) {
                    instance.timers.remove(&deadline.name);
                    self.machine.store(&key, position);
                }
                Some(deadline.source)
            }
            Err(_) => rows::read::<CommandRow>(due, &row)
                .ok()
                .map(|row| row.source),
        };
        self.machine.put(remove(due.into()), position);
        let skipped = put(format!("{}{due}", rows::PASSED).into(), &source);
        self.machine.put(skipped, position);
        self.machine.end_retry(position);
        self.settle_all().await
    }

    /// Stores the halted deadline or command, if there is one, and without `key` the pending retry. So a restart knows the first work to
    /// process, and the number of its failed attempts.
    pub(super) async fn store_stay(
        &mut self,
        at: Option<&str>,
        hold: &HoldRow,
    ) -> Result<(), Halt> {
        if at.is_some() && at != self.stays_at.as_deref() {
            self.stays_at = at.map(Into::into);
            self.put_control();
        }
        if hold.retry.is_some()
            && let Some(instance) = self.machine.instances.get("")
            && !instance
                .hold
                .as_ref()
                .is_some_and(|known| known.waits_as(hold))
        {
            instance.hold = Some(hold.clone());
            self.machine.store("", self.machine.position);
        }
        match self.machine.dirty.is_empty() {
            true => Ok(()),
            false => self.settle_all().await,
        }
    }

    async fn set_paused(&mut self, is_paused: bool) -> Result<(), Halt> {
        let control = ControlRow {
            is_paused,
            ..self.control()
        };
        let row = put(rows::CONTROL.into(), &control);
        self.machine.put(row, self.machine.position);
        self.settle_all().await?;
        self.is_paused = is_paused;
        self.announce_pause();
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
            instances: self.machine.instances.table(),
            stays_at: self.stays_at.clone(),
        }
    }

    /// The current dead letters: one, or all.
    async fn dead_letters(
        &mut self,
        id: Option<String>,
    ) -> Result<Vec<(Box<str>, Box<str>)>, Halt> {
        self.settle_all().await?;
        if let Some(id) = id {
            let key: Box<str> = format!("{}{id}", rows::DEAD_LETTERS).into();
            let found = self.read_row(key.clone()).await?.into_iter();
            return Ok(found.map(|value| (key.clone(), value)).collect());
        }
        let mut letters = Vec::new();
        self.each_row(RowRange::of_kind(rows::DEAD_LETTERS), |row| {
            letters.push((row.key.clone(), row.value.clone()));
        })
        .await?;
        Ok(letters)
    }

    /// Redrives dead letters in order, each in its own commit, and reports those whose commits are durable. A letter that fails again
    /// remains, with its new error.
    async fn redrive(&mut self, id: Option<String>, asked: Asked) -> Result<(), Halt> {
        let mut done = Vec::new();
        let redriven = self.redrive_each(id, &mut done).await;
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
        redriven
    }

    /// `done` receives the report of each letter, with the number of its commit.
    async fn redrive_each(
        &mut self,
        id: Option<String>,
        done: &mut Vec<(u64, Report)>,
    ) -> Result<(), Halt> {
        for (key, value) in self.dead_letters(id).await? {
            let report = match DeadRow::read(&key, &value) {
                Ok(DeadRow::Reaction(letter)) => self.redrive_reaction(key, *letter).await?,
                _ => self.redrive_command(Row { key, value }).await?,
            };
            done.push((self.machine.next_commit.saturating_sub(1), report));
        }
        self.settle_all().await
    }

    /// Redrives the dead letter of a command.
    pub(super) async fn redrive_command(&mut self, row: Row) -> Result<Report, Halt> {
        match DeadRow::read(&row.key, &row.value) {
            Ok(DeadRow::Command(command)) => {
                self.learn(vec![command.key.clone()]).await?;
                self.settle()?;
                self.execute(row.key, *command, None, true).await
            }
            Ok(DeadRow::Reaction(_)) => Ok(Report::default()),
            Err(reason) => {
                let id = row.key.get(1..).unwrap_or_default().to_owned();
                tracing::error!(
                    process_manager = self.definition().name,
                    id,
                    reason,
                    "a dead letter cannot be read"
                );
                Ok(Report {
                    unreadable: vec![id],
                    ..Report::new(0, 1)
                })
            }
        }
    }

    async fn redrive_reaction(
        &mut self,
        row: Box<str>,
        letter: ReactionRow,
    ) -> Result<Report, Halt> {
        self.settle()?;
        let shown = match &letter.reaction {
            HeldRow::Event(at) | HeldRow::Failed(at) => self.shown_at(*at).await?,
            HeldRow::Deadline(_) | HeldRow::Command(_) => None,
        };
        let keys = match (&shown, &letter.reaction) {
            (Some(shown), _) => shown.joins().iter().map(|join| join.key.clone()).collect(),
            (None, HeldRow::Deadline(timer)) => vec![timer.key.clone()],
            (None, _) => Vec::new(),
        };
        self.learn(keys).await?;
        let shown = shown.as_ref();
        self.step(Input::Letter { row, letter, shown }).await
    }
}
