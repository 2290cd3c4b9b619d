//! The journal's lines as one text: the older lines in segments, the others in the active file.
//!
//! Offsets count from the beginning of the whole text. The active file always begins with a commit that is not in a segment.
//! The number of this commit gives the place of the file. For example, a crash may leave a segment whose text the active file
//! still has; this segment is removed and written again.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};

use crate::disk::{FileError, FileHandle, Files, OpenMode};
use crate::journal::block_cache::BlockCache;
use crate::journal::local::appends::lock;
use crate::journal::local::checkpoint::Checkpoint;
use crate::journal::local::layout::Layout;
use crate::journal::local::line::{self, LineError};
use crate::journal::segments::{Segments, Span};
use crate::journal::{Damage, JournalError};
use crate::sabotage::{Bug, planted};

/// The number of bytes that contain the number of a file's first commit.
const HEADER_BYTES: u64 = 128;
/// The number of bytes that archiving reads from the active file at once.
const ARCHIVE_BYTES: u64 = 1 << 20;

/// The maximum length of a part of the text that a reader of a stream caches.
const CACHED_BYTES: u64 = 64 << 10;

/// A checkpoint's record of the parts of the journal.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(in crate::journal::local) struct SavedParts {
    /// The start of the active file.
    pub(in crate::journal::local) start: u64,
    /// The number of its first commit.
    pub(in crate::journal::local) first_commit: u64,
}

/// The journal. From time to time, a file that begins later replaces its active file.
pub(in crate::journal::local) struct JournalLog {
    files: Files,
    layout: Layout,
    parts: Mutex<Arc<Parts>>,
    /// Held while the active file is replaced. Meanwhile, its path leads to a file that is not among the parts.
    replacing: Mutex<()>,
}

/// The parts of the journal until the active file is replaced. A holder of these parts keeps the old file open.
pub(in crate::journal::local) struct Parts {
    active: FileHandle,
    start: u64,
    first_commit: u64,
    segments: Arc<Segments>,
}

/// An archived part of the journal. The active file can then begin behind it.
pub(in crate::journal) struct Archived {
    first_commit: u64,
    span: Span,
}

/// The error of a failed replacement of the active file.
pub(in crate::journal::local) enum SwapError {
    /// The active file is unchanged.
    Unchanged(FileError),
    /// It is unknown which of the two files is present after a restart.
    Unknown(FileError),
}

impl JournalLog {
    /// Opens the active file, creates it if it is missing, and determines its start. Blocks.
    pub(in crate::journal::local) fn open(
        files: &Files,
        layout: &Layout,
        cache: &Arc<BlockCache>,
        checkpoint: Option<&Checkpoint>,
    ) -> Result<Self, JournalError> {
        let active = files.open(&layout.journal_file(), OpenMode::Write)?;
        let first_commit = line::commit_number(&active.read_range(0, HEADER_BYTES)?);
        if first_commit.is_none() {
            refuse_newer(&active)?;
        }
        let start = match checkpoint {
            Some(checkpoint) if first_commit.is_none_or(|first| first <= checkpoint.commit()) => {
                expected_start(&active, first_commit, checkpoint)?
            }
            // A checkpoint is an older copy if the journal has rotated several times since.
            _ => found_start(files, layout, &active, first_commit)?,
        };
        let parts = Parts {
            active,
            start,
            first_commit: first_commit.unwrap_or(1),
            segments: Arc::new(Segments::open(files, &layout.journal(), cache, start)?),
        };
        files.remove(&layout.unfinished_backup())?;
        Ok(Self {
            files: files.clone(),
            layout: layout.clone(),
            parts: Mutex::new(Arc::new(parts)),
            replacing: Mutex::default(),
        })
    }

    pub(in crate::journal::local) fn parts(&self) -> Arc<Parts> {
        Arc::clone(&lock(&self.parts))
    }

    /// The error for further writes, if the active file is not the file at its path. Blocks.
    pub(in crate::journal::local) fn gone(&self) -> Result<Option<FileError>, FileError> {
        let _replacing = lock(&self.replacing);
        let parts = self.parts();
        let is_in_place = parts.active.is_in_place()?;
        Ok((!is_in_place).then(|| parts.active.gone()))
    }

    /// Copies the part of the active file before `start`, where the commit `first_commit` begins, durably to a segment. The
    /// active file does not change. Blocks.
    pub(in crate::journal::local) fn archive(
        &self,
        start: u64,
        first_commit: u64,
    ) -> Result<Archived, JournalError> {
        let parts = self.parts();
        let mut segment = parts.segments.begin(parts.start, parts.first_commit)?;
        let mut text = Vec::new();
        while segment.end() < start {
            let at = segment.end();
            if !parts.lines_into(at..start, ARCHIVE_BYTES, &mut text)? {
                return Err(parts.endless(at).into());
            }
            for (_, line) in each_line(&text, at) {
                let commit =
                    line::parse(line).map_err(|error| parts.unreadable(segment.end(), error))?;
                if commit.data.event_count() > 0 {
                    segment.begin_commit(commit.data.position);
                }
                segment.push(line)?;
                segment.push(b"\n")?;
            }
        }
        Ok(Archived {
            first_commit,
            span: segment.finish()?,
        })
    }

    /// Replaces the active file by a file that begins behind the archived part. The text ends at `end`. Nothing may write to
    /// the journal meanwhile. Blocks.
    pub(in crate::journal::local) fn replace_active(
        &self,
        archived: Archived,
        end: u64,
    ) -> Result<(), SwapError> {
        let unchanged = SwapError::Unchanged;
        let Archived { first_commit, span } = archived;
        let start = span.end;
        let parts = self.parts();
        let path = self.layout.journal_file();
        let fresh = path.with_extension("jsonl.new");
        let active = self
            .files
            .open(&fresh, OpenMode::Truncate)
            .map_err(unchanged)?;
        let kept = parts
            .active
            .read_range(start - parts.start, end - start)
            .map_err(unchanged)?;
        active.write_all_at(&kept, 0).map_err(unchanged)?;
        active.sync_data().map_err(unchanged)?;
        let _replacing = lock(&self.replacing);
        if !parts.active.is_in_place().map_err(unchanged)? {
            return Err(SwapError::Unknown(parts.active.gone()));
        }
        self.files
            .rename(&fresh, &path)
            .map_err(SwapError::Unknown)?;
        if !planted(Bug::JournalSwapNotSynced) {
            self.files
                .sync_dir(&self.layout.journal())
                .map_err(SwapError::Unknown)?;
        }
        parts.segments.add(span);
        *lock(&self.parts) = Arc::new(Parts {
            active: active.renamed(&path),
            start,
            first_commit,
            segments: Arc::clone(&parts.segments),
        });
        Ok(())
    }
}

/// The lines of a text, each without its newline, and with its offset in the journal. The text begins at `offset`.
pub(in crate::journal::local) fn each_line(
    text: &[u8],
    offset: u64,
) -> impl Iterator<Item = (u64, &[u8])> {
    let mut begin = 0;
    memchr::memchr_iter(b'\n', text).map(move |end| {
        let line = text.get(begin..end).unwrap_or_default();
        let at = offset + begin as u64;
        begin = end + 1;
        (at, line)
    })
}

/// Refuses a file whose first line has a newer format.
fn refuse_newer(active: &FileHandle) -> Result<(), JournalError> {
    let bytes = active.read_range(0, active.len()?)?;
    let line = bytes.split(|byte| *byte == b'\n').next();
    match line.map(line::parse) {
        Some(Err(LineError::Newer(newer))) => Err(newer.in_file(active.path()).into()),
        _ => Ok(()),
    }
}

/// The start of the active file, according to a checkpoint. It is the start at the time of the checkpoint, or that of the last
/// covered commit if the file was replaced afterwards.
fn expected_start(
    active: &FileHandle,
    first_commit: Option<u64>,
    checkpoint: &Checkpoint,
) -> Result<u64, JournalError> {
    let saved = &checkpoint.journal;
    match first_commit {
        None if saved.start == 0 => return Ok(0),
        Some(commit) if commit == saved.first_commit => return Ok(saved.start),
        Some(commit) if commit == checkpoint.commit() => return Ok(checkpoint.line_start()),
        _ => {}
    }
    let found = match first_commit {
        None => "no commit".to_owned(),
        Some(commit) => format!("commit {commit}"),
    };
    let reason = format!(
        "the file begins with {found}, where `meta/checkpoint.json` expects commit {} or {}. The journal was cut, replaced or \
         overwritten; restore it from a copy that is at least as new as the checkpoint",
        saved.first_commit,
        checkpoint.commit()
    );
    Err(Damage::new(active.path(), 0, reason).into())
}

/// The start of the active file without a checkpoint. It is the end of the last segment, or the start of that segment if the
/// active file still has all of it.
fn found_start(
    files: &Files,
    layout: &Layout,
    active: &FileHandle,
    first_commit: Option<u64>,
) -> Result<u64, JournalError> {
    let is_backup = files.exists(&layout.unfinished_backup())?;
    let start = Segments::start_of(files, &layout.journal(), first_commit, is_backup)?;
    if first_commit.is_none() && start > 0 {
        let reason =
            "the file has no commit, but older commits were archived; restore it from a copy";
        return Err(Damage::new(active.path(), 0, reason).into());
    }
    Ok(start)
}

impl Parts {
    /// The same parts in a different directory, which has the segments and this copy of the active file. Blocks.
    pub(in crate::journal::local) fn copied(
        &self,
        files: &Files,
        directory: &Path,
        active: FileHandle,
    ) -> Result<Self, JournalError> {
        let cache = BlockCache::new(0);
        Ok(Self {
            active,
            start: self.start,
            first_commit: self.first_commit,
            segments: Arc::new(Segments::open(files, directory, &cache, self.start)?),
        })
    }

    pub(in crate::journal::local) fn into_active(self) -> FileHandle {
        self.active
    }

    /// The size of the journal on the disk if its text ends at `end`, in bytes.
    pub(in crate::journal::local) fn bytes_up_to(&self, end: u64) -> u64 {
        self.segments.bytes() + end.saturating_sub(self.start)
    }

    /// The segments before the start of the active file.
    pub(in crate::journal::local) fn segments_before_active(&self) -> Vec<Span> {
        let spans = self.segments.spans();
        let before = spans.iter().filter(|span| span.start < self.start);
        before.copied().collect()
    }

    pub(in crate::journal::local) fn segment_path(&self, span: Span) -> PathBuf {
        self.segments.path(span)
    }

    /// The start of the active file.
    pub(in crate::journal::local) fn start(&self) -> u64 {
        self.start
    }

    pub(in crate::journal::local) fn saved(&self) -> SavedParts {
        SavedParts {
            start: self.start,
            first_commit: self.first_commit,
        }
    }

    /// The end of the text, trailing zeros included.
    pub(in crate::journal::local) fn len(&self) -> Result<u64, FileError> {
        Ok(self.start + self.active.len()?)
    }

    /// Reads up to `length` bytes from `offset`. The result is shorter at the end of the text and at the ends of segments,
    /// where lines end too.
    pub(in crate::journal::local) fn read_range(
        &self,
        offset: u64,
        length: u64,
    ) -> Result<Vec<u8>, JournalError> {
        match offset.checked_sub(self.start) {
            Some(offset) => Ok(self.active.read_range(offset, length)?),
            None => self.segments.read_through(offset, length),
        }
    }

    /// [`read_range`](Self::read_range), for a reader that may read the same place again.
    pub(in crate::journal::local) fn read_cached(
        &self,
        offset: u64,
        length: u64,
    ) -> Result<Vec<u8>, JournalError> {
        match offset.checked_sub(self.start) {
            Some(offset) => Ok(self.active.read_range(offset, length)?),
            None => self.segments.read(offset, length),
        }
    }

    /// [`read_cached`](Self::read_cached) in place of the content of `text`. A long part is not cached: a stream whose events are
    /// close to each other is read through.
    pub(in crate::journal::local) fn read_near(
        &self,
        offset: u64,
        length: u64,
        text: &mut Vec<u8>,
    ) -> Result<(), JournalError> {
        match offset.checked_sub(self.start) {
            Some(offset) => self.active.read_into(offset, length, text)?,
            None if length > CACHED_BYTES => self.segments.read_into(offset, length, text)?,
            None => *text = self.segments.read(offset, length)?,
        }
        Ok(())
    }

    /// Whole lines from the start of the range on, where a line begins, read by `read`. The result has about `window` bytes, or
    /// one longer line. It is `None` if no line ends in the range.
    pub(in crate::journal::local) fn lines(
        &self,
        range: Range<u64>,
        mut window: u64,
        read: impl Fn(&Self, u64, u64) -> Result<Vec<u8>, JournalError>,
    ) -> Result<Option<Vec<u8>>, JournalError> {
        let available = range.end.saturating_sub(range.start);
        loop {
            let mut text = read(self, range.start, window.min(available))?;
            if let Some(newline) = memchr::memrchr(b'\n', &text) {
                text.truncate(newline + 1);
                return Ok(Some(text));
            }
            if window >= available {
                return Ok(None);
            }
            window = window.saturating_mul(2);
        }
    }

    /// [`lines`](Self::lines), into memory that is used again, for a reader that reads every byte once. `false` if no line
    /// ends in the range.
    pub(in crate::journal::local) fn lines_into(
        &self,
        range: Range<u64>,
        mut window: u64,
        text: &mut Vec<u8>,
    ) -> Result<bool, JournalError> {
        let available = range.end.saturating_sub(range.start);
        loop {
            let length = window.min(available);
            match range.start.checked_sub(self.start) {
                Some(offset) => self.active.read_into(offset, length, text)?,
                None => self.segments.read_into(range.start, length, text)?,
            }
            if let Some(newline) = memchr::memrchr(b'\n', text) {
                text.truncate(newline + 1);
                return Ok(true);
            }
            if window >= available {
                return Ok(false);
            }
            window = window.saturating_mul(2);
        }
    }

    /// The offset from which a read finds the event at a position, if a segment has it. A line starts there.
    pub(in crate::journal::local) fn find(&self, position: u64) -> Result<u64, JournalError> {
        self.segments.find(position)
    }

    /// Writes to the active file.
    pub(in crate::journal::local) fn write_all_at(
        &self,
        bytes: &[u8],
        offset: u64,
    ) -> Result<(), FileError> {
        self.active.write_all_at(bytes, offset - self.start)
    }

    pub(in crate::journal::local) fn set_len(&self, length: u64) -> Result<(), FileError> {
        self.active.set_len(length - self.start)
    }

    pub(in crate::journal::local) fn sync_data(&self) -> Result<(), FileError> {
        self.active.sync_data()
    }

    /// The offset in the active file.
    pub(in crate::journal::local) fn active_offset(&self, offset: u64) -> u64 {
        offset.saturating_sub(self.start)
    }

    /// The error of an unreadable line at an offset.
    pub(in crate::journal::local) fn unreadable(
        &self,
        offset: u64,
        error: LineError,
    ) -> JournalError {
        match error {
            LineError::Newer(newer) => newer.in_file(&self.damage(offset, "").path).into(),
            LineError::Damaged(reason) => self.damage(offset, reason).into(),
        }
    }

    /// The damage of a line without an end.
    pub(in crate::journal::local) fn endless(&self, offset: u64) -> Damage {
        self.damage(offset, "the last commit has no end")
    }

    pub(in crate::journal::local) fn damage(
        &self,
        offset: u64,
        reason: impl Into<String>,
    ) -> Damage {
        match offset < self.start {
            true => self.segments.damage(offset, reason),
            false => Damage::new(self.active.path(), self.active_offset(offset), reason),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::SystemDisk;

    #[test]
    fn lines_are_whole_however_small_the_window() -> Result<(), Box<dyn std::error::Error>> {
        let directory = tempfile::tempdir()?;
        let layout = Layout::new(directory.path());
        std::fs::create_dir_all(layout.journal())?;
        let text = b"one\n\nthe longest of all\nzwei\nno end".as_slice();
        std::fs::write(layout.journal_file(), text)?;
        let files = Files::new(Arc::new(SystemDisk));
        let cache = BlockCache::new(1 << 20);
        let parts = JournalLog::open(&files, &layout, &cache, None)?.parts();
        let expected: Vec<&[u8]> = vec![b"one", b"", b"the longest of all", b"zwei"];
        for window in 1..text.len() as u64 + 1 {
            let (mut at, mut found) = (0, Vec::new());
            while let Some(lines) = parts.lines(at..text.len() as u64, window, Parts::read_range)? {
                for (place, line) in each_line(&lines, at) {
                    let place = usize::try_from(place)?;
                    assert_eq!(text.get(place..place + line.len()), Some(line), "{window}");
                    found.push(line.to_vec());
                }
                at += lines.len() as u64;
            }
            assert_eq!(found, expected, "{window}");
            assert_eq!(parts.lines(0..3, window, Parts::read_range)?, None);
        }
        Ok(())
    }
}
