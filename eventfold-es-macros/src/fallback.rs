//! What is generated for a declaration that has errors: enough that nothing but the mistake itself is reported.

use proc_macro2::TokenStream;
use quote::quote;

use crate::path::Entry;

/// Names the listed aggregates, so that their imports do not count as unused.
fn mention(entries: &[Entry]) -> TokenStream {
    quote!(const _: ::std::marker::PhantomData<(#(#entries,)*)> = ::std::marker::PhantomData;)
}

pub(crate) fn aggregate(model: &crate::aggregate::Model) -> TokenStream {
    let crate::aggregate::Model {
        ident,
        generics,
        command,
        event,
        error,
        krate,
        ..
    } = model;
    if !generics.params.is_empty() {
        return TokenStream::new();
    }
    quote! {
        #[automatically_derived]
        impl #krate::Aggregate for #ident {
            const AGGREGATE_TYPE: &'static str = "";
            type Command = #command;
            type DomainEvent = #event;
            type Error = #error;

            fn handle(&self, _: #command) -> ::std::result::Result<::std::vec::Vec<#event>, #error> {
                ::std::unreachable!()
            }

            fn apply(self, _: &#event) -> Self {
                ::std::unreachable!()
            }
        }

        #[automatically_derived]
        impl #krate::Command for #command {
            type Aggregate = #ident;
        }
    }
}

pub(crate) fn process_manager(model: &crate::process_manager::Model) -> TokenStream {
    let crate::process_manager::Model {
        ident,
        generics,
        vis,
        envelope,
        subscribes,
        dispatches,
        krate,
        ..
    } = model;
    let mentioned = mention(subscribes);
    if !generics.params.is_empty() {
        return mentioned;
    }
    let variants = dispatches.iter().map(|entry| {
        let variant = entry.last();
        quote!(#variant(#krate::Envelope<#entry>),)
    });
    quote! {
        #mentioned

        #[automatically_derived]
        impl #krate::ProcessManager for #ident {
            const NAME: &'static str = "";
            type Envelope = #envelope;

            fn subscriptions(&self) -> &'static [&'static str] {
                &[]
            }

            fn react(
                &mut self,
                _: &str,
                _: &str,
                _: &#krate::RecordedEvent,
            ) -> ::std::result::Result<::std::vec::Vec<#envelope>, #krate::ReactError> {
                ::std::unreachable!()
            }
        }

        #[automatically_derived]
        impl<A: #krate::Aggregate> #krate::SubscribesTo<A> for #ident {}

        #[automatically_derived]
        impl<A: #krate::Aggregate> #krate::DispatchesTo<A> for #ident {
            fn envelope(_: #krate::Envelope<A>) -> #envelope {
                ::std::unreachable!()
            }
        }

        #[allow(dead_code, missing_docs)]
        #vis enum #envelope {
            #(#variants)*
        }

        #[automatically_derived]
        impl #krate::Dispatch for #envelope {
            fn targets(_: &mut impl #krate::TargetVisitor) {}

            fn route<R: #krate::Router>(self, _: R) -> R::Routed {
                ::std::unreachable!()
            }
        }
    }
}

pub(crate) fn projection(model: &crate::projection::Model) -> TokenStream {
    let crate::projection::Model {
        ident,
        generics,
        subscribes,
        krate,
        ..
    } = model;
    let mentioned = mention(subscribes);
    if !generics.params.is_empty() {
        return mentioned;
    }
    quote! {
        #mentioned

        #[automatically_derived]
        impl #krate::Projection for #ident {
            const NAME: &'static str = "";

            fn subscriptions(&self) -> &'static [&'static str] {
                &[]
            }

            fn apply(
                &mut self,
                _: &str,
                _: &str,
                _: &#krate::RecordedEvent,
            ) -> ::std::result::Result<(), #krate::ProjectError> {
                ::std::unreachable!()
            }
        }

        #[automatically_derived]
        impl<A: #krate::Aggregate> #krate::SubscribesTo<A> for #ident {}
    }
}

pub(crate) fn domain_event(model: &crate::domain_event::Model) -> TokenStream {
    let crate::domain_event::Model {
        ident,
        generics,
        krate,
        ..
    } = model;
    if !generics.params.is_empty() {
        return TokenStream::new();
    }
    quote! {
        #[automatically_derived]
        impl #krate::DomainEvent for #ident {
            const EVENT_TYPES: &'static [&'static str] = &[];

            fn event_type(&self) -> &'static str {
                ::std::unreachable!()
            }
        }
    }
}
