//! The code that `#[event_handler]` generates.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Expr, Type};

use super::model::Model;
use crate::attributes::{Key, Start};
use crate::path::{CratePath, Entry, parenthesized};
use crate::{dispatching, lists, names, path};

pub(crate) fn expand(model: &Model) -> TokenStream {
    let Model {
        ident,
        subscribes,
        dispatches,
        krate,
        ..
    } = model;
    let event_handler = impl_event_handler(model);
    let declared = markers(model);
    let subscriptions = lists::markers(ident, subscribes, krate);
    let dispatching::Parts { envelope, targets } = dispatching::expand(&model.sender());
    let stored = quote!(<#ident as #krate::EventHandler>::NAME);
    let storable = names::assert_storable(&model.name, &stored, krate);
    let subscribed =
        lists::assert_distinct(Key::Subscribes, subscribes, &[], lists::stored_name, krate);
    let dispatched = dispatching::assert_distinct(dispatches, subscribes, krate);
    quote! {
        #envelope
        #event_handler
        #declared
        #subscriptions
        #targets
        #storable
        #subscribed
        #dispatched
    }
}

fn impl_event_handler(model: &Model) -> TokenStream {
    let Model {
        ident,
        name,
        envelope,
        subscribes,
        dispatches,
        krate,
        ..
    } = model;
    let stored_names = subscribes
        .iter()
        .map(|entry| lists::stored_name(entry, krate));
    let targets = dispatching::const_targets(dispatches, krate);
    let settings = settings(model);
    let handled = lists::by_aggregate(
        subscribes,
        &quote! {
            ::std::result::Result::Err(#krate::HandleError::Event(
                #krate::contract::ReactError::UnexpectedAggregate {
                    aggregate_type: ::std::borrow::ToOwned::to_owned(aggregate_type),
                },
            ))
        },
        krate,
        |entry| handled(entry, krate),
    );
    let key = model.key.as_ref().map(|key| key_of(model, key));
    let on_failure = model.on_failure.map(|at| on_failure(krate, at));
    quote! {
        #[automatically_derived]
        impl #krate::EventHandler for #ident {
            const NAME: &'static str = #name;
            const SUBSCRIPTIONS: &'static [&'static str] = &[#(#stored_names),*];
            #targets
            #settings
            type Envelope = #envelope;

            async fn handle_event(
                &self,
                cx: &mut #krate::Handling<'_, Self>,
            ) -> ::std::result::Result<(), #krate::HandleError> {
                let aggregate_type = #krate::Handling::aggregate_type(cx);
                #handled
            }

            #key
            #on_failure
        }
    }
}

/// The constants with a default.
fn settings(model: &Model) -> TokenStream {
    let krate = &model.krate;
    let concurrency = model
        .concurrency
        .as_ref()
        .map(|calls| quote!(const CONCURRENCY: ::std::primitive::usize = #calls;));
    let timeout = model
        .timeout
        .as_ref()
        .map(|timeout| quote!(const TIMEOUT: ::std::time::Duration = #timeout;));
    let start = (model.start == Some(Start::Now))
        .then(|| quote!(const START: #krate::StartFrom = #krate::StartFrom::Now;));
    let keyed = model.key.as_ref().map(|key| {
        let key_type = path::text(key);
        quote! {
            const IS_KEYED: bool = true;
            const KEY_TYPE: &'static str = #key_type;
        }
    });
    quote!(#concurrency #timeout #start #keyed)
}

/// `<Self as Handle<Subscribed<Order>>>::handled(self, cx).await`
fn handled(entry: &Entry, krate: &CratePath) -> TokenStream {
    // All tokens that mention the type of the entry have its span, so that rustc prints each error about it once.
    let at = entry.exact_span();
    let spanned = krate.exactly_at(at);
    let arguments = parenthesized(quote!(self, cx), at);
    let handled = quote_spanned! {at=>
        <Self as #spanned::Handle<#spanned::contract::Subscribed<#entry>>>::handled #arguments
    };
    quote!(#handled.await)
}

fn key_of(model: &Model, key: &Type) -> TokenStream {
    let Model {
        subscribes, krate, ..
    } = model;
    let keys = lists::by_aggregate(
        subscribes,
        &lists::unexpected(&quote!(ReactError), krate),
        krate,
        |entry| {
            let at = entry.exact_span();
            let spanned = krate.exactly_at(at);
            let decode = lists::decode(entry, "decode", krate);
            let decoded = Ident::new("event", at);
            let decoded_ref = quote_spanned!(at=> &#decoded);
            let arguments = parenthesized(quote!(#decoded_ref, &context), at);
            let key = quote_spanned! {at=>
                <Self as #spanned::HandleKey<#spanned::contract::Subscribed<#entry>>>::key #arguments
            };
            quote! {
                let #decoded = #decode(event)?;
                #krate::__private::key_text::<Self>(&#key)
            }
        },
    );
    // The signature has the span of the key, as its type.
    let at = Span::call_site().located_at(key.span());
    let krate = krate.at(at);
    quote! {
        fn key_of(
            aggregate_type: &str,
            stream_id: &str,
            event: &#krate::RecordedEvent,
        ) -> ::std::result::Result<::std::string::String, #krate::contract::ReactError> {
            let context = #krate::EventContext::new(aggregate_type, stream_id, event);
            #keys
        }
    }
}

fn on_failure(krate: &CratePath, at: Span) -> TokenStream {
    let spanned = krate.exactly_at(at);
    let arguments = parenthesized(quote!(self, failure), at);
    let decide = quote_spanned!(at=> <Self as #spanned::HandlerPolicy>::on_failure #arguments);
    quote! {
        fn on_failure(&self, failure: &#krate::Failure<'_>) -> #krate::HandlerAction<Self> {
            #decide
        }
    }
}

/// The markers that make an undeclared impl an error, and the assertions about constants.
fn markers(model: &Model) -> TokenStream {
    let Model { ident, krate, .. } = model;
    let keyed = model.key.as_ref().map(|key| {
        let at = Span::call_site().located_at(key.span());
        let krate = krate.at(at);
        quote_spanned! {at=>
            #[automatically_derived]
            impl #krate::contract::HandlerKeyed for #ident {
                type Key = #key;
            }
        }
    });
    let policy = model.on_failure.map(|_| {
        quote! {
            #[automatically_derived]
            impl #krate::FailurePolicy for #ident {}
        }
    });
    // Literals were checked during parsing.
    let concurrency = model
        .concurrency
        .as_ref()
        .filter(|calls| !is_literal(calls));
    let concurrency = concurrency.map(|calls| {
        let at = Span::call_site().located_at(calls.span());
        let message = "`concurrency` counts from 1";
        quote_spanned!(at=> const _: () = ::std::assert!(#calls >= 1, #message);)
    });
    let timeout = model
        .timeout
        .as_ref()
        .and_then(|timeout| timeout.constant());
    let timeout = timeout.map(|timeout| {
        let at = Span::call_site().located_at(timeout.span());
        let message = "`timeout` is zero, in which no attempt succeeds";
        quote_spanned!(at=> const _: () = ::std::assert!(!#timeout.is_zero(), #message);)
    });
    quote!(#keyed #policy #concurrency #timeout)
}

fn is_literal(value: &Expr) -> bool {
    matches!(value, Expr::Lit(_))
}
