//! The event of a schedule.

use std::time::SystemTime;

use jiff::{Timestamp, Zoned};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::instant;
use crate::__private::StoredEvent;
use crate::event::{DomainEvent, EventError};
use crate::schema::{EventSchema, Field, Shape};

/// One occurrence of a [`Schedule`](crate::Schedule): the event that its subscribers receive.
///
/// # Stored form
///
/// Times are RFC 3339 text. `local` also has the time zone, as in RFC 9557:
///
/// ```json
/// {"type":"Occurred","data":{"due":"2026-11-30T01:00:00Z","local":"2026-11-30T02:00:00+01:00[Europe/Berlin]","stands_for":1}}
/// ```
///
/// # Examples
///
/// A test of a handler makes an occurrence:
///
/// ```
/// use std::time::{Duration, SystemTime};
/// use eventfold_es::Occurrence;
///
/// let due = SystemTime::UNIX_EPOCH + Duration::from_secs(7200);
/// let occurrence = Occurrence::at(due);
/// assert_eq!(occurrence.due(), due);
/// assert_eq!(occurrence.local(), "1970-01-01T02:00:00+00:00[UTC]");
/// assert_eq!(occurrence.local_date(), "1970-01-01");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Occurrence {
    due: Timestamp,
    local: String,
    stands_for: u64,
}

/// The stored form.
#[derive(Serialize, Deserialize)]
#[serde(tag = "type", content = "data")]
enum Stored {
    Occurred {
        #[serde(with = "super::rfc_3339")]
        due: Timestamp,
        local: String,
        stands_for: u64,
    },
}

impl Serialize for Occurrence {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self {
            due,
            local,
            stands_for,
        } = self.clone();
        let stored = Stored::Occurred {
            due,
            local,
            stands_for,
        };
        stored.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Occurrence {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Stored::Occurred {
            due,
            local,
            stands_for,
        } = Stored::deserialize(deserializer)?;
        Ok(Self {
            due,
            local,
            stands_for,
        })
    }
}

impl Occurrence {
    /// An occurrence at `due`, in UTC. Times before the year -9999 and after the year 9999 are moved there.
    ///
    /// [`Timetable::next_after`](crate::Timetable::next_after) makes an occurrence in another time zone.
    #[must_use]
    pub fn at(due: SystemTime) -> Self {
        Self::in_zone(&instant(due).to_zoned(jiff::tz::TimeZone::UTC), 1)
    }

    /// The same occurrence, in place of `occurrences`, itself included; see [`Missed::Once`](crate::Missed::Once).
    #[must_use]
    pub fn standing_for(mut self, occurrences: u64) -> Self {
        self.stands_for = occurrences;
        self
    }

    pub(crate) fn in_zone(due: &Zoned, stands_for: u64) -> Self {
        Self {
            due: due.timestamp(),
            local: due.to_string(),
            stands_for,
        }
    }

    /// The time of the occurrence. It is recorded at this time or later.
    #[must_use]
    pub fn due(&self) -> SystemTime {
        self.due.into()
    }

    pub(super) fn timestamp(&self) -> Timestamp {
        self.due
    }

    /// [`due`](Self::due) in the time zone of the schedule, as text of RFC 9557: `2026-11-30T02:00:00+01:00[Europe/Berlin]`.
    #[must_use]
    pub fn local(&self) -> &str {
        &self.local
    }

    /// The date of [`local`](Self::local): `2026-11-30`.
    #[must_use]
    pub fn local_date(&self) -> &str {
        self.local.split('T').next().unwrap_or_default()
    }

    /// The number of occurrences that it stands for: 1, and more with [`Missed::Once`](crate::Missed::Once) after missed occurrences. It
    /// counts itself.
    #[must_use]
    pub fn stands_for(&self) -> u64 {
        self.stands_for
    }
}

#[diagnostic::do_not_recommend]
impl DomainEvent for Occurrence {
    const EVENT_TYPES: &'static [&'static str] = &["Occurred"];
    const SCHEMAS: &'static [EventSchema] = &[EventSchema::new(
        "Occurred",
        Shape::Struct(&[
            Field::new("due", "String"),
            Field::new("local", "String"),
            Field::new("stands_for", "u64"),
        ]),
    )];

    fn event_type(&self) -> &'static str {
        "Occurred"
    }

    fn from_stored(event: &StoredEvent<'_>) -> Result<Self, EventError> {
        event.decode()
    }
}
