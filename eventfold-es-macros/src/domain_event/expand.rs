//! What `#[derive(DomainEvent)]` generates.

use proc_macro2::TokenStream;
use quote::quote;

use super::model::Model;

pub(crate) fn expand(model: &Model) -> TokenStream {
    let Model {
        ident,
        variants,
        krate,
        ..
    } = model;
    let written = variants.iter().map(|variant| &variant.stored);
    let aliases = variants.iter().flat_map(|variant| &variant.aliases);
    let value = if variants.is_empty() {
        quote!(match *self {})
    } else {
        let arms = variants.iter().map(|variant| {
            let (ident, stored) = (&variant.ident, &variant.stored);
            quote!(Self::#ident { .. } => #stored,)
        });
        quote! {
            match self {
                #(#arms)*
            }
        }
    };
    quote! {
        #[automatically_derived]
        impl #krate::DomainEvent for #ident {
            const EVENT_TYPES: &'static [&'static str] = &[#(#written,)* #(#aliases),*];

            fn event_type(&self) -> &'static str {
                #value
            }
        }
    }
}
