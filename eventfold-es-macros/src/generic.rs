//! A generic type under an attribute: the code that replaces it. With this code rustc reports the parameters and
//! nothing else.
//!
//! The type gets an additional parameter. Its default is a constant that cannot be evaluated, since it contains the
//! errors. rustc treats a type with such a constant as an error, and reports nothing more about it. For example, it
//! does not report that it is not an aggregate, that a handler is missing, or that a state is not `'static`. The other
//! parameters get defaults too, so that the type can be named without them.

use proc_macro2::{Ident, TokenStream};
use quote::{format_ident, quote};
use syn::{DeriveInput, GenericParam, Generics, Meta, Token, parse_quote, punctuated::Punctuated};

use crate::path::CratePath;

/// `item` with `errors`, or `None` if it has no parameters.
pub(crate) fn erring(
    item: &TokenStream,
    errors: Option<&TokenStream>,
    krate: &CratePath,
) -> Option<TokenStream> {
    let mut item: DeriveInput = syn::parse2(item.clone()).ok()?;
    if item.generics.params.is_empty() {
        return None;
    }
    let is_declared = format_ident!("__{}_is_declared", item.ident);
    let has_lifetimes = item.generics.lifetimes().next().is_some();
    for parameter in &mut item.generics.params {
        match parameter {
            GenericParam::Type(parameter) if parameter.default.is_none() => {
                parameter.default = Some((
                    <Token![=]>::default(),
                    parse_quote!(<() as #krate::__private::If<#is_declared>>::Type),
                ));
            }
            GenericParam::Const(parameter) if parameter.default.is_none() => {
                parameter.default = Some((
                    <Token![=]>::default(),
                    parse_quote!({
                        #is_declared;
                        ::std::unreachable!()
                    }),
                ));
            }
            _ => {}
        }
    }
    item.generics
        .params
        .push(parse_quote!(const IS_DECLARED: bool = #is_declared));
    if has_lifetimes {
        without_deserialize(&mut item);
    }
    Some(quote! {
        #[allow(non_upper_case_globals, reason = "it stands in until the mistake is mended")]
        const #is_declared: bool = {
            #errors
            true
        };
        #item
    })
}

/// The name of the type, with the lifetimes that must be written.
pub(crate) fn named(ident: &Ident, generics: &Generics) -> TokenStream {
    let lifetimes = generics.lifetimes().map(|_| quote!('static));
    quote!(#ident <#(#lifetimes),*>)
}

/// Removes serde's `Deserialize`, which reports fields that cannot be borrowed in its own words. It does so only in a
/// derive that also has `Serialize`, which then owns the attributes of serde.
fn without_deserialize(item: &mut DeriveInput) {
    type Derives = Punctuated<syn::Path, Token![,]>;
    let is_named =
        |path: &syn::Path, name: &str| path.segments.last().is_some_and(|last| last.ident == name);
    for attribute in &mut item.attrs {
        let Meta::List(list) = &mut attribute.meta else {
            continue;
        };
        if !list.path.is_ident("derive") {
            continue;
        }
        let Ok(derives) = list.parse_args_with(Derives::parse_terminated) else {
            continue;
        };
        if derives.iter().any(|derive| is_named(derive, "Serialize")) {
            let kept = derives
                .iter()
                .filter(|derive| !is_named(derive, "Deserialize"));
            list.tokens = quote!(#(#kept),*);
        }
    }
}
