//! The arguments of the attribute macros: `key = value`, separated by commas, every mistake reported.

use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use quote::ToTokens;
use syn::ext::IdentExt;
use syn::parse::{ParseStream, Parser};
use syn::{Expr, ExprLit, Lit, LitStr, Path, Token, Type, token};

use crate::diagnostics::Diagnostics;
use crate::path::{Entry, text};

/// What one macro accepts.
pub(crate) struct Grammar {
    pub(crate) macro_name: &'static str,
    pub(crate) keys: &'static [Key],
    pub(crate) guesses: &'static [Guess],
}

/// Plausible wrong keys.
pub(crate) struct Guess {
    pub(crate) words: &'static [&'static str],
    /// The key that they stand for, if the macro has it.
    pub(crate) key: Option<Key>,
    /// What to write instead.
    pub(crate) answer: &'static str,
}

/// An argument of a macro.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Key {
    Name,
    Command,
    Event,
    Error,
    SnapshotVersion,
    Subscribes,
    Dispatches,
    Envelope,
    Aggregates,
    ProcessManagers,
    Projections,
    UnknownEvents,
    Keyed,
    Deadlines,
    StateVersion,
    Start,
    OnFailure,
    Crate,
}

impl Key {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Command => "command",
            Self::Event => "event",
            Self::Error => "error",
            Self::SnapshotVersion => "snapshot_version",
            Self::Subscribes => "subscribes",
            Self::Dispatches => "dispatches",
            Self::Envelope => "envelope",
            Self::Aggregates => "aggregates",
            Self::ProcessManagers => "process_managers",
            Self::Projections => "projections",
            Self::UnknownEvents => "unknown_events",
            Self::Keyed => "key",
            Self::Deadlines => "deadlines",
            Self::StateVersion => "state_version",
            Self::Start => "start",
            Self::OnFailure => "on_failure",
            Self::Crate => "crate",
        }
    }

    /// How the argument is written.
    pub(crate) fn example(self) -> &'static str {
        match self {
            Self::Name => "name = \"order\"",
            Self::Command => "command = OrderCommand",
            Self::Event => "event = OrderEvent",
            Self::Error => "error = OrderError",
            Self::SnapshotVersion => "snapshot_version = 2",
            Self::Subscribes => "subscribes = [Order]",
            Self::Dispatches => "dispatches = [Inventory]",
            Self::Envelope => "envelope = SagaCommand",
            Self::Aggregates => "aggregates = [Order]",
            Self::ProcessManagers => "process_managers = [ReservationSaga]",
            Self::Projections => "projections = [Sales]",
            Self::UnknownEvents => "unknown_events = \"skip\"",
            Self::Keyed => "key = OrderId",
            Self::Deadlines => "deadlines = [PaymentDue]",
            Self::StateVersion => "state_version = 2",
            Self::Start => "start = \"now\"",
            Self::OnFailure => "on_failure",
            Self::Crate => "crate = my_crate::eventfold_es",
        }
    }

    /// What its list is a list of.
    fn listed(self) -> &'static str {
        match self {
            Self::ProcessManagers => "process managers",
            Self::Projections => "projections",
            Self::Deadlines => "messages",
            _ => "aggregates",
        }
    }
}

/// The name under which a type is stored.
#[derive(Clone)]
pub(crate) enum StoredName {
    /// Known to the macro, which checks it.
    Literal(LitStr),
    /// A constant, which the compiler checks.
    Constant(Expr),
}

impl ToTokens for StoredName {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        match self {
            Self::Literal(literal) => literal.to_tokens(tokens),
            Self::Constant(constant) => constant.to_tokens(tokens),
        }
    }
}

/// The arguments that were given, as far as they could be understood.
#[derive(Default)]
pub(crate) struct Arguments {
    pub(crate) name: Option<StoredName>,
    pub(crate) command: Option<Type>,
    pub(crate) event: Option<Type>,
    pub(crate) error: Option<Type>,
    pub(crate) snapshot_version: Option<Expr>,
    pub(crate) subscribes: Option<List>,
    pub(crate) dispatches: Option<List>,
    pub(crate) envelope: Option<Ident>,
    pub(crate) aggregates: Option<List>,
    pub(crate) process_managers: Option<List>,
    pub(crate) projections: Option<List>,
    /// Whether unknown events are skipped.
    pub(crate) skips_unknown_events: Option<bool>,
    pub(crate) key: Option<Type>,
    pub(crate) deadlines: Option<List>,
    pub(crate) state_version: Option<Expr>,
    pub(crate) start: Option<Start>,
    /// Where it stands.
    pub(crate) on_failure: Option<Span>,
    pub(crate) crate_path: Option<Path>,
    /// Every argument that was given, understood or not.
    seen: Vec<Key>,
}

/// Where a process manager starts in a store that has not seen it before.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    Origin,
    Now,
}

/// A list of types, with its brackets for messages about the list as a whole.
pub(crate) struct List {
    pub(crate) brackets: Span,
    /// Nothing stands between the brackets.
    pub(crate) is_empty: bool,
    pub(crate) entries: Vec<Entry>,
}

/// A mistake that was reported; the parser goes on behind the next comma.
struct Reported;

/// Reads the arguments of a macro.
pub(crate) fn parse(
    tokens: TokenStream,
    grammar: &Grammar,
    diagnostics: &Diagnostics,
) -> Arguments {
    let mut arguments = Arguments::default();
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

impl Arguments {
    /// Whether `key` was given, even if its value was not understood.
    pub(crate) fn was_given(&self, key: Key) -> bool {
        self.seen.contains(&key)
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
            // The list was meant, so it does not count as missing.
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
        if key == Key::OnFailure {
            self.on_failure = Some(ident.span());
            if input.peek(Token![=]) || input.peek(token::Paren) {
                diagnostics.error(
                    &ident,
                    "`on_failure` takes no value: write `on_failure`, and decide in `impl HandleFailure`",
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
            Key::StateVersion => {
                self.state_version = Some(parse_version(key, 1, input, diagnostics)?);
            }
            Key::Keyed => self.key = Some(parse_type(key, input, diagnostics)?),
            Key::Deadlines => self.deadlines = Some(parse_list(key, input, diagnostics)?),
            Key::Start => self.start = Some(parse_start(input, diagnostics)?),
            // It has no value.
            Key::OnFailure => {}
            Key::Subscribes => self.subscribes = Some(parse_list(key, input, diagnostics)?),
            Key::Dispatches => self.dispatches = Some(parse_list(key, input, diagnostics)?),
            Key::Aggregates => self.aggregates = Some(parse_list(key, input, diagnostics)?),
            Key::ProcessManagers => {
                self.process_managers = Some(parse_list(key, input, diagnostics)?);
            }
            Key::Projections => self.projections = Some(parse_list(key, input, diagnostics)?),
            Key::UnknownEvents => {
                self.skips_unknown_events = Some(parse_unknown_events(input, diagnostics)?);
            }
            Key::Envelope => {
                self.envelope = Some(parse_as(
                    key,
                    "a name for the generated enum",
                    input,
                    diagnostics,
                )?)
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

impl Grammar {
    fn lists_aggregates(&self) -> bool {
        self.keys.contains(&Key::Subscribes)
    }

    /// The key that `ident` is or was meant to be; a misspelt one is reported and taken as the right one.
    fn key(&self, ident: &Ident, diagnostics: &Diagnostics) -> Result<Key, Reported> {
        let given = ident.unraw().to_string();
        if let Some(key) = self.keys.iter().find(|key| key.name() == given) {
            return Ok(*key);
        }
        let guess = self
            .guesses
            .iter()
            .find(|guess| guess.words.contains(&given.as_str()));
        if let Some(Guess { key, answer, .. }) = guess {
            diagnostics.error(ident, format!("unknown argument `{given}`: {answer}"));
            return key.ok_or(Reported);
        }
        let nearest = self
            .keys
            .iter()
            .min_by_key(|key| distance(key.name(), &given));
        if let Some(key) =
            nearest.filter(|key| distance(key.name(), &given) <= 1 + key.name().len() / 4)
        {
            diagnostics.error(
                ident,
                format!(
                    "unknown argument `{given}`: did you mean `{}`?",
                    key.example()
                ),
            );
            return Ok(*key);
        }
        let keys = listed(self.keys);
        let instead = if !is_type(&given) {
            String::new()
        } else if self.lists_aggregates() {
            format!("aggregates are listed, as in `subscribes = [{given}]`; ")
        } else if self.keys.contains(&Key::Command) {
            "a type is given with what it is, as in `command = OrderCommand`; ".to_owned()
        } else {
            String::new()
        };
        diagnostics.error(
            ident,
            format!(
                "unknown argument `{given}`: {instead}`#[{}]` takes {keys}",
                self.macro_name
            ),
        );
        Err(Reported)
    }
}

/// Whether a word looks like the name of a type.
fn is_type(word: &str) -> bool {
    word.starts_with(char::is_uppercase)
}

fn parse_expression(
    key: Key,
    what: &str,
    input: ParseStream<'_>,
    diagnostics: &Diagnostics,
) -> Result<Expr, Reported> {
    let mut value: Expr = parse_as(key, what, input, diagnostics)?;
    while let Expr::Group(group) = value {
        value = *group.expr;
    }
    Ok(value)
}

fn parse_name(input: ParseStream<'_>, diagnostics: &Diagnostics) -> Result<StoredName, Reported> {
    let value = parse_expression(Key::Name, "a string", input, diagnostics)?;
    match value {
        Expr::Lit(ExprLit {
            lit: Lit::Str(literal),
            ..
        }) => Ok(StoredName::Literal(literal)),
        Expr::Path(_) | Expr::Macro(_) => Ok(StoredName::Constant(value)),
        other => {
            diagnostics.error(other, "`name` takes a string, or the path of a `&'static str` constant: write `name = \"order\"`");
            Err(Reported)
        }
    }
}

/// A number from `least` on, or a constant, which the compiler checks.
fn parse_version(
    key: Key,
    least: u32,
    input: ParseStream<'_>,
    diagnostics: &Diagnostics,
) -> Result<Expr, Reported> {
    let value = parse_expression(key, "a whole number", input, diagnostics)?;
    let is_version = match &value {
        Expr::Lit(ExprLit {
            lit: Lit::Int(literal),
            ..
        }) => {
            matches!(literal.suffix(), "" | "u32")
                && literal
                    .base10_parse::<u32>()
                    .is_ok_and(|version| version >= least)
        }
        Expr::Path(_) | Expr::Macro(_) => true,
        _ => false,
    };
    if is_version {
        return Ok(value);
    }
    let from = if least == 0 { "" } else { " from 1 on," };
    let (name, example) = (key.name(), key.example());
    diagnostics.error(
        value,
        format!("`{name}` takes a whole number{from} of up to 32 bits, or the path of a `u32` constant: write `{example}`"),
    );
    Err(Reported)
}

fn parse_unknown_events(
    input: ParseStream<'_>,
    diagnostics: &Diagnostics,
) -> Result<bool, Reported> {
    let key = Key::UnknownEvents;
    let value = parse_expression(key, "`\"stop\"` or `\"skip\"`", input, diagnostics)?;
    if let Expr::Lit(ExprLit {
        lit: Lit::Str(literal),
        ..
    }) = &value
    {
        match literal.value().as_str() {
            "stop" => return Ok(false),
            "skip" => return Ok(true),
            _ => {}
        }
    }
    diagnostics.error(
        value,
        "`unknown_events` takes `\"stop\"` (the projection waits for the program that knows them, the default) or `\"skip\"` (it goes \
         on without them, and that program builds it anew): write `unknown_events = \"skip\"`",
    );
    Err(Reported)
}

fn parse_start(input: ParseStream<'_>, diagnostics: &Diagnostics) -> Result<Start, Reported> {
    let value = parse_expression(Key::Start, "`\"now\"` or `\"origin\"`", input, diagnostics)?;
    if let Expr::Lit(ExprLit {
        lit: Lit::Str(literal),
        ..
    }) = &value
    {
        match literal.value().as_str() {
            "now" => return Ok(Start::Now),
            "origin" => return Ok(Start::Origin),
            _ => {}
        }
    }
    diagnostics.error(
        value,
        "`start` takes `\"origin\"` (the first event of the store, the default) or `\"now\"` (behind the last event when the store \
         first sees it): write `start = \"now\"`",
    );
    Err(Reported)
}

fn parse_type(
    key: Key,
    input: ParseStream<'_>,
    diagnostics: &Diagnostics,
) -> Result<Type, Reported> {
    if input.peek(LitStr) {
        diagnostics.push(input.error(format!(
            "`{}` takes a type, without quotes: write `{}`",
            key.name(),
            key.example()
        )));
        return Err(Reported);
    }
    let ty: Type = parse_as(key, "a type", input, diagnostics)?;
    if let Type::Slice(list) = &ty {
        diagnostics.error(
            list,
            format!(
                "`{0}` takes one type: write `{0} = {1}`",
                key.name(),
                text(&list.elem)
            ),
        );
        return Err(Reported);
    }
    Ok(ty)
}

fn parse_list(
    key: Key,
    input: ParseStream<'_>,
    diagnostics: &Diagnostics,
) -> Result<List, Reported> {
    if !input.peek(token::Bracket) {
        let what = format!("a list of {}", key.listed());
        let entry: Type = parse_as(key, &what, input, diagnostics)?;
        let entries = match &entry {
            Type::Paren(paren) => text(&paren.elem),
            Type::Tuple(tuple) => text(&tuple.elems),
            other => text(other),
        };
        diagnostics.error(
            &entry,
            format!("`{0}` takes a list: write `{0} = [{entries}]`", key.name(),),
        );
        return Err(Reported);
    }
    let list = |input: ParseStream<'_>| {
        let content;
        let brackets = syn::bracketed!(content in input).span.join();
        let is_empty = content.is_empty();
        let mut entries = Vec::new();
        while !content.is_empty() {
            if let Ok(entry) = parse_entry(key, &content, diagnostics) {
                entries.push(entry);
                if !content.is_empty() && !content.peek(Token![,]) {
                    diagnostics.push(missing_comma(&content, key.listed()));
                    skip_to_comma(&content)?;
                }
            } else {
                skip_to_comma(&content)?;
            }
            content.parse::<Option<Token![,]>>()?;
        }
        Ok(List {
            brackets,
            is_empty,
            entries,
        })
    };
    list(input).map_err(|error| report(diagnostics, error))
}

fn parse_entry(
    key: Key,
    input: ParseStream<'_>,
    diagnostics: &Diagnostics,
) -> Result<Entry, Reported> {
    let expected = format!(
        "`{}` takes the types of {}: write `{}`",
        key.name(),
        key.listed(),
        key.example()
    );
    if input.peek(Lit) || input.peek(Token![,]) {
        diagnostics.push(input.error(expected));
        return Err(Reported);
    }
    let mut entry: Type = input
        .parse()
        .map_err(|_| report(diagnostics, input.error(&expected)))?;
    while let Type::Group(group) = entry {
        entry = *group.elem;
    }
    let path = match entry {
        Type::Path(path) => path,
        other => {
            diagnostics.error(other, expected);
            return Err(Reported);
        }
    };
    Entry::new(path).ok_or(Reported)
}

fn parse_as<T: syn::parse::Parse>(
    key: Key,
    what: &str,
    input: ParseStream<'_>,
    diagnostics: &Diagnostics,
) -> Result<T, Reported> {
    parse_with(key, what, T::parse, input, diagnostics)
}

fn parse_with<T>(
    key: Key,
    what: &str,
    parser: impl FnOnce(ParseStream<'_>) -> syn::Result<T>,
    input: ParseStream<'_>,
    diagnostics: &Diagnostics,
) -> Result<T, Reported> {
    let mistake = input.error(format!(
        "`{}` takes {what}: write `{}`",
        key.name(),
        key.example()
    ));
    parser(input).map_err(|_| report(diagnostics, mistake))
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

fn listed(keys: &[Key]) -> String {
    let keys: Vec<String> = keys.iter().map(|key| format!("`{}`", key.name())).collect();
    keys.join(", ")
}

/// The Levenshtein distance between two keys.
fn distance(left: &str, right: &str) -> usize {
    let mut row: Vec<usize> = (0..=right.chars().count()).collect();
    for (row_index, a) in left.chars().enumerate() {
        let mut diagonal = row_index;
        let mut beside = row_index + 1;
        let mut next = vec![beside];
        for (above, b) in row.iter().skip(1).zip(right.chars()) {
            beside = (diagonal + usize::from(a != b))
                .min(above + 1)
                .min(beside + 1);
            diagonal = *above;
            next.push(beside);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::distance;

    #[test]
    fn distances() {
        assert_eq!(distance("name", "name"), 0);
        assert_eq!(distance("name", "nmae"), 2);
        assert_eq!(distance("subscribes", "subscribs"), 1);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("abc", ""), 3);
    }
}
