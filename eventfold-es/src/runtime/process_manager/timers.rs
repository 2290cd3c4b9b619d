//! The first rows of a kind whose keys begin with a due time.

use std::collections::BTreeMap;

use super::rows::due_of;
use crate::journal::{Row, RowChange};

/// The number of rows to keep in memory. Later rows are read in their turn.
const HELD_ROWS: usize = 1024;

/// The rows that are due first.
pub(super) struct Timers {
    rows: BTreeMap<Box<str>, Box<str>>,
    /// Whether no other rows follow them.
    is_complete: bool,
    /// The due time of the first row, for the check at each event. 0 if the rows have to be read, and the maximum if there is no row.
    first_due: u64,
}

impl Timers {
    /// A queue whose rows have to be read.
    pub(super) fn unread() -> Self {
        Self {
            rows: BTreeMap::new(),
            is_complete: false,
            first_due: 0,
        }
    }

    /// The number of rows to request for [`read`](Self::read). Fewer rows mean that no others follow.
    pub(super) const LIMIT: usize = HELD_ROWS + 1;

    /// Replaces the rows by the first ones of the store.
    pub(super) fn read(&mut self, rows: Vec<Row>) {
        self.is_complete = rows.len() < Self::LIMIT;
        self.rows = rows.into_iter().map(|row| (row.key, row.value)).collect();
        self.note_first();
    }

    /// Whether the rows have to be read before the first due time is known.
    pub(super) fn is_exhausted(&self) -> bool {
        self.rows.is_empty() && !self.is_complete
    }

    /// Follows a change that is about to be committed.
    pub(super) fn notice(&mut self, row: &RowChange) {
        match &row.value {
            Some(value) => self.add(row.key.clone(), value.clone()),
            None => self.remove(&row.key),
        }
    }

    fn add(&mut self, key: Box<str>, value: Box<str>) {
        let is_beyond = self
            .rows
            .last_key_value()
            .is_none_or(|(last, _)| key > *last);
        if is_beyond && !self.is_complete {
            return;
        }
        self.rows.insert(key, value);
        // The margin avoids one removal per insertion.
        if self.rows.len() > 2 * HELD_ROWS {
            self.is_complete = false;
            while self.rows.len() > HELD_ROWS {
                self.rows.pop_last();
            }
        }
        self.note_first();
    }

    fn remove(&mut self, key: &str) {
        self.rows.remove(key);
        self.note_first();
    }

    fn note_first(&mut self) {
        self.first_due = match self.rows.first_key_value() {
            Some((key, _)) => due_of(key).unwrap_or(u64::MAX),
            None if self.is_complete => u64::MAX,
            None => 0,
        };
    }

    /// Whether a row is due before `time`, in milliseconds since 1970. Also true if the rows have to be read.
    pub(super) fn is_due_before(&self, time: u64) -> bool {
        self.first_due < time
    }

    /// The due time of the first row, in milliseconds since 1970.
    pub(super) fn next_due(&self) -> Option<u64> {
        self.rows.first_key_value().and_then(|(key, _)| due_of(key))
    }

    /// The first row, if its key sorts before `limit`.
    pub(super) fn before(&self, limit: &str) -> Option<(&str, &str)> {
        let (key, value) = self.rows.first_key_value()?;
        (**key < *limit).then_some((key, value))
    }

    /// The first row, if it is due at `now`.
    pub(super) fn due(&self, now: u64) -> Option<(&str, &str)> {
        let (key, value) = self.rows.first_key_value()?;
        (due_of(key)? <= now).then_some((key, value))
    }
}

#[cfg(test)]
mod tests {
    use super::super::rows::timer_key;
    use super::*;

    fn add(timers: &mut Timers, due: u64) {
        timers.add(timer_key(due, "a", &due.to_string()), "{}".into());
    }

    #[test]
    fn it_holds_the_first_ones_and_knows_that_there_are_others() {
        let mut timers = Timers::unread();
        assert!(timers.is_exhausted());
        add(&mut timers, 5);
        assert!(timers.is_exhausted(), "earlier rows are not known");
        timers.read(Vec::new());
        assert!(!timers.is_exhausted());
        for due in (0..10_000).rev() {
            add(&mut timers, due);
            assert!(timers.rows.len() <= 2 * HELD_ROWS);
        }
        let mut fired = 0;
        while let Some((key, _)) = timers.due(u64::MAX) {
            assert_eq!(due_of(key), Some(fired));
            let key = key.to_owned();
            timers.remove(&key);
            fired += 1;
        }
        assert!(fired >= HELD_ROWS as u64);
        assert!(timers.is_exhausted());
    }

    #[test]
    fn nothing_is_due_before_its_time() {
        let mut timers = Timers::unread();
        timers.read(Vec::new());
        add(&mut timers, 10);
        assert_eq!(timers.next_due(), Some(10));
        assert!(timers.due(9).is_none());
        assert!(timers.due(10).is_some());
        assert!(!timers.is_due_before(10) && timers.is_due_before(11));
        timers.remove(&timer_key(10, "a", "10"));
        assert!(!timers.is_due_before(u64::MAX));
    }
}
