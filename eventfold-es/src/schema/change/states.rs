//! The changes of the states of aggregates and process managers.

use super::Changes;
use super::data::{Remedies, data};
use super::named::{only_more_is_known, types};
use crate::schema::declared::{Data, ProcessManagerShapes, StateShape};

/// Compares the states of an aggregate. They are derived, and a state of another version is not used. So raising the
/// version is always enough. Without a new version, a saved state may still be readable but lack the effect of the
/// events before it.
pub(super) fn aggregate_state(
    aggregate: &str,
    old: &StateShape,
    new: &StateShape,
    changes: &mut Changes,
) {
    let place = format!("state of the aggregate `{aggregate}`");
    if new.version > old.version {
        changes.compatible(
            &place,
            format!(
                "its version was raised from {} to {}",
                old.version, new.version
            ),
            "snapshots of the old one are not used; each stream is folded once from its beginning",
        );
        return;
    }
    let raise = format!(
        "write `#[aggregate(snapshot_version = {})]`",
        old.version + 1
    );
    if new.version < old.version {
        changes.breaking(
            &place,
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
            changes.compatible(&place, "what the types in it look like is known now", "");
        }
        (Data::Unknown, _) => changes.compatible(&place, "what it looks like is known now", ""),
        _ => {
            let mut found = Changes::default();
            let remedies = Remedies {
                raise: raise.clone(),
                another: "",
            };
            data(&place, &old.data, &new.data, &remedies, &mut found);
            types(&place, &old.types, &new.types, &remedies, &mut found);
            let changed: Vec<String> = found.0.into_iter().map(|change| change.what).collect();
            let changed = if changed.is_empty() {
                "the order or the attributes of its fields have changed".to_owned()
            } else {
                changed.join("; ")
            };
            changes.breaking(
                &place,
                format!("{changed}: a snapshot that was saved before may read as another state than its events lead to"),
                raise,
            );
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
