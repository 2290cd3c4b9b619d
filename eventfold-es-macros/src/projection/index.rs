//! `#[index]`, an attribute of the fields of a row.

use proc_macro2::{Ident, Span, TokenStream};
use quote::ToTokens;
use syn::ext::IdentExt;
use syn::{Attribute, Data, DeriveInput, Field, Fields, Meta, Type};

use crate::diagnostics::Diagnostics;

/// A field with an index.
pub(crate) struct Indexed {
    /// The field.
    pub(crate) field: Ident,
    /// The type of its values.
    pub(crate) ty: Type,
    /// The stored name of the index.
    pub(crate) name: String,
    /// The constant that names the index in programs.
    pub(crate) constant: Ident,
    /// The conditions under which the field exists.
    pub(crate) cfgs: Vec<Attribute>,
}

/// An attribute `#[index]`, with its place.
pub(super) struct Found {
    attribute: Attribute,
    place: Place,
}

enum Place {
    /// A field of a struct with names.
    Named(Box<Field>),
    /// A field of a tuple struct.
    Unnamed,
    /// A variant, a field of a variant, or the type.
    Elsewhere,
}

/// `item` without the attributes, which rustc does not know.
pub(super) fn taken_from(item: TokenStream) -> (TokenStream, Vec<Found>) {
    let Ok(mut parsed) = syn::parse2::<DeriveInput>(item.clone()) else {
        return (item, Vec::new());
    };
    let mut found = Vec::new();
    let mut elsewhere = take(&mut parsed.attrs);
    match &mut parsed.data {
        Data::Struct(data) => {
            for field in &mut data.fields {
                let taken = take(&mut field.attrs);
                found.extend(taken.into_iter().map(|attribute| {
                    let place = match field.ident {
                        Some(_) => Place::Named(Box::new(field.clone())),
                        None => Place::Unnamed,
                    };
                    Found { attribute, place }
                }));
            }
        }
        Data::Enum(data) => {
            for variant in &mut data.variants {
                elsewhere.extend(take(&mut variant.attrs));
                let fields = variant.fields.iter_mut();
                elsewhere.extend(fields.flat_map(|field| take(&mut field.attrs)));
            }
        }
        Data::Union(_) => {}
    }
    found.extend(elsewhere.into_iter().map(|attribute| Found {
        attribute,
        place: Place::Elsewhere,
    }));
    if found.is_empty() {
        return (item, found);
    }
    (parsed.into_token_stream(), found)
}

fn take(attributes: &mut Vec<Attribute>) -> Vec<Attribute> {
    let (taken, kept) = std::mem::take(attributes)
        .into_iter()
        .partition(|attribute| attribute.path().is_ident("index"));
    *attributes = kept;
    taken
}

/// Reports each attribute of a type without rows.
pub(super) fn reject(found: Vec<Found>, why: &str, diagnostics: &Diagnostics) {
    for Found { attribute, .. } in found {
        diagnostics.error(
            attribute,
            format!("`#[index]` is for the rows of a projection: {why}"),
        );
    }
}

/// The indexes of a row. Mistakes are reported.
pub(super) fn checked(
    item: &DeriveInput,
    found: Vec<Found>,
    diagnostics: &Diagnostics,
) -> Vec<Indexed> {
    let mut indexes: Vec<Indexed> = Vec::new();
    for Found { attribute, place } in found {
        if !matches!(attribute.meta, Meta::Path(_)) {
            diagnostics.error(
                &attribute,
                "`#[index]` takes no arguments, since the field gives the name and the values: write `#[index]`",
            );
        }
        let field = match place {
            Place::Named(field) => field,
            Place::Unnamed => {
                let message = format!(
                    "an index is named after its field, and this field has no name: write `struct {} {{ .. }}`, with names",
                    item.ident
                );
                diagnostics.error(attribute, message);
                continue;
            }
            Place::Elsewhere => {
                let of = match &item.data {
                    Data::Struct(data) if matches!(data.fields, Fields::Named(_)) => {
                        "put it on the field"
                    }
                    _ => "write a struct, and put it on the field",
                };
                let message = format!(
                    "`#[index]` goes on a field of a struct, by which its rows are found: {of}"
                );
                diagnostics.error(attribute, message);
                continue;
            }
        };
        let Field {
            attrs, ident, ty, ..
        } = *field;
        let Some(ident) = ident else { continue };
        let name = ident.unraw().to_string();
        let constant = name.to_uppercase();
        let cfgs: Vec<Attribute> = attrs
            .into_iter()
            .filter(|attribute| attribute.path().is_ident("cfg"))
            .collect();
        // Only rustc knows whether both fields exist.
        let clashes = |earlier: &&Indexed| {
            earlier.constant == constant && earlier.cfgs.is_empty() && cfgs.is_empty()
        };
        if let Some(earlier) = indexes.iter().find(clashes) {
            let message = if earlier.name == name {
                "`#[index]` is there twice: remove one of them".to_owned()
            } else {
                format!(
                    "the indexes of `{}` and `{name}` would both be the constant `{constant}`: rename a field",
                    earlier.name
                )
            };
            diagnostics.error(attribute, message);
            continue;
        }
        indexes.push(Indexed {
            constant: Ident::new(&constant, Span::call_site().located_at(ident.span())),
            field: ident,
            ty,
            name,
            cfgs,
        });
    }
    indexes
}
