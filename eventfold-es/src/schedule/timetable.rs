//! The times of a schedule.

use std::fmt;
use std::time::SystemTime;

use croner::Cron;
use jiff::tz::{TimeZone, TimeZoneDatabase};
use jiff::{Timestamp, Zoned};

use super::occurrence::Occurrence;
use super::{cron, instant};

/// The times of a [`Schedule`](crate::Schedule): a cron expression in a time zone, and the policy for missed occurrences.
///
/// `#[schedule]` makes it of its arguments. A program that reads it from a configuration gives it to
/// [`schedule_with`](crate::AggregateStoreBuilder::schedule_with) of the builder.
///
/// The expression has five fields: minute, hour, day of the month, month, day of the week. `docs/guide/schedules.md` has the dialect, and
/// the rules for changes of the clock.
///
/// # Examples
///
/// ```
/// use std::time::{Duration, SystemTime};
/// use eventfold_es::{Missed, Timetable};
///
/// let nightly = Timetable::new("0 2 * * *")?.in_time_zone("Europe/Berlin")?.missed(Missed::All);
/// let first = nightly.next_after(SystemTime::UNIX_EPOCH).expect("it has no end");
/// assert_eq!(first.local(), "1970-01-01T02:00:00+01:00[Europe/Berlin]");
/// assert_eq!(first.due(), SystemTime::UNIX_EPOCH + Duration::from_secs(3600));
///
/// let error = Timetable::new("0 24 * * *").unwrap_err();
/// assert!(error.to_string().contains("`24` is no hour: it is 0 to 23"));
/// # Ok::<(), eventfold_es::TimetableError>(())
/// ```
#[derive(Clone)]
pub struct Timetable {
    expression: String,
    cron: Box<Cron>,
    zone: TimeZone,
    zone_name: String,
    missed: Missed,
}

/// The occurrences of a schedule that are recorded although the store did not look at its clock in time: the program was not running, the
/// machine slept, or the clock jumped.
///
/// The store looks at its clock at the time of an occurrence. At each look, the occurrences after the last recorded occurrence, up to the
/// time of the clock, are due.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Missed {
    /// The latest of the due occurrences is recorded, for all of them. [`Occurrence::stands_for`] is their number.
    #[default]
    Once,
    /// Each of the due occurrences is recorded, in their order, up to 256 in one commit.
    All,
    /// The latest of the due occurrences is recorded if it has been due for less than a minute. All others are forgotten.
    None,
}

/// A timetable that has no meaning.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TimetableError {
    /// The cron expression cannot be read, or never occurs.
    #[error("{reason}")]
    Cron {
        /// The expression.
        expression: String,
        /// The mistake and the remedy.
        reason: String,
    },
    /// The time zone is unknown.
    #[error(
        "`{name}` is no time zone: write a name of the IANA database, for example `Europe/Berlin`, or `UTC`"
    )]
    TimeZone {
        /// The name.
        name: String,
    },
}

impl Timetable {
    /// The times of a cron expression in UTC, with [`Missed::Once`].
    ///
    /// # Errors
    ///
    /// [`TimetableError::Cron`] if the expression cannot be read, or if no day fits it.
    pub fn new(cron: &str) -> Result<Self, TimetableError> {
        let parsed = cron::parse(cron).map_err(|reason| TimetableError::Cron {
            expression: cron.to_owned(),
            reason,
        })?;
        Ok(Self {
            expression: cron.to_owned(),
            cron: Box::new(parsed),
            zone: TimeZone::UTC,
            zone_name: "UTC".to_owned(),
            missed: Missed::Once,
        })
    }

    /// Reads the expression in the local time of this time zone, a name of the IANA database such as `Europe/Berlin`.
    ///
    /// The rules of a zone are those of the system, in `/usr/share/zoneinfo`, which its updates keep current. Without them, or without this
    /// zone in them, they are the rules that this crate was built with.
    ///
    /// # Errors
    ///
    /// [`TimetableError::TimeZone`] if neither knows the name.
    pub fn in_time_zone(mut self, name: &str) -> Result<Self, TimetableError> {
        let known = match name {
            "UTC" => Ok(TimeZone::UTC),
            _ => TimeZone::get(name).or_else(|_| TimeZoneDatabase::bundled().get(name)),
        };
        self.zone = known.map_err(|_| TimetableError::TimeZone {
            name: name.to_owned(),
        })?;
        name.clone_into(&mut self.zone_name);
        Ok(self)
    }

    /// Sets the policy for missed occurrences.
    #[must_use]
    pub fn missed(mut self, missed: Missed) -> Self {
        self.missed = missed;
        self
    }

    /// The cron expression.
    #[must_use]
    pub fn cron(&self) -> &str {
        &self.expression
    }

    /// The name of the time zone.
    #[must_use]
    pub fn time_zone(&self) -> &str {
        &self.zone_name
    }

    /// The policy for missed occurrences.
    #[must_use]
    pub fn policy(&self) -> Missed {
        self.missed
    }

    /// The first occurrence after `time`; `None` in the year 5000 and later.
    #[must_use]
    pub fn next_after(&self, time: SystemTime) -> Option<Occurrence> {
        let next = self.next(&instant(time).to_zoned(self.zone.clone()))?;
        Some(Occurrence::in_zone(&next, 1))
    }

    /// The first occurrence after `time`.
    pub(crate) fn next(&self, time: &Zoned) -> Option<Zoned> {
        let next = self.cron.find_next_occurrence(time, false).ok();
        let next = next.or_else(|| self.next_of_the_calendar(time));
        next.filter(|next| next.timestamp() > time.timestamp())
    }

    /// The next occurrence by the calendar alone. The search in a time zone ends at a day that the zone leaves out, as Samoa did in 2011.
    fn next_of_the_calendar(&self, time: &Zoned) -> Option<Zoned> {
        let next = self
            .cron
            .find_next_occurrence(&time.datetime(), false)
            .ok()?;
        // A time that does not exist is moved to the day behind the gap.
        next.to_zoned(self.zone.clone()).ok()
    }

    /// A point in time, in the zone of the timetable.
    pub(crate) fn local(&self, time: Timestamp) -> Zoned {
        time.to_zoned(self.zone.clone())
    }
}

impl fmt::Debug for Timetable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timetable")
            .field("cron", &self.expression)
            .field("time_zone", &self.zone_name)
            .field("missed", &self.missed)
            .finish()
    }
}
