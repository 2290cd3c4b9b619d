//! The values that are lists of types.

use proc_macro2::{Delimiter, Span, TokenStream, TokenTree};
use syn::ext::IdentExt;
use syn::parse::ParseStream;
use syn::{Lit, Token, Type, TypePath, token};

use super::grammar::Key;
use super::values::parse_as;
use super::{Reported, missing_comma, report, skip_to_comma};
use crate::diagnostics::Diagnostics;
use crate::path::{Entry, text};

/// A list of types, with its brackets for messages about the list as a whole.
pub(crate) struct List {
    pub(crate) brackets: Span,
    /// Whether the brackets are empty.
    pub(crate) is_empty: bool,
    pub(crate) entries: Vec<Entry>,
}

pub(super) fn parse_list(
    key: Key,
    input: ParseStream<'_>,
    diagnostics: &Diagnostics,
) -> Result<List, Reported> {
    if !input.peek(token::Bracket) {
        let what = format!("a list of {}", key.listed());
        let value = input.fork().parse::<TokenStream>().unwrap_or_default();
        let within = bracketed(value.into_iter().take_while(|token| !is_comma(token)));
        let entry: Type = parse_as(key, &what, input, diagnostics)?;
        let entries = match (within, &entry) {
            (Some(within), _) => text(&within),
            (None, Type::Paren(paren)) => text(&paren.elem),
            (None, Type::Tuple(tuple)) => text(&tuple.elems),
            (None, other) => text(other),
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

/// The tokens between the first brackets, as in `Some([Order])`.
fn bracketed(tokens: impl Iterator<Item = TokenTree>) -> Option<TokenStream> {
    tokens
        .filter_map(|token| match token {
            TokenTree::Group(group) if group.delimiter() == Delimiter::Bracket => {
                Some(group.stream())
            }
            TokenTree::Group(group) => bracketed(group.stream().into_iter()),
            _ => None,
        })
        .next()
}

fn is_comma(token: &TokenTree) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == ',')
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
    let mistake = input.error(&expected);
    let mut entry: Type = input.parse().map_err(|_| report(diagnostics, mistake))?;
    while let Type::Group(group) = entry {
        entry = *group.elem;
    }
    let path = match entry {
        Type::Path(path) if !path.path.is_ident("Self") => path,
        other => {
            diagnostics.error(other, expected);
            return Err(Reported);
        }
    };
    if let Some(event) = variant_of(&path) {
        let aggregate = event.strip_suffix("Event").filter(|left| !left.is_empty());
        let (entry, aggregate) = (text(&path), aggregate.unwrap_or("Order"));
        let remedy = match key {
            Key::Subscribes => format!(
                "`subscribes` takes aggregates, and not single events: list `{aggregate}`, and match on `{entry}` in its handler"
            ),
            _ => format!(
                "`{}` takes the types of {}, and `{entry}` is a variant: write `{}`",
                key.name(),
                key.listed(),
                key.example()
            ),
        };
        diagnostics.error(&path, remedy);
        return Err(Reported);
    }
    Entry::new(path).ok_or(Reported)
}

/// The enum that `path` is a variant of. The name of a module has no capital.
fn variant_of(path: &TypePath) -> Option<String> {
    let mut segments = path.path.segments.iter().rev().skip(1);
    let parent = segments.next()?.ident.unraw().to_string();
    (parent != "Self" && parent.starts_with(char::is_uppercase)).then_some(parent)
}
