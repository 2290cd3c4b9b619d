//! The streams of a directory of 0.2.0: those in its registry, and those that only a directory shows.
//!
//! 0.2.0 used any id as a path below the directory of its type. For example, the id `a/b` has its events in a directory within
//! that of the id `a`. Two ids may share one directory.

use std::collections::HashMap;
use std::path::PathBuf;

use serde::Deserialize;

use super::record::Quarantined;
use super::source::StreamSource;
use crate::disk::{DirectoryEntry, FileError, Files};
use crate::journal::StreamId;
use crate::journal::local::Layout;
use crate::names::inside;

const LOG: &str = "app.jsonl";
const ARCHIVE: &str = "archive.jsonl.zst";
/// The directory in which eventfold keeps the snapshots of a log.
const VIEWS: &str = "views";

/// A stream and its directory.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) stream: StreamId,
    /// Relative to the directory of its type, with `/` between levels.
    pub(super) directory: String,
    pub(super) has_log: bool,
    pub(super) has_archive: bool,
}

impl Found {
    pub(super) fn source(&self, layout: &Layout) -> StreamSource {
        let above = streams(layout).join(&*self.stream.aggregate_type);
        let directory = above.join(&self.directory);
        StreamSource {
            log: directory.join(LOG),
            archive: directory.join(ARCHIVE),
            pieces: Vec::new(),
        }
    }

    /// The name of the stream in the cursors of 0.2.0.
    pub(super) fn key(&self) -> String {
        format!("{}/{}", self.stream.aggregate_type, self.directory)
    }
}

/// The streams of a directory.
#[derive(Debug, Default)]
pub(super) struct Survey {
    /// The streams of the registry, in its order, followed by the streams that it does not list.
    pub(super) streams: Vec<Found>,
    /// The streams without their own directory in the store.
    pub(super) quarantined: Vec<Quarantined>,
    pub(super) unreadable_registry_lines: u64,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(rename = "type")]
    aggregate_type: String,
    id: String,
    dir: Option<String>,
}

pub(super) fn survey(files: &Files, layout: &Layout) -> Result<Survey, FileError> {
    let mut survey = Survey::default();
    let mut places = Places {
        folds_case: files.exists(&layout.base().join("STREAMS"))?,
        indexes: HashMap::new(),
    };
    let registry = files.read(&registry(layout))?.unwrap_or_default();
    for line in registry.split(|byte| *byte == b'\n') {
        if line.trim_ascii().is_empty() {
            continue;
        }
        match serde_json::from_slice::<Entry>(line) {
            Ok(entry) => survey.register(entry, &mut places),
            Err(_) => survey.unreadable_registry_lines += 1,
        }
    }
    let mut waiting: Vec<_> = files
        .list(&streams(layout))?
        .into_iter()
        .rev()
        .filter(|entry| entry.is_directory)
        .map(|entry| entry.name)
        .collect();
    while let Some(place) = waiting.pop() {
        let below = survey.visit(files, layout, &place, &mut places)?;
        waiting.extend(below.into_iter().rev());
    }
    // The walk does not visit some streams: those behind links, and those in the directories of snapshots.
    for found in &mut survey.streams {
        if !found.has_log && !found.has_archive {
            (found.has_log, found.has_archive) = files_in(files, layout, &found.key())?;
        }
    }
    Ok(survey)
}

/// The stream of each directory.
struct Places {
    /// Whether the file system ignores the difference between upper and lower case.
    folds_case: bool,
    indexes: HashMap<String, usize>,
}

impl Places {
    fn name(&self, place: &str) -> String {
        if self.folds_case {
            place.to_lowercase()
        } else {
            place.to_owned()
        }
    }
}

impl Survey {
    fn register(&mut self, entry: Entry, places: &mut Places) {
        let stream = StreamId::new(&entry.aggregate_type, &entry.id);
        let written = entry.dir.as_deref().unwrap_or(&entry.id);
        let (Some(above), Some(directory)) = (inside(&entry.aggregate_type), inside(written))
        else {
            let reason = "its id names a directory outside the directory of its type";
            return self.quarantine(stream, None, reason.to_owned());
        };
        let place = places.name(&format!("{above}/{directory}"));
        let found = Found {
            stream,
            directory,
            has_log: false,
            has_archive: false,
        };
        let Some(index) = places.indexes.get(&place) else {
            places.indexes.insert(place, self.streams.len());
            self.streams.push(found);
            return;
        };
        let Some(first) = self.streams.get_mut(*index) else {
            return;
        };
        if first.stream == found.stream {
            return;
        }
        // The events belong to the id that names the directory, which is also how projections have always seen it.
        let is_named = |found: &Found| *found.stream.instance_id == *found.directory;
        let other = if is_named(&found) && !is_named(first) {
            std::mem::replace(first, found)
        } else {
            found
        };
        let owner = &first.stream.instance_id;
        let reason = format!("the stream `{owner}` has the same directory");
        self.quarantine(other.stream, None, reason);
    }

    fn quarantine(&mut self, stream: StreamId, directory: Option<String>, reason: String) {
        self.quarantined.push(Quarantined {
            aggregate_type: stream.aggregate_type.to_string(),
            id: stream.instance_id.to_string(),
            dir: directory,
            file: "meta/streams.jsonl".to_owned(),
            offset: 0,
            reason,
        });
    }

    /// Adds the stream in a directory, if there is one. The result is the directories below.
    fn visit(
        &mut self,
        files: &Files,
        layout: &Layout,
        place: &str,
        places: &mut Places,
    ) -> Result<Vec<String>, FileError> {
        let entries = files.list(&streams(layout).join(place))?;
        let (has_log, has_archive) = (has_file(&entries, LOG), has_file(&entries, ARCHIVE));
        if let Some((aggregate_type, directory)) = place.split_once('/')
            && (has_log || has_archive)
        {
            let next = self.streams.len();
            let index = *places.indexes.entry(places.name(place)).or_insert(next);
            if index == next {
                self.streams.push(Found {
                    stream: StreamId::new(aggregate_type, directory),
                    directory: directory.to_owned(),
                    has_log,
                    has_archive,
                });
            } else if let Some(found) = self.streams.get_mut(index) {
                (found.has_log, found.has_archive) = (has_log, has_archive);
            }
        }
        let below = entries
            .into_iter()
            .filter(|entry| entry.is_directory && !(has_log && entry.name == VIEWS));
        Ok(below
            .map(|entry| format!("{place}/{}", entry.name))
            .collect())
    }
}

/// The list of streams of 0.2.0.
pub(super) fn registry(layout: &Layout) -> PathBuf {
    layout.meta().join("streams.jsonl")
}

/// The directory with the streams of 0.2.0.
pub(super) fn streams(layout: &Layout) -> PathBuf {
    layout.base().join("streams")
}

fn files_in(files: &Files, layout: &Layout, place: &str) -> Result<(bool, bool), FileError> {
    let entries = files.list(&streams(layout).join(place))?;
    Ok((has_file(&entries, LOG), has_file(&entries, ARCHIVE)))
}

fn has_file(entries: &[DirectoryEntry], name: &str) -> bool {
    entries
        .iter()
        .any(|entry| entry.name == name && !entry.is_directory)
}
