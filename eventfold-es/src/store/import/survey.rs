//! The logs of a tree, and their streams.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::ImportError;
use crate::disk::{DirectoryEntry, Files};
use crate::journal::{self, StreamId};
use crate::names;
use crate::names::inside;
use crate::runtime::check_text;
use crate::store::export::{ARCHIVE, LOG, META, REGISTRY, STREAMS, UNFINISHED};

/// The directory of eventfold's snapshots, next to a log.
const VIEWS: &str = "views";

/// A log of a tree.
#[derive(Debug, Clone)]
pub(super) struct Log {
    pub(super) stream: StreamId,
    directory: PathBuf,
    pub(super) has_log: bool,
    pub(super) has_archive: bool,
}

impl Log {
    pub(super) fn log(&self) -> PathBuf {
        self.directory.join(LOG)
    }

    pub(super) fn archive(&self) -> PathBuf {
        self.directory.join(ARCHIVE)
    }
}

/// All logs below `from`, in the order of their streams.
pub(super) fn survey(files: &Files, store: &Path, from: &Path) -> Result<Vec<Log>, ImportError> {
    let (store, place) = (files.canonical(store), files.canonical(from));
    if place.starts_with(&store) || store.starts_with(&place) {
        return Err(ImportError::Overlapping {
            path: from.to_owned(),
        });
    }
    if files.exists(&from.join(UNFINISHED))? {
        return Err(ImportError::Unfinished {
            path: from.to_owned(),
        });
    }
    if journal::has_journal(files, from)? {
        return Err(ImportError::IsStore {
            path: from.to_owned(),
        });
    }
    let streams = from.join(STREAMS);
    if !files.exists(&streams)? {
        return Err(ImportError::NoStreams {
            path: from.to_owned(),
        });
    }
    let ids = Ids::read(files, from)?;
    let mut logs = Vec::new();
    let mut waiting = directories(files.list(&streams)?, |_| true);
    while let Some(place) = waiting.pop() {
        let directory = streams.join(&place);
        let entries = files.list(&directory)?;
        let has = |name| {
            let mut entries = entries.iter();
            entries.any(|entry| entry.name == name && !entry.is_directory)
        };
        let (has_log, has_archive) = (has(LOG), has(ARCHIVE));
        if let Some((aggregate_type, id)) = place.split_once('/')
            && (has_log || has_archive)
        {
            let id = ids.of(&place).unwrap_or(id);
            check(aggregate_type, id).map_err(|reason| ImportError::InvalidStream {
                path: directory.clone(),
                reason,
            })?;
            logs.push(Log {
                stream: StreamId::new(aggregate_type, id),
                directory,
                has_log,
                has_archive,
            });
        }
        let below = directories(entries, |name| !(has_log && name == VIEWS));
        waiting.extend(below.iter().map(|name| format!("{place}/{name}")));
    }
    logs.sort_by(|one, other| one.stream.cmp(&other.stream));
    let mut pairs = logs.iter().zip(logs.iter().skip(1));
    if let Some((one, other)) = pairs.find(|(one, other)| one.stream == other.stream) {
        return Err(ImportError::InvalidStream {
            path: other.directory.clone(),
            reason: format!(
                "it is of the stream `{}`, as is {}",
                one.stream.instance_id,
                one.directory.display()
            ),
        });
    }
    Ok(logs)
}

fn directories(entries: Vec<DirectoryEntry>, wanted: impl Fn(&str) -> bool) -> Vec<String> {
    let entries = entries.into_iter();
    let directories = entries.filter(|entry| entry.is_directory && wanted(&entry.name));
    directories.map(|entry| entry.name).collect()
}

fn check(aggregate_type: &str, id: &str) -> Result<(), String> {
    if !names::is_storable(aggregate_type) {
        return Err(format!(
            "`{aggregate_type}` cannot be the name of an aggregate type"
        ));
    }
    check_text(id).map_err(|reason| format!("its id cannot be used: {reason}"))
}

/// The ids that differ from their directories.
struct Ids(HashMap<String, String>);

impl Ids {
    fn read(files: &Files, from: &Path) -> Result<Self, ImportError> {
        #[derive(Deserialize)]
        struct Entry {
            #[serde(rename = "type")]
            aggregate_type: String,
            id: String,
            dir: Option<String>,
        }
        let path = from.join(META).join(REGISTRY);
        let mut ids = HashMap::new();
        let registry = files.read(&path)?.unwrap_or_default();
        for line in registry.split(|byte| *byte == b'\n') {
            if line.trim_ascii().is_empty() {
                continue;
            }
            let invalid = |reason: String| ImportError::InvalidStream {
                path: path.clone(),
                reason,
            };
            let entry: Entry = serde_json::from_slice(line).map_err(|error| {
                let line = String::from_utf8_lossy(line);
                invalid(format!("the line {line:?} names no stream: {error}"))
            })?;
            let Entry {
                aggregate_type,
                id,
                dir,
            } = entry;
            let directory = inside(dir.as_deref().unwrap_or(&id));
            let Some(directory) = directory.filter(|_| names::is_storable(&aggregate_type)) else {
                return Err(invalid(format!(
                    "the stream `{id}` of `{aggregate_type}` has no directory inside of {STREAMS}"
                )));
            };
            if directory == id {
                continue;
            }
            let place = format!("{aggregate_type}/{directory}");
            if let Some(other) = ids.insert(place, id.clone())
                && other != id
            {
                return Err(invalid(format!(
                    "`{other}` and `{id}` of `{aggregate_type}` have one directory"
                )));
            }
        }
        Ok(Self(ids))
    }

    fn of(&self, place: &str) -> Option<&str> {
        self.0.get(place).map(String::as_str)
    }
}
