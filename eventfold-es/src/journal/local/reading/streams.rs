//! Reading the events of streams, which the index locates in the journal.

use std::ops::RangeInclusive;
use std::sync::Arc;

use crate::journal::index::{Address, Entries, EntryKey, Merged, Runs};
use crate::journal::local::appends::{ALL, Append, Appends};
use crate::journal::local::log::JournalLog;
use crate::journal::local::snapshots::SnapshotRuns;
use crate::journal::{JournalError, StreamId};
use crate::threads::StoreRuntime;

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

/// The entries of a stream, and those behind it.
pub(in crate::journal::local) struct StreamEntries {
    merged: Merged,
    /// The part of its keys before the version.
    prefix: EntryKey,
}

/// The index entry of an append: the version of its first event, and the place of the commit.
pub(in crate::journal::local) type Indexed = (u64, Address);

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
    ) -> Result<StreamEntries, JournalError> {
        let latest = self.appends.of_stream(stream, &versions);
        let latest = latest.into_iter().map(|(version, address)| {
            let key = EntryKey::append(stream, version);
            (key.into_bytes(), address.encode())
        });
        let newest = vec![Entries::in_memory(latest.collect())];
        let key = EntryKey::append(stream, *versions.start());
        let merged = self.index.alike(&self.threads, key.as_bytes(), newest)?;
        Ok(StreamEntries {
            merged,
            prefix: EntryKey::before_version(stream),
        })
    }

    /// The next entry of the stream. Blocks.
    pub(in crate::journal::local) fn next_entry(
        &self,
        entries: &mut StreamEntries,
    ) -> Result<Option<Indexed>, JournalError> {
        let StreamEntries { merged, prefix } = entries;
        let Some((key, value)) = self.index.noted(merged.next())? else {
            return Ok(None);
        };
        match (
            EntryKey::version_behind(key, prefix),
            Address::decode(value),
        ) {
            (Some(version), Some(address)) => Ok(Some((version, address))),
            // The first entry behind the stream.
            (None, Some(_)) => Ok(None),
            (_, None) => self.index.noted(Err(self.index.malformed().into())),
        }
    }

    /// Whether the stream has an event. Blocks.
    pub(in crate::journal::local) fn has(&self, stream: &StreamId) -> Result<bool, JournalError> {
        if let Some(version) = self.appends.version(stream) {
            return Ok(version > 0);
        }
        let mut entries = self.entries(stream, 0..=0)?;
        Ok(self.next_entry(&mut entries)?.is_some())
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
            while let Some((first, address)) = self.next_entry(&mut entries)? {
                version = Some(first + address.count - 1);
            }
            match version {
                Some(version) => return Ok(version),
                None if from == 0 => return Ok(0),
                None => back = 2 * back + 1,
            }
        }
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

    /// Whether a stream has events, of one type or of any type. Blocks.
    pub(in crate::journal::local) fn has_any(
        &self,
        aggregate_type: Option<&str>,
    ) -> Result<bool, JournalError> {
        let mut has_any = false;
        self.each(aggregate_type, |_| {
            has_any = true;
            false
        })?;
        Ok(has_any)
    }

    /// The streams with at least one event, of one type or of all types, ordered by type and id. Blocks.
    pub(in crate::journal::local) fn list(
        &self,
        aggregate_type: Option<&str>,
    ) -> Result<Vec<StreamId>, JournalError> {
        let mut streams: Vec<StreamId> = Vec::new();
        self.each(aggregate_type, |stream| {
            if streams.last() != Some(&stream) {
                streams.push(stream);
            }
            true
        })?;
        Ok(streams)
    }

    /// Gives the stream of each append to `take`, ordered by type and id, until that returns `false`.
    fn each(
        &self,
        aggregate_type: Option<&str>,
        mut take: impl FnMut(StreamId) -> bool,
    ) -> Result<(), JournalError> {
        let newest = vec![Entries::in_memory(self.appends.entries(aggregate_type))];
        let first = EntryKey::first_append(aggregate_type);
        let mut entries = self.index.from(first.as_bytes(), newest)?;
        while let Some((key, _)) = self.index.noted(entries.next())? {
            let Some((stream, _)) = EntryKey::read_append(key) else {
                break;
            };
            let is_other = aggregate_type.is_some_and(|wanted| *stream.aggregate_type != *wanted);
            if is_other || !take(stream) {
                break;
            }
        }
        Ok(())
    }
}

/// A hash from its digits.
pub(in crate::journal::local) fn hash_from(digits: &str) -> u64 {
    u64::from_str_radix(digits, 16).unwrap_or_default()
}
