//! The enum of all events of a store, and the way to subscribe to them.

use proc_macro2::{Ident, Literal, TokenStream};
use quote::{format_ident, quote, quote_spanned};

use super::member::member;
use super::model::Model;
use crate::path::parenthesized;

/// `ShopEvent`.
pub(crate) fn name(model: &Model) -> Ident {
    format_ident!("{}Event", model.ident, span = model.ident.span())
}

/// The enum, and the decoding of its variants.
pub(crate) fn expand(model: &Model) -> TokenStream {
    let Model {
        ident,
        vis,
        aggregates,
        krate,
        ..
    } = model;
    let event = name(model);
    let about = format!(" An event of any aggregate of `{ident}`.");
    let variants = aggregates.iter().map(|entry| {
        let (variant, event) = (
            entry.last(),
            member(entry, "ListedAggregate", "Event", krate),
        );
        quote!(#variant(#event))
    });
    let decoded = aggregates.iter().enumerate().map(|(index, entry)| {
        let variant = entry.last();
        let decode = member(entry, "ListedAggregate", "decode", krate);
        // At the entry, as its other uses.
        let at = entry.exact_span();
        let event = Ident::new(&event.to_string(), at);
        let raw = parenthesized(quote!(event), at);
        let variant = parenthesized(quote_spanned!(at=> #event::#variant), at);
        let decoded = quote_spanned!(at=> #decode #raw.map #variant);
        match index + 1 == aggregates.len() {
            true => quote!(_ => #decoded),
            false => {
                let index = Literal::usize_unsuffixed(index);
                quote!(#index => #decoded,)
            }
        }
    });
    quote! {
        #[doc = #about]
        #[allow(dead_code, missing_docs, private_interfaces, reason = "it has what its aggregates have")]
        #vis enum #event {
            #(#variants),*
        }

        impl #krate::__private::Decodes for #event {
            #[inline]
            fn topology() -> &'static #krate::topology::Topology {
                #ident::topology()
            }

            #[inline]
            fn decode(
                index: ::std::primitive::usize,
                event: &#krate::RawRecorded,
            ) -> ::std::result::Result<Self, #krate::ReadError> {
                match index {
                    #(#decoded)*
                }
            }
        }
    }
}
