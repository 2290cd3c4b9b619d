//! The derives of serde on an event handler, which is not stored.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote};
use syn::punctuated::Punctuated;
use syn::{Attribute, Data, DeriveInput, Fields, Meta, Path, Token};

use crate::diagnostics::Diagnostics;

type Derives = Punctuated<Path, Token![,]>;

/// `item` without `Serialize` and `Deserialize`, which are reported. It may have fields that they cannot store, such as a client.
pub(super) fn taken_from(item: TokenStream, diagnostics: &Diagnostics) -> TokenStream {
    let Ok(mut parsed) = syn::parse2::<DeriveInput>(item.clone()) else {
        return item;
    };
    let mut taken = Vec::new();
    for attribute in &mut parsed.attrs {
        take(attribute, &mut taken);
    }
    let Some(first) = taken.first() else {
        return item;
    };
    let names: Vec<String> = taken
        .iter()
        .filter_map(|derive| derive.segments.last())
        .map(|last| format!("`{}`", last.ident))
        .collect();
    diagnostics.error(
        first,
        format!(
            "an event handler is not stored: its value is given to the builder at each start, and changes to it are lost; remove {}",
            names.join(" and ")
        ),
    );
    without_serde(&mut parsed);
    parsed.into_token_stream()
}

/// Moves the derives of serde from `attribute` to `taken`.
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
    let is_serde = |derive: &Path| {
        let last = derive.segments.last();
        last.is_some_and(|last| last.ident == "Serialize" || last.ident == "Deserialize")
    };
    let (serde, kept): (Vec<Path>, Vec<Path>) = derives.into_iter().partition(is_serde);
    if !serde.is_empty() {
        list.tokens = quote!(#(#kept),*);
        taken.extend(serde);
    }
}

/// Removes the attributes that belong to these derives.
fn without_serde(item: &mut DeriveInput) {
    let retain = |attributes: &mut Vec<Attribute>| {
        attributes.retain(|attribute| !attribute.path().is_ident("serde"));
    };
    retain(&mut item.attrs);
    let in_fields = |fields: &mut Fields| {
        for field in fields {
            retain(&mut field.attrs);
        }
    };
    match &mut item.data {
        Data::Struct(data) => in_fields(&mut data.fields),
        Data::Enum(data) => {
            for variant in &mut data.variants {
                retain(&mut variant.attrs);
                in_fields(&mut variant.fields);
            }
        }
        Data::Union(_) => {}
    }
}
