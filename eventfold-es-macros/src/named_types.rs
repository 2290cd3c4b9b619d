//! The types in the type of a field whose stored shape may be known.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{GenericArgument, PathArguments, Type, TypePath};

use crate::path::CratePath;
use crate::type_text::{tokens_text, type_text};

/// Types of std with a stored form that follows from their name, and types of std that are stored as their content.
const KNOWN: [&str; 43] = [
    "bool",
    "char",
    "str",
    "String",
    "u8",
    "u16",
    "u32",
    "u64",
    "u128",
    "usize",
    "i8",
    "i16",
    "i32",
    "i64",
    "i128",
    "isize",
    "f32",
    "f64",
    "Vec",
    "VecDeque",
    "BTreeMap",
    "BTreeSet",
    "HashMap",
    "HashSet",
    "BinaryHeap",
    "LinkedList",
    "Option",
    "Result",
    "Box",
    "Rc",
    "Arc",
    "Cow",
    "Cell",
    "RefCell",
    "Mutex",
    "RwLock",
    "PhantomData",
    "Range",
    "RangeInclusive",
    "Duration",
    "SystemTime",
    "PathBuf",
    "Self",
];

/// Every type in `ty` that does not come from std, from the outside in.
pub(crate) fn in_type(ty: &Type) -> Vec<TypePath> {
    let mut found = Vec::new();
    collect(ty, &mut found);
    found
}

fn collect(ty: &Type, found: &mut Vec<TypePath>) {
    match ty {
        Type::Group(group) => collect(&group.elem, found),
        Type::Paren(paren) => collect(&paren.elem, found),
        Type::Array(array) => collect(&array.elem, found),
        Type::Slice(slice) => collect(&slice.elem, found),
        Type::Reference(reference) => collect(&reference.elem, found),
        Type::Tuple(tuple) => tuple.elems.iter().for_each(|elem| collect(elem, found)),
        Type::Path(path) if path.qself.is_none() => collect_path(path, found),
        _ => {}
    }
}

fn collect_path(path: &TypePath, found: &mut Vec<TypePath>) {
    let Some(last) = path.path.segments.last() else {
        return;
    };
    let name = last.ident.to_string();
    let is_known = KNOWN.contains(&name.as_str()) || name.starts_with("NonZero");
    let is_found = |known: &TypePath| tokens_text(known) == tokens_text(path);
    if !is_known && !found.iter().any(is_found) {
        found.push(path.clone());
    }
    if let PathArguments::AngleBracketed(arguments) = &last.arguments {
        for argument in &arguments.args {
            if let GenericArgument::Type(argument) = argument {
                collect(argument, found);
            }
        }
    }
}

/// `NamedType::new("Line", Recorded::<Line>::SHAPE)`. It must be wrapped in [`in_scope`].
pub(crate) fn named_as(name: &str, ty: &Type, krate: &CratePath) -> TokenStream {
    quote!(#krate::schema::NamedType::new(#name, #krate::schema::Recorded::<#ty>::SHAPE))
}

/// Like [`named_as`], under its name in the program.
pub(crate) fn named(ty: &Type, krate: &CratePath) -> TokenStream {
    named_as(&type_text(ty), ty, krate)
}

/// `value`, with the trait in scope that stands in for types without a known shape.
pub(crate) fn in_scope(value: &TokenStream, krate: &CratePath) -> TokenStream {
    quote! {
        {
            #[allow(unused_imports, reason = "each of the types may tell what it looks like")]
            use #krate::schema::NotRecorded as _;

            #value
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_tell_is_found_wherever_it_stands() {
        let cases: [(&str, &[&str]); 6] = [
            ("u64", &[]),
            ("Option<std::time::Duration>", &[]),
            ("Vec<Line>", &["Line"]),
            ("BTreeMap<Sku, (u8, [a::Line; 2])>", &["Sku", "a::Line"]),
            ("Page<Line>", &["Page<Line>", "Line"]),
            ("(Line, Box<Line>, NonZeroU8)", &["Line"]),
        ];
        for (ty, expected) in cases {
            let ty: Type = syn::parse_str(ty).unwrap_or_else(|error| panic!("{ty}: {error}"));
            let found: Vec<String> = in_type(&ty)
                .into_iter()
                .map(|path| type_text(&Type::Path(path)))
                .collect();
            assert_eq!(found, expected);
        }
    }
}
