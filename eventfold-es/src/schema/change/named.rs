//! The changes of named types: types inside of data, types that read older versions, and the messages of deadlines.

use super::Changes;
use super::data::{Remedies, data};
use crate::schema::declared::{Data, EventShape, ProcessManagerShapes, TypeShape};
use crate::schema::types::reads;

/// The types in the data of one place.
pub(super) fn types(
    place: &str,
    old: &[TypeShape],
    new: &[TypeShape],
    remedies: &Remedies<'_>,
    changes: &mut Changes,
) {
    for (index, known) in old.iter().enumerate() {
        let place = within(place, known);
        match same(old, index, new) {
            Some(current) => data(&place, &known.data, &current.data, remedies, changes),
            None => changes.breaking(
                &place,
                "what it looks like is not known any more",
                "if it is still stored, put `#[derive(StoredShape)]` on it again; otherwise write the lock anew",
            ),
        }
    }
    for (index, current) in new.iter().enumerate() {
        if same(new, index, old).is_none() {
            changes.compatible(
                &within(place, current),
                "what it looks like is known now",
                "",
            );
        }
    }
}

/// Whether `new` has all types of `old` unchanged, and other types besides.
pub(super) fn only_more_is_known(old: &[TypeShape], new: &[TypeShape]) -> bool {
    old.iter().all(|known| new.contains(known)) && new.len() > old.len()
}

fn within(place: &str, named: &TypeShape) -> String {
    format!("{place}, type `{}`", named.name)
}

/// The type in `others` that corresponds to the `index`th of `types`. Several types may have one name, from different
/// modules.
fn same<'a>(types: &[TypeShape], index: usize, others: &'a [TypeShape]) -> Option<&'a TypeShape> {
    let name = &types.get(index)?.name;
    let before = types.iter().take(index);
    let nth = before.filter(|other| other.name == *name).count();
    others.iter().filter(|other| other.name == *name).nth(nth)
}

/// Compares the types that read the older versions of an event. Each must read the stored data of its version. The
/// current version of the lock may be an older version now.
pub(super) fn past(place: &str, old: &EventShape, new: &EventShape, changes: &mut Changes) {
    for (version, current) in (1..).zip(&new.past) {
        let place = format!("{place}, version {version}");
        let remedies = Remedies {
            raise: format!(
                "give `{}` the fields that version {version} was stored with",
                current.name
            ),
            another: "",
        };
        if version == old.version {
            if current.data != Data::Unknown && old.data != Data::Unknown {
                data(&place, &old.data, &current.data, &remedies, changes);
            }
            continue;
        }
        let locked = old
            .past
            .iter()
            .zip(1..)
            .find(|(_, locked)| *locked == version);
        let Some((locked, _)) = locked else {
            continue;
        };
        if locked.name != current.name {
            let what = format!(
                "it is read as `{}` now, and was as `{}`",
                current.name, locked.name
            );
            let is_unknown = locked.data == Data::Unknown || current.data == Data::Unknown;
            if is_unknown && !reads(&locked.name, &current.name) {
                changes.breaking(
                    &place,
                    what,
                    "if both read the same, put `#[derive(StoredShape)]` on it, and write the lock anew",
                );
            } else {
                changes.compatible(&place, what, "");
            }
        }
        data(&place, &locked.data, &current.data, &remedies, changes);
        types(&place, &locked.types, &current.types, &remedies, changes);
    }
}

/// Compares the keys. Each instance is stored under the text of its key.
pub(super) fn key(old: &ProcessManagerShapes, new: &ProcessManagerShapes, changes: &mut Changes) {
    if old.key == new.key {
        return;
    }
    let place = format!("key of the process manager `{}`", new.name);
    let another_name = format!(
        "give it another stored name, `#[process_manager(name = \"{}-2\", ..)]`: under that name it starts again, at the first event or with \
         `start = \"now\"` at the next",
        new.name
    );
    if old.key.is_empty() {
        let what = format!(
            "it has the key `{}` now, but the stored state is that of one instance without a key",
            new.key
        );
        changes.breaking(&place, what, another_name);
    } else if new.key.is_empty() {
        let what = format!(
            "the key `{}` is gone, but the stored states are those of its instances",
            old.key
        );
        changes.breaking(&place, what, another_name);
    } else {
        let what = format!("its type has changed from `{}` to `{}`", old.key, new.key);
        if new.key == "String" {
            let remedy = "every key that is stored reads as a `String`; `correlate` has to write them as before";
            changes.compatible(&place, what, remedy);
        } else {
            let remedy = format!(
                "if every key that is stored reads as a `{}`, and is written as before, write the lock anew; if not, {another_name}",
                new.key
            );
            changes.breaking(&place, what, remedy);
        }
    }
}

/// Compares the messages of deadlines, which may be armed for a long time.
pub(super) fn deadlines(
    old: &ProcessManagerShapes,
    new: &ProcessManagerShapes,
    changes: &mut Changes,
) {
    let place = |name: &str| format!("deadline `{name}` of the process manager `{}`", new.name);
    for known in &old.deadlines {
        let place = place(&known.name);
        let mut found = new.deadlines.iter();
        let Some(current) = found.find(|current| current.name == known.name) else {
            changes.breaking(
                &place,
                "it is gone, and an armed deadline with this message could not be handled",
                "keep its message in `deadlines` until none is armed; if the type was renamed, import it under the name it had, with \
                 `use .. as ..`",
            );
            continue;
        };
        let remedies = Remedies {
            raise: "keep this message as it is, and add another one to `deadlines`".to_owned(),
            another: "",
        };
        data(&place, &known.data, &current.data, &remedies, changes);
        types(&place, &known.types, &current.types, &remedies, changes);
    }
    for current in &new.deadlines {
        if old.deadlines.iter().all(|known| known.name != current.name) {
            changes.compatible(&place(&current.name), "it is new", "");
        }
    }
}
