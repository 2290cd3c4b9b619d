//! `meta/streams.jsonl`: one line per stream, in the order in which they began: `{"type","id","ts"}`, and `"dir"` where the
//! directory is not named like the id.

use std::borrow::Cow;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::layout::Layout;
use super::streams::{StreamSlot, StreamTable};
use crate::disk::{FileError, FileHandle, Files, OpenMode};
use crate::journal::{Extent, StreamId};
use crate::sabotage::{Bug, planted};

#[derive(Serialize, Deserialize)]
struct Entry<'a> {
    #[serde(rename = "type", borrow)]
    aggregate_type: Cow<'a, str>,
    #[serde(borrow)]
    id: Cow<'a, str>,
    ts: u64,
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    dir: Option<Cow<'a, str>>,
}

/// The registry file, to be extended. It is open only while it is written to.
pub(super) struct Registry {
    files: Files,
    path: PathBuf,
    extent: Extent,
    /// Lines that are not yet in the file.
    pending: String,
}

impl Registry {
    /// Fills `table` with the streams that `extent` vouches for and cuts off the rest of the file; `None`, with nothing done
    /// to the file, if its content is not what was saved. The table is of no use then.
    pub(super) fn load(
        files: &Files,
        layout: &Layout,
        extent: Extent,
        table: &StreamTable,
    ) -> Result<Option<Self>, FileError> {
        let path = layout.registry();
        let file = files.open(&path, OpenMode::Write)?;
        let bytes = file.read_range(0, extent.bytes)?;
        if let Err(reason) = restore(&bytes, extent, table) {
            tracing::warn!(path = %path.display(), %reason, "the stream registry is damaged; it is written again from the journal");
            return Ok(None);
        }
        file.set_len(extent.bytes)?;
        Ok(Some(Self {
            files: files.clone(),
            path,
            extent,
            pending: String::new(),
        }))
    }

    /// Adds a stream that got its first event at `ts`.
    pub(super) fn add(&mut self, slot: &StreamSlot, ts: u64) {
        let directory =
            (slot.directory() != &*slot.stream.instance_id).then(|| Cow::from(slot.directory()));
        let entry = Entry {
            aggregate_type: Cow::from(&*slot.stream.aggregate_type),
            id: Cow::from(&*slot.stream.instance_id),
            ts,
            dir: directory,
        };
        if let Ok(line) = serde_json::to_string(&entry) {
            for _ in 0..1 + u8::from(planted(Bug::RegistryLineTwice)) {
                self.pending.push_str(&line);
                self.pending.push('\n');
            }
        }
    }

    /// Writes what was added; nothing is synced.
    pub(super) fn flush(&mut self) -> Result<(), FileError> {
        if self.pending.is_empty() {
            return Ok(());
        }
        self.open()?
            .write_all_at(self.pending.as_bytes(), self.extent.bytes)?;
        self.extent.push_text(&self.pending);
        self.pending.clear();
        Ok(())
    }

    pub(super) fn sync(&self) -> Result<(), FileError> {
        self.open()?.sync_data()
    }

    fn open(&self) -> Result<FileHandle, FileError> {
        self.files.open(&self.path, OpenMode::Write)
    }

    pub(super) fn extent(&self) -> Extent {
        self.extent
    }
}

/// The streams that a registry lists, each with its directory; the reason if it cannot be read.
pub(super) fn read_registry(bytes: &[u8]) -> Result<Vec<(StreamId, String)>, String> {
    let text = std::str::from_utf8(bytes).map_err(|error| error.to_string())?;
    text.lines()
        .map(|line| {
            let entry: Entry<'_> = serde_json::from_str(line).map_err(|error| error.to_string())?;
            let directory = entry.dir.as_deref().unwrap_or(&entry.id).to_owned();
            Ok((StreamId::new(&entry.aggregate_type, &entry.id), directory))
        })
        .collect()
}

fn restore(bytes: &[u8], expected: Extent, table: &StreamTable) -> Result<(), String> {
    let text = std::str::from_utf8(bytes).map_err(|error| error.to_string())?;
    expected.check(text)?;
    table.reserve(usize::try_from(expected.lines).unwrap_or_default());
    for (index, line) in text.lines().enumerate() {
        let entry: Entry<'_> =
            serde_json::from_str(line).map_err(|error| format!("line {}: {error}", index + 1))?;
        let directory = entry.dir.as_deref().unwrap_or(&entry.id);
        table.restore(&entry.aggregate_type, &entry.id, directory);
    }
    Ok(())
}
