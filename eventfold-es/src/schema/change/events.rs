//! The changes of the events of an aggregate.

use super::Changes;
use super::data::{Remedies, data};
use super::named::{past, types};
use crate::schema::declared::{AggregateShapes, EventShape};

pub(super) fn events(old: &AggregateShapes, new: &AggregateShapes, changes: &mut Changes) {
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
                "it is gone, and its stored events cannot be read",
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
        past(place, old, new, changes);
        return;
    }
    if new.version < old.version {
        changes.breaking(
            place,
            format!(
                "its version was lowered from {} to {}, and its stored events would count as newer than the program",
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
    let remedies = Remedies {
        raise: format!("raise its version: {upcast}"),
        another: "or add a new variant, and retire this one with `#[event(retired)]`",
    };
    data(place, &old.data, &new.data, &remedies, changes);
    types(place, &old.types, &new.types, &remedies, changes);
    past(place, old, new, changes);
}
