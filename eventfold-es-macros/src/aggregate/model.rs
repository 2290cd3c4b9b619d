//! The checked arguments of `#[aggregate]`.

use proc_macro2::{Ident, TokenStream};
use quote::format_ident;
use syn::ext::IdentExt;
use syn::{Expr, ExprPath, Generics, Type, parse_quote};

use crate::attributes::{self, Grammar, Guess, Key, StoredName};
use crate::diagnostics::Diagnostics;
use crate::path::CratePath;
use crate::shape::Shape;
use crate::skipped::{Skipped, skipped};
use crate::{item, names};

const GRAMMAR: Grammar = Grammar {
    macro_name: "aggregate",
    keys: &[
        Key::Name,
        Key::Command,
        Key::Event,
        Key::Error,
        Key::SnapshotVersion,
        Key::Fingerprint,
        Key::Context,
        Key::Crate,
    ],
    guesses: &[
        Guess {
            words: &["type", "id", "kind", "aggregate_type", "stream", "rename"],
            key: Some(Key::Name),
            answer: "the stored name is given as `name = \"order\"`",
        },
        Guess {
            words: &[
                "commands",
                "command_type",
                "command_types",
                "command_enum",
                "cmd",
                "handles",
            ],
            key: Some(Key::Command),
            answer: "the enum of commands is given as `command = OrderCommand`",
        },
        Guess {
            words: &[
                "events",
                "event_type",
                "event_types",
                "event_enum",
                "domain_event",
                "emits",
                "applies",
            ],
            key: Some(Key::Event),
            answer: "the enum of events is given as `event = OrderEvent`",
        },
        Guess {
            words: &["errors", "error_type", "err", "rejection"],
            key: Some(Key::Error),
            answer: "the error is given as `error = OrderError`",
        },
        Guess {
            words: &["version", "schema_version", "state_version", "snapshot"],
            key: Some(Key::SnapshotVersion),
            answer: "the version of saved states is given as `snapshot_version = 2`",
        },
        Guess {
            words: &[
                "digest",
                "command_digest",
                "hash",
                "compare",
                "compared_by",
                "idempotency",
                "idempotency_key",
            ],
            key: Some(Key::Fingerprint),
            answer: "what of a command is compared when its idempotency key is used again is told by a function, given as \
                     `fingerprint = OrderCommand::intent`",
        },
        Guess {
            words: &[
                "cx",
                "ctx",
                "deciding",
                "decide_with",
                "with_context",
                "clock",
            ],
            key: Some(Key::Context),
            answer: "what is decided with its id, its version, the time and the actor says `context`",
        },
        Guess {
            words: &["state", "state_type", "fields"],
            key: None,
            answer: "the state is the type under the attribute itself: remove the argument",
        },
        Guess {
            words: &["snapshot_every", "snapshots"],
            key: None,
            answer: "how often states are saved is set for a store: `AggregateStore::builder(..).snapshot_every(1_000)`",
        },
        Guess {
            words: &["subscribes", "dispatches"],
            key: None,
            answer: "an aggregate only decides its own commands; what reacts to events is a `#[process_manager]`",
        },
    ],
};

/// An aggregate declaration.
pub(crate) struct Model {
    pub(crate) ident: Ident,
    pub(crate) generics: Generics,
    pub(crate) name: StoredName,
    pub(crate) command: Type,
    pub(crate) event: Type,
    pub(crate) error: Type,
    pub(crate) snapshot_version: Option<Expr>,
    /// The function that returns the compared part of a command; `None` for the whole command.
    pub(crate) fingerprint: Option<ExprPath>,
    /// Whether it decides with the context of a command.
    pub(crate) context: bool,
    /// The stored shape of its state.
    pub(crate) state: Shape,
    /// The fields that a saved state leaves out.
    pub(crate) not_saved: Vec<Skipped>,
    pub(crate) krate: CratePath,
}

impl Model {
    pub(crate) fn new(
        arguments: TokenStream,
        item: &TokenStream,
        diagnostics: &Diagnostics,
    ) -> Option<Self> {
        let arguments = attributes::parse(arguments, &GRAMMAR, diagnostics);
        let mut item = item::parse(item, GRAMMAR.macro_name, diagnostics)?;
        if let Some(meant) = item::whose_commands(&item).filter(|_| arguments.command.is_none()) {
            diagnostics.error(
                &item.ident,
                format!(
                    "`{0}` are commands, on which `#[aggregate]` does not go: put it on the type itself, above `struct {meant}`; if \
                     `{0}` is an aggregate, derive `Default` for it, or name its commands, as in `command = {0}Command`",
                    item.ident
                ),
            );
            // The stubs are then for the intended type.
            item = parse_quote!(struct #meant;);
        }
        let is_itself = |event: &Type| {
            let is_itself = matches!(event, Type::Path(path) if path.path.is_ident(&item.ident));
            if is_itself {
                diagnostics.error(
                    event,
                    format!(
                        "`event` takes the enum of events, and `{0}` is the aggregate itself: write `event = {0}Event`, or nothing, \
                         since that is the default",
                        item.ident.unraw()
                    ),
                );
            }
            is_itself
        };
        let event = arguments.event.filter(|event| !is_itself(event));
        let named_after = |suffix: &str| -> Type {
            let ident = format_ident!("{}{suffix}", item.ident.unraw(), span = item.ident.span());
            parse_quote!(#ident)
        };
        Some(Self {
            name: names::resolve(arguments.name, &item.ident, GRAMMAR.macro_name, diagnostics),
            command: arguments.command.unwrap_or_else(|| named_after("Command")),
            event: event.unwrap_or_else(|| named_after("Event")),
            error: arguments.error.unwrap_or_else(|| named_after("Error")),
            snapshot_version: arguments.snapshot_version,
            fingerprint: arguments.fingerprint,
            context: arguments.context,
            state: Shape::of_item(&item),
            not_saved: skipped(&item),
            krate: CratePath::new(arguments.crate_path.as_ref()),
            ident: item.ident,
            generics: item.generics,
        })
    }
}
