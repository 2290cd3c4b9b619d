//! Parked work and its release: held work is handled first, in order.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::origin::Cause;
use super::super::reactions::Reactions;
use super::correlation::{Found, Part, part};
use super::draft::{Draft, Report, Source};
use super::failed_reaction::Unclaimed;
use super::react::Input;
use super::rows::{
    self, HeldRow, Marker, ParkedRow, RetriedRow, RetryRow, Status, TimerRow, put, remove,
};
use super::{Halt, ProcessManagerRunner, Shown};
use crate::journal::{RecordedCommit, Row, RowChange, RowRange, StreamId};
use crate::process_manager::{ProcessManager, StoredDeadline};

/// The maximum number of held rows per read.
const ROWS: usize = 256;

impl<PM: ProcessManager> ProcessManagerRunner<PM> {
    /// Parks an instance without a retry: it holds its events.
    pub(super) fn park_instance(&mut self, key: &str, position: u64, reason: String) {
        self.park_as(key, position, ParkedRow::new(position, reason));
    }

    /// Parks an instance in the commit up to `position`. If `parked` has a retry, the retry ends the hold.
    pub(super) fn park_as(&mut self, key: &str, position: u64, parked: ParkedRow) {
        let found = self.instances.get(key);
        if found.is_some_and(|found| found.status == Status::Parked && found.parked.is_some()) {
            // An instance that is already parked keeps its first reason and its retry.
            self.store_parked(key, position);
            return;
        }
        let retried = RetriedRow::Instance(key.to_owned());
        self.try_again_at(&retried, parked.retry.as_deref(), position);
        let next = self.next_commit;
        tracing::error!(
            process_manager = PM::NAME,
            instance = key,
            position = parked.position,
            reason = parked.reason,
            "an instance is parked"
        );
        if let Some(instance) = self.instances.get(key) {
            instance.is_complete |= instance.status == Status::Completed;
            instance.status = Status::Parked;
            instance.parked = Some(parked);
            let row = instance.row(key);
            self.instances.changed(key, next);
            self.dirty.push(row, position);
        }
    }

    /// Continues the releases that a stop interrupted, if there are any.
    pub(super) async fn resume_releases(&mut self) -> Result<(), Halt> {
        if !std::mem::take(&mut self.owes_releases) {
            return Ok(());
        }
        let mut keys = Vec::new();
        self.each_row(RowRange::of_kind(rows::RELEASING), |row| {
            keys.push(row.key.get(1..).unwrap_or_default().to_owned());
        })
        .await?;
        if !keys.is_empty() {
            self.note_this_start(None).await?;
        }
        for key in keys {
            self.learn(vec![key.clone()]).await?;
            self.show_held(&key).await?;
        }
        let mut streams = Vec::new();
        self.each_row(RowRange::of_kind(rows::RELEASING_STREAMS), |row| {
            streams.extend(rows::stream_of(&row.key));
        })
        .await?;
        if !streams.is_empty() {
            self.note_this_start(None).await?;
        }
        for stream in streams {
            self.release_stream(&stream).await?;
        }
        Ok(())
    }

    /// Releases a parked instance: delivers its held work, in order. Reports the amount of work, and a failure if the instance parks again.
    pub(super) async fn release(&mut self, key: &str) -> Result<Report, Halt> {
        self.learn(vec![key.to_owned()]).await?;
        let position = self.position;
        self.end_wait_of(key);
        let Some(instance) = self.instances.get(key).filter(|found| found.holds()) else {
            return Ok(Report::default());
        };
        if let Err(reason) = instance.restore() {
            tracing::error!(
                process_manager = PM::NAME,
                instance = key,
                reason,
                "an instance remains parked"
            );
            instance.parked = Some(ParkedRow::new(position, reason));
            let row = instance.row(key);
            self.instances.changed(key, self.next_commit);
            self.dirty.push(row, position);
            self.dirty.set_back(None, Reactions::Parked);
            self.settle_all().await?;
            return Ok(Report::new(0, 1));
        }
        instance.release(Status::Releasing);
        let row = instance.row(key);
        self.instances.changed(key, self.next_commit);
        self.dirty.push(row, position);
        let marker = put(format!("{}{key}", rows::RELEASING).into(), &Marker {});
        self.dirty.push(marker, position);
        self.show_held(key).await
    }

    /// Delivers the held work of a cached instance, until none is left or the instance parks again.
    async fn show_held(&mut self, key: &str) -> Result<Report, Halt> {
        let mut done = 0;
        'held: while self.status_of(key) != Some(Status::Parked) {
            self.settle_all().await?;
            let range = RowRange::numbered(&rows::held_prefix(key));
            let held = self.read_range(range, ROWS).await?;
            if held.is_empty() {
                break;
            }
            for row in held {
                if !self.begins(|| format!("held {}", row.key)).await? {
                    let reason = self.starts.cause().to_string();
                    self.park_instance(key, self.position, reason);
                    self.dirty.set_back(None, Reactions::Parked);
                    break 'held;
                }
                if self
                    .timers
                    .is_due_before(self.stored_now().saturating_add(1))
                    && let Some((limit, place)) = self.place_of_held(&row).await?
                {
                    self.fire_until(&limit, Some((key, place))).await?;
                    if self.status_of(key) == Some(Status::Parked) {
                        break 'held;
                    }
                }
                self.do_held(key, row).await?;
                if self.status_of(key) == Some(Status::Parked) {
                    break 'held;
                }
                done += 1;
            }
        }
        let position = self.position;
        self.dirty
            .push(remove(format!("{}{key}", rows::RELEASING).into()), position);
        self.store_parked(key, position);
        if let Some(instance) = self.instances.get(key)
            && instance.status == Status::Releasing
        {
            instance.release(Status::Open);
            let row = instance.row(key);
            self.instances.changed(key, self.next_commit);
            self.dirty.push(row, position);
            tracing::info!(
                process_manager = PM::NAME,
                instance = key,
                "a parked instance continues"
            );
        }
        self.settle_all().await?;
        let is_parked = self.status_of(key) == Some(Status::Parked);
        Ok(Report::new(done, usize::from(is_parked)))
    }

    /// Removes the automatic release of an instance, because the instance is released now or its held work is discarded.
    fn end_wait_of(&mut self, key: &str) {
        let parked = self
            .instances
            .get(key)
            .and_then(|found| found.parked.clone());
        let retry = parked.and_then(|parked| parked.retry);
        let retried = RetriedRow::Instance(key.to_owned());
        self.try_no_more(&retried, retry.as_deref(), self.position);
    }

    /// Removes the automatic release of a held stream, and returns its retry.
    async fn end_wait_of_stream(&mut self, stream: &StreamId) -> Result<Option<RetryRow>, Halt> {
        let key = rows::stream_key(stream);
        let row = self.read_rows(vec![key.clone()]).await?;
        let row = row.into_iter().flatten().next();
        let parked = row.and_then(|row| rows::read::<ParkedRow>(&key, &row).ok());
        let retry = parked.and_then(|parked| parked.retry);
        let retried = RetriedRow::of_stream(stream);
        self.try_no_more(&retried, retry.as_deref(), self.position);
        Ok(retry.map(|retry| *retry))
    }

    pub(super) fn status_of(&mut self, key: &str) -> Option<Status> {
        self.instances.get(key).map(|found| found.status)
    }

    async fn do_held(&mut self, key: &str, row: Row) -> Result<(), Halt> {
        let position = self.position;
        let held: HeldRow = rows::read(&row.key, &row.value).map_err(|reason| Halt::Parked {
            position: position + 1,
            reason,
        })?;
        if let HeldRow::Deadline(timer) = &held
            && self.is_replaced(key, timer).await?
        {
            self.dirty.push(remove(row.key), position);
            return Ok(());
        }
        let has_failed = matches!(held, HeldRow::Failed(_));
        match held {
            HeldRow::Event(at) | HeldRow::Failed(at) => {
                let Some(Shown { event, correlation }) = self.shown_at(at).await? else {
                    self.dirty.push(remove(row.key), position);
                    return Ok(());
                };
                let cause = Cause::of(&event.1);
                let mut draft = Draft::new(position, at, cause, Source::Event(Arc::clone(&event)));
                let is_ignored = correlation.as_ref().is_ok_and(|joins| {
                    let mut own = joins.iter().filter(|join| join.key == key);
                    own.any(|join| part(join.kind, Found::Open) == Part::Ignored)
                });
                let is_releasing = self.status_of(key) == Some(Status::Releasing);
                // The event waits in its stream, to keep the order of the stream.
                let waits = !is_releasing
                    && self.held_streams.contains_key(&event.0)
                    && (correlation.is_err() || self.is_held_before(&event.0, at).await?);
                self.dirty.push(remove(row.key), position);
                // The exception is the failed event that started the instance.
                if is_releasing && is_ignored && !has_failed {
                    return self.ignore(at, 0);
                }
                if is_releasing {
                    self.show_to(key, Input::Event(&event.0, &event.1), &mut draft)?;
                    return self.commit(draft).await.map(drop);
                }
                // The released instance has ended with earlier held work. The event belongs to the current instance of its key, if there is
                // one.
                if waits {
                    let held = rows::stream_held_key(&event.0, at);
                    self.dirty.push(put(held, &HeldRow::Event(at)), position);
                    return Ok(());
                }
                match correlation {
                    Err(cause) => {
                        let unclaimed = self.correlation_failed(&event, &cause, None, position)?;
                        if let Unclaimed::Passed(Some(compensation)) = unclaimed {
                            self.commit(*compensation).await?;
                        }
                    }
                    Ok(joins) => {
                        let own = joins.iter().filter(|join| join.key == key);
                        for (nth, join) in own.enumerate() {
                            self.join(nth, join, &event, &mut draft)?;
                        }
                    }
                }
                self.commit(draft).await.map(drop)
            }
            HeldRow::Deadline(timer) => {
                self.dirty.push(remove(row.key.clone()), position);
                self.react_to_deadline(&timer, Some(row.key)).await
            }
            HeldRow::Command(command) => {
                self.dirty.push(remove(row.key.clone()), position);
                self.execute_row(*command, Some(row.key)).await
            }
        }
    }

    /// Whether a stream is held since an event before the position `at`.
    async fn is_held_before(&mut self, stream: &StreamId, at: u64) -> Result<bool, Halt> {
        // A row in flight may be the first held row.
        self.settle_all().await?;
        let range = RowRange::numbered(&rows::stream_held_prefix(stream));
        let first = self.read_range(range, 1).await?;
        let first = first.first().and_then(|row| rows::stream_held_at(&row.key));
        Ok(first.is_some_and(|first| first < at))
    }

    /// Whether earlier held work has armed a deadline with the same name and due time.
    async fn is_replaced(&mut self, key: &str, held: &TimerRow) -> Result<bool, Halt> {
        self.settle_all().await?;
        let armed = rows::timer_key(held.deadline.due_ms, key, &held.deadline.name);
        let found = self.read_rows(vec![armed]).await?;
        Ok(found.into_iter().flatten().next().is_some())
    }

    /// The limit up to which deadlines come before held work, and the position after which they are held. `None` for a command.
    async fn place_of_held(&mut self, row: &Row) -> Result<Option<(Box<str>, u64)>, Halt> {
        match rows::read(&row.key, &row.value) {
            Ok(HeldRow::Event(at) | HeldRow::Failed(at)) => {
                let commit = self.commit_at(at).await?;
                Ok(commit.map(|commit| (rows::timers_until(commit.time), at.saturating_sub(1))))
            }
            Ok(HeldRow::Deadline(timer)) => {
                let deadline = &timer.deadline;
                let limit = rows::timer_key(deadline.due_ms, &timer.key, &deadline.name);
                Ok(rows::held_of(&row.key).map(|(_, at)| (limit, at)))
            }
            Ok(HeldRow::Command(_)) | Err(_) => Ok(None),
        }
    }

    /// The key under which a deadline of a parked instance is held: before the first held work that comes later. For example, a deadline
    /// that was armed long after its due time may come before events that are already held.
    pub(super) async fn place_among_held(&mut self, timer: &TimerRow) -> Result<Box<str>, Halt> {
        let (key, deadline) = (&timer.key, &timer.deadline);
        let prefix = rows::held_prefix(key);
        self.finish_in_flight().await?;
        let mut held = BTreeMap::new();
        self.each_row(RowRange::numbered(&prefix), |row| {
            held.insert(row.key.clone(), row.value.clone());
        })
        .await?;
        let changes = self.dirty.rows.iter();
        for RowChange { key, value } in changes.filter(|row| row.key.starts_with(&prefix)) {
            match value {
                Some(value) => held.insert(key.clone(), value.clone()),
                None => held.remove(key),
            };
        }
        let own = rows::timer_key(deadline.due_ms, key, &deadline.name);
        let mut at = self.position;
        let mut events = Vec::new();
        for (row_key, value) in &held {
            match rows::read(row_key, value) {
                Ok(HeldRow::Event(position) | HeldRow::Failed(position)) => events.push(position),
                Ok(HeldRow::Deadline(other)) => {
                    let (due, name) = (other.deadline.due_ms, &other.deadline.name);
                    if rows::timer_key(due, key, name) > own {
                        let place = rows::held_of(row_key).map(|(_, place)| place);
                        at = at.min(place.unwrap_or(at));
                    }
                }
                Ok(HeldRow::Command(_)) | Err(_) => {}
            }
        }
        if let Some(later) = self.first_stored_later(&events, deadline.due_ms).await? {
            at = at.min(later.saturating_sub(1));
        }
        Ok(rows::held_deadline_key(
            key,
            at,
            deadline.due_ms,
            &deadline.name,
        ))
    }

    /// The first of these events that was stored later than `time`. The events are in order.
    async fn first_stored_later(&mut self, events: &[u64], time: u64) -> Result<Option<u64>, Halt> {
        let mut left = events;
        let mut later = None;
        while let Some(middle) = left.get(left.len() / 2) {
            let (before, behind) = left.split_at(left.len() / 2);
            let commit = self.commit_at(*middle).await?;
            if commit.is_some_and(|commit| commit.time > time) {
                later = Some(*middle);
                left = before;
            } else {
                left = behind.get(1..).unwrap_or_default();
            }
        }
        Ok(later)
    }

    /// The commit with the event at a position.
    async fn commit_at(&mut self, at: u64) -> Result<Option<Arc<RecordedCommit>>, Halt> {
        let journal = Arc::clone(&self.context.runtime.journal);
        let read = tokio::task::spawn_blocking(move || journal.commit_at(at)).await;
        self.read(read.map_err(|_| Halt::Ended)?)
    }

    /// The event at a position, with its correlation.
    pub(super) async fn shown_at(&mut self, at: u64) -> Result<Option<Shown>, Halt> {
        let commit = self.commit_at(at).await?;
        let event = commit.as_ref().and_then(|commit| commit.event_at(at));
        Ok(event.map(|event| self.show(event)))
    }

    /// Releases a held stream: its events are correlated again, in order.
    pub(super) async fn release_stream(&mut self, stream: &StreamId) -> Result<Report, Halt> {
        if !self.held_streams.contains_key(stream) {
            return Ok(Report::default());
        }
        let mut before = self.end_wait_of_stream(stream).await?;
        let marker = put(rows::releasing_stream_key(stream), &Marker {});
        self.dirty.push(marker, self.position);
        let prefix = rows::stream_held_prefix(stream);
        let mut done = 0;
        let mut is_readable = true;
        while is_readable {
            self.settle_all().await?;
            let held = self.read_range(RowRange::numbered(&prefix), ROWS).await?;
            if held.is_empty() {
                break;
            }
            for row in held {
                if !self.begins(|| format!("held {}", row.key)).await? {
                    self.hold_until_released(stream, &row);
                    is_readable = false;
                    break;
                }
                is_readable = self.correlate_again(stream, row, &mut before).await?;
                if !is_readable {
                    break;
                }
                done += 1;
            }
        }
        let position = self.position;
        let marker = remove(rows::releasing_stream_key(stream));
        self.dirty.push(marker, position);
        if is_readable {
            log_stream_goes_on(PM::NAME, stream);
            self.held_streams.remove(stream);
            self.dirty.push(remove(rows::stream_key(stream)), position);
        }
        self.settle_all().await?;
        Ok(Report::new(done, usize::from(!is_readable)))
    }

    /// Holds a stream until an operator releases it, because its first held event aborts the process.
    fn hold_until_released(&mut self, stream: &StreamId, first: &Row) {
        let position = rows::stream_held_at(&first.key).unwrap_or(self.position);
        let parked = ParkedRow::new(position, self.starts.cause().to_string());
        let row = put(rows::stream_key(stream), &parked);
        self.dirty.push(row, self.position);
        self.dirty.set_back(Some(position), Reactions::Parked);
        self.held_streams.insert(stream.clone(), Reactions::Parked);
    }

    /// Delivers an event of a held stream to its instances. Returns `false` if the event still cannot be correlated.
    async fn correlate_again(
        &mut self,
        held: &StreamId,
        row: Row,
        before: &mut Option<RetryRow>,
    ) -> Result<bool, Halt> {
        let position = self.position;
        let event: HeldRow = rows::read(&row.key, &row.value).map_err(|reason| Halt::Parked {
            position: position + 1,
            reason,
        })?;
        if self.timers.is_due_before(self.stored_now())
            && let Some((limit, _)) = self.place_of_held(&row).await?
        {
            self.fire_until(&limit, None).await?;
        }
        let shown = match event {
            HeldRow::Event(at) => self.shown_at(at).await?,
            HeldRow::Failed(_) | HeldRow::Deadline(_) | HeldRow::Command(_) => None,
        };
        let Some(shown) = shown else {
            self.dirty.push(remove(row.key), position);
            return Ok(true);
        };
        let before = before.take_if(|before| before.what == row.key);
        self.dirty.push(remove(row.key), position);
        let keys = match &shown.correlation {
            Ok(joins) => joins.iter().map(|join| join.key.clone()).collect(),
            Err(cause) => {
                let unclaimed = self.correlation_failed(&shown.event, cause, before, position)?;
                return match unclaimed {
                    Unclaimed::Held => Ok(false),
                    Unclaimed::Passed(compensation) => {
                        if let Some(compensation) = compensation {
                            self.commit(*compensation).await?;
                        }
                        Ok(true)
                    }
                };
            }
        };
        self.learn(keys).await?;
        let outcome = self.held_streams.remove(held);
        let done = self.react_to_shown(shown, position).await;
        // Until the release is complete, new events of the stream are held after the earlier ones.
        self.held_streams
            .insert(held.clone(), outcome.unwrap_or(Reactions::Parked));
        done.map(|()| true)
    }

    /// Discards the held work of a parked instance, which then continues with new events.
    pub(super) async fn discard(&mut self, key: &str) -> Result<Report, Halt> {
        self.learn(vec![key.to_owned()]).await?;
        self.settle_all().await?;
        let mut held = Vec::new();
        let mut deadlines = Vec::new();
        self.each_row(RowRange::numbered(&rows::held_prefix(key)), |row| {
            held.push(row.key.clone());
            if let Ok(HeldRow::Deadline(timer)) = rows::read(&row.key, &row.value) {
                deadlines.push(timer.deadline);
            }
        })
        .await?;
        let (count, position) = (held.len(), self.position);
        let Some(instance) = self.instances.get(key).filter(|found| found.holds()) else {
            return Ok(Report::default());
        };
        if instance.restore().is_err() {
            // An instance whose state does not decode cannot continue.
            return Ok(Report::new(0, 1));
        }
        self.end_wait_of(key);
        let Some(instance) = self.instances.get(key) else {
            return Ok(Report::default());
        };
        match instance.has_reacted_to_nothing() {
            true => instance.end(),
            false => instance.release(Status::Open),
        }
        for StoredDeadline { name, due_ms, .. } in deadlines {
            if instance.timers.get(&name) == Some(&due_ms) {
                instance.timers.remove(&name);
            }
        }
        let row = instance.row(key);
        self.instances.changed(key, self.next_commit);
        self.dirty.push(row, position);
        for row_key in held {
            // A held command or deadline is not a skipped event. Its key sorts after the key of an event.
            if let Some((_, at)) = rows::held_of(&row_key)
                && row_key == rows::held_key(key, at, 0, "")
            {
                let passed = rows::passed_key(at, key);
                self.dirty.push(put(passed, &Marker {}), position);
            }
            self.dirty.push(remove(row_key), position);
        }
        self.dirty
            .push(remove(format!("{}{key}", rows::RELEASING).into()), position);
        self.settle_all().await?;
        tracing::info!(
            process_manager = PM::NAME,
            instance = key,
            dropped = count,
            "a parked instance goes on without what it held"
        );
        Ok(Report::done(count))
    }

    /// Discards the held events of a stream, which then continues with new events.
    pub(super) async fn discard_stream(&mut self, stream: &StreamId) -> Result<Report, Halt> {
        if !self.held_streams.contains_key(stream) {
            return Ok(Report::default());
        }
        self.end_wait_of_stream(stream).await?;
        self.settle_all().await?;
        let mut keys = Vec::new();
        let range = RowRange::numbered(&rows::stream_held_prefix(stream));
        self.each_row(range, |row| keys.push(row.key.clone()))
            .await?;
        let (count, position) = (keys.len(), self.position);
        for key in keys {
            if let Some(at) = rows::stream_held_at(&key) {
                let passed = rows::passed_key(at, "");
                self.dirty.push(put(passed, &Marker {}), position);
            }
            self.dirty.push(remove(key), position);
        }
        self.dirty.push(remove(rows::stream_key(stream)), position);
        let marker = remove(rows::releasing_stream_key(stream));
        self.dirty.push(marker, position);
        self.held_streams.remove(stream);
        self.settle_all().await?;
        log_stream_goes_on(PM::NAME, stream);
        Ok(Report::done(count))
    }
}

fn log_stream_goes_on(process_manager: &str, stream: &StreamId) {
    tracing::info!(
        process_manager,
        aggregate_type = %stream.aggregate_type,
        stream = %stream.instance_id,
        "a held stream continues"
    );
}
