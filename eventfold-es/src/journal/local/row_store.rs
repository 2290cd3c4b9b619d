//! The durable data of process managers.

use std::sync::Arc;

use super::LocalJournal;
use super::appends::lock;
use super::jobs::Job;
use crate::disk::{FileError, SealedFile};
use crate::journal::{
    Damage, Inherited, JournalError, Log as _, PastReaction, PastReactions, Progress, Row,
    RowRange, RowStore, SavedValue, StoredLines,
};

impl RowStore for LocalJournal {
    fn progress(&self, process_manager: &str) -> Option<Progress> {
        lock(&self.progress).get(process_manager).cloned()
    }

    fn note_progress(&self, process_manager: &str, progress: Progress) {
        let job = Job::Progress {
            process_manager: process_manager.to_owned(),
            progress,
        };
        // If the worker has ended, no later checkpoint can save this progress.
        self.jobs.hand_over(job);
    }

    fn rows(
        &self,
        process_manager: &str,
        keys: &[&str],
    ) -> Result<Vec<Option<Box<str>>>, JournalError> {
        self.rows.get(process_manager, keys)
    }

    fn row_range(
        &self,
        process_manager: &str,
        range: &RowRange,
        limit: usize,
    ) -> Result<Vec<Row>, JournalError> {
        self.rows.range(process_manager, range, limit)
    }

    fn past_reactions(&self, past: &mut PastReactions) -> Result<Vec<PastReaction>, JournalError> {
        self.history.past_reactions(past)
    }

    fn dead_letters(&self, process_manager: &str) -> Result<StoredLines, JournalError> {
        let path = self.layout.dead_letters(process_manager);
        self.backlog
            .wait_until_written()
            .map_err(|reason| FileError::new("read", &path, std::io::Error::other(&*reason)))?;
        let written = lock(&self.dead_letters).get(process_manager).copied();
        if let (None, Some(_), Some(inherited)) = (
            written,
            self.read_only(),
            self.inherited.get(process_manager),
        ) {
            // The dead letters that the first commit of the process manager would store.
            let lines = inherited.dead_letters.iter();
            let text = lines.map(|line| format!("{line}\n")).collect();
            return Ok(StoredLines { text, path });
        }
        let extent = written.unwrap_or_default();
        let mut bytes = self.files.read(&path)?.unwrap_or_default();
        if !extent.is_prefix_of(&bytes) {
            let reason = "the file does not hold the dead letters that the journal wrote to it; `repair` restores them";
            return Err(Damage::new(path, 0, reason).into());
        }
        // A concurrent write may have appended more.
        bytes.truncate(usize::try_from(extent.bytes).unwrap_or(usize::MAX));
        let text = String::from_utf8(bytes).map_err(|error| {
            let offset = error.utf8_error().valid_up_to() as u64;
            Damage::new(&path, offset, "the file is not UTF-8 text")
        })?;
        Ok(StoredLines { text, path })
    }

    fn damaged_rows(&self, process_manager: &str, reason: String) -> Damage {
        Damage::new(self.layout.row_table(process_manager), 0, reason)
    }

    fn starts(&self, process_manager: &str) -> Arc<dyn SavedValue> {
        let path = self.layout.process_manager_starts(process_manager);
        Arc::new(SealedFile::new(self.files.clone(), path))
    }

    fn inherited(&self, process_manager: &str) -> Option<&Inherited> {
        self.inherited.get(process_manager)
    }
}
