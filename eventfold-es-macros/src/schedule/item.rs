//! The item under `#[schedule]`: a struct without fields, and without what the macro implements.

use proc_macro2::TokenStream;
use quote::quote;
use syn::punctuated::Punctuated;
use syn::{Attribute, Data, DeriveInput, Fields, Meta, Path, Token};

use crate::diagnostics::Diagnostics;
use crate::item;

/// The traits that the macro implements.
const IMPLEMENTED: [&str; 4] = ["Clone", "Default", "Serialize", "Deserialize"];

type Derives = Punctuated<Path, Token![,]>;

/// The item. `None` if it is none that another item could stand in for.
pub(super) fn parse(tokens: &TokenStream, diagnostics: &Diagnostics) -> Option<DeriveInput> {
    let mut parsed = item::parse(tokens, "schedule", diagnostics)?;
    let is_unit_struct =
        matches!(&parsed.data, Data::Struct(data) if matches!(data.fields, Fields::Unit));
    // A generic type is reported as generic.
    if !is_unit_struct && parsed.generics.params.is_empty() {
        diagnostics.error(
            &parsed.ident,
            format!(
                "`#[schedule]` goes on a struct without fields, in which it stores the last occurrence: write `struct {};`",
                parsed.ident
            ),
        );
    }
    let is_aggregate = |attribute: &Attribute| {
        let last = attribute.path().segments.last();
        last.is_some_and(|last| last.ident == "aggregate")
    };
    if let Some(aggregate) = parsed
        .attrs
        .iter()
        .find(|attribute| is_aggregate(attribute))
    {
        diagnostics.error(
            aggregate,
            format!(
                "`#[schedule]` makes `{}` an aggregate: remove `#[aggregate]`",
                parsed.ident
            ),
        );
    }
    parsed.attrs.retain(|attribute| !is_aggregate(attribute));
    let mut taken = Vec::new();
    for attribute in &mut parsed.attrs {
        take(attribute, &mut taken);
    }
    for derive in &taken {
        let name = derive.segments.last().map(|last| last.ident.to_string());
        diagnostics.error(
            derive,
            format!(
                "`#[schedule]` implements `{}`: remove it here",
                name.unwrap_or_default()
            ),
        );
    }
    Some(parsed)
}

/// Moves the derives that the macro implements from `attribute` to `taken`.
fn take(attribute: &mut Attribute, taken: &mut Vec<Path>) {
    let Meta::List(list) = &mut attribute.meta else {
        return;
    };
    if !list.path.is_ident("derive") {
        return;
    }
    let Ok(derives) = list.parse_args_with(Derives::parse_terminated) else {
        return;
    };
    let is_implemented = |derive: &Path| {
        let last = derive.segments.last();
        last.is_some_and(|last| IMPLEMENTED.iter().any(|name| last.ident == name))
    };
    let (implemented, kept): (Vec<Path>, Vec<Path>) = derives.into_iter().partition(is_implemented);
    if !implemented.is_empty() {
        list.tokens = quote!(#(#kept),*);
        taken.extend(implemented);
    }
}
