//! What an operator asks of a process manager: done by its own task, between reactions, so that nothing else changes meanwhile.

use tokio::sync::oneshot;

use super::draft::Report;
use super::rows::{self, CommandRow, ControlRow, TimerRow, put, remove};
use super::{Halt, ProcessManagerRunner, Rebuilt};
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
                for (key, _) in &letters {
                    self.dirty.push(remove(key.clone()), self.position);
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
            let row: CommandRow = rows::read(&key, &value).map_err(|reason| Halt::Parked {
                position: self.position + 1,
                reason,
            })?;
            self.learn(vec![row.key.clone()]).await?;
            self.dirty.push(remove(key), self.position);
            self.settle()?;
            let report = self.execute_for_operator(row).await?;
            total.executed += report.executed;
            total.failed += report.failed;
        }
        self.settle_all().await?;
        Ok(total)
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
        let row = self.read_rows(vec![due.into()]).await?;
        let Some(row) = row.into_iter().flatten().next() else {
            return Ok(());
        };
        let position = self.position;
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
        self.settle_all().await
    }

    /// Waits, parked as a whole, for somebody to let it go on; `false` when the store closes.
    pub(super) async fn stay_parked(&mut self) -> bool {
        let mut closing = self.context.closing.clone();
        let due = self.due.take();
        // Whoever has asked is told that it came to nothing.
        self.skip_answer = None;
        // What was not committed is not to be saved.
        let can_serve = self.go_back().is_ok() && self.load().await.is_ok();
        let parked_at = self
            .context
            .runtime
            .reactions
            .parked_at(self.context.member);
        loop {
            let request = tokio::select! {
                _ = closing.wait_for(|closing| *closing) => return false,
                request = self.context.requests.recv() => request,
            };
            match request {
                None => return false,
                Some(Request::Fire(answer)) => drop(answer.send(0)),
                Some(Request::Release(Parked::All, answer)) => {
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
                        }
                        Some(due) if can_serve && self.skip_due(due).await.is_ok() => {
                            let _ = answer.send(1);
                        }
                        Some(_) => {
                            if self.go_back().is_err() || self.load().await.is_err() {
                                return false;
                            }
                            continue;
                        }
                    }
                    let hub = &self.context.runtime.reactions;
                    hub.unparked(self.context.member);
                    return true;
                }
                Some(request) if can_serve => {
                    if self.serve(request).await.is_err() && self.go_back().is_err() {
                        return false;
                    }
                    if self.load().await.is_err() {
                        return false;
                    }
                }
                // Its answer tells that it was not done.
                Some(_) => {}
            }
        }
    }
}
