//! The differences between a lock and a program, and their meaning for stored data.

mod data;
mod events;
mod handlers;
mod named;
mod rows;
mod states;

use std::fmt;

use super::declared::Parts;

use events::events;
use handlers::event_handler;
use named::{deadlines, key};
use rows::rows;
use states::{aggregate_state, process_manager_state};

/// The meaning of a change for stored data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Verdict {
    /// Some stored data can no longer be read, or is read as something else.
    Breaking,
    /// All stored data is read as before.
    Compatible,
}

/// One change between the lock and the program.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Change {
    /// Its meaning.
    pub verdict: Verdict,
    /// The changed part, such as ``event `Placed` of the aggregate `order` ``.
    pub place: String,
    /// The change.
    pub what: String,
    /// The remedy for a breaking change; the consequence of a compatible change.
    pub remedy: String,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = match self.verdict {
            Verdict::Breaking => "breaking",
            Verdict::Compatible => "compatible",
        };
        write!(f, "{verdict:<11} {}: {}", self.place, self.what)?;
        if !self.remedy.is_empty() {
            write!(f, "\n            -> {}", self.remedy)?;
        }
        Ok(())
    }
}

/// The changes found so far.
#[derive(Default)]
pub(super) struct Changes(Vec<Change>);

impl Changes {
    fn breaking(&mut self, place: &str, what: impl Into<String>, remedy: impl Into<String>) {
        self.push(Verdict::Breaking, place, what.into(), remedy.into());
    }

    fn compatible(&mut self, place: &str, what: impl Into<String>, remedy: impl Into<String>) {
        self.push(Verdict::Compatible, place, what.into(), remedy.into());
    }

    fn push(&mut self, verdict: Verdict, place: &str, what: String, remedy: String) {
        self.0.push(Change {
            verdict,
            place: place.to_owned(),
            what,
            remedy,
        });
    }
}

/// All changes, breaking changes first.
pub(super) fn compare(locked: &Parts, now: &Parts) -> Vec<Change> {
    let mut changes = Changes::default();
    for old in &locked.aggregates {
        let place = format!("aggregate `{}`", old.name);
        match now.aggregates.iter().find(|new| new.name == old.name) {
            Some(new) => {
                events(old, new, &mut changes);
                aggregate_state(&old.name, &old.state, &new.state, &mut changes);
            }
            None => changes.breaking(
                &place,
                "it is gone, and its streams are not read any more",
                format!(
                    "if it was renamed, keep its stored name: `#[aggregate(name = \"{}\")]`; if it is gone for good, write the lock anew",
                    old.name
                ),
            ),
        }
    }
    for new in &now.aggregates {
        if locked.aggregates.iter().all(|old| old.name != new.name) {
            let place = format!("aggregate `{}`", new.name);
            changes.compatible(&place, "it is new", "");
        }
    }
    for old in &locked.process_managers {
        let place = format!("process manager `{}`", old.name);
        let mut parts = now.process_managers.iter();
        match parts.find(|new| new.name == old.name) {
            Some(new) => {
                key(old, new, &mut changes);
                deadlines(old, new, &mut changes);
                process_manager_state(old, new, &mut changes);
            }
            None => changes.breaking(
                &place,
                "it is gone; under another name it would start from the first event again, and send everything twice",
                format!(
                    "if it was renamed, keep its stored name: `#[process_manager(name = \"{}\", ..)]`; if it is gone for good, write the \
                     lock anew",
                    old.name
                ),
            ),
        }
    }
    for new in &now.process_managers {
        if locked
            .process_managers
            .iter()
            .all(|old| old.name != new.name)
        {
            let place = format!("process manager `{}`", new.name);
            changes.compatible(&place, "it is new", "");
        }
    }
    for old in &locked.event_handlers {
        let mut parts = now.event_handlers.iter();
        match parts.find(|new| new.name == old.name) {
            Some(new) => event_handler(old, new, &mut changes),
            None => changes.breaking(
                &format!("event handler `{}`", old.name),
                "it is gone; under another name it would start at its starting point again, and call the world outside twice",
                format!(
                    "if it was renamed, keep its stored name: `#[event_handler(name = \"{}\", ..)]`; if it is gone for good, write the \
                     lock anew",
                    old.name
                ),
            ),
        }
    }
    for new in &now.event_handlers {
        if locked.event_handlers.iter().all(|old| old.name != new.name) {
            let place = format!("event handler `{}`", new.name);
            changes.compatible(&place, "it is new", "");
        }
    }
    for old in &locked.projections {
        match now.projections.iter().find(|new| new.name == old.name) {
            Some(new) => rows(old, new, &mut changes),
            None => changes.compatible(
                &format!("projection `{}`", old.name),
                "it is gone, or has no rows any more",
                "its rows are made from the events: under another name they are rebuilt",
            ),
        }
    }
    for new in &now.projections {
        if locked.projections.iter().all(|old| old.name != new.name) {
            let place = format!("projection `{}`", new.name);
            changes.compatible(&place, "it is new", "");
        }
    }
    let mut changes = changes.0;
    changes.sort_by_key(|change| change.verdict);
    changes
}
