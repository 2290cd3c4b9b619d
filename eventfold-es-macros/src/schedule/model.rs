//! The checked arguments of `#[schedule]`.

use proc_macro2::{Ident, TokenStream};
use syn::{Attribute, LitStr, Visibility};

use crate::attributes::{self, Grammar, Guess, Key, Missed, StoredName, Text};
use crate::diagnostics::Diagnostics;
use crate::names;
use crate::path::CratePath;

const GRAMMAR: Grammar = Grammar {
    macro_name: "schedule",
    keys: &[Key::Cron, Key::TimeZone, Key::Missed, Key::Name, Key::Crate],
    guesses: &[
        Guess {
            words: &[
                "expression",
                "cron_expression",
                "at",
                "when",
                "time",
                "times",
                "every",
                "interval",
                "pattern",
                "schedule",
            ],
            key: None,
            answer: "the times are given as a cron expression, `cron = \"0 2 * * *\"` for each night at two o'clock",
        },
        Guess {
            words: &["tz", "zone", "timezone", "location"],
            key: Some(Key::TimeZone),
            answer: "the time zone is given as `time_zone = \"Europe/Berlin\"`",
        },
        Guess {
            words: &["catch_up", "misfire", "misfires", "on_missed", "missing"],
            key: None,
            answer: "what is recorded of missed occurrences is given as `missed = \"once\"`",
        },
        Guess {
            words: &["id", "type", "rename", "aggregate_type"],
            key: Some(Key::Name),
            answer: "the stored name is given as `name = \"nightly\"`",
        },
        Guess {
            words: &["command", "event", "error", "state"],
            key: None,
            answer: "the commands, events and states of a schedule are types of `eventfold-es`; remove the argument",
        },
        Guess {
            words: &["run", "handler", "job", "task", "dispatches", "subscribes"],
            key: None,
            answer: "a schedule only has occurrences; the work is in what subscribes to it, such as an `#[event_handler]`",
        },
    ],
};

/// A declaration of a schedule.
pub(crate) struct Model {
    pub(crate) ident: Ident,
    pub(crate) vis: Visibility,
    pub(crate) attrs: Vec<Attribute>,
    pub(crate) name: StoredName,
    pub(crate) cron: Text,
    pub(crate) time_zone: Option<Text>,
    pub(crate) missed: Missed,
    pub(crate) krate: CratePath,
}

impl Model {
    pub(crate) fn new(
        arguments: TokenStream,
        item: &TokenStream,
        diagnostics: &Diagnostics,
    ) -> Option<Self> {
        let arguments = attributes::parse(arguments, &GRAMMAR, diagnostics);
        if !arguments.was_given(Key::Cron) {
            diagnostics.error_at_call(format!(
                "`cron` is missing: give the times of the schedule, as in `#[schedule({}, {})]`",
                Key::Cron.example(),
                Key::TimeZone.example()
            ));
        }
        if let Some(Text::Literal(expression)) = &arguments.cron
            && let Some(objection) = super::objection_to_cron(expression)
        {
            diagnostics.error(expression, objection);
        }
        if let Some(Text::Literal(name)) = &arguments.time_zone
            && let Some(objection) = super::objection_to_zone(name)
        {
            diagnostics.error(name, objection);
        }
        let item = super::item::parse(item, diagnostics)?;
        let nothing = || Text::Literal(LitStr::new("", item.ident.span()));
        Some(Self {
            name: names::resolve(arguments.name, &item.ident, GRAMMAR.macro_name, diagnostics),
            cron: arguments.cron.unwrap_or_else(nothing),
            time_zone: arguments.time_zone,
            missed: arguments.missed.unwrap_or(Missed::Once),
            krate: CratePath::new(arguments.crate_path.as_ref()),
            ident: item.ident,
            vis: item.vis,
            attrs: item.attrs,
        })
    }
}
