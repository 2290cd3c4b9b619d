//! `#[derive(StoredShape)]`.

use proc_macro2::{TokenStream, TokenTree};
use quote::{ToTokens, quote};
use syn::{Data, DeriveInput};

use crate::diagnostics::Diagnostics;
use crate::item;
use crate::path::CratePath;
use crate::shape::Shape;

/// The code that `#[derive(StoredShape)]` generates.
pub(crate) fn stored_shape(item: TokenStream) -> TokenStream {
    let diagnostics = Diagnostics::new();
    let item = match syn::parse2::<DeriveInput>(item) {
        Ok(item) => item,
        Err(error) => {
            diagnostics.push(error);
            return diagnostics.finish().unwrap_or_default();
        }
    };
    let krate = CratePath::of_derive("stored_shape", &item.attrs, &diagnostics);
    if let Data::Union(data) = &item.data {
        diagnostics.error(
            data.union_token,
            "`StoredShape` goes on a struct or an enum, and this is a union",
        );
    }
    item::reject_inner_helper(&item, "stored_shape", &diagnostics);
    let errors = diagnostics.finish();
    let shape = match errors {
        None => {
            let mut shape = Shape::of_item(&item);
            // The type that a parameter stands for is only known at the use of the item.
            let parameters: Vec<String> = item
                .generics
                .type_params()
                .map(|parameter| parameter.ident.to_string())
                .collect();
            shape.retain_types(&|ty| !mentions(ty.to_token_stream(), &parameters));
            shape.expand_alone(&krate)
        }
        Some(_) => quote!(#krate::schema::Shape::Unknown),
    };
    let ident = &item.ident;
    let (parameters, arguments, conditions) = item.generics.split_for_impl();
    quote! {
        #errors

        #[automatically_derived]
        impl #parameters #krate::schema::StoredShape for #ident #arguments #conditions {
            const SHAPE: #krate::schema::Shape = #shape;
        }
    }
}

fn mentions(tokens: TokenStream, names: &[String]) -> bool {
    tokens.into_iter().any(|token| match token {
        TokenTree::Ident(ident) => names.contains(&ident.to_string()),
        TokenTree::Group(group) => mentions(group.stream(), names),
        _ => false,
    })
}
