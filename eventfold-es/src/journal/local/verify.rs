//! Reads all data back and compares it with the journal, from the first commit on, in bounded memory.

mod pace;
#[cfg(test)]
#[expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a panic is how a test fails"
)]
mod tests;

use std::collections::BTreeMap;

use pace::Pace;
use xxhash_rust::xxh3::{xxh3_64, xxh3_128_with_seed};

use super::LocalJournal;
use super::checkpoint::Checkpoint;
use super::line::CommitLine;
use super::log::Parts;
use super::redo::appends_on;
use super::rows::ExpectedRows;
use super::scan::{Tail, Tip, scan};
use crate::disk::FileError;
use crate::journal::index::{Address, EntryKey};
use crate::journal::{
    CheckState, Damage, Extent, JournalError, StreamEnd, StreamId, Streams, Verified,
};

/// The number of snapshots that are compared with the folds of their streams, evenly spread over all snapshots.
const COMPARED_SNAPSHOTS: u64 = 1000;

/// The content of the derived files, according to the journal.
#[derive(Default)]
struct Expected {
    /// The dead letters of each process manager.
    dead_letters: BTreeMap<String, Extent>,
    rows: ExpectedRows,
    events: u64,
    index: Digest,
}

/// The digest of entries of the index, in any order. Two digests are equal if the entries are equal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Digest {
    appends: u64,
    /// The number of answers to commands with idempotency keys.
    answers: u64,
    /// The sum of the hashes of the entries.
    sum: u128,
}

impl Digest {
    fn add(&mut self, key: &[u8], value: &[u8]) {
        match EntryKey::read_answer(key) {
            Some(_) => self.answers += 1,
            None => self.appends += 1,
        }
        let hash = xxh3_128_with_seed(value, xxh3_64(key));
        self.sum = self.sum.wrapping_add(hash);
    }
}

impl LocalJournal {
    /// Compares all data with the journal, up to the present durable end. Blocks.
    pub(super) fn verify_all(
        &self,
        check_state: &CheckState<'_>,
    ) -> Result<Verified, JournalError> {
        // Checked before the load, because the first checkpoint may be taken in between.
        let was_there = self.files.exists(&self.layout.checkpoint())?;
        // Loaded before the journal is read: a later checkpoint follows commits that are not read.
        let checkpoint = Checkpoint::load(&self.files, &self.layout)?;
        let followed = checkpoint
            .as_ref()
            .map_or(0, |checkpoint| checkpoint.tip().offset);
        // A commit that a checkpoint follows is durable shortly before it is announced.
        let (end, parts) = self.parts_with_end(followed);
        if let Err(reason) = self.backlog.wait_until_written() {
            let source = std::io::Error::other(&*reason);
            return Err(FileError::new("verify", self.layout.base(), source).into());
        }
        let mut verified = Verified::default();
        let differences = &mut verified.differences;
        if checkpoint.is_none() && was_there {
            let reason = "the checkpoint is damaged; opening the store derives everything from the journal again";
            differences.push(Damage::new(self.layout.checkpoint(), 0, reason));
        }
        if let Some(checkpoint) = &checkpoint
            && let Err(JournalError::Damage(damage)) = checkpoint.verify(&parts)
        {
            differences.push(damage);
        }
        let mut pace = Pace::new();
        let (expected, tip) = self.read_journal(&parts, end, &mut pace, differences)?;
        verified.commits = tip.commit;
        verified.events = expected.events;
        // Behind damage, the content of the derived files is unknown.
        if tip.offset == end {
            self.compare_dead_letters(&expected, &mut verified.differences)?;
            let rows = self.compare_rows(&parts, end, expected.rows, &mut pace)?;
            // Rows change shortly before their commit is announced. Rows with later changes are compared the next time.
            if self.rows.last_commit() <= tip.commit {
                verified.differences.extend(rows);
            }
            let compared = self
                .compare_index(&parts, end, &expected.index, &mut pace, &mut verified)
                .and_then(|()| self.streams.index.check())
                .and_then(|()| self.streams.snapshots.runs.check())
                .and_then(|()| self.compare_snapshots(check_state, &mut pace, &mut verified));
            note_damage(compared, &mut verified.differences)?;
        }
        Ok(verified)
    }

    /// Reads the journal, and records its damage.
    fn read_journal(
        &self,
        parts: &Parts,
        end: u64,
        pace: &mut Pace,
        differences: &mut Vec<Damage>,
    ) -> Result<(Expected, Tip), JournalError> {
        let mut expected = Expected::default();
        let mut last = Tip::default();
        let scanned = scan(
            parts,
            Tip::default(),
            Some(end),
            Tail::AsWritten,
            |commit, offset| {
                pace.tell("bytes of the journal", offset, end);
                expected.add(commit, offset);
                last.offset = offset + commit.text.len() as u64 + 1;
                last.commit = commit.data.commit;
                Ok(())
            },
        );
        match scanned {
            Ok(scan) if scan.tip.offset == end => last = scan.tip,
            Ok(scan) => {
                let reason =
                    "the commits from here on cannot be read; restore the journal from a copy";
                differences.push(parts.damage(scan.tip.offset, reason));
                last = scan.tip;
            }
            Err(JournalError::Damage(damage)) => differences.push(damage),
            Err(error) => return Err(error),
        }
        Ok((expected, last))
    }

    /// Compares the rows, one range of key hashes at a time. Each further range reads the journal again.
    fn compare_rows(
        &self,
        parts: &Parts,
        end: u64,
        mut expected: ExpectedRows,
        pace: &mut Pace,
    ) -> Result<Vec<Damage>, JournalError> {
        let mut differences = Vec::new();
        loop {
            self.rows.compare(&expected, &mut differences)?;
            let Some(behind) = expected.behind() else {
                return Ok(differences);
            };
            expected = behind;
            scan(
                parts,
                Tip::default(),
                Some(end),
                Tail::AsWritten,
                |commit, offset| {
                    pace.tell("bytes of the journal, for rows", offset, end);
                    expected.add(&commit.data);
                    Ok(())
                },
            )?;
        }
    }

    /// Compares the index with the journal, whose digest is `expected`. Each entry is looked up only if the digests differ.
    fn compare_index(
        &self,
        parts: &Parts,
        end: u64,
        expected: &Digest,
        pace: &mut Pace,
        verified: &mut Verified,
    ) -> Result<(), JournalError> {
        let found = self.read_index(end, pace, verified);
        if found.as_ref().ok() == Some(expected) {
            return Ok(());
        }
        let before = verified.differences.len();
        self.look_up_entries(parts, end, pace, &mut verified.differences)?;
        let found = found?;
        let counts = |digest: &Digest| (digest.appends, digest.answers);
        let is_as_many = counts(&found) == counts(expected);
        let reason = match is_as_many {
            true => "its entries differ from the journal; `repair` writes it again".to_owned(),
            false => format!(
                "it has {} appends and {} idempotency keys, the journal {} and {}; `repair` writes it again",
                found.appends, found.answers, expected.appends, expected.answers
            ),
        };
        if !is_as_many || verified.differences.len() == before {
            let damage = Damage::new(self.layout.index(), 0, reason);
            verified.differences.push(damage);
        }
        Ok(())
    }

    /// Reads the whole index. The versions of each stream must have no gap.
    fn read_index(
        &self,
        end: u64,
        pace: &mut Pace,
        verified: &mut Verified,
    ) -> Result<Digest, JournalError> {
        let total = self.streams.index.entries();
        let mut entries = self.streams.all_entries()?;
        let mut before: Option<(StreamId, u64)> = None;
        let mut found = Digest::default();
        while let Some((key, value)) = self.streams.index.noted(entries.next())? {
            let address = Address::decode(value).ok_or_else(|| self.streams.index.malformed())?;
            // An entry may be newer than the part of the journal that was read.
            if address.offset >= end {
                continue;
            }
            found.add(key, value);
            pace.tell("entries of the index", found.appends + found.answers, total);
            if EntryKey::read_answer(key).is_some() {
                continue;
            }
            let Some((stream, version)) = EntryKey::read_append(key) else {
                return Err(self.streams.index.malformed().into());
            };
            let due = match &before {
                Some((last, next)) if *last == stream => *next,
                _ => {
                    verified.streams += 1;
                    1
                }
            };
            if version != due && verified.differences.len() < MAX_DIFFERENCES {
                let reason = format!(
                    "it has event {version} of `{}` of `{}` where event {due} should be; `repair` writes it again",
                    stream.instance_id, stream.aggregate_type
                );
                let damage = Damage::new(self.layout.index(), 0, reason);
                verified.differences.push(damage);
            }
            before = Some((stream, version + address.count));
        }
        Ok(found)
    }

    /// Looks up each entry that the journal implies, and records the wrong ones.
    fn look_up_entries(
        &self,
        parts: &Parts,
        end: u64,
        pace: &mut Pace,
        differences: &mut Vec<Damage>,
    ) -> Result<(), JournalError> {
        scan(
            parts,
            Tip::default(),
            Some(end),
            Tail::AsWritten,
            |commit, offset| {
                pace.tell("bytes of the journal, for the index", offset, end);
                for append in appends_on(commit, offset) {
                    match self.streams.has_entries(&append) {
                        Ok(false) if differences.len() < MAX_DIFFERENCES => {
                            let reason = format!(
                                "it lacks event {} of `{}` of `{}` where the journal has it, at {offset}, or its idempotency key; \
                             `repair` writes it again",
                                append.version,
                                append.stream.instance_id,
                                append.stream.aggregate_type
                            );
                            differences.push(Damage::new(self.layout.index(), 0, reason));
                        }
                        Ok(_) => {}
                        Err(error) => note_damage(Err(error), differences)?,
                    }
                }
                Ok(())
            },
        )?;
        Ok(())
    }

    /// Compares snapshots with the folds of their streams. If there are many snapshots, a sample is compared.
    fn compare_snapshots(
        &self,
        check_state: &CheckState<'_>,
        pace: &mut Pace,
        verified: &mut Verified,
    ) -> Result<(), JournalError> {
        let snapshots = &self.streams.snapshots;
        let total = snapshots.runs.entries();
        let step = (total / COMPARED_SNAPSHOTS).max(1);
        let mut number = 0;
        let mut entries = snapshots.all()?;
        while let Some((stream, snapshot)) = entries.next(snapshots)? {
            verified.snapshots += 1;
            number += 1;
            pace.tell("snapshots", number, total);
            if number % step != 0 {
                continue;
            }
            // A snapshot may have seen events that a power loss took from the journal. Loading ignores such a snapshot.
            if self.read_stream(&stream, snapshot.seen).is_err() {
                continue;
            }
            let checked = self
                .read_stream(&stream, StreamEnd::default())
                .and_then(|mut events| check_state(&stream, &snapshot, &mut *events));
            let reason = match checked {
                Ok(reason) => reason,
                Err(error) => {
                    note_damage(Err(error), &mut verified.differences)?;
                    continue;
                }
            };
            let path = self.layout.snapshots();
            let damage = reason.map(|reason| {
                let reason = format!(
                    "the snapshot of `{}` of `{}`: {reason}",
                    stream.instance_id, stream.aggregate_type
                );
                Damage::new(path, 0, reason)
            });
            verified.differences.extend(damage);
        }
        Ok(())
    }

    fn compare_dead_letters(
        &self,
        expected: &Expected,
        differences: &mut Vec<Damage>,
    ) -> Result<(), JournalError> {
        for (name, extent) in &expected.dead_letters {
            let path = self.layout.dead_letters(name);
            let bytes = self.files.read(&path)?.unwrap_or_default();
            if !extent.is_prefix_of(&bytes) {
                let reason = "the dead letters differ from the journal; opening the store with `repair` restores them";
                differences.push(Damage::new(path, 0, reason));
            }
        }
        Ok(())
    }
}

/// The number of differences above which differences of the index are not listed individually.
const MAX_DIFFERENCES: usize = 100;

fn note_damage(
    result: Result<(), JournalError>,
    differences: &mut Vec<Damage>,
) -> Result<(), JournalError> {
    match result {
        Err(JournalError::Damage(damage)) => {
            if !differences.contains(&damage) {
                differences.push(damage);
            }
            Ok(())
        }
        other => other,
    }
}

impl Expected {
    /// Adds the commit on the line at `offset`.
    fn add(&mut self, commit: &CommitLine<'_>, offset: u64) {
        let data = &commit.data;
        self.events += data.event_count();
        for append in appends_on(commit, offset) {
            for (key, address) in append.entries() {
                self.index.add(key.as_bytes(), &address.encode());
            }
        }
        for process_manager in &data.process_managers {
            let name = process_manager.name.to_string();
            let extent = self.dead_letters.entry(name).or_default();
            for line in &process_manager.dead_letters.lines {
                extent.push(line);
            }
        }
        self.rows.add(data);
    }
}
