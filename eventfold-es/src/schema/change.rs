//! What has changed between a lock and a program, and what that means for what is stored.

use std::fmt;

use super::declared::{
    AggregateShapes, Case, Data, EventShape, Parts, ProcessManagerShapes, StateShape, Value,
};
use super::types::reads;

/// What a change means for what is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Verdict {
    /// Something that was stored can no longer be read, or is read as something else.
    Breaking,
    /// Everything that was stored is read as before.
    Compatible,
}

/// One change between the lock and the program.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Change {
    /// What it means.
    pub verdict: Verdict,
    /// Where it is, as ``event `Placed` of the aggregate `order` ``.
    pub place: String,
    /// What has changed.
    pub what: String,
    /// What to do about it, if it breaks; what follows from it, if it does not.
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

/// The changes that were found.
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

/// Everything that has changed, what breaks first.
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
            Some(new) => process_manager_state(old, new, &mut changes),
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
    let mut changes = changes.0;
    changes.sort_by_key(|change| change.verdict);
    changes
}

fn events(old: &AggregateShapes, new: &AggregateShapes, changes: &mut Changes) {
    let place = |name: &str| format!("event `{name}` of the aggregate `{}`", new.name);
    for event in &old.events {
        let place = place(&event.name);
        let mut found = new.events.iter();
        let Some(current) = found.find(|current| is_read_as(current, &event.name)) else {
            let mut looks_renamed = new.events.iter().filter(|current| {
                current.data == event.data
                    && old.events.iter().all(|known| known.name != current.name)
            });
            let remedy = match (looks_renamed.next(), looks_renamed.next()) {
                (Some(renamed), None) => format!(
                    "if it is called `{}` now, write `#[serde(alias = \"{}\")]` on that variant; otherwise keep the variant, as \
                     `#[event(retired)]` if nothing writes it any more",
                    renamed.name, event.name
                ),
                _ => format!(
                    "keep the variant, as `#[event(retired)]` if nothing writes it any more; if it has another name now, write \
                     `#[serde(alias = \"{}\")]` on it",
                    event.name
                ),
            };
            changes.breaking(
                &place,
                "it is gone, and what is stored cannot be read",
                remedy,
            );
            continue;
        };
        if current.name != event.name {
            changes.compatible(
                &place,
                format!(
                    "it is called `{}` now, and read under both names",
                    current.name
                ),
                "",
            );
        }
        for alias in &event.aliases {
            if new.events.iter().all(|current| !is_read_as(current, alias)) {
                changes.breaking(
                    &place,
                    format!("it is not read under the name `{alias}` any more"),
                    format!(
                        "write `#[serde(alias = \"{alias}\")]`: events are stored under that name"
                    ),
                );
            }
        }
        for alias in &current.aliases {
            let was_read = old.events.iter().any(|known| is_read_as(known, alias));
            if !was_read {
                changes.compatible(
                    &place,
                    format!("it is read under the name `{alias}`, too"),
                    "",
                );
            }
        }
        if event.is_retired != current.is_retired {
            let what = if current.is_retired {
                "it is retired: read, and no longer written"
            } else {
                "it is written again"
            };
            changes.compatible(&place, what, "");
        }
        event_data(&place, event, current, changes);
    }
    for event in &new.events {
        let is_known = old
            .events
            .iter()
            .any(|known| known.name == event.name || is_read_as(event, &known.name));
        if !is_known {
            changes.compatible(&place(&event.name), "it is new", "");
        }
    }
}

fn is_read_as(event: &EventShape, name: &str) -> bool {
    event.name == name || event.aliases.iter().any(|alias| alias == name)
}

fn event_data(place: &str, old: &EventShape, new: &EventShape, changes: &mut Changes) {
    if new.version > old.version {
        changes.compatible(
            place,
            format!(
                "its version was raised from {} to {}",
                old.version, new.version
            ),
            "what is stored is taken to it step by step",
        );
        return;
    }
    if new.version < old.version {
        changes.breaking(
            place,
            format!(
                "its version was lowered from {} to {}, and what is stored would count as newer than the program",
                old.version, new.version
            ),
            format!("write `#[event(version = {}, ..)]` again, or a higher one", old.version),
        );
        return;
    }
    let next = new.version + 1;
    let upcast = format!(
        "`#[event(version = {next}, upcast_from(.., {} => {}V{}))]`",
        new.version, new.name, new.version
    );
    data(
        place,
        &old.data,
        &new.data,
        &Remedies {
            raise: format!("raise its version: {upcast}"),
            another: "or add a new variant, and retire this one with `#[event(retired)]`",
        },
        changes,
    );
}

/// What to do about data that is not read as it was.
struct Remedies<'a> {
    /// How its version is raised.
    raise: String,
    another: &'a str,
}

fn data(place: &str, old: &Data, new: &Data, remedies: &Remedies<'_>, changes: &mut Changes) {
    match (old, new) {
        (old, new) if old == new => {}
        (Data::Unknown, _) => changes.compatible(
            place,
            "what it looks like is known now",
            "whether it has changed before cannot be told",
        ),
        (_, Data::Unknown) => changes.breaking(
            place,
            "what it looks like is not known any more, since it was written by hand",
            "say it in `SCHEMAS` or `STATE`, or write the lock anew",
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
                    "it passes over fields that it does not know"
                };
                changes.compatible(place, what, "");
            }
            fields(place, old, new, *is_strict, remedies, changes);
        }
        (Data::Tuple(old), Data::Tuple(new)) => values(place, old, new, remedies, changes),
        (Data::Enum(old), Data::Enum(new)) => cases(place, old, new, remedies, changes),
        (old, new) => changes.breaking(
            place,
            format!("{} has become {}", kind(old), kind(new)),
            format!("{}, {}", remedies.raise, remedies.another),
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
                    format!("{described}, and `{}` of the same type is new: what is stored would be lost", renamed.name),
                    format!(
                        "if it was renamed, write `#[serde(alias = \"{}\")]` on `{}`; if it is another thing, {}, or write the lock anew",
                        value.name, renamed.name, remedies.raise
                    ),
                ),
                _ if is_strict => changes.breaking(
                    place,
                    format!("{described}, and fields that are not known are refused"),
                    format!("remove `deny_unknown_fields`, or {}", remedies.raise),
                ),
                _ => changes.compatible(place, described, "what is stored in it is passed over"),
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
                format!(
                    "write `#[serde(default)]` on it, or {}, {}",
                    remedies.raise, remedies.another
                ),
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
            format!("{}, {}", remedies.raise, remedies.another),
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

/// A value that is there before and after.
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
            form => format!("`{form}`"),
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
            "the type of `{name}` has changed from `{}` to `{}`",
            old.type_name, new.type_name
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
                    "{}, {}; if both are stored alike, write the lock anew",
                    remedies.raise, remedies.another
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

/// The states of an aggregate are derived: one of another version is not used, so that raising the version is all there is to
/// do. Without that, a state that still reads may lack what the events behind it would have brought.
fn aggregate_state(aggregate: &str, old: &StateShape, new: &StateShape, changes: &mut Changes) {
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
        (old, new) if old == new => {}
        (Data::Unknown, _) => changes.compatible(&place, "what it looks like is known now", ""),
        _ => {
            let mut found = Changes::default();
            let remedies = Remedies {
                raise: raise.clone(),
                another: "",
            };
            data(&place, &old.data, &new.data, &remedies, &mut found);
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

/// The states of a process manager cannot be built anew: what is stored has to be read.
fn process_manager_state(
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
            "what is stored is migrated when it is read",
        );
    } else if new.version < old.version {
        changes.breaking(
            &place,
            format!(
                "its version was lowered from {} to {}, and what is stored would count as newer than the program",
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
    }
}
