//! What `#[projection]` was told, checked.

use proc_macro2::{Ident, TokenStream};
use syn::Generics;

use crate::attributes::{self, Grammar, Key, StoredName};
use crate::diagnostics::Diagnostics;
use crate::path::{CratePath, Entry};
use crate::{item, lists, names};

const GRAMMAR: Grammar = Grammar {
    macro_name: "projection",
    keys: &[Key::Subscribes, Key::Name, Key::Crate],
    guesses: &[
        (
            &[
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
                "projects",
                "folds",
                "from",
                "sources",
                "aggregates",
            ],
            "the aggregates whose events it folds are listed as `subscribes = [Order]`",
        ),
        (
            &["dispatches", "dispatch", "commands", "sends", "targets"],
            "a projection sends no commands; what does is a `#[process_manager]`",
        ),
        (
            &["id", "type", "rename", "view", "projection"],
            "the stored name is given as `name = \"sales\"`",
        ),
    ],
};

/// A declaration of a projection.
pub(crate) struct Model {
    pub(crate) ident: Ident,
    pub(crate) generics: Generics,
    pub(crate) name: StoredName,
    pub(crate) subscribes: Vec<Entry>,
    pub(crate) krate: CratePath,
}

impl Model {
    pub(crate) fn new(
        arguments: TokenStream,
        item: &TokenStream,
        diagnostics: &Diagnostics,
    ) -> Option<Self> {
        let arguments = attributes::parse(arguments, &GRAMMAR, diagnostics);
        let subscribes = lists::required(
            Key::Subscribes,
            &arguments,
            "folds",
            GRAMMAR.macro_name,
            diagnostics,
        );
        let item = item::parse(item, GRAMMAR.macro_name, diagnostics)?;
        Some(Self {
            name: names::resolve(arguments.name, &item.ident, GRAMMAR.macro_name, diagnostics),
            subscribes,
            krate: CratePath::new(arguments.crate_path.as_ref()),
            ident: item.ident,
            generics: item.generics,
        })
    }
}
