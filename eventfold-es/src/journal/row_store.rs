//! The durable data of process managers: their progress, their rows and their dead letters.

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::value::RawValue;

use super::{
    Damage, Inherited, JournalError, PastReaction, PastReactions, Row, RowRange, SavedValue,
};

/// The durable data of process managers. The commits of their reactions change it.
///
/// Methods that say so block on I/O; the rest only take short locks.
pub(crate) trait RowStore: Send + Sync + 'static {
    /// The last known progress of a process manager.
    fn progress(&self, process_manager: &str) -> Option<Progress>;

    /// Records progress that needs no commit. The next checkpoint saves it.
    fn note_progress(&self, process_manager: &str, progress: Progress);

    /// The durable values of rows of a process manager, in the order of `keys`. Blocks.
    fn rows(
        &self,
        process_manager: &str,
        keys: &[&str],
    ) -> Result<Vec<Option<Box<str>>>, JournalError>;

    /// The first durable rows of a process manager in a range, `limit` at most, ordered by key. Blocks.
    fn row_range(
        &self,
        process_manager: &str,
        range: &RowRange,
        limit: usize,
    ) -> Result<Vec<Row>, JournalError>;

    /// The next past reactions of a process manager, from the end of the last call on. Each call reads about a megabyte of the
    /// journal. Blocks.
    fn past_reactions(&self, past: &mut PastReactions) -> Result<Vec<PastReaction>, JournalError>;

    /// The dead letters of a process manager, oldest first, one JSON object per line. Blocks.
    fn dead_letters(&self, process_manager: &str) -> Result<StoredLines, JournalError>;

    /// The error for an unreadable row.
    fn damaged_rows(&self, process_manager: &str, reason: String) -> Damage;

    /// The saved note on the starts of the program in which a process manager made no progress.
    fn starts(&self, process_manager: &str) -> Arc<dyn SavedValue>;

    /// The data that an earlier version left for a process manager, if it had one with this name in this directory.
    fn inherited(&self, process_manager: &str) -> Option<&Inherited>;
}

/// The progress of a process manager, and its state there.
#[derive(Debug, Clone)]
pub(crate) struct Progress {
    /// The position of the last event that it has handled.
    pub(crate) position: u64,
    pub(crate) state: Box<RawValue>,
}

/// The dead letters of one process manager, as stored.
#[derive(Debug, Default)]
pub(crate) struct StoredLines {
    /// Newline-terminated lines, one JSON object each.
    pub(super) text: String,
    /// Names the place of the text in errors.
    pub(super) path: PathBuf,
}

impl StoredLines {
    pub(crate) fn iter(&self) -> std::str::Lines<'_> {
        self.text.lines()
    }

    /// The error for the line with this number, counted from 0.
    pub(crate) fn damaged(&self, number: usize, reason: String) -> Damage {
        let before = self.text.split_inclusive('\n').take(number);
        let offset = before.map(|line| line.len() as u64).sum();
        Damage::new(&self.path, offset, reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_damage_of_a_line_names_its_first_byte() {
        let lines = StoredLines {
            text: "{}\n\"\u{f6}\"\nno\n".to_owned(),
            path: "letters".into(),
        };
        let offsets =
            (0..lines.iter().count()).map(|line| lines.damaged(line, String::new()).offset);
        assert_eq!(offsets.collect::<Vec<_>>(), [0, 3, 8]);
    }
}
