//! `meta/streams.jsonl`: one line per stream, in the order in which they began: `{"type","id","ts"}`, and `"dir"` where the
//! directory is not named like the id.

use std::borrow::Cow;

use eventfold::line_hash;
use serde::{Deserialize, Serialize};

use super::layout::Layout;
use super::line::NO_HASH;
use super::streams::{StreamSlot, StreamTable};
use crate::disk::{FileError, FileHandle, Files, OpenMode};
use crate::journal::StreamId;

/// How much of the registry is vouched for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RegistryExtent {
    pub(super) bytes: u64,
    /// The hash of the last line together with the hash before it.
    pub(super) hash: String,
}

impl Default for RegistryExtent {
    fn default() -> Self {
        Self {
            bytes: 0,
            hash: NO_HASH.to_owned(),
        }
    }
}

impl RegistryExtent {
    fn extend(&mut self, line: &str) {
        self.hash = line_hash(format!("{}{line}", self.hash).as_bytes());
        self.bytes += line.len() as u64 + 1;
    }
}

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

/// The registry file, open to be extended.
pub(super) struct Registry {
    file: FileHandle,
    extent: RegistryExtent,
    /// Lines that are not yet in the file.
    pending: String,
}

impl Registry {
    /// Fills `table` with the streams that `extent` vouches for and cuts off the rest of the file; `None`, with nothing done
    /// to the file, if its content is not what was saved.
    pub(super) fn load(
        files: &Files,
        layout: &Layout,
        extent: &RegistryExtent,
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
            file,
            extent: extent.clone(),
            pending: String::new(),
        }))
    }

    /// Adds a stream that got its first event at `ts`.
    pub(super) fn add(&mut self, slot: &StreamSlot, ts: u64) {
        let directory =
            (*slot.directory != *slot.stream.instance_id).then(|| Cow::from(&*slot.directory));
        let entry = Entry {
            aggregate_type: Cow::from(&*slot.stream.aggregate_type),
            id: Cow::from(&*slot.stream.instance_id),
            ts,
            dir: directory,
        };
        if let Ok(line) = serde_json::to_string(&entry) {
            self.pending.push_str(&line);
            self.pending.push('\n');
        }
    }

    /// Writes what was added; nothing is synced.
    pub(super) fn flush(&mut self) -> Result<(), FileError> {
        if self.pending.is_empty() {
            return Ok(());
        }
        self.file
            .write_all_at(self.pending.as_bytes(), self.extent.bytes)?;
        for line in self.pending.lines() {
            self.extent.extend(line);
        }
        self.pending.clear();
        Ok(())
    }

    pub(super) fn sync(&self) -> Result<(), FileError> {
        self.file.sync_data()
    }

    pub(super) fn extent(&self) -> &RegistryExtent {
        &self.extent
    }
}

fn restore(bytes: &[u8], expected: &RegistryExtent, table: &StreamTable) -> Result<(), String> {
    let text = std::str::from_utf8(bytes).map_err(|error| error.to_string())?;
    let mut extent = RegistryExtent::default();
    let mut entries = Vec::new();
    for line in text.lines() {
        let entry: Entry<'_> = serde_json::from_str(line)
            .map_err(|error| format!("byte {}: {error}", extent.bytes))?;
        extent.extend(line);
        entries.push(entry);
    }
    if extent != *expected {
        return Err(format!(
            "{} of {} bytes, with the hash {} instead of {}",
            extent.bytes, expected.bytes, extent.hash, expected.hash
        ));
    }
    for entry in entries {
        let directory = entry.dir.as_deref().unwrap_or(&entry.id);
        table.restore(StreamId::new(&entry.aggregate_type, &entry.id), directory);
    }
    Ok(())
}
