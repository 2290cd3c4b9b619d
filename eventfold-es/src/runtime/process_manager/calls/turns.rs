//! The await loop of an event handler. It reads ahead, begins calls, and takes their outcomes in the order of the journal.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::super::Halt;
use super::super::correlation::Found;
use super::super::driver::ProcessManagerRunner;
use super::super::machine::Input;
use super::super::reading::MAX_DIRTY;
use super::errand::Called;
use super::handler::Outcome;
use super::window::Call;
use super::{BATCH, BATCH_TIME, Job, PATIENCE};
use crate::event::RecordedEvent;
use crate::journal::StreamId;

impl ProcessManagerRunner {
    /// Handles events until the store closes.
    pub(in super::super) async fn call_until_closing(&mut self) -> Result<(), Halt> {
        self.load().await?;
        self.go_on_where_it_stays().await?;
        let mut target = self.context.target.clone();
        let mut closing = self.context.closing.clone();
        loop {
            if *closing.borrow() {
                return self.end_calls().await;
            }
            if self.context.fires && !self.is_paused {
                self.resume_releases().await?;
                self.release_due().await?;
            }
            let until = *target.borrow_and_update();
            let mut has_moved = self.take_outcomes().await?;
            has_moved |= self.run_errands().await?;
            if !self.is_paused {
                has_moved |= self.look_ahead(until).await?;
                self.begin_calls().await?;
                has_moved |= self.defer_slow().await?;
            }
            self.keep_up().await?;
            self.settle()?;
            if has_moved {
                give_way().await;
                self.serve_waiting().await?;
                continue;
            }
            let is_idle = self.calls.window.is_empty() && self.calls.errands.is_empty();
            if is_idle && (self.is_paused || self.calls.read_to >= until) {
                self.note_if_due();
                self.has_gone_on().await?;
                self.forget_start().await?;
            }
            let reads = !self.is_paused && self.calls.window.has_room();
            let wakes = self.wakes_at();
            let timer = async {
                match wakes {
                    Some(time) => tokio::time::sleep_until(time).await,
                    None => std::future::pending().await,
                }
            };
            let first = self.in_flight.front();
            let first = first.map(|first| Arc::clone(&first.outcome));
            let settled = async {
                match first {
                    Some(outcome) => drop(outcome.wait().await),
                    None => std::future::pending().await,
                }
            };
            let next_due = self.next_due().filter(|_| self.may_release());
            let clock = Arc::clone(&self.context.clock);
            let due = async {
                match next_due {
                    Some(due) => clock.sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            let mut ended = None;
            tokio::select! {
                Some(joined) = self.calls.running.join_next() => ended = Some(joined),
                changed = target.changed(), if reads => if changed.is_err() { return Ok(()) },
                changed = closing.changed() => if changed.is_err() { return Ok(()) },
                request = self.context.requests.recv() => match request {
                    Some(request) => self.serve(request).await?,
                    None => return Ok(()),
                },
                () = settled => {}
                () = due => {}
                () = timer => {}
            }
            if let Some(joined) = ended {
                self.note_end(joined)?;
            }
        }
    }

    /// The number of calls at a time. A careful start makes one, to find the call that aborts the process.
    fn concurrency(&self) -> usize {
        match (self.starts.is_careful(), &self.calls.handler) {
            (false, Some(handler)) => handler.concurrency,
            (true, _) | (false, None) => 1,
        }
    }

    /// Whether another call may begin now.
    pub(super) fn may_call(&self) -> bool {
        self.calls.running.len() < self.concurrency()
    }

    /// Whether another key may be released: the number of keys that are called again is bounded.
    pub(super) fn may_release(&self) -> bool {
        self.calls.errands.len() < 2 * self.concurrency() + 16
    }

    /// The time of the next deferral or of the next commit of progress.
    fn wakes_at(&self) -> Option<Instant> {
        let commit = self.calls.since.map(|since| since + BATCH_TIME);
        let defer = match self.calls.window.front() {
            Some((_, entry)) if self.calls.window.has_ended() && !self.is_paused => {
                match entry.call {
                    Call::Running(since) => Some(since + PATIENCE),
                    Call::NotBegun | Call::Ended(_) => None,
                }
            }
            _ => None,
        };
        [commit, defer].into_iter().flatten().min()
    }

    /// Reads events into the window. Returns whether there were any.
    async fn look_ahead(&mut self, until: u64) -> Result<bool, Halt> {
        let is_careful = self.starts.is_careful();
        let has_room = match is_careful {
            true => self.calls.window.is_empty() && self.calls.running.is_empty(),
            false => self.calls.window.has_room(),
        };
        if !has_room || self.calls.read_to >= until {
            return Ok(false);
        }
        self.note_start().await?;
        let mut keys = Vec::new();
        'read: while self.calls.read_to < until && !self.calls.window.is_full() {
            let Some(commit) = self.calls.unread.front().map(Arc::clone) else {
                let commits = self.next_commits().await?;
                if commits.is_empty() {
                    break;
                }
                self.calls.unread.extend(commits);
                continue;
            };
            for event in commit.events() {
                if event.position <= self.calls.read_to {
                    continue;
                }
                let is_enough =
                    self.calls.window.is_full() || (is_careful && !self.calls.window.is_empty());
                if event.position > until || is_enough {
                    break 'read;
                }
                self.calls.read_to = event.position;
                if !self.is_shown(event) {
                    continue;
                }
                let name = || format!("correlation {}", event.position);
                let given_up = self.begins(name).await?;
                let shown = self.show(event, given_up);
                let key = shown.joins().first().map(|join| Arc::from(&*join.key));
                keys.extend(shown.joins().first().map(|join| join.key.clone()));
                self.calls.window.push(shown, key, event.line.len());
            }
            self.calls.unread.pop_front();
        }
        self.learn(keys).await?;
        if self.calls.window.is_empty() {
            self.machine.position = self.machine.position.max(self.calls.read_to);
            self.machine.instances.evict(self.durable_commit);
        }
        Ok(true)
    }

    /// Whether the key of an event holds it, so that it is stored and not called.
    pub(super) async fn is_held(&mut self, key: &str) -> Result<bool, Halt> {
        if !self.machine.instances.knows(key) {
            self.learn(vec![key.to_owned()]).await?;
        }
        Ok(self.machine.instances.found(key) == Found::Holding)
    }

    /// Begins the calls that may begin.
    async fn begin_calls(&mut self) -> Result<(), Halt> {
        while self.may_call() {
            let Some((number, entry)) = self.calls.window.next_ready() else {
                return Ok(());
            };
            let Some(key) = entry.key.clone() else {
                continue;
            };
            let event = entry.event.event();
            let (stream, position) = (&event.0, event.1.position);
            if self.machine.held_streams.contains_key(stream) || self.is_barred(number, stream) {
                continue;
            }
            if self.is_held(&key).await? {
                continue;
            }
            let name = || format!("event {position} of {key}");
            match self.begins(name).await? {
                None => {
                    self.calls.window.begin(number, Instant::now());
                    self.call(Job::Event(number), event, 1);
                }
                Some(cause) => {
                    self.calls.window.end(number, Err(cause), false);
                }
            }
        }
        Ok(())
    }

    /// Whether an earlier event of the stream has no key, so that the policy may hold the stream.
    fn is_barred(&self, number: u64, stream: &StreamId) -> bool {
        let window = &self.calls.window;
        if !window.has_keyless() {
            return false;
        }
        let before = window.before(number);
        before
            .into_iter()
            .any(|entry| entry.key.is_none() && entry.event.stream() == stream)
    }

    /// Begins a call.
    pub(super) fn call(&mut self, job: Job, event: Arc<(StreamId, RecordedEvent)>, attempt: u32) {
        if let Some(handler) = &self.calls.handler {
            let call = handler.call(event, attempt);
            self.calls.running.spawn(async move { (job, call.await) });
        }
    }

    /// Notes the end of a call.
    fn note_end(
        &mut self,
        joined: Result<(Job, Outcome), tokio::task::JoinError>,
    ) -> Result<(), Halt> {
        // The code of the user is guarded. A call that is lost nevertheless is made again.
        let (job, outcome) = joined.map_err(|_| Halt::Back)?;
        match job {
            Job::Event(number) => {
                let is_silent = outcome.as_ref().is_ok_and(Vec::is_empty);
                if let Some(outcome) = self.calls.window.end(number, outcome, is_silent) {
                    self.note_errand(Called::Event(number), outcome);
                }
            }
            Job::Errand(id) => self.note_errand(Called::Errand(id), outcome),
        }
        Ok(())
    }

    /// Takes the outcomes of calls that have ended, in the order of the journal. Returns whether there were any.
    async fn take_outcomes(&mut self) -> Result<bool, Halt> {
        while let Some(joined) = self.calls.running.try_join_next() {
            self.note_end(joined)?;
        }
        let mut has_moved = false;
        while self.is_front_done().await? {
            self.take_front().await?;
            has_moved = true;
            if self.machine.dirty.rows.len() >= MAX_DIRTY || self.starts.sizes.is_some() {
                self.flush().await?;
            }
        }
        Ok(has_moved)
    }

    /// Whether the first event of the window needs no further call.
    async fn is_front_done(&mut self) -> Result<bool, Halt> {
        let Some((_, entry)) = self.calls.window.front() else {
            return Ok(false);
        };
        match entry.call {
            Call::Ended(_) => return Ok(true),
            Call::Running(_) => return Ok(false),
            Call::NotBegun => {}
        }
        let Some(key) = entry.key.clone() else {
            return Ok(true);
        };
        let stream = entry.event.stream();
        let is_held = self.machine.held_streams.contains_key(stream);
        Ok(is_held || self.is_held(&key).await?)
    }

    /// Gives the first event of the window, with the outcome of its call, to the machine.
    async fn take_front(&mut self) -> Result<(), Halt> {
        let Some(entry) = self.calls.window.take_front() else {
            return Ok(());
        };
        let position = entry.event.position();
        if let Some(key) = &entry.key
            && !self.machine.instances.knows(key)
        {
            self.learn(vec![key.to_string()]).await?;
        }
        if entry.key.is_none() {
            // Later events of its stream may be called now.
            self.calls.window.recheck();
        }
        let outcome = match entry.call {
            Call::Ended(outcome) => Some(outcome),
            Call::NotBegun | Call::Running(_) => None,
        };
        let is_called = outcome.is_some();
        if let Some(key) = &entry.key {
            self.commits(|| format!("event {position} of {key}"));
        }
        self.machine.called = outcome;
        let shown = &entry.event;
        let commits = self.machine.next_commit;
        self.step(Input::Event { shown, nth: 0 }).await?;
        self.machine.called = None;
        self.machine.position = match self.calls.window.is_empty() {
            true => self.calls.read_to,
            false => position,
        };
        if self.machine.next_commit > commits {
            self.calls.handled = 0;
            self.calls.since = None;
        } else if is_called {
            self.calls.handled += 1;
            self.calls.since.get_or_insert_with(Instant::now);
        }
        Ok(())
    }

    /// Defers the first event of the window if its call takes long, and others wait for it. Returns whether it does.
    async fn defer_slow(&mut self) -> Result<bool, Halt> {
        let Some((_, entry)) = self.calls.window.front() else {
            return Ok(false);
        };
        let Call::Running(since) = entry.call else {
            return Ok(false);
        };
        let is_slow = self.calls.window.has_ended() && since.elapsed() >= PATIENCE;
        // The window is full of events of busy keys, and there is room for calls of other keys.
        let is_in_the_way = !self.calls.window.has_room()
            && self.may_call()
            && !self.calls.window.has_ready()
            && !self.starts.is_careful();
        if !is_slow && !is_in_the_way {
            return Ok(false);
        }
        self.defer_front().await?;
        Ok(true)
    }

    /// Stores progress if enough events were handled, or if it is time to.
    async fn keep_up(&mut self) -> Result<(), Halt> {
        let calls = &mut self.calls;
        let is_time = calls
            .since
            .is_some_and(|since| since.elapsed() >= BATCH_TIME);
        if calls.handled >= BATCH || is_time {
            self.store_progress().await
        } else {
            self.flush().await
        }
    }

    /// Commits the position, if events were handled since the last commit.
    pub(in super::super) async fn store_progress(&mut self) -> Result<(), Halt> {
        if self.calls.since.take().is_some() {
            self.calls.handled = 0;
            return self.commit_progress().await;
        }
        self.flush().await
    }

    /// Waits for the running calls, because the store closes, and stores their outcomes. Calls that take too long are dropped.
    async fn end_calls(&mut self) -> Result<(), Halt> {
        let patience = self.calls.handler.as_ref().map(|handler| handler.patience);
        let now = Instant::now();
        let end = now.checked_add(patience.unwrap_or_default());
        let end = end.unwrap_or(now + Duration::from_secs(1 << 30));
        loop {
            while self.take_outcomes().await? {}
            self.take_last_errands().await?;
            if self.calls.running.is_empty() {
                break;
            }
            match timeout_at(end, self.calls.running.join_next()).await {
                Ok(Some(joined)) => self.note_end(joined)?,
                Ok(None) => break,
                Err(_) => {
                    tracing::warn!(
                        event_handler = self.definition().name,
                        calls = self.calls.running.len(),
                        "calls were dropped because the store closes; they are made again at the next start"
                    );
                    break;
                }
            }
        }
        // Calls that have ended behind a dropped one are stored nevertheless.
        while self.calls.window.has_ended() {
            match self.is_front_done().await? {
                true => self.take_front().await?,
                false => self.defer_front().await?,
            }
        }
        self.calls.running.abort_all();
        self.store_progress().await
    }
}

/// Lets other tasks run. Unlike `yield_now`, another thread can take the task over, while a call blocks this one.
async fn give_way() {
    let mut has_given_way = false;
    poll_fn(|context| {
        if std::mem::replace(&mut has_given_way, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
