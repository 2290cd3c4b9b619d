//! Importing new events: the events of all logs in the order of their times, as commits.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use eventfold::Event;

use super::ImportError;
use super::check::Plan;
use super::line::{Imported, imported, order};
use super::reader::{Reader, damage};
use crate::disk::Files;
use crate::error::StoreError;
use crate::journal::{
    CommitError, KeyedLines, Outcome, ProposedAppend, ProposedCommit, StreamId, Term,
};
use crate::runtime::{Runtime, blocking, room_in};

/// The bytes of events in one commit, unless the events of a single command are larger.
const COMMIT_BYTES: usize = 64 << 10;
/// The bytes of submitted events after which the import waits until all of them are durable.
const BATCH_BYTES: usize = 1 << 20;
/// The approximate memory for all logs together.
const READ_BYTES: usize = 64 << 20;

/// The logs, in the order of the times of their next events. Within a log, time does not go backwards.
pub(super) struct Feed {
    files: Files,
    streams: Vec<Stream>,
    order: BinaryHeap<Reverse<(u128, usize)>>,
    is_marked: bool,
    /// The number of bytes in one read of a log.
    chunk: u64,
    /// The memory of all logs.
    bytes: usize,
    /// The term in which the logs were compared with the store.
    term: Term,
}

struct Stream {
    plan: Plan,
    reader: Reader,
    /// The number of lines so far.
    read: u64,
    /// The version of the stream before the next event.
    version: u64,
    /// The number of remaining events.
    left: u64,
    /// The order of the next event.
    order: u128,
}

impl Feed {
    /// Process managers skip marked events.
    pub(super) fn new(files: Files, plans: Vec<Plan>, is_marked: bool, term: Term) -> Self {
        let count = plans.len().max(1);
        let streams: Vec<_> = plans.into_iter().map(Stream::new).collect();
        let order = streams.iter().enumerate();
        Self {
            files,
            order: order
                .map(|(index, stream)| Reverse((stream.order, index)))
                .collect(),
            streams,
            is_marked,
            chunk: (READ_BYTES / count).clamp(4 << 10, 1 << 20) as u64,
            bytes: 0,
            term,
        }
    }

    /// Imports all events, and returns the position of the last event. If it is stopped, submitted events still become
    /// durable.
    pub(super) async fn run(
        mut self,
        runtime: Arc<Runtime>,
        total: u64,
        is_stopped: Arc<AtomicBool>,
    ) -> Result<Option<u64>, ImportError> {
        let mut position = None;
        let mut events = 0;
        while !is_stopped.load(Ordering::Relaxed) {
            let what = || "reading events to import".to_owned();
            let (feed, batch) = blocking(what, move || {
                let batch = self.next_batch();
                Ok((self, batch))
            })
            .await?;
            self = feed;
            let batch = batch?;
            if batch.is_empty() {
                break;
            }
            events += batch
                .iter()
                .map(|(_, append)| append.lines.len() as u64)
                .sum::<u64>();
            position = self.commit(&runtime, batch).await?.or(position);
            tracing::debug!(events, of = total, "importing");
        }
        Ok(position)
    }

    /// Makes a batch durable; returns the position of its last event.
    async fn commit(
        &self,
        runtime: &Runtime,
        batch: Vec<(usize, ProposedAppend)>,
    ) -> Result<Option<u64>, ImportError> {
        let mut handed_over = Vec::with_capacity(batch.len());
        // The last commit of each stream: if it fails, the later commits of the stream fail.
        let mut last: HashMap<StreamId, Arc<Outcome>> = HashMap::new();
        let mut closed = None;
        for (index, append) in batch {
            let room = match room_in(&*runtime.journal, self.term).await {
                Ok(room) => room,
                Err(error) => {
                    closed = Some(error);
                    break;
                }
            };
            let stream = append.stream.clone();
            let commit = ProposedCommit {
                after: last.get(&stream).cloned().into_iter().collect(),
                appends: vec![append],
                ..ProposedCommit::default()
            };
            let outcome = runtime.journal.submit(room, commit);
            last.insert(stream, Arc::clone(&outcome));
            handed_over.push((index, outcome));
        }
        let mut done = Ok(None);
        for (index, outcome) in handed_over {
            let settled = outcome.wait().await;
            if done.is_ok() {
                done = match settled {
                    Ok(receipt) => Ok(Some(receipt.last_position())),
                    Err(error) => Err(self.failed(index, error)),
                };
            }
        }
        for stream in last.keys() {
            runtime.types.let_go(stream);
        }
        match closed {
            Some(error) => done.and(Err(error.into())),
            None => done,
        }
    }

    fn failed(&self, index: usize, error: CommitError) -> ImportError {
        match (error, self.streams.get(index)) {
            (CommitError::Conflict { .. }, Some(Stream { plan, .. })) => ImportError::Diverged {
                aggregate_type: plan.log.stream.aggregate_type.to_string(),
                instance_id: plan.log.stream.instance_id.to_string(),
                path: plan.log.log(),
                offset: plan.at.offset,
                reason: "a command was executed on it while it was imported".to_owned(),
            },
            (error, _) => StoreError::from(error).into(),
        }
    }

    /// The next events, and their logs. Each append is a commit.
    fn next_batch(&mut self) -> Result<Vec<(usize, ProposedAppend)>, ImportError> {
        let mut batch = Vec::new();
        let mut bytes = 0;
        while bytes < BATCH_BYTES
            && let Some(Reverse((_, index))) = self.order.pop()
        {
            let until = self.order.peek().map(|Reverse(next)| *next);
            let Some(stream) = self.streams.get_mut(index) else {
                continue;
            };
            self.bytes -= stream.reader.bytes();
            let append = stream.take(&self.files, self.chunk, self.is_marked, |order| {
                until.is_none_or(|until| (order, index) < until)
            })?;
            bytes += append.byte_count();
            batch.push((index, append));
            if stream.left > 0 {
                self.order.push(Reverse((stream.order, index)));
            }
            if stream.left == 0 || self.bytes + stream.reader.bytes() > READ_BYTES {
                stream.reader.forget();
            }
            self.bytes += stream.reader.bytes();
        }
        Ok(batch)
    }
}

impl Stream {
    fn new(plan: Plan) -> Self {
        Self {
            reader: Reader::at(plan.at),
            read: 0,
            version: plan.version,
            left: plan.events,
            order: plan.order,
            plan,
        }
    }

    /// Takes the next event, and the following events of its log that come `before` the other logs. The events of one
    /// command stay together.
    fn take(
        &mut self,
        files: &Files,
        chunk: u64,
        is_marked: bool,
        before: impl Fn(u128) -> bool,
    ) -> Result<ProposedAppend, ImportError> {
        let mut append = ProposedAppend {
            stream: self.plan.log.stream.clone(),
            expected_version: self.version,
            lines: Vec::new(),
            keyed: Vec::new(),
        };
        let mut bytes = 0;
        while self.left > 0 {
            let Some((order, next)) = self.next(files, chunk, is_marked)? else {
                let reason = "the log was changed while it was imported";
                return Err(damage(&self.plan.log, self.plan.at, reason.to_owned()));
            };
            self.order = self.order.max(order);
            let index = append.lines.len();
            let last = append.keyed.last_mut();
            let same = last.filter(|last| {
                let is_next = last.before + last.count == index;
                is_next
                    && next
                        .keyed
                        .as_ref()
                        .is_some_and(|keyed| *keyed.key == *last.key)
            });
            match (same, next.keyed) {
                (Some(same), _) => same.count += 1,
                (None, _) if index > 0 && (bytes >= COMMIT_BYTES || !before(self.order)) => break,
                (None, Some(keyed)) => append.keyed.push(KeyedLines {
                    key: keyed.key.into(),
                    digest: keyed.digest,
                    before: index,
                    count: 1,
                }),
                (None, None) => {}
            }
            bytes += next.line.len();
            append.lines.push(next.line);
            self.pass(files, chunk)?;
            self.version += 1;
            self.left -= 1;
        }
        Ok(append)
    }

    /// The next event that is not a repetition. It stays the next event.
    fn next(
        &mut self,
        files: &Files,
        chunk: u64,
        is_marked: bool,
    ) -> Result<Option<(u128, Imported)>, ImportError> {
        while self.plan.repeated.binary_search(&self.read).is_ok() {
            self.pass(files, chunk)?;
        }
        let Some(line) = self.reader.peek(files, &self.plan.log, chunk)? else {
            return Ok(None);
        };
        let read = serde_json::from_str::<Event>(&line.text)
            .and_then(|event| Ok((order(&event), imported(&line.text, is_marked)?)));
        let at = line.at;
        read.map(Some)
            .map_err(|error| damage(&self.plan.log, at, format!("the line is no event: {error}")))
    }

    fn pass(&mut self, files: &Files, chunk: u64) -> Result<(), ImportError> {
        self.reader.next(files, &self.plan.log, chunk)?;
        self.read += 1;
        Ok(())
    }
}
