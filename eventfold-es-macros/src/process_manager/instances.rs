//! The code that `#[process_manager]` generates for `key`, `deadlines`, `on_failure` and `state_version`.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::Expr;
use syn::spanned::Spanned;

use super::model::Model;
use crate::path::{CratePath, Entry, parenthesized};
use crate::{lists, named_types, path};

/// Whether its reactions have effects other than commands.
pub(super) fn collects_effects(model: &Model) -> bool {
    model.key.is_some() || !model.deadlines.is_empty()
}

pub(super) fn constants(model: &Model) -> TokenStream {
    let version = model
        .state_version
        .as_ref()
        .map(|version| quote!(const STATE_VERSION: u32 = #version;));
    let keyed = model.key.as_ref().map(|key| {
        let key_type = path::text(key);
        quote! {
            const IS_KEYED: bool = true;
            const KEY_TYPE: &'static str = #key_type;
        }
    });
    let names = model.deadlines.iter().map(|(_, name)| name);
    let deadlines = (!model.deadlines.is_empty()).then(|| {
        let krate = &model.krate;
        let messages = model
            .deadlines
            .iter()
            .map(|(entry, name)| named_types::named_as(name, &entry.to_type(), krate));
        let messages = named_types::in_scope(&quote!(&[#(#messages),*]), krate);
        quote! {
            const DEADLINES: &'static [&'static str] = &[#(#names),*];
            const DEADLINE_MESSAGES: &'static [#krate::schema::NamedType] = #messages;
        }
    });
    quote!(#version #keyed #deadlines)
}

/// The body of `react`, for a type whose `react_in` does the work.
pub(super) fn react(model: &Model) -> TokenStream {
    let krate = &model.krate;
    if model.key.is_some() {
        return quote!(::std::result::Result::Err(#krate::contract::ReactError::NoKey));
    }
    quote! {
        let effects = <Self as #krate::ProcessManager>::react_in(
            self,
            "",
            aggregate_type,
            stream_id,
            event,
        )?;
        ::std::result::Result::Ok(effects.envelopes)
    }
}

/// The functions of `ProcessManager` with a default.
pub(super) fn hooks(model: &Model, handlers: &TokenStream) -> TokenStream {
    let correlate = model.key.is_some().then(|| correlate(model));
    let react_in = collects_effects(model).then(|| react_in(model, handlers));
    let on_deadline = (!model.deadlines.is_empty()).then(|| on_deadline(model));
    let on_failure = model.on_failure.map(|at| on_failure(&model.krate, at));
    let migrate = migrate(model);
    quote! {
        #correlate
        #react_in
        #on_deadline
        #on_failure
        #migrate
    }
}

fn correlate(model: &Model) -> TokenStream {
    let Model {
        subscribes, krate, ..
    } = model;
    let unexpected = lists::unexpected(&quote!(ReactError), krate);
    let correlated = lists::by_aggregate(subscribes, &unexpected, krate, |entry| {
        // All tokens that mention the type of the entry have its span, so that rustc prints each error about it once.
        let at = entry.exact_span();
        let spanned = krate.exactly_at(at);
        let decode = lists::decode(entry, "decode", krate);
        let decoded = Ident::new("event", at);
        let decoded_ref = quote_spanned!(at=> &#decoded);
        let arguments = parenthesized(quote!(#decoded_ref, &context), at);
        let correlated = quote_spanned!(at=> <Self as #spanned::Correlate<#spanned::contract::Subscribed<#entry>>>::correlate #arguments);
        quote! {
            let #decoded = #decode(event)?;
            #krate::__private::erase::<Self>(#correlated)
        }
    });
    quote! {
        fn correlate(
            aggregate_type: &str,
            stream_id: &str,
            event: &#krate::RecordedEvent,
        ) -> ::std::result::Result<#krate::Correlation, #krate::contract::ReactError> {
            let context = #krate::EventContext::new(aggregate_type, stream_id, event);
            #correlated
        }
    }
}

fn react_in(model: &Model, handlers: &TokenStream) -> TokenStream {
    let Model {
        envelope, krate, ..
    } = model;
    let (key, reaction) = begin(
        model,
        &quote!(#krate::Reaction::new(aggregate_type, stream_id, event)),
    );
    quote! {
        fn react_in(
            &mut self,
            #key: &str,
            aggregate_type: &str,
            stream_id: &str,
            event: &#krate::RecordedEvent,
        ) -> ::std::result::Result<#krate::Effects<#envelope>, #krate::contract::ReactError> {
            #reaction
            #handlers
            #krate::Reaction::into_effects(reaction)
        }
    }
}

fn on_deadline(model: &Model) -> TokenStream {
    let Model {
        envelope,
        deadlines,
        krate,
        ..
    } = model;
    let (key, reaction) = begin(
        model,
        &quote!(#krate::Reaction::to_deadline(deadline, &event)),
    );
    let branches = deadlines.iter().map(|(entry, name)| {
        let at = entry.exact_span();
        let spanned = krate.exactly_at(at);
        let message = Ident::new("message", at);
        let decoded = as_message(entry, "from_deadline", &quote!(deadline), krate);
        let arguments = parenthesized(quote!(self, #message, &mut reaction), at);
        let handle = quote_spanned!(at=> <Self as #spanned::OnDeadline<#entry>>::on_deadline);
        quote! {
            if deadline.message_type == #name {
                let #message = #decoded?;
                #handle #arguments;
            } else
        }
    });
    quote! {
        fn on_deadline(
            &mut self,
            #key: &str,
            deadline: &#krate::contract::StoredDeadline,
        ) -> ::std::result::Result<#krate::Effects<#envelope>, #krate::contract::ReactError> {
            let event = #krate::contract::StoredDeadline::as_event(deadline);
            #reaction
            #(#branches)* {
                return ::std::result::Result::Err(#krate::contract::ReactError::unexpected_deadline(deadline));
            }
            #krate::Reaction::into_effects(reaction)
        }
    }
}

/// The parameter for the key, and the statements that begin a reaction.
fn begin(model: &Model, new: &TokenStream) -> (Ident, TokenStream) {
    let krate = &model.krate;
    if model.key.is_none() {
        let unused = Ident::new("_", Span::call_site());
        return (unused, quote!(let mut reaction = #new;));
    }
    let key = Ident::new("key", Span::call_site());
    let reaction = quote! {
        let own_key = #krate::__private::own_key::<Self>(#key)?;
        let mut reaction = #krate::Reaction::with_key(#new, &own_key);
    };
    (key, reaction)
}

/// `<PaymentDue as DeadlineMessage>::function(arguments)`. This is the only form in which an entry is used as a
/// message. So rustc reports an entry that is not a message once, at the entry.
fn as_message(
    entry: &Entry,
    function: &str,
    arguments: &TokenStream,
    krate: &CratePath,
) -> TokenStream {
    let at = entry.exact_span();
    let (function, krate) = (Ident::new(function, at), krate.exactly_at(at));
    let arguments = parenthesized(arguments.clone(), at);
    quote_spanned!(at=> <#entry as #krate::contract::DeadlineMessage>::#function #arguments)
}

fn on_failure(krate: &CratePath, at: Span) -> TokenStream {
    let spanned = krate.exactly_at(at);
    let arguments = parenthesized(quote!(self, failure), at);
    let decide = quote_spanned!(at=> <Self as #spanned::HandleFailure>::on_failure #arguments);
    quote! {
        fn on_failure(&self, failure: &#krate::Failure<'_>) -> #krate::FailureAction<Self> {
            #decide
        }
    }
}

fn migrate(model: &Model) -> Option<TokenStream> {
    let krate = &model.krate;
    let at = model.version_above_1()?.span();
    let spanned = krate.exactly_at(at);
    let arguments = parenthesized(quote!(state), at);
    let migrate = quote_spanned!(at=> <Self as #spanned::MigrateState>::migrate #arguments);
    Some(quote! {
        fn migrate_state(
            state: #krate::StoredState<'_>,
        ) -> ::std::result::Result<Self, #krate::MigrationError> {
            #migrate
        }
    })
}

/// The markers that make an undeclared handler an error, and the known facts about the key and the messages.
pub(super) fn markers(model: &Model) -> TokenStream {
    let Model {
        ident, key, krate, ..
    } = model;
    let keyed = key.as_ref().map(|key| {
        let at = Span::call_site().located_at(key.span());
        let krate = krate.at(at);
        quote_spanned! {at=>
            #[automatically_derived]
            impl #krate::contract::Keyed for #ident {
                type Key = #key;
            }
        }
    });
    let schedules: TokenStream = model
        .deadlines
        .iter()
        .map(|(entry, name)| schedules(model, entry, name))
        .collect();
    let policy = model.on_failure.map(|_| {
        quote! {
            #[automatically_derived]
            impl #krate::FailurePolicy for #ident {}
        }
    });
    let versioned = model.version_above_1().map(|version| {
        let at = Span::call_site().located_at(version.span());
        let message = "`state_version` counts from 1";
        // A literal was checked during parsing.
        let assertion = (!matches!(version, Expr::Lit(_)))
            .then(|| quote_spanned!(at=> const _: () = ::std::assert!(#version >= 1, #message);));
        quote_spanned! {at=>
            #[automatically_derived]
            impl #krate::contract::StateVersioned for #ident {}

            #assertion
        }
    });
    quote!(#keyed #schedules #policy #versioned)
}

fn schedules(model: &Model, entry: &Entry, name: &str) -> TokenStream {
    let Model { ident, krate, .. } = model;
    let encode = as_message(entry, "encode", &quote!(message), krate);
    let at = entry.span();
    let krate = krate.at(at);
    quote_spanned! {at=>
        #[automatically_derived]
        impl #krate::contract::Schedules<#entry> for #ident {
            const MESSAGE_TYPE: &'static str = #name;

            fn encode(
                message: &#entry,
            ) -> ::std::result::Result<
                ::std::boxed::Box<#krate::__private::RawValue>,
                ::std::string::String,
            > {
                #encode
            }
        }
    }
}
