//! What `#[process_manager]` was told, checked.

use proc_macro2::{Ident, TokenStream};
use quote::format_ident;
use syn::ext::IdentExt;
use syn::{Generics, Visibility};

use crate::attributes::{self, Grammar, Guess, Key, StoredName};
use crate::diagnostics::Diagnostics;
use crate::path::{CratePath, Entry};
use crate::{item, lists, names};

const GRAMMAR: Grammar = Grammar {
    macro_name: "process_manager",
    keys: &[
        Key::Subscribes,
        Key::Dispatches,
        Key::Name,
        Key::Envelope,
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
                "reacts",
                "reacts_to",
            ],
            key: Some(Key::Subscribes),
            answer: "the aggregates whose events it reacts to are listed as `subscribes = [Order]`",
        },
        Guess {
            words: &[
                "dispatch",
                "dispatches_to",
                "commands",
                "command",
                "sends",
                "sends_to",
                "targets",
                "emits",
                "issues",
            ],
            key: Some(Key::Dispatches),
            answer: "the aggregates it sends commands to are listed as `dispatches = [Inventory]`",
        },
        Guess {
            words: &["id", "type", "rename", "process_manager", "saga"],
            key: Some(Key::Name),
            answer: "the stored name is given as `name = \"reservation-saga\"`",
        },
    ],
};

/// A declaration of a process manager.
pub(crate) struct Model {
    pub(crate) ident: Ident,
    pub(crate) generics: Generics,
    pub(crate) vis: Visibility,
    pub(crate) name: StoredName,
    pub(crate) subscribes: Vec<Entry>,
    pub(crate) dispatches: Vec<Entry>,
    pub(crate) envelope: Ident,
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
            "reacts to",
            GRAMMAR.macro_name,
            diagnostics,
        );
        let dispatches = arguments
            .dispatches
            .map(|list| list.entries)
            .unwrap_or_default();
        let dispatches = lists::without_duplicates(Key::Dispatches, dispatches, diagnostics);
        let dispatches = lists::with_distinct_variants(dispatches, diagnostics);
        let item = item::parse(item, GRAMMAR.macro_name, diagnostics)?;
        Some(Self {
            name: names::resolve(arguments.name, &item.ident, GRAMMAR.macro_name, diagnostics),
            subscribes,
            dispatches,
            envelope: arguments.envelope.unwrap_or_else(|| {
                format_ident!("{}Envelope", item.ident.unraw(), span = item.ident.span())
            }),
            krate: CratePath::new(arguments.crate_path.as_ref()),
            ident: item.ident,
            generics: item.generics,
            vis: item.vis,
        })
    }
}
