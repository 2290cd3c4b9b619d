//! What is parked, and how it goes on: held work is done first, in order.

use std::sync::Arc;

use super::react::Input;
use super::rows::{self, HeldRow, ParkedRow, Status, remove};
use super::{Halt, ProcessManagerRunner};
use crate::journal::{Cursor, Row, RowChange, RowRange, StreamId};
use crate::process_manager::ProcessManager;

/// How many held rows are read at a time.
const ROWS: usize = 256;

impl<PM: ProcessManager> ProcessManagerRunner<PM> {
    /// Lets an instance hold what comes for it.
    pub(super) fn park_instance(&mut self, key: &str, position: u64, reason: String) {
        let next = self.next_commit;
        tracing::error!(
            process_manager = PM::NAME,
            instance = key,
            position,
            reason,
            "an instance is parked"
        );
        if let Some(instance) = self.instances.get(key) {
            instance.status = Status::Parked;
            instance.parked = Some(ParkedRow::new(position, reason));
            let row = instance.row(key);
            self.instances.changed(key, next);
            self.dirty.push(row, position);
        }
    }

    /// Goes on with the releases that a stop has interrupted.
    pub(super) async fn resume_releases(&mut self) -> Result<(), Halt> {
        let mut keys = Vec::new();
        self.each_row(RowRange::of_kind(rows::RELEASING), |row| {
            keys.push(row.key.get(1..).unwrap_or_default().to_owned());
        })
        .await?;
        for key in keys {
            self.release(&key).await?;
        }
        Ok(())
    }

    /// Releases a parked instance: it is shown what it holds, in order. How much of it was done; less than there is if it parks
    /// again.
    pub(super) async fn release(&mut self, key: &str) -> Result<usize, Halt> {
        self.learn(vec![key.to_owned()]).await?;
        let position = self.position;
        let Some(instance) = self.instances.get(key).filter(|found| found.holds()) else {
            return Ok(0);
        };
        if let Err(reason) = instance.restore() {
            tracing::error!(
                process_manager = PM::NAME,
                instance = key,
                reason,
                "an instance stays parked"
            );
            instance.parked = Some(ParkedRow::new(position, reason));
            return Ok(0);
        }
        instance.status = Status::Releasing;
        let row = instance.row(key);
        self.instances.changed(key, self.next_commit);
        self.dirty.push(row, position);
        let marker = RowChange {
            key: format!("{}{key}", rows::RELEASING).into(),
            value: Some("{}".into()),
        };
        self.dirty.push(marker, position);
        let mut done = 0;
        loop {
            self.flush().await?;
            self.finish_in_flight().await?;
            let range = RowRange::numbered(&rows::held_prefix(key));
            let held = self.read_range(range, ROWS).await?;
            if held.is_empty() {
                break;
            }
            for row in held {
                if !self
                    .instances
                    .get(key)
                    .is_some_and(|found| found.status == Status::Releasing)
                {
                    break;
                }
                self.do_held(key, row).await?;
                done += 1;
            }
            let status = self.instances.get(key).map(|found| found.status);
            if status != Some(Status::Releasing) {
                break;
            }
        }
        let position = self.position;
        self.dirty
            .push(remove(format!("{}{key}", rows::RELEASING).into()), position);
        if let Some(instance) = self.instances.get(key)
            && instance.status == Status::Releasing
        {
            instance.status = Status::Open;
            instance.parked = None;
            let row = instance.row(key);
            self.instances.changed(key, self.next_commit);
            self.dirty.push(row, position);
        }
        self.flush().await?;
        self.finish_in_flight().await?;
        Ok(done)
    }

    async fn do_held(&mut self, key: &str, row: Row) -> Result<(), Halt> {
        let position = self.position;
        let held: HeldRow = rows::read(&row.key, &row.value).map_err(|reason| Halt::Parked {
            position: position + 1,
            reason,
        })?;
        self.dirty.push(remove(row.key), position);
        match held {
            HeldRow::Event(at) => {
                let Some((stream, version, line)) = self.event_at(at).await? else {
                    return Ok(());
                };
                let shown = self.show(&stream, version, at, &line);
                let (stream, event) = &*shown.event;
                let cause = super::super::origin::Cause::of(event);
                let source = super::draft::Source::Event(Arc::clone(&shown.event));
                let mut draft = super::draft::Draft::new(position, at, cause, source);
                self.show_to(key, Input::Event(stream, event), &mut draft)?;
                self.commit(draft).await.map(drop)
            }
            HeldRow::Deadline(timer) => self.react_to_deadline(&timer).await,
            HeldRow::Command(command) => self.execute_row(*command).await,
        }
    }

    /// The event at a position.
    async fn event_at(&mut self, at: u64) -> Result<Option<(StreamId, u64, String)>, Halt> {
        let journal = Arc::clone(&self.context.runtime.journal);
        let read = move || journal.read_on(&mut Cursor::for_commit_at(at));
        let read = tokio::task::spawn_blocking(read).await;
        let commits = self.read(read.map_err(|_| Halt::Ended)?)?;
        for commit in commits {
            let mut position = commit.first_position;
            for append in &commit.appends {
                for (version, line) in (append.first_version..).zip(append.lines.iter()) {
                    if position == at {
                        return Ok(Some((append.stream.clone(), version, line.to_owned())));
                    }
                    position += 1;
                }
            }
        }
        Ok(None)
    }

    /// Lets a held stream go on: its events are correlated again, in order.
    pub(super) async fn release_stream(&mut self, stream: &StreamId) -> Result<usize, Halt> {
        if !self.held_streams.contains(stream) {
            return Ok(0);
        }
        let prefix = rows::stream_held_prefix(stream);
        let mut done = 0;
        loop {
            self.flush().await?;
            self.finish_in_flight().await?;
            let held = self.read_range(RowRange::numbered(&prefix), ROWS).await?;
            let is_last = held.len() < ROWS;
            for row in held {
                let position = self.position;
                let Ok(HeldRow::Event(at)) = rows::read(&row.key, &row.value) else {
                    continue;
                };
                let Some((stream, version, line)) = self.event_at(at).await? else {
                    continue;
                };
                let shown = self.show(&stream, version, at, &line);
                if let Err(reason) = &shown.correlation {
                    tracing::error!(process_manager = PM::NAME, stream = %stream.instance_id, reason, "a stream stays held");
                    self.flush().await?;
                    return Ok(done);
                }
                self.dirty.push(remove(row.key), position);
                self.held_streams.remove(&stream);
                let joins = shown.correlation.iter().flatten();
                let keys = joins.map(|join| join.key.clone()).collect();
                self.learn(keys).await?;
                self.react_to_shown(shown, position).await?;
                // Until all of it is done, what comes stays behind it.
                self.held_streams.insert(stream);
                done += 1;
            }
            if is_last {
                break;
            }
        }
        self.held_streams.remove(stream);
        self.dirty
            .push(remove(rows::stream_key(stream)), self.position);
        self.flush().await?;
        self.finish_in_flight().await?;
        Ok(done)
    }

    /// Drops what a parked instance holds, and lets it go on with what comes.
    pub(super) async fn discard(&mut self, key: &str) -> Result<usize, Halt> {
        self.learn(vec![key.to_owned()]).await?;
        self.flush().await?;
        self.finish_in_flight().await?;
        let position = self.position;
        let Some(instance) = self.instances.get(key).filter(|found| found.holds()) else {
            return Ok(0);
        };
        if instance.restore().is_err() {
            // What cannot be read does not go on.
            return Ok(0);
        }
        instance.status = Status::Open;
        instance.parked = None;
        let row = instance.row(key);
        self.instances.changed(key, self.next_commit);
        let range = RowRange::numbered(&rows::held_prefix(key));
        let mut keys = Vec::new();
        self.each_row(range, |row| keys.push(row.key.clone()))
            .await?;
        let count = keys.len();
        for key in keys {
            self.dirty.push(remove(key), position);
        }
        self.dirty.push(row, position);
        self.dirty
            .push(remove(format!("{}{key}", rows::RELEASING).into()), position);
        self.flush().await?;
        self.finish_in_flight().await?;
        Ok(count)
    }

    /// Drops what a held stream holds, and lets it go on with what comes.
    pub(super) async fn discard_stream(&mut self, stream: &StreamId) -> Result<usize, Halt> {
        if !self.held_streams.contains(stream) {
            return Ok(0);
        }
        self.flush().await?;
        self.finish_in_flight().await?;
        let mut keys = Vec::new();
        let range = RowRange::numbered(&rows::stream_held_prefix(stream));
        self.each_row(range, |row| keys.push(row.key.clone()))
            .await?;
        let (count, position) = (keys.len(), self.position);
        for key in keys {
            self.dirty.push(remove(key), position);
        }
        self.dirty.push(remove(rows::stream_key(stream)), position);
        self.held_streams.remove(stream);
        self.flush().await?;
        self.finish_in_flight().await?;
        Ok(count)
    }
}
