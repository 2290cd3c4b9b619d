//! The code that `#[process_manager]` generates.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::Visibility;
use syn::ext::IdentExt;

use super::instances;
use super::model::Model;
use crate::attributes::{Key, Start};
use crate::path::{CratePath, Entry, parenthesized};
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
    let instances = instances::markers(model);
    let subscriptions = lists::markers(ident, subscribes, krate);
    let envelope = envelope_enum(model);
    let clone_and_debug = impl_clone_and_debug(model);
    let dispatch = impl_dispatch(model);
    let targets: TokenStream = dispatches
        .iter()
        .map(|entry| impl_dispatches_to(model, entry))
        .collect();
    let stored = quote!(<#ident as #krate::ProcessManager>::NAME);
    let storable = names::assert_storable(&model.name, &stored, krate);
    let subscribed =
        lists::assert_distinct(Key::Subscribes, subscribes, &[], lists::stored_name, krate);
    let dispatched = lists::assert_distinct(Key::Dispatches, dispatches, subscribes, target, krate);
    quote! {
        #envelope
        #clone_and_debug
        #process_manager
        #instances
        #subscriptions
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
        dispatches,
        state,
        krate,
        ..
    } = model;
    let state = state.expand_alone(krate);
    let subscriptions = lists::const_subscriptions(subscribes, krate);
    let targets = dispatches.iter().map(|entry| target(entry, krate));
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
            const TARGETS: ::std::option::Option<&'static [&'static str]> = ::std::option::Option::Some(&[#(#targets),*]);
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

fn envelope_enum(model: &Model) -> TokenStream {
    let Model {
        ident,
        vis,
        envelope,
        dispatches,
        krate,
        ..
    } = model;
    let (about, origin) = if dispatches.is_empty() {
        (
            format!(" What `{ident}` sends: nothing, since it declares no `dispatches`."),
            None,
        )
    } else {
        (
            format!(" A command that `{ident}` sends, with the address that it goes to."),
            Some(" `#[process_manager]` generates a variant for each aggregate in `dispatches`."),
        )
    };
    let origin = origin.map(|origin| quote!(#[doc = ""] #[doc = #origin]));
    // A target may be less visible than the process manager.
    let private = (!matches!(vis, Visibility::Inherited)).then(|| {
        quote!(#[allow(private_interfaces, reason = "a target may be more private than what sends to it")])
    });
    let variants = dispatches.iter().map(|entry| {
        let variant = entry.last();
        let envelope = envelope_of(entry, krate);
        let about = format!(
            " A command for an instance of the aggregate `{}`.",
            entry.text()
        );
        quote! {
            #[doc = #about]
            #variant(#envelope),
        }
    });
    quote! {
        #[doc = #about]
        #origin
        #private
        #vis enum #envelope {
            #(#variants)*
        }
    }
}

/// The impls of `Clone` and `Debug`, in the only form in which an entry is used as a target.
fn impl_clone_and_debug(model: &Model) -> TokenStream {
    let Model {
        envelope,
        dispatches,
        krate,
        ..
    } = model;
    let is_empty = dispatches.is_empty();
    let cloned = each_variant(model, |variant, content, entry| {
        let copy = variant_of(entry, call(entry, "cloned", &quote!(#content), krate));
        quote!(#variant => #copy,)
    });
    let printed = each_variant(model, |variant, content, entry| {
        let name = entry.last().unraw().to_string();
        let printed = call(entry, "print", &quote!(#content, #name, f), krate);
        quote!(#variant => #printed,)
    });
    let (matched, f) = if is_empty {
        (quote!(*self), Ident::new("_", Span::call_site()))
    } else {
        (quote!(self), Ident::new("f", Span::call_site()))
    };
    let unreachable = (!is_empty).then(allow_unreachable);
    quote! {
        #[automatically_derived]
        impl ::std::clone::Clone for #envelope {
            #unreachable
            fn clone(&self) -> Self {
                match #matched { #cloned }
            }
        }

        #[automatically_derived]
        impl ::std::fmt::Debug for #envelope {
            #unreachable
            fn fmt(&self, #f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                match #matched { #printed }
            }
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
    let visits = dispatches
        .iter()
        .map(|entry| call(entry, "visit", &quote!(targets), krate));
    let route = each_variant(model, |variant, envelope, entry| {
        let route = call(entry, "route", &quote!(#envelope, router), krate);
        quote!(#variant => #route,)
    });
    let is_empty = dispatches.is_empty();
    let named = |name: &str| Ident::new(if is_empty { "_" } else { name }, Span::call_site());
    let unreachable = (!is_empty).then(allow_unreachable);
    let (targets, router) = (named("targets"), named("router"));
    quote! {
        #[automatically_derived]
        impl #krate::contract::Dispatch for #envelope {
            fn targets(#targets: &mut impl #krate::contract::TargetVisitor) {
                #(#visits;)*
            }

            #unreachable
            fn route<R: #krate::contract::Router>(self, #router: R) -> R::Routed {
                match self { #route }
            }
        }
    }
}

/// One arm per variant, made from its pattern, the variable for the envelope in it, and its target.
fn each_variant(
    model: &Model,
    arm: impl Fn(TokenStream, Ident, &Entry) -> TokenStream,
) -> TokenStream {
    let arms = model.dispatches.iter().map(|entry| {
        let envelope = Ident::new("envelope", entry.exact_span());
        arm(variant_of(entry, quote!(#envelope)), envelope, entry)
    });
    arms.collect()
}

/// `Self::Inventory(content)`, with the span of the entry.
fn variant_of(entry: &Entry, content: TokenStream) -> TokenStream {
    let at = entry.exact_span();
    let (variant, content) = (entry.last(), parenthesized(content, at));
    quote_spanned!(at=> Self::#variant #content)
}

/// `<Envelope<Inventory> as Addressed>::function(arguments)`. This is the only form in which an entry is used as a
/// target. So rustc reports an entry that is not a target once, at the entry.
fn call(entry: &Entry, function: &str, arguments: &TokenStream, krate: &CratePath) -> TokenStream {
    let at = entry.exact_span();
    let (function, envelope) = (Ident::new(function, at), envelope_of(entry, krate));
    let krate = krate.exactly_at(at);
    let arguments = parenthesized(arguments.clone(), at);
    quote_spanned!(at=> <#envelope as #krate::__private::Addressed>::#function #arguments)
}

/// `Envelope<Inventory>`, also in one form.
fn envelope_of(entry: &Entry, krate: &CratePath) -> TokenStream {
    let at = entry.exact_span();
    let krate = krate.exactly_at(at);
    quote_spanned!(at=> #krate::Envelope<#entry>)
}

/// `<Envelope<Inventory> as Addressed>::TARGET`
fn target(entry: &Entry, krate: &CratePath) -> TokenStream {
    let at = entry.exact_span();
    let (envelope, krate) = (envelope_of(entry, krate), krate.exactly_at(at));
    quote_spanned!(at=> <#envelope as #krate::__private::Addressed>::TARGET)
}

fn impl_dispatches_to(model: &Model, entry: &Entry) -> TokenStream {
    let Model {
        ident,
        envelope,
        krate,
        ..
    } = model;
    let at = entry.exact_span();
    let parameter = Ident::new("envelope", at);
    let (variant, content) = (entry.last(), parenthesized(quote!(#parameter), at));
    let mut enum_ = envelope.clone();
    enum_.set_span(at);
    let wrapped = quote_spanned!(at=> #enum_::#variant #content);
    let addressed = envelope_of(entry, krate);
    let at = entry.span();
    let krate = krate.at(at);
    let unreachable = allow_unreachable();
    quote_spanned! {at=>
        #[automatically_derived]
        impl #krate::contract::DispatchesTo<#entry> for #ident {
            #unreachable
            fn envelope(#parameter: #addressed) -> #envelope {
                #wrapped
            }
        }
    }
}

fn allow_unreachable() -> TokenStream {
    quote!(#[allow(unreachable_code, reason = "a command may be an enum without variants")])
}
