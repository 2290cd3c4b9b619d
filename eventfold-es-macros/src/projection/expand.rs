//! The code that `#[projection]` generates.

use proc_macro2::TokenStream;
use quote::quote;

use super::model::Model;
use crate::attributes::Key;
use crate::{lists, names};

pub(crate) fn expand(model: &Model) -> TokenStream {
    let projection = impl_projection(model);
    let subscriptions = lists::markers(&model.ident, &model.subscribes, &model.krate);
    let Model { ident, krate, .. } = model;
    let stored = quote!(<#ident as #krate::Projection>::NAME);
    let storable = names::assert_storable(&model.name, &stored, krate);
    let distinct = lists::assert_distinct(
        Key::Subscribes,
        &model.subscribes,
        &[],
        lists::stored_name,
        krate,
    );
    quote! {
        #projection
        #[automatically_derived]
        impl #krate::contract::DeclaredProjection for #ident {
            type Declared = Self;
        }
        #subscriptions
        #storable
        #distinct
    }
}

fn impl_projection(model: &Model) -> TokenStream {
    let Model {
        ident,
        name,
        subscribes,
        krate,
        ..
    } = model;
    let subscriptions = lists::const_subscriptions(subscribes, krate);
    let unknown_events = model.skips_unknown_events.then(
        || quote!(const UNKNOWN_EVENTS: #krate::UnknownEvents = #krate::UnknownEvents::Skip;),
    );
    let handlers = lists::handlers(
        subscribes,
        "Project",
        &quote!(&context),
        &quote!(ProjectError),
        "decode_stored",
        krate,
    );
    quote! {
        #[automatically_derived]
        impl #krate::Projection for #ident {
            const NAME: &'static str = #name;
            #subscriptions
            #unknown_events

            fn apply(
                &mut self,
                aggregate_type: &str,
                stream_id: &str,
                event: &#krate::RecordedEvent,
            ) -> ::std::result::Result<(), #krate::contract::ProjectError> {
                let event = #krate::__private::StoredEvent::of(event);
                #krate::__private::Folds::fold(self, aggregate_type, stream_id, &event)
            }

            fn apply_stored(
                &mut self,
                aggregate_type: &str,
                stream_id: &str,
                event: &#krate::__private::StoredEvent<'_>,
            ) -> ::std::result::Result<(), #krate::contract::ProjectError> {
                #krate::__private::Folds::fold(self, aggregate_type, stream_id, event)
            }
        }
        #[automatically_derived]
        impl #krate::__private::Folds for #ident {
            fn fold(
                &mut self,
                aggregate_type: &str,
                stream_id: &str,
                event: &#krate::__private::StoredEvent<'_>,
            ) -> ::std::result::Result<(), #krate::contract::ProjectError> {
                let context = #krate::EventContext::of_stored(aggregate_type, stream_id, event);
                #handlers
                ::std::result::Result::Ok(())
            }
        }
    }
}
