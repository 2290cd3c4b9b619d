//! Reading the events of streams: the index tells where in the journal they are.

use std::sync::Arc;

use eventfold::line_hash;

use super::appends::{ALL, Append, Appends};
use super::history::recorded;
use super::line;
use super::log::JournalLog;
use super::snapshots::Snapshots;
use crate::journal::index::{Address, Entries, EntryKey, Merged, Runs};
use crate::journal::{
    CommitPlace, JournalError, RecordedAppend, RecordedCommit, StreamEnd, StreamId,
};
use crate::sabotage::{Bug, planted};

/// Where the events of all streams are.
pub(super) struct Streams {
    pub(super) log: Arc<JournalLog>,
    pub(super) appends: Appends,
    /// Where the appends are that a checkpoint covers.
    pub(super) index: Runs,
    pub(super) snapshots: Snapshots,
}

/// The events of a stream from a version on, append by append.
pub(super) struct StreamAppends<'a> {
    streams: &'a Streams,
    stream: &'a StreamId,
    entries: Merged,
    /// See [`Appends::drops`].
    drops: u64,
    /// Where the stream ends that was read so far.
    pub(super) end: StreamEnd,
}

impl Streams {
    pub(super) fn new(
        log: Arc<JournalLog>,
        appends: Appends,
        index: Runs,
        snapshots: Snapshots,
    ) -> Self {
        Self {
            log,
            appends,
            index,
            snapshots,
        }
    }

    /// The entries of a stream from a version on. Blocks.
    fn entries(&self, stream: &StreamId, version: u64) -> Result<Merged, JournalError> {
        let latest = self.appends.of_stream(stream, version);
        let latest = latest.into_iter().map(|(version, address)| {
            let key = EntryKey::append(stream, version);
            (key.into_bytes(), address.encode())
        });
        let newest = vec![Entries::in_memory(latest.collect())];
        let key = EntryKey::append(stream, version);
        self.index.alike(key.as_bytes(), newest)
    }

    /// The next entry that belongs to the stream. Blocks.
    fn next_entry(
        &self,
        entries: &mut Merged,
        stream: &StreamId,
    ) -> Result<Option<(u64, Address)>, JournalError> {
        let Some((key, value)) = self.index.noted(entries.next())? else {
            return Ok(None);
        };
        match (EntryKey::read_append(key), Address::decode(value)) {
            (Some((found, version)), Some(address)) if found == *stream => {
                Ok(Some((version, address)))
            }
            // The first entry of what comes behind the stream.
            (_, Some(_)) => Ok(None),
            (_, None) => self.index.noted(Err(self.index.malformed().into())),
        }
    }

    /// Whether the stream has an event. Blocks.
    pub(super) fn has(&self, stream: &StreamId) -> Result<bool, JournalError> {
        if let Some(version) = self.appends.version(stream) {
            return Ok(version > 0);
        }
        let mut entries = self.entries(stream, 0)?;
        Ok(self.next_entry(&mut entries, stream)?.is_some())
    }

    /// How many events the stream has, if that is known without I/O.
    pub(super) fn known_version(&self, stream: &StreamId) -> Option<u64> {
        let known = self.appends.version(stream);
        known.or_else(|| {
            let key = EntryKey::append(stream, 0);
            let is_new = self.index.surely_lacks(key.as_bytes());
            (is_new && self.appends.quarantined(stream).is_none()).then_some(0)
        })
    }

    /// How many events the stream has, which somebody expects to be `expected`. Blocks, unless the stream was appended to or read lately.
    pub(super) fn version(&self, stream: &StreamId, expected: u64) -> Result<u64, JournalError> {
        if let Some(version) = self.appends.version(stream) {
            return Ok(version);
        }
        // The entry that has the event with this version begins there, or somewhat before.
        let mut back = 0;
        loop {
            let from = expected.saturating_sub(back);
            let mut entries = self.entries(stream, from)?;
            let mut version = None;
            while let Some((first, address)) = self.next_entry(&mut entries, stream)? {
                version = Some(first + address.count - 1);
            }
            match version {
                Some(version) => return Ok(version),
                None if from == 0 => return Ok(0),
                None => back = 2 * back + 1,
            }
        }
    }

    /// The events of a stream behind a place where it ended once. Blocks.
    ///
    /// # Errors
    ///
    /// Damage also if the stream did not end there.
    pub(super) fn read<'a>(
        &'a self,
        stream: &'a StreamId,
        behind: StreamEnd,
    ) -> Result<StreamAppends<'a>, JournalError> {
        if let Some(damage) = self.appends.quarantined(stream) {
            return Err(damage.into());
        }
        if behind.version > 0 && !planted(Bug::SnapshotPlaceNotChecked) {
            let (found, end) = self.append_at(stream, behind.commit)?;
            let last = found.first_version + found.lines.len() as u64 - 1;
            if (last, end.hash) != (behind.version, behind.commit.hash) {
                let parts = self.log.parts();
                let reason = format!(
                    "the stream `{}` of `{}` does not end here at version {}",
                    stream.instance_id, stream.aggregate_type, behind.version
                );
                return Err(parts.damage(behind.commit.offset, reason).into());
            }
        }
        Ok(StreamAppends {
            streams: self,
            stream,
            drops: self.appends.drops(),
            entries: self.entries(stream, behind.version + 1)?,
            end: behind,
        })
    }

    /// The commit at an address, with its hash. Blocks.
    pub(super) fn commit_at(
        &self,
        offset: u64,
        length: u64,
    ) -> Result<(RecordedCommit, u64), JournalError> {
        let parts = self.log.parts();
        let bytes = parts.read_cached(offset, length)?;
        let damage = |reason: String| JournalError::from(parts.damage(offset, reason));
        let text = String::from_utf8(bytes)
            .map_err(|error| damage(format!("the commit is not UTF-8 text: {error}")))?;
        let text = Arc::new(text);
        let Some(line) = text.strip_suffix('\n').filter(|line| !line.contains('\n')) else {
            return Err(damage(
                "another line should stand here, as the index tells".to_owned(),
            ));
        };
        let commit = line::parse_text(line).map_err(|error| parts.unreadable(offset, error))?;
        let recorded = recorded(&commit.data, &text, &mut Vec::new());
        Ok((recorded, hash_of(line)))
    }

    /// The events that the commit at a place has added to a stream, and the place with the hash that was found. Blocks.
    fn append_at(
        &self,
        stream: &StreamId,
        place: CommitPlace,
    ) -> Result<(RecordedAppend, CommitPlace), JournalError> {
        let (commit, hash) = self.commit_at(place.offset, place.length)?;
        let append = commit
            .appends
            .into_iter()
            .find(|append| append.stream == *stream);
        let append = append.ok_or_else(|| {
            let reason = format!(
                "the commit adds nothing to the stream `{}` of `{}`, as the index tells",
                stream.instance_id, stream.aggregate_type
            );
            self.log.parts().damage(place.offset, reason)
        })?;
        Ok((append, CommitPlace { hash, ..place }))
    }

    /// Whether the index has what it should have of an append. Blocks.
    pub(super) fn has_entries(&self, append: &Append) -> Result<bool, JournalError> {
        if self.appends.holds(append) {
            return Ok(true);
        }
        for (key, address) in append.entries() {
            let mut found = self.index.alike(key.as_bytes(), Vec::new())?;
            if self.index.noted(found.next())? != Some((key.as_bytes(), &address.encode()[..])) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The entries of all answers and then those of all appends, in the order of their keys. Blocks.
    pub(super) fn all_entries(&self) -> Result<Merged, JournalError> {
        let newest = self.appends.entries_of(&ALL).into_iter();
        let newest = newest.map(|(key, address)| (key.into_bytes(), address));
        let newest = vec![Entries::in_memory(newest.collect())];
        self.index.from(EntryKey::first().as_bytes(), newest)
    }

    /// The streams with at least one event, of one type or of all, in the order of type and id. Blocks.
    pub(super) fn list(&self, aggregate_type: Option<&str>) -> Result<Vec<StreamId>, JournalError> {
        let newest = vec![Entries::in_memory(self.appends.entries(aggregate_type))];
        let first = EntryKey::first_append(aggregate_type);
        let mut entries = self.index.from(first.as_bytes(), newest)?;
        let mut streams: Vec<StreamId> = Vec::new();
        while let Some((key, _)) = self.index.noted(entries.next())? {
            let Some((stream, _)) = EntryKey::read_append(key) else {
                break;
            };
            if aggregate_type.is_some_and(|wanted| *stream.aggregate_type != *wanted) {
                break;
            }
            if streams.last() != Some(&stream) {
                streams.push(stream);
            }
        }
        Ok(streams)
    }
}

impl StreamAppends<'_> {
    /// The next events, if there are more. Blocks.
    pub(super) fn next(&mut self) -> Result<Option<RecordedAppend>, JournalError> {
        let next = self.streams.next_entry(&mut self.entries, self.stream)?;
        let Some((version, address)) = next else {
            let version = self.end.version;
            self.streams.appends.learn(self.stream, version, self.drops);
            return Ok(None);
        };
        let place = CommitPlace {
            offset: address.offset,
            length: address.length,
            hash: 0,
        };
        let (append, place) = self.streams.append_at(self.stream, place)?;
        let count = append.lines.len() as u64;
        if (append.first_version, count) != (version, address.count)
            || version != self.end.version + 1
        {
            let reason = format!(
                "the commit adds the events {} to {} to the stream `{}` of `{}`, where event {} was expected",
                append.first_version,
                append.first_version + count - 1,
                self.stream.instance_id,
                self.stream.aggregate_type,
                self.end.version + 1
            );
            return Err(self
                .streams
                .log
                .parts()
                .damage(address.offset, reason)
                .into());
        }
        self.end = StreamEnd {
            version: self.end.version + count,
            commit: place,
        };
        Ok(Some(append))
    }
}

/// The hash of a line without its newline.
fn hash_of(line: &str) -> u64 {
    hash_from(&line_hash(line.as_bytes()))
}

/// A hash from its digits.
pub(super) fn hash_from(digits: &str) -> u64 {
    u64::from_str_radix(digits, 16).unwrap_or_default()
}
