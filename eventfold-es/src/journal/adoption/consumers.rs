//! The process managers and projections of 0.2.0: their states, their progress in each stream, and their dead letters.

use std::collections::{BTreeMap, HashMap};

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::dead_letters::rows_of;
use super::examine::OldCursor;
use super::record::{Adoption, ProcessManagerRecord, ProjectionRecord, staged_projection};
use super::survey::Found;
use crate::dead_letter::DeadLetter;
use crate::disk::{FileError, Files, SealedFile};
use crate::error::OpenError;
use crate::journal::local::Layout;
use crate::journal::{Progress, ProposedReaction, SavedProjection, SeenBefore};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    ProcessManager,
    Projection,
}

/// One process manager or projection.
struct Consumer {
    kind: Kind,
    name: String,
    /// Its state, and its cursors by stream name; `None` if it never saved them.
    checkpoint: Option<OldCheckpoint>,
    problem: Option<String>,
    seen: SeenBefore,
    dead_letters: Vec<Box<str>>,
    unreadable_dead_letters: u64,
}

#[derive(Deserialize)]
struct OldCheckpoint {
    state: Box<RawValue>,
    cursors: BTreeMap<String, OldCursor>,
}

/// All process managers and projections.
pub(super) struct Consumers {
    list: Vec<Consumer>,
    /// By stream name, the consumers with a cursor into the stream.
    subscribers: HashMap<String, Vec<usize>>,
}

impl Consumers {
    /// Reads all process managers and projections of the directory.
    ///
    /// # Errors
    ///
    /// [`OpenError::NoJournal`] if a checkpoint has the present format. The directory is then a store that has lost its
    /// journal, not a directory of 0.2.0.
    pub(super) fn load(files: &Files, layout: &Layout) -> Result<Self, OpenError> {
        let mut list = Vec::new();
        for (kind, parent) in [
            (Kind::ProcessManager, layout.process_managers()),
            (Kind::Projection, layout.projections()),
        ] {
            for entry in files.list(&parent)? {
                if entry.is_directory
                    && let Some(consumer) = Consumer::load(files, layout, kind, entry.name)?
                {
                    list.push(consumer);
                }
            }
        }
        let mut subscribers: HashMap<String, Vec<usize>> = HashMap::new();
        for (index, consumer) in list.iter().enumerate() {
            for stream in consumer.cursors().keys() {
                subscribers.entry(stream.clone()).or_default().push(index);
            }
        }
        Ok(Self { list, subscribers })
    }

    /// The cursors into a stream.
    pub(super) fn cursors(&self, found: &Found) -> Vec<&OldCursor> {
        let key = found.key();
        let subscribers = self.subscribers.get(&key).into_iter().flatten();
        subscribers
            .filter_map(|index| self.list.get(*index)?.cursors().get(&key))
            .collect()
    }

    /// Sets the version of the event before each of the [`cursors`](Self::cursors) into a stream.
    pub(super) fn resolve(&mut self, found: &Found, versions: &[Option<u64>]) {
        let key = found.key();
        let subscribers = self.subscribers.get(&key).cloned().unwrap_or_default();
        for (index, version) in subscribers.into_iter().zip(versions) {
            let Some(consumer) = self.list.get_mut(index) else {
                continue;
            };
            match version {
                Some(version) => consumer.seen.note(&found.stream, *version),
                None => {
                    let offset = consumer
                        .cursors()
                        .get(&key)
                        .map_or(0, |cursor| cursor.offset);
                    consumer.problem = Some(format!(
                        "its cursor is at byte {offset} of the stream `{key}`, where no event with its hash ends"
                    ));
                }
            }
        }
    }

    /// Writes each projection that can continue in the present format, beside the checkpoints of 0.2.0, durably.
    pub(super) fn stage_projections(
        &self,
        files: &Files,
        layout: &Layout,
        boundary: u64,
    ) -> Result<(), FileError> {
        let projections = self.list.iter().filter(|one| one.kind == Kind::Projection);
        for projection in projections {
            if let Some(state) = projection.state() {
                let saved = SavedProjection {
                    event: None,
                    position: 0,
                    subscriptions: None,
                    skipped: Vec::new(),
                    seen_before: Some(projection.seen.clone().up_to(boundary)),
                    state,
                };
                let staged = staged_projection(layout, &projection.name);
                SealedFile::new(files.clone(), staged).save(&saved)?;
            }
        }
        Ok(())
    }

    /// Adds all consumers to the record. The result is the progress of the process managers that can continue.
    pub(super) fn record(self, layout: &Layout, record: &mut Adoption) -> Vec<ProposedReaction> {
        let mut progress = Vec::new();
        for consumer in self.list {
            let name = consumer.name.clone();
            let is_taken_over = consumer.state().is_some();
            if let Some(reason) = &consumer.problem {
                tracing::warn!(
                    name,
                    reason,
                    "a checkpoint of eventfold-es 0.2.0 cannot be migrated"
                );
            }
            if consumer.kind == Kind::Projection {
                if is_taken_over {
                    let path = layout.projection_checkpoint(&name);
                    record.set_aside(layout, &path);
                }
                record.projections.push(ProjectionRecord {
                    name,
                    problem: consumer.problem,
                });
                continue;
            }
            if consumer.unreadable_dead_letters > 0 {
                record.set_aside(layout, &layout.dead_letters(&name));
            }
            let mut dead_letters = Vec::new();
            match consumer.state() {
                Some(state) => {
                    record.set_aside(layout, &layout.process_manager_checkpoint(&name));
                    progress.push(ProposedReaction {
                        process_manager: name.as_str().into(),
                        progress: Progress { position: 0, state },
                        dispatched: 0,
                        rows: rows_of(&name, &consumer.dead_letters),
                        dead_letters: consumer.dead_letters,
                    });
                }
                None => dead_letters.extend(
                    consumer
                        .dead_letters
                        .iter()
                        .filter_map(|line| serde_json::from_str(line).ok()),
                ),
            }
            // A process manager that starts again, if it may, skips no event.
            let seen = match is_taken_over {
                true => consumer.seen.up_to(record.events),
                false => SeenBefore::default(),
            };
            record.process_managers.push(ProcessManagerRecord {
                name,
                seen,
                dead_letters,
                unreadable_dead_letters: consumer.unreadable_dead_letters,
                problem: consumer.problem,
            });
        }
        progress
    }
}

impl Consumer {
    fn load(
        files: &Files,
        layout: &Layout,
        kind: Kind,
        name: String,
    ) -> Result<Option<Self>, OpenError> {
        let path = match kind {
            Kind::ProcessManager => layout.process_manager_checkpoint(&name),
            Kind::Projection => layout.projection_checkpoint(&name),
        };
        let sealed = SealedFile::new(files.clone(), path.clone()).load::<IgnoredAny>()?;
        if matches!(sealed, Some(Ok(_))) {
            return Err(OpenError::NoJournal {
                path: layout.base().to_owned(),
            });
        }
        let mut consumer = Self {
            kind,
            name,
            checkpoint: None,
            problem: None,
            seen: SeenBefore::default(),
            dead_letters: Vec::new(),
            unreadable_dead_letters: 0,
        };
        let bytes = files.read(&path)?;
        match bytes.as_deref().map(serde_json::from_slice) {
            None => {}
            Some(Ok(checkpoint)) => consumer.checkpoint = Some(checkpoint),
            Some(Err(error)) => {
                consumer.problem = Some(format!("it is not a checkpoint of 0.2.0: {error}"));
            }
        }
        if kind == Kind::ProcessManager {
            consumer.load_dead_letters(files, layout)?;
        }
        let is_empty = bytes.is_none()
            && consumer.dead_letters.is_empty()
            && consumer.unreadable_dead_letters == 0;
        Ok((!is_empty).then_some(consumer))
    }

    fn load_dead_letters(&mut self, files: &Files, layout: &Layout) -> Result<(), FileError> {
        let path = layout.dead_letters(&self.name);
        let bytes = files.read(&path)?.unwrap_or_default();
        for line in bytes.split(|byte| *byte == b'\n') {
            let line = line.trim_ascii();
            let letter = std::str::from_utf8(line)
                .ok()
                .filter(|line| serde_json::from_str::<DeadLetter>(line).is_ok());
            match letter {
                Some(letter) => self.dead_letters.push(letter.into()),
                None => self.unreadable_dead_letters += u64::from(!line.is_empty()),
            }
        }
        Ok(())
    }

    fn cursors(&self) -> &BTreeMap<String, OldCursor> {
        static NONE: BTreeMap<String, OldCursor> = BTreeMap::new();
        self.checkpoint
            .as_ref()
            .map_or(&NONE, |checkpoint| &checkpoint.cursors)
    }

    /// The state to continue with, on one line.
    fn state(&self) -> Option<Box<RawValue>> {
        let checkpoint = self
            .checkpoint
            .as_ref()
            .filter(|_| self.problem.is_none())?;
        RawValue::from_string(on_one_line(checkpoint.state.get())).ok()
    }
}

/// JSON without the white space between its tokens. Strings and numbers do not change.
fn on_one_line(json: &str) -> String {
    let mut line = String::with_capacity(json.len());
    let mut is_in_string = false;
    let mut is_escaped = false;
    for character in json.chars() {
        if !is_in_string && matches!(character, ' ' | '\n' | '\r' | '\t') {
            continue;
        }
        if character == '"' && !is_escaped {
            is_in_string = !is_in_string;
        }
        is_escaped = is_in_string && character == '\\' && !is_escaped;
        line.push(character);
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_and_numbers_stay_as_they_are() {
        let pretty = "{\n  \"a \\\" b\": [ 1.50e1,\n 340282366920938463463374607431768211455 ],\t\"c\\\\\" : \" x\"\r\n}";
        let line =
            "{\"a \\\" b\":[1.50e1,340282366920938463463374607431768211455],\"c\\\\\":\" x\"}";
        assert_eq!(on_one_line(pretty), line);
    }
}
