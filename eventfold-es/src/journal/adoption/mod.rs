//! Migrating a directory of eventfold-es 0.2.0, which has streams but no journal.
//!
//! A complete journal is built beside the files of 0.2.0, which do not change, and gets its name in the last step. Until then,
//! 0.2.0 can still open the directory, and an interrupted adoption begins again. Afterwards, the directory is a store whose
//! derived files are missing, and opening it derives them as usual. The first commit of that journal has the [`Adoption`]: the
//! streams, and the progress of each process manager. It also has the dead letters, with the rows by which they are redriven.
//! No other part of the library knows the formats of 0.2.0.

mod archive;
mod consumers;
mod dead_letters;
mod examine;
mod import;
mod piece;
mod record;
mod report;
mod source;
mod survey;

use std::path::{Path, PathBuf};

use consumers::Consumers;
use examine::{Examined, Sound, examine};
use import::{Import, write_journal};
pub(crate) use record::Adoption;
use record::{Quarantined, TornTailRecord};
pub use report::{AdoptedCheckpoint, AdoptionReport, QuarantinedStream, TornTail};
use source::StreamSource;
use survey::{Found, registry, streams, survey};

use crate::disk::{FileError, Files};
use crate::error::OpenError;
use crate::journal::local::Layout;

/// Whether the directory has no journal, but files that 0.2.0 writes.
pub(crate) fn is_due(files: &Files, layout: &Layout) -> Result<bool, FileError> {
    Ok(!files.exists(&layout.journal_file())?
        && (files.exists(&registry(layout))? || files.exists(&streams(layout))?))
}

/// Refuses a directory that is not one of 0.2.0, but a store that has lost its journal.
pub(crate) fn refuse_ours(files: &Files, layout: &Layout) -> Result<(), OpenError> {
    Consumers::load(files, layout).map(drop)
}

/// Builds the journal and moves it to its place. The caller holds the lock on the directory.
pub(crate) fn adopt(files: &Files, layout: &Layout) -> Result<(), OpenError> {
    let mut consumers = Consumers::load(files, layout)?;
    let survey = survey(files, layout)?;
    let mut record = Adoption {
        quarantined: survey.quarantined,
        unreadable_registry_lines: survey.unreadable_registry_lines,
        ..Adoption::default()
    };
    let mut imports = Vec::new();
    for found in survey.streams {
        if !found.has_log && !found.has_archive {
            record.empty_streams += 1;
            continue;
        }
        refuse_if_in_use(files, layout, &found)?;
        match examine(files, layout, &found, &consumers.cursors(&found))? {
            Examined::Empty => record.empty_streams += 1,
            Examined::Unsound {
                is_archived,
                offset,
                reason,
            } => record.leave_out(layout, &found, is_archived, offset, reason),
            Examined::Sound(sound) => {
                if sound.events > 0 {
                    consumers.resolve(&found, &sound.versions);
                }
                imports.extend(record.take(layout, found, sound));
            }
        }
    }
    consumers.stage_projections(files, layout, record.events)?;
    let progress = consumers.record(layout, &mut record);
    write_journal(files, layout, &record, &progress, imports)?;
    files.rename(&journal_file(layout), &layout.journal_file())?;
    files.sync_dir(&layout.journal())?;
    tracing::info!(
        streams = record.streams,
        events = record.events,
        quarantined = record.quarantined.len(),
        "migrated a directory of eventfold-es 0.2.0"
    );
    Ok(())
}

/// 0.2.0 locks only the logs of the aggregates that it has loaded.
fn refuse_if_in_use(files: &Files, layout: &Layout, found: &Found) -> Result<(), OpenError> {
    let log = found.source(layout).log;
    if !found.has_log || files.try_lock(&log)?.is_some() {
        return Ok(());
    }
    let stream = &found.stream;
    Err(OpenError::InUse {
        path: layout.base().to_owned(),
        holder: format!(
            "a program with eventfold-es 0.2.0, which has loaded `{}` of `{}`",
            stream.instance_id, stream.aggregate_type
        ),
    })
}

impl Adoption {
    fn leave_out(
        &mut self,
        layout: &Layout,
        found: &Found,
        is_archived: bool,
        offset: u64,
        reason: String,
    ) {
        let source = found.source(layout);
        let file = if is_archived {
            source.archive
        } else {
            source.log
        };
        tracing::warn!(path = %file.display(), offset, reason, "a stream of eventfold-es 0.2.0 cannot be migrated");
        self.quarantined.push(Quarantined {
            aggregate_type: found.stream.aggregate_type.to_string(),
            id: found.stream.instance_id.to_string(),
            dir: Some(found.directory.clone()),
            file: below(layout, &file),
            offset,
            reason,
        });
    }

    /// Records a stream that can be adopted. The result is the import of its events, if it has any.
    fn take(&mut self, layout: &Layout, found: Found, sound: Sound) -> Option<Import> {
        let StreamSource { log, archive, .. } = &sound.source;
        for torn in &sound.torn {
            let file = if torn.is_archived { archive } else { log };
            tracing::warn!(path = %file.display(), offset = torn.offset, bytes = torn.bytes, "left out an incompletely written last event");
            self.torn_tails.push(TornTailRecord {
                aggregate_type: found.stream.aggregate_type.to_string(),
                id: found.stream.instance_id.to_string(),
                file: below(layout, file),
                offset: torn.offset,
                bytes: torn.bytes,
            });
        }
        if sound.events == 0 {
            self.empty_streams += 1;
            return None;
        }
        self.streams += 1;
        self.events += sound.events;
        Some(Import {
            stream: found.stream,
            source: sound.source,
        })
    }

    fn set_aside(&mut self, layout: &Layout, file: &Path) {
        self.set_aside.push(below(layout, file));
    }
}

/// The file in which the journal is built.
fn journal_file(layout: &Layout) -> PathBuf {
    layout.journal().join("adopting.jsonl")
}

/// The path of a file of the store, relative to its base directory.
fn below(layout: &Layout, file: &Path) -> String {
    let path = file.strip_prefix(layout.base()).unwrap_or(file);
    path.to_string_lossy().into_owned()
}
