//! The code that `#[projection]` generates.

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::Expr;
use syn::spanned::Spanned;

use super::model::{Model, Place};
use super::{memory, rows, sink};
use crate::attributes::Key;
use crate::{lists, names};

pub(crate) fn expand(model: &Model) -> TokenStream {
    let subscriptions = lists::markers(&model.ident, &model.subscribes, &model.krate);
    let Model { ident, krate, .. } = model;
    let (projection, implemented) = match model.place {
        Place::Memory => (memory::expand(model), quote!(Projection)),
        Place::Rows => (rows::expand(model), quote!(contract::SinkProjection)),
        Place::Sink => (sink::expand(model), quote!(contract::SinkProjection)),
    };
    let stored = quote!(<#ident as #krate::#implemented>::NAME);
    let storable = names::assert_storable(&model.name, &stored, krate);
    let version = assert_version(model);
    let distinct = lists::assert_distinct(
        Key::Subscribes,
        &model.subscribes,
        &[],
        lists::stored_name,
        krate,
    );
    quote! {
        #projection
        #subscriptions
        #storable
        #version
        #distinct
    }
}

/// A literal was checked during parsing.
fn assert_version(model: &Model) -> Option<TokenStream> {
    let version = model.version.as_ref()?;
    if matches!(version, Expr::Lit(_)) {
        return None;
    }
    let at = Span::call_site().located_at(version.span());
    let message = "`version` counts from 1";
    Some(quote_spanned!(at=> const _: () = ::std::assert!(#version >= 1, #message);))
}
