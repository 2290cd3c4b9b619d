//! The changes of the data of an event or of a state: fields, values and variants.

use super::Changes;
use crate::schema::declared::{Case, Data, Value};
use crate::schema::types::reads;

/// The remedies for data that is not read as before.
pub(super) struct Remedies<'a> {
    /// The way to raise its version.
    pub(super) raise: String,
    /// Another remedy; empty if there is none.
    pub(super) another: &'a str,
}

impl Remedies<'_> {
    fn all(&self) -> String {
        if self.another.is_empty() {
            self.raise.clone()
        } else {
            format!("{}, {}", self.raise, self.another)
        }
    }
}

pub(super) fn data(
    place: &str,
    old: &Data,
    new: &Data,
    remedies: &Remedies<'_>,
    changes: &mut Changes,
) {
    match (old, new) {
        (old, new) if old == new => {}
        (Data::Unknown, _) => changes.compatible(
            place,
            "what it looks like is known now",
            "it is unknown whether it has changed before",
        ),
        (_, Data::Unknown) => changes.breaking(
            place,
            "what it looks like is not known any more",
            "declare it again (with `#[derive(StoredShape)]`, or in the constant of a hand-written type), or write the lock anew",
        ),
        (
            Data::Struct {
                fields: old,
                is_strict: was_strict,
            },
            Data::Struct {
                fields: new,
                is_strict,
            },
        ) => {
            if was_strict != is_strict {
                let what = if *is_strict {
                    "it refuses fields that it does not know"
                } else {
                    "it ignores fields that it does not know"
                };
                changes.compatible(place, what, "");
            }
            fields(place, old, new, *is_strict, remedies, changes);
        }
        (Data::Tuple(old), Data::Tuple(new)) => values(place, old, new, remedies, changes),
        (Data::Enum(old), Data::Enum(new)) => cases(place, old, new, remedies, changes),
        (old @ Data::Converted(_), new) | (old, new @ Data::Converted(_)) => changes.breaking(
            place,
            format!("{} has become {}", kind(old), kind(new)),
            format!(
                "if both are stored alike, write the lock anew; otherwise {}",
                remedies.all()
            ),
        ),
        (old, new) => changes.breaking(
            place,
            format!("{} has become {}", kind(old), kind(new)),
            remedies.all(),
        ),
    }
}

fn kind(data: &Data) -> String {
    match data {
        Data::Unknown => "something that is not known".to_owned(),
        Data::Unit => "nothing".to_owned(),
        Data::Tuple(values) => match values.as_slice() {
            [value] => format!("a single `{}`", value.type_name),
            _ => format!("a row of {} values", values.len()),
        },
        Data::Struct { .. } => "a struct with named fields".to_owned(),
        Data::Enum(_) => "an enum".to_owned(),
        Data::Custom(form) => format!("what `{form}` makes of it"),
        Data::Converted(form) => format!("what `{form}` makes of it (not checked)"),
    }
}

fn fields(
    place: &str,
    old: &[Value],
    new: &[Value],
    is_strict: bool,
    remedies: &Remedies<'_>,
    changes: &mut Changes,
) {
    let names = |value: &Value, name: &str| {
        value.name == name || value.aliases.iter().any(|alias| alias == name)
    };
    let is_new = |value: &Value| old.iter().all(|known| !names(value, &known.name));
    for value in old {
        let Some(current) = new.iter().find(|current| names(current, &value.name)) else {
            let mut alike = new
                .iter()
                .filter(|current| is_new(current) && current.type_name == value.type_name);
            let described = format!("the field `{}: {}` is gone", value.name, value.type_name);
            match alike.next() {
                Some(renamed) if alike.next().is_none() => changes.breaking(
                    place,
                    format!("{described}, and `{}` of the same type is new: the stored value would be lost", renamed.name),
                    format!(
                        "if it was renamed, write `#[serde(alias = \"{}\")]` on `{}`; if it is a different field, {}, or write the lock anew",
                        value.name, renamed.name, remedies.raise
                    ),
                ),
                _ if is_strict => changes.breaking(
                    place,
                    format!("{described}, and fields that are not known are refused"),
                    format!("remove `deny_unknown_fields`, or {}", remedies.raise),
                ),
                _ => changes.compatible(place, described, "its stored value is ignored"),
            }
            continue;
        };
        if current.name != value.name {
            changes.compatible(
                place,
                format!(
                    "the field `{}` is called `{}` now, and read under both names",
                    value.name, current.name
                ),
                "",
            );
        }
        same_value(place, value, current, remedies, changes);
        for alias in &value.aliases {
            if new.iter().all(|current| !names(current, alias)) {
                changes.breaking(
                    place,
                    format!(
                        "the field `{}` is not read under the name `{alias}` any more",
                        value.name
                    ),
                    format!(
                        "write `#[serde(alias = \"{alias}\")]` on it: it is stored under that name"
                    ),
                );
            }
        }
    }
    for value in new.iter().filter(|value| is_new(value)) {
        let described = format!("the field `{}: {}` is new", value.name, value.type_name);
        if value.is_optional {
            changes.compatible(
                place,
                described,
                "it has its default where it is not stored",
            );
        } else {
            changes.breaking(
                place,
                format!("{described}, and what is stored does not have it"),
                format!("write `#[serde(default)]` on it, or {}", remedies.all()),
            );
        }
    }
}

fn values(
    place: &str,
    old: &[Value],
    new: &[Value],
    remedies: &Remedies<'_>,
    changes: &mut Changes,
) {
    let is_single = |values: &[Value]| values.len() == 1;
    let grows_by_defaults =
        new.len() > old.len() && new.iter().skip(old.len()).all(|value| value.is_optional);
    let is_same_row =
        !is_single(old) && !is_single(new) && (new.len() == old.len() || grows_by_defaults);
    if !(is_same_row || is_single(old) && is_single(new)) {
        changes.breaking(
            place,
            format!(
                "a row of {} values has become one of {}",
                old.len(),
                new.len()
            ),
            remedies.all(),
        );
        return;
    }
    for (old, new) in old.iter().zip(new) {
        same_value(place, old, new, remedies, changes);
    }
    for value in new.iter().skip(old.len()) {
        changes.compatible(
            place,
            format!(
                "the value {} of the type `{}` is new",
                value.name, value.type_name
            ),
            "it has its default where it is not stored",
        );
    }
}

/// Compares a value that exists before and after.
fn same_value(
    place: &str,
    old: &Value,
    new: &Value,
    remedies: &Remedies<'_>,
    changes: &mut Changes,
) {
    let name = &new.name;
    if old.form != new.form {
        let form = |value: &Value| match value.form.as_str() {
            "" => "none".to_owned(),
            form if value.is_checked() => format!("`{form}`"),
            form => format!("`{form}` (not checked)"),
        };
        changes.breaking(
            place,
            format!(
                "the form of `{name}` has changed from {} to {}",
                form(old),
                form(new)
            ),
            format!(
                "if both read the same, write the lock anew; otherwise {}",
                remedies.raise
            ),
        );
    }
    if old.type_name != new.type_name {
        let described = format!(
            "the type of `{name}` has changed from `{}` to `{}`{}",
            old.type_name,
            new.type_name,
            if new.is_checked() {
                String::new()
            } else {
                format!(", under `{}` (not checked)", new.form)
            }
        );
        if old.form.is_empty() && new.form.is_empty() && reads(&old.type_name, &new.type_name) {
            changes.compatible(
                place,
                described,
                "the new one reads whatever the old one stored",
            );
        } else {
            changes.breaking(
                place,
                described,
                format!(
                    "{}; if both are stored alike, write the lock anew",
                    remedies.all()
                ),
            );
        }
    } else if old.is_optional && !new.is_optional {
        changes.breaking(
            place,
            format!("`{name}` must be there now, and may be missing in what is stored"),
            format!(
                "write `#[serde(default)]` on it again, or {}",
                remedies.raise
            ),
        );
    } else if !old.is_optional && new.is_optional {
        changes.compatible(place, format!("`{name}` may be missing"), "");
    }
    for alias in &new.aliases {
        if !old.aliases.contains(alias) && *alias != old.name {
            changes.compatible(
                place,
                format!("`{name}` is read under the name `{alias}`, too"),
                "",
            );
        }
    }
}

fn cases(place: &str, old: &[Case], new: &[Case], remedies: &Remedies<'_>, changes: &mut Changes) {
    let names = |case: &Case, name: &str| {
        case.name == name || case.aliases.iter().any(|alias| alias == name)
    };
    for case in old {
        match new.iter().find(|current| names(current, &case.name)) {
            Some(current) => {
                let place = format!("{place}, variant `{}`", case.name);
                data(&place, &case.data, &current.data, remedies, changes);
            }
            None => changes.breaking(
                place,
                format!("the variant `{}` is gone", case.name),
                format!(
                    "write `#[serde(alias = \"{}\")]` on what it has become, or {}",
                    case.name, remedies.raise
                ),
            ),
        }
    }
    for case in new {
        if old.iter().all(|known| !names(case, &known.name)) {
            changes.compatible(place, format!("the variant `{}` is new", case.name), "");
        }
    }
}
