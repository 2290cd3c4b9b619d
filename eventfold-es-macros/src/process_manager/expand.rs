//! The code that `#[process_manager]` generates.

use proc_macro2::{Ident, Span, TokenStream};
use quote::quote;

use super::instances;
use super::model::Model;
use crate::attributes::{Key, Start};
use crate::{dispatching, lists, names};

pub(crate) fn expand(model: &Model) -> TokenStream {
    let Model {
        ident,
        subscribes,
        dispatches,
        krate,
        ..
    } = model;
    let process_manager = impl_process_manager(model);
    let instances = instances::markers(model);
    let subscriptions = lists::markers(ident, subscribes, krate);
    let dispatching::Parts { envelope, targets } = dispatching::expand(&model.sender());
    let stored = quote!(<#ident as #krate::ProcessManager>::NAME);
    let storable = names::assert_storable(&model.name, &stored, krate);
    let subscribed =
        lists::assert_distinct(Key::Subscribes, subscribes, &[], lists::stored_name, krate);
    let dispatched = dispatching::assert_distinct(dispatches, subscribes, krate);
    quote! {
        #envelope
        #process_manager
        #instances
        #subscriptions
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
        dispatches,
        state,
        krate,
        ..
    } = model;
    let state = state.expand_alone(krate);
    let subscriptions = lists::const_subscriptions(subscribes, krate);
    let targets = dispatching::const_targets(dispatches, krate);
    let handlers = lists::handlers(
        subscribes,
        "React",
        &quote!(&mut reaction),
        &quote!(ReactError),
        "decode",
        krate,
    );
    let start = (model.start == Start::Now)
        .then(|| quote!(const START: #krate::StartFrom = #krate::StartFrom::Now;));
    let constants = instances::constants(model);
    let hooks = instances::hooks(model, &handlers);
    let react = if instances::collects_effects(model) {
        instances::react(model)
    } else {
        quote! {
            let mut reaction = #krate::Reaction::new(aggregate_type, stream_id, event);
            #handlers
            ::std::result::Result::Ok(#krate::Reaction::into_envelopes(reaction))
        }
    };
    let named = |name: &str| {
        let name = if model.key.is_some() { "_" } else { name };
        Ident::new(name, Span::call_site())
    };
    let (aggregate_type, stream_id, event) =
        (named("aggregate_type"), named("stream_id"), named("event"));
    quote! {
        #[automatically_derived]
        impl #krate::ProcessManager for #ident {
            const NAME: &'static str = #name;
            #subscriptions
            const STATE: #krate::schema::Shape = #state;
            #targets
            #constants
            #start
            type Envelope = #envelope;

            fn react(
                &mut self,
                #aggregate_type: &str,
                #stream_id: &str,
                #event: &#krate::RecordedEvent,
            ) -> ::std::result::Result<::std::vec::Vec<#envelope>, #krate::contract::ReactError> {
                #react
            }

            #hooks
        }
    }
}
