//! The parts of the generated code that several kinds of projections have.

use proc_macro2::{Ident, TokenStream};
use quote::quote;

use super::model::Model;
use crate::attributes::OnFailedEvent;
use crate::lists;
use crate::path::Entry;

/// The marker that `Project` requires.
pub(super) fn declared(model: &Model) -> TokenStream {
    let Model { ident, krate, .. } = model;
    quote! {
        #[automatically_derived]
        impl #krate::contract::DeclaredProjection for #ident {
            type Declared = Self;
        }
    }
}

pub(super) fn unknown_events(model: &Model) -> Option<TokenStream> {
    let krate = &model.krate;
    model
        .skips_unknown_events
        .then(|| quote!(const UNKNOWN_EVENTS: #krate::UnknownEvents = #krate::UnknownEvents::Skip;))
}

/// The constants of a projection with rows or with a sink.
pub(super) fn constants(model: &Model) -> TokenStream {
    let Model {
        name,
        subscribes,
        krate,
        ..
    } = model;
    let stored_names = subscribes
        .iter()
        .map(|entry| lists::stored_name(entry, krate));
    let version = model
        .version
        .as_ref()
        .map(|version| quote!(const VERSION: u32 = #version;));
    let unknown_events = unknown_events(model);
    let on_failure = match model.on_failed_event {
        None | Some(OnFailedEvent::Retry) => None,
        Some(OnFailedEvent::Skip) => Some(quote!(Skip)),
        Some(OnFailedEvent::Stop) => Some(quote!(Stop)),
    };
    let on_failure = on_failure.map(|action| {
        quote!(const ON_FAILURE: #krate::ProjectionFailure = #krate::ProjectionFailure::#action;)
    });
    quote! {
        const NAME: &'static str = #name;
        const SUBSCRIPTIONS: &'static [&'static str] = &[#(#stored_names),*];
        #version
        #unknown_events
        #on_failure
    }
}

/// `apply` of a projection with rows or with a sink. `write` is the expression that writes the event of an entry.
pub(super) fn apply(
    model: &Model,
    tx: &TokenStream,
    error: &TokenStream,
    write: impl Fn(&Entry) -> TokenStream,
) -> TokenStream {
    let Model {
        subscribes, krate, ..
    } = model;
    let branches = subscribes.iter().map(|entry| {
        let stored_name = lists::stored_name(entry, krate);
        let decode = lists::decode(entry, "decode_stored", krate);
        // The name of the variable has the place of the entry, as the tokens that use it.
        let event = Ident::new("event", entry.exact_span());
        let written = write(entry);
        quote! {
            if aggregate_type == #stored_name {
                let #event = #decode(event).map_err(#krate::contract::ProjectError::Event)?;
                #written
            } else
        }
    });
    quote! {
        fn apply(
            aggregate_type: &str,
            stream_id: &str,
            event: &#krate::__private::StoredEvent<'_>,
            tx: &mut #tx,
        ) -> ::std::result::Result<(), #krate::contract::SinkError<#error>> {
            let context = #krate::EventContext::of_stored(aggregate_type, stream_id, event);
            #(#branches)* {
                ::std::result::Result::Err(#krate::contract::SinkError::Event(
                    #krate::contract::ProjectError::UnexpectedAggregate {
                        aggregate_type: ::std::borrow::ToOwned::to_owned(aggregate_type),
                    },
                ))
            }
        }
    }
}

/// The registration of a projection with rows or with a sink, by the method `register` of the builder. `declare` adds its
/// rows to a schema.
pub(super) fn read_model(
    model: &Model,
    register: &TokenStream,
    declare: Option<TokenStream>,
) -> TokenStream {
    let Model { ident, krate, .. } = model;
    quote! {
        #[automatically_derived]
        impl #krate::contract::ReadModel for #ident {
            const NAME: &'static str = <Self as #krate::contract::SinkProjection>::NAME;
            const SUBSCRIPTIONS: ::std::option::Option<&'static [&'static str]> =
                ::std::option::Option::Some(<Self as #krate::contract::SinkProjection>::SUBSCRIPTIONS);

            fn register(builder: #krate::AggregateStoreBuilder) -> #krate::AggregateStoreBuilder {
                builder.#register::<Self>()
            }

            #declare
        }
    }
}
