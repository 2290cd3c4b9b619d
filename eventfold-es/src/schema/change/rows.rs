//! The changes of the rows of projections.

use super::Changes;
use super::states::{Derived, derived};
use crate::schema::declared::RowShapes;

/// The consequence of another key or index, which the store compares itself.
const REBUILT: &str = "the store rebuilds the rows";

/// Compares the rows of a projection. They are derived, so nothing is lost.
pub(super) fn rows(old: &RowShapes, new: &RowShapes, changes: &mut Changes) {
    let of_projection = format!("of the projection `{}`", new.name);
    retyped(&format!("key {of_projection}"), &old.key, &new.key, changes);
    let place = |name: &str| format!("index `{name}` {of_projection}");
    for index in &old.indexes {
        let place = place(&index.name);
        let mut found = new.indexes.iter();
        match found.find(|current| current.name == index.name) {
            Some(current) => retyped(&place, &index.type_name, &current.type_name, changes),
            None => changes.compatible(&place, "it is gone", REBUILT),
        }
    }
    for index in &new.indexes {
        if old.indexes.iter().all(|known| known.name != index.name) {
            changes.compatible(&place(&index.name), "it is new", REBUILT);
        }
    }
    let words = Derived {
        raise: format!(
            "write `#[projection(.., version = {})]`",
            old.row.version + 1
        ),
        raised: "the rows are rebuilt from the events",
        misread: "a row that was stored before may read as another row than its events lead to",
    };
    let place = format!("row {of_projection}");
    derived(&place, &old.row, &new.row, &words, changes);
}

/// Compares the types of a key or of an index. An unknown type is empty.
fn retyped(place: &str, old: &str, new: &str, changes: &mut Changes) {
    let what = match (old, new) {
        (old, new) if old == new => return,
        ("", new) => format!("its type is known now: `{new}`"),
        (old, "") => format!("its type `{old}` is not known any more"),
        (old, new) => format!("its type has changed from `{old}` to `{new}`"),
    };
    changes.compatible(place, what, REBUILT);
}
