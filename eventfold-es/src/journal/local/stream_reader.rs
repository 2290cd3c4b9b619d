//! Reading one stream: what is archived, what is in its file, and what is still on its way there.

use std::path::Path;
use std::time::Duration;

use super::layout::Layout;
use super::stream_archive::read_archive;
use super::streams::{StreamSlot, StreamView};
use crate::disk::{FileHandle, Files, OpenMode};
use crate::journal::{Damage, Extent, JournalError, StoredLines, StreamTail};
use crate::sabotage::{Bug, planted};

/// How long to wait while a stream's file is being replaced.
const REPLACING: Duration = Duration::from_millis(1);

/// The damage of a stream file that has more than `expected` bytes.
pub(super) fn foreign_bytes(path: &Path, length: u64, expected: u64) -> Option<Damage> {
    let count = length.checked_sub(expected).filter(|count| *count > 0)?;
    let reason = format!(
        "{count} bytes stand behind the last event that the journal wrote to this stream; another program wrote them, or they \
         belong to another copy of the store"
    );
    Some(Damage::new(path, expected, reason))
}

/// Reads the durable events of a stream behind its beginning `start`, and compares them with what the journal wrote. Blocks.
///
/// What comes back leads from `start` to what the journal wrote; of the beginning itself nothing is read, unless it ends within
/// the archive.
pub(super) fn read_stream(
    files: &Files,
    layout: &Layout,
    slot: &StreamSlot,
    start: Extent,
) -> Result<StreamTail, JournalError> {
    let path = layout.stream_file(&slot.stream.aggregate_type, slot.directory());
    let (view, active) = open_active(files, &path, slot)?;
    let archived = view.archive.extent.bytes;
    let in_file = view.in_file();
    // Where reading begins: at the start, or at that of the archive if the start is within it.
    let from = if start.bytes < archived {
        0
    } else {
        start.bytes.min(in_file)
    };
    let mut bytes = Vec::new();
    if from < archived {
        bytes = read_archive(files, layout, slot, view.archive)?;
    }
    let from_active = from.max(archived);
    let mut read = from_active;
    if let Some(active) = active {
        let expected = in_file - from_active;
        // One byte more tells whether the file ends there, without asking for its length.
        let mut text = active.read_range(from_active - archived, expected + 1)?;
        let is_exact = expected > 0 && text.len() as u64 == expected;
        if !is_exact {
            text.truncate(usize::try_from(expected).unwrap_or(usize::MAX));
            let length = active.len()?;
            read = (archived + length).min(from_active) + text.len() as u64;
            // Unless more was written to it meanwhile.
            if slot.view().extent == view.extent
                && let Some(damage) = foreign_bytes(&path, length, view.extent.bytes - archived)
            {
                return Err(damage.into());
            }
        } else {
            read = in_file;
        }
        bytes.extend(text);
    }
    if read != in_file {
        let reason = format!(
            "the stream ends here, but the journal has written {} bytes to this file; the journal can restore it",
            in_file - archived
        );
        return Err(Damage::new(path, read - archived, reason).into());
    }
    let mut text = String::from_utf8(bytes).map_err(|error| {
        let offset = from + error.utf8_error().valid_up_to() as u64;
        let reason = "the stream is not UTF-8 text from here on; the journal can restore it";
        Damage::new(&path, offset.saturating_sub(archived), reason)
    })?;
    for append in &view.unwritten {
        append.push_text(&mut text);
    }
    let text = behind(text, start.bytes - from);
    let mut actual = start;
    // What a snapshot says of the stream may be anything.
    if start.lines <= view.extent.lines {
        actual.push_text(&text);
    }
    let has_length = (actual.lines, actual.bytes) == (view.extent.lines, view.extent.bytes);
    let is_believed = planted(Bug::ExtentsNotCompared)
        || (planted(Bug::SnapshotWithoutItsHash) && start.lines > 0 && has_length);
    if actual != view.extent && !is_believed {
        let reason = "the events of the stream from here on are not those that the journal wrote; the journal can restore them";
        return Err(Damage::new(path, start.bytes.saturating_sub(archived), reason).into());
    }
    Ok(StreamTail {
        lines: StoredLines { text, path },
        end: view.extent,
    })
}

/// The text without its first bytes; empty if there are not so many.
fn behind(text: String, count: u64) -> String {
    match usize::try_from(count) {
        Ok(0) => text,
        Ok(count) => text.get(count..).unwrap_or_default().to_owned(),
        Err(_) => String::new(),
    }
}

/// The state of a stream and the active file that belongs to it, if there is to be one.
fn open_active(
    files: &Files,
    path: &Path,
    slot: &StreamSlot,
) -> Result<(StreamView, Option<FileHandle>), JournalError> {
    loop {
        // Before the file: what is no longer unwritten after this line is in the file.
        let view = slot.view();
        if view.is_replacing {
            std::thread::sleep(REPLACING);
            continue;
        }
        if view.in_file() == view.archive.extent.bytes && !view.unwritten.is_empty() {
            return Ok((view, None));
        }
        let opened = files.open(path, OpenMode::Read);
        let now = slot.view();
        if now.is_replacing || now.archive != view.archive {
            continue;
        }
        return match opened {
            Ok(file) => Ok((view, Some(file))),
            Err(error) if error.is_not_found() && view.in_file() == view.archive.extent.bytes => {
                Ok((view, None))
            }
            Err(error) if error.is_not_found() => {
                let reason = "the stream's file is missing; the journal can restore it";
                Err(Damage::new(path, 0, reason).into())
            }
            Err(error) => Err(error.into()),
        };
    }
}
