//! The lists of aggregates in `subscribes` and `dispatches`: their checks, and the code that several macros generate from
//! them.

use proc_macro2::{Ident, Literal, TokenStream};
use quote::{quote, quote_spanned};

use crate::attributes::{Arguments, Key, List};
use crate::diagnostics::Diagnostics;
use crate::names;
use crate::path::{CratePath, Entry, parenthesized};

/// The `subscribes` list, which must be present and not empty.
pub(crate) fn required(
    key: Key,
    arguments: &Arguments,
    verb: &str,
    macro_name: &str,
    diagnostics: &Diagnostics,
) -> Vec<Entry> {
    let example = key.example();
    match &arguments.subscribes {
        Some(List {
            brackets,
            is_empty,
            entries,
        }) => {
            if *is_empty {
                diagnostics.error_at(
                    *brackets,
                    format!("`{}` is empty: list the aggregates whose events it {verb}, as in `{example}`", key.name()),
                );
            }
            without_duplicates(key, entries.clone(), diagnostics)
        }
        None => {
            if !arguments.was_given(key) {
                diagnostics.error_at_call(format!(
                    "`{}` is missing: list the aggregates whose events it {verb}, as in `#[{macro_name}({example})]`",
                    key.name()
                ));
            }
            Vec::new()
        }
    }
}

/// The entries without repetitions, which are reported.
pub(crate) fn without_duplicates(
    key: Key,
    entries: Vec<Entry>,
    diagnostics: &Diagnostics,
) -> Vec<Entry> {
    let mut distinct: Vec<Entry> = Vec::new();
    for entry in entries {
        if distinct
            .iter()
            .any(|earlier| earlier.text() == entry.text())
        {
            let message = format!(
                "`{}` is listed twice in `{}`: remove this one",
                entry.text(),
                key.name()
            );
            diagnostics.error(&entry, message);
        } else {
            distinct.push(entry);
        }
    }
    distinct
}

/// The entries without those with the same variant of the envelope enum as an earlier entry. These are reported.
pub(crate) fn with_distinct_variants(
    entries: Vec<Entry>,
    of: &str,
    diagnostics: &Diagnostics,
) -> Vec<Entry> {
    let mut distinct: Vec<Entry> = Vec::new();
    for entry in entries {
        if let Some(earlier) = distinct
            .iter()
            .find(|earlier| earlier.last() == entry.last())
        {
            let (last, entry_text) = (entry.last(), entry.text());
            let message = format!(
                "`{}` and `{entry_text}` would both be the variant `{last}` of the {of}: \
                 write `use {entry_text} as Other{last};`, and `Other{last}` here",
                earlier.text()
            );
            diagnostics.error(&entry, message);
        } else {
            distinct.push(entry);
        }
    }
    distinct
}

/// The messages in `deadlines`, each with its stored name. A message with the stored name of an earlier message is
/// reported and left out.
pub(crate) fn with_distinct_names(
    entries: Vec<Entry>,
    diagnostics: &Diagnostics,
) -> Vec<(Entry, String)> {
    let mut distinct: Vec<(Entry, String)> = Vec::new();
    for entry in entries {
        let name = names::kebab_case(entry.last());
        if let Some((earlier, _)) = distinct.iter().find(|(_, earlier)| *earlier == name) {
            let (last, entry_text) = (entry.last(), entry.text());
            let message = format!(
                "`{}` and `{entry_text}` would both be stored as `{name}`: write `use {entry_text} as Other{last};`, and \
                 `Other{last}` here",
                earlier.text()
            );
            diagnostics.error(&entry, message);
        } else {
            distinct.push((entry, name));
        }
    }
    distinct
}

/// `<Order as Aggregate>::AGGREGATE_TYPE`. This is the only form in which an entry is used as an aggregate. So rustc
/// reports an entry that is not an aggregate once.
pub(crate) fn stored_name(entry: &Entry, krate: &CratePath) -> TokenStream {
    let at = entry.exact_span();
    let krate = krate.exactly_at(at);
    quote_spanned!(at=> <#entry as #krate::Aggregate>::AGGREGATE_TYPE)
}

/// The `subscribes` list as a constant, for `#[event_store]`.
pub(crate) fn const_subscriptions(entries: &[Entry], krate: &CratePath) -> TokenStream {
    let stored_names = entries.iter().map(|entry| stored_name(entry, krate));
    quote! {
        const SUBSCRIPTIONS: ::std::option::Option<&'static [&'static str]> = ::std::option::Option::Some(&[#(#stored_names),*]);
    }
}

/// The chain of `if`s that finds the branch of an event by its aggregate: one branch per entry, then `otherwise`.
pub(crate) fn by_aggregate(
    entries: &[Entry],
    otherwise: &TokenStream,
    krate: &CratePath,
    branch: impl Fn(&Entry) -> TokenStream,
) -> TokenStream {
    let branches = entries.iter().map(|entry| {
        let stored_name = stored_name(entry, krate);
        let branch = branch(entry);
        quote! {
            if aggregate_type == #stored_name {
                #branch
            } else
        }
    });
    quote!(#(#branches)* { #otherwise })
}

/// The error of an event whose aggregate is no entry.
pub(crate) fn unexpected(error: &TokenStream, krate: &CratePath) -> TokenStream {
    quote! {
        ::std::result::Result::Err(#krate::contract::#error::UnexpectedAggregate {
            aggregate_type: ::std::borrow::ToOwned::to_owned(aggregate_type),
        })
    }
}

/// The chain of `if`s that passes an event to the handler of its aggregate, and returns the error of another event.
pub(crate) fn handlers(
    entries: &[Entry],
    handler: &str,
    context: &TokenStream,
    error: &TokenStream,
    decode: &str,
    krate: &CratePath,
) -> TokenStream {
    let unexpected = unexpected(error, krate);
    by_aggregate(entries, &quote!(return #unexpected;), krate, |entry| {
        // All tokens that mention the type of the entry have its span, so that rustc prints each error about it once.
        let at = entry.exact_span();
        let (handler, method) = (
            Ident::new(handler, at),
            Ident::new(&handler.to_ascii_lowercase(), at),
        );
        let spanned = krate.exactly_at(at);
        let handle = quote_spanned!(at=> <Self as #spanned::#handler<#spanned::contract::Subscribed<#entry>>>::#method);
        let decode = self::decode(entry, decode, krate);
        let decoded = Ident::new("event", at);
        let decoded_ref = quote_spanned!(at=> &#decoded);
        let arguments = parenthesized(quote!(self, #decoded_ref, #context), at);
        quote! {
            let #decoded = #decode(event)?;
            #handle #arguments;
        }
    })
}

/// `decode::<Subscribed<Order>>`
pub(crate) fn decode(entry: &Entry, decode: &str, krate: &CratePath) -> TokenStream {
    let at = entry.exact_span();
    let krate = krate.exactly_at(at);
    let decode = Ident::new(decode, at);
    quote_spanned!(at=> #krate::__private::#decode::<#krate::contract::Subscribed<#entry>>)
}

/// The markers that make a handler for an unsubscribed aggregate an error.
///
/// The last marker requires that all entries are aggregates. If an entry is not an aggregate, rustc treats this marker
/// as a marker of any type. So it reports only the entry.
pub(crate) fn markers(
    implementor: &syn::Ident,
    entries: &[Entry],
    krate: &CratePath,
) -> TokenStream {
    let markers = entries.iter().map(|entry| {
        let at = entry.span();
        let krate = krate.at(at);
        quote_spanned! {at=>
            #[automatically_derived]
            impl #krate::__private::Subscribes<#entry> for #implementor {}
        }
    });
    let stored_names = entries.iter().map(|entry| stored_name(entry, krate));
    quote! {
        #(#markers)*

        #[automatically_derived]
        #[doc(hidden)]
        impl #krate::__private::Subscribes<
            #krate::__private::Checked<&'static #implementor, { #krate::__private::are_known(&[#(#stored_names),*]) }>,
        > for #implementor {}
    }
}

/// Assertions that no entry has the stored name of an earlier entry. Entries that are all among the `asserted` are left
/// to these.
pub(crate) fn assert_distinct(
    key: Key,
    entries: &[Entry],
    asserted: &[Entry],
    stored_name: fn(&Entry, &CratePath) -> TokenStream,
    krate: &CratePath,
) -> TokenStream {
    let is_asserted = |entry: &Entry| asserted.iter().any(|other| other.text() == entry.text());
    if entries.len() < 2 || entries.iter().all(is_asserted) {
        return TokenStream::new();
    }
    let assertions = entries.iter().enumerate().skip(1).map(|(index, entry)| {
        let (text, key) = (entry.text(), key.name());
        let message = format!(
            "`{text}` in `{key}` has the stored name of an entry before it: keep one, or give this one a name of its own with \
             `#[aggregate(name = \"..\")]`"
        );
        let index = Literal::usize_unsuffixed(index);
        let at = entry.span();
        let krate = krate.at(at);
        quote_spanned!(at=> ::std::assert!(!#krate::names::is_repeated(&names, #index), #message);)
    });
    let stored_names = entries.iter().map(|entry| stored_name(entry, krate));
    quote! {
        const _: () = {
            let names = [#(#stored_names),*];
            #(#assertions)*
        };
    }
}
