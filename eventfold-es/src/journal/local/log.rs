//! The journal's lines as one text: the older ones in the archive, the others in the active file.
//!
//! Offsets count from the beginning of the whole text. The active file always begins with a commit that is not in the archive,
//! whose number tells where it belongs: an archive that was written without the active file being replaced afterwards has
//! simply not happened.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};

use super::archive::{Frames, damage_at};
use super::checkpoint::Checkpoint;
use super::layout::Layout;
use super::line::{self, LineError};
use super::streams::lock;
use crate::disk::{FileError, FileHandle, Files, OpenMode};
use crate::journal::{Damage, JournalError};
use crate::sabotage::{Bug, planted};

/// How much of a file shows the number of its first commit.
const HEADER_BYTES: u64 = 128;

/// What a checkpoint knows of the parts of the journal.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct SavedParts {
    /// Where the active file begins.
    pub(super) start: u64,
    /// The number of its first commit.
    pub(super) first_commit: u64,
    pub(super) frames: Frames,
}

/// The journal, whose active file is now and then replaced by one that begins later.
pub(super) struct JournalLog {
    files: Files,
    layout: Layout,
    parts: Mutex<Arc<Parts>>,
    /// Held while the active file is replaced: meanwhile its path leads to one that is not among the parts.
    replacing: Mutex<()>,
}

/// The parts of the journal as they are until the active file is replaced; whoever holds them keeps the file.
pub(super) struct Parts {
    active: FileHandle,
    start: u64,
    first_commit: u64,
    archive: Option<Archive>,
    frames: Frames,
}

/// The archive. It is opened for each part that is read, since an open store seldom reads it.
struct Archive {
    files: Files,
    path: PathBuf,
}

impl Archive {
    fn read(&self, frames: &Frames, offset: u64) -> Result<Vec<u8>, JournalError> {
        frames.read(&self.files.open(&self.path, OpenMode::Read)?, offset)
    }
}

/// A part of the journal that was archived, so that the active file can begin behind it.
pub(super) struct Archived {
    start: u64,
    first_commit: u64,
    frames: Frames,
}

/// An active file that was not replaced.
pub(super) enum SwapError {
    /// Everything is as it was.
    Unchanged(FileError),
    /// Which of the two files is there after a restart is not known.
    Unknown(FileError),
}

impl JournalLog {
    /// Opens the active file, created empty if there is none, and finds out where it begins. Blocks.
    pub(super) fn open(
        files: &Files,
        layout: &Layout,
        checkpoint: Option<&Checkpoint>,
    ) -> Result<Self, JournalError> {
        let active = files.open(&layout.journal_file(), OpenMode::Write)?;
        let archive = match files.open(&layout.journal_archive(), OpenMode::Read) {
            Ok(archive) => Some(archive),
            Err(error) if error.is_not_found() => None,
            Err(error) => return Err(error.into()),
        };
        let first_commit = line::commit_number(&active.read_range(0, HEADER_BYTES)?);
        if first_commit.is_none() {
            refuse_newer(&active)?;
        }
        let (start, frames) = match &archive {
            None => (0, Frames::default()),
            Some(archive) => find_start(&active, archive, first_commit, checkpoint)?,
        };
        if let Some(archive) = &archive
            && (archive.len()? > frames.bytes || frames.bytes == 0)
        {
            // Left by an interrupted rotation: other programs would read the commits of the active file twice.
            if frames.bytes == 0 {
                files.remove(archive.path())?;
            } else {
                let archive = files.open(archive.path(), OpenMode::Write)?;
                archive.set_len(frames.bytes)?;
            }
        }
        let parts = Parts {
            active,
            start,
            first_commit: first_commit.unwrap_or(1),
            archive: (!frames.list.is_empty()).then(|| Archive {
                files: files.clone(),
                path: layout.journal_archive(),
            }),
            frames,
        };
        Ok(Self {
            files: files.clone(),
            layout: layout.clone(),
            parts: Mutex::new(Arc::new(parts)),
            replacing: Mutex::default(),
        })
    }

    pub(super) fn parts(&self) -> Arc<Parts> {
        Arc::clone(&lock(&self.parts))
    }

    /// The error of going on, if the active file is not the one at its path. Blocks.
    pub(super) fn gone(&self) -> Result<Option<FileError>, FileError> {
        let _replacing = lock(&self.replacing);
        let parts = self.parts();
        let is_in_place = parts.active.is_in_place()?;
        Ok((!is_in_place).then(|| parts.active.gone()))
    }

    /// Copies the part of the active file before `start`, where the commit `first_commit` begins, durably to the archive. The
    /// active file stays as it is. Blocks.
    pub(super) fn archive(&self, start: u64, first_commit: u64) -> Result<Archived, JournalError> {
        let parts = self.parts();
        let mut frames = parts.frames.clone();
        let archive = self
            .files
            .open(&self.layout.journal_archive(), OpenMode::Write)?;
        let mut at = 0;
        let active = &parts.active;
        frames.append(&archive, active, 0, start - parts.start, |text| {
            let mut start = 0;
            for end in memchr::memchr_iter(b'\n', text) {
                let line = text.get(start..end).unwrap_or_default();
                line::parse(line)
                    .map_err(|error| Damage::new(active.path(), at, error.to_string()))?;
                at += (end + 1 - start) as u64;
                start = end + 1;
            }
            Ok(())
        })?;
        if !planted(Bug::JournalArchiveNotSynced) {
            archive.sync_data()?;
            self.files.sync_dir(&self.layout.journal())?;
        }
        Ok(Archived {
            start,
            first_commit,
            frames,
        })
    }

    /// Replaces the active file by one that begins behind what was archived; the text ends at `end`. Nobody may write to the
    /// journal meanwhile. Blocks.
    pub(super) fn replace_active(&self, archived: Archived, end: u64) -> Result<(), SwapError> {
        let unchanged = SwapError::Unchanged;
        let Archived {
            start,
            first_commit,
            frames,
        } = archived;
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
        *lock(&self.parts) = Arc::new(Parts {
            active: active.renamed(&path),
            start,
            first_commit,
            archive: Some(Archive {
                files: self.files.clone(),
                path: self.layout.journal_archive(),
            }),
            frames,
        });
        Ok(())
    }
}

fn unreadable(path: &Path, offset: u64, error: LineError) -> JournalError {
    match error {
        LineError::Newer(newer) => newer.in_file(path).into(),
        LineError::Damaged(reason) => Damage::new(path, offset, reason).into(),
    }
}

/// Refuses a file whose first line is of a newer format.
fn refuse_newer(active: &FileHandle) -> Result<(), JournalError> {
    let bytes = active.read_range(0, active.len()?)?;
    let line = bytes.split(|byte| *byte == b'\n').next();
    match line.map(line::parse) {
        Some(Err(LineError::Newer(newer))) => Err(newer.in_file(active.path()).into()),
        _ => Ok(()),
    }
}

/// Where the active file begins, and the frames of the archive before it.
fn find_start(
    active: &FileHandle,
    archive: &FileHandle,
    first_commit: Option<u64>,
    checkpoint: Option<&Checkpoint>,
) -> Result<(u64, Frames), JournalError> {
    if let Some(checkpoint) = checkpoint {
        let saved = &checkpoint.journal;
        if saved.frames.list.is_empty() && first_commit.is_none_or(|commit| commit == 1) {
            return Ok((0, Frames::default()));
        }
        if first_commit == Some(saved.first_commit) {
            return Ok((saved.start, saved.frames.clone()));
        }
        let start = checkpoint.line_start();
        if first_commit == Some(checkpoint.commit()) {
            // It was replaced after the checkpoint.
            let mut frames = saved.frames.clone();
            frames.walk(archive)?;
            if frames.end < start {
                let reason = format!(
                    "the archive of the journal ends at byte {} of its text, but the active file begins at {start}",
                    frames.end
                );
                return Err(Damage::new(archive.path(), frames.bytes, reason).into());
            }
            frames.cut(start);
            return Ok((start, frames));
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
        return Err(Damage::new(active.path(), 0, reason).into());
    }
    let mut frames = Frames::default();
    frames.walk(archive)?;
    let Some(first_commit) = first_commit else {
        if frames.list.is_empty() {
            return Ok((0, frames));
        }
        let reason = "the file has no commit, but its archive does; restore it from a copy";
        return Err(Damage::new(active.path(), 0, reason).into());
    };
    // An interrupted rotation leaves the commits of the active file in the archive too.
    let mut low = 0;
    let mut high = frames.list.len();
    while low < high {
        let middle = low.midpoint(high);
        let start = frames.list.get(middle).map_or(0, |frame| frame.start);
        let text = frames.read(archive, start)?;
        let Some(commit) = line::commit_number(&text) else {
            let reason = "the frame of the archive does not begin with a commit";
            return Err(damage_at(&frames, archive.path(), start, reason).into());
        };
        if commit < first_commit {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    let start = frames.list.get(low).map_or(frames.end, |frame| frame.start);
    frames.cut(start);
    Ok((start, frames))
}

impl Parts {
    /// What the journal takes on the disk if its text ends at `end`, in bytes.
    pub(super) fn bytes_up_to(&self, end: u64) -> u64 {
        self.frames.bytes + end.saturating_sub(self.start)
    }

    /// Where the active file begins.
    pub(super) fn start(&self) -> u64 {
        self.start
    }

    pub(super) fn saved(&self) -> SavedParts {
        SavedParts {
            start: self.start,
            first_commit: self.first_commit,
            frames: self.frames.clone(),
        }
    }

    /// The end of the text, zeros included.
    pub(super) fn len(&self) -> Result<u64, FileError> {
        Ok(self.start + self.active.len()?)
    }

    /// Reads up to `length` bytes from `offset`: fewer at the end, and of the archived text at the ends of frames, where lines end
    /// too.
    pub(super) fn read_range(&self, offset: u64, length: u64) -> Result<Vec<u8>, JournalError> {
        match (offset.checked_sub(self.start), &self.archive) {
            (Some(offset), _) => Ok(self.active.read_range(offset, length)?),
            (None, Some(archive)) => archive.read(&self.frames, offset),
            (None, None) => Ok(Vec::new()),
        }
    }

    /// Writes to the active file.
    pub(super) fn write_all_at(&self, bytes: &[u8], offset: u64) -> Result<(), FileError> {
        self.active.write_all_at(bytes, offset - self.start)
    }

    pub(super) fn set_len(&self, length: u64) -> Result<(), FileError> {
        self.active.set_len(length - self.start)
    }

    pub(super) fn sync_data(&self) -> Result<(), FileError> {
        self.active.sync_data()
    }

    /// The place in the active file.
    pub(super) fn active_offset(&self, offset: u64) -> u64 {
        offset.saturating_sub(self.start)
    }

    /// The error of a line at an offset that was not read.
    pub(super) fn unreadable(&self, offset: u64, error: LineError) -> JournalError {
        let Damage { path, offset, .. } = self.damage(offset, "");
        unreadable(&path, offset, error)
    }

    /// Damage at an offset.
    pub(super) fn damage(&self, offset: u64, reason: impl Into<String>) -> Damage {
        match (offset.checked_sub(self.start), &self.archive) {
            (None, Some(archive)) => damage_at(&self.frames, &archive.path, offset, reason),
            _ => Damage::new(self.active.path(), self.active_offset(offset), reason),
        }
    }
}
