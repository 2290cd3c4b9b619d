//! Reading the events of one stream.

use std::sync::{Arc, Mutex};

use super::stored::{Stored, lock, place_of};
use crate::journal::{Damage, JournalError, RecordedAppend, StreamEnd, StreamId, StreamReader};

pub(super) struct MemoryReader {
    stored: Arc<Mutex<Stored>>,
    stream: StreamId,
    /// The number of commits of the stream that were read.
    read: usize,
    end: StreamEnd,
}

impl MemoryReader {
    /// Reads the events behind a place where the stream ended once.
    pub(super) fn new(
        stored: Arc<Mutex<Stored>>,
        stream: &StreamId,
        behind: StreamEnd,
    ) -> Result<Self, JournalError> {
        let mut reader = Self {
            stored,
            stream: stream.clone(),
            read: 0,
            end: StreamEnd::default(),
        };
        while reader.end.version < behind.version && reader.next()?.is_some() {}
        let is_there = reader.end.version == behind.version
            && (behind.version == 0 || reader.end.commit == behind.commit);
        match is_there {
            true => Ok(reader),
            false => {
                let version = behind.version;
                let reason = format!("the stream does not end here at version {version}");
                Err(reader.damage(reason))
            }
        }
    }
}

impl StreamReader for MemoryReader {
    fn next(&mut self) -> Result<Option<RecordedAppend>, JournalError> {
        let stored = lock(&self.stored);
        let commits = stored.streams.get(&self.stream).map(|found| &found.commits);
        let Some(index) = commits.and_then(|commits| commits.get(self.read)).copied() else {
            return Ok(None);
        };
        let commit = stored.commits.get(index);
        let mut appends = commit
            .into_iter()
            .flat_map(|commit| &commit.recorded.appends);
        let found = appends.find(|append| append.stream == self.stream);
        self.read += 1;
        Ok(found.map(|append| {
            self.end = StreamEnd {
                version: append.first_version + append.lines.len() as u64 - 1,
                commit: place_of(index),
            };
            let lines: Vec<Box<str>> = append.lines.iter().map(Into::into).collect();
            RecordedAppend {
                stream: append.stream.clone(),
                first_version: append.first_version,
                lines: lines.into(),
            }
        }))
    }

    fn end(&self) -> StreamEnd {
        self.end
    }

    fn damage(&self, reason: String) -> JournalError {
        Damage::new("memory", self.end.commit.offset, reason).into()
    }
}
