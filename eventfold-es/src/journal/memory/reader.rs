//! Reading the events of one stream.

use std::sync::{Arc, Mutex};

use super::stored::{Stored, lock, place_of};
use crate::journal::{
    Damage, FindEvents, JournalError, StreamEnd, StreamId, StreamPiece, StreamReader,
};

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
        let mut piece = StreamPiece::default();
        while reader.end.version < behind.version && reader.next(&mut piece)? {}
        let is_there = reader.end.version == behind.version
            && (behind.version == 0 || reader.end.commit == behind.commit);
        match is_there {
            true => Ok(reader),
            false => {
                let version = behind.version;
                let reason = format!("the stream does not end here at version {version}");
                Err(reader.damage(version, reason))
            }
        }
    }
}

impl StreamReader for MemoryReader {
    fn read(&mut self, piece: &mut StreamPiece) -> Result<bool, JournalError> {
        let mut text = piece.restart(self.end.version + 1);
        text.clear();
        let stored = lock(&self.stored);
        let commits = stored.streams.get(&self.stream).map(|found| &found.commits);
        let Some(index) = commits.and_then(|commits| commits.get(self.read)).copied() else {
            return Ok(false);
        };
        let commit = stored.commits.get(index);
        let mut appends = commit
            .into_iter()
            .flat_map(|commit| &commit.recorded.appends);
        self.read += 1;
        if let Some(append) = appends.find(|append| append.stream == self.stream) {
            self.end = StreamEnd {
                version: append.first_version + append.lines.len() as u64 - 1,
                commit: place_of(index),
            };
            for line in append.lines.iter() {
                let start = text.len();
                text.push_str(line);
                piece.add(start..text.len());
            }
        }
        piece.finish(text);
        Ok(true)
    }

    fn finder(&self) -> Arc<dyn FindEvents> {
        Arc::new(Found)
    }

    fn end(&self) -> StreamEnd {
        self.end
    }

    fn damage(&self, _: u64, reason: String) -> JournalError {
        Damage::new("memory", self.end.commit.offset, reason).into()
    }
}

/// The events in memory need not be found.
struct Found;

impl FindEvents for Found {
    fn find(&self, _: &mut StreamPiece) {}
}
