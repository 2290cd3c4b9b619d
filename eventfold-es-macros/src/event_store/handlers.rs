//! The functions that open a store, which take the values of its event handlers.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{quote, quote_spanned};

use super::member::member;
use super::model::Model;
use crate::names;
use crate::path::{Entry, parenthesized};

/// `AggregateStoreBuilder<Awaits<Mailer, Awaits<Auditor>>>`: the builder takes the handlers in the order of their list.
pub(crate) fn builder_type(model: &Model) -> TokenStream {
    let krate = &model.krate;
    let awaited = awaited(model).map(|awaited| quote!(<#awaited>));
    quote!(#krate::AggregateStoreBuilder #awaited)
}

fn awaited(model: &Model) -> Option<TokenStream> {
    let entries = model.event_handlers.iter().rev();
    entries.fold(None, |rest, entry| {
        let at = entry.exact_span();
        let krate = model.krate.exactly_at(at);
        let rest = rest.map(|rest| quote!(, #rest));
        let awaits = quote_spanned!(at=> #krate::contract::Awaits);
        Some(quote!(#awaits<#entry #rest>))
    })
}

/// The builder at the end of `builder`, which awaits the handlers.
pub(super) fn awaiting(model: &Model) -> TokenStream {
    let krate = &model.krate;
    if model.event_handlers.is_empty() {
        quote!(builder)
    } else {
        quote!(#krate::AggregateStoreBuilder::awaiting(builder))
    }
}

pub(super) fn about_builder(model: &Model, name: &str) -> Vec<String> {
    let mut about = vec![format!(
        " A builder of `{name}` in the directory `base`, with all of its parts registered."
    )];
    if !model.event_handlers.is_empty() {
        about.push(String::new());
        about.push(format!(
            " It awaits the values of {}, with a call of `event_handler` for each, in this order.",
            listed(model)
        ));
    }
    about
}

/// `open`, with a parameter for each event handler.
pub(super) fn open(model: &Model, name: &str) -> TokenStream {
    let Model {
        vis,
        event_handlers,
        krate,
        ..
    } = model;
    let about = if event_handlers.is_empty() {
        format!(" Opens `{name}` in the directory `base`, with the defaults.")
    } else {
        format!(
            " Opens `{name}` in the directory `base`, with the defaults and its event handlers."
        )
    };
    let parameters = parameters(event_handlers);
    let given = event_handlers
        .iter()
        .zip(&parameters)
        .map(|(entry, parameter)| {
            let register = member(entry, "ListedEventHandler", "register", krate);
            let arguments = parenthesized(quote!(builder, #parameter), entry.exact_span());
            quote!(let builder = #register #arguments;)
        });
    let builder = quote!(Self::builder(base));
    let builder = if event_handlers.is_empty() {
        quote!(<#krate::AggregateStoreBuilder>::open(#builder).await)
    } else {
        quote! {
            let builder: #krate::AggregateStoreBuilder = #krate::AggregateStoreBuilder::awaiting(#builder);
            #(#given)*
            <#krate::AggregateStoreBuilder>::open(builder).await
        }
    };
    let private = allow_private(model);
    quote! {
        #[doc = #about]
        ///
        /// # Errors
        ///
        /// As `AggregateStoreBuilder::open`.
        ///
        /// # Panics
        ///
        /// Outside a tokio runtime, and in one without timer.
        ///
        /// # Cancel safety
        ///
        /// Dropping the future leaves the directory as it was or recovered.
        #private
        #vis async fn open(
            base: impl ::std::convert::AsRef<::std::path::Path>
            #(, #parameters: #event_handlers)*
        ) -> ::std::result::Result<#krate::AggregateStore, #krate::OpenError> {
            #builder
        }
    }
}

/// A handler may be less visible than the store.
pub(super) fn allow_private(model: &Model) -> Option<TokenStream> {
    (!model.event_handlers.is_empty()).then(|| {
        quote!(#[allow(private_interfaces, reason = "a handler may be more private than its store")])
    })
}

/// A name for each handler: `mailer` for `Mailer`.
pub(crate) fn parameters(entries: &[Entry]) -> Vec<Ident> {
    let mut words: Vec<String> = Vec::new();
    for entry in entries {
        let mut word = names::kebab_case(entry.last()).replace('-', "_");
        while words.contains(&word) || syn::parse_str::<Ident>(&word).is_err() || word == "base" {
            word.push('_');
        }
        words.push(word);
    }
    words
        .iter()
        .map(|word| Ident::new(word, Span::call_site()))
        .collect()
}

fn listed(model: &Model) -> String {
    let names: Vec<String> = model
        .event_handlers
        .iter()
        .map(|entry| format!("`{}`", entry.text()))
        .collect();
    names.join(", ")
}
