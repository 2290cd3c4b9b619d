//! The code that `#[aggregate]` generates.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::Type;
use syn::spanned::Spanned;

use super::model::Model;
use crate::path::CratePath;
use crate::skipped::Skipped;
use crate::{names, path};

pub(crate) fn expand(model: &Model) -> TokenStream {
    let aggregate = impl_aggregate(model);
    let command = impl_command(model);
    let Model { ident, krate, .. } = model;
    let stored = quote!(<#ident as #krate::Aggregate>::AGGREGATE_TYPE);
    let storable = names::assert_storable(&model.name, &stored, krate);
    quote! {
        #aggregate
        #command
        #storable
    }
}

fn impl_aggregate(model: &Model) -> TokenStream {
    let Model {
        ident,
        name,
        command,
        event,
        error,
        snapshot_version,
        fingerprint,
        context,
        state,
        not_saved,
        krate,
        ..
    } = model;
    let command_type = path::text(command);
    let state = state.expand_alone(krate);
    let snapshot_version = snapshot_version
        .as_ref()
        .map(|version| quote!(const SNAPSHOT_VERSION: u32 = #version;));
    let not_saved = (!not_saved.is_empty()).then(|| {
        let fields = not_saved
            .iter()
            .map(|Skipped { name, cfgs, .. }| quote!(#(#cfgs)* #name));
        quote!(const NOT_SAVED: &'static [&'static str] = &[#(#fields),*];)
    });
    let fingerprint = match fingerprint {
        None => quote!(#krate::__private::fingerprint!(command)),
        // A function with another argument, or with a value that is not `Serialize`, is reported at its path.
        Some(path) => {
            let at = Span::call_site().located_at(path.span());
            let krate = krate.at(at);
            quote_spanned!(at=> #krate::__private::fingerprint_by(#path, command))
        }
    };
    // The bound `Self: Decider` arises here, so a missing `impl Decider` is reported at the type's name.
    let at = Span::call_site().located_at(ident.span());
    let krate_at = krate.at(at);
    let checked_error = checked_error(error, krate);
    let result = quote!(::std::result::Result<::std::vec::Vec<#event>, #error>);
    let (decider, handle, handle_with, marker) = if *context {
        let decider = quote_spanned!(at=> <Self as #krate_at::ContextDecider>);
        (
            decider.clone(),
            quote!(#decider::decide(self, command, &#krate::Deciding::new(""))),
            Some(quote! {
                fn handle_with(&self, command: #command, cx: &#krate::Deciding<'_>) -> #result {
                    #decider::decide(self, command, cx)
                }
            }),
            Some(decides_with_context(ident, krate)),
        )
    } else {
        let decider = quote_spanned!(at=> <Self as #krate_at::Decider>);
        let handle = quote!(#decider::decide(self, command));
        (decider, handle, None, None)
    };
    quote! {
        #[automatically_derived]
        impl #krate::Aggregate for #ident {
            const AGGREGATE_TYPE: &'static str = #name;
            #snapshot_version
            #not_saved
            const STATE: #krate::schema::Shape = #state;
            const COMMAND_TYPE: &'static str = #command_type;
            type Command = #command;
            type DomainEvent = #event;
            type Error = #checked_error;

            fn handle(&self, command: #command) -> #result {
                #handle
            }

            #handle_with

            fn apply(mut self, event: &#event) -> Self {
                #decider::evolve(&mut self, event);
                self
            }

            fn is_same(&self, other: &Self) -> ::std::option::Option<bool> {
                #krate::__private::is_same!(self, other)
            }

            fn fingerprint(command: &#command) -> ::std::option::Option<u64> {
                #fingerprint
            }
        }

        #marker
    }
}

/// The error type. If rustc has reported that it is not an error, it reports nothing more about it.
fn checked_error(error: &Type, krate: &CratePath) -> TokenStream {
    let krate = krate.at(Span::call_site().located_at(error.span()));
    quote!(#krate::__private::Checked<#error, { #krate::__private::is_rejection::<#error>() }>)
}

fn decides_with_context(ident: &Ident, krate: &CratePath) -> TokenStream {
    quote! {
        #[automatically_derived]
        impl #krate::contract::DecidesWithContext for #ident {}
    }
}

/// If two aggregates claim one command type, it is an E0119, reported at the command that the user wrote.
fn impl_command(model: &Model) -> TokenStream {
    let Model {
        ident,
        command,
        krate,
        ..
    } = model;
    let at = Span::call_site().located_at(command.span());
    let krate = krate.at(at);
    quote_spanned! {at=>
        #[automatically_derived]
        impl #krate::contract::DecidedBy for #command {
            type Aggregate = #ident;
        }
    }
}
