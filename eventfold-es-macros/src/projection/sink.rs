//! The code that `#[projection]` generates for `sink`.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;

use super::model::Model;
use super::parts;
use crate::path::parenthesized;

pub(super) fn expand(model: &Model) -> TokenStream {
    let Model { ident, krate, .. } = model;
    let constants = parts::constants(model);
    let tx = quote!(#krate::contract::TxOf<'_, Self>);
    let error = quote!(#krate::contract::SinkErrorOf<Self>);
    let apply = parts::apply(model, &tx, &error, |entry| {
        // All tokens that mention the type of the entry have its span, so that rustc prints each error about it once.
        let at = entry.exact_span();
        let spanned = krate.exactly_at(at);
        let event = Ident::new("event", at);
        let project = Ident::new("project", at);
        let projected = parenthesized(quote!(&#event, &context, tx), at);
        let project = quote_spanned!(at=> <Self as #spanned::ProjectInto<#spanned::contract::Subscribed<#entry>>>::#project #projected);
        quote!(#project.map_err(#krate::contract::SinkError::Sink))
    });
    let read_model = parts::read_model(model, &quote!(sink_projection), None);
    let sink = sink(model);
    // A missing `impl Prepare` is reported at the name of the type.
    let at = ident.span();
    let krate_at = krate.exactly_at(at);
    let prepared = parenthesized(quote!(tx), at);
    let prepare = quote_spanned!(at=> <Self as #krate_at::Prepare>::prepare #prepared);
    quote! {
        #[automatically_derived]
        impl #krate::contract::SinkProjection for #ident {
            type Sink = <Self as #krate::contract::DeclaredSink>::Sink;
            #constants

            fn prepare(tx: &mut #tx) -> ::std::result::Result<(), #error> {
                #prepare
            }

            #apply
        }
        #[automatically_derived]
        impl #krate::contract::DeclaredSink for #ident {
            type Declared = Self;
            type Sink = #sink;
        }
        #read_model
    }
}

/// The sink. If rustc has reported that it is no sink, it reports nothing more about it. `None` after a mistake.
pub(crate) fn sink(model: &Model) -> Option<TokenStream> {
    let sink = model.sink.as_ref()?;
    let krate = model.krate.at(Span::call_site().located_at(sink.span()));
    Some(quote!(#krate::__private::Checked<#sink, { #krate::__private::is_sink::<#sink>() }>))
}
