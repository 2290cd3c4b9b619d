//! Reading everything back and comparing it with the journal, from the first commit on, in bounded memory.

use std::collections::BTreeMap;

use super::LocalJournal;
use super::checkpoint::Checkpoint;
use super::line;
use super::log::Parts;
use super::redo::appends_on;
use super::rows::ExpectedRows;
use super::scan::{Tip, scan};
use crate::disk::FileError;
use crate::journal::index::{Address, EntryKey};
use crate::journal::{
    CheckState, Damage, Extent, Journal, JournalError, StreamEnd, StreamId, Verified,
};

/// How many snapshots are compared with the folds of their streams, spread over all.
const COMPARED_SNAPSHOTS: u64 = 1000;

/// The content of the derived files, as the journal has it.
#[derive(Default)]
struct Expected {
    /// The dead letters of each process manager.
    dead_letters: BTreeMap<String, Extent>,
    rows: ExpectedRows,
    events: u64,
    appends: u64,
    /// How many commands with idempotency keys were answered.
    answers: u64,
}

impl LocalJournal {
    /// Compares everything with the journal, up to what is durable now. Blocks.
    pub(super) fn verify_all(
        &self,
        check_state: &CheckState<'_>,
    ) -> Result<Verified, JournalError> {
        let row_changes = self.rows.changes();
        // First: one that is taken meanwhile follows commits that are not read.
        let checkpoint = Checkpoint::load(&self.files, &self.layout)?;
        let followed = checkpoint
            .as_ref()
            .map_or(0, |checkpoint| checkpoint.tip().offset);
        // What a checkpoint follows is durable a moment before it is announced.
        let (end, parts) = self.parts_with_end(followed);
        if let Err(reason) = self.backlog.wait_until_written() {
            let source = std::io::Error::other(&*reason);
            return Err(FileError::new("verify", self.layout.base(), source).into());
        }
        let mut verified = Verified::default();
        let differences = &mut verified.differences;
        if checkpoint.is_none() && self.files.exists(&self.layout.checkpoint())? {
            let reason = "the checkpoint is damaged; opening the store derives everything from the journal again";
            differences.push(Damage::new(self.layout.checkpoint(), 0, reason));
        }
        if let Some(checkpoint) = &checkpoint
            && let Err(JournalError::Damage(damage)) = checkpoint.verify(&parts)
        {
            differences.push(damage);
        }
        let (expected, tip) = self.read_journal(&parts, end, differences)?;
        verified.commits = tip.commit;
        verified.events = expected.events;
        // Behind damage nothing is known to compare with.
        if tip.offset == end {
            self.compare_dead_letters(&expected, &mut verified.differences)?;
            let rows = self.rows.compare(&expected.rows, row_changes)?;
            // Rows are changed a moment before their commit is announced.
            if self.history.end() <= end {
                verified.differences.extend(rows);
            }
            let compared = self
                .compare_index(end, &expected, &mut verified)
                .and_then(|()| self.streams.index.check())
                .and_then(|()| self.streams.snapshots.runs.check())
                .and_then(|()| self.compare_snapshots(check_state, &mut verified));
            note_damage(compared, &mut verified.differences)?;
        }
        Ok(verified)
    }

    /// Reads the journal, compares the index with each of its appends, and notes where they are damaged.
    fn read_journal(
        &self,
        parts: &Parts,
        end: u64,
        differences: &mut Vec<Damage>,
    ) -> Result<(Expected, Tip), JournalError> {
        let mut expected = Expected::default();
        let mut last = Tip::default();
        let mut of_index = Vec::new();
        let scanned = scan(parts, Tip::default(), Some(end), |commit, offset| {
            let length = commit.text.len() as u64 + 1;
            expected.add(&commit.data);
            for append in appends_on(commit, offset) {
                expected.answers += append.answers.len() as u64;
                match self.streams.has_entries(&append) {
                    Ok(true) => {}
                    Ok(false) if of_index.len() < MAX_DIFFERENCES => {
                        let reason = format!(
                            "it does not know event {} of `{}` of `{}` where the journal has it, at {offset}, or its idempotency key; \
                             `repair` makes it again",
                            append.version, append.stream.instance_id, append.stream.aggregate_type
                        );
                        of_index.push(Damage::new(self.layout.index(), 0, reason));
                    }
                    Ok(false) => {}
                    Err(JournalError::Damage(damage)) if of_index.contains(&damage) => {}
                    Err(JournalError::Damage(damage)) => of_index.push(damage),
                    Err(error) => return Err(error),
                }
            }
            last.offset = offset + length;
            last.commit = commit.data.commit;
            Ok(())
        });
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
        differences.extend(of_index);
        Ok((expected, last))
    }

    /// Goes through the index: the versions of each stream are unbroken, and nothing is there that the journal does not have.
    fn compare_index(
        &self,
        end: u64,
        expected: &Expected,
        verified: &mut Verified,
    ) -> Result<(), JournalError> {
        let mut entries = self.streams.all_entries()?;
        let mut before: Option<(StreamId, u64)> = None;
        let (mut appends, mut answers) = (0, 0);
        while let Some((key, value)) = entries.next()? {
            let address = Address::decode(value).ok_or_else(|| self.streams.index.malformed())?;
            // More may have come since the journal was read.
            if address.offset >= end {
                continue;
            }
            if EntryKey::read_answer(key).is_some() {
                answers += 1;
                continue;
            }
            let Some((stream, version)) = EntryKey::read_append(key) else {
                return Err(self.streams.index.malformed().into());
            };
            appends += 1;
            let due = match &before {
                Some((last, next)) if *last == stream => *next,
                _ => {
                    verified.streams += 1;
                    1
                }
            };
            if version != due {
                let reason = format!(
                    "it has event {version} of `{}` of `{}` where event {due} should be; `repair` makes it again",
                    stream.instance_id, stream.aggregate_type
                );
                let damage = Damage::new(self.layout.index(), 0, reason);
                verified.differences.push(damage);
            }
            before = Some((stream, version + address.count));
        }
        if (appends, answers) != (expected.appends, expected.answers) {
            let reason = format!(
                "it has {appends} appends and {answers} idempotency keys, the journal {} and {}; `repair` makes it again",
                expected.appends, expected.answers
            );
            let damage = Damage::new(self.layout.index(), 0, reason);
            verified.differences.push(damage);
        }
        Ok(())
    }

    /// Compares snapshots with what they should be folds of; a part of them where there are many.
    fn compare_snapshots(
        &self,
        check_state: &CheckState<'_>,
        verified: &mut Verified,
    ) -> Result<(), JournalError> {
        let snapshots = &self.streams.snapshots;
        let step = (snapshots.runs.entries() / COMPARED_SNAPSHOTS).max(1);
        let mut number = 0;
        let mut entries = snapshots.all()?;
        while let Some((stream, snapshot)) = entries.next(snapshots)? {
            verified.snapshots += 1;
            number += 1;
            if number % step != 0 {
                continue;
            }
            // What a power loss took of the journal, a snapshot may have seen; nobody believes it.
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
                let reason = "the dead letters are not those that the journal holds; opening the store with `repair` restores them";
                differences.push(Damage::new(path, 0, reason));
            }
        }
        Ok(())
    }
}

/// How many differences of the index are told one by one.
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
    fn add(&mut self, data: &line::CommitData<'_>) {
        self.events += data.event_count();
        self.appends += data.streams.len() as u64;
        for process_manager in &data.process_managers {
            let name = process_manager.name.to_string();
            let extent = self.dead_letters.entry(name).or_default();
            for line in &process_manager.dead_letters.lines {
                extent.push(line);
            }
            for row in &process_manager.rows {
                self.rows.change(&process_manager.name, &row.change());
            }
        }
    }
}
