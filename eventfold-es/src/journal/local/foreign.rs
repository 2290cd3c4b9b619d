//! Bytes that another program has written behind a stream.

use std::path::PathBuf;

use serde_json::value::RawValue;

use super::LocalJournal;
use super::layout::Layout;
use super::streams::StreamSlot;
use crate::disk::{FileError, Files, OpenMode};
use crate::journal::StreamId;
use crate::nesting;

/// What stands behind the last event that the journal wrote to a stream.
#[derive(Debug, Clone)]
pub(crate) struct ForeignLines {
    pub(crate) stream: StreamId,
    /// The version of the stream before them.
    pub(crate) version: u64,
    /// The events that stand there.
    pub(crate) lines: Vec<Box<str>>,
    path: PathBuf,
    /// Where what is behind them begins, which is no event.
    rest: u64,
}

/// Reads what stands behind a stream. Blocks.
pub(super) fn read_foreign(
    files: &Files,
    layout: &Layout,
    slot: &StreamSlot,
) -> Result<ForeignLines, FileError> {
    let path = layout.stream_file(&slot.stream.aggregate_type, slot.directory());
    let file = files.open(&path, OpenMode::Read)?;
    let extent = slot.extent();
    let start = extent.bytes - slot.archive().extent.bytes;
    let bytes = file.read_range(start, file.len()?.saturating_sub(start))?;
    let mut lines = Vec::new();
    let mut rest = start;
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let Some(text) = line.strip_suffix(b"\n").and_then(event) else {
            break;
        };
        lines.push(text.into());
        rest += line.len() as u64;
    }
    Ok(ForeignLines {
        stream: slot.stream.clone(),
        version: extent.lines,
        lines,
        path,
        rest,
    })
}

/// The text of a line if it is an event and nothing but it, so that it is the same when it is written from the journal.
fn event(line: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(line).ok()?;
    let raw: &RawValue = serde_json::from_str(text).ok()?;
    let _: eventfold::Event = serde_json::from_str(text).ok()?;
    // The event itself is a level.
    let is_storable = !nesting::is_deeper(text, nesting::MAX_DEPTH + 1);
    (raw.get() == text && is_storable).then_some(text)
}

impl LocalJournal {
    /// What stood behind streams when the store was opened.
    pub(crate) fn foreign_lines(&self) -> Vec<ForeignLines> {
        self.foreign.clone()
    }

    /// Moves bytes that are no events to a file beside the stream; its path if there are any. Blocks.
    pub(crate) fn set_aside(&self, foreign: &ForeignLines) -> Result<Option<PathBuf>, FileError> {
        let file = self.files.open(&foreign.path, OpenMode::Write)?;
        let bytes = file.read_range(foreign.rest, file.len()?.saturating_sub(foreign.rest))?;
        if bytes.is_empty() {
            return Ok(None);
        }
        let aside = foreign
            .path
            .with_file_name(format!("foreign-{}.jsonl", foreign.rest));
        let copy = self.files.open(&aside, OpenMode::Truncate)?;
        copy.write_all_at(&bytes, 0)?;
        copy.sync_data()?;
        if let Some(directory) = aside.parent() {
            self.files.sync_dir(directory)?;
        }
        file.set_len(foreign.rest)?;
        Ok(Some(aside))
    }
}
