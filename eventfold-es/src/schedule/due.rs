//! The due occurrences of a timetable, found in portions.

use std::sync::Arc;
use std::time::SystemTime;

use jiff::{SignedDuration, Timestamp, Zoned};

use super::occurrence::Occurrence;
use super::timetable::{Missed, Timetable};

/// The most occurrences of one commit.
pub(crate) const BATCH: usize = 256;

/// The number of occurrences that are found before the caller is asked again. It bounds the time of one call.
const PORTION: usize = 4096;

/// The time after which [`Missed::None`] forgets an occurrence.
const FORGOTTEN_AFTER: SignedDuration = SignedDuration::from_mins(1);

/// The occurrences between the last recorded occurrence and the time of the clock.
#[derive(Clone)]
pub(crate) struct DueOccurrences {
    timetable: Arc<Timetable>,
    now: Timestamp,
    /// The time up to which they were found.
    found_up_to: Zoned,
    latest: Option<Zoned>,
    count: u64,
}

/// The result of one portion.
pub(crate) enum Portion {
    /// These have to be recorded, before the next portion is found.
    Record(Vec<Occurrence>),
    /// There may be more.
    More,
    /// No more are due. The next occurrence, if there is one.
    Done(Option<Zoned>),
}

impl DueOccurrences {
    /// The occurrences after `after`, up to `now`.
    pub(crate) fn new(timetable: Arc<Timetable>, after: Timestamp, now: Timestamp) -> Self {
        let found_up_to = timetable.local(after);
        Self {
            timetable,
            now,
            found_up_to,
            latest: None,
            count: 0,
        }
    }

    /// Finds the next portion. It takes milliseconds, more if no occurrence is near.
    pub(crate) fn portion(&mut self) -> Portion {
        let mut batch = Vec::new();
        let keeps_each = self.timetable.policy() == Missed::All;
        for _ in 0..PORTION {
            let next = self.timetable.next(&self.found_up_to);
            let due = next.as_ref().filter(|next| next.timestamp() <= self.now);
            let Some(due) = due.cloned() else {
                return match self.recorded(batch) {
                    batch if batch.is_empty() => Portion::Done(next),
                    batch => Portion::Record(batch),
                };
            };
            self.found_up_to = due.clone();
            if !keeps_each {
                self.latest = Some(due);
                self.count += 1;
                continue;
            }
            batch.push(Occurrence::in_zone(&due, 1));
            if batch.len() == BATCH {
                return Portion::Record(batch);
            }
        }
        Portion::More
    }

    /// The time of the last occurrence that was found.
    pub(crate) fn found_up_to(&self) -> SystemTime {
        self.found_up_to.timestamp().into()
    }

    /// The occurrences to record at the end of the due ones.
    fn recorded(&mut self, batch: Vec<Occurrence>) -> Vec<Occurrence> {
        let Some(latest) = self.latest.take() else {
            return batch;
        };
        let count = std::mem::take(&mut self.count);
        let lateness = self.now.duration_since(latest.timestamp());
        match self.timetable.policy() {
            Missed::Once => vec![Occurrence::in_zone(&latest, count)],
            Missed::None if lateness < FORGOTTEN_AFTER => vec![Occurrence::in_zone(&latest, 1)],
            Missed::None | Missed::All => batch,
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use super::*;

    /// The recorded batches, and the next occurrence.
    fn all_of(timetable: Timetable, after: &str, now: &str) -> (Vec<Vec<Occurrence>>, String) {
        let (after, now) = (after.parse().unwrap(), now.parse().unwrap());
        let mut due = DueOccurrences::new(Arc::new(timetable), after, now);
        let mut batches = Vec::new();
        loop {
            match due.portion() {
                Portion::Record(batch) => batches.push(batch),
                Portion::More => {}
                Portion::Done(next) => return (batches, next.unwrap().timestamp().to_string()),
            }
        }
    }

    fn each_minute(missed: Missed) -> Timetable {
        Timetable::new("* * * * *").unwrap().missed(missed)
    }

    #[test]
    fn a_year_away_is_one_occurrence_or_each_in_batches() {
        let (after, now) = ("2026-01-01T00:00:00Z", "2026-01-31T00:00:30Z");
        let (once, next) = all_of(each_minute(Missed::Once), after, now);
        let [batch] = once.as_slice() else {
            panic!("{} batches", once.len());
        };
        let [one] = batch.as_slice() else {
            panic!("{} occurrences", batch.len());
        };
        assert_eq!(one.stands_for(), 30 * 24 * 60);
        assert_eq!(one.local(), "2026-01-31T00:00:00+00:00[UTC]");
        assert_eq!(next, "2026-01-31T00:01:00Z");

        let (each, next) = all_of(each_minute(Missed::All), after, now);
        let most = each.iter().map(Vec::len).max();
        assert_eq!(most, Some(BATCH));
        let each: Vec<Occurrence> = each.into_iter().flatten().collect();
        assert_eq!(each.len(), 30 * 24 * 60);
        assert!(each.is_sorted_by(|one, other| one.due() < other.due()));
        assert!(each.iter().all(|one| one.stands_for() == 1));
        assert_eq!(next, "2026-01-31T00:01:00Z");

        let (none, _) = all_of(each_minute(Missed::None), after, now);
        let none: Vec<Occurrence> = none.into_iter().flatten().collect();
        assert_eq!(none, [one.clone().standing_for(1)]);
    }

    #[test]
    fn none_forgets_an_occurrence_after_a_minute() {
        let nightly = Timetable::new("0 2 * * *").unwrap().missed(Missed::None);
        let after = "2026-01-01T02:00:00Z";
        for (now, recorded) in [
            ("2026-01-02T01:59:59.999Z", 0),
            ("2026-01-02T02:00:00Z", 1),
            ("2026-01-02T02:00:59.999Z", 1),
            ("2026-01-02T02:01:00Z", 0),
        ] {
            let (batches, _) = all_of(nightly.clone(), after, now);
            assert_eq!(batches.len(), recorded, "{now}");
        }
    }
}
