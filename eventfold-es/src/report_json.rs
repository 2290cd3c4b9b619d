//! The JSON of report fields for which serde's own form is hard to read.

use std::borrow::Cow;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::ser::{Serialize, Serializer};
use serde_json::value::RawValue;

/// A path as text. serde refuses a path that is not UTF-8. In a report, the text is worth more than the bytes that
/// cannot be shown.
pub(crate) fn path<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    path.to_string_lossy().serialize(serializer)
}

/// A time as RFC 3339 text, or `null`.
pub(crate) fn time<S: Serializer>(
    time: &Option<SystemTime>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    time.map(rfc_3339).serialize(serializer)
}

/// A duration in seconds, as a number with a fraction of up to six digits.
pub(crate) fn seconds<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    // One division of whole numbers: the nearest number, which prints as it was.
    serializer.serialize_f64(time.as_micros() as f64 / 1e6)
}

/// A time as RFC 3339 text.
pub(crate) fn since<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    rfc_3339(*time).serialize(serializer)
}

/// Named deadlines as a list of objects: `{"name":"pay","due":"2023-11-14T22:13:20.000Z"}`.
pub(crate) fn deadlines<S: Serializer>(
    deadlines: &[(String, SystemTime)],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    #[derive(serde::Serialize)]
    struct Armed<'a> {
        name: &'a str,
        due: String,
    }
    serializer.collect_seq(deadlines.iter().map(|(name, due)| Armed {
        name,
        due: rfc_3339(*due),
    }))
}

/// The aggregate type and the id of a stream as an object, or `null`.
pub(crate) fn stream<S: Serializer>(
    stream: &Option<(String, String)>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    #[derive(serde::Serialize)]
    struct Named<'a> {
        aggregate_type: &'a str,
        instance_id: &'a str,
    }
    let named = stream.as_ref().map(|(aggregate_type, instance_id)| Named {
        aggregate_type,
        instance_id,
    });
    named.serialize(serializer)
}

/// JSON text as JSON, or `null`.
pub(crate) fn json<S: Serializer>(text: &Option<String>, serializer: S) -> Result<S::Ok, S::Error> {
    let Some(text) = text else {
        return serializer.serialize_none();
    };
    match serde_json::from_str::<&RawValue>(text) {
        Ok(value) => value.serialize(serializer),
        // The store writes a state as JSON. If a person has changed it, the report still shows the text.
        Err(_) => Cow::Borrowed(&**text).serialize(serializer),
    }
}

/// A time in UTC to the millisecond: `2023-11-14T22:13:20.000Z`.
fn rfc_3339(time: SystemTime) -> String {
    let since_1970 = match time.duration_since(UNIX_EPOCH) {
        Ok(after) => millis(after),
        Err(error) => -millis(error.duration()),
    };
    let (days, of_day) = (
        since_1970.div_euclid(MILLIS_PER_DAY),
        since_1970.rem_euclid(MILLIS_PER_DAY),
    );
    let (year, month, day) = civil(days);
    let (hour, minute) = (of_day / 3_600_000, of_day / 60_000 % 60);
    let (second, millisecond) = (of_day / 1000 % 60, of_day % 1000);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millisecond:03}Z")
}

const MILLIS_PER_DAY: i64 = 86_400_000;
/// The days of 400 years, after which the calendar repeats.
const DAYS_PER_ERA: i64 = 146_097;
/// The days from 0000-03-01 to 1970-01-01.
const DAYS_BEFORE_1970: i64 = 719_468;
/// A later year has more than four digits, and the sums below could overflow.
const MOST_MILLIS: u128 = 253_402_300_799_999;

fn millis(duration: Duration) -> i64 {
    duration.as_millis().min(MOST_MILLIS) as i64
}

/// Year, month and day of a day that is counted from 1970-01-01. Years begin in March here, so that the leap day is the
/// last day.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + DAYS_BEFORE_1970;
    let (era, of_era) = (days.div_euclid(DAYS_PER_ERA), days.rem_euclid(DAYS_PER_ERA));
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let is_next_year = month >= 10;
    let month = if is_next_year { month - 9 } else { month + 3 };
    (era * 400 + year + i64::from(is_next_year), month, day)
}

#[cfg(test)]
mod tests;
