//! The fields of a state that are not saved.

use proc_macro2::TokenStream;
use quote::quote;
use syn::ext::IdentExt;
use syn::parse::Parser;
use syn::punctuated::Punctuated;
use syn::{Attribute, Data, DeriveInput, Fields, Meta, Token, Type, parse_quote};

use crate::diagnostics::Diagnostics;
use crate::domain_event::serde_attributes as serde;

/// The attributes of serde that give a field its default again when it is read back.
const LOSING: [&str; 3] = ["skip", "skip_serializing", "skip_deserializing"];

/// A field that is not saved.
pub(crate) struct Skipped {
    /// The attribute of serde that leaves the field out.
    pub(crate) attribute: Meta,
    /// The name of the field in the log.
    pub(crate) name: String,
    /// The conditions under which the field exists and is not saved.
    pub(crate) cfgs: Vec<Attribute>,
}

/// The fields of a state that are not saved.
pub(crate) fn skipped(item: &DeriveInput) -> Vec<Skipped> {
    let entries = serde::entries(&item.attrs);
    let is_given = |key| serde::find(&entries, key).is_some();
    // With these, another type is saved.
    if is_given("into") && (is_given("from") || is_given("try_from")) {
        return Vec::new();
    }
    match &item.data {
        Data::Struct(data) => in_fields(&data.fields, None, &[]),
        Data::Enum(data) => {
            let variants = data.variants.iter();
            variants
                .flat_map(|variant| {
                    let name = variant.ident.unraw().to_string();
                    in_fields(&variant.fields, Some(&name), &variant.attrs)
                })
                .collect()
        }
        Data::Union(_) => Vec::new(),
    }
}

fn in_fields(fields: &Fields, variant: Option<&str>, around: &[Attribute]) -> Vec<Skipped> {
    let mut skipped = Vec::new();
    for (index, field) in fields.iter().enumerate() {
        let Some((attribute, condition)) = losing(&field.attrs).filter(|_| holds_more(&field.ty))
        else {
            continue;
        };
        let field_name = field.ident.as_ref().map(|ident| ident.unraw().to_string());
        let field_name = field_name.unwrap_or_else(|| index.to_string());
        let is_cfg = |attribute: &&Attribute| attribute.path().is_ident("cfg");
        let cfgs = around.iter().chain(&field.attrs).filter(is_cfg).cloned();
        let condition = condition.map(|condition| parse_quote!(#[cfg(#condition)]));
        skipped.push(Skipped {
            attribute,
            name: variant.map_or_else(
                || field_name.clone(),
                |variant| format!("{variant}.{field_name}"),
            ),
            cfgs: cfgs.chain(condition).collect(),
        });
    }
    skipped
}

/// The attribute that leaves a field out, with its condition. A macro above the derives sees `cfg_attr`.
fn losing(attributes: &[Attribute]) -> Option<(Meta, Option<TokenStream>)> {
    let is_losing = |entry: &Meta| LOSING.iter().any(|key| entry.path().is_ident(key));
    if let Some(entry) = serde::entries(attributes).into_iter().find(is_losing) {
        return Some((entry, None));
    }
    let conditional = attributes
        .iter()
        .filter(|attribute| attribute.path().is_ident("cfg_attr"));
    conditional.into_iter().find_map(|attribute| {
        let list = attribute.meta.require_list().ok()?;
        let parser = Punctuated::<Meta, Token![,]>::parse_terminated;
        let mut entries = parser.parse2(list.tokens.clone()).ok()?.into_iter();
        let condition = entries.next()?;
        let serde = entries.filter(|entry| entry.path().is_ident("serde"));
        let entry = serde
            .flat_map(|entry| serde::nested(&entry))
            .find(is_losing)?;
        Some((entry, Some(quote!(#condition))))
    })
}

/// Whether a type has more than one value.
fn holds_more(ty: &Type) -> bool {
    match ty {
        Type::Tuple(tuple) => !tuple.elems.is_empty(),
        Type::Path(path) => {
            let last = path.path.segments.last();
            last.is_none_or(|last| last.ident != "PhantomData")
        }
        _ => true,
    }
}

/// Reports fields that are not saved, for types that cannot get them back from events.
pub(crate) fn reject(item: &DeriveInput, why: &str, diagnostics: &Diagnostics) {
    for Skipped {
        attribute, cfgs, ..
    } in skipped(item)
    {
        // Only rustc knows whether the field exists.
        if cfgs.is_empty() {
            let key = attribute.path().get_ident().map(ToString::to_string);
            let key = key.unwrap_or_default();
            diagnostics.error(attribute, format!("`{key}` loses this field: {why}"));
        }
    }
}
