//! The checked arguments of `#[process_manager]`.

use proc_macro2::{Ident, Span, TokenStream};
use quote::format_ident;
use syn::ext::IdentExt;
use syn::{Expr, ExprLit, Generics, Lit, Type, Visibility};

use crate::attributes::{self, Grammar, Guess, Key, Start, StoredName};
use crate::diagnostics::Diagnostics;
use crate::path::{CratePath, Entry};
use crate::shape::Shape;
use crate::{item, lists, names, skipped};

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
            words: &[
                "keyed",
                "keyed_by",
                "key_type",
                "keys",
                "per",
                "by",
                "instance",
                "instances",
                "correlate",
                "correlates",
                "correlate_by",
                "correlated_by",
                "correlation",
                "correlation_id",
                "partition_by",
            ],
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
            words: &[
                "on_error",
                "on_reject",
                "on_rejected",
                "failure",
                "failures",
                "failure_policy",
                "error_policy",
                "policy",
                "retry",
                "retries",
                "backoff",
                "handle_failure",
                "handles_failures",
                "compensates",
            ],
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
        Guess {
            words: &[
                "from",
                "starts",
                "start_from",
                "starts_from",
                "start_at",
                "starts_at",
                "since",
                "position",
            ],
            key: Some(Key::Start),
            answer: "where it starts is given as `start = \"now\"`",
        },
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
        let dispatches = arguments
            .dispatches
            .map(|list| list.entries)
            .unwrap_or_default();
        let dispatches = lists::without_duplicates(Key::Dispatches, dispatches, diagnostics);
        let dispatches = lists::with_distinct_variants(dispatches, "envelope enum", diagnostics);
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
        let is_its_own = |envelope: &Ident| {
            let is_its_own = *envelope == item.ident;
            if is_its_own {
                diagnostics.error(
                    envelope,
                    format!(
                        "`envelope` names the enum that is generated beside `{0}`: write another name, or remove it for \
                         `{0}Envelope`",
                        item.ident.unraw()
                    ),
                );
            }
            is_its_own
        };
        let envelope = arguments.envelope.filter(|envelope| !is_its_own(envelope));
        Some(Self {
            name: names::resolve(arguments.name, &item.ident, GRAMMAR.macro_name, diagnostics),
            subscribes,
            dispatches,
            envelope: envelope.unwrap_or_else(|| {
                format_ident!(
                    "{}Envelope",
                    item.ident.unraw(),
                    span = Span::call_site().located_at(item.ident.span())
                )
            }),
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
