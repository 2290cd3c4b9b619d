//! Which streams a directory of 0.2.0 holds: those in its registry, and those that only their directories tell of.
//!
//! 0.2.0 took an id for a path below the directory of its type, whatever it said: an id with `/` has its events in a
//! directory within another one, and two ids may have one directory.

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
/// Where eventfold keeps the snapshots of a log.
const VIEWS: &str = "views";

/// A stream with the directory that it has.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) stream: StreamId,
    /// Below that of its type, with `/` between levels.
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

    /// How the cursors of 0.2.0 name it.
    pub(super) fn key(&self) -> String {
        format!("{}/{}", self.stream.aggregate_type, self.directory)
    }
}

/// What there is.
#[derive(Debug, Default)]
pub(super) struct Survey {
    /// In the order of the registry, then those that it does not know.
    pub(super) streams: Vec<Found>,
    /// Those that have no directory of their own in the store.
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
    // Those that the walk passes by: through links, and in the places of snapshots.
    for found in &mut survey.streams {
        if !found.has_log && !found.has_archive {
            (found.has_log, found.has_archive) = files_in(files, layout, &found.key())?;
        }
    }
    Ok(survey)
}

/// Which stream has which directory.
struct Places {
    /// Whether the file system takes upper and lower case for the same.
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
            let reason = "its id names a directory outside of that of its type";
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
        // The events are those of the id that the directory is named after, as projections have always seen it.
        let is_named = |found: &Found| *found.stream.instance_id == *found.directory;
        let other = if is_named(&found) && !is_named(first) {
            std::mem::replace(first, found)
        } else {
            found
        };
        let owner = &first.stream.instance_id;
        let reason = format!("its directory is that of the stream `{owner}` too");
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

    /// Notes the stream in a directory, if there is one; the directories in it.
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

/// Where 0.2.0 has the streams themselves.
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
