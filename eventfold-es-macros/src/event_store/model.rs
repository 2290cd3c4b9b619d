//! The checked arguments of `#[event_store]`.

use proc_macro2::{Ident, TokenStream};
use syn::{Data, Fields, Generics, Visibility};

use crate::attributes::{self, Grammar, Guess, Key, List};
use crate::diagnostics::Diagnostics;
use crate::path::{CratePath, Entry};
use crate::{item, lists};

const GRAMMAR: Grammar = Grammar {
    macro_name: "event_store",
    keys: &[
        Key::Aggregates,
        Key::ProcessManagers,
        Key::EventHandlers,
        Key::Projections,
        Key::Schedules,
        Key::Crate,
    ],
    guesses: &[
        Guess {
            words: &["aggregate", "aggregate_types", "types", "entities"],
            key: Some(Key::Aggregates),
            answer: "the aggregates are listed as `aggregates = [Order]`",
        },
        Guess {
            words: &[
                "process_manager",
                "sagas",
                "saga",
                "managers",
                "processes",
                "workflows",
                "policies",
            ],
            key: Some(Key::ProcessManagers),
            answer: "the process managers are listed as `process_managers = [ReservationSaga]`",
        },
        Guess {
            words: &[
                "event_handler",
                "handlers",
                "handler",
                "reactors",
                "workers",
            ],
            key: Some(Key::EventHandlers),
            answer: "the event handlers are listed as `event_handlers = [Mailer]`",
        },
        Guess {
            words: &["projection", "views", "view", "read_models", "queries"],
            key: Some(Key::Projections),
            answer: "the projections are listed as `projections = [Sales]`",
        },
        Guess {
            words: &["schedule", "timers", "crons", "cron", "jobs", "recurring"],
            key: Some(Key::Schedules),
            answer: "the schedules are listed as `schedules = [Nightly]`",
        },
        Guess {
            words: &["events", "event", "commands", "command"],
            key: None,
            answer: "events and commands belong to their aggregates, which are listed as `aggregates = [Order]`",
        },
        Guess {
            words: &["name", "path", "dir", "directory", "base"],
            key: None,
            answer: "a store has no stored name; its directory is what `open(dir)` is given",
        },
        Guess {
            words: &["run_mode", "durability", "idle_timeout", "snapshot_every"],
            key: None,
            answer: "settings are made when a store is opened, as in `Shop::builder(dir).run_mode(..).open()`",
        },
    ],
};

/// A declaration of a store.
pub(crate) struct Model {
    pub(crate) ident: Ident,
    pub(crate) generics: Generics,
    pub(crate) vis: Visibility,
    /// The aggregates, and behind them the schedules, which are aggregates, too.
    pub(crate) aggregates: Vec<Entry>,
    pub(crate) schedules: Vec<Entry>,
    pub(crate) process_managers: Vec<Entry>,
    pub(crate) event_handlers: Vec<Entry>,
    pub(crate) projections: Vec<Entry>,
    pub(crate) krate: CratePath,
}

impl Model {
    pub(crate) fn new(
        arguments: TokenStream,
        item: &TokenStream,
        diagnostics: &Diagnostics,
    ) -> Option<Self> {
        let arguments = attributes::parse(arguments, &GRAMMAR, diagnostics);
        let example = Key::Aggregates.example();
        match &arguments.aggregates {
            Some(List {
                brackets,
                is_empty: true,
                ..
            }) => diagnostics.error_at(
                *brackets,
                format!("`aggregates` is empty: list the aggregates of the store, as in `{example}`"),
            ),
            None if !arguments.was_given(Key::Aggregates)
                && !arguments.was_given(Key::Schedules) => diagnostics.error_at_call(format!(
                "`aggregates` is missing: list the aggregates of the store, as in `#[event_store({example})]`"
            )),
            _ => {}
        }
        let distinct = |key: Key, list: Option<List>| {
            let entries = list.map(|list| list.entries).unwrap_or_default();
            lists::without_duplicates(key, entries, diagnostics)
        };
        let mut aggregates = distinct(Key::Aggregates, arguments.aggregates);
        let schedules = distinct(Key::Schedules, arguments.schedules);
        for schedule in &schedules {
            let is_it = |aggregate: &Entry| aggregate.text() == schedule.text();
            if let Some(aggregate) = aggregates.iter().position(is_it) {
                let aggregate = aggregates.remove(aggregate);
                diagnostics.error(
                    &aggregate,
                    format!(
                        "`{}` is in `schedules`, too: remove it here",
                        schedule.text()
                    ),
                );
            }
        }
        aggregates.extend(schedules.iter().cloned());
        let of = "enum of all events";
        let aggregates = lists::with_distinct_variants(aggregates, of, diagnostics);
        let process_managers = distinct(Key::ProcessManagers, arguments.process_managers);
        let event_handlers = distinct(Key::EventHandlers, arguments.event_handlers);
        let projections = distinct(Key::Projections, arguments.projections);
        let item = item::parse(item, GRAMMAR.macro_name, diagnostics)?;
        let is_unit_struct = match &item.data {
            Data::Struct(data) => matches!(data.fields, Fields::Unit),
            _ => false,
        };
        // A generic type is reported as generic, and must have fields.
        if !is_unit_struct && item.generics.params.is_empty() {
            diagnostics.error(
                &item.ident,
                format!(
                    "`#[event_store]` goes on a struct without fields, which only names the store: write `struct {};`",
                    item.ident
                ),
            );
        }
        Some(Self {
            aggregates,
            schedules,
            process_managers,
            event_handlers,
            projections,
            krate: CratePath::new(arguments.crate_path.as_ref()),
            ident: item.ident,
            generics: item.generics,
            vis: item.vis,
        })
    }
}
