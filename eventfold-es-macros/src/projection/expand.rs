//! What `#[projection]` generates.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};

use super::model::Model;
use crate::attributes::Key;
use crate::{lists, names};

pub(crate) fn expand(model: &Model) -> TokenStream {
    let projection = impl_projection(model);
    let subscriptions = lists::markers(&model.ident, &model.subscribes, &model.krate);
    let storable = names::assert_storable(&model.name, &model.krate);
    let distinct = lists::assert_distinct(Key::Subscribes, &model.subscribes, &[], &model.krate);
    quote! {
        #projection
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
    let stored_names = subscribes
        .iter()
        .map(|entry| lists::stored_name(entry, krate));
    let arms = subscribes.iter().map(|entry| {
        let at = entry.span();
        let stored_name = lists::stored_name(entry, krate);
        let spanned = krate.at(at);
        let event = quote_spanned!(at=> <<#entry as #spanned::Aggregate>::DomainEvent as #spanned::DomainEvent>);
        let project = quote_spanned!(at=> <Self as #spanned::Project<#entry>>::project);
        quote! {
            #stored_name => {
                let event = #event::from_event(event)?;
                #project(self, &event, &context);
            }
        }
    });
    quote! {
        #[automatically_derived]
        impl #krate::Projection for #ident {
            const NAME: &'static str = #name;

            fn subscriptions(&self) -> &'static [&'static str] {
                &[#(#stored_names),*]
            }

            fn apply(
                &mut self,
                aggregate_type: &str,
                stream_id: &str,
                event: &#krate::RecordedEvent,
            ) -> ::std::result::Result<(), #krate::ProjectError> {
                let context = #krate::EventContext::new(aggregate_type, stream_id, event);
                match aggregate_type {
                    #(#arms)*
                    _ => {
                        return ::std::result::Result::Err(#krate::ProjectError::UnexpectedAggregate {
                            aggregate_type: ::std::string::String::from(aggregate_type),
                        });
                    }
                }
                ::std::result::Result::Ok(())
            }
        }
    }
}
