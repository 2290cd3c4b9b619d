//! Writing the tree, in one pass through the journal. The events go to the ends of their logs, in batches.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;

use super::directories::Directories;
use super::{ExportError, ExportReport};
use crate::disk::{FileError, FileHandle, Files, LockHandle, OpenMode};
use crate::journal::{Cursor, Log, RecordedCommit, StreamId};

pub(in crate::store) const STREAMS: &str = "streams";
pub(in crate::store) const LOG: &str = "app.jsonl";
pub(in crate::store) const ARCHIVE: &str = "archive.jsonl.zst";
pub(in crate::store) const META: &str = "meta";
pub(in crate::store) const REGISTRY: &str = "streams.jsonl";
/// The marker file of an export that is not complete.
pub(in crate::store) const UNFINISHED: &str = "unfinished-export";

/// The bytes of events that wait in memory until they are written.
const WAITING_BYTES: usize = 32 << 20;
/// The bytes of the registry that wait in memory until they are written.
const REGISTRY_BYTES: usize = 64 << 10;
/// A lock file, on platforms where directories cannot be locked.
const LOCK: &str = ".lock";

/// Writes all durable events to `to`; `None` if it was stopped before the end. Blocks.
pub(super) fn export(
    files: &Files,
    base: &Path,
    log: &dyn Log,
    to: &Path,
    is_stopped: &AtomicBool,
) -> Result<Option<ExportReport>, ExportError> {
    let position = *log.durable().borrow();
    let mut tree = Tree::begin(files, base, to)?;
    let mut cursor = Cursor::default();
    while cursor.position < position {
        if is_stopped.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let commits = log.read_on(&mut cursor)?;
        if commits.is_empty() {
            break;
        }
        for commit in &commits {
            if commit.first_position <= position {
                tree.add(commit);
            }
        }
        if tree.waiting_bytes >= WAITING_BYTES {
            if tree.write(is_stopped)?.is_none() {
                return Ok(None);
            }
            tracing::debug!(
                position = cursor.position.min(position),
                of = position,
                streams = tree.report.streams,
                "exporting"
            );
        }
    }
    if tree.write(is_stopped)?.is_none() {
        return Ok(None);
    }
    tree.report.position = position;
    tree.finish().map(Some)
}

/// An unfinished tree.
struct Tree<'a> {
    files: &'a Files,
    base: PathBuf,
    _lock: LockHandle,
    directories: Directories,
    registry: Registry,
    /// The unwritten lines, and the directory of each new log.
    waiting: BTreeMap<StreamId, Waiting>,
    waiting_bytes: usize,
    report: ExportReport,
}

#[derive(Default)]
struct Waiting {
    /// The directory, if the log does not exist yet.
    new: Option<String>,
    lines: Vec<u8>,
}

impl<'a> Tree<'a> {
    fn begin(files: &'a Files, base: &Path, to: &Path) -> Result<Self, ExportError> {
        let (base, place) = (files.canonical(base), files.canonical(to));
        if place.starts_with(&base) || base.starts_with(&place) {
            return Err(ExportError::Overlapping {
                path: to.to_owned(),
            });
        }
        require_empty(files, to)?;
        files.create_dir_durably(to)?;
        let lock = files.try_lock(to)?.ok_or_else(|| ExportError::InUse {
            path: to.to_owned(),
        })?;
        // Another export may have been faster.
        require_empty(files, to)?;
        let mark = files.open(&to.join(UNFINISHED), OpenMode::Truncate)?;
        mark.write_all_at(
            b"This export is not complete. Remove the directory and export again.\n",
            0,
        )?;
        mark.sync_data()?;
        files.sync_dir(to)?;
        for directory in [STREAMS, META] {
            files.create_dir_all(&to.join(directory))?;
        }
        let registry = to.join(META).join(REGISTRY);
        Ok(Self {
            registry: Registry {
                file: files.open(&registry, OpenMode::Truncate)?,
                written: 0,
                waiting: Vec::new(),
            },
            files,
            base: to.to_owned(),
            _lock: lock,
            directories: Directories::default(),
            waiting: BTreeMap::new(),
            waiting_bytes: 0,
            report: ExportReport::default(),
        })
    }

    /// Adds the events of the next commit.
    fn add(&mut self, commit: &RecordedCommit) {
        for append in &commit.appends {
            let waiting = self.waiting.entry(append.stream.clone()).or_default();
            if append.first_version == 1 {
                let directory = self.directories.choose(&append.stream);
                self.registry
                    .add(&append.stream, &directory, commit.time / 1000);
                waiting.new = Some(directory);
                self.report.streams += 1;
            }
            for line in append.lines.iter() {
                waiting.lines.extend_from_slice(line.as_bytes());
                waiting.lines.push(b'\n');
                self.waiting_bytes += line.len() + 1;
                self.report.events += 1;
                self.report.bytes += line.len() as u64 + 1;
            }
        }
    }

    /// Appends the waiting lines to their logs; `None` if it was stopped.
    fn write(&mut self, is_stopped: &AtomicBool) -> Result<Option<()>, FileError> {
        for (stream, Waiting { new, lines }) in std::mem::take(&mut self.waiting) {
            if is_stopped.load(Ordering::Relaxed) {
                return Ok(None);
            }
            let streams = self.base.join(STREAMS);
            let above = streams.join(&*stream.aggregate_type);
            let is_new = new.is_some();
            let directory = new.unwrap_or_else(|| self.directories.of(&stream));
            let directory = above.join(directory);
            if is_new {
                self.files.create_dir_all(&directory)?;
            }
            let log = self.files.open(&directory.join(LOG), OpenMode::Write)?;
            log.write_all_at(&lines, log.len()?)?;
            log.sync_data()?;
            if is_new {
                for created_in in [&directory, &above, &streams] {
                    self.files.sync_dir(created_in)?;
                }
            }
        }
        self.waiting_bytes = 0;
        if self.registry.waiting.len() >= REGISTRY_BYTES {
            self.registry.write()?;
        }
        Ok(Some(()))
    }

    /// Makes all files durable, then removes the marker file.
    fn finish(mut self) -> Result<ExportReport, ExportError> {
        self.registry.write()?;
        self.registry.file.sync_data()?;
        self.files.sync_dir(&self.base.join(META))?;
        self.files.sync_dir(&self.base)?;
        self.files.remove(&self.base.join(UNFINISHED))?;
        self.files.sync_dir(&self.base)?;
        Ok(self.report)
    }
}

/// The directory of each id.
struct Registry {
    file: FileHandle,
    written: u64,
    waiting: Vec<u8>,
}

impl Registry {
    fn add(&mut self, stream: &StreamId, directory: &str, ts: u64) {
        #[derive(Serialize)]
        struct Entry<'a> {
            #[serde(rename = "type")]
            aggregate_type: &'a str,
            id: &'a str,
            ts: u64,
            #[serde(skip_serializing_if = "Option::is_none")]
            dir: Option<&'a str>,
        }
        let entry = Entry {
            aggregate_type: &stream.aggregate_type,
            id: &stream.instance_id,
            ts,
            dir: Some(directory).filter(|directory| *directory != &*stream.instance_id),
        };
        // Serializing texts and numbers does not fail.
        if serde_json::to_writer(&mut self.waiting, &entry).is_ok() {
            self.waiting.push(b'\n');
        }
    }

    fn write(&mut self) -> Result<(), FileError> {
        self.file.write_all_at(&self.waiting, self.written)?;
        self.written += self.waiting.len() as u64;
        self.waiting.clear();
        Ok(())
    }
}

fn require_empty(files: &Files, directory: &Path) -> Result<(), ExportError> {
    let entries = files.list(directory)?;
    if entries.iter().any(|entry| entry.name == UNFINISHED) {
        return Err(ExportError::Unfinished {
            path: directory.to_owned(),
        });
    }
    match entries.iter().find(|entry| entry.name != LOCK) {
        Some(entry) => Err(ExportError::Occupied {
            path: directory.join(&entry.name),
        }),
        None => Ok(()),
    }
}
