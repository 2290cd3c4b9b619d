//! The halt of a whole process manager, until an operator or the time of the next attempt ends it.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use super::super::reactions::Stay;
use super::draft::Report;
use super::requests::{Asked, Parked, Request};
use super::rows::{self, CommandRow, ParkedRow, RetryRow, TimerRow, put, remove};
use super::{Halt, ProcessManagerRunner, RETRY};
use crate::process_manager::ProcessManager;

impl<PM: ProcessManager> ProcessManagerRunner<PM> {
    /// Answers the operator who discarded an event, when the progress past the event is durable.
    pub(super) async fn answer_skip(&mut self) -> Result<(), Halt> {
        let is_behind = self.skipped.is_some_and(|skipped| skipped <= self.position);
        if is_behind && self.skip_answer.is_some() {
            self.settle_all().await?;
            if let Some(asked) = self.skip_answer.take() {
                asked.tell(Report::done(1));
            }
        }
        Ok(())
    }

    /// Continues at the request of an operator. The operator's wait covers all work until none is left.
    pub(super) fn goes_on_for(&mut self, wait: Option<u64>) {
        if let Some(wait) = wait {
            self.is_going_on = true;
            let hub = &self.context.runtime.reactions;
            hub.goes_on(wait, self.context.member);
        }
    }

    /// Ends the halt at the request of an operator.
    fn leaves_for(&mut self, asked: &Asked) {
        let hub = &self.context.runtime.reactions;
        hub.unparked(self.context.member);
        self.goes_on_for(asked.wait);
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

    /// Stores the halted deadline or command, if there is one, and without `key` the pending retry. So a restart knows the first work to
    /// process, and the number of its failed attempts.
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

    /// Waits for an operator or for the time of the next attempt. Returns `false` when the store closes.
    pub(super) async fn stay_parked(&mut self, stay: Stay, retry: Option<Box<RetryRow>>) -> bool {
        let until = retry.as_ref().map(|retry| retry.due);
        let waiting = retry.map(|retry| ParkedRow {
            retry: Some(retry),
            ..ParkedRow::new(stay.position, stay.reason.clone())
        });
        let mut closing = self.context.closing.clone();
        let due = self.due.take();
        // The discard did not take effect. The dropped answer tells the operator.
        if self.skip_answer.take().is_some() {
            self.skipped = None;
        }
        // Uncommitted changes must not be saved.
        let can_serve = self.go_back().is_ok() && self.load_rows().await.is_ok();
        if can_serve && self.store_stay(due.as_deref(), waiting).await.is_err() {
            // The input is delivered again, and fails again.
            let _ = tokio::time::timeout(RETRY.0, closing.wait_for(|closing| *closing)).await;
            return !*closing.borrow();
        }
        let parked_at = Some(stay.position);
        // The halt is visible only after it is stored. So all later work comes after it, even after a crash.
        let hub = &self.context.runtime.reactions;
        hub.stays(self.context.member, stay);
        self.is_going_on = false;
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
                Some(Request::Release(Parked::All, asked)) => {
                    self.tries_now = true;
                    self.starts.forgive();
                    self.leaves_for(&asked);
                    asked.tell(Report::done(1));
                    return true;
                }
                Some(Request::Discard(Parked::All, asked)) if !PM::IS_KEYED => {
                    match &due {
                        None => {
                            self.skipped = parked_at;
                            self.leaves_for(&asked);
                            self.skip_answer = Some(asked);
                            // The event is skipped now, although its retry is not due yet.
                            self.tries_now = true;
                        }
                        Some(due) if can_serve && self.skip_due(due).await.is_ok() => {
                            self.leaves_for(&asked);
                            asked.tell(Report::done(1));
                        }
                        Some(_) => {
                            if self.go_back().is_err() || self.load_rows().await.is_err() {
                                return false;
                            }
                            continue;
                        }
                    }
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
                        return true;
                    }
                }
                // The dropped answer tells the caller that the request is not served.
                Some(_) => {}
            }
        }
    }
}
