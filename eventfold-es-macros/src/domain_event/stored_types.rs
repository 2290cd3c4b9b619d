//! Types of fields that no event can hold, as far as the tokens show. serde's derives report the rest.

use syn::{Field, GenericArgument, PathArguments, Type, TypePath};

use super::serde_attributes as serde;
use crate::diagnostics::Diagnostics;
use crate::path::{owned, text};

/// The traits of this crate that can still be implemented for an event with such fields.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Storable,
    /// serde cannot read the type into an event that outlives the input.
    Unreadable,
}

/// Reports a mistake in the type of a field, unless an attribute of the field defines its stored form.
pub(crate) fn check(field: &Field, diagnostics: &Diagnostics) -> Verdict {
    let entries = serde::entries(&field.attrs);
    let is_converted = ["with", "serialize_with", "deserialize_with"]
        .iter()
        .any(|key| serde::find(&entries, key).is_some());
    if is_converted {
        return Verdict::Storable;
    }
    check_type(&field.ty, diagnostics)
}

fn check_type(ty: &Type, diagnostics: &Diagnostics) -> Verdict {
    match ty {
        Type::Reference(reference) => {
            diagnostics.error(
                ty,
                format!(
                    "an event is read from storage, so it owns what it holds: write `{}` for `{}`",
                    owned(&reference.elem),
                    text(ty)
                ),
            );
            Verdict::Unreadable
        }
        Type::Ptr(_) => {
            diagnostics.error(
                ty,
                "a pointer means nothing in storage: write the type of what it points to",
            );
            Verdict::Unreadable
        }
        Type::FnPtr(_) => {
            diagnostics.error(
                ty,
                "a function cannot be stored: write what it is to give, or an enum that says which function it is",
            );
            Verdict::Unreadable
        }
        Type::TraitObject(_) | Type::ImplTrait(_) => {
            diagnostics.error(
                ty,
                format!(
                    "`{}` cannot be stored, since what it is is not known when it is read: write an enum of what it may be, or its text \
                     as a `String`",
                    text(ty)
                ),
            );
            Verdict::Unreadable
        }
        Type::Group(group) => check_type(&group.elem, diagnostics),
        Type::Paren(paren) => check_type(&paren.elem, diagnostics),
        Type::Array(array) => check_type(&array.elem, diagnostics),
        Type::Slice(slice) => check_type(&slice.elem, diagnostics),
        Type::Tuple(tuple) => all(tuple.elems.iter(), diagnostics),
        Type::Path(path) => check_path(path, diagnostics),
        _ => Verdict::Storable,
    }
}

fn check_path(path: &TypePath, diagnostics: &Diagnostics) -> Verdict {
    let Some(last) = path.path.segments.last() else {
        return Verdict::Storable;
    };
    let PathArguments::AngleBracketed(arguments) = &last.arguments else {
        return Verdict::Storable;
    };
    // `PhantomData` holds nothing.
    if last.ident == "PhantomData" {
        return Verdict::Storable;
    }
    let types: Vec<&Type> = arguments
        .args
        .iter()
        .filter_map(|argument| match argument {
            GenericArgument::Type(ty) => Some(ty),
            _ => None,
        })
        .collect();
    let is_map = ["HashMap", "BTreeMap", "IndexMap"]
        .iter()
        .any(|map| last.ident == map);
    if let (true, [key, value, ..]) = (is_map, types.as_slice())
        && is_composite(key)
    {
        diagnostics.error(
            key,
            format!(
                "the keys of a stored map are strings or numbers: write `Vec<({}, {})>` for `{}`, or say how it is stored with `#[serde(with = \"..\")]`",
                text(key),
                text(value),
                text(path),
            ),
        );
        return check_type(value, diagnostics);
    }
    all(types, diagnostics)
}

fn all<'a>(types: impl IntoIterator<Item = &'a Type>, diagnostics: &Diagnostics) -> Verdict {
    let mut verdict = Verdict::Storable;
    for ty in types {
        if check_type(ty, diagnostics) == Verdict::Unreadable {
            verdict = Verdict::Unreadable;
        }
    }
    verdict
}

/// Whether serde writes a value of this type as a list.
fn is_composite(ty: &Type) -> bool {
    match ty {
        Type::Tuple(_) | Type::Array(_) => true,
        Type::Group(group) => is_composite(&group.elem),
        Type::Paren(paren) => is_composite(&paren.elem),
        Type::Path(path) => path.path.segments.last().is_some_and(|last| {
            [
                "Vec", "VecDeque", "HashSet", "BTreeSet", "HashMap", "BTreeMap",
            ]
            .iter()
            .any(|list| last.ident == list)
        }),
        _ => false,
    }
}
