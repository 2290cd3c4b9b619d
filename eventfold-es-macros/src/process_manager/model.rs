//! The checked arguments of `#[process_manager]`.

use proc_macro2::{Ident, Span, TokenStream};
use syn::{Expr, ExprLit, Generics, Lit, Type, Visibility};

use crate::attributes::{self, Grammar, Guess, Key, Start, StoredName, guesses};
use crate::diagnostics::Diagnostics;
use crate::dispatching::Sender;
use crate::path::{CratePath, Entry};
use crate::shape::Shape;
use crate::{dispatching, item, lists, names, skipped};

const GRAMMAR: Grammar = Grammar {
    macro_name: "process_manager",
    keys: &[
        Key::Subscribes,
        Key::Dispatches,
        Key::Keyed,
        Key::Deadlines,
        Key::OnFailure,
        Key::StateVersion,
        Key::Start,
        Key::Name,
        Key::Envelope,
        Key::Crate,
    ],
    guesses: &[
        Guess {
            words: guesses::SUBSCRIBES,
            key: Some(Key::Subscribes),
            answer: "the aggregates whose events it reacts to are listed as `subscribes = [Order]`",
        },
        guesses::DISPATCHES,
        Guess {
            words: guesses::KEYED,
            key: Some(Key::Keyed),
            answer: "the type that tells its instances apart is given as `key = OrderId`",
        },
        Guess {
            words: &[
                "timer",
                "timers",
                "timeout",
                "timeouts",
                "schedule",
                "schedules",
                "scheduled",
                "reminders",
                "delays",
                "alarms",
                "on_deadline",
            ],
            key: Some(Key::Deadlines),
            answer: "the messages that it schedules for itself are listed as `deadlines = [PaymentDue]`",
        },
        Guess {
            words: guesses::ON_FAILURE,
            key: None,
            answer: "a policy of its own for failures is declared as `on_failure`, and written as `impl HandleFailure`",
        },
        Guess {
            words: &[
                "version",
                "schema_version",
                "snapshot_version",
                "migrate",
                "migration",
                "migrates",
            ],
            key: Some(Key::StateVersion),
            answer: "the version of its state is given as `state_version = 2`",
        },
        guesses::START,
        Guess {
            words: &["state", "state_type", "data"],
            key: None,
            answer: "the state is the type under the attribute itself: remove the argument",
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
    /// The stored shape of its state.
    pub(crate) state: Shape,
    pub(crate) key: Option<Type>,
    /// The messages, with their stored names.
    pub(crate) deadlines: Vec<(Entry, String)>,
    pub(crate) state_version: Option<Expr>,
    pub(crate) start: Start,
    /// The place of `on_failure`.
    pub(crate) on_failure: Option<Span>,
    pub(crate) krate: CratePath,
}

impl Model {
    /// The version of the state, if older states may exist.
    pub(crate) fn version_above_1(&self) -> Option<&Expr> {
        self.state_version.as_ref().filter(|version| {
            let Expr::Lit(ExprLit {
                lit: Lit::Int(literal),
                ..
            }) = version
            else {
                return true;
            };
            !matches!(literal.base10_parse::<u32>(), Ok(1))
        })
    }

    /// The commands that it sends.
    pub(super) fn sender(&self) -> Sender<'_> {
        Sender {
            macro_name: GRAMMAR.macro_name,
            marker: "DispatchesTo",
            ident: &self.ident,
            vis: &self.vis,
            envelope: &self.envelope,
            dispatches: &self.dispatches,
            krate: &self.krate,
        }
    }

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
            "reacts to",
            GRAMMAR.macro_name,
            diagnostics,
        );
        let dispatches = dispatching::checked(arguments.dispatches, diagnostics);
        let deadlines = arguments
            .deadlines
            .map(|list| list.entries)
            .unwrap_or_default();
        let deadlines = lists::without_duplicates(Key::Deadlines, deadlines, diagnostics);
        let deadlines = lists::with_distinct_names(deadlines, diagnostics);
        let item = item::parse(item, GRAMMAR.macro_name, diagnostics)?;
        skipped::reject(
            &item,
            "a process manager goes on from what is saved of its state, so that the field is its default again at each event; remove the \
             attribute, or the field",
            diagnostics,
        );
        Some(Self {
            name: names::resolve(arguments.name, &item.ident, GRAMMAR.macro_name, diagnostics),
            subscribes,
            dispatches,
            envelope: dispatching::name(arguments.envelope, &item.ident, diagnostics),
            state: Shape::of_item(&item),
            key: arguments.key,
            deadlines,
            state_version: arguments.state_version,
            start: arguments.start.unwrap_or(Start::Origin),
            on_failure: arguments.on_failure,
            krate: CratePath::new(arguments.crate_path.as_ref()),
            ident: item.ident,
            generics: item.generics,
            vis: item.vis,
        })
    }
}
