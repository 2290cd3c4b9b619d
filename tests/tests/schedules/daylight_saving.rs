//! Local times that do not exist, that exist twice, and changes of a time zone.

use eventfold_es::Timetable;
use eventfold_es_tests::TestResult;

use super::world::{at, text};

/// The local times of the first occurrences after a time.
fn local(
    cron: &str,
    zone: &str,
    after: &str,
    count: usize,
) -> Result<Vec<String>, Box<dyn std::error::Error>> {
    let timetable = Timetable::new(cron)?.in_time_zone(zone)?;
    let mut time = at(after);
    let mut local = Vec::new();
    for _ in 0..count {
        let next = timetable.next_after(time).ok_or("it ends")?;
        assert!(
            next.due() > time,
            "{} after {}",
            text(next.due()),
            text(time)
        );
        time = next.due();
        let shown = next.local().split('[').next().unwrap_or_default();
        local.push(shown.to_owned());
    }
    Ok(local)
}

#[test]
fn a_time_that_the_clock_skips_is_the_end_of_the_gap() -> TestResult {
    // In Berlin, 02:00 to 03:00 does not exist on 2026-03-29.
    assert_eq!(
        local("30 2 * * *", "Europe/Berlin", "2026-03-27T12:00:00Z", 3)?,
        [
            "2026-03-28T02:30:00+01:00",
            "2026-03-29T03:00:00+02:00",
            "2026-03-30T02:30:00+02:00"
        ]
    );
    // In Santiago, the day begins at one o'clock on 2026-09-06.
    assert_eq!(
        local("@daily", "America/Santiago", "2026-09-05T12:00:00Z", 2)?,
        ["2026-09-06T01:00:00-03:00", "2026-09-07T00:00:00-03:00"]
    );
    Ok(())
}

#[test]
fn a_time_that_comes_twice_occurs_at_the_first() -> TestResult {
    // In Berlin, 02:00 to 03:00 comes twice on 2026-10-25.
    assert_eq!(
        local("30 2 * * *", "Europe/Berlin", "2026-10-23T12:00:00Z", 3)?,
        [
            "2026-10-24T02:30:00+02:00",
            "2026-10-25T02:30:00+02:00",
            "2026-10-26T02:30:00+01:00"
        ]
    );
    // Also for a store that looks between the two.
    assert_eq!(
        local("30 2 * * *", "Europe/Berlin", "2026-10-25T00:45:00Z", 1)?,
        ["2026-10-26T02:30:00+01:00"]
    );
    Ok(())
}

#[test]
fn several_times_in_an_hour_or_a_day_follow_the_hours_that_pass() -> TestResult {
    assert_eq!(
        local("0 * * * *", "Europe/Berlin", "2026-03-28T23:30:00Z", 4)?,
        [
            "2026-03-29T01:00:00+01:00",
            "2026-03-29T03:00:00+02:00",
            "2026-03-29T04:00:00+02:00",
            "2026-03-29T05:00:00+02:00"
        ]
    );
    assert_eq!(
        local("0 * * * *", "Europe/Berlin", "2026-10-24T23:30:00Z", 4)?,
        [
            "2026-10-25T02:00:00+02:00",
            "2026-10-25T02:00:00+01:00",
            "2026-10-25T03:00:00+01:00",
            "2026-10-25T04:00:00+01:00"
        ]
    );
    // An expression with several hours skips the missing hour, and occurs in both of a repeated hour.
    assert_eq!(
        local("30 1,2 * * *", "Europe/Berlin", "2026-03-28T23:30:00Z", 2)?,
        ["2026-03-29T01:30:00+01:00", "2026-03-30T01:30:00+02:00"]
    );
    assert_eq!(
        local("30 1,2 * * *", "Europe/Berlin", "2026-10-24T22:30:00Z", 4)?,
        [
            "2026-10-25T01:30:00+02:00",
            "2026-10-25T02:30:00+02:00",
            "2026-10-25T02:30:00+01:00",
            "2026-10-26T01:30:00+01:00"
        ]
    );
    Ok(())
}

#[test]
fn zones_with_other_changes() -> TestResult {
    // Half an hour, in the other direction of the year.
    assert_eq!(
        local(
            "15 2 * * *",
            "Australia/Lord_Howe",
            "2026-10-02T20:00:00Z",
            2
        )?,
        ["2026-10-04T02:30:00+11:00", "2026-10-05T02:15:00+11:00"]
    );
    // A day that did not exist.
    assert_eq!(
        local("0 12 * * *", "Pacific/Apia", "2011-12-29T00:00:00Z", 2)?,
        ["2011-12-29T12:00:00-10:00", "2011-12-31T12:00:00+14:00"]
    );
    // Also if that day is the only one of its month.
    assert_eq!(
        local("0 1 30 * *", "Pacific/Apia", "2011-11-30T20:00:00Z", 2)?,
        ["2011-12-31T01:00:00+14:00", "2012-01-30T01:00:00+14:00"]
    );
    // No change at all.
    assert_eq!(
        local("0 2 * * *", "UTC", "2026-03-28T12:00:00Z", 1)?,
        ["2026-03-29T02:00:00+00:00"]
    );
    Ok(())
}

#[test]
fn leap_days_and_ends_of_months() -> TestResult {
    assert_eq!(
        local("0 9 29 2 *", "UTC", "2026-01-01T00:00:00Z", 2)?,
        ["2028-02-29T09:00:00+00:00", "2032-02-29T09:00:00+00:00"]
    );
    assert_eq!(
        local("0 9 L * *", "UTC", "2026-01-31T09:00:00Z", 2)?,
        ["2026-02-28T09:00:00+00:00", "2026-03-31T09:00:00+00:00"]
    );
    assert_eq!(
        local("0 9 * * 5#2", "UTC", "2026-01-01T00:00:00Z", 2)?,
        ["2026-01-09T09:00:00+00:00", "2026-02-13T09:00:00+00:00"]
    );
    // A day of the month or a day of the week; with `+`, both.
    assert_eq!(
        local("0 9 13 * FRI", "UTC", "2026-02-06T10:00:00Z", 2)?,
        ["2026-02-13T09:00:00+00:00", "2026-02-20T09:00:00+00:00"]
    );
    assert_eq!(
        local("0 9 13 * +FRI", "UTC", "2026-02-06T10:00:00Z", 2)?,
        ["2026-02-13T09:00:00+00:00", "2026-03-13T09:00:00+00:00"]
    );
    Ok(())
}
