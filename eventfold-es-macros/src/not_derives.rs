//! The derives that a user may guess although the declaration is an attribute.
//!
//! They exist as macros, next to the traits with their names. Without them rustc would only say that there is no such
//! derive, and then report each use of the type.

use proc_macro2::{Delimiter, Group, Ident, Span, TokenStream, TokenTree};
use quote::quote;
use syn::DeriveInput;

use crate::aggregate::model::Model as AggregateModel;
use crate::diagnostics::Diagnostics;
use crate::event_handler::model::Model as EventHandlerModel;
use crate::process_manager::model::Model as ProcessManagerModel;
use crate::projection::model::Model as ProjectionModel;
use crate::{fallback, item};

/// `#[derive(Aggregate)]`.
pub(crate) fn aggregate(item: TokenStream) -> TokenStream {
    report(&item, "Aggregate", "aggregate", "", |muted, errors| {
        let model = AggregateModel::new(TokenStream::new(), &item, muted);
        let model = model.filter(|model| model.generics.params.is_empty())?;
        Some(fallback::aggregate(&model, errors))
    })
}

/// `#[derive(ProcessManager)]`.
pub(crate) fn process_manager(item: TokenStream) -> TokenStream {
    let arguments = "(subscribes = [Order], dispatches = [Inventory])";
    report(
        &item,
        "ProcessManager",
        "process_manager",
        arguments,
        |muted, errors| {
            let model = ProcessManagerModel::new(TokenStream::new(), &item, muted);
            let model = model.filter(|model| model.generics.params.is_empty())?;
            Some(fallback::process_manager(&model, errors))
        },
    )
}

/// `#[derive(EventHandler)]`.
pub(crate) fn event_handler(item: TokenStream) -> TokenStream {
    let arguments = "(subscribes = [Order])";
    report(
        &item,
        "EventHandler",
        "event_handler",
        arguments,
        |muted, errors| {
            let model = EventHandlerModel::new(TokenStream::new(), &item, muted);
            let model = model.filter(|model| model.generics.params.is_empty())?;
            Some(fallback::event_handler(&model, errors))
        },
    )
}

/// `#[derive(Projection)]`.
pub(crate) fn projection(item: TokenStream) -> TokenStream {
    report(
        &item,
        "Projection",
        "projection",
        "(subscribes = [Order])",
        |muted, errors| {
            let (model, _) = ProjectionModel::new(TokenStream::new(), item.clone(), muted);
            let model = model.filter(|model| model.generics.params.is_empty())?;
            Some(fallback::projection(&model, errors))
        },
    )
}

/// `#[derive(Command)]`.
pub(crate) fn command() -> TokenStream {
    let diagnostics = Diagnostics::new();
    diagnostics.error_at_call(
        "`Command` is not derived: remove it here; a type is a command once `#[aggregate(command = ..)]` names it",
    );
    diagnostics.finish().unwrap_or_default()
}

/// The error, and stubs unless the attribute is present, too, and still unexpanded.
fn report(
    item: &TokenStream,
    derive: &str,
    attribute: &str,
    arguments: &str,
    stubs: impl FnOnce(&Diagnostics, Option<TokenStream>) -> Option<TokenStream>,
) -> TokenStream {
    let diagnostics = Diagnostics::new();
    let parsed = syn::parse2::<DeriveInput>(item.clone());
    let is_declared = parsed
        .as_ref()
        .is_ok_and(|item| item::is_under(item, attribute));
    let remedy = match &parsed {
        Ok(_) if is_declared => format!("`#[{attribute}]` is enough"),
        Ok(item) => format!(
            "and write `#[{attribute}{arguments}]` above `{}`",
            item.ident
        ),
        Err(_) => format!("and write `#[{attribute}{arguments}]`"),
    };
    diagnostics.error_at_call(format!(
        "`{derive}` is not derived: remove it here, {remedy}"
    ));
    let errors = diagnostics.finish();
    if is_declared {
        return errors.unwrap_or_default();
    }
    // Other mistakes are reported once the attribute is present.
    let muted = Diagnostics::new();
    let stubs = stubs(&muted, errors.clone());
    drop(muted.finish());
    stubs.or(errors).unwrap_or_default()
}

/// `item` without the derive. The attribute itself reports here what the derive would report, since the derive would
/// not see the attribute above it.
pub(crate) fn taken_from(
    item: TokenStream,
    derive: &str,
    attribute: &str,
    diagnostics: &Diagnostics,
) -> TokenStream {
    let mut found = None;
    let mut follows_pound = false;
    let kept = item.into_iter().map(|token| {
        let is_attribute = std::mem::replace(
            &mut follows_pound,
            matches!(&token, TokenTree::Punct(punct) if punct.as_char() == '#'),
        );
        match token {
            TokenTree::Group(group) if is_attribute && group.delimiter() == Delimiter::Bracket => {
                TokenTree::Group(without(group, derive, &mut found))
            }
            other => other,
        }
    });
    let kept = kept.collect();
    if let Some(span) = found {
        diagnostics.error_at(
            span,
            format!("`{derive}` is not derived: remove it here, `#[{attribute}]` is enough"),
        );
    }
    kept
}

/// `[derive(Debug, Aggregate)]` without `Aggregate`, with the place of `Aggregate` in `found`. Other brackets stay
/// unchanged.
fn without(brackets: Group, derive: &str, found: &mut Option<Span>) -> Group {
    let tokens: Vec<TokenTree> = brackets.stream().into_iter().collect();
    let [TokenTree::Ident(word), TokenTree::Group(list)] = tokens.as_slice() else {
        return brackets;
    };
    if word != "derive" {
        return brackets;
    }
    let mut entries: Vec<Vec<TokenTree>> = vec![Vec::new()];
    for token in list.stream() {
        match token {
            TokenTree::Punct(comma) if comma.as_char() == ',' => entries.push(Vec::new()),
            token => {
                if let Some(entry) = entries.last_mut() {
                    entry.push(token);
                }
            }
        }
    }
    let is_it = |entry: &Vec<TokenTree>| -> Option<Span> {
        match entry.last() {
            Some(TokenTree::Ident(last)) if last == derive => Some(last.span()),
            _ => None,
        }
    };
    let Some(span) = entries.iter().find_map(is_it) else {
        return brackets;
    };
    *found = Some(span);
    let kept = entries
        .into_iter()
        .filter(|entry| !entry.is_empty() && is_it(entry).is_none())
        .map(|entry| entry.into_iter().collect::<TokenStream>());
    let word: &Ident = word;
    let mut derive = Group::new(Delimiter::Bracket, quote!(#word(#(#kept),*)));
    derive.set_span(brackets.span());
    derive
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_guessed_derive_is_taken() {
        let item = quote! {
            #[derive(Debug, eventfold_es::Aggregate, Clone)]
            #[serde(rename = "a")]
            struct Order(#[serde(default)] u8);
        };
        let diagnostics = Diagnostics::new();
        let kept = taken_from(item, "Aggregate", "aggregate", &diagnostics);
        let expected = quote! {
            #[derive(Debug, Clone)]
            #[serde(rename = "a")]
            struct Order(#[serde(default)] u8);
        };
        assert_eq!(kept.to_string(), expected.to_string());
        assert!(diagnostics.finish().is_some());

        let diagnostics = Diagnostics::new();
        let kept = taken_from(expected.clone(), "Aggregate", "aggregate", &diagnostics);
        assert_eq!(kept.to_string(), expected.to_string());
        assert!(diagnostics.finish().is_none());
    }
}
