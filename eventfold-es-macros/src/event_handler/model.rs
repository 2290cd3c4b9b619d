//! The checked arguments of `#[event_handler]`.

use proc_macro2::{Ident, Span, TokenStream};
use syn::{Expr, Generics, Type, Visibility};

use crate::attributes::{self, Grammar, Guess, Key, Start, StoredName, Timeout, guesses};
use crate::diagnostics::Diagnostics;
use crate::dispatching::{self, Sender};
use crate::path::{CratePath, Entry};
use crate::{item, lists, names};

const GRAMMAR: Grammar = Grammar {
    macro_name: "event_handler",
    keys: &[
        Key::Subscribes,
        Key::Dispatches,
        Key::Keyed,
        Key::Concurrency,
        Key::Timeout,
        Key::OnFailedCall,
        Key::Start,
        Key::Name,
        Key::Envelope,
        Key::Crate,
    ],
    guesses: &[
        Guess {
            words: guesses::SUBSCRIBES,
            key: Some(Key::Subscribes),
            answer: "the aggregates whose events it handles are listed as `subscribes = [Order]`",
        },
        guesses::DISPATCHES,
        Guess {
            words: guesses::KEYED,
            key: Some(Key::Keyed),
            answer: "the type of the key whose events it handles in order is given as `key = CustomerId`",
        },
        Guess {
            words: &[
                "concurrent",
                "parallel",
                "parallelism",
                "max_concurrency",
                "max_in_flight",
                "in_flight",
                "at_once",
                "workers",
                "threads",
                "tasks",
                "limit",
            ],
            key: Some(Key::Concurrency),
            answer: "the number of calls at a time is given as `concurrency = 16`",
        },
        Guess {
            words: &[
                "time_out",
                "timeouts",
                "time_limit",
                "attempt_timeout",
                "max_time",
                "deadline",
                "within",
            ],
            key: Some(Key::Timeout),
            answer: "the time that an attempt may take is given as `timeout = \"30s\"`",
        },
        Guess {
            words: &["deadlines", "timers", "reminders", "alarms"],
            key: None,
            answer: "an event handler has no deadlines; what has them is a `#[process_manager]`",
        },
        Guess {
            words: guesses::ON_FAILURE,
            key: None,
            answer: "a policy of its own for failures is declared as `on_failure`, and written as `impl HandlerPolicy`",
        },
        Guess {
            words: &[
                "state",
                "state_type",
                "data",
                "version",
                "state_version",
                "snapshot_version",
                "migrate",
                "migration",
            ],
            key: None,
            answer: "an event handler has no stored state: it is a value, given to the builder as in `.event_handler(Mailer { .. })`; remove \
                     the argument",
        },
        guesses::START,
        Guess {
            words: &["id", "type", "rename", "event_handler", "handler"],
            key: Some(Key::Name),
            answer: "the stored name is given as `name = \"mailer\"`",
        },
    ],
};

/// A declaration of an event handler.
pub(crate) struct Model {
    pub(crate) ident: Ident,
    pub(crate) generics: Generics,
    pub(crate) vis: Visibility,
    pub(crate) name: StoredName,
    pub(crate) subscribes: Vec<Entry>,
    pub(crate) dispatches: Vec<Entry>,
    pub(crate) envelope: Ident,
    pub(crate) key: Option<Type>,
    pub(crate) concurrency: Option<Expr>,
    pub(crate) timeout: Option<Timeout>,
    pub(crate) start: Option<Start>,
    /// The place of `on_failure`.
    pub(crate) on_failure: Option<Span>,
    pub(crate) krate: CratePath,
}

impl Model {
    /// The commands that it sends.
    pub(super) fn sender(&self) -> Sender<'_> {
        Sender {
            macro_name: GRAMMAR.macro_name,
            marker: "HandlerDispatchesTo",
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
            "handles",
            GRAMMAR.macro_name,
            diagnostics,
        );
        let dispatches = dispatching::checked(arguments.dispatches, diagnostics);
        let item = item::parse(item, GRAMMAR.macro_name, diagnostics)?;
        Some(Self {
            name: names::resolve(arguments.name, &item.ident, GRAMMAR.macro_name, diagnostics),
            subscribes,
            dispatches,
            envelope: dispatching::name(arguments.envelope, &item.ident, diagnostics),
            key: arguments.key,
            concurrency: arguments.concurrency,
            timeout: arguments.timeout,
            start: arguments.start,
            on_failure: arguments.on_failure,
            krate: CratePath::new(arguments.crate_path.as_ref()),
            ident: item.ident,
            generics: item.generics,
            vis: item.vis,
        })
    }
}
