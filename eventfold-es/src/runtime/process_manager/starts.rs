//! Detection of reactions that abort the whole process. Several starts of the program find them, and they are parked.
//!
//! An abort leaves nothing in memory to count it. So a start that finds work saves the position of the process manager in a note, beside
//! the rows. If the next start finds the same position, it works carefully until the waiting work is done. Before each call of user code it
//! makes two facts durable. They are the work that begins, and the number of times that this work began and did not end. For example, an
//! event that aborts two starts has the number 2. A start after progress begins with a new note, and a start without work removes it. There
//! is no other cost.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::super::guarded::pooled;
use super::Halt;
use super::driver::ProcessManagerRunner;
use super::sizes::Sizes;
use crate::disk::FileError;
use crate::journal::SavedValue;
use crate::process_manager::FailureCause;

/// The information that is kept between the starts of a program.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Note {
    /// The position of the process manager.
    position: u64,
    /// The row that was due first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    due: Option<Box<str>>,
    /// The number of consecutive starts at this position.
    starts: u32,
    /// Work that began and did not end, with the number of times.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    begun: BTreeMap<String, u32>,
}

impl Note {
    /// The note of the next start.
    fn next(self, position: u64, due: Option<Box<str>>) -> Self {
        // Work that a careful start did not end remains suspect, even after other progress.
        let has_stayed = self.position == position
            || (due.is_some() && self.due == due)
            || !self.begun.is_empty();
        let (starts, begun) = match has_stayed {
            true => (self.starts.saturating_add(1), self.begun),
            false => (1, BTreeMap::new()),
        };
        Self {
            position,
            due,
            starts,
            begun,
        }
    }
}

/// See the [module](self).
pub(super) struct Starts {
    saved: Arc<dyn SavedValue>,
    /// The number of times that the same work may begin without an end. 0 for no limit.
    max: u32,
    /// The last durable position when the store was opened.
    head: u64,
    /// The time at which the store was opened, in milliseconds since 1970.
    opened_ms: u64,
    /// The content of the file, once this start has written it.
    note: Option<Note>,
    /// Whether this start has saved its note, or needs none.
    is_noted: bool,
    /// The work that began last.
    begun: Option<String>,
    /// The work that is committed alone, because a commit was too large.
    pub(super) sizes: Option<Sizes>,
}

impl Starts {
    pub(super) fn new(saved: Arc<dyn SavedValue>, max: u32, head: u64, opened_ms: u64) -> Self {
        Self {
            saved,
            max,
            head,
            opened_ms,
            note: None,
            is_noted: max == 0,
            begun: None,
            sizes: None,
        }
    }

    /// Whether each piece of work is noted before it begins.
    pub(super) fn is_careful(&self) -> bool {
        self.note.as_ref().is_some_and(|note| note.starts > 1)
    }

    /// The cause for which the work is given up, if it is. Its commit is too large, or too many of its starts had no end.
    pub(super) fn given_up(&self, what: &str) -> Option<FailureCause> {
        let too_large = self.sizes.as_ref().and_then(|sizes| sizes.denied(what));
        let begun = self.note.as_ref().and_then(|note| note.begun.get(what));
        let starts = self.max;
        let is_aborted = begun.is_some_and(|begun| *begun >= starts);
        too_large.or_else(|| is_aborted.then_some(FailureCause::Aborted { starts }))
    }

    /// Clears all counts at the request of an operator, so that given-up work begins again.
    pub(super) fn forgive(&mut self) {
        self.begun = None;
        if let Some(note) = &mut self.note {
            note.begun.clear();
        }
    }
}

impl ProcessManagerRunner {
    /// Notes this start before it handles work that waited for it.
    pub(super) async fn note_start(&mut self) -> Result<(), Halt> {
        let opened = self.starts.opened_ms;
        if self.starts.is_noted {
            return Ok(());
        }
        let due = self
            .machine
            .timers
            .due(opened)
            .or(self.machine.retries.due(opened));
        let due: Option<Box<str>> = due.map(|(key, _)| key.into());
        if self.machine.position >= self.starts.head && due.is_none() {
            return Ok(());
        }
        self.note_this_start(due).await
    }

    /// Notes this start, whether or not work is due.
    pub(super) async fn note_this_start(&mut self, due: Option<Box<str>>) -> Result<(), Halt> {
        if std::mem::replace(&mut self.starts.is_noted, true) {
            return Ok(());
        }
        let saved = Arc::clone(&self.starts.saved);
        let loaded = pooled(move || saved.load::<Note>()).await;
        let before = match loaded.map_err(|_| Halt::Ended)? {
            Ok(Some(Ok(note))) => note,
            Ok(None) => Note::default(),
            Ok(Some(Err(error))) => {
                self.cannot_note(&error);
                Note::default()
            }
            Err(error) => {
                self.cannot_note(&error);
                Note::default()
            }
        };
        let position = self.committed.position;
        let note = match before.starts {
            0 => Note {
                position,
                due,
                starts: 1,
                begun: BTreeMap::new(),
            },
            _ => before.next(position, due),
        };
        if note.starts > 1 {
            tracing::warn!(
                process_manager = self.definition().name,
                position,
                starts = note.starts,
                "a process manager made no progress since the last start of the program; it works carefully now"
            );
        }
        self.starts.note = Some(note);
        self.save_note().await
    }

    /// Notes the work before user code is called. Returns the cause if the work is [given up](Starts::given_up), and notes nothing then.
    pub(super) async fn begins(
        &mut self,
        what: impl FnOnce() -> String,
    ) -> Result<Option<FailureCause>, Halt> {
        if !self.starts.is_careful() && self.starts.sizes.is_none() {
            return Ok(None);
        }
        let what = what();
        if let Some(sizes) = &mut self.starts.sizes {
            sizes.begins(&what);
        }
        let given_up = self.starts.given_up(&what);
        if given_up.is_some() || !self.starts.is_careful() {
            return Ok(given_up);
        }
        let ended = self.starts.begun.replace(what.clone());
        if let Some(note) = &mut self.starts.note {
            if let Some(ended) = ended {
                note.begun.remove(&ended);
            }
            *note.begun.entry(what).or_default() += 1;
        }
        self.save_note().await.map(|()| None)
    }

    /// Notes that the commit of this work is next. A call of an event handler began earlier, and others with it.
    pub(super) fn commits(&mut self, what: impl FnOnce() -> String) {
        if let Some(sizes) = &mut self.starts.sizes {
            sizes.begins(&what());
        }
    }

    /// Removes the note when all work that waited for this start is done.
    pub(super) async fn forget_start(&mut self) -> Result<(), Halt> {
        let now = self.now_ms();
        let is_due =
            self.machine.timers.due(now).is_some() || self.machine.retries.due(now).is_some();
        if self.starts.note.is_none() || self.machine.position < self.starts.head || is_due {
            return Ok(());
        }
        self.settle_all().await?;
        self.forget_note().await
    }

    /// Removes the note, if there is one.
    pub(super) async fn forget_note(&mut self) -> Result<(), Halt> {
        self.starts.begun = None;
        if self.starts.note.take().is_none() {
            return Ok(());
        }
        let saved = Arc::clone(&self.starts.saved);
        let removed = pooled(move || saved.remove()).await;
        if let Err(error) = removed.map_err(|_| Halt::Ended)? {
            self.cannot_note(&error);
        }
        Ok(())
    }

    async fn save_note(&mut self) -> Result<(), Halt> {
        let saved = Arc::clone(&self.starts.saved);
        let note = self.starts.note.clone().unwrap_or_default();
        let saving = pooled(move || saved.save(&note)).await;
        let result: Result<(), FileError> = saving.map_err(|_| Halt::Ended)?;
        if let Err(error) = result {
            self.cannot_note(&error);
        }
        Ok(())
    }

    /// Logs a failure of the file. The work continues without the note.
    fn cannot_note(&self, error: &dyn std::fmt::Display) {
        let path = &self.starts.saved;
        tracing::warn!(process_manager = self.definition().name, %path, %error, "the starts of the program are not counted");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(position: u64, due: Option<&str>) -> Note {
        Note {
            position,
            due: due.map(Into::into),
            starts: 1,
            begun: BTreeMap::new(),
        }
    }

    #[test]
    fn starts_without_progress_are_counted() {
        let same = at(1, None).next(1, None);
        assert_eq!(same.starts, 2);
        assert_eq!(same.next(1, None).starts, 3);
        assert_eq!(at(1, None).next(2, None).starts, 1);
        // Work that remains due is no progress, even if other work is done.
        let due = at(1, Some("t1")).next(2, Some("t1".into()));
        assert_eq!(due.starts, 2);
        assert_eq!(at(1, Some("t1")).next(2, Some("t2".into())).starts, 1);
        assert_eq!(at(1, Some("t1")).next(2, None).starts, 1);
        // Work that began and did not end is no progress either.
        let begun = BTreeMap::from([("event 3".to_owned(), 2)]);
        let before = Note {
            begun: begun.clone(),
            ..at(1, None)
        };
        let after = before.next(2, None);
        assert_eq!((after.starts, after.begun), (2, begun));
    }
}
