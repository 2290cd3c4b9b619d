//! Copying the journal of an open store to a different directory.
//!
//! Segments never change, so each is linked or copied once. The active file follows, up to its durable end, and gets its name
//! in one step. Until then, a mark in the target directory says that it may have segments which its active file does not need
//! yet. An interrupted backup leaves the previous backup or the new one. For example, an interrupted first backup leaves a
//! directory that does not open.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use eventfold::line_hash;

use super::LocalJournal;
use super::layout::Layout;
use super::line;
use super::log::{Parts, each_line};
use crate::disk::{FileError, FileHandle, Files, LockHandle, OpenMode};
use crate::journal::segments::{Segments, UNFINISHED, is_segment, span_of};
use crate::journal::{BackupError, BackupReport, Damage, JournalError};
use crate::sabotage::{Bug, planted};

/// The number of bytes per read or copy.
const PIECE_BYTES: u64 = 1 << 20;

/// The directory that receives the backup.
struct Target<'a> {
    files: &'a Files,
    layout: Layout,
    /// Held so that no store opens the directory meanwhile, and no second backup starts there.
    _lock: LockHandle,
}

impl LocalJournal {
    /// Copies everything that is durable now; `None` if it was stopped. Blocks.
    pub(super) fn back_up(
        &self,
        to: &Path,
        is_stopped: &AtomicBool,
    ) -> Result<Option<BackupReport>, BackupError> {
        if let Some(damage) = self
            .inherited
            .values()
            .find_map(|inherited| inherited.problem.as_ref())
        {
            // A file that the backup does not contain keeps this process manager from starting at the first event.
            return Err(JournalError::from(damage.clone()).into());
        }
        let (end, parts) = self.parts_with_end(0);
        let target = Target::open(&self.disk, self.layout.base(), to)?;
        let verified = target.require_earlier(&parts, end)?;
        if !planted(Bug::BackupWithoutItsMark) {
            let mark = target.layout.unfinished_backup();
            target.files.open(&mark, OpenMode::Write)?;
            target.files.sync_dir(&target.layout.journal())?;
        }
        let mut report = BackupReport::default();
        for span in parts.segments_before_active() {
            if is_stopped.load(Ordering::Relaxed) {
                return Ok(None);
            }
            let source = parts.segment_path(span);
            let place = target
                .layout
                .journal()
                .join(source.file_name().unwrap_or_default());
            report.bytes += span.bytes;
            if target.files.exists(&place)? {
                continue;
            }
            if target.files.hard_link(&source, &place) {
                report.linked_bytes += span.bytes;
                continue;
            }
            let source = self.disk.open(&source, OpenMode::Read)?;
            let read = |offset, length| Ok(source.read_range(offset, length)?);
            let Some(copy) = target.copy(&place, span.bytes, is_stopped, read)? else {
                return Ok(None);
            };
            target.name(copy, &place)?;
            report.copied_bytes += span.bytes;
        }
        // The names of the segments are durable before the file that needs them.
        target.files.sync_dir(&target.layout.journal())?;
        let (start, place) = (parts.start(), target.layout.journal_file());
        let read = |offset, length| parts.read_range(start + offset, length);
        let Some(active) = target.copy(&place, end - start, is_stopped, read)? else {
            return Ok(None);
        };
        report.copied_bytes += end - start;
        report.bytes += end - start;
        let copied = parts.copied(target.files, &target.layout.journal(), active)?;
        if !check(&copied, verified, end, &mut report, is_stopped)? {
            return Ok(None);
        }
        target.name(copied.into_active(), &place)?;
        target.files.remove(&target.layout.unfinished_backup())?;
        Ok(Some(report))
    }
}

impl<'a> Target<'a> {
    /// Creates the directory if it is missing, and locks it. It must be empty, or hold a backup and nothing else.
    fn open(files: &'a Files, base: &Path, to: &Path) -> Result<Self, BackupError> {
        let (base, place) = (files.canonical(base), files.canonical(to));
        if place.starts_with(&base) || base.starts_with(&place) {
            return Err(BackupError::Overlapping {
                path: to.to_owned(),
            });
        }
        let layout = Layout::new(to);
        files.create_dir_durably(to)?;
        let Some(lock) = files.try_lock(to)? else {
            return Err(BackupError::InUse {
                path: to.to_owned(),
            });
        };
        let target = Self {
            files,
            layout,
            _lock: lock,
        };
        let (meta, journal) = (target.layout.meta(), target.layout.journal());
        let active = target.layout.journal_file();
        let active_copy = active.with_extension(format!("jsonl{UNFINISHED}"));
        let mark = target.layout.unfinished_backup();
        for directory in [target.layout.base(), &meta, &journal] {
            for entry in files.list(directory)? {
                let path = directory.join(&entry.name);
                let is_ours = [&meta, &journal, &active, &active_copy, &mark].contains(&&path)
                    || directory == journal && is_segment(entry.name.strip_suffix(UNFINISHED).unwrap_or(&entry.name))
                    // The lock file of a platform that cannot lock directories.
                    || entry.name == ".lock";
                if !is_ours {
                    return Err(BackupError::Occupied { path });
                }
                // A link.
                if files.canonical(&path).starts_with(&base) {
                    return Err(BackupError::Overlapping { path });
                }
            }
        }
        files.create_dir_all(&journal)?;
        for directory in [&meta, &target.layout.base().to_owned()] {
            files.sync_dir(directory)?;
        }
        Ok(target)
    }

    /// Checks that the directory holds nothing but an earlier part of this journal. The result is the end of its verified part.
    fn require_earlier(&self, parts: &Parts, end: u64) -> Result<u64, BackupError> {
        let other = |path: PathBuf| BackupError::OtherStore { path };
        let directory = self.layout.journal();
        for entry in self.files.list(&directory)? {
            if !is_segment(&entry.name) {
                continue;
            }
            let path = directory.join(&entry.name);
            let (span, first_commit) = span_of(self.files, &path)?;
            if !parts.segments_before_active().contains(&span)
                || span_of(self.files, &parts.segment_path(span))? != (span, first_commit)
            {
                return Err(other(path));
            }
        }
        let path = self.layout.journal_file();
        let text = self.files.read(&path)?.unwrap_or_default();
        let Some(first_commit) = line::commit_number(&text) else {
            return match text.is_empty() {
                true => Ok(0),
                false => Err(other(path)),
            };
        };
        // Later segments are from an interrupted backup.
        let start = Segments::start_of(self.files, &directory, Some(first_commit), true)?;
        // Each line contains the hash of the line before: if the last line is equal, all lines are.
        let lines = text.strip_suffix(b"\n").unwrap_or(&text);
        let last = memchr::memrchr(b'\n', lines).map_or(0, |newline| newline + 1);
        let last = text.get(last..).unwrap_or_default();
        let at = start + (text.len() - last.len()) as u64;
        let is_ours = at + last.len() as u64 <= end && read_whole(parts, at, last.len())? == last;
        match is_ours {
            true => Ok(start),
            false => Err(other(path)),
        }
    }

    /// Copies a file, under a temporary name; `None` if it was stopped.
    fn copy(
        &self,
        place: &Path,
        length: u64,
        is_stopped: &AtomicBool,
        read: impl Fn(u64, u64) -> Result<Vec<u8>, JournalError>,
    ) -> Result<Option<FileHandle>, BackupError> {
        let mut unfinished = place.as_os_str().to_owned();
        unfinished.push(UNFINISHED);
        let copy = self
            .files
            .open(Path::new(&unfinished), OpenMode::Truncate)?;
        let mut at = 0;
        while at < length {
            if is_stopped.load(Ordering::Relaxed) {
                return Ok(None);
            }
            let piece = read(at, PIECE_BYTES.min(length - at))?;
            if piece.is_empty() {
                let reason = "the file became shorter while it was copied";
                return Err(JournalError::from(Damage::new(place, at, reason)).into());
            }
            copy.write_all_at(&piece, at)?;
            at += piece.len() as u64;
        }
        Ok(Some(copy))
    }

    /// Makes a copy durable, and gives it its name durably.
    fn name(&self, copy: FileHandle, place: &Path) -> Result<(), FileError> {
        if !planted(Bug::BackupNotSynced) {
            copy.sync_data()?;
        }
        self.files.rename(copy.path(), place)?;
        self.files.sync_dir(&self.layout.journal())
    }
}

/// Reads the text of a backup from `from` on, where a line begins, and checks each line; `false` if it was stopped.
fn check(
    copied: &Parts,
    from: u64,
    end: u64,
    report: &mut BackupReport,
    is_stopped: &AtomicBool,
) -> Result<bool, JournalError> {
    let mut at = from;
    let mut previous: Option<String> = None;
    while at < end {
        if is_stopped.load(Ordering::Relaxed) {
            return Ok(false);
        }
        let lines = copied.lines(at..end, PIECE_BYTES, Parts::read_range)?;
        let lines = lines.ok_or_else(|| copied.endless(at))?;
        for (offset, line) in each_line(&lines, at) {
            let commit = line::parse(line).map_err(|error| copied.unreadable(offset, error))?;
            let data = &commit.data;
            if previous.is_some_and(|previous| previous != *data.previous) {
                let reason = "the commit does not follow the commit before it";
                return Err(copied.damage(offset, reason).into());
            }
            previous = Some(line_hash(line));
            report.commits = data.commit;
            report.position = (data.position + data.event_count()).saturating_sub(1);
        }
        at += lines.len() as u64;
    }
    Ok(true)
}

/// `length` bytes of the text from `offset` on, or fewer at its end.
fn read_whole(parts: &Parts, offset: u64, length: usize) -> Result<Vec<u8>, JournalError> {
    let mut text = Vec::new();
    while text.len() < length {
        let piece = parts.read_range(offset + text.len() as u64, (length - text.len()) as u64)?;
        if piece.is_empty() {
            break;
        }
        text.extend(piece);
    }
    Ok(text)
}
