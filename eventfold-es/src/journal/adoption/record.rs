//! The record of adopting a directory of 0.2.0. It is kept in the first commit of the journal and in every checkpoint.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::dead_letters::rows_of;
use super::report::{AdoptedCheckpoint, AdoptionReport, QuarantinedStream, TornTail};
use crate::disk::{FileError, Files};
use crate::journal::local::Layout;
use crate::journal::{Damage, Inherited, Progress, SeenBefore, StreamId};

/// Paths are relative to the base directory, so that a store can be moved.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Adoption {
    pub(super) streams: u64,
    /// The number of adopted events, which is also the position of the last of them.
    pub(super) events: u64,
    pub(super) empty_streams: u64,
    pub(super) unreadable_registry_lines: u64,
    pub(super) quarantined: Vec<Quarantined>,
    pub(super) torn_tails: Vec<TornTailRecord>,
    pub(super) process_managers: Vec<ProcessManagerRecord>,
    pub(super) projections: Vec<ProjectionRecord>,
    /// The files of 0.2.0 whose places new files take.
    pub(super) set_aside: Vec<String>,
}

/// A stream that was not adopted.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Quarantined {
    #[serde(rename = "type")]
    pub(super) aggregate_type: String,
    pub(super) id: String,
    /// Its directory, if no other stream of the store has the same directory.
    pub(super) dir: Option<String>,
    pub(super) file: String,
    pub(super) offset: u64,
    pub(super) reason: String,
}

/// An incomplete last event that was left out.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct TornTailRecord {
    #[serde(rename = "type")]
    pub(super) aggregate_type: String,
    pub(super) id: String,
    pub(super) file: String,
    pub(super) offset: u64,
    pub(super) bytes: u64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct ProcessManagerRecord {
    pub(super) name: String,
    pub(super) seen: SeenBefore,
    /// The dead letters, if the state of the process manager was not adopted.
    pub(super) dead_letters: Vec<Box<RawValue>>,
    /// The number of lines in its dead-letter file that are not dead letters.
    pub(super) unreadable_dead_letters: u64,
    pub(super) problem: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct ProjectionRecord {
    pub(super) name: String,
    pub(super) problem: Option<String>,
}

impl Adoption {
    /// Moves the files of 0.2.0 away from the places of new files, durably. It is called when the journal is durable, before
    /// anything is derived from it, and again until that is done.
    pub(crate) fn finish(&self, files: &Files, layout: &Layout) -> Result<(), FileError> {
        let mut changed = BTreeSet::new();
        for path in &self.set_aside {
            let from = layout.base().join(path);
            let to = layout.base().join(aside(path));
            if !files.exists(&to)? && files.exists(&from)? {
                files.rename(&from, &to)?;
                changed.extend(from.parent().map(ToOwned::to_owned));
            }
        }
        // A file that is set aside must not be lost to the file that takes its place.
        sync_directories(files, &changed)?;
        changed.clear();
        // An interrupted adoption may have left an older file for a projection that cannot continue.
        let taken_over = self.projections.iter().filter(|one| one.problem.is_none());
        for projection in taken_over {
            let from = staged_projection(layout, &projection.name);
            if files.exists(&from)? {
                files.rename(&from, &layout.projection_checkpoint(&projection.name))?;
                changed.insert(layout.projection(&projection.name));
            }
        }
        sync_directories(files, &changed)
    }

    /// The streams that were not adopted. No command may append to them.
    pub(crate) fn quarantined(&self, layout: &Layout) -> impl Iterator<Item = (StreamId, Damage)> {
        self.quarantined.iter().map(move |stream| {
            let id = StreamId::new(&stream.aggregate_type, &stream.id);
            (id, stream.damage(layout))
        })
    }

    /// The part of the record that the next checkpoint needs, beside the progress of process managers.
    pub(crate) fn kept_beside<'a>(&self, progress: impl Fn(&str) -> Option<&'a Progress>) -> Self {
        let mut kept = self.clone();
        kept.set_aside.clear();
        for process_manager in &mut kept.process_managers {
            if let Some(progress) = progress(&process_manager.name) {
                process_manager.dead_letters.clear();
                if process_manager.seen.ends_at(progress.position) {
                    process_manager.seen = SeenBefore::default();
                }
            }
        }
        kept
    }

    /// The inherited data of each process manager, for the runtime. Blocks.
    pub(crate) fn process_managers(
        &self,
        files: &Files,
        layout: &Layout,
    ) -> Result<BTreeMap<String, Inherited>, FileError> {
        let mut inherited = BTreeMap::new();
        for record in &self.process_managers {
            let path = layout.process_manager_checkpoint(&record.name);
            // Removing the file lets the process manager start from the first event.
            let problem = match &record.problem {
                Some(reason) if files.exists(&path)? => Some(Damage::new(path, 0, reason)),
                _ => None,
            };
            let dead_letters = record.dead_letters.iter();
            let dead_letters: Vec<Box<str>> = dead_letters.map(|line| line.get().into()).collect();
            let process_manager = Inherited {
                seen: Arc::new(record.seen.clone()),
                rows: rows_of(&record.name, &dead_letters),
                dead_letters,
                problem,
            };
            inherited.insert(record.name.clone(), process_manager);
        }
        Ok(inherited)
    }

    pub(crate) fn report(&self, layout: &Layout) -> AdoptionReport {
        let path = |file: &String| layout.base().join(file);
        let quarantined = self.quarantined.iter().map(|stream| QuarantinedStream {
            aggregate_type: stream.aggregate_type.clone(),
            instance_id: stream.id.clone(),
            damage: stream.damage(layout),
        });
        let torn_tails = self.torn_tails.iter().map(|torn| TornTail {
            aggregate_type: torn.aggregate_type.clone(),
            instance_id: torn.id.clone(),
            kept_in: path(&torn.file),
            offset: torn.offset,
            bytes: torn.bytes,
        });
        let checkpoint = |name: &str, problem: &Option<String>| AdoptedCheckpoint {
            name: name.to_owned(),
            problem: problem.clone(),
        };
        AdoptionReport {
            streams: self.streams,
            events: self.events,
            empty_streams: self.empty_streams,
            unreadable_registry_lines: self.unreadable_registry_lines,
            unreadable_dead_letters: self
                .process_managers
                .iter()
                .map(|record| record.unreadable_dead_letters)
                .sum(),
            quarantined: quarantined.collect(),
            torn_tails: torn_tails.collect(),
            process_managers: self
                .process_managers
                .iter()
                .map(|record| checkpoint(&record.name, &record.problem))
                .collect(),
            projections: self
                .projections
                .iter()
                .map(|record| checkpoint(&record.name, &record.problem))
                .collect(),
        }
    }
}

impl Quarantined {
    fn damage(&self, layout: &Layout) -> Damage {
        let reason = format!(
            "the stream was not migrated from eventfold-es 0.2.0: {}. Its files are as they were; repair a copy of the \
             directory that 0.2.0 left, and open that",
            self.reason
        );
        Damage::new(layout.base().join(&self.file), self.offset, reason)
    }
}

fn sync_directories(files: &Files, directories: &BTreeSet<PathBuf>) -> Result<(), FileError> {
    directories
        .iter()
        .try_for_each(|directory| files.sync_dir(directory))
}

/// The file with the state and the progress of a projection of 0.2.0, before it is renamed to its checkpoint.
pub(super) fn staged_projection(layout: &Layout, name: &str) -> PathBuf {
    layout.projection(name).join("adopted.json")
}

/// The name under which a file of 0.2.0 is kept: `app-0.2.0.jsonl`.
pub(super) fn aside(path: &str) -> String {
    let (directory, name) = match Path::new(path).file_name().and_then(|name| name.to_str()) {
        Some(name) => path.split_at(path.len() - name.len()),
        None => ("", path),
    };
    let (stem, extension) = name.split_once('.').unwrap_or((name, ""));
    format!("{directory}{stem}-0.2.0.{extension}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_aside_keep_their_extension() {
        let cases = [
            ("streams/a.b/c/app.jsonl", "streams/a.b/c/app-0.2.0.jsonl"),
            ("x/archive.jsonl.zst", "x/archive-0.2.0.jsonl.zst"),
            ("checkpoint.json", "checkpoint-0.2.0.json"),
        ];
        for (path, expected) in cases {
            assert_eq!(aside(path), expected);
        }
    }
}
