//! The journal of an adopted directory: the record of the adoption, followed by the events in the order of their times.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::examine::event;
use super::record::Adoption;
use super::source::{LineReader, StreamSource};
use crate::clock::seconds_since_1970;
use crate::disk::{FileError, Files};
use crate::journal::local::{Layout, NewJournal};
use crate::journal::{ProposedReaction, StreamId};

/// The number of bytes of events in one commit, unless a single event is larger.
const COMMIT_BYTES: usize = 64 << 10;
/// The approximate number of bytes of all logs together that are held in memory.
const READ_BYTES: u64 = 64 << 20;

/// A stream whose events go into the journal.
pub(super) struct Import {
    pub(super) stream: StreamId,
    pub(super) source: StreamSource,
}

/// Writes the whole journal to `meta/journal/adopting.jsonl`, durably.
pub(super) fn write_journal(
    files: &Files,
    layout: &Layout,
    record: &Adoption,
    progress: &[ProposedReaction],
    imports: Vec<Import>,
) -> Result<(), FileError> {
    let path = super::journal_file(layout);
    let record = serde_json::value::to_raw_value(record)
        .map_err(|error| FileError::new("encode", &path, error.into()))?;
    let now = seconds_since_1970();
    let mut journal = NewJournal::create(files, &path)?;
    journal.begin(&record, progress, now)?;
    let count = imports.len().max(1) as u64;
    let chunk = (READ_BYTES / count).clamp(1 << 10, 256 << 10);
    let mut queue = Queue::new(files, imports, chunk)?;
    while let Some(append) = queue.next(files)? {
        // An event from the future would stop the clock of the store until then.
        let stored = append.until.min(now).saturating_mul(1000);
        journal.append(
            append.stream,
            append.version,
            &append.lines,
            append.ts,
            stored,
        )?;
    }
    journal.finish()
}

/// The streams, ordered by the time of their next event. Within a stream, time does not go backwards: an event is never older
/// than the event before it.
struct Queue {
    streams: Vec<Stream>,
    /// The time of the next event and the index of each stream that has a next event.
    order: BinaryHeap<Reverse<(u64, usize)>>,
}

struct Stream {
    import: Import,
    reader: LineReader,
    next: Option<Box<str>>,
    /// The time of the next event.
    ts: u64,
    /// The number of the events before it.
    version: u64,
}

/// Consecutive events of one stream.
struct Append<'a> {
    stream: &'a StreamId,
    version: u64,
    lines: Vec<Box<str>>,
    /// The times of the first and of the last event, in seconds since 1970.
    ts: u64,
    until: u64,
}

impl Queue {
    fn new(files: &Files, imports: Vec<Import>, chunk: u64) -> Result<Self, FileError> {
        let mut queue = Self {
            streams: Vec::with_capacity(imports.len()),
            order: BinaryHeap::with_capacity(imports.len()),
        };
        for import in imports {
            let mut stream = Stream {
                reader: LineReader::new(import.source.clone(), chunk),
                import,
                next: None,
                ts: 0,
                version: 0,
            };
            stream.advance(files)?;
            if stream.next.is_some() {
                queue.order.push(Reverse((stream.ts, queue.streams.len())));
            }
            queue.streams.push(stream);
        }
        Ok(queue)
    }

    fn next(&mut self, files: &Files) -> Result<Option<Append<'_>>, FileError> {
        let Some(Reverse((ts, index))) = self.order.pop() else {
            return Ok(None);
        };
        let next = self.order.peek().map(|Reverse(other)| *other);
        let Some(stream) = self.streams.get_mut(index) else {
            return Ok(None);
        };
        let version = stream.version + 1;
        let mut lines = Vec::new();
        let (mut bytes, mut until) = (0, ts);
        while next.is_none_or(|next| (stream.ts, index) < next)
            && bytes < COMMIT_BYTES
            && let Some(line) = stream.next.take()
        {
            bytes += line.len();
            until = stream.ts;
            stream.version += 1;
            lines.push(line);
            stream.advance(files)?;
        }
        if stream.next.is_some() {
            self.order.push(Reverse((stream.ts, index)));
        }
        let append = Append {
            stream: &stream.import.stream,
            version,
            lines,
            ts,
            until,
        };
        Ok(Some(append))
    }
}

impl Stream {
    /// Reads the next event.
    fn advance(&mut self, files: &Files) -> Result<(), FileError> {
        while let Some(line) = self.reader.next_line(files)? {
            match event(&line.bytes) {
                Ok(Some((text, event))) => {
                    self.ts = self.ts.max(event.ts);
                    self.next = Some(text.into());
                    return Ok(());
                }
                Ok(None) => {}
                Err(reason) => {
                    let error = std::io::Error::other(reason);
                    return Err(FileError::new("read", &self.import.source.log, error));
                }
            }
        }
        Ok(())
    }
}
