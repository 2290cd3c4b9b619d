//! The checked arguments of `#[projection]`.

use proc_macro2::{Ident, TokenStream};
use syn::Generics;

use crate::attributes::{self, Grammar, Guess, Key, StoredName};
use crate::diagnostics::Diagnostics;
use crate::path::{CratePath, Entry};
use crate::{item, lists, names, skipped};

const GRAMMAR: Grammar = Grammar {
    macro_name: "projection",
    keys: &[Key::Subscribes, Key::Name, Key::UnknownEvents, Key::Crate],
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
                "key",
                "keyed",
                "per",
                "by",
                "instance",
                "instances",
                "group_by",
            ],
            key: None,
            answer: "a projection has one state, which may hold a map from keys; what has instances is a `#[process_manager]`",
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

/// A declaration of a projection.
pub(crate) struct Model {
    pub(crate) ident: Ident,
    pub(crate) generics: Generics,
    pub(crate) name: StoredName,
    pub(crate) subscribes: Vec<Entry>,
    pub(crate) skips_unknown_events: bool,
    pub(crate) krate: CratePath,
}

impl Model {
    pub(crate) fn new(
        arguments: TokenStream,
        item: &TokenStream,
        diagnostics: &Diagnostics,
    ) -> Option<Self> {
        if arguments.is_empty() && item::is_impl(item) {
            // The arguments are on the type itself, which has the stubs.
            item::parse(item, GRAMMAR.macro_name, diagnostics);
            return None;
        }
        let arguments = attributes::parse(arguments, &GRAMMAR, diagnostics);
        let subscribes = lists::required(
            Key::Subscribes,
            &arguments,
            "folds",
            GRAMMAR.macro_name,
            diagnostics,
        );
        let item = item::parse(item, GRAMMAR.macro_name, diagnostics)?;
        skipped::reject(
            &item,
            "a projection goes on from what is saved of its state, so that the field is its default again when the store is opened; remove \
             the attribute, or make the field from the others where the state is read, with `#[serde(from = \"..\", into = \"..\")]`",
            diagnostics,
        );
        Some(Self {
            name: names::resolve(arguments.name, &item.ident, GRAMMAR.macro_name, diagnostics),
            subscribes,
            skips_unknown_events: arguments.skips_unknown_events.unwrap_or(false),
            krate: CratePath::new(arguments.crate_path.as_ref()),
            ident: item.ident,
            generics: item.generics,
        })
    }
}
