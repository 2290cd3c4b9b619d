//! Reading the journal when the store is opened: the complete batches, and the remains of an unfinished write.

use eventfold::line_hash;

use crate::journal::JournalError;
use crate::journal::local::line::{self, CommitLine, LineError, NO_HASH};
use crate::journal::local::log::{Parts, each_line};
use crate::sabotage::{Bug, planted};

/// The unit that a disk writes atomically.
const SECTOR_BYTES: u64 = 512;
const READ_BYTES: u64 = 4 << 20;

/// The end of the last complete batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::journal::local) struct Tip {
    pub(in crate::journal::local) commit: u64,
    pub(in crate::journal::local) batch: u64,
    /// The position of the last event.
    pub(in crate::journal::local) position: u64,
    /// The time of its last commit, in milliseconds since 1970.
    pub(in crate::journal::local) time: u64,
    /// The end of its line, newline included.
    pub(in crate::journal::local) offset: u64,
    /// The hash of its line.
    pub(in crate::journal::local) hash: String,
    /// Whether the batch was written without waiting for a sync. Any part of the text behind such a batch may be lost.
    pub(in crate::journal::local) flush: bool,
}

impl Default for Tip {
    fn default() -> Self {
        Self {
            commit: 0,
            batch: 0,
            position: 0,
            time: 0,
            offset: 0,
            hash: NO_HASH.to_owned(),
            flush: false,
        }
    }
}

/// One complete line behind the start of the scan.
pub(in crate::journal::local) struct ScannedLine {
    pub(in crate::journal::local) offset: u64,
    /// Without its newline.
    pub(in crate::journal::local) text: String,
}

/// The remains of an unfinished write behind the last complete batch.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::journal::local) struct Incomplete {
    pub(in crate::journal::local) batch: u64,
    pub(in crate::journal::local) bytes: Vec<u8>,
}

/// The result of a scan.
pub(in crate::journal::local) struct Scan {
    pub(in crate::journal::local) tip: Tip,
    pub(in crate::journal::local) incomplete: Option<Incomplete>,
    /// The lines of the last complete batch, if it is behind the start, and of earlier batches that may not be durable either.
    pub(in crate::journal::local) last_batch: Vec<ScannedLine>,
}

/// Whether the end of the text may be lost, because it was written without a sync.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::journal::local) enum Tail {
    /// Each batch says whether it was synced.
    AsWritten,
    /// Nothing behind the start was synced: a replicated log has it all.
    Unsynced,
}

/// Reads the journal from `start` to `end`, or to the end of its file. Each commit of each complete batch goes to `visit`, in
/// order, with the start of its line.
pub(in crate::journal::local) fn scan(
    file: &Parts,
    start: Tip,
    end: Option<u64>,
    tail: Tail,
    mut visit: impl FnMut(&CommitLine<'_>, u64) -> Result<(), JournalError>,
) -> Result<Scan, JournalError> {
    let length = match end {
        Some(end) => end,
        None => file.len()?,
    };
    let mut tip = start;
    let mut last_batch = Vec::new();
    let mut open_batch: Vec<ScannedLine> = Vec::new();
    let mut open_tip = tip.clone();
    'read: while let Some(lines) =
        file.lines(open_tip.offset..length, READ_BYTES, Parts::read_range)?
    {
        for (offset, text) in each_line(&lines, open_tip.offset) {
            let Ok(commit) = line::parse(text) else {
                break 'read;
            };
            let data = &commit.data;
            if let Some(reason) = misplaced(data, &open_tip, open_batch.is_empty()) {
                return Err(file.damage(offset, reason).into());
            }
            open_tip = Tip {
                commit: data.commit,
                batch: data.batch,
                position: open_tip.position + data.event_count(),
                time: data.time,
                offset: offset + text.len() as u64 + 1,
                hash: line_hash(text),
                flush: data.flush || tail == Tail::Unsynced,
            };
            if data.end {
                for earlier in &open_batch {
                    let commit = line::read(&earlier.text)
                        .map_err(|reason| file.damage(earlier.offset, reason))?;
                    visit(&commit, earlier.offset)?;
                }
                visit(&commit, offset)?;
            }
            open_batch.push(ScannedLine {
                offset,
                text: commit.text.to_owned(),
            });
            if data.end {
                // Everything before a given `end`, and every archived line, is durable.
                let is_durable = !tip.flush || end.is_some() || offset < file.start();
                if is_durable {
                    last_batch.clear();
                }
                last_batch.append(&mut open_batch);
                tip = open_tip.clone();
            }
        }
    }
    let rest = file.read_range(tip.offset, length.saturating_sub(tip.offset))?;
    let incomplete = if tail == Tail::Unsynced || (tip.flush && !was_waited_for(&rest, &tip)) {
        whatever_is_there(&rest, &tip)
    } else {
        examine(file, &rest, &tip)?
    };
    Ok(Scan {
        tip,
        incomplete,
        last_batch,
    })
}

/// The tip of the journal before the batch whose first line begins at `offset`.
pub(in crate::journal::local) fn tip_before(
    file: &Parts,
    offset: u64,
) -> Result<Tip, JournalError> {
    let lines = file.lines(offset..file.len()?, READ_BYTES, Parts::read_range)?;
    let line = lines
        .as_deref()
        .and_then(|lines| each_line(lines, offset).next());
    let (_, text) = line.ok_or_else(|| file.damage(offset, "a commit should stand here"))?;
    let commit = line::parse(text).map_err(|error| file.unreadable(offset, error))?;
    Ok(Tip {
        commit: commit.data.commit.saturating_sub(1),
        batch: commit.data.batch.saturating_sub(1),
        position: commit.data.position.saturating_sub(1),
        offset,
        hash: commit.data.previous.to_string(),
        ..Tip::default()
    })
}

/// The reason why a line with a valid checksum does not belong behind `tip`, if it does not.
pub(in crate::journal::local) fn misplaced(
    data: &line::CommitData<'_>,
    tip: &Tip,
    starts_batch: bool,
) -> Option<String> {
    let batch = tip.batch + u64::from(starts_batch);
    if data.commit != tip.commit + 1 {
        Some(format!(
            "commit {} follows commit {}",
            data.commit, tip.commit
        ))
    } else if data.batch != batch {
        Some(format!(
            "the commit belongs to batch {}, not {batch}",
            data.batch
        ))
    } else if data.position != tip.position + 1 {
        Some(format!(
            "the commit begins at position {}, but the commit before it ended at {}",
            data.position, tip.position
        ))
    } else if *data.previous != *tip.hash && !planted(Bug::HashChainNotChecked) {
        Some(format!(
            "the commit follows a commit with the hash {}, but the line before has {}",
            data.previous, tip.hash
        ))
    } else {
        None
    }
}

/// Classifies the bytes behind the last complete batch: nothing, an incomplete batch, or damage.
///
/// An interrupted write may lose the end of the file, replace it by zeros, or leave whole sectors of zeros. All other bytes
/// must belong to the single batch that was being written. Anything else is damage.
fn examine(file: &Parts, rest: &[u8], tip: &Tip) -> Result<Option<Incomplete>, JournalError> {
    let Some(last) = rest.iter().rposition(|byte| *byte != 0) else {
        return Ok(None);
    };
    let batch = tip.batch + 1;
    let damage = |at: usize, reason| -> JournalError {
        let error = LineError::Damaged(reason);
        file.unreadable(tip.offset + at as u64, error)
    };
    let mut at = 0;
    // The number of the next commit, as long as nothing is missing.
    let mut next_commit = Some(tip.commit + 1);
    let mut behind_hole = false;
    while let Some(text) = rest.get(at..).filter(|text| !text.is_empty()) {
        let end = text
            .iter()
            .position(|byte| matches!(byte, b'\n' | 0))
            .unwrap_or(text.len());
        let (fragment, terminator) = text.split_at(end);
        let terminator = terminator.first().copied();
        match line::parse(fragment) {
            Ok(commit) if commit.data.batch != batch => {
                let reason = format!(
                    "a commit of batch {} stands here, but batch {batch} before it is not complete",
                    commit.data.batch
                );
                return Err(damage(at, reason));
            }
            Ok(commit) => next_commit = Some(commit.data.commit + 1),
            Err(error @ LineError::Newer(_)) => {
                return Err(file.unreadable(tip.offset + at as u64, error));
            }
            Err(LineError::Damaged(_)) if behind_hole => {}
            Err(LineError::Damaged(reason)) if terminator == Some(b'\n') => {
                return Err(damage(at, reason));
            }
            Err(LineError::Damaged(_))
                if line::can_begin(fragment, next_commit.map(|commit| (commit, batch))) => {}
            Err(LineError::Damaged(reason)) => return Err(damage(at, reason)),
        }
        at += end;
        match terminator {
            Some(b'\n') => {
                at += 1;
                behind_hole = false;
            }
            Some(_) => {
                let zeros = rest
                    .get(at..)
                    .and_then(|rest| rest.iter().position(|byte| *byte != 0))
                    .unwrap_or(rest.len() - at);
                let hole_start = file.active_offset(tip.offset) + at as u64;
                let hole_end = hole_start + zeros as u64;
                // Lost sectors begin at the start of a sector. The first sector also holds the end of the batch before.
                let is_lost = (at == 0 || hole_start.is_multiple_of(SECTOR_BYTES))
                    && hole_end.is_multiple_of(SECTOR_BYTES);
                if at + zeros < rest.len() && !is_lost {
                    return Err(damage(
                        at,
                        format!("{zeros} zero bytes stand inside the journal"),
                    ));
                }
                at += zeros;
                behind_hole = true;
                next_commit = None;
            }
            None => {}
        }
    }
    let (bytes, _) = rest.split_at(last + 1);
    Ok(Some(Incomplete {
        batch,
        bytes: bytes.to_vec(),
    }))
}

/// Whether a process that waits for its commits wrote any of the text behind a batch without a sync. Everything before that
/// text was then durable, at the latest when that process opened the store.
fn was_waited_for(rest: &[u8], tip: &Tip) -> bool {
    line::begins_what_was_waited_for(rest, (tip.commit + 1, tip.batch + 1))
        || rest
            .split(|byte| matches!(byte, b'\n' | 0))
            .any(|fragment| match line::parse(fragment) {
                Ok(commit) => !commit.data.flush,
                // It is unknown, so the text must not be dropped.
                Err(LineError::Newer(_)) => true,
                Err(LineError::Damaged(_)) => false,
            })
}

/// The text behind a batch that was written without a sync. It may hold any parts of later batches.
fn whatever_is_there(rest: &[u8], tip: &Tip) -> Option<Incomplete> {
    let last = rest.iter().rposition(|byte| *byte != 0)?;
    let (bytes, _) = rest.split_at(last + 1);
    Some(Incomplete {
        batch: tip.batch + 1,
        bytes: bytes.to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::disk::{Files, SystemDisk};
    use crate::journal::StreamId;
    use crate::journal::block_cache::BlockCache;
    use crate::journal::local::layout::Layout;
    use crate::journal::local::line::{Body, Heading};
    use crate::journal::local::log::JournalLog;

    /// Batches with these numbers of commits, in the form of the writer. The result is the text, and the tip after each batch.
    fn batches(sizes: &[usize]) -> (Vec<u8>, Vec<Tip>) {
        let mut bytes = Vec::new();
        let mut tip = Tip::default();
        let mut tips = Vec::new();
        for (batch, size) in (1..).zip(sizes) {
            for index in 1..=*size {
                let mut body = Body::default();
                let event = format!(
                    "{{\"type\":\"Named\",\"data\":\"Ünïcode {index} {}\",\"ts\":1}}",
                    "x".repeat(300)
                );
                body.stream(&StreamId::new("thing", "a"), 1, &[event.into()]);
                let line = body.finish(&Heading {
                    commit: tip.commit + 1,
                    batch,
                    end: index == *size,
                    flush: false,
                    previous: &tip.hash,
                    position: tip.position + 1,
                    time: 1_000 + tip.commit,
                    ts: 1,
                });
                tip = Tip {
                    commit: tip.commit + 1,
                    batch,
                    position: tip.position + 1,
                    time: 1_000 + tip.commit,
                    offset: tip.offset + line.len() as u64 + 1,
                    hash: line_hash(line.as_bytes()),
                    flush: false,
                };
                bytes.extend_from_slice(line.as_bytes());
                bytes.push(b'\n');
            }
            tips.push(tip.clone());
        }
        (bytes, tips)
    }

    fn scan_bytes(bytes: &[u8]) -> Result<(Scan, usize), Box<dyn std::error::Error>> {
        let directory = tempfile::tempdir()?;
        let layout = Layout::new(directory.path());
        std::fs::create_dir_all(layout.journal())?;
        std::fs::write(layout.journal_file(), bytes)?;
        let files = Files::new(Arc::new(SystemDisk));
        let file = JournalLog::open(&files, &layout, &BlockCache::new(1 << 20), None)?.parts();
        let mut visited = 0;
        let scan = scan(&file, Tip::default(), None, Tail::AsWritten, |_, _| {
            visited += 1;
            Ok(())
        })?;
        Ok((scan, visited))
    }

    type TestResult = Result<(), Box<dyn std::error::Error>>;

    #[test]
    fn complete_batches_are_read_with_zeros_behind_them() -> TestResult {
        let (mut bytes, tips) = batches(&[1, 3, 2]);
        for zeros in [0, 1, 511, 4096] {
            bytes.resize(bytes.len() + zeros, 0);
            let (scan, visited) = scan_bytes(&bytes)?;
            assert_eq!((visited, scan.last_batch.len()), (6, 2));
            assert_eq!(Some(&scan.tip), tips.last());
            assert_eq!(scan.incomplete, None);
        }
        Ok(())
    }

    #[test]
    fn a_last_batch_cut_at_any_byte_is_dropped_whole() -> TestResult {
        let (bytes, tips) = batches(&[2, 3]);
        let first = tips.first().ok_or("no batch")?;
        let start = usize::try_from(first.offset)?;
        for length in start..bytes.len() {
            let (cut, _) = bytes.split_at(length);
            let (scan, visited) = scan_bytes(cut)?;
            assert_eq!((visited, &scan.tip), (2, first), "cut at {length}");
            assert_eq!(scan.incomplete.is_some(), length > start, "cut at {length}");
            // The same with the zeros with which the file is filled ahead.
            let mut filled = cut.to_vec();
            filled.resize(bytes.len() + 4096, 0);
            let (scan, visited) = scan_bytes(&filled)?;
            assert_eq!((visited, &scan.tip), (2, first), "zeros from {length}");
        }
        Ok(())
    }

    #[test]
    fn a_last_batch_that_lost_any_of_its_sectors_is_dropped_whole() -> TestResult {
        let (bytes, tips) = batches(&[2, 3]);
        let first = tips.first().ok_or("no batch")?;
        let start = usize::try_from(first.offset)?;
        let sectors: Vec<_> = (start / 512..bytes.len().div_ceil(512)).collect();
        assert!(sectors.len() >= 4);
        for lost in 1..1_u32 << sectors.len() {
            let mut torn = bytes.clone();
            torn.resize(bytes.len() + 4096, 0);
            for (bit, sector) in sectors.iter().enumerate() {
                if lost & (1 << bit) != 0 {
                    let from = (sector * 512).max(start);
                    if let Some(lost) = torn.get_mut(from..(sector + 1) * 512) {
                        lost.fill(0);
                    }
                }
            }
            let (scan, visited) = scan_bytes(&torn)?;
            assert_eq!((visited, &scan.tip), (2, first), "lost {lost:b}");
        }
        Ok(())
    }

    #[test]
    fn bytes_that_are_there_but_wrong_are_damage() -> TestResult {
        let (bytes, _) = batches(&[1, 1, 2]);
        for index in 0..bytes.len() {
            let mut flipped = bytes.clone();
            if let Some(byte) = flipped.get_mut(index) {
                *byte ^= 0x01;
            }
            let result = scan_bytes(&flipped);
            assert!(result.is_err(), "a flipped bit at {index} was accepted");
        }
        Ok(())
    }

    #[test]
    fn a_zero_inside_a_batch_is_damage() -> TestResult {
        let (bytes, _) = batches(&[1, 2]);
        for index in 0..bytes.len() - 1 {
            let mut zeroed = bytes.clone();
            if let Some(byte) = zeroed.get_mut(index) {
                *byte = 0;
            }
            assert!(
                scan_bytes(&zeroed).is_err(),
                "a zero at {index} was accepted"
            );
        }
        Ok(())
    }

    #[test]
    fn a_hole_before_a_complete_batch_is_damage() -> TestResult {
        let (mut bytes, tips) = batches(&[1, 1, 1]);
        let first = usize::try_from(tips.first().ok_or("no batch")?.offset)?;
        bytes.get_mut(first..1024).ok_or("short")?.fill(0);
        assert!(scan_bytes(&bytes).is_err());
        Ok(())
    }

    #[test]
    fn a_complete_line_followed_by_other_bytes_is_damage() -> TestResult {
        let (mut bytes, _) = batches(&[1, 1]);
        let last = bytes.len() - 1;
        for behind in [
            &b"x"[..],
            b"x\n",
            b"}\n",
            b" ",
            b"\nx",
            b"\n{\"type\":\"Placed\"",
            b"\n\n",
        ] {
            bytes.truncate(last);
            bytes.extend_from_slice(behind);
            assert!(scan_bytes(&bytes).is_err(), "{behind:?}");
        }
        Ok(())
    }
}
