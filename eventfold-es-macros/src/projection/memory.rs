//! The code of a projection that is a value in memory.

use proc_macro2::TokenStream;
use quote::quote;

use super::model::Model;
use super::parts::{declared, unknown_events};
use crate::lists;

pub(super) fn expand(model: &Model) -> TokenStream {
    let Model {
        ident,
        name,
        subscribes,
        krate,
        ..
    } = model;
    let subscriptions = lists::const_subscriptions(subscribes, krate);
    let unknown_events = unknown_events(model);
    let handlers = lists::handlers(
        subscribes,
        "Project",
        &quote!(&context),
        &quote!(ProjectError),
        "decode_stored",
        krate,
    );
    let declared = declared(model);
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
                let deletion: #krate::__private::Deletion = ::std::default::Default::default();
                let context = #krate::EventContext::of_stored(aggregate_type, stream_id, event).deleting(&deletion);
                #handlers
                #krate::__private::delete_if_asked(self, &deletion);
                ::std::result::Result::Ok(())
            }
        }
        #declared
    }
}
