//! What an operator asks of a process manager: done by its own task, between reactions, so that nothing else changes meanwhile.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use tokio::sync::oneshot;

use super::super::origin::Cause;
use super::super::reactions::Stay;
use super::draft::{Draft, Report, Source};
use super::react::Input;
use super::rows::{
    self, AttemptRow, CommandRow, ControlRow, DeadRow, HeldRow, ParkedRow, ReactionRow, RetryRow,
    TimerRow, put, remove,
};
use super::{Halt, ProcessManagerRunner, RETRY, Rebuilt, Shown};
use crate::journal::{RowRange, StreamId};
use crate::process_manager::ProcessManager;

/// Where the answer goes; nobody may be there to hear it.
pub(crate) type Answer<T> = oneshot::Sender<T>;

/// What is parked.
#[derive(Debug, Clone)]
pub(crate) enum Parked {
    Instance(String),
    Stream(StreamId),
    /// The process manager as a whole.
    All,
}

/// See the [module](self).
pub(crate) enum Request {
    /// Fires what is due; how many there were.
    Fire(Answer<usize>),
    /// Makes durable what was reacted to.
    Settle(Answer<()>),
    Pause(bool, Answer<()>),
    Release(Parked, Answer<usize>),
    Discard(Parked, Answer<usize>),
    /// Executes one dead letter, or all; how many were executed, and how many failed again.
    Redrive(Option<String>, Answer<(usize, usize)>),
    /// Removes one dead letter, or all.
    Forget(Option<String>, Answer<usize>),
    /// Makes the states again; the reason if they stay as they are.
    Rebuild(Answer<Result<Rebuilt, String>>),
}

impl Request {
    /// Whether it can be done by a process manager whose state cannot be read.
    fn needs_no_state(&self) -> bool {
        match self {
            Self::Settle(_) | Self::Pause(..) | Self::Forget(..) | Self::Rebuild(_) => true,
            Self::Fire(_) | Self::Release(..) | Self::Discard(..) | Self::Redrive(..) => false,
        }
    }
}

impl<PM: ProcessManager> ProcessManagerRunner<PM> {
    /// Serves what was asked meanwhile.
    pub(super) async fn serve_waiting(&mut self) -> Result<(), Halt> {
        while let Ok(request) = self.context.requests.try_recv() {
            self.serve(request).await?;
        }
        Ok(())
    }

    pub(super) async fn serve(&mut self, request: Request) -> Result<(), Halt> {
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
            Request::Pause(is_paused, answer) => {
                let control = ControlRow {
                    is_paused,
                    ..self.control()
                };
                let row = put(rows::CONTROL.into(), &control);
                self.dirty.push(row, self.position);
                self.settle_all().await?;
                self.is_paused = is_paused;
                self.announce_pause();
                let _ = answer.send(());
            }
            Request::Release(parked, answer) => {
                let done = match &parked {
                    Parked::Instance(key) => {
                        self.starts.forgive();
                        self.release(key).await?
                    }
                    Parked::Stream(stream) => {
                        self.starts.forgive();
                        self.release_stream(stream).await?
                    }
                    Parked::All => 0,
                };
                let _ = answer.send(done);
            }
            Request::Discard(parked, answer) => {
                let done = match &parked {
                    Parked::Instance(key) => self.discard(key).await?,
                    Parked::Stream(stream) => self.discard_stream(stream).await?,
                    Parked::All => 0,
                };
                let _ = answer.send(done);
            }
            Request::Redrive(id, answer) => {
                let done = self.redrive(id).await?;
                let _ = answer.send((done.executed, done.failed));
            }
            Request::Forget(id, answer) => {
                let letters = self.dead_letters(id).await?;
                for (key, value) in &letters {
                    self.dirty.push(remove(key.clone()), self.position);
                    if let Ok(DeadRow::Reaction(letter)) = DeadRow::read(key, value)
                        && let HeldRow::Event(at) = letter.reaction
                    {
                        // It is passed over now.
                        let passed = put(rows::passed_key(at, &letter.key), &letter.source);
                        self.dirty.push(passed, self.position);
                    }
                }
                self.settle_all().await?;
                let _ = answer.send(letters.len());
            }
            Request::Rebuild(answer) => {
                let done = self.rebuild().await?;
                let _ = answer.send(done);
            }
        }
        Ok(())
    }

    pub(super) fn announce_pause(&self) {
        let hub = &self.context.runtime.reactions;
        hub.paused(self.context.member, self.is_paused);
    }

    /// What an operator has decided so far.
    pub(super) fn control(&self) -> ControlRow {
        ControlRow {
            is_paused: self.is_paused,
            instances: self.instances.table(),
            has_all_letters: self.has_all_letters,
            stays_at: self.stays_at.clone(),
        }
    }

    pub(super) async fn settle_all(&mut self) -> Result<(), Halt> {
        self.flush().await?;
        self.finish_in_flight().await?;
        self.settle()
    }

    /// The dead letters that there are now: one, or all.
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

    /// Executes dead letters again, in their order, each in a commit of its own; one that fails again stays, with its new error.
    async fn redrive(&mut self, id: Option<String>) -> Result<Report, Halt> {
        let letters = self.dead_letters(id).await?;
        let mut total = Report::default();
        for (key, value) in letters {
            let row = DeadRow::read(&key, &value).map_err(|reason| Halt::Parked {
                position: self.position + 1,
                reason,
            })?;
            let report = match row {
                DeadRow::Command(row) => {
                    self.learn(vec![row.key.clone()]).await?;
                    self.dirty.push(remove(key), self.position);
                    self.settle()?;
                    self.execute_for_operator(*row).await?
                }
                DeadRow::Reaction(letter) => {
                    self.settle()?;
                    self.react_for_operator(key, *letter).await?
                }
            };
            total.executed += report.executed;
            total.failed += report.failed;
        }
        self.settle_all().await?;
        Ok(total)
    }

    /// Reacts again to what became a dead letter, in a commit that removes it; if it fails again, it stays with its new error.
    async fn react_for_operator(
        &mut self,
        row_key: Box<str>,
        mut letter: ReactionRow,
    ) -> Result<Report, Halt> {
        let position = self.position;
        let done = |has_failed| match has_failed {
            true => Report {
                executed: 0,
                failed: 1,
            },
            false => Report {
                executed: 1,
                failed: 0,
            },
        };
        let mut draft = match &letter.reaction {
            HeldRow::Event(at) | HeldRow::Failed(at) => {
                let Some((stream, version, line)) = self.event_at(*at).await? else {
                    return Ok(Report::default());
                };
                let Shown { event, correlation } = self.show(&stream, version, *at, &line);
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
                // Of those that it belongs to, the one that has not reacted; all of them, if nobody could tell whose it was.
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
                    // It would take the name of the deadline that is armed now: it stays a letter until its instance goes on.
                    return Ok(done(true));
                }
                self.dirty.push(remove(row_key.clone()), position);
                let mut draft = Draft::of_deadline(position, &timer);
                draft.letter = Some((row_key, letter));
                let found = self.instances.get(&timer.key);
                let is_its = found.filter(|found| found.generation == timer.generation);
                // If its instance is over, it does nothing.
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

    /// Without `key`: keeps the state as it is before what is shown next.
    fn keep_state_before(&mut self, position: u64) -> Result<(), Halt> {
        if !PM::IS_KEYED
            && let Some(instance) = self.instances.get("")
        {
            let encoded = instance.encode();
            encoded.map_err(|reason| Halt::Parked { position, reason })?;
            self.cautious = Some(position);
        }
        Ok(())
    }

    /// Tells whoever has skipped an event, when it is behind what is durable.
    pub(super) async fn answer_skip(&mut self) -> Result<(), Halt> {
        let is_behind = self.skipped.is_some_and(|skipped| skipped <= self.position);
        if is_behind && let Some(answer) = self.skip_answer.take() {
            self.settle_all().await?;
            let _ = answer.send(1);
        }
        Ok(())
    }

    /// Passes a deadline, or a command that would be tried again, that an operator has discarded.
    async fn skip_due(&mut self, due: &str) -> Result<(), Halt> {
        let position = self.position;
        let row = self.read_rows(vec![due.into()]).await?;
        if self.stays_at.take().is_some() {
            let control = put(rows::CONTROL.into(), &self.control());
            self.dirty.push(control, position);
        }
        let Some(row) = row.into_iter().flatten().next() else {
            return self.settle_all().await;
        };
        let source = match rows::read::<TimerRow>(due, &row) {
            Ok(TimerRow { key, deadline, .. }) => {
                if let Some(instance) = self.instances.get(&key) {
                    instance.timers.remove(&deadline.name);
                    let row = instance.row(&key);
                    self.dirty.push(row, position);
                }
                Some(deadline.source)
            }
            Err(_) => rows::read::<CommandRow>(due, &row)
                .ok()
                .map(|row| row.source),
        };
        let removed = remove(due.into());
        self.notice(&removed);
        self.dirty.push(removed, position);
        let skipped = put(format!("{}{due}", rows::PASSED).into(), &source);
        self.dirty.push(skipped, position);
        self.end_retry(position);
        self.settle_all().await
    }

    /// Stores where it stays, if that is at no event, and what is tried again, without `key`: so that a restart knows what comes
    /// first, and how often it has failed.
    async fn store_stay(
        &mut self,
        at: Option<&str>,
        waiting: Option<ParkedRow>,
    ) -> Result<(), Halt> {
        if at.is_some() && at != self.stays_at.as_deref() {
            self.stays_at = at.map(Into::into);
            let control = put(rows::CONTROL.into(), &self.control());
            self.dirty.push(control, self.position);
        }
        if let Some(waiting) = waiting
            && let Some(instance) = self.instances.get("")
            && !instance
                .parked
                .as_ref()
                .is_some_and(|parked| parked.waits_as(&waiting))
        {
            instance.parked = Some(waiting);
            let row = instance.row("");
            self.dirty.push(row, self.position);
        }
        match self.dirty.is_empty() {
            true => Ok(()),
            false => self.settle_all().await,
        }
    }

    /// Waits, parked as a whole, for somebody to let it go on, or for the time of the next attempt; `false` when the store closes.
    pub(super) async fn stay_parked(&mut self, stay: Stay, retry: Option<Box<RetryRow>>) -> bool {
        let until = retry.as_ref().map(|retry| retry.due);
        let waiting = retry.map(|retry| ParkedRow {
            retry: Some(retry),
            ..ParkedRow::new(stay.position, stay.reason.clone())
        });
        let mut closing = self.context.closing.clone();
        let due = self.due.take();
        // Whoever has asked is told that it came to nothing.
        if self.skip_answer.take().is_some() {
            self.skipped = None;
        }
        // What was not committed is not to be saved.
        let can_serve = self.go_back().is_ok() && self.load_rows().await.is_ok();
        if can_serve && self.store_stay(due.as_deref(), waiting).await.is_err() {
            // It is shown again, and fails again.
            let _ = tokio::time::timeout(RETRY.0, closing.wait_for(|closing| *closing)).await;
            return !*closing.borrow();
        }
        let parked_at = Some(stay.position);
        // What comes after somebody has been told comes behind it, also after a crash.
        let hub = &self.context.runtime.reactions;
        hub.stays(self.context.member, stay);
        loop {
            let clock = Arc::clone(&self.context.clock);
            let fires = self.context.fires;
            let due_time = until
                .filter(|_| fires && !self.is_paused)
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
                    self.tries_now = true;
                    self.context.runtime.reactions.unparked(self.context.member);
                    return true;
                }
            };
            match request {
                None => return false,
                Some(Request::Fire(answer)) => {
                    let is_due = until.is_some_and(|until| until <= self.now_ms());
                    if is_due && !self.is_paused {
                        self.tries_now = true;
                        self.context.runtime.reactions.unparked(self.context.member);
                        let _ = answer.send(1);
                        return true;
                    }
                    let _ = answer.send(0);
                }
                Some(Request::Release(Parked::All, answer)) => {
                    self.tries_now = true;
                    self.starts.forgive();
                    let hub = &self.context.runtime.reactions;
                    hub.unparked(self.context.member);
                    let _ = answer.send(1);
                    return true;
                }
                Some(Request::Discard(Parked::All, answer)) if !PM::IS_KEYED => {
                    match &due {
                        None => {
                            self.skipped = parked_at;
                            self.skip_answer = Some(answer);
                            // What waits for its next attempt is passed now.
                            self.tries_now = true;
                        }
                        Some(due) if can_serve && self.skip_due(due).await.is_ok() => {
                            let _ = answer.send(1);
                        }
                        Some(_) => {
                            if self.go_back().is_err() || self.load_rows().await.is_err() {
                                return false;
                            }
                            continue;
                        }
                    }
                    let hub = &self.context.runtime.reactions;
                    hub.unparked(self.context.member);
                    return true;
                }
                Some(request)
                    if can_serve && (self.unreadable.is_none() || request.needs_no_state()) =>
                {
                    let was_unreadable = self.unreadable.is_some();
                    if self.serve(request).await.is_err()
                        && (self.go_back().is_err() || self.load_rows().await.is_err())
                    {
                        return false;
                    }
                    if was_unreadable && self.unreadable.is_none() {
                        self.context.runtime.reactions.unparked(self.context.member);
                        return true;
                    }
                }
                // Its answer tells that it was not done.
                Some(_) => {}
            }
        }
    }
}
