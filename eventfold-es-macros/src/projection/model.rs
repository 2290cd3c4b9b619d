//! The checked arguments of `#[projection]`.

use proc_macro2::{Ident, TokenStream};
use syn::{DeriveInput, Expr, Generics, Type, Visibility};

use super::index::{self, Indexed};
use crate::attributes::{self, Arguments, Grammar, Guess, Key, OnFailedEvent, StoredName};
use crate::diagnostics::Diagnostics;
use crate::path::{CratePath, Entry};
use crate::shape::Shape;
use crate::{item, lists, names, skipped};

const GRAMMAR: Grammar = Grammar {
    macro_name: "projection",
    keys: &[
        Key::Subscribes,
        Key::Keyed,
        Key::Sink,
        Key::Version,
        Key::OnFailedEvent,
        Key::Name,
        Key::UnknownEvents,
        Key::Crate,
    ],
    guesses: &[
        Guess {
            words: &[
                "subscribe",
                "subscription",
                "subscriptions",
                "subscribes_to",
                "events",
                "event",
                "handles",
                "listens",
                "listens_to",
                "on",
                "sources",
                "aggregates",
                "projects",
                "folds",
                "from",
            ],
            key: Some(Key::Subscribes),
            answer: "the aggregates whose events it folds are listed as `subscribes = [Order]`",
        },
        Guess {
            words: &[
                "dispatches",
                "dispatch",
                "commands",
                "command",
                "sends",
                "targets",
            ],
            key: None,
            answer: "a projection sends no commands; what does is a `#[process_manager]`",
        },
        Guess {
            words: &[
                "keyed",
                "keyed_by",
                "key_type",
                "keys",
                "row",
                "rows",
                "row_key",
                "primary_key",
                "per",
                "by",
                "instance",
                "instances",
                "group_by",
                "partition_by",
                "locate",
            ],
            key: Some(Key::Keyed),
            answer: "the type that tells its rows apart is given as `key = CustomerId`",
        },
        Guess {
            words: &[
                "database", "db", "store", "storage", "into", "target", "sinks", "output",
                "backend", "to",
            ],
            key: Some(Key::Sink),
            answer: "the database that it writes to is given as `sink = Sqlite`",
        },
        Guess {
            words: &["index", "indexes", "indices", "indexed", "indexed_by"],
            key: None,
            answer: "an index is declared at the field of a row: put `#[index]` on the field",
        },
        Guess {
            words: &[
                "state_version",
                "schema_version",
                "snapshot_version",
                "migrate",
                "migration",
                "revision",
            ],
            key: Some(Key::Version),
            answer: "the version of its rows or tables is given as `version = 2`",
        },
        Guess {
            words: &[
                "on_error",
                "on_failed",
                "failure",
                "failures",
                "failure_policy",
                "error_policy",
                "policy",
                "retry",
                "retries",
            ],
            key: Some(Key::OnFailedEvent),
            answer: "the action for an event that it cannot project is given as `on_failure = \"skip\"`",
        },
        Guess {
            words: &["unknown", "skip", "skip_unknown", "ignore", "on_unknown"],
            key: Some(Key::UnknownEvents),
            answer: "that it goes on without events of a newer program is said as `unknown_events = \"skip\"`",
        },
        Guess {
            words: &["state", "state_type", "model", "read_model"],
            key: None,
            answer: "the state is the type under the attribute itself: remove the argument",
        },
        Guess {
            words: &["id", "type", "rename", "view", "projection", "table"],
            key: Some(Key::Name),
            answer: "the stored name is given as `name = \"sales\"`",
        },
    ],
};

/// The place of the state of a projection.
#[derive(Clone, Copy)]
pub(crate) enum Place {
    /// One value in memory.
    Memory,
    /// The rows of the store. The type itself is the row.
    Rows,
    /// A database of the user.
    Sink,
}

/// A declaration of a projection.
pub(crate) struct Model {
    pub(crate) ident: Ident,
    pub(crate) generics: Generics,
    pub(crate) vis: Visibility,
    pub(crate) name: StoredName,
    pub(crate) subscribes: Vec<Entry>,
    pub(crate) place: Place,
    /// The key of its rows, unless there was a mistake.
    pub(crate) key: Option<Type>,
    pub(crate) indexes: Vec<Indexed>,
    /// The stored shape of a row.
    pub(crate) row: Shape,
    /// The database that it writes to, unless there was a mistake.
    pub(crate) sink: Option<Type>,
    pub(crate) version: Option<Expr>,
    pub(crate) on_failed_event: Option<OnFailedEvent>,
    pub(crate) skips_unknown_events: bool,
    pub(crate) krate: CratePath,
}

impl Model {
    /// The model of `item`, and the item without its `#[index]` attributes.
    pub(crate) fn new(
        arguments: TokenStream,
        item: TokenStream,
        diagnostics: &Diagnostics,
    ) -> (Option<Self>, TokenStream) {
        if arguments.is_empty() && item::is_impl(&item) {
            // The arguments are on the type itself, which has the stubs.
            item::parse(&item, GRAMMAR.macro_name, diagnostics);
            return (None, item);
        }
        let arguments = attributes::parse(arguments, &GRAMMAR, diagnostics);
        let subscribes = lists::required(
            Key::Subscribes,
            &arguments,
            "folds",
            GRAMMAR.macro_name,
            diagnostics,
        );
        reject_both_places(&arguments, diagnostics);
        let (item, found) = index::taken_from(item);
        let Some(parsed) = item::parse(&item, GRAMMAR.macro_name, diagnostics) else {
            return (None, item);
        };
        let place = if arguments.was_given(Key::Keyed) {
            Place::Rows
        } else if arguments.was_given(Key::Sink) {
            Place::Sink
        } else {
            reject_in_memory(&arguments, diagnostics);
            Place::Memory
        };
        reject_skipped(place, &parsed, diagnostics);
        let indexes = indexes(place, &parsed, found, diagnostics);
        let model = Self {
            name: names::resolve(
                arguments.name,
                &parsed.ident,
                GRAMMAR.macro_name,
                diagnostics,
            ),
            subscribes,
            place,
            key: arguments.key,
            indexes,
            row: Shape::of_item(&parsed),
            sink: arguments.sink,
            version: arguments.version,
            on_failed_event: arguments.on_failed_event,
            skips_unknown_events: arguments.skips_unknown_events.unwrap_or(false),
            krate: CratePath::new(arguments.crate_path.as_ref()),
            ident: parsed.ident,
            generics: parsed.generics,
            vis: parsed.vis,
        };
        (Some(model), item)
    }
}

/// Reports the fields that are not stored, of a type that is.
fn reject_skipped(place: Place, item: &DeriveInput, diagnostics: &Diagnostics) {
    let why = match place {
        Place::Memory => {
            "a projection goes on from what is saved of its state, so that the field is its default again when the store is opened; remove \
             the attribute, or make the field from the others where the state is read, with `#[serde(from = \"..\", into = \"..\")]`"
        }
        Place::Rows => {
            "a row is stored, and this field would be its default again when the row is read; remove the attribute, or make the field \
             from the others, with `#[serde(from = \"..\", into = \"..\")]`"
        }
        // Only its tables are stored.
        Place::Sink => return,
    };
    skipped::reject(item, why, diagnostics);
}

/// The indexes of rows. Without rows each index is reported.
fn indexes(
    place: Place,
    item: &DeriveInput,
    found: Vec<index::Found>,
    diagnostics: &Diagnostics,
) -> Vec<Indexed> {
    let why = match place {
        Place::Rows => return index::checked(item, found, diagnostics),
        Place::Memory => {
            "this projection is one value; add `key = ..` to `#[projection(..)]`, with the type that tells its rows apart, or remove \
             this attribute"
        }
        Place::Sink => {
            "the tables of a sink have their own indexes; create the index in `prepare`, and remove this attribute"
        }
    };
    index::reject(found, why, diagnostics);
    Vec::new()
}

/// Reports `key` together with `sink`, at the later of the two.
fn reject_both_places(arguments: &Arguments, diagnostics: &Diagnostics) {
    let (Some((key, key_word)), Some((sink, sink_word))) =
        (arguments.written(Key::Keyed), arguments.written(Key::Sink))
    else {
        return;
    };
    let (later, earlier, word) = if key < sink {
        ("sink", "key", sink_word)
    } else {
        ("key", "sink", key_word)
    };
    diagnostics.error(
        word,
        format!(
            "`{later}` excludes `{earlier}`: with `key` the rows are in the store, and with `sink` they are in your database; \
             remove one of them"
        ),
    );
}

/// Reports the arguments that only a projection with rows or with a sink takes.
fn reject_in_memory(arguments: &Arguments, diagnostics: &Diagnostics) {
    for (key, why) in [
        (
            Key::Version,
            "a value in memory is rebuilt under another `name`, or by `rebuild_projection`",
        ),
        (
            Key::OnFailedEvent,
            "a value in memory stops before an event that it cannot fold, and reading it is an error",
        ),
    ] {
        if let Some((_, word)) = arguments.written(key) {
            let name = key.name();
            diagnostics.error(
                word,
                format!("`{name}` is for projections with `key` or `sink`: {why}; remove it"),
            );
        }
    }
}
