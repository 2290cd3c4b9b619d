//! The changes of states: those that are derived from events, and those of process managers.

use super::Changes;
use super::data::{Remedies, data};
use super::named::{only_more_is_known, types};
use crate::schema::declared::{Data, ProcessManagerShapes, StateShape};

/// The words for the changes of a state that is derived from events.
pub(super) struct Derived<'a> {
    /// The way to raise its version.
    pub(super) raise: String,
    /// The consequence of a raised version.
    pub(super) raised: &'a str,
    /// The consequence of another shape without a raised version.
    pub(super) misread: &'a str,
}

pub(super) fn aggregate_state(
    aggregate: &str,
    old: &StateShape,
    new: &StateShape,
    changes: &mut Changes,
) {
    let words = Derived {
        raise: format!(
            "write `#[aggregate(snapshot_version = {})]`",
            old.version + 1
        ),
        raised: "snapshots of the old one are not used; each stream is folded once from its beginning",
        misread: "a snapshot that was saved before may read as another state than its events lead to",
    };
    let place = format!("state of the aggregate `{aggregate}`");
    derived(&place, old, new, &words, changes);
}

/// Compares derived states. A state of another version is not used, so raising the version is always enough. Without a new
/// version, a saved state may still be readable but lack the effect of the events before it.
pub(super) fn derived(
    place: &str,
    old: &StateShape,
    new: &StateShape,
    words: &Derived<'_>,
    changes: &mut Changes,
) {
    if new.version > old.version {
        changes.compatible(
            place,
            format!(
                "its version was raised from {} to {}",
                old.version, new.version
            ),
            words.raised,
        );
        return;
    }
    let raise = &words.raise;
    if new.version < old.version {
        changes.breaking(
            place,
            format!(
                "its version was lowered from {} to {}, under which other states may have been saved",
                old.version, new.version
            ),
            raise,
        );
        return;
    }
    match (&old.data, &new.data) {
        (before, now) if before == now && old.types == new.types => {}
        (before, now) if before == now && only_more_is_known(&old.types, &new.types) => {
            changes.compatible(place, "what the types in it look like is known now", "");
        }
        (Data::Unknown, _) => changes.compatible(place, "what it looks like is known now", ""),
        _ => {
            let mut found = Changes::default();
            let remedies = Remedies {
                raise: raise.clone(),
                another: "",
            };
            data(place, &old.data, &new.data, &remedies, &mut found);
            types(place, &old.types, &new.types, &remedies, &mut found);
            let changed: Vec<String> = found.0.into_iter().map(|change| change.what).collect();
            let changed = if changed.is_empty() {
                "the order or the attributes of its fields have changed".to_owned()
            } else {
                changed.join("; ")
            };
            changes.breaking(place, format!("{changed}: {}", words.misread), raise);
        }
    }
}

/// Compares the states of a process manager. They cannot be derived again, so the stored states must be read.
pub(super) fn process_manager_state(
    old: &ProcessManagerShapes,
    new: &ProcessManagerShapes,
    changes: &mut Changes,
) {
    let place = format!("state of the process manager `{}`", new.name);
    let (old, new) = (&old.state, &new.state);
    if new.version > old.version {
        changes.compatible(
            &place,
            format!(
                "its version was raised from {} to {}",
                old.version, new.version
            ),
            "stored states are migrated when they are read",
        );
    } else if new.version < old.version {
        changes.breaking(
            &place,
            format!(
                "its version was lowered from {} to {}, and the stored states would count as newer than the program",
                old.version, new.version
            ),
            format!("write `state_version = {}` again, or a higher one", old.version),
        );
    } else {
        let remedies = Remedies {
            raise: format!(
                "write `state_version = {}` and `impl MigrateState`",
                old.version + 1
            ),
            another: "",
        };
        data(&place, &old.data, &new.data, &remedies, changes);
        types(&place, &old.types, &new.types, &remedies, changes);
    }
}
