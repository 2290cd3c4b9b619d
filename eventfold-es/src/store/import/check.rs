//! Comparing logs with the store, to find the new events before the first import.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use eventfold::Event;
use serde::Deserialize;
use xxhash_rust::xxh3::xxh3_128;

use super::line::order;
use super::reader::{At, Line, Reader, damage};
use super::survey::{Log, survey};
use super::{ImportError, ImportOptions, ImportReport};
use crate::disk::Files;
use crate::journal::{JournalError, StreamEnd, StreamId, StreamPiece, StreamReader, Streams};
use crate::nesting;
use crate::runtime::Runtime;

/// The number of bytes in one read of a log.
const READ_BYTES: u64 = 1 << 20;

/// A log with events that the store does not have.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) log: Log,
    /// The place of the first new event.
    pub(super) at: At,
    /// The place of that event in the order of import.
    pub(super) order: u128,
    /// The version of the stream before it.
    pub(super) version: u64,
    /// The number of new events.
    pub(super) events: u64,
    /// The lines from there on that repeat an event, counted from 0.
    pub(super) repeated: Vec<u64>,
}

/// All new events, and the other findings.
#[derive(Debug, Default)]
pub(super) struct Checked {
    pub(super) plans: Vec<Plan>,
    pub(super) report: ImportReport,
}

/// Reads every log below `from`; `None` if it was stopped. Blocks.
pub(super) fn check(
    files: &Files,
    runtime: &Runtime,
    store: &Path,
    from: &Path,
    options: &ImportOptions,
    is_stopped: &AtomicBool,
) -> Result<Option<Checked>, ImportError> {
    options.declare(&runtime.types)?;
    let mut checked = Checked::default();
    let logs = survey(files, store, from)?;
    let count = logs.len();
    for (number, log) in logs.into_iter().enumerate() {
        if is_stopped.load(Ordering::Relaxed) {
            return Ok(None);
        }
        if !options.accepts(&log.stream.aggregate_type) {
            return Err(ImportError::Undeclared {
                aggregate_type: log.stream.aggregate_type.to_string(),
                path: log.log(),
            });
        }
        let Some(plan) = check_log(files, runtime, log, &mut checked.report, is_stopped)? else {
            continue;
        };
        checked.report.events += plan.events;
        checked.report.streams += 1;
        checked.plans.push(plan);
        if number % 10_000 == 9_999 {
            tracing::debug!(streams = number + 1, of = count, "comparing");
        }
    }
    Ok(Some(checked))
}

/// The new events of a log, if any.
fn check_log(
    files: &Files,
    runtime: &Runtime,
    log: Log,
    report: &mut ImportReport,
    is_stopped: &AtomicBool,
) -> Result<Option<Plan>, ImportError> {
    let stream = &log.stream;
    let mut stored = Stored::new(&*runtime.journal, stream)?;
    let mut known = Comparison::default();
    let mut reader = Reader::default();
    let mut plan: Option<Plan> = None;
    let mut index = 0;
    while let Some(line) = reader.next(files, &log, READ_BYTES)? {
        if is_stopped.load(Ordering::Relaxed) {
            break;
        }
        let event = match serde_json::from_str::<Event>(&line.text) {
            Ok(event) => event,
            Err(_) if line.is_open => {
                // The write of this line did not finish, so its program never confirmed the event.
                report.torn += 1;
                tracing::warn!(path = %log.log().display(), offset = line.at.offset, "the last line of the log is not a whole event");
                break;
            }
            Err(error) => {
                return Err(damage(
                    &log,
                    line.at,
                    format!("the line is no event: {error}"),
                ));
            }
        };
        let verdict = known
            .see(&mut stored, &event, plan.is_some())?
            .map_err(|reason| diverged(&log, &line, reason))?;
        match (verdict, &mut plan) {
            (Compared::Stored, _) => report.skipped += 1,
            (Compared::Repeated, None) => report.skipped += 1,
            (Compared::Repeated, Some(plan)) => {
                report.skipped += 1;
                plan.repeated.push(index);
                index += 1;
            }
            (Compared::New, plan) => {
                check_event(runtime, &log, &line, &event)?;
                let plan = plan.get_or_insert_with(|| Plan {
                    log: log.clone(),
                    at: line.at,
                    order: order(&event),
                    version: stored.count,
                    events: 0,
                    repeated: Vec::new(),
                });
                plan.events += 1;
                index += 1;
            }
        }
    }
    Ok(plan)
}

/// Refuses an event that cannot be read or decoded again.
fn check_event(
    runtime: &Runtime,
    log: &Log,
    line: &Line,
    event: &Event,
) -> Result<(), ImportError> {
    let unusable = |reason: String| ImportError::Unusable {
        path: line.at.file(log),
        offset: line.at.offset,
        reason,
    };
    // The event itself is one level.
    if nesting::is_deeper(&line.text, nesting::MAX_DEPTH + 1) {
        return Err(unusable(nesting::TOO_DEEP.to_owned()));
    }
    match runtime.types.check_event(&log.stream.aggregate_type, event) {
        None => Ok(()),
        Some(reason) => Err(unusable(reason)),
    }
}

fn diverged(log: &Log, line: &Line, reason: &str) -> ImportError {
    ImportError::Diverged {
        aggregate_type: log.stream.aggregate_type.to_string(),
        instance_id: log.stream.instance_id.to_string(),
        path: line.at.file(log),
        offset: line.at.offset,
        reason: reason.to_owned(),
    }
}

/// The stored events of a stream. They are read twice: for their ids, and to compare them with the events of a log.
struct Stored<'a> {
    count: u64,
    /// The versions of the events with an id.
    by_id: HashMap<u128, u64>,
    /// Continues to read after `at`; `None` if the store does not have the stream.
    reader: Option<Box<dyn StreamReader + 'a>>,
    /// The piece with the last compared event.
    at: StreamPiece,
}

impl<'a> Stored<'a> {
    fn new(streams: &'a dyn Streams, stream: &'a StreamId) -> Result<Self, JournalError> {
        #[derive(Deserialize)]
        struct WithId {
            id: Option<String>,
        }
        let mut stored = Self {
            count: 0,
            by_id: HashMap::new(),
            reader: None,
            at: StreamPiece::default(),
        };
        if !streams.has_stream(stream)? {
            return Ok(stored);
        }
        let mut reader = streams.read_stream(stream, StreamEnd::default())?;
        while reader.next(&mut stored.at)? {
            for (version, line) in stored.at.events() {
                stored.count = version;
                if let Ok(WithId { id: Some(id) }) = serde_json::from_str(line) {
                    stored.by_id.insert(xxh3_128(id.as_bytes()), version);
                }
            }
        }
        stored.reader = Some(streams.read_stream(stream, StreamEnd::default())?);
        Ok(stored)
    }

    /// Whether the event with this version equals `event`. Calls must pass increasing versions.
    fn is(&mut self, version: u64, event: &Event) -> Result<bool, JournalError> {
        while let Some(reader) = &mut self.reader
            && reader.end().version < version
        {
            if !reader.next(&mut self.at)? {
                return Ok(false);
            }
        }
        let stored = self.at.event(version);
        Ok(stored.is_some_and(|line| {
            serde_json::from_str::<Event>(line).is_ok_and(|stored| stored == *event)
        }))
    }
}

/// The result of comparing an event of a log with the store.
enum Compared {
    /// The store has the event.
    Stored,
    /// An earlier line of the log has the event.
    Repeated,
    New,
}

/// The progress of comparing a log.
#[derive(Default)]
struct Comparison {
    /// The ids of the log so far.
    seen: HashSet<u128>,
    /// The version of the last stored event that the log has, too.
    last: u64,
}

impl Comparison {
    /// Compares the next event of the log. Returns the reason if the log does not continue the stream.
    fn see(
        &mut self,
        stored: &mut Stored<'_>,
        event: &Event,
        has_new: bool,
    ) -> Result<Result<Compared, &'static str>, JournalError> {
        let id = event.id.as_ref().map(|id| xxh3_128(id.as_bytes()));
        if id.is_some_and(|id| !self.seen.insert(id)) {
            return Ok(Ok(Compared::Repeated));
        }
        if has_new {
            let is_stored = id.is_some_and(|id| stored.by_id.contains_key(&id));
            return Ok(match is_stored {
                true => Err("the store has this event, but not the one before it"),
                false => Ok(Compared::New),
            });
        }
        let next = self.last + 1;
        let version = match id {
            Some(id) => stored.by_id.get(&id).copied(),
            // An event without an id is the same if it has the same place.
            None => Some(next).filter(|next| *next <= stored.count),
        };
        Ok(match version {
            // A log may begin after the beginning of the stream.
            Some(version) if version == next || self.last == 0 => {
                match stored.is(version, event)? {
                    false => Err("the store has another event in its place"),
                    true => {
                        self.last = version;
                        Ok(Compared::Stored)
                    }
                }
            }
            Some(_) => Err("the store has the events in another order, or has others between them"),
            None if self.last == stored.count => Ok(Compared::New),
            None => Err("the store has other events after the last event that both have"),
        })
    }
}
