//! Moving the older events of a stream to its archive.
//!
//! The checkpoint that covers them says so first. Then they are copied to the archive, which is made durable, and then a file
//! without them takes the place of `app.jsonl`: whatever a crash leaves, either that file still has them, or the archive does.
//! Opening finishes what the checkpoint says, or finds it finished.

use serde::{Deserialize, Serialize};

use super::archive::Frames;
use super::layout::Layout;
use super::streams::StreamSlot;
use crate::disk::{FileError, FileHandle, Files, OpenMode};
use crate::journal::{Damage, Extent, JournalError};
use crate::sabotage::{Bug, planted};

/// How much of a stream is in its archive.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StreamArchive {
    /// The events that are archived.
    pub(super) extent: Extent,
    /// The length of the archive, in bytes.
    pub(super) bytes: u64,
}

/// What a checkpoint says is being archived.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Archiving {
    /// The number of the stream.
    pub(super) stream: u64,
    /// The events that will be archived.
    pub(super) to: Extent,
}

/// Why a stream was not archived.
pub(super) enum ArchiveError {
    /// Nothing has changed for those who read it.
    Unchanged(JournalError),
    /// Which of two files is there after a restart is not known.
    Unknown(FileError),
}

impl From<JournalError> for ArchiveError {
    fn from(error: JournalError) -> Self {
        match error {
            JournalError::File(error) => error.into(),
            error @ JournalError::Damage(_) => Self::Unchanged(error),
        }
    }
}

impl From<FileError> for ArchiveError {
    fn from(error: FileError) -> Self {
        if error.is_failed_sync() {
            Self::Unknown(error)
        } else {
            Self::Unchanged(error.into())
        }
    }
}

/// Archives the events up to `to`, which the checkpoint that was just saved covers. Blocks.
pub(super) fn archive_stream(
    files: &Files,
    layout: &Layout,
    slot: &StreamSlot,
    to: Extent,
) -> Result<(), ArchiveError> {
    let path = layout.stream_file(&slot.stream.aggregate_type, slot.directory());
    let active = files.open(&path, OpenMode::Read)?;
    let archived = copy(files, layout, slot, &active, to).and_then(|archived| {
        let before = slot.archive().extent.bytes;
        // What the writer has brought to it since the checkpoint.
        let kept = active.read_range(
            to.bytes - before,
            active.len()?.saturating_sub(to.bytes - before),
        )?;
        replace(files, layout, slot, &kept, archived)
    });
    if let Err(ArchiveError::Unchanged(_)) = archived
        && let Err(error) = take_back(files, layout, slot)
    {
        tracing::warn!(%error, "other programs read some events of a stream twice until it is archived");
    }
    archived
}

/// Cuts off what was copied to the archive in vain: other programs would read it there and in the active file.
fn take_back(files: &Files, layout: &Layout, slot: &StreamSlot) -> Result<(), FileError> {
    let path = layout.stream_archive(&slot.stream.aggregate_type, slot.directory());
    match slot.archive().bytes {
        0 => files.remove(&path),
        bytes => files.open(&path, OpenMode::Write)?.set_len(bytes),
    }
}

/// Finishes what the checkpoint says, or notes that it is finished; what comes behind `to` is written again by redo. Blocks.
pub(super) fn finish_archiving(
    files: &Files,
    layout: &Layout,
    slot: &StreamSlot,
    to: Extent,
) -> Result<(), JournalError> {
    let path = layout.stream_file(&slot.stream.aggregate_type, slot.directory());
    let archive_path = layout.stream_archive(&slot.stream.aggregate_type, slot.directory());
    let before = slot.archive();
    if planted(Bug::IncompleteArchiveBelieved)
        && let Some(archive) = open(files, &archive_path)?
    {
        slot.set_archive(StreamArchive {
            extent: to,
            bytes: archive.len()?,
        });
        return Ok(());
    }
    if let Some(active) = open(files, &path)? {
        let text = active.read_range(0, to.bytes - before.extent.bytes)?;
        if continues(before.extent, &text, to) {
            let finished = copy(files, layout, slot, &active, to)
                .and_then(|archived| replace(files, layout, slot, &[], archived));
            return match finished {
                Ok(()) => Ok(()),
                Err(ArchiveError::Unchanged(error)) => Err(error),
                Err(ArchiveError::Unknown(error)) => Err(error.into()),
            };
        }
    }
    if let Some(archive) = open(files, &archive_path)? {
        let mut frames = frames_behind(before);
        frames.walk(&archive)?;
        let text = frames.read_all(&archive, before.extent.bytes);
        if text.is_ok_and(|text| continues(before.extent, &text, to)) {
            slot.set_archive(StreamArchive {
                extent: to,
                bytes: frames.bytes,
            });
            return Ok(());
        }
    }
    let reason = format!(
        "the first {} events of the stream were about to be archived, but neither this file nor the archive has them as the \
         journal wrote them; the journal can restore them",
        to.lines
    );
    Err(Damage::new(path, 0, reason).into())
}

/// Puts the archived events before the active ones again, so that what another program has written behind those keeps its place
/// when the journal writes all of them anew. Blocks.
///
/// It is done when the archive is gone; whatever a crash leaves before, doing it again comes to the same.
pub(super) fn unarchive(
    files: &Files,
    layout: &Layout,
    slot: &StreamSlot,
) -> Result<(), JournalError> {
    let (aggregate_type, directory) = (&slot.stream.aggregate_type, slot.directory());
    let path = layout.stream_file(aggregate_type, directory);
    let archive_path = layout.stream_archive(aggregate_type, directory);
    let Some(archive) = open(files, &archive_path)? else {
        return Ok(());
    };
    let mut frames = Frames::default();
    frames.walk(&archive)?;
    let archived = frames.read_all(&archive, 0);
    drop(archive);
    if let Some(active) = files.read(&path)? {
        match archived {
            Ok(mut text) => {
                text.truncate(before_the_active(&frames, &text, &active));
                text.extend(active);
                let fresh_path = path.with_extension("jsonl.new");
                let fresh = files.open(&fresh_path, OpenMode::Truncate)?;
                fresh.write_all_at(&text, 0)?;
                fresh.sync_data()?;
                files.rename(&fresh_path, &path)?;
            }
            Err(JournalError::Damage(damage)) => {
                // Where it belongs is not known.
                let aside = path.with_file_name("app-set-aside.jsonl");
                tracing::warn!(%damage, aside = %aside.display(), "the file of a stream is kept, since its archive is damaged; the stream is written anew");
                files.rename(&path, &aside)?;
            }
            Err(error) => return Err(error),
        }
        files.sync_dir(&layout.stream(aggregate_type, directory))?;
    }
    files.remove(&archive_path)?;
    files.sync_dir(&layout.stream(aggregate_type, directory))?;
    Ok(())
}

/// How much of the archived text stands before the active one: all of it, unless archiving was interrupted and the active file still
/// begins with its last frames.
fn before_the_active(frames: &Frames, archived: &[u8], active: &[u8]) -> usize {
    let starts = frames.list.iter();
    let starts = starts.filter_map(|frame| usize::try_from(frame.start).ok());
    let is_repeated = |start: &usize| {
        let repeated = archived.get(*start..);
        repeated.is_some_and(|repeated| active.starts_with(repeated))
    };
    starts
        .into_iter()
        .find(is_repeated)
        .unwrap_or(archived.len())
}

/// Reads the archived events of a stream. Blocks.
pub(super) fn read_archive(
    files: &Files,
    layout: &Layout,
    slot: &StreamSlot,
    archive: StreamArchive,
) -> Result<Vec<u8>, JournalError> {
    if archive.extent.bytes == 0 {
        return Ok(Vec::new());
    }
    let path = layout.stream_archive(&slot.stream.aggregate_type, slot.directory());
    let restorable = |reason: &str| {
        Damage::new(
            &path,
            0,
            format!("{reason}; the journal can restore the stream"),
        )
    };
    let Some(file) = open(files, &path)? else {
        return Err(restorable("the archive of the stream is missing").into());
    };
    let mut frames = Frames::default();
    frames.walk(&file)?;
    if frames.bytes < archive.bytes {
        return Err(restorable("the archive of the stream is cut or damaged").into());
    }
    frames.cut(archive.extent.bytes);
    let text = frames.read_all(&file, 0)?;
    if continues(Extent::default(), &text, archive.extent) {
        Ok(text)
    } else {
        Err(restorable("the events in the archive are not those that the journal wrote").into())
    }
}

fn open(files: &Files, path: &std::path::Path) -> Result<Option<FileHandle>, FileError> {
    match files.open(path, OpenMode::Read) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

fn frames_behind(archive: StreamArchive) -> Frames {
    Frames {
        list: Vec::new(),
        end: archive.extent.bytes,
        bytes: archive.bytes,
    }
}

fn continues(from: Extent, text: &[u8], to: Extent) -> bool {
    let mut extent = from;
    std::str::from_utf8(text).is_ok_and(|text| {
        extent.push_text(text);
        extent == to
    })
}

/// Copies the events from the active file durably to the archive.
fn copy(
    files: &Files,
    layout: &Layout,
    slot: &StreamSlot,
    active: &FileHandle,
    to: Extent,
) -> Result<StreamArchive, ArchiveError> {
    let (aggregate_type, directory) = (&slot.stream.aggregate_type, slot.directory());
    let before = slot.archive();
    let mut frames = frames_behind(before);
    let path = layout.stream_archive(aggregate_type, directory);
    let archive = files.open(&path, OpenMode::Write)?;
    let mut extent = before.extent;
    let length = to.bytes - before.extent.bytes;
    let damage = |reason: &str| Damage::new(active.path(), 0, reason);
    frames.append(&archive, active, 0, length, |text| {
        let text = std::str::from_utf8(text).map_err(|_| damage("the stream is not UTF-8 text"))?;
        extent.push_text(text);
        Ok(())
    })?;
    if extent != to {
        let reason = "the events of the stream are not those that the journal wrote; the journal can restore them";
        return Err(JournalError::from(damage(reason)).into());
    }
    if !planted(Bug::StreamArchiveNotSynced) {
        archive.sync_data()?;
        files.sync_dir(&layout.stream(aggregate_type, directory))?;
    }
    Ok(StreamArchive {
        extent: to,
        bytes: frames.bytes,
    })
}

/// Lets a file with the text behind the archived events take the place of the active one; those who have it open keep it.
fn replace(
    files: &Files,
    layout: &Layout,
    slot: &StreamSlot,
    kept: &[u8],
    archived: StreamArchive,
) -> Result<(), ArchiveError> {
    let path = layout.stream_file(&slot.stream.aggregate_type, slot.directory());
    let fresh_path = path.with_extension("jsonl.new");
    let fresh = files.open(&fresh_path, OpenMode::Truncate)?;
    fresh.write_all_at(kept, 0)?;
    let replacing = slot.begin_replacing();
    files
        .rename(&fresh_path, &path)
        .map_err(ArchiveError::Unknown)?;
    replacing.finish(archived);
    Ok(())
}
