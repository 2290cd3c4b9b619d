//! Finding and describing the mistakes of a declared store, when the program is compiled.

use super::Topology;
use crate::names::{equal, is_same_directory};

/// The length limit of a message in bytes. A longer message is cut.
const MAX_BYTES: usize = 640;

/// The reason why a part does not fit into a store.
#[derive(Clone, Copy)]
struct Objection {
    text: [u8; MAX_BYTES],
    length: usize,
}

impl Objection {
    const EMPTY: Self = Self {
        text: [0; MAX_BYTES],
        length: 0,
    };

    /// The message.
    const fn text(&self) -> &str {
        let (text, _) = self.text.split_at(self.length);
        match str::from_utf8(text) {
            Ok(text) => text,
            // The text was cut within a character.
            Err(error) => match str::from_utf8(text.split_at(error.valid_up_to()).0) {
                Ok(text) => text,
                Err(_) => "this part does not fit into the store",
            },
        }
    }

    const fn saying(mut self, text: &str) -> Self {
        let mut rest = text.as_bytes();
        while let [byte, tail @ ..] = rest {
            let (_, free) = self.text.split_at_mut(self.length);
            let [place, ..] = free else {
                break;
            };
            *place = *byte;
            self.length += 1;
            rest = tail;
        }
        self
    }

    const fn shared(first: &str, second: &str, name: &str, attribute: &str) -> Self {
        Self::EMPTY
            .saying("`")
            .saying(first)
            .saying("` and `")
            .saying(second)
            .saying("` are both stored as `")
            .saying(name)
            .saying("`: give one of them a name of its own with `#[")
            .saying(attribute)
            .saying("(name = \"..\")]`")
    }

    const fn not_listed(part: &str, verb: &str, aggregate: &str, store: &str) -> Self {
        Self::EMPTY
            .saying("`")
            .saying(part)
            .saying("` ")
            .saying(verb)
            .saying(" the aggregate that is stored as `")
            .saying(aggregate)
            .saying("`, which is not in `aggregates` of `")
            .saying(store)
            .saying("`: add it there")
    }

    const fn not_scheduled(part: &str) -> Self {
        Self::EMPTY
            .saying("`")
            .saying(part)
            .saying("` is a schedule, which has no occurrences in `aggregates`: list it in `schedules = [")
            .saying(part)
            .saying("]` instead")
    }

    const fn one_decider(first: &str, second: &str) -> Self {
        Self::EMPTY
            .saying("`")
            .saying(first)
            .saying("` and `")
            .saying(second)
            .saying("` decide one type of commands, which then could be sent to either: give one of them a type of its own")
    }

    /// The reason why the `index`th aggregate of a store does not fit into it.
    const fn to_aggregate(store: &Topology, index: usize) -> Option<Self> {
        let (mut earlier, behind) = store.aggregates.split_at(index);
        let [part, ..] = behind else {
            return None;
        };
        while let [first, tail @ ..] = earlier {
            if is_same_directory(first.name, part.name) {
                return Some(Self::shared(
                    first.type_name,
                    part.type_name,
                    part.name,
                    match part.is_schedule {
                        true => "schedule",
                        false => "aggregate",
                    },
                ));
            }
            earlier = tail;
        }
        if part.is_schedule && !part.is_scheduled {
            return Some(Self::not_scheduled(part.type_name));
        }
        let Some(owner) = part.owner else {
            return None;
        };
        if equal(owner, part.name) {
            return None;
        }
        let mut aggregates = store.aggregates;
        while let [aggregate, tail @ ..] = aggregates {
            if equal(aggregate.name, owner) {
                return Some(Self::one_decider(aggregate.type_name, part.type_name));
            }
            aggregates = tail;
        }
        // The owner of these commands is not in this store. Another store may list both.
        None
    }

    /// The reason why the `index`th process manager of a store does not fit into it.
    const fn to_process_manager(store: &Topology, index: usize) -> Option<Self> {
        let (mut earlier, behind) = store.process_managers.split_at(index);
        let [part, ..] = behind else {
            return None;
        };
        while let [first, tail @ ..] = earlier {
            if is_same_directory(first.name, part.name) {
                return Some(Self::shared(
                    first.type_name,
                    part.type_name,
                    part.name,
                    "process_manager",
                ));
            }
            earlier = tail;
        }
        if let Some(aggregate) = unlisted(store, part.subscriptions) {
            return Some(Self::not_listed(
                part.type_name,
                "reacts to",
                aggregate,
                store.name,
            ));
        }
        match unlisted(store, part.targets) {
            Some(aggregate) => Some(Self::not_listed(
                part.type_name,
                "sends commands to",
                aggregate,
                store.name,
            )),
            None => None,
        }
    }

    /// The reason why the `index`th event handler of a store does not fit into it. Its stored name is among those of process
    /// managers.
    const fn to_event_handler(store: &Topology, index: usize) -> Option<Self> {
        let (mut earlier, behind) = store.event_handlers.split_at(index);
        let [part, ..] = behind else {
            return None;
        };
        while let [first, tail @ ..] = earlier {
            if is_same_directory(first.name, part.name) {
                return Some(Self::shared(
                    first.type_name,
                    part.type_name,
                    part.name,
                    "event_handler",
                ));
            }
            earlier = tail;
        }
        let mut process_managers = store.process_managers;
        while let [first, tail @ ..] = process_managers {
            if is_same_directory(first.name, part.name) {
                return Some(Self::shared(
                    first.type_name,
                    part.type_name,
                    part.name,
                    "event_handler",
                ));
            }
            process_managers = tail;
        }
        if let Some(aggregate) = unlisted(store, Some(part.subscriptions)) {
            return Some(Self::not_listed(
                part.type_name,
                "handles the events of",
                aggregate,
                store.name,
            ));
        }
        match unlisted(store, part.targets) {
            Some(aggregate) => Some(Self::not_listed(
                part.type_name,
                "sends commands to",
                aggregate,
                store.name,
            )),
            None => None,
        }
    }

    /// The reason why the `index`th projection of a store does not fit into it.
    const fn to_projection(store: &Topology, index: usize) -> Option<Self> {
        let (mut earlier, behind) = store.projections.split_at(index);
        let [part, ..] = behind else {
            return None;
        };
        while let [first, tail @ ..] = earlier {
            if is_same_directory(first.name, part.name) {
                return Some(Self::shared(
                    first.type_name,
                    part.type_name,
                    part.name,
                    "projection",
                ));
            }
            earlier = tail;
        }
        match unlisted(store, part.subscriptions) {
            Some(aggregate) => Some(Self::not_listed(
                part.type_name,
                "folds the events of",
                aggregate,
                store.name,
            )),
            None => None,
        }
    }
}

/// Asserts that the `index`th aggregate of a store fits into it.
///
/// # Panics
///
/// If it does not fit. The compiler then reports an error at the entry that calls this.
#[track_caller]
pub const fn aggregate_fits(store: &Topology, index: usize) {
    assert_none(Objection::to_aggregate(store, index));
}

/// Asserts that the `index`th process manager of a store fits into it.
///
/// # Panics
///
/// As [`aggregate_fits`].
#[track_caller]
pub const fn process_manager_fits(store: &Topology, index: usize) {
    assert_none(Objection::to_process_manager(store, index));
}

/// Asserts that the `index`th event handler of a store fits into it.
///
/// # Panics
///
/// As [`aggregate_fits`].
#[track_caller]
pub const fn event_handler_fits(store: &Topology, index: usize) {
    assert_none(Objection::to_event_handler(store, index));
}

/// Asserts that the `index`th projection of a store fits into it.
///
/// # Panics
///
/// As [`aggregate_fits`].
#[track_caller]
pub const fn projection_fits(store: &Topology, index: usize) {
    assert_none(Objection::to_projection(store, index));
}

#[track_caller]
const fn assert_none(objection: Option<Objection>) {
    if let Some(objection) = objection {
        panic!("{}", objection.text());
    }
}

/// The first of these names without an aggregate in the store.
const fn unlisted<'a>(store: &Topology, names: Option<&'a [&'static str]>) -> Option<&'a str> {
    let Some(mut names) = names else {
        return None;
    };
    while let [name, tail @ ..] = names {
        if !is_listed(store, name) {
            return Some(name);
        }
        names = tail;
    }
    None
}

const fn is_listed(store: &Topology, name: &str) -> bool {
    let mut aggregates = store.aggregates;
    while let [aggregate, tail @ ..] = aggregates {
        if equal(aggregate.name, name) {
            return true;
        }
        aggregates = tail;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_message_is_cut_at_a_character() {
        let long = Objection::EMPTY.saying(&"ä".repeat(MAX_BYTES));
        assert_eq!(long.text(), "ä".repeat(MAX_BYTES / 2));
        let odd = Objection::EMPTY.saying("x").saying(&"ä".repeat(MAX_BYTES));
        assert_eq!(odd.text(), format!("x{}", "ä".repeat(MAX_BYTES / 2 - 1)));
    }
}
