//! The values of the arguments: names, versions, words, types.

use proc_macro2::{Ident, TokenStream};
use quote::ToTokens;
use syn::parse::ParseStream;
use syn::spanned::Spanned;
use syn::{Expr, ExprLit, ExprPath, GenericArgument, Lit, LitStr, Path, PathArguments, Type};

use super::grammar::Key;
use super::{Reported, report};
use crate::diagnostics::Diagnostics;
use crate::path::{owned, text};

/// The stored name of a type.
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

/// A text for the program.
pub(crate) enum Text {
    /// Known to the macro, which checks it.
    Literal(LitStr),
    /// A constant, which is checked when the program runs.
    Constant(Expr),
}

impl ToTokens for Text {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        match self {
            Self::Literal(literal) => literal.to_tokens(tokens),
            Self::Constant(constant) => constant.to_tokens(tokens),
        }
    }
}

/// The policy of a schedule for missed occurrences.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missed {
    Once,
    All,
    None,
}

/// The starting point of a process manager or an event handler in a store that does not know it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    Origin,
    Now,
}

/// The action of a projection for an event that it cannot project.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnFailedEvent {
    Retry,
    Skip,
    Stop,
}

pub(super) fn parse_expression(
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

pub(super) fn parse_name(
    input: ParseStream<'_>,
    diagnostics: &Diagnostics,
) -> Result<StoredName, Reported> {
    let value = parse_expression(Key::Name, "a string", input, diagnostics)?;
    match value {
        Expr::Lit(ExprLit {
            lit: Lit::Str(literal),
            ..
        }) => Ok(StoredName::Literal(literal)),
        Expr::Path(path) if is_word(&path.path) => {
            let literal = LitStr::new(&text(&path), path.span());
            diagnostics.error(
                &path,
                format!(
                    "`name` takes a string: write `name = \"{}\"`",
                    literal.value()
                ),
            );
            Ok(StoredName::Literal(literal))
        }
        Expr::Path(_) | Expr::Macro(_) => Ok(StoredName::Constant(value)),
        other => {
            diagnostics.error(other, "`name` takes a string, or the path of a `&'static str` constant: write `name = \"order\"`");
            Err(Reported)
        }
    }
}

/// Whether this is a name without its quotes. Constants are written in capitals.
fn is_word(path: &Path) -> bool {
    let word = path.get_ident().map(ToString::to_string);
    word.is_some_and(|word| !word.contains(|character: char| character.is_uppercase()))
}

/// A number from `least` on, or a constant, which the compiler checks.
pub(super) fn parse_version(
    key: Key,
    least: u32,
    input: ParseStream<'_>,
    diagnostics: &Diagnostics,
) -> Result<Expr, Reported> {
    parse_number(key, least, "u32", input, diagnostics)
}

/// A number of the type `of`, of at most 32 bits, or a constant.
pub(super) fn parse_number(
    key: Key,
    least: u32,
    of: &str,
    input: ParseStream<'_>,
    diagnostics: &Diagnostics,
) -> Result<Expr, Reported> {
    let value = parse_expression(key, "a whole number", input, diagnostics)?;
    let is_version = match &value {
        Expr::Lit(ExprLit {
            lit: Lit::Int(literal),
            ..
        }) => {
            (literal.suffix().is_empty() || literal.suffix() == of)
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
        format!("`{name}` takes a whole number{from} of up to 32 bits, or the path of a `{of}` constant: write `{example}`"),
    );
    Err(Reported)
}

pub(super) fn parse_function(
    key: Key,
    input: ParseStream<'_>,
    diagnostics: &Diagnostics,
) -> Result<ExprPath, Reported> {
    let what = "the path of a function";
    let (name, example) = (key.name(), key.example());
    match parse_expression(key, what, input, diagnostics)? {
        Expr::Path(path) => Ok(path),
        Expr::Call(call) if matches!(&*call.func, Expr::Path(_)) => {
            let message = format!(
                "`{name}` takes {what}, without arguments: write `{name} = {}`",
                text(&call.func)
            );
            diagnostics.error(call, message);
            Err(Reported)
        }
        other => {
            diagnostics.error(other, format!("`{name}` takes {what}: write `{example}`"));
            Err(Reported)
        }
    }
}

pub(super) fn parse_unknown_events(
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

pub(super) fn parse_on_failed_event(
    input: ParseStream<'_>,
    diagnostics: &Diagnostics,
) -> Result<OnFailedEvent, Reported> {
    let key = Key::OnFailedEvent;
    let what = "`\"retry\"`, `\"skip\"` or `\"stop\"`";
    let value = parse_expression(key, what, input, diagnostics)?;
    if let Expr::Lit(ExprLit {
        lit: Lit::Str(literal),
        ..
    }) = &value
    {
        match literal.value().as_str() {
            "retry" => return Ok(OnFailedEvent::Retry),
            "skip" => return Ok(OnFailedEvent::Skip),
            "stop" => return Ok(OnFailedEvent::Stop),
            _ => {}
        }
    }
    diagnostics.error(
        value,
        "`on_failure` takes `\"retry\"` (the event is retried without limit, the default), `\"skip\"` (it is skipped after three \
         attempts) or `\"stop\"` (the projection stops before it): write `on_failure = \"skip\"`",
    );
    Err(Reported)
}

pub(super) fn parse_start(
    input: ParseStream<'_>,
    diagnostics: &Diagnostics,
) -> Result<Start, Reported> {
    let value = parse_expression(Key::Start, "`\"now\"` or `\"origin\"`", input, diagnostics)?;
    if let Expr::Lit(ExprLit {
        lit: Lit::Str(literal),
        ..
    }) = &value
    {
        match literal.value().as_str() {
            "now" => return Ok(Start::Now),
            "origin" | "beginning" => return Ok(Start::Origin),
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

pub(super) fn parse_text(
    key: Key,
    input: ParseStream<'_>,
    diagnostics: &Diagnostics,
) -> Result<Text, Reported> {
    match parse_expression(key, "a string", input, diagnostics)? {
        Expr::Lit(ExprLit {
            lit: Lit::Str(literal),
            ..
        }) => Ok(Text::Literal(literal)),
        constant @ (Expr::Path(_) | Expr::Macro(_)) => Ok(Text::Constant(constant)),
        other => {
            let (name, example) = (key.name(), key.example());
            diagnostics.error(
                other,
                format!(
                    "`{name}` takes a string, or the path of a `&str` constant: write `{example}`"
                ),
            );
            Err(Reported)
        }
    }
}

pub(super) fn parse_missed(
    input: ParseStream<'_>,
    diagnostics: &Diagnostics,
) -> Result<Missed, Reported> {
    let what = "`\"once\"`, `\"all\"` or `\"none\"`";
    let value = parse_expression(Key::Missed, what, input, diagnostics)?;
    if let Expr::Lit(ExprLit {
        lit: Lit::Str(literal),
        ..
    }) = &value
    {
        match literal.value().as_str() {
            "once" => return Ok(Missed::Once),
            "all" => return Ok(Missed::All),
            "none" => return Ok(Missed::None),
            _ => {}
        }
    }
    diagnostics.error(
        value,
        "`missed` takes `\"once\"` (the latest missed occurrence stands for all of them, the default), `\"all\"` (each is recorded) or \
         `\"none\"` (they are forgotten): write `missed = \"once\"`",
    );
    Err(Reported)
}

pub(super) fn parse_type(
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
    if let Some(objection) = objection(key, &ty) {
        diagnostics.error(&ty, objection);
        // The stubs accept a reference, too.
        let is_whole = matches!(&ty, Type::Reference(reference) if reference.lifetime.is_some());
        if key != Key::Command || !is_whole {
            return Err(Reported);
        }
    }
    Ok(ty)
}

/// The reason why `key` does not accept a type, as far as its tokens show.
fn objection(key: Key, ty: &Type) -> Option<String> {
    let name = key.name();
    if key == Key::Error && is_text(ty) {
        return Some(format!(
            "`error` takes a type that is an `std::error::Error`, which a text is not: write an enum of the reasons with \
             `#[derive(Debug, thiserror::Error)]`, as in `{}`",
            key.example()
        ));
    }
    match ty {
        Type::Reference(reference) if key != Key::Error => Some(format!(
            "`{name}` takes a type that owns what it holds: write `{name} = {}`",
            owned(&reference.elem)
        )),
        Type::Path(path) => {
            let last = path.path.segments.last()?;
            let PathArguments::AngleBracketed(arguments) = &last.arguments else {
                return None;
            };
            let Some(GenericArgument::Type(argument)) = arguments.args.first() else {
                return None;
            };
            if key == Key::Error && last.ident == "Box" && matches!(argument, Type::TraitObject(_))
            {
                return Some(format!(
                    "`error` takes a type that is an `std::error::Error` itself, which a box of one is not: write an enum of the \
                     reasons, as in `{}`",
                    key.example()
                ));
            }
            let is_list = ["Vec", "Option"].iter().any(|list| last.ident == list);
            (is_list && matches!(key, Key::Command | Key::Event)).then(|| {
                format!(
                    "`{name}` takes the type of one {name}: write `{name} = {}`",
                    text(argument)
                )
            })
        }
        _ => None,
    }
}

/// Whether `ty` is text, or nothing at all.
fn is_text(ty: &Type) -> bool {
    match ty {
        Type::Reference(reference) => is_text(&reference.elem),
        Type::Tuple(tuple) => tuple.elems.is_empty(),
        Type::Path(path) => {
            let last = path.path.segments.last();
            last.is_some_and(|last| last.ident == "String" || last.ident == "str")
        }
        _ => false,
    }
}

pub(super) fn parse_envelope(
    input: ParseStream<'_>,
    diagnostics: &Diagnostics,
) -> Result<Ident, Reported> {
    let key = Key::Envelope;
    let what = "a name for the generated enum";
    let parser = |input: ParseStream<'_>| input.call(Path::parse_mod_style);
    let path = parse_with(key, what, parser, input, diagnostics)?;
    path.get_ident().cloned().ok_or_else(|| {
        diagnostics.error(
            &path,
            format!("`envelope` takes {what}: write `{}`", key.example()),
        );
        Reported
    })
}

pub(super) fn parse_as<T: syn::parse::Parse>(
    key: Key,
    what: &str,
    input: ParseStream<'_>,
    diagnostics: &Diagnostics,
) -> Result<T, Reported> {
    parse_with(key, what, T::parse, input, diagnostics)
}

pub(super) fn parse_with<T>(
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
