//! Reactions that end the whole process: found over several starts of the program, and parked.
//!
//! An abort leaves nothing behind to count by. So a start that finds work notes the position of the process manager, beside the
//! rows. When the next start finds it there again, it works carefully until it is past the waiting work. Before each call of
//! user code it makes two facts durable: the work that it begins, and the number of times that this was begun and did not end.
//! A start after progress begins with a new note, and a start without work removes it. There is no other cost.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Halt, ProcessManagerRunner};
use crate::disk::FileError;
use crate::journal::SavedValue;
use crate::process_manager::{FailureCause, ProcessManager};

/// What is noted between the starts of a program.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Note {
    /// Where the process manager stood.
    position: u64,
    /// The row that was due first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    due: Option<Box<str>>,
    /// How many starts in a row found it there.
    starts: u32,
    /// What was begun and did not end, and how often.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    begun: BTreeMap<String, u32>,
}

impl Note {
    /// The note of a start behind the one that this is of.
    fn next(self, position: u64, due: Option<Box<str>>) -> Self {
        // What a careful start has not ended is looked for, whatever was done before it.
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
    /// How often something may be begun; 0 for without end.
    max: u32,
    /// The last position that was durable when the store was opened.
    head: u64,
    /// When that was, in milliseconds since 1970.
    opened_ms: u64,
    /// What is saved now, since this start has written it.
    note: Option<Note>,
    /// Whether this start has noted itself, or need not.
    is_noted: bool,
    /// What was begun last.
    begun: Option<String>,
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
        }
    }

    /// Whether what is begun is noted before.
    pub(super) fn is_careful(&self) -> bool {
        self.note.as_ref().is_some_and(|note| note.starts > 1)
    }

    /// Whether something was begun so often that it is begun no more.
    pub(super) fn is_given_up(&self, what: &str) -> bool {
        let begun = self.note.as_ref().and_then(|note| note.begun.get(what));
        begun.is_some_and(|begun| *begun >= self.max)
    }

    /// What is said of something that is given up.
    pub(super) fn cause(&self) -> FailureCause {
        let starts = self.max;
        FailureCause::Aborted { starts }
    }

    /// Lets everything be begun again, since an operator asks for it.
    pub(super) fn forgive(&mut self) {
        self.begun = None;
        if let Some(note) = &mut self.note {
            note.begun.clear();
        }
    }
}

impl<PM: ProcessManager> ProcessManagerRunner<PM> {
    /// Notes this start, when it comes to the first thing that waited for it.
    pub(super) async fn note_start(&mut self) -> Result<(), Halt> {
        let opened = self.starts.opened_ms;
        if self.starts.is_noted {
            return Ok(());
        }
        let due = self.timers.due(opened).or(self.pending.due(opened));
        let due: Option<Box<str>> = due.map(|(key, _)| key.into());
        if self.position >= self.starts.head && due.is_none() {
            return Ok(());
        }
        self.note_this_start(due).await
    }

    /// The same, whatever is due.
    pub(super) async fn note_this_start(&mut self, due: Option<Box<str>>) -> Result<(), Halt> {
        if std::mem::replace(&mut self.starts.is_noted, true) {
            return Ok(());
        }
        let saved = Arc::clone(&self.starts.saved);
        let loaded = tokio::task::spawn_blocking(move || saved.load::<Note>()).await;
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
                process_manager = PM::NAME,
                position,
                starts = note.starts,
                "the program was started again without progress of a process manager, which works carefully now"
            );
        }
        self.starts.note = Some(note);
        self.save_note().await
    }

    /// Before code of the user is called: whether it may be, which it may not if it has ended the process too often.
    pub(super) async fn begins(&mut self, what: impl FnOnce() -> String) -> Result<bool, Halt> {
        if !self.starts.is_careful() {
            return Ok(true);
        }
        let what = what();
        if self.starts.is_given_up(&what) {
            return Ok(false);
        }
        let ended = self.starts.begun.replace(what.clone());
        if let Some(note) = &mut self.starts.note {
            if let Some(ended) = ended {
                note.begun.remove(&ended);
            }
            *note.begun.entry(what).or_default() += 1;
        }
        self.save_note().await.map(|()| true)
    }

    /// Removes the note when nothing is left of what waited for this start.
    pub(super) async fn forget_start(&mut self) -> Result<(), Halt> {
        let now = self.now_ms();
        let is_due = self.timers.due(now).is_some() || self.pending.due(now).is_some();
        if self.starts.note.is_none() || self.position < self.starts.head || is_due {
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
        let removed = tokio::task::spawn_blocking(move || saved.remove()).await;
        if let Err(error) = removed.map_err(|_| Halt::Ended)? {
            self.cannot_note(&error);
        }
        Ok(())
    }

    async fn save_note(&mut self) -> Result<(), Halt> {
        let saved = Arc::clone(&self.starts.saved);
        let note = self.starts.note.clone().unwrap_or_default();
        let saving = tokio::task::spawn_blocking(move || saved.save(&note)).await;
        let result: Result<(), FileError> = saving.map_err(|_| Halt::Ended)?;
        if let Err(error) = result {
            self.cannot_note(&error);
        }
        Ok(())
    }

    /// Without it the work goes on all the same.
    fn cannot_note(&self, error: &dyn std::fmt::Display) {
        let path = &self.starts.saved;
        tracing::warn!(process_manager = PM::NAME, %path, %error, "the starts of the program are not counted");
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
        // What is due and stays so is no progress, whatever else happens.
        let due = at(1, Some("t1")).next(2, Some("t1".into()));
        assert_eq!(due.starts, 2);
        assert_eq!(at(1, Some("t1")).next(2, Some("t2".into())).starts, 1);
        assert_eq!(at(1, Some("t1")).next(2, None).starts, 1);
        // Nor is it when something was begun and did not end.
        let begun = BTreeMap::from([("event 3".to_owned(), 2)]);
        let before = Note {
            begun: begun.clone(),
            ..at(1, None)
        };
        let after = before.next(2, None);
        assert_eq!((after.starts, after.begun), (2, begun));
    }
}
