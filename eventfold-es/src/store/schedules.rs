//! The schedules of a store, for operators.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use serde::Serialize;

use super::AggregateStore;
use crate::report_json;
use crate::schedule::Timetable;

/// A schedule of a store: its timetable and its progress.
///
/// # JSON
///
/// ```json
/// {
///   "name": "nightly", "cron": "0 2 * * *", "time_zone": "Europe/Berlin",
///   "last": "2026-11-29T01:00:00.000Z", "next": "2026-11-30T01:00:00.000Z", "failure": null
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ScheduleStatus {
    /// Its stored name.
    pub name: String,
    /// Its cron expression.
    pub cron: String,
    /// The name of its time zone.
    pub time_zone: String,
    /// The time of its last recorded occurrence; none before the first.
    #[serde(serialize_with = "report_json::time")]
    pub last: Option<SystemTime>,
    /// The time of its next occurrence; none if its stream cannot be read, and in the year 5000.
    #[serde(serialize_with = "report_json::time")]
    pub next: Option<SystemTime>,
    /// The reason why its occurrences are not recorded at present. The store tries again.
    pub failure: Option<String>,
}

/// The progress of a schedule, for readers.
pub(super) struct ScheduleGauge {
    name: &'static str,
    timetable: Arc<Timetable>,
    progress: Mutex<Progress>,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Progress {
    pub(super) last: Option<SystemTime>,
    pub(super) next: Option<SystemTime>,
    pub(super) failure: Option<String>,
}

impl ScheduleGauge {
    pub(super) fn new(name: &'static str, timetable: Arc<Timetable>) -> Self {
        Self {
            name,
            timetable,
            progress: Mutex::default(),
        }
    }

    pub(super) fn change(&self, change: impl FnOnce(&mut Progress)) {
        change(&mut self.progress());
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn status(&self) -> ScheduleStatus {
        let Progress {
            last,
            next,
            failure,
        } = self.progress().clone();
        ScheduleStatus {
            name: self.name.to_owned(),
            cron: self.timetable.cron().to_owned(),
            time_zone: self.timetable.time_zone().to_owned(),
            last,
            next,
            failure,
        }
    }

    /// The reason for an operator to act.
    pub(super) fn reason(&self) -> Option<String> {
        let failure = self.progress().failure.clone()?;
        Some(format!(
            "the schedule `{}` does not record its occurrences: {failure}",
            self.name
        ))
    }
}

impl AggregateStore {
    /// The reasons for an operator to act, one for each failing schedule.
    pub(super) fn schedule_reasons(&self) -> impl Iterator<Item = String> + '_ {
        let gauges = &self.shared.schedules.gauges;
        gauges.iter().filter_map(|gauge| gauge.reason())
    }

    /// The schedules of the store, in the order of registration. On a node that is not the leader of a replicated store, `last` and `next`
    /// are none.
    #[must_use]
    pub fn schedules(&self) -> Vec<ScheduleStatus> {
        let gauges = &self.shared.schedules.gauges;
        gauges.iter().map(|gauge| gauge.status()).collect()
    }
}
