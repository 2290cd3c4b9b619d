//! The schedules of a store that is opened: their timetables, and the times at which they start.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::error::{OpenError, StoreError};
use crate::journal::{Journal, Progress, ProposedCommit, ProposedReaction, Term};
use crate::runtime::{room_in, settled_in};
use crate::schedule::Timetable;
use crate::store::schedules::ScheduleGauge;
use crate::store::timekeeper::{Entry, SchedulePart, State};

/// The beginning of a schedule in a store, as the state of its progress.
#[derive(Serialize, Deserialize)]
struct Beginning {
    /// Milliseconds since 1970.
    started: u64,
}

/// The name of the progress of a schedule. No process manager can have it, and every file system can.
fn progress_of(schedule: &str) -> String {
    format!("schedule@{schedule}")
}

pub(super) fn timetables(parts: &[SchedulePart]) -> Result<Vec<Timetable>, OpenError> {
    parts.iter().map(SchedulePart::timetable).collect()
}

/// The times at which the schedules start. See [`started`].
pub(super) async fn beginnings(
    journal: &Arc<dyn Journal>,
    parts: &[SchedulePart],
    term: Option<Term>,
) -> Result<Vec<SystemTime>, OpenError> {
    let mut beginnings = Vec::with_capacity(parts.len());
    for part in parts {
        beginnings.push(started(journal, part.name, term).await?);
    }
    Ok(beginnings)
}

/// The schedules with their timetables and their beginnings.
pub(super) fn entries(
    parts: Vec<SchedulePart>,
    timetables: Vec<Timetable>,
    beginnings: Vec<SystemTime>,
) -> Vec<Entry> {
    let parts = parts.into_iter().zip(timetables).zip(beginnings);
    let entries = parts.map(|((part, timetable), started)| {
        let timetable = Arc::new(timetable);
        Entry {
            name: part.name,
            gauge: Arc::new(ScheduleGauge::new(part.name, Arc::clone(&timetable))),
            timetable,
            calls: part.calls,
            started,
            state: State::Unread,
        }
    });
    entries.collect()
}

/// The time at which a schedule starts. That of a new schedule is now, and is committed in the given term. Without a term, and on a
/// read-only file system, nothing is committed. Fails when the term is lost.
pub(in crate::store) async fn started(
    journal: &Arc<dyn Journal>,
    name: &str,
    term: Option<Term>,
) -> Result<SystemTime, OpenError> {
    let progress_name = progress_of(name);
    let known = journal.progress(&progress_name);
    let known = known.map(|progress| serde_json::from_str::<Beginning>(progress.state.get()));
    let unreadable = |error: serde_json::Error| StoreError::Refused {
        reason: format!("the beginning of the schedule `{name}` does not read: {error}").into(),
    };
    let beginning = match known {
        Some(known) => known.map_err(unreadable).map_err(OpenError::Store)?,
        None => {
            let beginning = Beginning {
                started: journal.clock().now_ms(),
            };
            if let Some(term) = term.filter(|_| journal.read_only().is_none()) {
                let state = serde_json::value::to_raw_value(&beginning);
                let progress = Progress {
                    position: *journal.durable().borrow(),
                    state: state.map_err(unreadable).map_err(OpenError::Store)?,
                };
                let room = room_in(&**journal, term).await;
                let room = room.map_err(OpenError::Store)?;
                let committed = journal.submit(
                    room,
                    ProposedCommit {
                        reaction: Some(ProposedReaction {
                            process_manager: progress_name.into(),
                            progress,
                            dispatched: 0,
                            rows: Vec::new(),
                            dead_letters: Vec::new(),
                        }),
                        ..ProposedCommit::default()
                    },
                );
                let committed = settled_in(&**journal, term, &committed).await;
                committed.map_err(OpenError::Store)?;
            }
            beginning
        }
    };
    let started = UNIX_EPOCH.checked_add(Duration::from_millis(beginning.started));
    Ok(started.unwrap_or(UNIX_EPOCH))
}
