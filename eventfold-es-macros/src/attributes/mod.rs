//! The arguments of the attribute macros: `key = value`, separated by commas. Every mistake is reported.

pub(crate) mod distance;
mod grammar;
pub(crate) mod guesses;
mod list;
mod time;
mod values;

use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use syn::ext::IdentExt;
use syn::parse::{ParseStream, Parser};
use syn::{Expr, ExprPath, LitStr, Path, Token, Type, token};

pub(crate) use grammar::{Grammar, Guess, Key};
pub(crate) use list::List;
pub(crate) use time::Timeout;
pub(crate) use values::{Missed, OnFailedEvent, Start, StoredName, Text};

use crate::diagnostics::Diagnostics;
use crate::path::text;
use grammar::{is_type, listed};
use list::parse_list;
use time::parse_timeout;
use values::{
    parse_envelope, parse_function, parse_missed, parse_name, parse_number, parse_on_failed_event,
    parse_start, parse_text, parse_type, parse_unknown_events, parse_version, parse_with,
};

/// The given arguments, as far as they could be read.
#[derive(Default)]
pub(crate) struct Arguments {
    pub(crate) name: Option<StoredName>,
    pub(crate) command: Option<Type>,
    pub(crate) event: Option<Type>,
    pub(crate) error: Option<Type>,
    pub(crate) snapshot_version: Option<Expr>,
    /// The function that returns the compared part of a command.
    pub(crate) fingerprint: Option<ExprPath>,
    /// Whether commands are decided with their context.
    pub(crate) context: bool,
    pub(crate) subscribes: Option<List>,
    pub(crate) dispatches: Option<List>,
    pub(crate) envelope: Option<Ident>,
    pub(crate) aggregates: Option<List>,
    pub(crate) process_managers: Option<List>,
    pub(crate) event_handlers: Option<List>,
    pub(crate) schedules: Option<List>,
    pub(crate) cron: Option<Text>,
    pub(crate) time_zone: Option<Text>,
    pub(crate) missed: Option<Missed>,
    pub(crate) projections: Option<List>,
    /// Whether unknown events are skipped.
    pub(crate) skips_unknown_events: Option<bool>,
    pub(crate) sink: Option<Type>,
    pub(crate) version: Option<Expr>,
    pub(crate) on_failed_event: Option<OnFailedEvent>,
    pub(crate) key: Option<Type>,
    pub(crate) deadlines: Option<List>,
    pub(crate) concurrency: Option<Expr>,
    pub(crate) timeout: Option<Timeout>,
    pub(crate) state_version: Option<Expr>,
    pub(crate) start: Option<Start>,
    /// The place of the argument.
    pub(crate) on_failure: Option<Span>,
    pub(crate) crate_path: Option<Path>,
    /// Every given argument, even if its value could not be read.
    seen: Vec<Key>,
    /// The given words, in their order, without the misspelled ones.
    written: Vec<(Key, Ident)>,
}

/// A reported mistake. The parser continues after the next comma.
struct Reported;

/// Reads the arguments of a macro.
pub(crate) fn parse(
    tokens: TokenStream,
    grammar: &Grammar,
    diagnostics: &Diagnostics,
) -> Arguments {
    let mut arguments = Arguments::default();
    if is_key_value(grammar.macro_name) {
        arguments.seen = grammar.keys.to_vec();
        let name = syn::parse2::<LitStr>(tokens).ok();
        let name = name
            .filter(|_| grammar.keys.contains(&Key::Name))
            .map(|name| format!("name = \"{}\"", name.value()));
        let first = grammar.keys.first().filter(|key| **key != Key::Name);
        let first = first.map(|key| key.example().to_owned());
        let example = first.into_iter().chain(name).collect::<Vec<_>>().join(", ");
        diagnostics.error_at_call(format!(
            "arguments stand in parentheses: write `#[{}({example})]`",
            grammar.macro_name
        ));
        return arguments;
    }
    let parser = |input: ParseStream<'_>| {
        while !input.is_empty() {
            if arguments.parse_one(input, grammar, diagnostics).is_err() {
                skip_to_comma(input)?;
            } else if !input.is_empty() && !input.peek(Token![,]) {
                diagnostics.push(missing_comma(input, "arguments"));
                skip_to_comma(input)?;
            }
            input.parse::<Option<Token![,]>>()?;
        }
        Ok(())
    };
    if let Err(error) = parser.parse2(tokens) {
        diagnostics.push(error);
    }
    arguments
}

/// Whether the macro was called as `#[macro_name = ..]`. rustc reports this form, and passes the tokens after `=` as
/// the arguments.
fn is_key_value(macro_name: &str) -> bool {
    let call = Span::call_site().source_text();
    call.as_deref()
        .and_then(|call| call.split_once(macro_name))
        .is_some_and(|(_, behind)| behind.trim_start().starts_with('='))
}

impl Arguments {
    /// Whether `key` was given, even if its value could not be read.
    pub(crate) fn was_given(&self, key: Key) -> bool {
        self.seen.contains(&key)
    }

    /// The place of `key` among the arguments, and its word. `None` if it was not given, or was misspelled.
    pub(crate) fn written(&self, key: Key) -> Option<(usize, &Ident)> {
        let words = self.written.iter().enumerate();
        let mut words = words.filter(|(_, (written, _))| *written == key);
        words.next().map(|(place, (_, word))| (place, word))
    }

    fn parse_one(
        &mut self,
        input: ParseStream<'_>,
        grammar: &Grammar,
        diagnostics: &Diagnostics,
    ) -> Result<(), Reported> {
        let Ok(ident) = input.call(Ident::parse_any) else {
            let keys = listed(grammar.keys);
            let name = input.fork().parse::<LitStr>().ok();
            let expected = match name.filter(|_| grammar.keys.contains(&Key::Name)) {
                Some(name) => format!("the stored name is given as `name = \"{}\"`", name.value()),
                None => format!(
                    "expected an argument such as `{}`",
                    grammar.keys.first().map_or("", |key| key.example())
                ),
            };
            diagnostics.push(input.error(format!(
                "{expected}; `#[{}]` takes {keys}",
                grammar.macro_name,
            )));
            return Err(Reported);
        };
        let key = grammar.key(&ident, diagnostics).inspect_err(|_| {
            // The user intended the list, so it does not count as missing.
            if grammar.lists_aggregates() && is_type(&ident.unraw().to_string()) {
                self.seen.push(Key::Subscribes);
            }
        })?;
        if self.was_given(key) {
            diagnostics.error(
                &ident,
                format!("`{}` is given twice: remove one of them", key.name()),
            );
            return Err(Reported);
        }
        self.seen.push(key);
        if ident.unraw() == key.name() {
            self.written.push((key, ident.clone()));
        }
        let decided_in = match key {
            Key::OnFailure => {
                self.on_failure = Some(ident.span());
                Some("HandleFailure")
            }
            Key::OnFailedCall => {
                self.on_failure = Some(ident.span());
                Some("HandlerPolicy")
            }
            Key::Context => {
                self.context = true;
                Some("ContextDecider")
            }
            _ => None,
        };
        if let Some(decided_in) = decided_in {
            if input.peek(Token![=]) || input.peek(token::Paren) {
                diagnostics.error(
                    &ident,
                    format!(
                        "`{0}` takes no value: write `{0}`, and decide in `impl {decided_in}`",
                        key.name()
                    ),
                );
                return Err(Reported);
            }
            return Ok(());
        }
        if input.peek(Token![:]) && !input.peek(Token![::]) {
            let colon = input.error(format!(
                "a value follows `=`, not `:`: write `{}`",
                key.example()
            ));
            return Err(report(diagnostics, colon));
        }
        let equals = input.parse::<Token![=]>().is_ok();
        if !equals || input.is_empty() || input.peek(Token![,]) {
            diagnostics.error(
                &ident,
                format!("`{}` needs a value: write `{}`", key.name(), key.example()),
            );
            return Err(Reported);
        }
        self.parse_value(key, input, diagnostics)
    }

    fn parse_value(
        &mut self,
        key: Key,
        input: ParseStream<'_>,
        diagnostics: &Diagnostics,
    ) -> Result<(), Reported> {
        match key {
            Key::Name => self.name = Some(parse_name(input, diagnostics)?),
            Key::Command => self.command = Some(parse_type(key, input, diagnostics)?),
            Key::Event => self.event = Some(parse_type(key, input, diagnostics)?),
            Key::Error => self.error = Some(parse_type(key, input, diagnostics)?),
            Key::SnapshotVersion => {
                self.snapshot_version = Some(parse_version(key, 0, input, diagnostics)?);
            }
            Key::Fingerprint => {
                self.fingerprint = Some(parse_function(key, input, diagnostics)?);
            }
            Key::StateVersion => {
                self.state_version = Some(parse_version(key, 1, input, diagnostics)?);
            }
            Key::Keyed => self.key = Some(parse_type(key, input, diagnostics)?),
            Key::Deadlines => self.deadlines = Some(parse_list(key, input, diagnostics)?),
            Key::Concurrency => {
                self.concurrency = Some(parse_number(key, 1, "usize", input, diagnostics)?);
            }
            Key::Timeout => self.timeout = Some(parse_timeout(input, diagnostics)?),
            Key::Start => self.start = Some(parse_start(input, diagnostics)?),
            // These arguments have no value.
            Key::OnFailure | Key::OnFailedCall | Key::Context => {}
            Key::Subscribes => self.subscribes = Some(parse_list(key, input, diagnostics)?),
            Key::Dispatches => self.dispatches = Some(parse_list(key, input, diagnostics)?),
            Key::Aggregates => self.aggregates = Some(parse_list(key, input, diagnostics)?),
            Key::ProcessManagers => {
                self.process_managers = Some(parse_list(key, input, diagnostics)?);
            }
            Key::EventHandlers => self.event_handlers = Some(parse_list(key, input, diagnostics)?),
            Key::Schedules => self.schedules = Some(parse_list(key, input, diagnostics)?),
            Key::Cron => self.cron = Some(parse_text(key, input, diagnostics)?),
            Key::TimeZone => self.time_zone = Some(parse_text(key, input, diagnostics)?),
            Key::Missed => self.missed = Some(parse_missed(input, diagnostics)?),
            Key::Projections => self.projections = Some(parse_list(key, input, diagnostics)?),
            Key::UnknownEvents => {
                self.skips_unknown_events = Some(parse_unknown_events(input, diagnostics)?);
            }
            Key::Sink => self.sink = Some(parse_type(key, input, diagnostics)?),
            Key::Version => self.version = Some(parse_version(key, 1, input, diagnostics)?),
            Key::OnFailedEvent => {
                self.on_failed_event = Some(parse_on_failed_event(input, diagnostics)?);
            }
            Key::Envelope => {
                self.envelope = Some(parse_envelope(input, diagnostics)?);
            }
            Key::Crate => {
                let parser = |input: ParseStream<'_>| input.call(Path::parse_mod_style);
                self.crate_path = Some(parse_with(
                    key,
                    "the path of a crate",
                    parser,
                    input,
                    diagnostics,
                )?);
            }
        }
        Ok(())
    }
}

fn report(diagnostics: &Diagnostics, error: syn::Error) -> Reported {
    diagnostics.push(error);
    Reported
}

fn missing_comma(input: ParseStream<'_>, between: &str) -> syn::Error {
    let next = input.fork().parse::<TokenTree>();
    let before = next.map(|next| text(&next)).unwrap_or_default();
    input.error(format!(
        "expected `,` between {between}: put one before `{before}`"
    ))
}

fn skip_to_comma(input: ParseStream<'_>) -> syn::Result<()> {
    while !input.is_empty() && !input.peek(Token![,]) {
        input.parse::<TokenTree>()?;
    }
    Ok(())
}
