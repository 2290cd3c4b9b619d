//! What `#[process_manager]` generates.

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};

use super::model::Model;
use crate::attributes::Key;
use crate::{lists, names};

pub(crate) fn expand(model: &Model) -> TokenStream {
    let Model {
        ident,
        subscribes,
        dispatches,
        krate,
        ..
    } = model;
    let process_manager = impl_process_manager(model);
    let subscriptions = lists::markers(ident, subscribes, krate);
    let envelope = envelope_enum(model);
    let dispatch = impl_dispatch(model);
    let targets: TokenStream = dispatches
        .iter()
        .map(|entry| impl_dispatches_to(model, entry))
        .collect();
    let storable = names::assert_storable(&model.name, krate);
    let subscribed = lists::assert_distinct(Key::Subscribes, subscribes, &[], krate);
    let dispatched = lists::assert_distinct(Key::Dispatches, dispatches, subscribes, krate);
    quote! {
        #process_manager
        #subscriptions
        #envelope
        #dispatch
        #targets
        #storable
        #subscribed
        #dispatched
    }
}

fn impl_process_manager(model: &Model) -> TokenStream {
    let Model {
        ident,
        name,
        envelope,
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
        let react = quote_spanned!(at=> <Self as #spanned::React<#entry>>::react);
        quote! {
            #stored_name => {
                let event = #event::from_event(event)?;
                #react(self, &event, &mut reaction);
            }
        }
    });
    quote! {
        #[automatically_derived]
        impl #krate::ProcessManager for #ident {
            const NAME: &'static str = #name;
            type Envelope = #envelope;

            fn subscriptions(&self) -> &'static [&'static str] {
                &[#(#stored_names),*]
            }

            fn react(
                &mut self,
                aggregate_type: &str,
                stream_id: &str,
                event: &#krate::RecordedEvent,
            ) -> ::std::result::Result<::std::vec::Vec<#envelope>, #krate::ReactError> {
                let mut reaction = #krate::Reaction::new(aggregate_type, stream_id, event);
                match aggregate_type {
                    #(#arms)*
                    _ => {
                        return ::std::result::Result::Err(#krate::ReactError::UnexpectedAggregate {
                            aggregate_type: ::std::string::String::from(aggregate_type),
                        });
                    }
                }
                ::std::result::Result::Ok(#krate::Reaction::into_envelopes(reaction))
            }
        }
    }
}

fn envelope_enum(model: &Model) -> TokenStream {
    let Model {
        ident,
        vis,
        envelope,
        dispatches,
        krate,
        ..
    } = model;
    let about = if dispatches.is_empty() {
        format!("What `{ident}` sends: nothing.")
    } else {
        format!("What `{ident}` sends.")
    };
    let variants = dispatches.iter().map(|entry| {
        let variant = entry.last();
        let about = format!("A command for `{}`.", entry.text());
        quote! {
            #[doc = #about]
            #variant(#krate::Envelope<#entry>),
        }
    });
    quote! {
        #[doc = #about]
        #[derive(::std::fmt::Debug, ::std::clone::Clone)]
        #vis enum #envelope {
            #(#variants)*
        }
    }
}

fn impl_dispatch(model: &Model) -> TokenStream {
    let Model {
        envelope,
        dispatches,
        krate,
        ..
    } = model;
    let (targets, route) = if dispatches.is_empty() {
        let targets = quote!(fn targets(_: &mut impl #krate::TargetVisitor) {});
        let route = quote! {
            fn route<R: #krate::Router>(self, _: R) -> R::Routed {
                match self {}
            }
        };
        (targets, route)
    } else {
        let visits = dispatches.iter().map(|entry| {
            let at = entry.span();
            let krate = krate.at(at);
            quote_spanned!(at=> #krate::TargetVisitor::target::<#entry>(targets);)
        });
        let arms = dispatches.iter().map(|entry| {
            let variant = entry.last();
            quote!(Self::#variant(envelope) => #krate::Router::typed(router, envelope),)
        });
        let targets = quote! {
            fn targets(targets: &mut impl #krate::TargetVisitor) {
                #(#visits)*
            }
        };
        let route = quote! {
            fn route<R: #krate::Router>(self, router: R) -> R::Routed {
                match self {
                    #(#arms)*
                }
            }
        };
        (targets, route)
    };
    quote! {
        #[automatically_derived]
        impl #krate::Dispatch for #envelope {
            #targets
            #route
        }
    }
}

fn impl_dispatches_to(model: &Model, entry: &crate::path::Entry) -> TokenStream {
    let Model {
        ident,
        envelope,
        krate,
        ..
    } = model;
    let variant = entry.last();
    let at = Span::call_site().located_at(entry.last().span());
    let spanned = krate.at(at);
    let header = quote_spanned!(at=> impl #spanned::DispatchesTo<#entry> for #ident);
    quote! {
        #[automatically_derived]
        #header {
            fn envelope(envelope: #krate::Envelope<#entry>) -> #envelope {
                #envelope::#variant(envelope)
            }
        }
    }
}
