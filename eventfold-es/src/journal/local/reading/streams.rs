//! Reading the events of streams, which the index locates in the journal.

use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::sync::Arc;

use eventfold::line_hash;

use crate::journal::index::{Address, Entries, EntryKey, Merged, Runs};
use crate::journal::local::appends::{ALL, Append, Appends};
use crate::journal::local::history::recorded;
use crate::journal::local::line::{self, CommitLine};
use crate::journal::local::log::{JournalLog, Parts};
use crate::journal::local::snapshots::SnapshotRuns;
use crate::journal::{
    CommitPlace, JournalError, RecordedAppend, RecordedCommit, RecordedLines, StreamEnd, StreamId,
    StreamReader,
};
use crate::sabotage::{Bug, planted};
use crate::threads::StoreRuntime;

/// The maximum number of commits that are read ahead.
pub(in crate::journal::local) const AHEAD_COMMITS: usize = 64;
/// The number of bytes of commits after which no further commits are read ahead.
pub(in crate::journal::local) const AHEAD_BYTES: u64 = 1 << 20;
/// The longest gap between two commits that are read together, in bytes: approximately the text of a frame.
const GAP_BYTES: u64 = 4 << 10;

/// The index of the events of all streams.
pub(in crate::journal::local) struct StreamIndex {
    pub(in crate::journal::local) log: Arc<JournalLog>,
    pub(in crate::journal::local) appends: Appends,
    /// The appends that a checkpoint covers.
    pub(in crate::journal::local) index: Runs,
    pub(in crate::journal::local) snapshots: SnapshotRuns,
    /// The threads that help to read data that is not in memory.
    pub(in crate::journal::local) threads: StoreRuntime,
}

/// The events of a stream from a version on, append by append.
pub(in crate::journal::local) struct StreamAppends<'a> {
    streams: &'a StreamIndex,
    stream: &'a StreamId,
    entries: Merged,
    /// The next commits.
    ahead: VecDeque<CommitBytes>,
    /// See [`Appends::drops`].
    drops: u64,
    /// The end of the part of the stream that was read so far.
    end: StreamEnd,
}

/// The index entry of an append: the version of its first event, and the place of the commit.
pub(in crate::journal::local) type Indexed = (u64, Address);

/// The bytes at the place of a commit.
pub(in crate::journal::local) type CommitBytes = (Indexed, Result<Vec<u8>, JournalError>);

impl StreamIndex {
    pub(in crate::journal::local) fn new(
        log: Arc<JournalLog>,
        appends: Appends,
        index: Runs,
        snapshots: SnapshotRuns,
        threads: StoreRuntime,
    ) -> Self {
        Self {
            log,
            appends,
            index,
            snapshots,
            threads,
        }
    }

    /// The entries of a stream with these versions, and perhaps some behind them. Blocks.
    pub(in crate::journal::local) fn entries(
        &self,
        stream: &StreamId,
        versions: RangeInclusive<u64>,
    ) -> Result<Merged, JournalError> {
        let latest = self.appends.of_stream(stream, &versions);
        let latest = latest.into_iter().map(|(version, address)| {
            let key = EntryKey::append(stream, version);
            (key.into_bytes(), address.encode())
        });
        let newest = vec![Entries::in_memory(latest.collect())];
        let key = EntryKey::append(stream, *versions.start());
        self.index.alike(&self.threads, key.as_bytes(), newest)
    }

    /// The next entry that belongs to the stream. Blocks.
    pub(in crate::journal::local) fn next_entry(
        &self,
        entries: &mut Merged,
        stream: &StreamId,
    ) -> Result<Option<Indexed>, JournalError> {
        let Some((key, value)) = self.index.noted(entries.next())? else {
            return Ok(None);
        };
        match (EntryKey::read_append(key), Address::decode(value)) {
            (Some((found, version)), Some(address)) if found == *stream => {
                Ok(Some((version, address)))
            }
            // The first entry behind the stream.
            (_, Some(_)) => Ok(None),
            (_, None) => self.index.noted(Err(self.index.malformed().into())),
        }
    }

    /// Whether the stream has an event. Blocks.
    pub(in crate::journal::local) fn has(&self, stream: &StreamId) -> Result<bool, JournalError> {
        if let Some(version) = self.appends.version(stream) {
            return Ok(version > 0);
        }
        let mut entries = self.entries(stream, 0..=0)?;
        Ok(self.next_entry(&mut entries, stream)?.is_some())
    }

    /// The number of events in the stream, if it is known without I/O.
    pub(in crate::journal::local) fn known_version(&self, stream: &StreamId) -> Option<u64> {
        let known = self.appends.version(stream);
        known.or_else(|| {
            let key = EntryKey::append(stream, 0);
            let is_new = self.index.surely_lacks(key.as_bytes());
            (is_new && self.appends.quarantined(stream).is_none()).then_some(0)
        })
    }

    /// The number of events in the stream, given the number that a commit expects. Blocks, unless the stream was recently
    /// appended to or read.
    pub(in crate::journal::local) fn version(
        &self,
        stream: &StreamId,
        expected: u64,
    ) -> Result<u64, JournalError> {
        if let Some(version) = self.appends.version(stream) {
            return Ok(version);
        }
        // The entry of the event with this version begins at this version, or slightly before.
        let mut back = 0;
        loop {
            let from = expected.saturating_sub(back);
            let mut entries = self.entries(stream, from..=u64::MAX)?;
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

    /// The events of a stream behind an earlier end. Blocks.
    ///
    /// # Errors
    ///
    /// Damage, also if the stream never ended there.
    pub(in crate::journal::local) fn read<'a>(
        &'a self,
        stream: &'a StreamId,
        behind: StreamEnd,
    ) -> Result<StreamAppends<'a>, JournalError> {
        if let Some(damage) = self.appends.quarantined(stream) {
            return Err(damage.into());
        }
        if behind.version > 0 && !planted(Bug::SnapshotPlaceNotChecked) {
            let CommitPlace { offset, length, .. } = behind.commit;
            let parts = self.log.parts();
            let bytes = parts.read_cached(offset, length)?;
            let (found, hash) = append_in(&parts, stream, offset, bytes)?;
            let last = found.first_version + found.lines.len() as u64 - 1;
            if (last, hash) != (behind.version, behind.commit.hash) {
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
            entries: self.entries(stream, behind.version + 1..=u64::MAX)?,
            ahead: VecDeque::new(),
            end: behind,
        })
    }

    /// The bytes of commits, in the order of the journal; those that are close to each other are read together. Blocks.
    pub(in crate::journal::local) fn read_commits(
        &self,
        commits: Vec<Indexed>,
    ) -> Vec<CommitBytes> {
        let mut groups: Vec<Vec<Indexed>> = Vec::new();
        let mut end = 0;
        for next in commits {
            let (_, Address { offset, length, .. }) = next;
            let gap = offset.checked_sub(end);
            match groups.last_mut() {
                Some(group) if gap.is_some_and(|gap| gap <= GAP_BYTES) => group.push(next),
                _ => groups.push(vec![next]),
            }
            end = offset.saturating_add(length);
        }
        let parts = self.log.parts();
        let read = self
            .threads
            .at_once(groups, move |group| read_together(&parts, group));
        read.into_iter().flatten().collect()
    }

    /// The commit at an address. Blocks.
    pub(in crate::journal::local) fn commit_at(
        &self,
        offset: u64,
        length: u64,
    ) -> Result<RecordedCommit, JournalError> {
        let parts = self.log.parts();
        self.commit_of(offset, parts.read_cached(offset, length)?)
    }

    /// The commit whose bytes were read at a place.
    pub(in crate::journal::local) fn commit_of(
        &self,
        offset: u64,
        bytes: Vec<u8>,
    ) -> Result<RecordedCommit, JournalError> {
        let parts = self.log.parts();
        let text = utf8_text(&parts, offset, bytes)?;
        let commit = commit_in(&parts, offset, &text)?;
        Ok(recorded(&commit.data, &text, &mut Vec::new()))
    }

    /// Whether the index has every entry of an append. Blocks.
    pub(in crate::journal::local) fn has_entries(
        &self,
        append: &Append,
    ) -> Result<bool, JournalError> {
        if self.appends.holds(append) {
            return Ok(true);
        }
        for (key, address) in append.entries() {
            let mut found = self
                .index
                .alike(&self.threads, key.as_bytes(), Vec::new())?;
            if self.index.noted(found.next())? != Some((key.as_bytes(), &address.encode()[..])) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The entries of all answers, followed by the entries of all appends, ordered by key. Blocks.
    pub(in crate::journal::local) fn all_entries(&self) -> Result<Merged, JournalError> {
        let newest = self.appends.entries_of(&ALL).into_iter();
        let newest = newest.map(|(key, address)| (key.into_bytes(), address));
        let newest = vec![Entries::in_memory(newest.collect())];
        self.index.from(EntryKey::first().as_bytes(), newest)
    }

    /// The streams with at least one event, of one type or of all types, ordered by type and id. Blocks.
    pub(in crate::journal::local) fn list(
        &self,
        aggregate_type: Option<&str>,
    ) -> Result<Vec<StreamId>, JournalError> {
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
    /// Reads the next commits; adjacent commits are read together. Blocks.
    fn read_ahead(&mut self) -> Result<(), JournalError> {
        let (mut next, mut bytes) = (Vec::new(), 0_u64);
        while next.len() < AHEAD_COMMITS
            && bytes < AHEAD_BYTES
            && let Some(indexed) = self.streams.next_entry(&mut self.entries, self.stream)?
        {
            bytes = bytes.saturating_add(indexed.1.length);
            next.push(indexed);
        }
        self.ahead = self.streams.read_commits(next).into();
        Ok(())
    }
}

impl StreamReader for StreamAppends<'_> {
    fn next(&mut self) -> Result<Option<RecordedAppend>, JournalError> {
        if self.ahead.is_empty() {
            self.read_ahead()?;
        }
        let Some(((version, address), bytes)) = self.ahead.pop_front() else {
            let version = self.end.version;
            self.streams.appends.learn(self.stream, version, self.drops);
            return Ok(None);
        };
        let parts = self.streams.log.parts();
        let Address {
            offset,
            length,
            count: expected,
        } = address;
        let (append, hash) = append_in(&parts, self.stream, offset, bytes?)?;
        let count = append.lines.len() as u64;
        if (append.first_version, count) != (version, expected) || version != self.end.version + 1 {
            let reason = format!(
                "the commit adds the events {} to {} to the stream `{}` of `{}`, where event {} was expected",
                append.first_version,
                append.first_version + count - 1,
                self.stream.instance_id,
                self.stream.aggregate_type,
                self.end.version + 1
            );
            return Err(parts.damage(offset, reason).into());
        }
        self.end = StreamEnd {
            version: self.end.version + count,
            commit: CommitPlace {
                offset,
                length,
                hash,
            },
        };
        Ok(Some(append))
    }

    fn end(&self) -> StreamEnd {
        self.end
    }

    fn damage(&self, reason: String) -> JournalError {
        let parts = self.streams.log.parts();
        parts.damage(self.end.commit.offset, reason).into()
    }
}

/// The bytes of adjacent commits, with one read. Blocks.
fn read_together(parts: &Parts, group: &[Indexed]) -> Vec<CommitBytes> {
    if let [(_, first), .., (_, last)] = group
        && let end = last.offset.saturating_add(last.length)
        && let Ok(read) = parts.read_cached(first.offset, end - first.offset)
    {
        let cut = |address: &Address| {
            let start = usize::try_from(address.offset - first.offset).ok()?;
            let bytes = read.get(start..)?;
            Some(bytes.get(..usize::try_from(address.length).ok()?)?.to_vec())
        };
        let group = group.iter();
        let cut = group.map(|indexed| Some((*indexed, Ok(cut(&indexed.1)?))));
        if let Some(cut) = cut.collect() {
            return cut;
        }
    }
    // A read ends with its segment. Damage between the commits does not affect them.
    let group = group.iter();
    let alone = group.map(|indexed| {
        let Address { offset, length, .. } = indexed.1;
        (*indexed, parts.read_cached(offset, length))
    });
    alone.collect()
}

/// The text at the place of a commit.
fn utf8_text(parts: &Parts, offset: u64, bytes: Vec<u8>) -> Result<Arc<String>, JournalError> {
    let text = String::from_utf8(bytes);
    let text = text.map_err(|error| {
        let reason = format!("the commit is not UTF-8 text: {error}");
        parts.damage(offset, reason)
    });
    Ok(Arc::new(text?))
}

/// The commit of this text.
fn commit_in<'a>(
    parts: &Parts,
    offset: u64,
    text: &'a str,
) -> Result<CommitLine<'a>, JournalError> {
    let Some(line) = text.strip_suffix('\n').filter(|line| !line.contains('\n')) else {
        let reason = "the index expects a different line here";
        return Err(parts.damage(offset, reason).into());
    };
    line::parse_text(line).map_err(|error| parts.unreadable(offset, error))
}

/// The events that the commit at a place appends to a stream, and the hash of the commit.
fn append_in(
    parts: &Parts,
    stream: &StreamId,
    offset: u64,
    bytes: Vec<u8>,
) -> Result<(RecordedAppend, u64), JournalError> {
    let text = utf8_text(parts, offset, bytes)?;
    let commit = commit_in(parts, offset, &text)?;
    let mut appends = commit.data.streams.iter();
    let append = appends.find(|append| {
        append.id == *stream.instance_id && append.aggregate_type == *stream.aggregate_type
    });
    let Some(append) = append else {
        let reason = format!(
            "the commit adds nothing to the stream `{}` of `{}`, contrary to the index",
            stream.instance_id, stream.aggregate_type
        );
        return Err(parts.damage(offset, reason).into());
    };
    let append = RecordedAppend {
        stream: stream.clone(),
        first_version: append.version,
        lines: RecordedLines::shared(&text, &append.lines),
    };
    Ok((append, hash_of(commit.text)))
}

/// The hash of a line without its newline.
fn hash_of(line: &str) -> u64 {
    hash_from(&line_hash(line.as_bytes()))
}

/// A hash from its digits.
pub(in crate::journal::local) fn hash_from(digits: &str) -> u64 {
    u64::from_str_radix(digits, 16).unwrap_or_default()
}
