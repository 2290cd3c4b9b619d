//! Reading one stream: what is archived, what is in its file, and what is still on its way there.

use std::path::Path;
use std::time::Duration;

use super::layout::Layout;
use super::stream_archive::read_archive;
use super::streams::{StreamSlot, StreamView};
use crate::disk::{FileHandle, Files, OpenMode};
use crate::journal::{Damage, Extent, JournalError, StoredLines};

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

/// Reads all durable events of a stream and compares them with what the journal wrote. Blocks.
pub(super) fn read_stream(
    files: &Files,
    layout: &Layout,
    slot: &StreamSlot,
) -> Result<StoredLines, JournalError> {
    let path = layout.stream_file(&slot.stream.aggregate_type, &slot.directory);
    let (view, active) = open_active(files, &path, slot)?;
    let archived = view.archive.extent.bytes;
    let mut bytes = read_archive(files, layout, slot, view.archive)?;
    let in_file = view.in_file() - archived;
    if let Some(active) = active {
        bytes.extend(active.read_range(0, in_file)?);
        let length = active.len()?;
        // Unless more was written to it meanwhile.
        if slot.view().extent == view.extent
            && let Some(damage) = foreign_bytes(&path, length, view.extent.bytes - archived)
        {
            return Err(damage.into());
        }
    }
    let read = bytes.len() as u64 - archived;
    if read != in_file {
        let reason = format!(
            "the stream ends here, but the journal has written {in_file} bytes to this file; the journal can restore it"
        );
        return Err(Damage::new(path, read, reason).into());
    }
    let mut text = String::from_utf8(bytes).map_err(|error| {
        let offset = (error.utf8_error().valid_up_to() as u64).saturating_sub(archived);
        let reason = "the stream is not UTF-8 text from here on; the journal can restore it";
        Damage::new(&path, offset, reason)
    })?;
    for append in &view.unwritten {
        append.push_text(&mut text);
    }
    let mut actual = Extent::default();
    actual.push_text(&text);
    if actual != view.extent {
        let reason = "the events of the stream are not those that the journal wrote; the journal can restore them";
        return Err(Damage::new(path, 0, reason).into());
    }
    Ok(StoredLines { text, path })
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
