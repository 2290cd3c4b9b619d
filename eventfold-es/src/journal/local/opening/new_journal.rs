//! Writing a whole journal at once, before a store uses it.

use std::path::Path;

use eventfold::line_hash;
use serde_json::value::RawValue;

use crate::disk::{FileError, FileHandle, Files, OpenMode};
use crate::journal::local::line::{Body, Heading};
use crate::journal::local::scan::Tip;
use crate::journal::{ProposedReaction, StreamId};

/// The number of bytes that are collected before a write.
const WRITE_BYTES: usize = 1 << 20;

/// Writes commits, each in its own batch.
pub(crate) struct NewJournal {
    file: FileHandle,
    tip: Tip,
    pending: Vec<u8>,
}

impl NewJournal {
    pub(crate) fn create(files: &Files, path: &Path) -> Result<Self, FileError> {
        Ok(Self {
            file: files.open(path, OpenMode::Truncate)?,
            tip: Tip::default(),
            pending: Vec::new(),
        })
    }

    /// Adds a commit without events: the record of an adoption, and the progress of process managers. `ts` is in seconds since 1970.
    pub(crate) fn begin(
        &mut self,
        adoption: &RawValue,
        progress: &[ProposedReaction],
        ts: u64,
    ) -> Result<(), FileError> {
        let mut body = Body::default();
        body.adoption(adoption);
        for reaction in progress {
            body.process_manager(reaction, 0);
        }
        self.commit(body, 0, ts, 0)
    }

    /// Adds the next events of a stream; `version` is that of the first event. `ts` is in seconds since 1970, `time` in
    /// milliseconds.
    pub(crate) fn append(
        &mut self,
        stream: &StreamId,
        version: u64,
        lines: &[Box<str>],
        ts: u64,
        time: u64,
    ) -> Result<(), FileError> {
        let mut body = Body::default();
        body.stream(stream, version, lines);
        self.commit(body, lines.len() as u64, ts, time)
    }

    /// Makes the whole journal durable.
    pub(crate) fn finish(mut self) -> Result<(), FileError> {
        self.flush()?;
        self.file.sync_data()
    }

    fn commit(&mut self, body: Body, events: u64, ts: u64, time: u64) -> Result<(), FileError> {
        let Tip {
            commit,
            batch,
            position,
            offset,
            hash,
            ..
        } = &self.tip;
        let line = body.finish(&Heading {
            commit: commit + 1,
            batch: batch + 1,
            end: true,
            flush: false,
            previous: hash,
            position: position + 1,
            time,
            ts,
        });
        self.tip = Tip {
            commit: commit + 1,
            batch: batch + 1,
            position: position + events,
            time,
            offset: offset + line.len() as u64 + 1,
            hash: line_hash(line.as_bytes()),
            flush: false,
        };
        self.pending.extend_from_slice(line.as_bytes());
        self.pending.push(b'\n');
        if self.pending.len() >= WRITE_BYTES {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), FileError> {
        let start = self.tip.offset - self.pending.len() as u64;
        self.file.write_all_at(&self.pending, start)?;
        self.pending.clear();
        Ok(())
    }
}
